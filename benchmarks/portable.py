"""What portable ONNX sessions cost, and by how much they differ from fast ones: ``python benchmarks/portable.py``.

Stages run deployed graphs so that every processor gives the same bytes; the ``sightline`` commands run them as fast as
the machine can. After ``make repro``, this compares both on the same pictures, in turns.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import typer

from sightline.core.packs import open_pack
from sightline.core.serving import open_session

# Graph, pack of pictures whose split 'test' it is run on, and batch size.
MODELS = {
    "minerals": ("models/minerals/deployed/model.onnx", "data/minerals/patches", 64),
    "memes": ("models/memes/deployed/model.onnx", "data/memes/samples", 64),
    "parts": ("models/parts/detector/model.onnx", "data/parts/frames", 1),
}


def main(rounds: Annotated[int, typer.Option(help="times that each session sees all pictures")] = 3) -> None:
    """Print a line per output of each model."""
    for name, (graph, pack, batch_size) in MODELS.items():
        packed = open_pack(Path(pack))
        rows = packed.rows("test" if "test" in set(packed.manifest["split"]) else "val")[:512]
        images = np.asarray(packed.images[rows])
        sessions = {}
        for kind in ("fast", "portable"):
            os.environ["SIGHTLINE_PORTABLE_ONNX"] = str(int(kind == "portable"))
            sessions[kind] = open_session(Path(graph), threads=1)
        outputs = sessions["fast"].get_outputs()
        found = {kind: _run(session, images, batch_size) for kind, session in sessions.items()}
        seconds = {}
        for kind, session in sessions.items():
            seconds[kind] = _fastest(partial(_run, session, images, batch_size), rounds)
        print(
            f"{name}: {len(images)} pictures, {1000 * seconds['fast'] / len(images):.2f} ms per picture fast, "
            f"{1000 * seconds['portable'] / len(images):.2f} portable"
        )
        for number, output in enumerate(outputs):
            one, other = (found[kind][number] for kind in ("fast", "portable"))
            changed = (one.argmax(-1) != other.argmax(-1)).sum() if one.ndim > 1 else 0
            print(
                f"  {output.name}: largest difference {np.abs(one - other).max():.1e} of {np.abs(one).max():.1e}, "
                f"{changed} of {np.prod(one.shape[:-1])} largest entries are others"
            )


def _run(session: onnxruntime.InferenceSession, images: np.ndarray, batch_size: int) -> list[np.ndarray]:
    name = session.get_inputs()[0].name
    starts = range(0, len(images), batch_size)
    batches = [session.run(None, {name: images[start : start + batch_size]}) for start in starts]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _fastest(function: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    typer.run(main)
