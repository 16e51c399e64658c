"""Learners that share a batch: their gradient is that of the batch, and their random numbers are their own."""

import copy
import threading
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from sightline.core.shares import Shares
from sightline.params import Compute

SAMPLES = torch.randn(21, 3, 6, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randn(21, 4, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def compute(threads: int, accelerator: str = "cpu") -> Compute:
    return Compute.model_validate({"threads": threads, "accelerator": accelerator, "precision": "32-true"})


def network(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), *more, nn.Flatten(), nn.Linear(80, 4))


def study(learner: nn.Module, share: slice) -> Tensor:
    return F.mse_loss(learner(SAMPLES[share]), TARGETS[share])


def step(learners: Shares, samples: int = 21, number: int = 0) -> float:
    parts = learners.split(samples)
    weights = [(part.stop - part.start) / samples for part in parts]
    loss = learners.loss(study, parts, weights, (7, 1, number))
    learners.backward(loss)
    return loss.item()


def gradients(net: nn.Module) -> list[Tensor]:
    return [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_the_gradient_is_that_of_the_whole_batch(threads: int) -> None:
    net = network()
    expected = study(net, slice(None))
    expected.backward()
    whole = gradients(net)
    net.zero_grad()
    with Shares(net, compute(threads), 21, 2) as learners:
        for number in range(3):
            assert step(learners, number=number) == pytest.approx(expected.item(), rel=1e-5)
    assert len(whole) == 4
    for found, one in zip(gradients(net), whole, strict=True):
        torch.testing.assert_close(found, 3 * one, rtol=1e-4, atol=1e-6)


def test_learners_follow_an_optimizer_and_new_weights() -> None:
    alone, together = network(), network()
    with Shares(alone, compute(1), 21, 2) as one, Shares(together, compute(2), 21, 2) as two:
        for number in range(4):
            for net, learners in ((alone, one), (together, two)):
                if number == 2:
                    net.load_state_dict(network().state_dict())
                step(learners, number=number)
                torch.optim.SGD(net.parameters(), 0.1).step()
                net.zero_grad()
    for found, expected in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_norms_see_their_share_and_keep_the_mean_of_statistics() -> None:
    net = network(nn.BatchNorm2d(5))
    parts = [copy.deepcopy(net) for _ in range(3)]
    with Shares(net, compute(3), 21, 2) as learners:
        assert [part.stop - part.start for part in learners.split(21)] == [7, 7, 7]
        for number in range(2):
            step(learners, number=number)
            for part, own in zip(parts, learners.split(21), strict=True):
                part(SAMPLES[own])
    for name in ("running_mean", "running_var"):
        expected = torch.stack([getattr(part[1], name) for part in parts]).mean(0)
        torch.testing.assert_close(getattr(net[1], name), expected)
    assert net[1].num_batches_tracked == 2


class Noisy(nn.Module):
    """Draws in all the ways that networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.4), nn.Dropout(0.3, inplace=True), DropPath(0.3))

    def forward(self, features: Tensor) -> Tensor:
        noise = torch.rand(features.shape) * torch.bernoulli(torch.full(features.shape, 0.9))
        result: Tensor = self.layers(features * 1.0) + noise
        return result


def test_random_numbers_depend_on_seed_step_and_learner_alone() -> None:
    def gradients_after(numbers: list[int], threads: int = 3) -> list[Tensor]:
        net = network(Noisy())
        with Shares(net, compute(threads), 21, 2) as learners:
            for number in numbers:
                net.zero_grad()
                torch.manual_seed(len(numbers))
                step(learners, number=number)
        return gradients(net)

    def equal(one: list[Tensor], two: list[Tensor]) -> bool:
        return all(torch.equal(*pair) for pair in zip(one, two, strict=True))

    before = torch.get_rng_state()
    first = gradients_after([4])
    for _ in range(5):
        assert equal(gradients_after([0, 4]), first)
    assert not equal(gradients_after([5]), first)
    torch.set_rng_state(before)


def test_learners_draw_different_numbers_and_none_from_the_global_generator() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(400, 1))
    with Shares(net, compute(2), 4, 2) as learners:
        seen: dict[int, Tensor] = {}

        def look(learner: nn.Module, place: int) -> Tensor:
            seen[place] = learner[0](torch.ones(400))  # type: ignore[index]
            result: Tensor = learner(torch.ones(400)).sum()
            return result

        state = torch.get_rng_state()
        learners.loss(look, [0, 1], [0.5, 0.5], (1, 1, 1))
        assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(seen[0], seen[1])
    for mask in seen.values():
        assert set(mask.unique().tolist()) == {0.0, 2.0}
        assert 150 < (mask == 0).sum() < 250


def test_a_layer_that_draws_in_no_known_way_is_an_error() -> None:
    with (
        Shares(network(nn.Dropout2d(0.2)), compute(2), 21, 2) as learners,
        pytest.raises(RuntimeError, match=r"dropout2d draws from .* generator: use nn\.Dropout"),
    ):
        step(learners)


@pytest.mark.parametrize(
    ("threads", "accelerator", "batch", "learners", "samples", "sizes"),
    [
        (1, "cpu", 16, 1, 16, [16]),
        (2, "cpu", 16, 2, 16, [8, 8]),
        (2, "cpu", 15, 1, 15, [15]),
        (3, "cpu", 32, 3, 32, [10, 11, 11]),
        (4, "cpu", 24, 3, 24, [8, 8, 8]),
        (4, "cpu", 24, 3, 17, [8, 9]),
        (4, "cpu", 24, 3, 3, [3]),
        (2, "gpu", 64, 1, 64, [64]),
        (2, "mps", 64, 1, 64, [64]),
    ],
)
def test_each_learner_has_at_least_so_many_samples(
    threads: int,
    accelerator: str,
    batch: int,
    learners: int,
    samples: int,
    sizes: list[int],
) -> None:
    shares = Shares(network(), compute(threads, accelerator), batch, 8)
    assert len(shares.learners) == learners
    parts = shares.split(samples)
    assert [part.stop - part.start for part in parts] == sizes
    assert [row for part in parts for row in range(samples)[part]] == list(range(samples))


def test_each_learner_has_one_thread_until_the_end_and_the_modes_of_the_caller() -> None:
    torch.set_num_threads(2)
    with Shares(network(), compute(2), 21, 2) as learners:
        meet = threading.Barrier(2, timeout=60)

        def look(_: int) -> tuple[int, bool, bool, torch.dtype]:
            meet.wait()
            product = torch.ones(2, 2) @ torch.ones(2, 2)
            return torch.get_num_threads(), torch.is_inference_mode_enabled(), torch.is_grad_enabled(), product.dtype

        assert learners.map(look, range(2)) == [(1, False, True, torch.float32)] * 2
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            assert learners.map(look, range(2)) == [(1, True, False, torch.bfloat16)] * 2
        with torch.autocast("cpu", torch.float16):
            assert learners.map(look, range(2)) == [(1, False, True, torch.float16)] * 2
    assert torch.get_num_threads() == 2


def test_the_network_is_left_without_a_trace() -> None:
    net = network(nn.Dropout(0.2), nn.BatchNorm2d(5))
    modules = dict(net.named_modules())
    names = list(net.state_dict())
    with Shares(net, compute(2), 21, 2) as learners:
        step(learners)
    assert dict(net.named_modules()) == modules
    assert list(net.state_dict()) == names
    kept = copy.deepcopy(net.state_dict())
    for weight in learners.learners[1].parameters():
        weight.grad = torch.ones_like(weight)
    for statistic in learners.learners[1].buffers():
        statistic.zero_()
    for name, value in net.state_dict().items():
        assert torch.equal(value, kept[name]), name
