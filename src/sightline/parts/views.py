"""Random views of a packed frame and its boxes: cut out, scaled, mirrored, in another light.

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
    """Draw one view: a window of the frame, as a rule one with an object in it.

    Args:
        image: uint8 RGB (S, S, 3).
        boxes: float32 (N, 4): centre x, y, width, height as shares of the square.
        key: non-negative numbers that belong to this sample and epoch alone.
        settings: how strong each change is.
        side: of the view in px; it shows that much of the frame, more or less by the zoom.

    Returns:
        The view, the boxes (M, 4) clipped to it, and which of the N they are: an object of which next to nothing is
        left in view is no longer one to be found.
    """
    rng = np.random.default_rng(tuple(key))
    size = image.shape[0]
    zoom = np.exp(rng.uniform(-1, 1) * np.log1p(settings.scale))
    centre = _centre(boxes * size, size, side / zoom, rng, settings)
    boxes, order = boxes * size, [0, 1]
    if rng.random() < settings.transpose:
        boxes, centre, order = boxes[:, [1, 0, 3, 2]], centre[::-1], [1, 0]
    # From px of the frame to px of the view; pixel centres lie half a pixel inside.
    factor = zoom * np.where(rng.random(2) < (settings.flip, settings.flip_vertical), -1.0, 1.0)
    offset = side / 2 - factor * centre
    places = offset + 0.5 * factor - 0.5
    matrix = np.column_stack([np.diag(factor)[:, order], places])
    view = cv2.warpAffine(np.asarray(image), matrix, (side, side), borderValue=(GREY,) * 3)

    middles, halves = boxes[:, :2] * factor + offset, boxes[:, 2:] * zoom / 2
    inside = np.concatenate([middles - halves, middles + halves], axis=1).clip(0, side)
    sides = inside[:, 2:] - inside[:, :2]
    keeps = (sides >= np.minimum(halves, SLIVER * size * zoom)).all(axis=1)
    inside, sides = inside[keeps], sides[keeps]
    moved = np.concatenate([(inside[:, :2] + inside[:, 2:]) / 2, sides], axis=1) / side
    return _in_other_light(view, rng, settings), moved.astype(np.float32), keeps


def _centre(
    boxes: NDArray[np.float32], size: int, window: float, rng: np.random.Generator, settings: Views
) -> NDArray[np.float64]:
    """Where in the frame the middle of a window lies: an object is in it, unless chance or the frame has none."""
    if len(boxes) and rng.random() >= settings.elsewhere:
        box = boxes[rng.integers(len(boxes))]
        centre = box[:2] + rng.uniform(-0.5, 0.5, 2) * (window - 0.6 * box[2:]).clip(0)
    else:
        centre = rng.uniform(0, size, 2)
    # A frame that is smaller than the window lies inside it instead.
    limits = np.sort([window * (0.5 - settings.shift), size - window * (0.5 - settings.shift)])
    return np.asarray(centre.clip(*limits), dtype=np.float64)


def _in_other_light(view: NDArray[Any], rng: np.random.Generator, settings: Views) -> Pixels:
    strengths = settings.brightness, settings.contrast, settings.saturation
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * strengths
    grey = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    view = cv2.addWeighted(view, saturation, grey, 1 - saturation, 0)
    tones = (np.arange(256) * brightness - view.mean()) * contrast + view.mean()
    return np.asarray(cv2.LUT(view, tones.clip(0, 255).round().astype(np.uint8)), dtype=np.uint8)


# What of an object at the edge is in view counts as one if its width and its height are that share of the frame, or
# half of the object's own. Annotations of whole frames begin there as well (22 of 640 px in the challenge): a detector
# that learned from thinner slivers raises false alarms wherever a part comes in or leaves.
SLIVER = 0.034
