"""Detection on ONNX Runtime: suppression beside torchvision's, frames of any shape, folders that hold no detector."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torchvision.ops import nms

from sightline.core.errors import InputError
from sightline.parts.detector import Detector, suppress

SIZE = 64


@pytest.mark.parametrize("seed", range(6))
def test_suppression_keeps_what_torchvision_keeps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 50, (200, 2)).astype(np.float32)
    boxes = np.hstack([corners, corners + rng.uniform(5, 30, (200, 2)).astype(np.float32)])
    scores = rng.uniform(0, 1, (200, 3)).astype(np.float32)
    kept = suppress(boxes, scores, 0.5, 0.45)
    best = scores.max(1)
    candidates = np.flatnonzero(best >= 0.5)
    expected = candidates[nms(torch.tensor(boxes[candidates]), torch.tensor(best[candidates]), 0.45).numpy()]
    assert np.array_equal(kept.boxes_xyxy, boxes[expected])
    assert np.array_equal(kept.scores, best[expected])
    assert np.array_equal(kept.labels, scores[expected].argmax(1))


def test_nothing_above_the_score_is_nothing() -> None:
    kept = suppress(np.zeros((5, 4), np.float32), np.full((5, 2), 0.1, np.float32), 0.5, 0.5)
    assert len(kept) == 0
    assert kept.boxes_xyxy.shape == (0, 4)


def test_a_score_that_equals_the_limit_is_enough() -> None:
    box = np.array([[1, 1, 9, 9]], np.float32)
    assert len(suppress(box, np.array([[0.1, 0.25]], np.float32), 0.25, 0.5)) == 1


def write_detector(folder: Path, boxes: np.ndarray, scores: np.ndarray) -> None:
    """A graph that finds the same boxes, px of the square, in each picture."""
    folder.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("Shape", ["images"], ["batch"], end=1),
        *(
            node
            for name in ("boxes", "scores")
            for node in (
                helper.make_node("Concat", ["batch", f"{name}_sides"], [f"{name}_shape"], axis=0),
                helper.make_node("Expand", [f"{name}_value", f"{name}_shape"], [name]),
            )
        ),
    ]
    values = {"boxes": boxes.astype(np.float32)[None], "scores": scores.astype(np.float32)[None]}
    constants = [numpy_helper.from_array(value, f"{name}_value") for name, value in values.items()]
    constants += [numpy_helper.from_array(np.array(v.shape[1:], np.int64), f"{n}_sides") for n, v in values.items()]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", *value.shape[1:]])
            for name, value in values.items()
        ],
        constants,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    config = {"classes": ["bolt", "nut"], "score": {"value": 0.5}, "overlap": {"value": 0.6}}
    (folder / "config.json").write_text(json.dumps(config))


def test_boxes_come_back_in_pixels_of_the_frame(tmp_path: Path) -> None:
    boxes = np.array([[16, 8, 32, 24], [15, 8, 32, 24], [-4, 0, 8, 8], [40, 20, 70, 40]])
    scores = np.array([[0.2, 0.9], [0.8, 0.1], [0.7, 0.3], [0.1, 0.2]])
    write_detector(tmp_path / "detector", boxes, scores)
    detector = Detector(tmp_path / "detector", threads=1)
    # A wide frame of 256 x 128 px is shrunk to a fourth.
    found = detector(np.zeros((3, 128, 256, 3), np.uint8))
    assert len(found) == 3
    for detections in found:
        assert detections.boxes_xyxy.tolist() == [[64, 32, 128, 96], [0, 0, 32, 32]]
        assert detections.labels.tolist() == [1, 0]
        assert detections.scores == pytest.approx([0.9, 0.7])
    assert detector.classes == ("bolt", "nut")


def test_a_tracker_can_ask_for_faint_ones_too(tmp_path: Path) -> None:
    write_detector(tmp_path / "detector", np.array([[40, 20, 60, 40]]), np.array([[0.1, 0.2]]))
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    assert len(Detector(tmp_path / "detector", 1)(frames)[0]) == 0
    assert len(Detector(tmp_path / "detector", 1, score=0.1)(frames)[0]) == 1


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("together", [1, 2])
def test_each_frame_has_its_own_detections_however_they_are_shared_out(
    threads: int, together: int, tmp_path: Path
) -> None:
    # The network finds the same in each of its squares; frames of other sizes tell whose it is.
    write_detector(tmp_path / "detector", np.array([[16, 8, 32, 24]]), np.array([[0.2, 0.9]]))
    detector = Detector(tmp_path / "detector", threads)
    detector.together = together
    found = detector([np.zeros((SIZE * times, SIZE * times, 3), np.uint8) for times in range(1, 6)])
    assert [detections.boxes_xyxy.tolist() for detections in found] == [
        [[16 * times, 8 * times, 32 * times, 24 * times]] for times in range(1, 6)
    ]


def test_no_frames_no_detections(tmp_path: Path) -> None:
    write_detector(tmp_path / "detector", np.array([[40, 20, 60, 40]]), np.array([[0.1, 0.2]]))
    assert Detector(tmp_path / "detector", 1)(np.zeros((0, 64, 64, 3), np.uint8)) == []


def test_a_folder_without_a_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no detector"):
        Detector(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"classes": ["bolt"]}))
    with pytest.raises(InputError, match=r"lacks 'score'"):
        Detector(tmp_path)
