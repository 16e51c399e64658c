"""The drawn videos: the challenge's layout, truth that fits the pixels, the same bytes from any number of threads."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO

from sightline.parts.annotations import read_coco
from sightline.parts.layout import number_images, read_layout
from sightline.parts.params import Synthetic
from sightline.parts.synthetic import draw_dataset, make_film
from sightline.parts.video import open_frames

SETTINGS = Synthetic(
    train_seconds=6, train_videos=2, val_seconds=16, test_seconds=2, frame_size=160, fps=15, parts_per_second=1.6,
    train_parts_per_second=1.6, nuts=0.2, seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("drawn") / "parts"
    draw_dataset(target, SETTINGS, threads=2)
    return target


class Truth(NamedTuple):
    content: dict[str, Any]
    tracks: dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def val(folder: Path) -> Truth:
    content = json.loads((folder / "annotations/instances_val.json").read_text())
    tracks = defaultdict(list)
    for entry in content["annotations"]:
        tracks[entry["track_id"]].append(entry)
    return Truth(content, dict(tracks))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def masks(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], NDArray[np.bool_]]]:
    for entry in content["annotations"]:
        yield entry, rle.decode(entry["segmentation"]).astype(bool)


def test_videos_for_training_have_a_workshop_each(folder: Path) -> None:
    clips = read_layout(folder)
    assert [clip.name for clip in clips] == ["train-train-01", "train-train-02", "val", "test"]
    middles = []
    coco = read_coco(clips[0].annotations)
    for clip in clips[:2]:
        assert clip.source is not None
        with open_frames(clip.source) as video:
            frames = list(video)
        middles.append(np.median(frames, axis=0))
        assert number_images(clip, coco, 1)["frame"].tolist() == list(range(1, len(frames) + 1)) == list(range(1, 46))
    assert np.abs(middles[0] - middles[1]).mean() > 8
    tracks = coco.boxes.merge(coco.images, on="image_id").groupby("track")["file_name"]
    assert tracks.agg(lambda names: names.str.split("/").str[0].nunique()).max() == 1


@pytest.mark.parametrize(("split", "frames"), [("val", 240), ("test", 30)])
def test_the_layout_is_that_of_the_challenge(folder: Path, split: str, frames: int) -> None:
    with open_frames(folder / f"images/{split}/{split}.mp4") as video:
        assert (video.width, video.height, video.fps) == (160, 160, 15)
        assert sum(1 for _ in video) == frames
    coco = COCO(folder / f"annotations/instances_{split}.json")
    assert [coco.imgs[number]["file_name"] for number in (1, frames)] == ["0000.jpg", f"{frames - 1:04d}.jpg"]
    assert len(coco.imgs) == frames
    assert {number: category["name"] for number, category in coco.cats.items()} == {1: "bolt", 2: "nut"}
    assert set(coco.anns) == set(range(len(coco.anns)))


def test_boxes_hold_what_is_seen(val: Truth) -> None:
    for entry, mask in masks(val.content):
        x, y, w, h = entry["bbox"]
        assert 0 <= x < x + w <= 160
        assert 0 <= y < y + h <= 160
        assert mask.shape == (160, 160)
        left, top, width, height = rle.toBbox(entry["segmentation"])
        assert x <= left
        assert y <= top
        assert left + width <= x + w
        assert top + height <= y + h
        assert entry["area"] == mask.sum() > 0


def test_boxes_are_exact_where_nothing_hides_a_part() -> None:
    film = make_film(SETTINGS, (1, 0), SETTINGS.val_seconds, SETTINGS.parts_per_second)
    without_bars = replace(film, scenery=replace(film.scenery, bars=()))
    alone = [seen[0] for _, seen in map(without_bars.draw, range(0, film.frames, 2)) if len(seen) == 1]
    assert len(alone) > 10
    for part in alone:
        rows, columns = np.nonzero(part.mask)
        corner = columns.min(), rows.min()
        assert part.box == (*corner, np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_masks_of_one_frame_do_not_overlap(val: Truth) -> None:
    seen: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros((160, 160), np.int64))
    for entry, mask in masks(val.content):
        seen[entry["image_id"]] += mask
    assert max(count.max() for count in seen.values()) == 1


def test_boxes_lie_where_the_picture_differs_from_the_empty_scene() -> None:
    film = make_film(SETTINGS, (1, 0), SETTINGS.val_seconds, SETTINGS.parts_per_second)
    empty = replace(film, falls=[])
    for number in range(0, film.frames, 12):
        picture, seen = film.draw(number)
        bare, nothing = empty.draw(number)
        assert nothing == []
        changed = np.abs(picture.astype(int) - bare).max(2) > 12
        outside = changed.copy()
        for part in seen:
            x, y, w, h = (int(side) for side in part.box)
            # Motion and glow reach a little beyond the part.
            outside[max(y - 4, 0) : y + h + 4, max(x - 4, 0) : x + w + 4] = False
            assert changed[part.mask].mean() > 0.5
        # What enters or leaves is not annotated as long as too little of it is inside.
        assert not outside[12:-12, 12:-12].any() or outside.sum() < 90


def test_tracks_keep_their_class_and_fall_faster_and_faster(val: Truth) -> None:
    assert sorted(val.tracks) == list(range(1, len(val.tracks) + 1))
    fitted = []
    for entries in val.tracks.values():
        assert len({entry["category_id"] for entry in entries}) == 1
        frames = [entry["image_id"] for entry in entries]
        assert frames == sorted(set(frames))
        inside = [e for e in entries if e["bbox"][1] > 0 and e["bbox"][1] + e["bbox"][3] < 160]
        if len(inside) >= 10:
            middle = [e["bbox"][1] + e["bbox"][3] / 2 for e in inside]
            fitted.append(2 * np.polyfit([e["image_id"] for e in inside], middle, 2)[0])
    # 0.4 px a frame² at 640 px and 30 frames a second is 0.4 here: a quarter of the size, twice the time.
    assert np.median(fitted) == pytest.approx(0.4, rel=0.1)


def test_the_difficult_moments_are_there(val: Truth) -> None:
    per_frame = np.bincount([e["image_id"] for e in val.content["annotations"]], minlength=241)[1:]
    assert per_frame[0] > 0
    assert per_frame[-1] > 0
    assert (per_frame == 0).sum() > 10
    assert per_frame.max() >= 3
    gaps = [np.diff([e["image_id"] for e in entries]).max(initial=1) for entries in val.tracks.values()]
    assert max(gaps) > 1
    labels = [entries[0]["category_id"] for entries in val.tracks.values()]
    assert labels.count(2) == round(0.2 * 16 * 1.6)


def test_the_files_do_not_depend_on_threads_and_do_on_the_seed(folder: Path, tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"val_seconds": 2})
    draw_dataset(tmp_path / "alone", short, threads=0)
    alone, drawn = contents(tmp_path / "alone"), contents(folder)
    for split, video in (("train", "train-01"), ("train", "train-02"), ("test", "test")):
        for name in (f"images/{split}/{video}.mp4", f"annotations/instances_{split}.json"):
            # Nor does one video depend on how long another one is.
            assert alone[name] == drawn[name]
    draw_dataset(tmp_path / "other", short.model_copy(update={"seed": 4}), threads=0)
    assert not set(contents(tmp_path / "other").values()) & set(alone.values())


def test_each_split_has_a_workshop_of_its_own() -> None:
    walls = [make_film(SETTINGS, (number, 0), 2, 1.6).scenery.behind(0.5).ravel() for number in range(3)]
    similar = np.corrcoef(np.sqrt(walls)) - np.eye(3)
    assert similar.max() < 0.8


def test_a_failed_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("sightline.parts.video.VideoWriter.write", fail)
    with pytest.raises(OSError, match="no space"):
        draw_dataset(tmp_path / "parts", SETTINGS, threads=0)
    assert list(tmp_path.iterdir()) == []
