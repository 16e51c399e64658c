"""How fast the birds task is against its limits, measured side by side in one run.

    python benchmarks/birds.py [--rounds 5]

Each comparison alternates its two sides and takes the median of their times, so that a busy machine slows both alike.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sightline.birds.embed import embed
from sightline.birds.params import Birds
from sightline.birds.retrieval import BLOCK, ROWS, query_metrics, rank_positives
from sightline.birds.source import bring_in
from sightline.birds.split import split
from sightline.core.backbone import FeatureNetwork, load_backbone, save_backbone
from sightline.core.compute import prepare
from sightline.params import Compute, Runtime, load


def main() -> None:
    """Run the comparisons, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison")
    options = parser.parse_args()
    prepare(load("compute", Compute), seed=0)
    for name, images, classes in SETS:
        retrieval(name, images, classes, options.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        embedding(Path(scratch), options.rounds)


def retrieval(name: str, images: int, classes: int, rounds: int) -> None:
    """All metrics against the matrix product alone, and against the reference on the metrics that it has too."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, images)
    centres = rng.standard_normal((classes, DIMENSIONS), np.float32)
    embeddings = 0.35 * centres[labels] + rng.standard_normal((images, DIMENSIONS), np.float32)
    vectors = torch.nn.functional.normalize(torch.from_numpy(embeddings))

    def all_metrics() -> None:
        query_metrics(rank_positives(embeddings, labels))

    all_metrics()
    # Before the reference runs, whose own peak would hide ours.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ours, other = compare(rounds, all_metrics, partial(products, vectors))
    report(f"{name}: all metrics", images / ours, "queries/s", "matrix product", images / other, ours / other)
    print(f"{name + ': peak memory of this process':<46}{peak:>10.2f} GiB", flush=True)
    for knn_name, knn in (("faiss", FaissKNN()), ("torch", CustomKNN(CosineSimilarity(), batch_size=256))):
        calculator = AccuracyCalculator(
            include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
            k="max_bin_count",
            device=torch.device("cpu"),
            knn_func=knn,
        )
        reference = partial(calculator.get_accuracy, vectors, torch.from_numpy(labels))
        ours, other = compare(max(1, rounds // 2), all_metrics, reference)
        report(
            f"{name}: all metrics", images / ours, "queries/s", f"reference, {knn_name}", images / other, ours / other
        )


def products(vectors: torch.Tensor) -> NDArray[np.float32]:
    """All cosines, block by block into the same memory; the last block."""
    rows = max(1, min(ROWS, BLOCK // len(vectors)))
    scores = torch.empty(min(rows, len(vectors)), len(vectors))
    for first in range(0, len(vectors), rows):
        of_block = vectors[first : first + rows]
        torch.mm(of_block, vectors.T, out=scores[: len(of_block)])
    return scores.numpy()


def embedding(folder: Path, rounds: int) -> None:
    """The stage, from photo files to embedding files, against the same network on batches that lie in memory."""
    birds, compute, workers = load("birds", Birds), load("compute", Compute), load("runtime", Runtime).workers
    drawn = birds.data.synthetic.model_copy(update={"photos": PHOTOS, "species": PHOTOS // 20})
    data = birds.data.model_copy(update={"source": "synthetic", "synthetic": drawn})
    bring_in(data, Path(), folder / "raw", workers)
    split(folder / "raw", None, birds.eda.near_duplicate_bits, folder / "split.csv", folder / "split.json")
    batch_size = birds.embed.batch_size
    for architecture, size in NETWORKS:
        backbone = folder / architecture
        known = {"name": architecture, "source": "random", "architecture": architecture, "arguments": {}, "size": size}
        save_backbone(backbone, FeatureNetwork(architecture), {}, **known, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        bare = load_backbone(backbone).network.to(memory_format=torch.channels_last)
        batch = torch.rand(batch_size, 3, size, size).contiguous(memory_format=torch.channels_last)

        def stage(backbone: Path = backbone) -> None:
            out = folder / "embedded"
            embed(folder / "raw", folder / "split.csv", backbone, "box", batch_size, compute, workers, out)

        def in_memory(bare: FeatureNetwork = bare, batch: torch.Tensor = batch) -> None:
            with torch.inference_mode():
                for start in range(0, PHOTOS, batch_size):
                    bare(batch[: PHOTOS - start])

        ours, other = compare(rounds, stage, in_memory)
        name = f"{architecture}, {size} px"
        report(name, PHOTOS / ours, "photos/s", "network alone", PHOTOS / other, ours / other)


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


def report(name: str, ours: float, unit: str, other_name: str, other: float, ratio: float) -> None:
    """One line: our rate, the other's, and the ratio of the times."""
    print(f"{name:<24}{ours:>9.0f} {unit:<10}{other_name:<20}{other:>9.0f} {unit:<10}{ratio:>6.2f}x time", flush=True)


PHOTOS = 480
NETWORKS = [("mobilenetv2_100", 224), ("resnet10t", 96)]
"""Architecture and side of its pictures in px: as on real photos, and one so small that decoding weighs."""

DIMENSIONS = 512
SETS = [("CUB", 5_924, 100), ("SOP", 60_502, 11_316)]
"""Name, test images and test classes of the usual benchmarks."""


if __name__ == "__main__":
    main()
