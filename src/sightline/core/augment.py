"""Random views of a batch of packed images, drawn on the device that trains.

Every random number comes from the key ``(seed, epoch, sample index)`` of its sample, so the same sample gets the
same view whatever the number of data workers, whatever else is in its batch, and after a training was cut off and
resumed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.core.portable import square_root

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the random changes; with all at their neutral values (the defaults) a view is the resized image.

    crop_area: share of the image's area that a crop keeps, (smallest, largest); neutral (1, 1).
    aspect: a crop's width to height is drawn log-uniformly from 1 / aspect to aspect; neutral 1.
    rotate: largest rotation to either side in degrees; what lies outside the image is mirrored in; neutral 0.
    flip, flip_vertical: probability of mirroring left-right and top-bottom; neutral 0.
    brightness, contrast, saturation: factors are drawn uniformly from 1 - value to 1 + value; neutral 0.
    hue: largest turn of the hue to either side, as a share of the colour circle; neutral 0.
    grayscale: probability of a grey view; neutral 0.
    blur: probability of a Gaussian blur of 0.3 to 1.5 pixels of the view; neutral 0.
    erase: probability of a rectangle of 5 to 25 % of the area filled with the mean colour (Zhong et al.,
        "Random Erasing Data Augmentation", AAAI 2020); neutral 0.
    """

    crop_area: tuple[float, float] = (1.0, 1.0)
    aspect: float = 1.0
    rotate: float = 0.0
    flip: float = 0.0
    flip_vertical: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    blur: float = 0.0
    erase: float = 0.0


def augment(
    images: Tensor,
    keys: Tensor,
    size: int,
    settings: Augmentation,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Tensor:
    """Draw one random view of each image.

    Args:
        images: uint8 ``(B, H, W, 3)``, RGB.
        keys: int64 ``(B, 3)``, not negative: seed, epoch and the sample's index in its data set.
        size: height and width of the views in pixels.
        settings: how strong each change is.
        mean: RGB mean that is taken off, on the scale from 0 to 1.
        std: RGB standard deviation that the result is divided by.

    Returns:
        float32 ``(B, 3, size, size)``, normalised, on the device of ``images``.
    """
    draws = _Draws(keys, images.device)
    views = _geometry(images.permute(0, 3, 1, 2).float().div_(255), draws, size, settings)
    views = _blur(_colour(views, draws, settings), draws, settings)
    return _erase(_normalise(views, mean, std), draws, settings)


def whole(images: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """Whole images as validation and inference see them: uint8 RGB ``(B, H, W, 3)`` to normalised ``(B, 3, H, W)``."""
    return _normalise(images.permute(0, 3, 1, 2).float().div_(255), mean, std)


def mix(
    images: Tensor, targets: Tensor, keys: Tensor, mixup_alpha: float, cutmix_alpha: float
) -> tuple[Tensor, Tensor]:
    """Mix each sample with its neighbour in the batch, by mixup or by CutMix; half the samples each if both are on.

    mixup: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018. CutMix: Yun et al., "CutMix:
    Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019.

    Args:
        images: float ``(B, 3, H, W)``.
        targets: float ``(B, K)``, each row sums to 1.
        keys: int64 ``(B, 3)`` as for :func:`augment`.
        mixup_alpha: both parameters of the Beta distribution of the sample's own share; 0 is off.
        cutmix_alpha: the same for the share of the area that stays the sample's own; 0 is off.

    Returns:
        The mixed images and targets, shaped as before.
    """
    if mixup_alpha <= 0 and cutmix_alpha <= 0:
        return images, targets
    height, width = images.shape[2:]
    shares = np.empty((len(images), 1, 1, 1), np.float32)
    boxes = np.zeros((len(images), 4), np.float32)
    for row, key in enumerate(keys.tolist()):
        # The fourth number tells this stream of random numbers from that of `augment`.
        rng = np.random.default_rng((*key, 1))
        cut = cutmix_alpha > 0 and (mixup_alpha <= 0 or rng.random() < 0.5)
        alpha = cutmix_alpha if cut else mixup_alpha
        share = rng.beta(alpha, alpha)
        if cut:
            side = math.sqrt(1 - share)
            y, x = rng.random(2) * (height, width)
            top, bottom = (round(min(max(y + d * side * height / 2, 0), height)) for d in (-1, 1))
            left, right = (round(min(max(x + d * side * width / 2, 0), width)) for d in (-1, 1))
            boxes[row] = top, bottom, left, right
            share = 1 - (bottom - top) * (right - left) / (height * width)
        shares[row] = share
    share_kept = torch.from_numpy(shares).to(images.device)
    pasted = _inside(torch.from_numpy(boxes).to(images.device), height, width)
    is_cut = pasted.flatten(1).any(1).view(-1, 1, 1, 1)
    weight = torch.where(is_cut, (~pasted).float(), share_kept)
    mixed = torch.lerp(images.roll(1, 0), images, weight)
    return mixed, torch.lerp(targets.roll(1, 0), targets, share_kept.view(-1, 1))


class _Draws:
    """Uniform random numbers, one column a purpose, so that switching one change off leaves the others as they were."""

    NAMES = (
        *("area", "aspect", "x", "y", "rotate", "flip", "flip_vertical"),
        *("brightness", "contrast", "saturation", "hue", "grayscale", "blur", "blur_sigma"),
        *("erase", "erase_area", "erase_aspect", "erase_x", "erase_y"),
    )

    def __init__(self, keys: Tensor, device: torch.device) -> None:
        table = [np.random.default_rng(key).random(len(self.NAMES), np.float32) for key in keys.tolist()]
        self._columns = dict(zip(self.NAMES, torch.from_numpy(np.stack(table, 1)).to(device), strict=True))

    def uniform(self, name: str, low: float, high: float) -> Tensor:
        return torch.add(low, self._columns[name], alpha=high - low)

    def chance(self, name: str, probability: float) -> Tensor:
        return torch.lt(self._columns[name], probability)


def _geometry(images: Tensor, draws: _Draws, size: int, settings: Augmentation) -> Tensor:
    area = draws.uniform("area", *settings.crop_area)
    ratio = draws.uniform("aspect", -1, 1).mul(math.log(settings.aspect)).exp()
    width, height = (square_root(value).clamp(max=1) for value in (area * ratio, area / ratio))
    centre_x = draws.uniform("x", -1, 1) * (1 - width)
    centre_y = draws.uniform("y", -1, 1) * (1 - height)
    angle = draws.uniform("rotate", -1, 1) * math.radians(settings.rotate)
    width = torch.where(draws.chance("flip", settings.flip), -width, width)
    height = torch.where(draws.chance("flip_vertical", settings.flip_vertical), -height, height)
    cos, sin = angle.cos(), angle.sin()
    rows = [width * cos, -height * sin, centre_x, width * sin, height * cos, centre_y]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _colour(images: Tensor, draws: _Draws, settings: Augmentation) -> Tensor:
    """Hue, saturation, contrast and brightness as one matrix and one offset a sample, clamped once at the end."""
    luma = images.new_tensor(LUMA)
    identity = torch.eye(3, device=images.device)
    grey = luma.expand(3, 3)
    saturation = _factor(draws, "saturation", settings)
    saturation = torch.where(draws.chance("grayscale", settings.grayscale), 0, saturation).view(-1, 1, 1)
    contrast = _factor(draws, "contrast", settings).view(-1, 1, 1)
    brightness = _factor(draws, "brightness", settings).view(-1, 1, 1)
    matrix = torch.lerp(grey, identity, saturation) @ _hue_turn(draws.uniform("hue", -1, 1) * settings.hue)
    # Hue and saturation keep luma, so contrast may take the mean luma of the images as they came in.
    mean_luma = (images.mean((2, 3)) @ luma).view(-1, 1, 1)
    matrix = brightness * contrast * matrix
    offset = brightness * (1 - contrast) * mean_luma
    flat = torch.baddbmm(offset, matrix, images.flatten(2))
    return flat.view_as(images).clamp_(0, 1)


def _factor(draws: _Draws, name: str, settings: Augmentation) -> Tensor:
    strength: float = getattr(settings, name)
    return draws.uniform(name, 1 - strength, 1 + strength)


def _hue_turn(turns: Tensor) -> Tensor:
    """Matrices ``(B, 3, 3)`` that turn colours about the grey axis in the YIQ plane, which keeps luma."""
    to_yiq = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], device=turns.device)
    angle = turns * (2 * math.pi)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [zero + 1, zero, zero, zero, cos, -sin, zero, sin, cos]
    return torch.matmul(torch.linalg.inv(to_yiq), torch.stack(rows, 1).view(-1, 3, 3)) @ to_yiq


def _blur(images: Tensor, draws: _Draws, settings: Augmentation) -> Tensor:
    chosen = draws.chance("blur", settings.blur).nonzero().squeeze(1)
    if len(chosen) == 0:
        return images
    sigma = draws.uniform("blur_sigma", 0.3, 1.5)[chosen]
    offsets = torch.arange(-3, 4, device=images.device)
    kernel = torch.softmax(-0.5 * (offsets / sigma[:, None]) ** 2, 1).repeat_interleave(3, 0)
    part = images[chosen]
    channels = part.view(1, -1, *part.shape[2:])
    for shape, pad in (((-1, 1, 7, 1), (0, 0, 3, 3)), ((-1, 1, 1, 7), (3, 3, 0, 0))):
        channels = F.conv2d(F.pad(channels, pad, mode="reflect"), kernel.view(shape), groups=channels.shape[1])
    return images.index_copy(0, chosen, channels.view_as(part))


def _normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    shape = (1, 3, 1, 1)
    return images.sub_(images.new_tensor(mean).view(shape)).div_(images.new_tensor(std).view(shape))


def _erase(images: Tensor, draws: _Draws, settings: Augmentation) -> Tensor:
    if settings.erase <= 0:
        return images
    height, width = images.shape[2:]
    area = draws.uniform("erase_area", 0.05, 0.25)
    ratio = draws.uniform("erase_aspect", -1, 1).mul(math.log(3)).exp()
    box_height, box_width = (square_root(value).clamp(max=1) for value in (area / ratio, area * ratio))
    top = draws.uniform("erase_y", 0, 1) * (1 - box_height)
    left = draws.uniform("erase_x", 0, 1) * (1 - box_width)
    boxes = torch.stack([top, top + box_height, left, left + box_width], 1)
    boxes = boxes * images.new_tensor([height, height, width, width])
    boxes = boxes * draws.chance("erase", settings.erase)[:, None]
    return images.masked_fill(_inside(boxes, height, width), 0.0)


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Pixel centres in the box (top, bottom, left, right; pixels) of each sample: bool ``(B, 1, height, width)``."""
    y = torch.arange(height, device=boxes.device) + 0.5
    x = torch.arange(width, device=boxes.device) + 0.5
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)
