"""parts-source: whatever the source, the challenge's layout with what can be read, and a word on the rest."""

import hashlib
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sightline.core.errors import InputError
from sightline.parts.layout import read_layout
from sightline.parts.params import Data
from sightline.parts.source import bring_in

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))["parts"]["data"]
Lay = Callable[..., Path]


def data(source: str, **official: Any) -> Data:
    return Data.model_validate(PARAMETERS | {"source": source, "official": PARAMETERS["official"] | official})


def brought_in(folder: Path) -> Path:
    out = folder.parent / "out"
    bring_in(data("path"), folder, out, workers=0)
    return out


def problems(out: Path) -> list[tuple[str, ...]]:
    return list(pd.read_csv(out / "problems.csv").itertuples(index=False, name=None))


@pytest.fixture
def folder(fall: Callable[..., Any], lay_out: Lay) -> Path:
    """Train and test are videos, of val every third frame is there as a picture."""
    lay_out("train", *fall(10))
    lay_out("test", *fall(10))
    return lay_out("val", *fall(10), numbers=[0, 3, 6, 9])


def test_recordings_and_annotations_are_taken_over_as_they_are(folder: Path) -> None:
    out = brought_in(folder)
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {path.relative_to(out) for path in out.rglob("*") if path.is_file()} == names | {Path("problems.csv")}
    assert all((out / name).read_bytes() == (folder / name).read_bytes() for name in names)
    assert problems(out) == []
    assert [clip.kind for clip in read_layout(out)] == ["video", "frames", "video"]


def test_pictures_that_are_broken_or_not_listed_are_left_out_and_named(folder: Path) -> None:
    pictures = folder / "images/val"
    (pictures / "0003.png").write_bytes(b"")
    (pictures / "0006.png").rename(pictures / "9006.png")
    out = brought_in(folder)
    assert sorted(path.name for path in (out / "images/val").iterdir()) == ["0000.png", "0009.png"]
    assert problems(out) == [
        ("val/0003.png", "empty file", "photo left out"),
        ("val/9006.png", "instances_val.json does not list it: nobody says what it shows", "photo left out"),
    ]


def lose_test(folder: Path) -> None:
    (folder / "images/test/clip.mp4").unlink()


def break_video(folder: Path) -> None:
    (folder / "images/test/clip.mp4").write_bytes(b"hello")


def break_json(folder: Path) -> None:
    (folder / "annotations/instances_val.json").write_text("{")


def lose_pictures(folder: Path) -> None:
    for path in (folder / "images/val").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_test, "no recording and annotation of test"),
        (break_video, r"clip\.mp4 is no video that can be read"),
        (break_json, r"instances_val\.json is no JSON"),
        (lose_pictures, r"val: no picture of it is whole and listed in instances_val\.json"),
    ],
)
def test_what_no_training_could_do_without_ends_the_stage(
    folder: Path, harm: Callable[[Path], None], message: str
) -> None:
    harm(folder)
    with pytest.raises(InputError, match=message):
        brought_in(folder)
    assert not (folder.parent / "out").exists()


def test_a_missing_folder_is_named_with_its_parameter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"parts\.data\.path: there is no folder"):
        bring_in(data("path"), tmp_path / "none", tmp_path / "out", workers=0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def challenge(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """An archive like the challenge's on the loopback, and its SHA-256."""
    monkeypatch.chdir(tmp_path)
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "challenge.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, Path("challenge") / path.relative_to(folder))
    with zipfile.ZipFile(served / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        digest = hashlib.sha256((served / "challenge.zip").read_bytes()).hexdigest()
        yield f"http://127.0.0.1:{http.server_port}/challenge.zip", digest
        http.shutdown()


def test_the_official_set_is_downloaded_checked_and_laid_out(tmp_path: Path, challenge: tuple[str, str]) -> None:
    url, digest = challenge
    out = tmp_path / "out"
    bring_in(data("official", url=url, digest=digest), Path("data/none"), out, workers=0)
    assert [clip.name for clip in read_layout(out)] == ["train", "val", "test"]
    assert not list(out.glob("*.sha256"))
    bring_in(data("official", url=url), Path("data/none"), out, workers=0)
    assert (out / "official.sha256").read_text().startswith(digest)


def test_another_archive_is_refused(tmp_path: Path, challenge: tuple[str, str]) -> None:
    url, _ = challenge
    with pytest.raises(InputError, match=r"parts\.data\.official\.digest"):
        bring_in(data("official", url=url, digest="0" * 64), Path("data/none"), tmp_path / "out", workers=0)
    with pytest.raises(InputError, match="it is another data set"):
        bring_in(data("official", url=url.replace("challenge", "other")), Path("x"), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_the_drawn_set_is_a_layout(tmp_path: Path) -> None:
    drawn = {"train_seconds": 0.2, "train_videos": 1, "val_seconds": 0.2, "test_seconds": 0.2, "frame_size": 128}
    settings = PARAMETERS | {"synthetic": PARAMETERS["synthetic"] | drawn}
    bring_in(Data.model_validate(settings), Path("data/none"), tmp_path / "out", workers=0)
    assert [clip.kind for clip in read_layout(tmp_path / "out")] == ["video", "video", "video"]
    content = json.loads((tmp_path / "out/annotations/instances_val.json").read_text())
    assert [entry["id"] for entry in content["images"]] == [1, 2, 3, 4, 5, 6]
