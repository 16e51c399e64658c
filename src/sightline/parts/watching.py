"""See every frame of a recording once: how many there are, how large they are, and whether boxes fit what moves."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pandas as pd

from sightline.parts.offset import Offset, OffsetMeter
from sightline.parts.video import frame_intervals, open_frames


@dataclass(frozen=True)
class Seen:
    """A recording: ``frames`` are the numbers of its frames in the order in which they are read.

    ``files`` are the pictures' names, '' for each frame of a video; ``unlisted`` are pictures that have no number, as
    the annotations do not list them. ``fps`` is nominal, ``expected`` what the container announces, ``intervals`` the
    shortest and the longest time between frames in s (0 for pictures). ``digests`` tell the pictures of frames with
    boxes apart.
    """

    width: int
    height: int
    fps: float
    expected: int | None
    intervals: tuple[float, float]
    frames: tuple[int, ...]
    files: tuple[str, ...]
    unlisted: tuple[str, ...]
    digests: dict[int, bytes]
    offset: Offset

    @property
    def consecutive(self) -> bool:
        """Whether no frame is missing between the first and the last."""
        return all(second == first + 1 for first, second in pairwise(self.frames))


def watch(source: Path, images: pd.DataFrame, boxes: pd.DataFrame, max_shift: int, count: Callable[[], object]) -> Seen:
    """See all frames of ``source``; ``count`` is called after each.

    ``images`` has the columns frame and file, by which the pictures of a folder are numbered; ``boxes`` has frame, x1,
    y1, x2, y2 in px.

    Raises:
        InputError: the recording cannot be read.
    """
    listed = dict(zip(images["file"], images["frame"], strict=True))
    boxed = set(boxes["frame"])
    frames, files, unlisted, digests = [], [], [], {}
    with open_frames(source) as opened:
        meter = OffsetMeter(boxes, opened.width, opened.height, max_shift)
        for number, rgb in enumerate(opened, start=1):
            count()
            file = opened.files[number - 1] if opened.files else ""
            frame = listed.get(PurePosixPath(file).name) if file else number
            if frame is None:
                unlisted.append(file)
                continue
            frames.append(frame)
            files.append(file)
            meter.add(frame, rgb)
            if frame in boxed:
                # Every fourth pixel of every fourth row is enough to tell one frame from another.
                digests[frame] = hashlib.blake2b(rgb[::4, ::4].tobytes(), digest_size=16).digest()
    return Seen(
        opened.width,
        opened.height,
        opened.fps,
        opened.expected,
        frame_intervals(source) if source.is_file() else (0.0, 0.0),
        tuple(frames),
        tuple(files),
        tuple(unlisted),
        digests,
        meter.offset(),
    )
