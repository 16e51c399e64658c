"""What can be wrong with the annotations of a clip, found without looking at a picture.

A table of boxes has the columns frame, track, label, x1, y1, x2, y2 here (float px, the last two exclusive).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from sightline.parts.annotations import NO_TRACK

SIDES = ["x1", "y1", "x2", "y2"]


Severity = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """A row of ``findings.csv``; ``frame`` and ``track`` are None where it is about no single one."""

    clip: str
    check: str
    severity: Severity
    message: str
    frame: int | None = None
    track: int | None = None


def place_boxes(clip: str, boxes: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """The boxes that have an area inside their frame, cut at its sides; adds what was wrong to ``findings``.

    ``boxes`` has the columns width and height, those of the frame, besides.
    """
    corners, sizes = boxes[SIDES].to_numpy(np.float64), boxes[["width", "height"]].to_numpy()
    placed = np.clip(corners, 0, np.tile(sizes, 2))
    sound = (placed[:, 2:] > placed[:, :2]).all(axis=1)
    overhang = np.abs(placed - corners).max(axis=1, initial=0)
    for number in np.flatnonzero(~sound | (overhang > TOLERATED_OVERHANG)):
        width, height = sizes[number]
        done = (
            "sticks out of the frame of {}x{} px: cut there"
            if sound[number]
            else "has no area in the frame of {}x{} px: left out"
        )
        message = f"box {corners[number].tolist()} {done.format(width, height)}"
        frame, track = (int(boxes[column].iloc[number]) for column in ("frame", "track"))
        findings.append(Finding(clip, "boxes", "warning", message, frame, track))
    kept: pd.DataFrame = boxes.assign(**dict(zip(SIDES, placed.T, strict=True))).loc[sound]
    return kept


def check_tracks(clip: str, boxes: pd.DataFrame, listed: Sequence[int]) -> Iterator[Finding]:
    """Track ids: missing ones, two boxes of one in a frame, several classes in one, and gaps.

    ``listed`` are the frames that the annotations know; a track without a box in one of them between two others has a
    gap.
    """
    tracked = boxes[boxes["track"] != NO_TRACK]
    if missing := len(boxes) - len(tracked):
        message = f"{missing} of {len(boxes)} boxes have no track_id: tracks and counts cannot be judged on them"
        yield Finding(clip, "tracks", "warning", message)
    order = {frame: number for number, frame in enumerate(sorted(listed))}
    for track in tracked["track"].unique().tolist():
        own = tracked[tracked["track"] == track]
        labels = Counter(own["label"])
        if len(labels) > 1:
            counts = ", ".join(f"{count} {label}" for label, count in labels.most_common())
            yield Finding(clip, "track classes", "warning", f"track {track} changes its class: {counts}", None, track)
        for frame in own.loc[own["frame"].duplicated(), "frame"].unique():
            message = f"track {track} has two boxes in frame {frame}"
            yield Finding(clip, "track boxes", "error", message, int(frame), track)
        frames = np.sort(own["frame"].unique())
        places = np.array([order[frame] for frame in frames])
        for number in np.flatnonzero(np.diff(places) > 1):
            message = f"track {track} has no box between frames {frames[number]} and {frames[number + 1]}"
            yield Finding(clip, "gaps", "note", message, int(frames[number]) + 1, track)


def check_empty(clip: str, boxes: pd.DataFrame, listed: Sequence[int]) -> Iterator[Finding]:
    """Frames in which nothing is boxed: they are kept, as they show what no part looks like."""
    if empty := len(set(listed) - set(boxes["frame"])):
        yield Finding(clip, "empty frames", "note", f"{empty} of {len(listed)} frames show no part: they are kept")


def check_classes(clip: str, boxes: pd.DataFrame, classes: Sequence[str]) -> Iterator[Finding]:
    """How often each class is there."""
    tracked = boxes[boxes["track"] != NO_TRACK]
    counts = []
    for label in classes:
        tracks = tracked.loc[tracked["label"] == label, "track"].nunique()
        counts.append(f"{label}: {(boxes['label'] == label).sum()} boxes of {tracks} tracks")
        if label not in set(boxes["label"]):
            yield Finding(clip, "class counts", "warning", f"there is no {label}")
    yield Finding(clip, "class counts", "note", "; ".join(counts))


def check_splits(
    boxes: pd.DataFrame, splits: Mapping[str, str], digests: Mapping[str, Mapping[int, bytes]]
) -> Iterator[Finding]:
    """Clips of two splits that share frames: the same pixels, or the same boxes in three frames on end.

    The second finds a recording that was encoded anew. Near-duplicates are no matter: what falls before a fixed camera
    looks much alike in every frame. ``boxes`` has the column clip, ``splits`` says of which split each clip is, and
    ``digests`` is by clip and frame, of frames that show a part.
    """
    pixels = {clip: {digest: frame for frame, digest in own.items()} for clip, own in digests.items()}
    moves = {str(clip): _moves(own) for clip, own in boxes.groupby("clip", sort=False)}
    for what, contents in (("pixels", pixels), ("boxes", moves)):
        known: defaultdict[object, list[tuple[str, int]]] = defaultdict(list)
        for clip, own in contents.items():
            shared: dict[str, list[tuple[int, int]]] = {}
            for content, frame in own.items():
                for other, other_frame in known[content]:
                    if splits[other] != splits[clip]:
                        shared.setdefault(other, []).append((frame, other_frame))
                known[content].append((clip, frame))
            for other, pairs in shared.items():
                frame, other_frame = pairs[0]
                message = (
                    f"{len(pairs)} frames of {clip} have the {what} of frames of {other} (the first: {frame} and"
                    f" {other_frame}): no recording may be in two splits"
                )
                yield Finding(clip, "splits", "error", message, frame)


def _moves(boxes: pd.DataFrame) -> dict[object, int]:
    """The boxes of each three frames on end in which something moves, and the number of the first."""
    scenes: defaultdict[int, list[object]] = defaultdict(list)
    for frame, label, corners in zip(
        boxes["frame"].tolist(), boxes["label"], boxes[SIDES].round(2).to_numpy().tolist(), strict=True
    ):
        scenes[frame].append((label, *corners))
    threes = {
        frame: tuple(frozenset(scenes[number]) for number in range(frame, frame + 3))
        for frame in list(scenes)
        if frame + 1 in scenes and frame + 2 in scenes
    }
    return {three: frame for frame, three in threes.items() if len(set(three)) == 3}


TOLERATED_OVERHANG = 1.0
