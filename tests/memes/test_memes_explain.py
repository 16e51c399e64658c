"""What was planted is found and called by its name."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sightline.core.backbone import FeatureNetwork, load_backbone, save_backbone
from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv
from sightline.core.packs import write_pack
from sightline.memes.attention import attention, overlay
from sightline.memes.causes import CAUSES, Evidence, Limits, look_for_text, name_cause
from sightline.memes.explain import explain
from sightline.memes.network import on_backbone, save_network
from sightline.memes.params import Explain
from sightline.memes.probe import fit_probe, save_probe
from sightline.memes.suspicion import held_out_opinion, most_suspicious

SETTINGS = Explain(seed=5, neighbours=5, suspects=0.1, folds=5)
SIZE = 32


def features(labels: np.ndarray, seed: int) -> np.ndarray:
    """Two clouds, well apart, around directions at right angles."""
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=0.3, size=(len(labels), 12))
    points[np.arange(len(labels)), labels] += 4
    return points.astype(np.float32)


# ---- suspicion


def test_planted_wrong_labels_are_the_most_suspicious() -> None:
    truth = np.arange(100) % 2
    labels = truth.copy()
    planted = [3, 20, 41, 66]
    labels[planted] = 1 - labels[planted]
    opinion = held_out_opinion(features(truth, 0), labels, np.arange(100), 0.1, 5, 0)
    suspects, trust = most_suspicious(labels, opinion, np.full((100, 3), 0.1), 0.05)
    assert sorted(suspects) == planted  # the fifth would be one that the probe agrees with
    assert set(np.argsort(trust)[:4]) == set(planted)
    assert (opinion.quality == opinion.probabilities[np.arange(100), labels]).all()


def test_of_equal_opinions_the_label_that_was_learned_last_is_more_suspicious() -> None:
    labels = np.array([0, 0, 1, 1])
    opinion = SimpleNamespace(probabilities=np.full((4, 2), [0.4, 0.6])[:, :], quality=np.full(4, 0.4))
    losses = np.array([[1.0, 0.1], [2.0, 1.5], [0.1, 0.1], [0.1, 0.1]])
    suspects, _ = most_suspicious(labels, opinion, losses, 0.5)
    assert suspects.tolist() == [1, 0]


def test_a_copy_does_not_vouch_for_a_label() -> None:
    """A wrong label on two copies of one picture: by picture each copy would confirm the other."""
    truth = np.arange(60) % 2
    labels, points, groups = truth.copy(), features(truth, 0), np.arange(60)
    points[40:50] = points[10]
    labels[40:50] = labels[10] = 1 - truth[10]
    groups[40:50] = groups[10]
    apart = held_out_opinion(points, labels, groups, 10.0, 5, 0).quality[10]
    together = held_out_opinion(points, labels, np.arange(60), 10.0, 5, 0).quality[10]
    assert apart < 0.1 < together


def test_a_class_of_one_picture_cannot_be_judged() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(InputError, match="nothing can vouch"):
        held_out_opinion(features(labels, 0), labels, np.array([0, 1, 2, 3, 3]), 1.0, 5, 0)


# ---- causes

PLAIN = Evidence(
    confidence=0.9, twin="", sharpness=6, side=200, distance=0.1, doubt=0.4, agreeing=0.6, ground=0.2, marks=0.3
)
LIMITS = Limits(sharpness=4, side=75, distance=0.3, doubt=0.8)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({}, "between the classes"),
        ({"twin": "b/7.jpg"}, "near-duplicate in the other class"),
        ({"sharpness": 3.0}, "low resolution"),
        ({"side": 60}, "low resolution"),
        ({"distance": 0.4}, "unlike all training data"),
        ({"ground": 0.7}, "text only"),
        ({"ground": 0.7, "marks": 0.1}, "between the classes"),
        ({"doubt": 0.9, "agreeing": 1.0}, "label doubtful"),
        ({"doubt": 0.9, "agreeing": 1.0, "confidence": 0.6}, "between the classes"),
        ({"doubt": 0.9, "agreeing": 0.6}, "between the classes"),
        ({"twin": "b/7.jpg", "distance": 0.4}, "near-duplicate in the other class"),
    ],
)
def test_the_first_rule_that_applies_names_the_cause(changed: dict, cause: str) -> None:
    named, evidence = name_cause(replace(PLAIN, **changed), LIMITS)
    assert named == cause
    assert evidence
    assert named in CAUSES


def lettering(side: int = 160) -> np.ndarray:
    image = np.full((side, side, 3), 240, np.uint8)
    for line in range(3):
        cv2.putText(image, "MEME", (8, 45 + 45 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (20, 20, 20), 5)
    return image


def scene(seed: int, side: int = 160) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def test_text_has_a_plain_ground_and_hard_edges_and_a_scene_has_not() -> None:
    text, busy, blank = (
        look_for_text(lettering()),
        look_for_text(scene(0)),
        look_for_text(np.zeros((50, 50, 3), np.uint8)),
    )
    assert text.ground > 0.45
    assert text.marks > 0.25
    assert busy.ground < 0.45
    assert blank == (1.0, 0.0)


# ---- attention


class Corners(nn.Module):
    """Class 0 is how red a picture is, class 1 how blue; the maps keep the places."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.maps = nn.Identity()
        self.head = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.backbone.maps(nn.functional.avg_pool2d(images + 2, 4) * self.scale)
        return self.head(maps.mean((2, 3)))


def test_attention_peaks_where_the_network_looks() -> None:
    images = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    images[:, :8, :8, 0] = 255
    images[:, -8:, -8:, 2] = 255
    seen = attention(Corners(), images, np.array([0, 1]))
    assert seen.shape == (2, SIZE, SIZE)
    assert (seen.min(), seen.max()) == (0, pytest.approx(1))
    assert seen[0, :8, :8].mean() > 0.8
    assert seen[0, 12:, 12:].max() == 0
    assert seen[1, -8:, -8:].mean() > 0.8
    assert seen[1, :20, :20].max() == 0
    shown = overlay(images[0], seen[0])
    assert shown.shape == (SIZE, SIZE, 3)
    assert shown[28, 2].argmax() == 2  # cold: nothing there
    assert attention(Corners(), images[:0], np.array([], int)).shape == (0, SIZE, SIZE)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("resnet10t", {"channels": [8, 8, 8, 8], "output_stride": 8}),
        (
            "vit_tiny_patch16_224",
            {"img_size": SIZE, "patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 3, "global_pool": "avg"},
        ),
    ],
)
def test_attention_reaches_into_networks_as_they_are(tmp_path: Path, architecture: str, arguments: dict) -> None:
    torch.manual_seed(0)
    backbone = save_tiny(tmp_path / "backbone", architecture, arguments)
    network, _ = on_backbone(load_backbone(backbone), 2)
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    seen = attention(network, images, np.array([0, 1, 0]))
    assert seen.shape == (3, SIZE, SIZE)
    assert (attention(network, images, np.array([1, 0, 1])) != seen).any()
    assert all(parameter.grad is None for parameter in network.parameters())


def save_tiny(folder: Path, architecture: str = "resnet10t", arguments: dict | None = None) -> Path:
    about = {
        "architecture": architecture,
        "arguments": arguments or {},
        "size": SIZE,
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
    }
    network = FeatureNetwork(architecture, arguments).eval()
    save_backbone(folder, network, {}, name="tiny", source="random", **about)
    return folder


# ---- the stage

PLANTED = {
    "mislabelled": "label doubtful",
    "lone": "unlike all training data",
    "blank": "low resolution",
    "lettering": "text only",
    "twin": "near-duplicate in the other class",
    "middle": "between the classes",
}


def build(folder: Path, planted: bool = True) -> dict[str, int]:
    """Samples of two classes with six planted errors in val and test, and four wrong labels in train."""
    splits = np.repeat(["train", "val", "test", "unknown-test"], [60, 20, 20, 4])
    truth = np.arange(len(splits)) % 2
    labels, groups = truth.copy(), np.arange(len(splits))
    points = features(truth, 1)
    images = np.stack([scene(number, SIZE) for number in range(len(splits))])
    predicted, confidence = truth.copy(), np.full(len(splits), 0.9)
    wrong = [2, 15, 30, 47] if planted else []
    labels[wrong] = 1 - labels[wrong]
    rows = {"mislabelled": 62, "lone": 65, "blank": 84, "lettering": 87, "twin": 90, "middle": 93}
    if planted:
        for row in rows.values():
            predicted[row] = 1 - labels[row]
        labels[62], predicted[62] = 1 - truth[62], truth[62]
        points[65] = np.eye(12)[7] * 4
        images[84] = 30
        images[87] = cv2.resize(lettering(), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        groups[91] = groups[90]
        labels[91], predicted[91] = predicted[90], predicted[90]
        confidence[93] = 0.55
    losses = np.full((len(splits), 3), 0.1, np.float32)
    losses[wrong] = 2
    names = np.where(splits == "unknown-test", "unknown", np.array(["calm", "wild"])[labels])
    manifest = pd.DataFrame({"photo": [f"{name}/{number}.jpg" for number, name in enumerate(names)], "label": names})
    manifest = manifest.assign(kind="", split=splits, group=groups, width=300, height=168, bytes=9000, quality="")
    write_pack(folder / "samples", SIZE, [(images, manifest.to_dict("records"))])
    backbone = load_backbone(save_tiny(folder / "backbone"))
    torch.manual_seed(0)
    network, arguments = on_backbone(backbone, 2)
    save_network(folder / "network/finetuned", network, {"arguments": arguments})
    train = splits == "train"
    save_probe(folder / "network/probe", fit_probe(points[train], labels[train], 0.1), {"c": 0.1})
    for name in ("training", "inference"):
        (folder / name).mkdir()
    np.save(folder / "training/losses.npy", losses)
    np.save(folder / "inference/frozen_features.npy", points)
    np.save(folder / "inference/finetuned_features.npy", points)
    answers = manifest[["photo", "split", "label", "kind"]].assign(
        predicted=np.array(["calm", "wild"])[predicted], confidence=confidence
    )
    write_csv(folder / "inference/predictions.csv", answers)
    mislabelled = np.isin(np.arange(len(splits)), [*wrong, 62])
    truths = pd.DataFrame({"file": manifest["photo"], "mislabelled": np.where(mislabelled, "yes", "no")})
    write_csv(folder / "drawn.csv", truths)
    return rows


def run(folder: Path, out: Path, truth: str = "drawn.csv") -> dict:
    places = [folder / name for name in (truth, "samples", "network", "training", "inference")]
    explain(*places, SETTINGS, 200, out / "explain", out / "explain.json")
    return read_json(out / "explain.json")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("explain")
    rows = build(folder)
    return SimpleNamespace(folder=folder, rows=rows, figures=run(folder, folder / "out"), out=folder / "out/explain")


def test_planted_errors_are_called_by_their_causes(project: SimpleNamespace) -> None:
    table = pd.read_csv(project.out / "explained.csv", keep_default_na=False).set_index("row")
    assert set(table.index) == set(project.rows.values())
    found = {name: table["cause"][row] for name, row in project.rows.items()}
    assert found == PLANTED
    assert table["twin"][90] == "wild/91.jpg" or table["evidence"][90].endswith("91.jpg")
    assert len(table["nearest"][62].split(" | ")) == 5
    assert set(table["nearest_labels"][62].split(" | ")) == {table["predicted"][62]}
    assert table["losses"][62] == "0.100 0.100 0.100"
    assert table["attention_on_captions"].between(0, 1).all()
    assert bool(table["mislabelled"][62])
    for row in table.index:
        assert cv2.imread(str(project.out / f"pictures/{row}.png")) is not None


def test_planted_wrong_labels_are_suspects_and_relabelling_them_helps_no_less_than_nothing(
    project: SimpleNamespace,
) -> None:
    suspects = pd.read_csv(project.out / "suspects.csv")
    assert set(suspects["row"]) == {2, 15, 30, 47}
    assert (suspects["suggested"] != suspects["label"]).all()
    figures = project.figures
    assert figures["suspects"]["precision"]["value"] == 1
    assert figures["suspects"]["recall"]["value"] == 1
    assert figures["suspects"]["mislabelled"] == 4
    assert figures["misclassified"] == {"val": 2, "test": 4}
    assert figures["causes"]["val"]["label doubtful"] == 1
    assert figures["doubtful"] == {"count": 1, "mislabelled": 1, "mislabelled_of_all": 1}
    assert figures["cure"]["relabelled"]["gain"]["value"] >= 0
    assert figures["cure"]["relabelled"]["accuracy_on_right"]["value"] >= 0.9


def test_nothing_is_said_of_the_truth_where_it_is_not_known(project: SimpleNamespace, tmp_path: Path) -> None:
    figures = run(project.folder, tmp_path, truth="missing.csv")
    assert "precision" not in figures["suspects"]
    assert "doubtful" not in figures
    assert "accuracy_on_right" not in figures["cure"]["removed"]
    assert "mislabelled" not in pd.read_csv(tmp_path / "explain/explained.csv")


def test_the_same_inputs_give_the_same_bytes(project: SimpleNamespace, tmp_path: Path) -> None:
    run(project.folder, tmp_path)
    names = sorted(path.relative_to(project.out) for path in project.out.rglob("*") if path.is_file())
    assert len(names) == 4 + len(PLANTED)
    for name in names:
        assert (tmp_path / "explain" / name).read_bytes() == (project.out / name).read_bytes()


def test_a_network_without_errors_has_nothing_to_explain(tmp_path: Path) -> None:
    build(tmp_path, planted=False)
    figures = run(tmp_path, tmp_path / "out")
    assert figures["misclassified"] == {"val": 0, "test": 0}
    assert figures["suspects"]["count"] == 0
    assert figures["cure"]["removed"]["gain"]["value"] == 0
    assert pd.read_csv(tmp_path / "out/explain/explained.csv").empty


def test_arrays_of_other_samples_are_refused(project: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("samples", "network", "inference"):
        (tmp_path / name).symlink_to(project.folder / name)
    (tmp_path / "training").mkdir()
    np.save(tmp_path / "training/losses.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(InputError, match="104 samples but 3 rows of losses"):
        run(tmp_path, tmp_path / "out")
