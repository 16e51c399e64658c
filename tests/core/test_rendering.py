import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sightline.core.rendering import Solid, Surface, fractal, linear, make_light, shade, shadow_of, stack_solids


def test_a_flat_matt_card_sends_albedo_times_lamp_and_sky():
    light = make_light(np.random.default_rng(0))
    card = Surface(np.zeros((20, 30), np.float32), np.ones((20, 30), bool), np.full((20, 30, 3), 0.5, np.float32))
    expected = 0.5 * (light.key * light.towards[2] + light.ambient)
    np.testing.assert_allclose(shade(card, light, scale=15), np.broadcast_to(expected, (20, 30, 3)), rtol=1e-5)
    in_shadow = shade(card, light, 15, np.ones((20, 30), np.float32))
    np.testing.assert_allclose(in_shadow, np.broadcast_to(0.5 * light.ambient, (20, 30, 3)), rtol=1e-5)


def test_a_post_casts_its_shadow_away_from_the_lamp():
    light = make_light(np.random.default_rng(1))
    height = np.zeros((101, 101), np.float32)
    height[48:53, 48:53] = 0.3
    shadow = shadow_of(height, light, scale=50)
    shadow[46:55, 46:55] = 0
    rows, columns = np.indices(shadow.shape) - 50
    middle = np.array([(columns * shadow).sum(), (rows * shadow).sum()]) / shadow.sum()
    away = -light.towards[:2] / np.hypot(*light.towards[:2])
    assert middle @ away > 0.97 * np.hypot(*middle)


def test_the_top_of_a_solid_is_the_highest_point_inside_it():
    turn = Rotation.from_euler("xyz", [0.4, 0.7, 0.3])
    normals = turn.apply(np.concatenate([np.eye(3), -np.eye(3)])).astype(np.float32)
    centre, offsets = np.array([0.1, -0.05, 0.6], np.float32), np.full(6, 0.3, np.float32)
    relief = stack_solids((160, 160), [Solid(centre, normals, offsets, 0.55)])
    z = np.linspace(0, 1.5, 1501)
    for row, column in [(80, 80), (64, 100), (88, 72), (20, 20), (120, 136)]:
        x, y = (column + 0.5 - 80) / 80, (row + 0.5 - 80) / 80
        points = np.stack([np.full_like(z, x), np.full_like(z, y), z], -1) - centre
        within = z[(points @ normals.T <= offsets).all(1)]
        assert relief.inside[row, column] == (len(within) > 0)
        if len(within) > 0:
            # Wear rounds the edges by about a pixel.
            assert relief.height[row, column] == pytest.approx(within.max(), abs=0.04)


def test_noise_is_centred_and_as_strong_as_promised():
    fields = np.stack([fractal(np.random.default_rng(seed), (64, 64), 8) for seed in range(40)])
    assert abs(fields.mean()) < 0.1
    assert 1.0 < fields.std() < 1.4


def test_colour_codes_are_decoded_from_srgb():
    # IEC 61966-2-1: code value 188 is half the light of 255 to two digits.
    np.testing.assert_allclose(linear("ffbc00"), [1, 0.503, 0], atol=1e-3)
    assert linear("000000", "ffffff").tolist() == [[0, 0, 0], [1, 1, 1]]
