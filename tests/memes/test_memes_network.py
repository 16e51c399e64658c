"""The memes' network: the pretrained features, normalised as they were learned, and back from its folder unchanged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sightline.core.backbone import Backbone, BackboneConfig, FeatureNetwork
from sightline.core.errors import InputError
from sightline.memes.network import describe, load_network, on_backbone, save_network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ARGUMENTS = {"channels": [8, 8, 16, 16], "stem_width": 8}


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(0)
    network = FeatureNetwork("resnet10t", ARGUMENTS).eval()
    config = BackboneConfig("tiny", "random", "resnet10t", ARGUMENTS, 32, MEAN, STD, 16, "0" * 64)
    return Backbone(network, config)


def pictures(count: int) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_features_are_those_of_the_backbone_with_its_own_normalisation(backbone: Backbone) -> None:
    network, _ = on_backbone(backbone, 3)
    images = pictures(5)
    features, logits = describe(network, images, batch_size=2)
    with torch.no_grad():
        expected = backbone.network(backbone.normalise(torch.from_numpy(images))).numpy()
        weight, bias = network.head.weight.numpy(), network.head.bias.numpy()
    assert (features.dtype, logits.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, expected @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_mirrored_views_are_averaged(backbone: Backbone) -> None:
    network, _ = on_backbone(backbone, 3)
    images = pictures(5)
    mirrored = images[:, :, ::-1]
    found = describe(network, images, batch_size=2, mirror=True)
    expected = zip(describe(network, images), describe(network, mirrored), strict=True)
    for both, (one, other) in zip(found, expected, strict=True):
        np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-4, atol=1e-5)


def test_no_pictures_give_no_features(backbone: Backbone) -> None:
    features, logits = describe(on_backbone(backbone, 3)[0], pictures(0))
    assert (features.shape, logits.shape) == ((0, 16), (0, 3))


def test_a_network_comes_back_from_its_folder(backbone: Backbone, tmp_path: Path) -> None:
    network, arguments = on_backbone(backbone, 3)
    config = {"arguments": arguments, "classes": ["a", "b", "c"]}
    save_network(tmp_path / "network", network, config)
    again, found = load_network(tmp_path / "network")
    assert found["classes"] == ["a", "b", "c"]
    assert not again.training
    for one, other in zip(describe(network, pictures(3)), describe(again, pictures(3)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_change_of_the_network_leaves_the_backbone_as_it_was(backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    network, _ = on_backbone(backbone, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{}", "config.json lacks 'arguments'"),
        ("config.json", "nonsense", "Expecting value"),
        ("model.safetensors", "nonsense", "holds no network of the memes task"),
    ],
)
def test_a_broken_folder_is_one_line(backbone: Backbone, tmp_path: Path, file: str, content: str, message: str) -> None:
    network, arguments = on_backbone(backbone, 2)
    save_network(tmp_path, network, {"arguments": arguments})
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_network(tmp_path)
    assert "\n" not in str(caught.value)
