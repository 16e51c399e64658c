"""Bring a user's pictures in: find them, look at every one, leave out what is not sound, and say what and why.

A source stage reads top to bottom here: :func:`source_folder` gives the folder that ``data.source`` names, the task's
own code finds the pictures in it, :func:`whole_pictures` opens each of them, :func:`place_box` judges boxes where
there are any, :func:`without_copies` leaves one of each, :func:`announce` says what was wrong, :func:`store` writes
what is left.

>>> problems: list[Problem] = []
>>> whole = list(whole_pictures(pictures, problems, workers))
>>> kept = without_copies(whole, attrgetter("label"), "another class", problems)
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd

from sightline.core.boxes import Box, clip
from sightline.core.errors import InputError
from sightline.core.files import scratch_folder, write_csv
from sightline.core.images import UnreadableImageError, pixel_digest, read_image
from sightline.core.leakage import perceptual_hash
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say


class Picture(Protocol):
    """What is asked of a task's own record of a picture."""

    @property
    def name(self) -> str:
        """The path below ``images/``, with slashes."""

    @property
    def path(self) -> Path:
        """Where the file lies now."""


P = TypeVar("P", bound=Picture)


class Look(NamedTuple):
    """What is known of a picture that was decoded: its size in pixels (upright), and two digests of its pixels.

    ``digest`` is a SHA-256 (64 hex digits), ``hash`` the perceptual hash (16 hex digits): columns of ``photos.csv``.
    """

    width: int
    height: int
    digest: str
    hash: str

    @property
    def whole_xywh(self) -> Box:
        """The box around all of the picture."""
        return 0.0, 0.0, float(self.width), float(self.height)


class Problem(NamedTuple):
    """A finding about a picture and what was done about it: a row of ``problems.csv``."""

    photo: str
    problem: str
    action: str


@contextmanager
def source_folder(
    source: Literal["synthetic", "path", "official"],
    path: Path,
    out: Path,
    *,
    parameter: str,
    draw: Callable[[Path], object],
    fetch: Callable[[Path], Sequence[Path]],
) -> Iterator[tuple[Path, Sequence[Path]]]:
    """Give the folder with the pictures of ``source``, and the files and folders to keep beside them.

    What was drawn or fetched is gone when the block ends.

    Args:
        source: ``data.source``.
        path: the user's folder, for source 'path'.
        out: what the stage is to write; drawing and fetching are done beside it.
        parameter: the full name of the parameter that ``path`` comes from, for the error.
        draw: makes a folder of that name and draws the pictures into it.
        fetch: makes a folder of that name with the published pictures; returns what is to be kept beside them, which
            it puts beside that folder.

    Raises:
        InputError: there is no folder ``path``, or one that ``draw`` or ``fetch`` raises.
    """
    if source == "path":
        yield _users_folder(path, parameter), ()
        return
    with scratch_folder(out) as scratch:
        folder = scratch / "photos"
        extras: Sequence[Path] = ()
        if source == "synthetic":
            draw(folder)
        else:
            extras = fetch(folder)
        yield folder, extras


def whole_pictures(pictures: Sequence[P], problems: list[Problem], workers: int) -> Iterator[tuple[P, Look]]:
    """Decode every picture in ``workers`` threads; yield those that are whole, in order, with a look at each.

    Files that are missing or no whole picture are added to ``problems`` when it is their turn, so that what the caller
    finds about the others stands among them in the pictures' order.
    """
    looks = map_ordered(_look_at, (picture.path for picture in pictures), workers)
    with progress(looks, "checking photos", len(pictures), "photo") as bar:
        for picture, look in zip(pictures, bar, strict=True):
            if isinstance(look, Look):
                yield picture, look
            else:
                problems.append(Problem(picture.name, look, LEFT_OUT))


class PlacedBox(NamedTuple):
    """The part of a box inside its picture, in pixels, and whether more than rounding had to be cut off."""

    box_xywh: Box
    clipped: bool


def place_box(box_xywh: Box, look: Look) -> PlacedBox | None:
    """Cut a box, in pixels of the upright picture, at the picture's sides.

    None if it has no place there: its numbers are not finite, or what lies inside has a side under ``MIN_SIDE``. Where
    there are no boxes, ``place_box(look.whole_xywh, look)`` tells whether the picture itself is too small.
    """
    x, y, width, height = box_xywh
    corners = np.array([[x, y, x + width, y + height]], dtype=np.float64)
    clipped = clip(corners, look.width, look.height)
    left, top, right, bottom = map(float, clipped[0])
    if not np.isfinite(corners).all() or min(right - left, bottom - top) < MIN_SIDE:
        return None
    overhang = np.abs(clipped - corners).max()
    return PlacedBox((left, top, right - left, bottom - top), bool(overhang > TOLERATED_OVERHANG))


def without_copies(
    looks: Sequence[tuple[P, Look]], label: Callable[[P], object], disagreement: str, problems: list[Problem]
) -> list[tuple[P, Look]]:
    """Keep the first of the pictures that are the same pixel by pixel, in order, and none if their labels differ.

    Nobody knows then which label is right. The others are added to ``problems``; ``disagreement`` names there what
    differs, such as 'another class'. Labels are compared by ``==``.
    """
    copies = defaultdict(list)
    for picture, look in looks:
        copies[look.digest].append(picture)
    kept = []
    for picture, look in looks:
        first, *others = copies[look.digest]
        if any(label(other) != label(first) for other in others):
            same = ", ".join(other.name for other in copies[look.digest] if other is not picture)
            problems.append(Problem(picture.name, f"same pixels as {same}, {disagreement}", LEFT_OUT))
        elif picture is first:
            kept.append((picture, look))
        else:
            problems.append(Problem(picture.name, f"same pixels as {first.name}", LEFT_OUT))
    return kept


def announce(problems: Iterable[Problem]) -> None:
    """Say every problem on stderr, a line each."""
    for problem in problems:
        say(f"{problem.photo}: {problem.problem}: {problem.action}")


def store(folder: Path, pictures: Iterable[Picture], problems: Sequence[Problem], extras: Iterable[Path] = ()) -> None:
    """Write into ``folder`` what every task keeps: ``images/…`` (the files as they came), ``problems.csv``, ``extras``.

    ``extras`` are files and folders, copied under their own names.
    """
    for picture in pictures:
        target = folder / "images" / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture.path, target)
    write_csv(folder / "problems.csv", pd.DataFrame(problems, columns=Problem._fields))
    for extra in extras:
        (shutil.copytree if extra.is_dir() else shutil.copyfile)(extra, folder / extra.name)


def _users_folder(path: Path, parameter: str) -> Path:
    if path.is_dir():
        return path
    hint = ""
    if not path.is_absolute():
        hint = (
            "; inside 'dvc exp run --temp' and '--queue' only an absolute path reaches a folder outside the repository"
        )
    raise InputError(f"{parameter}: there is no folder {path}{hint}")


def _look_at(path: Path) -> Look | str:
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        return error.reason
    height, width = image.shape[:2]
    return Look(width, height, pixel_digest(image), f"{perceptual_hash(image):016x}")


LEFT_OUT, BOX_CLIPPED = "photo left out", "box clipped"
MIN_SIDE = 4.0
TOLERATED_OVERHANG = 1.0
