"""A frame in the detector's square: shape kept, boxes found again."""

import numpy as np
import pytest

from sightline.parts.letterbox import GREY, fit, scales


@pytest.mark.parametrize(("width", "height", "size"), [(640, 640, 320), (640, 360, 320), (90, 213, 64), (20, 30, 96)])
def test_a_mark_lies_where_the_scales_say(width: int, height: int, size: int) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    box = np.array([width * 0.25, height * 0.5, width * 0.75, height * 0.9])
    left, top, right, bottom = box.round().astype(int)
    frame[top:bottom, left:right] = 255
    square = fit(frame, size)
    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8
    rows, columns = np.nonzero(square[..., 0] > 2 * GREY - 100)
    expected = np.array([left, top, right, bottom]) * scales(width, height, size)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(found - expected).max() <= 1


def test_what_a_frame_does_not_fill_is_grey() -> None:
    square = fit(np.full((50, 100, 3), 255, np.uint8), 64)
    assert (square[:32] == 255).all()
    assert (square[32:] == GREY).all()


def test_halving_a_frame_averages_its_pixels() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    expected = frame.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(fit(frame, 32) - expected).max() <= 0.5
