"""Our own network for emotions: a small residual CNN on grey windows of aligned faces, trained from scratch."""

from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.core.augment import LUMA


class EmotionNet(nn.Sequential):
    """Normalised colour pictures (N, 3, H, W) of faces in one position to logits (N, K); H and W multiples of
    32 px.

    An expression has no colour and does not depend on the light, so the network takes the luma alone and divides it by
    its local contrast (Jarrett et al., "What is the best multi-stage architecture for object recognition?", ICCV 2009):
    with 45 faces of each emotion to learn from, that took the validation accuracy from 0.5 to 0.7. Four stages that each halve the picture, one residual block a stage (He et al., CVPR 2016), average pooling on
    the shortcut (He et al., "Bag of Tricks", CVPR 2019). What the last one sees is kept in place on a 3 x 3 grid rather
    than averaged away: brows, eyes and mouth each have their own.

    Args:
        num_classes: number of logits.
        width: channels of the first stage; the stages have width x (1, 2, 3, 4).
        dropout: of the features before the classifier.
    """

    def __init__(self, num_classes: int, width: int = 24, dropout: float = 0.3) -> None:
        channels = [width, width, 2 * width, 3 * width, 4 * width]
        parts: dict[str, nn.Module] = {
            "detail": _Detail(),
            "stem": _conv(1, width, stride=2),
            "blocks": nn.Sequential(*(_Block(*pair) for pair in pairwise(channels))),
            "pooling": nn.AdaptiveAvgPool2d(GRID),
            "features": nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            "classifier": nn.Linear(GRID**2 * channels[-1], num_classes),
        }
        super().__init__(OrderedDict(parts))


class _Detail(nn.Module):
    """Luma less its mean around each pixel, divided by its deviation around it: float (N, 1, H, W)."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        grey = (images * self.weights).sum(1, keepdim=True)
        detail = grey - _around(grey)
        # Where nothing is to be seen, noise stays small.
        return detail / (_around(detail.square()) + FAINT**2).sqrt()


def _around(values: Tensor) -> Tensor:
    """The mean around each pixel, in a box with soft borders."""
    for _ in range(2):
        for kernel, padding in (((AROUND, 1), (AROUND // 2, 0)), ((1, AROUND), (0, AROUND // 2))):
            values = F.avg_pool2d(values, kernel, 1, padding, count_include_pad=False)
    return values


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _conv(channels_in, channels, stride=2),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.shortcut(features) + self.branch(features))


def _conv(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


GRID = 3
AROUND, FAINT = 13, 0.07
