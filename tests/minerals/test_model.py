from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from sightline.core.augment import MEAN, STD
from sightline.minerals.model import MineralNet


@pytest.fixture
def network() -> MineralNet:
    """A network in evaluation, with batch statistics and weights unlike those it starts with."""
    torch.manual_seed(0)
    network = MineralNet(8)
    for _ in range(2):
        network(images(8))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network.eval()


def images(count: int, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("height", "width"), [(48, 48), (65, 97), (192, 192)])
def test_every_size_within_the_bounds_gives_one_row_of_logits_an_image(
    network: MineralNet, height: int, width: int
) -> None:
    assert network(images(2, height, width)).shape == (2, 8)
    assert network.embed(images(2, height, width)).shape == (2, network.embedding_size)


def test_the_default_network_has_at_most_a_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in MineralNet(8).parameters()) <= 1_000_000


def test_the_gradient_reaches_every_parameter() -> None:
    network = MineralNet(7)
    network(images(8)).logsumexp(2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_prediction_does_not_depend_on_the_other_images_of_the_batch(network: MineralNet) -> None:
    batch = images(4)
    alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(network(batch), alone, atol=1e-5, rtol=1e-4)


def test_training_twice_from_one_seed_gives_the_same_weights() -> None:
    def trained() -> dict[str, Tensor]:
        torch.manual_seed(3)
        network = MineralNet(7, drop_path=0.5)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            network(images(8)).logsumexp(2).sum().backward()
            optimizer.step()
        return network.state_dict()

    torch.use_deterministic_algorithms(True)
    try:
        first, second = trained(), trained()
    finally:
        torch.use_deterministic_algorithms(False)
    for name, weights in first.items():
        assert torch.equal(weights, second[name]), name


def test_the_network_can_learn_a_colour_by_heart() -> None:
    torch.manual_seed(0)
    network = MineralNet(2, dropout=0.0, drop_path=0.0)
    batch, targets = images(16), torch.arange(16) % 2
    batch[:, 0] += targets[:, None, None] - 0.5
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch).flatten(0, 1), targets.repeat(2)).backward()
        optimizer.step()
    for logits in network(batch):
        assert torch.equal(logits.argmax(1), targets)


def test_the_logits_are_the_geometric_mean_of_what_the_streams_say(network: MineralNet) -> None:
    batch = images(4)
    features = network.embed(batch)
    texture, colour = features.split([features.shape[1] - 128, 128], 1)
    texture, colour = network.texture_classifier(texture).softmax(1), network.colour_classifier(colour).softmax(1)
    expected = (texture * colour).sqrt()
    torch.testing.assert_close(network(batch).softmax(1), expected / expected.sum(1, keepdim=True))


def test_the_colour_histogram_counts_what_numpy_counts() -> None:
    # Only colours at the centres of bins, where the soft count and the hard one agree.
    rng = np.random.default_rng(0)
    light, red_green, yellow_blue = (rng.choice(values, (64, 64)) for values in (LIGHT, RED_GREEN, YELLOW_BLUE))
    blue = light - 2 * yellow_blue / 3
    red, green = blue + yellow_blue + red_green / 2, blue + yellow_blue - red_green / 2
    axes = np.stack([red_green, yellow_blue, light], -1)
    edges = [_edges(-0.4, 0.4, 9), _edges(-0.45, 0.45, 9), _edges(0, 1, 6)]
    expected = []
    for part in (axes[::2, ::2], axes[16:48:2, 16:48:2]):
        counts = np.histogramdd(part.reshape(-1, 3), edges)[0]
        expected.append(counts.ravel() / counts.sum())
    pixels = (np.stack([red, green, blue]) - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    bins = MineralNet(2).histogram(torch.from_numpy(pixels)[None].float())[0].numpy()
    np.testing.assert_allclose((bins + 0.1) ** 4 - 1e-4, np.concatenate(expected), atol=1e-5)


def test_where_things_lie_within_a_picture_does_not_change_its_histogram() -> None:
    histogram = MineralNet(2).histogram
    blocks = images(1, 24, 24).repeat_interleave(2, 2).repeat_interleave(2, 3)
    whole, mirrored = (histogram(view) for view in (blocks, blocks.flip(2, 3)))
    torch.testing.assert_close(whole, mirrored)


def _edges(low: float, high: float, count: int) -> Any:
    centres = np.linspace(low, high, count)
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


LIGHT = np.array([0.4, 0.6])
RED_GREEN = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
YELLOW_BLUE = np.array([-0.225, -0.1125, 0.0, 0.1125, 0.225])


def test_the_onnx_export_agrees_with_torch_at_other_batch_sizes(network: MineralNet, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        network,
        (images(2),),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        (logits,) = session.run(["logits"], {"images": images(count).numpy()})
        with torch.no_grad():
            expected = network(images(count)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)
