"""Stage ``birds-pixels``: the raw-pixel baseline, in the same files as the embeddings of a network.

A tiny picture of the bird is its own embedding: the box squashed to 16 x 16 RGB, less its own mean, so that the cosine
of two is their correlation (zero-mean normalised cross-correlation) and neither offset nor contrast counts. What a
network adds is what it finds beyond this.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sightline.birds.embeddings import Vectors, write_embeddings
from sightline.birds.photos import BOX, crop_to_box, read_photos
from sightline.core.images import fit_to_square, read_image
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.params import Runtime, load

Option = typer.Option()


def main(raw: Annotated[Path, Option], split: Annotated[Path, Option], out: Annotated[Path, Option]) -> None:
    """Read parameters, then :func:`embed_pixels`."""
    embed_pixels(raw, split, load("runtime", Runtime).workers, out)


def embed_pixels(raw: Path, split: Path, workers: int, out: Path) -> None:
    """Write the embeddings (N, 768) of the photos that ``split`` (CSV) lists; see :mod:`sightline.birds.embeddings`."""
    photos = read_photos(split)
    tasks = zip(photos["photo"], photos[BOX].itertuples(index=False, name=None), strict=True)
    looks = map_ordered(partial(_thumbnail, raw / "images"), tasks, workers)
    vectors = np.stack(list(progress(looks, "shrinking photos", len(photos), "photo")))
    config = {"backbone": "pixels", "sha256": None, "crop": "box", "size": SIDE, "features": vectors.shape[1]}
    write_embeddings(out, photos, vectors, config)


def _thumbnail(folder: Path, task: tuple[str, tuple[int, int, int, int]]) -> Vectors:
    name, box = task
    thumbnail = fit_to_square(crop_to_box(read_image(folder / name), box), SIDE)
    pixels = thumbnail.reshape(-1) / 255
    return np.asarray(pixels - pixels.mean(), dtype=np.float32)


SIDE = 16
