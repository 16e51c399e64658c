"""What a count is worth: which true part each counted one is, where errors come from, how far the sums are off."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sightline.core.boxes import iou
from sightline.core.calibration import clopper_pearson_upper
from sightline.core.intervals import FloatArray, bootstrap

BOX = ["x1", "y1", "x2", "y2"]
RIGHT, MISSED, TWICE, WRONG_CLASS, CUT, FALSE = (
    "right",
    "missed",
    "counted twice",
    "wrong class",
    "cut by the clip's edge",
    "false",
)
CAUSES = {
    MISSED: "a part that crossed the line and was not counted",
    TWICE: "a part that was counted once more",
    WRONG_CLASS: "a part that was counted as another class",
    CUT: "a part in view when the clip began or ended: counted though it did not cross, or the other way round",
    FALSE: "counted where no part crossed",
}
COLUMNS = ["clip", "cause", "frame", "number", "track", "label", "true_track", "true_label"]


class Watched(NamedTuple):
    """One clip: ``counted`` has number, frame, track and label; ``tracks`` and ``truth`` have frame, track and boxes;
    ``crossings`` has track, label and frame of the true parts that count; ``first`` and ``last`` frame of the clip.
    """

    name: str
    counted: pd.DataFrame
    tracks: pd.DataFrame
    crossings: pd.DataFrame
    truth: pd.DataFrame
    first: int
    last: int


def judge(clip: Watched) -> pd.DataFrame:
    """Say what became of every true part that crosses the line and of everything that was counted: COLUMNS.

    A counted part is a true one if its track lies on it: the overlaps (IoU, those of 0.5 or more) sum up to at least a
    quarter of its boxes. Parts are paired one to one such that they overlap most, whatever their class. What is left
    over was counted twice, is cut by the clip's edge, or false.

    ``number`` (of the count) and ``track`` are -1 for what was not counted, ``true_track`` is -1 for what is no part,
    and ``label`` or ``true_label`` is '' there. ``frame`` is where the line was crossed.
    """
    agreeing, truths = _agreement(clip)
    crossing = np.isin(truths, clip.crossings["track"])
    rows, columns = linear_sum_assignment(agreeing * crossing, maximize=True)
    pairs = {row: column for row, column in zip(rows, columns, strict=True) if agreeing[row, column] * crossing[column]}
    label_of = clip.truth.drop_duplicates("track").set_index("track")["label"].to_dict()
    at_start, at_end = (set(clip.truth.loc[clip.truth["frame"] == frame, "track"]) for frame in (clip.first, clip.last))
    verdicts = []
    for row, part in enumerate(clip.counted.to_dict("records")):
        column = pairs.get(row)
        if column is not None:
            true_track = int(truths[column])
            cause = RIGHT if part["label"] == label_of[true_track] else WRONG_CLASS
        elif agreeing.shape[1] and agreeing[row].max():
            # A part that crosses is known already: by the one that it is paired with, or it would be paired with this.
            column = int(agreeing[row].argmax())
            true_track = int(truths[column])
            cause = TWICE if crossing[column] else CUT if true_track in at_start | at_end else FALSE
        else:
            true_track, cause = -1, FALSE
        said = [part[name] for name in ("frame", "number", "track", "label")]
        verdicts.append([clip.name, cause, *said, true_track, label_of.get(true_track, "")])
    known = {int(truths[column]) for column in pairs.values()}
    for part in clip.crossings.to_dict("records"):
        track, frame = part["track"], part["frame"]
        if track not in known:
            at_edge = (track in at_start and frame <= clip.first + EDGE) or (
                track in at_end and frame >= clip.last - EDGE
            )
            verdicts.append([clip.name, CUT if at_edge else MISSED, frame, -1, -1, "", track, part["label"]])
    table = pd.DataFrame(verdicts, columns=COLUMNS)
    return table.sort_values("frame", kind="stable", ignore_index=True)


def crossed(verdicts: pd.DataFrame) -> "pd.Series[bool]":
    """The one row of each true part that crossed the line, of what :func:`judge` gives."""
    is_known = verdicts["cause"].isin([RIGHT, WRONG_CLASS, MISSED])
    return is_known | ((verdicts["cause"] == CUT) & (verdicts["number"] < 0))


def count_figures(verdicts: pd.DataFrame, classes: Sequence[str], seed: int, resamples: int) -> dict[str, Any]:
    """Figures of the count in the form that metrics.json holds, from what :func:`judge` says of one clip or more.

    The independent unit is the part: a true one with all that was counted for it, or something false. Figures:
    ``count_error`` is the sum over the classes of |counted − true|, over all true parts, so that a bolt too many does
    not make up for a nut too few; ``count_bias`` is (counted − true) / true with its sign, all classes together;
    ``miscounted`` is the share of the true parts with an error of any kind, and of false ones, with an exact upper
    bound, which says something also where nothing went wrong; ``by_class`` has ``count_error`` and ``count_bias``,
    ``true`` and ``counted`` of each.
    """
    is_true, is_counted = verdicts["true_track"] >= 0, verdicts["number"] >= 0
    is_expected = crossed(verdicts)
    expected = [is_expected & (verdicts["true_label"] == label) for label in classes]
    counted = [is_counted & (verdicts["label"] == label) for label in classes]
    causes = {cause: int((verdicts["cause"] == cause).sum()) for cause in CAUSES}
    tree: dict[str, Any] = {
        "true": int(is_expected.sum()),
        "counted": int(is_counted.sum()),
        "causes": causes,
        "by_class": {
            label: {"true": int(true.sum()), "counted": int(said.sum())}
            for label, true, said in zip(classes, expected, counted, strict=True)
        },
    }
    units = np.where(is_true, verdicts["clip"] + " " + verdicts["true_track"].astype(str), verdicts.index.astype(str))
    if not is_expected.any() or len(np.unique(units)) < 2:
        return tree
    present = [number for number, true in enumerate(expected) if true.any()]
    truth, said = (np.stack(column, axis=1).astype(np.float64) for column in (expected, counted))

    def statistics(weights: FloatArray) -> dict[str, float]:
        true, seen = weights @ truth, weights @ said
        if not true.sum():
            return {}
        found = {"count_error": np.abs(seen - true).sum() / true.sum(), "count_bias": seen.sum() / true.sum() - 1}
        for number in present:
            if true[number]:
                bias = seen[number] / true[number] - 1
                found |= {f"count_error {classes[number]}": abs(bias), f"count_bias {classes[number]}": bias}
        return {name: float(value) for name, value in found.items()}

    for name, figure in bootstrap(statistics, units, seed=seed, resamples=resamples).items():
        kind, _, label = name.partition(" ")
        (tree["by_class"][label] if label else tree)[kind] = figure.as_dict()
    wrong, n = len(np.unique(units[verdicts["cause"] != RIGHT])), len(np.unique(units))
    tree["miscounted"] = {
        "value": round(wrong / n, 6),
        "upper": round(clopper_pearson_upper(wrong, n, 0.95), 6),
        "n": n,
    }
    return tree


def _agreement(clip: Watched) -> tuple[FloatArray, NDArray[np.int64]]:
    """How much each counted part (row) lies on each true one (column), and the tracks of the true ones.

    That is the sum of their overlaps over the frames in which they match; too little is 0.
    """
    truths = np.unique(clip.truth["track"].to_numpy(np.int64))
    agreeing = np.zeros((len(clip.counted), len(truths)))
    known = dict(tuple(clip.truth.groupby("frame")))
    row_of = pd.Series(range(len(clip.counted)), index=clip.counted["track"].to_numpy())
    own = clip.tracks[clip.tracks["track"].isin(row_of.index)]
    for frame, found in own.groupby("frame"):
        if (there := known.get(frame)) is not None:
            overlaps = iou(found[BOX].to_numpy(np.float64), there[BOX].to_numpy(np.float64))
            overlaps[overlaps < MATCH_IOU] = 0
            rows, columns = row_of[found["track"]].to_numpy(), np.searchsorted(truths, there["track"])
            agreeing[np.ix_(rows, columns)] += overlaps
    boxes = own["track"].value_counts().reindex(clip.counted["track"], fill_value=0).to_numpy()
    agreeing[agreeing < LEAST_SHARE * boxes[:, None]] = 0
    return agreeing, truths


MATCH_IOU, LEAST_SHARE = 0.5, 0.25
# Frames from the clip's first or last in which a crossing is half seen.
EDGE = 10
