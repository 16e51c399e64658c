"""Our own network for emotions: a small residual CNN on grey windows of aligned faces, trained from scratch."""

from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.core.augment import LUMA
from sightline.faces.residual import Block, GridMean, conv


class EmotionNet(nn.Sequential):
    """Normalised colour pictures (N, 3, H, W) of faces in one position to logits (N, K); H and W multiples of
    32 px.

    An expression has no colour and does not depend on the light, so the network takes the luma alone and divides it by
    its local contrast (Jarrett et al., "What is the Best Multi-Stage Architecture for Object Recognition?", ICCV 2009).
    Four stages that each halve the picture, one residual block a stage (He et al., CVPR 2016), average pooling on the
    shortcut (He et al., "Bag of Tricks", CVPR 2019). What the last one sees is kept in place on a 3 x 3 grid rather
    than averaged away: brows, eyes and mouth each have their own.

    Args:
        num_classes: number of logits.
        width: channels of the first stage; the stages have width x (1, 2, 3, 4).
        dropout: of the features before the classifier.
    """

    def __init__(self, num_classes: int, width: int = 24, dropout: float = 0.3) -> None:
        channels = [width, width, 2 * width, 3 * width, 4 * width]
        parts: dict[str, nn.Module] = {
            "detail": LocalContrast(),
            "stem": conv(1, width, stride=2),
            "blocks": nn.Sequential(*(Block(*pair) for pair in pairwise(channels))),
            "pooling": GridMean(GRID),
            "features": nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            "classifier": nn.Linear(GRID**2 * channels[-1], num_classes),
        }
        super().__init__(OrderedDict(parts))


class LocalContrast(nn.Module):
    """Luma less its mean around each pixel, divided by its deviation there: (N, 3, H, W) to float (N, 1, H, W)."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The same for a picture and one with another light and contrast, as long as there is some."""
        detail = (images * self.weights).sum(1, keepdim=True)
        detail = detail - _mean_around(detail)
        # Where nothing is to be seen, noise stays small.
        return detail * (_mean_around(detail.square()) + FAINT**2).rsqrt()


def _mean_around(values: Tensor) -> Tensor:
    """The mean around each pixel with weights that fall off in a pyramid: a box twice, rows and columns apart."""
    for _ in range(2):
        for kernel, padding in (((BOX, 1), (BOX // 2, 0)), ((1, BOX), (0, BOX // 2))):
            values = F.avg_pool2d(values, kernel, stride=1, padding=padding, count_include_pad=False)
    return values


GRID = 3
# Side of the box in px, about an eye of a 96 px face; the deviation of luma, which is normalised, that counts as none.
BOX, FAINT = 13, 0.07
