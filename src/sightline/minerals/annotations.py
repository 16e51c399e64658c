"""Read photos with boxes in the layouts that people have: COCO, Pascal VOC, YOLO, or one folder a class.

Which layout a folder is in is seen from the files in it. All of them become :class:`Photo` records; nothing here opens
a picture, so that sizes and damage are the business of who does (``source.py``).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import yaml
from defusedxml import ElementTree

from sightline.core.errors import InputError
from sightline.core.images import list_files, list_images

Box = tuple[float, float, float, float]


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

    - ``coco``: one or several JSON files with ``images``, ``annotations``, ``categories``; crowd boxes are left out.
    - ``voc``: an XML file for each photo.
    - ``yolo``: a text file for each photo and the class names in ``data.yaml`` or ``classes.txt``.
    - ``folders``: one folder a class, named as in ``classes``; its pictures are one specimen each, box and all. A
      folder named ``none`` holds background pictures.

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
                if not annotation.get("iscrowd"):
                    x, y, width, height = map(float, annotation["bbox"])
                    label = names[annotation["category_id"]]
                    specimens[annotation["image_id"]].append(Specimen(label, (x, y, width, height)))
            for image in tree["images"]:
                path = finder.find(file.parent, str(image["file_name"]))
                size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
                name = _name(path, folder)
                known = photos[name].specimens if name in photos else ()
                photos[name] = Photo(name, path, (*known, *specimens[image["id"]]), size)
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
                left, top, right, bottom = (float(item.findtext(f"bndbox/{key}")) for key in VOC_CORNERS)
                box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
                specimens.append(Specimen(item.findtext("name"), box))
            pixels = (int(size.findtext("width")), int(size.findtext("height"))) if size is not None else None
        except (ParseError, TypeError, ValueError) as error:
            raise InputError(f"{file} is no sound Pascal VOC file: {error}") from None
        # Some tools write 0 × 0 where they did not know the size.
        photos.append(Photo(_name(path, folder), path, tuple(specimens), pixels if pixels and all(pixels) else None))
    return photos


def _read_yolo(folder: Path, files: Sequence[Path]) -> list[Photo]:
    names = _yolo_names(files)
    if not names:
        return []
    labels = {path.stem: path for path in files if path.suffix == ".txt" and path.name != "classes.txt"}
    photos = []
    for path in list_images(folder):
        label_file = _yolo_label_file(path, labels)
        specimens = []
        for line in label_file.read_text(encoding="utf-8").splitlines() if label_file else []:
            if not line.strip():
                continue
            try:
                number, x, y, width, height = line.split()[:5]
                box = (float(x) - float(width) / 2, float(y) - float(height) / 2, float(width), float(height))
                specimens.append(Specimen(names[int(number)], box, relative=True))
            except (ValueError, KeyError):
                raise InputError(f"{label_file}: '{line}' is no YOLO line of a class in {sorted(names)}") from None
        photos.append(Photo(_name(path, folder), path, tuple(specimens)))
    return photos


def _yolo_names(files: Sequence[Path]) -> dict[int, str]:
    for path in files:
        if path.name == "classes.txt":
            return dict(enumerate(path.read_text(encoding="utf-8").split("\n")))
        if path.suffix in (".yaml", ".yml"):
            try:
                names = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("names")
            except (yaml.YAMLError, AttributeError):
                continue
            if names:
                return {
                    int(key): str(name)
                    for key, name in (names.items() if isinstance(names, dict) else enumerate(names))
                }
    return {}


def _yolo_label_file(picture: Path, labels: dict[str, Path]) -> Path | None:
    """The text file in the ``labels`` folder parallel to its ``images``, or beside it, else one of the same name."""
    parts = list(picture.with_suffix(".txt").parts)
    if "images" in parts:
        position = len(parts) - 1 - parts[::-1].index("images")
        parallel = Path(*parts[:position], "labels", *parts[position + 1 :])
        if parallel.is_file():
            return parallel
    beside = picture.with_suffix(".txt")
    return beside if beside.is_file() else labels.get(picture.stem)


def _read_class_folders(folder: Path, classes: Sequence[str]) -> list[Photo]:
    photos = []
    for path in list_files(folder):
        label = path.relative_to(folder).parts[0]
        if path.parent == folder or label not in (*classes, BACKGROUND):
            continue
        specimens = () if label == BACKGROUND else (Specimen(label, (0.0, 0.0, 1.0, 1.0), relative=True),)
        photos.append(Photo(_name(path, folder), path, specimens))
    return photos


class _PictureFinder:
    """Finds pictures by the names in annotations, which leave folders out or add ones that are not there."""

    def __init__(self, folder: Path, files: Sequence[Path]):
        self.folder = folder
        self.by_name: dict[str, Path] = {}
        for path in list_images(folder):
            # A base name that stands for two pictures would label the wrong one.
            self.by_name[path.name] = AMBIGUOUS if path.name in self.by_name else path
            self.by_name.setdefault(path.stem, path)
        self.files = set(files)

    def find(self, beside: Path, name: str) -> Path:
        relative = Path(name.replace("\\", "/"))
        for base in (beside, beside / "images", self.folder, self.folder / "images"):
            if (path := base / relative) in self.files:
                return path
        path = self.by_name.get(relative.name, self.folder / relative.name)
        if path is AMBIGUOUS:
            raise InputError(f"{self.folder} holds several pictures named {relative.name}: annotate with their folders")
        return path


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _parse_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None


AMBIGUOUS = Path()
BACKGROUND = "none"
VOC_CORNERS = ("xmin", "ymin", "xmax", "ymax")
