"""Who a face is, by any of the three methods: what is deployed, opened as one interface; needs no torch.

    method = open_method(Path("models/faces/deployed/identity"))
    names, similarity = method.identify(crops, load_gallery(Path("gallery.safetensors")))

``knn`` and ``embedding`` describe a face by a vector and look for its neighbours in a gallery, so that people come and
go without training. ``cnn`` is a small network of our own that knows the people it was trained on and nobody else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.core.serving import OnnxClassifier
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
        nearest, similarity = self.nearest(crops, gallery)
        pairs = zip(nearest, similarity, strict=True)
        return [name if score >= self.threshold else None for name, score in pairs], similarity

    def nearest(self, crops: Pixels, gallery: Gallery | None = None) -> tuple[list[str | None], NDArray[np.float64]]:
        """The best person for each face, however little alike, None only where nobody is enrolled; else as above."""
        if not len(crops):
            return [], np.empty(0)
        if self.classify is not None:
            probabilities = self.classify(crops).astype(np.float64)
            return [self.people[number] for number in probabilities.argmax(1)], probabilities.max(1)
        if self.describe is None or gallery is None:
            raise ValueError(f"{self.name} needs a gallery")
        if gallery.describer != self.describer:
            raise InputError(f"the gallery was not made by this '{self.name}': enrol its people anew")
        return identify(gallery, self.describe(crops), self.neighbours, threshold=-np.inf)


def open_method(folder: Path, threads: int = 1) -> Method:
    """Open a method that is deployed: ``config.json`` and, but for ``knn``, ``model.onnx``.

    The folders of ``knn`` and ``embedding`` in ``models/faces/identity`` are of this form, too; for that of ``cnn``
    see :func:`sightline.faces.identity_network.open_trained`.

    Raises:
        InputError: the folder holds none.
    """
    try:
        config = read_json(folder / "config.json")
        name, threshold = config["method"], float(config["threshold"]["value"])
        if name == "cnn":
            network = OnnxClassifier(folder / "model.onnx", threads)
            people = tuple(config["classes"])
            return Method(
                name, threshold, classify=lambda crops: network.in_batches(views(crops), BATCH), people=people
            )
        embedder = Embedder.open(folder, threads) if name == "embedding" else describe_pixels
        return Method(name, threshold, str(config["describer"]), int(config["neighbours"]), describe=embedder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"config.json lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(f"{folder} holds no method of faces-train: {reason}") from None


def views(crops: Pixels) -> Pixels:
    """What ``cnn`` sees: the central 128 px of aligned crops at half the size, uint8 (N, 64, 64, 3)."""
    window = centre(crops, WINDOW, WINDOW)
    shrunk = np.empty((len(crops), SIDE, SIDE, 3), np.uint8)
    for row, crop in enumerate(window):
        shrunk[row] = cv2.resize(np.ascontiguousarray(crop), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return shrunk


WINDOW, SIDE = 128, 64
BATCH = 64
