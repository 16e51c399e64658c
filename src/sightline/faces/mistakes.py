"""What went wrong, face by face, and group photos with it marked: green where a name is right, red where it is not,
grey where none was given; an open circle around who was missed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import Pixels, read_image
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.faces.pictures import GREEN, GREY, RED, Mark, draw, picture_names, write_jpeg

BOX = ["x1", "y1", "x2", "y2"]
COLUMNS = ["photo", "role", "face", "row", "verdict", "truth", "said", "nearest", "similarity", *BOX]
VERDICTS = {
    "wrong name": "a known face under another's name",
    "stranger named": "an unknown face under somebody's name",
    "not recognised": "a known face that was given no name",
    "not found": "a boxed face that was not found",
    "no face, named": "found where no face is, under somebody's name",
    "no face": "found where no face is, and given no name",
    "right": "a known face under its own name",
    "unknown": "an unknown face that was given no name",
    "not known": "found where nobody boxed a face, in a photo whose boxes are not complete",
}
"""What may become of a face, and what that means."""
CONFUSED = ("wrong name", "stranger named", "not recognised")
MISTAKES = (*CONFUSED, "not found", "no face, named", "no face")


def mark_mistakes(raw: Path, verdicts: pd.DataFrame, out: Path, workers: int) -> None:
    """Write ``verdicts.csv``, and the photos of groups and of nobody with their faces marked, into the folder ``out``.

    Args:
        raw: the folder that ``faces-source`` leaves.
        verdicts: as :func:`judge` gives them.
        out: the folder to make; photos as :func:`pictures_of` says.
        workers: threads that read photos.
    """
    faces_of = dict(tuple(verdicts.groupby("photo", sort=False)))
    with replacing_folder(out) as part:
        write_csv(part / "verdicts.csv", verdicts)

        def show(item: tuple[str, str]) -> None:
            photo, file = item
            write_jpeg(part / file, mark(read_image(raw / "images" / photo), faces_of[photo]))

        pictures = pictures_of(verdicts)
        shown = map_ordered(show, pictures.items(), workers)
        for _ in progress(shown, "marking mistakes", len(pictures), "photo"):
            pass


def pictures_of(verdicts: pd.DataFrame) -> dict[str, str]:
    """The photos that are drawn, in order, and the file of each below the folder."""
    photos = list(dict.fromkeys(verdicts.loc[verdicts["role"].isin(["group", "empty"]), "photo"]))
    return {photo: f"pictures/{name}.jpg" for photo, name in zip(photos, picture_names(photos), strict=True)}


def mark(image: Pixels, faces: pd.DataFrame) -> Pixels:
    """A photo, uint8 RGB, with the faces of it that :func:`judge` lists; it may come back enlarged."""
    # What is wrong is told first: its words get the better places.
    ordered = faces.sort_values("verdict", key=lambda column: column.map(list(VERDICTS).index), kind="stable")
    return draw(image, [_mark(row) for row in ordered.to_dict("records")])


def _mark(face: dict[Any, Any]) -> Mark:
    verdict, said, truth = (str(face[column]) for column in ("verdict", "said", "truth"))
    box = [float(face[side]) for side in BOX]
    if verdict == "not found":
        return Mark(box, ("not found", *([f"is {truth}"] if truth else [])), GREY, "circle")
    if verdict == "not recognised":
        return Mark(box, ("unknown", f"is {truth}"), GREY, "both")
    if verdict in ("wrong name", "stranger named"):
        return Mark(box, (said, f"is {truth or 'a stranger'}"), RED)
    if verdict in ("no face", "no face, named"):
        return Mark(box, (said or "unknown", "no face"), RED if said else GREY)
    return Mark(box, (said or "unknown",), GREEN if verdict == "right" else GREY)


def judge(
    photos: pd.DataFrame,
    boxes: pd.DataFrame,
    detections: pd.DataFrame,
    manifest: pd.DataFrame,
    answers: pd.DataFrame,
    method: str,
    threshold: float,
) -> pd.DataFrame:
    """Give every face of test portraits, of group photos and of photos without a face one of VERDICTS.

    Args:
        photos: ``photos.csv`` of stage ``faces-detect``, those that have a split.
        boxes: ``boxes.csv`` of stage ``faces-source``.
        detections: of stage ``faces-detect``, at or above its score.
        manifest: of its pack.
        answers: ``identities.csv`` of stage ``faces-infer``.
        method: whose answers.
        threshold: its threshold.

    Returns:
        COLUMNS, photo after photo: ``row`` of the manifest (-1 for none), ``truth`` (the enrolled person, '' for
        nobody), ``said`` (the name that was given, '' for none), ``nearest`` (the best person, named or not) with
        ``similarity``.
    """
    enrolled = set(manifest.loc[manifest["split"] == "gallery", "person"])
    is_complete = dict(zip(photos["photo"], photos["complete"] == 1, strict=True))
    said = answers[["photo", "face"]].assign(
        said=answers[f"name_{method}"].where(answers[f"similarity_{method}"] >= threshold, ""),
        nearest=answers[f"name_{method}"],
        similarity=answers[f"similarity_{method}"],
    )
    is_test = (manifest["role"] == "group") | (
        manifest["role"].isin(["gallery", "stranger"]) & manifest["split"].isin(["probe", "test"])
    )
    table = manifest.reset_index(names="row")[is_test.to_numpy()].merge(said, on=["photo", "face"], validate="1:1")
    table = table[table["ignore"] == 0]
    table["truth"] = table["name"].where(table["name"].isin(enrolled), "")
    is_stray = (table["role"] == "group") & (table["box"] < 0)
    table["verdict"] = [
        _verdict(truth, name, stray, is_complete[photo])
        for truth, name, stray, photo in zip(table["truth"], table["said"], is_stray, table["photo"], strict=True)
    ]
    missed = _missed(photos, boxes, manifest, enrolled)
    strays = detections[detections["photo"].isin(photos.loc[photos["role"] == "empty", "photo"])]
    strays = strays.assign(role="empty", row=-1, verdict="no face", truth="", said="", nearest="", similarity=np.nan)
    parts = [part[COLUMNS] for part in (table, missed, strays) if len(part)]
    order = {photo: place for place, photo in enumerate(photos["photo"])}
    joined = pd.concat(parts) if parts else pd.DataFrame(columns=COLUMNS)
    return joined.sort_values("photo", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _verdict(truth: str, said: str, is_stray: bool, is_complete: bool) -> str:
    if is_stray:
        return ("no face, named" if said else "no face") if is_complete else "not known"
    if truth:
        return "right" if said == truth else "wrong name" if said else "not recognised"
    return "stranger named" if said else "unknown"


def _missed(photos: pd.DataFrame, boxes: pd.DataFrame, manifest: pd.DataFrame, enrolled: set[str]) -> pd.DataFrame:
    """Boxes of group photos without a found face."""
    of_groups = boxes["photo"].isin(photos.loc[photos["role"] == "group", "photo"])
    found = set(manifest[["photo", "box"]].itertuples(index=False, name=None))
    rows = boxes[of_groups & (boxes["ignore"] == 0)]
    is_missed = [place not in found for place in rows[["photo", "box"]].itertuples(index=False, name=None)]
    missed = rows[np.array(is_missed, np.bool_)]
    nothing: dict[str, Any] = {"face": -1, "row": -1, "said": "", "nearest": "", "similarity": np.nan}
    truth = missed["name"].where(missed["name"].isin(enrolled), "")
    return missed.assign(role="group", verdict="not found", truth=truth, **nothing)
