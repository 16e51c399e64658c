"""How parts move, against the laws of free fall."""

import numpy as np
import pandas as pd
import pytest
from trackers.utils.state_representations import XYXYStateEstimator

from sightline.core.boxes import iou
from sightline.parts.motion import Axis, falling_estimator, learn_prior

SIZE = (640, 640)
GRAVITY = 0.4


def fall(track: int, x: float, speed: float, frames: int = 60, side: float = 40) -> pd.DataFrame:
    """A square that enters at the top with ``speed`` px a frame and gets ``GRAVITY`` faster each frame."""
    frame = np.arange(frames)
    y = 20 + speed * frame + GRAVITY * frame * (frame - 1) / 2
    table = pd.DataFrame({"clip": "train", "track": track, "frame": frame + 10 * track, "label": "bolt"})
    table["x1"], table["x2"] = x - side / 2, x + side / 2
    table["y1"], table["y2"] = y - side / 2, y + side / 2
    return table[table["y2"] <= SIZE[1]]


def falls(count: int = 20) -> pd.DataFrame:
    return pd.concat([fall(track, 30.0 * track, 8 + 0.2 * (track % 5)) for track in range(1, count + 1)])


def turned(table: pd.DataFrame, direction: str) -> pd.DataFrame:
    """The same tracks, going elsewhere."""
    x1, y1, x2, y2 = (table[name].to_numpy() for name in ("x1", "y1", "x2", "y2"))
    width = SIZE[0]
    corners = {
        "down": (x1, y1, x2, y2),
        "up": (x1, width - y2, x2, width - y1),
        "right": (y1, x1, y2, x2),
        "left": (width - y2, x1, width - y1, x2),
    }[direction]
    return table.assign(**dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)))


@pytest.mark.parametrize("direction", ["down", "up", "right", "left"])
def test_speed_acceleration_and_direction_are_those_of_the_fall(direction: str) -> None:
    prior = learn_prior(turned(falls(), direction), {"train": SIZE})
    assert prior is not None
    assert prior.direction == direction
    for place in (0.2, 0.4, 0.6, 0.8):
        travelled = place * 640 - 20
        # v² = v0² + 2 g s, half a frame on because a table holds the way to the next frame.
        expected = np.sqrt(8.4**2 + 2 * GRAVITY * travelled)
        assert prior.speed(place) * 640 == pytest.approx(expected, rel=0.05)
    axis = 1 if direction in ("down", "up") else 0
    sign = 1 if direction in ("down", "right") else -1
    gain = np.array(prior.acceleration)[4:16, axis] * 640 * sign
    assert gain == pytest.approx(GRAVITY, abs=0.02)


def test_the_time_between_two_places_is_that_of_the_fall() -> None:
    prior = learn_prior(falls(), {"train": SIZE})
    assert prior is not None
    track = fall(1, 100, 8.4)
    centre = (track["y1"] + track["y2"]).to_numpy() / 2 / 640
    assert prior.frames_between(centre[5], centre[25]) == pytest.approx(20, abs=0.7)
    assert prior.frames_between(centre[25], centre[5]) == pytest.approx(-20, abs=0.7)


def test_a_prior_learned_at_one_size_serves_another() -> None:
    prior = learn_prior(falls(), {"train": SIZE})
    assert prior is not None
    half = fall(1, 100, 8.4)[["x1", "y1", "x2", "y2"]].to_numpy() / 2
    estimator = falling_estimator(prior, 320, 320)(half[10])
    estimator.predict()
    assert estimator.state_to_bbox() == pytest.approx(half[11], abs=1)


def test_a_track_that_was_seen_once_is_expected_where_it_will_be() -> None:
    prior = learn_prior(falls(), {"train": SIZE})
    assert prior is not None
    boxes = fall(1, 100, 8.4)[["x1", "y1", "x2", "y2"]].to_numpy()
    ours, theirs = falling_estimator(prior, *SIZE)(boxes[20]), XYXYStateEstimator(boxes[20])
    for estimator in (ours, theirs):
        estimator.predict()
    assert iou(ours.state_to_bbox()[None], boxes[21:22])[0, 0] > 0.95
    assert iou(theirs.state_to_bbox()[None], boxes[21:22])[0, 0] < 0.5


def test_a_part_that_was_hidden_for_seven_frames_is_expected_where_it_comes_back() -> None:
    prior = learn_prior(falls(), {"train": SIZE})
    assert prior is not None
    boxes = fall(1, 100, 9.5)[["x1", "y1", "x2", "y2"]].to_numpy()
    estimator = falling_estimator(prior, *SIZE)(boxes[0])
    for box in boxes[1:12]:
        estimator.predict()
        estimator.update(box)
    for _ in range(8):
        estimator.predict()
    assert iou(estimator.state_to_bbox()[None], boxes[19:20])[0, 0] > 0.8


def test_without_tracks_there_is_no_prior() -> None:
    assert learn_prior(falls().assign(track=-1), {"train": SIZE}) is None
    assert learn_prior(falls(1).iloc[::2], {"train": SIZE}) is None


def test_places_grow_along_the_way() -> None:
    box = np.array([100.0, 10, 140, 30])
    places = [float(Axis(way, 200, 100).place(box)) for way in ("down", "up", "right", "left")]  # type: ignore[arg-type]
    assert places == pytest.approx([0.2, 0.8, 0.6, 0.4])
