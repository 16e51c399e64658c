"""Run a chain of stages in one process and print the digest of each output, as JSON.

    python tests/processors/chain.py plan.json [PIN …]

``plan.json`` is a list of stages in order: name, arguments of stage.py, outputs. The pins that are named are left out;
``all`` leaves out every one. One process, because importing torch takes most of a minute on an emulated processor.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd() / "src"))

from sightline.core.processor import PINS, pin

left_out = set(PINS) if "all" in sys.argv[2:] else set(sys.argv[2:])
assert left_out <= set(PINS), left_out
pin(without=frozenset(left_out))

import cv2

# OpenCV's own threads crash QEMU; its results do not depend on them.
cv2.setNumThreads(1)

import stage


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of each file of an output, a file or a folder, by path."""
    files = sorted(output.rglob("*")) if output.is_dir() else [output]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def main(plan: Path) -> None:
    """Run the stages that ``plan`` names; stops at the first that fails."""
    found: dict[str, str] = {}
    for name, arguments, outputs in json.loads(plan.read_text(encoding="utf-8")):
        status = stage.run(arguments)
        if status:
            sys.exit(f"{name} ended with {status}")
        for output in outputs:
            found |= digests(Path(output))
        print(f"{name} {time.process_time():.1f} s", file=sys.stderr, flush=True)
    print(json.dumps(found))


main(Path(sys.argv[1]))
