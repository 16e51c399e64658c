"""What guesses of emotions are worth: accuracy, macro-F1, calibration error, confusion, also by source of labels."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.core.calibration import expected_calibration_error
from sightline.core.intervals import (
    Figure,
    FloatArray,
    Statistics,
    bootstrap,
    confusion_statistics,
    paired_difference,
)
from sightline.faces.params import EMOTIONS, Evaluate

Answers = NDArray[np.integer[Any]]


def emotion_figures(
    probabilities: NDArray[np.floating[Any]],
    labels: Answers,
    sets: NDArray[np.str_],
    groups: NDArray[Any],
    settings: Evaluate,
    crossed: NDArray[np.str_] | None = None,
) -> dict[str, Any]:
    """All figures about emotions, in the form that metrics.json holds.

    Sources of labels differ in how far they are to be trusted, so that each set has figures of its own under
    ``by_set``, where there is more than one. ``macro_f1`` averages over the emotions that a set has faces of.

    Args:
        probabilities: (N, 7), columns as in :data:`~sightline.faces.params.EMOTIONS`.
        labels: the true emotions, (N,), numbers of columns.
        sets: the source of each label, (N,).
        groups: the independent unit of each face, (N,): its person, or its photo and the near-duplicates of that.
        settings: of the intervals.
        crossed: the photo of a face whose group, its person, is met in other photos too, (N,), '' for others; see
            :func:`sightline.core.intervals.bootstrap`.

    Returns:
        ``emotion_accuracy``, ``balanced_accuracy``, ``macro_f1``, ``ece``, ``per_class`` (precision, recall, f1 by
        emotion), ``confusion`` (counts: by true emotion, then by answer), ``faces`` and ``by_set``. A set of one unit
        has no interval to give, so no more than its ``faces`` is told.

    Raises:
        InputError: all faces are one unit.
        ValueError: the shapes differ.
    """
    if probabilities.shape != (len(labels), len(EMOTIONS)) or not len(labels) == len(sets) == len(groups):
        raise ValueError(f"{probabilities.shape}, {labels.shape}, {sets.shape} and {groups.shape} do not fit")
    answers = probabilities.argmax(1)
    confidences = probabilities.max(1).astype(np.float64).clip(0, 1)

    def figures_of(chosen: NDArray[np.intp]) -> dict[str, Any]:
        drawn: dict[str, Any] = {
            "groups": groups[chosen],
            "crossed": None if crossed is None else crossed[chosen],
            "seed": settings.seed,
            "resamples": settings.resamples,
        }
        figures = bootstrap(_statistics(labels[chosen], answers[chosen]), **drawn)
        figures["ece"] = _calibration_error(confidences[chosen], labels[chosen] == answers[chosen], drawn)
        return {
            **{name: figures[name].as_dict() for name in OF_ALL},
            "per_class": _per_class(figures, labels[chosen]),
            "confusion": confusion(labels[chosen], answers[chosen]),
            "faces": len(chosen),
        }

    return _of_all_and_by_set(figures_of, sets, groups)


def network_figures(
    answers: Mapping[str, Answers],
    of_panel: Answers,
    labels: Answers,
    sets: NDArray[np.str_],
    groups: NDArray[Any],
    settings: Evaluate,
) -> dict[str, Any]:
    """What each network of a panel is worth by itself, by its name.

    Args:
        answers: of each network, (N,), numbers of emotions.
        of_panel: the panel's, (N,).
        labels: as in :func:`emotion_figures`, and likewise ``sets``, ``groups``, ``settings``.

    Returns:
        For each network ``emotion_accuracy``, ``macro_f1``, ``faces``, ``panel_minus_this`` (both figures; paired: the
        panel answers the same resampled faces) and ``by_set``, as in :func:`emotion_figures`.

    Raises:
        InputError: all faces are one unit.
    """

    def figures_of(network: str, chosen: NDArray[np.intp]) -> dict[str, Any]:
        own, panel = (_statistics(labels[chosen], said[chosen]) for said in (answers[network], of_panel))
        alone = bootstrap(own, groups[chosen], seed=settings.seed, resamples=settings.resamples)
        gain = paired_difference(own, panel, groups[chosen], seed=settings.seed, resamples=settings.resamples)
        return {
            **{name: alone[name].as_dict() for name in OF_ANSWERS},
            "panel_minus_this": {name: gain[name].as_dict() for name in OF_ANSWERS},
            "faces": len(chosen),
        }

    return {network: _of_all_and_by_set(partial(figures_of, network), sets, groups) for network in answers}


def _of_all_and_by_set(
    figures_of: Callable[[NDArray[np.intp]], dict[str, Any]], sets: NDArray[np.str_], groups: NDArray[Any]
) -> dict[str, Any]:
    tree = figures_of(np.arange(len(sets)))
    names = np.unique(sets)
    if len(names) > 1:
        tree["by_set"] = {}
        for name in names:
            chosen = np.flatnonzero(sets == name)
            alone = len(np.unique(groups[chosen])) < 2
            tree["by_set"][str(name)] = {"faces": len(chosen)} if alone else figures_of(chosen)
    return tree


def confusion(labels: Answers, answers: Answers) -> dict[str, dict[str, int]]:
    """How many faces of each true emotion got each answer; emotions without a face are left out."""
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return {
        emotion: dict(zip(EMOTIONS, row.tolist(), strict=True))
        for emotion, row in zip(EMOTIONS, counts, strict=True)
        if row.any()
    }


def _statistics(labels: Answers, answers: Answers) -> Statistics:
    of_confusion = confusion_statistics(labels, answers, len(EMOTIONS))
    present = np.unique(labels)

    def statistics(weights: FloatArray) -> dict[str, float]:
        figures = dict(of_confusion(weights))
        figures["emotion_accuracy"] = figures.pop("accuracy")
        figures["macro_f1"] = float(np.mean([figures[f"f1_{number}"] for number in present]))
        return figures

    return statistics


def _calibration_error(confidences: FloatArray, correct: NDArray[np.bool_], drawn: Mapping[str, Any]) -> Figure:
    def statistics(weights: FloatArray) -> dict[str, float]:
        return {"ece": expected_calibration_error(confidences, correct, weights=weights)}

    # A resample's faces are fewer different ones, and so its bins lie farther from the diagonal than those of all.
    found = bootstrap(statistics, **drawn, centred=True)["ece"]
    return replace(found, low=max(found.low, 0.0))


def _per_class(figures: Mapping[str, Figure], labels: Answers) -> dict[str, Any]:
    return {
        EMOTIONS[number]: {kind: figures[f"{kind}_{number}"].as_dict() for kind in ("precision", "recall", "f1")}
        for number in np.unique(labels)
    }


OF_ALL = ("emotion_accuracy", "balanced_accuracy", "macro_f1", "ece")
OF_ANSWERS = ("emotion_accuracy", "macro_f1")
