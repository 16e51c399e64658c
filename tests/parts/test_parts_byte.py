"""BYTE's filter against the same one of another library, its overlap against a case computed by hand."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sightline.parts.byte import AspectEstimator, PixelIoU


def theirs() -> ModuleType:
    """The module alone: the package around it wants lap, and would install it."""
    package = importlib.util.find_spec("ultralytics")
    assert package
    assert package.origin
    path = Path(package.origin).parent / "trackers/utils/kalman_filter.py"
    spec = importlib.util.spec_from_file_location("theirs", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_filter_is_that_of_bytetrack() -> None:
    rng = np.random.default_rng(3)
    reference = theirs().KalmanFilterXYAH()
    boxes = np.array([100.0, 50, 140, 170]) + np.outer(np.arange(30), [4, 1, 4.5, 2]) + rng.normal(0, 2, (30, 4))
    measured = [[(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1] for x1, y1, x2, y2 in boxes]
    seen = np.ones(30, np.bool_)
    seen[[9, 15, 16, 17]] = False
    ours = AspectEstimator(boxes[0])
    mean, covariance = reference.initiate(np.array(measured[0]))
    for frame in range(1, 30):
        ours.predict()
        # BYTE predicts only tracks that are confirmed, and takes the growth from those that are lost.
        if frame > 1:
            mean[7] *= seen[frame - 1]
            mean, covariance = reference.predict(mean, covariance)
        if seen[frame]:
            ours.update(boxes[frame])
            mean, covariance = reference.update(mean, covariance, np.array(measured[frame]))
        assert ours.kf.state[:, 0] == pytest.approx(mean)
        assert ours.kf.state_covariance == pytest.approx(covariance)
        x, y, aspect, height = mean[:4]
        corners = [x - aspect * height / 2, y - height / 2, x + aspect * height / 2, y + height / 2]
        assert ours.state_to_bbox() == pytest.approx(np.array(corners))


def test_a_box_without_extent_is_no_accident() -> None:
    estimator = AspectEstimator(np.array([5.0, 5, 5, 5]))
    for _ in range(3):
        estimator.predict()
        estimator.update(np.array([5.0, 5, 5, 5]))
    assert estimator.state_to_bbox() == pytest.approx(np.full(4, 5.0), abs=0.01)


def test_edges_belong_to_boxes() -> None:
    ten_by_ten, ten_by_five, beside = [0, 0, 9, 9], [0, 0, 9, 4], [20, 0, 29, 9]
    found = PixelIoU().compute(np.array([ten_by_ten], float), np.array([ten_by_ten, ten_by_five, beside], float))
    assert found == pytest.approx(np.array([[1, 0.5, 0]]))
    assert PixelIoU().compute(np.empty((0, 4)), np.array([beside], float)).shape == (0, 1)
