from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from sightline.minerals.memory import memorise
from sightline.minerals.model import MineralNet


@pytest.fixture
def network() -> MineralNet:
    """A network in evaluation, with batch statistics and weights unlike those it starts with."""
    torch.manual_seed(0)
    network = MineralNet(8, exemplars=40)
    for _ in range(2):
        network(images(8))
    memorise(network.memory, network.votes, network.look(images(50)), np.arange(50) % 8, [1 / 8] * 8, 0.1, 0)
    network.balance.data = torch.tensor([1.0, 2.0])
    with torch.no_grad():
        for parameter in network.texture.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network.eval()


def images(count: int, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("height", "width"), [(48, 48), (65, 97), (192, 192)])
def test_every_size_within_the_bounds_gives_one_row_of_logits_an_image(
    network: MineralNet, height: int, width: int
) -> None:
    assert network(images(2, height, width)).shape == (2, 8)


def test_the_default_network_has_about_a_million_parameters_at_most() -> None:
    assert sum(parameter.numel() for parameter in MineralNet(8).parameters()) <= 1_050_000


def test_the_gradient_reaches_every_parameter_of_the_texture_stream_and_no_other() -> None:
    network = MineralNet(7)
    network(images(8)).logsumexp(1).sum().backward()
    for name, parameter in network.texture.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    trained = {parameter for parameter in network.parameters() if parameter.grad is not None}
    assert trained == set(network.texture.parameters())


def test_a_prediction_does_not_depend_on_the_other_images_of_the_batch(network: MineralNet) -> None:
    batch = images(4)
    alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(network(batch), alone, atol=1e-5, rtol=1e-4)


def test_training_twice_from_one_seed_gives_the_same_weights() -> None:
    def trained() -> dict[str, Tensor]:
        torch.manual_seed(3)
        network = MineralNet(7, drop_path=0.5)
        optimizer = torch.optim.SGD(network.texture.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            network(images(8)).logsumexp(1).sum().backward()
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
    optimizer = torch.optim.AdamW(network.texture.parameters(), lr=2e-3)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch), targets).backward()
        optimizer.step()
    assert torch.equal(network(batch).argmax(1), targets)


def test_the_logits_are_the_balanced_sum_of_both_streams(network: MineralNet) -> None:
    batch = images(4)
    network.balance.data = torch.tensor([0.5, 3.0])
    expected = 0.5 * network.texture(batch) + 3 * network.recall(batch)
    torch.testing.assert_close(network(batch), expected)


def test_before_it_is_fitted_the_memory_has_no_say() -> None:
    network = MineralNet(3).eval()
    torch.testing.assert_close(network(images(2)), network.texture(images(2)))


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
