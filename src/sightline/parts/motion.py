"""How parts move: a prior learned from true tracks, and the Kalman filter that trackers predict with.

A part that falls is fast before it has been seen twice, and gets faster. Trackers assume that a new object stands
still, so its second box overlaps the predicted one badly. Here the velocity of a new track and its acceleration come
from a table over the place along the direction of travel; what the part really does takes over within a few frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from trackers.utils.kalman_filter import KalmanFilter
from trackers.utils.state_representations import BaseStateEstimator, XYXYStateEstimator

Direction = Literal["down", "up", "right", "left"]
Array = NDArray[np.float64]


class Axis(NamedTuple):
    """The direction of travel in frames of one size; places are shares of the frame, growing along the way."""

    direction: Direction
    width: int
    height: int

    @property
    def number(self) -> int:
        """0 for x, 1 for y."""
        return int(self.direction in ("down", "up"))

    @property
    def sign(self) -> int:
        """1 where px grow along the way, else -1."""
        return 1 if self.direction in ("down", "right") else -1

    @property
    def side(self) -> int:
        """The frame's extent along the axis in px."""
        return (self.width, self.height)[self.number]

    def place(self, boxes_xyxy: Array) -> Array:
        """Where the centres of boxes (..., 4) are: 0 where parts come from, 1 where they leave the frame."""
        centre = (boxes_xyxy[..., self.number] + boxes_xyxy[..., self.number + 2]) / 2 / self.side
        return np.asarray(centre if self.direction in ("down", "right") else 1 - centre)


@dataclass(frozen=True)
class Prior:
    """What a part does at each place; lengths are shares of the frame's side along the direction of travel.

    Attributes:
        direction: of travel.
        places: (K,) centres of the table's bins, ascending.
        velocity: (K, 4) mean change of x1, y1, x2, y2 per frame.
        spread: (K, 4) standard deviation of it between parts.
        acceleration: (K, 4) mean change of that velocity per frame.
        jerk: (4,) standard deviation of the change of velocity about that mean: the filter's process noise.
    """

    direction: Direction
    places: list[float]
    velocity: list[list[float]]
    spread: list[list[float]]
    acceleration: list[list[float]]
    jerk: list[float]

    def to_json(self) -> dict[str, Any]:
        """For config.json; ``Prior(**…)`` reads it."""
        return asdict(self)

    def speed(self, place: float) -> float:
        """Speed of the centre along the way at ``place``, per frame; never zero or less."""
        return max(float(np.interp(place, self.places, self._speeds())), SLOWEST)

    def frames_between(self, start: float, end: float) -> float:
        """How many frames a part takes from place ``start`` to ``end``; negative where ``end`` comes first."""
        grid = np.linspace(start, end, 65)
        slowness = 1 / np.maximum(np.interp(grid, self.places, self._speeds()), SLOWEST)
        return float(np.trapezoid(slowness, grid))

    def _speeds(self) -> Array:
        axis = Axis(self.direction, 1, 1).number
        velocity = np.array(self.velocity)
        along = (velocity[:, axis] + velocity[:, axis + 2]) / 2
        return np.asarray(along if self.direction in ("down", "right") else -along)


def learn_prior(boxes: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], bins: int = 20) -> Prior | None:
    """Learn from true tracks how parts move; None where fewer than ``ENOUGH`` pairs of neighbouring frames have one.

    Args:
        boxes: table of true boxes; rows with track -1 are left out.
        sizes: (width, height) of the frames by clip.
        bins: places that the table tells apart.
    """
    table = boxes[boxes["track"] >= 1].sort_values(["clip", "track", "frame"], kind="stable")
    tracks = table.groupby(["clip", "track"], sort=False)
    follows = (tracks["frame"].diff() == 1).to_numpy()
    if follows.sum() < ENOUGH:
        return None
    corners = table[CORNERS].to_numpy(float)
    change = np.full_like(corners, np.nan)
    change[1:] = corners[1:] - corners[:-1]
    change[~follows] = np.nan
    direction = _direction(change[follows])
    axes = {clip: Axis(direction, *size) for clip, size in sizes.items()}
    sides = table["clip"].map({clip: axis.side for clip, axis in axes.items()}).to_numpy(float)
    place = np.empty(len(table))
    for clip, axis in axes.items():
        rows = (table["clip"] == clip).to_numpy()
        place[rows] = axis.place(corners[rows])
    change /= sides[:, None]
    # A velocity belongs to where it begins: that is what a filter knows when it predicts.
    begins = np.r_[place[0], place[:-1]]
    gain = np.full_like(change, np.nan)
    gain[1:] = change[1:] - change[:-1]
    velocity, spread = _by_place(begins[follows], change[follows], bins)
    accelerates = ~np.isnan(gain).any(1)
    acceleration, wobble = _by_place(begins[accelerates], gain[accelerates], bins)
    return Prior(
        direction,
        ((np.arange(bins) + 0.5) / bins).tolist(),
        velocity.tolist(),
        spread.tolist(),
        acceleration.tolist(),
        np.median(wobble, axis=0).tolist(),
    )


def falling_estimator(prior: Prior, width: int, height: int) -> type[BaseStateEstimator]:
    """A state estimator class for the trackers of the ``trackers`` library, for frames of that size."""
    return type("Falling", (_FallingEstimator,), {"prior": prior, "axis": Axis(prior.direction, width, height)})


class _FallingEstimator(XYXYStateEstimator):
    """State x1, y1, x2, y2 and their velocities in px; the prior's acceleration is a known input.

    Corners rather than centre and size, because a part that enters the frame has an edge that does not move.
    """

    prior: ClassVar[Prior]
    axis: ClassVar[Axis]

    def _create_filter(self, bbox: Array) -> KalmanFilter:
        kf = super()._create_filter(bbox)
        side = float(self.axis.side)
        kf.state[4:, 0] = self._at(self.prior.velocity, bbox) * side
        spread = np.maximum(self._at(self.prior.spread, bbox) * side, LEAST_SPREAD)
        # Boxes of a detector are off by a share of their size.
        noise = np.maximum(BOX_NOISE * np.tile(bbox[2:] - bbox[:2], 2), 1.0)
        kf.measurement_noise = np.diag(noise**2)
        kf.state_covariance = np.diag(np.r_[noise, spread] ** 2)
        jerk = np.maximum(np.array(self.prior.jerk) * side, LEAST_JERK) ** 2
        kf.process_noise = np.diag(np.r_[jerk / 4, jerk])
        kf.process_noise[[0, 1, 2, 3], [4, 5, 6, 7]] = kf.process_noise[[4, 5, 6, 7], [0, 1, 2, 3]] = jerk / 2
        return kf

    def set_kf_covariances(self, *_: Any, **__: Any) -> None:
        """Keep the noise of the prior: that which tracklets bring is tuned to people who walk."""

    def predict(self, frame_step: float = 1.0, frame_rate: float | None = None) -> None:
        super().predict(frame_step, frame_rate)
        # The state's velocity is that of the step to come, as in the table.
        self.kf.state[4:, 0] += self._at(self.prior.acceleration, self.kf.state[:4, 0]) * self.axis.side * frame_step
        # A track that runs out of the frame unseen may not turn inside out.
        self.kf.state[2:4, 0] = np.maximum(self.kf.state[2:4, 0], self.kf.state[:2, 0] + 1)

    def _at(self, table: Sequence[Sequence[float]], bbox: Array) -> Array:
        place = float(self.axis.place(bbox))
        bins = len(table)
        exact = min(max(place * bins - 0.5, 0.0), bins - 1.0)
        low = min(int(exact), bins - 2)
        return np.asarray(table[low]) * (low + 1 - exact) + np.asarray(table[low + 1]) * (exact - low)


def _direction(change: Array) -> Direction:
    mean = np.nanmean(change, axis=0)
    across, along = mean[0] + mean[2], mean[1] + mean[3]
    if abs(along) >= abs(across):
        return "down" if along >= 0 else "up"
    return "right" if across >= 0 else "left"


def _by_place(places: Array, values: Array, bins: int) -> tuple[Array, Array]:
    """Mean and standard deviation of ``values`` (N, 4) by bin, (bins, 4) each; empty bins are interpolated."""
    numbers = np.clip((places * bins).astype(int), 0, bins - 1)
    filled = [number for number in range(bins) if (numbers == number).sum() >= A_FEW]
    filled = filled or [int(np.median(numbers))]
    means = np.array([values[numbers == number].mean(0) for number in filled])
    spreads = np.array([values[numbers == number].std(0) for number in filled])
    everywhere = np.arange(bins)
    return (
        np.stack([np.interp(everywhere, filled, column) for column in means.T], axis=1),
        np.stack([np.interp(everywhere, filled, column) for column in spreads.T], axis=1),
    )


CORNERS = ["x1", "y1", "x2", "y2"]
ENOUGH = 50
A_FEW = 5
SLOWEST = 1e-4
BOX_NOISE = 0.04
LEAST_SPREAD = 0.5
LEAST_JERK = 0.25
