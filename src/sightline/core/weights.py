"""Weights on disk, as safetensors: the same tensors give the same bytes, and reading them runs no code."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors of any layout, by name; :func:`safetensors.torch.load_file` reads them.

    Raises:
        OSError: no space is left, for one; safetensors' own writer hides the system's reason in an error of its own.
    """
    path.write_bytes(save({name: weight.contiguous() for name, weight in weights.items()}))
