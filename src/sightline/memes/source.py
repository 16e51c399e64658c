"""Stage ``memes-source``: bring the pictures in, look at every one of them, and say what is wrong with which.

Whatever the source was, the result is one folder: ``images/<folder>/…`` (the files as they came), ``photos.csv``
(label, kind, size, file traits and hashes of each picture) and ``problems.csv`` (what was left out or noted, and why).
The table of kinds comes along, where there is one. The official set adds ``official.sha256`` as long as it is not
pinned.
"""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from PIL import Image

from sightline.core.archive import unpack
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import list_files, list_images
from sightline.core.intake import (
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
from sightline.memes.params import UNKNOWN, Data, Kinds, Memes, Official
from sightline.params import Runtime, load


def main(path: Annotated[Path, typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
    """Read parameters, then :func:`bring_in`."""
    bring_in(load("memes", Memes).data, path, out, load("runtime", Runtime).workers)


def bring_in(data: Data, path: Path, out: Path, workers: int) -> None:
    """Make the folder ``out`` from the source that ``data`` names; ``path`` is the user's folder for source 'path'.

    Raises:
        InputError: there is nothing at ``path``, its layout is broken, a download failed, or a class has too few
            sound pictures.
    """
    with source_folder(
        data.source,
        path,
        out,
        parameter="memes.data.path",
        draw=partial(_draw, data, workers),
        fetch=partial(_download, data.official),
    ) as (folder, extras):
        pictures = read_folders(folder, data.kinds, data.later)
        say(f"{len(pictures)} pictures to look at")
        # What a later stage may know of the pictures beside their labels.
        places = (folder, *sorted(folder.iterdir()))
        tables = [path for place in places if (path := place / data.kinds.table).is_file()]
        ingest(pictures, data.later, out, workers, [*extras, *tables[:1]])


@dataclass(frozen=True)
class Picture:
    """One picture: ``label`` is the name of its folder; ``kind`` near, far or '' for unknown ones, '' for others."""

    name: str
    path: Path
    label: str
    kind: str


def read_folders(folder: Path, kinds: Kinds, later: str | None) -> list[Picture]:
    """The files in the folders of ``folder``, or of the one folder inside it, sorted by name; one folder a label.

    Raises:
        InputError: there are no two folders of known classes, none named ``later``, or the table of kinds is broken.
    """
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if len(inside) == 1 and not any(path.parent == inside[0] for path in list_images(inside[0])):
        return read_folders(inside[0], kinds, later)
    if strays := sum(path.parent == folder for path in list_images(folder)):
        say(f"{folder}: {strays} pictures lie in no class's folder and are not used")
    members = {path.name: list_files(path) for path in inside}
    for name in [name for name, files in members.items() if not files]:
        say(f"{folder / name} is empty and not used")
        del members[name]
    known = sorted(members.keys() - {UNKNOWN, later})
    if len(known) < 2:
        raise InputError(
            f"{folder} must hold a folder of pictures for each of two or more classes, beside '{UNKNOWN}' and "
            f"memes.data.later ({later}): it has {', '.join(known) or 'none'}"
        )
    if later is not None and later not in members:
        raise InputError(
            f"memes.data.later is '{later}', but {folder} has no pictures in such a folder: "
            f"name one of {', '.join(known)}, or null if no class is to be added later"
        )
    if UNKNOWN not in members:
        say(f"{folder} has no pictures in a folder '{UNKNOWN}': how well they are told cannot be measured")
    kind_of = _read_kinds(folder, kinds)
    return [
        Picture(name, path, label, kind_of.get(name, "") if label == UNKNOWN else "")
        for label, files in sorted(members.items())
        for path in files
        for name in [path.relative_to(folder).as_posix()]
    ]


def ingest(
    pictures: Sequence[Picture], later: str | None, out: Path, workers: int, extras: Sequence[Path] = ()
) -> None:
    """Check every picture and write the folder that the next stage reads; ``extras`` are copied into it.

    Left out, and named in ``problems.csv``: files that are no whole picture or have a side under ``MIN_SIDE`` pixels;
    exact copies of a picture, and all copies if they lie in folders of different labels. Of an animation the first
    frame is used, which is noted.

    Raises:
        InputError: a class has too few sound pictures to be learned and tested.
    """
    problems: list[Problem] = []
    sound = []
    traits: dict[str, Traits] = {}
    for picture, look in whole_pictures(pictures, problems, workers):
        if place_box(look.whole_xywh, look) is None:
            reason = f"{look.width}x{look.height}: a side under {MIN_SIDE:g} px"
            problems.append(Problem(picture.name, reason, LEFT_OUT))
            continue
        traits[picture.name] = read_traits(picture.path)
        if traits[picture.name].animated:
            problems.append(Problem(picture.name, "an animation", "first frame used"))
        sound.append((picture, look))
    kept = without_copies(sound, attrgetter("label"), "another folder", problems)
    announce(problems)
    _check_numbers([picture for picture, _ in kept], {picture.label for picture in pictures}, later)
    with replacing_folder(out) as part:
        store(part, [picture for picture, _ in kept], problems, extras)
        write_csv(part / "photos.csv", _table(kept, traits))


class Traits(NamedTuple):
    """What a file is, besides its pixels.

    ``size`` in bytes; ``quality`` from 1 to 100 as the encoder of libjpeg counts it, None for other formats.
    """

    size: int
    quality: int | None
    animated: bool


def read_traits(path: Path) -> Traits:
    """Read the traits of a file that was decoded before.

    The quality is that whose luminance table, scaled from the one of Annex K of the JPEG standard (ITU-T T.81) as
    libjpeg does it, has the sum nearest to that of the file's.
    """
    with Image.open(path) as picture:
        tables = getattr(picture, "quantization", {})
        # A lossless picture that is embedded in another format may have tables with other numbers.
        luminance = tables.get(0, ()) if picture.format in ("JPEG", "MPO") else ()
        try:
            animated = bool(getattr(picture, "is_animated", False)) and picture.format != "MPO"
        # Asking a GIF means to look for its second frame, which may be broken in as many ways as any picture.
        except (OSError, SyntaxError, ValueError, IndexError, EOFError, TypeError, struct.error):
            animated = True
    quality = int(np.abs(TABLE_SUMS - sum(luminance)).argmin()) + 1 if len(luminance) == 64 else None
    return Traits(path.stat().st_size, quality, animated)


def _read_kinds(folder: Path, kinds: Kinds) -> dict[str, str]:
    """'near' or 'far' by file; files that the table does not list, or says nothing of, are of no known kind."""
    path = folder / kinds.table
    if not path.is_file():
        return {}
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no table of kinds: {' '.join(str(error).split())}") from None
    if missing := [column for column in ("file", kinds.column) if column not in table]:
        raise InputError(f"{path} lacks the column {', '.join(missing)}: see memes.data.kinds")
    values = dict(zip(table["file"], table[kinds.column], strict=True))
    return {file: "near" if value in kinds.near else "far" for file, value in values.items() if value}


def _check_numbers(kept: Sequence[Picture], labels: set[str], later: str | None) -> None:
    counts = Counter(picture.label for picture in kept)
    few = [f"{label} has {counts[label]}" for label in sorted(labels - {UNKNOWN}) if counts[label] < MIN_PICTURES]
    if few:
        raise InputError(
            f"too few sound pictures: {', '.join(few)}; a class needs {MIN_PICTURES} or more that differ, to learn "
            "from, to choose by and to test with"
        )
    for label in sorted(labels):
        note = " (to be added later)" if label == later else ""
        say(f"{label}{note}: {counts[label]} pictures")


def _table(kept: Sequence[tuple[Picture, Look]], traits: Mapping[str, Traits]) -> pd.DataFrame:
    rows = []
    for picture, look in kept:
        file = traits[picture.name]
        quality = "" if file.quality is None else str(file.quality)
        names = {"photo": picture.name, "label": picture.label, "kind": picture.kind}
        size = {"width": look.width, "height": look.height, "bytes": file.size, "quality": quality}
        rows.append({**names, **size, "digest": look.digest, "hash": look.hash})
    return pd.DataFrame(rows)


def _draw(data: Data, workers: int, folder: Path) -> None:
    # Imported here, because a user's own pictures need none of the drawing.
    from sightline.memes.synthetic import draw_dataset

    settings = data.synthetic
    draw_dataset(folder, settings.pictures, settings.unknown, settings.later, settings.seed, workers)


def _download(official: Official, folder: Path) -> list[Path]:
    """Bring the pictures to ``folder``; returns the digest of what came, if it is not pinned yet."""
    came = folder.with_name("official")
    download(official.url, came, official.digest, pin="memes.data.official.digest")
    if came.is_dir():
        came.rename(folder)
    else:
        unpack(came, folder)
    return sorted(folder.parent.glob("*.sha256"))


MIN_PICTURES = 3
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""The luminance quantisation table of quality 50."""
PERCENT = np.array([5000 // quality if quality < 50 else 200 - 2 * quality for quality in range(1, 101)])
TABLE_SUMS = ((np.array(LUMINANCE) * PERCENT[:, None] + 50) // 100).clip(1, 255).sum(1)
"""Of the tables of qualities 1 to 100."""
