"""Stage ``parts-evaluate``: what detection, tracking and the count are worth, and where errors come from.

The figures at the top are those of test, which chose nothing. Those of val stand beside them and flatter: the
detector's threshold, the tracker's settings and the line were chosen there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.intervals import FloatArray, Statistics, bootstrap, paired_difference
from sightline.core.progress import say
from sightline.params import load
from sightline.parts.count_figures import COLUMNS, RIGHT, Watched, count_figures, judge
from sightline.parts.counting import true_crossings
from sightline.parts.detection_figures import (
    at_threshold,
    average_precisions,
    false_on_empty_frames,
    match,
    precision_recall_table,
)
from sightline.parts.mistakes import draw_mistakes
from sightline.parts.motion import Axis, Prior
from sightline.parts.params import Evaluate, Parts
from sightline.parts.scenes import Scene, read_scenes
from sightline.parts.stretches import Stretch, cut_into_stretches, stretch_of
from sightline.parts.tracker import Association, Tracker
from sightline.parts.tracking_figures import Tracked, hota_curves, score_clips, statistics, together

Option = typer.Option()

CONVENTIONS = {
    "unit": "n counts stretches of video for detection and tracking (parts.evaluate.stretch_seconds long at least, cut "
    "where the fewest parts are seen), and parts for counts",
    "map50, map50_95": "COCO's average precision (pycocotools), mean over the classes; any size, 100 boxes a frame",
    "detection_precision, detection_recall": "at the detector's threshold, IoU 0.5",
    "false_on_empty_frames": "boxes at the threshold or above, for each frame that shows no part",
    "hota, deta, assa, loca, mota, motp, idf1, switches, fp, fn": "TrackEval's definitions, classes 'det averaged': "
    "a track of the wrong class matches nothing; class_agnostic leaves classes out",
    "count_error": "sum over classes of |counted - true|, over the true count; true are the parts that cross the line",
    "count_bias": "(counted - true) / true, all classes together, with its sign",
    "miscounted": "share of the parts, true or false, with an error of any kind; upper is an exact 95 % bound",
    "baseline": "sort: plain SORT (Bewley et al. 2016: IoU 0.3, max_age 1, min_hits 3) on the same detections, every "
    "id of which counts as a part; difference: ours - sort on the same resamples",
}


def main(
    raw: Annotated[Path, Option],
    audit: Annotated[Path, Option],
    tracks: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    errors: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`evaluate`."""
    evaluate(raw, audit, tracks, deployed, load("parts", Parts).evaluate, errors, out)


def evaluate(raw: Path, audit: Path, tracks: Path, deployed: Path, settings: Evaluate, errors: Path, out: Path) -> None:
    """Write ``metrics.json`` and the tables behind the plots into ``out``, and what went wrong into ``errors``.

    Args:
        raw: the videos, as ``parts-source`` leaves them; frames with errors are drawn.
        audit: the truth, as ``parts-audit`` leaves it.
        tracks: what ``parts-track`` found.
        deployed: the detector's threshold, the line and the motion prior, as ``parts-track`` leaves them.
        settings: ``parts.evaluate``.
        errors: a folder to make, see :func:`sightline.parts.mistakes.draw_mistakes`.
        out: the folder for figures.

    Raises:
        InputError: there is no frame of test, or the files are of different runs.
    """
    rules = _read_rules(deployed)
    scenes = read_scenes(audit, tracks, rules.classes)
    by_split = {split: [scene for scene in scenes if scene.split == split] for split in ("test", "val")}
    if not by_split["test"]:
        raise InputError(f"{audit} has no clip of test with frames: there is nothing to measure on")
    results = {split: _measure(of, rules, settings) for split, of in by_split.items() if of}
    metrics = results["test"].figures
    metrics |= {"val": results["val"].figures} if "val" in results else {}
    metrics |= _baseline(by_split["test"], results["test"], rules, settings)
    metrics |= {"threshold": rules.threshold, "line": rules.line, "conventions": CONVENTIONS}
    write_json(out / "metrics.json", metrics)
    write_csv(out / "pr_curve.csv", pd.concat([result.precision_recall for result in results.values()]))
    write_csv(out / "hota_curve.csv", pd.concat([result.hota for result in results.values()]))
    verdicts = pd.concat([result.verdicts for result in results.values()])
    write_csv(out / "count_errors.csv", verdicts[verdicts["cause"] != RIGHT])
    draw_mistakes(raw, scenes, verdicts, rules.threshold, settings.pictures, errors)
    said = {name: metrics[name]["value"] for name in ("map50", "map50_95", "hota", "mota", "idf1") if name in metrics}
    say("test: " + ", ".join(f"{name} {value:.3f}" for name, value in said.items()))
    for label, of in metrics.get("count", {}).get("by_class", {}).items():
        say(f"test: {of['counted']} {label} counted, {of['true']} crossed the line")


class Rules(NamedTuple):
    """What ``parts-track`` deployed: a detection counts from ``threshold``; ``line`` is a share of the way."""

    classes: tuple[str, ...]
    threshold: float
    line: float
    direction: Any
    prior: Prior | None


class Result(NamedTuple):
    """A split's figures, the curves behind them, the verdict on each part; and how tracks score, None if not at all."""

    figures: dict[str, Any]
    precision_recall: pd.DataFrame
    hota: pd.DataFrame
    verdicts: pd.DataFrame
    tracked: Tracked | None


def _read_rules(deployed: Path) -> Rules:
    try:
        config = read_json(deployed / "config.json")
        line, prior = config["tracking"]["rule"], config["tracking"]["prior"]
        return Rules(
            tuple(config["classes"]),
            float(config["score"]["value"]),
            float(line["line"]),
            line["direction"],
            Prior(**prior) if prior else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{deployed} does not hold what parts-track leaves: {error}") from None


def _measure(scenes: Sequence[Scene], rules: Rules, settings: Evaluate) -> Result:
    """Everything about one split."""
    split, truth = scenes[0].split, pd.concat([scene.truth for scene in scenes])
    stretches = _stretches(scenes, settings)
    tree, precision_recall = _detection(scenes, stretches, rules, settings)
    tree |= {
        "frames": sum(len(scene.frames) for scene in scenes),
        "stretches": len(stretches),
        "boxes": {label: int((truth["label"] == label).sum()) for label in rules.classes},
    }
    if reasons := [scene.why_untracked for scene in scenes if scene.why_untracked]:
        tree["absent"] = dict.fromkeys((*TRACKING, "count_error"), "; ".join(reasons))
        return Result(tree, precision_recall, pd.DataFrame(columns=CURVE), pd.DataFrame(columns=VERDICT), None)
    tracks = pd.concat([scene.tracks for scene in scenes])
    by_class = _track_scores(scenes, tracks, stretches, rules.classes)
    tracked = together(list(by_class.values()))
    tree |= _intervals(statistics(tracked), len(stretches), settings)
    whole = pd.concat([scene.whole for scene in scenes])
    agnostic = _intervals(statistics(score_clips(whole, tracks, _clips(scenes), stretches)), len(stretches), settings)
    tree["class_agnostic"] = {name: agnostic[name] for name in TRACKING}
    for label in tree["by_class"]:
        tree["by_class"][label] |= _intervals(statistics(by_class[label]), len(stretches), settings)
    verdicts = _judge(scenes, {scene.name: (scene.counted, scene.tracks) for scene in scenes}, rules)
    tree |= _count(verdicts, rules, settings)
    ids = whole.drop_duplicates(["clip", "track"])["label"].value_counts()
    tree["count"]["true_ids"] = {label: int(ids.get(label, 0)) for label in rules.classes}
    # 'set' is what dvc plots tells lines apart by.
    curves = {"together": tracked, **by_class}
    hota = [
        hota_curves(of.whole).assign(set=f"{split} {label}", split=split, label=label) for label, of in curves.items()
    ]
    return Result(tree, precision_recall, pd.concat(hota), verdicts, tracked)


def _stretches(scenes: Sequence[Scene], settings: Evaluate) -> list[Stretch]:
    """The units of a split, clip after clip."""
    return [
        stretch
        for scene, clip in zip(scenes, _clips(scenes), strict=True)
        for stretch in cut_into_stretches(scene.truth, clip, round(settings.stretch_seconds * scene.fps))
    ]


def _clips(scenes: Sequence[Scene]) -> list[Stretch]:
    return [Stretch(scene.name, scene.frames[0], scene.frames[-1]) for scene in scenes]


def _detection(
    scenes: Sequence[Scene], stretches: Sequence[Stretch], rules: Rules, settings: Evaluate
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Figures of the detector, all and by class, and its curves."""
    frames = pd.concat([pd.DataFrame({"clip": scene.name, "frame": scene.frames}) for scene in scenes])
    truth, found = (pd.concat(tables) for tables in zip(*((s.truth, s.detections) for s in scenes), strict=True))
    matched = match(frames, truth, found, rules.classes)
    false = false_on_empty_frames(frames, truth, found[found["score"] >= rules.threshold])

    def of_resample(weights: FloatArray) -> dict[str, float]:
        weight = weights[frame_stretch]
        empty = weight[~np.isnan(false)]
        missing = {"false_on_empty_frames": float(empty @ false[~np.isnan(false)] / empty.sum())} if empty.sum() else {}
        return average_precisions(matched, weight) | at_threshold(matched, rules.threshold, weight) | missing

    frame_stretch = stretch_of(frames, stretches).to_numpy()
    found_figures = _intervals(of_resample, len(stretches), settings)
    tree: dict[str, Any] = {name: of for name, of in found_figures.items() if " " not in name}
    tree["by_class"] = {
        label: {name: found_figures[f"{name} {label}"] for name in ("ap50", "ap50_95")}
        for label in rules.classes
        if f"ap50 {label}" in found_figures
    }
    table = precision_recall_table(matched, len(frames))
    # Of a table without rows pandas makes a column of numbers.
    overlaps = table["iou"].map("IoU {:g}".format).astype(str)
    return tree, table.assign(set=scenes[0].split + " " + table["label"] + " " + overlaps, split=scenes[0].split)


def _track_scores(
    scenes: Sequence[Scene], tracks: pd.DataFrame, stretches: Sequence[Stretch], classes: Sequence[str]
) -> dict[str, Tracked]:
    truth = pd.concat([scene.whole for scene in scenes])
    return {
        label: score_clips(truth[truth["label"] == label], tracks[tracks["label"] == label], _clips(scenes), stretches)
        for label in classes
    }


def _judge(
    scenes: Sequence[Scene], counted: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], rules: Rules
) -> pd.DataFrame:
    """What became of each part, of pairs of what was counted and its tracks, by clip."""
    tables = []
    for scene in scenes:
        axis = Axis(rules.direction, scene.width, scene.height)
        # Frames from 1, since what is below the line in the clip's first frames has not crossed in it.
        before = scene.frames[0] - 1
        truth = scene.whole.assign(frame=scene.whole["frame"] - before)
        crossings = true_crossings(truth, rules.line, axis, rules.prior)
        crossings["frame"] += before
        clip = Watched(scene.name, *counted[scene.name], crossings, scene.whole, scene.frames[0], scene.frames[-1])
        tables.append(judge(clip).assign(split=scene.split))
    return pd.concat(tables, ignore_index=True)


def _count(verdicts: pd.DataFrame, rules: Rules, settings: Evaluate) -> dict[str, Any]:
    """Figures of a count; what is not headline stands below ``count``."""
    found = count_figures(verdicts, rules.classes, settings.seed, settings.resamples)
    headline = {name: found.pop(name) for name in ("count_error", "count_bias", "miscounted") if name in found}
    return headline | {"count": found}


def _baseline(scenes: Sequence[Scene], ours: Result, rules: Rules, settings: Evaluate) -> dict[str, Any]:
    """Plain SORT on the same detections, and what we gain on it."""
    if ours.tracked is None:
        return {"baseline": {}}
    stretches = _stretches(scenes, settings)
    found = {scene.name: _sort(scene, rules) for scene in scenes}
    tracks = pd.concat(found.values())
    sort = together(list(_track_scores(scenes, tracks, stretches, rules.classes).values()))
    # Every id is taken for a part, as one does who asks a tracker how many it has seen.
    ids = {
        name: (table.drop_duplicates("track").assign(number=range(1, table["track"].nunique() + 1)), table)
        for name, table in found.items()
    }
    figures_of = _intervals(statistics(sort), len(stretches), settings)
    counted = _count(_judge(scenes, ids, rules), rules, settings)
    groups = np.arange(len(stretches))
    gain = paired_difference(
        statistics(sort), statistics(ours.tracked), groups, seed=settings.seed, resamples=settings.resamples
    )
    return {
        "baseline": {"sort": {name: figures_of[name] for name in TRACKING} | counted},
        "difference": {"ours_minus_sort": {name: gain[name].as_dict() for name in TRACKING}},
    }


def _sort(scene: Scene, rules: Rules) -> pd.DataFrame:
    """Tracks of plain SORT on the detections that count, with the class that most of their boxes have."""
    # SORT does not count the box that a track begins with: four are its min_hits of 3.
    association = Association("sort", rules.threshold, rules.threshold, min_iou=0.3, lost_frames=1, confirm=4)
    tracker = Tracker(association, None, scene.width, scene.height)
    sure = scene.detections[scene.detections["score"] >= rules.threshold]
    by_frame = dict(tuple(sure.groupby("frame")))
    tracks = []
    for frame in scene.frames:
        found = by_frame.get(frame, sure[:0])
        tracked = tracker.update(found[BOX].to_numpy(np.float32), found["score"].to_numpy(np.float32))
        seen = [one for one in tracked if one.confirmed]
        tracks.append(found.iloc[[one.row for one in seen]].assign(track=[one.track for one in seen]))
    table = pd.concat(tracks)
    votes = table.groupby("track")["label"].agg(lambda labels: labels.mode().iloc[0])
    return table.assign(label=table["track"].map(votes))


def _intervals(statistics_of: Statistics, stretches: int, settings: Evaluate) -> dict[str, dict[str, float]]:
    found = bootstrap(statistics_of, np.arange(stretches), seed=settings.seed, resamples=settings.resamples)
    return {name: figure.as_dict() for name, figure in found.items()}


TRACKING = ("hota", "deta", "assa", "mota", "idf1", "switches")
BOX = ["x1", "y1", "x2", "y2"]
CURVE = ["alpha", "hota", "deta", "assa", "loca", "detre", "detpr", "set", "split", "label"]
VERDICT = [*COLUMNS, "split"]
