"""From a trained network to what is deployed: one ONNX graph, from uint8 pixels to calibrated probabilities."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.core.augment import whole
from sightline.core.files import replacing
from sightline.core.serving import OnnxNetwork

TOLERANCE = 1e-4


class Deployable(nn.Module):
    """A network with all that surrounds it: uint8 RGB (B, S, S, 3) in, probabilities float32 (B, K) out.

    With ``mirror`` the probabilities of a picture and its mirror image are averaged before the temperature is applied.
    """

    def __init__(self, network: nn.Module, *, mirror: bool, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.mirror = mirror
        self.temperature = temperature

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Log-probabilities (B, K) before the temperature; what a temperature is fitted to."""
        views = whole(images)
        if not self.mirror:
            return torch.as_tensor(self.network(views).log_softmax(1))
        if torch.compiler.is_exporting():
            # Exporting takes as long as the graph is large: it holds the network once, for both views side by side.
            both = self.network(torch.cat([views, views.flip(3)])).log_softmax(1)
            logs, mirrored = both.unflatten(0, (2, -1)).unbind()
        else:
            logs, mirrored = (self.network(view).log_softmax(1) for view in (views, views.flip(3)))
        return torch.logaddexp(logs, mirrored) - math.log(2)

    def forward(self, images: Tensor) -> Tensor:
        """Calibrated probabilities (B, K)."""
        return (self.log_probabilities(images) / self.temperature).softmax(1)


def export_onnx(
    module: nn.Module, path: Path, sample: NDArray[np.uint8], outputs: Sequence[str] = ("probabilities",)
) -> float:
    """Export ``module`` with a free batch axis and compare it with torch on ``sample``, uint8 (B, S, S, 3).

    Args:
        module: from uint8 images (B, S, S, 3) to float32 (B, …), or to a tuple of those, one for each of ``outputs``.
        path: where to write the graph.
        sample: the images to compare on.
        outputs: names of what the module gives, in its order.

    Returns:
        The largest difference of a probability, or of another output as a share of its largest value.

    Raises:
        RuntimeError: the difference is above 1e-4: the exporter or the runtime is at fault.
    """
    module.eval()
    images = torch.from_numpy(np.array(sample))
    with replacing(path) as part:
        with warnings.catch_warnings():
            # The exporter warns of its own future.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (images[:2],),
                part,
                input_names=["images"],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
                # ONNX Runtime optimises when it loads; doing it here as well doubles the time and gains nothing.
                optimize=False,
            )
        _forget_origin(part)
        with torch.inference_mode():
            given = module(images)
        expected = dict(zip(outputs, given if isinstance(given, tuple) else (given,), strict=True))
        found = OnnxNetwork(part, threads=1)(sample)
        differences = {name: _difference(found[name], expected[name].numpy()) for name in outputs}
        for name, difference in differences.items():
            if not difference <= TOLERANCE:
                raise RuntimeError(f"ONNX and torch differ by {difference:.2e} in {name}")
    return max(differences.values())


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference; where values exceed 1, as a share of the largest of them."""
    return float(np.abs(found - expected).max() / max(1, np.abs(expected).max()))


def _forget_origin(path: Path) -> None:
    """Take out the stack traces that the exporter notes at every node: they hold paths of this machine."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    onnx.save(model, path)
