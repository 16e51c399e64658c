"""How fast the minerals task is against its limits, measured side by side in one run.

    python benchmarks/minerals.py [--photos 300] [--rounds 5]

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

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sightline.core.augment import whole
from sightline.core.classifier import fit
from sightline.core.compute import prepare
from sightline.core.deploy import Deployable, export_onnx
from sightline.core.files import write_json
from sightline.core.images import fit_to_square, list_files, read_image
from sightline.core.packs import Pack, open_pack
from sightline.core.parallel import map_ordered
from sightline.core.sheets import write_png
from sightline.minerals.annotations import read_annotations
from sightline.minerals.model import MineralNet
from sightline.minerals.params import NONE, Minerals
from sightline.minerals.patches import cut_patches, make_patches, read_photos, split_photos
from sightline.minerals.predictor import Predictor
from sightline.minerals.source import ingest
from sightline.minerals.synthetic import draw_dataset
from sightline.minerals.train import recipe_of
from sightline.params import Compute, Runtime, load


def main() -> None:
    """Draw the data, run the three comparisons, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=300, help="how many to draw")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison")
    options = parser.parse_args()
    minerals, compute = load("minerals", Minerals), load("compute", Compute)
    workers = load("runtime", Runtime).workers
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw_dataset(folder / "drawn", options.photos, minerals.data.synthetic.seed, workers)
        photos = read_annotations(folder / "drawn", minerals.data.classes)[1]
        ingest(photos, folder / "raw", minerals.data.classes, workers)
        cutting(folder, minerals, workers, options.rounds)
        pack = open_pack(folder / "patches")
        training(folder, pack, minerals, compute, workers, options.rounds)
        inference(folder, pack, minerals, compute, workers, options.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'peak memory of this process':<46}{peak:>10.2f} GiB")


def compare(rounds: int, ours: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both, alternating; one round before that is not counted. A side may say its seconds itself."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for is_ours in (True, False):
            start = time.perf_counter()
            said = (ours if is_ours else other)()
            if number:
                times[is_ours].append(said if isinstance(said, float) else time.perf_counter() - start)
    return statistics.median(times[True]), statistics.median(times[False])


def cutting(folder: Path, minerals: Minerals, workers: int, rounds: int) -> None:
    """Cutting, and the stage with all that is around it, against decoding the photos with as many threads."""
    images = list_files(folder / "raw" / "images")
    settings, classes = minerals.patches, minerals.data.classes
    photos = read_photos(folder / "raw", classes)
    looks = pd.read_csv(folder / "raw" / "photos.csv", dtype={"hash": str})
    splits = split_photos(photos, looks, classes, settings)["split"]

    def cut() -> None:
        cut_patches(folder / "raw", photos, splits, settings, folder / "cut", workers)

    def stage() -> None:
        sheet, summary = folder / "sheet.png", folder / "summary.json"
        make_patches(
            folder / "raw", classes, settings, folder / "patches", folder / "examples", sheet, summary, workers
        )

    def decode() -> None:
        for _ in map_ordered(read_image, images, workers):
            pass

    for name, ours_of in (("cutting patches", cut), ("the whole stage", stage)):
        ours, other = compare(rounds, ours_of, decode)
        rates = len(images) / ours, len(images) / other
        report(name, rates[0], "photos/s", "decoding alone", rates[1], ours / other, "time")


def training(folder: Path, pack: Pack, minerals: Minerals, compute: Compute, workers: int, rounds: int) -> None:
    """Epochs through loader, augmentation and Lightning against the same steps on views that lie in memory.

    From the end of the first epoch to the end of the last: a training of seconds is mostly the start of its workers.
    """
    names = [*minerals.data.classes, NONE]
    labels = pack.manifest["label"].map({name: number for number, name in enumerate(names)}).to_numpy()
    recipe = recipe_of(minerals.train.model_copy(update={"epochs": 1 + EPOCHS}), names)
    batches = len(pack.rows("train")) // recipe.batch_size
    prepare(compute, 0)
    views = torch.rand(recipe.batch_size, 3, recipe.crop_size, recipe.crop_size)
    views = views.contiguous(memory_format=torch.channels_last)
    targets = F.one_hot(torch.arange(recipe.batch_size) % len(names), len(names)).float()
    held_out = pack.rows("val")

    def through_loader() -> float:
        network = MineralNet(len(names), **minerals.train.network.model_dump()).texture
        ends: list[float] = []
        clock = time.perf_counter
        fit(network, pack, labels, recipe, compute, workers, folder / "checkpoints", lambda _: ends.append(clock()))
        return ends[-1] - ends[0]

    def in_memory() -> None:
        network = MineralNet(len(names), **minerals.train.network.model_dump()).texture
        network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, fused=True)
        for _ in range(EPOCHS):
            network.train()
            for _ in range(batches):
                loss = F.cross_entropy(network(views), targets)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            network.eval()
            with torch.inference_mode():
                for start in range(0, len(held_out), 4 * recipe.batch_size):
                    network(whole(torch.from_numpy(pack.images[held_out[start : start + 4 * recipe.batch_size]])))

    samples = EPOCHS * batches * recipe.batch_size
    ours, other = compare(rounds, through_loader, in_memory)
    report("training", samples / ours, "samples/s", "tensors in memory", samples / other, other / ours, "rate")


def inference(folder: Path, pack: Pack, minerals: Minerals, compute: Compute, workers: int, rounds: int) -> None:
    """The predictor on a folder of patch files against a plain loop: read, resize, network, one by one."""
    names = [*minerals.data.classes, NONE]
    network = MineralNet(len(names), **minerals.train.network.model_dump()).eval()
    deployed = folder / "deployed"
    deployed.mkdir()
    export_onnx(Deployable(network, mirror=False), deployed / "model.onnx", np.asarray(pack.images[:8]))
    write_json(deployed / "config.json", {"task": "minerals", "classes": names, "threshold": 0.5})
    patches = folder / "patch-files"
    patches.mkdir()
    for row in range(min(1000, len(pack))):
        write_png(patches / f"{row:04d}.png", np.asarray(pack.images[row]))
    paths = list_files(patches)
    predictor = Predictor(deployed, threads=compute.threads)

    def plain() -> None:
        for path in paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
            batch: NDArray[np.uint8] = fit_to_square(np.asarray(image, np.uint8), minerals.patches.patch_size)[None]
            with torch.inference_mode():
                network(whole(torch.from_numpy(batch))).softmax(1)

    ours_of = partial(predictor.predict_folder, patches, workers=workers, batch_size=minerals.infer.batch_size)
    ours, other = compare(rounds, ours_of, plain)
    report(
        "predicting a folder",
        len(paths) / ours,
        "images/s",
        "plain torch loop",
        len(paths) / other,
        other / ours,
        "rate",
    )


def report(name: str, ours: float, unit: str, other_name: str, other: float, ratio: float, of: str) -> None:
    """One line: our rate, the other's, and their ratio."""
    print(f"{name:<22}{ours:>9.1f} {unit:<10}{other_name:<20}{other:>9.1f} {unit:<10}{ratio:>6.2f}x {of}", flush=True)


EPOCHS = 3

if __name__ == "__main__":
    main()
