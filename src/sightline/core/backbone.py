"""A pretrained network as a folder: ``model.safetensors`` (a timm state dict) and ``config.json`` (how to use it).

Written by the ``backbone`` stages, read by every task that starts from a pretrained network.

    backbone = load_backbone(Path("models/backbone/procedural"))
    with torch.inference_mode():
        features = backbone.network(backbone.normalise(images))  # uint8 (B, S, S, 3) to float32 (B, features)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers.adaptive_avgmax_pool import AdaptiveAvgMaxPool2d, AdaptiveCatAvgMaxPool2d, SelectAdaptivePool2d
from torch import Tensor, nn

from sightline.core.augment import whole
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, sha256, write_json
from sightline.core.weights import write_weights


@dataclass(frozen=True)
class BackboneConfig:
    """What is known of a pretrained network.

    ``source`` is procedural, random, imagenet or path; ``architecture`` a timm name, built with ``arguments``; ``size``
    the side in px of the square that pictures are squashed to; ``mean`` and ``std`` RGB, on the scale from 0 to 1;
    ``features`` the length of a feature vector; ``sha256`` that of the weights.
    """

    name: str
    source: str
    architecture: str
    arguments: dict[str, Any]
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    features: int
    sha256: str
    resize: str = "squash"


class FeatureNetwork(nn.Module):
    """A timm network without its classifier: normalised float32 (B, 3, S, S) to pooled features (B, features).

    ``maps`` passes the feature maps on unchanged: a hook on it (Grad-CAM's target layer) sees them and their gradients.
    Its weights are trainable; ``model`` is the timm network itself, but for poolings without a deterministic gradient
    on a GPU.

    Raises:
        InputError: timm does not know the architecture or an argument.
    """

    def __init__(self, architecture: str, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        try:
            self.model: Any = timm.create_model(architecture, pretrained=False, num_classes=0, **(arguments or {}))
        except (RuntimeError, TypeError, AssertionError) as error:
            raise InputError(f"timm cannot build '{architecture}' with {dict(arguments or {})}: {error}") from None
        _pool_deterministically(self.model)
        self.maps = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features (B, features)."""
        return self.pool(self.feature_maps(images))

    def feature_maps(self, images: Tensor) -> Tensor:
        """What is pooled: (B, C, h, w) of a convolutional network, (B, tokens, C) of a transformer."""
        maps: Tensor = self.maps(self.model.forward_features(images))
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """Feature maps to (B, features), with what the architecture has between pooling and its classifier."""
        pooled: Tensor = self.model.forward_head(maps, pre_logits=True)
        return pooled

    @torch.no_grad()
    def count_features(self, size: int) -> int:
        """The length of a feature vector, from a blank picture: timm's attributes leave out what pooling may double."""
        was_training = self.training
        count = self.eval()(torch.zeros(1, 3, size, size)).shape[1]
        self.train(was_training)
        return int(count)


def _pool_deterministically(model: nn.Module) -> None:
    """Let poolings that take a maximum over the whole picture do so by ``amax``, as timm's ``fast`` ones do.

    ``nn.AdaptiveMaxPool2d``, which timm takes otherwise, has no deterministic gradient on a GPU. The values are the
    same; of equal maxima each gets a share of the gradient.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, SelectAdaptivePool2d) and isinstance(module.pool, ADAPTIVE_MAXIMA):
            flatten = not isinstance(module.flatten, nn.Identity)
            model.set_submodule(name, SelectAdaptivePool2d(pool_type=f"fast{module.pool_type}", flatten=flatten))


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, in eval mode, and how to use it."""

    network: FeatureNetwork
    config: BackboneConfig

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB (B, S, S, 3), squashed by :func:`sightline.core.images.fit_to_square`, to float32 (B, 3, S, S)."""
        return whole(images, self.config.mean, self.config.std)


def load_backbone(folder: Path) -> Backbone:
    """Load what :func:`save_backbone` wrote.

    Raises:
        InputError: the folder holds no backbone, or its weights are not those that its config describes.
    """
    weights = folder / "model.safetensors"
    config = read_config(folder)
    try:
        found = sha256(weights)
    except OSError as error:
        raise InputError(f"{folder} holds no backbone: {error}") from None
    if found != config.sha256:
        raise InputError(f"{weights} is not the file that its config.json describes: run the backbone's stage again")
    network = FeatureNetwork(config.architecture, config.arguments)
    load_weights(network, weights)
    return Backbone(network.eval(), config)


def read_config(folder: Path) -> BackboneConfig:
    """Read what is known of the network in ``folder``, without its weights.

    Raises:
        InputError: the folder holds no such description.
    """
    try:
        content = read_json(folder / "config.json")
        known = {field.name: content[field.name] for field in fields(BackboneConfig)}
        known |= {name: tuple(content[name]) for name in ("mean", "std")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"config.json lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{folder} holds no backbone: {reason}") from None
    return BackboneConfig(**known)


def save_backbone(folder: Path, network: FeatureNetwork, extras: Mapping[str, Any], **known: Any) -> BackboneConfig:
    """Write ``network`` to ``folder``, whole or not at all, and return its config.

    ``known`` are the fields of :class:`BackboneConfig` but ``features`` and ``sha256``, which are found here;
    ``extras`` go into config.json beside them.
    """
    with replacing_folder(folder) as part:
        weights = part / "model.safetensors"
        write_weights(weights, network.model.state_dict())
        config = BackboneConfig(features=network.count_features(known["size"]), sha256=sha256(weights), **known)
        write_json(part / "config.json", {**{f.name: getattr(config, f.name) for f in fields(config)}, **extras})
    return config


def load_weights(network: FeatureNetwork, path: Path) -> None:
    """Load a state dict of the same timm architecture: a .safetensors file, or one that torch.save wrote (.pth, .pt).

    The weights of a classifier may be there or not; they are left out. A pickled file is read without running what is
    in it; a state dict under the key ``state_dict`` or ``model`` is found.

    Raises:
        InputError: the file is missing or no state dict, or its weights are not those of the architecture; the message
            names a few.
    """
    state = _read_state(path)
    expected = network.model.state_dict()
    classifiers = network.model.pretrained_cfg.get("classifier") or ()
    heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    state = {name: value for name, value in state.items() if not name.startswith(tuple(f"{head}." for head in heads))}
    # Files from before torch 0.4.1 do not count batches; only a training with another momentum asks for that.
    state |= {n: v for n, v in expected.items() if n.endswith("num_batches_tracked") and n not in state}
    shapes = {name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape}
    problems = [
        f"{text} {_some(names)}"
        for text, names in (
            ("lacks", expected.keys() - state.keys()),
            ("has unknown", state.keys() - expected.keys()),
            ("has other shapes of", shapes),
        )
        if names
    ]
    if problems:
        name = network.model.pretrained_cfg.get("architecture", "the architecture")
        raise InputError(f"{path} does not fit {name}: it {'; '.join(problems)}")
    network.model.load_state_dict(state)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give the path of a .safetensors or .pth file") from None
    # torch and pickle report what they cannot read by any of these.
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is no state dict: {_first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 - pickle.UnpicklingError among others, by their many ways out of torch
        raise InputError(f"{path} is no state dict that can be read safely: {_first_line(error)}") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} is no state dict: it holds something else than named tensors")
    return {str(name): value for name, value in state.items()}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _some(names: "set[str] | Any") -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


ADAPTIVE_MAXIMA = (nn.AdaptiveMaxPool2d, AdaptiveAvgMaxPool2d, AdaptiveCatAvgMaxPool2d)
