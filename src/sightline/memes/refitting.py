"""Fit the chosen unknown scorer again when a class was added, from what the model remembers."""

import numpy as np

from sightline.memes.memory import Labels, Memory
from sightline.memes.unknowns import Description, FloatArray, Scorer, fit_scorer


def refit(scorer: Scorer, space: str, memory: Memory) -> Scorer:
    """Fit a scorer of the same kind and settings to the training pictures that ``memory`` holds in ``space``."""
    features, labels = memory.train(space)
    train = Description(features, memory.logits[space][memory.is_train])
    rows = np.arange(len(labels))
    if scorer.name in ("knn", "knn_contrast"):
        rows = np.repeat(rows, _copies(labels, scorer.settings["neighbours"]))
    weight, bias = memory.heads[space]
    # ViM takes its origin from the head; a class that has no row there (it may be no linear one) leaves it unmoved.
    missing = train.logits.shape[1] - len(bias)
    return fit_scorer(
        scorer.name,
        train[rows],
        labels[rows],
        weight=np.pad(weight, ((0, missing), (0, 0))),
        bias=np.pad(bias, (0, missing)),
        outliers=scorer.arrays.get("outliers"),
        **{name: scorer.settings[name] for name in CHOSEN if name in scorer.settings},
    )


def same_share(before: FloatArray, threshold: float, after: FloatArray) -> float:
    """The threshold that keeps as many of N known pictures, scored ``after`` (N,), as ``threshold`` did ``before``.

    It lies halfway to the next larger score, so that rounding in another runtime does not decide.
    """
    kept = int((before <= threshold).sum())
    if kept == 0:
        return threshold
    ordered = np.sort(after)
    return float(ordered[kept - 1 : kept + 1].mean())


def _copies(labels: Labels, neighbours: int) -> Labels:
    """How often each exemplar counts, (N,), so that k neighbours reach as far into a class of few pictures.

    The k-th neighbour among the n pictures of the commonest class is as far as the k m / n-th among m. With five
    pictures of a class and k = 5 every one of its pictures would be judged by the farthest of them.
    """
    counts = np.bincount(labels)
    reach = np.maximum(np.round(neighbours * counts / counts.max()), 1)
    copies: Labels = np.ceil(neighbours / reach).astype(np.int64)
    return copies[labels]


CHOSEN = ("neighbours", "normalise", "shrinkage", "dimensions")
