"""How well known people are named and strangers refused: rank-1, DIR at a false alarm rate, AUROC, FAR and FRR.

Terms are those of Phillips, Grother and Micheals, "Evaluation Methods in Face Recognition" (Handbook of Face
Recognition, 2nd ed. 2011, ch. 21): a probe is of somebody enrolled ('known') or not, and its answer is a name with a
similarity.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sightline.core.intervals import FloatArray, Statistics
from sightline.core.ranking import Ranking

FALSE_ALARMS = (0.01, 0.1)


def open_set_statistics(truth: ArrayLike, names: ArrayLike, similarity: ArrayLike, threshold: float) -> Statistics:
    """Make the ``statistics`` of identification for :func:`sightline.core.intervals.bootstrap`.

    With known probes: ``rank1``, the share of them whose best person is right, at any similarity; ``frr``, the share
    below the threshold; ``known_right``, the share that is accepted and named right; ``misidentified``, the share
    that is accepted under another's name. With unknown probes: ``far``, the share at or above the threshold;
    ``unknown_rejected``, the others. With both: ``dir_at_1_far`` and ``dir_at_10_far``, see :func:`dir_at_far`;
    ``open_set_auroc``, how well similarity tells known from unknown. Figures that lack their probes are left out.

    Args:
        truth: who each probe is, (N,) of str, empty for nobody enrolled.
        names: the best person, (N,) of str.
        similarity: (N,), larger for surer.
        threshold: from which similarity on a probe is accepted.

    Raises:
        ValueError: the shapes differ, or a similarity is not a number.
    """
    true, found, scores = _checked(truth, names, similarity)
    is_known, is_right, passes = true != "", true == found, scores >= threshold
    ranking = Ranking(scores, is_known)
    alarms = _Alarms(scores, is_known)

    def statistics(weights: FloatArray) -> dict[str, float]:
        known, unknown = weights * is_known, weights * ~is_known
        figures: dict[str, float] = {}
        if is_known.any():
            figures["rank1"] = _share(known, is_right)
            figures["frr"] = _share(known, ~passes)
            figures["known_right"] = _share(known, passes & is_right)
            figures["misidentified"] = _share(known, passes & ~is_right)
        if not is_known.all():
            figures["far"] = _share(unknown, passes)
            figures["unknown_rejected"] = _share(unknown, ~passes)
        if is_known.any() and not is_known.all():
            rates = alarms.at(weights)
            for far in FALSE_ALARMS:
                rate = _share(known, is_right & (rates <= far + ROUNDING))
                figures[f"dir_at_{round(100 * far)}_far"] = rate if unknown.any() else float("nan")
            figures["open_set_auroc"] = ranking.auroc(weights)
        return figures

    return statistics


def dir_at_far(truth: ArrayLike, names: ArrayLike, similarity: ArrayLike, far: float) -> float:
    """Detection-and-identification rate: the share of known probes that are accepted and named right.

    The threshold is the lowest at which at most ``far`` of the unknown probes are accepted; there need not be one at
    which it is ``far`` exactly, and nothing is interpolated. A known probe that ties with an unknown one is accepted
    only where that one may be.

    Returns:
        The rate; NaN where there are no known or no unknown probes.

    Raises:
        ValueError: as :func:`open_set_statistics`.
    """
    true, found, scores = _checked(truth, names, similarity)
    is_known = true != ""
    if not is_known.any() or is_known.all():
        return float("nan")
    rates = _Alarms(scores, is_known).at(np.ones(len(scores)))
    return _share(is_known.astype(np.float64), (true == found) & (rates <= far + ROUNDING))


class _Alarms:
    """The false alarm rate at each probe's own similarity as the threshold, under any weights."""

    def __init__(self, scores: FloatArray, is_known: NDArray[np.bool_]) -> None:
        unknown = np.flatnonzero(~is_known)
        self.order = unknown[np.argsort(-scores[unknown], kind="stable")]
        self.above = np.searchsorted(-scores[self.order], -scores, side="right")

    def at(self, weights: FloatArray) -> FloatArray:
        """Rates (N,); NaN where no unknown probe has weight."""
        passed = np.append(0.0, weights[self.order].cumsum())
        with np.errstate(invalid="ignore"):
            return np.asarray(passed[self.above] / passed[-1])


def _share(weights: FloatArray, chosen: NDArray[np.bool_]) -> float:
    total = weights.sum()
    return float(weights[chosen].sum() / total) if total > 0 else float("nan")


def _checked(
    truth: ArrayLike, names: ArrayLike, similarity: ArrayLike
) -> tuple[NDArray[np.str_], NDArray[np.str_], FloatArray]:
    true, found = np.asarray(truth, np.str_), np.asarray(names, np.str_)
    scores = np.asarray(similarity, np.float64)
    if scores.ndim != 1 or not true.shape == found.shape == scores.shape:
        raise ValueError(f"truth {true.shape}, names {found.shape} and similarity {scores.shape} must be (N,) all")
    if np.isnan(scores).any():
        raise ValueError("similarities must be numbers")
    return true, found, scores


def choose_threshold(impostors: ArrayLike, genuine: ArrayLike, false_accepts: float) -> float:
    """The similarity from which on a face is accepted, from faces that no test looks at.

    Strangers set the least: the similarity that the best of P people reaches for only ``false_accepts`` of them.

    - From cosines to every person: the quantile of a hundred best similarities would rest on the last one or two, but
      every stranger is compared with every person; these similarities are taken for normal on the scale of Fisher's z
      (the inverse hyperbolic tangent, Fisher 1921) and the P of one face for independent. From there the threshold goes
      a tenth of the way to the median of the enrolled people's own photos, where that is higher, as room for strangers
      who are harder than that model. Of several rules this was among the best where one half of the validation
      people chose a threshold and the other half was judged.
    - From the best alone, as with probabilities, which pile up below 1 as nothing normal does: their quantile at rank
      (V + 1) (1 - ``false_accepts``), interpolated. A new stranger passes the j-th largest of V with a chance of
      j / (V + 1), whatever the distribution. Less than 1 / (V + 1) they cannot tell: the largest then stands.

    Either is an estimate: a few more or less of these very strangers may pass.

    Args:
        impostors: similarities of V strangers to P people, (V, P), cosines in [-1, 1]; or to the best of them, (V,).
        genuine: cosines of enrolled photos to their own people, the photo itself left out, (G,); none will do.
        false_accepts: in (0, 1).

    Returns:
        The threshold, at most 1.

    Raises:
        ValueError: there are fewer than two strangers.
    """
    scores = np.asarray(impostors, np.float64)
    if scores.ndim not in (1, 2) or len(scores) < 2 or not scores.size:
        raise ValueError(f"a threshold needs similarities of two strangers at least, not {scores.shape}")
    if scores.ndim == 1:
        return min(float(np.quantile(scores, 1 - false_accepts, method="weibull")), 1.0)
    z = np.arctanh(np.clip(scores, -CERTAIN, CERTAIN))
    share = (1 - false_accepts) ** (1 / scores.shape[1])
    least = float(np.tanh(z.mean() + special.ndtri(share) * z.std(ddof=1)))
    own = np.asarray(genuine, np.float64)
    room = max(float(np.median(own)) - least, 0.0) if len(own) else 0.0
    return min(least + ROOM * room, 1.0)


ROUNDING = 1e-12
CERTAIN = 1 - 1e-7
ROOM = 0.1
