"""The embedded data set: pictures as an image search finds them, of two invented games, of a third, and of neither.

Slagmoor is dark and Plumble Hollow bright, but not always; Caelistra is there to be added later. ``unknown`` holds
screenshots of two other games (near) and pictures that have nothing to do with games (far). As in real collections,
some pictures are near-copies of others, and some lie in the wrong folder.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from sightline.core.files import replacing_folder, write_csv
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.memes.caelistra import CAELISTRA
from sightline.memes.painting import Rng, pick
from sightline.memes.plumble_hollow import PLUMBLE_HOLLOW
from sightline.memes.posts import Post, choose_traits, encode, post_of_anything, post_of_game, repost
from sightline.memes.slagmoor import SLAGMOOR
from sightline.memes.strangers import BUMBLEBRICK, HEXMARROW

KNOWN = ("plumble_hollow", "slagmoor")
LATER = "caelistra"
UNKNOWN = "unknown"
FOLDERS = (*KNOWN, UNKNOWN, LATER)
GAMES = {
    "plumble_hollow": PLUMBLE_HOLLOW,
    "slagmoor": SLAGMOOR,
    "caelistra": CAELISTRA,
    "hexmarrow": HEXMARROW,
    "bumblebrick": BUMBLEBRICK,
}
NEAR = ("hexmarrow", "bumblebrick")
FAR = "everyday"

BLOCK = 20
"""Of so many pictures of a folder, one after the other, as many are copies and as many in the wrong folder:"""
REPOSTS = 2
WRONG = 1


@dataclass(frozen=True)
class Plan:
    """What file ``index`` (from 0) of a folder shows: a game or ``everyday``; the file that it reposts, if any."""

    shows: str
    wrong: bool = False
    source: tuple[str, int] | None = None


def draw_dataset(folder: Path, per_class: int, unknown: int, later: int, seed: int, workers: int) -> None:
    """Draw ``plumble_hollow/001.jpg`` …, ``slagmoor/…``, ``unknown/…``, ``caelistra/…`` and ``drawn.csv``.

    ``per_class`` pictures of each known game, ``unknown`` of neither, ``later`` of the third. File n + 1 of a folder
    depends on ``seed``, the folder and n alone, not on how many there are or on ``workers``. Its longer side has 56 to
    320 px.

    ``drawn.csv`` says what no classifier may read: ``file``; ``class``, its folder; ``shows``, the game that it really
    shows, or ``everyday``; ``kind`` (screenshot, art, video thumbnail, meme, text-only, photo, chart, repost);
    ``unknown`` (near, far, or nothing for the three games); ``reposts``, the file whose near-copy it is (nothing
    where the set is too small to hold that); ``mislabelled`` (yes, no). 5 % of the known games' files are mislabelled.
    """
    counts = dict.fromkeys(KNOWN, per_class) | {UNKNOWN: unknown, LATER: later}
    numbers = [(name, index) for name in FOLDERS for index in range(counts[name])]
    with replacing_folder(folder) as part:
        for name in FOLDERS:
            (part / name).mkdir()
        draw = partial(_draw_file, part, seed)
        with progress(map_ordered(draw, numbers, workers), "drawing memes", len(numbers), "picture") as bar:
            rows = list(bar)
        table = pd.DataFrame(rows)
        table["reposts"] = table["reposts"].where(table["reposts"].isin(table["file"]), "")
        write_csv(part / "drawn.csv", table)


def plan_file(seed: int, folder: str, index: int) -> Plan:
    """What file ``index`` of a folder is to show: a pure function of the three."""
    rng = np.random.default_rng((seed, FOLDERS.index(folder), index, 0))
    # Shares are exact in every block, so that small sets have them as well.
    order = np.random.default_rng((seed, FOLDERS.index(folder), index // BLOCK, 1)).permutation(BLOCK)
    place = int(order[index % BLOCK])
    if place < WRONG and folder in KNOWN:
        return _misplaced(rng, seed, folder, index)
    if place < WRONG + REPOSTS and (source := _earlier(rng, seed, folder, index)):
        return Plan(plan_file(seed, *source).shows, source=source)
    if folder != UNKNOWN:
        return Plan(folder)
    return Plan(NEAR[place // 2 % 2] if place % 2 else FAR)


def draw_post(seed: int, folder: str, index: int) -> Post:
    """The picture in file ``index`` of a folder before it becomes a file; near-copies have the kind ``repost``."""
    plan, rng = plan_file(seed, folder, index), np.random.default_rng((seed, FOLDERS.index(folder), index, 2))
    if plan.source is not None:
        # From the other's file, not from what that was made of.
        jpeg = np.frombuffer(_file_bytes(seed, *plan.source)[0], np.uint8)
        return Post(repost(rng, np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB))), "repost")
    shape = choose_traits(_traits_rng(seed, folder, index)).canvas
    return post_of_anything(rng, shape) if plan.shows == FAR else post_of_game(rng, GAMES[plan.shows], shape)


def _draw_file(root: Path, seed: int, number: tuple[str, int]) -> dict[str, str]:
    folder, index = number
    plan = plan_file(seed, folder, index)
    jpeg, kind = _file_bytes(seed, folder, index)
    (root / _name(folder, index)).write_bytes(jpeg)
    return {
        "file": _name(folder, index),
        "class": folder,
        "shows": plan.shows,
        "kind": kind,
        "unknown": "near" if plan.shows in NEAR else "far" if plan.shows == FAR else "",
        "reposts": _name(*plan.source) if plan.source else "",
        "mislabelled": "yes" if plan.wrong else "no",
    }


def _file_bytes(seed: int, folder: str, index: int) -> tuple[bytes, str]:
    post = draw_post(seed, folder, index)
    return encode(post.picture, choose_traits(_traits_rng(seed, folder, index))), post.kind


def _traits_rng(seed: int, folder: str, index: int) -> Rng:
    return np.random.default_rng((seed, FOLDERS.index(folder), index, 3))


def _misplaced(rng: Rng, seed: int, folder: str, index: int) -> Plan:
    """A picture in a folder where it does not belong, half of the time a copy of one that lies where it does."""
    other = KNOWN[1 - KNOWN.index(folder)]
    if rng.random() < 0.5 and (source := _earlier(rng, seed, pick(rng, (other, UNKNOWN)), index)):
        return Plan(plan_file(seed, *source).shows, wrong=True, source=source)
    return Plan(pick(rng, (other, *NEAR, FAR), (0.4, 0.2, 0.2, 0.2)), wrong=True)


def _earlier(rng: Rng, seed: int, folder: str, index: int) -> tuple[str, int] | None:
    """An earlier file of a folder that is neither misplaced nor a copy itself, if a few tries find one.

    Not from its first half: the first pictures of a folder would have the most copies.
    """
    for candidate in rng.integers(index // 2, index, 8).tolist() if index else ():
        plan = plan_file(seed, folder, candidate)
        if plan.source is None and not plan.wrong:
            return folder, candidate
    return None


def _name(folder: str, index: int) -> str:
    return f"{folder}/{index + 1:03d}.jpg"
