from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sightline.core.errors import InputError
from sightline.memes.grafting import graft
from sightline.memes.growing import Beside, Grown, Head, class_mean, grown_head, ranpac

FEATURES = 6
WEIGHT = np.random.default_rng(0).standard_normal((FEATURES, 2)).astype(np.float32)


def write_graph(path: Path) -> Path:
    """Features are given as they come; logits are linear in them, and 'doubled' uses the logits inside the graph."""
    nodes = [
        helper.make_node("Identity", ["images"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
        helper.make_node("Add", ["logits", "logits"], ["doubled"]),
    ]
    described = [("features", FEATURES), ("logits", 2), ("doubled", 2)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in described],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def outputs(path: Path, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images}), strict=True))


def data(classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(classes)
    labels = np.repeat(np.arange(classes), 12)
    return (rng.standard_normal((classes, FEATURES))[labels] + rng.random((len(labels), FEATURES))).astype(
        np.float32
    ), labels


def learned(way: str) -> Grown:
    features, labels = data(3)
    if way == "class_mean":
        return class_mean(features, labels, temperature=1.7)
    if way == "ranpac":
        return ranpac(features, labels, projections=32, ridge=1.0, seed=0)
    return grown_head(features, labels, (WEIGHT.T, np.zeros(2, np.float32)), epochs=5)


@pytest.mark.parametrize("way", ["class_mean", "ranpac", "grown_head"])
def test_the_graph_gives_what_was_learned(way: str, tmp_path: Path) -> None:
    source = write_graph(tmp_path / "old.onnx")
    images = np.random.default_rng(5).standard_normal((9, FEATURES)).astype(np.float32)
    before, grown = outputs(source, images), learned(way)
    graft(source, tmp_path / "new.onnx", grown, features="features", logits=["logits"])
    after = outputs(tmp_path / "new.onnx", images)
    assert list(after) == ["features", "logits", "doubled"]
    np.testing.assert_allclose(after["logits"], grown.logits(images, before["logits"]), atol=1e-4)
    # Whatever else used the old logits still does.
    np.testing.assert_array_equal(after["doubled"], before["doubled"])
    if isinstance(grown, Beside):
        np.testing.assert_array_equal(after["logits"][:, :2], before["logits"])


def test_a_graph_grows_twice_and_shares_the_projection(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "old.onnx")
    features, labels = data(4)
    first = ranpac(features[labels < 3], labels[labels < 3], projections=2048, ridge=1.0, seed=0)
    second = ranpac(features, labels, projections=2048, ridge=1.0, seed=0)
    graft(source, tmp_path / "once.onnx", first, features="features", logits=["logits", "doubled"])
    graft(tmp_path / "once.onnx", tmp_path / "twice.onnx", second, features="features", logits=["logits", "doubled"])
    before, after = outputs(source, features), outputs(tmp_path / "twice.onnx", features)
    for name in ("logits", "doubled"):
        expected = second.logits(features, first.logits(features, before[name]))
        np.testing.assert_allclose(after[name], expected, atol=1e-4)
    sizes = [(tmp_path / name).stat().st_size for name in ("old.onnx", "once.onnx", "twice.onnx")]
    projection = 2048 * FEATURES * 4
    assert sizes[1] - sizes[0] > projection
    assert sizes[2] - sizes[1] < projection + 2048 * 4 * 4


def test_a_graph_without_features_cannot_grow(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "old.onnx")
    head = Head(np.zeros((FEATURES, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(InputError, match="does not give embedding"):
        graft(source, tmp_path / "new.onnx", head, features="embedding", logits=["logits"])
    assert not (tmp_path / "new.onnx").exists()
