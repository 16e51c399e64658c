"""Annotations as the challenge, CVAT and trackers write them are read by name, and what is wrong is named."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO

from sightline.core.errors import InputError
from sightline.parts.annotations import BOXES, TRACKS, read_coco, read_tracks

SHARED = Path(__file__).parents[3] / "shared/data/parts"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")

CONTENT: dict[str, Any] = {
    "images": [
        {"id": 2, "file_name": "0001.jpg", "width": 40, "height": 30},
        {"id": 1, "file_name": "0000.jpg", "width": 40, "height": 30},
    ],
    "annotations": [
        {"id": 0, "image_id": 1, "category_id": 1, "bbox": [3, 4, 10, 6], "segmentation": [], "track_id": 1},
        {"id": 1, "image_id": 2, "category_id": 2, "bbox": [3.5, 9, 10, 6], "iscrowd": 1, "track_id": 2},
    ],
    "categories": [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}],
}


def saved(folder: Path, content: Any) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


def test_boxes_are_corners_with_the_names_of_their_classes(tmp_path: Path) -> None:
    coco = read_coco(saved(tmp_path, CONTENT))
    assert coco.classes == ("bolt", "nut")
    assert coco.images.to_numpy().tolist() == [[1, "0000.jpg", 40, 30], [2, "0001.jpg", 40, 30]]
    assert list(coco.boxes) == BOXES
    assert coco.boxes.to_numpy().tolist() == [[1, 1, "bolt", 3, 4, 13, 10, 0], [2, 2, "nut", 3.5, 9, 13.5, 15, 1]]


def test_categories_may_come_in_any_order_and_with_any_numbers(tmp_path: Path) -> None:
    numbers = {1: 70, 2: 8}

    def renumber(content: dict[str, Any]) -> None:
        content["categories"] = [{"id": numbers[entry["id"]], "name": entry["name"]} for entry in content["categories"]]
        for entry in content["annotations"]:
            entry["category_id"] = numbers[entry["category_id"]]

    coco = read_coco(saved(tmp_path, changed(renumber)))
    assert coco.boxes["label"].tolist() == ["bolt", "nut"]
    assert coco.classes == ("nut", "bolt")


def test_a_box_is_read_off_its_segmentation_where_it_is_missing(tmp_path: Path) -> None:
    shape = np.zeros((30, 40), np.uint8, order="F")
    shape[5:9, 7:20] = 1
    compressed = mask.encode(shape)
    runs = np.flatnonzero(np.diff(np.concatenate([[0], shape.ravel(order="F"), [0]]))).tolist()
    counts = np.diff([0, *runs, shape.size]).tolist()
    segmentations = [
        {"size": [30, 40], "counts": compressed["counts"].decode()},
        {"size": [30, 40], "counts": counts},
        [[7, 5, 20, 5, 20, 9], [7, 9, 8, 8, 9, 9]],
    ]
    for segmentation in segmentations:
        entry = {"image_id": 1, "category_id": 1, "segmentation": segmentation}
        coco = read_coco(saved(tmp_path, CONTENT | {"annotations": [entry]}))
        assert coco.boxes[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[7, 5, 20, 9]]
        # Where there is a box, it counts.
        coco = read_coco(saved(tmp_path, CONTENT | {"annotations": [entry | {"bbox": [1, 1, 2, 2]}]}))
        assert coco.boxes[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([{}, {}], [-1, -1]),
        ([{"track_id": None}, {"track_id": 7}], [-1, 7]),
        ([{"track_id": 0}, {"track_id": 3}], [1, 4]),
        ([{"track_id": 0}, {}], [1, -1]),
        ([{"attributes": {"track_id": 5}}, {"attributes": {"occluded": False}}], [5, -1]),
    ],
)
def test_track_ids_count_from_one_and_may_be_missing(
    tmp_path: Path, ids: list[dict[str, Any]], expected: list[int]
) -> None:
    entries = [{"image_id": 1, "category_id": 1, "bbox": [3, 4, 10, 6], **own} for own in ids]
    coco = read_coco(saved(tmp_path, CONTENT | {"annotations": entries}))
    assert coco.boxes["track"].tolist() == expected


def put(key: str, number: int, field: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content[key][number].__setitem__(field, value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected an object"),
        ({}, "there is no list 'categories'"),
        (changed(lambda content: content.pop("images")), "there is no list 'images'"),
        (changed(lambda content: content["annotations"].append(3)), r"annotations\[2\]: expected an object"),
        (changed(put("images", 0, "id", "two")), r"images\[0\]: 'id' should be a whole number, it is 'two'"),
        (changed(put("images", 0, "id", 1)), "two images have the image_id 1"),
        (changed(put("images", 0, "file_name", "0000.jpg")), "two images have the file_name 0000.jpg"),
        (changed(put("images", 0, "width", None)), r"images\[0\]: 'width' should be a whole number"),
        (changed(put("annotations", 1, "image_id", 9)), r"annotations\[1\]: its image_id 9 is none of the images"),
        (changed(put("annotations", 1, "category_id", 3)), r"\[1\]: its category_id 3 .* 1 = bolt, 2 = nut"),
        (changed(put("annotations", 1, "bbox", [1, 2, 3])), r"\[1\]: 'bbox' should be \[left, top, width, height\]"),
        (changed(put("annotations", 1, "bbox", [1, 2, 3, float("nan")])), r"\[1\]: 'bbox' should be"),
        (changed(put("annotations", 1, "track_id", "a")), r"\[1\]: 'track_id' should be a whole number"),
        (changed(put("annotations", 1, "track_id", 1.5)), r"\[1\]: 'track_id' should be a whole number"),
        (changed(put("categories", 1, "name", "bolt")), "an id and a name of its own"),
        (changed(put("categories", 1, "id", 1)), "an id and a name of its own"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_entry(tmp_path: Path, content: Any, message: str) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        read_coco(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("segmentation", ["text", {"size": [30, 40]}, [["a", "b"]], {"counts": [5], "size": "x"}])
def test_a_segmentation_that_is_none_is_named(tmp_path: Path, segmentation: Any) -> None:
    entry = {"image_id": 1, "category_id": 1, "segmentation": segmentation}
    with pytest.raises(InputError, match=r"annotations\[0\]: 'segmentation' is neither polygons nor RLE"):
        read_coco(saved(tmp_path, CONTENT | {"annotations": [entry]}))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json cannot be read: No such file"):
        read_coco(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"images": [')
    with pytest.raises(InputError, match=r"half\.json is no JSON"):
        read_coco(tmp_path / "half.json")


@needs_shared
def test_the_official_annotations_are_read_as_pycocotools_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    path = SHARED / "annotations/instances_val.json"
    coco, reference = read_coco(path), COCO(str(path))
    expected = [
        [entry["image_id"], entry["track_id"], reference.cats[entry["category_id"]]["name"], *entry["bbox"]]
        for entry in reference.anns.values()
    ]
    boxes = coco.boxes.assign(x2=coco.boxes["x2"] - coco.boxes["x1"], y2=coco.boxes["y2"] - coco.boxes["y1"])
    assert boxes.drop(columns="crowd").to_numpy().tolist() == expected
    assert (len(coco.images), len(coco.boxes), coco.boxes["track"].nunique()) == (1800, 4017, 91)


def test_a_trackers_json_needs_no_categories(tmp_path: Path) -> None:
    entries = [
        {"image_id": 0, "category_id": 2, "bbox": [3, 4, 10, 6], "track_id": 0, "confidence": 0.5},
        {"image_id": 1, "category_id": 1, "bbox": [3, 8, 10, 6], "track_id": 1, "score": 0.25},
    ]
    for content in (entries, {"annotations": entries}, {"annotations": entries, "categories": CONTENT["categories"]}):
        table = read_tracks(saved(tmp_path, content), ("bolt", "nut"))
        assert list(table) == TRACKS
        assert table.to_numpy().tolist() == [[0, 1, "nut", 3, 4, 13, 10, 0.5], [1, 2, "bolt", 3, 8, 13, 14, 0.25]]


def test_mot_text_is_read_with_and_without_classes(tmp_path: Path) -> None:
    path = tmp_path / "tracks.txt"
    path.write_text("1,4,10,20,30,40,0.5,2,-1\n\n2,4,10,25.5,30,40,0.75,-1,-1,-1\n3,5,1,2,3,4\n")
    assert read_tracks(path, ("bolt", "nut")).to_numpy().tolist() == [
        [1, 4, "nut", 10, 20, 40, 60, 0.5],
        [2, 4, "", 10, 25.5, 40, 65.5, 0.75],
        [3, 5, "", 1, 2, 4, 6, 1],
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "1,2,3\n", "line 1: expected frame,id,left,top"),
        ("t.txt", "1,1,2,3,4,5\na,b,c,d,e,f\n", "line 2: expected frame"),
        ("t.txt", "nan,1,2,3,4,5\n", "line 1: expected frame"),
        ("t.txt", "1,1,2,3,4,5,1,3\n", "line 1: class 3 is none of the classes 1 = bolt, 2 = nut"),
        ("t.json", "3", "expected a list of annotations"),
        ("t.json", '[{"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}]', "category_id 5 is none of the classes"),
    ],
)
def test_a_trackers_broken_file_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_tracks(path, ("bolt", "nut"))
