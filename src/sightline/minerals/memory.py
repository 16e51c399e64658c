"""What a picture's colours and grain recall: a second opinion from a handful of remembered training pictures.

Small sets of photos are too few to learn colours by gradient descent, but colour is what tells many minerals apart. So
training pictures are remembered as histograms, and a new one is judged by its likeness to them: kernel ridge regression
in closed form, seconds instead of epochs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.core.augment import LUMA, MEAN, STD
from sightline.core.portable import square_root


class Look(nn.Module):
    """Histograms of colour and of grain: ``(N, 3, H, W)``, normalised, H and W at least 48, to ``(N, bins)``.

    Colour: joint histograms of lightness, red-green and yellow-blue, one of the whole picture and one of its middle
    half in both directions. Bins share only what lies within a narrow band about their border, so that a histogram
    keeps colours apart and yet does not jump. The fourth root lifts rare colours, whose share is small but tells
    minerals apart.

    Grain, for the whole and the middle at full, half and quarter resolution: uniform rotation-invariant local binary
    patterns, the strength of edges, and the response to a Laplacian; square roots of the counts.
    """

    light, chroma = 6, 9
    # Natural colours fill little of the range from -1 to 1; what lies beyond is counted in the outermost bins.
    red_green_reach, yellow_blue_reach = 0.4, 0.45
    border = 0.3
    scales = (1, 2, 4)
    patterns, edges, curvatures = 10, 10, 11

    def __init__(self) -> None:
        super().__init__()
        self.colour_bins = 2 * self.light * self.chroma**2
        self.grain_bins = 2 * len(self.scales) * (self.patterns + self.edges + self.curvatures)
        self.bins = self.colour_bins + self.grain_bins

    def forward(self, images: Tensor) -> Tensor:
        """Look at pictures."""
        shape = (1, 3, 1, 1)
        pixels = images.detach().float()
        pixels = pixels * pixels.new_tensor(STD).view(shape) + pixels.new_tensor(MEAN).view(shape)
        return torch.cat([self._colour(pixels), self._grain(pixels)], 1)

    def _colour(self, pixels: Tensor) -> Tensor:
        # Every second pixel of every second row has the same colours at a quarter of the cost.
        counts = [self._count_colours(part[:, :, ::2, ::2]) for part in (pixels, _middle(pixels))]
        return torch.sub((torch.cat(counts, 1) + 1e-4) ** 0.25, 0.1)

    def _count_colours(self, pixels: Tensor) -> Tensor:
        red, green, blue = pixels.flatten(2).unbind(1)
        light = self._share((red + green + blue) / 3, 0, 1, self.light)
        red_green = self._share(red - green, -self.red_green_reach, self.red_green_reach, self.chroma)
        yellow_blue = self._share(
            (red + green) / 2 - blue, -self.yellow_blue_reach, self.yellow_blue_reach, self.chroma
        )
        chroma = (red_green.unsqueeze(2) * yellow_blue.unsqueeze(1)).flatten(1, 2)
        return (chroma @ light.transpose(1, 2) / light.shape[2]).flatten(1)

    def _share(self, values: Tensor, low: float, high: float, count: int) -> Tensor:
        """How much of each value ``(N, P)`` each bin gets: ``(N, count, P)``, one over all bins."""
        at = ((values - low) / (high - low)).clamp(0, 1) * (count - 1)
        distance = (at.unsqueeze(1) - torch.arange(count, device=values.device).unsqueeze(1)).abs()
        return ((0.5 + self.border / 2 - distance) / self.border).clamp(0, 1)

    def _grain(self, pixels: Tensor) -> Tensor:
        grey = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        counts = []
        for scale in self.scales:
            maps = _grain_maps(F.avg_pool2d(grey, scale) if scale > 1 else grey)
            for part in (maps, _middle(maps)):
                patterns, edges, curvature = part.unbind(1)
                counts += [
                    _histogram(patterns, 0, 9, self.patterns),
                    _histogram(edges, 0, 7, self.edges),
                    _histogram(curvature, -5, 5, self.curvatures),
                ]
        return square_root(torch.cat(counts, 1) + 1e-4)


class Memory(nn.Module):
    """Likeness of looks to remembered ones: ``(N, bins)`` to ``(N, exemplars)``, 1 for an equal look.

    A Laplacian kernel, ``exp(-(colour distance + grain distance) / 2)``, of city-block distances in units of their
    means among the exemplars. City-block distances compare histograms better than squared ones (Chapelle et al.,
    "Support Vector Machines for Histogram-Based Image Classification", IEEE TNN 1999).
    """

    def __init__(self, look: Look, exemplars: int) -> None:
        super().__init__()
        self.groups = (look.colour_bins, look.grain_bins)
        self.scale = nn.Parameter(torch.ones(look.bins), requires_grad=False)
        self.exemplars = nn.Parameter(torch.zeros(exemplars, look.bins), requires_grad=False)

    def forward(self, looks: Tensor) -> Tensor:
        """Compare looks with the exemplars."""
        # In parts, because all differences at once are a thousand times as large as the result.
        parts = torch.split(self.exemplars, EXEMPLARS_AT_ONCE)
        scaled = (looks * self.scale).unsqueeze(1)
        return torch.exp(-torch.cat([(scaled - part).abs().sum(2) for part in parts], 1))

    def store(self, looks: Tensor) -> None:
        """Remember these looks, ``(exemplars, bins)``."""
        scales = []
        for part in torch.split(looks.double(), list(self.groups), 1):
            mean = torch.cdist(part, part, p=1).mean().clamp(min=1e-6)
            scales.append(torch.full((part.shape[1],), 0.5) / mean)
        self.scale.data = torch.cat(scales).to(self.scale)
        self.exemplars.data = looks * self.scale


def memorise(
    memory: Memory,
    votes: nn.Linear,
    looks: Tensor,
    labels: NDArray[np.integer[Any]],
    class_shares: Sequence[float],
    ridge: float,
    seed: int,
) -> None:
    """Choose exemplars among training looks and solve for their votes, in closed form.

    Kernel ridge regression of the one-hot labels, each class with its share of the weight; with more looks than
    exemplars, in the subspace that a random choice of them spans (Nyström; Williams and Seeger, NIPS 2000). All looks
    take part in the solution.

    Args:
        memory: is told its exemplars.
        votes: from likenesses to classes, without bias; is told its weights.
        looks: float32 (N, bins), N at least the number of exemplars.
        labels: classes (N,), 0 to K - 1.
        class_shares: of the weight of all looks, (K,).
        ridge: added to the kernel's diagonal, 1 for a look of the mean weight; larger is smoother.
        seed: of the choice.
    """
    count = len(memory.exemplars)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(looks))[:count])
    memory.store(looks[torch.from_numpy(chosen)])
    classes = len(class_shares)
    members = np.bincount(labels, minlength=classes)
    shares = np.array(class_shares) * (members > 0)
    weight = (shares / shares.sum() / np.maximum(members, 1))[labels] * len(labels)
    with torch.inference_mode():
        likeness = torch.cat([memory(batch) for batch in torch.split(looks, LOOKS_AT_ONCE)]).double()
    # By torch, whose number of threads is a parameter of the run.
    weighted = likeness * torch.from_numpy(weight)[:, None]
    targets = F.one_hot(torch.from_numpy(labels), classes).double() - 1 / classes
    normal = weighted.T @ likeness + ridge * likeness[torch.from_numpy(chosen)]
    normal += 1e-9 * torch.eye(count)
    solution = torch.linalg.solve(normal, weighted.T @ targets)
    votes.weight.data = solution.T.contiguous().to(votes.weight)


def _middle(maps: Tensor) -> Tensor:
    height, width = maps.shape[2:]
    top, left = height // 4, width // 4
    return maps.narrow(2, top, height - 2 * top).narrow(3, left, width - 2 * left)


def _grain_maps(grey: Tensor) -> Tensor:
    """Local binary pattern, strength of edges and Laplacian of ``(N, 1, H, W)``: ``(N, 3, H - 2, W - 2)``."""
    height, width = grey.shape[2] - 2, grey.shape[3] - 2
    # Each row is cut out once: a slice is a dozen nodes in the exported graph, and exporting takes most of deploying.
    rows = {down: grey.narrow(2, 1 + down, height) for down in (-1, 0, 1)}
    moved = {(down, right): row.narrow(3, 1 + right, width) for down, row in rows.items() for right in (-1, 0, 1)}
    here, above, below, left, right = (moved[step] for step in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)))
    # Ojala et al., "Multiresolution Gray-Scale and Rotation Invariant Texture Classification", PAMI 2002. Half a grey
    # level of tolerance, or the rounding of torch and ONNX Runtime would decide in plain backgrounds.
    brighter = torch.cat([moved[step] > here + 0.5 / 255 for step in RING], 1).float()
    changes = (brighter != brighter.roll(1, 1)).sum(1, keepdim=True)
    pattern = torch.where(changes <= 2, brighter.sum(1, keepdim=True), 9.0)
    edge = torch.log1p(255 * 4 * square_root((right - left).square() + (below - above).square()))
    curvature = (above + below + left + right - 4 * here) * 255
    return torch.cat([pattern, edge, curvature.sign() * curvature.abs().log1p()], 1)


def _histogram(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Shares ``(N, bins)`` of values ``(N, H, W)``, each shared by the two bins whose centres it lies between."""
    at = ((values.flatten(1) - low) / (high - low)).clamp(0, 1) * (bins - 1)
    distance = (at.unsqueeze(1) - torch.arange(bins, device=values.device).unsqueeze(1)).abs()
    return (1 - distance).clamp(min=0).mean(2)


RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
EXEMPLARS_AT_ONCE = 128
LOOKS_AT_ONCE = 256
