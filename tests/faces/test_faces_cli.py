"""``sightline faces …`` as people call it: what goes to stdout, what to stderr, and the exit status."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.cli import main
from sightline.core.images import read_image
from sightline.faces.gallery import load_gallery
from sightline.faces.predictor import gallery_file, people

PhotoWriter = Callable[..., Path]


@pytest.fixture
def sightline(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line: exit status, stdout, stderr."""

    def call(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sightline", "faces", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_photos_become_json_and_pictures(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    first, second = photo("a.png", "anna"), photo("empty.png", np.full((90, 120, 3), 80, np.uint8))
    status, out, err = sightline("identify", first.parent, first, "--model", deployed, "--pictures", tmp_path / "drawn")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert list(found) == [str(first), str(second)]
    assert [face["name"] for face in found[str(first)]["faces"]] == ["anna"]
    picture = str(tmp_path / "drawn" / "empty.jpg")
    assert found[str(second)] == {"picture": picture, "width": 120, "height": 90, "faces": []}
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.jpg", "empty.jpg"]
    assert read_image(tmp_path / "drawn" / "empty.jpg").shape[2] == 3


def test_what_cannot_be_read_does_not_stop_the_others(
    deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    good = photo("a.png", "anna")
    (broken := good.with_name("broken.png")).touch()
    status, out, err = sightline("identify", broken, good, "--model", deployed)
    found = json.loads(out)
    assert status == 1
    assert found[str(broken)] == {"error": "empty file"}
    assert len(found[str(good)]["faces"]) == 1
    assert err == f"{broken}: empty file\n"


def test_people_come_and_go(deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]) -> None:
    model = ("--model", deployed)
    assert json.loads(sightline("people", *model)[1]) == {"anna": 1, "ben": 1}
    status, out, err = sightline("enrol", " Zoë ", photo("e.png", "eve"), photo("f.png", "eve", 1), *model)
    assert (status, out) == (0, "")
    assert err == f"Zoë is enrolled, as one of 3, in {gallery_file(deployed)}\n"
    assert json.loads(sightline("people", *model)[1]) == {"Zoë": 2, "anna": 1, "ben": 1}
    assert sightline("forget", "Zoë", *model)[0] == 0
    assert json.loads(sightline("people", *model)[1]) == {"anna": 1, "ben": 1}


def test_a_double_is_warned_of_on_stderr(
    deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = sightline("enrol", "benny", photo("b.png", "ben"), "--model", deployed)
    assert status == 0
    assert f"warning: {photo('b.png', 'ben')}, now enrolled as benny, is also enrolled as ben\n" in err
    assert "warning: ben and benny look like one person under two names" in err


def test_mistakes_are_one_line_and_lose_nothing(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    model, before = ("--model", deployed), gallery_file(deployed).read_bytes()
    anna = read_image(photo("a.png", "anna"))
    two = photo("two.png", np.concatenate([anna, anna], axis=1))
    (tmp_path / "nothing").mkdir()
    for words, message in (
        (
            ("enrol", "eve", two),
            "two.png shows 2 faces: nobody was enrolled, each photo must show one face, that of eve",
        ),
        (("forget", "nobody"), "nobody called 'nobody' is enrolled; there are anna, ben"),
        (("identify", tmp_path / "nothing"), "nothing holds no pictures"),
    ):
        status, out, err = sightline(*words, *model)
        assert (status, out) == (1, "")
        assert err.startswith("error: ")
        assert err.endswith(f"{message}\n")
        assert err.count("\n") == 1
    assert gallery_file(deployed).read_bytes() == before
    status, _, err = sightline("people", "--model", tmp_path / "nothing")
    assert status == 1
    assert "holds no deployed model: run 'dvc repro faces-infer' or 'dvc pull'" in err


def test_a_damaged_gallery_stays_for_a_person_to_look_at(
    deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    path = gallery_file(deployed)
    path.write_bytes(half := path.read_bytes()[:500])
    for words in (
        ("enrol", "eve", photo("e.png", "eve")),
        ("forget", "anna"),
        ("people",),
        ("identify", photo("a.png", "anna")),
    ):
        status, _, err = sightline(*words, "--model", deployed)
        assert status == 1
        assert "is damaged and was left as it is" in err
    assert path.read_bytes() == half


def test_a_gallery_elsewhere_is_made_by_enrolling_with_new(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    own = tmp_path / "own.safetensors"
    where = ("--model", deployed, "--gallery", own)
    assert sightline("forget", "eve", *where)[0] == 1
    status, _, err = sightline("enrol", "eve", photo("e.png", "eve"), *where)
    assert status == 1
    assert f"error: {own}: no such gallery: is its name right?" in err
    assert list(tmp_path.glob("*own*")) == []
    status, _, err = sightline("enrol", "eve", photo("e.png", "eve"), *where, "--new")
    assert (status, err) == (0, f"eve is enrolled, as one of 1, in {own} (new)\n")
    status, _, err = sightline("enrol", "ben", photo("b.png", "ben"), *where, "--new")
    assert (status, err) == (1, f"error: {own} is there already: without --new people are added to it\n")
    assert load_gallery(own).people == ("eve",)


def test_what_the_pipeline_will_undo_is_said(
    deployed: Path,
    photo: PhotoWriter,
    sightline: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/faces").mkdir(parents=True)
    deployed.rename("models/faces/deployed")
    _, _, err = sightline("enrol", "eve", photo("e.png", "eve"))
    assert "the next 'dvc repro' makes that gallery anew: with --gallery people stay enrolled" in err
    _, _, err = sightline("forget", "eve")
    assert "the next 'dvc repro' makes that gallery anew, from the photos" in err


def test_a_folder_is_its_pictures_and_what_else_is_in_it_is_named(
    deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    folder = photo("1.png", "eve").parent
    photo("2.png", "eve", 1)
    (folder / "notes.txt").write_text("eve, on two days")
    (folder / "friends").mkdir()
    deeper = photo("b.png", "ben").rename(folder / "friends" / "b.png")
    notes = f"{folder / 'notes.txt'}: no picture by its name: left out\n"

    status, out, err = sightline("identify", folder, "--model", deployed)
    assert (status, err) == (0, notes)
    assert list(json.loads(out)) == [str(folder / "1.png"), str(folder / "2.png"), str(deeper)]

    # Whoever enrols a folder of people under one name would have them all taken for that one.
    status, _, err = sightline("enrol", "eve", folder, "--model", deployed)
    assert status == 0
    assert err.startswith(f"{deeper}: in a folder within {folder}: left out\n{notes}eve is enrolled")
    assert people(deployed) == {"anna": 1, "ben": 1, "eve": 2}
    deeper.rename(folder / "b.png")
    status, _, err = sightline("enrol", "eve", folder / "friends", "--model", deployed)
    assert (status, err) == (1, f"error: {folder / 'friends'} holds no pictures\n")


def test_a_picture_that_cannot_be_written_costs_no_answer(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    first, second = photo("a.png", "anna"), photo("b.png", "ben")
    drawn = tmp_path / "drawn"
    (drawn / "a.jpg" / "in the way").mkdir(parents=True)
    status, out, err = sightline("identify", first, second, "--model", deployed, "--pictures", drawn)
    found = json.loads(out)
    assert status == 1
    assert [face["name"] for photo in (first, second) for face in found[str(photo)]["faces"]] == ["anna", "ben"]
    assert (found[str(first)]["picture"], found[str(second)]["picture"]) == (None, str(drawn / "b.jpg"))
    assert found[str(first)]["picture_error"] == f"{drawn / 'a.jpg'}: Is a directory"
    assert err == f"{first}: no picture: {drawn / 'a.jpg'}: Is a directory\n"
    assert sorted(path.name for path in drawn.iterdir()) == ["a.jpg", "b.jpg"]

    (tmp_path / "file").touch()
    status, out, err = sightline("identify", first, second, "--model", deployed, "--pictures", tmp_path / "file" / "in")
    assert (status, len(json.loads(out))) == (1, 2)
    assert err.count("no picture: ") == 2


def test_each_answer_names_its_picture(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    """Also where two photos are of one name."""
    ben = photo("same.png", "ben")
    (tmp_path / "other").mkdir()
    ben = ben.rename(tmp_path / "other" / "same.png")
    empty = photo("same.png", np.full((90, 600, 3), 80, np.uint8))
    _, out, _ = sightline("identify", ben, empty, "--model", deployed, "--pictures", tmp_path / "drawn")
    drawn = {photo: read_image(Path(about["picture"])) for photo, about in json.loads(out).items()}
    assert drawn[str(ben)].shape[0] == drawn[str(ben)].shape[1]
    assert drawn[str(empty)].shape[0] < drawn[str(empty)].shape[1]


def test_a_name_that_is_no_utf_8_comes_back_from_the_json(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    photo("a.png", "anna").rename(os.fsdecode(name))
    status, out, _ = sightline("identify", os.fsdecode(name), "--model", deployed, "--pictures", tmp_path / "drawn")
    ((path, about),) = json.loads(out).items()
    assert status == 0
    assert "caf\\udce9.png" in out
    assert os.fsencode(path) == name
    assert [os.fsencode(path.name) for path in (tmp_path / "drawn").iterdir()] == [b"caf\xe9.jpg"]
    assert os.fsencode(about["picture"]).endswith(b"/drawn/caf\xe9.jpg")


@pytest.mark.parametrize("named", ["the folder", "the photo"])
def test_pictures_never_take_the_place_of_photos(
    deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]], named: str
) -> None:
    own = photo("a.jpg", "anna")
    before = own.read_bytes()
    asked = own.parent if named == "the folder" else own
    status, out, err = sightline("identify", asked, "--model", deployed, "--pictures", own.parent / "." / "")
    assert (status, out) == (1, "")
    assert f"holds {own}, one of the photos: name another folder for the pictures" in err
    assert own.read_bytes() == before
    assert [path.name for path in own.parent.iterdir()] == ["a.jpg"]
