"""The network of method ``cnn``: trained from scratch on the enrolled people, here as torch has it."""

import shutil
from collections import OrderedDict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sightline.core.augment import whole
from sightline.core.deploy import Deployable, export_onnx
from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.faces.identity import BATCH, Method, open_method, views
from sightline.faces.residual import Block, GridMean, conv


def open_trained(folder: Path, threads: int = 1) -> Method:
    """Open one of the folders that ``faces-train`` leaves in ``models/faces/identity``.

    Raises:
        InputError: the folder holds none.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        return open_method(folder, threads)
    try:
        config = read_json(folder / "config.json")
        network = load_network(path, config)
        threshold, people = float(config["threshold"]["value"]), tuple(config["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"config.json lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{folder} holds no method of faces-train: {reason}") from None
    return Method("cnn", threshold, classify=partial(classify, network), people=people)


def deploy_network(trained: Path, out: Path, sample: Pixels) -> None:
    """Write ``out/model.onnx``, compared with torch on ``sample``, aligned crops, and ``out/config.json`` beside it.

    Args:
        trained: the folder of ``cnn`` that ``faces-train`` leaves.
        out: made where it is missing.
        sample: uint8 RGB (N, 144, 144, 3).

    Raises:
        InputError: ``trained`` holds no network.
    """
    out.mkdir(parents=True, exist_ok=True)
    network = load_network(trained / "model.safetensors", read_json(trained / "config.json"))
    export_onnx(Deployable(network, mirror=True), out / "model.onnx", views(sample))
    shutil.copyfile(trained / "config.json", out / "config.json")


class IdentityNet(nn.Sequential):
    """A small residual network for a few people with a few photos each: normalised (N, 3, 64, 64) to logits (N, P).

    Four stages that each halve the picture, one residual block a stage (He et al., CVPR 2016); what the last one sees
    is kept in place on a 2 x 2 grid rather than averaged away, because in aligned faces a place has a meaning.

    Args:
        num_classes: people.
        width: channels of the first stage; the stages have width x (1, 2, 3, 4).
        dropout: of the features before the classifier.
    """

    def __init__(self, num_classes: int, width: int = 24, dropout: float = 0.3) -> None:
        channels = [width, width, 2 * width, 3 * width, 4 * width]
        blocks = [Block(*pair) for pair in pairwise(channels)]
        parts: dict[str, nn.Module] = {
            "stem": conv(3, width, stride=2),
            "blocks": nn.Sequential(*blocks),
            "pooling": GridMean(2),
            "features": nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            "classifier": nn.Linear(4 * channels[-1], num_classes),
        }
        super().__init__(OrderedDict(parts))


@torch.inference_mode()
def classify(network: nn.Module, crops: Pixels) -> NDArray[np.float32]:
    """Probabilities float32 (N, P) of N > 0 aligned crops, each averaged with its mirror image; leaves eval mode."""
    network.eval()
    device = next(network.parameters()).device
    found = []
    for batch in torch.split(torch.from_numpy(views(crops)), BATCH):
        faces = whole(batch.to(device)).contiguous(memory_format=torch.channels_last)
        both = [F.softmax(network(side).float(), 1) for side in (faces, faces.flip(3))]
        found.append(((both[0] + both[1]) / 2).cpu())
    return torch.cat(found).numpy()


def load_network(path: Path, config: dict[str, Any]) -> IdentityNet:
    """Load the weights of an :class:`IdentityNet` that was built with ``config["arguments"]``; in eval mode.

    Raises:
        InputError: the file is missing, or holds something else.
    """
    try:
        network = IdentityNet(**config["arguments"])
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, TypeError) as error:
        raise InputError(f"{path} holds no network of faces-train: {' '.join(str(error).split())}") from None
    return network.eval()
