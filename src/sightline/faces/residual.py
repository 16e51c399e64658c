"""What our own networks for faces are made of: a residual block that halves its input, a convolution, a pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Features (N, channels_in, H, W) to (N, channels, H / 2, W / 2); average pooling on the shortcut.

    He et al., "Deep Residual Learning", CVPR 2016, and "Bag of Tricks", CVPR 2019.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv(channels_in, channels, stride=2),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Branch and shortcut together."""
        return F.relu(self.shortcut(features) + self.branch(features))


def conv(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """A 3 x 3 convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class GridMean(nn.Module):
    """Features (N, C, H, W) to their means over the bins of a grid, (N, C, size, size).

    The bins are those of ``nn.AdaptiveAvgPool2d``, which overlap by a row or column where ``size`` does not divide H or
    W. That layer has no deterministic gradient on a GPU; means of slices have one.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """The mean over each bin; ``features`` themselves where each is a bin of its own."""
        height, width = features.shape[2:]
        if height == width == self.size:
            return features
        rows = [
            torch.stack([features[:, :, top:bottom, left:right].mean((2, 3)) for left, right in self._bins(width)], 2)
            for top, bottom in self._bins(height)
        ]
        return torch.stack(rows, 2)

    def _bins(self, length: int) -> list[tuple[int, int]]:
        return [(n * length // self.size, -(-(n + 1) * length // self.size)) for n in range(self.size)]
