"""Stage ``faces-source``: bring the photos in, look at every one of them, and say what is wrong with which.

Whatever the source was, the result is one folder: ``images/…`` (the files as they came), ``photos.csv`` (role, person,
emotion, size and hashes of each photo), ``boxes.csv`` (the faces that somebody boxed) and ``problems.csv`` (what was
left out, mended or noted, and why). The official set adds ``official.sha256`` as long as it is not pinned.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.archive import unpack
from sightline.core.boxes import Box
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import list_images
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
from sightline.faces.layout import Face, Photo, read_layout
from sightline.faces.params import Data, Faces, Official
from sightline.faces.synthetic import draw_dataset
from sightline.params import Runtime, load

PHOTOS = ["photo", "role", "person", "emotion", "set", "complete", "width", "height", "digest", "hash"]
BOXES = ["photo", "box", "x1", "y1", "x2", "y2", "name", "ignore", "emotion"]


def main(path: Annotated[Path, typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
    """Read parameters, then :func:`bring_in`."""
    bring_in(load("faces", Faces).data, path, out, load("runtime", Runtime).workers)


def bring_in(data: Data, path: Path, out: Path, workers: int) -> None:
    """Make the folder ``out`` from the source that ``data`` names; ``path`` is the user's folder for source 'path'.

    Raises:
        InputError: there is nothing at ``path``, its layout is broken, a download failed, or nobody is in the gallery.
    """
    with source_folder(
        data.source,
        path,
        out,
        parameter="faces.data.path",
        draw=lambda folder: draw_dataset(folder, data.synthetic, workers),
        fetch=partial(_download, data.official),
    ) as (folder, extras):
        photos = read_layout(folder)
        roles = Counter(photo.role for photo in photos)
        say(", ".join(f"{count} {role}" for role, count in roles.items()) + " photos to look at")
        ingest(photos, out, workers, extras)


def ingest(photos: Sequence[Photo], out: Path, workers: int, extras: Sequence[Path] = ()) -> None:
    """Check every photo and its boxes and write the folder that the next stages read; ``extras`` are copied into it.

    Left out, and named in ``problems.csv``: files that are missing or no whole picture; boxes that lie outside, and a
    portrait whose only box does; exact copies of a photo, and all copies if they are said to show different people,
    moods or faces. A box that sticks out is clipped. A face under ``MIN_SIDE`` px is kept and ignored, so that its
    photo stays complete, which one of which a box was left out is not. The only photo of a person in the gallery is
    noted and kept: it can be enrolled, but not tested.
    """
    problems: list[Problem] = []
    sound = []
    for photo, look in whole_pictures(photos, problems, workers):
        if (boxed := _with_sound_boxes(photo, look, problems)) is not None:
            sound.append((boxed, look))
    kept = without_copies(sound, _label, "said to show something else", problems)
    members = Counter(photo.person for photo, _ in kept if photo.role == "gallery")
    for photo, _ in kept:
        if photo.role == "gallery" and members[photo.person] == 1:
            problems.append(Problem(photo.name, f"the only photo of {photo.person}", "photo kept"))
    announce(problems)
    if not members:
        raise InputError("none of the gallery's photos is sound: the lines above say why")
    with replacing_folder(out) as part:
        store(part, [photo for photo, _ in kept], problems, extras)
        write_csv(part / "photos.csv", _photo_table(kept))
        write_csv(part / "boxes.csv", _box_table([photo for photo, _ in kept]))


def _with_sound_boxes(photo: Photo, look: Look, problems: list[Problem]) -> Photo | None:
    if place_box(look.whole_xywh, look) is None:
        reason = f"{look.width}x{look.height} px show no face, {MIN_SIDE:g} px a side are the least"
        problems.append(Problem(photo.name, reason, LEFT_OUT))
        return None
    faces = tuple(_sound_faces(photo, look, problems))
    if photo.role == "gallery" and photo.faces and not faces:
        problems.append(Problem(photo.name, f"the box of {photo.person} has no place in it", LEFT_OUT))
        return None
    return replace(photo, faces=faces, complete=photo.complete and len(faces) == len(photo.faces))


def _sound_faces(photo: Photo, look: Look, problems: list[Problem]) -> Iterator[Face]:
    tiny = 0
    for face in photo.faces:
        x1, y1, x2, y2 = face.box_xyxy
        inside = x1 >= 0 and y1 >= 0 and x2 <= look.width and y2 <= look.height
        if inside and 0 < min(x2 - x1, y2 - y1) < MIN_SIDE:
            tiny += 1
            yield replace(face, ignore=True)
            continue
        shown = f"box of {face.name or 'a face'} ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
        placed = place_box((x1, y1, x2 - x1, y2 - y1), look)
        if placed is None:
            reason = f"{shown} is outside its picture of {look.width}x{look.height}, empty or under {MIN_SIDE:g} px"
            problems.append(Problem(photo.name, reason, "box left out"))
            continue
        if placed.clipped:
            reason = f"{shown} sticks out of its picture of {look.width}x{look.height}"
            problems.append(Problem(photo.name, reason, BOX_CLIPPED))
        left, top, width, height = placed.box_xywh
        yield replace(face, box_xyxy=(left, top, left + width, top + height))
    if tiny:
        problems.append(Problem(photo.name, f"{tiny} boxes under {MIN_SIDE:g} px", "faces ignored"))


def _label(photo: Photo) -> tuple[str, str, tuple[Box, ...], tuple[str, ...]]:
    """What two copies of a picture must agree on."""
    return (
        photo.person,
        photo.emotion,
        tuple(face.box_xyxy for face in photo.faces),
        tuple(face.name for face in photo.faces),
    )


def _photo_table(kept: Sequence[tuple[Photo, Look]]) -> pd.DataFrame:
    rows = [
        (photo.name, photo.role, photo.person, photo.emotion, photo.set, int(photo.complete), *look)
        for photo, look in kept
    ]
    return pd.DataFrame(rows, columns=PHOTOS)


def _box_table(photos: Sequence[Photo]) -> pd.DataFrame:
    """A row a box; who has no portrait left is nobody known."""
    people = {photo.person for photo in photos if photo.role in ("gallery", "stranger")}
    rows = [
        (photo.name, number, *face.box_xyxy, face.name if face.name in people else "", int(face.ignore), face.emotion)
        for photo in photos
        for number, face in enumerate(photo.faces)
    ]
    return pd.DataFrame(rows, columns=BOXES)


def _download(official: Official, folder: Path) -> list[Path]:
    """Lay Labeled Faces in the Wild out as ``folder``; returns the digest of the archive, if it is not pinned yet."""
    archive, unpacked = folder.with_name("official"), folder.with_name("unpacked")
    download(official.url, archive, official.digest, pin="faces.data.official.digest")
    unpack(archive, unpacked)
    lay_out(unpacked, folder, official)
    return sorted(folder.parent.glob("*.sha256"))


def lay_out(unpacked: Path, folder: Path, official: Official) -> None:
    """Sort people with one folder each into the gallery and strangers.

    People with at least ``min_photos`` photos are enrolled, the ``max_people`` with the most of them (by name where
    they have as many); of the others, the ``max_strangers`` first by the same rule are strangers.

    Raises:
        InputError: there are not two people with so many photos.
    """
    people: dict[str, list[Path]] = {}
    for path in list_images(unpacked):
        people.setdefault(path.parent.name, []).append(path)
    ordered = sorted(people, key=lambda name: (-len(people[name]), name))
    many = [name for name in ordered if len(people[name]) >= official.min_photos][: official.max_people]
    if len(many) < 2:
        raise InputError(
            f"{len(many)} people have {official.min_photos} photos or more: lower faces.data.official.min_photos"
        )
    others = [name for name in ordered if len(people[name]) < official.min_photos][: official.max_strangers]
    for role, names in (("gallery", many), ("strangers", others)):
        for name in names:
            (folder / role / name).mkdir(parents=True)
            for path in people[name]:
                shutil.move(path, folder / role / name / path.name)
