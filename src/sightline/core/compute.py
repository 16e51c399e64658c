"""Make arithmetic repeatable: the same seed, threads and kernels give the same bytes."""

import os

import torch

from sightline.params import Compute


def prepare(compute: Compute, seed: int) -> None:
    """Set the thread count, allow deterministic kernels only, and seed torch's global generator.

    What is drawn from that generator afterwards is the initial weights and dropout; everything that concerns samples
    draws from their own keys.
    """
    # cuBLAS is deterministic with a fixed workspace only, and reads this once, at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
