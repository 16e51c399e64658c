"""Run what is deployed: ONNX Runtime, NumPy and nothing else, so that a service needs no torch."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sightline.core.errors import InputError


class OnnxClassifier:
    """Runs an exported :class:`sightline.core.deploy.Deployable` on the CPU, or on a GPU where ONNX Runtime has one.

    >>> classifier = OnnxClassifier(Path("models/minerals/deployed/model.onnx"))
    >>> classifier(images).shape  # images: uint8 RGB (B, S, S, 3)
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

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return int(self.input.shape[1])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities float32 (B, K) of uint8 RGB images (B, S, S, 3)."""
        return np.asarray(self.session.run(None, {self.input.name: images})[0])

    def in_batches(self, images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
        """The same for many images, ``batch_size`` at a time."""
        starts = range(0, max(len(images), 1), batch_size)
        return np.concatenate([self(np.asarray(images[start : start + batch_size])) for start in starts])
