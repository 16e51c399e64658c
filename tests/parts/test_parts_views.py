"""Random views: boxes move with what they are around, and the same key draws the same view."""

import numpy as np
import pytest

from sightline.parts.params import Views
from sightline.parts.views import draw_view

CHANCES = {"elsewhere": 0.2, "flip": 0.5, "flip_vertical": 0.5, "transpose": 0.5}
LIGHT = {"brightness": 0, "contrast": 0, "saturation": 0}
OFF = dict.fromkeys(CHANCES, 0) | LIGHT | {"scale": 0, "shift": 0}
GEOMETRY = Views.model_validate(CHANCES | LIGHT | {"scale": 0.5, "shift": 0.15})
SIZE = 160


def frame_with_box(left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[top:bottom, left:right] = 255
    box = [[(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]]
    return image, np.array(box, np.float32) / SIZE


@pytest.mark.parametrize("side", [SIZE, 96, 224])
@pytest.mark.parametrize("key", range(20))
def test_boxes_stay_around_their_objects(key: int, side: int) -> None:
    image, boxes = frame_with_box(20, 60, 70, 100)
    view, moved, keeps = draw_view(image, boxes, (1, key), GEOMETRY, side)
    assert view.shape == (side, side, 3)
    # What lies outside the frame is grey of 114.
    rows, columns = np.nonzero(view[..., 0] > 184)
    if not keeps[0]:
        # Too thin: of 160 px 3.4 % at most, or zoomed by half as much again.
        assert not len(rows) or min(np.ptp(rows), np.ptp(columns)) + 1 <= 160 * 0.034 * 1.5 + 1
        return
    x, y, w, h = moved[0] * side
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.array(found) - [x - w / 2, y - h / 2, x + w / 2, y + h / 2]).max() <= 1


def test_small_views_show_an_object_unless_they_look_elsewhere() -> None:
    image, boxes = frame_with_box(20, 60, 40, 75)
    for elsewhere, least, most in ((0.0, 1.0, 1.0), (1.0, 0.1, 0.7)):
        settings = GEOMETRY.model_copy(update={"elsewhere": elsewhere})
        shown = np.mean([draw_view(image, boxes, (key,), settings, 64)[2][0] for key in range(60)])
        assert least <= shown <= most


def test_views_differ_by_key_and_not_otherwise() -> None:
    image, boxes = frame_with_box(20, 60, 70, 100)
    first, again, other = (draw_view(image, boxes, (1, key), GEOMETRY, SIZE) for key in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_with_everything_off_a_view_is_the_frame() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    boxes = np.array([[0.5, 0.5, 0.2, 0.3]], np.float32)
    view, moved, keeps = draw_view(image, boxes, (5,), Views.model_validate(OFF), SIZE)
    assert np.array_equal(view, image)
    assert np.allclose(moved, boxes)
    assert keeps.all()


def test_light_keeps_boxes_and_changes_pixels() -> None:
    image = np.random.default_rng(0).integers(60, 180, (SIZE, SIZE, 3), np.uint8)
    boxes = np.array([[0.5, 0.5, 0.2, 0.3]], np.float32)
    light = Views.model_validate(OFF | {"brightness": 0.3, "contrast": 0.3, "saturation": 0.5})
    view, moved, _ = draw_view(image, boxes, (5,), light, SIZE)
    assert np.allclose(moved, boxes)
    grey = [pixels.mean(2).ravel() for pixels in (image, view)]
    assert np.corrcoef(grey)[0, 1] > 0.95
    assert np.abs(grey[0] - grey[1]).mean() > 2


def test_a_frame_without_objects_has_none_afterwards() -> None:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    _, moved, keeps = draw_view(image, np.empty((0, 4), np.float32), (5,), GEOMETRY, SIZE)
    assert moved.shape == (0, 4)
    assert keeps.shape == (0,)
