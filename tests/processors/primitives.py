"""Print a digest for what each numeric library computes that the stages use, as JSON.

    python primitives.py [PIN …]

The pins that are named are left out; ``all`` leaves out every one.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from sightline.core.processor import PINS, pin

pin(without=frozenset(PINS) if "all" in sys.argv[1:] else frozenset(sys.argv[1:]))

import cv2  # noqa: E402
import numba  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import scipy.linalg  # noqa: E402
import torch  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from sightline.core.portable import arc_tangent, square_root  # noqa: E402
from sightline.core.serving import open_session  # noqa: E402

Computed = Iterator[tuple[str, "np.typing.NDArray[np.generic]"]]
RNG = np.random.default_rng(0)


def of_numpy() -> Computed:
    for dtype in (np.float32, np.float64):
        values = RNG.uniform(0.01, 6, (57, 63)).astype(dtype)
        for name in ("sin", "cos", "exp", "log", "tanh", "sqrt", "cbrt", "log1p", "arctan"):
            yield f"numpy {name} {dtype.__name__}", getattr(np, name)(values)
        yield f"numpy power {dtype.__name__}", values ** dtype(2.2)
        yield f"numpy hypot {dtype.__name__}", np.hypot(values, values[::-1])
        yield f"numpy sum {dtype.__name__}", values.sum(0)
        yield f"numpy argsort {dtype.__name__}", np.argsort(values, axis=None)
        yield f"numpy argsort with ties {dtype.__name__}", np.argsort(values.round(1), axis=None)
    matrix = RNG.normal(size=(64, 96))
    for dtype in (np.float32, np.float64):
        yield f"openblas product {dtype.__name__}", matrix.astype(dtype) @ matrix.astype(dtype).T
    yield "openblas svd", np.linalg.svd(matrix)[1]
    yield "openblas lstsq", np.linalg.lstsq(matrix, matrix[:, :2], rcond=None)[0]
    yield "scipy eigh", scipy.linalg.eigh(matrix @ matrix.T)[0]
    yield "scikit-learn logistic regression", LogisticRegression(max_iter=50).fit(matrix, matrix[:, 0] > 0).coef_


def of_opencv() -> Computed:
    # OpenCV's own threads crash some versions of QEMU; its results do not depend on them.
    cv2.setNumThreads(1)
    picture = RNG.uniform(0, 1, (64, 61, 3)).astype(np.float32)
    pixels = (picture * 255).astype(np.uint8)
    places = RNG.uniform(0, 60, (50, 50)).astype(np.float32)
    affine = np.array([[0.9, 0.2, 3], [-0.1, 1.1, 5]], np.float32)
    yield "opencv blur", cv2.GaussianBlur(picture, (0, 0), 1.3)
    yield "opencv filter", cv2.filter2D(picture, -1, np.full((5, 7), 1 / 35, np.float32))
    yield "opencv gradient", cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3, scale=0.3)
    yield "opencv transform", cv2.transform(picture, np.eye(3, dtype=np.float32) * np.float32(0.3) + np.float32(0.1))
    for image in (picture, pixels):
        for method in (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC):
            yield f"opencv resize {image.dtype} {method}", cv2.resize(image, (30, 29), interpolation=method)
        yield f"opencv warp {image.dtype}", cv2.warpAffine(image, affine, (70, 70))
        yield f"opencv remap {image.dtype}", cv2.remap(image, places, places.T.copy(), cv2.INTER_LINEAR)
    yield "opencv square root", cv2.sqrt(picture)
    yield "opencv grey", cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    yield "opencv jpeg", cv2.imencode(".jpg", pixels)[1]


def of_torch() -> Computed:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    images = torch.randn(4, 24, 17, 17).to(memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(48, 24, 3, 3, requires_grad=True)
    features = torch.nn.functional.conv2d(images, weights, padding=1)
    features.square().mean().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert weights.grad is not None
    yield "torch convolution", features.detach().numpy()
    yield "torch convolution's gradients", np.append(images.grad.numpy(), weights.grad.numpy())
    matrix, values = torch.randn(130, 517), torch.rand(3000)
    yield "torch product", (matrix @ matrix.T).numpy()
    yield "torch product float64", (matrix.double() @ matrix.double().T).numpy()
    yield "torch solution", torch.linalg.solve(matrix[:64, :64] + 9 * torch.eye(64), matrix[:64, :3]).numpy()
    for name in ("exp", "log", "sigmoid", "tanh", "erf", "log1p", "rsqrt"):
        yield f"torch {name}", getattr(values, name)().numpy()
    yield "torch power", (values**0.25).numpy()
    yield "torch softmax", matrix.softmax(1).numpy()
    yield "torch gelu", torch.nn.functional.gelu(matrix).numpy()
    yield "torch layer norm", torch.nn.functional.layer_norm(matrix, (517,)).numpy()
    yield "torch deviation", matrix.std(0).numpy()
    yield "our square root", square_root(values).numpy()
    yield "our arc tangent", arc_tangent(values).numpy()
    parameter = torch.nn.Parameter(matrix.clone())
    optimizer = torch.optim.AdamW([parameter], 1e-2, fused=True)
    parameter.square().sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    yield "torch fused AdamW", parameter.detach().numpy()


def of_numba() -> Computed:
    @numba.njit(fastmath=True)
    def products(left, right):  # type: ignore[no-untyped-def]
        total = np.float32(0)
        for index in range(len(left)):
            total += left[index] * right[index]
        return total

    values = RNG.normal(size=4099).astype(np.float32)
    yield "numba sum of products", np.array(products(values, values[::-1].copy()))


def of_onnx_runtime() -> Computed:
    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(RNG.normal(0, 0.2, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Sigmoid", ["c"], ["gate"]),
        helper.make_node("Mul", ["c", "gate"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "third"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
        helper.make_node("LogSoftmax", ["logits"], ["z"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "primitives",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 24, 24])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 90]) for name in "yz"],
        [constant("first", 24, 3, 3, 3), constant("second", 48, 24, 3, 3), constant("third", 48, 90)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    pictures = RNG.normal(size=(2, 3, 24, 24)).astype(np.float32)
    softmax, log_softmax = open_session(model.SerializeToString(), 1).run(None, {"x": pictures})
    yield "onnx runtime softmax", softmax
    yield "onnx runtime log softmax", log_softmax


def main() -> None:
    """Print all digests."""
    found = {
        name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
        for computed in (of_numpy(), of_opencv(), of_torch(), of_numba(), of_onnx_runtime())
        for name, values in computed
    }
    print(json.dumps(found))


os.environ["KMP_WARNINGS"] = "off"
main()
