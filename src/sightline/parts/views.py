"""Random views of packed frames and their boxes: small windows around objects, scaled, turned, in another light.

A window around an object teaches about as much as the whole frame for a fraction of its pixels; windows anywhere teach
what the rest looks like. The network is convolutional and finds in frames what it learned in windows.

Every random number comes from the key of its sample, so the same sample gets the same view whatever else is in its
batch, and after a training was cut off and resumed.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.images import Pixels
from sightline.parts.letterbox import GREY
from sightline.parts.params import Views

Floats = NDArray[np.float64]


def draw_view(
    image: Pixels, boxes: NDArray[np.float32], key: Sequence[int], settings: Views
) -> tuple[Pixels, NDArray[np.float32], NDArray[np.bool_]]:
    """Draw one view.

    Args:
        image: uint8 RGB (S, S, 3).
        boxes: float32 (N, 4): centre x, y, width, height as shares of the square.
        key: non-negative numbers that belong to this sample and epoch alone.
        settings: the view's side, and how strong each change is.

    Returns:
        The view, the boxes (M, 4) as shares of it and clipped to it, and which of the N they are: an object of which
        less than a third is left in view is no longer one to be found.
    """
    rng = np.random.default_rng(tuple(key))
    side, size = settings.side, image.shape[0]
    zoom = np.exp(rng.uniform(-1, 1) * np.log1p(settings.scale))
    middle = _aim(rng, boxes * size, size, side / zoom, settings)
    factor = np.where(rng.random(2) < (settings.flip, settings.flip_vertical), -zoom, zoom)
    # Which axis of the frame each axis of the view shows: bolts lie in all directions.
    axes = [1, 0] if rng.random() < settings.transpose else [0, 1]
    offset = side / 2 - factor * middle[axes]
    matrix = np.zeros((2, 3))
    matrix[[0, 1], axes] = factor
    # Pixel centres lie half a pixel inside.
    matrix[:, 2] = offset + 0.5 * factor - 0.5
    view = cv2.warpAffine(np.asarray(image), matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)

    centres, halves = boxes[:, axes] * size * factor + offset, boxes[:, 2:][:, axes] * size * zoom / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    inside = corners.clip(0, side)
    sides = inside[:, 2:] - inside[:, :2]
    keeps = sides.prod(axis=1) > LEFT * (4 * halves.prod(axis=1))
    inside, sides = inside[keeps], sides[keeps]
    moved = np.concatenate([(inside[:, :2] + inside[:, 2:]) / 2, sides], axis=1) / side
    return _in_other_light(view, rng, settings), moved.astype(np.float32), keeps


def _aim(rng: np.random.Generator, boxes: Floats, size: int, window: float, settings: Views) -> Floats:
    """The middle (x, y) of a window in px of the frame: such that an object lies in it, or anywhere."""
    if len(boxes) and rng.random() >= settings.anywhere:
        aim = boxes[rng.integers(len(boxes))]
        middle = aim[:2] + rng.uniform(-0.5, 0.5, 2) * np.maximum(window - WITHIN * aim[2:], 0)
    else:
        middle = rng.uniform(0, size, 2)
    # A window larger than the frame lies around it.
    low, high = sorted((window * (0.5 - settings.overhang), size - window * (0.5 - settings.overhang)))
    return np.asarray(np.clip(middle, low, high))


def _in_other_light(view: NDArray[Any], rng: np.random.Generator, settings: Views) -> Pixels:
    strengths = settings.brightness, settings.contrast, settings.saturation
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * strengths
    grey = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    view = cv2.addWeighted(view, saturation, grey, 1 - saturation, 0)
    tones = (np.arange(256) * brightness - view.mean()) * contrast + view.mean()
    return np.asarray(cv2.LUT(view, tones.clip(0, 255).round().astype(np.uint8)), dtype=np.uint8)


LEFT = 1 / 3
WITHIN = 0.6
"""The share of an object's sides that is kept inside the window that is aimed at it."""
