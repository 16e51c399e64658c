"""Read photos of birds in the two layouts that people have, and write the one that CUB-200-2011 is published in.

CUB: Wah, Branson, Welinder, Perona & Belongie, 'The Caltech-UCSD Birds-200-2011 Dataset', CNS-TR-2011-001. Nothing
here opens a picture, so that sizes and damage are the business of who does (``source.py``).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sightline.core.boxes import Box
from sightline.core.errors import InputError
from sightline.core.images import list_files, list_images
from sightline.core.progress import say


@dataclass(frozen=True)
class Photo:
    """One bird: ``name`` is the photo's path below ``images/``; ``box_xywh`` in pixels, None: the whole picture.

    Image and class ids are those of the data set and need not be contiguous.
    """

    image_id: int
    name: str
    path: Path
    class_id: int
    class_name: str
    box_xywh: Box | None


def read_layout(folder: Path) -> tuple[str, list[Photo]]:
    """Find out the layout of ``folder`` and read it; returns the layout's name and its photos sorted by image id.

    - ``cub``: ``images.txt``, ``classes.txt``, ``image_class_labels.txt``, ``bounding_boxes.txt`` and ``images/…``, in
      ``folder`` or in one folder inside it. A part of the set is fine: ids count, not rows.
    - ``folders``: one folder a class, in ``folder`` or in one folder inside it. Ids are given in the order of the
      names; the box is the whole picture.

    Photos that are listed but not there are included: reading them says so.

    Raises:
        InputError: no layout fits, one of the text files is missing or broken, an id appears twice, or a photo has
            no label or no box.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: birds.data.path must name the folder with your photos")
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for top in (folder, *inside):
        if any((top / name).is_file() for name in (IMAGES, LABELS, BOXES)):
            return "cub", _read_cub(top)
    top = inside[0] if len(inside) == 1 and _holds_class_folders(inside[0]) else folder
    if photos := list(_read_class_folders(top)):
        return "folders", photos
    raise InputError(f"{folder} holds neither {IMAGES} with its companions (CUB layout) nor a folder for each class")


def write_cub(folder: Path, photos: Sequence[Photo]) -> None:
    """Write the four text files of CUB for ``photos``, all with boxes, into ``folder``; the pictures are not copied."""
    classes = sorted({(photo.class_id, photo.class_name) for photo in photos})
    _write_rows(folder / IMAGES, ((photo.image_id, photo.name) for photo in photos))
    _write_rows(folder / CLASSES, classes)
    _write_rows(folder / LABELS, ((photo.image_id, photo.class_id) for photo in photos))
    boxes = ((photo.image_id, *(round(side, 3) for side in photo.box_xywh or ())) for photo in photos)
    _write_rows(folder / BOXES, boxes)


def _read_cub(folder: Path) -> list[Photo]:
    if missing := [name for name in (IMAGES, CLASSES, LABELS, BOXES) if not (folder / name).is_file()]:
        raise InputError(f"{folder} lacks {', '.join(missing)}: the CUB layout has them beside images/")
    names = _read_by_id(folder / IMAGES, "an image id and a path below images/")
    classes = _read_by_id(folder / CLASSES, "a class id and a name")
    labels = _read_by_id(folder / LABELS, "an image id and a class id")
    boxes = _read_by_id(folder / BOXES, "an image id, x, y, width and height")
    for file, known in ((LABELS, labels), (BOXES, boxes)):
        if without := names.keys() - known.keys():
            raise InputError(f"{folder / file} has no line for image {_some(without)}, listed in {IMAGES}")
    listed: dict[str, int] = {}
    photos = []
    for image_id, name in sorted(names.items()):
        if name in listed:
            raise InputError(f"{folder / IMAGES}: {name} is listed twice, as images {listed[name]} and {image_id}")
        listed[name] = image_id
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{folder / IMAGES}: image {image_id}, {name}, does not lie below images/")
        class_id = _class_of(image_id, labels[image_id], classes, folder)
        box = _box_of(image_id, boxes[image_id], folder)
        photos.append(Photo(image_id, name, folder / "images" / name, class_id, classes[class_id], box))
    if not photos:
        raise InputError(f"{folder / IMAGES} lists no images")
    return photos


def _read_by_id(file: Path, form: str) -> dict[int, str]:
    """Lines of an id and something after it."""
    rows: dict[int, str] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        first, *rest = line.split(maxsplit=1)
        if not (rest and first.isascii() and first.isdecimal()):
            raise InputError(f"{file}, line {number}: {line.strip()[:80]!r} is not {form}")
        if (key := int(first)) in rows:
            raise InputError(f"{file}, line {number}: the id {key} appears twice")
        rows[key] = rest[0].strip()
    return rows


def _class_of(image_id: int, text: str, classes: dict[int, str], folder: Path) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InputError(f"{folder / LABELS}: image {image_id} has the label {text[:80]!r}, which is no class id")
    if int(text) not in classes:
        raise InputError(f"{folder / LABELS}: image {image_id} is of class {text}, which {CLASSES} does not list")
    return int(text)


def _box_of(image_id: int, text: str, folder: Path) -> Box:
    try:
        x, y, width, height = map(float, text.split())
    except ValueError:
        raise InputError(f"{folder / BOXES}: image {image_id} has {text[:80]!r}, not x y width height") from None
    return x, y, width, height


def _holds_class_folders(folder: Path) -> bool:
    images = list_images(folder)
    return bool(images) and all(len(path.relative_to(folder).parts) > 1 for path in images)


def _read_class_folders(folder: Path) -> Iterator[Photo]:
    paths = list_files(folder)
    if strays := sum(path.parent == folder for path in list_images(folder)):
        say(f"{folder}: {strays} pictures lie in no class's folder and are not used")
    inside = [path.relative_to(folder) for path in paths if path.parent != folder]
    class_ids = {name: number for number, name in enumerate(sorted({path.parts[0] for path in inside}), start=1)}
    for image_id, path in enumerate(inside, start=1):
        class_name = path.parts[0]
        yield Photo(image_id, path.as_posix(), folder / path, class_ids[class_name], class_name, None)


def _write_rows(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def _some(ids: Iterable[int]) -> str:
    first, *rest = sorted(ids)
    return f"{first} and {len(rest)} more" if rest else str(first)


IMAGES, CLASSES, LABELS, BOXES = "images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt"
