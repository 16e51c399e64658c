import numpy as np
import pytest

from sightline.minerals.props import BACKDROPS, OCCLUDERS
from sightline.minerals.rocks import LOOKALIKES, MINERALS

THINGS = [*MINERALS.values(), *LOOKALIKES, *OCCLUDERS]


@pytest.mark.parametrize("paint", THINGS, ids=lambda paint: paint.__name__)
def test_a_painted_thing_is_whole_and_of_real_colours(paint):
    for seed in range(3):
        surface = paint(np.random.default_rng(seed), 90)
        inside = surface.inside
        assert np.mean(inside) > 0.02
        assert not np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]]).any()
        assert np.abs(surface.height).max() < 2
        assert surface.height.dtype == surface.colour.dtype == np.float32
        assert surface.colour.min() >= 0
        assert np.isfinite(surface.colour).all()
        for share in (surface.gloss, surface.metal, surface.clear):
            assert np.min(share) >= 0
            assert np.max(share) <= 1


@pytest.mark.parametrize("paint", BACKDROPS, ids=lambda paint: paint.__name__)
def test_a_backdrop_fills_the_picture(paint):
    surface = paint(np.random.default_rng(0), (60, 90))
    assert surface.colour.shape == (60, 90, 3)
    assert surface.inside.all()
    assert 0 <= surface.colour.min() <= surface.colour.max() <= 1
