"""The memory stream against NumPy and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel
from torch import Tensor, nn

from sightline.core.augment import MEAN, STD
from sightline.minerals.memory import Look, Memory, memorise

LIGHT = np.array([0.4, 0.6])
RED_GREEN = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
YELLOW_BLUE = np.array([-0.225, -0.1125, 0.0, 0.1125, 0.225])


def normalised(pixels: NDArray[np.float64]) -> Tensor:
    """Pixels (3, H, W) from 0 to 1 as a batch of one."""
    return torch.from_numpy((pixels - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1)))[None].float()


def looks(count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    tints = rng.uniform(0.2, 0.8, (count, 3, 1, 1))
    pixels = np.clip(tints + rng.normal(0, 0.1, (count, 3, 48, 48)), 0, 1)
    look = Look()
    return torch.cat([look(normalised(picture)) for picture in pixels])


def test_the_colour_histogram_counts_what_numpy_counts() -> None:
    # Only colours at the centres of bins, where the soft count and the hard one agree.
    rng = np.random.default_rng(0)
    light, red_green, yellow_blue = (rng.choice(values, (64, 64)) for values in (LIGHT, RED_GREEN, YELLOW_BLUE))
    blue = light - 2 * yellow_blue / 3
    red, green = blue + yellow_blue + red_green / 2, blue + yellow_blue - red_green / 2
    axes = np.stack([red_green, yellow_blue, light], -1)
    edges = [_edges(-0.4, 0.4, 9), _edges(-0.45, 0.45, 9), _edges(0, 1, 6)]
    expected = []
    for part in (axes[::2, ::2], axes[16:48:2, 16:48:2]):
        counts = np.histogramdd(part.reshape(-1, 3), edges)[0]
        expected.append(counts.ravel() / counts.sum())
    look = Look()
    bins = look(normalised(np.stack([red, green, blue])))[0, : look.colour_bins].numpy()
    np.testing.assert_allclose((bins + 0.1) ** 4 - 1e-4, np.concatenate(expected), atol=1e-5)


def test_the_grain_of_a_whole_picture_counts_patterns_one_by_one() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (48, 48)) / 255
    counts = np.zeros(10)
    for y in range(1, 47):
        for x in range(1, 47):
            ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
            brighter = [grey[y + dy, x + dx] > grey[y, x] + 0.5 / 255 for dy, dx in ring]
            changes = sum(brighter[number] != brighter[number - 1] for number in range(8))
            counts[sum(brighter) if changes <= 2 else 9] += 1
    look = Look()
    grain = look(normalised(np.repeat(grey[None], 3, 0)))[0, look.colour_bins :].numpy()
    np.testing.assert_allclose(grain[:10] ** 2 - 1e-4, counts / counts.sum(), atol=1e-5)


def test_a_plain_picture_has_no_grain() -> None:
    look = Look()
    grain = look(normalised(np.full((3, 48, 48), 0.3)))[0, look.colour_bins :].reshape(-1, 31).numpy() ** 2 - 1e-4
    expected = np.zeros(31)
    # No neighbour is brighter, no edge, and a Laplacian of 0, the middle of its eleven bins.
    expected[[0, 10, 25]] = 1
    np.testing.assert_allclose(grain, np.tile(expected, (6, 1)), atol=1e-5)


def test_mirroring_and_turning_by_half_leave_a_look_as_it_is() -> None:
    blocks = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    blocks = blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    look = Look()
    for view in (blocks.flip(3), blocks.flip(2, 3)):
        torch.testing.assert_close(look(view), look(blocks), atol=1e-4, rtol=1e-4)


def test_likeness_is_the_laplacian_kernel_of_scikit_learn() -> None:
    look, some, others = Look(), looks(40), looks(7, seed=1)
    memory = Memory(look, 40)
    memory.store(some)
    kernels = []
    for part in (slice(look.colour_bins), slice(look.colour_bins, look.bins)):
        ours, theirs = some[:, part].double().numpy(), others[:, part].double().numpy()
        mean = np.abs(ours[:, None] - ours[None]).sum(2).mean()
        kernels.append(laplacian_kernel(theirs, ours, gamma=0.5 / mean))
    np.testing.assert_allclose(memory(others).numpy(), kernels[0] * kernels[1], atol=1e-5)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2)])
def test_votes_are_those_of_scikit_learns_kernel_ridge(shares: tuple[float, float]) -> None:
    some, others = looks(40), looks(7, seed=1)
    labels = (np.random.default_rng(2).random(40) < 0.3).astype(int)
    memory, votes = Memory(Look(), 40), nn.Linear(40, 2, bias=False)
    memorise(memory, votes, some, labels, shares, ridge=0.1, seed=0)
    # Of each class as much as its share, over all as much as there are looks.
    weight = (np.array(shares) / np.bincount(labels))[labels] * 40
    reference = KernelRidge(alpha=0.1, kernel="precomputed")
    reference.fit(memory(some).double().numpy(), np.eye(2)[labels] - 0.5, sample_weight=weight)
    with torch.inference_mode():
        found = votes(memory(others)).numpy()
    np.testing.assert_allclose(found, reference.predict(memory(others).double().numpy()), atol=1e-4)


def test_fewer_exemplars_than_looks_still_learn_from_all_of_them() -> None:
    some = looks(60)
    labels = (some[:, :100].sum(1) > some[:, :100].sum(1).median()).long().numpy()
    found: dict[str, Any] = {}
    for name, shuffled in (("true", labels), ("flipped", 1 - labels)):
        memory, votes = Memory(Look(), 20), nn.Linear(20, 2, bias=False)
        memorise(memory, votes, some, shuffled, (0.5, 0.5), ridge=0.1, seed=0)
        with torch.inference_mode():
            found[name] = votes(memory(some)).argmax(1).numpy()
    assert (found["true"] == labels).mean() > 0.8
    np.testing.assert_array_equal(found["true"], 1 - found["flipped"])


def test_a_class_without_looks_gets_no_vote_of_its_own() -> None:
    memory, votes = Memory(Look(), 20), nn.Linear(20, 3, bias=False)
    some = looks(20)
    memorise(memory, votes, some, np.arange(20) % 2, (0.4, 0.4, 0.2), ridge=0.1, seed=0)
    with torch.inference_mode():
        assert (votes(memory(some)).argmax(1) < 2).all()


def _edges(low: float, high: float, count: int) -> NDArray[np.float64]:
    centres = np.linspace(low, high, count)
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)
