"""The independent units of video: stretches of time that few parts are seen on both sides of.

Boxes of one part in neighbouring frames are right or wrong together, and so are parts that fall side by side, in the
same light. Frames are therefore no independent samples. A stretch is at least about as long as a part is in view, and
begins where the fewest parts are seen, so that most parts lie in one stretch as a whole.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd


class Stretch(NamedTuple):
    """Frames ``first`` to ``last`` of a clip."""

    clip: str
    first: int
    last: int

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return self.last - self.first + 1


def cut_into_stretches(truth: pd.DataFrame, clip: Stretch, at_least: int) -> list[Stretch]:
    """Cut a clip; one that is too short for two stretches of that length is halved.

    Each stretch has at least ``at_least`` frames and less than two times as many, the last one up to three times, and
    the next begins where the fewest true boxes are seen in the two frames that are parted, the earliest such place.
    The truth alone decides, so that all trackers are compared on the same stretches.

    Args:
        truth: boxes with columns clip and frame.
        clip: as a whole.
        at_least: frames of a stretch.
    """
    name, first, last = clip
    length = min(at_least, clip.frames // 2) or 1
    frames = truth.loc[truth["clip"] == name, "frame"].to_numpy()
    seen = np.bincount(frames[(frames >= first) & (frames <= last)] - first, minlength=clip.frames)
    parted = seen[:-1] + seen[1:]
    begins = [first]
    while begins[-1] + 2 * length <= last + 1:
        earliest = begins[-1] + length
        latest = min(earliest + length - 1, last + 1 - length)
        begins.append(earliest + int(parted[earliest - 1 - first : latest - first].argmin()))
    ends = [begin - 1 for begin in begins[1:]] + [last]
    return [Stretch(name, *ends_of) for ends_of in zip(begins, ends, strict=True)]


def stretch_of(table: pd.DataFrame, stretches: Sequence[Stretch]) -> "pd.Series[int]":
    """The number of the stretch that each row (clip, frame) lies in; -1 for none."""
    numbers = pd.Series(-1, index=table.index)
    for number, stretch in enumerate(stretches):
        inside = (table["clip"] == stretch.clip) & table["frame"].between(stretch.first, stretch.last)
        numbers[inside] = number
    return numbers
