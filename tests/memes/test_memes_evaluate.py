import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from sightline.core.errors import InputError
from sightline.core.files import write_csv, write_json
from sightline.memes.evaluate import evaluate
from sightline.memes.params import Evaluate

SETTINGS = Evaluate(resamples=100, seed=1)
TRIED = [("finetuned", "msp"), ("frozen", "knn"), ("frozen", "knn_contrast")]
THRESHOLD = 0.9


class Run:
    """The folders that the stage reads, from random logits that are right more often than not."""

    def __init__(
        self, folder: Path, *, classes: int = 2, near: int = 20, far: int = 25, later: int = 12, ties: bool = False
    ) -> None:
        rng = np.random.default_rng(0)
        self.folder, self.classes = folder, [f"class{k}" for k in range(classes)]
        splits = np.repeat(["train", "test", "unknown-test", "later-test"], [10, 120, near + far, later])
        kinds = np.repeat(["", "near", "far", ""], [130, near, far, later])
        truth = rng.integers(0, classes, len(splits))
        onehot = np.eye(classes)[truth] * (np.char.find(splits, "t") == 0)[:, None]
        self.logits = {
            name: (rng.normal(size=onehot.shape) + gain * onehot).astype(np.float32)
            for name, gain in (("finetuned", 2.5), ("probe", 1.5), ("scratch", 0.8))
        }
        shares = np.exp(self.logits["finetuned"].astype(np.float64))
        self.shares = shares / shares.sum(1, keepdims=True)
        labels = np.array(self.classes)[truth].astype(object)
        labels[splits == "unknown-test"], labels[splits == "later-test"] = "unknown", "later"
        lift = np.select([kinds == "near", kinds == "far", splits == "later-test"], [0.8, 1.6, 1.2], 0)
        self.scores = pd.DataFrame({"_".join(names): rng.normal(size=len(splits)) + lift for names in TRIED})
        if ties:
            self.scores = self.scores.round()
        self.table = pd.DataFrame({"photo": [f"{row}.png" for row in range(len(splits))], "split": splits})
        self.table["label"], self.table["kind"] = labels, kinds
        self.table["predicted"] = np.array(self.classes)[self.shares.argmax(1)]
        self.table["confidence"] = self.shares.max(1)
        for k, name in enumerate(self.classes):
            self.table[f"p_{name}"] = self.shares[:, k]
        self.table["unknown_score"] = self.scores["frozen_knn"]
        self.table["rejected"] = self.table["unknown_score"] > THRESHOLD

    def evaluate(self) -> dict[str, Any]:
        for name in ("scratch", "probe"):
            (self.folder / "inference").mkdir(parents=True, exist_ok=True)
            np.save(self.folder / "inference" / f"{name}_logits.npy", self.logits[name])
        write_csv(self.folder / "inference" / "predictions.csv", self.table)
        write_csv(self.folder / "inference" / "scores.csv", self.scores)
        manifest = self.table[["photo"]].assign(group=np.arange(len(self.table)) // 2)
        write_csv(self.folder / "samples" / "manifest.csv", manifest)
        tried = [{"space": space, "name": name, "settings": {}, "val_auroc": 0.5} for space, name in TRIED]
        scorer = {**tried[1], "threshold": THRESHOLD, "tried": tried}
        config = {"classes": self.classes, "temperature": 1.0, "scorer": scorer}
        write_json(self.folder / "deployed" / "config.json", config)
        folders = (self.folder / name for name in ("inference", "deployed", "samples"))
        evaluate(*folders, SETTINGS, self.folder / "metrics")
        found: dict[str, Any] = json.loads((self.folder / "metrics" / "metrics.json").read_text())
        return found

    @property
    def test(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.table["split"] == "test")

    def csv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / "metrics" / f"{name}.csv")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def value(figure: dict[str, float]) -> float:
    return figure["value"]


@pytest.mark.parametrize("classes", [2, 4])
def test_the_figures_of_classification_are_scikit_learns(tmp_path: Path, classes: int) -> None:
    run = Run(tmp_path, classes=classes)
    found = run.evaluate()
    truth = run.table["label"].to_numpy()[run.test]
    for name, figures in (("finetuned", found), *found["baseline"].items()):
        logits = run.logits[name][run.test].astype(np.float64)
        said = np.array(run.classes)[logits.argmax(1)]
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        auroc = metrics.roc_auc_score(truth, shares[:, 1] if classes == 2 else shares, multi_class="ovr")
        assert value(figures["accuracy"]) == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-6)
        balanced = metrics.balanced_accuracy_score(truth, said)
        assert value(figures["balanced_accuracy"]) == pytest.approx(balanced, abs=1e-6)
        assert value(figures["macro_f1"]) == pytest.approx(metrics.f1_score(truth, said, average="macro"), abs=1e-6)
        assert value(figures["auroc"]) == pytest.approx(auroc, abs=1e-6)
    assert set(found["baseline"]) == {"scratch", "probe"}
    assert set(found["per_class"]) == set(run.classes)


def test_differences_are_paired_and_fine_tuned_less_the_other(run: Run) -> None:
    found = run.evaluate()
    for name in ("scratch", "probe"):
        for kind, figure in found["difference"][f"finetuned_minus_{name}"].items():
            assert value(figure) == pytest.approx(value(found[kind]) - value(found["baseline"][name][kind]), abs=2e-6)
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert found["difference"]["finetuned_minus_scratch"]["accuracy"]["low"] > 0


def reference(known: NDArray[Any], unknown: NDArray[Any]) -> dict[str, float]:
    """scikit-learn on raw scores, and the two conventions of FPR95 counted threshold by threshold."""
    is_unknown, scores = np.repeat([False, True], [len(known), len(unknown)]), np.concatenate([known, unknown])
    finding = [t for t in np.unique(scores) if (unknown >= t).mean() >= 0.95]
    keeping = [t for t in np.unique(scores) if (known <= t).mean() >= 0.95]
    return {
        "auroc": metrics.roc_auc_score(is_unknown, scores),
        "aupr": metrics.average_precision_score(is_unknown, scores),
        "fpr95": (known >= max(finding)).mean(),
        "aupr_known_positive": metrics.average_precision_score(~is_unknown, -scores),
        "fpr95_known_positive": (unknown <= min(keeping)).mean(),
    }


@pytest.mark.parametrize("ties", [False, True])
def test_the_figures_of_unknown_pictures_are_scikit_learns_on_raw_scores(tmp_path: Path, ties: bool) -> None:
    run = Run(tmp_path, ties=ties)
    found, table = run.evaluate(), None
    table = run.csv("unknowns").set_index(["space", "scorer", "kind"])
    asked = {
        "all": run.table["split"] == "unknown-test",
        "near": run.table["kind"] == "near",
        "far": run.table["kind"] == "far",
        "later": run.table["split"] == "later-test",
    }
    assert len(table) == len(asked) * len(TRIED)
    for kind, rows in asked.items():
        for space, name in TRIED:
            column = run.scores[f"{space}_{name}"].to_numpy()
            for measure, expected in reference(column[run.test], column[rows]).items():
                assert table.loc[(space, name, kind), measure] == pytest.approx(expected, abs=1e-6)
                if name == "knn":
                    prefix = "unknown" if kind == "all" else f"unknown_{kind}"
                    assert value(found[f"{prefix}_{measure}"]) == pytest.approx(expected, abs=1e-6)
    assert table.query("chosen").index.unique("scorer").tolist() == ["knn"]
    assert table.query("has_seen_unknown").index.unique("scorer").tolist() == ["knn_contrast"]
    assert "positive class" in found["conventions"]["unknown_*"]


def test_the_threshold_does_what_one_counts(run: Run) -> None:
    found = run.evaluate()
    rows = run.table[run.table["split"].isin(["test", "unknown-test"])]
    known, kept = rows["split"] == "test", ~rows["rejected"]
    wrong = rows["predicted"] != rows["label"]
    assert value(found["coverage"]) == pytest.approx(kept[known].mean(), abs=1e-6)
    assert value(found["false_accept_rate"]) == pytest.approx(kept[~known].mean(), abs=1e-6)
    assert value(found["selective_error"]) == pytest.approx(wrong[kept].mean(), abs=1e-6)
    assert value(found["selective_error_known"]) == pytest.approx(wrong[kept & known].mean(), abs=1e-6)


def test_the_abstention_curve_passes_through_the_figures_at_the_threshold(run: Run) -> None:
    found = run.evaluate()
    curve = run.csv("abstention").query("by == 'unknown_score'")
    point = curve[curve["threshold"] <= THRESHOLD].iloc[-1]
    for name in ("coverage", "selective_error_known"):
        assert point[name] == pytest.approx(value(found[name]), abs=1e-6)
    for name in ("selective_error", "false_accept_rate"):
        # The threshold lies above the last known score that it keeps, and unknown ones may lie between.
        assert point[name] <= value(found[name]) + 1e-6
    by_confidence = run.csv("abstention").query("by == 'confidence'")
    last = by_confidence.iloc[-1]
    assert last["coverage"] == 1
    assert last["selective_error_known"] == pytest.approx(1 - value(found["accuracy"]), abs=1e-6)
    assert by_confidence["threshold"].is_monotonic_decreasing


def test_confusions_say_unknown_where_a_picture_is_rejected(run: Run) -> None:
    run.evaluate()
    table = run.csv("confusion")
    rows = run.table[run.table["split"].isin(["test", "unknown-test"])].reset_index(drop=True)
    assert table["label"].tolist() == rows["label"].tolist()
    assert table["named"].tolist() == rows["predicted"].tolist()
    assert ((table["predicted"] == "unknown") == rows["rejected"]).all()
    assert run.csv("reliability")["count"].sum() == 120


@pytest.mark.parametrize(
    ("counts", "kinds"),
    [((0, 5), ["all", "far"]), ((5, 0), ["all", "near"]), ((0, 0), []), ((1, 0), ["all", "near"])],
)
def test_kinds_without_pictures_are_left_out(tmp_path: Path, counts: Sequence[int], kinds: list[str]) -> None:
    run = Run(tmp_path, near=counts[0], far=counts[1], later=0)
    found = run.evaluate()
    assert run.csv("unknowns")["kind"].unique().tolist() == kinds
    assert ("unknown_auroc" in found) == ("false_accept_rate" in found) == bool(kinds)
    assert ("unknown_near_auroc" in found) == ("near" in kinds)
    assert not any(name.startswith("unknown_later") for name in found)
    if sum(counts) == 1:
        column, alone = run.scores["frozen_knn"].to_numpy(), run.table["split"] == "unknown-test"
        below = (column[run.test] < column[alone][0]).mean()
        assert value(found["unknown_auroc"]) == pytest.approx(below, abs=1e-6)
        assert value(found["unknown_fpr95"]) == pytest.approx(1 - below, abs=1e-6)


def test_intervals_are_over_groups_of_near_duplicates(run: Run) -> None:
    found = run.evaluate()
    assert found["accuracy"]["n"] == 60
    assert found["unknown_auroc"]["n"] == 60 + 23
    for name in ("accuracy", "auroc", "unknown_auroc", "unknown_near_fpr95", "coverage", "selective_error"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_where_everything_is_rejected_there_is_no_error_among_the_accepted(run: Run) -> None:
    run.table["rejected"] = True
    found = run.evaluate()
    assert value(found["coverage"]) == value(found["false_accept_rate"]) == 0
    assert not {"selective_error", "selective_error_known"} & found.keys()


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Run(tmp_path / name).evaluate()
    for path in (tmp_path / "a" / "metrics").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "metrics" / path.name).read_bytes()


def test_what_does_not_belong_together_is_an_error(run: Run) -> None:
    run.table.loc[run.test, "split"] = "train"
    with pytest.raises(InputError, match="the test split has no pictures"):
        run.evaluate()
    write_csv(run.folder / "samples" / "manifest.csv", pd.DataFrame({"photo": ["x.png"], "group": [0]}))
    folders = (run.folder / name for name in ("inference", "deployed", "samples"))
    with pytest.raises(InputError, match="run memes-infer again"):
        evaluate(*folders, SETTINGS, run.folder / "metrics")
