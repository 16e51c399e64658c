"""faces-train on a handful of made-up people: what it leaves, that nothing is judged by what it has seen, resuming."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sightline.core.classifier import fit as fit_network
from sightline.core.errors import InputError
from sightline.core.packs import open_pack, write_pack
from sightline.faces.gallery import load_gallery
from sightline.faces.identity import METHODS
from sightline.faces.identity_network import open_trained
from sightline.faces.params import Identity
from sightline.faces.train import train
from sightline.params import Augment, Compute

COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
NETWORK = {
    "width": 8,
    "epochs": 2,
    "batch_size": 8,
    "lr": 0.01,
    "weight_decay": 0.05,
    "warmup_epochs": 1,
    "label_smoothing": 0.0,
    "ema_decay": 0.8,
    "mixup_alpha": 0.0,
}
SETTINGS = Identity.model_validate(
    {
        "enrolled": None,
        "photos": 4,
        "neighbours": 5,
        "val_people": 0.5,
        "false_accepts": 0.1,
        "seed": 3,
        "network": NETWORK,
    }
)
AUGMENT = Augment(crop_area=(0.9, 1), aspect=1, rotate=0, flip=0.5, brightness=0.1, contrast=0.1, saturation=0.1, hue=0)
ENROLLED, STRANGERS, PHOTOS = ("ann", "ben", "eve"), ("tom", "una"), 4


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def looks(seed: int, count: int) -> NDArray[np.uint8]:
    """Crops of one person: the same coarse pattern with noise on it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (9, 9, 3)).repeat(16, 0).repeat(16, 1)
    return np.clip(coarse + rng.normal(0, 20, (count, 144, 144, 3)), 0, 255).astype(np.uint8)


def write(people: dict[str, tuple[str, str, int]]) -> None:
    """A pack of people: name to role, split and the seed of their looks; and faces that do not belong here."""
    pieces = []
    for name, (role, split, seed) in people.items():
        rows = [
            {"photo": f"{role}/{name}/{n}.png", "role": role, "person": name, "split": split, "face": 0, "ignore": 0}
            for n in range(PHOTOS)
        ]
        pieces.append((looks(seed, PHOTOS), rows))
    others = [
        {"photo": "emotion/fear/1.png", "role": "emotion", "person": "", "split": "val", "face": 0, "ignore": 0},
        {"photo": "gallery/ann/9.png", "role": "gallery", "person": "ann", "split": "gallery", "face": 0, "ignore": 1},
        {"photo": "gallery/ann/8.png", "role": "gallery", "person": "ann", "split": "probe", "face": 0, "ignore": 0},
    ]
    write_pack(Path("crops"), 144, [*pieces, (looks(77, 3), others)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("nothing").touch()
    people = {name: ("gallery", "gallery", seed) for seed, name in enumerate(ENROLLED)}
    write(people | {name: ("stranger", "val", 50 + seed) for seed, name in enumerate(STRANGERS)})
    return tmp_path


def run(weights: Path = Path("nothing"), settings: Identity = SETTINGS) -> None:
    train(
        Path("crops"), weights, settings, AUGMENT, COMPUTE, 0, Path("identity"), Path("validation"), Path("history.csv")
    )


def files() -> dict[str, bytes]:
    paths = [*Path("identity").rglob("*"), *Path("validation").rglob("*"), Path("history.csv")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def test_what_is_left_is_whole_and_belongs_together(folder: Path) -> None:
    run()
    assert sorted(path.name for path in Path("identity").iterdir()) == ["cnn", "config.json", "knn"]
    assert not Path(".cache/checkpoints").exists() or not list(Path(".cache/checkpoints").iterdir())
    table = pd.read_csv("validation/validation.csv", keep_default_na=False)
    assert list(table) == ["photo", "face", "method", "split", "truth", "name", "similarity"]
    for method in ("cnn", "knn"):
        own = table[table["method"] == method]
        assert sorted(own["photo"][own["split"] == "gallery"]) == sorted(
            f"gallery/{name}/{n}.png" for name in ENROLLED for n in range(PHOTOS)
        )
        assert set(own["truth"][own["split"] == "val"]) == {""}
        assert len(own[own["split"] == "val"]) == len(STRANGERS) * PHOTOS
        assert set(own["name"]) <= set(ENROLLED)
    config = json.loads(Path("identity/config.json").read_text())
    assert config["best"] in ("cnn", "knn")
    assert config["doubles"] == []
    assert config["validation"]["knn"]["rank1"] == 1
    history = pd.read_csv("history.csv")
    assert list(history["model"].unique()) == ["fold-1", "fold-2", "fold-3", "fold-4", "cnn"]
    assert history["left_out_loss"].notna().equals(history["model"] != "cnn")
    assert load_gallery(Path("identity/knn/gallery.safetensors")).people == ENROLLED


def test_methods_name_new_photos_and_thresholds_are_bound_to_their_split(folder: Path) -> None:
    run()
    first = json.loads(Path("identity/knn/config.json").read_text())["threshold"]
    assert first["strangers"] == len(STRANGERS) * PHOTOS
    gallery = load_gallery(Path("identity/knn/gallery.safetensors"))
    faces = np.concatenate([looks(1, 1), looks(2, 1), looks(90, 1)])
    knn, cnn = (open_trained(Path("identity") / name) for name in ("knn", "cnn"))
    assert knn.identify(faces, gallery)[0] == ["ben", "eve", None]
    _, similarity = cnn.identify(faces)
    assert ((similarity > 1 / 3) & (similarity <= 1)).all()
    assert knn.identify(faces[:0], gallery)[0] == []
    with pytest.raises(InputError, match="enrol its people anew"):
        knn.identify(faces, type(gallery)(gallery.vectors, gallery.names, gallery.digests, "another"))
    with pytest.raises(InputError, match="holds no method"):
        open_trained(Path("validation"))

    write({name: ("gallery", "gallery", n) for n, name in enumerate(ENROLLED)} | {"tom": ("stranger", "val", 51)})
    run()
    second = json.loads(Path("identity/knn/config.json").read_text())["threshold"]
    assert second["split_sha256"] != first["split_sha256"]


def test_the_networks_threshold_is_a_quantile_of_what_strangers_reach(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    assert "warning: 8 strangers' faces cannot tell the similarity that 10.0% exceed" in capsys.readouterr().err
    table = pd.read_csv("validation/validation.csv", keep_default_na=False).query("method == 'cnn'")
    highest = table["similarity"][table["split"] == "val"].max()
    threshold = json.loads(Path("identity/cnn/config.json").read_text())["threshold"]["value"]
    assert threshold == pytest.approx(highest, abs=1e-6)
    run(settings=SETTINGS.model_copy(update={"false_accepts": 0.2}))
    assert "strangers' faces" not in capsys.readouterr().err


def test_no_photo_is_answered_for_by_a_network_that_has_seen_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[NDArray[np.uint8]] = []
    labels_of: list[NDArray[np.int64]] = []

    def note_and_fit(network: Any, pack: Any, labels: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(pack.images[pack.rows("train")])
        labels_of.append(labels[pack.rows("train")])
        assert np.array_equal(pack.images[pack.rows("val")], trained[-1])
        return fit_network(network, pack, labels, *arguments, **options)

    monkeypatch.setattr("sightline.faces.train.fit", note_and_fit)
    run()
    *folds, last = trained
    assert len(last) == len(ENROLLED) * PHOTOS
    assert [len(fold) for fold in folds] == [len(ENROLLED) * (PHOTOS - 1)] * 4
    everything = {image.tobytes() for image in last}
    held = [everything - {image.tobytes() for image in fold} for fold in folds]
    assert len(set().union(*held)) == sum(map(len, held)) == len(everything)
    assert all(np.bincount(labels).tolist() == [PHOTOS - 1] * 3 for labels in labels_of[:-1])


def test_the_same_inputs_give_the_same_bytes_also_when_cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    expected = files()
    calls: list[int] = []

    def third_fails(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit_network(*arguments, **options)

    monkeypatch.setattr("sightline.faces.train.fit", third_fails)
    with pytest.raises(KeyboardInterrupt):
        run()
    torch.rand(3)
    run()
    assert len(calls) == 3 + 3
    assert files() == expected


def test_a_person_under_two_names_is_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = {name: ("gallery", "gallery", seed) for seed, name in enumerate(ENROLLED)}
    strangers = {name: ("stranger", "val", 50 + seed) for seed, name in enumerate(STRANGERS)}
    write(people | {"annie": ("gallery", "gallery", 0)} | strangers)
    run()
    assert "warning: ann and annie look like one person under two names" in capsys.readouterr().err
    (double,) = json.loads(Path("identity/config.json").read_text())["doubles"]
    assert "ann and annie" in double


def test_a_pretrained_network_makes_the_third_method(folder: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["faces"], ["small"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Flatten", ["small"], ["vectors"]),
        ],
        "thumbnail",
        [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["batch", 3, 112, 112])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", 147])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
    with pytest.raises(InputError, match=r"faces\.embedding\.weights is the file net\.onnx: name a folder"):
        run(Path("net.onnx"))
    Path("nets").mkdir()
    shutil.move("net.onnx", "nets/net.onnx")
    with pytest.raises(InputError, match=r"net\.json is missing"):
        run(Path("nets"))
    assert not Path("identity").exists()
    Path("nets/net.json").write_text('{"size": [112, 112], "colour": "RGB", "mean": 120, "std": 128}')
    run(Path("nets"))
    assert {path.name for path in Path("identity").iterdir() if path.is_dir()} == set(METHODS)
    method = open_trained(Path("identity/embedding"))
    gallery = load_gallery(Path("identity/embedding/gallery.safetensors"))
    assert gallery.vectors.shape == (len(ENROLLED) * PHOTOS, 147)
    assert method.identify(np.concatenate([looks(0, 1), looks(2, 1)]), gallery)[0] == ["ann", "eve"]
    assert Path("identity/embedding/model.onnx").read_bytes() == Path("nets/net.onnx").read_bytes()
    Path("nets/other.safetensors").touch()
    with pytest.raises(InputError, match="nets holds 2 networks: one is wanted"):
        run(Path("nets"))
    with pytest.raises(InputError, match=r"faces\.embedding\.weights: there is no missing"):
        run(Path("missing"))


def test_too_few_people_are_one_line(folder: Path) -> None:
    write({"ann": ("gallery", "gallery", 0), "tom": ("stranger", "val", 50)})
    with pytest.raises(InputError, match="faces of 1 enrolled people"):
        run()
    write({"ann": ("gallery", "gallery", 0), "ben": ("gallery", "gallery", 1)})
    with pytest.raises(
        InputError, match=r"0 faces of validation strangers.* two are needed: add photos .* strangers/<person>/"
    ):
        run()
    assert len(open_pack(Path("crops"))) == 2 * PHOTOS + 3
