"""Stage ``minerals-source``: bring the photos in, look at every one of them, and say what is wrong with which.

Whatever the source was, the result is one folder: ``images/…`` (the files as they came), ``annotations.json`` (COCO),
``photos.csv`` (size and hashes of each photo) and ``problems.csv`` (what was left out or mended, and why). The official
set adds ``examples/`` (its test patches) and, as long as they are not pinned, ``official.sha256`` and
``examples.sha256``.
"""

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer

from sightline.core.archive import unpack
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.images import UnreadableImageError, pixel_digest, read_image
from sightline.core.leakage import perceptual_hash
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
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
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, because a system's folder for temporary files is often too small for a data set.
    with tempfile.TemporaryDirectory(prefix=".sightline-", dir=out.parent) as scratch:
        extras: Sequence[Path] = ()
        if data.source == "synthetic":
            folder = Path(scratch) / "drawn"
            draw_dataset(folder, data.synthetic.photos, data.synthetic.seed, workers)
        elif data.source == "official":
            folder, extras = _download_official(data.official, Path(scratch))
        else:
            folder = _users_folder(path)
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
    looks = []
    with progress(map_ordered(_look_at, photos, workers), "checking photos", len(photos), "photo") as bar:
        for photo, look in zip(photos, bar, strict=True):
            if isinstance(look, str):
                problems.append(Problem(photo.name, look, "photo left out"))
            elif photo.size and photo.size != (look.width, look.height):
                reason = f"annotated as {photo.size[0]}x{photo.size[1]}, is {look.width}x{look.height} upright"
                problems.append(Problem(photo.name, reason, "photo left out"))
            else:
                specimens = tuple(_sound_boxes(photo, look, problems))
                if photo.specimens and not specimens:
                    problems.append(Problem(photo.name, "none of its boxes is sound", "photo left out"))
                    continue
                looks.append((Photo(photo.name, photo.path, specimens, (look.width, look.height)), look))
    kept = list(_without_copies(looks, problems))
    _report(problems, [photo for photo, _ in kept], classes)
    with replacing_folder(out) as part:
        for photo, _ in kept:
            target = part / "images" / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo.path, target)
        write_json(part / "annotations.json", _to_coco([photo for photo, _ in kept], classes))
        names = pd.DataFrame({"photo": [photo.name for photo, _ in kept]})
        write_csv(part / "photos.csv", names.join(pd.DataFrame([look for _, look in kept])))
        write_csv(part / "problems.csv", pd.DataFrame(problems, columns=Problem._fields))
        for extra in extras:
            (shutil.copytree if extra.is_dir() else shutil.copyfile)(extra, part / extra.name)


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


def _sound_boxes(photo: Photo, look: Look, problems: list[Problem]) -> Iterator[Specimen]:
    for specimen in photo.specimens:
        box = np.array(specimen.box_xywh)
        if specimen.relative:
            box *= [look.width, look.height, look.width, look.height]
        shown = ", ".join(f"{value:g}" for value in box)
        corners = np.concatenate([box[:2], box[:2] + box[2:]])
        clipped = np.clip(corners, 0, [look.width, look.height] * 2)
        left, top, right, bottom = map(float, clipped)
        if not np.isfinite(box).all() or right - left < MIN_SIDE or bottom - top < MIN_SIDE:
            reason = f"box of {specimen.label} ({shown}) is outside, empty or under {MIN_SIDE:g} px"
            problems.append(Problem(photo.name, reason, "box left out"))
            continue
        if np.abs(clipped - corners).max() > TOLERATED_OVERHANG:
            problems.append(Problem(photo.name, f"box of {specimen.label} ({shown}) sticks out", "box clipped"))
        yield Specimen(specimen.label, (left, top, right - left, bottom - top))


def _without_copies(looks: Sequence[tuple[Photo, Look]], problems: list[Problem]) -> Iterator[tuple[Photo, Look]]:
    copies = defaultdict(list)
    for photo, look in looks:
        copies[look.digest].append(photo)
    for photo, look in looks:
        first, *others = copies[look.digest]
        if any(_labels(other) != _labels(first) for other in others):
            same = ", ".join(other.name for other in copies[look.digest] if other is not photo)
            problems.append(Problem(photo.name, f"same pixels as {same}, other labels", "photo left out"))
        elif photo is first:
            yield photo, look
        else:
            problems.append(Problem(photo.name, f"same pixels as {first.name}", "photo left out"))


def _labels(photo: Photo) -> Counter[str]:
    return Counter(specimen.label for specimen in photo.specimens)


def _report(problems: Sequence[Problem], photos: Sequence[Photo], classes: Sequence[str]) -> None:
    for problem in problems:
        say(f"{problem.photo}: {problem.problem}: {problem.action}")
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


def _users_folder(path: Path) -> Path:
    if path.is_dir():
        return path
    hint = ""
    if not path.is_absolute():
        hint = (
            "; inside 'dvc exp run --temp' and '--queue' only an absolute path reaches a folder outside the repository"
        )
    raise InputError(f"minerals.data.path: there is no folder {path}{hint}")


def _download_official(official: Official, scratch: Path) -> tuple[Path, list[Path]]:
    """The unpacked photos; and the example patches, with the digests of what is not pinned yet, to keep beside them."""
    archive, examples = scratch / "official", scratch / "examples"
    download(official.url, archive, official.digest, pin="minerals.data.official.digest")
    download(official.examples, examples, official.examples_digest, pin="minerals.data.official.examples_digest")
    unpack(archive, scratch / "photos")
    return scratch / "photos", [examples, *sorted(scratch.glob("*.sha256"))]


MIN_SIDE = 4.0
TOLERATED_OVERHANG = 1.0
