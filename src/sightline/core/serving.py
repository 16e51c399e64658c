"""Run what is deployed: ONNX Runtime, NumPy and what decodes pictures, so that a service needs no torch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.images import Pixels, UnreadableImageError, fit_to_square, list_files, read_image
from sightline.core.parallel import map_ordered
from sightline.core.processor import is_portable
from sightline.core.progress import progress, say

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# ONNX Runtime reads this when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

Outputs = dict[str, NDArray[np.float32]]


def open_session(
    graph: Path | bytes, threads: int = 0, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> onnxruntime.InferenceSession:
    """Load a graph into ONNX Runtime; inside a stage, so that every processor gives the same bytes.

    ONNX Runtime has no switch for that. Two things of it depend on the width of the vectors that a processor has, and
    are left out in stages: convolutions on channels in blocks of 8 or 16, which sum in another order, and the
    sum inside Softmax and LogSoftmax. Everything else was found equal (docs/reproducibility.md).

    Args:
        graph: an ONNX file, or its content.
        threads: that compute one run; 0 for as many as there are cores. The result does not depend on it.
        providers: ONNX Runtime's names of what may run it, the first that can.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        if is_portable():
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            source: str | bytes = _portable(graph)
        else:
            source = graph if isinstance(graph, bytes) else str(graph)
        return onnxruntime.InferenceSession(source, options, providers=list(providers))
    except Exception as error:  # noqa: BLE001 - the runtime's own exceptions have no common class
        name = "the graph" if isinstance(graph, bytes) else graph
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name} is no model that ONNX Runtime can load: {reason}") from None


def _portable(graph: Path | bytes) -> bytes:
    """The graph with each Softmax and LogSoftmax written out as maximum, difference, exponential and sum."""
    # Here, because a service does not need it.
    import onnx

    model = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    nodes = list(model.graph.node)
    if any(node.op_type in SOFTMAXES for node in nodes):
        ranks = _ranks(model) if opset < NEW_SOFTMAX else {}
        del model.graph.node[:]
        for number, node in enumerate(nodes):
            is_one = node.op_type in SOFTMAXES
            model.graph.node.extend(_written_out(node, f"softmax{number}", opset, ranks) if is_one else [node])
        # What the file says of names that are new here would be missing.
        model = onnx.shape_inference.infer_shapes(model)
    return bytes(model.SerializeToString())


def _ranks(model: "ModelProto") -> dict[str, int]:
    from onnx.shape_inference import infer_shapes

    graph = infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _written_out(node: "NodeProto", prefix: str, opset: int, ranks: dict[str, int]) -> "list[NodeProto]":
    from onnx import helper

    given, out = node.input[0], node.output[0]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
    if opset >= NEW_SOFTMAX:
        axes = [-1 if axis is None else axis]
    else:
        # Older ones take all axes from that one on as one.
        axes = list(range(1 if axis is None else axis % ranks[given], ranks[given]))
    largest, less, powers, total = (f"{prefix}_{name}" for name in ("largest", "less", "powers", "total"))
    constants, reduced = [], {}
    for kind, since, name in (("ReduceMax", 18, largest), ("ReduceSum", 13, total)):
        source = given if kind == "ReduceMax" else powers
        if opset >= since:
            constants.append(helper.make_node("Constant", [], [f"{name}_axes"], value_ints=axes))
            reduced[kind] = helper.make_node(kind, [source, f"{name}_axes"], [name], keepdims=1)
        else:
            reduced[kind] = helper.make_node(kind, [source], [name], keepdims=1, axes=axes)
    nodes = [
        *constants,
        reduced["ReduceMax"],
        helper.make_node("Sub", [given, largest], [less]),
        helper.make_node("Exp", [less], [powers]),
        reduced["ReduceSum"],
    ]
    if node.op_type == "Softmax":
        return [*nodes, helper.make_node("Div", [powers, total], [out])]
    logarithm = f"{prefix}_logarithm"
    return [
        *nodes,
        helper.make_node("Log", [total], [logarithm]),
        helper.make_node("Sub", [less, logarithm], [out]),
    ]


SOFTMAXES = ("Softmax", "LogSoftmax")
NEW_SOFTMAX = 13
"""The opset since which Softmax works along one axis."""


class OnnxNetwork:
    """Runs what :func:`sightline.core.deploy.export_onnx` wrote on the CPU, or on a GPU where ONNX Runtime has one.

    >>> network = OnnxNetwork(Path("models/memes/deployed/model.onnx"))
    >>> network(images)["probabilities"].shape  # images: uint8 RGB (B, S, S, 3)
    (B, K)
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.session = open_session(path, threads, onnxruntime.get_available_providers())
        self.input = self.session.get_inputs()[0]
        self.outputs = [output.name for output in self.session.get_outputs()]

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return int(self.input.shape[1])

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """All outputs by name, float32 (B, …) each, of uint8 RGB images (B, S, S, 3)."""
        return dict(zip(self.outputs, self.session.run(None, {self.input.name: images}), strict=True))

    def in_batches(self, images: NDArray[np.uint8], batch_size: int) -> Outputs:
        """The same for many images, ``batch_size`` at a time."""
        starts = range(0, max(len(images), 1), batch_size)
        return _joined([self(np.asarray(images[start : start + batch_size])) for start in starts])


class OnnxClassifier:
    """Runs an exported :class:`sightline.core.deploy.Deployable`, whose one output is probabilities.

    >>> classifier = OnnxClassifier(Path("models/minerals/deployed/model.onnx"))
    >>> classifier(images).shape  # images: uint8 RGB (B, S, S, 3)
    (B, K)
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.network = OnnxNetwork(path, threads)

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return self.network.size

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities float32 (B, K) of uint8 RGB images (B, S, S, 3)."""
        return self.network(images)["probabilities"]

    def in_batches(self, images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
        """The same for many images, ``batch_size`` at a time."""
        return self.network.in_batches(images, batch_size)["probabilities"]


@dataclass(frozen=True)
class FolderOutputs:
    """What a network says of a folder of pictures.

    Attributes:
        names: the pictures' paths relative to the folder, sorted.
        outputs: the network's outputs, a row a name; empty where there is no picture.
        unreadable: files that are no whole pictures, with the reason.
    """

    names: list[str]
    outputs: Outputs
    unreadable: dict[str, str]


def run_on_folder(network: OnnxNetwork, folder: Path, workers: int, batch_size: int) -> FolderOutputs:
    """Run a network on every picture below ``folder``; hidden files are left out.

    Pictures are squashed to the network's square. They are decoded by ``workers`` threads while the network works on
    those before them.

    Raises:
        InputError: ``folder`` is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    paths = list_files(folder)
    if not paths:
        say(f"{folder} holds no files")
    found = FolderOutputs([], {}, {})
    batches = [network(batch) for batch in _batches(folder, paths, network.size, workers, batch_size, found)]
    for name, reason in found.unreadable.items():
        say(f"{name}: {reason}: left out")
    return FolderOutputs(found.names, _joined(batches), found.unreadable)


def _batches(
    folder: Path, paths: list[Path], size: int, workers: int, batch_size: int, found: FolderOutputs
) -> Iterator[NDArray[np.uint8]]:
    def read(path: Path) -> Pixels | str:
        try:
            return fit_to_square(read_image(path), size)
        except UnreadableImageError as error:
            return error.reason

    batch: list[Pixels] = []
    with progress(map_ordered(read, paths, workers), "classifying", len(paths), "picture") as looks:
        for path, look in zip(paths, looks, strict=True):
            name = path.relative_to(folder).as_posix()
            if isinstance(look, str):
                found.unreadable[name] = look
                continue
            found.names.append(name)
            batch.append(look)
            if len(batch) == batch_size:
                yield np.stack(batch)
                batch.clear()
    if batch:
        yield np.stack(batch)


def _joined(batches: list[Outputs]) -> Outputs:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in (batches[0] if batches else ())}
