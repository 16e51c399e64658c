"""Which labels are suspicious.

Two witnesses: a linear probe that has not seen the picture, and the network that was made to believe the label. A wrong
label is learned late or never, however large the network (Arpit et al., 'A Closer Look at Memorization in Deep
Networks', ICML 2017).
"""

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


def most_suspicious(
    labels: Labels, opinion: Opinion, losses: NDArray[np.floating[Any]], share: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the ``share`` of labels that are trusted least, of those that the probe disagrees with.

    Args:
        labels: (N,), 0 to K - 1.
        opinion: of :func:`held_out_opinion`.
        losses: the fine-tuned network's cross-entropy (N, E) after each epoch of training on these labels.
        share: of N.

    Returns:
        Their positions, the worst first, and the trust in every label, (N,), 0 to 1: its quality times the geometric
        mean over the epochs of the probability that the network gave it.
    """
    trust = np.asarray(opinion.quality * np.exp(-losses.mean(1, dtype=np.float64)), np.float64)
    order = np.argsort(trust, kind="stable")
    disagreeing = order[opinion.probabilities.argmax(1)[order] != labels[order]]
    return disagreeing[: round(share * len(labels))], trust
