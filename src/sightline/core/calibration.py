"""Confidences that can be trusted: temperature, calibration error, and a threshold that keeps an error promise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special, stats

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Evenly spaced in log odds, so that a network whose confidences crowd near 1 still has thresholds to choose from.
THRESHOLDS: FloatArray = np.append(special.expit(np.linspace(14, -4, 181)).round(9), 0.0)

# A model with a fifth of the allowed error then passes the first test nine times in ten.
START_ERRORS = 3


def fit_temperature(logits: FloatArray, labels: NDArray[np.integer[Any]]) -> float:
    """Fit the temperature T at which ``softmax(logits / T)`` makes the labels most likely.

    From Guo et al. 2017, On calibration of modern neural networks; to be fitted on validation samples. T is searched in
    [0.01, 100]; where every sample is classified right, the likelihood grows all the way to the lower bound, and where
    the logits say nothing, to the upper.

    Args:
        logits: (N, C), float.
        labels: true classes, (N,), integers in [0, C).

    Raises:
        ValueError: there is no sample, the shapes do not fit, or a logit is not finite.
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or len(logits) == 0 or np.shape(labels) != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} and labels {np.shape(labels)} must be (N, C) and (N,), N > 0")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite")

    # Only differences to the true class matter; they keep the sums exact at any temperature.
    margins = logits - np.take_along_axis(logits, np.asarray(labels)[:, None], axis=1)

    def negative_log_likelihood(log_temperature: float) -> float:
        return float(special.logsumexp(margins / np.exp(log_temperature), axis=1).mean())

    found = optimize.minimize_scalar(
        negative_log_likelihood, bounds=np.log([0.01, 100]), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def fit_balance(voters: FloatArray, labels: NDArray[np.integer[Any]]) -> FloatArray:
    """Fit how much each of several voters counts: the weights w >= 0 at which ``softmax(sum_s w_s logits_s)`` makes the
    labels most likely. Temperature scaling for a panel ('stacking', Wolpert 1992); to be fitted on validation samples.

    Args:
        voters: logits of S voters, (S, N, C), float.
        labels: true classes, (N,), integers in [0, C).

    Returns:
        Weights (S,), each in [0, 100].

    Raises:
        ValueError: there is no sample, or the shapes do not fit.
    """
    voters = np.asarray(voters, np.float64)
    if voters.ndim != 3 or voters.shape[1] == 0 or np.shape(labels) != voters.shape[1:2]:
        raise ValueError(f"votes {voters.shape} and labels {np.shape(labels)} must be (S, N, C) and (N,), N > 0")
    margins = voters - np.take_along_axis(voters, np.asarray(labels)[None, :, None], axis=2)

    def negative_log_likelihood(weights: FloatArray) -> tuple[float, FloatArray]:
        total = np.einsum("s,snc->nc", weights, margins)
        slopes = np.einsum("nc,snc->s", special.softmax(total, axis=1), margins) / total.shape[0]
        return float(special.logsumexp(total, axis=1).mean()), slopes

    start = np.full(len(voters), 1 / len(voters))
    found = optimize.minimize(
        negative_log_likelihood, start, jac=True, method="L-BFGS-B", bounds=[(0, 100)] * len(voters)
    )
    return np.asarray(found.x, np.float64)


def expected_calibration_error(
    confidences: FloatArray, correct: BoolArray, bins: int = 15, weights: FloatArray | None = None
) -> float:
    """Average the gap between confidence and accuracy over equal-width bins (Naeini et al. 2015; Guo et al. 2017).

    Noise in a bin only ever widens its gap, so on few samples the figure lies above the true one, and resamples, which
    add noise of their own, lie higher still: its bootstrap interval is to be read as an upper estimate.

    Args:
        confidences: (N,), in [0, 1]. Bins are closed on the right, (0.2, 0.4]; 0.0 belongs to the first.
        correct: whether the prediction was right, (N,).
        bins: their number.
        weights: of the samples, (N,), as :func:`sightline.core.intervals.bootstrap` gives them; None means 1 each.

    Returns:
        The error in [0, 1]; NaN where no sample has weight.

    Raises:
        ValueError: a confidence lies outside [0, 1], or the shapes differ.
    """
    confidences, correct = _checked(confidences, correct)
    weights = np.ones(len(confidences)) if weights is None else weights
    if weights.sum() == 0:
        return float("nan")
    gaps = np.bincount(_bin_of(confidences, bins), weights * (confidences - correct), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


def reliability(confidences: FloatArray, correct: BoolArray, bins: int = 15) -> pd.DataFrame:
    """Tabulate confidence against accuracy in the bins of :func:`expected_calibration_error`.

    Returns:
        One row a bin with ``low`` and ``high`` (its edges), ``count``, ``confidence`` (the mean) and ``accuracy``;
        the last two are NaN in an empty bin.

    Raises:
        ValueError: a confidence lies outside [0, 1], or the shapes differ.
    """
    confidences, correct = _checked(confidences, correct)
    samples = pd.DataFrame({"confidence": confidences, "accuracy": correct.astype(np.float64)})
    by_bin = samples.groupby(_bin_of(confidences, bins))
    edges = np.linspace(0, 1, bins + 1)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:]})
    table["count"] = by_bin.size().reindex(table.index, fill_value=0)
    return table.join(by_bin.mean())


def coverage_curve(confidences: FloatArray, correct: BoolArray) -> pd.DataFrame:
    """Tabulate what is accepted, and how much of it is wrong, at every threshold (El-Yaniv & Wiener 2010).

    Returns:
        One row for each distinct confidence, highest first: ``threshold`` (a sample is accepted where its confidence is
        not below it), ``coverage`` (the share accepted) and ``selective_error`` (the share of the accepted that is
        wrong).

    Raises:
        ValueError: a confidence lies outside [0, 1], or the shapes differ.
    """
    confidences, correct = _checked(confidences, correct)
    thresholds, inverse, counts = np.unique(-confidences, return_inverse=True, return_counts=True)
    accepted = counts.cumsum()
    errors = np.bincount(inverse, ~correct, minlength=len(thresholds)).cumsum()
    # Subtracting from zero gives a confidence of 0 back as 0.0, where negation would give -0.0.
    return pd.DataFrame(
        {"threshold": 0 - thresholds, "coverage": accepted / len(correct), "selective_error": errors / accepted}
    )


def area_under_risk_coverage(curve: pd.DataFrame) -> float:
    """Average the selective error over all coverages (AURC, Geifman et al. 2019); lower is better, 0 is the best.

    Args:
        curve: as :func:`coverage_curve` gives it. Samples of equal confidence are accepted together.
    """
    gained = np.diff(curve["coverage"].to_numpy(), prepend=0)
    return float((curve["selective_error"].to_numpy() * gained).sum())


@dataclass(frozen=True)
class Threshold:
    """A confidence threshold and what it gave on the samples that it was chosen on.

    Attributes:
        value: a sample is accepted where its confidence is at least this; None where no threshold keeps the promise,
            and then nothing is accepted, ``error`` is 0 and ``bound`` 1.
        accepted: the number of samples accepted.
        errors: how many of these are wrong.
        coverage: accepted / all samples.
        error: errors / accepted.
        bound: the upper confidence bound of the error.
    """

    value: float | None
    accepted: int
    errors: int
    coverage: float
    error: float
    bound: float


def choose_threshold(
    confidences: FloatArray,
    correct: BoolArray,
    max_error: float,
    confidence: float = 0.95,
    groups: NDArray[Any] | None = None,
) -> Threshold:
    """Choose the lowest threshold at which the error among accepted samples stays under ``max_error``, with a promise.

    Taking the best of many thresholds after looking at all of them breaks the bound of each. Here they are tested one
    after another, from strict to lax along the fixed grid ``THRESHOLDS``, and the walk ends at the first whose
    Clopper-Pearson bound exceeds ``max_error``: fixed-sequence testing, which keeps the full confidence for the
    threshold that it ends on (Angelopoulos et al. 2021, Learn then test). So that a single unlucky error cannot end
    the walk at once, it starts where enough samples are accepted that three errors would pass, or fewer (down to none)
    if that takes more than half of all samples. Which threshold that is depends on the confidences alone, never on
    what was right.

    The promise: in at most ``1 - confidence`` of the repetitions of this choice, on new samples each time, has the
    threshold a true error above ``max_error``. It assumes independent samples. Samples cut from one photo are not: they
    are right or wrong together, so a hundred patches of ten photos can say little more than ten patches do, and without
    ``groups`` the promise is broken far more often than stated. With ``groups``, each bound is that of Korn & Graubard
    (1998): the number of samples is divided by the design effect, estimated from how the errors cluster in photos.
    Where the accepted samples hold no error the design effect cannot be estimated, and the number of photos takes the
    place of the number of samples, the cautious extreme. The grouped bound is the practice of survey statistics, not an
    exact one.

    Args:
        confidences: (N,), in [0, 1]. Samples that are refused on other grounds do not belong here.
        correct: whether the prediction was right, (N,).
        max_error: the error among accepted samples to stay under, in (0, 1).
        confidence: of the promise, in (0.5, 1).
        groups: the photo (clip, person) of every sample, (N,), of any sortable type; None means independent samples.

    Raises:
        ValueError: an argument lies outside its range, or the shapes differ.
    """
    confidences, correct = _checked(confidences, correct)
    if not (0 < max_error < 1 and 0.5 < confidence < 1):
        raise ValueError(f"max_error {max_error} must lie in (0, 1), confidence {confidence} in (0.5, 1)")
    units = np.arange(len(correct)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if units.shape != correct.shape:
        raise ValueError(f"groups {units.shape} must have the shape of confidences {correct.shape}")

    enough = _units_to_start(len(np.unique(units)), max_error, confidence)
    chosen = Threshold(value=None, accepted=0, errors=0, coverage=0.0, error=0.0, bound=1.0)
    for value in THRESHOLDS:
        is_accepted = confidences >= value
        accepted, errors = int(is_accepted.sum()), int((is_accepted & ~correct).sum())
        # Of thresholds that accept the same samples the strictest is kept: nothing speaks for going lower.
        if accepted == chosen.accepted or len(np.unique(units[is_accepted])) < enough:
            continue
        size = float(accepted)
        if groups is not None:
            size = effective_sample_size(correct[is_accepted], units[is_accepted], confidence)
        error = errors / accepted
        bound = clopper_pearson_upper(error * size, size, confidence)
        if bound > max_error:
            break
        chosen = Threshold(float(value), accepted, errors, accepted / len(correct), error, bound)
    return chosen


def clopper_pearson_upper(errors: float, n: float, confidence: float = 0.95) -> float:
    """Bound an error rate from above, one-sided and exact (Clopper & Pearson 1934); 1.0 where all samples are errors.

    Args:
        errors: the number of errors, in [0, n]; with an effective sample size it need not be whole.
        n: the number of samples.
        confidence: the probability, at least, that the bound is not below the true rate.

    Raises:
        ValueError: errors is not in [0, n].
    """
    if not 0 <= errors <= n:
        raise ValueError(f"errors {errors} must lie in [0, {n}]")
    return 1.0 if errors == n else float(stats.beta.ppf(confidence, errors + 1, n - errors))


def effective_sample_size(correct: BoolArray, groups: NDArray[Any], confidence: float = 0.95) -> float:
    """Give the number of independent samples that clustered ones are worth (Korn & Graubard 1998).

    It is n divided by the design effect, the variance of the error over clusters relative to that of independent
    samples, and corrected by quantiles of t for the few clusters that the variance was estimated from. It never exceeds
    n. Where all samples are right, or all are wrong, there is no variance to estimate from: it is then the number of
    groups.

    Args:
        correct: whether the prediction was right, (N,), N > 0.
        groups: the cluster of every sample, (N,), of any sortable type.
        confidence: of the one-sided bound that it will serve, in (0.5, 1).
    """
    _, group_of_sample, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n, clusters = len(correct), len(sizes)
    error = 1 - correct.mean()
    if clusters == 1 or error in (0, 1):
        return float(clusters)
    residuals = np.bincount(group_of_sample, ~correct) - error * sizes
    variance = clusters / (clusters - 1) * (residuals**2).sum() / n**2
    if variance == 0:
        return float(n)
    few_clusters = (stats.t.ppf(confidence, n - 1) / stats.t.ppf(confidence, clusters - 1)) ** 2
    return float(min(n, error * (1 - error) / variance * few_clusters))


def _units_to_start(units: int, max_error: float, confidence: float) -> int:
    counts = np.arange(1, units + 1)
    for errors in range(START_ERRORS, -1, -1):
        # The same test as clopper_pearson_upper(errors, counts) <= max_error, for all counts at once.
        passing = counts[stats.binom.cdf(errors, counts, max_error) <= 1 - confidence]
        if len(passing) and (errors == 0 or passing[0] <= units / 2):
            return int(passing[0])
    return units + 1


def _bin_of(confidences: FloatArray, bins: int) -> NDArray[np.intp]:
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidences)


def _checked(confidences: FloatArray, correct: BoolArray) -> tuple[FloatArray, BoolArray]:
    confidences, correct = np.asarray(confidences, np.float64), np.asarray(correct, np.bool_)
    if confidences.ndim != 1 or confidences.shape != correct.shape:
        raise ValueError(f"confidences {confidences.shape} and correct {correct.shape} must be (N,) both")
    # Written so that NaN fails as well.
    if not np.all((confidences >= 0) & (confidences <= 1)):
        raise ValueError("confidences must lie in [0, 1]")
    return confidences, correct
