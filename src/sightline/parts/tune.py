"""Choose how boxes are linked and where the line is: by the errors of the count on validation, then by HOTA there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from sightline.core.progress import progress
from sightline.parts.count import Recipe
from sightline.parts.counting import Counter, Rule, Sighting, true_crossings
from sightline.parts.detector import Detections
from sightline.parts.motion import CORNERS, Axis, Direction, Prior
from sightline.parts.params import Line, Track
from sightline.parts.tracker import Association, Tracker, fill_gaps
from sightline.parts.tracking_figures import add, figures, score


@dataclass(frozen=True)
class Round:
    """A clip to try recipes on: width and height in px, the detections of each of its frames, and its true boxes."""

    size: tuple[int, int]
    detections: Sequence[Detections]
    truth: pd.DataFrame


def recipes(track: Track, line: Line, threshold: float, direction: Direction, prior: Prior | None) -> list[Recipe]:
    """All recipes that the lists of parameters name, the first of each list first.

    ``threshold`` is the detector's own, which scores are shares of.
    """
    grid = product(track.min_iou, track.high_score, track.new_score, track.lost_frames, line.line)
    return [
        Recipe(
            Association(track.tracker, min(high * threshold, 1.0), min(new * threshold, 1.0), min_iou, lost),
            Rule(at, direction, line.confirm, line.refind_frames, threshold),
            prior,
            min(track.low_score, threshold),
            track.fill,
        )
        for min_iou, high, new, lost, at in grid
    ]


def tune(candidates: Sequence[Recipe], rounds: Sequence[Round], classes: Sequence[str]) -> tuple[Recipe, pd.DataFrame]:
    """Try each recipe on all rounds; the one with the fewest errors in the count, of equals that of the best HOTA.

    An error is a part too many or too few of a class. HOTA is compared to three digits, and of equals the first
    candidate is taken. Without rounds the first is.

    Returns:
        The best, and a table of the trials: the settings, ``count_errors``, ``true`` parts and ``hota``.
    """
    if not rounds:
        return candidates[0], pd.DataFrame()
    trials = []
    linked: dict[Association, tuple[list[list[list[Sighting]]], float]] = {}
    for recipe in progress(candidates, "tuning", unit="recipe"):
        if recipe.association not in linked:
            sightings = [_link(recipe, one) for one in rounds]
            linked[recipe.association] = sightings, _hota(recipe, sightings, rounds, classes)
        sightings, hota = linked[recipe.association]
        counts = [_count(recipe, own, one, classes) for own, one in zip(sightings, rounds, strict=True)]
        trials.append(
            {
                **{name: getattr(recipe.association, name) for name in ("min_iou", "high_score", "new_score")},
                "lost_frames": recipe.association.lost_frames,
                "line": recipe.rule.line,
                "count_errors": sum(errors for errors, _ in counts),
                "true": sum(true for _, true in counts),
                "hota": round(hota, 3),
            }
        )
    table = pd.DataFrame(trials)
    best = table.sort_values(["count_errors", "hota"], ascending=[True, False], kind="stable").index[0]
    return candidates[int(best)], table


def _link(recipe: Recipe, one: Round) -> list[list[Sighting]]:
    tracker = Tracker(recipe.association, recipe.prior, *one.size)
    linked = []
    for found in one.detections:
        kept = found.scores >= recipe.low_score
        scores, labels = found.scores[kept], found.labels[kept]
        tracked = tracker.update(found.boxes_xyxy[kept], scores)
        linked.append([Sighting(t.track, t.box_xyxy, float(scores[t.row]), int(labels[t.row])) for t in tracked])
    return linked


def _counter(recipe: Recipe, one: Round, classes: Sequence[str]) -> Counter:
    return Counter(recipe.rule, recipe.prior, len(classes), Axis(recipe.rule.direction, *one.size))


def _count(
    recipe: Recipe, sightings: Sequence[Sequence[Sighting]], one: Round, classes: Sequence[str]
) -> tuple[int, int]:
    counter = _counter(recipe, one, classes)
    for frame, own in enumerate(sightings, start=1):
        counter.update(frame, own)
    tally = counter.tally()
    true = true_crossings(one.truth, recipe.rule.line, counter.axis, recipe.prior)["label"].value_counts()
    errors = sum(abs(tally[label] - int(true.get(name, 0))) for label, name in enumerate(classes))
    return errors, int(true.sum())


def _hota(
    recipe: Recipe,
    rounds_sightings: Sequence[Sequence[Sequence[Sighting]]],
    rounds: Sequence[Round],
    classes: Sequence[str],
) -> float:
    scores = []
    for sightings, one in zip(rounds_sightings, rounds, strict=True):
        counter = _counter(recipe, one, classes)
        for frame, own in enumerate(sightings, start=1):
            counter.update(frame, own)
        counter.close()
        rows = []
        for part in counter.leave():
            if part.number and not part.twin:
                boxes = np.stack([moment.box_xyxy for moment in part.trail])
                frames, filled = fill_gaps(np.array([moment.frame for moment in part.trail]), boxes, recipe.fill)
                rows.append(np.column_stack([frames, np.full(len(frames), part.number), filled]))
        found = np.concatenate(rows) if rows else np.empty((0, 6))
        tracks = pd.DataFrame(found, columns=["frame", "track", *CORNERS])
        scores.append(score(one.truth, tracks, len(one.detections)))
    return figures(add(scores))["hota"]
