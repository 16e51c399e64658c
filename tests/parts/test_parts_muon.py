"""Muon beside torch's, which takes matrices alone, and the singular values of what it calls orthogonal."""

import numpy as np
import pytest
import torch
from torch import nn

from sightline.parts.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (16, 144), (96, 27)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    assert ((torch.linalg.svdvals(found) - 0.95).abs() < 0.35).all()
    # In the directions of the matrix it is nearly diagonal.
    seen = u.T @ found @ v.T
    assert (seen - seen.diag().diag()).abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(12, 12), (8, 40), (40, 8)])
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(4)]
    ended = []
    for make in (Muon, torch.optim.Muon):
        weight = nn.Parameter(start.clone())
        options = {} if make is Muon else {"nesterov": True}
        optimizer = make([weight], lr=0.02, momentum=0.95, weight_decay=0.1, **options)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        ended.append(weight.detach())
    moved = (ended[1] - start).abs().max()
    # Torch rounds to bfloat16 on its way.
    assert (ended[0] - ended[1]).abs().max() < 0.05 * moved


def test_a_convolution_is_a_matrix_in_any_memory_format() -> None:
    torch.manual_seed(2)
    start, gradient = torch.randn(16, 4, 3, 3), torch.randn(16, 4, 3, 3)
    ended = []
    for shape in ((16, 4, 3, 3), (16, 36)):
        weight = nn.Parameter(start.clone().reshape(shape))
        weight.grad = gradient.clone().reshape(shape)
        if len(shape) == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
            weight.grad = weight.grad.contiguous(memory_format=torch.channels_last)
        Muon([weight], lr=0.1).step()
        ended.append(weight.detach().reshape(16, 36).numpy())
    assert np.allclose(ended[0], ended[1], atol=1e-6)
