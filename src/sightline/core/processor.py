"""Pin the arithmetic of every numeric library to one instruction set, x86-64-v3 (AVX2 and FMA).

NumPy, OpenBLAS, MKL, oneDNN, ATen, OpenCV, numba and ONNX Runtime choose their kernels by the processor that they find,
and kernels differ in the last bits of their results. ``src/stage.py`` calls :func:`pin` before it imports any of these
libraries, so that a commit has one result, whatever the processor. docs/reproducibility.md says what was measured.

This module imports the standard library alone.
"""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

PINS: Mapping[str, str] = {
    # NumPy: math on AVX-512 (sin, exp, pow, sums, sorts) has other last bits than on AVX2. These are the groups above
    # X86_V3 that NumPy 2.4 dispatches to; names that a processor lacks are ignored.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    # OpenBLAS of NumPy and SciPy: kernels and block sizes of one core type.
    "OPENBLAS_CORETYPE": "Haswell",
    # A matrix product is split by threads, and the parts add up in another order.
    "OPENBLAS_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    # ATen: kernels of torch itself. oneDNN: convolutions. MKL: matrix products and LAPACK; its branch AVX2 is for Intel
    # alone, COMPATIBLE is the one that every maker's processor takes.
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    # IPP, the closed library inside OpenCV, has kernels by maker and generation. OpenCV's own stop at AVX2.
    "OPENCV_IPP": "disabled",
    "OPENCV_CPU_DISABLE": "AVX512-SKX",
    # numba compiles for the processor that it finds, by name and by list of features.
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.1,+sse4.2",
    "NUMBA_DISABLE_INTEL_SVML": "1",
    # ONNX Runtime has no switch of its own: sightline.core.serving leaves out what it does by processor.
    "SIGHTLINE_PORTABLE_ONNX": "1",
}
"""Environment variables, read once by each library when it is loaded."""

QUIET: Mapping[str, str] = {
    # OpenCV warns that IPP is off and that a processor lacks AVX-512: both are what was asked for.
    "OPENCV_LOG_LEVEL": "ERROR",
}


def pin(without: frozenset[str] = frozenset()) -> bool:
    """Set :data:`PINS` for this process and its children, but for the names in ``without``.

    A variable that the user has set is overwritten: a stage has one result.

    Returns:
        Whether this processor runs x86-64-v3 code. On one that does not nothing is pinned.

    Raises:
        RuntimeError: NumPy is loaded already, and has read the environment without the pins.
    """
    if "numpy" in sys.modules:
        raise RuntimeError("pin() must come before the first import of a numeric library")
    features = set(cpu_features())
    if not features >= NEEDED:
        return False
    # OpenCV prints a line where it is to leave out what the processor does not have.
    needless = set() if "avx512f" in features else {"OPENCV_CPU_DISABLE"}
    os.environ.update({name: value for name, value in PINS.items() if name not in without | needless})
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return True


def cpu_features() -> list[str]:
    """What the processor can do, as Linux names it, sorted; on other systems AVX2 and FMA are taken for granted."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return []
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return sorted(NEEDED)
    return sorted(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def is_portable() -> bool:
    """Whether this process runs a stage, whose ONNX graphs must give the same bytes on every processor."""
    return os.environ.get("SIGHTLINE_PORTABLE_ONNX") == "1"


NEEDED = {"avx2", "fma"}
