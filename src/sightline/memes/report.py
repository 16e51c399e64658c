"""Stage ``memes-report``: one run told in a few pages, every number and picture read from the run's own files."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from sklearn.metrics import confusion_matrix

from sightline.core import plots
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder
from sightline.core.images import Pixels, read_image
from sightline.core.packs import Pack, open_pack
from sightline.core.report import compile_report, in_words, write_mosaic, write_photo
from sightline.memes import figures as drawings
from sightline.memes.params import UNKNOWN, Memes
from sightline.memes.shortcuts import changes
from sightline.params import load

Option = typer.Option()


def main(
    data: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`report`."""
    report(data, deployed, metrics, load("memes", Memes), figures, out)


def report(data: Path, deployed: Path, metrics: Path, memes: Memes, figures: Path, out: Path) -> None:
    """Write the PDF ``out`` and the folder of its ``figures`` from what the other stages left.

    Args:
        data: the folder with ``raw``, ``samples`` (and ``samples.png``), ``training``, ``inference``, ``explain``,
            ``luck`` and ``extend``, of the stages of these names.
        deployed: the deployed model's folder.
        metrics: the folder with the figures and tables of all stages.
        memes: the parameters of the run.
        figures: a folder to make.
        out: the PDF to make.

    Raises:
        InputError: the files are not of one run.
    """
    pack = open_pack(data / "samples")
    predictions = read_predictions(data / "inference" / "predictions.csv")
    if predictions["photo"].tolist() != pack.manifest["photo"].tolist():
        raise InputError(f"{data / 'inference'} and {data / 'samples'} are of different runs: run memes-infer again")
    measured, config = read_json(metrics / "metrics.json"), read_json(deployed / "config.json")
    with replacing_folder(figures) as part:
        write_photo(part / "sheet.jpg", read_image(data / "samples.png"), 1760)
        told = {
            "source": memes.data.source,
            "classes": config["classes"],
            "later": memes.data.later,
            "headline": _headline(measured, read_json(metrics / "extend.json")),
            "hero": _hero(pack, predictions, part),
            "data": _data(data / "raw", pack, read_json(metrics / "samples.json"), memes),
            "transfer": _transfer(data / "training", pd.read_csv(metrics / "history.csv"), measured, memes, part),
            "result": _result(metrics, measured, config["classes"], part),
            "wrong": _wrong(data / "explain", read_json(metrics / "explain.json"), memes, part),
            "luck": _luck(data / "luck", metrics, pack, memes, part),
            "neither": _neither(predictions, metrics, measured, config, part),
            "adding": _adding(data / "extend", metrics, part),
        }
        compile_report(TEMPLATE, told, part, out, BIBLIOGRAPHY)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read ``predictions.csv``; names stay texts, ``rejected`` is a truth value."""
    table = _read_texts(path, "photo", "split", "label", "kind", "predicted", "rejected")
    return table.assign(rejected=table["rejected"] == "True")


def _headline(measured: dict[str, Any], extend: dict[str, Any]) -> list[dict[str, Any]]:
    """The four figures that say most, of those that this run has."""
    shown = [("Accuracy", measured["accuracy"], "of the fine-tuned network on test pictures")]
    gain = measured["difference"]["finetuned_minus_scratch"]["accuracy"]
    shown.append(("Gain by pretraining", gain, "accuracy above the same network from scratch"))
    if "unknown_auroc" in measured:
        shown.append(("Unknown AUROC", measured["unknown_auroc"], "pictures of none of the classes told from known"))
    if chosen := _chosen_shots(extend):
        shots, found = chosen
        shown.append(("Recall of a new class", found["new_recall"], f"added from {shots} pictures, not retrained"))
    return [{"name": name, "figure": in_words(figure), "note": note} for name, figure, note in shown]


def _chosen_shots(extend: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """The chosen method's figures with about 20 pictures, if a class was added."""
    if not extend["chosen"]:
        return None
    by_shots = extend["methods"][f"{extend['chosen']['method']}-{extend['chosen']['space']}"]
    shots = min(map(int, by_shots), key=lambda number: abs(number - USUAL_SHOTS))
    return shots, by_shots[str(shots)]


def _hero(pack: Pack, predictions: pd.DataFrame, figures: Path) -> dict[str, Any]:
    """Test pictures of every kind, taken evenly, with the answers; nobody chose them."""
    tested = [predictions[predictions["split"] == split] for split in ("test", "unknown-test", "later-test")]
    kinds = [rows for of_split in tested for _, rows in of_split.groupby(["label", "kind"], sort=True)]
    shares = _shared_out(HERO, [len(rows) for rows in kinds])
    shown = pd.concat([_evenly(rows, share) for rows, share in zip(kinds, shares, strict=True)])
    mosaic = write_mosaic(figures / "hero.png", [pack.images[row] for row in shown.index], 8)
    captions = []
    for row in shown.to_dict("records"):
        is_right = row["predicted"] == row["label"] and not row["rejected"]
        right = is_right if row["split"] == "test" else row["rejected"]
        what = ", ".join(filter(None, (row["label"], row["kind"])))
        named = {"answer": row["predicted"], "confidence": f"{row['confidence']:.2f}"}
        answer = {"answer": UNKNOWN, "confidence": ""} if row["rejected"] else named
        captions.append({**answer, "is": what, "right": bool(right)})
    return {"mosaic": mosaic, "captions": captions}


def _data(raw: Path, pack: Pack, summary: dict[str, Any], memes: Memes) -> dict[str, Any]:
    problems = _read_texts(raw / "problems.csv", "photo", "problem", "action")
    manifest = pack.manifest
    rows = []
    for label in sorted(set(manifest["label"]), key=lambda name: (name in (UNKNOWN, memes.data.later), name)):
        own = manifest[manifest["label"] == label]
        for kind in sorted(set(own["kind"])):
            split = own.loc[own["kind"] == kind, "split"].value_counts()
            learn, choose, test = (int(sum(split.get(name, 0) for name in names)) for names in USES)
            of_kind = f"{label}, {kind}" if kind else f"{label}, of no stated kind" if own["kind"].any() else label
            rows.append([of_kind, *(f"{count:,}" if count else "–" for count in (learn, choose, test))])
    return {
        "pictures": f"{len(manifest):,}",
        "seed": memes.data.synthetic.seed,
        "url": memes.data.official.url,
        "rows": rows,
        "bits": memes.samples.near_duplicate_bits,
        "groups": f"{summary['groups']:,}",
        "twins": summary["near_duplicates"],
        "problem_count": len(problems),
        "problems": [[action, n] for action, n in problems["action"].value_counts().sort_index().items()],
        "size": pack.images.shape[1],
    }


def _transfer(
    training: Path, history: pd.DataFrame, measured: dict[str, Any], memes: Memes, figures: Path
) -> dict[str, Any]:
    plots.save(drawings.training(history), figures / "training.svg")
    rows: list[dict[str, Any]] = [
        {"name": "finetuned", "figures": [in_words(measured[name]) for name in CLASSIFIED], "difference": None}
    ]
    for name, of_other in measured["baseline"].items():
        difference = measured["difference"][f"finetuned_minus_{name}"]["accuracy"]
        rows.append(
            {
                "name": name,
                "figures": [in_words(of_other[kind]) for kind in CLASSIFIED],
                "difference": {**in_words(difference), "verdict": _verdict(difference)},
            }
        )
    recipe = memes.train.model_dump(exclude={"augment", "probe", "backbone"})
    recipe |= {f"augment.{key}": value for key, value in memes.train.augment.model_dump().items()}
    recipe["probe.c"] = memes.train.probe.c
    folds = _read_texts(training / "folds.csv", "photo", "label")
    return {
        "backbone": memes.train.backbone,
        "rows": rows,
        "epochs": memes.train.epochs,
        "recipe": [[key, _as_text(value)] for key, value in recipe.items()],
        "folds": _folds(folds) if len(folds) else None,
    }


def _folds(folds: pd.DataFrame) -> dict[str, Any]:
    """Accuracy of networks on pictures that they were not trained on, fold by fold."""
    columns = [name for name in folds if str(name).startswith("p_")]
    named = folds[columns].astype(np.float64).to_numpy().argmax(1)
    right = np.array([str(columns[place]) for place in named]) == "p_" + folds["label"].to_numpy(str)
    shares = pd.Series(right).groupby(folds["fold"].to_numpy()).mean()
    return {
        "count": len(shares),
        "accuracy": f"{right.mean():.3f}",
        "low": f"{shares.min():.3f}",
        "high": f"{shares.max():.3f}",
    }


def _result(metrics: Path, measured: dict[str, Any], classes: Sequence[str], figures: Path) -> dict[str, Any]:
    table = _read_texts(metrics / "confusion.csv", "label", "predicted", "named")
    names = [*classes, *([UNKNOWN] if UNKNOWN not in classes else [])]
    counts = confusion_matrix(table["label"], table["predicted"], labels=names)
    # Matplotlib would take what stands between two dollar signs for mathematics.
    drawn = plots.confusion_matrix(counts, [name.replace("$", r"\$") for name in names])
    plots.save(drawn, figures / "confusion.svg")
    diagram = plots.reliability_diagram(pd.read_csv(metrics / "reliability.csv"), measured["ece"]["value"])
    plots.save(diagram, figures / "reliability.svg")
    per_class = [
        [name, *(in_words(measured["per_class"][name][kind]) for kind in ("precision", "recall", "f1"))]
        for name in classes
    ]
    return {
        "ece": in_words(measured["ece"]),
        "temperature": f"{measured['temperature']:.2f}",
        "per_class": per_class,
        "pictures": f"{measured['pictures']['test']:,}",
        "groups": f"{measured['accuracy']['n']:,}",
    }


def _wrong(explain: Path, measured: dict[str, Any], memes: Memes, figures: Path) -> dict[str, Any]:
    """The misclassified pictures, some of them shown, and what curing suspicious labels does."""
    texts = ("photo", "split", "label", "predicted", "cause", "evidence", "losses", "nearest_labels")
    table = _read_texts(explain / "explained.csv", *texts)
    causes = measured["causes"]
    splits = list(causes)
    # The surest mistake of each cause, then the second surest of each, …
    nth = table.groupby("cause").cumcount() if len(table) else pd.Series(dtype=int)
    shown = table.loc[nth.sort_values(kind="stable").index[:SHOWN_MISTAKES]].sort_index()
    tiles = [tile for row in shown["row"].astype(int) for tile in _panel(explain / "pictures" / f"{row}.png")]
    return {
        "counts": [[split, measured["misclassified"][split]] for split in splits],
        "causes": [[cause, *(causes[split][cause] for split in splits)] for cause in causes[splits[0]]],
        "mosaic": write_mosaic(figures / "wrong.png", tiles, PANEL) if tiles else None,
        "shown": [_mistake(row) for row in shown.to_dict("records")],
        "suspects": _suspects(measured["suspects"]),
        "share": f"{100 * memes.explain.suspects:g}",
        "cure": [_cure(name, of_cure) for name, of_cure in measured["cure"].items()],
        "on_right": any("accuracy_on_right" in of_cure for of_cure in measured["cure"].values()),
        "all": len(table),
    }


def _mistake(row: dict[Any, Any]) -> dict[str, Any]:
    losses = [float(loss) for loss in str(row["losses"]).split()]
    return {
        "split": row["split"],
        "label": row["label"],
        "predicted": row["predicted"],
        "confidence": f"{float(row['confidence']):.2f}",
        "cause": row["cause"],
        "evidence": row["evidence"],
        "quality": f"{float(row['label_quality']):.2f}",
        "nearest": [_side(label, row) for label in str(row["nearest_labels"]).split(" | ")],
        "losses": [loss for loss in losses if math.isfinite(loss)],
        "wrong_label": str(row.get("mislabelled", "")) == "True",
    }


def _side(label: str, row: dict[Any, Any]) -> str:
    """On which side of the quarrel a training picture with this label is."""
    return "answer" if label == row["predicted"] else "label" if label == row["label"] else "other"


def _panel(path: Path) -> list[Pixels]:
    """The picture, both attention maps and the nearest training pictures, out of the sheet of ``memes-explain``."""
    sheet = read_image(path)
    cell = sheet.shape[0] - SHEET_STRIP
    tiles = [sheet[2 : cell - 2, left + 2 : left + cell - 2] for left in range(0, sheet.shape[1], cell)]
    return [*tiles[:PANEL], *[np.full((1, 1, 3), 255, np.uint8)] * (PANEL - len(tiles))]


def _suspects(measured: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {name: in_words(measured[name]) for name in HITS if name in measured}
    return {"count": measured["count"], "of": measured["of"], "mislabelled": measured.get("mislabelled"), **figures}


def _cure(name: str, measured: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name}
    for key in ("accuracy", "gain", "accuracy_on_right", "gain_on_right"):
        told[key] = in_words(measured[key]) if key in measured else None
    return told


def _luck(luck: Path, metrics: Path, pack: Pack, memes: Memes, figures: Path) -> dict[str, Any]:
    measured = read_json(metrics / "luck.json")
    shuffled = pd.read_csv(luck / "shuffles.csv")["accuracy"].to_numpy(np.float64)
    shuffle, p_value = measured["shuffle"], measured["shuffle_p_value"]
    plots.save(
        drawings.shuffle_test(shuffled, shuffle["accuracy"]["value"], p_value["value"]), figures / "shuffles.svg"
    )
    curve = pd.read_csv(metrics / "learning_curve.csv")
    plots.save(drawings.learning_curve(curve), figures / "learning_curve.svg")
    rivals = {name: of_rival["accuracy"] for name, of_rival in measured["baseline"].items()}
    traits = measured["traits"]["alone"]
    bars = {
        "fine-tuned network": measured["accuracy"],
        "linear, on frozen features": shuffle["accuracy"],
        **{RIVALS.get(name, name): accuracy for name, accuracy in rivals.items()},
        **{f"only {name}": accuracy for name, accuracy in traits.items()},
    }
    plots.save(drawings.probe_bars(bars), figures / "baselines.svg")
    best_trait = max(traits, key=lambda name: float(traits[name]["value"]))
    return {
        "p": f"{p_value['value']:.2g}",
        "p_high": f"{p_value['high']:.2g}",
        "shuffles": f"{p_value['n']:,}",
        "accuracy": in_words(shuffle["accuracy"]),
        "chance": in_words(shuffle["chance"]),
        "gains": [[RIVALS.get(name, name), in_words(of["gain"])] for name, of in measured["baseline"].items()],
        "traits": {**in_words(measured["traits"]["over_majority"]), "verdict": _verdict(_traits_over(measured))},
        "best_trait": [best_trait, in_words(traits[best_trait])],
        "curve": [f"{curve['pictures'].iloc[0]:.0f}", f"{curve['accuracy'].iloc[0]:.3f}"],
        "curve_end": [f"{curve['pictures'].iloc[-1]:.0f}", f"{curve['accuracy'].iloc[-1]:.3f}"],
        "mirror": memes.infer.mirror,
        "resolution": memes.luck.resolution,
        "quality": memes.luck.quality,
        **_probes(measured["probes"], pack, memes, figures),
    }


def _traits_over(measured: dict[str, Any]) -> dict[str, float]:
    over: dict[str, float] = measured["traits"]["over_majority"]
    return over


def _probes(probes: dict[str, Any], pack: Pack, memes: Memes, figures: Path) -> dict[str, Any]:
    """What each change does to the accuracy, beside a picture of each of the first classes as it is and changed."""
    settings = memes.luck
    made = changes(settings.resolution, settings.quality, settings.seed)
    test = pack.manifest[pack.manifest["split"] == "test"]
    rows = test.groupby("label").head(1).index[:SHOWN_PROBED]
    names = [name for name in probes if name == "as_is" or name in made]
    tiles: list[Pixels] = []
    for row in rows:
        image = np.asarray(pack.images[row])
        tiles += [image if name == "as_is" else made[name](image, int(row)) for name in names]
    return {
        "mosaic": write_mosaic(figures / "probes.png", tiles, len(names)),
        "probes": [
            {
                "name": name.replace("_", " "),
                "finetuned": in_words(probes[name]["finetuned"], 2),
                "linear": in_words(probes[name]["linear"], 2),
                "lost": in_words(probes[name]["lost"], 2) if "lost" in probes[name] else None,
            }
            for name in names
        ],
    }


def _neither(
    predictions: pd.DataFrame, metrics: Path, measured: dict[str, Any], config: dict[str, Any], figures: Path
) -> dict[str, Any]:
    """How unknown pictures are told, by every score that was tried, and what the chosen one and its threshold do."""
    scorer = config["scorer"]
    table = _read_texts(metrics / "unknowns.csv", "space", "scorer", "kind")
    plots.save(drawings.unknown_scores(predictions, scorer["threshold"]), figures / "unknown_scores.svg")
    plots.save(drawings.abstention(pd.read_csv(metrics / "abstention.csv")), figures / "abstention.svg")
    present = list(dict.fromkeys(table["kind"]))
    kinds = [kind for kind in ("near", "far") if kind in present] or [kind for kind in present if kind == "all"]
    rows = []
    for (space, name), own in table.groupby(["space", "scorer"], sort=False):
        by_kind = own.set_index("kind")
        first = own.iloc[0]
        rows.append(
            {
                "space": space,
                "scorer": name,
                "chosen": (space, name) == (scorer["space"], scorer["name"]),
                "seen": str(first["has_seen_unknown"]) == "True",
                "val": _three(first["val_auroc"]),
                "figures": [[_three(by_kind.loc[kind, measure]) for measure in MEASURES] for kind in kinds],
            }
        )
    chosen = [
        {"kind": kind, "figures": [in_words(measured[f"{prefix}_{measure}"]) for measure in MEASURES]}
        for kind in present
        for prefix in ["unknown" if kind == "all" else f"unknown_{kind}"]
    ]
    settings = ", ".join(f"{key} {_as_text(value)}" for key, value in scorer["settings"].items())
    return {
        "rows": rows,
        "kinds": kinds,
        "chosen": chosen,
        "scorer": scorer["name"],
        "space": scorer["space"],
        "settings": settings,
        "val": _three(scorer["val_auroc"]) if scorer["val_auroc"] is not None else None,
        "threshold": f"{scorer['threshold']:.4g}",
        "keep": f"{100 * scorer['keep']:g}",
        "figures": {name: in_words(measured[name]) for name in REJECTION if name in measured},
    }


def _adding(extend: Path, metrics: Path, figures: Path) -> dict[str, Any] | None:
    """What each method makes of each number of pictures; None where no class was added."""
    told = read_json(metrics / "extend.json")
    if not told["chosen"]:
        return None
    table = _read_texts(metrics / "extend.csv", "method", "space")
    plots.save(drawings.adding(table), figures / "adding.svg")
    ordered = table.sort_values(["method", "space", "shots"], key=_in_order(table), kind="stable").to_dict("records")
    rows = [
        {
            "method": row["method"],
            "space": row["space"],
            "shots": int(row["shots"]),
            "chosen": (row["method"], row["space"]) == (told["chosen"]["method"], told["chosen"]["space"]),
            "figures": [_with_interval(row, name) for name in ADDED],
        }
        for row in ordered
    ]
    shots, found = _chosen_shots(told) or (0, {})
    return {
        "rows": rows,
        "methods": drawings.METHODS,
        "pool": told["pool"],
        "test": told["test"],
        "before": {name: _with_interval(table.iloc[0].to_dict(), name) for name in BEFORE if name in table},
        "chosen": told["chosen"]["method"],
        "chosen_space": told["chosen"]["space"],
        "shots": shots,
        "figures": {name: in_words(figure) for name, figure in found.items()},
        "verdict": _verdict(found["old_accuracy_change"]),
        "repeats": int(pd.read_csv(extend / "extend.csv")["repeat"].nunique()),
    }


def _in_order(table: pd.DataFrame) -> Callable[["pd.Series[Any]"], "pd.Series[Any]"]:
    """Sort texts by their first place in the table, numbers by size."""
    first = {name: place for column in ("method", "space") for place, name in enumerate(table[column].unique())}
    return lambda values: values.map(first) if values.name in ("method", "space") else values


def _with_interval(row: dict[Any, Any], name: str) -> dict[str, str] | None:
    if pd.isna(row[name]):
        return None
    return {"value": _three(row[name]), "low": _three(row[f"{name}_low"]), "high": _three(row[f"{name}_high"])}


def _verdict(difference: dict[str, float]) -> str:
    return "above" if difference["low"] > 0 else "below" if difference["high"] < 0 else "open"


def _shared_out(total: int, most: Sequence[int]) -> list[int]:
    """``total`` in whole shares as equal as ``most`` (what each can have at most) allows; the first get the rest."""
    shares = [0] * len(most)
    while sum(shares) < min(total, sum(most)):
        place = min((place for place in range(len(most)) if shares[place] < most[place]), key=shares.__getitem__)
        shares[place] += 1
    return shares


def _evenly(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return rows.iloc[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def _three(value: Any) -> str:
    return "–" if pd.isna(value) else f"{float(value):.3f}"


def _as_text(value: Any) -> str:
    if isinstance(value, tuple | list):
        ends = f"{_as_text(value[0])} to {_as_text(value[-1])}"
        return ends if len(value) == 2 else f"{len(value)}, {ends}" if len(value) > 2 else _as_text(value[0])
    return str(value) if isinstance(value, str | bool) or value is None else f"{value:.4g}"


def _read_texts(path: Path, *columns: str) -> pd.DataFrame:
    # Names stay texts: a class may well be called "NA" or "007".
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(columns, str))
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(columns))
    return table.fillna(dict.fromkeys(columns, ""))


TEMPLATE = Path(__file__).with_suffix(".typ")
BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
USES = (("train", "later-pool"), ("val", "unknown-val"), ("test", "unknown-test", "later-test"))
CLASSIFIED = ("accuracy", "macro_f1", "auroc")
HITS = ("precision", "recall")
MEASURES = ("auroc", "aupr", "fpr95", "fpr95_known_positive")
REJECTION = ("coverage", "false_accept_rate", "selective_error", "selective_error_known")
ADDED = ("old_accuracy", "old_accuracy_change", "new_recall", "unknown_auroc", "unknown_rejected")
BEFORE = ("old_accuracy_before", "unknown_auroc_before", "unknown_rejected_before")
RIVALS = {
    "majority": "commonest class",
    "colour_histogram_5nn": "colour histogram, 5-NN",
    "traits": "traits of the file",
}
HERO, SHOWN_MISTAKES, SHOWN_PROBED, USUAL_SHOTS = 16, 8, 2, 20
PANEL, SHEET_STRIP = 6, 14
