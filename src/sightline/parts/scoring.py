"""How good detections are, quickly enough for every epoch: average precision as COCO defines it, and a score to cut at.

Reported figures come from pycocotools; a test holds these equal to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.core.boxes import iou
from sightline.parts.detector import Detections

OVERLAPS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class Truth:
    """What is in a frame: ``boxes_xyxy`` float (n, 4) in the units of the detections, ``labels`` int (n,)."""

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]


def average_precision(truth: Sequence[Truth], found: Sequence[Detections], classes: int) -> NDArray[np.float64]:
    """Average precision of each class at each of :data:`OVERLAPS`, (classes, 10); NaN for a class that never occurs.

    The mean over classes of the first column is mAP50, over everything mAP50-95 (Lin et al., "Microsoft COCO", ECCV
    2014): detections, best first, take the free object that they overlap most, if by so much; precision is the best one
    at this recall or a higher one, read at 101 recalls.
    """
    precision = np.full((classes, len(OVERLAPS)), np.nan)
    for label in range(classes):
        objects = sum(int((frame.labels == label).sum()) for frame in truth)
        if objects:
            hits, _ = _hits(truth, found, label)
            precision[label] = [_area(column, objects) for column in hits.T]
    return precision


def choose_score(truth: Sequence[Truth], found: Sequence[Detections], classes: int) -> tuple[float, float]:
    """The score from which on detections of all classes together have the best F1 at IoU 0.5, and that F1.

    Without a single right detection nothing can be chosen: 0.5 and 0.
    """
    objects = sum(len(frame.labels) for frame in truth)
    pairs = [_hits(truth, found, label) for label in range(classes)]
    hits, scores = np.concatenate([pair[0][:, 0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])
    if not hits.any():
        return 0.5, 0.0
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * hits[order].cumsum() / (np.arange(1, len(hits) + 1) + objects)
    # Equal scores stand or fall together.
    f1[:-1][np.diff(scores[order]) == 0] = 0
    best = int(f1.argmax())
    return float(scores[order][best]), float(f1[best])


def _hits(
    truth: Sequence[Truth], found: Sequence[Detections], label: int
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Of the detections of a class, best first: whether each is right at each overlap (N, 10), and its score (N,)."""
    hits, scores = [np.empty((0, len(OVERLAPS)), bool)], [np.empty(0, np.float32)]
    for frame, detections in zip(truth, found, strict=True):
        mine = detections.labels == label
        boxes = frame.boxes_xyxy[frame.labels == label]
        hits.append(_matched(iou(detections.boxes_xyxy[mine].astype(np.float64), boxes.astype(np.float64))))
        scores.append(detections.scores[mine])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return np.concatenate(hits)[order], np.concatenate(scores)[order]


def _matched(overlaps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which detections (rows, best first) get an object (columns) at each of the overlaps."""
    matched = np.zeros((len(overlaps), len(OVERLAPS)), bool)
    if not overlaps.size:
        return matched
    for column, least in enumerate(OVERLAPS):
        free = overlaps.copy()
        for row in range(len(free)):
            best = free[row].argmax()
            if free[row, best] >= least:
                matched[row, column] = True
                free[:, best] = -1
    return matched


def _area(hits: NDArray[np.bool_], objects: int) -> float:
    right = hits.cumsum()
    recall, precision = right / objects, right / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(best, 0.0)[places.clip(max=len(best))].mean())
