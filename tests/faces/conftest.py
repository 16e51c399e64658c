"""A deployed model that every test may change: MTCNN, faces compared by their pixels, emotions made up."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from sightline.core.files import write_json
from sightline.core.images import Pixels, pixel_digest
from sightline.core.packs import write_pack
from sightline.core.sheets import write_png
from sightline.core.weights import write_weights
from sightline.faces.gallery import Gallery, save_gallery
from sightline.faces.heads import make_person
from sightline.faces.identity_network import IdentityNet
from sightline.faces.mtcnn import Detector
from sightline.faces.mtcnn_graphs import export_detector
from sightline.faces.neighbours import describe_pixels
from sightline.faces.params import EMOTIONS
from sightline.faces.portraits import draw_portrait
from sightline.faces.predictor import cut

PEOPLE = {"anna": 0, "ben": 1, "eve": 2}
SINGLE = [
    *(("gallery", "gallery", name, number) for name in ("anna", "ben") for number in (0, 1)),
    ("gallery", "probe", "anna", 3),
    ("stranger", "val", "eve", 0),
    ("stranger", "test", "eve", 1),
    ("emotion", "val", "eve", 3),
    ("emotion", "test", "ben", 3),
]
"""Role, split, person and number of the portraits that ``stages`` has."""
DESCRIBER, STRICT = "pixels 32", 0.97


@cache
def portrait(name: str, photo: int = 0) -> Pixels:
    """A photo with one face, about 200 px a side."""
    person = make_person(np.random.default_rng(PEOPLE[name]))
    rng = np.random.default_rng((PEOPLE[name], photo))
    return draw_portrait(rng, person, "neutral", 0.3, (200, 201)).image


@cache
def crop(name: str, photo: int) -> Pixels:
    image = portrait(name, photo)
    found = Detector().detect(image)
    assert len(found) == 1
    return cut(image, found)[0]


def write_emotion(folder: Path) -> None:
    """A graph that guesses emotions from a few random pixels, as stage faces-emotion leaves one."""
    folder.mkdir(parents=True)
    weights = np.random.default_rng(0).normal(0, 0.01, (64, len(EMOTIONS))).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "emotion",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 8, 8, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(EMOTIONS)])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "guess.onnx"
    )
    settings = {"size": 8, "colour": "grey", "output": "logits", "gives": "logits", "classes": EMOTIONS}
    network = {"file": "guess.onnx", "weights": dict.fromkeys(EMOTIONS, 1.0), "settings": settings}
    write_json(folder / "config.json", {"networks": [network], "offsets": dict.fromkeys(EMOTIONS, 0.0)})


def write_knn(folder: Path, threshold: float, gallery: Gallery) -> None:
    """Method knn as faces-train leaves it."""
    folder.mkdir(parents=True)
    config = {"method": "knn", "threshold": {"value": threshold}, "describer": DESCRIBER, "neighbours": 5}
    write_json(folder / "config.json", config)
    save_gallery(folder / "gallery.safetensors", gallery)


def gallery_of(photos: dict[str, int]) -> Gallery:
    """People with so many photos each."""
    names = [name for name, count in photos.items() for _ in range(count)]
    crops = np.stack([crop(name, photo) for name, count in photos.items() for photo in range(count)])
    return Gallery(describe_pixels(crops), tuple(names), tuple(map(pixel_digest, crops)), DESCRIBER)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "deployed"
    export_detector(folder / "detector", 0.9, 20)
    write_emotion(folder / "emotion")
    # So strict that hardly anything but the enrolled photo itself passes.
    write_knn(folder / "identity", STRICT, Gallery.empty(1024, DESCRIBER))
    (folder / "identity" / "gallery.safetensors").unlink()
    save_gallery(folder / "gallery.safetensors", gallery_of({"anna": 1, "ben": 1}))
    write_json(folder / "config.json", {"task": "faces", "method": "knn", "threshold": {"value": STRICT}})
    return folder


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages before faces-infer leave: ``raw``, ``crops``, ``identity`` (knn and cnn) and ``emotion``."""
    folder = tmp_path_factory.mktemp("stages")
    photos, pieces = [], []
    for role, split, name, number in SINGLE:
        photos.append({"photo": f"{role}/{name}/{number}.png", "role": role})
        row = {"photo": photos[-1]["photo"], "role": role, "split": split, "person": name, "name": name, "set": ""}
        row |= {"emotion": "fear" if role == "emotion" else "", "face": 0, "box": -1, "ignore": 0}
        pieces.append((crop(name, number)[None], [row]))
    group = np.concatenate([portrait("anna"), portrait("anna")[:, ::-1]], axis=1)
    images = {"groups/1.png": group, "groups/no_face/1.png": np.full((80, 90, 3), 60, np.uint8)}
    for photo, role in (("groups/1.png", "group"), ("groups/no_face/1.png", "empty")):
        write_png(folder / "raw" / "images" / photo, images[photo])
        photos.append({"photo": photo, "role": role})
    found = Detector().detect(group)
    rows = [
        {"photo": "groups/1.png", "role": "group", "split": "test", "person": "", "name": "", "set": ""}
        | {"emotion": "", "face": face, "box": -1, "ignore": 0}
        for face in range(len(found))
    ]
    write_pack(folder / "crops", 144, [*pieces, (cut(group, found), rows)])
    pd.DataFrame(photos).to_csv(folder / "raw" / "photos.csv", index=False)
    write_emotion(folder / "emotion")
    (folder / "emotion" / "model.safetensors").write_bytes(b"what the graph was exported from")
    write_knn(folder / "identity" / "knn", STRICT, gallery_of({"anna": 2, "ben": 2}))
    torch.manual_seed(0)
    cnn, arguments = folder / "identity" / "cnn", {"num_classes": 2, "width": 4}
    cnn.mkdir()
    write_weights(cnn / "model.safetensors", IdentityNet(**arguments).state_dict())
    config = {"method": "cnn", "threshold": {"value": 0.5}, "arguments": arguments, "classes": ["anna", "ben"]}
    write_json(cnn / "config.json", config)
    verdict = {"best": "knn", "validation": {"cnn": {"rank1": 0.5}, "knn": {"rank1": 1.0}}, "doubles": ["anna and ben"]}
    write_json(folder / "identity" / "config.json", verdict)
    return folder


@pytest.fixture
def deployed(template: Path, tmp_path: Path) -> Path:
    """Anna and Ben are enrolled, with the first of their portraits each."""
    return shutil.copytree(template, tmp_path / "deployed")


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture, or a portrait of somebody, as PNG."""

    def write(name: str, image: Pixels | str, number: int = 0) -> Path:
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        write_png(path, portrait(image, number) if isinstance(image, str) else image)
        return path

    return write
