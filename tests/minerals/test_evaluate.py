import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.dummy import DummyClassifier

from sightline.core.errors import InputError
from sightline.core.files import write_csv, write_json
from sightline.core.packs import write_pack
from sightline.minerals.evaluate import evaluate
from sightline.minerals.params import NONE, Evaluate

MINERALS = ["biotite", "pyrite", "quartz"]
WITH_NONE = [*MINERALS, NONE]
THRESHOLD = 0.55
SETTINGS = Evaluate(resamples=100, seed=1)


class Run:
    """The folders that the stage reads, from true labels and probabilities (N, K); two patches a photo."""

    def __init__(
        self, folder: Path, classes: Sequence[str], labels: Sequence[str], probabilities: NDArray[Any]
    ) -> None:
        self.folder, self.classes = folder, list(classes)
        minerals = [number for number, name in enumerate(classes) if name != NONE]
        best = probabilities[:, minerals].argmax(axis=1)
        confidence = probabilities[:, minerals].max(axis=1)
        self.best_mineral = np.array(classes)[minerals][best]
        predicted = np.array(classes)[probabilities.argmax(axis=1)]
        photos = [f"images/{row // 2}.png" for row in range(len(labels))]
        self.test = pd.DataFrame({"photo": photos, "split": "test", "label": labels, "kind": "exact"})
        self.test["predicted"], self.test["confidence"] = predicted, confidence
        self.test["accepted"] = (confidence >= THRESHOLD) & (predicted != NONE)
        for name, column in zip(classes, probabilities.T, strict=True):
            self.test[f"p_{name}"] = column

    def evaluate(self, train: int = 30) -> dict[str, Any]:
        rng = np.random.default_rng(3)
        train_labels = [self.classes[k] for k in rng.integers(0, len(self.classes), train)]
        labels = [*train_labels, *self.test["label"]]
        self.images = np.stack([_patch(rng, self.classes.index(label)) for label in labels])
        splits = ["train"] * train + ["test"] * len(self.test)
        rows = [{"photo": "-", "split": split, "label": label} for split, label in zip(splits, labels, strict=True)]
        write_pack(self.folder / "patches", 8, [(self.images, rows)])
        self.train_labels = np.array(train_labels)
        test = self.test.assign(patch=np.arange(train, len(labels)))
        # Rows of validation are there as well and count nowhere.
        val = test.assign(split="val", predicted=self.classes[0], accepted=True)
        write_csv(self.folder / "inference" / "predictions.csv", pd.concat([val, test]))
        write_json(self.folder / "deployed" / "config.json", {"classes": self.classes, "threshold": THRESHOLD})
        folders = (self.folder / name for name in ("inference", "deployed", "patches"))
        evaluate(*folders, SETTINGS, self.folder / "metrics")
        found: dict[str, Any] = json.loads((self.folder / "metrics" / "metrics.json").read_text())
        return found


def _patch(rng: np.random.Generator, number: int) -> NDArray[np.uint8]:
    return np.asarray(rng.normal(40 + 50 * number, 40, (8, 8, 3)).clip(0, 255), dtype=np.uint8)


def noisy(classes: Sequence[str], count: int = 120, seed: int = 0) -> tuple[list[str], NDArray[np.float64]]:
    """Labels, and probabilities that are right about three times out of four."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), count)
    logits = rng.normal(0, 1, (count, len(classes))) + 1.8 * np.eye(len(classes))[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [classes[k] for k in labels], probabilities.astype(np.float32).astype(np.float64)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, WITH_NONE, *noisy(WITH_NONE))


def value(figure: dict[str, float]) -> float:
    return figure["value"]


def test_the_figures_of_classification_are_scikit_learns(run: Run) -> None:
    found = run.evaluate()
    truth, said = run.test["label"], run.test["predicted"]
    assert value(found["accuracy"]) == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-6)
    assert value(found["balanced_accuracy"]) == pytest.approx(metrics.balanced_accuracy_score(truth, said), abs=1e-6)
    assert value(found["macro_f1"]) == pytest.approx(metrics.f1_score(truth, said, average="macro"), abs=1e-6)
    table = metrics.precision_recall_fscore_support(truth, said, labels=WITH_NONE)
    for number, name in enumerate(WITH_NONE):
        for row, kind in enumerate(("precision", "recall", "f1")):
            assert value(found["per_class"][name][kind]) == pytest.approx(table[row][number], abs=1e-6)


def test_the_figures_of_rejection_are_scikit_learns(run: Run) -> None:
    found = run.evaluate()
    is_mineral = run.test["label"] != NONE
    auroc = metrics.roc_auc_score(is_mineral, run.test["confidence"])
    aupr = metrics.average_precision_score(~is_mineral, 1 - run.test["confidence"])
    assert value(found["reject_auroc"]) == pytest.approx(auroc, abs=1e-6)
    assert value(found["reject_aupr"]) == pytest.approx(aupr, abs=1e-6)


def test_coverage_and_errors_at_the_threshold_are_what_one_counts(run: Run) -> None:
    found = run.evaluate()
    accepted_minerals = accepted_wrong = accepted_none = minerals = best_right = 0
    for row, best in zip(run.test.itertuples(), run.best_mineral, strict=True):
        accepted = row.confidence >= THRESHOLD and row.predicted != NONE
        minerals += row.label != NONE
        accepted_minerals += accepted and row.label != NONE
        accepted_none += accepted and row.label == NONE
        accepted_wrong += accepted and row.label != row.predicted
        best_right += row.label != NONE and row.label == best
    accepted_all = accepted_minerals + accepted_none
    assert accepted_wrong > accepted_none > 0
    assert value(found["coverage"]) == pytest.approx(accepted_minerals / minerals, abs=1e-6)
    assert value(found["selective_error"]) == pytest.approx(accepted_wrong / accepted_all, abs=1e-6)
    assert value(found["false_accept_rate"]) == pytest.approx(accepted_none / (120 - minerals), abs=1e-6)
    assert value(found["closed_set_accuracy"]) == pytest.approx(best_right / minerals, abs=1e-6)
    assert found["threshold"] == THRESHOLD
    assert found["patches"] == {"val": 120, "test": 120}


def test_the_coverage_curve_passes_through_the_figures_at_the_threshold(run: Run) -> None:
    found = run.evaluate()
    curve = pd.read_csv(run.folder / "metrics" / "coverage.csv")
    point = curve[curve["threshold"] >= THRESHOLD].iloc[-1]
    assert point["coverage"] == pytest.approx(value(found["coverage"]), abs=1e-6)
    assert point["selective_error"] == pytest.approx(value(found["selective_error"]), abs=1e-6)
    named = run.test[(run.test["predicted"] != NONE) & (run.test["label"] != NONE)]
    assert curve["coverage"].iloc[-1] == pytest.approx(len(named) / (run.test["label"] != NONE).sum())


def test_the_calibration_error_and_its_table(run: Run) -> None:
    found = run.evaluate()
    likeliest = run.test[[f"p_{name}" for name in WITH_NONE]].max(axis=1)
    right = run.test["predicted"] == run.test["label"]
    gaps = 0.0
    for low in np.arange(15) / 15:
        members = (likeliest > low) & (likeliest <= low + 1 / 15)
        gaps += abs((likeliest[members] - right[members]).sum())
    assert value(found["ece"]) == pytest.approx(gaps / 120, abs=1e-6)
    table = pd.read_csv(run.folder / "metrics" / "reliability.csv")
    assert table["count"].sum() == 120
    assert (table["accuracy"] * table["count"]).sum() == pytest.approx(right.sum())


def test_the_confusions_are_listed_patch_by_patch(run: Run) -> None:
    run.evaluate()
    table = pd.read_csv(run.folder / "metrics" / "confusion.csv")
    expected = metrics.confusion_matrix(run.test["label"], run.test["predicted"], labels=WITH_NONE)
    found = metrics.confusion_matrix(table["label"], table["predicted"], labels=WITH_NONE)
    np.testing.assert_array_equal(found, expected)


def test_baselines_are_a_dummy_and_five_neighbours_by_brute_force(run: Run) -> None:
    found = run.evaluate()["baseline"]
    truth = run.test["label"]
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((30, 1)), run.train_labels)
    expected = {"majority": dummy.predict(np.zeros((120, 1)))}
    pixels = run.images.reshape(len(run.images), -1, 3)
    histograms = np.stack([np.histogramdd(patch, bins=8, range=[(0, 256)] * 3)[0].ravel() / 64 for patch in pixels])
    affinity = np.sqrt(histograms[30:]) @ np.sqrt(histograms[:30]).T
    votes = [run.train_labels[row] for row in np.argsort(-affinity, axis=1, kind="stable")[:, :5]]
    expected["colour_histogram_5nn"] = np.array([max(sorted(set(vote)), key=list(vote).count) for vote in votes])
    for name, said in expected.items():
        assert value(found[name]["accuracy"]) == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-6)
        macro_f1 = metrics.f1_score(truth, said, average="macro", labels=WITH_NONE, zero_division=0)
        assert value(found[name]["macro_f1"]) == pytest.approx(macro_f1, abs=1e-6)


def test_intervals_are_over_photos_and_hold_their_value(run: Run) -> None:
    found = run.evaluate()
    for name in ("accuracy", "macro_f1", "reject_auroc", "coverage", "selective_error", "false_accept_rate"):
        figure = found[name]
        assert figure["n"] == 60
        assert figure["low"] < figure["value"] < figure["high"]


def test_without_an_output_for_none_there_are_no_figures_of_rejection(tmp_path: Path) -> None:
    run = Run(tmp_path, MINERALS, *noisy(MINERALS))
    found = run.evaluate()
    assert not {"reject_auroc", "reject_aupr", "false_accept_rate"} & found.keys()
    assert value(found["accuracy"]) == value(found["closed_set_accuracy"])
    assert value(found["coverage"]) == pytest.approx(run.test["accepted"].mean(), abs=1e-6)
    assert set(found["per_class"]) == set(MINERALS)


def test_a_test_split_without_negatives_leaves_their_figures_out(tmp_path: Path) -> None:
    labels, probabilities = noisy(WITH_NONE)
    rows = [row for row, label in enumerate(labels) if label != NONE]
    found = Run(tmp_path, WITH_NONE, [labels[row] for row in rows], probabilities[rows]).evaluate()
    assert not {"reject_auroc", "reject_aupr", "false_accept_rate"} & found.keys()
    assert NONE in found["per_class"]


def test_where_nothing_is_accepted_there_is_no_error_among_the_accepted(run: Run) -> None:
    run.test["accepted"] = False
    found = run.evaluate()
    assert value(found["coverage"]) == value(found["false_accept_rate"]) == 0
    assert "selective_error" not in found


def test_perfect_predictions(tmp_path: Path) -> None:
    labels, _ = noisy(WITH_NONE)
    certain = np.eye(4)[[WITH_NONE.index(label) for label in labels]]
    found = Run(tmp_path, WITH_NONE, labels, certain).evaluate()
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "reject_auroc", "reject_aupr", "coverage"):
        assert value(found[name]) == 1
    for name in ("ece", "selective_error", "false_accept_rate"):
        assert value(found[name]) == 0


def test_where_none_wins_everywhere_the_tables_are_still_written(tmp_path: Path) -> None:
    labels, probabilities = noisy(WITH_NONE)
    found = Run(tmp_path, WITH_NONE, labels, np.tile(np.eye(4)[3], (len(probabilities), 1))).evaluate()
    assert value(found["coverage"]) == 0
    assert value(found["reject_auroc"]) == 0.5
    assert pd.read_csv(tmp_path / "metrics" / "coverage.csv").empty


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Run(tmp_path / name, WITH_NONE, *noisy(WITH_NONE)).evaluate()
    for path in (tmp_path / "a" / "metrics").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "metrics" / path.name).read_bytes()


def test_an_empty_test_split_is_an_error(run: Run) -> None:
    run.test = run.test[:0]
    with pytest.raises(InputError, match="the test split has no patches"):
        run.evaluate()
