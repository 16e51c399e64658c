import json
import shutil
import threading
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocotools.coco import COCO

from sightline.core.errors import InputError
from sightline.core.files import sha256
from sightline.minerals.annotations import Photo, Specimen
from sightline.minerals.params import Data, Minerals
from sightline.minerals.source import bring_in, ingest
from sightline.params import load

CLASSES = ("pyrite", "quartz")
WHOLE = (0.0, 0.0, 1.0, 1.0)


def picture(number: int, width: int = 64, height: int = 48) -> Image.Image:
    """Smooth colour blobs, another picture for each number."""
    coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def data(source: str, **changes: Any) -> Data:
    defaults = load("minerals", Minerals, Path(__file__).parents[2] / "params.yaml").data
    return Data.model_validate({**defaults.model_dump(), "source": source, "classes": CLASSES, **changes})


def class_folders(root: Path) -> Path:
    for number in range(4):
        save(root / CLASSES[number % 2] / f"{number}.png", picture(number))
    return root


def problems(out: Path) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in pd.read_csv(out / "problems.csv").itertuples():
        found.setdefault(str(row.photo), []).append((str(row.problem), str(row.action)))
    return found


def kept(out: Path) -> list[str]:
    return pd.read_csv(out / "photos.csv")["photo"].tolist()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bring_in_boxes(
    tmp_path: Path, boxes: Sequence[tuple[str, tuple[float, ...]]], size: tuple[int, int] | None = (64, 48)
) -> Path:
    """One photo of 64 × 48 with the given boxes, beside a sound photo of each class."""
    photos = [Photo("odd.png", save(tmp_path / "odd.png", picture(0)), tuple(Specimen(*box) for box in boxes), size)]
    for number, label in enumerate(CLASSES, 1):
        path = save(tmp_path / f"{label}.png", picture(number))
        photos.append(Photo(path.name, path, (Specimen(label, WHOLE, relative=True),)))
    ingest(photos, tmp_path / "out", CLASSES, workers=0)
    return tmp_path / "out"


def boxes_of(out: Path, photo: str) -> list[tuple[str, list[float]]]:
    coco = COCO(str(out / "annotations.json"))
    (number,) = [image["id"] for image in coco.dataset["images"] if image["file_name"] == f"images/{photo}"]
    return [(coco.cats[item["category_id"]]["name"], item["bbox"]) for item in coco.imgToAnns[number]]


def test_a_users_folder_becomes_coco_that_pycocotools_loads(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    save(folder / "pyrite" / "two words é.jpg", picture(9, 50, 70))
    bring_in(data("path"), folder, tmp_path / "out", workers=0)
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert len(coco.getAnnIds(catIds=coco.getCatIds(["pyrite"]))) == 3
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(tmp_path / "out" / image["file_name"]) as stored:
            assert stored.size == (image["width"], image["height"])
        (annotation,) = coco.imgToAnns[image["id"]]
        assert annotation["bbox"] == [0, 0, image["width"], image["height"]]
        assert annotation["area"] == image["width"] * image["height"]
    name = "pyrite/two words é.jpg"
    assert name in kept(tmp_path / "out")
    assert (tmp_path / "out" / "images" / name).read_bytes() == (folder / name).read_bytes()
    assert problems(tmp_path / "out") == {}


def test_drawn_minerals_are_brought_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def draw(folder: Path, photos: int, seed: int, workers: int) -> None:
        asked.append((photos, seed))
        class_folders(folder)

    monkeypatch.setattr("sightline.minerals.source.draw_dataset", draw)
    bring_in(data("synthetic", synthetic={"photos": 21, "seed": 5}), tmp_path, tmp_path / "out", workers=0)
    assert asked == [(21, 5)]
    assert len(kept(tmp_path / "out")) == 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves ``tmp_path / "served"``; gives its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def official(tmp_path: Path, address: str, **digests: str | None) -> dict[str, Any]:
    folder = class_folders(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "served" / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    save(tmp_path / "served" / "patch.png", picture(20))
    pins = {"digest": None, "examples_digest": None, **digests}
    return {"url": f"{address}/set.zip", "examples": f"{address}/patch.png", **pins}


def test_the_official_set_is_downloaded_and_its_digest_kept_beside_it(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = data("official", official=official(tmp_path, server))
    bring_in(source, tmp_path, tmp_path / "data" / "raw", workers=0)
    out = tmp_path / "data" / "raw"
    assert kept(out) == ["pyrite/0.png", "pyrite/2.png", "quartz/1.png", "quartz/3.png"]
    digest = sha256(tmp_path / "served" / "set.zip")
    assert (out / "official.sha256").read_text().split()[0] == digest
    assert (out / "examples").read_bytes() == (tmp_path / "served" / "patch.png").read_bytes()
    assert f"set minerals.data.official.digest to {digest}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


def test_the_folder_of_official_examples_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, target: Path, digest: str | None, pin: str) -> None:
        if url.startswith("gdrive-folder:"):
            save(target / "deep" / "patch.png", picture(20))
        else:
            shutil.make_archive(str(target), "zip", class_folders(tmp_path / "set"))
            target.with_name("official.zip").rename(target)

    monkeypatch.setattr("sightline.minerals.source.download", download)
    bring_in(data("official"), tmp_path, tmp_path / "raw", workers=0)
    assert [path.name for path in (tmp_path / "raw" / "examples").rglob("*.png")] == ["patch.png"]
    assert len(kept(tmp_path / "raw")) == 4


def test_a_pinned_official_set_leaves_no_digest_and_a_wrong_one_nothing(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = official(tmp_path, server)
    settings |= {"digest": sha256(tmp_path / "served" / "set.zip")}
    settings |= {"examples_digest": sha256(tmp_path / "served" / "patch.png")}
    bring_in(data("official", official=settings), tmp_path, tmp_path / "raw", workers=0)
    assert not list((tmp_path / "raw").glob("*.sha256"))
    shutil.rmtree(tmp_path / "raw")
    with pytest.raises(InputError, match="is not what is pinned"):
        bring_in(data("official", official=settings | {"digest": "0" * 64}), tmp_path, tmp_path / "raw", workers=0)
    assert not (tmp_path / "raw").exists()


def test_minerals_are_not_looked_for_in_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"minerals\.data\.path: there is no folder mine"):
        bring_in(data("path"), Path("mine"), tmp_path / "out", workers=0)


def test_every_file_that_is_no_whole_picture_is_named_and_left_out(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    (folder / "pyrite" / "empty.jpg").touch()
    (folder / "pyrite" / "notes.txt").write_text("not a picture")
    (folder / "quartz" / "text.jpg").write_text("not a picture")
    whole = save(tmp_path / "whole.jpg", picture(30, 640, 480), quality=95).read_bytes()
    (folder / "quartz" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    bring_in(data("path"), folder, tmp_path / "out", workers=2)
    found = problems(tmp_path / "out")
    reasons = {name: reason for name, [(reason, _)] in found.items()}
    assert reasons.pop("quartz/truncated.jpg").startswith("corrupt: ")
    assert reasons == {
        "pyrite/empty.jpg": "empty file",
        "pyrite/notes.txt": "not a picture",
        "quartz/text.jpg": "not a picture",
    }
    assert {action for [(_, action)] in found.values()} == {"photo left out"}
    assert len(kept(tmp_path / "out")) == 4


def test_of_copies_with_one_label_the_first_stays(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    # Another coding of the same pixels is a copy as well.
    save(folder / "pyrite" / "copy.bmp", picture(0))
    bring_in(data("path"), folder, tmp_path / "out", workers=0)
    assert problems(tmp_path / "out") == {"pyrite/copy.bmp": [("same pixels as pyrite/0.png", "photo left out")]}


def test_copies_with_different_labels_are_all_left_out(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    save(folder / "quartz" / "claim.png", picture(0))
    save(folder / "none" / "claim.png", picture(2))
    save(folder / "pyrite" / "sure.png", picture(5))
    bring_in(data("path"), folder, tmp_path / "out", workers=0)
    assert problems(tmp_path / "out") == {
        "pyrite/0.png": [("same pixels as quartz/claim.png, other labels", "photo left out")],
        "quartz/claim.png": [("same pixels as pyrite/0.png, other labels", "photo left out")],
        "none/claim.png": [("same pixels as pyrite/2.png, other labels", "photo left out")],
        "pyrite/2.png": [("same pixels as none/claim.png, other labels", "photo left out")],
    }
    assert kept(tmp_path / "out") == ["pyrite/sure.png", "quartz/1.png", "quartz/3.png"]


@pytest.mark.parametrize("box", [(70.0, 0.0, 20.0, 20.0), (5.0, 5.0, 3.0, 20.0), (float("nan"), 5.0, 20.0, 20.0)])
def test_a_box_without_a_place_in_the_picture_is_left_out(tmp_path: Path, box: tuple[float, ...]) -> None:
    out = bring_in_boxes(tmp_path, [("pyrite", box), ("quartz", (10.0, 10.0, 20.0, 20.0))])
    [(reason, action)] = problems(out)["odd.png"]
    assert reason.startswith("box of pyrite (")
    assert action == "box left out"
    assert boxes_of(out, "odd.png") == [("quartz", [10, 10, 20, 20])]


def test_a_photo_that_loses_all_its_boxes_is_not_taken_for_background(tmp_path: Path) -> None:
    out = bring_in_boxes(tmp_path, [("pyrite", (70.0, 0.0, 20.0, 20.0))])
    assert problems(out)["odd.png"][1] == ("none of its boxes is sound", "photo left out")
    assert "odd.png" not in kept(out)


def test_a_photo_without_boxes_is_background(tmp_path: Path) -> None:
    out = bring_in_boxes(tmp_path, [])
    assert problems(out) == {}
    assert boxes_of(out, "odd.png") == []


def test_a_box_that_sticks_out_is_clipped_and_rounding_is_not_worth_a_word(tmp_path: Path) -> None:
    out = bring_in_boxes(tmp_path, [("pyrite", (50.0, -6.0, 20.0, 20.0)), ("quartz", (-0.5, 0.0, 30.0, 48.9))])
    assert problems(out) == {"odd.png": [("box of pyrite (50, -6, 20, 20) sticks out", "box clipped")]}
    assert boxes_of(out, "odd.png") == [("pyrite", [50, 0, 14, 14]), ("quartz", [0, 0, 29.5, 48])]


def test_boxes_drawn_on_a_picture_that_exif_turns_are_not_used(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    path = save(tmp_path / "turned.jpg", picture(40), exif=turned)
    good = (Specimen("pyrite", (0.0, 0.0, 20.0, 20.0)), Specimen("quartz", (20.0, 20.0, 20.0, 20.0)))
    upright = Photo("upright.png", save(tmp_path / "upright.png", picture(41)), good, (64, 48))
    ingest([Photo("turned.jpg", path, good, (64, 48)), upright], tmp_path / "out", CLASSES, workers=0)
    assert problems(tmp_path / "out") == {"turned.jpg": [("annotated as 64x48, is 48x64 upright", "photo left out")]}
    ingest([Photo("turned.jpg", path, good, (48, 64)), upright], tmp_path / "out", CLASSES, workers=0)
    assert kept(tmp_path / "out") == ["turned.jpg", "upright.png"]


def test_a_missing_picture_is_reported(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    photos = [Photo("gone.jpg", folder / "gone.jpg", (Specimen("pyrite", (0.0, 0.0, 9.0, 9.0)),))]
    for number, label in ((0, "pyrite"), (1, "quartz")):
        path = folder / label / f"{number}.png"
        photos.append(Photo(path.name, path, (Specimen(label, WHOLE, relative=True),)))
    ingest(photos, tmp_path / "out", CLASSES, workers=0)
    assert problems(tmp_path / "out") == {"gone.jpg": [("no such file", "photo left out")]}


def test_boxes_of_other_classes_stay_so_that_no_background_is_cut_from_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = bring_in_boxes(tmp_path, [("calcite", (10.0, 10.0, 20.0, 20.0))])
    assert boxes_of(out, "odd.png") == [("calcite", [10, 10, 20, 20])]
    assert "'calcite' is not in minerals.data.classes: its 1 boxes are not used" in capsys.readouterr().err


def test_a_class_without_a_specimen_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    wanted = data("path", classes=(*CLASSES, "gold"))
    with pytest.raises(InputError, match="no specimen of gold in the data"):
        bring_in(wanted, folder, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    (folder / "pyrite" / "empty.jpg").touch()
    save(folder / "quartz" / "copy.png", picture(1))
    for workers in (0, 3):
        bring_in(data("path"), folder, tmp_path / str(workers), workers)
    first = files(tmp_path / "0")
    assert first == files(tmp_path / "3")
    assert json.loads(first["annotations.json"])["images"][0] == {
        "id": 1,
        "file_name": "images/pyrite/0.png",
        "width": 64,
        "height": 48,
    }
