"""Run stages one after the other in one process, and print the digest of each file that they write, as JSON.

    python chain.py plan.json [PIN …]

``plan.json`` holds ``stages``, each with its name, the arguments of stage.py and its outputs, and ``constants``, which
are set in their modules before the stages run. The pins that are named are left out; ``all`` leaves out every one.
One process for all stages, because importing torch takes most of a minute on an emulated processor.
"""

import hashlib
import importlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd() / "src"))

from sightline.core.processor import PINS, pin

pin(without=frozenset(PINS) if "all" in sys.argv[2:] else frozenset(sys.argv[2:]))

import cv2  # noqa: E402

import stage  # noqa: E402


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of each file of an output, a file or a folder, by path."""
    files = sorted(output.rglob("*")) if output.is_dir() else [output]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def main(plan: Path) -> None:
    """Run the stages that ``plan`` names; ends with status 1 at the first that fails."""
    # OpenCV's own threads crash QEMU; its results do not depend on them.
    cv2.setNumThreads(1)
    content = json.loads(plan.read_text(encoding="utf-8"))
    for name, value in content["constants"].items():
        module, _, constant = name.rpartition(".")
        getattr(importlib.import_module(module), constant)
        setattr(importlib.import_module(module), constant, value)
    found: dict[str, str] = {}
    for name, arguments, outputs in content["stages"]:
        status = stage.run(arguments)
        if status:
            sys.exit(f"{name} ended with status {status}")
        for output in outputs:
            found |= digests(Path(output))
        print(f"{name} {time.process_time():.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(found))


main(Path(sys.argv[1]))
