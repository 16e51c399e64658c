"""What went wrong, face by face, and group photos with it marked: green where a name is right, red where it is not,
grey where none was given; an open circle around who was missed.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import Pixels, read_image
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.core.report import write_photo

BOX = ["x1", "y1", "x2", "y2"]
COLUMNS = ["photo", "role", "face", "row", "verdict", "truth", "said", "similarity", *BOX]
VERDICTS = {
    "right": "a known face under its own name",
    "unknown": "an unknown face that was given no name",
    "wrong name": "a known face under another's name",
    "stranger named": "an unknown face under somebody's name",
    "not recognised": "a known face that was given no name",
    "not found": "a boxed face that was not found",
    "no face": "found where no face is, and given no name",
    "no face, named": "found where no face is, under somebody's name",
    "not known": "found in a photo whose boxes are not complete, where there is none: nobody knows who that is",
}
NO_MISTAKE = ("right", "unknown", "not known")


def mark_mistakes(raw: Path, verdicts: pd.DataFrame, out: Path, workers: int) -> None:
    """Write ``verdicts.csv``, and the photos of groups and of nobody with their faces marked, into the folder ``out``.

    Args:
        raw: the folder that ``faces-source`` leaves.
        verdicts: as :func:`judge` gives them.
        out: the folder to make; photos are ``pictures/<name>.jpg``, their folders joined by an underscore.
        workers: threads that read photos.
    """
    shown = verdicts[verdicts["role"].isin(["group", "empty"])]
    with replacing_folder(out) as part:
        write_csv(part / "verdicts.csv", verdicts)
        (part / "pictures").mkdir()

        def draw(item: tuple[Any, pd.DataFrame]) -> None:
            photo, faces = item
            marked = mark(read_image(raw / "images" / photo), faces)
            write_photo(part / "pictures" / picture_name(photo), marked, LONGEST)

        photos = list(shown.groupby("photo", sort=False))
        for _ in progress(map_ordered(draw, photos, workers), "marking mistakes", len(photos), "photo"):
            pass


def picture_name(photo: str) -> str:
    """The file below ``pictures/`` of a photo."""
    return Path(photo).with_suffix("").as_posix().replace("/", "_") + ".jpg"


def mark(image: Pixels, faces: pd.DataFrame) -> Pixels:
    """A photo with the faces of it that ``judge`` lists."""
    marked = image.copy()
    for row in faces.to_dict("records"):
        x1, y1, x2, y2 = (round(float(row[side])) for side in BOX)
        colour = COLOURS[str(row["verdict"])]
        if row["verdict"] == "not found":
            cv2.ellipse(marked, (((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1), 0), colour, 2)
        else:
            cv2.rectangle(marked, (x1, y1), (x2, y2), colour, 2)
    return marked


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
        photos: ``photos.csv`` of stage ``faces-source``.
        boxes: its ``boxes.csv``.
        detections: of stage ``faces-detect``, at or above its score.
        manifest: of its pack.
        answers: ``identities.csv`` of stage ``faces-infer``.
        method: whose answers.
        threshold: its threshold.

    Returns:
        COLUMNS, photo after photo: ``row`` of the manifest (-1 for none), ``truth`` (the enrolled person, '' for
        nobody), ``said`` (the name that was given, '' for none).
    """
    enrolled = set(manifest.loc[manifest["split"] == "gallery", "person"])
    is_complete = dict(zip(photos["photo"], photos["complete"] == 1, strict=True))
    said = answers[["photo", "face"]].assign(
        said=answers[f"name_{method}"].where(answers[f"similarity_{method}"] >= threshold, ""),
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
    strays = strays.assign(role="empty", row=-1, verdict="no face", truth="", said="", similarity=np.nan)
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
    missed = rows[is_missed]
    truth = missed["name"].where(missed["name"].isin(enrolled), "")
    return missed.assign(role="group", face=-1, row=-1, verdict="not found", truth=truth, said="", similarity=np.nan)


GREEN, RED, GREY = (0, 158, 115), (214, 39, 40), (127, 127, 127)
COLOURS = {
    "right": GREEN,
    "wrong name": RED,
    "stranger named": RED,
    "no face, named": RED,
    **dict.fromkeys(("unknown", "not recognised", "not found", "no face", "not known"), GREY),
}
LONGEST = 1600
