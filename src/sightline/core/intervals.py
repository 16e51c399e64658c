"""Bootstrap confidence intervals over independent units: photos, clips, people, queries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.core.errors import InputError
from sightline.core.progress import progress

FloatArray = NDArray[np.float64]
Statistics = Callable[[FloatArray], Mapping[str, float]]


@dataclass(frozen=True)
class Figure:
    """One reported number with its confidence interval.

    ``value`` is the statistic on all samples, ``low`` and ``high`` bound its interval, and ``n`` counts the
    independent units (not the samples) that the interval was drawn over.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        """Give the form that metrics.json holds, rounded to six decimals."""
        # Adding zero turns a rounded -0.0 into 0.0.
        rounded = {key: round(getattr(self, key), 6) + 0.0 for key in ("value", "low", "high")}
        return {**rounded, "n": self.n}


def bootstrap(
    statistics: Statistics,
    groups: NDArray[Any],
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
    centred: bool = False,
    crossed: NDArray[Any] | None = None,
) -> dict[str, Figure]:
    """Compute figures with percentile intervals from a cluster bootstrap (Davison & Hinkley 1997, section 3.8).

    Samples of one unit (patches of a photo, frames of a clip) are not independent, so each resample draws whole units
    with replacement. ``statistics`` sees every sample with a weight, how often its unit was drawn, and can hand
    it on as scikit-learn's ``sample_weight``; all figures of a call come from the same resamples.

    >>> bootstrap(lambda w: {"accuracy": accuracy_score(labels, predictions, sample_weight=w)}, photos, seed=0)
    {'accuracy': Figure(value=0.953, low=0.938, high=0.966, n=412)}

    A figure can be undefined in a resample (an AUROC whose negatives were not drawn): ``statistics`` then returns NaN
    for it or leaves it out, and its interval rests on the other resamples. ``scipy.stats.bootstrap``, whose
    percentile method this otherwise equals, would return NaN bounds there.
    A statistic at the end of its range in every resample (all right, accuracy 1.0) gets an interval of no width: the
    bootstrap cannot see errors that did not occur; :func:`sightline.core.calibration.clopper_pearson_upper` can.

    Args:
        statistics: from weights, float64 (N,), to the figures by name. A figure that makes no sense on these samples
            at all is left out by it, not NaN.
        groups: the unit of every sample, (N,), of any sortable type.
        seed: of the resamples; the same seed gives the same intervals.
        resamples: how many are drawn.
        confidence: the share of the resamples that the interval holds, as many left out below as above.
        centred: move each interval by what the resamples' mean differs from the value, the bootstrap's estimate of
            bias (Efron & Tibshirani 1993, section 10.2). For statistics to which a unit drawn twice is not the same
            as two units that are alike, so that all resamples may lie on one side of the value.
        crossed: a second unit of every sample, (N,), text, where units of two kinds cut across each other: people who
            are met in many photos, photos that show many people. Both are drawn again and a sample's weight is the
            product (the pigeonhole bootstrap, Owen 2007), which is on the safe side: chance within the samples counts
            up to three times. Empty for samples whose second unit lies within the first, drawn with that already.

    Raises:
        InputError: there are fewer than two units, or a figure is undefined on the samples as they are or in more
            than half of the resamples; an interval from so few would be a guess.
    """
    names, unit_of_sample = np.unique(groups, return_inverse=True)
    units = len(names)
    if units < 2:
        raise InputError(
            f"a confidence interval needs at least two independent units (photos, clips, people), but the {len(groups)}"
            f" samples come from {units}: evaluate on more of them"
        )
    second_of_sample = np.full(len(groups), -1)
    if crossed is not None:
        second_of_sample[crossed != ""] = np.unique(crossed[crossed != ""], return_inverse=True)[1]
    seconds = int(second_of_sample.max()) + 1
    values = statistics(np.ones(len(groups)))
    drawn = np.full((resamples, len(values)), np.nan)
    rng = np.random.default_rng(seed)
    for row in progress(range(resamples), "bootstrap", unit="resample"):
        times_drawn = rng.multinomial(units, np.full(units, 1 / units))
        weights = times_drawn[unit_of_sample].astype(np.float64)
        if seconds:
            times_drawn = rng.multinomial(seconds, np.full(seconds, 1 / seconds))
            # The last is for samples without a second unit, whose number is -1.
            weights *= np.append(times_drawn, 1)[second_of_sample]
        # Two kinds of units may have been drawn that do not meet.
        figures = statistics(weights) if weights.any() else {}
        drawn[row] = [figures.get(name, np.nan) for name in values]
    return {
        name: _figure(name, float(value), column, confidence, centred, units)
        for (name, value), column in zip(values.items(), drawn.T, strict=True)
    }


def paired_difference(
    statistics_a: Statistics,
    statistics_b: Statistics,
    groups: NDArray[Any],
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
    crossed: NDArray[Any] | None = None,
) -> dict[str, Figure]:
    """Compute the differences B − A of two runs on the same samples, with intervals.

    Both runs are weighted by the same resamples, so what makes a photo hard for both cancels out and the interval is
    narrower than that of two separate ones. An interval that leaves out 0 is evidence that the runs differ. Figures
    that only one of the runs has are left out. Arguments and errors are those of :func:`bootstrap`; the order
    of the samples must be the same in ``statistics_a``, ``statistics_b``, ``groups`` and ``crossed``.

    >>> before = confusion_statistics(labels, predictions_before, num_classes=7)
    >>> after = confusion_statistics(labels, predictions_after, num_classes=7)
    >>> paired_difference(before, after, photos, seed=0)["macro_f1"]
    Figure(value=0.021, low=0.004, high=0.039, n=412)
    """

    def difference(weights: FloatArray) -> dict[str, float]:
        a, b = statistics_a(weights), statistics_b(weights)
        return {name: b[name] - a[name] for name in a if name in b}

    return bootstrap(difference, groups, seed=seed, resamples=resamples, confidence=confidence, crossed=crossed)


def confusion_statistics(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> Statistics:
    """Make the ``statistics`` of a classifier for :func:`bootstrap`: fast, from a weighted confusion matrix.

    The figures are ``accuracy``, ``balanced_accuracy``, ``macro_f1``, and ``precision_k``, ``recall_k``, ``f1_k`` for
    each class k. They equal scikit-learn's with ``sample_weight``, ``labels=range(num_classes)`` and
    ``zero_division=0``: a class that is neither present nor predicted counts as 0 in ``macro_f1``, while
    ``balanced_accuracy`` averages over the classes present. A class seen in fewer than four units is missing from more
    than one resample in forty, so its interval reaches down to 0, which is as much as is known about it.

    Args:
        labels: true classes, integers (N,) in [0, num_classes).
        predictions: predicted classes, integers (N,) in [0, num_classes).
        num_classes: the number of classes, those without a sample included.

    Raises:
        ValueError: labels and predictions differ in shape, or a class lies outside the range.
    """
    true, predicted = np.asarray(labels), np.asarray(predictions)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ValueError(f"labels {true.shape} and predictions {predicted.shape} must be (N,) both")
    if len(true) and not (0 <= min(true.min(), predicted.min()) <= max(true.max(), predicted.max()) < num_classes):
        raise ValueError(f"classes must lie in [0, {num_classes})")
    cell_of_sample = true * num_classes + predicted

    def statistics(weights: FloatArray) -> dict[str, float]:
        counts = np.bincount(cell_of_sample, weights, minlength=num_classes**2).reshape(num_classes, num_classes)
        right, present, answered = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        precision = _ratio(right, answered)
        recall = _ratio(right, present)
        f1 = _ratio(2 * right, present + answered)
        figures = {
            "accuracy": float(right.sum() / counts.sum()),
            "balanced_accuracy": float(recall[present > 0].mean()),
            "macro_f1": float(f1.mean()),
        }
        for k in range(num_classes):
            figures |= {f"precision_{k}": float(precision[k]), f"recall_{k}": float(recall[k]), f"f1_{k}": float(f1[k])}
        return figures

    return statistics


def _figure(name: str, value: float, drawn: FloatArray, confidence: float, centred: bool, units: int) -> Figure:
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value) or 2 * len(defined) < len(drawn):
        raise InputError(
            f"{name} is undefined on {'all samples' if np.isnan(value) else f'most resamples of the {units} units'}: "
            "evaluate on more photos, clips or people of every kind that it compares"
        )
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    if centred:
        low, high = np.array([low, high]) + (value - defined.mean())
    return Figure(value, float(low), float(high), units)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> FloatArray:
    ratio: FloatArray = np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)
    return ratio
