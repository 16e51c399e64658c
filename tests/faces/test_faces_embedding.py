"""Face networks from files: what they are given, what is refused, and the real one where it is at hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from sightline.core.errors import InputError
from sightline.faces.embedding import Embedder, Settings, deploy, read_settings

REAL = Path(__file__).parents[3] / "shared/weights/faces/embedding/mobilefacenet_y1_arcface_112.onnx"
PLAIN = {"size": [112, 112], "colour": "RGB", "mean": 0, "std": 1, "mirror": False}


def projection(path: Path, height: int, width: int, batch: int | str = "batch", seed: int = 0) -> NDArray[np.float32]:
    """Write an ONNX network that is one matrix, (3 h w, 4), and return it."""
    matrix = np.random.default_rng(seed).standard_normal((3 * height * width, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["faces"], ["flat"]), helper.make_node("MatMul", ["flat", "matrix"], ["vectors"])],
        "projection",
        [helper.make_tensor_value_info("faces", TensorProto.FLOAT, [batch, 3, height, width])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return matrix


def beside(path: Path, **settings: Any) -> Path:
    path.with_suffix(".json").write_text(json.dumps({**PLAIN, **settings}))
    return path


@pytest.fixture
def crops() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (19, 144, 144, 3), dtype=np.uint8)


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_network_sees_the_window_in_its_order_and_scale(tmp_path: Path, crops: NDArray[np.uint8]) -> None:
    matrix = projection(tmp_path / "net.onnx", 112, 96).astype(np.float64)
    settings = {"size": [112, 96], "offset": [0, 8], "colour": "BGR", "mean": [100, 110, 120], "std": [50, 60, 70]}
    deploy(beside(tmp_path / "net.onnx", **settings), tmp_path / "out")
    vectors = Embedder.open(tmp_path / "out")(crops)
    seen = crops[:, 16:128, 24:120].astype(np.float64)
    blue, green, red = (seen[..., 2] - 100) / 50, (seen[..., 1] - 110) / 60, (seen[..., 0] - 120) / 70
    expected = np.stack([blue, green, red], 1).reshape(len(crops), -1) @ matrix
    np.testing.assert_allclose(vectors, unit(expected), atol=1e-5)
    assert vectors.dtype == np.float32


def test_a_face_and_its_mirror_image_are_averaged_before_the_length_is_taken(
    tmp_path: Path, crops: NDArray[np.uint8]
) -> None:
    projection(tmp_path / "net.onnx", 112, 112)
    both = deploy(beside(tmp_path / "net.onnx", mirror=True), tmp_path / "out")
    np.testing.assert_allclose(both(crops), both(np.ascontiguousarray(crops[:, :, ::-1])), atol=1e-5)
    matrix = projection(tmp_path / "net.onnx", 112, 112).astype(np.float64)
    seen = crops[:, 16:128, 16:128].astype(np.float64).transpose(0, 3, 1, 2)
    expected = (seen + seen[..., ::-1]).reshape(len(crops), -1) @ matrix
    np.testing.assert_allclose(both(crops), unit(expected), atol=1e-4)


@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_a_face_gets_the_same_vector_alone_and_among_others(
    tmp_path: Path, crops: NDArray[np.uint8], batch: int | str
) -> None:
    projection(tmp_path / "net.onnx", 112, 112, batch)
    embedder = deploy(beside(tmp_path / "net.onnx"), tmp_path / "out")
    together = embedder(crops)
    np.testing.assert_array_equal(together, np.concatenate([embedder(crop[None]) for crop in crops]))
    assert embedder(crops[:0]).shape == (0, 4)


def test_safetensors_of_a_timm_network_become_onnx_that_says_the_same(tmp_path: Path, crops: NDArray[np.uint8]) -> None:
    torch.manual_seed(0)
    arguments = {"channels": [8, 8, 16, 16], "stem_width": 8, "num_classes": 6}
    network = timm.create_model("resnet10t", **arguments).eval()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    how = {"size": [64, 64], "offset": [24, 24], "mean": 127.5, "std": 128, "architecture": "resnet10t"}
    weights = beside(tmp_path / "net.safetensors", **how, arguments=arguments)
    vectors = deploy(weights, tmp_path / "out")(crops)
    seen = torch.from_numpy(crops[:, 40:104, 40:104].transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        expected = network((seen - 127.5) / 128).numpy()
    np.testing.assert_allclose(vectors, unit(expected.astype(np.float64)), atol=1e-4)
    assert str(tmp_path).encode() not in (tmp_path / "out/model.onnx").read_bytes()

    beside(weights, **how, arguments={**arguments, "num_classes": 7})
    with pytest.raises(InputError, match="is no 'resnet10t' with"):
        deploy(weights, tmp_path / "other")
    beside(weights, **{**how, "architecture": None})
    with pytest.raises(InputError, match="lacks 'architecture'"):
        deploy(weights, tmp_path / "other")


def test_without_settings_the_error_shows_an_example_that_works(tmp_path: Path) -> None:
    projection(tmp_path / "net.onnx", 112, 112)
    with pytest.raises(InputError, match=r"net\.json is missing: it says how net\.onnx wants its pictures") as error:
        read_settings(tmp_path / "net.onnx")
    example = str(error.value).partition("e.g. ")[2]
    (tmp_path / "net.json").write_text(example)
    assert deploy(tmp_path / "net.onnx", tmp_path / "out").dimensions == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [112]}, "'size"),
        ({"size": [112, 200]}, "'size"),
        ({"size": [112, 96], "offset": [0, 20]}, "leaves the 112 px crop"),
        ({"colour": "GREY"}, "'colour'"),
        ({"std": 0}, "'std"),
        ({"scale": 2}, "'scale'"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    projection(tmp_path / "net.onnx", 112, 112)
    with pytest.raises(InputError, match=message) as error:
        read_settings(beside(tmp_path / "net.onnx", **change))
    assert "\n" not in str(error.value)
    assert "net.json" in str(error.value)


def test_files_that_are_no_face_networks_are_refused(tmp_path: Path, crops: NDArray[np.uint8]) -> None:
    projection(tmp_path / "net.onnx", 112, 112)
    (tmp_path / "net.json").write_text("{size: 112}")
    with pytest.raises(InputError, match="not valid JSON"):
        read_settings(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="does not take pictures of size"):
        deploy(beside(tmp_path / "net.onnx", size=[96, 96]), tmp_path / "out")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="no model that ONNX Runtime can load"):
        deploy(beside(tmp_path / "bad.onnx"), tmp_path / "out")
    with pytest.raises(InputError, match=r"an \.onnx or a \.safetensors file"):
        read_settings(tmp_path / "net.pth")
    with pytest.raises(InputError, match="holds no face network"):
        Embedder.open(tmp_path / "nowhere")
    wild = Embedder(tmp_path / "net.onnx", Settings(size=(112, 112), colour="RGB", mean=-1e38, std=1))
    with pytest.raises(InputError, match="no number"):
        wild(crops)


@pytest.mark.skipif(not REAL.exists(), reason="the shared weights are not here")
def test_the_shared_network_is_run_as_its_readme_says(tmp_path: Path, crops: NDArray[np.uint8]) -> None:
    (tmp_path / "net.onnx").write_bytes(REAL.read_bytes())
    vectors = deploy(beside(tmp_path / "net.onnx", mirror=True), tmp_path / "out")(crops)
    session = onnxruntime.InferenceSession(REAL, providers=["CPUExecutionProvider"])
    seen = crops[:, 16:128, 16:128].transpose(0, 3, 1, 2).astype(np.float32)
    views = (seen, np.ascontiguousarray(seen[..., ::-1]))
    expected = np.sum([session.run(["fc1"], {"data": view})[0] for view in views], 0)
    np.testing.assert_allclose(vectors, unit(expected), atol=1e-4)
