"""Put a class more into a deployed ONNX graph: what it gave is left as it is, and the new class is worked out from it.

The network's own nodes are not touched, so nothing has to be exported again, and any runtime that served the old graph
serves the new one. A graph can be grown again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from sightline.core.errors import InputError
from sightline.core.files import replacing
from sightline.memes.growing import Beside, Grown


def graft(source: Path, target: Path, grown: Grown, *, features: str, logits: Sequence[str]) -> None:
    """Copy the graph ``source`` to ``target``, with the class that ``grown`` has learned in its logits.

    Args:
        source: a graph with the outputs named below.
        target: where to write the new one.
        grown: what was learned from ``features``.
        features: the output (B, D) that it judges by.
        logits: the outputs (B, K) that are to become (B, K + 1), under the same names; what a ``Head`` gives takes the
            place of each of them.

    Raises:
        InputError: the graph has not these outputs, or was written for an ONNX too old.
    """
    model = onnx.load(source)
    outputs = {output.name: output for output in model.graph.output}
    if missing := {features, *logits} - outputs.keys():
        raise InputError(f"{source} does not give {', '.join(sorted(missing))}: no class can be added to it")
    if max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0) < OPSET:
        raise InputError(f"{source} is written for an ONNX before operator set {OPSET}: no class can be added to it")
    grafts = _Graft(model)
    if isinstance(grown, Beside):
        lead = grafts.lead(features, grown)
        for name in logits:
            known = grafts.set_aside(name)
            temperature = grafts.constant(np.array([grown.temperature], np.float32))
            scaled = grafts.node("Div", [known, temperature])
            total = grafts.node("ReduceLogSumExp", [scaled, grafts.constant(np.array([1]))])
            grafts.join([known, grafts.node("Mul", [grafts.node("Add", [total, lead]), temperature])], name)
    else:
        for name in logits:
            grafts.set_aside(name)
            product = grafts.node("MatMul", [features, grafts.constant(grown.weight)])
            grafts.node("Add", [product, grafts.constant(grown.bias)], name)
    for name in logits:
        shape = outputs[name].type.tensor_type.shape.dim
        shape[1].dim_value += 1
    onnx.checker.check_model(model)
    with replacing(target) as part:
        onnx.save(model, part)


class _Graft:
    """New nodes, under names that no earlier graft has taken."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        taken = {name for node in self.graph.node for name in node.output}
        taken |= {content.name for content in self.graph.initializer}
        self.prefix = next(f"added{number}" for number in range(len(taken) + 1) if f"added{number}.0" not in taken)
        self.count = 0

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None) -> str:
        output = output or self._name()
        self.graph.node.append(helper.make_node(operator, list(inputs), [output]))
        return output

    def join(self, columns: Sequence[str], output: str) -> None:
        self.graph.node.append(helper.make_node("Concat", list(columns), [output], axis=1))

    def constant(self, value: NDArray[np.generic]) -> str:
        """The name of an initializer; one of the same content is used again (two classes share a projection)."""
        content = numpy_helper.from_array(np.ascontiguousarray(value))
        for known in self.graph.initializer:
            if (known.dims, known.data_type) == (content.dims, content.data_type) and np.array_equal(
                numpy_helper.to_array(known), value
            ):
                return str(known.name)
        content.name = self._name()
        self.graph.initializer.append(content)
        return str(content.name)

    def set_aside(self, name: str) -> str:
        """Give what an output holds another name, so that the output's own is free."""
        aside = self._name()
        for node in self.graph.node:
            for names in (node.input, node.output):
                for place, used in enumerate(names):
                    if used == name:
                        names[place] = aside
        return aside

    def lead(self, features: str, grown: Beside) -> str:
        """The new class's lead over the others, (B, 1), times its slope."""
        one = self.constant(np.array([1]))
        length = self.node("ReduceL2", [features, one])
        rows = self.node("Div", [features, self.node("Max", [length, self.constant(np.float32(1e-12).reshape(1))])])
        if grown.projection is not None:
            rows = self.node("Relu", [self.node("MatMul", [rows, self.constant(grown.projection)])])
        product = self.node("MatMul", [rows, self.constant(grown.weight)])
        scores = self.node("Add", [product, self.constant(grown.bias)])
        last = self.constant(np.array([len(grown.bias) - 1]))
        others = self.node("Slice", [scores, self.constant(np.array([0])), last, one])
        own = self.node("Slice", [scores, last, self.constant(np.array([len(grown.bias)])), one])
        margin = self.node("Sub", [own, self.node("ReduceMax", [others, one])])
        return self.node("Mul", [margin, self.constant(np.array([grown.slope], np.float32))])

    def _name(self) -> str:
        self.count += 1
        return f"{self.prefix}.{self.count - 1}"


OPSET = 18
