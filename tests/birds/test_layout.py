"""Layouts: CUB with its four text files, or one folder a class; what is broken is named by file, line and id."""

from pathlib import Path

import numpy as np
import pytest

from sightline.birds.layout import Photo, read_layout, write_cub
from sightline.core.errors import InputError

CUB = {
    "images.txt": "3 002.Tit/b.jpg\n7 010.Two words/c d.jpg\n1 002.Tit/a.jpg\n",
    "classes.txt": "2 002.Tit\n10 010.Two words\n11 011.Not there\n",
    "image_class_labels.txt": "1 2\n3 2\n7 10\n9 10\n",
    "bounding_boxes.txt": "1 0.0 0.0 20.0 10.0\n3 1.5 2.5 20.0 10.0\n7 60.0 27.0 325.0 304.0\n",
}


def cub(folder: Path, **changes: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**CUB, **{f"{key}.txt": value for key, value in changes.items()}}.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def message_of(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_layout(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_part_of_cub_keeps_the_official_ids(tmp_path: Path) -> None:
    layout, photos = read_layout(cub(tmp_path))
    assert layout == "cub"
    root = tmp_path / "images"
    assert photos == [
        Photo(1, "002.Tit/a.jpg", root / "002.Tit" / "a.jpg", 2, "002.Tit", (0, 0, 20, 10)),
        Photo(3, "002.Tit/b.jpg", root / "002.Tit" / "b.jpg", 2, "002.Tit", (1.5, 2.5, 20, 10)),
        Photo(7, "010.Two words/c d.jpg", root / "010.Two words/c d.jpg", 10, "010.Two words", (60, 27, 325, 304)),
    ]


def test_cub_is_found_one_folder_deeper_as_its_archive_has_it(tmp_path: Path) -> None:
    cub(tmp_path / "CUB_200_2011")
    (tmp_path / "attributes.txt").touch()
    assert len(read_layout(tmp_path)[1]) == 3


def test_other_line_ends_empty_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    expected = read_layout(cub(tmp_path))[1]
    for name, text in CUB.items():
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert read_layout(tmp_path)[1] == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bounding_boxes": None}, "lacks bounding_boxes.txt: the CUB layout has them beside images/"),
        ({"images": None, "classes": None}, "lacks images.txt, classes.txt"),
        ({"images": "1 a/b.jpg\n1 a/c.jpg\n"}, "images.txt, line 2: the id 1 appears twice"),
        ({"classes": "2 Tit\n2 Owl\n10 Crow\n"}, "classes.txt, line 2: the id 2 appears twice"),
        ({"image_class_labels": "1 2\n3 2\n7 10\n3 10\n"}, "image_class_labels.txt, line 4: the id 3 appears twice"),
        ({"image_class_labels": "1 2\n"}, "image_class_labels.txt has no line for image 3 and 1 more, listed in"),
        ({"bounding_boxes": "1 0 0 9 9\n3 0 0 9 9\n"}, "bounding_boxes.txt has no line for image 7, listed in"),
        ({"images": "1 a.jpg\n3 a.jpg\n"}, "images.txt: a.jpg is listed twice, as images 1 and 3"),
        ({"images": "1 ../a.jpg\n"}, "image 1, ../a.jpg, does not lie below images/"),
        ({"images": "1 /a.jpg\n"}, "image 1, /a.jpg, does not lie below images/"),
        ({"images": "a.jpg\n"}, "images.txt, line 1: 'a.jpg' is not an image id and a path below images/"),
        ({"images": "\n"}, "images.txt lists no images"),
        ({"classes": "2 Tit\n"}, "image 7 is of class 10, which classes.txt does not list"),
        ({"image_class_labels": "1 2\n3 Tit\n7 10\n"}, "image 3 has the label 'Tit', which is no class id"),
        ({"bounding_boxes": "1 0 0 9 9\n3 0 0 9\n7 0 0 9 9\n"}, "image 3 has '0 0 9', not x y width height"),
        ({"bounding_boxes": "1 0 0 9 9\n3 a b c d\n7 0 0 9 9\n"}, "image 3 has 'a b c d', not x y width height"),
    ],
)
def test_what_is_broken_in_the_text_files_is_named(tmp_path: Path, changes: dict[str, str | None], reason: str) -> None:
    assert reason in message_of(cub(tmp_path, **changes))


def test_text_in_another_coding_is_named(tmp_path: Path) -> None:
    (cub(tmp_path) / "classes.txt").write_bytes("2 Tölpel\n10 Crow\n".encode("latin-1"))
    assert message_of(tmp_path).endswith("classes.txt is not UTF-8 text")


def test_class_folders_are_numbered_in_the_order_of_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Owl/2.png", "Owl-young/1.png", "Crow/deep/1.png", "Crow/notes.txt", "stray.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    layout, photos = read_layout(tmp_path)
    assert layout == "folders"
    assert [(photo.name, photo.class_id, photo.class_name) for photo in photos] == [
        ("Crow/deep/1.png", 1, "Crow"),
        ("Crow/notes.txt", 1, "Crow"),
        ("Owl-young/1.png", 3, "Owl-young"),
        ("Owl/2.png", 2, "Owl"),
    ]
    assert [photo.image_id for photo in photos] == [1, 2, 3, 4]
    assert {photo.box_xywh for photo in photos} == {None}
    assert all(photo.path.is_file() for photo in photos)
    assert "1 pictures lie in no class's folder" in capsys.readouterr().err


def test_class_folders_are_found_one_folder_deeper(tmp_path: Path) -> None:
    for name in ("Owl", "Crow"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.jpg").touch()
    assert [photo.class_name for photo in read_layout(tmp_path)[1]] == ["Crow", "Owl"]


def test_the_pictures_of_a_single_class_are_not_taken_for_a_folder_of_classes(tmp_path: Path) -> None:
    (tmp_path / "Owl").mkdir()
    (tmp_path / "Owl" / "1.jpg").touch()
    assert [photo.class_name for photo in read_layout(tmp_path)[1]] == ["Owl"]


def test_a_folder_without_either_and_no_folder_at_all(tmp_path: Path) -> None:
    assert "holds neither images.txt with its companions (CUB layout) nor a folder" in message_of(tmp_path)
    assert "is not a folder: birds.data.path must name" in message_of(tmp_path / "nothing")


def test_what_is_written_is_read_again_and_looks_like_the_official_files(tmp_path: Path) -> None:
    photos = read_layout(cub(tmp_path))[1]
    (tmp_path / "again").mkdir()
    write_cub(tmp_path / "again", photos)
    again = read_layout(tmp_path / "again")[1]
    assert [vars(photo) | {"path": None} for photo in again] == [vars(photo) | {"path": None} for photo in photos]
    assert (tmp_path / "again" / "classes.txt").read_text() == "2 002.Tit\n10 010.Two words\n"
    assert (tmp_path / "again" / "bounding_boxes.txt").read_text().splitlines()[1] == "3 1.5 2.5 20.0 10.0"
    # As everybody reads them.
    assert np.loadtxt(tmp_path / "again" / "bounding_boxes.txt").shape == (3, 5)
