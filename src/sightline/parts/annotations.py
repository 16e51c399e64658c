"""Read boxes and tracks: COCO with ``track_id``, as the challenge publishes it, and what trackers write."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pycocotools import mask

from sightline.core.errors import InputError

NO_TRACK = -1
IMAGES = ["image_id", "file_name", "width", "height"]
BOXES = ["image_id", "track", "label", "x1", "y1", "x2", "y2", "crowd"]
TRACKS = ["frame", "track", "label", "x1", "y1", "x2", "y2", "score"]


@dataclass(frozen=True)
class Coco:
    """An annotation file.

    ``images`` has the columns image_id (int), file_name, width, height (int px) and is sorted by image_id. ``boxes``
    has image_id, track (int, NO_TRACK where there is none), label (a class name), x1, y1, x2, y2 (float px, the last
    two exclusive, as they stand in the file) and crowd (0, 1), in the file's order. ``classes`` are in the order of
    their category ids.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    classes: tuple[str, ...]


def read_coco(path: Path) -> Coco:
    """Read a COCO file of detections (https://cocodataset.org/#format-data), with a ``track_id`` where it is known.

    ``segmentation`` may be an empty list, polygons or RLE, compressed or not; it is looked at only where there is no
    ``bbox``. A track id is taken from ``track_id`` or, as CVAT writes it, from ``attributes``; where one of them is 0,
    all are counted from 1 instead. A negative one is none.

    Raises:
        InputError: the file cannot be read or misses something: the message names the file, the entry and what is
            expected there.
    """
    content = _json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object with images, annotations and categories")
    names = _categories(path, content)
    images = pd.DataFrame(_images(path, content), columns=IMAGES)
    for column in ("image_id", "file_name"):
        if (twice := images[column][images[column].duplicated()]).size:
            raise InputError(f"{path}: two images have the {column} {twice.iloc[0]}")
    sizes = dict(zip(images["image_id"], images[["height", "width"]].itertuples(index=False, name=None), strict=True))
    rows = []
    for where, entry in _entries(path, content, "annotations"):
        image = _integer(entry, "image_id", where)
        if image not in sizes:
            raise InputError(f"{where}: its image_id {image} is none of the images")
        category = _integer(entry, "category_id", where)
        if category not in names:
            raise InputError(f"{where}: its category_id {category} is none of the categories {_shown(names)}")
        box = _corners(entry, sizes[image], where)
        rows.append((image, _track(entry, where), names[category], *box, int(bool(entry.get("iscrowd", 0)))))
    boxes = _counted_from_one(pd.DataFrame(rows, columns=BOXES))
    return Coco(images.sort_values("image_id", ignore_index=True), boxes, tuple(names[key] for key in sorted(names)))


def read_tracks(path: Path, classes: Sequence[str]) -> pd.DataFrame:
    """What a tracker wrote: a table of boxes (frame, track, label, x1, y1, x2, y2, score) as it counts frames itself.

    - ``….json``: COCO annotations, as an object or a bare list, with ``track_id`` and maybe ``confidence`` or
      ``score``; ``image_id`` is the frame. Without ``categories`` a category_id counts ``classes`` from 1.
    - anything else: MOTChallenge text, ``frame,id,left,top,width,height[,conf[,class[,…]]]``; the class counts
      ``classes`` from 1. Where it is missing or -1 the label is ''.

    Raises:
        InputError: the file cannot be read, a line or entry is broken, or a class is none of ``classes``.
    """
    rows = _json_tracks(path, classes) if path.suffix.lower() == ".json" else _text_tracks(path, classes)
    return _counted_from_one(pd.DataFrame(rows, columns=TRACKS))


def _json_tracks(path: Path, classes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    content = _json(path)
    if isinstance(content, list):
        content = {"annotations": content}
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a list of annotations or an object with one")
    names = _categories(path, content) if content.get("categories") else dict(enumerate(classes, start=1))
    for where, entry in _entries(path, content, "annotations"):
        score = float(entry.get("confidence", entry.get("score", 1.0)))
        category = _integer(entry, "category_id", where)
        if names.get(category) not in classes:
            raise InputError(f"{where}: its category_id {category} is none of the classes {_shown(classes)}")
        box = _corners(entry, None, where)
        yield (_integer(entry, "image_id", where), _track(entry, where), names[category], *box, score)


def _text_tracks(path: Path, classes: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            frame, track, left, top, width, height, *rest = (float(field) for field in line.split(","))
            counted = int(frame), max(int(track), NO_TRACK)
            label = int(rest[1]) if len(rest) > 1 else NO_TRACK
        except (ValueError, OverflowError):
            raise InputError(f"{path}, line {number}: expected frame,id,left,top,width,height,conf,class") from None
        if label != NO_TRACK and not 1 <= label <= len(classes):
            raise InputError(f"{path}, line {number}: class {label} is none of the classes {_shown(classes)}")
        name = "" if label == NO_TRACK else classes[label - 1]
        yield (*counted, name, left, top, left + width, top + height, rest[0] if rest else 1.0)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error


def _entries(path: Path, content: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise InputError(f"{path}: there is no list '{key}'")
    for number, entry in enumerate(entries):
        where = f"{path}, {key}[{number}]"
        if not isinstance(entry, dict):
            raise InputError(f"{where}: expected an object")
        yield where, entry


def _categories(path: Path, content: dict[str, Any]) -> dict[int, str]:
    names = {
        _integer(entry, "id", where): str(entry.get("name") or "")
        for where, entry in _entries(path, content, "categories")
    }
    if not names or "" in names.values() or len(set(names.values())) < len(content["categories"]):
        raise InputError(f"{path}: every one of the categories needs an id and a name of its own")
    return names


def _images(path: Path, content: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for where, entry in _entries(path, content, "images"):
        if not isinstance(file_name := entry.get("file_name"), str):
            raise InputError(f"{where}: there is no file_name")
        yield (
            _integer(entry, "id", where),
            file_name,
            _integer(entry, "width", where),
            _integer(entry, "height", where),
        )


def _integer(entry: dict[str, Any], key: str, where: str) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise InputError(f"{where}: '{key}' should be a whole number, it is {value!r}")
    return int(value)


def _track(entry: dict[str, Any], where: str) -> int:
    attributes = entry.get("attributes")
    found = entry if "track_id" in entry or not isinstance(attributes, dict) else attributes
    return NO_TRACK if found.get("track_id") is None else max(_integer(found, "track_id", where), NO_TRACK)


def _corners(entry: dict[str, Any], size: tuple[int, int] | None, where: str) -> tuple[float, float, float, float]:
    box = entry.get("bbox")
    if not box and size and entry.get("segmentation"):
        box = _around(entry["segmentation"], size, where)
    numbers = [side for side in box if isinstance(side, int | float)] if isinstance(box, list) else []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise InputError(f"{where}: 'bbox' should be [left, top, width, height] in px, it is {box!r}")
    left, top, width, height = map(float, numbers)
    return left, top, left + width, top + height


def _around(segmentation: Any, size: tuple[int, int], where: str) -> list[float]:
    """The box [left, top, width, height] around a segmentation in a picture of that (height, width)."""
    try:
        if isinstance(segmentation, list):
            points = np.concatenate([np.reshape(np.asarray(polygon, np.float64), (-1, 2)) for polygon in segmentation])
            return [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()]
        plain = isinstance(segmentation["counts"], list)
        coded = mask.frPyObjects(segmentation, *size) if plain else segmentation
        left, top, width, height = map(float, mask.toBbox(coded))
        return [left, top, width, height]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: 'segmentation' is neither polygons nor RLE") from error


def _counted_from_one(boxes: pd.DataFrame) -> pd.DataFrame:
    if (boxes["track"] == 0).any():
        boxes.loc[boxes["track"] >= 0, "track"] += 1
    return boxes


def _shown(names: Sequence[str] | dict[int, str]) -> str:
    return ", ".join(
        f"{key} = {name}" for key, name in (names.items() if isinstance(names, dict) else enumerate(names, 1))
    )
