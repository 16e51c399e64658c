"""Axis-aligned boxes as float arrays (N, 4): ``xyxy`` = left, top, right, bottom in pixels, the last two exclusive."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""One box, where it stands alone; its name says which numbers: ``box_xyxy``, or ``box_xywh`` with width and height."""


def areas(boxes_xyxy: Boxes) -> Boxes:
    """Areas in square pixels, (N,); a box turned inside out has none."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def intersections(first_xyxy: Boxes, second_xyxy: Boxes) -> Boxes:
    """Common area of each pair, (N, M)."""
    top_left = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    bottom_right = np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(first_xyxy: Boxes, second_xyxy: Boxes) -> Boxes:
    """Intersection over union of each pair, (N, M); 0 where both boxes are empty."""
    common = intersections(first_xyxy, second_xyxy)
    union = areas(first_xyxy)[:, None] + areas(second_xyxy)[None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def clip(boxes_xyxy: Boxes, width: int, height: int) -> Boxes:
    """The parts of the boxes that lie inside a picture of that size, (N, 4)."""
    return np.clip(boxes_xyxy, 0, [width, height, width, height])


def to_pixel_grid(boxes_xyxy: Boxes, width: int, height: int) -> NDArray[np.int64]:
    """The smallest whole-pixel boxes around the given ones, inside the picture and at least one pixel wide and high."""
    size = np.array([width, height])
    top_left = np.clip(np.floor(boxes_xyxy[:, :2]), 0, size - 1).astype(np.int64)
    bottom_right = np.clip(np.ceil(boxes_xyxy[:, 2:]), top_left + 1, size).astype(np.int64)
    return np.concatenate([top_left, bottom_right], axis=1)
