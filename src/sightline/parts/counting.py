"""Count each part once, when its centre crosses a line, and say how sure that is.

What a tracker calls a track is not yet a part: some are flickers of the detector, and a part that was hidden comes back
as another track. A :class:`Part` is what one or more tracks are the boxes of. It is

- confirmed once it has enough boxes that the detector is sure of and has moved the way parts move: short, faint and
  standing tracks never count;
- the same part as one that was lost shortly before, where that would be by now;
- counted when it crosses the line, or, first seen below it, if by the way that parts move (where that is known) it must
  have crossed while the video ran; what was below the line from the start is not counted;
- not counted where its boxes lie on those of another that is: a detector saw one thing twice;
- of the class that its boxes vote for, weighted by score, so that the count may be mended until the part is gone.
"""

from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sightline.core.boxes import areas, intersections, iou
from sightline.parts.motion import Axis, Direction, Prior

Floats = NDArray[np.float64]
How = Literal["crossed", "crossed unseen"]


@dataclass(frozen=True)
class Rule:
    """When a part counts: ``line`` is a share of the way through the frame along ``direction``.

    ``confirm`` boxes of the score ``sure`` or more make a track a part; one that was lost for up to ``refind_frames``
    is found again.
    """

    line: float
    direction: Direction
    confirm: int
    refind_frames: int
    sure: float = 0.0


class Sighting(NamedTuple):
    """One box of a track: xyxy in px, where the filter sees it, its score and its class (a number)."""

    track: int
    box_xyxy: Floats
    score: float
    label: int


class Moment(NamedTuple):
    """A part in a frame: its box in px and score, its centre along the way (share of the frame) and across it (px)."""

    frame: int
    box_xyxy: Floats
    score: float
    place: float
    across: float


@dataclass(eq=False)
class Part:
    """What is known of one thing that may be a part.

    Attributes:
        number: from 1 in the order of confirmation, 0 before that: the track id in files.
        trail: its moments, a box each.
        votes: sum of scores by class.
        counted: number of the count, from 1; 0 if it does not count (yet).
        crossed: the frame in which it crossed the line, measured or traced back; 0 as above.
        how: it crossed.
        twin: the number of the part that its boxes lie on, where a detector saw one thing twice; 0 otherwise.
        gap: the longest time in frames for which it was lost and found again.
        became: the part that this one turned out to be.
    """

    votes: Floats
    number: int = 0
    trail: list[Moment] = field(default_factory=list)
    counted: int = 0
    crossed: int = 0
    how: How | None = None
    twin: int = 0
    gap: int = 0
    became: "Part | None" = None

    @property
    def first(self) -> Moment:
        """The moment of its first box."""
        return self.trail[0]

    @property
    def last(self) -> Moment:
        """The moment of its latest box."""
        return self.trail[-1]

    @property
    def itself(self) -> "Part":
        """The part that this one is known as by now."""
        return self.became.itself if self.became else self

    @property
    def label(self) -> int:
        """The class that its boxes vote for."""
        return int(self.votes.argmax())

    @property
    def confidence(self) -> float:
        """The winner's share of the votes."""
        return float(self.votes.max() / self.votes.sum())

    @property
    def score(self) -> float:
        """Mean score of its boxes."""
        return float(self.votes.sum() / len(self.trail))

    @property
    def doubts(self) -> list[str]:
        """Why somebody should look at this count."""
        doubts = []
        if self.how == "crossed unseen":
            doubts.append(f"first seen below the line, in frame {self.first.frame}")
        if self.confidence < CLEAR_VOTE:
            doubts.append(f"its boxes agree on the class by {self.confidence:.0%} only")
        if len(self.trail) < MANY_BOXES:
            doubts.append(f"seen in {len(self.trail)} frames only")
        if self.gap > LONG_GAP:
            doubts.append(f"lost for {self.gap} frames and found again")
        return doubts


class Counter:
    """Counts the parts of one video, frame by frame.

    >>> counter = Counter(rule, prior, classes=2, axis=Axis("down", 640, 640))
    >>> for frame, sightings in enumerate(video, start=1):  # every frame, also those without a box
    ...     parts = counter.update(frame, sightings)  # of each sighting
    ...     for part in counter.leave():
    ...         ...  # no longer changes
    >>> counter.close()

    Attributes:
        live: parts that may still change, in the order in which they came.
        counted: how many have been counted.
    """

    def __init__(self, rule: Rule, prior: Prior | None, classes: int, axis: Axis) -> None:
        self.rule, self.axis = rule, axis
        self.prior = prior if prior and prior.direction == rule.direction else None
        self.live: list[Part] = []
        self.counted = 0
        self._classes = classes
        self._by_track: dict[int, Part] = {}
        self._gone: deque[Part] = deque()
        self._gone_tally: Tally[int] = Tally()
        self._numbers = count(1)

    def update(self, frame: int, sightings: Sequence[Sighting]) -> list[Part]:
        """Take the boxes of a frame that belong to tracks; returns the part of each."""
        parts = [self._place(frame, sighting) for sighting in sightings]
        for part in parts:
            if not part.number and self._is_one(part):
                self._confirm(part)
            known = part.itself
            if known.number and not known.counted and not known.twin:
                self._count(known)
        self._retire(frame)
        return [part.itself for part in parts]

    def tally(self) -> Tally[int]:
        """The count by class as it stands; votes may still change it."""
        return self._gone_tally + Tally(part.label for part in self.live if part.counted)

    def leave(self) -> Iterator[Part]:
        """The parts that are gone and have not been given yet; among them what never became a part (number 0)."""
        while self._gone:
            yield self._gone.popleft()

    def close(self) -> None:
        """The video is over: all parts leave."""
        self._retire(None)

    def _place(self, frame: int, sighting: Sighting) -> Part:
        box = np.asarray(sighting.box_xyxy, np.float64)
        across = 1 - self.axis.number
        centre = float(box[across] + box[across + 2]) / 2
        moment = Moment(frame, box, sighting.score, float(self.axis.place(box)), centre)
        part = self._by_track.get(sighting.track)
        if part is None or part.last.frame == frame:
            # Of a part that was taken over by a newer track, the older one may come back: then it is something else.
            part = self._by_track[sighting.track] = Part(np.zeros(self._classes))
            self.live.append(part)
        else:
            part.gap = max(part.gap, frame - part.last.frame - 1)
        part.trail.append(moment)
        part.votes[sighting.label] += sighting.score
        return part

    def _is_one(self, part: Part) -> bool:
        if sum(moment.score >= self.rule.sure for moment in part.trail) < self.rule.confirm:
            return False
        expected = self._ahead(part.first.place, part.last.frame - part.first.frame, 1.0) - part.first.place
        return part.last.place - part.first.place >= LEAST_PROGRESS * max(expected, 0.0)

    def _confirm(self, part: Part) -> None:
        if any(other.last.frame >= part.last.frame - 1 and self._began_on(part, other) for other in self.live):
            # It is known in a moment whether the other one goes on.
            return
        lost = self._lost_before(part)
        if lost is None:
            part.number = next(self._numbers)
            return
        lost.gap = max(lost.gap, part.gap, part.first.frame - lost.last.frame - 1)
        # Where one took over from the other both may have a box in a frame.
        lost.trail = [moment for moment in lost.trail if moment.frame < part.first.frame] + part.trail
        lost.votes += part.votes
        part.became = lost
        self.live.remove(part)
        self._by_track = {track: lost if owner is part else owner for track, owner in self._by_track.items()}

    def _lost_before(self, part: Part) -> Part | None:
        """The confirmed part that was lost before this one began, and would have been there then."""
        nearest, found = 1.0, None
        for lost in self.live:
            frames = part.first.frame - lost.last.frame
            if self._began_on(part, lost):
                return lost
            if not lost.number or not 0 < frames <= self.rule.refind_frames + 1:
                continue
            # What goes behind something and comes out from there shows pieces of itself, whose middles lie elsewhere.
            went, came = _largest(lost.trail[-RECENT:]), _largest(part.trail)
            place, across = self._predict(lost, came.frame - went.frame, went)
            travel = abs(place - went.place) * self.axis.side
            size = max(_mean_side(went.box_xyxy), _mean_side(came.box_xyxy))
            off = abs(place - came.place) * self.axis.side / (size + ALONG_ERROR * travel)
            aside = abs(across - came.across) / (size / 2 + ACROSS_ERROR * travel)
            if max(off, aside) < nearest:
                nearest, found = max(off, aside), lost
        return found

    def _began_on(self, new: Part, old: Part) -> bool:
        """Whether the first box of a track lies on a part that had its last one about then: a box of a piece of it."""
        frames = new.first.frame - old.last.frame
        if not old.number or old.first.frame >= new.first.frame or not -self.rule.confirm <= frames <= 2:
            return False
        if frames > 0:
            place = self._predict(old, frames)[0]
        else:
            place = next(moment.place for moment in reversed(old.trail) if moment.frame <= new.first.frame)
        area = areas(new.first.box_xyxy[None])[0]
        for moment in old.trail[-RECENT:]:
            way = np.zeros(2)
            way[self.axis.number] = (place - moment.place) * self.axis.side * self.axis.sign
            moved = moment.box_xyxy + np.tile(way, 2)
            if intersections(new.first.box_xyxy[None], moved[None])[0, 0] >= WITHIN * area:
                return True
        return False

    def _predict(self, part: Part, frames: int, end: Moment | None = None) -> tuple[float, float]:
        """Place and position across, ``frames`` after a part's latest box, or another one of its trail."""
        end = end or part.last
        start = [moment for moment in part.trail if moment.frame <= end.frame][-RECENT:][0]
        elapsed = end.frame - start.frame
        drift = (end.across - start.across) / elapsed if elapsed else 0.0
        if self.prior is None:
            speed = (end.place - start.place) / elapsed if elapsed else 0.0
            return end.place + speed * frames, end.across + drift * frames
        return self._ahead(end.place, frames, self._pace(start, end)), end.across + drift * frames

    def _ahead(self, place: float, frames: int, pace: float) -> float:
        """Where something at ``place`` is ``frames`` later, at ``pace`` times the usual speed."""
        if self.prior is not None:
            for _ in range(frames):
                place += pace * self.prior.speed(place)
        return place

    def _pace(self, start: Moment, end: Moment) -> float:
        """A part's speed between two moments over what is usual."""
        if self.prior is None or end.frame == start.frame:
            return 1.0
        usual = self.prior.frames_between(start.place, end.place)
        return float(np.clip(usual / (end.frame - start.frame), *PACES))

    def _count(self, part: Part) -> None:
        line = self.rule.line
        if part.last.place < line:
            return
        if part.first.place < line:
            self._enter(part, part.last.frame, "crossed")
            return
        # Without a prior nothing says how a part moves but its own boxes, which may be anything's.
        if self.prior is not None:
            since = self.prior.frames_between(line, part.first.place) / self._pace(part.trail[-RECENT:][0], part.last)
            entered = part.first.frame - since
            if entered >= FIRST_FRAME + since * BACKWARD_ERROR:
                self._enter(part, round(entered), "crossed unseen")

    def _enter(self, part: Part, frame: int, how: How) -> None:
        least = TWIN_IOU if how == "crossed" else UNSEEN_TWIN_IOU
        part.twin = next((other.number for other in self.live if other.counted and _are_one(part, other, least)), 0)
        if part.twin:
            return
        self.counted += 1
        part.counted, part.crossed, part.how = self.counted, frame, how

    def _retire(self, frame: int | None) -> None:
        kept = []
        for part in self.live:
            if frame is not None and frame - part.last.frame <= max(self.rule.refind_frames, 1) + LINGER:
                kept.append(part)
                continue
            self._gone.append(part)
            if part.counted:
                self._gone_tally[part.label] += 1
        if len(kept) < len(self.live):
            self.live = kept
            there = set(map(id, kept))
            self._by_track = {track: part for track, part in self._by_track.items() if id(part) in there}


def _largest(trail: Sequence[Moment]) -> Moment:
    return max(trail, key=lambda moment: _mean_side(moment.box_xyxy))


def _mean_side(box: Floats) -> float:
    return float(np.mean(box[2:] - box[:2]))


def _are_one(part: Part, other: Part, least: float) -> bool:
    """Whether the boxes of a part overlap those of another by ``least`` most of its time; parts side by side do not."""
    boxes = {moment.frame: moment.box_xyxy for moment in other.trail}
    pairs = [(moment.box_xyxy, boxes[moment.frame]) for moment in part.trail if moment.frame in boxes]
    overlaps = [iou(one[None], two[None])[0, 0] >= least for one, two in pairs]
    return 2 * len(pairs) >= len(part.trail) and sum(overlaps) > TWIN_SHARE * len(pairs)


def true_crossings(boxes: pd.DataFrame, line: float, axis: Axis, prior: Prior | None) -> pd.DataFrame:
    """The true tracks of one clip that count, by the rule of :class:`Part`: a row each with track, label and frame.

    A track counts that is first above the line and later at or below it, and one that begins below the line so late
    that it must have crossed in the clip.
    """
    rows = []
    for track, own in boxes[boxes["track"] >= 1].sort_values("frame", kind="stable").groupby("track"):
        places = axis.place(own[["x1", "y1", "x2", "y2"]].to_numpy(float))
        frames = own["frame"].to_numpy()
        below = np.flatnonzero(places >= line)
        if not len(below):
            continue
        frame = float(frames[below[0]])
        if below[0] == 0:
            since = prior.frames_between(line, places[0]) if prior else np.inf
            frame -= since
            if frame < FIRST_FRAME:
                continue
        rows.append((track, own["label"].iloc[0], round(frame)))
    return pd.DataFrame(rows, columns=["track", "label", "frame"])


RECENT = 8
FIRST_FRAME = 1
LINGER = 30
LEAST_PROGRESS = 0.3
TWIN_IOU, TWIN_SHARE = 0.5, 0.6
# Of a part that nobody saw cross: where two lie on one another, a box of pieces of both is more likely than a third.
UNSEEN_TWIN_IOU = 0.3
WITHIN = 0.7
ALONG_ERROR = 0.15
ACROSS_ERROR = 0.05
BACKWARD_ERROR = 0.1
PACES = (0.5, 2.0)
CLEAR_VOTE = 0.7
MANY_BOXES = 8
LONG_GAP = 5
