"""The network of the minerals task: a small residual CNN of our own, trained from scratch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MineralNet(nn.Module):
    """Residual CNN for small training sets; 0.62 M parameters at its default width.

    A stem that halves the picture at once, four stages of plain 3x3 convolutions, each halving again, and a head that
    sees the mean and the spread of every feature over the picture.

    Ideas and their sources: residual blocks (He et al., "Deep Residual Learning", CVPR 2016); average pooling on the
    shortcut where the resolution halves (He et al., "Bag of Tricks", CVPR 2019); channel attention (Hu et al.,
    "Squeeze-and-Excitation Networks", CVPR 2018); dropping whole residual branches (Huang et al., "Stochastic
    Depth", ECCV 2016); feature statistics as a description of texture (Gatys et al., "Texture Synthesis", 2015).

    Args:
        num_classes: number of logits.
        width: channels of the first stage; the stages have width x (1, 2, 3, 5).
        depth: residual blocks a stage.
        dropout: probability with which a pooled feature is dropped before the classifier.
        drop_path: probability with which the last block's branch is dropped; earlier ones less, linearly.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.2,
        drop_path: float = 0.05,
    ) -> None:
        super().__init__()
        channels = [width * factor for factor in (1, 1, 2, 3, 5)]
        self.stem = _conv(3, width, stride=2)
        blocks: list[nn.Module] = []
        total = 4 * depth
        for stage in range(4):
            for index in range(depth):
                first = index == 0
                blocks.append(
                    _Block(
                        channels[stage] if first else channels[stage + 1],
                        channels[stage + 1],
                        stride=2 if first and stage > 0 else 1,
                        drop_path=drop_path * len(blocks) / max(total - 1, 1),
                    )
                )
        self.blocks = nn.Sequential(*blocks)
        self.embedding_size = 2 * channels[-1]
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.embedding_size, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of normalised float images ``(N, 3, H, W)``, H and W from 48 to 192 pixels."""
        logits: Tensor = self.classifier(self.dropout(self.embed(images)))
        return logits

    def embed(self, images: Tensor) -> Tensor:
        """Pooled features ``(N, embedding_size)``: mean and standard deviation of each channel over the picture."""
        features = self.blocks(self.stem(images)).flatten(2)
        mean = features.mean(2)
        spread = (features.square().mean(2) - mean.square()).clamp(min=0).add(1e-4).sqrt()
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
