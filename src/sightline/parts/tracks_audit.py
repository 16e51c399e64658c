"""What is wrong with a tracker's output, before any figure of it is believed: frames that it counts from another
number, classes that belong to other tracks, ids that do not live as long as a part is in view.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sightline.core.boxes import iou
from sightline.parts.annotations import NO_TRACK


@dataclass(frozen=True)
class TracksAudit:
    """A tracker's output beside the truth.

    ``matches`` is how many boxes match where so many frames are added to the output's, ``shift`` the number that fits
    best. There, ``right`` of the ``named`` matched boxes that bear a class bear the right one. Of the output's ``ids``,
    ``short`` live ``short_life`` frames or fewer; the truth has ``true_ids``, of which each is there in ``true_life``
    frames or more.
    """

    matches: dict[int, int]
    shift: int
    named: int
    right: int
    ids: int
    short: int
    short_life: int
    true_ids: int
    true_life: int

    def faults(self) -> Iterator[str]:
        """A sentence for each fault."""
        if self.shift:
            found = f"{self.matches[self.shift]} of its boxes match the truth then, {self.matches[0]} as it stands"
            yield f"its frames are counted from another number: add {self.shift:+d} to each ({found})"
        if self.right < RIGHT_ENOUGH * self.named:
            yield f"its classes belong to other tracks: {self.right} of {self.named} matched boxes have the right one"
        if self.short > SHORT_ENOUGH * self.ids and self.true_life > self.short_life:
            yield (
                f"its ids are no count: {self.short} of {self.ids} live {self.short_life} frames or fewer, where a part"
                f" is in view for {self.true_life} or more and there are {self.true_ids}"
            )


def audit_tracks(
    tracks: pd.DataFrame, truth: pd.DataFrame, max_shift: int = 3, least_iou: float = 0.5, short_life: int = 3
) -> TracksAudit:
    """Compare tables of boxes (frame, track, label, x1, y1, x2, y2; label '' where a tracker says none).

    The boxes of a frame are matched one to one, whatever their class, so that their overlaps, each of ``least_iou`` or
    more, add up to most. Of all shifts up to ``max_shift`` either way, that with the most matches fits best.
    """
    pairs = {shift: _matches(tracks, truth, shift, least_iou) for shift in range(-max_shift, max_shift + 1)}
    shift = max(pairs, key=lambda shift: (len(pairs[shift]), -abs(shift)))
    found, true = (table["label"].to_numpy()[rows] for table, rows in zip((tracks, truth), pairs[shift].T, strict=True))
    lives, true_lives = (
        table[table["track"] != NO_TRACK].groupby("track")["frame"].nunique() for table in (tracks, truth)
    )
    return TracksAudit(
        matches={shift: len(rows) for shift, rows in pairs.items()},
        shift=shift,
        named=int((found != "").sum()),
        right=int((found == true).sum()),
        ids=len(lives),
        short=int((lives <= short_life).sum()),
        short_life=short_life,
        true_ids=len(true_lives),
        true_life=int(true_lives.min()) if len(true_lives) else 0,
    )


def _matches(tracks: pd.DataFrame, truth: pd.DataFrame, shift: int, least_iou: float) -> NDArray[np.int64]:
    """Row numbers (P, 2) of the boxes of ``tracks`` and ``truth`` that match."""
    found, true = (table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64) for table in (tracks, truth))
    rows, true_rows = _by_frame(tracks["frame"] + shift), _by_frame(truth["frame"])
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for frame in sorted(rows.keys() & true_rows.keys()):
        overlaps = iou(found[rows[frame]], true[true_rows[frame]])
        overlaps[overlaps < least_iou] = 0
        first, second = linear_sum_assignment(overlaps, maximize=True)
        matched = overlaps[first, second] > 0
        pairs.append(np.stack([rows[frame][first[matched]], true_rows[frame][second[matched]]], axis=1))
    return np.concatenate(pairs)


def _by_frame(frames: "pd.Series[Any]") -> dict[int, NDArray[np.int64]]:
    order = np.argsort(frames.to_numpy(), kind="stable")
    numbers, starts = np.unique(frames.to_numpy()[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts)[1:], strict=True))


RIGHT_ENOUGH, SHORT_ENOUGH = 0.95, 0.05
