"""Boxes against pycocotools and torchvision."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask
from torchvision.ops import box_area, box_iou, clip_boxes_to_image

from sightline.core.boxes import Boxes, areas, clip, intersections, iou, to_pixel_grid

WIDTH, HEIGHT = 64, 48


def boxes(allow_empty: bool = True) -> st.SearchStrategy[Boxes]:
    """Up to eight boxes in and around a picture; quarters of a pixel, so that areas are exact."""
    corners = arrays(np.int64, (8, 2), elements=st.integers(-80, 300))
    sides = arrays(np.int64, (8, 2), elements=st.integers(0 if allow_empty else 1, 250))
    whole = st.builds(lambda corner, side: np.concatenate([corner, corner + side], 1) / 4, corners, sides)
    return st.builds(lambda all_boxes, count: all_boxes[:count], whole, st.integers(0, 8))


def xywh(boxes_xyxy: Boxes) -> Boxes:
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], 1)


@settings(deadline=None)
@given(boxes(allow_empty=False), boxes(allow_empty=False))
def test_iou_is_that_of_torchvision_and_pycocotools(first: Boxes, second: Boxes) -> None:
    found = iou(first, second)
    assert found.shape == (len(first), len(second))
    np.testing.assert_allclose(found, box_iou(torch.from_numpy(first), torch.from_numpy(second)), atol=1e-12)
    if len(first) and len(second):
        crowd = np.zeros(len(second), np.uint8)
        np.testing.assert_allclose(found, mask.iou(xywh(first), xywh(second), crowd), atol=1e-12)


@settings(deadline=None)
@given(boxes())
def test_areas_are_those_of_torchvision(some: Boxes) -> None:
    np.testing.assert_array_equal(areas(some), box_area(torch.from_numpy(some)))


@given(boxes(), boxes())
def test_an_intersection_counts_the_common_quarter_pixels(first: Boxes, second: Boxes) -> None:
    def cells(box: Boxes) -> set[tuple[int, int]]:
        left, top, right, bottom = (box * 4).astype(int)
        return {(x, y) for x in range(left, right) for y in range(top, bottom)}

    first, second = first[:2] // 4, second[:2] // 4
    common = intersections(first, second)
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            assert common[row, column] == len(cells(one) & cells(other)) / 16


def test_two_empty_boxes_have_no_overlap_rather_than_not_a_number() -> None:
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert iou(point, point) == 0


def test_a_box_turned_inside_out_has_no_area_and_no_overlap() -> None:
    turned, usual = np.array([[9.0, 9.0, 1.0, 1.0]]), np.array([[0.0, 0.0, 10.0, 10.0]])
    assert areas(turned) == 0
    assert iou(turned, usual) == 0


@settings(deadline=None)
@given(boxes())
def test_clipping_is_that_of_torchvision(some: Boxes) -> None:
    expected = clip_boxes_to_image(torch.from_numpy(some), (HEIGHT, WIDTH))
    np.testing.assert_array_equal(clip(some, WIDTH, HEIGHT), expected)


@given(boxes())
def test_pixel_boxes_are_the_smallest_around_what_is_inside_and_never_empty(some: Boxes) -> None:
    grid = to_pixel_grid(some, WIDTH, HEIGHT)
    assert grid.dtype == np.int64
    assert grid.shape == some.shape
    assert ((grid[:, :2] >= 0) & (grid[:, 2:] <= [WIDTH, HEIGHT]) & (grid[:, 2:] > grid[:, :2])).all()
    inside = clip(some, WIDTH, HEIGHT)
    visible = areas(inside) > 0
    assert (grid[visible, :2] <= inside[visible, :2]).all()
    assert (grid[visible, 2:] >= inside[visible, 2:]).all()
    assert (np.abs(grid - inside)[visible] < 1).all()


def test_whole_pixel_boxes_stay_as_they_are() -> None:
    whole = np.array([[0.0, 0.0, 64.0, 48.0], [3.0, 4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(to_pixel_grid(whole, WIDTH, HEIGHT), whole)
