import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
import pytest

from sightline.core.files import read_json, write_csv, write_json
from sightline.core.packs import open_pack
from sightline.minerals import report as stage
from sightline.minerals.annotations import Photo, Specimen
from sightline.minerals.evaluate import evaluate
from sightline.minerals.model import MineralNet
from sightline.minerals.params import NONE, Minerals
from sightline.minerals.patches import make_patches
from sightline.minerals.predictor import decide
from sightline.minerals.source import ingest
from sightline.params import load

HOSTILE = ('#panic("no")', "$\\frac{$ @he2016", "<b> *bold* \\ [c]")
PARAMS = Path(__file__).parents[2] / "params.yaml"


@dataclass(frozen=True)
class Run:
    """The files of a run whose predictions are drawn by chance around the truth."""

    folder: Path
    minerals: Minerals

    def report(self, out: Path) -> tuple[dict[str, Any], bytes]:
        """What goes into the template, and the PDF that comes out."""
        names = ("raw", "patches", "sheet.png", "summary.json", "network", "history.csv", "deployed", "inference")
        inputs = (self.folder / name for name in (*names, "metrics"))
        with patch.object(stage, "compile_report", wraps=stage.compile_report) as compiling:
            stage.report(*inputs, self.minerals, out / "figures", out / "report.pdf")
        return compiling.call_args.args[1], (out / "report.pdf").read_bytes()


@dataclass(frozen=True)
class Reported(Run):
    """A run with its report."""

    data: dict[str, Any]
    pdf: bytes


@pytest.fixture(scope="module")
def with_negatives(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    return make_run(tmp_path_factory.mktemp("boxes"), HOSTILE, (0.3, 0.3, 0.25, 0.3), "synthetic", threshold=0.6)


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    return make_run(
        tmp_path_factory.mktemp("folders"), ("NA", "007", "c"), (0.0, 0.0, 1.0, 1.0), "path", threshold=None
    )


@pytest.mark.parametrize("name", ["with_negatives", "class_folders"])
def test_a_report_has_five_to_eight_pages(name: str, request: pytest.FixtureRequest) -> None:
    found = re.search(rb"<xmpTPg:NPages>(\d+)<", request.getfixturevalue(name).pdf)
    assert found
    assert 5 <= int(found[1]) <= 8


def test_the_same_run_gives_the_same_bytes_again(with_negatives: Reported, tmp_path: Path) -> None:
    assert with_negatives.report(tmp_path)[1] == with_negatives.pdf
    for figure in (with_negatives.folder / "figures").iterdir():
        assert figure.read_bytes() == (tmp_path / "figures" / figure.name).read_bytes()


def test_its_figures_are_those_of_metrics_json(with_negatives: Reported) -> None:
    data = with_negatives.data
    metrics = read_json(with_negatives.folder / "metrics" / "metrics.json")
    measured = {name for name, value in metrics.items() if isinstance(value, dict) and "low" in value}
    shown = data["results"]["figures"]
    assert set(shown) == measured
    for name in measured:
        for key in ("value", "low", "high"):
            assert float(shown[name][key]) == pytest.approx(metrics[name][key], abs=5e-4 + 1e-9)
    for name, of_baseline in metrics["baseline"].items():
        for kind, value in of_baseline.items():
            assert float(data["results"]["baselines"][name][kind]["value"]) == pytest.approx(value["value"], abs=6e-4)
    assert [item["name"] for item in data["headline"]] == [
        "Accuracy",
        "Macro F1",
        "Rejection AUROC",
        "Error if accepted",
    ]
    assert data["headline"][0]["figure"] == shown["accuracy"]


def test_its_counts_are_those_of_the_patches(with_negatives: Reported) -> None:
    data = with_negatives.data
    manifest = open_pack(with_negatives.folder / "patches").manifest
    rows = {row[0]: row[1:] for row in data["data"]["counts"]}
    for label in (*HOSTILE, NONE):
        expected = [
            ((manifest["label"] == label) & (manifest["split"] == split)).sum() for split in ("train", "val", "test")
        ]
        assert [int(count) for count in rows[label]] == expected
    assert data["data"]["problem_count"] == 1
    assert data["data"]["problems"] == [["photo left out", "1"]]
    assert data["data"]["problem_examples"][0][1] == "not a picture"


def test_galleries_show_what_their_names_say(with_negatives: Reported) -> None:
    galleries = {gallery["name"]: gallery for gallery in with_negatives.data["galleries"]}
    table = pd.read_csv(with_negatives.folder / "inference" / "predictions.csv", keep_default_na=False)
    test = table[table["split"] == "test"]
    wrong = test[test["predicted"] != test["label"]]
    assert galleries["wrong"]["all"] == len(wrong)
    likeliest = wrong[[name for name in wrong if name.startswith("p_")]].max(axis=1)
    first = galleries["wrong"]["captions"][0]
    assert first["probability"] == f"{likeliest.max():.2f}"
    assert all(caption["label"] != caption["predicted"] for caption in galleries["wrong"]["captions"])
    assert all(caption["label"] == caption["predicted"] for caption in galleries["right"]["captions"])


def test_without_negatives_and_threshold_nothing_is_said_of_rejection(class_folders: Reported) -> None:
    data = class_folders.data
    assert data["none"] is None
    assert data["inference"]["threshold"] is None
    assert not {"reject_auroc", "false_accept_rate", "selective_error"} & set(data["results"]["figures"])
    assert "rejection" not in data["results"]["drawn"]
    assert {kind for kind, *_ in data["strategy"]["kinds"]} == {"exact", "jittered"}


def test_every_source_that_the_network_names_is_in_the_bibliography(with_negatives: Reported) -> None:
    ideas = with_negatives.data["network"]["ideas"]
    assert [idea["source"] for idea in ideas if not idea["key"]] == []
    years = re.findall(r"\b(?:19|20)\d\d\)", inspect.getdoc(MineralNet) or "")
    assert len(ideas) == len(years) > 0


def make_run(
    folder: Path, classes: Sequence[str], box: tuple[float, float, float, float], source: str, threshold: float | None
) -> Reported:
    rng = np.random.default_rng(0)
    default = load("minerals", Minerals, PARAMS)
    minerals = default.model_copy(
        update={
            "data": default.data.model_copy(update={"classes": tuple(classes), "source": source}),
            "patches": default.patches.model_copy(update={"patch_size": 32, "examples": 4}),
            "train": default.train.model_copy(update={"crop_size": 32}),
        }
    )
    photos = [draw_photo(folder / "in" / f"#{n} $_@<{n}>.png", rng, classes[n % len(classes)], box) for n in range(24)]
    broken = folder / "in" / "_bro*ken_ $.jpg"
    broken.write_bytes(b"no picture")
    ingest([*photos, Photo(broken.name, broken, ())], folder / "raw", classes, workers=0)
    outputs = (folder / name for name in ("patches", "examples", "sheet.png", "summary.json"))
    make_patches(folder / "raw", classes, minerals.patches, *outputs, workers=0)
    write_predictions(folder, minerals, rng, threshold)
    evaluate(
        folder / "inference",
        folder / "deployed",
        folder / "patches",
        default.evaluate.model_copy(update={"resamples": 100}),
        folder / "metrics",
    )
    return Reported(folder, minerals, *Run(folder, minerals).report(folder))


def draw_photo(path: Path, rng: np.random.Generator, label: str, box: tuple[float, float, float, float]) -> Photo:
    height, width = (int(side) for side in rng.integers(90, 160, size=2))
    coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return Photo(path.name, path, (Specimen(label, box, relative=True),))


def write_predictions(folder: Path, minerals: Minerals, rng: np.random.Generator, threshold: float | None) -> None:
    pack = open_pack(folder / "patches")
    names = [*minerals.data.classes, *([NONE] if (pack.manifest["label"] == NONE).any() else [])]
    arguments = {"num_classes": len(names), **minerals.train.network.model_dump(), "exemplars": 16}
    write_json(
        folder / "network" / "config.json",
        {"arguments": arguments, "balance": [0.7, 3.2], "parameters": 1234567, "preprocessing": {"size": 64}},
    )
    epochs = np.arange(1, 4)
    columns = ("lr", "train_loss", "val_loss", "val_accuracy", "val_macro_f1")
    write_csv(folder / "history.csv", pd.DataFrame({"epoch": epochs, **dict.fromkeys(columns, 1 / epochs)}))
    choice = {"max_error": 0.1, "confidence": 0.95, "accepted": 9, "errors": 1, "upper_bound": 0.09, "split": "0" * 64}
    write_json(
        folder / "deployed" / "config.json",
        {"classes": names, "temperature": 1.5, "threshold": threshold, "threshold_choice": choice},
    )
    rows = np.concatenate([pack.rows("val"), pack.rows("test")])
    table = pack.manifest.loc[rows, ["photo", "split", "label", "kind"]].reset_index(names="patch")
    logits = rng.normal(0, 1, (len(rows), len(names)))
    logits[np.arange(len(rows)), [names.index(label) for label in table["label"]]] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    decisions = decide(probabilities.astype(np.float32), names)
    table["predicted"] = np.where(decisions.none_wins, NONE, decisions.minerals)
    table["confidence"] = decisions.confidences
    table["accepted"] = decisions.accepted(np.inf if threshold is None else threshold)
    for number, name in enumerate(names):
        table[f"p_{name}"] = probabilities[:, number]
    write_csv(folder / "inference" / "predictions.csv", table)
    results = {'"#1" $x.png': {"confidence": 0.9, "result": names[0]}, "`b`.png": {"confidence": 0.2, "result": None}}
    write_json(folder / "inference" / "examples.json", results)
    write_json(folder / "inference" / "unreadable.json", {"c.png": "empty file"})
