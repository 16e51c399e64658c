"""The network of the memes task: a pretrained backbone and a linear head, as one module and as one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sightline.core.augment import MEAN, STD, whole
from sightline.core.backbone import Backbone, FeatureNetwork
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, write_json
from sightline.core.images import Pixels
from sightline.core.progress import progress
from sightline.core.weights import write_weights


class MemeNet(nn.Module):
    """Features of a :class:`~sightline.core.backbone.FeatureNetwork`, and logits by a linear head upon them.

    Pictures come in as :func:`sightline.core.augment.whole` gives them, normalised by this package's own mean and
    deviation; those that the backbone was trained with are put in their place here.

    Args:
        architecture: a timm name.
        arguments: of ``timm.create_model``.
        num_features: length of a feature vector.
        num_classes: number of logits.
        mean: RGB mean that the backbone was trained with, on the scale from 0 to 1.
        std: RGB standard deviation, likewise.
    """

    factor: Tensor
    offset: Tensor

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any],
        num_features: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.backbone = FeatureNetwork(architecture, arguments)
        self.head = nn.Linear(num_features, num_classes)
        ours, theirs = (
            torch.tensor(pair, dtype=torch.float64).view(2, 1, 3, 1, 1) for pair in ((MEAN, STD), (mean, std))
        )
        self.register_buffer("factor", (ours[1] / theirs[1]).float())
        self.register_buffer("offset", ((ours[0] - theirs[0]) / theirs[1]).float())

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, num_features) of normalised float images (B, 3, S, S)."""
        pooled: Tensor = self.backbone(images * self.factor + self.offset)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised float images (B, 3, S, S)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def on_backbone(backbone: Backbone, num_classes: int) -> tuple[MemeNet, dict[str, Any]]:
    """A network with the weights of ``backbone`` and a random head, and the arguments that it was built with."""
    config = backbone.config
    arguments: dict[str, Any] = {
        "architecture": config.architecture,
        "arguments": config.arguments,
        "num_features": config.features,
        "num_classes": num_classes,
        "mean": config.mean,
        "std": config.std,
    }
    network = MemeNet(**arguments)
    network.backbone.load_state_dict(backbone.network.state_dict())
    return network, arguments


@torch.inference_mode()
def describe(
    network: MemeNet, images: Pixels, batch_size: int = 64, *, mirror: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, D) and logits (N, K), float32, of whole pictures, uint8 RGB (N, S, S, 3); leaves eval mode on.

    With ``mirror`` they are the mean over a picture and its mirror image. The head is linear: the logits are those of
    the mean features.
    """
    network.eval()
    device = network.head.weight.device
    starts = range(0, len(images), batch_size)
    features = [np.empty((0, network.head.in_features), np.float32)]
    logits = [np.empty((0, network.head.out_features), np.float32)]
    for start in progress(starts, "looking at pictures", unit="batch"):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        views = whole(batch).contiguous(memory_format=torch.channels_last)
        found = network.features(views)
        if mirror:
            found = (found + network.features(views.flip(3))) / 2
        features.append(found.float().cpu().numpy())
        logits.append(network.head(found).float().cpu().numpy())
    return np.concatenate(features), np.concatenate(logits)


def save_network(folder: Path, network: MemeNet, config: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` and ``config.json`` to ``folder``, whole or not at all.

    ``config["arguments"]`` must be what the network was built with; the rest is the caller's.
    """
    with replacing_folder(folder) as part:
        write_weights(part / "model.safetensors", network.state_dict())
        write_json(part / "config.json", config)


def load_network(folder: Path) -> tuple[MemeNet, dict[str, Any]]:
    """Load what :func:`save_network` wrote; the network is in eval mode.

    Raises:
        InputError: the folder holds no such network.
    """
    try:
        config: dict[str, Any] = read_json(folder / "config.json")
        network = MemeNet(**config["arguments"])
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = f"config.json lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{folder} holds no network of the memes task: {' '.join(reason.split())}") from None
    return network.eval(), config
