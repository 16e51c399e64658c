"""When and how parts fall: physics, and what a video must contain."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sightline.parts.falling import Fall, plan_falls
from sightline.parts.hardware import FRAME

SECONDS = 30.0


@pytest.fixture(scope="module")
def falls() -> list[Fall]:
    return plan_falls((4,), SECONDS, per_second=1.6, nuts=0.25)


def counts(falls: list[Fall]) -> list[int]:
    return [sum(fall.in_view(frame / 30) for fall in falls) for frame in range(round(SECONDS * 30))]


def test_as_many_fall_as_was_asked_for_and_the_share_of_nuts_is_exact(falls: list[Fall]) -> None:
    assert len(falls) == 48
    assert sum(fall.part.label == "nut" for fall in falls) == 12
    assert [fall.enters for fall in falls] == sorted(fall.enters for fall in falls)


def test_a_video_starts_and_ends_in_the_middle_of_it_and_is_empty_at_times(falls: list[Fall]) -> None:
    for seed in range(20):
        in_view = counts(plan_falls((seed,), SECONDS, per_second=1.6, nuts=0.2))
        assert in_view[0] > 0
        assert in_view[-1] > 0
        empty = "".join("x" if n else "." for n in in_view)
        assert "." * 15 in empty
        assert max(in_view) <= 9


def test_a_part_accelerates_by_0_4_px_a_frame_and_a_frame(falls: list[Fall]) -> None:
    for fall in falls:
        y = np.array([fall.centre(fall.enters + frame / 30)[1] for frame in range(30)])
        assert np.diff(y, 2) == pytest.approx(np.full(28, 0.4), rel=0.08)
        assert y[1] - y[0] == pytest.approx(fall.speed(fall.enters)[1] / 30, rel=0.05)


def test_it_is_in_view_once_as_long_as_real_parts_are_and_came_from_above(falls: list[Fall]) -> None:
    for fall in falls:
        frames = [n for n in range(-60, 150) if fall.in_view(fall.enters + n / 30)]
        assert frames == list(range(frames[0], frames[-1] + 1))
        # The box of a part is there for a few frames less: 31 to 61 in the challenge.
        assert 35 <= len(frames) <= 75
        assert fall.centre(fall.enters + frames[0] / 30)[1] < 0
        assert fall.centre(fall.enters + frames[-1] / 30)[1] > FRAME


def test_no_bolt_shows_its_end_all_the_way(falls: list[Fall]) -> None:
    for fall in falls:
        if fall.part.label == "bolt":
            lean = fall.attitude(fall.time_at(FRAME / 2)) @ [0, 0, 1]
            assert np.degrees(np.arccos(abs(lean[2]))) > 30


def test_the_time_at_a_height_is_when_it_is_there(falls: list[Fall]) -> None:
    for fall in falls:
        assert fall.centre(fall.time_at(400))[1] == pytest.approx(400)
        assert fall.time_at(400) > fall.enters


def test_it_turns_evenly_and_stays_rigid(falls: list[Fall]) -> None:
    for fall in falls:
        turns = [fall.attitude(time) for time in (1.0, 1.1, 1.2)]
        for turn in turns:
            assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-5)
            assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
        steps = [Rotation.from_matrix(b @ a.T).magnitude() for a, b in pairwise(turns)]
        assert steps == pytest.approx([np.linalg.norm(fall.tumble) * 0.1] * 2, abs=1e-3)


def test_some_fall_together_and_most_do_not(falls: list[Fall]) -> None:
    gaps = np.diff([fall.enters for fall in plan_falls((9,), 200, per_second=1.6, nuts=0.2)])
    assert 0.1 < np.mean(gaps < 0.2) < 0.35
    assert np.median(gaps) > 0.3
