"""Stage ``parts-report``: one run told in a few pages, every number and picture read from the run's own files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from sightline.core import plots
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder
from sightline.core.images import Pixels, read_image
from sightline.core.report import compile_report, in_words, write_mosaic, write_photo
from sightline.params import load
from sightline.parts import figures as drawings
from sightline.parts.count_figures import CAUSES, RIGHT
from sightline.parts.motion import Axis, Prior
from sightline.parts.params import Parts
from sightline.parts.scenes import Scene, read_scenes
from sightline.parts.video import open_frames

Option = typer.Option()


def main(
    data: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`report`."""
    report(data, deployed, metrics, load("parts", Parts), figures, out)


def report(data: Path, deployed: Path, metrics: Path, parts: Parts, figures: Path, out: Path) -> None:
    """Write the PDF ``out`` and the folder of its ``figures`` from what the other stages left.

    Args:
        data: the folder with ``raw``, ``audit``, ``tracks`` and ``errors``.
        deployed: what ``parts-track`` deployed.
        metrics: the folder with the figures and tables of all stages.
        parts: the parameters of the run.
        figures: a folder to make.
        out: the PDF to make.

    Raises:
        InputError: the files are of different runs.
    """
    measured, audited, config = (
        read_json(metrics / "metrics.json"),
        read_json(metrics / "audit.json"),
        _config(deployed),
    )
    scenes = read_scenes(data / "audit", data / "tracks", tuple(config["classes"]))
    verdicts = pd.read_csv(data / "errors" / "parts.csv", keep_default_na=False)
    # Pictures are of the test clip with the most parts: the first one, where there is nothing to count.
    shown = max((scene for scene in scenes if scene.split == "test"), key=lambda scene: len(scene.counted))
    with replacing_folder(figures) as part:
        told = {
            "source": parts.data.source,
            "headline": _headline(measured),
            "hero": _hero(data / "tracks" / shown.name, shown, part),
            "data": _data(data / "audit", audited, parts),
            "detection": _detection(metrics, measured, config, parts, part),
            "tracking": _tracking(metrics, measured, config, shown, part),
            "count": _count(data / "raw", measured, verdicts, shown, config, part),
            "errors": _errors(data / "errors", part),
            "settings": _settings(parts),
        }
        compile_report(TEMPLATE, told, part, out, BIBLIOGRAPHY)


def _config(deployed: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = read_json(deployed / "config.json")
    except OSError as error:
        raise InputError(f"{deployed} does not hold what parts-track leaves: {error.strerror}") from None
    return config


def _headline(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    notes = {
        "map50": ("mAP50", "average precision of the detector, IoU 0.5"),
        "hota": ("HOTA", "detection and association in one figure"),
        "idf1": ("IDF1", "boxes under the right identity"),
        "count_error": ("Count error", "of the parts that cross the line, class by class"),
    }
    return [
        {"name": name, "figure": in_words(measured[key]), "note": f"{note}; n = {measured[key]['n']}"}
        for key, (name, note) in notes.items()
        if key in measured
    ]


def _hero(folder: Path, scene: Scene, figures: Path) -> list[dict[str, Any]]:
    """Frames of the annotated video taken evenly, of those that show something; nobody chose them."""
    if not len(scene.tracks):
        return []
    busy = np.flatnonzero(np.isin(scene.frames, scene.tracks["frame"]))
    places = {int(busy[round(place)]) for place in np.linspace(0, len(busy) - 1, HERO + 2)[1:-1]}
    shown = []
    for place, pixels in _frames(folder / "annotated.mp4", places):
        file = f"frame_{scene.frames[place]}.jpg"
        write_photo(figures / file, pixels, 640)
        shown.append({"file": file, "frame": scene.frames[place]})
    return shown


def _frames(source: Path, places: set[int]) -> list[tuple[int, Pixels]]:
    """The frames at some places, counted from 0."""
    with open_frames(source) as frames:
        return [(place, pixels) for place, pixels in enumerate(frames) if place in places]


def _data(audit: Path, audited: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    findings = pd.read_csv(audit / "findings.csv", keep_default_na=False)
    findings = findings.sort_values("severity", key=lambda column: column.map(SEVERITIES.index), kind="stable")
    classes = audited["classes"]
    rows = []
    for name, clip in audited["clips"].items():
        offset = "–" if clip["offset"] is None else f"{int(clip['offset']):+d}" if clip["offset"] else "0"
        counts = [f"{clip['tracks_by_class'][label]:,}" if clip["tracked"] else "–" for label in classes]
        size = "–" if clip["width"] is None else f"{int(clip['width'])}×{int(clip['height'])}"
        rows.append([name, f"{clip['frames']:,}", size, f"{clip['boxes']:,}", *counts, offset])
    return {
        "classes": classes,
        "rows": rows,
        "findings": [
            {"severity": row["severity"], "clip": row["clip"], "message": row["message"]}
            for row in findings.head(SHOWN_FINDINGS).to_dict("records")
        ],
        "all_findings": len(findings),
        "seed": parts.data.synthetic.seed,
        "url": parts.data.official.url,
        "first_image_id": parts.data.first_image_id,
        "max_shift": parts.audit.max_shift,
    }


def _detection(
    metrics: Path, measured: Mapping[str, Any], config: Mapping[str, Any], parts: Parts, figures: Path
) -> dict[str, Any]:
    curve = pd.read_csv(metrics / "pr_curve.csv")
    threshold = float(config["score"]["value"])
    plots.save(drawings.precision_recall(curve[curve["split"] == "test"], threshold), figures / "precision_recall.svg")
    plots.save(drawings.training(pd.read_csv(metrics / "history.csv")), figures / "training.svg")
    splits = {"test": measured, **({"val": measured["val"]} if "val" in measured else {})}
    rows = []
    for split, tree in splits.items():
        rows.append({"name": split, "boxes": sum(tree["boxes"].values()), "figures": _words(tree, DETECTED)})
        for label, own in tree["by_class"].items():
            found = _words(own, ("ap50", "ap50_95"))
            rows.append({"name": f"{split}, {label}", "boxes": tree["boxes"][label], "figures": [*found, None, None]})
    return {
        "rows": rows,
        "threshold": f"{threshold:g}",
        "size": parts.frames.input_size,
        "architecture": parts.train.architecture,
        "every": parts.frames.every,
        "epochs": parts.train.epochs,
        "false": _words(measured, ["false_on_empty_frames"])[0],
    }


def _tracking(
    metrics: Path, measured: Mapping[str, Any], config: Mapping[str, Any], scene: Scene, figures: Path
) -> dict[str, Any]:
    recipe = config["tracking"]
    prior = Prior(**recipe["prior"]) if recipe["prior"] else None
    if prior:
        side = Axis(prior.direction, scene.width, scene.height).side
        plots.save(drawings.motion(prior, side), figures / "motion.svg")
    told = {
        "absent": measured.get("absent", {}).get("hota"),
        "tracker": recipe["association"]["tracker"],
        "has_prior": prior is not None,
        "chosen": {key: str(value) for key, value in config["chosen"].items()},
        "rows": [],
        "difference": None,
    }
    if told["absent"]:
        return told
    curve = pd.read_csv(metrics / "hota_curve.csv")
    plots.save(drawings.hota(curve[curve["set"] == "test together"]), figures / "hota.svg")
    rows = [("test", measured), *((f"test, {label}", own) for label, own in measured["by_class"].items())]
    rows += [("test, plain SORT", measured["baseline"]["sort"])]
    rows += [("val", measured["val"])] if "hota" in measured.get("val", {}) else []
    gain = measured["difference"]["ours_minus_sort"]
    return told | {
        "rows": [
            {"name": name, "figures": _words(tree, TRACKED), "switches": f"{tree['switches']['value']:g}"}
            for name, tree in rows
        ],
        "difference": {name: _signed(in_words(gain[name])) for name in ("hota", "idf1")},
        "stretches": measured["stretches"],
    }


def _count(
    raw: Path,
    measured: Mapping[str, Any],
    verdicts: pd.DataFrame,
    scene: Scene,
    config: Mapping[str, Any],
    figures: Path,
) -> dict[str, Any]:
    told: dict[str, Any] = {"absent": measured.get("absent", {}).get("count_error"), "line": f"{measured['line']:g}"}
    if told["absent"]:
        return told
    rows, causes = [], {}
    sort = measured["baseline"]["sort"]
    splits = {"test": measured, "val": measured.get("val", {}), "test, ids of plain SORT": sort}
    for name, tree in splits.items():
        if "count" in tree:
            of = tree["count"]
            rows.append([name, of["true"], of["counted"], *_words(tree, ["count_error", "count_bias"])])
            if name != "test, ids of plain SORT":
                rows += [
                    [f"{name}, {label}", own["true"], own["counted"], *_words(own, ["count_error", "count_bias"])]
                    for label, own in of["by_class"].items()
                ]
            causes[name] = [of["causes"][cause] for cause in CAUSES]
    own = verdicts[verdicts["clip"] == scene.name]
    plots.save(drawings.running_count(own, scene.frames[-1], config["classes"]), figures / "running_count.svg")
    return told | {
        "rows": rows,
        "upper": f"{100 * measured['miscounted']['upper']:.1f}" if "miscounted" in measured else None,
        "wrong": sum(measured["count"]["causes"].values()),
        "parts": measured["miscounted"]["n"] if "miscounted" in measured else 0,
        "causes": [
            [cause, meaning, *(counts[number] for counts in causes.values())]
            for number, (cause, meaning) in enumerate(CAUSES.items())
        ],
        "cause_columns": list(causes),
        "clip": scene.name,
        "certificate": _certificate(raw, scene, own, figures),
    }


def _certificate(raw: Path, scene: Scene, verdicts: pd.DataFrame, figures: Path) -> dict[str, Any] | None:
    """Parts that were counted, taken evenly, each as it was when it crossed the line."""
    counted = scene.counted.merge(
        scene.tracks.groupby("track")["frame"].agg(first="min", last="max"), left_on="track", right_index=True
    )
    if not len(counted):
        return None
    rows = counted.iloc[np.unique(np.linspace(0, len(counted) - 1, min(CERTIFIED, len(counted))).astype(int))]
    boxes = scene.tracks.set_index(["track", "frame"])[["x1", "y1", "x2", "y2"]]
    # A crossing that is traced back to before the part was seen is shown by its first box.
    at = {int(row["track"]): int(np.clip(row["frame"], row["first"], row["last"])) for row in rows.to_dict("records")}
    pixels = dict(_frames(raw / scene.source, {scene.frames.index(frame) for frame in at.values()}))
    cause_of = verdicts[verdicts["number"] >= 0].set_index("number")["cause"]
    tiles, captions = [], []
    for row in rows.to_dict("records"):
        track = int(row["track"])
        own = boxes.loc[track].sort_index()
        box = own.iloc[own.index.searchsorted(at[track]).clip(max=len(own) - 1)].to_numpy(float)
        tiles.append(_square(pixels[scene.frames.index(at[track])], box))
        wrong = cause_of[row["number"]]
        captions.append({"name": f"{row['number']} {row['label']}", "wrong": "" if wrong == RIGHT else wrong})
    return {"mosaic": write_mosaic(figures / "certificate.png", tiles, COLUMNS, 96), "captions": captions}


def _square(frame: Pixels, box_xyxy: np.ndarray[Any, np.dtype[np.float64]]) -> Pixels:
    """What is around a box, as a square, grey beyond the frame."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = int(0.6 * (box_xyxy[2:] - box_xyxy[:2]).max()) + 2
    x, y = (int(value) + half for value in centre)
    padded = np.pad(frame, ((half, half), (half, half), (0, 0)), constant_values=220)
    tile: Pixels = padded[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
    return tile if tile.size else padded[: 2 * half, : 2 * half]


def _errors(errors: Path, figures: Path) -> dict[str, Any]:
    """Pictures of what went wrong: all errors of the count first, then of the detector."""
    pictures = pd.read_csv(errors / "pictures.csv", keep_default_na=False)
    is_count = pictures["file"].str.startswith("count_")
    shown = pd.concat([pictures[is_count].head(SHOWN_COUNTS), pictures[~is_count].head(SHOWN_FRAMES)])
    for file in shown["file"]:
        write_photo(figures / file, read_image(errors / file), 640)
    rows: Sequence[dict[Any, Any]] = shown.to_dict("records")
    return {
        "shown": [{"file": row["file"], "what": f"{row['clip']}, frame {row['frame']}: {row['what']}"} for row in rows],
        "all": len(pictures),
    }


def _words(tree: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, str] | None]:
    return [_signed(in_words(tree[name])) if name in tree else None for name in names]


def _signed(texts: dict[str, str]) -> dict[str, str]:
    """With a minus sign for a hyphen."""
    return {key: text.replace("-", "−") for key, text in texts.items()}


def _settings(parts: Parts) -> dict[str, list[list[str]]]:
    """The parameters that decide, by section."""
    sections = {
        "parts.frames": parts.frames,
        "parts.train": parts.train,
        "parts.track": parts.track,
        "parts.count": parts.count,
        "parts.evaluate": parts.evaluate,
    }
    return {
        name: [[key, _as_text(value)] for key, value in section.model_dump(exclude={"views", "weights"}).items()]
        for name, section in sections.items()
    }


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:g}" if isinstance(value, int | float) else "–" if value is None else str(value)


TEMPLATE = Path(__file__).with_suffix(".typ")
BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
DETECTED = ("map50", "map50_95", "detection_precision", "detection_recall")
TRACKED = ("hota", "deta", "assa", "mota", "idf1")
HERO, CERTIFIED, COLUMNS = 3, 32, 8
SHOWN_FINDINGS, SHOWN_COUNTS, SHOWN_FRAMES = 10, 6, 3
SEVERITIES = ("error", "warning", "note")
