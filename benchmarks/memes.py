"""How long adding a class takes beyond describing its pictures, measured side by side in one run.

    python benchmarks/memes.py [--pictures 20] [--rounds 5]

Works on what ``dvc repro`` has left: the deployed model and the pictures of the class to be added later. Each
comparison alternates its two sides and takes the median of their times, so that a busy machine slows both alike.
"""

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sightline.core.images import list_images
from sightline.core.serving import OnnxNetwork, run_on_folder
from sightline.memes.adding import Way, add_class, best_way
from sightline.memes.growing import METHODS
from sightline.memes.params import Memes
from sightline.params import Runtime, load

MODEL = Path("models/memes/deployed")


def main() -> None:
    """Add the later class by each method, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20, help="of the new class")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison")
    options = parser.parse_args()
    later = load("memes", Memes).data.later
    if later is None or not MODEL.is_dir():
        sys.exit("no later class or no deployed model: run 'dvc repro memes-infer' first")
    workers = load("runtime", Runtime).workers
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pictures"
        folder.mkdir()
        for path in list_images(Path("data/memes/raw/images") / later)[: options.pictures]:
            shutil.copyfile(path, folder / path.name)

        def describe() -> None:
            run_on_folder(OnnxNetwork(MODEL / "model.onnx"), folder, workers, batch_size=64)

        for method in METHODS:
            way = best_way(Path("none"), method)

            def add(way: Way = way) -> None:
                out = Path(scratch) / "extended"
                shutil.rmtree(out, ignore_errors=True)
                add_class("new class", folder, MODEL, out, way, workers)

            adding, describing = compare(options.rounds, add, describe)
            print(
                f"{method:<12}{adding:>8.2f} s, loading the model and describing {options.pictures} pictures alone"
                f"{describing:>8.2f} s: {adding - describing:>6.2f} s beyond",
                flush=True,
            )
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def compare(rounds: int, ours: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both, alternating; one round before that is not counted."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for is_ours in (True, False):
            start = time.perf_counter()
            (ours if is_ours else other)()
            if number:
                times[is_ours].append(time.perf_counter() - start)
    return statistics.median(times[True]), statistics.median(times[False])


if __name__ == "__main__":
    main()
