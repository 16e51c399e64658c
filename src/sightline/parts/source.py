"""Stage ``parts-source``: bring the recordings and their annotations in, and see that each can be read.

Whatever the source was, the result is one folder in the challenge's layout (:func:`sightline.parts.layout.read_layout`)
with the files as they came, and ``problems.csv``: which pictures were left out, and why. The official set adds
``official.sha256`` as long as it is not pinned. Whether annotations fit their recordings is for the next stage to say.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sightline.core.archive import unpack
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder
from sightline.core.images import list_images
from sightline.core.intake import LEFT_OUT, Problem, announce, source_folder, store, whole_pictures
from sightline.params import Runtime, load
from sightline.parts.annotations import read_coco
from sightline.parts.layout import SPLITS, Clip, number_images, read_layout
from sightline.parts.params import Data, Official, Parts
from sightline.parts.synthetic import draw_dataset
from sightline.parts.video import open_frames


def main(path: Annotated[Path, typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
    """Read parameters, then :func:`bring_in`."""
    bring_in(load("parts", Parts).data, path, out, load("runtime", Runtime).workers)


def bring_in(data: Data, path: Path, out: Path, workers: int) -> None:
    """Make the folder ``out`` from the source that ``data`` names; ``path`` is the user's folder for source 'path'.

    Raises:
        InputError: there is nothing at ``path``, its layout is broken, a download failed, or an annotation file or a
            recording cannot be read.
    """
    with source_folder(
        data.source,
        path,
        out,
        parameter="parts.data.path",
        draw=lambda folder: draw_dataset(folder, data.synthetic, workers),
        fetch=partial(_download, data.official),
    ) as (folder, extras):
        clips = read_layout(folder)
        for split in SPLITS:
            if not any(clip.split == split and clip.source for clip in clips):
                raise InputError(
                    f"{folder}: there is no recording and annotation of {split}; all of train, val and test are needed"
                )
        problems: list[Problem] = []
        pictures = [
            picture for clip in clips for picture in _recorded(clip, folder, data.first_image_id, problems, workers)
        ]
        announce(problems)
        with replacing_folder(out) as part:
            store(part, pictures, problems, extras)
            (part / "annotations").mkdir()
            for annotations in {clip.annotations for clip in clips}:
                shutil.copyfile(annotations, part / "annotations" / annotations.name)


@dataclass(frozen=True)
class Recording:
    """A video, or a picture of a recording: ``name`` is its path below ``images/``."""

    name: str
    path: Path


def _recorded(
    clip: Clip, folder: Path, first_image_id: int, problems: list[Problem], workers: int
) -> Iterator[Recording]:
    """The files of a clip that can be read."""
    listed = set(number_images(clip, read_coco(clip.annotations), first_image_id)["file"])
    if clip.source is None:
        return
    if clip.source.is_file():
        with open_frames(clip.source):
            yield Recording(clip.source.relative_to(folder / "images").as_posix(), clip.source)
        return
    pictures = [Recording(path.relative_to(folder / "images").as_posix(), path) for path in list_images(clip.source)]
    kept = 0
    for picture, _ in whole_pictures(pictures, problems, workers):
        if picture.path.name in listed:
            kept += 1
            yield picture
        else:
            reason = f"{clip.annotations.name} does not list it: nobody says what it shows"
            problems.append(Problem(picture.name, reason, LEFT_OUT))
    if not kept:
        raise InputError(f"{clip.source}: no picture of it is whole and listed in {clip.annotations.name}")


def _download(official: Official, folder: Path) -> list[Path]:
    """Put the challenge into ``folder``; returns the digest of the archive, if it is not pinned yet."""
    archive, unpacked = folder.with_name("official"), folder.with_name("unpacked")
    download(official.url, archive, official.digest, pin="parts.data.official.digest")
    unpack(archive, unpacked)
    found = sorted(unpacked.rglob("annotations/instances_train.json"))
    if not found:
        raise InputError(f"{official.url} holds no annotations/instances_train.json: it is another data set")
    shutil.move(found[0].parents[1], folder)
    return sorted(folder.parent.glob("*.sha256"))
