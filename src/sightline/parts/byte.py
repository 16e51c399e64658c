"""How BYTE sees boxes (Zhang et al. 2022, ByteTrack, arXiv 2110.06864), for the trackers of the ``trackers`` library.

The library has BYTE's association inside BoT-SORT, but with another filter and another overlap; with these two of the
original's it reaches the original's figures (docs/parts.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from trackers.utils.iou import IoU
from trackers.utils.kalman_filter import KalmanFilter
from trackers.utils.state_representations import XCYCWHStateEstimator

Array = NDArray[np.float64]


class AspectEstimator(XCYCWHStateEstimator):
    """DeepSORT's Kalman filter (Wojke et al. 2017, arXiv 1703.07402), as BYTE uses it.

    State: x and y of the centre in px, width / height, height in px, and their velocities per frame. All noise but that
    of the aspect is a share of the height: people who walk change their width with each step, but hardly their height.
    """

    def _create_filter(self, bbox: Array) -> KalmanFilter:
        kf = self._init_cv_filter(8, self.bbox_to_measurement(bbox))
        kf.state_covariance = np.diag(_noise(kf, place=2 / 20, speed=10 / 160) ** 2)
        self._boxes, self._is_lost = 1, False
        return kf

    def bbox_to_measurement(self, bbox: Array) -> Array:
        """The measured part of the state, (4,), of a box (4,) in px."""
        width, height = np.maximum(bbox[2:] - bbox[:2], 1e-3)
        return np.array([*(bbox[:2] + bbox[2:]) / 2, width / height, height])

    def state_to_bbox(self) -> Array:
        """The box (4,) in px that the state stands for."""
        aspect, height = self.kf.state[2:4, 0]
        half = np.array([aspect * height, height]) / 2
        return np.concatenate([self.kf.state[:2, 0] - half, self.kf.state[:2, 0] + half])

    def set_kf_covariances(self, *_: Any, **__: Any) -> None:
        """Keep BYTE's noise: that which tracklets bring is of width and height."""

    def predict(self, frame_step: float = 1.0, frame_rate: float | None = None) -> None:
        """Go on by a frame; a track of one box stays as it is, so that its second says where it is, not how fast."""
        if self._is_lost:
            # What is lost does not go on growing.
            self.kf.state[7] = 0
        self._is_lost = True
        if self._boxes > 1:
            super().set_kf_covariances(process_noise=np.diag(_noise(self.kf, place=1 / 20, speed=1 / 160) ** 2))
            super().predict(frame_step, frame_rate)

    def update(self, bbox: Array | None) -> None:
        """Take the box of this frame, if there is one."""
        self.kf.measurement_noise = np.diag(_noise(self.kf, place=1 / 20, speed=0, aspect=1e-1)[:4] ** 2)
        super().update(bbox)
        if bbox is not None:
            self._boxes, self._is_lost = self._boxes + 1, False


class PixelIoU(IoU):
    """Overlap of boxes whose right and lower edges belong to them, as BYTE's ``cython_bbox`` computes it.

    It gives small and narrow boxes more overlap than others do.
    """

    def _compute(self, boxes_1: Array, boxes_2: Array) -> Array:
        edge = np.array([0, 0, 1, 1])
        return np.asarray(super()._compute(boxes_1 + edge, boxes_2 + edge))


def _noise(kf: KalmanFilter, place: float, speed: float, aspect: float = 1e-2) -> Array:
    """Standard deviations of the state (8,), ``place`` and ``speed`` as shares of the height."""
    height = float(kf.state[3, 0])
    at, moving = place * height, speed * height
    return np.array([at, at, aspect, at, moving, moving, 1e-5, moving])
