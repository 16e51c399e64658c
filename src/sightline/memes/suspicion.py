"""Which labels are suspicious: what a linear probe that has not seen a picture thinks of the picture's label."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from sightline.core.errors import InputError
from sightline.memes.probe import fit_probe, softmax

Labels = NDArray[np.integer[Any]]
Floats = NDArray[np.float32]


class Opinion(NamedTuple):
    """What the probe thinks: probabilities (N, K), and the quality of each label, (N,), 0 to 1."""

    probabilities: Floats
    quality: NDArray[np.float64]


def held_out_opinion(
    features: Floats, labels: Labels, groups: NDArray[Any], c: float, folds: int, seed: int
) -> Opinion:
    """Judge each training label by probes that were trained on the other folds; near-duplicates are in one fold.

    The quality is cleanlab's self-confidence, the probability of the label that is given (Northcutt, Jiang & Chuang,
    'Confident Learning: Estimating Uncertainty in Dataset Labels', JAIR 2021).

    Args:
        features: (N, D).
        labels: (N,), 0 to K - 1.
        groups: of near-duplicates, (N,).
        c: the probe's inverse strength.
        folds: how many; fewer where a class has fewer groups.
        seed: of the folds.

    Raises:
        InputError: a class has fewer than two groups.
    """
    folds = min(folds, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    if folds < 2:
        raise InputError("a class has one training picture, not counting copies: nothing can vouch for its label")
    probabilities = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for rest, held in splitter.split(features, labels, groups):
        probabilities[held] = softmax(fit_probe(features[rest], labels[rest], c).logits(features[held]))
    return Opinion(probabilities, label_quality(labels, probabilities))


def label_quality(labels: Labels, probabilities: Floats) -> NDArray[np.float64]:
    """Cleanlab's self-confidence of each label, (N,)."""
    with warnings.catch_warnings():
        # That some class has no picture here, which is so when only a few are judged.
        warnings.simplefilter("ignore")
        scores = get_label_quality_scores(labels, probabilities.astype(np.float64), method="self_confidence")
    return np.asarray(scores, np.float64)


def most_suspicious(labels: Labels, opinion: Opinion, share: float) -> NDArray[np.int64]:
    """Positions of the ``share`` of labels with the lowest quality, worst first; none that the probe agrees with."""
    order = np.argsort(opinion.quality, kind="stable")
    disagreeing = order[opinion.probabilities.argmax(1)[order] != labels[order]]
    return disagreeing[: round(share * len(labels))]
