"""Make arithmetic repeatable: the same seed, threads and kernels give the same bytes."""

import ctypes
import os

import torch

from sightline.core.errors import InputError
from sightline.params import Compute


def prepare(compute: Compute, seed: int) -> None:
    """Set the thread count, allow deterministic kernels only, and seed torch's global generator.

    What is drawn from that generator afterwards is the initial weights and dropout; everything that concerns samples
    draws from their own keys.

    Raises:
        InputError: torch cannot use the accelerator.
    """
    _check_accelerator(compute.accelerator)
    # cuBLAS is deterministic with a fixed workspace only, and reads this once, at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    _keep_memory()


def _check_accelerator(accelerator: str) -> None:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError(
            "compute.accelerator is gpu, but torch finds no CUDA device: check with nvidia-smi that a driver is "
            "installed and shows a GPU, or set compute.accelerator to cpu"
        )
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "compute.accelerator is mps, but torch finds no Metal device, which only a Mac with its own processor has: "
            "set compute.accelerator to cpu"
        )


def _keep_memory() -> None:
    """Let the process keep what it frees, where the C library offers that. No result depends on it.

    glibc hands blocks of the size of a layer's output back to the system at once and asks for them anew in the next
    layer. In ``parts-train`` these were 15,000 page faults per step, a quarter of its time.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            library.mallopt(option, KEPT)


# Of <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 32 * 2**20
