"""Clips are found in every form of the layout, and their frames numbered."""

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.core.errors import InputError
from sightline.parts.annotations import read_coco
from sightline.parts.layout import Clip, number_images, read_layout


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def listing(folder: Path, names: dict[int, str]) -> Path:
    path = folder / "annotations/instances_val.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = [
        {"id": number, "file_name": name, "width": 8, "height": 8} for number, name in names.items()
    ]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "bolt"}]}))
    return path


def test_a_recording_of_a_split_bears_its_name_and_several_bear_their_own(tmp_path: Path) -> None:
    names = [f"annotations/instances_{split}.json" for split in ("train", "val", "test")]
    media = ["images/train/b.mp4", "images/train/a.MOV", "images/train/.hidden.mp4", "images/val/x.avi"]
    folder = touch(tmp_path, *names, *media, "images/test/0001.jpg", "images/test/0002.jpg")
    train, val, test = (folder / name for name in names)
    assert read_layout(folder) == [
        Clip("train", "train-a", folder / "images/train/a.MOV", train, "a"),
        Clip("train", "train-b", folder / "images/train/b.mp4", train, "b"),
        Clip("val", "val", folder / "images/val/x.avi", val),
        Clip("test", "test", folder / "images/test", test),
    ]
    assert [clip.kind for clip in read_layout(folder)] == ["video", "video", "video", "frames"]


def test_folders_of_pictures_are_recordings(tmp_path: Path) -> None:
    folder = touch(tmp_path, "annotations/instances_val.json", "images/val/one/1.jpg", "images/val/two/1.jpg")
    assert [(clip.name, clip.source, clip.folder) for clip in read_layout(folder)] == [
        ("val-one", folder / "images/val/one", "one"),
        ("val-two", folder / "images/val/two", "two"),
    ]


def test_annotations_without_a_recording_are_a_clip(tmp_path: Path) -> None:
    [clip] = read_layout(touch(tmp_path, "annotations/instances_val.json"))
    assert (clip.source, clip.kind) == (None, "none")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no annotations/instances_train.json"),
        (["images/val/a.mp4"], "there is no .*instances_val.json"),
        (["annotations/instances_val.json", "images/val/a.mp4", "images/val/1.jpg"], "videos and pictures"),
        (["annotations/instances_val.json", "images/val/a.mp4", "images/val/a.avi"], "two videos of one name"),
    ],
)
def test_a_broken_layout_is_named(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_layout(touch(tmp_path, *names))


@pytest.mark.parametrize(("first", "frames"), [(1, [1, 2, 5]), (0, [2, 3, 6])])
def test_the_first_image_id_is_frame_one(tmp_path: Path, first: int, frames: list[int]) -> None:
    path = listing(tmp_path, {1: "0000.jpg", 5: "val/0004.jpg", 2: "0001.jpg"})
    images = number_images(Clip("val", "val", None, path), read_coco(path), first)
    assert images["frame"].tolist() == frames
    assert images["file"].tolist() == ["0000.jpg", "0001.jpg", "0004.jpg"]


@pytest.mark.parametrize("first", [0, 1])
def test_each_of_several_recordings_is_counted_from_its_own_first_image(tmp_path: Path, first: int) -> None:
    names = ["a/0000.jpg", "a/0001.jpg", "b/0000.jpg", "b/0001.jpg", "b/0002.jpg"]
    path = listing(tmp_path, dict(enumerate(names, start=first)))
    coco = read_coco(path)
    for name, count in (("a", 2), ("b", 3)):
        images = number_images(Clip("val", f"val-{name}", None, path, name), coco, first)
        assert images["frame"].tolist() == list(range(1, count + 1))
    with pytest.raises(InputError, match="lists no images of c/"):
        number_images(Clip("val", "val-c", None, path, "c"), coco, first)


def test_two_images_of_one_file_name_are_refused(tmp_path: Path) -> None:
    path = listing(tmp_path, {1: "a/0000.jpg", 2: "b/0000.jpg"})
    with pytest.raises(InputError, match=r"two images have the file_name '0000\.jpg'"):
        number_images(Clip("val", "val", None, path), read_coco(path), 1)
