"""Copies of a network that learn from shares of each batch at the same time, one thread each.

The networks here are small: threads inside one layer mostly wait for one another. Threads that each have a share of the
batch wait twice in a step.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from itertools import pairwise
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from sightline.params import Compute

Share = TypeVar("Share")
Result = TypeVar("Result")


class Shares:
    """Learners: ``network`` and copies of it that use its weights.

    On a CPU there are ``compute.threads`` of them, but no more than give each at least ``smallest`` samples of a
    batch. With several learners, torch works with one thread per learner until the ``with`` block ends. With one, it
    works as without this class.

    Batch normalisation sees its share alone (Goyal et al., "Accurate, Large Minibatch SGD", 2017). The running
    statistics that are kept are the mean over the learners. Dropout draws from a generator per learner, which is seeded
    in each step, so no result depends on which thread is first or on where a training was resumed.
    """

    def __init__(self, network: nn.Module, compute: Compute, batch_size: int, smallest: int) -> None:
        on_cpu = compute.accelerator == "cpu"
        self.threads, self.smallest = compute.threads, smallest
        self.count = max(1, min(compute.threads, batch_size // smallest)) if on_cpu else 1
        self.learners = [network, *(deepcopy(network) for _ in range(1, self.count))]
        self.pool = ThreadPoolExecutor(self.count, "learner", torch.set_num_threads, (1,))
        self.losses: list[Tensor] = []
        self.parts: list[Tensor] = []

    def __enter__(self) -> Self:
        if self.count > 1:
            torch.set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.pool.shutdown()
        if self.count > 1:
            torch.set_num_threads(self.threads)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same object: Lightning copies a module with all that it holds, and threads cannot be copied."""
        return self

    def split(self, samples: int) -> list[slice]:
        """Which samples of a batch each learner gets; a short batch is for fewer learners."""
        count = max(1, min(self.count, samples // self.smallest))
        bounds = [samples * place // count for place in range(count + 1)]
        return [slice(*pair) for pair in pairwise(bounds)]

    def map(self, function: Callable[..., Result], *arguments: Iterable[Any]) -> list[Result]:
        """Apply ``function`` as the built-in ``map`` does, in the learners' threads and the caller's torch modes."""
        if self.count == 1:
            return list(map(function, *arguments))
        device = "cpu"
        dtype, is_lower = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        is_inference, is_cached = torch.is_inference_mode_enabled(), torch.is_autocast_cache_enabled()

        def in_thread(*own: Any) -> Result:
            autocast = torch.autocast(device, dtype, cache_enabled=is_cached) if is_lower else nullcontext()
            with torch.inference_mode(is_inference), autocast:
                return function(*own)

        return list(self.pool.map(in_thread, *arguments))

    def loss(
        self,
        study: Callable[[nn.Module, Share], Tensor],
        shares: Sequence[Share],
        weights: Sequence[float],
        key: tuple[int, ...],
    ) -> Tensor:
        """Compute the loss of a batch.

        Args:
            study: gives the loss of a learner on a share.
            shares: at most as many as there are learners.
            weights: of the shares; their sum is 1.
            key: seeds what is drawn at random: seed, epoch and step. Not negative.

        Returns:
            The weighted mean of the shares' losses. It, or a scalar computed from it, goes to :meth:`backward`.
        """
        used = self.learners[: len(shares)]
        self._follow(used)
        self.losses = self.map(
            lambda place: self._study(study, used[place], shares[place], (*key, place)), range(len(used))
        )
        # Where the gradient of each share's loss will be found: the shares go backwards in their own threads.
        self.parts = [loss.detach().requires_grad_() for loss in self.losses]
        return torch.stack([weight * part for weight, part in zip(weights, self.parts, strict=True)]).sum(0)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the ``loss`` of the last batch to those of the network's weights."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.map(lambda own, part: own.backward(part.grad), self.losses, self.parts)
        first, *others = self.learners[: len(self.losses)]
        self.losses, self.parts = [], []
        for learner in others:
            for weight, own in zip(first.parameters(), learner.parameters(), strict=True):
                if own.grad is not None:
                    weight.grad = own.grad if weight.grad is None else weight.grad.add_(own.grad)
                    own.grad = None
        self._average(first, others)

    def _follow(self, used: Sequence[nn.Module]) -> None:
        """Give the copies the weights of the network, as the same memory, and its running statistics."""
        for learner in used[1:]:
            for weight, own in zip(self.learners[0].parameters(), learner.parameters(), strict=True):
                own.data = weight.data
            for kept, statistic in zip(_statistics(self.learners[0]), _statistics(learner), strict=True):
                statistic.copy_(kept)

    @staticmethod
    def _average(first: nn.Module, others: Sequence[nn.Module]) -> None:
        for kept, *own in zip(*map(_statistics, (first, *others)), strict=True):
            for statistic in own:
                kept.add_(statistic)
            kept.div_(1 + len(own))

    @staticmethod
    def _study(
        study: Callable[[nn.Module, Share], Tensor], learner: nn.Module, share: Share, key: tuple[int, ...]
    ) -> Tensor:
        device = next(learner.parameters()).device
        seed = np.random.SeedSequence(key).generate_state(1, np.uint64)
        with _DrawFrom(torch.Generator(device).manual_seed(int(seed[0]))):
            return study(learner, share)


def _statistics(network: nn.Module) -> list[Tensor]:
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
    return [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]


class _DrawFrom(TorchFunctionMode):
    """Let the functions that networks draw random numbers by draw from ``generator``, in this thread alone.

    Torch's dropout knows the one global generator only.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.dropout:
            return self._dropout(*args, **(kwargs or {}))
        if func in UNSEEDED:
            raise RuntimeError(f"{func.__name__} draws from torch's global generator: use nn.Dropout")
        if func in DRAWING:
            kwargs = {"generator": self.generator} | (kwargs or {})
        return func(*args, **(kwargs or {}))

    def _dropout(self, features: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return features
        kept = torch.empty_like(features).bernoulli_(1 - p, generator=self.generator)
        if p < 1:
            kept.div_(1 - p)
        return features.mul_(kept) if inplace else features * kept


DRAWING: frozenset[Any] = frozenset(
    [
        *(torch.bernoulli, torch.rand, torch.randn, torch.randint, torch.randperm),
        *(Tensor.bernoulli_, Tensor.normal_, Tensor.uniform_),
    ]
)
UNSEEDED: frozenset[Any] = frozenset(
    [F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu]
)
