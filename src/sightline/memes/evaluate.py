"""Stage ``memes-evaluate``: what predictions and unknown scores are worth on the test splits, with intervals."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core.calibration import area_under_risk_coverage, coverage_curve, expected_calibration_error, reliability
from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.intervals import Figure, FloatArray, Statistics, bootstrap, confusion_statistics, paired_difference
from sightline.core.progress import say
from sightline.core.ranking import Ranking
from sightline.memes.params import UNKNOWN, Evaluate, Memes
from sightline.memes.predictor import probabilities
from sightline.params import load

Option = typer.Option()

CONVENTIONS = {
    "unit": "a group of near-duplicates; n counts those",
    "unknown_*": "unknown is the positive class, against all known test pictures; raw scores, larger is more unknown",
    "fpr95": "share of known pictures called unknown at the threshold that finds 95 % of the unknown ones",
    "aupr": "average precision of unknown",
    "*_known_positive": "the other convention: known is the positive class, so fpr95 is the share of unknown pictures "
    "called known at the threshold that keeps 95 % of the known ones",
    "coverage": "share of known test pictures that are not rejected as unknown",
    "selective_error": "share of wrong answers among test pictures not rejected; to an unknown one any is wrong",
    "selective_error_known": "the same among known pictures alone",
    "false_accept_rate": "share of unknown test pictures that are not rejected",
    "unknown_later_*": "pictures of the class that is added later, none of which was used to choose or fit anything",
}


def main(
    inference: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    samples: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`evaluate`."""
    evaluate(inference, deployed, samples, load("memes", Memes).evaluate, out)


def evaluate(inference: Path, deployed: Path, samples: Path, settings: Evaluate, out: Path) -> None:
    """Write ``metrics.json`` and the tables behind the plots into the folder ``out``.

    Classification is measured on split 'test', the telling of unknown pictures on 'test' against 'unknown-test' (all,
    and those of kind 'near' and 'far' where kinds are known) and against the class that is added later.

    Raises:
        InputError: the test split is empty, or too small for an interval.
    """
    config = read_json(deployed / "config.json")
    texts = dict.fromkeys(("photo", "split", "label", "kind", "predicted"), str)
    table = pd.read_csv(inference / "predictions.csv", keep_default_na=False, dtype=texts)
    manifest = pd.read_csv(samples / "manifest.csv", keep_default_na=False, dtype={"photo": str})
    if not table["photo"].equals(manifest["photo"]):
        raise InputError(f"{inference} does not describe the pictures in {samples}: run memes-infer again")
    table["group"] = manifest["group"]
    rejected = table["rejected"].astype(str).eq("True").to_numpy()
    test = np.flatnonzero(table["split"] == "test")
    if not len(test):
        raise InputError("the test split has no pictures: larger memes.samples.test_fraction or more pictures")

    answers = _answers(table, inference, config["classes"])
    metrics, differences = _classification(table.loc[test], {name: p[test] for name, p in answers.items()}, settings)
    metrics |= _rejection(table, rejected, settings)
    scores = pd.read_csv(inference / "scores.csv")
    unknowns = _unknowns(table, scores, config["scorer"], settings)
    metrics |= _of_chosen(unknowns)
    of_test = table.loc[test]
    correct = (of_test["predicted"] == of_test["label"]).to_numpy()
    confidence = of_test["confidence"].to_numpy(np.float64).clip(0, 1)
    by_confidence = coverage_curve(confidence, correct)
    metrics["aurc"] = round(area_under_risk_coverage(by_confidence), 6)
    metrics["difference"] = differences
    metrics["pictures"] = {split: int(count) for split, count in table["split"].value_counts().sort_index().items()}
    metrics["scorer"] = {key: config["scorer"][key] for key in ("space", "name", "settings", "threshold", "val_auroc")}
    metrics["temperature"] = config["temperature"]
    metrics["conventions"] = CONVENTIONS
    write_json(out / "metrics.json", metrics)
    write_csv(out / "unknowns.csv", unknowns)
    write_csv(out / "abstention.csv", _abstention(table, test))
    write_csv(out / "reliability.csv", reliability(confidence, correct))
    asked = table["split"].isin(["test", "unknown-test"])
    said = table.assign(named=table["predicted"], predicted=np.where(rejected, UNKNOWN, table["predicted"]))
    write_csv(out / "confusion.csv", said.loc[asked, ["label", "predicted", "named"]])
    say(f"accuracy {metrics['accuracy']['value']:.3f} on {len(test)} test pictures")


def _answers(table: pd.DataFrame, inference: Path, classes: list[str]) -> dict[str, FloatArray]:
    """Probabilities (N, K) of the fine-tuned network and of those that it is compared with."""
    finetuned = table[[f"p_{name}" for name in classes]].to_numpy(np.float64)
    others = {name: np.load(inference / f"{name}_logits.npy") for name in ("scratch", "probe")}
    return {"finetuned": finetuned, **{name: probabilities(logits, 1.0) for name, logits in others.items()}}


def _classification(
    test: pd.DataFrame, answers: Mapping[str, FloatArray], settings: Evaluate
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the fine-tuned network with the others as its baselines, and its differences from them."""
    classes = [name.removeprefix("p_") for name in test.columns if name.startswith("p_")]
    number = {name: position for position, name in enumerate(classes)}
    truth = np.array([number[label] for label in test["label"]])
    groups = test["group"].to_numpy()
    statistics = {name: _statistics(truth, shares) for name, shares in answers.items()}
    seed, resamples = settings.seed, settings.resamples
    figures = {name: bootstrap(each, groups, seed=seed, resamples=resamples) for name, each in statistics.items()}
    of_finetuned = figures.pop("finetuned")
    overall = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")
    metrics: dict[str, Any] = {name: of_finetuned[name].as_dict() for name in (*overall, "ece")}
    metrics["per_class"] = {
        name: {kind: of_finetuned[f"{kind}_{k}"].as_dict() for kind in ("precision", "recall", "f1")}
        for k, name in enumerate(classes)
    }
    metrics["baseline"] = {
        name: {kind: of_other[kind].as_dict() for kind in overall} for name, of_other in figures.items()
    }
    differences: dict[str, Any] = {}
    for name in figures:
        pair = statistics[name], statistics["finetuned"]
        found = paired_difference(*pair, groups, seed=seed, resamples=resamples)
        differences[f"finetuned_minus_{name}"] = {kind: found[kind].as_dict() for kind in overall}
    return metrics, differences


def _statistics(truth: NDArray[np.integer[Any]], shares: FloatArray) -> Statistics:
    """All figures of a classifier as a function of sample weights, see :func:`sightline.core.intervals.bootstrap`."""
    num_classes = shares.shape[1]
    confusion = confusion_statistics(truth, shares.argmax(1), num_classes)
    # Of two classes one is enough; of more, each against the rest, and the mean over the classes.
    positives = [1] if num_classes == 2 else range(num_classes)
    rankings = [Ranking(shares[:, k], truth == k) for k in positives]
    confidence, correct = shares.max(1).clip(0, 1), shares.argmax(1) == truth

    def statistics(weights: FloatArray) -> dict[str, float]:
        figures = dict(confusion(weights))
        figures["auroc"] = float(np.mean([ranking.auroc(weights) for ranking in rankings]))
        figures["ece"] = expected_calibration_error(confidence, correct, weights=weights)
        return figures

    return statistics


def _rejection(table: pd.DataFrame, rejected: NDArray[np.bool_], settings: Evaluate) -> dict[str, Any]:
    """What the threshold does, on known and unknown test pictures together."""
    rows = np.flatnonzero(table["split"].isin(["test", "unknown-test"]))
    known = (table["split"].to_numpy() == "test")[rows]
    kept = ~rejected[rows]
    wrong = (table["predicted"] != table["label"]).to_numpy()[rows]

    def statistics(weights: FloatArray) -> dict[str, float]:
        shares = {"coverage": (kept, known)}
        if kept.any():
            shares["selective_error"] = (wrong, kept)
        if (kept & known).any():
            shares["selective_error_known"] = (wrong, kept & known)
        if not known.all():
            shares["false_accept_rate"] = (kept, ~known)
        return {name: _share(what, among, weights) for name, (what, among) in shares.items()}

    groups = table["group"].to_numpy()[rows]
    figures = bootstrap(statistics, groups, seed=settings.seed, resamples=settings.resamples)
    return {name: figure.as_dict() for name, figure in figures.items()}


def _share(what: NDArray[np.bool_], among: NDArray[np.bool_], weights: FloatArray) -> float:
    total = weights[among].sum()
    return float(weights[among & what].sum() / total) if total else float("nan")


def _unknowns(table: pd.DataFrame, scores: pd.DataFrame, chosen: Mapping[str, Any], settings: Evaluate) -> pd.DataFrame:
    """One row for each space, score and kind of unknown pictures that there is."""
    split, kind = table["split"].to_numpy(), table["kind"].to_numpy()
    of_kind = {"all": split == "unknown-test"}
    of_kind |= {name: of_kind["all"] & (kind == name) for name in ("near", "far")}
    of_kind["later"] = np.isin(split, ["later-pool", "later-test"])
    rows = []
    for name, is_unknown in of_kind.items():
        if not is_unknown.any():
            continue
        asked = np.flatnonzero(is_unknown | (split == "test"))
        statistics = _ranking_statistics(scores.iloc[asked], is_unknown[asked])
        groups = table["group"].to_numpy()[asked]
        figures = bootstrap(statistics, groups, seed=settings.seed, resamples=settings.resamples)
        for trial in chosen["tried"]:
            column = f"{trial['space']}_{trial['name']}"
            row = {
                "space": trial["space"],
                "scorer": trial["name"],
                "kind": name,
                "chosen": (trial["space"], trial["name"]) == (chosen["space"], chosen["name"]),
                "settings": json.dumps(trial["settings"]),
                "has_seen_unknown": trial["name"] == "knn_contrast",
                "val_auroc": trial["val_auroc"],
                "unknown": int(is_unknown.sum()),
                "known": int((split == "test").sum()),
                "n": figures[f"{column} auroc"].n,
            }
            for figure in MEASURES:
                found = figures[f"{column} {figure}"]
                row |= {figure: found.value, f"{figure}_low": found.low, f"{figure}_high": found.high}
            rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else [*COLUMNS, *MEASURES])


def _ranking_statistics(scores: pd.DataFrame, is_unknown: NDArray[np.bool_]) -> Statistics:
    rankings = {
        name: (Ranking(column.to_numpy(), is_unknown), Ranking(-column.to_numpy(), ~is_unknown))
        for name, column in scores.items()
    }

    def statistics(weights: FloatArray) -> dict[str, float]:
        figures = {}
        for name, (unknown, known) in rankings.items():
            figures[f"{name} auroc"] = unknown.auroc(weights)
            figures[f"{name} aupr"] = unknown.average_precision(weights)
            figures[f"{name} fpr95"] = unknown.fpr_at_tpr(weights)
            figures[f"{name} aupr_known_positive"] = known.average_precision(weights)
            figures[f"{name} fpr95_known_positive"] = known.fpr_at_tpr(weights)
        return figures

    return statistics


def _of_chosen(unknowns: pd.DataFrame) -> dict[str, Any]:
    """The chosen score's figures by the names of metrics.json."""
    figures: dict[str, Any] = {}
    for _, row in unknowns[unknowns["chosen"]].iterrows():
        prefix = "unknown" if row["kind"] == "all" else f"unknown_{row['kind']}"
        for measure in MEASURES:
            figure = Figure(row[measure], row[f"{measure}_low"], row[f"{measure}_high"], int(row["n"]))
            figures[f"{prefix}_{measure}"] = figure.as_dict()
    return figures


def _abstention(table: pd.DataFrame, test: NDArray[np.intp]) -> pd.DataFrame:
    """What is accepted and how much of it is wrong at every threshold, by confidence and by unknown score.

    ``threshold`` is the lowest confidence, or the highest unknown score, that is accepted.
    """
    known = table.loc[test]
    wrong = (known["predicted"] != known["label"]).to_numpy()
    strangers = table[table["split"] == "unknown-test"]
    curves = []
    for by, sign in (("confidence", 1.0), ("unknown_score", -1.0)):
        own, others = sign * known[by].to_numpy(), np.sort(sign * strangers[by].to_numpy())
        thresholds, inverse = np.unique(-own, return_inverse=True)
        kept = np.bincount(inverse).cumsum()
        errors = np.bincount(inverse, wrong).cumsum()
        accepted = len(others) - np.searchsorted(others, -thresholds)
        curves.append(
            pd.DataFrame(
                {
                    "by": by,
                    "threshold": 0 - sign * thresholds,
                    "coverage": kept / len(known),
                    "selective_error_known": errors / kept,
                    "selective_error": (errors + accepted) / (kept + accepted),
                    "false_accept_rate": accepted / len(others) if len(others) else np.nan,
                }
            )
        )
    return pd.concat(curves, ignore_index=True)


MEASURES = ("auroc", "aupr", "fpr95", "aupr_known_positive", "fpr95_known_positive")
COLUMNS = ("space", "scorer", "kind", "chosen", "settings", "has_seen_unknown", "val_auroc", "unknown", "known", "n")
