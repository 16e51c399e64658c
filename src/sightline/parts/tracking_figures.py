"""What tracks are worth: HOTA, CLEAR MOT and identity figures, computed by TrackEval's own metric classes.

>>> scores = score(truth, tracks, frames=1800)
>>> figures(scores)["hota"]
0.5576
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from trackeval.metrics import CLEAR, HOTA, Identity

from sightline.core.boxes import iou
from sightline.core.errors import InputError
from sightline.core.intervals import FloatArray, Statistics
from sightline.parts.stretches import Stretch

BOX = ["x1", "y1", "x2", "y2"]


class Scores(NamedTuple):
    """Sums that scores of several sequences, classes or stretches of a video are added up by; see :func:`add`.

    The first five are (19,), one for each overlap α of :data:`ALPHAS`: true positives, misses, false boxes, and over
    the true positives the sums of association scores A(c) and of overlaps. The others are numbers, at IoU 0.5: those
    of CLEAR MOT with the sum of overlaps, then those of the identity metrics.
    """

    hota_tp: FloatArray
    hota_fn: FloatArray
    hota_fp: FloatArray
    associated: FloatArray
    located: FloatArray
    tp: float
    fn: float
    fp: float
    switches: float
    overlap: float
    idtp: float
    idfn: float
    idfp: float


def score(truth: pd.DataFrame, tracks: pd.DataFrame, frames: int, first: int = 1) -> Scores:
    """Score the tracks of one sequence, whatever their class, as TrackEval does (IoU 0.5 for CLEAR and identity).

    HOTA is that of Luiten et al. 2021 (IJCV 129), MOTA that of Bernardin & Stiefelhagen 2008, IDF1 that of Ristani et
    al. 2016. For figures by class give boxes of that class alone: then numbers of tracks never match across classes.

    Args:
        truth: columns frame, track and x1, y1, x2, y2 in px.
        tracks: the same of the tracker.
        frames: how many there are.
        first: the number of the first; boxes of frames outside are left out.

    Raises:
        InputError: a track has two boxes in a frame, so that nobody can say which is meant.
    """
    data = _sequence(truth, tracks, frames, first)
    hota, clear, identity = (metric.eval_sequence(data) for metric in (HOTA_METRIC, CLEAR_METRIC, IDENTITY_METRIC))
    return Scores(
        hota["HOTA_TP"],
        hota["HOTA_FN"],
        hota["HOTA_FP"],
        hota["AssA"] * hota["HOTA_TP"],
        hota["LocA"] * hota["HOTA_TP"],
        *(float(clear[name]) for name in ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "MOTP_sum")),
        *(float(identity[name]) for name in ("IDTP", "IDFN", "IDFP")),
    )


def add(scores: Sequence[Scores]) -> Scores:
    """Scores of several sequences together, as TrackEval combines sequences and, 'det averaged', classes."""
    return Scores._make(np.sum(column, axis=0) for column in zip(*scores, strict=True))


def figures(scores: Scores) -> dict[str, float]:
    """The figures by name: hota, deta, assa and loca are means over α; fp, fn and switches are counts."""
    curves = _curves(scores)
    is_known = scores.tp + scores.fn > 0
    return {
        **{name: float(curves[name].mean()) for name in ("hota", "deta", "assa", "loca")},
        "mota": float((scores.tp - scores.fp - scores.switches) / max(1.0, scores.tp + scores.fn)) if is_known else 0.0,
        "motp": float(scores.overlap / max(1.0, scores.tp)),
        "idf1": float(scores.idtp / max(1.0, scores.idtp + (scores.idfp + scores.idfn) / 2)),
        "switches": float(scores.switches),
        "fp": float(scores.fp),
        "fn": float(scores.fn),
    }


def hota_curves(scores: Scores) -> pd.DataFrame:
    """HOTA and what it is made of, a row for each α: alpha, hota, deta, assa, loca, detre, detpr."""
    return pd.DataFrame({"alpha": ALPHAS, **_curves(scores)})


class Tracked(NamedTuple):
    """Scores of clips as a whole, and of the stretches that they are cut into."""

    whole: Scores
    pieces: list[Scores]


def score_clips(
    truth: pd.DataFrame, tracks: pd.DataFrame, clips: Sequence[Stretch], stretches: Sequence[Stretch]
) -> Tracked:
    """Score whole clips and their stretches; both tables have a column ``clip`` too."""
    whole, pieces = ([_score_stretch(truth, tracks, one) for one in cut] for cut in (clips, stretches))
    return Tracked(add(whole), pieces)


def together(classes: Sequence[Tracked]) -> Tracked:
    """The classes as one, 'det averaged' as TrackEval calls it."""
    pieces = zip(*(of.pieces for of in classes), strict=True)
    return Tracked(add([of.whole for of in classes]), [add(of_stretch) for of_stretch in pieces])


def statistics(tracked: Tracked) -> Statistics:
    """The ``statistics`` of tracks for :func:`sightline.core.intervals.bootstrap`; its samples are the stretches.

    A track that is cut counts as two, so that the stretches together come out a little different from the whole clips.
    All resamples are moved by that difference: with weights of 1 the figures are those of the whole clips.
    """
    whole, cut = figures(tracked.whole), figures(add(tracked.pieces))
    columns = [np.stack(column) for column in zip(*tracked.pieces, strict=True)]

    def of_resample(weights: FloatArray) -> dict[str, float]:
        found = figures(Scores._make(weights @ column for column in columns))
        moved = {name: found[name] + whole[name] - cut[name] for name in found}
        return {name: value if name in COUNTS else min(value, 1.0) for name, value in moved.items()}

    return of_resample


def _curves(scores: Scores) -> dict[str, FloatArray]:
    found = np.maximum(1, scores.hota_tp)
    deta = scores.hota_tp / np.maximum(1, scores.hota_tp + scores.hota_fn + scores.hota_fp)
    assa = scores.associated / found
    return {
        "hota": np.sqrt(deta * assa),
        "deta": deta,
        "assa": assa,
        # TrackEval's floor: where nothing was found, nothing is badly placed.
        "loca": np.maximum(1e-10, scores.located) / np.maximum(1e-10, scores.hota_tp),
        "detre": scores.hota_tp / np.maximum(1, scores.hota_tp + scores.hota_fn),
        "detpr": scores.hota_tp / np.maximum(1, scores.hota_tp + scores.hota_fp),
    }


def _score_stretch(truth: pd.DataFrame, tracks: pd.DataFrame, stretch: Stretch) -> Scores:
    own_truth, own_tracks = (table[table["clip"] == stretch.clip] for table in (truth, tracks))
    return score(own_truth, own_tracks, stretch.frames, stretch.first)


def _sequence(truth: pd.DataFrame, tracks: pd.DataFrame, frames: int, first: int) -> dict[str, Any]:
    """The data of one sequence in the form that TrackEval's metrics take."""
    true_ids, true_boxes, true_count = _by_frame(truth, frames, first, "the truth")
    ids, boxes, count = _by_frame(tracks, frames, first, "the tracker's output")
    return {
        "num_timesteps": frames,
        "num_gt_ids": true_count,
        "num_tracker_ids": count,
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, ids)),
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "similarity_scores": [iou(true, found) for true, found in zip(true_boxes, boxes, strict=True)],
    }


def _by_frame(
    table: pd.DataFrame, frames: int, first: int, whose: str
) -> tuple[list[NDArray[np.int64]], list[FloatArray], int]:
    """Track numbers counted from 0 without gaps and boxes, frame by frame; and how many tracks there are."""
    rows = table[table["frame"].between(first, first + frames - 1)].sort_values("frame", kind="stable")
    if (twice := rows.duplicated(["frame", "track"])).any():
        frame, track = rows.loc[twice, ["frame", "track"]].iloc[0]
        raise InputError(f"{whose} has two boxes of track {track} in frame {frame}")
    names, numbers = np.unique(rows["track"].to_numpy(), return_inverse=True)
    borders = np.searchsorted(rows["frame"].to_numpy(), np.arange(first + 1, first + frames))
    boxes = rows[BOX].to_numpy(np.float64)
    return np.split(numbers.astype(np.int64), borders), np.split(boxes, borders), len(names)


HOTA_METRIC = HOTA()
CLEAR_METRIC, IDENTITY_METRIC = (metric({"PRINT_CONFIG": False}) for metric in (CLEAR, Identity))
ALPHAS = np.round(HOTA_METRIC.array_labels, 2)
COUNTS = ("switches", "fp", "fn")
