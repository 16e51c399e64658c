"""Detections as a detector would make them, drawn from true tracks: what tracking and counting alone are tried on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from sightline.core.boxes import iou
from sightline.parts.detector import Detections
from sightline.parts.motion import CORNERS


@dataclass(frozen=True)
class Mistakes:
    """How a detector errs.

    Attributes:
        missed: share of true boxes.
        false: false boxes per true box.
        jitter: standard deviation of each side of a box in px.
        flipped: share of boxes with another class.
        scores: of true boxes, to draw from.
        false_scores: of false ones.
    """

    missed: float
    false: float
    jitter: float
    flipped: float
    scores: Sequence[float]
    false_scores: Sequence[float]


def simulate(
    truth: pd.DataFrame,
    classes: Sequence[str],
    frames: int,
    size: tuple[int, int],
    mistakes: Mistakes,
    seed: Sequence[int],
) -> list[Detections]:
    """Draw the detections of frames 1 to ``frames`` of one clip.

    Args:
        truth: the true boxes of the clip.
        classes: names, by label.
        frames: of the clip.
        size: width and height of the frames in px.
        mistakes: how often and how much boxes are off; false ones lie anywhere and are as large as true ones.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    true = truth[CORNERS].to_numpy(float)
    label = truth["label"].map({name: number for number, name in enumerate(classes)}).to_numpy(int)
    seen = rng.random(len(true)) >= mistakes.missed
    boxes = true[seen] + rng.normal(0, mistakes.jitter, (int(seen.sum()), 4))
    flip = rng.random(len(boxes)) < mistakes.flipped
    other = rng.integers(1, max(len(classes), 2), len(boxes))
    labels = np.where(flip, (label[seen] + other) % len(classes), label[seen])
    count = rng.binomial(len(true), min(mistakes.false, 1.0))
    sides = (true[:, 2:] - true[:, :2])[rng.integers(0, len(true), count)] if count else np.empty((0, 2))
    corners = rng.uniform(0, 1, (count, 2)) * (np.array(size) - sides)
    drawn = pd.DataFrame(
        np.concatenate([boxes, np.concatenate([corners, corners + sides], axis=1)]).clip(0, [*size, *size]),
        columns=CORNERS,
    ).assign(
        frame=np.concatenate([truth["frame"].to_numpy()[seen], rng.integers(1, frames + 1, count)]),
        label=np.concatenate([labels, rng.integers(0, len(classes), count)]),
        score=np.concatenate([rng.choice(mistakes.scores, len(boxes)), rng.choice(mistakes.false_scores, count)]),
    )
    # A box that jitter turned inside out is none.
    drawn = drawn[(drawn["x2"] > drawn["x1"] + 1) & (drawn["y2"] > drawn["y1"] + 1)]
    return by_frame(drawn, frames)


def by_frame(table: pd.DataFrame, frames: int) -> list[Detections]:
    """Detections of frames 1 to ``frames`` from a table with frame, label (a number), score and x1, y1, x2, y2."""
    ordered = table.sort_values(["frame", "score"], ascending=[True, False], kind="stable")
    borders = np.searchsorted(ordered["frame"].to_numpy(), np.arange(2, frames + 1))
    columns = (
        np.split(ordered[CORNERS].to_numpy(np.float32), borders),
        np.split(ordered["score"].to_numpy(np.float32), borders),
        np.split(ordered["label"].to_numpy(np.int64), borders),
    )
    return [Detections(*row) for row in zip(*columns, strict=True)]


def measure_mistakes(detections: pd.DataFrame, truth: pd.DataFrame) -> Mistakes:
    """How detections (clip, frame, label, score, x1 …) err against the true boxes of the same frames.

    A true box is found by the detection with which it shares most, from an IoU of 0.5.
    """
    hits: list[float] = []
    false_scores: list[float] = []
    flips: list[bool] = []
    offs, missed = [], 0
    found_by_frame = dict(list(detections.groupby(["clip", "frame"])))
    for key, true in truth.groupby(["clip", "frame"]):
        found = found_by_frame.pop(key, detections[:0])
        overlaps = iou(true[CORNERS].to_numpy(float), found[CORNERS].to_numpy(float))
        rows, columns = linear_sum_assignment(-overlaps)
        paired = overlaps[rows, columns] >= FOUND
        rows, columns = rows[paired], columns[paired]
        missed += len(true) - len(rows)
        hits.extend(found["score"].to_numpy()[columns])
        offs.append(found[CORNERS].to_numpy(float)[columns] - true[CORNERS].to_numpy(float)[rows])
        flips.extend(found["label"].to_numpy()[columns] != true["label"].to_numpy()[rows])
        false_scores.extend(np.delete(found["score"].to_numpy(), columns))
    for found in found_by_frame.values():
        false_scores.extend(found["score"])
    off = np.concatenate(offs) if offs else np.empty((0, 4))
    return Mistakes(
        missed=missed / max(len(truth), 1),
        false=len(false_scores) / max(len(truth), 1),
        jitter=float(np.std(off)) if len(off) else 0.0,
        flipped=float(np.mean(flips)) if flips else 0.0,
        scores=[float(score) for score in hits] or [1.0],
        false_scores=[float(score) for score in false_scores] or [0.0],
    )


FOUND = 0.5
