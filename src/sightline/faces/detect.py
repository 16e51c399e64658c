"""Stage ``faces-detect``: find the faces, share the photos out, then cut every face out upright and at one size.

A photo of a single person (of the gallery, a stranger, an emotion) gives one face: the one whose box is known, or the
largest. A group photo gives all. What is found in photos that test detection alone is written down and not cut out.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core.files import sha256_of, write_csv, write_json
from sightline.core.images import Pixels, read_image
from sightline.core.intake import LEFT_OUT, Problem, announce
from sightline.core.packs import Pack, write_pack
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.core.sheets import contact_sheet, write_png
from sightline.core.splits import split_digest
from sightline.faces.alignment import SIZE, TEMPLATE, align
from sightline.faces.matching import match
from sightline.faces.mtcnn import NOTHING, POINTS, Detections, Detector
from sightline.faces.params import Detect, Emotion, Faces, Identity
from sightline.faces.people import share_out
from sightline.params import Runtime, load

Option = typer.Option()

BOX = ["x1", "y1", "x2", "y2"]
LANDMARKS = [f"{point}_{axis}" for point in POINTS for axis in ("x", "y")]
ONE_FACE, CUT = ("gallery", "stranger", "emotion"), ("gallery", "stranger", "group", "emotion")
"""Roles whose photos show one person, and roles whose faces are cut out."""
SAME_FACE = 0.5
"""IoU from which a found face is the one of a known box."""


def main(
    raw: Annotated[Path, Option],
    out: Annotated[Path, Option],
    detections: Annotated[Path, Option],
    sheet: Annotated[Path, Option],
    summary: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`find_faces`."""
    faces = load("faces", Faces)
    workers = load("runtime", Runtime).workers
    find_faces(raw, faces.detect, faces.identity, faces.emotion, out, detections, sheet, summary, workers)


def find_faces(
    raw: Path,
    settings: Detect,
    identity: Identity,
    emotion: Emotion,
    out: Path,
    detections: Path,
    sheet: Path,
    summary: Path,
    workers: int,
) -> None:
    """Find and cut out the faces of ``raw`` (as ``faces-source`` leaves it).

    Writes the pack ``out`` of aligned faces, (N, 144, 144, 3), with ``photos.csv`` (the photos with their splits and
    how many faces were found) and ``problems.csv``; the table of ``detections``, with some below ``settings.score`` so
    that curves can be drawn; the contact ``sheet``; and the ``summary`` with counts and digests.

    Raises:
        InputError: nobody can be enrolled, or as :func:`sightline.faces.people.share_out`.
    """
    photos, boxes = read_photos(raw)
    found = detect_all(raw, photos, settings, workers)
    problems: list[Problem] = []
    chosen = [
        choose(photo, boxes[photo.photo], seen, settings, problems) for photo, seen in zip(photos, found, strict=True)
    ]
    table = pd.DataFrame(photos).assign(faces=[len(faces) for faces in chosen])
    # A photo of one person without a face is of no use to anybody; one of a group or of nobody may well have none.
    usable = (table["faces"] > 0) | ~table["role"].isin(ONE_FACE)
    named = {name for photo in photos if photo.role == "group" for name in boxes[photo.photo].names if name}
    places = pd.DataFrame([_in_shares(*pair) for pair in zip(photos, chosen, strict=True)], columns=BOX)
    shares = share_out(table.join(places)[usable], named, identity, emotion, settings.near_duplicate_bits)
    table["split"] = ""
    table.loc[usable, "split"] = shares.split
    problems += shares.problems
    announce(problems)
    pack = cut_out(raw, photos, table["split"].tolist(), chosen, out, workers)
    write_csv(out / "photos.csv", table)
    write_csv(out / "problems.csv", pd.DataFrame(problems, columns=Problem._fields))
    write_csv(detections, _detections_table(photos, found))
    write_png(sheet, _sheet(pack))
    write_json(summary, _summary(table, pack))


class Photo(NamedTuple):
    """A row of ``photos.csv``."""

    photo: str
    role: str
    person: str
    emotion: str
    set: str
    complete: int
    width: int
    height: int
    digest: str
    hash: str


class Truth(NamedTuple):
    """The known boxes of a photo, rows of ``boxes.csv``: numbers (M,), float px (M, 4), and for each what is known."""

    numbers: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    names: list[str]
    ignored: NDArray[np.bool_]
    emotions: list[str]


class Face(NamedTuple):
    """A face to be cut out: its number among what was found in the photo, and columns of the manifest."""

    number: int
    box_xyxy: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32]
    whole: bool = False
    box: int = -1
    name: str = ""
    ignore: bool = False
    emotion: str = ""


def read_photos(raw: Path) -> tuple[list[Photo], dict[str, Truth]]:
    """The photos of ``raw`` and the known boxes of each."""
    texts = dict.fromkeys(("photo", "role", "person", "emotion", "set", "digest", "hash", "name"), str)
    photos = pd.read_csv(raw / "photos.csv", keep_default_na=False, dtype=texts)
    boxes = pd.read_csv(raw / "boxes.csv", keep_default_na=False, dtype=texts)
    rows = dict(tuple(boxes.groupby("photo", sort=False)))
    listed = [Photo(*row) for row in photos[list(Photo._fields)].itertuples(index=False)]
    return listed, {photo.photo: _truth(rows.get(photo.photo, boxes[:0])) for photo in listed}


def _truth(rows: pd.DataFrame) -> Truth:
    return Truth(
        rows["box"].to_numpy(np.int64),
        rows[BOX].to_numpy(np.float64),
        rows["name"].tolist(),
        rows["ignore"].to_numpy(np.int64).astype(np.bool_),
        rows["emotion"].tolist(),
    )


def detect_all(raw: Path, photos: Sequence[Photo], settings: Detect, workers: int) -> list[Detections]:
    """What is found in each photo with at least ``settings.score`` less 0.2, photos in ``workers`` threads.

    A photo at a time: on a CPU several pictures of equal size gain nothing together (PNet on 8 levels of 385 x 289 px,
    where most of its time goes: 186 ms in one batch, 136 ms one after the other).
    """
    detector = Detector(max(settings.score - BELOW, LOWEST), settings.min_face)

    def look(photo: Photo) -> Detections:
        return NOTHING if _is_whole(photo, settings) else detector.detect(read_image(raw / "images" / photo.photo))

    return list(progress(map_ordered(look, photos, workers), "finding faces", len(photos), "photo"))


def choose(photo: Photo, truth: Truth, found: Detections, settings: Detect, problems: list[Problem]) -> list[Face]:
    """The faces of a photo that are cut out, by descending score; what is odd about them is added to ``problems``."""
    if photo.role not in CUT:
        return []
    if _is_whole(photo, settings):
        return [_whole(photo)]
    one = photo.role in ONE_FACE
    sure = int((found.scores >= settings.score).sum())
    matches = match(found.boxes_xyxy[:sure], found.scores[:sure], truth.boxes_xyxy, truth.ignored, iou=SAME_FACE)
    numbers = list(range(sure))
    if one:
        if len(truth.numbers):
            numbers = np.flatnonzero(matches.truth >= 0).tolist()
        sides = found.boxes_xyxy[numbers, 2:] - found.boxes_xyxy[numbers, :2]
        by_size = np.argsort(-sides.prod(axis=1), kind="stable")
        numbers = [numbers[row] for row in by_size[:1]]
        if not numbers:
            what = f"{sure} faces found, but not the one of the known box" if sure else "no face found"
            problems.append(Problem(photo.photo, what, LEFT_OUT))
        elif sure > 1 and not len(truth.numbers):
            problems.append(Problem(photo.photo, f"{sure} faces found", "the largest one used"))
    return [_face(photo, truth, found, number, int(matches.truth[number])) for number in numbers]


def _face(photo: Photo, truth: Truth, found: Detections, number: int, row: int) -> Face:
    face = Face(number, found.boxes_xyxy[number], float(found.scores[number]), found.landmarks[number])
    if row >= 0:
        name, emotion = truth.names[row], truth.emotions[row]
        face = face._replace(box=int(truth.numbers[row]), name=name, ignore=bool(truth.ignored[row]), emotion=emotion)
    if photo.role in ONE_FACE:
        face = face._replace(name=photo.person, emotion=photo.emotion)
    return face


def _is_whole(photo: Photo, settings: Detect) -> bool:
    return photo.role in ONE_FACE and min(photo.width, photo.height) < settings.whole_below


def _whole(photo: Photo) -> Face:
    """A photo that is a face: its landmarks are those that :func:`align` moves to where :data:`WHOLE` says."""
    width, height = photo.width, photo.height
    left, top, side = WHOLE
    # Sides lie half a pixel beyond the centres of the first and the last pixel, which have whole numbers.
    landmarks = (TEMPLATE - [left, top] + 0.5) * (max(width, height) / side) - 0.5
    box = np.array([0, 0, width, height], np.float32)
    return Face(0, box, 1.0, landmarks.astype(np.float32), True, name=photo.person, emotion=photo.emotion)


def _in_shares(photo: Photo, faces: Sequence[Face]) -> NDArray[np.float64]:
    """Where the face of a single person lies, (4,), in shares of the photo's sides."""
    if photo.role not in ONE_FACE or not faces:
        return np.zeros(4)
    return faces[0].box_xyxy / np.array([photo.width, photo.height] * 2, np.float64)


def cut_out(
    raw: Path, photos: Sequence[Photo], splits: Sequence[str], chosen: Sequence[Sequence[Face]], out: Path, workers: int
) -> Pack:
    """Write the faces of the photos that have a split to the pack ``out``; photos are read in ``workers`` threads."""
    tasks = [task for task in zip(photos, splits, chosen, strict=True) if task[1] and task[2]]
    pieces = map_ordered(partial(_cut, raw), tasks, workers)
    with progress(pieces, "cutting faces out", len(tasks), "photo") as bar:
        return write_pack(out, SIZE, bar)


def _cut(raw: Path, task: tuple[Photo, str, Sequence[Face]]) -> tuple[Pixels, list[dict[str, Any]]]:
    photo, split, faces = task
    image = read_image(raw / "images" / photo.photo)
    rows = []
    for face in faces:
        head = {"photo": photo.photo, "role": photo.role, "person": photo.person, "set": photo.set}
        place = _place(face.box_xyxy, face.score, face.landmarks)
        known = {"box": face.box, "name": face.name, "ignore": int(face.ignore), "whole": int(face.whole)}
        rows.append({**head, "emotion": face.emotion, "split": split, "face": face.number, **place, **known})
    return np.stack([align(image, face.landmarks) for face in faces]), rows


def _place(box_xyxy: NDArray[np.float32], score: float, landmarks: NDArray[np.float32]) -> dict[str, float]:
    corners = dict(zip(BOX, map(float, box_xyxy), strict=True))
    points = dict(zip(LANDMARKS, map(float, landmarks.reshape(-1)), strict=True))
    return {**corners, "score": float(score), **points}


def _detections_table(photos: Sequence[Photo], found: Sequence[Detections]) -> pd.DataFrame:
    def rows() -> Iterator[dict[str, Any]]:
        for photo, faces in zip(photos, found, strict=True):
            for face, values in enumerate(zip(faces.boxes_xyxy, faces.scores, faces.landmarks, strict=True)):
                yield {"photo": photo.photo, "face": face, **_place(*values)}

    return pd.DataFrame(rows(), columns=["photo", "face", *BOX, "score", *LANDMARKS])


def _sheet(pack: Pack) -> Pixels:
    """Two rows of each split of people and one of each emotion, taken evenly."""
    manifest = pack.manifest
    titles = np.where(manifest["role"] == "emotion", manifest["emotion"], manifest["split"])
    titles = np.where(manifest["role"] == "group", "group", titles)
    labels = np.where(manifest["role"] == "emotion", manifest["emotion"], manifest["name"])
    shown: list[Pixels | None] = []
    captions: list[str] = []
    for title in dict.fromkeys(titles.tolist()):
        members = np.flatnonzero(titles == title)
        most = SHEET_COLUMNS if title in set(manifest["emotion"]) else 2 * SHEET_COLUMNS
        picked = members[np.linspace(0, len(members) - 1, min(most, len(members))).astype(int)]
        padding = -len(picked) % SHEET_COLUMNS
        shown += [*(np.asarray(pack.images[row]) for row in picked), *[None] * padding]
        captions += [*(f"{title} {labels[row]}" if labels[row] != title else title for row in picked), *[""] * padding]
    return contact_sheet(shown, captions, SHEET_COLUMNS)


def _summary(table: pd.DataFrame, pack: Pack) -> dict[str, Any]:
    manifest = pack.manifest
    shared = table[table["split"] != ""]
    people = shared[shared["role"].isin(["gallery", "stranger"])]
    enrolled = sorted(set(people.loc[people["split"].isin(["gallery", "probe"]), "person"]))
    counts = people.groupby(["person", "split"]).size()
    one = table[table["role"].isin(ONE_FACE)]
    return {
        "photos": table["role"].value_counts().sort_index().to_dict(),
        "without_face": one[one["faces"] == 0]["role"].value_counts().sort_index().to_dict(),
        "left_out": int((table["split"] == "").sum()),
        "faces": {role: rows["split"].value_counts().sort_index().to_dict() for role, rows in manifest.groupby("role")},
        "whole": int(manifest["whole"].sum()),
        "enrolled": {
            person: {split: int(counts.get((person, split), 0)) for split in ("gallery", "probe")}
            for person in enrolled
        },
        "strangers": {split: people.loc[people["split"] == split, "person"].nunique() for split in ("val", "test")},
        "digests": {
            "photos": sha256_of(*sorted(table["digest"])),
            "split": split_digest(shared["split"], shared["digest"]),
        },
    }


BELOW, LOWEST = 0.2, 0.05
WHOLE = (24.0, 32.0, 96.0)
"""Left, top and side, in px of an aligned face, of a photo that is one face: where FER2013 pictures lie as MTCNN sees
them, and so the window that networks of emotions are shown (``feelings.FACE_WINDOW``): they get the very picture."""
SHEET_COLUMNS = 16
