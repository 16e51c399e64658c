"""Read MOTChallenge files as its evaluation does, for tests and benchmarks against published figures."""

from pathlib import Path

import numpy as np
import pandas as pd
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
