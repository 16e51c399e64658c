"""What finding faces is worth: recall, precision and average precision on photos whose faces are all boxed, and false
faces in photos without any.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sightline.core.intervals import Figure, FloatArray, Statistics, bootstrap
from sightline.faces.matching import DetectionCurve, match
from sightline.faces.params import Detect, Evaluate

BOX = ["x1", "y1", "x2", "y2"]


class Looked(NamedTuple):
    """What was found in one photo, of the boxes that count: by descending score, and how many faces there were."""

    scores: NDArray[np.float64]
    is_true: NDArray[np.bool_]
    expected: int


def detection_figures(
    photos: pd.DataFrame, boxes: pd.DataFrame, detections: pd.DataFrame, settings: Detect, evaluate: Evaluate
) -> tuple[dict[str, Any], pd.DataFrame]:
    """All figures about detection, in the form that metrics.json holds, and the precision-recall curves.

    The independent unit is the photo. Boxes whose shorter side is below ``settings.min_face`` are not looked for, so
    they count neither way. The curve, and with it AP, ends at the lowest score that ``detections`` hold: less than the
    whole area, the same for every run.

    Args:
        photos: ``photos.csv`` of stage ``faces-detect``, those that have a split; of them those of role 'group' and
            'detection' that are ``complete`` are used, and the 'empty' ones.
        boxes: ``boxes.csv`` of stage ``faces-source``.
        detections: of stage ``faces-detect``.
        settings: the score from which a box is a face, and the smallest face.
        evaluate: the overlap of a match, and of the intervals.

    Returns:
        ``detection_recall``, ``detection_precision``, ``detection_ap`` (those that are defined), by_set where there
        are several, ``false_faces_per_photo`` for photos without a face, and counts; and a table of ``set`` ('all' and
        each of them), ``score``, ``precision`` and ``recall``.
    """
    is_asked = photos["role"].isin(["group", "detection"]) & (photos["complete"] == 1)
    asked, empty = photos[is_asked], photos[photos["role"] == "empty"]
    sets = np.where(asked["set"] != "", asked["set"], asked["role"])
    looked = _look(asked["photo"].tolist(), boxes, detections, settings, evaluate)
    tree = _figures(looked, settings.score, evaluate)
    curves = {"all": _curve(looked)}
    names = [str(name) for name in np.unique(sets)]
    if len(names) > 1:
        parts = {name: [looked[row] for row in np.flatnonzero(sets == name)] for name in names}
        tree["by_set"] = {name: _figures(part, settings.score, evaluate) for name, part in parts.items()}
        curves |= {name: _curve(part) for name, part in parts.items()}
    if len(empty) > 1:
        found = detections.loc[detections["score"] >= settings.score, "photo"].value_counts()
        false = found.reindex(empty["photo"], fill_value=0).to_numpy(np.float64)
        tree["false_faces_per_photo"] = _with_intervals(
            lambda weights: {"mean": float(np.average(false, weights=weights))}, len(empty), evaluate
        )["mean"].as_dict()
    tree["photos_without_face"] = len(empty)
    return tree, pd.concat(curves, names=["set"]).reset_index("set")


def _look(
    names: Sequence[str], boxes: pd.DataFrame, detections: pd.DataFrame, settings: Detect, evaluate: Evaluate
) -> list[Looked]:
    boxes_of, found_in = (dict(tuple(table.groupby("photo", sort=False))) for table in (boxes, detections))
    looked = []
    for name in names:
        known, found = boxes_of.get(name, boxes[:0]), found_in.get(name, detections[:0])
        scores = found["score"].to_numpy(np.float64)
        ignored = known["ignore"].to_numpy(np.int64).astype(np.bool_)
        matches = match(
            found[BOX].to_numpy(np.float64),
            scores,
            known[BOX].to_numpy(np.float64),
            ignored,
            iou=evaluate.iou,
            min_side=settings.min_face,
        )
        counts = matches.counts
        looked.append(Looked(scores[counts], matches.truth[counts] >= 0, int(matches.expected.sum())))
    return looked


def _figures(looked: Sequence[Looked], score: float, evaluate: Evaluate) -> dict[str, Any]:
    """Counts, and recall, precision and AP where there are two photos with faces to be found."""
    counts = {"photos": len(looked), "faces": sum(own.expected for own in looked)}
    if sum(own.expected > 0 for own in looked) < 2:
        return counts
    figures = _with_intervals(_statistics(looked, score), len(looked), evaluate)
    return {name: figure.as_dict() for name, figure in figures.items()} | counts


def _statistics(looked: Sequence[Looked], score: float) -> Statistics:
    photo_of = np.repeat(np.arange(len(looked)), [len(own.scores) for own in looked])
    expected = np.array([own.expected for own in looked], np.float64)
    curve = _joined(looked)
    anything = bool((curve.scores >= score).any())

    def statistics(weights: FloatArray) -> Mapping[str, float]:
        to_find = float(weights @ expected)
        precision, recall = curve.at(score, weights[photo_of], to_find)
        area = curve.average_precision(weights[photo_of], to_find)
        found = {"detection_precision": precision} if anything else {}
        return {"detection_recall": recall, **found, "detection_ap": area}

    return statistics


def _joined(looked: Sequence[Looked]) -> DetectionCurve:
    scores = np.concatenate([np.empty(0), *(own.scores for own in looked)])
    return DetectionCurve(scores, np.concatenate([np.empty(0, np.bool_), *(own.is_true for own in looked)]))


def _curve(looked: Sequence[Looked]) -> pd.DataFrame:
    """Precision and recall by score, at no more than POINTS of the scores."""
    curve = _joined(looked)
    expected = sum(own.expected for own in looked)
    precision, recall = curve.precision_recall(np.ones(len(curve.scores)), expected)
    shown = np.unique(np.linspace(0, max(len(recall) - 1, 0), min(POINTS, len(recall))).astype(int))
    return pd.DataFrame({"score": curve.scores[shown], "precision": precision[shown], "recall": recall[shown]})


def _with_intervals(statistics: Statistics, photos: int, evaluate: Evaluate) -> dict[str, Figure]:
    return bootstrap(statistics, np.arange(photos), seed=evaluate.seed, resamples=evaluate.resamples)


POINTS = 200
