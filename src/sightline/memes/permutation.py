"""A linear classifier in closed form, quick enough to be trained a thousand times over, and the test that needs it.

Ridge regression on one-hot labels answers to M pictures with a fixed linear function of the N training labels. That
matrix is made once; to train on other labels is then one product.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ShuffleTest:
    """How often labels dealt out at random do as well as the true ones.

    ``right`` (M,) says which test pictures are right after training on the true labels, ``shuffled`` (R,) is the
    accuracy of each shuffle; ``as_good`` counts the shuffles that are no worse.
    """

    right: NDArray[np.bool_]
    shuffled: FloatArray
    as_good: int

    @property
    def accuracy(self) -> float:
        """After training on the true labels."""
        return float(self.right.mean())

    @property
    def p_value(self) -> float:
        """(1 + as good) / (1 + shuffles), never 0: the true labels are one of the orders that chance could give."""
        return (1 + self.as_good) / (1 + len(self.shuffled))


def shuffle_test(
    smoother: FloatArray, labels: IntArray, groups: NDArray[Any], truth: IntArray, shuffles: int, seed: int
) -> ShuffleTest:
    """Train on shuffled labels, over and over, and see how often that answers the test pictures as well.

    Phipson & Smyth, 'Permutation P-values Should Never Be Zero', Stat. Appl. Genet. Mol. Biol. 9 (2010); for
    classifiers Ojala & Garriga, JMLR 11 (2010), test 1. What is dealt out anew are the labels of whole groups:
    near-duplicates have one label between them, and are one piece of evidence. A group whose pictures have several
    labels counts with the commonest of them.

    Args:
        smoother: (M, N), of :func:`ridge_smoother`.
        labels: of the training pictures, (N,), 0 to K - 1.
        groups: of near-duplicates among them, (N,), any sortable type.
        truth: the labels of the test pictures, (M,).
        shuffles: R, how often.
        seed: of the shuffles.
    """
    _, member = np.unique(groups, return_inverse=True)
    classes = int(max(labels.max(), truth.max())) + 1
    votes = np.zeros((member.max() + 1, classes))
    np.add.at(votes, (member, labels), 1)
    of_group = votes.argmax(1)
    rng = np.random.default_rng(seed)
    orders = np.stack([of_group, *(rng.permutation(of_group) for _ in range(shuffles))])
    blocks = [
        ridge_answers(smoother, orders[start : start + BLOCK][:, member], classes) == truth
        for start in range(0, len(orders), BLOCK)
    ]
    counts = np.concatenate([block.sum(1) for block in blocks])
    return ShuffleTest(blocks[0][0], counts[1:] / len(truth), int((counts[1:] >= counts[0]).sum()))


def ridge_smoother(train: NDArray[Any], test: NDArray[Any]) -> FloatArray:
    """The matrix (M, N) that turns centred one-hot labels of ``train`` (N, D) into scores of ``test`` (M, D).

    It is that of ridge regression. Features are standardised by ``train``. The strength of the penalty is the mean
    eigenvalue of their kernel, which no label has a part in: it is the same for true and for shuffled labels.
    """
    mean, scale = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale[scale < 1e-6 * max(scale.max(), 1e-12)] = np.inf  # a dead channel says nothing
    known, asked = (train - mean) / scale, (test - mean) / scale
    kernel = known @ known.T
    kernel[np.diag_indices_from(kernel)] += max(np.trace(kernel) / len(kernel), 1e-12)
    return np.asarray(linalg.solve(kernel, known @ asked.T, assume_a="pos").T)


def ridge_answers(smoother: FloatArray, labels: IntArray, classes: int) -> NDArray[np.int64]:
    """The class of each test picture, (R, M), after training on each row of ``labels`` (R, N)."""
    onehot = (labels[:, :, None] == np.arange(classes)).astype(np.float64)
    prior = onehot.mean(1, keepdims=True)
    return np.asarray((np.matmul(smoother, onehot - prior) + prior).argmax(2))


BLOCK = 64
"""Shuffles that are trained on at once: so few that their scores fit into a processor's cache."""
