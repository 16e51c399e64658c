"""Drawn things: siblings alike, and the thing where the pose puts it."""

import numpy as np
import pytest

from sightline.backbone import drawing
from sightline.backbone.designs import SIBLINGS, SPRITE, Design, Part, design_class
from sightline.backbone.drawing import draw_picture

SIZE = 48


@pytest.mark.parametrize("number", range(40))
def test_parts_are_sound_and_lie_in_the_bounds(number):
    design = design_class(4, number)
    left, top, right, bottom = design.bounds
    assert len(design.parts) >= 1
    for part in design.parts:
        assert part.colour.shape == (SPRITE, SPRITE, 3)
        assert part.alpha.shape == (SPRITE, SPRITE)
        assert 0 <= part.colour.min() <= part.colour.max() <= 1
        assert part.alpha.min() >= 0
        assert part.alpha.max() > 0.9
        assert left <= part.place[0] <= right
        assert top <= part.place[1] <= bottom


def test_siblings_share_most_outlines_and_differ_in_something():
    for family in range(12):
        first, *others = [design_class(9, family * SIBLINGS + sibling) for sibling in range(SIBLINGS)]
        stranger = design_class(9, (family + 1) * SIBLINGS)
        for other in others:
            shared = sum(any(np.array_equal(a.alpha, b.alpha) for b in other.parts) for a in first.parts)
            assert shared >= len(first.parts) - 2
            assert not _same(first, other)
        assert not all(any(np.array_equal(a.alpha, b.alpha) for b in stranger.parts) for a in first.parts)


def _same(one: Design, other: Design) -> bool:
    return len(one.parts) == len(other.parts) and all(
        np.array_equal(a.colour, b.colour) and np.array_equal(a.alpha, b.alpha) and a.reach == b.reach
        for a, b in zip(one.parts, other.parts, strict=True)
    )


def test_a_canvas_lands_where_place_reach_and_turn_say():
    part = Part(
        colour=np.ones((SPRITE, SPRITE, 3), np.float32),
        alpha=np.ones((SPRITE, SPRITE), np.float32),
        slope=np.zeros((SPRITE, SPRITE, 2), np.float32),
        place=(0.25, -0.5),
        reach=(0.5, 0.25),
        turn=np.pi / 2,
        swing=0.0,
    )
    # Thing coordinates -1 to 1 onto 80 px; a quarter turn swaps the reaches: x 0 to 0.5, y -1 to 0.
    pose = np.array([[40.0, 0, 40], [0, 40, 40], [0, 0, 1]])
    picture = np.zeros((80, 80, 3), np.float32)
    drawing.lay(picture, part, pose @ drawing.placed(part, 0.0), np.zeros(2))
    rows, columns = np.nonzero(picture[..., 0] > 0.5)
    assert (columns.min(), columns.max() + 1) == pytest.approx((40, 60), abs=1)
    assert (rows.min(), rows.max() + 1) == pytest.approx((0, 40), abs=1)
    assert len(rows) == pytest.approx(20 * 40, rel=0.1)


def test_what_lies_outside_of_the_picture_is_left_out():
    part = design_class(1, 0).parts[0]
    picture = np.zeros((SIZE, SIZE, 3), np.float32)
    away = np.array([[1.0, 0, 500], [0, 1, -500], [0, 0, 1]])
    drawing.lay(picture, part, away, np.zeros(2))
    assert not picture.any()


def test_the_thing_fills_a_good_part_of_every_picture(monkeypatch):
    """On a black backdrop, in even light and with nothing in front, what is not black is the thing."""
    monkeypatch.setattr(drawing, "_backdrop", lambda rng, size: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(drawing, "_hide_part", lambda rng, picture: None)
    monkeypatch.setattr(drawing, "_light", lambda rng, picture: np.copyto(picture, picture > 0))
    shares = []
    for number in range(0, 160, SIBLINGS):
        design = design_class(2, number)
        for index in range(3):
            picture = draw_picture(design, np.random.default_rng((number, index)), SIZE)
            shares.append(np.mean(picture.max(-1) > 60))
    assert min(shares) > 0.03
    assert 0.25 < np.mean(shares) < 0.8


def test_pictures_of_a_class_differ_in_pose_and_backdrop_and_are_photos():
    design = design_class(3, 0)
    pictures = np.stack([draw_picture(design, np.random.default_rng((5, index)), SIZE) for index in range(12)])
    assert pictures.shape == (12, SIZE, SIZE, 3)
    assert pictures.dtype == np.uint8
    assert pictures.astype(float).std((1, 2, 3)).min() > 5
    differences = [np.abs(a.astype(int) - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(differences) > 10
