"""Stage ``minerals-report``: one run told in a few pages, every number and picture read from the run's own files."""

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from sightline.core import boxes, intervals, plots
from sightline.core.architecture import lanes, trace
from sightline.core.augment import MEAN, STD, Augmentation, augment
from sightline.core.calibration import Threshold
from sightline.core.files import read_json, replacing_folder
from sightline.core.images import Pixels, fit_to_square, read_image
from sightline.core.packs import Pack, open_pack
from sightline.core.report import compile_report, in_words, write_mosaic, write_photo
from sightline.minerals.model import MineralNet
from sightline.minerals.params import NONE, Minerals, Train
from sightline.params import load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    patches: Annotated[Path, Option],
    sheet: Annotated[Path, Option],
    summary: Annotated[Path, Option],
    network: Annotated[Path, Option],
    history: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    inference: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`report`."""
    minerals = load("minerals", Minerals)
    report(raw, patches, sheet, summary, network, history, deployed, inference, metrics, minerals, figures, out)


def report(
    raw: Path,
    patches: Path,
    sheet: Path,
    summary: Path,
    network: Path,
    history: Path,
    deployed: Path,
    inference: Path,
    metrics: Path,
    minerals: Minerals,
    figures: Path,
    out: Path,
) -> None:
    """Write the PDF ``out`` and the folder of its ``figures`` from what the other stages left.

    Args:
        raw: photos with ``annotations.json`` and ``problems.csv``, of ``minerals-source``.
        patches: the pack of ``minerals-patches``.
        sheet: its contact sheet.
        summary: its counts.
        network: the folder with the trained network's ``config.json``.
        history: the CSV of its training.
        deployed: the folder with the deployed model's ``config.json``.
        inference: the folder with ``predictions.csv``, ``examples.json`` and ``unreadable.json``.
        metrics: the folder with ``metrics.json`` and the tables of ``minerals-evaluate``.
        minerals: the parameters of the run.
        figures: a folder to make.
        out: the PDF to make.
    """
    pack = open_pack(patches)
    predictions = _read_texts(inference / "predictions.csv", "photo", "split", "label", "kind", "predicted")
    predictions["correct"] = predictions["predicted"] == predictions["label"]
    test = predictions[predictions["split"] == "test"]
    measured = read_json(metrics / "metrics.json")
    config = read_json(deployed / "config.json")
    with replacing_folder(figures) as part:
        write_photo(part / "sheet.jpg", read_image(sheet), 1760)
        data = {
            "classes": list(minerals.data.classes),
            "none": NONE if NONE in config["classes"] else None,
            "source": minerals.data.source,
            "headline": _headline(measured),
            "hero": _hero(raw, pack, test, part),
            "data": _data(raw, read_json(summary), minerals),
            "strategy": _strategy(raw, pack, read_json(summary), minerals, part),
            "network": _network(read_json(network / "config.json")),
            "training": _training(pack, pd.read_csv(history), minerals.train, part),
            "inference": _inference(config, measured, inference, minerals),
            "results": _results(predictions, measured, config, metrics, part),
            "galleries": _galleries(pack, test, config["classes"], part),
        }
        compile_report(TEMPLATE, data, part, out, BIBLIOGRAPHY)


def _headline(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """The four figures that say most, of those that this run has."""
    notes = {
        "accuracy": ("Accuracy", "of all test patches"),
        "macro_f1": ("Macro F1", "mean over the classes"),
        "reject_auroc": ("Rejection AUROC", "mineral or none of them"),
        "selective_error": ("Error if accepted", "at the chosen threshold"),
        "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes"),
        "ece": ("Calibration error", "between confidence and accuracy"),
    }
    chosen = [name for name in notes if name in measured][:4]
    return [{"name": notes[name][0], "figure": in_words(measured[name]), "note": notes[name][1]} for name in chosen]


def _hero(raw: Path, pack: Pack, test: pd.DataFrame, figures: Path) -> list[list[dict[str, Any]]]:
    """Rows of test photos with the answers to their exact boxes, chosen by the variety of their labels alone."""
    exact = test[test["kind"] == "exact"].join(pack.manifest[list(SIDES)], "patch")
    by_photo = {str(name): rows for name, rows in exact.groupby("photo", sort=True)}
    in_row = 3 if max(map(len, by_photo.values()), default=0) > 1 else 4
    seen: Counter[str] = Counter()
    chosen: list[str] = []
    while len(chosen) < min(3 * in_row, len(by_photo)):
        left = [name for name in by_photo if name not in chosen]
        chosen.append(max(left, key=lambda name: sum(0.5 ** seen[label] for label in set(by_photo[name]["label"]))))
        seen.update(set(by_photo[chosen[-1]]["label"]))
    photos = []
    for number, name in enumerate(chosen):
        image = read_image(raw / name)
        frames = []
        for _, patch in by_photo[name].iterrows():
            answer = patch["predicted"] if patch["correct"] else f"{patch['predicted']} (is {patch['label']})"
            label = f"{answer} {patch['confidence']:.2f}" if patch["predicted"] != NONE else answer
            sides = [patch[side] for side in SIDES]
            frames.append(_frame(sides, image, label, "right" if patch["correct"] else "wrong"))
        photos.append(_photo(figures / f"photo_{number}.jpg", image, frames))
    rows = [photos[start : start + in_row] for start in range(0, len(photos), in_row)]
    while len(rows) > 1 and sum(1 / sum(photo["aspect"] for photo in row) for row in rows) > HERO_HEIGHT:
        rows.pop()
    return rows


def _data(raw: Path, counts: dict[str, Any], minerals: Minerals) -> dict[str, Any]:
    annotations = read_json(raw / "annotations.json")
    problems = _read_texts(raw / "problems.csv", "photo", "problem", "action")
    splits = list(counts["patches"])
    labels = list(counts["patches"][splits[0]])
    rows = [[label, *(counts["patches"][split][label] for split in splits)] for label in labels]
    total = ["all patches", *(sum(counts["patches"][split].values()) for split in splits)]
    return {
        "photos": len(annotations["images"]),
        "boxes": len(annotations["annotations"]),
        "per_photo": f"{len(annotations['annotations']) / max(len(annotations['images']), 1):.1f}",
        "seed": minerals.data.synthetic.seed,
        "url": minerals.data.official.url,
        "splits": [[split, counts["photos"][split]] for split in splits],
        "counts": [[str(row[0]), *(f"{count:,}" for count in row[1:])] for row in [*rows, total]],
        "bits": minerals.patches.near_duplicate_bits,
        "split_digest": counts["digests"]["split"],
        "problems": [[action, f"{n:,}"] for action, n in problems["action"].value_counts().sort_index().items()],
        "problem_examples": problems.head(SHOWN_PROBLEMS).to_numpy().tolist(),
        "problem_count": len(problems),
    }


def _strategy(raw: Path, pack: Pack, counts: dict[str, Any], minerals: Minerals, figures: Path) -> dict[str, Any]:
    """A training photo with the boxes that were cut from it, and what they look like."""
    settings = minerals.patches
    train = pack.manifest[pack.manifest["split"] == "train"]
    counted = train.groupby(["photo", "kind"]).size().unstack(fill_value=0)
    # A photo with several boxes of each kind, yet few enough to tell them apart.
    fitness = pd.DataFrame({"least": counted.min(axis=1).clip(upper=SHOWN_BOXES), "all": -counted.sum(axis=1)})
    name = str(fitness.sort_values(["least", "all"], ascending=False, kind="stable").index[0])
    image = read_image(raw / name)
    own = pack.manifest[(pack.manifest["photo"] == name).to_numpy()]
    shown = pd.concat([_evenly(rows, SHOWN_BOXES) for _, rows in own.groupby("kind", sort=False)])
    exact = own.loc[own["kind"] == "exact", list(SIDES)].to_numpy(np.float64)
    shown_iou = boxes.iou(shown[list(SIDES)].to_numpy(np.float64), exact).max(axis=1, initial=0)
    frames = [
        _frame([patch[side] for side in SIDES], image, "", patch["kind"])
        for _, patch in shown.sort_values("kind", key=lambda kinds: kinds == "exact", kind="stable").iterrows()
    ]
    kinds = [kind for kind in KINDS if kind in counts["kinds"]]
    tiles = [
        fit_to_square(image[patch["top"] : patch["bottom"], patch["left"] : patch["right"]], 128)
        for kind in kinds
        for _, patch in shown[shown["kind"] == kind].iterrows()
    ]
    captions = {kind: [f"IoU {value:.2f}" for value in shown_iou[(shown["kind"] == kind).to_numpy()]] for kind in kinds}
    return {
        "photo": _photo(figures / "strategy.jpg", image, frames),
        "tiles": write_mosaic(figures / "strategy.png", tiles, max(len(tiles), 1)),
        "kinds": [[kind, f"{counts['kinds'][kind]:,}", captions[kind]] for kind in kinds],
        "size": settings.patch_size,
        "per_box": settings.per_box.model_dump(),
        "min_iou": settings.min_iou,
        "negatives": settings.negatives.model_dump(),
    }


def _network(config: dict[str, Any]) -> dict[str, Any]:
    """The network's drawing, from the module tree that its configuration builds, and the sources of its ideas."""
    network = MineralNet(**config["arguments"])
    size = config["preprocessing"]["size"]
    steps = trace(network, size)
    # A block that changes resolution or width has all of its paths.
    blocks = [module for module in network.modules() if "shortcut" in dict(module.named_children())]
    fullest = max(blocks, key=lambda block: sum(map(len, lanes(block).values())), default=None)
    names = {id(module): name for name, module in network.named_modules()}
    return {
        "size": size,
        "steps": [{**step.as_dict(), "weights": f"{step.parameters:,}"} for step in steps],
        "parameters": f"{config['parameters']:,}",
        "exemplars": f"{config['arguments']['exemplars']:,}",
        "balance": [f"{weight:.2f}" for weight in config["balance"]],
        "block": lanes(fullest) if fullest is not None else None,
        "block_name": names[id(fullest)] if fullest is not None else "",
        "ideas": list(_ideas(inspect.getdoc(MineralNet) or "")),
    }


def _ideas(docstring: str) -> Iterator[dict[str, str]]:
    """Ideas and sources as the network's docstring names them: idea (He et al., "Deep Learning", CVPR 2016)."""
    known = set(re.findall(r"@\w+\{(\w+),", BIBLIOGRAPHY.read_text(encoding="utf-8")))
    for idea, source, year in re.findall(r"([^;:().]+) \(([A-Z][^()]*?\b((?:19|20)\d\d))\)", docstring):
        key = source.split()[0].strip(",").lower() + year
        text = " ".join(source.split())
        yield {"idea": " ".join(idea.split()), "source": text, "key": key if key in known else ""}


def _training(pack: Pack, history: pd.DataFrame, settings: Train, figures: Path) -> dict[str, Any]:
    plots.save(plots.training_curves(history), figures / "training.svg")
    best = history.iloc[int(history["val_loss"].argmin())]
    recipe = settings.model_dump()
    recipe |= {f"augment.{key}": value for key, value in recipe.pop("augment").items()}
    for section in ("network", "memory"):
        recipe |= {f"{section}.{key}": value for key, value in recipe.pop(section).items()}
    return {
        "recipe": [[key, _as_text(value)] for key, value in recipe.items()],
        "erasing": settings.augment.erase > 0,
        "mixing": settings.augment.mixup_alpha > 0 or settings.augment.cutmix_alpha > 0,
        "crop_size": settings.crop_size,
        "epochs": len(history),
        "best_epoch": int(best["epoch"]),
        "best_accuracy": f"{best['val_accuracy']:.3f}",
        "best_loss": f"{best['val_loss']:.3f}",
        "views": _views(pack, settings, figures / "views.png"),
    }


def _views(pack: Pack, settings: Train, path: Path) -> dict[str, Any]:
    """Training patches of a few classes, each followed by views of it as the network meets them."""
    train = pack.manifest[pack.manifest["split"] == "train"]
    exact = train[train["kind"] == "exact"]
    rows = (exact if len(exact) else train).groupby("label").head(1).index[:SHOWN_VIEWS_OF]
    strengths = Augmentation(**settings.augment.model_dump(exclude={"mixup_alpha", "cutmix_alpha"}))
    tiles: list[Pixels] = []
    for row in rows:
        copies = torch.from_numpy(np.repeat(pack.images[row][None], SHOWN_VIEWS - 1, axis=0))
        keys = torch.tensor([(settings.seed, epoch, int(row)) for epoch in range(len(copies))])
        views = augment(copies, keys, settings.crop_size, strengths).permute(0, 2, 3, 1).numpy()
        tiles += [pack.images[row], *np.rint((views * STD + MEAN) * 255).clip(0, 255).astype(np.uint8)]
    return write_mosaic(path, tiles, SHOWN_VIEWS)


def _inference(config: dict[str, Any], measured: dict[str, Any], inference: Path, minerals: Minerals) -> dict[str, Any]:
    choice = config["threshold_choice"]
    results = read_json(inference / "examples.json")
    named = [name for name, answer in results.items() if answer["result"] is not None]
    refused = [name for name, answer in results.items() if answer["result"] is None]
    excerpt = sorted([*named[:4], *refused[:2]])
    lines = [f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(results[name])}" for name in excerpt]
    return {
        "temperature": f"{config['temperature']:.2f}",
        "mirror": minerals.infer.mirror,
        "threshold": f"{config['threshold']:.3f}" if config["threshold"] is not None else None,
        "max_error": f"{100 * choice['max_error']:g}\u00a0%",
        "confidence": f"{100 * choice['confidence']:g}\u00a0%",
        "accepted": choice["accepted"],
        "errors": choice["errors"],
        "upper_bound": f"{100 * choice['upper_bound']:.1f}\u00a0%",
        "val_patches": measured["patches"]["val"],
        "split_digest": choice["split"],
        "json": "{\n" + ",\n".join(lines) + ("\n}" if len(excerpt) == len(results) else ",\n  …\n}"),
        "pictures": len(results),
        "named": len(named),
        "unreadable": len(read_json(inference / "unreadable.json")),
    }


def _results(
    predictions: pd.DataFrame, measured: dict[str, Any], config: dict[str, Any], metrics: Path, figures: Path
) -> dict[str, Any]:
    test = predictions[predictions["split"] == "test"]
    classes, choice = config["classes"], config["threshold_choice"]
    confusion = _read_texts(metrics / "confusion.csv", "label", "predicted")
    counts = confusion_matrix(confusion["label"], confusion["predicted"], labels=classes)
    f1 = [intervals.Figure(**measured["per_class"][name]["f1"]) for name in classes]
    # Matplotlib would take what stands between two dollar signs for mathematics.
    names = [name.replace("$", r"\$") for name in classes]
    drawn = {
        "confusion": plots.confusion_matrix(counts, names),
        "reliability": plots.reliability_diagram(pd.read_csv(metrics / "reliability.csv"), measured["ece"]["value"]),
        "per_class": plots.interval_bars(names, f1),
        "scores": _scores(test, config["threshold"]),
    }
    curve = pd.read_csv(metrics / "coverage.csv")
    if len(curve) and curve["coverage"].max() >= 0.05:
        minerals = predictions[(predictions["split"] == "val") & (predictions["label"] != NONE)]
        threshold = Threshold(
            config["threshold"],
            choice["accepted"],
            choice["errors"],
            float(minerals["accepted"].mean()),
            choice["errors"] / max(choice["accepted"], 1),
            choice["upper_bound"],
        )
        drawn["coverage"] = plots.risk_coverage(curve, threshold, choice["max_error"])
    is_none = (test["label"] == NONE).to_numpy()
    if "reject_auroc" in measured:
        drawn["rejection"] = plots.precision_recall_and_roc(-test["confidence"].to_numpy(), is_none)
    for name, figure in drawn.items():
        plots.save(figure, figures / f"{name}.svg")
    return {
        "figures": {name: in_words(measured[name]) for name in MEASURES if name in measured},
        "baselines": {
            name: {kind: in_words(value) for kind, value in of_baseline.items()}
            for name, of_baseline in measured["baseline"].items()
        },
        "per_class": [
            [name, *(in_words(measured["per_class"][name][kind]) for kind in ("precision", "recall"))]
            for name in classes
        ],
        "patches": measured["patches"]["test"],
        "photos": measured["accuracy"]["n"],
        "drawn": sorted(drawn),
    }


def _scores(test: pd.DataFrame, threshold: float | None) -> Figure:
    """Confidences of minerals and of each kind of negative, or of right and wrong answers where there are none."""
    if (test["label"] == NONE).any():
        groups = {"mineral": test["label"] != NONE}
        groups |= {
            f"none, {kind}": (test["label"] == NONE) & (test["kind"] == kind) for kind in ("near", "busy", "random")
        }
    else:
        groups = {"right": test["correct"], "wrong": ~test["correct"]}
    kept = {name: test.loc[chosen, "confidence"].to_numpy() for name, chosen in groups.items() if chosen.any()}
    return plots.score_histogram(kept, threshold)


def _galleries(pack: Pack, test: pd.DataFrame, classes: Sequence[str], figures: Path) -> list[dict[str, Any]]:
    probabilities = test[[f"p_{name}" for name in classes]].to_numpy(np.float64)
    ranked = np.sort(probabilities, axis=1)
    looked_at = test.assign(likeliest=ranked[:, -1], margin=ranked[:, -1] - ranked[:, -2])
    surest = looked_at.sort_values("likeliest", ascending=False, kind="stable")
    ranking = {
        "right": surest[surest["correct"]],
        "wrong": surest[~surest["correct"]],
        "doubtful": looked_at.sort_values("margin", kind="stable"),
    }
    galleries = []
    for name, rows in ranking.items():
        shown = rows.drop_duplicates(["photo", "label"])
        if name == "right":
            # Otherwise the easiest class would fill the gallery.
            shown = shown.groupby("label").head(2).sort_values("label", kind="stable")
        shown = shown.head(SHOWN_TILES)
        mosaic = write_mosaic(figures / f"{name}.png", [pack.images[patch] for patch in shown["patch"]], 8)
        captions = [
            {
                "label": row.label,
                "predicted": row.predicted,
                "probability": f"{row.likeliest:.2f}",
                "right": row.correct,
            }
            for row in shown.itertuples()
        ]
        galleries.append({"name": name, "mosaic": mosaic, "captions": captions, "all": len(rows)})
    return galleries


def _read_texts(path: Path, *columns: str) -> pd.DataFrame:
    # Names stay texts: a class may well be called "NA" or "007".
    return pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(columns, str))


def _evenly(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return rows.iloc[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def _frame(sides: Sequence[float], image: Pixels, label: str, colour: str) -> dict[str, Any]:
    left, top, right, bottom = (float(side) for side in sides)
    height, width = image.shape[:2]
    place = {"left": left / width, "top": top / height}
    extent = {"width": (right - left) / width, "height": (bottom - top) / height}
    return {**place, **extent, "label": label, "colour": colour}


def _photo(path: Path, image: Pixels, frames: list[dict[str, Any]]) -> dict[str, Any]:
    write_photo(path, image, 800)
    return {"file": path.name, "aspect": image.shape[1] / image.shape[0], "boxes": frames}


def _as_text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " to ".join(_as_text(part) for part in value)
    return str(value) if isinstance(value, str | bool) or value is None else f"{value:g}"


TEMPLATE = Path(__file__).with_suffix(".typ")
BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
SIDES = ("left", "top", "right", "bottom")
KINDS = ("exact", "jittered", "near", "busy", "random")
MEASURES = (
    *("accuracy", "balanced_accuracy", "macro_f1", "closed_set_accuracy", "ece", "coverage", "selective_error"),
    *("false_accept_rate", "reject_auroc", "reject_aupr"),
)
HERO_HEIGHT = 0.95
SHOWN_BOXES, SHOWN_PROBLEMS, SHOWN_TILES, SHOWN_VIEWS, SHOWN_VIEWS_OF = 3, 5, 16, 12, 3
