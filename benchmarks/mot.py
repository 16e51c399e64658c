"""MOTChallenge for tests and benchmarks against published figures: its files, read as its evaluation does, and SORT."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sightline.core.boxes import iou

SHARED = Path(__file__).parents[2] / "shared/data/mot"
BOX = ["x1", "y1", "x2", "y2"]
PEDESTRIAN, DISTRACTORS = 1, (2, 7, 8, 12)


def read_mot(path: Path) -> pd.DataFrame:
    """frame, track, x1, y1, x2, y2 (px), score and the class in column ``kind``; also of a ``.gz``."""
    table = pd.read_csv(path, header=None).iloc[:, :8]
    table.columns = pd.Index(["frame", "track", "x1", "y1", "width", "height", "score", "kind"])
    corners = {"x2": table["x1"] + table["width"], "y2": table["y1"] + table["height"]}
    whole = table.astype({"frame": int, "track": int}).assign(**corners)
    return whole[["frame", "track", *BOX, "score", "kind"]]


def length_of(sequence: Path) -> int:
    """How many frames a sequence has."""
    lines = (sequence / "seqinfo.ini").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("seqLength")).partition("=")[2])


def pedestrians(truth: pd.DataFrame, tracks: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of MOT17 that are scored: boxes of a tracker that match people who are no pedestrians (sitting, seen in
    a mirror, on a picture) at IoU 0.5 are neither right nor wrong.
    """
    keep = np.ones(len(tracks), np.bool_)
    frames = tracks["frame"].to_numpy()
    for frame, known in truth.groupby("frame"):
        rows = np.flatnonzero(frames == frame)
        overlap = iou(known[BOX].to_numpy(float), tracks.iloc[rows][BOX].to_numpy(float))
        overlap[overlap < 0.5 - np.finfo(float).eps] = 0
        matched, found = linear_sum_assignment(-overlap)
        is_match = overlap[matched, found] > np.finfo(float).eps
        is_distractor = np.isin(known["kind"].to_numpy()[matched], DISTRACTORS)
        keep[rows[found[is_match & is_distractor]]] = False
    return truth[(truth["kind"] == PEDESTRIAN) & (truth["score"] != 0)], tracks[keep]


def scored(truth: pd.DataFrame) -> pd.DataFrame:
    """The rows of MOT15's truth that are scored."""
    return truth[truth["score"] != 0]


def sort(
    detections: pd.DataFrame, frames: int, max_age: int = 1, min_hits: int = 3, least_iou: float = 0.3
) -> pd.DataFrame:
    """SORT as published (Bewley et al. 2016, github.com/abewley/sort): tracks with frame, track, x1, y1, x2, y2."""
    tracks: list[_SortTrack] = []
    rows: list[list[float]] = []
    numbers = 0
    by_frame = dict(tuple(detections.groupby("frame")))
    for frame in range(1, frames + 1):
        found = by_frame[frame][BOX].to_numpy(float) if frame in by_frame else np.empty((0, 4))
        expected = np.array([track.predict() for track in tracks]).reshape(-1, 4)
        overlaps = iou(found, expected)
        pairs = [(d, t) for d, t in zip(*linear_sum_assignment(-overlaps), strict=True) if overlaps[d, t] >= least_iou]
        for row, column in pairs:
            tracks[column].update(found[row])
        for row in sorted(set(range(len(found))) - {row for row, _ in pairs}):
            numbers += 1
            tracks.append(_SortTrack(numbers, found[row]))
        rows += [
            [frame, track.number, *track.box()]
            for track in tracks
            if track.unseen == 0 and (track.streak >= min_hits or frame <= min_hits)
        ]
        tracks = [track for track in tracks if track.unseen <= max_age]
    return pd.DataFrame(rows, columns=["frame", "track", *BOX]).astype({"frame": int, "track": int}).round(2)


class _SortTrack:
    """A Kalman filter over centre, area and aspect of a box, and the velocities of the first three."""

    def __init__(self, number: int, box: NDArray[np.float64]) -> None:
        self.number, self.unseen, self.streak = number, 0, 0
        self.x = np.r_[_measured(box), np.zeros(3)]
        self.p = np.diag([10.0] * 4 + [10000.0] * 3)

    def predict(self) -> NDArray[np.float64]:
        if self.x[2] + self.x[6] <= 0:
            self.x[6] = 0
        self.x = F @ self.x
        self.p = F @ self.p @ F.T + Q
        self.streak = 0 if self.unseen else self.streak
        self.unseen += 1
        return self.box()

    def update(self, box: NDArray[np.float64]) -> None:
        self.unseen, self.streak = 0, self.streak + 1
        gain = self.p @ H.T @ np.linalg.inv(H @ self.p @ H.T + R)
        self.x = self.x + gain @ (_measured(box) - H @ self.x)
        self.p = (np.eye(7) - gain @ H) @ self.p

    def box(self) -> NDArray[np.float64]:
        width = np.sqrt(self.x[2] * self.x[3])
        half = np.array([width, self.x[2] / width]) / 2
        return np.concatenate([self.x[:2] - half, self.x[:2] + half])


def _measured(box: NDArray[np.float64]) -> NDArray[np.float64]:
    width, height = box[2:] - box[:2]
    return np.array([*(box[:2] + box[2:]) / 2, width * height, width / height])


F = np.eye(7) + np.eye(7, k=4)
H = np.eye(4, 7)
Q = np.diag([1.0, 1.0, 1.0, 1.0, 0.01, 0.01, 0.0001])
R = np.diag([1.0, 1.0, 10.0, 10.0])
