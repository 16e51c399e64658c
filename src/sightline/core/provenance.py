"""On what the committed results were computed: ``metrics/provenance.json``.

    python -m sightline.core.provenance

``make repro`` writes it after the pipeline. No stage reads it, so it makes none stale.
"""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from sightline.core.files import write_json
from sightline.core.processor import PINS, cpu_features

LIBRARIES = (
    "av",
    "numba",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
    "ultralytics",
)
"""What computes; requirements.lock has all packages."""
WIDER = ("amx", "avx")
"""Beginnings of the names of features that numeric libraries choose kernels by."""


def provenance() -> dict[str, Any]:
    """Processor, system, library versions, pins and threads, as they are here."""
    return {
        "processor": {
            "maker": _of_processor("vendor_id"),
            "model": _of_processor("model name"),
            "features": [name for name in cpu_features() if name.startswith(WIDER) or name == "fma"],
        },
        "system": {
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()),
            "python": platform.python_version(),
        },
        "libraries": {name: version(name) for name in LIBRARIES},
        "pins": dict(PINS),
        "compute": yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["compute"],
    }


def _of_processor(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), platform.processor())


if __name__ == "__main__":
    write_json(Path("metrics/provenance.json"), provenance())
    sys.exit(0)
