"""Read photos with boxes in the layouts that people have: COCO, Pascal VOC, YOLO, or one folder a class.

Which layout a folder is in is seen from the files in it. All of them become :class:`Photo` records; nothing here opens
a picture, so that sizes and damage are the business of who does (``source.py``).
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import yaml
from defusedxml import ElementTree

from sightline.core.boxes import Box
from sightline.core.errors import InputError
from sightline.core.images import list_files, list_images
from sightline.core.progress import say


@dataclass(frozen=True)
class Specimen:
    """One labelled box, (x, y, width, height); in shares of the picture's sides if ``relative``, else in pixels."""

    label: str
    box_xywh: Box
    relative: bool = False


@dataclass(frozen=True)
class Photo:
    """A source photo: ``name`` is its path relative to the data set, ``size`` (width, height) as annotated, if it is.

    A photo without specimens is a picture of background: all of it is 'none of them'.
    """

    name: str
    path: Path
    specimens: tuple[Specimen, ...]
    size: tuple[int, int] | None = None


def read_annotations(folder: Path, classes: Sequence[str]) -> tuple[str, list[Photo]]:
    """Find out the layout of ``folder`` and read it; returns the layout's name and its photos sorted by name.

    - ``coco``: one or several JSON files with ``images``, ``annotations``, ``categories``. A crowd of pyrite is
      labelled ``crowd of pyrite``: no specimen of the class, and no background either.
    - ``voc``: an XML file for each photo.
    - ``yolo``: a text file for each photo, with boxes or polygons, and the class names in ``data.yaml`` or
      ``classes.txt``. A photo without a text file is background.
    - ``folders``: one folder a class, named as in ``classes``; its pictures are one specimen each, box and all. A
      folder named ``none`` holds background pictures; other folders are named on stderr and left out.

    Photos that an annotation names but that are not there are included: reading them says so.

    Raises:
        InputError: no layout fits, or an annotation file is broken.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: minerals.data.path must name the folder with your photos")
    files = list_files(folder)
    for layout, read in (("coco", _read_coco), ("voc", _read_voc), ("yolo", _read_yolo)):
        if photos := read(folder, files):
            return layout, sorted(photos, key=lambda photo: photo.name)
    if photos := _read_class_folders(folder, classes):
        return "folders", sorted(photos, key=lambda photo: photo.name)
    raise InputError(
        f"{folder} holds no COCO, Pascal VOC or YOLO annotations, and no folder of a class: {', '.join(classes)}"
    )


def _read_coco(folder: Path, files: Sequence[Path]) -> list[Photo]:
    photos: dict[str, Photo] = {}
    finder = _PictureFinder(folder, files)
    for file in (path for path in files if path.suffix.lower() == ".json"):
        tree = _parse_json(file)
        if not (isinstance(tree, dict) and {"images", "annotations", "categories"} <= tree.keys()):
            continue
        try:
            names = {category["id"]: str(category["name"]) for category in tree["categories"]}
            specimens: dict[Any, list[Specimen]] = {image["id"]: [] for image in tree["images"]}
            for annotation in tree["annotations"]:
                x, y, width, height = map(float, annotation["bbox"])
                label = names[annotation["category_id"]]
                label = f"crowd of {label}" if annotation.get("iscrowd") else label
                specimens[annotation["image_id"]].append(Specimen(label, (x, y, width, height)))
            for image in tree["images"]:
                path = finder.find(file.parent, str(image["file_name"]))
                name = _name(path, folder)
                known = photos[name].specimens if name in photos else ()
                # One file may repeat what another says: train.json and all.json.
                merged = tuple(dict.fromkeys((*known, *specimens[image["id"]])))
                photos[name] = Photo(name, path, merged, _size(image.get("width"), image.get("height")))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} is no sound COCO file: {type(error).__name__} {error}") from None
    return list(photos.values())


def _read_voc(folder: Path, files: Sequence[Path]) -> list[Photo]:
    photos = []
    finder = _PictureFinder(folder, files)
    for file in (path for path in files if path.suffix.lower() == ".xml"):
        try:
            root = ElementTree.parse(file).getroot()
            if root.tag != "annotation":
                continue
            path = finder.find(file.parent, root.findtext("filename") or file.stem)
            size = root.find("size")
            specimens = []
            for item in root.iter("object"):
                # VOC counts pixels from 1 and includes the last one.
                left, top, right, bottom = (
                    float(item.findtext(f"bndbox/{key}") or _missing(key)) for key in VOC_CORNERS
                )
                box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
                specimens.append(Specimen(item.findtext("name") or _missing("name"), box))
            pixels = _size(size.findtext("width"), size.findtext("height")) if size is not None else None
        except (ParseError, TypeError, ValueError) as error:
            raise InputError(f"{file} is no sound Pascal VOC file: {error}") from None
        photos.append(Photo(_name(path, folder), path, tuple(specimens), pixels))
    return photos


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    """The annotated size, unless it is missing or 0 × 0, as some tools write where they did not know it."""
    size = int(width or 0), int(height or 0)
    return size if all(size) else None


def _missing(key: str) -> str:
    raise ValueError(f"an object has no {key}")


def _read_yolo(folder: Path, files: Sequence[Path]) -> list[Photo]:
    names = _yolo_names(files)
    pictures = list_images(folder)
    label_files = _yolo_label_files(folder, files, pictures)
    if not names or not label_files:
        return []
    photos = []
    for path in pictures:
        specimens = []
        label_file = label_files.get(path)
        for line in label_file.read_text(encoding="utf-8-sig").splitlines() if label_file else []:
            if not line.strip():
                continue
            try:
                number, *values = line.split()
                specimens.append(Specimen(names[int(number)], _yolo_box([float(value) for value in values]), True))
            except (ValueError, KeyError):
                raise InputError(f"{label_file}: '{line}' is no YOLO line of a class in {sorted(names)}") from None
        photos.append(Photo(_name(path, folder), path, tuple(specimens)))
    return photos


def _yolo_box(values: Sequence[float]) -> Box:
    """A box is its centre and sides, and a confidence where a detector wrote it; a polygon is three points or more."""
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    x, y, width, height = values[:4] if len(values) == 5 else values
    return x - width / 2, y - height / 2, width, height


def _yolo_names(files: Sequence[Path]) -> dict[int, str]:
    for path in files:
        if path.name == "classes.txt":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
        if path.suffix in (".yaml", ".yml"):
            try:
                names = (yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}).get("names")
            except (yaml.YAMLError, AttributeError):
                continue
            if isinstance(names, list):
                return dict(enumerate(map(str, names)))
            if isinstance(names, dict):
                return {int(key): str(name) for key, name in names.items() if str(key).isdecimal()}
    return {}


def _yolo_label_files(folder: Path, files: Sequence[Path], pictures: Sequence[Path]) -> dict[Path, Path]:
    """The text file of each picture that has one.

    It lies in the ``labels`` folder parallel to the picture's ``images``, or beside it, or is the only one of that
    name for the only picture of that name.
    """
    texts = {path for path in files if path.suffix == ".txt" and path.name != "classes.txt"}
    stems = Counter(path.stem for path in texts), Counter(path.stem for path in pictures)
    by_stem = {path.stem: path for path in texts if all(count[path.stem] == 1 for count in stems)}
    found = {}
    for picture in pictures:
        beside = picture.with_suffix(".txt")
        parts = beside.relative_to(folder).parts
        position = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else len(parts)
        parallel = folder.joinpath(*parts[:position], "labels", *parts[position + 1 :])
        if label_file := next((path for path in (parallel, beside) if path in texts), by_stem.get(picture.stem)):
            found[picture] = label_file
    return found


def _read_class_folders(folder: Path, classes: Sequence[str]) -> list[Photo]:
    photos = []
    ignored: Counter[str] = Counter()
    for path in list_files(folder):
        label = path.relative_to(folder).parts[0]
        if path.parent == folder:
            continue
        if label not in (*classes, BACKGROUND):
            ignored[label] += 1
            continue
        specimens = () if label == BACKGROUND else (Specimen(label, (0.0, 0.0, 1.0, 1.0), relative=True),)
        photos.append(Photo(_name(path, folder), path, specimens))
    if photos:
        for label, count in ignored.items():
            say(f"folder '{label}' is no class of minerals.data.classes: its {count} files are left out")
    return photos


class _PictureFinder:
    """Finds pictures by the names in annotations, which leave folders out or add ones that are not there."""

    def __init__(self, folder: Path, files: Sequence[Path]):
        self.folder = folder
        self.by_name: dict[str, Path] = {}
        for path in list_images(folder):
            # A name that stands for two pictures would label the wrong one; a VOC file may leave the ending out.
            for name in (path.name, path.stem):
                self.by_name[name] = AMBIGUOUS if name in self.by_name else path
        self.files = set(files)

    def find(self, beside: Path, name: str) -> Path:
        relative = Path(name.replace("\\", "/"))
        for base in (beside, beside / "images", self.folder, self.folder / "images"):
            if (path := Path(os.path.normpath(base / relative))) in self.files:
                return path
        path = self.by_name.get(relative.name, self.folder / relative.name)
        if path is AMBIGUOUS:
            raise InputError(f"{self.folder} holds several pictures named {relative.name}: annotate with their folders")
        return path


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _parse_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None


AMBIGUOUS = Path()
BACKGROUND = "none"
VOC_CORNERS = ("xmin", "ymin", "xmax", "ymax")
