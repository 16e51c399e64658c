"""faces-source: whatever the source, one folder with only what is sound, and a word on all the rest."""

import hashlib
import json
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
from sklearn.datasets import _lfw

from sightline.core.errors import InputError
from sightline.core.images import pixel_digest, read_image
from sightline.core.leakage import perceptual_hash
from sightline.faces.params import Data, Faces
from sightline.faces.source import BOXES, PHOTOS, bring_in
from sightline.params import load

SETTINGS: dict[str, Any] = {
    "path": "data/none",
    "synthetic": {
        "people": 2, "photos": 2, "strangers": 2, "stranger_photos": 1, "groups": 1, "empty": 1, "emotions": 1,
        "seed": 1,
    },
    "official": {
        "url": "http://127.0.0.1/none", "digest": None, "min_photos": 3, "max_people": 2, "max_strangers": 1,
    },
}  # fmt: skip


def data(source: str, **official: Any) -> Data:
    return Data.model_validate({**SETTINGS, "source": source, "official": SETTINGS["official"] | official})


def save(path: Path, number: int, size: tuple[int, int] = (64, 48), **options: Any) -> Path:
    """Smooth colour blobs, another picture for each number."""
    coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people of two photos each and a stranger."""
    root = tmp_path / "mine"
    for number, name in enumerate(("gallery/anna/1.png", "gallery/anna/2.png", "gallery/bo/1.png", "gallery/bo/2.png")):
        save(root / name, number)
    save(root / "strangers/s/1.png", 9)
    return root


def group(folder: Path, *faces: dict[str, Any], complete: bool = True) -> None:
    save(folder / "groups/1.png", 50)
    entry = {"file": "1.png", "complete": complete, "faces": [{"name": None, **face} for face in faces]}
    (folder / "groups/groups.json").write_text(json.dumps({"photos": [entry]}))


def brought_in(folder: Path) -> Path:
    out = folder.parent / "out"
    bring_in(data("path"), folder, out, workers=0)
    return out


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / name, keep_default_na=False)


def problems(out: Path) -> list[tuple[str, ...]]:
    return list(table(out, "problems.csv").itertuples(index=False, name=None))


def test_photos_are_taken_over_with_their_roles_sizes_and_digests(folder: Path) -> None:
    group(folder, {"box": [4, 5, 30, 40], "name": "anna", "emotion": "fear"}, {"box": [34, 5, 60, 40], "ignore": True})
    save(folder / "emotion/anger/1.png", 70, (48, 48))
    out = brought_in(folder)
    photos = table(out, "photos.csv")
    assert list(photos) == PHOTOS
    for row in photos.itertuples():
        original, kept = folder / row.photo, out / "images" / row.photo
        assert kept.read_bytes() == original.read_bytes()
        pixels = read_image(original)
        assert (row.height, row.width) == pixels.shape[:2]
        assert (row.digest, row.hash) == (pixel_digest(pixels), f"{perceptual_hash(pixels):016x}")
    told = photos[["role", "person", "emotion", "complete"]].to_numpy().tolist()
    assert told[0] == ["gallery", "anna", "", 0]
    assert told[4:] == [["stranger", "s", "", 0], ["group", "", "", 1], ["emotion", "", "anger", 0]]
    boxes = table(out, "boxes.csv")
    assert list(boxes) == BOXES
    assert boxes.to_numpy().tolist() == [
        ["groups/1.png", 0, 4, 5, 30, 40, "anna", 0, "fear"],
        ["groups/1.png", 1, 34, 5, 60, 40, "", 1, ""],
    ]
    assert problems(out) == []


def test_files_that_are_no_whole_picture_are_left_out_and_named(folder: Path) -> None:
    (folder / "gallery/anna/3.png").write_bytes(b"")
    (folder / "gallery/anna/notes.txt").write_text("hello")
    broken = folder / "strangers/s/1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    out = brought_in(folder)
    found = {name: (reason, action) for name, reason, action in problems(out)}
    assert found["gallery/anna/3.png"] == ("empty file", "photo left out")
    assert found["gallery/anna/notes.txt"] == ("not a picture", "photo left out")
    assert found["strangers/s/1.png"][0].startswith("corrupt: ")
    assert len(found) == 3
    assert set(table(out, "photos.csv")["role"]) == {"gallery"}


def test_a_rotated_phone_photo_is_measured_upright(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "strangers/s/2.jpg", 30, (64, 48), exif=exif)
    row = table(brought_in(folder), "photos.csv").set_index("photo").loc["strangers/s/2.jpg"]
    assert (row["width"], row["height"]) == (48, 64)


def test_boxes_are_clipped_ignored_or_left_out_and_completeness_follows(folder: Path) -> None:
    group(folder, {"box": [-6, 5, 20, 40]}, {"box": [30, 5, 32, 7]}, {"box": [40, 5, 60, 40]})
    out = brought_in(folder)
    boxes = table(out, "boxes.csv")
    assert boxes[["box", "x1", "x2", "ignore"]].to_numpy().tolist() == [[0, 0, 20, 0], [1, 30, 32, 1], [2, 40, 60, 0]]
    assert problems(out) == [
        ("groups/1.png", "box of a face (-6, 5, 20, 40) sticks out of its picture of 64x48", "box clipped"),
        ("groups/1.png", "1 boxes under 4 px", "faces ignored"),
    ]
    assert table(out, "photos.csv").set_index("photo").loc["groups/1.png", "complete"] == 1
    group(folder, {"box": [70, 5, 90, 40]}, {"box": [40, 5, 60, 40]})
    out = brought_in(folder)
    [(_, reason, action)] = problems(out)
    assert "(70, 5, 90, 40) is outside its picture of 64x48" in reason
    assert action == "box left out"
    assert table(out, "photos.csv").set_index("photo").loc["groups/1.png", "complete"] == 0


def test_a_gallery_photo_whose_box_has_no_place_in_it_is_left_out(folder: Path) -> None:
    (folder / "gallery/gallery.csv").write_text("file,x1,y1,x2,y2\nanna/1.png,80,0,99,30\nanna/2.png,5,5,30,30\n")
    out = brought_in(folder)
    assert [(name, action) for name, _, action in problems(out)] == [
        ("gallery/anna/1.png", "box left out"),
        ("gallery/anna/1.png", "photo left out"),
        ("gallery/anna/2.png", "photo kept"),
    ]
    assert table(out, "boxes.csv")["name"].tolist() == ["anna"]


def test_the_same_picture_under_two_names_is_left_out_twice(folder: Path) -> None:
    save(folder / "gallery/bo/3.bmp", 0)
    save(folder / "gallery/bo/4.bmp", 2)
    assert problems(brought_in(folder)) == [
        ("gallery/anna/1.png", "same pixels as gallery/bo/3.bmp, said to show something else", "photo left out"),
        ("gallery/bo/3.bmp", "same pixels as gallery/anna/1.png, said to show something else", "photo left out"),
        ("gallery/bo/4.bmp", "same pixels as gallery/bo/1.png", "photo left out"),
        ("gallery/anna/2.png", "the only photo of anna", "photo kept"),
    ]


def test_who_has_no_photo_left_is_nobody_known_in_groups(folder: Path) -> None:
    group(folder, {"box": [4, 5, 30, 40], "name": "bo"}, {"box": [34, 5, 60, 40], "name": "anna"})
    for path in (folder / "gallery/bo").iterdir():
        path.write_bytes(b"")
    assert table(brought_in(folder), "boxes.csv")["name"].tolist() == ["", "anna"]


def test_a_gallery_without_a_sound_photo_is_an_error_and_leaves_nothing(folder: Path) -> None:
    for path in (folder / "gallery").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the gallery's photos is sound"):
        brought_in(folder)
    assert not (folder.parent / "out").exists()


def test_a_missing_folder_is_named_with_its_parameter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"faces\.data\.path: there is no folder"):
        bring_in(data("path"), tmp_path / "none", tmp_path / "out", workers=0)


def test_the_drawn_set_passes_its_own_checks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    bring_in(data("synthetic"), Path("data/none"), out, workers=0)
    assert problems(out) == []
    counts = table(out, "photos.csv")["role"].value_counts().to_dict()
    assert counts == {"gallery": 4, "stranger": 2, "group": 1, "empty": 1, "emotion": 7}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def lfw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """An archive like LFW's on the loopback, and its SHA-256: cy and di have the most photos, al and bea fewer."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "lfw_funneled"
    for number, (person, photos) in enumerate({"al": 1, "bea": 2, "cy": 4, "di": 3, "ed": 3}.items()):
        for photo in range(photos):
            save(root / person / f"{person}_{photo + 1:04d}.jpg", 10 * number + photo)
    (root / "pairs_01.txt").write_text("1\n")
    served = tmp_path / "served"
    served.mkdir()
    with tarfile.open(served / "lfw.tgz", "w:gz") as archive:
        archive.add(root, root.name)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        digest = hashlib.sha256((served / "lfw.tgz").read_bytes()).hexdigest()
        yield f"http://127.0.0.1:{http.server_port}/lfw.tgz", digest
        http.shutdown()


def test_the_official_set_is_downloaded_checked_and_sorted_by_photos(tmp_path: Path, lfw: tuple[str, str]) -> None:
    url, digest = lfw
    out = tmp_path / "out"
    bring_in(data("official", url=url, digest=digest), Path("data/none"), out, workers=0)
    photos = table(out, "photos.csv")
    assert photos.groupby(["role", "person"]).size().to_dict() == {
        ("gallery", "cy"): 4, ("gallery", "di"): 3, ("stranger", "bea"): 2,
    }  # fmt: skip
    assert not list(out.glob("*.sha256"))
    bring_in(data("official", url=url), Path("data/none"), out, workers=0)
    assert (out / "official.sha256").read_text().startswith(digest)


def test_a_wrong_archive_and_too_few_people_are_refused(tmp_path: Path, lfw: tuple[str, str]) -> None:
    url, digest = lfw
    with pytest.raises(InputError, match=r"faces\.data\.official\.digest"):
        bring_in(data("official", url=url, digest="0" * 64), Path("data/none"), tmp_path / "out", workers=0)
    with pytest.raises(InputError, match=r"1 people have 4 photos or more: lower faces\.data\.official\.min_photos"):
        bring_in(data("official", url=url, digest=digest, min_photos=4), Path("x"), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_the_pinned_archive_is_the_one_that_scikit_learn_fetches() -> None:
    official = load("faces", Faces, Path(__file__).parents[2] / "params.yaml").data.official
    assert (official.url, official.digest) == (_lfw.FUNNELED_ARCHIVE.url, _lfw.FUNNELED_ARCHIVE.checksum)


def test_strangers_keep_their_names_in_groups_as_long_as_a_portrait_is_left(folder: Path) -> None:
    (folder / "strangers/lost").mkdir()
    (folder / "strangers/lost/1.png").write_bytes(b"no picture")
    names = ("anna", "s", "lost", "passer-by")
    group(folder, *({"box": [5 + 12 * n, 5, 15 + 12 * n, 20], "name": name} for n, name in enumerate(names)))
    boxes = pd.read_csv(brought_in(folder) / "boxes.csv", keep_default_na=False)
    assert boxes["name"].tolist() == ["anna", "s", "", ""]
