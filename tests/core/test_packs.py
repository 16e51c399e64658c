"""Packed images against plain NumPy."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.packs import open_pack, write_pack

Piece = tuple[NDArray[np.uint8], list[dict[str, Any]]]


def pieces(*counts: int, size: int = 4) -> list[Piece]:
    """Pieces of random pictures, their rows numbered through."""
    rng = np.random.default_rng(sum(counts))
    firsts = np.cumsum([0, *counts])
    return [
        (
            rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
            [
                {"split": "train" if row % 2 else "val", "label": "pyrite", "row": row}
                for row in range(first, first + count)
            ],
        )
        for first, count in zip(firsts, counts, strict=False)
    ]


def test_a_pack_holds_the_pieces_one_after_the_other(tmp_path: Path) -> None:
    written = pieces(3, 0, 1, 5)
    pack = write_pack(tmp_path / "pack", 4, iter(written))
    expected = np.concatenate([images for images, _ in written])
    np.testing.assert_array_equal(pack.images, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "pack" / "images.npy"), expected)
    assert isinstance(pack.images, np.memmap)
    assert len(pack) == 9
    assert list(pack.manifest["row"]) == list(range(9))
    with (tmp_path / "pack" / "manifest.csv").open(newline="") as file:
        assert [int(row["row"]) for row in csv.DictReader(file)] == list(range(9))


def test_the_file_is_the_one_that_numpy_writes(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack", 4, pieces(3, 4))
    np.save(tmp_path / "plain.npy", np.concatenate([images for images, _ in pieces(3, 4)]))
    assert (tmp_path / "pack" / "images.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()


def test_a_count_of_many_digits_fits_the_header(tmp_path: Path) -> None:
    images = np.zeros((123_456, 1, 1, 3), np.uint8)
    images[-1] = 9
    pack = write_pack(tmp_path / "pack", 1, [(images, [{"split": "train"}] * len(images))])
    assert pack.images.shape == (123_456, 1, 1, 3)
    assert pack.images[-1].sum() == 27


def test_rows_of_a_split_ascend(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", 4, pieces(7))
    np.testing.assert_array_equal(pack.rows("train"), [1, 3, 5])
    np.testing.assert_array_equal(pack.rows("val"), [0, 2, 4, 6])
    assert len(pack.rows("test")) == 0


@pytest.mark.parametrize("column", ["label", "person", "name", "photo"])
@pytest.mark.parametrize("text", ["NA", "nan", "", "007", "1e3", "True", "iron, native", 'so-called "gold"', "黄铁矿"])
def test_a_class_and_a_person_may_have_any_name(tmp_path: Path, column: str, text: str) -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    write_pack(tmp_path / "pack", 4, [(images, [{"split": "train", column: text, "left": 3, "score": 0.5}] * 2)])
    manifest = open_pack(tmp_path / "pack").manifest
    assert manifest[column].tolist() == [text, text]
    assert (manifest["left"].dtype, manifest["score"].dtype) == (np.int64, np.float64)


def test_texts_that_might_be_read_as_numbers_are_not_written(tmp_path: Path) -> None:
    row = {"split": "train", "nickname": "007"}
    with pytest.raises(ValueError, match="nickname hold texts"):
        write_pack(tmp_path / "pack", 4, [(np.zeros((1, 4, 4, 3), np.uint8), [row])])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 4, 4, 3), np.uint8), np.zeros((2, 4, 5, 3), np.uint8), np.zeros((2, 4, 4, 3), np.float32)],
)
def test_a_wrong_piece_leaves_nothing_behind(tmp_path: Path, images: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="a piece of shape"):
        write_pack(tmp_path / "pack", 4, [*pieces(2), (images, [{}] * 2)])
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_pack_that_was_there(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Piece]:
        yield pieces(2)[0]
        raise KeyboardInterrupt

    before = write_pack(tmp_path / "pack", 4, pieces(3)).images.copy()
    with pytest.raises(KeyboardInterrupt):
        write_pack(tmp_path / "pack", 4, interrupted())
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    np.testing.assert_array_equal(open_pack(tmp_path / "pack").images, before)


def test_the_same_pieces_give_the_same_bytes_however_they_are_cut(tmp_path: Path) -> None:
    images = np.concatenate([images for images, _ in pieces(6)])
    rows = pieces(6)[0][1]
    write_pack(tmp_path / "one", 4, [(images, rows)])
    write_pack(tmp_path / "two", 4, [(images[:1], rows[:1]), (images[1:], rows[1:])])
    for name in ("images.npy", "manifest.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_files_that_disagree_are_an_error(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack", 4, pieces(3))
    manifest = tmp_path / "pack" / "manifest.csv"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match=r"pack: 3 images but 2 rows"):
        open_pack(tmp_path / "pack")


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", json.dumps([1]).encode()])
def test_a_folder_without_whole_images_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "manifest.csv").write_text("split\ntrain\n")
    if content is not None:
        (tmp_path / "images.npy").write_bytes(content)
    with pytest.raises(InputError, match="holds no packed images"):
        open_pack(tmp_path)


def test_a_cut_off_images_file_is_an_error(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack", 4, pieces(3))
    images = tmp_path / "pack" / "images.npy"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(InputError, match="holds no packed images"):
        open_pack(tmp_path / "pack")
