"""Which found face is which true one, and from that precision, recall and average precision, as COCO counts them.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; pycocotools gives the same figures.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.core.boxes import iou as overlaps

Floats = NDArray[np.float64]
RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads its precision-recall curve."""


class Matches(NamedTuple):
    """What became of the N found and the M true boxes of a photo.

    Attributes:
        truth: (N,) int64, the row of the true box that each found one matches, -1 for none.
        counts: (N,) bool, False for found boxes that are neither right nor wrong: what they show is ignored, or they
            match nothing and are smaller than what counts.
        expected: (M,) bool, False for true boxes that are ignored or smaller than what counts.
    """

    truth: NDArray[np.int64]
    counts: NDArray[np.bool_]
    expected: NDArray[np.bool_]


def match(
    found_xyxy: ArrayLike,
    scores: ArrayLike,
    true_xyxy: ArrayLike,
    ignored: ArrayLike | None = None,
    *,
    iou: float = 0.5,
    min_side: float = 0,
) -> Matches:
    """Match the boxes of one photo: by descending score, each with the true box that it overlaps most and no other has.

    A box that counts goes before one that is ignored, however much either is overlapped.

    Args:
        found_xyxy: (N, 4).
        scores: (N,).
        true_xyxy: (M, 4).
        ignored: (M,) bool, boxes that need not be found; none if not given.
        iou: the smallest overlap of a match.
        min_side: px of the shorter side; smaller true boxes are ignored.
    """
    found = np.asarray(found_xyxy, dtype=np.float64).reshape(-1, 4)
    true = np.asarray(true_xyxy, dtype=np.float64).reshape(-1, 4)
    skipped = np.zeros(len(true), np.bool_) if ignored is None else np.asarray(ignored, dtype=np.bool_)
    expected = ~skipped & (_shorter_sides(true) >= min_side)
    free = np.ones(len(true), np.bool_)
    truth = np.full(len(found), -1, np.int64)
    overlap = overlaps(found, true)
    for row in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable"):
        for pool in (free & expected, free & ~expected):
            candidates = np.flatnonzero(pool & (overlap[row] >= iou))
            if len(candidates):
                truth[row] = candidates[overlap[row, candidates].argmax()]
                free[truth[row]] = False
                break
    matched = truth >= 0
    counts = _shorter_sides(found) >= min_side
    counts[matched] = expected[truth[matched]]
    return Matches(truth, counts, expected)


class DetectionCurve:
    """Precision and recall of found boxes over many photos, under any weights of the photos.

    Sorted once, so that a bootstrap over photos only has to sum.

    >>> curve = DetectionCurve(scores, matches.truth >= 0)
    >>> curve.average_precision(np.ones(len(scores)), expected=matches.expected.sum())
    0.93

    Args:
        scores: (N,), of the boxes that count.
        is_true: (N,) bool, those that match a true box.
    """

    def __init__(self, scores: ArrayLike, is_true: ArrayLike) -> None:
        values = np.asarray(scores, dtype=np.float64)
        self.order = np.argsort(-values, kind="stable")
        self.scores = values[self.order]
        self.is_true = np.asarray(is_true, dtype=np.bool_)[self.order]

    def precision_recall(self, weights: ArrayLike, expected: float) -> tuple[Floats, Floats]:
        """Precision and recall, (N,) each, when one box after the other is let in by descending score.

        Args:
            weights: (N,), in the order of the scores that were given.
            expected: the weight of the true boxes that count.
        """
        ordered = np.asarray(weights, dtype=np.float64)[self.order]
        right, all_boxes = np.cumsum(ordered * self.is_true), np.cumsum(ordered)
        precision = np.divide(right, all_boxes, out=np.zeros(len(right)), where=all_boxes > 0)
        return precision, right / expected if expected > 0 else np.full(len(right), np.nan)

    def at(self, threshold: float, weights: ArrayLike, expected: float) -> tuple[float, float]:
        """Precision and recall of the boxes with at least this score; NaN where there is nothing to divide by."""
        let_in = self.scores >= threshold
        ordered = np.asarray(weights, dtype=np.float64)[self.order]
        right, all_boxes = float(ordered @ (self.is_true & let_in)), float(ordered @ let_in)
        return right / all_boxes if all_boxes > 0 else np.nan, right / expected if expected > 0 else np.nan

    def average_precision(self, weights: ArrayLike, expected: float) -> float:
        """COCO's: the mean, over 101 recalls, of the best precision there or beyond; NaN if nothing is expected."""
        if not expected > 0:
            return float("nan")
        precision, recall = self.precision_recall(weights, expected)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        return float(best[np.searchsorted(recall, RECALLS, side="left")].mean())


def _shorter_sides(boxes_xyxy: Floats) -> Floats:
    return np.asarray((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1, initial=np.inf))
