"""What our own networks for faces are made of: a residual block that halves its input, and a convolution."""

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
