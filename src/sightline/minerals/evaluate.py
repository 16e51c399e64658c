"""Stage ``minerals-evaluate``: what the predictions on split 'test' are worth, with intervals over source photos."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from sightline.core.baselines import colour_histogram_neighbours, majority
from sightline.core.calibration import coverage_curve, expected_calibration_error, reliability
from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.intervals import Figure, FloatArray, Statistics, bootstrap, confusion_statistics
from sightline.core.packs import Pack, open_pack
from sightline.core.progress import say
from sightline.minerals.params import NONE, Evaluate, Minerals
from sightline.params import load

Option = typer.Option()


def main(
    inference: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    patches: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`evaluate`."""
    evaluate(inference, deployed, patches, load("minerals", Minerals).evaluate, out)


def evaluate(inference: Path, deployed: Path, patches: Path, settings: Evaluate, out: Path) -> None:
    """Write ``metrics.json`` and the tables behind the plots into the folder ``out``.

    Raises:
        InputError: the test split has too few photos for an interval.
    """
    config = read_json(deployed / "config.json")
    texts = dict.fromkeys(("photo", "split", "label", "kind", "predicted"), str)
    table = pd.read_csv(inference / "predictions.csv", keep_default_na=False, dtype=texts)
    test = table[table["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise InputError("the test split has no patches: larger minerals.patches.test_fraction or more photos")
    baselines = _baselines(open_pack(patches), test)
    statistics = _statistics(test, config["classes"], baselines)
    figures = bootstrap(statistics, test["photo"].to_numpy(), seed=settings.seed, resamples=settings.resamples)
    metrics = _nested(figures, config["classes"], list(baselines))
    metrics["patches"] = {split: int((table["split"] == split).sum()) for split in ("val", "test")}
    metrics["threshold"] = config["threshold"]
    write_json(out / "metrics.json", metrics)
    likeliest, correct = _likeliest(test, config["classes"])
    write_csv(out / "confusion.csv", test[["label", "predicted"]])
    write_csv(out / "reliability.csv", reliability(likeliest, correct))
    write_csv(out / "coverage.csv", _coverage_at_all_thresholds(test))
    macro_f1, accuracy = figures["macro_f1"].value, figures["accuracy"].value
    say(f"macro-F1 {macro_f1:.3f}, accuracy {accuracy:.3f} on {len(test)} test patches")


def _statistics(test: pd.DataFrame, classes: Sequence[str], baselines: Mapping[str, NDArray[np.str_]]) -> Statistics:
    """All figures as a function of sample weights, see :func:`sightline.core.intervals.bootstrap`."""
    label = test["label"].to_numpy()
    number = {name: position for position, name in enumerate(classes)}
    truth = np.array([number[name] for name in label])
    answers = {"": test["predicted"].to_numpy(), **baselines}
    confusions = {
        prefix: confusion_statistics(truth, np.array([number[name] for name in predicted]), len(classes))
        for prefix, predicted in answers.items()
    }
    likeliest, correct = _likeliest(test, classes)
    is_mineral = label != NONE
    confidence = test["confidence"].to_numpy()
    minerals = [name for name in classes if name != NONE]
    best_mineral = np.array(minerals)[test[[f"p_{name}" for name in minerals]].to_numpy().argmax(1)]
    accepted = test["accepted"].astype(str).eq("True").to_numpy()
    wrong = test["predicted"].to_numpy() != label

    def statistics(weights: FloatArray) -> dict[str, float]:
        figures = dict(confusions[""](weights))
        for name in baselines:
            of_baseline = confusions[name](weights)
            figures |= {f"{name}.accuracy": of_baseline["accuracy"], f"{name}.macro_f1": of_baseline["macro_f1"]}
        figures["ece"] = expected_calibration_error(likeliest, correct, weights=weights)
        figures["closed_set_accuracy"] = _share(best_mineral == label, is_mineral, weights)
        figures["coverage"] = _share(accepted, is_mineral, weights)
        if accepted.any():
            figures["selective_error"] = _share(wrong, accepted, weights)
        if not is_mineral.all():
            figures["false_accept_rate"] = _share(accepted, ~is_mineral, weights)
            drawn = weights > 0
            if len(np.unique(is_mineral[drawn])) == 2:
                figures["reject_auroc"] = roc_auc_score(is_mineral, confidence, sample_weight=weights)
                figures["reject_aupr"] = average_precision_score(~is_mineral, -confidence, sample_weight=weights)
        return figures

    return statistics


def _share(what: NDArray[np.bool_], among: NDArray[np.bool_], weights: FloatArray) -> float:
    total = weights[among].sum()
    return float(weights[among & what].sum() / total) if total else float("nan")


def _coverage_at_all_thresholds(test: pd.DataFrame) -> pd.DataFrame:
    """The figures ``coverage`` and ``selective_error`` at every threshold, as rows of threshold and both."""
    # Patches on which 'none' wins are never accepted, so the curve ends at the share of the others.
    named = test[test["predicted"] != NONE]
    curve = coverage_curve(named["confidence"].to_numpy(), (named["predicted"] == named["label"]).to_numpy())
    minerals = np.sort(named.loc[named["label"] != NONE, "confidence"].to_numpy())
    accepted = len(minerals) - np.searchsorted(minerals, curve["threshold"])
    return curve.assign(coverage=accepted / (test["label"] != NONE).sum())


def _likeliest(test: pd.DataFrame, classes: Sequence[str]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The probability of each patch's likeliest class, 'none of them' included, and whether that class is right."""
    probabilities = test[[f"p_{name}" for name in classes]].to_numpy(np.float64)
    return probabilities.max(1).clip(0, 1), (test["predicted"] == test["label"]).to_numpy()


def _baselines(pack: Pack, test: pd.DataFrame) -> dict[str, NDArray[np.str_]]:
    """What two simple rules answer to the test patches: the commonest class, and the five nearest colour histograms."""
    rows = pack.rows("train")
    labels = pack.manifest["label"].to_numpy()[rows]
    nearest = colour_histogram_neighbours(
        (pack.images[row] for row in rows), labels, (pack.images[row] for row in test["patch"])
    )
    return {"majority": majority(labels, len(test)), "colour_histogram_5nn": nearest}


def _nested(figures: Mapping[str, Figure], classes: Sequence[str], baselines: Sequence[str]) -> dict[str, Any]:
    of_all = {name for name in figures if "." not in name and not name.rpartition("_")[2].isdigit()}
    return {
        **{name: figures[name].as_dict() for name in figures if name in of_all},
        "per_class": {
            label: {kind: figures[f"{kind}_{number}"].as_dict() for kind in ("precision", "recall", "f1")}
            for number, label in enumerate(classes)
        },
        "baseline": {
            name: {kind: figures[f"{name}.{kind}"].as_dict() for kind in ("accuracy", "macro_f1")} for name in baselines
        },
    }
