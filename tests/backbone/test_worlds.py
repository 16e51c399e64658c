"""Drawn worlds: siblings share either shapes or colours, scenes of a world are alike and yet never the same."""

import numpy as np
import pytest

from sightline.backbone import worlds
from sightline.backbone.designs import SPRITE
from sightline.backbone.worlds import FAMILY, World, design_world, draw_world

SIZE = 48


def pictures(world: World, count: int, seed: int = 5) -> np.ndarray:
    return np.stack([draw_world(world, np.random.default_rng((seed, index)), SIZE) for index in range(count)])


def sprites(world: World) -> tuple[np.ndarray, ...]:
    return (*world.structures, *world.creatures, *world.tokens, *world.titles)


def outlines(world: World) -> list[np.ndarray]:
    return [sprite[..., 3] for sprite in sprites(world)]


def same(ones, others) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("number", range(24))
def test_sprites_are_sound(number):
    for sprite in sprites(design_world(4, number)):
        assert sprite.shape == (SPRITE, SPRITE, 4)
        assert sprite.dtype == np.float32
        assert sprite.min() >= 0
        assert sprite[..., 3].max() == pytest.approx(1, abs=0.1)
        assert 0.02 < sprite[..., 3].mean() < 1


def test_siblings_are_two_sets_of_shapes_each_in_two_sets_of_colours():
    for family in range(4):
        first, recoloured, reshaped, both = [design_world(9, family * FAMILY + sibling) for sibling in range(FAMILY)]
        for one, other in ((first, recoloured), (reshaped, both)):
            assert same(outlines(one), outlines(other))
            assert same(one.textures, other.textures)
            assert not same(sprites(one), sprites(other))
            assert not same([one.schemes[0].sky], [other.schemes[0].sky])
        for one, other in ((first, reshaped), (recoloured, both)):
            assert same([scheme.sky for scheme in one.schemes], [scheme.sky for scheme in other.schemes])
            assert not same(outlines(one), outlines(other))


def test_what_siblings_share_is_among_their_traits():
    first, recoloured, reshaped, both = [set(design_world(9, sibling).traits) for sibling in range(FAMILY)]
    assert {"world 0", "shapes 0 0"} <= first & recoloured
    assert {"world 0", "colours 0 0"} <= first & reshaped
    assert first & both & {"shapes 0 0", "shapes 0 1", "colours 0 0", "colours 0 1"} == set()
    assert not any(trait.startswith("world") for trait in first & set(design_world(9, FAMILY).traits))


def test_pictures_of_a_world_differ_and_show_something():
    for number in range(0, 24, 5):
        drawn = pictures(design_world(3, number), 12)
        assert drawn.shape == (12, SIZE, SIZE, 3)
        assert drawn.dtype == np.uint8
        assert np.median(drawn.astype(float).std((1, 2, 3))) > 20
        differences = [np.abs(a.astype(int) - b).mean() for i, a in enumerate(drawn) for b in drawn[:i]]
        assert min(differences) > 5


def test_some_pictures_are_grey_and_some_dark_so_that_colour_is_not_all():
    drawn = np.concatenate([pictures(design_world(3, number), 20, number) for number in range(20)]).astype(int)
    grey = np.mean(drawn.max(-1) - drawn.min(-1), (1, 2)) < 3
    assert 0.03 < grey.mean() < 0.25
    assert 0.03 < (drawn.mean((1, 2, 3)) < 50).mean() < 0.4


def test_a_sprite_lands_where_it_is_told_and_what_is_outside_is_left_out():
    sprite = np.ones((SPRITE, SPRITE, 4), np.float32)
    picture = np.zeros((80, 80, 3), np.float32)
    worlds._paste(picture, sprite, 0.75, 0.25, 0.5, 0.25)
    rows, columns = np.nonzero(picture[..., 0])
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (10, 30, 40, 80)
    before = picture.copy()
    worlds._paste(picture, 0 * sprite, 3, -2, 0.5, 0.5)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("corner", [0.0, 0.5, 1.0, -0.6])
def test_a_plate_fills_its_box_but_for_the_corners(corner):
    panels = worlds.Panels((), corner, rim=False, cover=1.0, colours=np.ones((3, 3), np.float32))
    picture = np.zeros((100, 100, 3), np.float32)
    worlds._plate(panels, picture, 0.1, 0.2, 0.8, 0.4, np.ones(3, np.float32))
    radius = abs(corner) * 20
    missing = (4 - np.pi) * radius**2 if corner > 0 else radius**2
    assert picture[..., 0].sum() == pytest.approx(80 * 40 - missing, rel=0.05)
    assert not picture[:19].any()
    assert not picture[:, 91:].any()
