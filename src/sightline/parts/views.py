"""Random views of a packed frame and its boxes: moved, scaled, mirrored, in another light.

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


def draw_view(
    image: Pixels, boxes: NDArray[np.float32], key: Sequence[int], settings: Views, side: int
) -> tuple[Pixels, NDArray[np.float32], NDArray[np.bool_]]:
    """Draw one view.

    Args:
        image: uint8 RGB (S, S, 3).
        boxes: float32 (N, 4): centre x, y, width, height as shares of the square.
        key: non-negative numbers that belong to this sample and epoch alone.
        settings: how strong each change is.
        side: of the view in px.

    Returns:
        The view, the boxes (M, 4) clipped to it, and which of the N they are: an object of which less than a third is
        left in view is no longer one to be found.
    """
    rng = np.random.default_rng(tuple(key))
    scale = side / image.shape[0]
    zoom = np.exp(rng.uniform(-1, 1) * np.log1p(settings.scale))
    shift = rng.uniform(-settings.shift, settings.shift, 2)
    mirror = np.where(rng.random(2) < (settings.flip, settings.flip_vertical), -1.0, 1.0)
    # From shares of the square to shares of the view, about the centre.
    factor, offset = mirror * zoom, 0.5 - 0.5 * mirror * zoom + shift
    # Pixel centres lie half a pixel inside.
    places = offset * side + 0.5 * factor * scale - 0.5
    matrix = np.array([[factor[0] * scale, 0, places[0]], [0, factor[1] * scale, places[1]]])
    view = cv2.warpAffine(np.asarray(image), matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)

    centres, halves = boxes[:, :2] * factor + offset, boxes[:, 2:] * zoom / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    inside = corners.clip(0, 1)
    sides = inside[:, 2:] - inside[:, :2]
    keeps = sides.prod(axis=1) > LEFT * (4 * halves.prod(axis=1))
    inside, sides = inside[keeps], sides[keeps]
    moved = np.concatenate([(inside[:, :2] + inside[:, 2:]) / 2, sides], axis=1).astype(np.float32)
    return _in_other_light(view, rng, settings), moved, keeps


def _in_other_light(view: NDArray[Any], rng: np.random.Generator, settings: Views) -> Pixels:
    strengths = settings.brightness, settings.contrast, settings.saturation
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * strengths
    grey = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    view = cv2.addWeighted(view, saturation, grey, 1 - saturation, 0)
    tones = (np.arange(256) * brightness - view.mean()) * contrast + view.mean()
    return np.asarray(cv2.LUT(view, tones.clip(0, 255).round().astype(np.uint8)), dtype=np.uint8)


LEFT = 1 / 3
