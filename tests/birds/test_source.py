"""birds-source: whatever the source, one folder in CUB's layout with only what is sound, and a word on all the rest."""

import hashlib
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sightline.birds.layout import Box, Photo, read_layout, write_cub
from sightline.birds.params import Data
from sightline.birds.photos import read_photos
from sightline.birds.source import bring_in, ingest
from sightline.core.errors import InputError
from sightline.core.images import pixel_digest, read_image
from sightline.core.leakage import perceptual_hash

SETTINGS: dict[str, Any] = {
    "path": "data/none",
    "synthetic": {"species": 4, "photos": 12, "seed": 1},
    "official": {"url": "http://127.0.0.1/none", "digest": None},
}


def picture(number: int, width: int = 64, height: int = 48) -> Image.Image:
    """Smooth colour blobs, another picture for each number."""
    coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def data(source: str, **changes: Any) -> Data:
    return Data.model_validate({**SETTINGS, "source": source, **changes})


def photo(folder: Path, number: int, class_id: int = 1, box: Box | None = None) -> Photo:
    name = f"{class_id:03}.Bird/{number}.png"
    return Photo(number, name, save(folder / name, picture(number)), class_id, f"{class_id:03}.Bird", box)


def brought_in(tmp_path: Path, *photos: Photo) -> Path:
    """Beside the given photos there is a sound pair of another class."""
    sound = [photo(tmp_path / "in", 90, 9), photo(tmp_path / "in", 91, 9)]
    ingest([*photos, *sound], tmp_path / "out", workers=0)
    return tmp_path / "out"


def kept(out: Path) -> list[int]:
    return [number for number in read_photos(out / "photos.csv")["image_id"] if number < 90]


def problems(out: Path) -> list[tuple[str, ...]]:
    return list(pd.read_csv(out / "problems.csv").itertuples(index=False, name=None))


def cub_folder(root: Path) -> Path:
    """Two classes of two photos, with ids as in a part of CUB."""
    names = ((5, 2), (8, 2), (40, 7), (41, 7))
    photos = [photo(root / "images", number, class_id, (4.5, 2.0, 30.0, 40.0)) for number, class_id in names]
    write_cub(root, photos)
    return root


def test_a_users_cub_folder_is_taken_over_with_its_ids_files_and_boxes(tmp_path: Path) -> None:
    folder = cub_folder(tmp_path / "mine")
    bring_in(data("path"), folder, tmp_path / "out", workers=0)
    out = tmp_path / "out"
    table = read_photos(out / "photos.csv")
    assert table["image_id"].tolist() == [5, 8, 40, 41]
    assert table["class_id"].tolist() == [2, 2, 7, 7]
    # 4.5 to 34.5 and 2 to 42, as the pixels that the box touches.
    assert table[["left", "top", "right", "bottom"]].to_numpy().tolist() == [[4, 2, 35, 42]] * 4
    assert set(zip(table["width"], table["height"], strict=True)) == {(64, 48)}
    for name in ("images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    for row in table.itertuples():
        assert (out / "images" / str(row.photo)).read_bytes() == (folder / "images" / str(row.photo)).read_bytes()
        image = read_image(out / "images" / str(row.photo))
        assert (row.digest, row.hash) == (pixel_digest(image), perceptual_hash(image))
    assert problems(out) == []


def test_what_was_brought_in_can_be_brought_in_again(tmp_path: Path) -> None:
    bring_in(data("path"), cub_folder(tmp_path / "mine"), tmp_path / "first", workers=0)
    bring_in(data("path"), tmp_path / "first", tmp_path / "second", workers=2)
    files = {path.relative_to(tmp_path / "first"): path for path in (tmp_path / "first").rglob("*") if path.is_file()}
    assert len(files) == 10
    for name, path in files.items():
        assert path.read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_of_class_folders_the_whole_picture_is_the_box(tmp_path: Path) -> None:
    for number, name in enumerate(("Owl/a.png", "Owl/b.png", "Tit/a.jpg", "Tit/b.png")):
        save(tmp_path / "mine" / name, picture(number, 50 + number, 40))
    bring_in(data("path"), tmp_path / "mine", tmp_path / "out", workers=0)
    table = read_photos(tmp_path / "out" / "photos.csv")
    assert table["photo"].tolist() == ["Owl/a.png", "Owl/b.png", "Tit/a.jpg", "Tit/b.png"]
    assert table[["right", "bottom"]].to_numpy().tolist() == [[50, 40], [51, 40], [52, 40], [53, 40]]
    assert read_layout(tmp_path / "out")[0] == "cub"


def test_drawn_birds_are_brought_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def draw(folder: Path, species: int, photos: int, seed: int, workers: int) -> None:
        asked.append((species, photos, seed))
        cub_folder(folder)

    monkeypatch.setattr("sightline.birds.source.draw_dataset", draw)
    bring_in(data("synthetic"), tmp_path, tmp_path / "out", workers=0)
    assert asked == [(4, 12, 1)]
    assert kept(tmp_path / "out") == [5, 8, 40, 41]


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


def test_the_official_archive_is_downloaded_checked_by_md5_and_unpacked(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = tmp_path / "served" / "CUB.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(cub_folder(tmp_path / "set"), "CUB_200_2011")
    digest = "md5:" + hashlib.md5(archive.read_bytes()).hexdigest()
    pinned = {"url": f"{server}/CUB.tgz", "digest": digest}
    bring_in(data("official", official=pinned), tmp_path, tmp_path / "data" / "raw", workers=0)
    assert kept(tmp_path / "data" / "raw") == [5, 8, 40, 41]
    assert not list((tmp_path / "data" / "raw").glob("*.sha256"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]
    wrong = {**pinned, "digest": f"md5:{'0' * 32}"}
    with pytest.raises(InputError, match="is not what is pinned"):
        bring_in(data("official", official=wrong), tmp_path, tmp_path / "other", workers=0)
    assert not (tmp_path / "other").exists()
    bring_in(data("official", official={**pinned, "digest": None}), tmp_path, tmp_path / "unpinned", workers=0)
    assert (tmp_path / "unpinned" / "official.sha256").is_file()


def test_birds_are_not_looked_for_in_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"birds\.data\.path: there is no folder mine"):
        bring_in(data("path"), Path("mine"), tmp_path / "out", workers=0)


def test_a_listed_photo_that_is_missing_or_broken_is_named_and_left_out(tmp_path: Path) -> None:
    broken = [photo(tmp_path / "in", number) for number in (1, 2, 3, 4, 5)]
    broken[0].path.unlink()
    broken[1].path.write_bytes(b"")
    broken[2].path.write_text("no picture")
    whole = broken[3].path.read_bytes()
    broken[3].path.write_bytes(whole[: len(whole) // 2])
    out = brought_in(tmp_path, *broken, photo(tmp_path / "in", 6))
    assert kept(out) == [5, 6]
    found = {name: (reason, action) for name, reason, action in problems(out)}
    assert found["001.Bird/1.png"] == ("no such file", "photo left out")
    assert found["001.Bird/2.png"] == ("empty file", "photo left out")
    assert found["001.Bird/3.png"] == ("not a picture", "photo left out")
    assert found["001.Bird/4.png"][0].startswith("corrupt: ")
    assert len(found) == 4


@pytest.mark.parametrize("box", [(70.0, 0.0, 20.0, 20.0), (5.0, 5.0, 3.0, 20.0), (float("nan"), 5.0, 20.0, 20.0)])
def test_a_photo_whose_box_has_no_place_in_it_is_left_out(tmp_path: Path, box: Box) -> None:
    out = brought_in(tmp_path, photo(tmp_path / "in", 1, box=box))
    [(name, reason, action)] = problems(out)
    assert (name, action) == ("001.Bird/1.png", "photo left out")
    assert reason.startswith("box (")
    assert "is outside its picture of 64x48" in reason
    assert kept(out) == []


def test_a_birds_box_that_sticks_out_is_clipped_and_rounding_is_not_worth_a_word(tmp_path: Path) -> None:
    boxes = ((50.0, -6.0, 20.0, 20.0), (-0.5, 0.0, 30.0, 48.9))
    out = brought_in(tmp_path, *(photo(tmp_path / "in", number, box=box) for number, box in enumerate(boxes, start=1)))
    sticks_out = "box (50, -6, 20, 20) sticks out of its picture of 64x48"
    assert problems(out) == [("001.Bird/1.png", sticks_out, "box clipped")]
    table = read_photos(out / "photos.csv")
    assert table[["left", "top", "right", "bottom"]].head(2).to_numpy().tolist() == [[50, 0, 64, 14], [0, 0, 30, 48]]
    assert (out / "bounding_boxes.txt").read_text().splitlines()[:2] == ["1 50.0 0.0 14.0 14.0", "2 0.0 0.0 29.5 48.0"]


def test_of_copies_in_one_class_the_first_stays(tmp_path: Path) -> None:
    first, second, copy = (photo(tmp_path / "in", number) for number in (1, 2, 3))
    # Another coding of the same pixels is a copy as well.
    picture(1).save(copy.path, format="BMP")
    out = brought_in(tmp_path, first, second, copy)
    assert kept(out) == [1, 2]
    assert problems(out) == [("001.Bird/3.png", "same pixels as 001.Bird/1.png", "photo left out")]


def test_copies_in_two_classes_are_all_left_out(tmp_path: Path) -> None:
    photos = [photo(tmp_path / "in", number, class_id) for number, class_id in ((1, 1), (2, 1), (3, 1), (4, 2), (5, 2))]
    photos[3].path.write_bytes(photos[0].path.read_bytes())
    out = brought_in(tmp_path, *photos)
    assert kept(out) == [2, 3, 5]
    assert problems(out) == [
        ("001.Bird/1.png", "same pixels as 002.Bird/4.png, another class", "photo left out"),
        ("002.Bird/4.png", "same pixels as 001.Bird/1.png, another class", "photo left out"),
        ("002.Bird/5.png", "the only photo of 002.Bird", "photo kept"),
    ]


def test_a_class_of_one_photo_is_noted_and_kept(tmp_path: Path) -> None:
    out = brought_in(tmp_path, photo(tmp_path / "in", 1))
    assert kept(out) == [1]
    assert problems(out) == [("001.Bird/1.png", "the only photo of 001.Bird", "photo kept")]


def test_a_set_without_a_sound_photo_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    alone = photo(tmp_path / "in", 1)
    alone.path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 photos is sound"):
        ingest([alone], tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
