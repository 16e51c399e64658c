"""What a deployed model remembers of its training, so that a class can be added to it without the training pictures.

``memory.safetensors`` holds features and logits of training and validation pictures, no pixels: a few megabytes, from
which class means, a ridge regression, a head or any unknown scorer can be fitted again. A Gram matrix of projected
features, which serves the regression alone, would be larger than the features of the few hundred pictures that such a
model is trained on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sightline.core.errors import InputError
from sightline.core.files import write_arrays

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

MOST = 1500
"""Remembered training pictures, at most: what keeps adding a class a matter of a second."""


@dataclass(frozen=True)
class Memory:
    """Remembered pictures, N of K classes, in one or several spaces ('finetuned', 'frozen').

    Attributes:
        labels: (N,), in [0, K).
        is_train: (N,); the others are of split 'val' and only calibrate.
        features: by space, (N, D).
        logits: by space, (N, K); those of a space without a head are left out.
        heads: by space, weight (K, D) and bias (K,) of the head that gave the logits before any class was added.
    """

    labels: Labels
    is_train: NDArray[np.bool_]
    features: dict[str, Vectors]
    logits: dict[str, Vectors]
    heads: dict[str, tuple[Vectors, Vectors]]

    def train(self, space: str) -> tuple[Vectors, Labels]:
        """Features (n, D) and labels (n,) of the training pictures."""
        return self.features[space][self.is_train], self.labels[self.is_train]

    def save(self, path: Path) -> None:
        """Write ``memory.safetensors``."""
        parts: dict[str, NDArray[np.generic]] = {"labels": self.labels, "is_train": self.is_train.astype(np.uint8)}
        parts |= {f"features_{space}": vectors for space, vectors in self.features.items()}
        parts |= {f"logits_{space}": logits for space, logits in self.logits.items()}
        for space, (weight, bias) in self.heads.items():
            parts |= {f"weight_{space}": weight, f"bias_{space}": bias}
        write_arrays(path, parts)

    @classmethod
    def load(cls, path: Path) -> "Memory":
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the file is missing or no memory.
        """
        try:
            parts = load_file(path)
            features, logits, weights, biases = (
                {name.removeprefix(kind): part for name, part in parts.items() if name.startswith(kind)}
                for kind in ("features_", "logits_", "weight_", "bias_")
            )
            heads = {space: (weight, biases[space]) for space, weight in weights.items()}
            return cls(parts["labels"], parts["is_train"].astype(bool), features, logits, heads)
        except FileNotFoundError:
            raise InputError(f"{path} is missing: this model was deployed without what adding a class needs") from None
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"{path} holds no memory of a model: {error}") from None


def memory_of(
    labels: ArrayLike,
    is_train: ArrayLike,
    features: Mapping[str, ArrayLike],
    logits: Mapping[str, ArrayLike],
    heads: Mapping[str, tuple[ArrayLike, ArrayLike]],
    seed: int = 0,
) -> Memory:
    """Remember pictures of the known classes; what ``memes-infer`` stores beside the model that it deploys.

    Only what the deployed graph gives may be remembered: ``features`` and ``logits`` of a space must be those that the
    graph will give for a new picture (mirror averaging included). Of more than ``MOST`` training pictures each class
    keeps an equal share, drawn at random.

    Args:
        labels: (N,), in [0, K).
        is_train: (N,); False for pictures of split 'val'.
        features: by space, (N, D).
        logits: by space, (N, K).
        heads: by space, weight (K, D) and bias (K,).
        seed: of the draw.

    Raises:
        ValueError: the shapes do not fit.
    """
    memory = Memory(
        np.asarray(labels, np.int64),
        np.asarray(is_train, np.bool_),
        {space: np.asarray(vectors, np.float32) for space, vectors in features.items()},
        {space: np.asarray(rows, np.float32) for space, rows in logits.items()},
        {space: (np.asarray(w, np.float32), np.asarray(b, np.float32)) for space, (w, b) in heads.items()},
    )
    count = len(memory.labels)
    rows = {"is_train": memory.is_train, **memory.features, **memory.logits}
    if any(len(part) != count for part in rows.values()):
        raise ValueError(f"{count} labels, but rows { ({name: len(part) for name, part in rows.items()}) }")
    return _trimmed(memory, seed)


def extended(memory: Memory, features: Mapping[str, Vectors], logits: Mapping[str, Vectors], seed: int = 0) -> Memory:
    """Remember the pictures of a new class as well, as training pictures.

    Args:
        memory: N pictures of K classes.
        features: of the n new pictures, by space, (n, D).
        logits: of old and new pictures under the grown model, by space, (N + n, K + 1).
        seed: of the draw, where there are too many.
    """
    count = len(next(iter(features.values())))
    new = int(memory.labels.max()) + 1
    return memory_of(
        np.concatenate([memory.labels, np.full(count, new)]),
        np.concatenate([memory.is_train, np.ones(count, bool)]),
        {space: np.concatenate([old, features[space]]) for space, old in memory.features.items()},
        logits,
        memory.heads,
        seed,
    )


def _trimmed(memory: Memory, seed: int) -> Memory:
    share = MOST // max(len(np.unique(memory.labels)), 1)
    keep = np.ones(len(memory.labels), bool)
    if memory.is_train.sum() > MOST:
        for label in np.unique(memory.labels):
            rows = np.flatnonzero(memory.is_train & (memory.labels == label))
            keep[np.random.default_rng([seed, int(label)]).permutation(rows)[share:]] = False
    return Memory(
        memory.labels[keep],
        memory.is_train[keep],
        {space: vectors[keep] for space, vectors in memory.features.items()},
        {space: rows[keep] for space, rows in memory.logits.items()},
        memory.heads,
    )
