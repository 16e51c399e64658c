"""Stage ``birds-embed``: describe every photo by the pooled features of a network that has never seen the task.

One network and one crop a run: the bird's box, or the full picture, squashed to the network's size. An embedding that
was cut off goes on where it stopped, with the same result to the last bit.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from sightline.birds.embeddings import Vectors, write_embeddings
from sightline.birds.params import Birds, Crop
from sightline.birds.photos import BOX, crop_to_box, read_photos
from sightline.core.backbone import Backbone, load_backbone
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.compute import prepare
from sightline.core.files import replacing
from sightline.core.images import Pixels, fit_to_square, read_image
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.params import Compute, Runtime, load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    split: Annotated[Path, Option],
    backbone: Annotated[Path, Option],
    crop: Annotated[Crop, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`embed`."""
    batch_size = load("birds", Birds).embed.batch_size
    embed(raw, split, backbone, crop, batch_size, load("compute", Compute), load("runtime", Runtime).workers, out)


def embed(
    raw: Path, split: Path, backbone: Path, crop: Crop, batch_size: int, compute: Compute, workers: int, out: Path
) -> None:
    """Write the embeddings of the photos that ``split`` (CSV) lists; see :mod:`sightline.birds.embeddings`.

    Args:
        raw: as ``birds-source`` leaves it.
        split: as ``birds-split`` leaves it.
        backbone: a folder that :func:`sightline.core.backbone.load_backbone` reads.
        crop: what of a photo the network sees, 'box' or 'full'.
        batch_size: photos at a time.
        compute: device, threads and precision.
        workers: threads that decode while the network works.
        out: the folder to write.

    Raises:
        InputError: a folder or table is not what it should be, or there is no such device.
    """
    photos = read_photos(split)
    prepare(compute, seed=0)
    network = load_backbone(backbone)
    inputs = [split, backbone / "model.safetensors", backbone / "config.json"]
    parts = checkpoint_folder(inputs, crop, batch_size, compute)
    done = sorted(parts.glob("*.npy"))
    rows = photos.iloc[len(done) * PART * batch_size :]
    if done:
        say(f"going on with an earlier run: {len(photos) - len(rows)} of {len(photos)} photos are embedded")
    tasks = zip(rows["photo"], rows[BOX].itertuples(index=False, name=None), strict=True)
    pictures = map_ordered(partial(_picture, raw / "images", crop, network.config.size), tasks, workers)
    try:
        with progress(pictures, f"embedding {network.config.name}-{crop}", len(rows), "photo") as bar:
            for number, part in enumerate(_in_parts(bar, network, batch_size, compute), start=len(done)):
                parts.mkdir(parents=True, exist_ok=True)
                with replacing(parts / f"{number:06}.npy") as file:
                    np.save(file, part)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what is embedded is kept, and the same command goes on from there") from None
    vectors = np.concatenate([np.load(file) for file in sorted(parts.glob("*.npy"))])
    config = {
        "backbone": network.config.name,
        "sha256": network.config.sha256,
        "crop": crop,
        "size": network.config.size,
        "features": vectors.shape[1],
    }
    write_embeddings(out, photos, vectors, config)
    shutil.rmtree(parts)


def embed_pictures(pictures: Sequence[Pixels], backbone: Backbone, device: torch.device | str = "cpu") -> Tensor:
    """Features float32 (B, D), on ``device``, of uint8 RGB pictures, each (S, S, 3) of the backbone's size S.

    ``backbone.network`` must already be on ``device``; autocast is the caller's.
    """
    batch = torch.from_numpy(np.stack(pictures)).to(device)
    with torch.inference_mode():
        features: Tensor = backbone.network(backbone.normalise(batch))
    return features.float()


def _in_parts(pictures: Iterable[Pixels], backbone: Backbone, batch_size: int, compute: Compute) -> Iterator[Vectors]:
    """The features of ``PART`` batches at a time, (N, D); the borders are the same in a run that is gone on with."""
    # By torch itself: importing a framework for one device takes as long as embedding a thousand photos.
    device, lower = torch.device(DEVICES[compute.accelerator]), LOWER.get(compute.precision)
    # The layout that convolutions are fastest in, on CPUs and GPUs alike.
    backbone.network.to(device).to(memory_format=torch.channels_last)
    batches = _batches(iter(pictures), batch_size)
    while True:
        with torch.autocast(device.type, lower, enabled=lower is not None):
            part = [embed_pictures(batch, backbone, device) for batch in islice(batches, PART)]
        if not part:
            return
        yield torch.cat(part).cpu().numpy()


def _batches(pictures: Iterator[Pixels], batch_size: int) -> Iterator[list[Pixels]]:
    while batch := list(islice(pictures, batch_size)):
        yield batch


def _picture(folder: Path, crop: Crop, size: int, task: tuple[str, tuple[int, int, int, int]]) -> Pixels:
    name, box = task
    image = read_image(folder / name)
    return fit_to_square(crop_to_box(image, box) if crop == "box" else image, size)


DEVICES = {"cpu": "cpu", "gpu": "cuda", "mps": "mps"}
LOWER = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What layers that gain by it compute in."""
PART = 16
"""Batches that are lost at most when a run is killed."""
