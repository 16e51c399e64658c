import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.core.report import ReportError, compile_report, in_words, write_mosaic, write_photo
from sightline.core.sheets import write_png

HEADER = '#import "house.typ": *\n#show: report.with(title: "A title", subtitle: [A line.])\n'


def compiled(folder: Path, text: str, data: dict[str, object]) -> bytes:
    folder.mkdir()
    (folder / "text.typ").write_text(HEADER + text, encoding="utf-8")
    figures = folder / "figures"
    figures.mkdir()
    write_png(figures / "red.png", np.full((4, 8, 3), (255, 0, 0), np.uint8))
    compile_report(folder / "text.typ", data, figures, folder / "out" / "report.pdf")
    return (folder / "out" / "report.pdf").read_bytes()


def test_the_same_inputs_in_another_folder_give_the_same_bytes(tmp_path: Path) -> None:
    text = '= Heading\n#data.x #figure(picture("red.png"), caption: [Red.])'
    first, second = (compiled(tmp_path / name, text, {"x": 1}) for name in ("a", "b"))
    assert first == second
    assert b"Date" not in re.sub(rb"/RoleMap<<.*?>>", b"", first)
    assert first != compiled(tmp_path / "c", text, {"x": 2})


def test_texts_of_the_data_are_shown_as_they_are_and_never_read_as_markup(tmp_path: Path) -> None:
    hostile = '#panic("no") $x$ _a_ *b* @key <label> \\ "q" `c` // [d] = e'
    literal = '"' + hostile.replace("\\", "\\\\").replace('"', '\\"') + '"'
    from_data = compiled(tmp_path / "a", "#data.text #listing(([Name],), ((data.text,),))", {"text": hostile})
    from_code = compiled(tmp_path / "b", f"#{literal} #listing(([Name],), (({literal},),))", {})
    assert from_data == from_code


def test_only_fonts_of_the_packages_are_used(tmp_path: Path) -> None:
    pdf = compiled(tmp_path / "a", '`mono` #sans("sans") ∀ serif', {})
    names = {name.decode() for name in re.findall(rb"/FontName/[A-Z]{6}\+(\w+)", pdf)}
    assert names
    assert all(name.startswith(("Libertinus", "DejaVuSans")) for name in names)


def test_a_template_that_does_not_compile_is_one_line_with_its_place_and_leaves_no_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"^report\.typ:4: unknown variable: missing$"):
        compiled(tmp_path / "a", "fine\n#missing", {})
    assert not (tmp_path / "a" / "out").exists()


def test_a_template_reads_no_file_outside_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(ReportError):
        compiled(tmp_path / "a", f'#read("{tmp_path.as_posix()}/secret.txt")', {})


def test_boxes_with_labels_fit_into_their_photo_wherever_they_lie(tmp_path: Path) -> None:
    corners = [(left, top) for left in (0.0, 0.9) for top in (0.0, 0.9)]
    boxes = [
        {"left": left, "top": top, "width": 0.1, "height": 0.1, "label": "long label", "colour": "right"}
        for left, top in [*corners, *corners]
    ]
    photo = {"file": "red.png", "aspect": 2.0, "boxes": boxes}
    pdf = compiled(tmp_path / "a", "#photo-rows(((data.photo, data.photo),), (right: blue))", {"photo": photo})
    assert pages(pdf) == 1


def pages(pdf: bytes) -> int:
    found = re.search(rb"<xmpTPg:NPages>(\d+)<", pdf)
    assert found
    return int(found[1])


def test_figures_are_written_with_as_many_digits_as_asked_for() -> None:
    figure = {"value": 0.9, "low": 0.84996, "high": 1.0, "n": 1234}
    assert in_words(figure) == {"value": "0.900", "low": "0.850", "high": "1.000", "n": "1,234"}
    assert in_words(figure, 1)["low"] == "0.8"


def test_each_picture_of_a_mosaic_lies_where_its_number_says(tmp_path: Path) -> None:
    colours = [(10 * number, 255 - 10 * number, 5) for number in range(7)]
    tiles = [np.full((9, 9, 3), colour, np.uint8) for colour in colours]
    mosaic = write_mosaic(tmp_path / "m.png", tiles, columns=3, cell=16)
    assert mosaic == {"file": "m.png", "columns": 3, "rows": 3, "count": 7}
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "m.png")), cv2.COLOR_BGR2RGB)
    assert image.shape == (48, 48, 3)
    for number, colour in enumerate(colours):
        y, x = number // 3 * 16 + 8, number % 3 * 16 + 8
        assert tuple(image[y, x]) == colour


@pytest.mark.parametrize(("height", "width", "expected"), [(100, 200, (25, 50)), (40, 20, (40, 20))])
def test_a_photo_is_shrunk_to_its_longest_side_and_never_enlarged(
    tmp_path: Path, height: int, width: int, expected: tuple[int, int]
) -> None:
    write_photo(tmp_path / "p.jpg", np.full((height, width, 3), (200, 30, 60), np.uint8), longest=50)
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "p.jpg")), cv2.COLOR_BGR2RGB)
    assert image.shape[:2] == expected
    np.testing.assert_allclose(image.mean((0, 1)), (200, 30, 60), atol=4)
