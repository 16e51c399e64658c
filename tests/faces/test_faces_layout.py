"""The task's folder of photos: roles, both truth formats, and what is said of what is broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.core.errors import InputError
from sightline.faces.layout import Face, Photo, read_layout


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def people(folder: Path) -> Path:
    return files(folder, "gallery/anna/1.jpg", "gallery/anna/2.jpg", "gallery/bo/1.jpg")


def message_of(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_layout(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of_role(folder: Path, role: str) -> list[Photo]:
    return [photo for photo in read_layout(folder) if photo.role == role]


def test_a_gallery_alone_is_enough(tmp_path: Path) -> None:
    photos = read_layout(people(tmp_path))
    assert [(photo.name, photo.role, photo.person) for photo in photos] == [
        ("gallery/anna/1.jpg", "gallery", "anna"),
        ("gallery/anna/2.jpg", "gallery", "anna"),
        ("gallery/bo/1.jpg", "gallery", "bo"),
    ]
    assert all(photo.path.is_file() and not photo.faces and not photo.complete for photo in photos)


def test_without_a_gallery_the_message_says_what_to_make(tmp_path: Path) -> None:
    files(tmp_path, "strangers/x/1.jpg", "gallery/loose.jpg")
    assert "gallery/<person>/*.jpg" in message_of(tmp_path)
    assert "faces.data.path" in message_of(tmp_path / "nowhere")


def test_gallery_csv_boxes_the_persons_own_face_where_it_has_numbers(tmp_path: Path) -> None:
    text(people(tmp_path) / "gallery/gallery.csv", "file,x1,y1,x2,y2\ngallery/anna/1.jpg,1,2,30,40.5\nanna/2.jpg,,,,\n")
    first, second, third = read_layout(tmp_path)
    assert first.faces == (Face((1, 2, 30, 40.5), "anna"),)
    assert second.faces == third.faces == ()


def test_strangers_lie_in_folders_or_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(people(tmp_path), "strangers/p/1.jpg", "strangers/q/1.jpg")
    assert [photo.person for photo in of_role(tmp_path, "stranger")] == ["p", "q"]
    text(tmp_path / "strangers/people.csv", "person_id,file\n7,strangers/p/1.jpg\n8,missing.jpg\n")
    listed = of_role(tmp_path, "stranger")
    assert [(photo.name, photo.person) for photo in listed] == [
        ("strangers/missing.jpg", "8"),
        ("strangers/p/1.jpg", "7"),
    ]
    assert "1 pictures are in no list and are not used: strangers/q/1.jpg" in capsys.readouterr().err


GROUP = {
    "file": "1.jpg",
    "complete": True,
    "faces": [
        {"box": [1, 2, 30, 40], "name": "anna", "ignore": False, "emotion": "anger"},
        {"box": [50.5, 2, 80, 40], "name": None, "ignore": True, "emotion": None},
    ],
}


def test_groups_json_gives_names_moods_and_completeness(tmp_path: Path) -> None:
    files(people(tmp_path), "groups/1.jpg", "groups/no_face/a.jpg")
    text(tmp_path / "groups/groups.json", json.dumps({"photos": [GROUP]}))
    [group] = of_role(tmp_path, "group")
    faces = (Face((1, 2, 30, 40), "anna", emotion="anger"), Face((50.5, 2, 80, 40), ignore=True))
    assert group == Photo("groups/1.jpg", tmp_path / "groups/1.jpg", "group", complete=True, faces=faces)
    [empty] = of_role(tmp_path, "empty")
    assert (empty.name, empty.complete, empty.faces) == ("groups/no_face/a.jpg", True, ())


def test_groups_csv_is_never_complete(tmp_path: Path) -> None:
    files(people(tmp_path), "groups/1.jpg")
    rows = ["groups/1.jpg,0,1,2,30,40,bo", "1.jpg,1,50,2,80,40,unknown", "groups\\1.jpg,2,90,2,99,40,ignore"]
    text(tmp_path / "groups/groups.csv", "\ufefffile,face,x1,y1,x2,y2,identity\r\n" + "\r\n".join(rows))
    [group] = of_role(tmp_path, "group")
    assert not group.complete
    assert [(face.name, face.ignore) for face in group.faces] == [("bo", False), ("", False), ("", True)]


def test_names_that_nobody_in_the_gallery_bears_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files(people(tmp_path), "groups/1.jpg", "groups/2.jpg")
    rows = ["1.jpg,1,2,30,40,carl", "2.jpg,1,2,30,40,carl", "2.jpg,50,2,80,40,anna"]
    text(tmp_path / "groups/groups.csv", "file,x1,y1,x2,y2,identity\n" + "\n".join(rows))
    assert [face.name for photo in of_role(tmp_path, "group") for face in photo.faces] == ["", "", "anna"]
    error = capsys.readouterr().err
    assert error.count("carl") == 1
    assert "'carl' is in group photos (2 faces) but neither in the gallery nor among the strangers" in error


@pytest.mark.parametrize("listed", ["file,person_id\np/1.jpg,carl\n", None])
def test_strangers_keep_their_names_in_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listed: str | None
) -> None:
    files(people(tmp_path), "groups/1.jpg", "strangers/p/1.jpg" if listed else "strangers/carl/1.jpg")
    if listed:
        text(tmp_path / "strangers/people.csv", listed)
    text(tmp_path / "groups/groups.csv", "file,x1,y1,x2,y2,identity\n1.jpg,1,2,30,40,carl\n1.jpg,50,2,80,40,p\n")
    [group] = of_role(tmp_path, "group")
    assert [face.name for face in group.faces] == ["carl", ""]
    assert "carl" not in capsys.readouterr().err


def test_detection_truth_is_complete_and_points_alone_are_no_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        {"file": "detection/b.jpg", "subset": "wider", "faces": [{"bbox": [1, 2, 30, 40], "invalid": True}]},
        {"file": "a.jpg", "faces": []},
        {"file": "c.jpg", "faces": [{"nose": [3, 4]}]},
    ]
    text(people(tmp_path) / "detection/annotations.json", json.dumps(entries))
    found = of_role(tmp_path, "detection")
    assert [(photo.name, photo.set, photo.complete) for photo in found] == [
        ("detection/a.jpg", "", True),
        ("detection/b.jpg", "wider", True),
    ]
    assert found[1].faces == (Face((1, 2, 30, 40), ignore=True),)
    assert "1 photos have faces without a bbox" in capsys.readouterr().err


def test_emotions_lie_in_folders_and_the_list_tells_where_labels_came_from(tmp_path: Path) -> None:
    files(people(tmp_path), "emotion/fear/1.jpg", "emotion/anger/1.jpg")
    text(tmp_path / "emotion/labels.csv", "file,label,label_source\nemotion/fear/1.jpg,fear,ferplus\n")
    found = [(photo.name, photo.emotion, photo.set) for photo in of_role(tmp_path, "emotion")]
    assert found == [("emotion/anger/1.jpg", "anger", ""), ("emotion/fear/1.jpg", "fear", "ferplus")]


def test_the_list_of_emotions_tells_who_is_shown(tmp_path: Path) -> None:
    files(people(tmp_path), "emotion/fear/1.jpg", "emotion/anger/1.jpg", "emotion/anger/2.jpg")
    text(tmp_path / "emotion/labels.csv", "file,label,person\nfear/1.jpg,fear,s7\nanger/1.jpg,anger,s7\n")
    found = {photo.name: photo.person for photo in of_role(tmp_path, "emotion")}
    assert found == {"emotion/anger/1.jpg": "s7", "emotion/anger/2.jpg": "", "emotion/fear/1.jpg": "s7"}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("groups/groups.csv", "file,x1,y1,x2,y2\n", "groups.csv has no column identity"),
        ("groups/groups.csv", "file,x1,y1,x2,y2,identity\n1.jpg,a,2,3,4,anna\n", "line 2: x1, y1, x2, y2 are not"),
        ("groups/groups.csv", "file,x1,y1,x2,y2,identity\n1.jpg,1,2,3,4,\n", "line 2: no identity"),
        ("groups/groups.csv", "file,x1,y1,x2,y2,identity\n../1.jpg,1,2,3,4,anna\n", "'../1.jpg' is no path below"),
        ("groups/groups.json", "{", "groups.json is not JSON"),
        ("groups/groups.json", "[]", 'expected {"photos"'),
        ("groups/groups.json", '{"photos": [{"faces": []}]}', "photo 1: no 'file'"),
        ("groups/groups.json", '{"photos": [{"file": "1.jpg"}]}', "photo 1: 'faces' is not a list"),
        ("groups/groups.json", '{"photos": [{"file": "1.jpg", "faces": [{"box": [1, 2]}]}]}', "[x1, y1, x2, y2]"),
        ("detection/annotations.json", "{}", "expected a list"),
        ("strangers/people.csv", "file,person_id\na.jpg,\n", "line 2: no person_id"),
        ("emotion/labels.csv", "file,label\n1.jpg,joy\n", "the label 'joy' is none of neutral"),
        ("emotion/joy/1.jpg", "", "'joy' is none of neutral"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(tmp_path: Path, file: str, content: str, said: str) -> None:
    text(people(tmp_path) / file, content)
    assert said in message_of(tmp_path)


def with_groups(tmp_path: Path, *entries: Any) -> Path:
    text(people(tmp_path) / "groups/groups.json", json.dumps({"photos": entries}))
    return tmp_path


def test_truth_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    assert "listed twice" in message_of(with_groups(tmp_path / "twice", GROUP, GROUP))
    joy = {**GROUP, "faces": [{"box": [1, 2, 3, 4], "emotion": "joy"}]}
    assert "the emotion 'joy' is none of" in message_of(with_groups(tmp_path / "joy", joy))
    both = with_groups(tmp_path / "both", GROUP)
    text(both / "groups/groups.csv", "file,x1,y1,x2,y2,identity\n")
    assert "leave the one that is right" in message_of(both)
    files(people(tmp_path / "moods"), "emotion/fear/1.jpg")
    text(tmp_path / "moods/emotion/labels.csv", "file,label\nemotion/fear/1.jpg,anger\n")
    assert "listed as anger but lies in fear/" in message_of(tmp_path / "moods")
