"""The embedded data set: the documented layout, exact truth, the same bytes from any number of workers."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.core.images import read_image
from sightline.core.leakage import near_duplicates, perceptual_hash
from sightline.faces.layout import Photo, read_layout
from sightline.faces.params import EMOTIONS, Synthetic
from sightline.faces.synthetic import draw_dataset, make_world

SETTINGS = Synthetic(people=3, photos=3, strangers=4, stranger_photos=2, groups=5, empty=2, emotions=2, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("drawn") / "faces"
    draw_dataset(target, SETTINGS, workers=2)
    return target


@pytest.fixture(scope="module")
def photos(folder: Path) -> list[Photo]:
    return read_layout(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_role_has_what_was_asked_for(photos: list[Photo]) -> None:
    roles = Counter(photo.role for photo in photos)
    assert roles == {"gallery": 9, "stranger": 8, "group": 5, "empty": 2, "emotion": 14}
    assert set(Counter(photo.person for photo in photos if photo.role == "gallery").values()) == {3}
    assert set(Counter(photo.person for photo in photos if photo.role == "stranger").values()) == {2}
    assert Counter(photo.emotion for photo in photos if photo.role == "emotion") == dict.fromkeys(EMOTIONS, 2)
    assert all(photo.path.is_file() for photo in photos)


def test_the_truth_of_groups_is_complete_and_every_name_is_there_once(folder: Path, photos: list[Photo]) -> None:
    enrolled = {photo.person for photo in photos if photo.role == "gallery"}
    truth: dict[str, Any] = json.loads((folder / "groups/groups.json").read_text())
    assert [photo["file"] for photo in truth["photos"]] == [f"{number:03d}.jpg" for number in range(1, 6)]
    for photo in truth["photos"]:
        assert photo["complete"] is True
        assert 3 <= len(photo["faces"]) <= 8
        names = [face["name"] for face in photo["faces"] if face["name"]]
        assert len(names) == len(set(names))
        assert set(names) <= enrolled
        assert {face["emotion"] for face in photo["faces"]} <= set(EMOTIONS)
    faces = [face for photo in truth["photos"] for face in photo["faces"]]
    assert any(face["name"] is None for face in faces)
    assert any(face["name"] for face in faces)


def test_boxes_lie_on_something_drawn(folder: Path, photos: list[Photo]) -> None:
    for photo in (photo for photo in photos if photo.role == "group"):
        image = read_image(photo.path)
        for face in photo.faces:
            left, top, right, bottom = (max(0, round(side)) for side in face.box_xyxy)
            assert right <= image.shape[1] + 1
            assert bottom <= image.shape[0] + 1
            assert image[top:bottom, left:right].mean(2).std() > 8


def test_the_files_do_not_depend_on_workers_and_do_on_the_seed(folder: Path, tmp_path: Path) -> None:
    draw_dataset(tmp_path / "alone", SETTINGS, workers=0)
    assert contents(tmp_path / "alone") == contents(folder)
    small = SETTINGS.model_copy(update={"photos": 2, "emotions": 1, "groups": 1})
    draw_dataset(tmp_path / "other", small.model_copy(update={"seed": 6}), workers=0)
    assert not set(contents(tmp_path / "other").values()) & set(contents(folder).values())


def test_a_smaller_set_is_a_part_of_a_larger_one(folder: Path, tmp_path: Path) -> None:
    fewer = {"photos": 2, "stranger_photos": 1, "groups": 2, "empty": 1, "emotions": 1}
    draw_dataset(tmp_path / "fewer", SETTINGS.model_copy(update=fewer), workers=0)
    whole, part = contents(folder), contents(tmp_path / "fewer")
    del part["groups/groups.json"]
    assert all(whole[name] == content for name, content in part.items())


def test_everybody_has_a_name_of_their_own_and_keeps_it() -> None:
    few, many = (make_world(SETTINGS.model_copy(update={"people": count})) for count in (4, 60))
    assert list(many.enrolled)[:4] == list(few.enrolled)
    assert len(many.enrolled) == 60
    for name, person in few.enrolled.items():
        assert many.enrolled[name].traits == person.traits


def test_some_strangers_have_the_colours_and_the_hair_of_an_enrolled_person() -> None:
    world = make_world(SETTINGS.model_copy(update={"strangers": 9}))
    alike = [
        name
        for name, stranger in world.strangers.items()
        if any(np.array_equal(stranger.hair, known.hair) for known in world.enrolled.values())
    ]
    assert alike == ["stranger_01", "stranger_04", "stranger_07"]


def test_no_two_photos_are_near_duplicates(photos: list[Photo]) -> None:
    hashes = [perceptual_hash(read_image(photo.path)) for photo in photos]
    assert len(near_duplicates(hashes, 4)) == 0
