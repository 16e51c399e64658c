import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.faces.matching import DetectionCurve, Matches, match

A, B, FAR = [0, 0, 100, 100], [50, 0, 150, 100], [500, 500, 600, 600]


def test_the_surer_box_gets_the_face_and_the_other_is_wrong() -> None:
    found = match([[5, 0, 105, 100], [0, 0, 100, 100]], [0.9, 0.8], [A])
    assert found.truth.tolist() == [0, -1]
    assert found.counts.all()


def test_each_box_takes_the_face_that_it_overlaps_most() -> None:
    found = match([[45, 0, 145, 100], [2, 0, 102, 100]], [0.8, 0.9], [A, B])
    assert found.truth.tolist() == [1, 0]


def test_a_box_on_an_ignored_face_is_neither_right_nor_wrong() -> None:
    found = match([A, FAR], [0.9, 0.9], [A], ignored=[True])
    assert found.truth.tolist() == [0, -1]
    assert found.counts.tolist() == [False, True]
    assert found.expected.tolist() == [False]


def test_a_face_that_counts_goes_before_an_ignored_one() -> None:
    found = match([A], [0.9], [[0, 0, 100, 99], [0, 0, 100, 60]], ignored=[True, False])
    assert found.truth.tolist() == [1]
    assert found.counts.all()


def test_small_faces_are_ignored_found_or_not() -> None:
    small, other = [0, 0, 30, 15], [200, 0, 230, 15]
    found = match([small, other, [300, 0, 330, 30]], [0.9, 0.9, 0.9], [small], min_side=20)
    assert found.counts.tolist() == [False, False, True]
    assert found.expected.tolist() == [False]


@pytest.mark.parametrize(("boxes", "true"), [([], [A]), ([A], []), ([], [])])
def test_nothing_found_or_nothing_there(boxes: list[list[int]], true: list[list[int]]) -> None:
    found = match(boxes, [0.5] * len(boxes), true)
    assert (found.truth == -1).all()
    assert len(found.counts) == len(boxes)
    assert len(found.expected) == len(true)


def test_precision_and_recall_at_a_threshold() -> None:
    curve = DetectionCurve([0.7, 0.95, 0.9, 0.8], [True, True, False, True])
    assert curve.at(0.85, np.ones(4), 5) == (0.5, 0.2)
    # A photo that a bootstrap drew twice counts twice.
    assert curve.at(0.85, [1, 2, 1, 1], 6) == pytest.approx((2 / 3, 1 / 3))
    assert np.isnan(curve.at(0.99, np.ones(4), 5)[0])
    assert np.isnan(curve.at(0.5, np.ones(4), 0)[1])


def test_average_precision_by_hand() -> None:
    # Right, wrong, right of four: recall 0.25 at precision 1, 0.5 at 2/3. Of the 101 recalls 26 lie up to 0.25 and 25
    # beyond, up to 0.5.
    curve = DetectionCurve([0.9, 0.8, 0.7], [True, False, True])
    assert curve.average_precision(np.ones(3), 4) == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert DetectionCurve([], []).average_precision([], 3) == 0
    assert np.isnan(DetectionCurve([0.5], [False]).average_precision([1], 0))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou", [0.4, 0.5, 0.75])
def test_pycocotools_gives_the_same(seed: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    photos = []
    for _ in range(12):
        # Squares, so that a shorter side of 20 px is an area of 400.
        corners, sides = rng.uniform(0, 300, (rng.integers(0, 9), 2)), None
        sides = rng.uniform(12, 80, (len(corners), 1))
        true = np.concatenate([corners, corners + sides], axis=1)
        near = np.repeat(true, rng.integers(0, 3, len(true)), axis=0)
        near += rng.normal(0, 0.12, (len(near), 1)) * (near[:, 2:3] - near[:, :1])
        stray = rng.uniform(0, 300, (rng.integers(0, 4), 2))
        found = np.concatenate([near, np.concatenate([stray, stray + rng.uniform(12, 80, (len(stray), 1))], axis=1)])
        scores = rng.uniform(0.5, 1, len(found)).round(3)
        photos.append((true, rng.random(len(true)) < 0.15, found, scores))
    matches = [match(found, scores, true, ignored, iou=iou, min_side=20) for true, ignored, found, scores in photos]
    ours, expected = curve_of(matches, [scores for *_, scores in photos])
    weights = np.ones(len(ours.scores))
    ap, recall = coco(photos, iou)
    assert ours.average_precision(weights, expected) == pytest.approx(ap, abs=1e-9)
    assert ours.at(0, weights, expected)[1] == pytest.approx(recall, abs=1e-9)


def curve_of(matches: list[Matches], scores: list[np.ndarray]) -> tuple[DetectionCurve, int]:
    counts = np.concatenate([found.counts for found in matches])
    right = np.concatenate([found.truth >= 0 for found in matches])
    curve = DetectionCurve(np.concatenate(scores)[counts], right[counts])
    return curve, sum(int(found.expected.sum()) for found in matches)


def coco(photos: list[tuple[np.ndarray, ...]], iou: float) -> tuple[float, float]:
    """Average precision and recall of COCO for areas from 400."""
    truth, results = [], []
    for image, (true, ignored, found, scores) in enumerate(photos):
        for box, ignore in zip(true, ignored, strict=True):
            side = box[2] - box[0]
            # An area of nothing is outside the range, which is how COCO ignores a box that is no crowd.
            area = 0 if ignore else side * (box[3] - box[1])
            annotation = {"id": len(truth) + 1, "image_id": image, "category_id": 1, "iscrowd": 0, "area": area}
            truth.append({**annotation, "bbox": [box[0], box[1], side, box[3] - box[1]]})
        for box, score in zip(found, scores, strict=True):
            results.append(
                {"image_id": image, "category_id": 1, "score": score, "bbox": [*box[:2], *(box[2:] - box[:2])]}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "images": [{"id": image} for image in range(len(photos))],
            "annotations": truth,
            "categories": [{"id": 1, "name": "face"}],
        }
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([iou])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[400, 1e10]], ["all"]
        evaluation.params.maxDets = [1000]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"].mean()), float(evaluation.eval["recall"].mean())
