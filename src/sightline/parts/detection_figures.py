"""What detections are worth: COCO's average precision from pycocotools' own matches, with intervals.

pycocotools matches detections to the truth and says which are right. Precision, recall and their area are then summed
up here as its ``accumulate`` does, but with a weight for each frame, so that a bootstrap needs no second matching.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

FloatArray = NDArray[np.float64]
BOX = ["x1", "y1", "x2", "y2"]
IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


class Matched(NamedTuple):
    """One class of a clip or several, matched.

    ``scores`` (D,) fall; ``is_true`` and ``is_counted`` are (10, D), a row for each of :data:`IOUS`; detections
    on a crowd are not counted. ``unit`` (D,) is the row of the frame that a detection lies in, and ``true_unit`` (G,)
    that of each true box.
    """

    scores: FloatArray
    is_true: NDArray[np.bool_]
    is_counted: NDArray[np.bool_]
    unit: NDArray[np.int64]
    true_unit: NDArray[np.int64]


class Curves(NamedTuple):
    """Precision at :data:`IOUS` and :data:`RECALLS`, and the score that each recall is reached at; both (10, 101)."""

    precision: FloatArray
    scores: FloatArray


def match(
    frames: pd.DataFrame, truth: pd.DataFrame, detections: pd.DataFrame, classes: Sequence[str]
) -> dict[str, Matched]:
    """Match detections to true boxes of their class with pycocotools (IoU 0.5 to 0.95, 100 a frame, any size).

    Args:
        frames: clip and frame of all that were looked at; a row each, without duplicates.
        truth: clip, frame, label, x1, y1, x2, y2, and ``crowd`` (1: many in one box, neither right nor wrong).
        detections: clip, frame, label, x1, y1, x2, y2, score.
        classes: their names.
    """
    rows = pd.Series(np.arange(len(frames)), index=pd.MultiIndex.from_frame(frames[["clip", "frame"]]))
    numbers = {label: number for number, label in enumerate(classes, start=1)}
    known, found = (_coco_boxes(table, rows, numbers) for table in (truth, detections))
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": row} for row in range(len(frames))],
            "categories": [{"id": number, "name": label} for label, number in numbers.items()],
            "annotations": known,
        }
        coco.createIndex()
        # loadRes takes the first of an empty list.
        results = coco.loadRes(found) if found else COCO()
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.evaluate()
    of_class = np.array_split(np.array(evaluation.evalImgs, dtype=object), len(classes))
    return {label: _joined(list(images)) for label, images in zip(classes, of_class, strict=True)}


def curves(matched: Matched, weights: FloatArray) -> Curves | None:
    """Precision at each recall, frames weighted; None where no true box has a weight.

    With weights of 1 these are the numbers of ``COCOeval.accumulate``.
    """
    expected = weights[matched.true_unit].sum()
    if not expected:
        return None
    weight = weights[matched.unit]
    right = np.cumsum(weight * (matched.is_true & matched.is_counted), axis=1)
    wrong = np.cumsum(weight * (~matched.is_true & matched.is_counted), axis=1)
    precision = right / (right + wrong + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    at_recall, scores = np.zeros((len(IOUS), len(RECALLS))), np.zeros((len(IOUS), len(RECALLS)))
    for row, recall in enumerate(right / expected):
        places = np.searchsorted(recall, RECALLS, side="left")
        reached = places < len(recall)
        at_recall[row, reached] = envelope[row, places[reached]]
        scores[row, reached] = matched.scores[places[reached]]
    return Curves(at_recall, scores)


def average_precisions(matched: Mapping[str, Matched], weights: FloatArray) -> dict[str, float]:
    """``map50`` and ``map50_95`` over the classes present, and ``ap50 <class>``, ``ap50_95 <class>`` of each."""
    found: dict[str, float] = {}
    means = []
    for label, of_class in matched.items():
        if of := curves(of_class, weights):
            found |= {f"ap50 {label}": float(of.precision[0].mean()), f"ap50_95 {label}": float(of.precision.mean())}
            means.append((of.precision[0].mean(), of.precision.mean()))
    if not means:
        return {}
    map50, map50_95 = np.mean(means, axis=0)
    return {"map50": float(map50), "map50_95": float(map50_95), **found}


def at_threshold(matched: Mapping[str, Matched], threshold: float, weights: FloatArray) -> dict[str, float]:
    """``detection_precision``, ``detection_recall`` at IoU 0.5, of all classes, of the boxes at or above a score; left
    out where nothing is found, or nothing is there.
    """
    right = wrong = expected = 0.0
    for of in matched.values():
        weight = weights[of.unit] * (of.scores >= threshold) * of.is_counted[0]
        right += float(weight[of.is_true[0]].sum())
        wrong += float(weight[~of.is_true[0]].sum())
        expected += float(weights[of.true_unit].sum())
    found = {"detection_precision": right / (right + wrong)} if right + wrong else {}
    return found | ({"detection_recall": right / expected} if expected else {})


def false_on_empty_frames(frames: pd.DataFrame, truth: pd.DataFrame, found: pd.DataFrame) -> FloatArray:
    """How many boxes were found in each of ``frames`` (clip, frame) that shows no part; NaN in the others; (N,)."""
    places = pd.MultiIndex.from_frame(frames[["clip", "frame"]])
    known = pd.MultiIndex.from_frame(truth[["clip", "frame"]])
    counts = found.groupby(["clip", "frame"]).size().reindex(places, fill_value=0).to_numpy(np.float64)
    return np.where(places.isin(known), np.nan, counts)


def precision_recall_table(matched: Mapping[str, Matched], frames: int) -> pd.DataFrame:
    """``label``, ``iou`` (0.5 and 0.75), ``recall``, ``precision`` and ``score``, where the recall is reached."""
    tables = []
    for label, of_class in matched.items():
        if of := curves(of_class, np.ones(frames)):
            tables += [
                pd.DataFrame(
                    {
                        "label": label,
                        "iou": IOUS[row].round(2),
                        "recall": RECALLS.round(2),
                        "precision": of.precision[row],
                        "score": of.scores[row],
                    }
                )[of.scores[row] > 0]
                for row in (0, 5)
            ]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["label", "iou", "recall", "precision", "score"])


def _coco_boxes(table: pd.DataFrame, rows: "pd.Series[int]", numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    places = rows.reindex(pd.MultiIndex.from_frame(table[["clip", "frame"]]), fill_value=-1).to_numpy()
    boxes = table[BOX].to_numpy(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    crowds = table["crowd"] if "crowd" in table else np.zeros(len(table))
    scores = table["score"] if "score" in table else np.ones(len(table))
    return [
        {
            # From 1: pycocotools takes a match with number 0 for none.
            "id": number,
            "image_id": int(place),
            "category_id": numbers[label],
            "bbox": [*box[:2].tolist(), *size.tolist()],
            "area": float(size.prod()),
            "iscrowd": int(crowd),
            "score": float(score),
        }
        for number, (place, label, box, size, crowd, score) in enumerate(
            zip(places, table["label"], boxes, sizes, crowds, scores, strict=True), start=1
        )
        if place >= 0
    ]


def _joined(images: Sequence[Any]) -> Matched:
    """What pycocotools says of each frame, as one list by falling score, in the order in which it sorts."""
    told = [image for image in images if image is not None]
    if not told:
        nothing = np.zeros((len(IOUS), 0), np.bool_)
        return Matched(np.zeros(0), nothing, nothing, np.zeros(0, np.int64), np.zeros(0, np.int64))
    scores = np.concatenate([image["dtScores"] for image in told])
    order = np.argsort(-scores, kind="mergesort")
    is_true, is_ignored = (
        np.concatenate([image[key] for image in told], axis=1)[:, order] > 0 for key in ("dtMatches", "dtIgnore")
    )
    unit = np.concatenate([np.full(len(image["dtIds"]), image["image_id"]) for image in told]).astype(np.int64)
    true_unit = np.concatenate([np.full(int((image["gtIgnore"] == 0).sum()), image["image_id"]) for image in told])
    return Matched(scores[order], is_true, ~is_ignored, unit[order], true_unit.astype(np.int64))
