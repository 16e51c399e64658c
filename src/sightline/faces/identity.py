"""Who a face is, by any of the three methods: what ``faces-train`` leaves, opened as one interface.

    method = open_method(Path("models/faces/identity/embedding"))
    names, similarity = method.identify(crops, load_gallery(Path("gallery.safetensors")))

``knn`` and ``embedding`` describe a face by a vector and look for its neighbours in a gallery, so that people come and
go without training. ``cnn`` is a small network of our own that knows the people it was trained on and nobody else.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sightline.core.augment import whole
from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.faces.embedding import Embedder
from sightline.faces.gallery import Gallery, identify
from sightline.faces.neighbours import Vectors, centre, describe_pixels

METHODS = ("knn", "cnn", "embedding")
BY_GALLERY = ("knn", "embedding")


@dataclass(frozen=True)
class Method:
    """One way to say who a face is.

    Attributes:
        name: one of :data:`METHODS`.
        threshold: the similarity from which on a face is given a name.
        describer: what describes faces, as :class:`~sightline.faces.gallery.Gallery` notes it; '' for ``cnn``.
        neighbours: photos of a person that count, at most.
        describe: aligned crops, uint8 RGB (N, 144, 144, 3), to unit vectors, float32 (N, D); None for ``cnn``.
        classify: the same crops to probabilities of ``people``, float32 (N, P); for ``cnn`` alone.
        people: whom ``cnn`` knows, sorted.
    """

    name: str
    threshold: float
    describer: str = ""
    neighbours: int = 5
    describe: Callable[[Pixels], Vectors] | None = None
    classify: Callable[[Pixels], NDArray[np.float32]] | None = None
    people: tuple[str, ...] = ()

    def identify(self, crops: Pixels, gallery: Gallery | None = None) -> tuple[list[str | None], NDArray[np.float64]]:
        """Name faces.

        Args:
            crops: aligned faces, uint8 RGB (N, 144, 144, 3).
            gallery: who is enrolled; ``cnn`` needs none.

        Returns:
            N names, None for nobody known, and the similarity to the best person, float64 (N,), named or not: a
            cosine, or the probability that ``cnn`` gives. The distance is 1 less the similarity.

        Raises:
            InputError: the gallery's vectors were made by something else.
        """
        if not len(crops):
            return [], np.empty(0)
        if self.classify is not None:
            probabilities = self.classify(crops).astype(np.float64)
            similarity = probabilities.max(1)
            best = probabilities.argmax(1)
            pairs = zip(best, similarity, strict=True)
            return [self.people[number] if score >= self.threshold else None for number, score in pairs], similarity
        if self.describe is None or gallery is None:
            raise ValueError(f"{self.name} needs a gallery")
        if gallery.describer != self.describer:
            raise InputError(f"the gallery was not made by this '{self.name}': enrol its people anew")
        return identify(gallery, self.describe(crops), self.neighbours, self.threshold)


def open_method(folder: Path, threads: int = 1) -> Method:
    """Open one of the folders that ``faces-train`` leaves in ``models/faces/identity``.

    Raises:
        InputError: the folder holds none.
    """
    try:
        config = read_json(folder / "config.json")
        name, threshold = config["method"], float(config["threshold"]["value"])
        if name == "cnn":
            network = load_network(folder / "model.safetensors", config)
            people = tuple(config["classes"])
            return Method(name, threshold, classify=lambda crops: classify(network, crops), people=people)
        embedder = Embedder.open(folder, threads) if name == "embedding" else describe_pixels
        return Method(name, threshold, str(config["describer"]), int(config["neighbours"]), describe=embedder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"config.json lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{folder} holds no method of faces-train: {reason}") from None


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
        blocks = [_Block(*pair) for pair in pairwise(channels)]
        parts: dict[str, nn.Module] = {
            "stem": _conv(3, width, stride=2),
            "blocks": nn.Sequential(*blocks),
            "pooling": nn.AdaptiveAvgPool2d(2),
            "features": nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            "classifier": nn.Linear(4 * channels[-1], num_classes),
        }
        super().__init__(OrderedDict(parts))


def views(crops: Pixels) -> Pixels:
    """What :class:`IdentityNet` sees: the central 128 px of aligned crops at half the size, uint8 (N, 64, 64, 3)."""
    window = centre(crops, WINDOW, WINDOW)
    shrunk = np.empty((len(crops), SIDE, SIDE, 3), np.uint8)
    for row, crop in enumerate(window):
        shrunk[row] = cv2.resize(np.ascontiguousarray(crop), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return shrunk


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


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _conv(channels_in, channels, stride=2),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.shortcut(features) + self.branch(features))


def _conv(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


WINDOW, SIDE = 128, 64
BATCH = 64
