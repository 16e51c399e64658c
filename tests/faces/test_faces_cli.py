"""``sightline faces …`` as people call it: what goes to stdout, what to stderr, and the exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.cli import main
from sightline.core.images import read_image
from sightline.faces.gallery import load_gallery
from sightline.faces.predictor import gallery_file

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
    assert found[str(second)] == {"width": 120, "height": 90, "faces": []}
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
    assert (status, out, err) == (0, "", "Zoë is enrolled, as one of 3\n")
    assert json.loads(sightline("people", *model)[1]) == {"Zoë": 2, "anna": 1, "ben": 1}
    assert sightline("forget", "Zoë", *model)[0] == 0
    assert json.loads(sightline("people", *model)[1]) == {"anna": 1, "ben": 1}


def test_a_double_is_warned_of_on_stderr(
    deployed: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = sightline("enrol", "benny", photo("b.png", "ben"), "--model", deployed)
    assert status == 0
    assert "warning: benny: photo 1 of 1 is also enrolled as ben\n" in err
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


def test_a_gallery_elsewhere_is_made_by_enrolling(
    deployed: Path, tmp_path: Path, photo: PhotoWriter, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    own = tmp_path / "own.safetensors"
    assert sightline("forget", "eve", "--model", deployed, "--gallery", own)[0] == 1
    assert not own.exists()
    assert sightline("enrol", "eve", photo("e.png", "eve"), "--model", deployed, "--gallery", own)[0] == 0
    assert load_gallery(own).people == ("eve",)
