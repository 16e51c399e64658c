"""Look at a convolutional network from outside: what its steps do, what they give out, how many weights they have."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """One step of a network on the way from picture to logits.

    Attributes:
        name: where it stands in the network, ``blocks.2`` for instance; ``pooling`` where maps become one vector
            outside of any module.
        stream: 0 for the first path from picture to logits, 1 for the next that begins at the picture again, ….
        layers: what it does, a text a layer.
        shape: of one sample's output, (C, H, W) or (C,).
        parameters: the number of its weights.
    """

    name: str
    layers: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    stream: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Give the form that the house style's ``architecture`` reads."""
        return asdict(self)


def trace(network: nn.Module, size: int) -> list[Step]:
    """Send one blank picture, (1, 3, size, size), through a network and list its steps in the order they ran.

    A step is a child module; a sequence of blocks counts as its blocks. A step that reads the picture itself begins a
    stream. Dropout is left out: in the deployed network it does nothing.
    """
    ran: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def remember(name: str) -> Any:
        return lambda module, inputs, output: ran.append((name, module, inputs[0], output))

    hooks = [module.register_forward_hook(remember(name)) for name, module in _steps(network, "")]
    picture = torch.zeros(1, 3, size, size)
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(picture)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    steps: list[Step] = []
    stream = -1
    for name, module, given, output in ran:
        if given is picture or stream < 0:
            stream += 1
        elif steps and len(steps[-1].shape) == 3 and given.ndim == 2:
            steps.append(Step("pooling", (), tuple(given.shape[1:]), 0, stream))
        if not isinstance(module, nn.Dropout):
            count = sum(parameter.numel() for parameter in module.parameters())
            steps.append(Step(name, tuple(_layers(module)), tuple(output.shape[1:]), count, stream))
    return steps


def lanes(block: nn.Module) -> dict[str, tuple[str, ...]]:
    """What each path of a block does, by the path's name; an empty sequence is an identity."""
    return {name: tuple(_layers(path)) or ("identity",) for name, path in block.named_children()}


def _steps(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and any(list(grandchild.children()) for grandchild in child):
            yield from _steps(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _layers(module: nn.Module) -> Iterator[str]:
    """Texts for a module's layers; normalisations and activations are told with the layer before them."""
    text = ""
    for part in _parts(module):
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm | nn.ReLU | nn.GELU | nn.SiLU | nn.Hardswish) and text:
            text += f", {_describe(part)}"
            continue
        if text:
            yield text
        text = _describe(part)
    if text:
        yield text


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _parts(child)
    elif not isinstance(module, nn.Dropout):
        yield module


def _describe(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        kind = "depthwise conv" if layer.groups == layer.in_channels > 1 else "conv"
        stride = f", stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
        return f"{layer.kernel_size[0]}×{layer.kernel_size[1]} {kind}{stride}, {layer.out_channels}"
    if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
        kind = "average" if isinstance(layer, nn.AvgPool2d) else "max"
        return f"{kind} pooling {layer.kernel_size}×{layer.kernel_size}"
    if isinstance(layer, nn.Linear):
        return f"linear, {layer.out_features}"
    if isinstance(layer, nn.BatchNorm2d):
        return "batch norm"
    name = type(layer).__name__
    # An acronym such as ReLU stays one; a name of words, such as SqueezeExcite, is taken apart.
    words = re.findall(r"[A-Z][a-z]+", name)
    return " ".join(words).lower() if "".join(words) == name.strip("_") else name.strip("_")
