import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from sightline.core.errors import InputError
from sightline.minerals.annotations import Photo, Specimen, read_annotations

CLASSES = ("pyrite", "quartz")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_coco(path: Path, pictures: Sequence[str], boxes: Sequence[tuple[int, str, list[Any]]], **extra: Any) -> Path:
    """``boxes`` are (number of the picture from 1, label, xywh)."""
    numbers = {"pyrite": 7, "quartz": 3, "calcite": 5}
    images = [{"id": k, "file_name": name, "width": 64, "height": 48} for k, name in enumerate(pictures, 1)]
    annotations = [
        {"id": k, "image_id": image, "category_id": numbers[label], "bbox": box, **extra}
        for k, (image, label, box) in enumerate(boxes, 1)
    ]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return write(path, json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def read(folder: Path) -> dict[str, Photo]:
    return {photo.name: photo for photo in read_annotations(folder, CLASSES)[1]}


def boxes(photo: Photo) -> list[tuple[str, tuple[float, ...]]]:
    return [(specimen.label, specimen.box_xywh) for specimen in photo.specimens]


def voc(filename: str | None, objects: Sequence[tuple[str, int, int, int, int]], size: str = "") -> str:
    name = f"<filename>{filename}</filename>" if filename else ""
    items = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for label, left, top, right, bottom in objects
    )
    return f"<annotation>{name}{size}{items}</annotation>"


def test_coco_is_read_as_pycocotools_reads_it(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.jpg", tmp_path / "images" / "b.jpg", tmp_path / "images" / "c.jpg")
    found = [(1, "pyrite", [1.5, 2, 30, 20]), (1, "calcite", [0, 0, 9, 9]), (2, "quartz", [4, 4, 10, 12.25])]
    file = write_coco(tmp_path / "annotations.json", ["a.jpg", "b.jpg", "c.jpg"], found)
    reference = COCO(str(file))
    expected = {
        f"images/{image['file_name']}": sorted(
            (reference.cats[annotation["category_id"]]["name"], tuple(annotation["bbox"]))
            for annotation in reference.loadAnns(reference.getAnnIds(imgIds=[image["id"]]))
        )
        for image in reference.loadImgs(reference.getImgIds())
    }
    layout, photos = read_annotations(tmp_path, CLASSES)
    assert layout == "coco"
    assert {photo.name: sorted(boxes(photo)) for photo in photos} == expected
    assert {photo.size for photo in photos} == {(64, 48)}
    assert photos[2].specimens == ()


def test_several_coco_files_add_up_and_what_they_repeat_counts_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    write_coco(tmp_path / "train.json", ["a.jpg"], [(1, "pyrite", [0, 0, 10, 10])])
    write_coco(tmp_path / "val.json", ["b.jpg"], [(1, "quartz", [0, 0, 20, 20])])
    both = [(1, "pyrite", [0, 0, 10, 10]), (1, "quartz", [20, 20, 8, 8]), (2, "quartz", [0, 0, 20, 20])]
    write_coco(tmp_path / "all.json", ["a.jpg", "b.jpg"], both)
    photos = read(tmp_path)
    assert sorted(boxes(photos["a.jpg"])) == [("pyrite", (0, 0, 10, 10)), ("quartz", (20, 20, 8, 8))]
    assert boxes(photos["b.jpg"]) == [("quartz", (0, 0, 20, 20))]


def test_a_crowd_is_no_specimen_of_its_class_and_no_background(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    write_coco(tmp_path / "a.json", ["a.jpg"], [(1, "pyrite", [0, 0, 10, 10])], iscrowd=1)
    assert boxes(read(tmp_path)["a.jpg"]) == [("crowd of pyrite", (0, 0, 10, 10))]


@pytest.mark.parametrize(
    "file_name", ["deep/a.jpg", "a.jpg", "C:\\photos\\a.jpg", "/elsewhere/a.jpg", "../images/deep/a.jpg"]
)
def test_a_picture_is_found_whatever_folders_the_annotation_puts_before_it(tmp_path: Path, file_name: str) -> None:
    touch(tmp_path / "images" / "deep" / "a.jpg")
    write_coco(tmp_path / "annotations" / "all.json", [file_name], [(1, "pyrite", [0, 0, 10, 10])])
    assert list(read(tmp_path)) == ["images/deep/a.jpg"]


def test_one_base_name_in_two_folders_needs_its_folder(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg")
    file = write_coco(tmp_path / "all.json", ["y/a.jpg"], [(1, "pyrite", [0, 0, 10, 10])])
    assert list(read(tmp_path)) == ["y/a.jpg"]
    write_coco(file, ["a.jpg"], [(1, "pyrite", [0, 0, 10, 10])])
    with pytest.raises(InputError, match=r"several pictures named a\.jpg"):
        read(tmp_path)


def test_a_stem_that_two_pictures_share_is_not_guessed(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.png")
    write(tmp_path / "xml" / "a.xml", voc(None, [("pyrite", 1, 1, 9, 9)]))
    with pytest.raises(InputError, match="several pictures named a"):
        read(tmp_path)


def test_an_annotated_picture_that_is_missing_is_kept_for_the_report(tmp_path: Path) -> None:
    write_coco(tmp_path / "all.json", ["gone.jpg"], [(1, "pyrite", [0, 0, 10, 10])])
    photo = read(tmp_path)["gone.jpg"]
    assert not photo.path.exists()


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"bbox": [1, 2, 3]}, "ValueError"),
        ({"bbox": None}, "TypeError"),
        ({"category_id": 99}, "KeyError 99"),
        ({"image_id": 98}, "KeyError 98"),
    ],
)
def test_a_broken_coco_file_is_named(tmp_path: Path, change: dict[str, Any], culprit: str) -> None:
    touch(tmp_path / "a.jpg")
    write_coco(tmp_path / "broken.json", ["a.jpg"], [(1, "pyrite", [0, 0, 10, 10])], **change)
    with pytest.raises(InputError, match=rf"broken\.json is no sound COCO file: {culprit}"):
        read(tmp_path)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    write(tmp_path / "half.json", '{"images": [')
    with pytest.raises(InputError, match=r"half\.json is not valid JSON"):
        read(tmp_path)


@pytest.mark.parametrize("size", [{"width": 0, "height": 0}, {"width": None, "height": None}, {}])
def test_a_size_that_coco_does_not_know_is_no_size(tmp_path: Path, size: dict[str, Any]) -> None:
    touch(tmp_path / "a.jpg")
    tree = {"images": [{"id": 1, "file_name": "a.jpg", **size}], "annotations": [], "categories": []}
    # A byte order mark, as Windows editors write it.
    (tmp_path / "all.json").write_text(json.dumps(tree), encoding="utf-8-sig")
    assert read(tmp_path)["a.jpg"].size is None


def test_voc_counts_pixels_from_one_and_includes_the_last(tmp_path: Path) -> None:
    touch(tmp_path / "JPEGImages" / "a.jpg")
    size = "<size><width>64</width><height>48</height></size>"
    write(tmp_path / "Annotations" / "a.xml", voc("a.jpg", [("pyrite", 1, 1, 64, 48), ("quartz", 5, 6, 5, 6)], size))
    layout, photos = read_annotations(tmp_path, CLASSES)
    assert layout == "voc"
    # The whole picture, and the one pixel at column 4, row 5 counted from 0.
    assert boxes(photos[0]) == [("pyrite", (0, 0, 64, 48)), ("quartz", (4, 5, 1, 1))]
    assert photos[0].size == (64, 48)


def test_voc_without_a_size_or_a_file_name(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.jpg")
    nothing = "<size><width>0</width><height>0</height></size>"
    write(tmp_path / "a.xml", voc("a.jpg", [("pyrite", 1, 1, 9, 9)], nothing))
    write(tmp_path / "b.xml", voc(None, []))
    write(tmp_path / "c.xml", voc("c", [("quartz", 1, 1, 9, 9)]))
    write(tmp_path / "other.xml", "<project/>")
    photos = read(tmp_path)
    assert sorted(photos) == ["a.jpg", "b.jpg", "c.jpg"]
    assert {photo.size for photo in photos.values()} == {None}


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("<annotation><object>", "no element found"),
        ("<annotation><object><name>pyrite</name></object></annotation>", "an object has no xmin"),
        (voc("a.jpg", [("", 1, 1, 9, 9)]), "an object has no name"),
        (voc("a.jpg", [("pyrite", 1, 1, 9, 9)]).replace("<xmax>9", "<xmax>nine"), "'nine'"),
        ('<!DOCTYPE a [<!ENTITY e "x">]><annotation>&e;</annotation>', "EntitiesForbidden"),
    ],
)
def test_a_broken_voc_file_is_named(tmp_path: Path, text: str, culprit: str) -> None:
    touch(tmp_path / "a.jpg")
    write(tmp_path / "broken.xml", text)
    with pytest.raises(InputError, match=rf"broken\.xml is no sound Pascal VOC file: .*{culprit}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names: [pyrite, quartz]"),
        ("data.yml", "names: {0: pyrite, 1: quartz}"),
        ("classes.txt", "pyrite\nquartz\n\n"),
        ("classes.txt", "\ufeffpyrite \r\nquartz\r\n"),
    ],
)
def test_yolo_class_names_in_every_form(tmp_path: Path, file: str, text: str) -> None:
    touch(tmp_path / "a.jpg")
    write(tmp_path / file, text)
    write(tmp_path / "a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.25 0.5 0.5 0.93\n")
    layout, photos = read_annotations(tmp_path, CLASSES)
    assert layout == "yolo"
    expected = (("quartz", (0.375, 0.25, 0.25, 0.5)), ("pyrite", (0.0, 0.0, 0.5, 0.5)))
    assert photos[0].specimens == tuple(Specimen(label, box, relative=True) for label, box in expected)


def test_yolo_labels_lie_in_a_folder_parallel_to_the_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "mine"
    write(folder / "data.yaml", "names: [pyrite, quartz]")
    touch(*(folder / "images" / split / "a.jpg" for split in ("train", "val", "test")))
    write(folder / "labels" / "train" / "a.txt", "0 0.5 0.5 1 1")
    write(folder / "labels" / "val" / "a.txt", "1 0.5 0.5 1 1")
    photos = read(folder)
    labels = {name: [specimen.label for specimen in photo.specimens] for name, photo in photos.items()}
    # The third is background; a file of its name that belongs to another split says nothing about it.
    assert labels == {"images/train/a.jpg": ["pyrite"], "images/val/a.jpg": ["quartz"], "images/test/a.jpg": []}


def test_a_yolo_polygon_becomes_the_box_around_it(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    write(tmp_path / "classes.txt", "pyrite")
    write(tmp_path / "a.txt", "0 0.5 0.125 0.75 0.5 0.25 0.375")
    assert boxes(read(tmp_path)["a.jpg"]) == [("pyrite", (0.25, 0.125, 0.5, 0.375))]


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.2", "2 0.5 0.5 0.2 0.2", "pyrite 0.5 0.5 0.2 0.2", "0 a b c d"])
def test_a_broken_yolo_line_is_quoted_with_its_file(tmp_path: Path, line: str) -> None:
    touch(tmp_path / "a.jpg")
    write(tmp_path / "data.yaml", "names: [pyrite, quartz]")
    write(tmp_path / "a.txt", line)
    with pytest.raises(InputError, match=rf"a\.txt: '{line}' is no YOLO line of a class in \[0, 1\]"):
        read(tmp_path)


def test_class_folders_with_background_and_files_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "README.md", "about")
    write(tmp_path / "labels.csv", "a,b")
    write(tmp_path / "classes.txt", "pyrite\nquartz")
    touch(tmp_path / "pyrite" / "a.jpg", tmp_path / "pyrite" / "notes.txt", tmp_path / "quartz" / "deep" / "b é.png")
    touch(tmp_path / "none" / "c.jpg", tmp_path / "calcite" / "d.jpg", tmp_path / "quartz" / ".hidden")
    layout, photos = read_annotations(tmp_path, CLASSES)
    assert layout == "folders"
    whole = (0.0, 0.0, 1.0, 1.0)
    assert {photo.name: photo.specimens for photo in photos} == {
        "none/c.jpg": (),
        "pyrite/a.jpg": (Specimen("pyrite", whole, relative=True),),
        # Reading it will tell that it is no picture.
        "pyrite/notes.txt": (Specimen("pyrite", whole, relative=True),),
        "quartz/deep/b é.png": (Specimen("quartz", whole, relative=True),),
    }
    assert "folder 'calcite' is no class of minerals.data.classes: its 1 files are left out" in capsys.readouterr().err


def test_a_folder_in_no_known_layout(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="no folder of a class: pyrite, quartz"):
        read(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read(tmp_path / "a.jpg")
