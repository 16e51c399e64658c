"""People whose names look like something else, from the folder of photos to the figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.core.sheets import write_png
from sightline.faces.crowds import Member, draw_group
from sightline.faces.detect import find_faces
from sightline.faces.evaluate import evaluate
from sightline.faces.gallery import load_gallery
from sightline.faces.heads import make_person
from sightline.faces.infer import deploy, infer
from sightline.faces.layout import read_layout
from sightline.faces.params import Detect, Emotion, Evaluate, Identity, Infer, Network
from sightline.faces.portraits import draw_portrait
from sightline.faces.source import ingest
from sightline.faces.tables import read_table
from sightline.faces.train import train
from sightline.params import Augment, Compute

NETWORK = Network(
    width=4,
    epochs=1,
    batch_size=8,
    lr=0.01,
    weight_decay=0,
    warmup_epochs=0,
    label_smoothing=0,
    ema_decay=0.9,
    mixup_alpha=0,
)
IDENTITY = Identity(enrolled=None, photos=2, neighbours=5, val_people=0.5, false_accepts=0.1, seed=1, network=NETWORK)
EMOTION = Emotion(weights="none", val_fraction=0.3, test_fraction=0.3, seed=1, network=NETWORK)
DETECT = Detect(score=0.9, min_face=20, whole_below=64, near_duplicate_bits=0)
AUGMENT = Augment(crop_area=(0.9, 1), aspect=1, rotate=0, flip=0.5, brightness=0.1, contrast=0.1, saturation=0.1, hue=0)
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def draw(folder: Path, gallery: Sequence[str], strangers: Sequence[str], groups: int) -> None:
    """Four portraits of everybody, and photos of everybody in the gallery with one stranger each."""
    people = {name: make_person(np.random.default_rng(seed)) for seed, name in enumerate((*gallery, *strangers))}
    for seed, (name, person) in enumerate(people.items()):
        for photo in range(4):
            image = draw_portrait(np.random.default_rng((seed, photo)), person, "neutral", 0.3, (180, 181)).image
            put(folder / ("gallery" if name in gallery else "strangers") / name / f"{photo}.png", image)
    lines = ["file,x1,y1,x2,y2,identity"]
    for photo in range(groups):
        members = [Member(people[name], name, "happiness", 0.9) for name in (*gallery, strangers[photo])]
        image, faces = draw_group(np.random.default_rng(photo), members)
        put(folder / "groups" / f"{photo}.png", image)
        for member, face in zip(members, faces, strict=True):
            lines.append(",".join(map(str, (f"{photo}.png", *face.box_xyxy, member.name))))
    if groups:
        (folder / "groups" / "groups.csv").write_text("\n".join(lines))


def put(path: Path, image: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, image)


# Where all names are numbers the column of them looks like one of numbers.
@pytest.mark.parametrize(
    ("gallery", "strangers", "groups"),
    [(("001", "1e5", "NA"), ("007", "True", "nan"), 2), (("001", "1e5"), ("7", "8"), 0)],
)
def test_people_keep_their_names_through_all_stages(
    stages: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gallery: Sequence[str],
    strangers: Sequence[str],
    groups: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    raw, crops, found, identity, deployed, inference, pictures, metrics = map(
        Path, ("raw", "crops", "found.csv", "identity", "deployed", "inference", "pictures", "metrics")
    )
    draw(tmp_path / "mine", gallery, strangers, groups)
    ingest(read_layout(tmp_path / "mine"), raw, workers=2)
    find_faces(raw, DETECT, IDENTITY, EMOTION, crops, found, Path("sheet.png"), Path("crops.json"), workers=2)
    photos = read_table(crops / "photos.csv")
    assert set(photos.loc[photos["split"] == "gallery", "person"]) == set(gallery)
    # Who is met in a group chooses no threshold.
    assert set(photos.loc[photos["split"] == "val", "person"]) <= set(strangers[groups:])

    Path("none").touch()
    train(crops, Path("none"), IDENTITY, AUGMENT, COMPUTE, 0, identity, Path("validation"), Path("history.csv"))
    assert load_gallery(identity / "knn" / "gallery.safetensors").people == gallery
    assert read_json(identity / "cnn" / "config.json")["classes"] == list(gallery)

    deploy(crops, identity, stages / "emotion", DETECT, Infer(method="knn"), deployed)
    infer(deployed, raw, crops, identity, 2, inference)
    answers = pd.read_csv(inference / "identities.csv", keep_default_na=False, dtype=str)
    assert (answers["known"] == answers["name"].isin(gallery).astype(int).astype(str)).all()
    for method in ("knn", "cnn"):
        assert set(answers[f"name_{method}"]) <= set(gallery)
    # What has learned from a photo knows it again by its pixels.
    own = answers[answers["split"] == "gallery"]
    assert (own["name_knn"] == own["name"]).all()

    evaluate(
        raw, crops, found, identity, deployed, inference, DETECT, Evaluate(iou=0.5, resamples=100, seed=1), pictures,
        metrics, workers=2,
    )  # fmt: skip
    figures = read_json(metrics / "metrics.json")
    in_groups = answers[(answers["role"] == "group") & (answers["box"] != "-1")]
    counted = figures["identity"]["by_part"]["groups"]["faces"]["known"]
    assert counted == in_groups["name"].isin(gallery).sum() >= groups
    portraits = answers[answers["split"].isin(["probe", "test"]) & (answers["role"] != "group")]
    tested = pd.concat([portraits, in_groups])
    known = tested[tested["name"].isin(gallery)]
    assert figures["rank1"]["knn"]["value"] == pytest.approx((known["name_knn"] == known["name"]).mean(), abs=1e-6)
    verdicts = read_table(pictures / "verdicts.csv")
    assert set(verdicts["truth"]) == {*gallery, ""}
