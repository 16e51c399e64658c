"""Read a folder of photos of people in the task's layout; docs/faces.md describes it.

Nothing here opens a picture: sizes and damage are the business of who does (``source.py``).
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from sightline.core.boxes import Box
from sightline.core.errors import InputError
from sightline.core.images import list_files, list_images
from sightline.core.progress import say
from sightline.faces.params import EMOTIONS

Role = Literal["gallery", "stranger", "group", "empty", "detection", "emotion"]
UNKNOWN, IGNORE = "unknown", "ignore"


@dataclass(frozen=True)
class Face:
    """A boxed face: left, top, right, bottom in px of the upright picture.

    ``name`` is '' where nobody of the gallery or the strangers is seen, ``ignore`` that finding or missing it counts
    nothing, ``emotion`` one of EMOTIONS or ''.
    """

    box_xyxy: Box
    name: str = ""
    ignore: bool = False
    emotion: str = ""


@dataclass(frozen=True)
class Photo:
    """A photo and what is known of it: ``name`` is its path below ``images/``.

    ``person`` is who the folder or list says it shows ('' for roles without one), ``set`` where a label or a box came
    from, ``complete`` whether every face in it is boxed.
    """

    name: str
    path: Path
    role: Role
    person: str = ""
    emotion: str = ""
    set: str = ""
    complete: bool = False
    faces: tuple[Face, ...] = ()


def read_layout(folder: Path) -> list[Photo]:
    """The photos in ``folder``, role after role, each role sorted by path.

    - ``gallery/<person>/…``: the named people; ``gallery/gallery.csv`` (file, x1, y1, x2, y2), where there is one,
      boxes the person's own face.
    - ``strangers/<person>/…``, or ``strangers/…`` and ``strangers/people.csv`` (file, person_id): people to
      be rejected.
    - ``groups/…`` with ``groups.json`` or ``groups.csv`` (file, x1, y1, x2, y2, identity: a person, 'unknown' or
      'ignore'), and ``groups/no_face/…``.
    - ``detection/…`` with ``annotations.json`` (file, faces: bbox, invalid).
    - ``emotion/<label>/…``, one face each, and ``emotion/labels.csv`` (file, label, label_source, person), where there
      is one; of its columns, those after label are optional.

    Only the gallery must be there. Files are named from ``folder`` or from the folder of the list. Photos that are
    listed but not there are included: reading them says so. Faces in groups keep the names of people of the gallery
    and of strangers, who would choose thresholds and be met as a test otherwise; another name counts for nothing.

    Raises:
        InputError: the gallery is missing or holds nobody, or a list is broken: the message names file, line and what
            is expected.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: faces.data.path must name the folder that holds gallery/")
    gallery = list(_read_gallery(folder))
    if not gallery:
        raise InputError(
            f"{folder / 'gallery'} holds no folder of photos: make one for each person, gallery/<person>/*.jpg"
        )
    strangers = list(_read_strangers(folder))
    groups = _known(_read_groups(folder), {photo.person for photo in (*gallery, *strangers)})
    empty, detection, emotions = (list(read(folder)) for read in (_read_empty, _read_detection, _read_emotions))
    return [*gallery, *strangers, *groups, *empty, *detection, *emotions]


def _read_gallery(folder: Path) -> Iterator[Photo]:
    top = folder / "gallery"
    boxes = {}
    for where, row in _rows(top / "gallery.csv", ("file", "x1", "y1", "x2", "y2")):
        # No numbers: nobody boxed this one.
        if any(row[side] for side in ("x1", "y1", "x2", "y2")):
            boxes[_name(folder, top, row["file"], where)] = _box(row, where)
    for name, path, person in _in_folders(folder, top):
        faces = (Face(boxes[name], person),) if name in boxes else ()
        yield Photo(name, path, "gallery", person, faces=faces)


def _read_strangers(folder: Path) -> Iterator[Photo]:
    top = folder / "strangers"
    if not (top / "people.csv").is_file():
        for name, path, person in _in_folders(folder, top):
            yield Photo(name, path, "stranger", person)
        return
    people = {}
    for where, row in _rows(top / "people.csv", ("file", "person_id")):
        if not row["person_id"]:
            raise InputError(f"{where}: no person_id")
        people[_name(folder, top, row["file"], where)] = row["person_id"]
    _say_unlisted(folder, top, people)
    for name, person in sorted(people.items()):
        yield Photo(name, folder / name, "stranger", person)


def _read_groups(folder: Path) -> list[Photo]:
    top = folder / "groups"
    lists = [top / name for name in ("groups.json", "groups.csv") if (top / name).is_file()]
    if len(lists) == 2:
        raise InputError(f"{top} holds groups.json and groups.csv: leave the one that is right")
    photos = {}
    if not lists:
        pass
    elif lists[0].suffix == ".json":
        photos = _read_groups_json(folder, lists[0])
    else:
        photos = _read_groups_csv(folder, lists[0])
    _say_unlisted(folder, top, photos, but="no_face")
    return [photos[name] for name in sorted(photos)]


def _read_groups_json(folder: Path, file: Path) -> dict[str, Photo]:
    content = _json(file)
    entries = content.get("photos") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise InputError(f'{file}: expected {{"photos": [{{"file", "complete", "faces"}}, …]}}')
    photos: dict[str, Photo] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{file}, photo {number}"
        name = _name(folder, file.parent, _text(entry, "file", where), where)
        if name in photos:
            raise InputError(f"{where}: {name} is listed twice")
        faces = []
        for face in _list(entry, "faces", where):
            emotion = face.get("emotion") or ""
            if emotion and emotion not in EMOTIONS:
                raise InputError(f"{where}: the emotion {emotion!r} is none of {', '.join(EMOTIONS)}")
            box = _corners(face.get("box"), where)
            faces.append(Face(box, str(face.get("name") or ""), bool(face.get("ignore", False)), emotion))
        complete = bool(entry.get("complete", False))
        photos[name] = Photo(name, folder / name, "group", complete=complete, faces=tuple(faces))
    return photos


def _read_groups_csv(folder: Path, file: Path) -> dict[str, Photo]:
    photos: dict[str, Photo] = {}
    for where, row in _rows(file, ("file", "x1", "y1", "x2", "y2", "identity")):
        name = _name(folder, file.parent, row["file"], where)
        identity = row["identity"]
        if not identity:
            raise InputError(f"{where}: no identity: write a person, '{UNKNOWN}' or '{IGNORE}'")
        person = "" if identity in (UNKNOWN, IGNORE) else identity
        photo = photos.setdefault(name, Photo(name, folder / name, "group"))
        photos[name] = replace(photo, faces=(*photo.faces, Face(_box(row, where), person, identity == IGNORE)))
    return photos


def _known(groups: list[Photo], people: set[str]) -> list[Photo]:
    """Group photos in which only ``people`` have names."""
    others: dict[str, int] = {}
    photos = []
    for photo in groups:
        for face in photo.faces:
            if face.name and face.name not in people:
                others[face.name] = others.get(face.name, 0) + 1
        faces = tuple(replace(face, name=face.name if face.name in people else "") for face in photo.faces)
        photos.append(replace(photo, faces=faces))
    for name, count in sorted(others.items()):
        where = "neither in the gallery nor among the strangers"
        say(f"'{name}' is in group photos ({count} faces) but {where}: taken for nobody known")
    return photos


def _read_empty(folder: Path) -> Iterator[Photo]:
    top = folder / "groups" / "no_face"
    for path in list_images(top):
        yield Photo(path.relative_to(folder).as_posix(), path, "empty", complete=True)


def _read_detection(folder: Path) -> Iterator[Photo]:
    top = folder / "detection"
    file = top / "annotations.json"
    if not file.is_file():
        return
    entries = _json(file)
    if not isinstance(entries, list):
        raise InputError(f'{file}: expected a list of {{"file", "faces": [{{"bbox": [x1, y1, x2, y2]}}]}}')
    photos: dict[str, Photo] = {}
    points = 0
    for number, entry in enumerate(entries, start=1):
        where = f"{file}, photo {number}"
        name = _name(folder, top, _text(entry, "file", where), where)
        if name in photos:
            raise InputError(f"{where}: {name} is listed twice")
        faces = _list(entry, "faces", where)
        if any("bbox" not in face for face in faces):
            points += 1
            continue
        boxed = tuple(Face(_corners(face["bbox"], where), ignore=bool(face.get("invalid", False))) for face in faces)
        subset = str(entry.get("subset", ""))
        photos[name] = Photo(name, folder / name, "detection", set=subset, complete=True, faces=boxed)
    if points:
        say(f"{file}: {points} photos have faces without a bbox and are not used")
    yield from (photos[name] for name in sorted(photos))


def _read_emotions(folder: Path) -> Iterator[Photo]:
    top = folder / "emotion"
    listed = {}
    for where, row in _rows(top / "labels.csv", ("file", "label")):
        if row["label"] not in EMOTIONS:
            raise InputError(f"{where}: the label {row['label']!r} is none of {', '.join(EMOTIONS)}")
        listed[_name(folder, top, row["file"], where)] = (
            row["label"],
            row.get("label_source") or "",
            row.get("person") or "",
        )
    for name, path, label in _in_folders(folder, top):
        if label not in EMOTIONS:
            raise InputError(f"{top / label}: {label!r} is none of {', '.join(EMOTIONS)}")
        said, source, person = listed.get(name, (label, "", ""))
        if said != label:
            raise InputError(f"{top / 'labels.csv'}: {name} is listed as {said} but lies in {label}/")
        yield Photo(name, path, "emotion", person, label, source)


def _in_folders(folder: Path, top: Path) -> Iterator[tuple[str, Path, str]]:
    """Name, path and folder of every file in the folders of ``top``; what is no picture is named when it is read."""
    if not top.is_dir():
        return
    if strays := sum(path.parent == top for path in list_images(top)):
        say(f"{top}: {strays} pictures lie in no folder of their own and are not used")
    for path in list_files(top):
        inner = path.relative_to(top)
        if len(inner.parts) > 1:
            yield path.relative_to(folder).as_posix(), path, inner.parts[0]


def _say_unlisted(folder: Path, top: Path, listed: Iterable[str], but: str = "") -> None:
    if not top.is_dir():
        return
    images = (path for path in list_images(top) if not but or path.relative_to(top).parts[0] != but)
    if others := {path.relative_to(folder).as_posix() for path in images} - set(listed):
        say(f"{top}: {len(others)} pictures are in no list and are not used: {_some(others)}")


def _name(folder: Path, top: Path, file: str, where: str) -> str:
    """A path from ``folder`` of a file that a list names from there or from its own folder."""
    plain = PurePosixPath(file.replace("\\", "/"))
    if not file or plain.is_absolute() or ".." in plain.parts:
        raise InputError(f"{where}: {file!r} is no path below {folder.name}/")
    own = PurePosixPath(top.relative_to(folder).as_posix())
    return (plain if plain.is_relative_to(own) else own / plain).as_posix()


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table, if there is one, and where each is."""
    if not file.is_file():
        return
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None
    table = csv.DictReader(lines)
    if missing := [name for name in columns if name not in (table.fieldnames or ())]:
        raise InputError(f"{file} has no column {', '.join(missing)}: it needs {', '.join(columns)}")
    for row in table:
        yield f"{file}, line {table.line_num}", {key: (value or "").strip() for key, value in row.items() if key}


def _box(row: dict[str, str], where: str) -> Box:
    try:
        x1, y1, x2, y2 = (float(row[side]) for side in ("x1", "y1", "x2", "y2"))
    except ValueError:
        raise InputError(f"{where}: x1, y1, x2, y2 are not four numbers") from None
    return x1, y1, x2, y2


def _corners(value: Any, where: str) -> Box:
    if not (isinstance(value, list) and len(value) == 4 and all(type(side) in (int, float) for side in value)):
        raise InputError(f"{where}: the box {str(value)[:80]} is not [x1, y1, x2, y2]")
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}") from None


def _text(entry: Any, key: str, where: str) -> str:
    if not (isinstance(entry, dict) and isinstance(entry.get(key), str)):
        raise InputError(f"{where}: no '{key}'")
    return str(entry[key])


def _list(entry: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = entry.get(key)
    if not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        raise InputError(f"{where}: '{key}' is not a list of faces")
    return value


def _some(names: set[str]) -> str:
    first, *rest = sorted(names)
    return f"{first} and {len(rest)} more" if rest else first
