"""What is deployed against what was trained."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from sightline.core import deploy
from sightline.core.augment import whole
from sightline.core.deploy import Deployable, export_onnx
from sightline.core.errors import InputError
from sightline.core.serving import OnnxClassifier, OnnxNetwork, Outputs

SIZE, TEMPERATURE = 20, 1.7
IMAGES = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)


def network() -> nn.Module:
    """Small, unlike its mirror image, with batch statistics and dropout."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(32, 4),
    )
    with torch.no_grad():
        for _ in range(3):
            layers(torch.randn(16, 3, SIZE, SIZE))
        layers[-1].weight.mul_(4)
    return layers


def probabilities_by_hand(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each picture and its mirror image, averaged; before the temperature."""
    trained = network().eval()
    with torch.no_grad():
        both = [
            trained(torch.from_numpy((view / np.float32(255) - 0.5) / 0.25).permute(0, 3, 1, 2)).double().numpy()
            for view in (images, images[:, :, ::-1])
        ]
    return np.asarray(softmax(both, axis=2).mean(0))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deployed") / "model.onnx"
    assert export_onnx(Deployable(network(), mirror=True, temperature=TEMPERATURE), path, IMAGES) <= 1e-4
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    return path


@pytest.mark.parametrize("count", [1, 2, 7])
def test_what_is_deployed_averages_mirror_images_and_divides_by_the_temperature(deployed: Path, count: int) -> None:
    averaged = probabilities_by_hand(IMAGES[:count])
    expected = averaged ** (1 / TEMPERATURE)
    expected /= expected.sum(1, keepdims=True)
    found = OnnxClassifier(deployed, threads=1)(IMAGES[:count])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_mirror_and_temperature_it_is_the_softmax_of_the_network(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(Deployable(network(), mirror=False), path, IMAGES)
    with torch.no_grad():
        logits = network().eval()(torch.from_numpy((IMAGES / np.float32(255) - 0.5) / 0.25).permute(0, 3, 1, 2))
    np.testing.assert_allclose(OnnxClassifier(path)(IMAGES), softmax(logits.numpy(), 1), atol=1e-4)


def test_an_export_repeats_byte_for_byte(deployed: Path, tmp_path: Path) -> None:
    export_onnx(Deployable(network(), mirror=True, temperature=TEMPERATURE), tmp_path / "again.onnx", IMAGES)
    assert (tmp_path / "again.onnx").read_bytes() == deployed.read_bytes()


def test_a_model_says_nothing_of_the_machine_that_exported_it(deployed: Path) -> None:
    content = deployed.read_bytes()
    assert str(Path(deploy.__file__).parents[3]).encode() not in content
    assert b".py" not in content


def test_log_probabilities_are_those_before_the_temperature() -> None:
    module = Deployable(network(), mirror=True, temperature=TEMPERATURE).eval()
    with torch.no_grad():
        found = module.log_probabilities(torch.from_numpy(IMAGES)).exp().numpy()
    np.testing.assert_allclose(found, probabilities_by_hand(IMAGES), atol=1e-5)


class Certain(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([[500.0, 0.0, -500.0]]).repeat(len(images), 1)


def test_log_probabilities_of_a_certain_network_stay_finite() -> None:
    logs = Deployable(Certain(), mirror=True).log_probabilities(torch.from_numpy(IMAGES))
    np.testing.assert_allclose(logs, np.tile([0, -500, -1000], (7, 1)), atol=1e-3)


def test_a_runtime_that_disagrees_is_an_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(OnnxNetwork):
        def __call__(self, images: NDArray[np.uint8]) -> Outputs:
            return {name: output + np.float32(2e-4) for name, output in super().__call__(images).items()}

    monkeypatch.setattr(deploy, "OnnxNetwork", Wrong)
    with pytest.raises(RuntimeError, match="ONNX and torch differ by 2"):
        export_onnx(Deployable(network(), mirror=False), tmp_path / "model.onnx", IMAGES)
    assert not list(tmp_path.iterdir())


class Several(nn.Module):
    """A network with two outputs, one of them large numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(whole(images))
        return logits.softmax(1), 1e4 * logits


def test_several_outputs_bear_their_names(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert export_onnx(Several(), path, IMAGES, ("probabilities", "large")) <= 1e-4
    found = OnnxNetwork(path, threads=1).in_batches(IMAGES, batch_size=3)
    assert list(found) == ["probabilities", "large"]
    with torch.no_grad():
        expected = [output.numpy() for output in Several().eval()(torch.from_numpy(IMAGES))]
    np.testing.assert_allclose(found["probabilities"], expected[0], atol=1e-5)
    np.testing.assert_allclose(found["large"], expected[1], rtol=1e-4, atol=0.1)


def test_an_output_without_a_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        export_onnx(Several(), tmp_path / "model.onnx", IMAGES, ("probabilities",))
    assert not list(tmp_path.iterdir())


def test_batches_of_any_size_give_the_same_rows(deployed: Path) -> None:
    classify = OnnxClassifier(deployed, threads=1)
    assert classify.size == SIZE
    expected = np.concatenate([classify(IMAGES[row : row + 1]) for row in range(7)])
    for batch_size in (1, 3, 7, 100):
        found = classify.in_batches(IMAGES, batch_size)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert classify.in_batches(IMAGES[:0], 4).shape == (0, 4)


@pytest.mark.parametrize("keep", [0, 100, -1, None])
def test_a_file_that_is_no_whole_model_is_an_error(deployed: Path, tmp_path: Path, keep: int | None) -> None:
    path = tmp_path / "model.onnx"
    if keep is not None:
        path.write_bytes(deployed.read_bytes()[:keep])
    with pytest.raises(InputError) as caught:
        OnnxClassifier(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_service_needs_no_torch() -> None:
    code = (
        "import sys; import sightline.core.serving, sightline.minerals.predictor; "
        "print(sorted({'torch', 'lightning', 'sklearn'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
