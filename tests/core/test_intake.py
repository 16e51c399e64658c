"""Bringing pictures in: whatever the source, what is sound is kept as it came, and a word is said on all the rest."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sightline.core.boxes import Box
from sightline.core.errors import InputError
from sightline.core.intake import (
    Look,
    Problem,
    announce,
    place_box,
    source_folder,
    store,
    whole_pictures,
    without_copies,
)
from sightline.core.leakage import perceptual_hash


@dataclass(frozen=True)
class Meme:
    """What a task without boxes knows of a picture."""

    name: str
    path: Path
    label: str = ""


def blobs(number: int, width: int = 64, height: int = 48) -> Image.Image:
    """Smooth colour blobs, another picture for each number."""
    coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def meme(root: Path, name: str, image: Image.Image | bytes, **options: Any) -> Meme:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        image.save(path, **options)
    return Meme(name, path, path.parent.name)


def torn(root: Path) -> bytes:
    whole = meme(root, "whole.jpg", blobs(30, 640, 480), quality=95).path.read_bytes()
    return whole[: len(whole) // 2]


def looked_at(pictures: Sequence[Meme], workers: int = 0) -> tuple[list[tuple[Meme, Look]], list[Problem]]:
    problems: list[Problem] = []
    return list(whole_pictures(pictures, problems, workers)), problems


def look_of(digest: str, width: int = 64, height: int = 48) -> Look:
    return Look(width, height, digest, "0" * 16)


def never(folder: Path) -> list[Path]:
    raise AssertionError(f"{folder} was not asked for")


def draw(folder: Path) -> None:
    folder.mkdir()
    (folder / "drawn.png").touch()


def fetch(folder: Path) -> list[Path]:
    folder.mkdir()
    (folder / "fetched.png").touch()
    digest = folder.with_name("official.sha256")
    digest.write_text("digest")
    return [digest]


def test_a_users_folder_is_given_as_it_is_and_nothing_is_drawn_or_fetched(tmp_path: Path) -> None:
    mine, out = tmp_path / "mine", tmp_path / "data" / "raw"
    mine.mkdir()
    with source_folder("path", mine, out, parameter="memes.data.path", draw=never, fetch=never) as (folder, extras):
        assert (folder, list(extras)) == (mine, [])
    assert mine.is_dir()
    assert not out.parent.exists()


def test_a_users_folder_that_is_not_there_is_named_with_its_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    def refused(path: Path) -> str:
        source = source_folder("path", path, tmp_path / "out", parameter="memes.data.path", draw=never, fetch=never)
        with pytest.raises(InputError) as caught, source:
            pass
        return str(caught.value)

    assert refused(tmp_path / "gone") == f"memes.data.path: there is no folder {tmp_path / 'gone'}"
    assert refused(tmp_path / "file") == f"memes.data.path: there is no folder {tmp_path / 'file'}"
    # A relative path may be right, but not from the folder in which an experiment runs.
    assert refused(Path("gone")).startswith("memes.data.path: there is no folder gone; inside 'dvc exp run --temp'")


@pytest.mark.parametrize(
    ("source", "pictures", "kept"),
    [("synthetic", ["drawn.png"], []), ("official", ["fetched.png"], ["official.sha256"])],
)
def test_what_is_drawn_or_fetched_lies_beside_the_output_until_the_block_ends(
    tmp_path: Path, source: Literal["synthetic", "official"], pictures: list[str], kept: list[str]
) -> None:
    out = tmp_path / "data" / "raw"
    used = (draw, never) if source == "synthetic" else (never, fetch)
    for failure in (None, InputError("no layout fits")):
        with (
            suppress(InputError),
            source_folder(source, tmp_path, out, parameter="memes.data.path", draw=used[0], fetch=used[1]) as (
                folder,
                extras,
            ),
        ):
            assert [path.name for path in folder.iterdir()] == pictures
            assert [path.name for path in extras] == kept
            assert all(path.is_file() for path in extras)
            assert out.parent in folder.parents
            if failure:
                raise failure
        assert list(out.parent.iterdir()) == []


def test_a_look_has_the_upright_size_and_digests_of_the_pixels(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = [
        meme(tmp_path, "plain.png", blobs(1)),
        meme(tmp_path, "again.bmp", blobs(1)),
        meme(tmp_path, "turned.jpg", blobs(2), exif=turned),
        # All of its perceptual hash's bits are zero.
        meme(tmp_path, "black.png", Image.new("RGB", (40, 30))),
    ]
    whole, problems = looked_at(pictures)
    plain, again, upright, black = (look for _, look in whole)
    assert [picture for picture, _ in whole] == pictures
    assert problems == []
    assert [(look.width, look.height) for look in (plain, upright, black)] == [(64, 48), (48, 64), (40, 30)]
    assert plain == again
    assert len({plain.digest, upright.digest, black.digest}) == 3
    assert int(plain.hash, 16) == perceptual_hash(np.asarray(blobs(1)))
    assert {len(look.hash) for look in (plain, upright, black)} == {16}
    assert plain.whole_xywh == (0, 0, 64, 48)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_no_whole_picture_is_named_where_it_stands_among_the_others(tmp_path: Path, workers: int) -> None:
    pictures = [
        meme(tmp_path, "cat/1.png", blobs(1)),
        meme(tmp_path, "cat/empty.jpg", b""),
        meme(tmp_path, "cat/notes.txt", b"not a picture"),
        meme(tmp_path, "dog/2.png", blobs(2)),
        Meme("dog/gone.png", tmp_path / "dog" / "gone.png"),
        meme(tmp_path, "dog/torn.jpg", torn(tmp_path)),
        meme(tmp_path, "dog/words.jpg", b"not a picture"),
        meme(tmp_path, "dog/3.png", blobs(3)),
    ]
    problems: list[Problem] = []
    for picture, _ in whole_pictures(pictures, problems, workers):
        problems.append(Problem(picture.name, "seen", "none"))
    reasons = {problem.photo: problem.problem for problem in problems}
    assert list(reasons) == [picture.name for picture in pictures]
    assert reasons.pop("dog/torn.jpg").startswith("corrupt: ")
    assert reasons == {
        "cat/1.png": "seen",
        "cat/empty.jpg": "empty file",
        "cat/notes.txt": "not a picture",
        "dog/2.png": "seen",
        "dog/gone.png": "no such file",
        "dog/words.jpg": "not a picture",
        "dog/3.png": "seen",
    }
    assert {problem.action for problem in problems if problem.problem != "seen"} == {"photo left out"}


@pytest.mark.parametrize(
    "box",
    [
        (70.0, 0.0, 20.0, 20.0),
        (-30.0, 0.0, 20.0, 20.0),
        (5.0, 5.0, 0.0, 20.0),
        (5.0, 5.0, -20.0, 20.0),
        (5.0, 5.0, 3.9, 20.0),
        (5.0, 5.0, 20.0, 3.9),
        (60.1, 5.0, 20.0, 20.0),
        (float("nan"), 5.0, 20.0, 20.0),
        (5.0, float("-inf"), 20.0, 20.0),
        (5.0, 5.0, float("inf"), 20.0),
        (1e308, 5.0, 1e308, 20.0),
    ],
)
def test_a_box_without_four_pixels_in_the_picture_has_no_place(box: Box) -> None:
    assert place_box(box, look_of("", 64, 48)) is None


@pytest.mark.parametrize(
    ("box", "placed", "clipped"),
    [
        ((10.5, 2.25, 4.0, 45.75), (10.5, 2.25, 4.0, 45.75), False),
        ((50.0, -6.0, 20.0, 20.0), (50.0, 0.0, 14.0, 14.0), True),
        ((60.0, 44.0, 9.0, 9.0), (60.0, 44.0, 4.0, 4.0), True),
        ((-0.5, 0.0, 30.0, 48.75), (0.0, 0.0, 29.5, 48.0), False),
        ((-1.0, 0.0, 66.0, 49.0), (0.0, 0.0, 64.0, 48.0), False),
        ((-1.25, 0.0, 30.0, 20.0), (0.0, 0.0, 28.75, 20.0), True),
        ((0.0, 30.0, 30.0, 19.25), (0.0, 30.0, 30.0, 18.0), True),
    ],
)
def test_only_an_overhang_of_more_than_a_pixel_counts_as_clipped(box: Box, placed: Box, clipped: bool) -> None:
    assert place_box(box, look_of("", 64, 48)) == (placed, clipped)


@given(st.tuples(st.integers(-25, 25), st.integers(-25, 25), st.integers(0, 40), st.integers(0, 40)))
def test_a_placed_box_covers_the_pixels_that_it_covered_in_the_picture(box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    surroundings = np.zeros((100, 100), dtype=bool)
    surroundings[30 + y : 30 + y + height, 30 + x : 30 + x + width] = True
    picture = surroundings[30:42, 30:45]
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    placed = place_box((float(x), float(y), float(width), float(height)), look_of("", 15, 12))
    if len(rows) < 4 or len(columns) < 4:
        assert placed is None
    else:
        assert placed is not None
        assert placed.box_xywh == (columns[0], rows[0], len(columns), len(rows))
        cut = (columns[0] - x, rows[0] - y, x + width - 1 - columns[-1], y + height - 1 - rows[-1])
        assert placed.clipped == (max(cut) > 1)


def test_the_first_of_equal_pictures_stays_in_its_place() -> None:
    names = ["a", "b", "c", "d", "e"]
    looks = [(Meme(name, Path(name), "cat"), look_of(key)) for name, key in zip(names, "xyxzx", strict=True)]
    problems = [Problem("earlier", "of another kind", "photo left out")]
    kept = without_copies(looks, attrgetter("label"), "another class", problems)
    assert kept == [looks[0], looks[1], looks[3]]
    assert problems[1:] == [("c", "same pixels as a", "photo left out"), ("e", "same pixels as a", "photo left out")]


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_of_equal_pictures_whose_labels_differ_none_stays(odd: int) -> None:
    pictures = [Meme(name, Path(name), "dog" if number == odd else "cat") for number, name in enumerate("abc")]
    other = (Meme("d", Path("d"), "dog"), look_of("y"))
    problems: list[Problem] = []
    looks = [*((picture, look_of("x")) for picture in pictures), other]
    assert without_copies(looks, attrgetter("label"), "another class", problems) == [other]
    assert problems == [
        ("a", "same pixels as b, c, another class", "photo left out"),
        ("b", "same pixels as a, c, another class", "photo left out"),
        ("c", "same pixels as a, b, another class", "photo left out"),
    ]


def test_every_problem_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    announce([Problem("a.png", "empty file", "photo left out"), Problem("b.png", "odd", "photo kept")])
    assert capsys.readouterr().err.splitlines() == ["a.png: empty file: photo left out", "b.png: odd: photo kept"]


def test_pictures_of_every_sound_kind_are_stored_as_they_came(tmp_path: Path) -> None:
    deep: NDArray[np.uint16] = np.asarray(blobs(35).convert("L")).astype(np.uint16) * 257
    pictures = [
        meme(tmp_path, "in/cat/really.jpg", blobs(31), format="PNG"),
        meme(tmp_path, "in/cat/cmyk.jpg", blobs(32).convert("CMYK")),
        meme(tmp_path, "in/cat/palette.png", blobs(33).convert("P")),
        meme(tmp_path, "in/cat/grey.png", blobs(34).convert("L")),
        meme(tmp_path, "in/cat/grey.jpg", blobs(34).convert("L")),
        meme(tmp_path, "in/dog/sixteen.png", Image.fromarray(deep)),
        meme(tmp_path, "in/dog/two words é.webp", blobs(36)),
    ]
    whole, problems = looked_at(pictures)
    (tmp_path / "out").mkdir()
    store(tmp_path / "out", [picture for picture, _ in whole], problems)
    assert problems == []
    stored = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert stored.keys() == {"problems.csv", *(f"images/{picture.name}" for picture in pictures)}
    for picture in pictures:
        assert stored[f"images/{picture.name}"].read_bytes() == picture.path.read_bytes()


def test_problems_and_extras_stand_beside_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "examples" / "deep").mkdir(parents=True)
    (tmp_path / "examples" / "deep" / "patch.png").write_bytes(b"patch")
    (tmp_path / "official.sha256").write_text("digest")
    problems = [Problem("NA", "same pixels as a, b, another class", "photo left out"), Problem("c", "odd", "none")]
    for name, found in (("some", problems), ("none", [])):
        (tmp_path / name).mkdir()
        store(tmp_path / name, [], found, [tmp_path / "examples", tmp_path / "official.sha256"])
        table = pd.read_csv(tmp_path / name / "problems.csv", keep_default_na=False)
        assert table.columns.tolist() == ["photo", "problem", "action"]
        assert list(table.itertuples(index=False, name=None)) == found
        assert (tmp_path / name / "examples" / "deep" / "patch.png").read_bytes() == b"patch"
        assert (tmp_path / name / "official.sha256").read_text() == "digest"


def test_a_task_without_boxes_learns_which_pictures_are_too_small(tmp_path: Path) -> None:
    sizes = {"cat/thin.png": (3, 40), "cat/flat.png": (40, 3), "dog/least.png": (4, 4), "dog/large.png": (64, 48)}
    whole, _ = looked_at([meme(tmp_path, name, blobs(7, *size)) for name, size in sizes.items()])
    too_small = [picture.name for picture, look in whole if place_box(look.whole_xywh, look) is None]
    assert too_small == ["cat/thin.png", "cat/flat.png"]
