"""Contact sheets and PNG files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.core.sheets import contact_sheet, write_png

CELL, STRIP = 96, 14


def solid(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def cell_of(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = row * (CELL + STRIP), column * CELL
    return sheet[top : top + CELL, left : left + CELL]


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (4, 2), (7, 3)])
def test_a_sheet_has_as_many_rows_as_it_needs(count: int, rows: int) -> None:
    sheet = contact_sheet([solid(8, 8, (0, 0, 0))] * count, [""] * count, columns=3)
    assert sheet.shape == (rows * (CELL + STRIP), 3 * CELL, 3)
    assert sheet.dtype == np.uint8


@pytest.mark.parametrize(("height", "width"), [(20, 20), (400, 400), (50, 200), (300, 30), (1, 1), (1, 500)])
def test_a_picture_keeps_its_proportions_in_the_middle_of_its_cell(height: int, width: int) -> None:
    sheet = contact_sheet([None, solid(height, width, (200, 30, 10))], ["", ""], columns=2)
    assert (cell_of(sheet, 0, 0) == 255).all()
    coloured = (cell_of(sheet, 0, 1) == (200, 30, 10)).all(2)
    ys, xs = np.flatnonzero(coloured.any(1)), np.flatnonzero(coloured.any(0))
    assert coloured[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].all()
    assert max(len(ys), len(xs)) == CELL - 4
    assert len(ys) / len(xs) == pytest.approx(height / width, abs=max(1, height / width) * 0.05)
    for found in (ys, xs):
        assert abs((found[0] + found[-1]) / 2 - (CELL - 1) / 2) <= 1


def test_pictures_stand_row_by_row() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    sheet = contact_sheet([solid(9, 9, colour) for colour in colours], [""] * 4, columns=3)
    found = [cell_of(sheet, number // 3, number % 3)[48, 48] for number in range(4)]
    np.testing.assert_array_equal(found, colours)


def test_a_caption_stands_below_its_picture_and_in_no_other_cell() -> None:
    pictures = [solid(9, 9, (200, 0, 0))] * 3
    plain = contact_sheet(pictures, ["", "", ""], columns=3)
    captioned = contact_sheet(pictures, ["", "an extremely long name of a mineral", ""], columns=3)
    changed = (plain != captioned).any(2)
    assert changed[CELL:, CELL : 2 * CELL].any()
    changed[CELL - 2 :, CELL : 2 * CELL + 4] = False
    assert not changed.any()


def test_every_picture_needs_a_caption() -> None:
    with pytest.raises(ValueError, match="shorter"):
        contact_sheet([None, None], ["one"], columns=2)


def test_a_png_holds_the_same_rgb_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    write_png(tmp_path / "sheets" / "out.png", pixels)
    with Image.open(tmp_path / "sheets" / "out.png") as picture:
        assert picture.format == "PNG"
        np.testing.assert_array_equal(np.asarray(picture), pixels)
