"""How many frames boxes are off: they are laid over what moves, as they say and some frames earlier and later.

What moves in a frame differs from the frame before and from the one after (three-frame differencing; Collins et al., A
System for Video Surveillance and Monitoring, CMU-RI-TR-00-12, 2000). A box in the right place has more of it inside
than around itself; one that is a frame off has some of both, as things that fall move by a good part of their size.

>>> meter = OffsetMeter(boxes, width, height, max_shift=3)
>>> for frame, rgb in enumerate(frames, start=1):
...     meter.add(frame, rgb)
>>> meter.offset().shift
0
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sightline.core.boxes import Boxes
from sightline.core.images import Pixels


@dataclass(frozen=True)
class Stretch:
    """Frames ``first`` to ``last``, and the shift that fits the boxes in them best."""

    first: int
    last: int
    shift: int


@dataclass(frozen=True)
class Offset:
    """What the motion says: the boxes of frame f belong to the picture of frame f + ``shift``.

    ``shift`` is None where that cannot be said: ``reason`` says why. ``margin`` is by how much the contrast, from -1 to
    1, of boxes with their surroundings is better than with the next best shift. ``stretches`` are the parts of the clip
    that could be judged by themselves: where they disagree, frames were lost or doubled in between. ``unrelated`` says
    that what moves is not where boxes are at any shift: they may be of another recording.
    """

    shift: int | None
    margin: float
    reason: str
    stretches: tuple[Stretch, ...] = ()
    unrelated: bool = False


class OffsetMeter:
    """Collects the contrast of boxes with their surroundings, frame after frame.

    ``boxes`` has columns frame, x1, y1, x2, y2 in px of frames of ``width`` x ``height``.
    """

    def __init__(self, boxes: pd.DataFrame, width: int, height: int, max_shift: int) -> None:
        self.shifts = np.arange(-max_shift, max_shift + 1)
        self._scale = SIDE / max(width, height)
        ordered = boxes.sort_values("frame")
        self._frames = ordered["frame"].to_numpy()
        self._boxes = ordered[["x1", "y1", "x2", "y2"]].to_numpy(np.float64) * self._scale
        self._contrasts = np.full((len(ordered), len(self.shifts)), np.nan)
        self._window: deque[tuple[int, Pixels]] = deque(maxlen=3)

    def add(self, frame: int, rgb: Pixels) -> None:
        """Look at the next picture, uint8 (height, width, 3), and the number of its frame."""
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, None, fx=self._scale, fy=self._scale, interpolation=cv2.INTER_AREA)
        self._window.append((frame, np.asarray(small, dtype=np.uint8)))
        numbers = [number for number, _ in self._window]
        if numbers == [frame - 2, frame - 1, frame]:
            self._compare(frame - 1, _motion(*(picture for _, picture in self._window)))

    def offset(self) -> Offset:
        """What all pictures together say."""
        # A box near the clip's ends has no picture at some shifts: all shifts are compared on the same boxes.
        judged = np.isfinite(self._contrasts).all(axis=1)
        contrasts, frames = self._contrasts[judged], self._frames[judged]
        if len(contrasts) < MIN_BOXES:
            short = f"only {len(contrasts)} boxes have {len(self.shifts) + 2} consecutive frames around them"
            return Offset(None, 0.0, short)
        parts = np.array_split(np.arange(len(contrasts)), min(len(contrasts) // MIN_BOXES, MAX_STRETCHES))
        bests = [(part, _best(contrasts[part])) for part in parts]
        stretches = tuple(
            Stretch(int(frames[part[0]]), int(frames[part[-1]]), int(self.shifts[best.column]))
            for part, best in bests
            if best.clear
        )
        best = _best(contrasts)
        if len({stretch.shift for stretch in stretches}) > 1:
            return Offset(None, best.margin, "the shift changes within the clip", stretches)
        if best.clear:
            return Offset(int(self.shifts[best.column]), best.margin, "", stretches)
        if best.contrast < MIN_CONTRAST:
            reason = f"at no shift up to {self.shifts[-1]} the boxes are where something moves"
            return Offset(None, best.margin, reason, unrelated=True)
        return Offset(None, best.margin, "no shift fits clearly better than the others")

    def _compare(self, frame: int, motion: NDArray[np.float32]) -> None:
        low, high = np.searchsorted(self._frames, [frame - self.shifts[-1], frame - self.shifts[0] + 1])
        if low < high:
            columns = frame - self._frames[low:high] - self.shifts[0]
            self._contrasts[np.arange(low, high), columns] = _contrast(motion, self._boxes[low:high])


def _motion(before: Pixels, now: Pixels, after: Pixels) -> NDArray[np.float32]:
    """How much moves where, float32 (H, W); 0 where no more changes than in most of the frame."""
    change = np.minimum(cv2.absdiff(now, before), cv2.absdiff(now, after)).astype(np.float32)
    # A change of light concerns all of the frame, and one thing that shines should not outweigh the others.
    return np.asarray(np.clip(change - np.median(change), 0, BRIGHT), dtype=np.float32)


def _contrast(motion: NDArray[np.float32], boxes_xyxy: Boxes) -> NDArray[np.float64]:
    """(inside - around) / (inside + around) of the mean motion in each box and in a margin around it, (N,)."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    wider = boxes_xyxy + RING * np.concatenate([-sides, sides], axis=1)
    sums = np.asarray(cv2.integral(motion), dtype=np.float64)
    inside, area = _sums(sums, boxes_xyxy)
    outside, wider_area = _sums(sums, wider)
    mean_inside = inside / np.maximum(area, 1)
    mean_around = (outside - inside) / np.maximum(wider_area - area, 1)
    return np.where(area > 0, (mean_inside - mean_around) / (mean_inside + mean_around + 1), np.nan)


def _sums(integral: NDArray[np.float64], boxes_xyxy: Boxes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    height, width = integral.shape[0] - 1, integral.shape[1] - 1
    x1, y1, x2, y2 = np.clip(boxes_xyxy.round().astype(np.int64), 0, [width, height, width, height]).T
    return integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1], (x2 - x1) * (y2 - y1)


class _Best(NamedTuple):
    """The column with the highest mean contrast, and how far it leads."""

    column: int
    contrast: float
    margin: float

    @property
    def clear(self) -> bool:
        return self.contrast >= MIN_CONTRAST and self.margin >= MIN_MARGIN


def _best(contrasts: NDArray[np.float64]) -> _Best:
    means = contrasts.mean(axis=0)
    *_, second, first = np.argsort(means).tolist()
    return _Best(first, float(means[first]), float(means[first] - means[second]))


SIDE = 320
BRIGHT = 40
RING = 0.25
MIN_BOXES, MAX_STRETCHES, MIN_MARGIN, MIN_CONTRAST = 30, 10, 0.08, 0.2
