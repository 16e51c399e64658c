"""Average precision beside pycocotools, and the score with the best F1 beside trying all of them."""

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.parts.detector import Detections
from sightline.parts.scoring import Truth, average_precision, choose_score

CLASSES = 3


def scene(seed: int, frames: int = 12) -> tuple[list[Truth], list[Detections]]:
    """Objects, and detections that are near them, twice on them, of another class, elsewhere or missing."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(frames):
        corners = rng.uniform(0, 60, (rng.integers(0, 5), 2))
        boxes = np.hstack([corners, corners + rng.uniform(8, 30, corners.shape)])
        labels = rng.integers(0, CLASSES - 1, len(boxes))
        truth.append(Truth(boxes.astype(np.float32), labels))
        copies = np.repeat(np.arange(len(boxes)), rng.integers(0, 3, len(boxes)))
        stray = rng.uniform(0, 60, (rng.integers(0, 3), 2))
        near = boxes[copies] + rng.normal(0, 2, (len(copies), 4))
        given = np.vstack([near, np.hstack([stray, stray + 15])]).astype(np.float32)
        named = np.append(labels[copies], rng.integers(0, CLASSES, len(stray)))
        named = np.where(rng.random(len(named)) < 0.1, rng.integers(0, CLASSES, len(named)), named)
        # Few different scores, so that ties occur within a frame and between frames.
        scores = rng.integers(1, 9, len(given)).astype(np.float32) / 9
        order = np.argsort(-scores, kind="stable")
        found.append(Detections(given[order], scores[order], named[order].astype(np.int64)))
    return truth, found


def by_coco(truth: list[Truth], found: list[Detections]) -> np.ndarray:
    def entries(frame: int, boxes: np.ndarray, labels: np.ndarray) -> list[dict]:
        sides = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(float).tolist()
        return [
            {"image_id": frame, "category_id": int(label) + 1, "bbox": side, "area": side[2] * side[3], "iscrowd": 0}
            for side, label in zip(sides, labels, strict=True)
        ]

    objects = [
        entry for frame, there in enumerate(truth, 1) for entry in entries(frame, there.boxes_xyxy, there.labels)
    ]
    answers = [
        entry | {"score": float(score)}
        for frame, there in enumerate(found, 1)
        for entry, score in zip(entries(frame, there.boxes_xyxy, there.labels), there.scores, strict=True)
    ]
    reference = COCO()
    reference.dataset = {
        "images": [{"id": frame + 1} for frame in range(len(truth))],
        "annotations": [entry | {"id": number} for number, entry in enumerate(objects, 1)],
        "categories": [{"id": number + 1} for number in range(CLASSES)],
    }
    reference.createIndex()
    evaluation = COCOeval(reference, reference.loadRes(answers), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    return np.where((precision > -1).all(1), precision.mean(1), np.nan).T


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    truth, found = scene(seed)
    assert np.allclose(average_precision(truth, found, CLASSES), by_coco(truth, found), atol=1e-9, equal_nan=True)


def test_a_class_that_never_occurs_has_no_average_precision() -> None:
    truth, found = scene(0)
    assert np.isnan(average_precision(truth, found, CLASSES)[2]).all()


def test_without_detections_average_precision_is_zero() -> None:
    truth, _ = scene(0)
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    assert (average_precision(truth, [nothing] * len(truth), CLASSES)[:2] == 0).all()
    assert choose_score(truth, [nothing] * len(truth), CLASSES) == (0.5, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_score_has_a_better_f1(seed: int) -> None:
    truth, found = scene(seed)
    score, f1 = choose_score(truth, found, CLASSES)
    objects = sum(len(frame.labels) for frame in truth)

    def f1_from(least: float) -> float:
        cut = [Detections(d.boxes_xyxy[k], d.scores[k], d.labels[k]) for d in found for k in [d.scores >= least]]
        right = sum(_right(frame, there) for frame, there in zip(truth, cut, strict=True))
        return 2 * right / (sum(map(len, cut)) + objects)

    assert f1 == pytest.approx(f1_from(score))
    assert f1 == pytest.approx(max(f1_from(least) for least in np.unique(np.concatenate([d.scores for d in found]))))


def _right(frame: Truth, there: Detections) -> int:
    taken: set[int] = set()
    for box, label in zip(there.boxes_xyxy, there.labels, strict=True):
        overlaps = [
            (_iou(box, other), number)
            for number, other in enumerate(frame.boxes_xyxy)
            if frame.labels[number] == label and number not in taken
        ]
        if overlaps and max(overlaps)[0] >= 0.5:
            taken.add(max(overlaps)[1])
    return len(taken)


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [float(np.prod(box[2:].astype(float) - box[:2])) for box in (one, other)]
    return float(np.prod(sides.astype(float)) / (sum(areas) - np.prod(sides.astype(float))))
