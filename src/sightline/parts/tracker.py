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
from trackers.utils.iou import BaseIoU, IoU
from trackers.utils.state_representations import BaseStateEstimator, XCYCSRStateEstimator, XYXYStateEstimator

from sightline.parts.byte import AspectEstimator, PixelIoU
from sightline.parts.motion import Prior, falling_estimator


@dataclass(frozen=True)
class Association:
    """How boxes are linked; scores are absolute.

    Attributes:
        tracker: 'sort', 'bytetrack', 'ocsort' or 'botsort' (without camera motion, which is BYTE's own association;
            without a prior its filter and its overlap are BYTE's as well).
        high_score: below it a detection is linked in the second round only (not 'sort').
        new_score: what a detection needs to begin a track (not 'ocsort').
        min_iou: with the predicted box; for 'botsort' times the score.
        lost_frames: without a box until a track is given up.
        confirm: boxes that a track needs to be believed in; 'sort' wants them in a row, but is content with fewer in
            the first frames of a video. One keeps everything, since what is a part is decided by
            :class:`sightline.parts.counting.Counter`.
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
        confirmed: the tracker's own verdict on the track, by ``Association.confirm``.
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
        kind, own_estimator, own_iou = KINDS[association.tracker]
        estimator, overlap = (falling_estimator(prior, width, height), IoU) if prior else (own_estimator, own_iou)
        # The library's SORT counts boxes altogether and gives young tracks up at their first gap. The authors' wants
        # them in a row and keeps young tracks as long as others, so that its verdict is found here.
        self._in_a_row = association.confirm if association.tracker == "sort" else None
        self._tracker = kind(
            state_estimator_class=_remembering(estimator),
            iou=overlap(),
            # The library counts its buffer in frames at a rate of 30.
            frame_rate=30.0,
            lost_track_buffer=association.lost_frames,
            minimum_consecutive_frames=1 if self._in_a_row else association.confirm,
            **_thresholds(association),
        )
        self._numbers = count(1)
        self._frame = 0

    def update(self, boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32]) -> list[Tracked]:
        """Take the detections of the next frame, boxes (n, 4) in px and scores (n,); give those on tracks, by row."""
        self._frame += 1
        boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        self._tracker.update(sv.Detections(xyxy=boxes, confidence=np.asarray(scores)))
        rows = {box.tobytes(): row for row, box in enumerate(boxes)}
        found = []
        for tracklet in self._tracker.tracks:
            if tracklet.time_since_update == 0:
                seen = tracklet.state_estimator
                seen.number = seen.number or next(self._numbers)
                row = rows[seen.observed.tobytes()]
                found.append(Tracked(seen.number, row, seen.state_to_bbox().copy(), self._is_confirmed(tracklet)))
        return sorted(found, key=lambda tracked: tracked.row)

    def _is_confirmed(self, tracklet: Any) -> bool:
        if self._in_a_row is None:
            return bool(tracklet.tracker_id != -1)
        # In the first frames of a video no track can have so many.
        return self._frame < self._in_a_row or tracklet.state_estimator.streak >= self._in_a_row - 1


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
    """A state estimator that knows the last box that it was given, since the library does not say which track has
    which, and its streak: how many predictions in a row were met by a box.
    """

    class Remembering(estimator):  # type: ignore[misc, valid-type]
        def __init__(self, bbox: NDArray[np.float64]) -> None:
            super().__init__(bbox)
            self.number = 0
            self.observed = np.array(bbox)
            self.streak, self._is_met = 0, True

        def predict(self, frame_step: float = 1.0, frame_rate: float | None = None) -> None:
            super().predict(frame_step, frame_rate)
            self.streak, self._is_met = self.streak if self._is_met else 0, False

        def update(self, bbox: NDArray[np.float64] | None) -> None:
            super().update(bbox)
            if bbox is not None:
                self.observed = np.array(bbox)
                self.streak, self._is_met = self.streak + 1, True

    return Remembering


KINDS: dict[str, tuple[Any, type[BaseStateEstimator], type[BaseIoU]]] = {
    "sort": (SORTTracker, XCYCSRStateEstimator, IoU),
    "bytetrack": (ByteTrackTracker, XYXYStateEstimator, IoU),
    "ocsort": (OCSORTTracker, XCYCSRStateEstimator, IoU),
    "botsort": (BoTSORTTracker, AspectEstimator, PixelIoU),
}
