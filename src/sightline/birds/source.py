"""Stage ``birds-source``: bring the photos in, look at every one of them, and say what is wrong with which.

Whatever the source was, the result is one folder in the layout of CUB-200-2011 with only what is sound: ``images/…``
(the files as they came), the four text files, ``photos.csv`` (boxes in whole pixels, sizes and hashes) and
``problems.csv`` (what was left out, mended or noted, and why). The official set adds ``official.sha256`` as long as it
is not pinned.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from sightline.birds.layout import Photo, read_layout, write_cub
from sightline.birds.params import Birds, Data, Official
from sightline.birds.photos import BOX, COLUMNS
from sightline.birds.synthetic import draw_dataset
from sightline.core.archive import unpack
from sightline.core.boxes import to_pixel_grid
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv
from sightline.core.intake import (
    BOX_CLIPPED,
    LEFT_OUT,
    MIN_SIDE,
    Look,
    Problem,
    announce,
    place_box,
    source_folder,
    store,
    whole_pictures,
    without_copies,
)
from sightline.core.progress import say
from sightline.params import Runtime, load


def main(path: Annotated[Path, typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
    """Read parameters, then :func:`bring_in`."""
    bring_in(load("birds", Birds).data, path, out, load("runtime", Runtime).workers)


def bring_in(data: Data, path: Path, out: Path, workers: int) -> None:
    """Make the folder ``out`` from the source that ``data`` names; ``path`` is the user's folder for source 'path'.

    Raises:
        InputError: there is nothing at ``path``, its layout is broken, a download failed, or no photo is sound.
    """
    synthetic = data.synthetic
    with source_folder(
        data.source,
        path,
        out,
        parameter="birds.data.path",
        draw=lambda folder: draw_dataset(folder, synthetic.species, synthetic.photos, synthetic.seed, workers),
        fetch=partial(_download, data.official),
    ) as (folder, extras):
        layout, photos = read_layout(folder)
        say(f"{layout}: {len(photos)} photos to look at")
        ingest(photos, out, workers, extras)


def ingest(photos: Sequence[Photo], out: Path, workers: int, extras: Sequence[Path] = ()) -> None:
    """Check every photo and its box and write the folder that the next stages read; ``extras`` are copied into it.

    Left out, and named in ``problems.csv``: files that are missing or no whole picture; photos whose box lies outside
    or is empty (the bird is elsewhere); exact copies of a photo, and all copies if their classes differ: a query whose
    answer is itself measures nothing. A box that sticks out is clipped. The only photo of its class is noted and kept:
    it has nothing to find, but can be found by mistake.
    """
    problems: list[Problem] = []
    sound = []
    for photo, look in whole_pictures(photos, problems, workers):
        if (boxed := _with_sound_box(photo, look, problems)) is not None:
            sound.append((boxed, look))
    kept = without_copies(sound, attrgetter("class_id"), "another class", problems)
    members = Counter(photo.class_id for photo, _ in kept)
    for photo, _ in kept:
        if members[photo.class_id] == 1:
            problems.append(Problem(photo.name, f"the only photo of {photo.class_name}", "photo kept"))
    announce(problems)
    if not kept:
        raise InputError(f"none of the {len(photos)} photos is sound: the lines above say why")
    with replacing_folder(out) as part:
        store(part, [photo for photo, _ in kept], problems, extras)
        write_cub(part, [photo for photo, _ in kept])
        write_csv(part / "photos.csv", _table(kept))


def _with_sound_box(photo: Photo, look: Look, problems: list[Problem]) -> Photo | None:
    box = photo.box_xywh or look.whole_xywh
    shown = "box ({:g}, {:g}, {:g}, {:g})".format(*box)
    placed = place_box(box, look)
    if placed is None:
        reason = f"{shown} is outside its picture of {look.width}x{look.height}, empty or under {MIN_SIDE:g} px"
        problems.append(Problem(photo.name, reason, LEFT_OUT))
        return None
    if placed.clipped:
        reason = f"{shown} sticks out of its picture of {look.width}x{look.height}"
        problems.append(Problem(photo.name, reason, BOX_CLIPPED))
    return replace(photo, box_xywh=placed.box_xywh)


def _table(kept: Sequence[tuple[Photo, Look]]) -> pd.DataFrame:
    rows = []
    for photo, look in kept:
        x, y, width, height = photo.box_xywh or look.whole_xywh
        box = to_pixel_grid(np.array([[x, y, x + width, y + height]]), look.width, look.height)[0]
        names = {"image_id": photo.image_id, "photo": photo.name}
        label = {"class_id": photo.class_id, "class_name": photo.class_name}
        rows.append({**names, **label, **dict(zip(BOX, box, strict=True)), **look._asdict()})
    return pd.DataFrame(rows, columns=COLUMNS)


def _download(official: Official, folder: Path) -> list[Path]:
    """Unpack the photos to ``folder``; returns the digest of the archive, if it is not pinned yet."""
    archive = folder.with_name("official")
    download(official.url, archive, official.digest, pin="birds.data.official.digest")
    unpack(archive, folder)
    return sorted(folder.parent.glob("*.sha256"))
