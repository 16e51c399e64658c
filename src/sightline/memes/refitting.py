"""Fit the chosen unknown scorer again when a class was added, from what the model remembers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.memes.memory import Labels, Memory
from sightline.memes.unknowns import Description, FloatArray, Scorer, fit_scorer


def refit(chosen: Mapping[str, Any], memory: Memory) -> Scorer:
    """Fit the scorer that a deployed model's config calls ``chosen`` to the remembered training pictures.

    Args:
        chosen: with the keys ``space``, ``name`` and ``settings``, the last as a fitted scorer bears them.
        memory: must hold that space.
    """
    name, space, settings = chosen["name"], chosen["space"], dict(chosen["settings"])
    # ViM's scale comes out of the fit.
    settings.pop("scale", None)
    features, labels = memory.train(space)
    train = Description(features, memory.logits[space][memory.is_train])
    rows = np.arange(len(labels))
    if name == "knn":
        rows = np.repeat(rows, _copies(labels, settings["neighbours"]))
    weight, bias = memory.heads[space]
    # ViM takes its origin from the head; a class that has no row there (it may be no linear one) leaves it unmoved.
    missing = train.logits.shape[1] - len(bias)
    weight, bias = np.pad(weight, ((0, missing), (0, 0))), np.pad(bias, (0, missing))
    return fit_scorer(name, train[rows], labels[rows], weight=weight, bias=bias, **settings)


def same_share(before: FloatArray, threshold: float, after: FloatArray) -> float:
    """The threshold that keeps as many of N known pictures, scored ``after`` (N,), as ``threshold`` did ``before``."""
    kept = int((before <= threshold).sum())
    return float(np.sort(after)[kept - 1]) if kept else threshold


def _copies(labels: Labels, neighbours: int) -> Labels:
    """How often each exemplar counts, (N,), so that k neighbours reach as far into a class of few pictures.

    The k-th neighbour among the n pictures of the commonest class is as far as the k m / n-th among m. With five
    pictures of a class and k = 5 every one of its pictures would be judged by the farthest of them.
    """
    counts = np.bincount(labels)
    reach = np.maximum(np.round(neighbours * counts / counts.max()), 1)
    copies: Labels = np.ceil(neighbours / reach).astype(np.int64)
    return copies[labels]
