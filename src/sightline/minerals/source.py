"""Stage ``minerals-source``: bring the photos in, look at every one of them, and say what is wrong with which.

Whatever the source was, the result is one folder: ``images/…`` (the files as they came), ``annotations.json`` (COCO),
``photos.csv`` (size and hashes of each photo) and ``problems.csv`` (what was left out or mended, and why). The official
set adds ``examples/`` (its test patches) and, as long as they are not pinned, ``official.sha256`` and
``examples.sha256``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.archive import unpack
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json
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
from sightline.minerals.annotations import Photo, Specimen, read_annotations
from sightline.minerals.params import Data, Minerals, Official
from sightline.minerals.synthetic import draw_dataset
from sightline.params import Runtime, load


def main(path: Annotated[Path, typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
    """Read parameters, then :func:`bring_in`."""
    bring_in(load("minerals", Minerals).data, path, out, load("runtime", Runtime).workers)


def bring_in(data: Data, path: Path, out: Path, workers: int) -> None:
    """Make the folder ``out`` from the source that ``data`` names; ``path`` is the user's folder for source 'path'.

    Raises:
        InputError: there is nothing at ``path``, a download failed, or a class has no specimen left.
    """
    synthetic = data.synthetic
    with source_folder(
        data.source,
        path,
        out,
        parameter="minerals.data.path",
        draw=lambda folder: draw_dataset(folder, synthetic.photos, synthetic.seed, workers),
        fetch=partial(_download, data.official),
    ) as (folder, extras):
        layout, photos = read_annotations(folder, data.classes)
        say(f"{layout}: {len(photos)} photos to look at")
        ingest(photos, out, data.classes, workers, extras)


def ingest(
    photos: Sequence[Photo], out: Path, classes: Sequence[str], workers: int, extras: Sequence[Path] = ()
) -> None:
    """Check every photo and its boxes and write the folder that the next stage reads; ``extras`` are copied into it.

    Left out, and named in ``problems.csv``: files that are no whole picture; photos whose annotated size is not theirs
    (boxes would lie elsewhere, mostly after an EXIF rotation); exact copies of a photo, and all copies if their labels
    differ; boxes outside the picture, and photos of which none of the boxes is sound (they are no background: a
    specimen is somewhere). A box that sticks out is clipped. Boxes of other classes than ``classes`` stay in the
    annotations, so that no background patch is cut from them.
    """
    problems: list[Problem] = []
    sound = []
    for photo, look in whole_pictures(photos, problems, workers):
        if (boxed := _with_sound_boxes(photo, look, problems)) is not None:
            sound.append((boxed, look))
    kept = without_copies(sound, _labels, "other labels", problems)
    announce(problems)
    _check_labels([photo for photo, _ in kept], classes)
    with replacing_folder(out) as part:
        store(part, [photo for photo, _ in kept], problems, extras)
        write_json(part / "annotations.json", _to_coco([photo for photo, _ in kept], classes))
        names = pd.DataFrame({"photo": [photo.name for photo, _ in kept]})
        write_csv(part / "photos.csv", names.join(pd.DataFrame([look for _, look in kept])))


def _with_sound_boxes(photo: Photo, look: Look, problems: list[Problem]) -> Photo | None:
    if photo.size and photo.size != (look.width, look.height):
        reason = f"annotated as {photo.size[0]}x{photo.size[1]}, is {look.width}x{look.height} upright"
        problems.append(Problem(photo.name, reason, LEFT_OUT))
        return None
    specimens = tuple(_sound_boxes(photo, look, problems))
    if photo.specimens and not specimens:
        problems.append(Problem(photo.name, "none of its boxes is sound", LEFT_OUT))
        return None
    return Photo(photo.name, photo.path, specimens, (look.width, look.height))


def _sound_boxes(photo: Photo, look: Look, problems: list[Problem]) -> Iterator[Specimen]:
    for specimen in photo.specimens:
        x, y, width, height = specimen.box_xywh
        if specimen.relative:
            x, y, width, height = x * look.width, y * look.height, width * look.width, height * look.height
        shown = f"box of {specimen.label} ({x:g}, {y:g}, {width:g}, {height:g})"
        placed = place_box((x, y, width, height), look)
        if placed is None:
            reason = f"{shown} is outside, empty or under {MIN_SIDE:g} px"
            problems.append(Problem(photo.name, reason, "box left out"))
            continue
        if placed.clipped:
            problems.append(Problem(photo.name, f"{shown} sticks out", BOX_CLIPPED))
        yield Specimen(specimen.label, placed.box_xywh)


def _labels(photo: Photo) -> Counter[str]:
    return Counter(specimen.label for specimen in photo.specimens)


def _check_labels(photos: Sequence[Photo], classes: Sequence[str]) -> None:
    labels = sum((_labels(photo) for photo in photos), Counter[str]())
    for label in sorted(labels.keys() - set(classes)):
        say(f"'{label}' is not in minerals.data.classes: its {labels[label]} boxes are not used")
    if missing := [label for label in classes if not labels[label]]:
        raise InputError(f"no specimen of {', '.join(missing)} in the data: check minerals.data.classes and the labels")


def _to_coco(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, object]:
    others = sorted({specimen.label for photo in photos for specimen in photo.specimens} - set(classes))
    categories = {label: number for number, label in enumerate((*classes, *others), start=1)}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, photo in enumerate(photos, start=1):
        width, height = photo.size or (0, 0)
        images.append({"id": number, "file_name": f"images/{photo.name}", "width": width, "height": height})
        for specimen in photo.specimens:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[specimen.label],
                    "bbox": [round(value, 3) for value in specimen.box_xywh],
                    "area": round(specimen.box_xywh[2] * specimen.box_xywh[3], 3),
                    "iscrowd": 0,
                }
            )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for label, number in categories.items()],
    }


def _download(official: Official, folder: Path) -> list[Path]:
    """Unpack the photos to ``folder``; returns the example patches and the digests of what is not pinned yet."""
    archive, examples = folder.with_name("official"), folder.with_name("examples")
    download(official.url, archive, official.digest, pin="minerals.data.official.digest")
    download(official.examples, examples, official.examples_digest, pin="minerals.data.official.examples_digest")
    unpack(archive, folder)
    return [examples, *sorted(folder.parent.glob("*.sha256"))]
