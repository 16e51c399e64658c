"""Trackers by parameter, on objects whose ways are known."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import mot
from sightline.parts.tracker import KINDS, Association, Tracker, fill_gaps

Boxes = NDArray[np.float32]


def square(x: float, y: float, side: float = 40) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def crossing(frames: int = 20) -> list[Boxes]:
    """Two squares that pass each other at some distance."""
    return [np.array([square(100 + 6 * f, 100), square(300 - 6 * f, 160)], np.float32) for f in range(frames)]


def association(tracker: str, **changes: object) -> Association:
    settings: dict[str, object] = {"high_score": 0.5, "new_score": 0.5, "min_iou": 0.1, "lost_frames": 10}
    return Association(tracker, **{**settings, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_each_tracker_follows_two_objects_from_their_first_box(kind: str) -> None:
    tracker = Tracker(association(kind), None, 640, 640)
    for boxes in crossing():
        found = tracker.update(boxes, np.array([0.9, 0.8], np.float32))
        assert [(tracked.track, tracked.row) for tracked in found] == [(1, 0), (2, 1)]
        for tracked in found:
            assert tracked.box_xyxy == pytest.approx(boxes[tracked.row], abs=8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_detections_does_not_matter(kind: str) -> None:
    tracker = Tracker(association(kind), None, 640, 640)
    for number, boxes in enumerate(crossing()):
        order = [0, 1] if number % 2 == 0 else [1, 0]
        found = tracker.update(boxes[order], np.array([0.9, 0.9], np.float32))
        assert {tracked.track: order[tracked.row] for tracked in found} == {1: 0, 2: 1}


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_is_gone_for_some_frames_keeps_its_number(kind: str) -> None:
    tracker = Tracker(association(kind), None, 640, 640)
    numbers = []
    for frame in range(20):
        seen = not 10 <= frame < 14
        boxes = np.array([square(100 + 3 * frame, 100)] if seen else [], np.float32).reshape(-1, 4)
        numbers += [tracked.track for tracked in tracker.update(boxes, np.full(len(boxes), 0.9, np.float32))]
    assert numbers == [1] * 16


def test_a_faint_detection_prolongs_a_track_and_begins_none() -> None:
    tracker = Tracker(association("bytetrack"), None, 640, 640)
    scores = [0.9, 0.9, 0.3, 0.3, 0.9]
    found = []
    for frame, score in enumerate(scores):
        boxes = np.array([square(100 + 3 * frame, 100), square(500, 500)], np.float32)
        found.append([tracked.row for tracked in tracker.update(boxes, np.array([score, 0.3], np.float32))])
    assert found == [[0]] * 5


def test_frames_without_detections_are_no_tracks() -> None:
    tracker = Tracker(association("bytetrack"), None, 640, 640)
    empty = np.empty((0, 4), np.float32)
    assert tracker.update(empty, empty[:, 0]) == []
    assert len(tracker.update(np.array([square(9, 9)], np.float32), np.ones(1, np.float32))) == 1
    assert tracker.update(empty, empty[:, 0]) == []


@pytest.mark.parametrize(("kind", "confirm"), [("bytetrack", 3), ("botsort", 2), ("sort", 3)])
def test_a_track_is_confirmed_once_it_has_enough_boxes(kind: str, confirm: int) -> None:
    tracker = Tracker(association(kind, confirm=confirm), None, 640, 640)
    # What the first frames show is believed at once.
    for _ in range(10):
        tracker.update(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    verdicts = [tracker.update(boxes[:1], np.ones(1, np.float32))[0].confirmed for boxes in crossing(5)]
    assert verdicts == [False] * (confirm - 1) + [True] * (6 - confirm)


def test_sort_confirms_as_its_authors_code_does() -> None:
    rng = np.random.default_rng(5)
    tracker = Tracker(Association("sort", 0.0, 0.0, 0.3, lost_frames=1, confirm=4), None, 640, 640)
    detections, ours = [], []
    for frame in range(1, 61):
        # Six ways of which one box in five is missing, also in the first frames, and a false box.
        ways = np.array([square(60 * way + 3 * frame, 80 * way + 2 * frame, 60) for way in range(1, 7)])
        boxes = ways[rng.random(6) > 0.2] + rng.normal(0, 1.5, 4)
        boxes = np.r_[boxes, [square(*rng.uniform(100, 600, 2))]]
        detections += [(frame, *box) for box in boxes]
        confirmed = [one for one in tracker.update(boxes, np.ones(len(boxes), np.float32)) if one.confirmed]
        ours += [(frame, one.track, *one.box_xyxy) for one in confirmed]
    columns = ["frame", "x1", "y1", "x2", "y2"]
    theirs = mot.sort(pd.DataFrame(detections, columns=columns), 60)
    both = theirs.merge(pd.DataFrame(ours, columns=["frame", "ours", *columns[1:]]).round(2), on=columns, how="outer")
    assert both.notna().all(axis=None)
    assert len(both[["track", "ours"]].drop_duplicates()) == theirs["track"].nunique() == both["ours"].nunique()


def test_short_gaps_are_filled_on_the_straight_way_and_long_ones_stay() -> None:
    frames, boxes = np.array([1, 2, 5, 20]), np.array([square(0, y) for y in (0, 10, 40, 200)])
    every, filled = fill_gaps(frames, boxes, 2)
    assert every.tolist() == [1, 2, 3, 4, 5, 20]
    assert (filled[:, 1] + filled[:, 3]) / 2 == pytest.approx(np.array([0, 10, 20, 30, 40, 200]))
    assert fill_gaps(frames, boxes, 0)[0].tolist() == frames.tolist()
    assert fill_gaps(frames[:1], boxes[:1], 5)[0].tolist() == [1]
