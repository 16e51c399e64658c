"""The little perspective renderer behind the drawn games."""

import numpy as np
import pytest

from sightline.memes.solids import Bulb, Set, View, Weather, paint

DAY = Weather(ambient=(255, 255, 255), fog=(0, 0, 0), sight=1e9)
VIEW = View((120, 200), (0.0, 1.0, 0.0))


def canvas():
    return np.zeros((120, 200, 3), np.uint8)


def wall(depth, colour, half=0.5, glows=False):
    things = Set()
    add_wall(things, depth, colour, half, glows)
    return things


def add_wall(things, depth, colour, half=0.5, glows=False):
    corners = [(-half, 1 - half, depth), (half, 1 - half, depth), (half, 1 + half, depth), (-half, 1 + half, depth)]
    things.quad(corners, colour, glows)


def test_what_is_twice_as_far_is_half_as_large():
    near, far = canvas(), canvas()
    paint(near, VIEW, wall(4, (200, 200, 200)), DAY)
    paint(far, VIEW, wall(8, (200, 200, 200)), DAY)
    widths = [np.count_nonzero(picture[60, :, 0]) for picture in (near, far)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=2)
    (x, y), scale = VIEW.spot((0.0, 1.0, 4.0))
    assert (x, y) == (100, 60)
    assert widths[0] == pytest.approx(scale, abs=2)


def test_the_nearer_hides_the_farther_in_whatever_order_they_come():
    for depths in ((4, 8), (8, 4)):
        things = Set()
        for depth in depths:
            add_wall(things, depth, (depth * 20, 0, 0), glows=True)
        picture = canvas()
        paint(picture, VIEW, things, DAY)
        assert picture[60, 100, 0] == 80


def test_what_lies_behind_the_camera_is_cut_off():
    things = Set()
    things.quad([(-1, 0, -5), (1, 0, -5), (1, 0, 20), (-1, 0, 20)], (100, 100, 100))
    picture = canvas()
    paint(picture, VIEW, things, DAY)
    assert picture[-1, 100, 0] > 50
    assert not picture[:60].any()
    assert VIEW.spot((0.0, 0.0, -3.0))[1] == 0


def test_fog_hides_what_is_far_and_lamps_light_what_is_near():
    hazy = Weather((255, 255, 255), (90, 90, 90), 5)
    pictures = [canvas() for _ in range(2)]
    paint(pictures[0], VIEW, wall(5, (255, 255, 255)), hazy)
    upright = 255 * 0.85**0.62
    assert pictures[0][60, 100, 0] == pytest.approx(90 + (upright - 90) * np.exp(-1), abs=3)
    dark = Weather((0, 0, 0), (0, 0, 0), 1e9)
    values = []
    for distance in (1.0, 3.0):
        picture = canvas()
        paint(picture, VIEW, wall(6, (200, 200, 200)), dark, [Bulb((0, 1, 6 - distance), (255, 255, 255), 1.0)])
        values.append(int(picture[60, 100, 0]))
    assert values[0] > 1.5 * values[1] > 0
    paint(pictures[1], VIEW, wall(6, (123, 50, 7), glows=True), dark)
    assert pictures[1][60, 100].tolist() == [123, 50, 7]
