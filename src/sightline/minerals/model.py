"""The network of the minerals task: a texture stream and a memory of colours, of our own and trained from scratch."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.core.portable import square_root
from sightline.minerals.memory import Look, Memory


class MineralNet(nn.Module):
    """Two streams that vote, for small training sets; 1 M numbers at its default width, with 512 exemplars.

    The texture stream is a residual CNN: a stem that halves the picture at once, four stages of plain 3x3 convolutions,
    each halving again, and a classifier that sees the mean and the spread of every feature over the picture; gradient
    descent trains it alone. The memory stream compares histograms of colour and grain with those of remembered training
    pictures, and is fitted in closed form (:func:`sightline.minerals.memory.memorise`).

    Ideas and their sources: residual blocks (He et al., "Deep Residual Learning", CVPR 2016); average pooling on the
    shortcut where the resolution halves (He et al., "Bag of Tricks", CVPR 2019); channel attention (Hu et al.,
    "Squeeze-and-Excitation Networks", CVPR 2018); dropping whole residual branches (Huang et al., "Stochastic
    Depth", ECCV 2016); feature statistics as a description of texture (Gatys et al., "Texture Synthesis", 2015);
    colour histograms in opponent axes (Swain and Ballard, "Color Indexing", IJCV 1991); local binary patterns (Ojala et
    al., "Multiresolution Gray-Scale and Rotation Invariant Texture Classification", PAMI 2002); Laplacian kernels of
    histograms (Chapelle et al., "Support Vector Machines for Histogram-Based Image Classification", 1999).

    Args:
        num_classes: number of logits.
        width: channels of the first stage; the stages have width x (1, 2, 3, 5).
        depth: residual blocks a stage.
        dropout: probability with which a pooled feature is dropped before the classifier of the texture stream.
        drop_path: probability with which the last block's branch is dropped; earlier ones less, linearly.
        exemplars: training pictures that the memory stream remembers.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 24,
        depth: int = 1,
        dropout: float = 0.2,
        drop_path: float = 0.05,
        exemplars: int = 512,
    ) -> None:
        super().__init__()
        self.texture = _texture_stream(num_classes, width, depth, dropout, drop_path)
        self.look = Look()
        self.memory = Memory(self.look, exemplars)
        self.votes = nn.Linear(exemplars, num_classes, bias=False).requires_grad_(False)
        self.balance = nn.Parameter(torch.tensor([1.0, 0.0]), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of normalised float images ``(N, 3, H, W)``, H and W from 48 to 192 pixels.

        The sum of the two streams' logits, each times its ``balance``; before the memory stream is fitted, (1, 0).
        """
        logits: Tensor = self.balance[0] * self.texture(images) + self.balance[1] * self.recall(images)
        return logits

    def recall(self, images: Tensor) -> Tensor:
        """The memory stream's logits ``(N, num_classes)``."""
        logits: Tensor = self.votes(self.memory(self.look(images)))
        return logits


def _texture_stream(num_classes: int, width: int, depth: int, dropout: float, drop_path: float) -> nn.Sequential:
    channels = [width * factor for factor in (1, 1, 2, 3, 5)]
    blocks: list[nn.Module] = []
    for stage in range(4):
        for index in range(depth):
            first = index == 0
            blocks.append(
                _Block(
                    channels[stage] if first else channels[stage + 1],
                    channels[stage + 1],
                    stride=2 if first and stage > 0 else 1,
                    drop_path=drop_path * len(blocks) / max(4 * depth - 1, 1),
                )
            )
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * channels[-1], num_classes))
    parts = {
        "stem": _conv(3, width, stride=2),
        "blocks": nn.Sequential(*blocks),
        "statistics": _Statistics(),
        "classifier": classifier,
    }
    return nn.Sequential(OrderedDict(parts))


class _Statistics(nn.Module):
    """Mean and standard deviation of each channel over the picture: ``(N, C, H, W)`` to ``(N, 2 C)``."""

    def forward(self, features: Tensor) -> Tensor:
        # A difference of squares needs all digits, whatever the precision of the layers before.
        flat = features.flatten(2).float()
        mean = flat.mean(2)
        spread = square_root((flat.square().mean(2) - mean.square()).clamp(min=0).add(1e-4))
        return torch.cat([mean, spread], 1)


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int, drop_path: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _conv(channels_in, channels, stride),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            _SqueezeExcite(channels),
        )
        shortcut: list[nn.Module] = []
        if stride == 2:
            shortcut.append(nn.AvgPool2d(2, ceil_mode=True))
        if channels_in != channels:
            shortcut += [nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.shortcut = nn.Sequential(*shortcut)
        self.drop_path = drop_path

    def forward(self, features: Tensor) -> Tensor:
        branch: Tensor = self.branch(features)
        if self.training:
            branch = branch * F.dropout(branch.new_ones(len(branch), 1, 1, 1), self.drop_path)
        return F.relu(self.shortcut(features) + branch)


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(channels // 8, 8), 1)
        self.excite = nn.Conv2d(max(channels // 8, 8), channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        gate: Tensor = self.excite(F.relu(self.squeeze(features.mean((2, 3), keepdim=True))))
        return features * gate.sigmoid()


def _conv(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
