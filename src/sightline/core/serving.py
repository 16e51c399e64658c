"""Run what is deployed: ONNX Runtime, NumPy and what decodes pictures, so that a service needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.images import Pixels, UnreadableImageError, fit_to_square, list_files, read_image
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say

Outputs = dict[str, NDArray[np.float32]]


class OnnxNetwork:
    """Runs what :func:`sightline.core.deploy.export_onnx` wrote on the CPU, or on a GPU where ONNX Runtime has one.

    >>> network = OnnxNetwork(Path("models/memes/deployed/model.onnx"))
    >>> network(images)["probabilities"].shape  # images: uint8 RGB (B, S, S, 3)
    (B, K)
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            providers = onnxruntime.get_available_providers()
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # noqa: BLE001 - the runtime's own exceptions have no common class
            raise InputError(f"{path} is no model that ONNX Runtime can load: {error}") from None
        self.input = self.session.get_inputs()[0]
        self.outputs = [output.name for output in self.session.get_outputs()]

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return int(self.input.shape[1])

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """All outputs by name, float32 (B, …) each, of uint8 RGB images (B, S, S, 3)."""
        return dict(zip(self.outputs, self.session.run(None, {self.input.name: images}), strict=True))

    def in_batches(self, images: NDArray[np.uint8], batch_size: int) -> Outputs:
        """The same for many images, ``batch_size`` at a time."""
        starts = range(0, max(len(images), 1), batch_size)
        return _joined([self(np.asarray(images[start : start + batch_size])) for start in starts])


class OnnxClassifier:
    """Runs an exported :class:`sightline.core.deploy.Deployable`, whose one output is probabilities.

    >>> classifier = OnnxClassifier(Path("models/minerals/deployed/model.onnx"))
    >>> classifier(images).shape  # images: uint8 RGB (B, S, S, 3)
    (B, K)
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.network = OnnxNetwork(path, threads)

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return self.network.size

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities float32 (B, K) of uint8 RGB images (B, S, S, 3)."""
        return self.network(images)["probabilities"]

    def in_batches(self, images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
        """The same for many images, ``batch_size`` at a time."""
        return self.network.in_batches(images, batch_size)["probabilities"]


@dataclass(frozen=True)
class FolderOutputs:
    """What a network says of a folder of pictures.

    Attributes:
        names: the pictures' paths relative to the folder, sorted.
        outputs: the network's outputs, a row a name; empty where there is no picture.
        unreadable: files that are no whole pictures, with the reason.
    """

    names: list[str]
    outputs: Outputs
    unreadable: dict[str, str]


def run_on_folder(network: OnnxNetwork, folder: Path, workers: int, batch_size: int) -> FolderOutputs:
    """Run a network on every picture below ``folder``; hidden files are left out.

    Pictures are squashed to the network's square. They are decoded by ``workers`` threads while the network works on
    those before them.

    Raises:
        InputError: ``folder`` is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    paths = list_files(folder)
    if not paths:
        say(f"{folder} holds no files")
    found = FolderOutputs([], {}, {})
    batches = [network(batch) for batch in _batches(folder, paths, network.size, workers, batch_size, found)]
    for name, reason in found.unreadable.items():
        say(f"{name}: {reason}: left out")
    return FolderOutputs(found.names, _joined(batches), found.unreadable)


def _batches(
    folder: Path, paths: list[Path], size: int, workers: int, batch_size: int, found: FolderOutputs
) -> Iterator[NDArray[np.uint8]]:
    def read(path: Path) -> Pixels | str:
        try:
            return fit_to_square(read_image(path), size)
        except UnreadableImageError as error:
            return error.reason

    batch: list[Pixels] = []
    with progress(map_ordered(read, paths, workers), "classifying", len(paths), "picture") as looks:
        for path, look in zip(paths, looks, strict=True):
            name = path.relative_to(folder).as_posix()
            if isinstance(look, str):
                found.unreadable[name] = look
                continue
            found.names.append(name)
            batch.append(look)
            if len(batch) == batch_size:
                yield np.stack(batch)
                batch.clear()
    if batch:
        yield np.stack(batch)


def _joined(batches: list[Outputs]) -> Outputs:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in (batches[0] if batches else ())}
