import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d
from torch import nn

from sightline.faces.emotion_network import EmotionNet, LocalContrast
from sightline.faces.residual import GridMean


def pictures(size=64, seed=0):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_local_contrast_is_that_of_a_pyramid_of_weights():
    images = pictures()
    luma = (images.double().numpy() * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    # A box of 13 px twice is a triangle of 25.
    triangle = np.convolve(np.full(13, 1 / 13), np.full(13, 1 / 13))

    def around(values):
        for axis in (1, 2):
            values = convolve1d(values, triangle, axis=axis)
        return values

    detail = luma - around(luma)
    expected = detail / np.sqrt(around(detail**2) + 0.07**2)
    found = LocalContrast()(images)[:, 0].double().numpy()
    # Near the border the network's boxes are cut off, where SciPy mirrors.
    middle = (slice(None), slice(26, -26), slice(26, -26))
    assert found[middle] == pytest.approx(expected[middle], abs=1e-4)


def test_light_and_contrast_do_not_matter():
    images = pictures()
    light = LocalContrast()(images)
    assert torch.allclose(LocalContrast()(3 * images - 1.7), light, atol=0.02)
    # A slope of the light over the whole picture is taken out as well.
    slope = torch.linspace(-2, 2, 64).expand(2, 3, 64, 64)
    inside = (slice(None), slice(None), slice(14, -14), slice(14, -14))
    assert torch.allclose(LocalContrast()(images + slope)[inside], light[inside], atol=0.1)


def test_nothing_stays_nothing():
    assert LocalContrast()(torch.full((1, 3, 48, 48), 0.4)).abs().max() < 1e-4


@pytest.mark.parametrize("size", [64, 96, 128])
def test_logits_come_for_any_multiple_of_32(size):
    network = EmotionNet(7, width=8).eval()
    assert network(pictures(size)).shape == (2, 7)


def test_a_colour_of_equal_luma_is_seen_as_grey():
    network = EmotionNet(7, width=8).eval()
    grey = pictures()[:, :1].expand(-1, 3, -1, -1).clone()
    tinted = grey.clone()
    tinted[:, 0] += 0.5 / 0.299
    tinted[:, 1] -= 0.5 / 0.587
    assert torch.allclose(network(tinted), network(grey), atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 3), (4, 4), (4, 7), (8, 5), (9, 9)])
def test_means_over_a_grid_are_those_of_torch(size, height, width):
    features = torch.randn(2, 5, height, width, dtype=torch.float64, requires_grad=True)
    ours, theirs = (pool(features) for pool in (GridMean(size), nn.AdaptiveAvgPool2d(size)))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((found * weights).sum(), features)[0] for found in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
