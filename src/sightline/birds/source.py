"""Stage ``birds-source``: bring the photos in, look at every one of them, and say what is wrong with which.

Whatever the source was, the result is one folder in the layout of CUB-200-2011 with only what is sound: ``images/…``
(the files as they came), the four text files, ``photos.csv`` (boxes in whole pixels, sizes and hashes) and
``problems.csv`` (what was left out, mended or noted, and why). The official set adds ``official.sha256`` as long as it
is not pinned.
"""

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer

from sightline.birds.layout import Box, Photo, read_layout, write_cub
from sightline.birds.params import Birds, Data
from sightline.birds.photos import BOX, COLUMNS
from sightline.birds.synthetic import draw_dataset
from sightline.core.archive import unpack
from sightline.core.boxes import clip, to_pixel_grid
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import UnreadableImageError, pixel_digest, read_image
from sightline.core.leakage import perceptual_hash
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.params import Runtime, load


def main(path: Annotated[Path, typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
    """Read parameters, then :func:`bring_in`."""
    bring_in(load("birds", Birds).data, path, out, load("runtime", Runtime).workers)


def bring_in(data: Data, path: Path, out: Path, workers: int) -> None:
    """Make the folder ``out`` from the source that ``data`` names; ``path`` is the user's folder for source 'path'.

    Raises:
        InputError: there is nothing at ``path``, its layout is broken, a download failed, or no photo is sound.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, because a system's folder for temporary files is often too small for a data set.
    with tempfile.TemporaryDirectory(prefix=".sightline-", dir=out.parent) as scratch:
        extras: Sequence[Path] = ()
        if data.source == "synthetic":
            folder = Path(scratch) / "drawn"
            draw_dataset(folder, data.synthetic.species, data.synthetic.photos, data.synthetic.seed, workers)
        elif data.source == "official":
            archive, folder = Path(scratch) / "official", Path(scratch) / "photos"
            download(data.official.url, archive, data.official.digest, pin="birds.data.official.digest")
            unpack(archive, folder)
            extras = sorted(Path(scratch).glob("*.sha256"))
        else:
            folder = _users_folder(path)
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
    looks = []
    with progress(map_ordered(_look_at, photos, workers), "checking photos", len(photos), "photo") as bar:
        for photo, look in zip(photos, bar, strict=True):
            if isinstance(look, str):
                problems.append(Problem(photo.name, look, "photo left out"))
            elif (boxed := _with_sound_box(photo, look, problems)) is not None:
                looks.append((boxed, look))
    kept = list(_without_copies(looks, problems))
    members = Counter(photo.class_id for photo, _ in kept)
    for photo, _ in kept:
        if members[photo.class_id] == 1:
            problems.append(Problem(photo.name, f"the only photo of {photo.class_name}", "photo kept"))
    for problem in problems:
        say(f"{problem.photo}: {problem.problem}: {problem.action}")
    if not kept:
        raise InputError(f"none of the {len(photos)} photos is sound: the lines above say why")
    with replacing_folder(out) as part:
        for photo, _ in kept:
            target = part / "images" / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo.path, target)
        write_cub(part, [photo for photo, _ in kept])
        write_csv(part / "photos.csv", _table(kept))
        write_csv(part / "problems.csv", pd.DataFrame(problems, columns=Problem._fields))
        for extra in extras:
            shutil.copyfile(extra, part / extra.name)


class Look(NamedTuple):
    """What is known of a photo that was decoded: size in pixels (upright), digest and perceptual hash of its pixels."""

    width: int
    height: int
    digest: str
    hash: str


class Problem(NamedTuple):
    """A finding about a photo and what was done about it."""

    photo: str
    problem: str
    action: str


def _look_at(photo: Photo) -> Look | str:
    try:
        image = read_image(photo.path)
    except UnreadableImageError as error:
        return error.reason
    height, width = image.shape[:2]
    return Look(width, height, pixel_digest(image), f"{perceptual_hash(image):016x}")


def _with_sound_box(photo: Photo, look: Look, problems: list[Problem]) -> Photo | None:
    x, y, width, height = _box_of(photo, look)
    shown = f"box ({x:g}, {y:g}, {width:g}, {height:g})"
    corners = np.array([[x, y, x + width, y + height]])
    clipped = clip(corners, look.width, look.height)
    left, top, right, bottom = map(float, clipped[0])
    if not np.isfinite(corners).all() or min(right - left, bottom - top) < MIN_SIDE:
        reason = f"{shown} is outside its picture of {look.width}x{look.height}, empty or under {MIN_SIDE:g} px"
        problems.append(Problem(photo.name, reason, "photo left out"))
        return None
    if np.abs(clipped - corners).max() > TOLERATED_OVERHANG:
        reason = f"{shown} sticks out of its picture of {look.width}x{look.height}"
        problems.append(Problem(photo.name, reason, "box clipped"))
    return replace(photo, box_xywh=(left, top, right - left, bottom - top))


def _box_of(photo: Photo, look: Look) -> Box:
    return photo.box_xywh or (0.0, 0.0, float(look.width), float(look.height))


def _without_copies(looks: Sequence[tuple[Photo, Look]], problems: list[Problem]) -> Iterator[tuple[Photo, Look]]:
    copies = defaultdict(list)
    for photo, look in looks:
        copies[look.digest].append(photo)
    for photo, look in looks:
        first, *others = copies[look.digest]
        if any(other.class_id != first.class_id for other in others):
            same = ", ".join(other.name for other in copies[look.digest] if other is not photo)
            problems.append(Problem(photo.name, f"same pixels as {same}, another class", "photo left out"))
        elif photo is first:
            yield photo, look
        else:
            problems.append(Problem(photo.name, f"same pixels as {first.name}", "photo left out"))


def _table(kept: Sequence[tuple[Photo, Look]]) -> pd.DataFrame:
    rows = []
    for photo, look in kept:
        x, y, width, height = _box_of(photo, look)
        box = to_pixel_grid(np.array([[x, y, x + width, y + height]]), look.width, look.height)[0]
        names = {"image_id": photo.image_id, "photo": photo.name}
        label = {"class_id": photo.class_id, "class_name": photo.class_name}
        rows.append({**names, **label, **dict(zip(BOX, box, strict=True)), **look._asdict()})
    return pd.DataFrame(rows, columns=COLUMNS)


def _users_folder(path: Path) -> Path:
    if path.is_dir():
        return path
    hint = ""
    if not path.is_absolute():
        hint = (
            "; inside 'dvc exp run --temp' and '--queue' only an absolute path reaches a folder outside the repository"
        )
    raise InputError(f"birds.data.path: there is no folder {path}{hint}")


MIN_SIDE = 4.0
TOLERATED_OVERHANG = 1.0
