"""The network of the minerals task: two streams of our own, texture and colour, trained from scratch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.core.augment import MEAN, STD


class MineralNet(nn.Module):
    """Two streams that vote, for small training sets; 0.75 M parameters at its default width.

    The texture stream is a residual CNN: a stem that halves the picture at once, four stages of plain 3x3 convolutions,
    each halving again, and a classifier that sees the mean and the spread of every feature over the picture. The colour
    stream is a joint colour histogram of the whole picture and one of its centre, and a hidden layer. Each stream has
    a classifier and, in training, a loss of its own, so that the one that learns faster does not starve the other.

    Ideas and their sources: residual blocks (He et al., "Deep Residual Learning", CVPR 2016); average pooling on the
    shortcut where the resolution halves (He et al., "Bag of Tricks", CVPR 2019); channel attention (Hu et al.,
    "Squeeze-and-Excitation Networks", CVPR 2018); dropping whole residual branches (Huang et al., "Stochastic
    Depth", ECCV 2016); feature statistics as a description of texture (Gatys et al., "Texture Synthesis", 2015);
    colour histograms in opponent axes (Swain and Ballard, "Color Indexing", IJCV 1991).

    Args:
        num_classes: number of logits.
        width: channels of the first stage; the stages have width x (1, 2, 3, 5).
        depth: residual blocks a stage.
        dropout: probability with which a pooled feature is dropped before the classifier of the texture stream.
        drop_path: probability with which the last block's branch is dropped; earlier ones less, linearly.
        colours: hidden units of the colour stream.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.2,
        drop_path: float = 0.05,
        colours: int = 128,
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
        self.texture_classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * channels[-1], num_classes))
        self.histogram = _ColourHistogram()
        self.colours = nn.Sequential(nn.Dropout(0.2), nn.Linear(self.histogram.bins, colours), nn.ReLU())
        self.colour_classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(colours, num_classes))
        self.embedding_size = 2 * channels[-1] + colours

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of normalised float images ``(N, 3, H, W)``, H and W from 48 to 192 pixels.

        They are the mean of the two streams' logits, which is the geometric mean of their probabilities. In training
        mode the streams' logits are given apart, ``(2, N, num_classes)``, for a loss each.
        """
        streams = torch.stack(
            [self.texture_classifier(self._texture(images)), self.colour_classifier(self._colour(images))]
        )
        return streams if self.training else streams.mean(0)

    def embed(self, images: Tensor) -> Tensor:
        """Features of both streams ``(N, embedding_size)``: what their classifiers see."""
        return torch.cat([self._texture(images), self._colour(images)], 1)

    def _texture(self, images: Tensor) -> Tensor:
        """Mean and standard deviation of each channel over the picture."""
        features = self.blocks(self.stem(images)).flatten(2)
        mean = features.mean(2)
        spread = (features.square().mean(2) - mean.square()).clamp(min=0).add(1e-4).sqrt()
        return torch.cat([mean, spread], 1)

    def _colour(self, images: Tensor) -> Tensor:
        features: Tensor = self.colours(self.histogram(images))
        return features


class _ColourHistogram(nn.Module):
    """Joint histograms of lightness, red-green and yellow-blue: ``(N, 3, H, W)``, normalised, to ``(N, bins)``.

    One of the whole picture, one of its middle half in both directions. Bins share only what lies within a narrow band
    about their border, so that a histogram keeps colours apart and yet does not jump. The fourth root lifts rare
    colours, whose share is small but tells minerals apart.
    """

    light, chroma = 6, 9
    # Natural colours fill little of the range from -1 to 1; what lies beyond is counted in the outermost bins.
    red_green_reach, yellow_blue_reach = 0.4, 0.45
    border = 0.3

    def __init__(self) -> None:
        super().__init__()
        self.bins = 2 * self.light * self.chroma**2

    def forward(self, images: Tensor) -> Tensor:
        shape = (1, 3, 1, 1)
        pixels = images.detach().float()
        pixels = pixels * pixels.new_tensor(STD).view(shape) + pixels.new_tensor(MEAN).view(shape)
        top, left = images.shape[2] // 4, images.shape[3] // 4
        # Every second pixel of every second row has the same colours at a quarter of the cost.
        whole, centre = pixels[:, :, ::2, ::2], pixels[:, :, top:-top:2, left:-left:2]
        return (torch.cat([self._count(whole), self._count(centre)], 1) + 1e-4) ** 0.25 - 0.1

    def _count(self, pixels: Tensor) -> Tensor:
        red, green, blue = pixels.flatten(2).unbind(1)
        light = self._share((red + green + blue) / 3, 0, 1, self.light)
        red_green = self._share(red - green, -self.red_green_reach, self.red_green_reach, self.chroma)
        yellow_blue = self._share(
            (red + green) / 2 - blue, -self.yellow_blue_reach, self.yellow_blue_reach, self.chroma
        )
        chroma = (red_green[:, :, None] * yellow_blue[:, None]).flatten(1, 2)
        return (chroma @ light.transpose(1, 2) / light.shape[2]).flatten(1)

    def _share(self, values: Tensor, low: float, high: float, count: int) -> Tensor:
        """How much of each value ``(N, P)`` each bin gets: ``(N, count, P)``, one over all bins."""
        at = ((values - low) / (high - low)).clamp(0, 1) * (count - 1)
        distance = (at[:, None] - torch.arange(count, device=values.device)[:, None]).abs()
        return ((0.5 + self.border / 2 - distance) / self.border).clamp(0, 1)


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
