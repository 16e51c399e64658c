"""The trackers of the ``trackers`` library behind one door, with the motion of what falls.

A track has its number from its first box: which tracks are worth anything is decided later, from all that is known of
them (:mod:`sightline.parts.counting`), so that the boxes of a part's first frames are not lost.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers import BoTSORTTracker, ByteTrackTracker, OCSORTTracker, SORTTracker
from trackers.utils.state_representations import (
    BaseStateEstimator,
    XCYCSRStateEstimator,
    XCYCWHStateEstimator,
    XYXYStateEstimator,
)

from sightline.parts.motion import Prior, falling_estimator


@dataclass(frozen=True)
class Association:
    """How boxes are linked; scores are absolute.

    Attributes:
        tracker: 'sort', 'bytetrack', 'ocsort' or 'botsort' (without camera motion, which is BYTE as published).
        high_score: below it a detection is linked in the second round only (not 'sort').
        new_score: what a detection needs to begin a track (not 'ocsort').
        min_iou: with the predicted box; for 'botsort' times the score.
        lost_frames: without a box until a track is given up.
        confirm: boxes that the library wants to see before it believes in a track. One keeps everything, since
            what is a part is decided by :class:`sightline.parts.counting.Counter`.
    """

    tracker: str
    high_score: float
    new_score: float
    min_iou: float
    lost_frames: int
    confirm: int = 1


class Tracked(NamedTuple):
    """A detection that belongs to a track.

    Attributes:
        track: its number, from 1.
        row: the detection's.
        box_xyxy: float64 (4,) px, where the filter sees the object now: between the detection and its prediction.
        confirmed: the library's own verdict on the track, by ``Association.confirm``.
    """

    track: int
    row: int
    box_xyxy: NDArray[np.float64]
    confirmed: bool


class Tracker:
    """Links the detections of one video, frame by frame.

    >>> tracker = Tracker(association, prior, width=640, height=640)
    >>> for boxes_xyxy, scores in detections:  # every frame, also those without a detection
    ...     tracked = tracker.update(boxes_xyxy, scores)
    """

    def __init__(self, association: Association, prior: Prior | None, width: int, height: int) -> None:
        kind, own_estimator = KINDS[association.tracker]
        estimator = falling_estimator(prior, width, height) if prior else own_estimator
        self._tracker = kind(
            state_estimator_class=_remembering(estimator),
            # The library counts its buffer in frames at a rate of 30.
            frame_rate=30.0,
            lost_track_buffer=association.lost_frames,
            minimum_consecutive_frames=association.confirm,
            **_thresholds(association),
        )
        self._numbers = count(1)

    def update(self, boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32]) -> list[Tracked]:
        """Take the detections of the next frame, boxes (n, 4) in px and scores (n,); give those on tracks, by row."""
        boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        self._tracker.update(sv.Detections(xyxy=boxes, confidence=np.asarray(scores)))
        rows = {box.tobytes(): row for row, box in enumerate(boxes)}
        found = []
        for tracklet in self._tracker.tracks:
            if tracklet.time_since_update == 0:
                seen = tracklet.state_estimator
                seen.number = seen.number or next(self._numbers)
                row = rows[seen.observed.tobytes()]
                found.append(Tracked(seen.number, row, seen.state_to_bbox().copy(), tracklet.tracker_id != -1))
        return sorted(found, key=lambda tracked: tracked.row)


def fill_gaps(
    frames: NDArray[np.int64], boxes_xyxy: NDArray[np.float64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Put boxes on the straight way between those of one track where at most ``longest`` frames in a row have none.

    Args:
        frames: (n,) ascending.
        boxes_xyxy: (n, 4).
        longest: gap in frames that is filled.

    Returns:
        The same with what was put in.
    """
    gaps = np.diff(frames) - 1
    within = [np.arange(frame + 1, frame + 1 + gap) for frame, gap in zip(frames, gaps, strict=False) if gap <= longest]
    every = np.sort(np.concatenate([frames, *within])) if within else frames
    return every, np.stack([np.interp(every, frames, column) for column in boxes_xyxy.T], axis=1)


def _thresholds(association: Association) -> dict[str, Any]:
    """What each tracker calls the same things."""
    if association.tracker == "botsort":
        # Frames are not handed on, so that nothing is known of the camera: this is BYTE's own association.
        return {
            "high_conf_det_threshold": association.high_score,
            "track_activation_threshold": association.new_score,
            "minimum_iou_threshold_first_assoc": association.min_iou,
            "enable_cmc": False,
        }
    settings = {"minimum_iou_threshold": association.min_iou}
    if association.tracker != "sort":
        settings["high_conf_det_threshold"] = association.high_score
    if association.tracker != "ocsort":
        settings["track_activation_threshold"] = association.new_score
    return settings


def _remembering(estimator: type[BaseStateEstimator]) -> type[BaseStateEstimator]:
    """A state estimator that knows the last box that it was given: the library does not say which track has which."""

    class Remembering(estimator):  # type: ignore[misc, valid-type]
        def __init__(self, bbox: NDArray[np.float64]) -> None:
            super().__init__(bbox)
            self.number = 0
            self.observed = np.array(bbox)

        def update(self, bbox: NDArray[np.float64] | None) -> None:
            super().update(bbox)
            if bbox is not None:
                self.observed = np.array(bbox)

    return Remembering


KINDS: dict[str, tuple[Any, type[BaseStateEstimator]]] = {
    "sort": (SORTTracker, XCYCSRStateEstimator),
    "bytetrack": (ByteTrackTracker, XYXYStateEstimator),
    "ocsort": (OCSORTTracker, XCYCSRStateEstimator),
    "botsort": (BoTSORTTracker, XCYCWHStateEstimator),
}
