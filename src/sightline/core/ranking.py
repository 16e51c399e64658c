"""How well a score ranks positives above negatives: AUROC, AUPR, FPR at a TPR; fast enough to bootstrap."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.core.intervals import FloatArray


class Ranking:
    """The order of N samples by a score, from which figures under any sample weights follow without sorting again.

    They equal scikit-learn's ``roc_auc_score`` and ``average_precision_score``, and the first point of its
    ``roc_curve(drop_intermediate=False)`` whose TPR is high enough; samples of equal score are taken together.

    >>> Ranking(scores, is_unknown).auroc(weights)
    0.951

    Args:
        scores: (N,), larger for what is more likely positive; raw, of any range.
        is_positive: (N,), bool.

    Raises:
        ValueError: the shapes differ, or a score is not a number.
    """

    def __init__(self, scores: ArrayLike, is_positive: ArrayLike) -> None:
        values, positive = np.asarray(scores, np.float64), np.asarray(is_positive, np.bool_)
        if values.ndim != 1 or values.shape != positive.shape:
            raise ValueError(f"scores {values.shape} and is_positive {positive.shape} must be (N,) both")
        if np.isnan(values).any():
            raise ValueError("scores must be numbers")
        self.order = np.argsort(-values, kind="stable")
        self.positive = positive[self.order]
        ordered = values[self.order]
        # Where the next score is another one: a threshold can lie only there.
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(values) else np.empty(0, int)

    def auroc(self, weights: FloatArray) -> float:
        """Area under the ROC curve; NaN where positives or negatives have no weight."""
        found, false = self._counts(weights)
        if not (len(found) and found[-1] > 0 and false[-1] > 0):
            return float("nan")
        return float(np.trapezoid(np.append(0, found), np.append(0, false)) / (found[-1] * false[-1]))

    def average_precision(self, weights: FloatArray) -> float:
        """Precision, averaged over recall (AUPR without interpolation); NaN likewise."""
        found, false = self._counts(weights)
        if not (len(found) and found[-1] > 0 and false[-1] > 0):
            return float("nan")
        answered = found + false
        precision = np.divide(found, answered, out=np.zeros(len(found)), where=answered > 0)
        return float((np.diff(found, prepend=0) * precision).sum() / found[-1])

    def fpr_at_tpr(self, weights: FloatArray, tpr: float = 0.95) -> float:
        """Share of negatives at or above the highest threshold that finds ``tpr`` of the positives; NaN likewise."""
        found, false = self._counts(weights)
        if not (len(found) and found[-1] > 0 and false[-1] > 0):
            return float("nan")
        return float(false[np.argmax(found / found[-1] >= tpr - ROUNDING)] / false[-1])

    def _counts(self, weights: FloatArray) -> tuple[FloatArray, NDArray[np.float64]]:
        """The weight of positives and of negatives at or above each threshold, strictest first."""
        ordered = weights[self.order]
        return (ordered * self.positive).cumsum()[self.ends], (ordered * ~self.positive).cumsum()[self.ends]


ROUNDING = 1e-12
