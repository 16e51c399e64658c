"""What falls when, from where and how: parts that drop out of a few chutes above the frame.

Lengths are px of a frame of 640 px, times seconds of the video; x runs to the right, y down, and the frame's corner is
the origin. All falls are parabolas: gravity is the same for every part but for its distance to the camera.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sightline.core.rendering import Array
from sightline.parts.hardware import FRAME, Part, make_bolt, make_nut

GRAVITY = 360.0
"""px/s²: 0.4 px a frame² at 30 frames a second, as in the videos of the challenge."""
SPEEDS = (200.0, 300.0)
"""px/s downwards at the upper edge of the frame."""
PAUSE, PAUSE_EVERY = 2.8, 15.0
"""Seconds without a new part, so that the frame empties, once in so many seconds."""
TOGETHER = 0.12
"""Share of the parts that fall right beside or behind the one before them."""
BESIDE = (30.0, 80.0)
"""px between the middles of two such parts, side by side."""
EARLIEST, LATEST = (-1.0, -0.4), (0.5, 1.0)
"""Seconds before its start in which the first part, and before its end in which the last part enters a video."""
TUMBLING = ((0.6, 0, 25), (0.3, 25, 110), (0.1, 110, 260))
"""Shares of the parts that turn by between so and so many degrees a second."""
END_ON = 0.85
"""A bolt whose axis points at the camera all the way looks like a nut to anybody: half-way down its axis has a share of
the line of sight of this at most."""


@dataclass(frozen=True)
class Fall:
    """A part on its way: at time ``enters`` (s) its middle passes the frame's upper edge at ``x`` px.

    ``velocity`` (2,) is that of then, in px/s, ``near`` how much nearer it is than the others (1: as they are), which
    makes it larger and faster; ``turn`` its attitude then and ``tumble`` (3,) its angular velocity in rad/s.
    """

    part: Part
    enters: float
    x: float
    velocity: tuple[float, float]
    near: float
    turn: Rotation
    tumble: NDArray[np.float64]

    def centre(self, time: float) -> tuple[float, float]:
        """Where its middle is, (x, y) px."""
        age = time - self.enters
        return self.x + self.velocity[0] * age, age * (self.velocity[1] + 0.5 * GRAVITY * self.near * age)

    def speed(self, time: float) -> tuple[float, float]:
        """How fast it is, px/s to the right and down."""
        return self.velocity[0], self.velocity[1] + GRAVITY * self.near * (time - self.enters)

    def attitude(self, time: float) -> Array:
        """Rotation matrix (3, 3): the part's own axes in the picture's."""
        turned = Rotation.from_rotvec(self.tumble * (time - self.enters)) * self.turn
        return np.asarray(turned.as_matrix(), np.float32)

    def time_at(self, y: float) -> float:
        """When its middle passes ``y`` px."""
        pull = GRAVITY * self.near
        return self.enters + float(np.sqrt(self.velocity[1] ** 2 + 2 * pull * y) - self.velocity[1]) / pull

    def in_view(self, time: float) -> bool:
        """Whether any of it may be inside the frame."""
        if self.speed(time)[1] <= 0:
            return False
        reach = self.reach
        return all(-reach < at < FRAME + reach for at in self.centre(time))

    @property
    def reach(self) -> float:
        """No point of the part is farther from its middle, px."""
        return self.near * float(np.hypot(self.part.length / 2, 0.7 * self.part.across))


def plan_falls(seed: tuple[int, ...], seconds: float, per_second: float, nuts: float) -> list[Fall]:
    """The falls of a video in the order in which they enter it.

    A share ``nuts`` of them, to the nearest whole number, are nuts. One falls already when the video starts, one still
    does when it ends.
    """
    rng = np.random.default_rng((*seed, 0))
    count = max(2, round(seconds * per_second))
    enters, follows = _times(rng, count, seconds)
    is_nut = rng.permutation(np.arange(count) < round(nuts * count))
    chutes = rng.uniform(90, 550, 5)
    falls: list[Fall] = []
    for number in range(count):
        own = np.random.default_rng((*seed, 1, number))
        before = falls[-1] if follows[number] else None
        x = before.x + own.choice((-1, 1)) * own.uniform(*BESIDE) if before else own.choice(chutes) + own.normal(0, 18)
        part = make_nut(own) if is_nut[number] else make_bolt(own)
        falls.append(_fall(own, part, float(enters[number]), float(np.clip(x, 50, 590)), before))
    return falls


def _times(rng: np.random.Generator, count: int, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """When each part enters, and whether it does so right behind the one before."""
    first, last = rng.uniform(*EARLIEST), seconds - rng.uniform(*LATEST)
    pauses = int(seconds // PAUSE_EVERY)
    busy = last - first - PAUSE * pauses
    follows = rng.random(count) < TOGETHER
    follows[[0, -1]] = False
    behind = np.where(follows, rng.uniform(0.03, 0.2, count), 0)
    gaps = np.where(follows, 0, rng.uniform(0.4, 1.6, count))
    gaps[0] = 0
    places = np.cumsum(gaps * ((busy - behind.sum()) / gaps.sum()) + behind)
    pauses_at = (np.arange(pauses) + rng.uniform(0.35, 0.65, pauses)) * busy / max(pauses, 1)
    # Nobody pauses between a part and the one that falls right behind it.
    leaders = np.maximum.accumulate(np.where(follows, 0, places))
    return first + places + PAUSE * np.searchsorted(pauses_at, leaders), follows


def _fall(rng: np.random.Generator, part: Part, enters: float, x: float, before: Fall | None) -> Fall:
    near = float(rng.uniform(0.93, 1.07))
    # So fast that it comes from above all that is seen, where its parabola has its top.
    reach = near * float(np.hypot(part.length / 2, 0.7 * part.across))
    down = max(float(rng.uniform(*SPEEDS)) * near, 1.05 * float(np.sqrt(2 * GRAVITY * near * reach)))
    if before:
        down = max(down, before.velocity[1] * float(rng.uniform(0.98, 1.02)))
    aside = rng.normal(-2, 3) if rng.random() < 0.8 else rng.normal(0, 26)
    _, slow, fast = TUMBLING[rng.choice(len(TUMBLING), p=[kind[0] for kind in TUMBLING])]
    axis = rng.normal(size=3)
    tumble = axis / np.linalg.norm(axis) * np.deg2rad(rng.uniform(slow, fast))
    while True:
        # A quaternion of normal numbers: any attitude is as likely as any other.
        turn = Rotation.from_quat(rng.normal(size=4))
        fall = Fall(part, enters, x, (float(aside), down), near, turn, tumble)
        if part.label == "nut" or abs(fall.attitude(fall.time_at(FRAME / 2))[2, 2]) <= END_ON:
            return fall
