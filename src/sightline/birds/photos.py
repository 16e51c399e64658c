"""The table that every stage after ``birds-source`` reads: one row a photo, with its class and its box."""

from pathlib import Path

import pandas as pd

from sightline.core.errors import InputError
from sightline.core.images import Pixels


def read_photos(path: Path) -> pd.DataFrame:
    """Read ``photos.csv`` or ``split.csv`` as ``birds-source`` and ``birds-split`` write them, in their order.

    ``hash`` becomes uint64. Names stay texts: a class may well be called 'NA' or '007'.

    Raises:
        InputError: the file is missing, is no such table, or has no rows.
    """
    texts = dict.fromkeys(("photo", "class_name", "digest", "hash", "split"), str)
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=texts)
        table["hash"] = [int(digits, 16) for digits in table["hash"]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no table of photos: {' '.join(str(error).split())}") from None
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{path} is no table of photos: it lacks {', '.join(missing)}")
    if table.empty:
        raise InputError(f"{path} lists no photos")
    return table.astype({"hash": "uint64"})


def crop_to_box(image: Pixels, box_xyxy: tuple[int, int, int, int]) -> Pixels:
    """The part of a picture, (H, W) or (H, W, 3), inside a box of whole pixels, the last two exclusive; a view."""
    left, top, right, bottom = box_xyxy
    return image[top:bottom, left:right]


BOX = ["left", "top", "right", "bottom"]
COLUMNS = ["image_id", "photo", "class_id", "class_name", *BOX, "width", "height", "digest", "hash"]
