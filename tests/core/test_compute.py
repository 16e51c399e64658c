"""Repeatable arithmetic: what is refused, and that no network has a step that a GPU cannot repeat."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sightline.backbone.pretrain import _Classifier
from sightline.core.augment import Augmentation, augment, mix
from sightline.core.backbone import FeatureNetwork
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.faces.emotion_network import EmotionNet
from sightline.faces.identity_network import IdentityNet
from sightline.memes.network import MemeNet
from sightline.minerals.model import MineralNet
from sightline.params import Compute
from sightline.parts.yolo import DetectionLoss, as_input, build, read_architecture

# The operators that raise on a CUDA tensor when algorithms must be deterministic: torch 2.15,
# https://docs.pytorch.org/docs/2.15/generated/torch.use_deterministic_algorithms.html, in the names of ATen.
WITHOUT_DETERMINISTIC_CUDA = {
    "avg_pool3d_backward",
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "max_unpool2d",
    "max_unpool3d",
    "upsample_linear1d_backward",
    "upsample_bilinear2d_backward",
    "_upsample_bilinear2d_aa_backward",
    "upsample_bicubic2d_backward",
    "_upsample_bicubic2d_aa_backward",
    "upsample_trilinear3d_backward",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "nll_loss2d_forward",
    "_ctc_loss_backward",
    "_embedding_bag_backward",
    "put",
    "put_",
    "histc",
    "median",
    "kthvalue",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "scatter_reduce",
    "scatter_reduce_",
    # Only with weights, see below.
    "bincount",
}
# What torch hands on to MKL, and gives other last bits by the maker of the processor: see sightline.core.portable.
BY_MAKER = {f"{name}{end}" for name in ("sqrt", "pow 0.5", "acos", "asin", "atan", "tan") for end in ("", "_")}
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
Step = Callable[[], Tensor]


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


class Operators(TorchDispatchMode):
    """The names of all operators that run, those of the backward pass among them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        # median without a dimension gives no index.
        is_harmless = (name == "bincount" and len(args) < 2) or (name == "median" and len(args) < 2)
        if not is_harmless:
            self.names.add(f"{name} 0.5" if name.startswith("pow") and _is_half(args[1]) else name)
        return func(*args, **kwargs or {})


def _is_half(exponent: Any) -> bool:
    return isinstance(exponent, float) and exponent == 0.5


def operators_of(step: Step) -> set[str]:
    """The operators of a step of training."""
    with Operators() as operators:
        step().backward()
    assert any(name.endswith("backward") for name in operators.names)
    return operators.names


def classify(network: nn.Module, classes: int, packed: int, view: int) -> Step:
    """What :func:`sightline.core.classifier.fit` does with a batch."""
    strengths = Augmentation(rotate=10, blur=1.0, erase=1.0, hue=0.1, saturation=0.2, grayscale=0.5, contrast=0.2)

    def step() -> Tensor:
        images = torch.randint(0, 255, (4, packed, packed, 3), dtype=torch.uint8)
        keys = torch.arange(12).view(4, 3)
        views = augment(images, keys, view, strengths)
        views, targets = mix(views, F.one_hot(torch.arange(4) % classes, classes).float(), keys, 0.5, 0.5)
        return F.cross_entropy(network.train()(views), targets, label_smoothing=0.1)

    return step


DEFAULT = {"channels": [8, 8, 16, 16], "stem_width": 8, "global_pool": "catavgmax"}


def pretraining() -> Step:
    traits = [("red",), ("red", "round"), ("round",)]
    return classify(_Classifier(FeatureNetwork("resnet10t", DEFAULT), 64, 16.0, traits), 3, 72, 64)


def memes(architecture: str, **arguments: Any) -> Step:
    features = FeatureNetwork(architecture, arguments).count_features(96)
    mean = (0.5, 0.5, 0.5)
    return classify(MemeNet(architecture, arguments, features, 2, mean, mean), 2, 96, 96)


def detecting(architecture: str, side: int = 64) -> Step:
    network = build(read_architecture(architecture), 2)
    loss = DetectionLoss(network, (7.5, 0.5, 1.5))

    def step() -> Tensor:
        images = torch.randint(0, 255, (2, side, side, 3), dtype=torch.uint8)
        boxes = torch.tensor([[0.4, 0.4, 0.3, 0.2], [0.6, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]])
        return loss(network.train()(as_input(images)), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), boxes).sum()

    return step


NETWORKS: dict[str, Callable[[], Step]] = {
    "MineralNet": lambda: classify(MineralNet(3, width=8, exemplars=4).texture, 3, 72, 64),
    "IdentityNet": lambda: classify(IdentityNet(3, 8), 3, 64, 64),
    "IdentityNet on another size": lambda: classify(IdentityNet(3, 8), 3, 96, 96),
    "EmotionNet": lambda: classify(EmotionNet(7, 8), 7, 112, 96),
    "EmotionNet on another size": lambda: classify(EmotionNet(7, 8), 7, 128, 128),
    "pretraining": pretraining,
    "memes": lambda: memes("resnet10t", **DEFAULT),
    "memes, mobilenetv2": lambda: memes("mobilenetv2_050"),
    "memes, maximum": lambda: memes("resnet10t", **DEFAULT | {"global_pool": "max"}),
    "memes, mean and maximum": lambda: memes("resnet10t", **DEFAULT | {"global_pool": "avgmax"}),
    "detector": lambda: detecting("detector"),
    "yolo11n": lambda: detecting("yolo11n"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_machine_can_repeat_a_step_of_training(name: str) -> None:
    torch.manual_seed(0)
    operators = operators_of(NETWORKS[name]())
    assert not operators & WITHOUT_DETERMINISTIC_CUDA
    assert not operators & BY_MAKER


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.AdaptiveAvgPool2d(3), "_adaptive_avg_pool2d_backward"),
        (nn.AdaptiveMaxPool2d(1), "adaptive_max_pool2d_backward"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), "upsample_bilinear2d_backward"),
        (nn.ReflectionPad2d(1), "reflection_pad2d_backward"),
    ],
)
def test_what_a_gpu_cannot_repeat_is_found(layer: nn.Module, name: str) -> None:
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    assert operators_of(lambda: layer(images).sum()) & WITHOUT_DETERMINISTIC_CUDA == {name}


@pytest.mark.parametrize(
    ("function", "name"), [(torch.sqrt, "sqrt"), (lambda x: x**0.5, "pow 0.5"), (torch.atan, "atan")]
)
def test_what_differs_by_maker_is_found(function: Callable[[Tensor], Tensor], name: str) -> None:
    values = torch.rand(9, requires_grad=True)
    assert operators_of(lambda: F.relu(function(values)).sum()) & BY_MAKER == {name}


@pytest.mark.parametrize(
    ("accelerator", "available", "remedy"),
    [("gpu", torch.cuda, "nvidia-smi"), ("mps", torch.backends.mps, "compute.accelerator to cpu")],
)
def test_an_accelerator_that_is_not_there_is_an_error_with_a_remedy(
    accelerator: str, available: Any, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(available, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"compute.accelerator is {accelerator}.*{remedy}"):
        prepare(COMPUTE.model_copy(update={"accelerator": accelerator}), 0)


FAULTS = """
import resource
import numpy as np
from sightline.core.compute import prepare
from sightline.params import Compute

def faults():
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        layers = [np.ones(2**20, np.uint8) for _ in range(20)]
        del layers
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

before = faults()
prepare(Compute(threads=1, accelerator="cpu", precision="32-true"), 0)
faults()
print(before, faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library takes no advice")
def test_memory_that_is_freed_is_kept() -> None:
    found = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, found.stdout.split())
    assert before > 5000
    assert after < before / 20
