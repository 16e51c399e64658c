"""Choose on validation how unknown pictures are told: the space, the score, its settings, and the threshold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from sightline.memes.params import Infer
from sightline.memes.unknowns import Description, FloatArray, Scorer, fit_scorer


@dataclass(frozen=True)
class Judged:
    """A space to judge in: what a network says of N pictures, and its linear head, weight (K, D) and bias (K,)."""

    pictures: Description
    weight: NDArray[Any]
    bias: NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """A fitted score in a space.

    Attributes:
        space: its name.
        scorer: as it can be deployed.
        scores: of all N pictures. Training pictures have been fitted to: among them each is its own nearest neighbour.
            Those of 'unknown-val' are held out for a score that is fitted to them as well.
        val_auroc: with which 'unknown-val' is told from 'val'; None where there is no 'unknown-val'.
    """

    space: str
    scorer: Scorer
    scores: FloatArray = field(repr=False)
    val_auroc: float | None

    def as_dict(self) -> dict[str, Any]:
        """Give the form that config.json holds."""
        return {
            "space": self.space,
            "name": self.scorer.name,
            "settings": self.scorer.settings,
            "val_auroc": self.val_auroc,
        }


def try_scores(
    spaces: Mapping[str, Judged],
    labels: NDArray[np.integer[Any]],
    splits: NDArray[Any],
    groups: NDArray[Any],
    settings: Infer,
) -> list[Trial]:
    """Fit every score in every space that ``settings`` name, each with the best of its settings on validation.

    Args:
        spaces: by name.
        labels: class of each picture, (N,); read where the split is 'train'.
        splits: of each picture, (N,); 'train', 'val' and 'unknown-val' are used.
        groups: near-duplicates of one another, (N,).
        settings: what is tried.

    Returns:
        One trial for each space and score, in the order of ``settings``; ``knn_contrast`` is missing where there are
        not two groups of 'unknown-val' to learn from.
    """
    val, unknown = np.flatnonzero(splits == "val"), np.flatnonzero(splits == "unknown-val")
    trials: list[Trial] = []
    for space in settings.spaces:
        for name in settings.scorers:
            if name == "knn_contrast" and len(np.unique(groups[unknown])) < 2:
                continue
            variants = []
            for variant in _variants(name, settings):
                scorer, scores = _fit(name, spaces[space], labels, splits, groups, variant)
                variants.append(Trial(space, scorer, scores, _auroc(scores[val], scores[unknown])))
            trials.append(choose(variants))
    return trials


def choose(trials: list[Trial]) -> Trial:
    """The trial with the best AUROC on validation; of equals, and without unknown pictures, the first.

    Without any unknown picture to choose by, nearest neighbours are taken where they were tried: they judge by how a
    picture looks and not by how sure a network is, which says little of pictures unlike all that it has seen.
    """
    blind = [trial for trial in trials if trial.val_auroc is None]
    if blind:
        return next((trial for trial in blind if trial.scorer.name == "knn"), blind[0])
    return max(trials, key=lambda trial: trial.val_auroc or 0)


def keeping_threshold(scores: FloatArray, keep: float) -> float:
    """The smallest threshold that at least the share ``keep`` of ``scores``, (N,), does not exceed.

    It is put halfway to the next larger score, so that rounding in another runtime does not decide.
    """
    ordered = np.sort(scores)
    # Rounded first: in binary 0.95 * 20 may be a little more than 19.
    last = ordered[int(np.ceil(round(keep * len(ordered), 9))) - 1]
    larger = ordered[ordered > last]
    return float((last + larger[0]) / 2 if len(larger) else last)


def _variants(name: str, settings: Infer) -> Iterator[dict[str, Any]]:
    if name in ("knn", "knn_contrast"):
        yield from ({"neighbours": neighbours} for neighbours in settings.neighbours)
    elif name == "mahalanobis":
        yield from ({"normalise": normalise} for normalise in (False, True))
    elif name == "vim":
        yield {"dimensions": settings.vim_dimensions}
    else:
        yield {}


def _fit(
    name: str,
    space: Judged,
    labels: NDArray[np.integer[Any]],
    splits: NDArray[Any],
    groups: NDArray[Any],
    variant: dict[str, Any],
) -> tuple[Scorer, FloatArray]:
    train, unknown = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "unknown-val")

    def fit(outliers: NDArray[np.intp]) -> Scorer:
        return fit_scorer(
            name,
            space.pictures[train],
            labels[train],
            weight=space.weight,
            bias=space.bias,
            outliers=space.pictures.features[outliers],
            **variant,
        )

    scorer = fit(unknown)
    scores = scorer(space.pictures)
    if name == "knn_contrast":
        folds = GroupKFold(min(FOLDS, len(np.unique(groups[unknown]))))
        for others, held_out in folds.split(unknown, groups=groups[unknown]):
            scores[unknown[held_out]] = fit(unknown[others])(space.pictures[unknown[held_out]])
    return scorer, scores


def _auroc(known: FloatArray, unknown: FloatArray) -> float | None:
    if not len(known) or not len(unknown):
        return None
    is_unknown = np.repeat([False, True], [len(known), len(unknown)])
    return float(roc_auc_score(is_unknown, np.concatenate([known, unknown])))


FOLDS = 10
