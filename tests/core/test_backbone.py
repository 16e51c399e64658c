"""Backbones: what comes out is what timm itself computes, and a file that does not fit is named."""

import json
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.core.backbone import FeatureNetwork, load_backbone, load_weights, save_backbone
from sightline.core.errors import InputError

SIZE = 64
KNOWN: dict[str, Any] = {
    "name": "test",
    "source": "path",
    "architecture": "resnet10t",
    "arguments": {"channels": [8, 8, 16, 16], "stem_width": 4},
    "size": SIZE,
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.25, 0.3),
}


def network(architecture: str = "resnet10t", arguments: dict[str, Any] | None = None) -> FeatureNetwork:
    torch.manual_seed(1)
    return FeatureNetwork(architecture, KNOWN["arguments"] if arguments is None else arguments)


def reference(classes: int = 5) -> Any:
    """What a user may have: the whole timm network, its classifier included, with statistics of its own."""
    torch.manual_seed(2)
    model = timm.create_model("resnet10t", num_classes=classes, **KNOWN["arguments"])
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value) if "running" in name else 0.05 * torch.randn_like(value))
    return model.eval()


def pictures(count: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("nested", [False, True])
def test_features_are_those_of_timm_before_its_classifier(tmp_path: Path, name: str, nested: bool) -> None:
    model = reference()
    if name.endswith("safetensors"):
        save_file(model.state_dict(), tmp_path / name)
    else:
        torch.save({"epoch": 3, "state_dict": model.state_dict()} if nested else model.state_dict(), tmp_path / name)
    made = network()
    load_weights(made, tmp_path / name)
    save_backbone(tmp_path / "backbone", made, {"note": "x"}, **KNOWN)
    backbone = load_backbone(tmp_path / "backbone")
    assert not backbone.network.training
    assert json.loads((tmp_path / "backbone/config.json").read_text())["note"] == "x"

    images = pictures()
    with torch.inference_mode():
        mean, std = (torch.tensor(KNOWN[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        normalised = (images.permute(0, 3, 1, 2) / 255 - mean) / std
        expected = model.forward_head(model.forward_features(normalised), pre_logits=True)
        torch.testing.assert_close(backbone.normalise(images), normalised)
        torch.testing.assert_close(backbone.network(backbone.normalise(images)), expected)
    assert backbone.config.features == expected.shape[1] == 16
    # The file is a plain timm state dict that others can load.
    headless = timm.create_model("resnet10t", num_classes=0, **KNOWN["arguments"])
    headless.load_state_dict(load_file(tmp_path / "backbone/model.safetensors"), strict=True)


@pytest.mark.parametrize(
    ("architecture", "features"), [("mobilenetv3_small_050", 1024), ("mobilenetv2_035", 1280), ("resnet10t", 512)]
)
def test_the_length_of_features_is_found_whatever_the_head(tmp_path: Path, architecture: str, features: int) -> None:
    made = network(architecture, {})
    known = KNOWN | {"architecture": architecture, "arguments": {}}
    assert save_backbone(tmp_path / "out", made.train(), {}, **known).features == features
    assert made.training
    assert load_backbone(tmp_path / "out").network(torch.zeros(2, 3, SIZE, SIZE)).shape == (2, features)


@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [
        *product(("resnet10t", "mobilenetv2_050"), ("avg", "max", "avgmax", "catavgmax")),
        *(("convnext_atto", pooling) for pooling in ("avg", "max")),
    ],
)
def test_every_pooling_gives_what_timms_own_does(architecture: str, pooling: str) -> None:
    made = network(architecture, {"global_pool": pooling}).eval()
    model = timm.create_model(architecture, num_classes=0, global_pool=pooling).eval()
    model.load_state_dict(made.model.state_dict())
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(made(images), model(images))


def test_a_hook_on_the_maps_sees_maps_and_gradients_and_all_weights_train() -> None:
    made = network().train()
    seen: list[Tensor] = []
    made.maps.register_forward_hook(lambda module, inputs, output: seen.append(output))
    made.maps.register_full_backward_hook(lambda module, given, taken: seen.append(taken[0]))
    features = made(torch.randn(2, 3, SIZE, SIZE))
    features.square().sum().backward()
    maps, gradients = seen
    assert maps.shape == gradients.shape == (2, 16, 2, 2)
    torch.testing.assert_close(maps.mean((2, 3)), features)
    # A feature is the mean of four places, so each place has a quarter of twice the feature.
    torch.testing.assert_close(gradients, (features / 2)[:, :, None, None].expand_as(gradients))
    assert all(parameter.grad is not None for parameter in made.parameters())


def spoilt(change: Any, folder: Path) -> Path:
    state = dict(reference().state_dict())
    change(state)
    save_file(state, folder / "spoilt.safetensors")
    return folder / "spoilt.safetensors"


def drop_a_block(state: dict[str, Tensor]) -> None:
    for name in [name for name in state if name.startswith("layer3.")]:
        del state[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_a_block, r"does not fit resnet10t: it lacks layer3\.\S+, layer3\.\S+, layer3\.\S+ and \d+ more$"),
        (lambda s: s.update({"neck.weight": torch.zeros(2)}), r"has unknown neck\.weight$"),
        (lambda s: s.update({"bn1.bias": torch.zeros(7)}), r"has other shapes of bn1\.bias$"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_weights(network(), spoilt(change, tmp_path))


def test_a_missing_classifier_and_missing_counts_of_batches_are_fine(tmp_path: Path) -> None:
    def strip(state: dict[str, Tensor]) -> None:
        for name in [name for name in state if name.startswith("fc.") or name.endswith("num_batches_tracked")]:
            del state[name]

    made = network()
    load_weights(made, spoilt(strip, tmp_path))
    torch.testing.assert_close(made.model.conv1[0].weight, reference().conv1[0].weight)


class Trap:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", b"no tensors", "is no state dict"),
        ("a.pth", b"no tensors", "is no state dict"),
        ("a.pth", b"", "is no state dict"),
        ("a.pth", pickle.dumps({"weight": Trap()}, protocol=2), "is no state dict"),
        ("a.pth", None, "is missing"),
    ],
)
def test_files_that_are_no_state_dict_are_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_weights(network(), Path(name))
    assert "\n" not in str(error.value)
    assert not Path("sprung").exists()


def test_a_file_of_other_things_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": 3}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="something else than named tensors"):
        load_weights(network(), tmp_path / "a.pth")


@pytest.mark.parametrize(("architecture", "arguments"), [("resnet9000", {}), ("resnet10t", {"colour": "red"})])
def test_an_architecture_that_timm_does_not_know_is_an_error(architecture: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"timm cannot build '{architecture}'"):
        FeatureNetwork(architecture, arguments)


def test_a_folder_that_holds_no_backbone_or_a_mixed_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no backbone"):
        load_backbone(tmp_path)
    save_backbone(tmp_path / "one", network(), {}, **KNOWN)
    config = tmp_path / "one/config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({key: value for key, value in content.items() if key != "mean"}))
    with pytest.raises(InputError, match=r"config\.json lacks 'mean'"):
        load_backbone(tmp_path / "one")
    config.write_text(json.dumps(content | {"sha256": "0" * 64}))
    with pytest.raises(InputError, match="not the file that its config"):
        load_backbone(tmp_path / "one")
