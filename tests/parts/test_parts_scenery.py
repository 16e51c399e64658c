"""The drawn workshop: it pans evenly, hides what it shall hide, and is reproducible frame by frame."""

import cv2
import numpy as np
import pytest

from sightline.core.rendering import Array
from sightline.parts.scenery import Hidden, Scenery, make_scenery

HIDDEN = [Hidden(time=2.0, x=300.0, y=310.0)]


@pytest.fixture(scope="module")
def scenery() -> Scenery:
    return make_scenery((5, 1), 320, 6.0, HIDDEN)


def grey(picture: Array) -> Array:
    return np.asarray(np.sqrt(picture.mean(2)), np.float32)


def test_the_background_pans_slowly_to_one_side(scenery: Scenery) -> None:
    window = cv2.createHanningWindow((320, 260), cv2.CV_32F)
    shifts = []
    for time in np.arange(0, 5.5, 0.25):
        first, later = (grey(scenery.behind(at))[40:300] for at in (time, time + 1 / 3))
        (shift, _), response = cv2.phaseCorrelate(first, later, window)
        if response > 0.5:
            shifts.append(shift)
    # 14 … 36 px/s in a frame of 640, half of that here; what stands nearer is a little faster.
    assert len(shifts) >= 8
    assert 14 / 6 < abs(np.median(shifts)) < 1.4 * 36 / 6
    assert len(set(np.sign(shifts))) == 1


def test_a_bar_hides_what_it_shall_when_it_shall(scenery: Scenery) -> None:
    (bar,) = scenery.in_front(2.0)
    x, y = round(150 - bar.left), round(155 - bar.top)
    assert bar.mask[y - 22 : y + 22, x - 30 : x + 30].all()
    later = {sprite.left for time in (0.0, 4.5) for sprite in scenery.in_front(time)}
    assert all(abs(left - bar.left) > 100 for left in later)


def test_light_changes_with_the_time_and_over_the_frame(scenery: Scenery) -> None:
    lit = []
    for time in (0.0, 2.0, 4.0):
        picture = np.ones((320, 320, 3), np.float32)
        scenery.illuminate(picture, time)
        assert picture.min() > 0.05
        assert picture.max() / picture.min() > 1.3
        lit.append(picture.mean())
    assert np.ptp(lit) > 0.02


def test_a_frame_is_a_function_of_its_number(scenery: Scenery) -> None:
    again = make_scenery((5, 1), 320, 6.0, HIDDEN)
    picture = np.full((320, 320, 3), 0.2, np.float32)
    frames = [scenery.develop(picture.copy(), number) for number in (7, 3, 7)]
    assert np.array_equal(frames[0], frames[2])
    assert np.array_equal(frames[0], again.develop(picture.copy(), 7))
    assert not np.array_equal(frames[0], frames[1])
    assert np.array_equal(scenery.behind(1.0), again.behind(1.0))
    # Half the light is coded by the square root of it, and the noise moves it by a few levels only.
    assert frames[0].mean() == pytest.approx(255 * np.sqrt(0.2), abs=0.5)
    assert 0.8 < frames[0].std() < 3


def test_another_size_shows_the_same_workshop() -> None:
    small, large = (make_scenery((5, 2), size, 3.0, ()).behind(1.0) for size in (128, 640))
    shrunk = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(grey(small).ravel(), grey(shrunk).ravel())[0, 1] > 0.97


def test_what_shines_adds_light_and_takes_none_away(scenery: Scenery) -> None:
    added = []
    for time in np.linspace(0, 6, 40):
        picture = np.zeros((320, 320, 3), np.float32)
        scenery.add_glints(picture, float(time))
        assert picture.min() >= 0
        added.append(picture.max())
    # Dust is faint, sparks are not.
    assert min(added) < 0.1
    assert max(added) > 0.5
