"""Where a network looks: Grad-CAM on its last feature maps."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

from sightline.core.augment import whole
from sightline.core.images import Pixels
from sightline.memes.network import MemeNet


def attention(network: MemeNet, images: Pixels, classes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """What in each picture speaks for a class, from 0 to 1 (N, S, S), enlarged from the last feature maps.

    Selvaraju et al., 'Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization', ICCV 2017. A
    picture in which nothing speaks for the class is 0 all over; so is any where the maps are a single place, and where
    a transformer pools its class token alone, which has drawn from the others before.

    Args:
        network: in any mode; it is put in eval mode.
        images: uint8 RGB (N, S, S, 3).
        classes: for each picture the class that is asked about, (N,).
    """
    found = [np.empty((0, *images.shape[1:3]), np.float32)]
    with GradCAM(network, [network.backbone.maps], reshape_transform=_as_map) as cam, torch.enable_grad():
        for start in range(0, len(images), BATCH):
            batch = whole(torch.from_numpy(np.array(images[start : start + BATCH])))
            targets = [ClassifierOutputTarget(int(number)) for number in classes[start : start + BATCH]]
            found.append(np.asarray(cam(batch, targets), np.float32))
    network.zero_grad()
    return np.concatenate(found)


def overlay(image: Pixels, seen: NDArray[np.float32]) -> Pixels:
    """The picture (S, S, 3) with its attention (S, S) upon it, from blue (0) to red (1)."""
    return np.asarray(show_cam_on_image(image.astype(np.float32) / 255, seen, use_rgb=True, image_weight=0.6))


def _as_map(maps: Tensor) -> Tensor:
    """(B, C, h, w) as it is; the tokens (B, T, C) of a transformer as a square, without class and register tokens."""
    if maps.ndim == 4:
        return maps
    side = math.isqrt(maps.shape[1])
    return maps[:, -side * side :].transpose(1, 2).reshape(*maps.shape[::2], side, side)


BATCH = 16
