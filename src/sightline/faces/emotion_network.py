"""Our own network for emotions: a small residual CNN on grey windows of aligned faces, trained from scratch."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from sightline.core.augment import LUMA
from sightline.faces.residual import Block, conv


class EmotionNet(nn.Sequential):
    """Normalised colour pictures (N, 3, H, W) of faces in one position to logits (N, K); H and W multiples of
    32 px.

    An expression has no colour, so the network takes the luma alone: what it learns from colour photos holds for grey
    ones. Four stages that each halve the picture, one residual block a stage (He et al., CVPR 2016), average pooling on
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
            "grey": _Grey(),
            "stem": conv(1, width, stride=2),
            "blocks": nn.Sequential(*(Block(*pair) for pair in pairwise(channels))),
            "pooling": nn.AdaptiveAvgPool2d(GRID),
            "features": nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            "classifier": nn.Linear(GRID**2 * channels[-1], num_classes),
        }
        super().__init__(OrderedDict(parts))


class _Grey(nn.Module):
    """Luma, which is normalised as the three channels are, since these share one mean and deviation."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weights).sum(1, keepdim=True)


GRID = 3
