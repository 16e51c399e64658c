"""MTCNN's three networks as ONNX graphs, built from facenet-pytorch's pretrained weights.

The graphs give what ``facenet_pytorch.PNet``, ``RNet`` and ``ONet`` give, in a form that ONNX Runtime computes fast:
pixels enter as they are (0 to 255), because their scaling is part of the first convolution; the heads are one layer;
of the two classes the difference of the logits comes out, whose sigmoid is the softmax's probability of a face; and a
PReLU is written as operations that stay in the runtime's blocked layout.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sightline.core.files import replacing_folder, write_json

Weights = Mapping[str, NDArray[np.float32]]


def export_detector(folder: Path, score: float, min_face: int) -> None:
    """Write ``pnet.onnx``, ``rnet.onnx``, ``onet.onnx`` and ``config.json`` for :meth:`Detector.from_folder`.

    Args:
        folder: replaced whole.
        score: the lowest of the last stage that counts as a face.
        min_face: shortest side of a face in px that is looked for.
    """
    with replacing_folder(folder) as part:
        for name, graph in pretrained_graphs().items():
            (part / f"{name}.onnx").write_bytes(graph)
        write_json(part / "config.json", {"task": "faces", "score": score, "min_face": min_face})


def pretrained_graphs() -> dict[str, bytes]:
    """The three graphs by name, serialised; the same bytes each time.

    - ``pnet``: pixels (1, 3, H, W) to ``out`` (1, 5, H', W'), a cell of 12 px every 2 px
    - ``rnet``: pixels (N, 3, 24, 24) to ``out`` (N, 5)
    - ``onet``: pixels (N, 3, 48, 48) to ``out`` (N, 15)

    Channels of ``out``: the logit of a face, four offsets of the box's sides as shares of its size, and ONet's five
    landmarks, first all x and then all y.
    """
    return {"pnet": _pnet(_weights("pnet")), "rnet": _rnet(_weights("rnet")), "onet": _onet(_weights("onet"))}


def _weights(name: str) -> Weights:
    # The weights are files of the package; importing it would bring in its other networks and what they need.
    spec = find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("facenet-pytorch is not installed: it holds MTCNN's weights")
    state = torch.load(Path(spec.origin).parent / "data" / f"{name}.pt", weights_only=True, map_location="cpu")
    return _padded({key: value.numpy() for key, value in state.items()})


def _padded(weights: Weights) -> Weights:
    """The same with channels of zeros behind the first layer's: ONNX Runtime has its blocked layout for 16, 32, …"""
    missing = -len(weights["conv1.weight"]) % 16
    ends = {"conv1.weight": 0, "conv1.bias": 0, "prelu1.weight": 0, "conv2.weight": 1}
    padding = {
        name: np.pad(weights[name], [(0, missing * (axis == end)) for axis in range(weights[name].ndim)])
        for name, end in ends.items()
    }
    return {**weights, **padding}


def _pnet(weights: Weights) -> bytes:
    graph = _Graph(weights)
    x = graph.prelu(graph.first_conv("conv1", "pixels"), "prelu1")
    x = graph.pool(x, 2)
    x = graph.prelu(graph.conv("conv2", x), "prelu2")
    x = graph.prelu(graph.conv("conv3", x), "prelu3")
    weight, bias = graph.heads("conv4_1", "conv4_2")
    graph.add("Conv", x, weight, bias, out="out")
    return graph.serialise("pnet", [1, 3, "height", "width"], [1, 5, "rows", "columns"])


def _rnet(weights: Weights) -> bytes:
    graph = _Graph(weights)
    x = graph.pool(graph.prelu(graph.first_conv("conv1", "pixels"), "prelu1"), 3)
    x = graph.pool(graph.prelu(graph.conv("conv2", x), "prelu2"), 3)
    x = graph.prelu(graph.conv("conv3", x), "prelu3")
    x = graph.add("PRelu", graph.flat_dense("dense4", x, side=3), graph.constant(weights["prelu4.weight"]))
    graph.dense(x, *graph.heads("dense5_1", "dense5_2"), out="out")
    return graph.serialise("rnet", ["crops", 3, 24, 24], ["crops", 5])


def _onet(weights: Weights) -> bytes:
    graph = _Graph(weights)
    x = graph.pool(graph.prelu(graph.first_conv("conv1", "pixels"), "prelu1"), 3)
    x = graph.pool(graph.prelu(graph.conv("conv2", x), "prelu2"), 3)
    x = graph.pool(graph.prelu(graph.conv("conv3", x), "prelu3"), 2)
    x = graph.prelu(graph.conv("conv4", x), "prelu4")
    x = graph.add("PRelu", graph.flat_dense("dense5", x, side=3), graph.constant(weights["prelu5.weight"]))
    graph.dense(x, *graph.heads("dense6_1", "dense6_2", "dense6_3"), out="out")
    return graph.serialise("onet", ["crops", 3, 48, 48], ["crops", 15])


class _Graph:
    """Nodes and constants of a graph as they are added; each method returns the name of its result."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))
        return name

    def add(self, operator: str, *inputs: str, out: str = "", **attributes: int | list[int]) -> str:
        out = out or f"{operator.lower()}{len(self.nodes)}"
        node = helper.make_node(operator, inputs, [out])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        return out

    def conv(self, layer: str, x: str) -> str:
        weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
        return self.add("Conv", x, self.constant(weight), self.constant(bias))

    def first_conv(self, layer: str, x: str) -> str:
        """The convolution of (x - 127.5) / 128."""
        weight, bias = (self.weights[f"{layer}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        scaled = weight / 128
        return self.add("Conv", x, self.constant(scaled), self.constant(bias - 127.5 * scaled.sum(axis=(1, 2, 3))))

    def prelu(self, x: str, layer: str) -> str:
        """Slope a below zero, by channel, as a x + (1 - a) relu(x).

        ONNX Runtime has no blocked PReLU: with one it spends more time on changes of layout than on the convolutions.
        """
        slopes = self.weights[f"{layer}.weight"].astype(np.float64)
        return self.add("Add", self._scale(x, slopes), self._scale(self.add("Relu", x), 1 - slopes))

    def _scale(self, x: str, factors: NDArray[np.float64]) -> str:
        # Multiplication by channel has no blocked form either, convolution of each channel by itself has.
        return self.add("Conv", x, self.constant(factors.reshape(-1, 1, 1, 1)), group=len(factors))

    def pool(self, x: str, side: int) -> str:
        return self.add("MaxPool", x, kernel_shape=[side, side], strides=[2, 2], ceil_mode=1)

    def flat_dense(self, layer: str, x: str, side: int) -> str:
        """A fully connected layer on maps of that side; its weights are in the order width, height, channel."""
        weight = self.weights[f"{layer}.weight"]
        ordered = weight.reshape(len(weight), side, side, -1).transpose(0, 3, 2, 1).reshape(len(weight), -1)
        flat = self.add("Flatten", x)
        return self.dense(flat, self.constant(ordered), self.constant(self.weights[f"{layer}.bias"]))

    def dense(self, x: str, weight: str, bias: str, out: str = "") -> str:
        return self.add("Gemm", x, weight, bias, out=out, transB=1)

    def heads(self, classes: str, *others: str) -> tuple[str, str]:
        """Weight and bias of one layer that gives the logit of the second class against the first, and the others."""
        joined = []
        for part in ("weight", "bias"):
            two = self.weights[f"{classes}.{part}"]
            rest = (self.weights[f"{layer}.{part}"] for layer in others)
            joined.append(self.constant(np.concatenate([two[1:] - two[:1], *rest])))
        return joined[0], joined[1]

    def serialise(self, name: str, pixels: list[int | str], out: list[int | str]) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, pixels)],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


# Old enough for any ONNX Runtime in use.
OPSET, IR_VERSION = 17, 8
