"""parts-frames: which frames are packed, and that boxes lie where they lay in the video."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sightline.core.errors import InputError
from sightline.core.packs import open_pack
from sightline.core.sheets import write_png
from sightline.parts.audit import audit, write
from sightline.parts.frames import pack_frames
from sightline.parts.params import Frames
from sightline.parts.video import VideoWriter

WIDTH, HEIGHT, LENGTH = 128, 96, 24
SIDES = 20, 16


def place(frame: int) -> tuple[int, int]:
    """Left and top of the object in a frame, counted from 1."""
    return 10 + 4 * frame, 2 + 3 * frame


def shows_object(frame: int) -> bool:
    return frame <= 12


def picture(frame: int) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    if shows_object(frame):
        left, top = place(frame)
        image[top : top + SIDES[1], left : left + SIDES[0]] = 240
    return image


def annotate(raw: Path, split: str, crowd: int = 0) -> None:
    images = [
        {"id": frame, "file_name": f"{frame - 1:04}.jpg", "width": WIDTH, "height": HEIGHT}
        for frame in range(1, LENGTH + 1)
    ]
    entries = [
        {"id": frame, "image_id": frame, "category_id": 2, "bbox": [*place(frame), *SIDES], "iscrowd": crowd}
        | {"area": SIDES[0] * SIDES[1], "segmentation": [], "track_id": 1}
        for frame in range(1, LENGTH + 1)
        if shows_object(frame)
    ]
    (raw / "annotations").mkdir(parents=True, exist_ok=True)
    categories = [{"id": 2, "name": "nut"}, {"id": 1, "name": "bolt"}]
    content = {"images": images, "annotations": entries, "categories": categories}
    (raw / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def film(raw: Path, split: str) -> None:
    (raw / "images" / split).mkdir(parents=True)
    with VideoWriter(raw / "images" / split / f"{split}.mp4", WIDTH, HEIGHT, crf=1) as video:
        for frame in range(1, LENGTH + 1):
            video.write(picture(frame))


def packed(raw: Path, tmp_path: Path, **settings: float) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    write(audit(raw, 1, 3, 0), tmp_path / "audit")
    chosen = Frames.model_validate({"input_size": 64, "every": 1, "empty": 1.0} | settings)
    pack_frames(raw, tmp_path / "audit", chosen, tmp_path / "frames", tmp_path / "frames.png")
    pack = open_pack(tmp_path / "frames")
    return pack.manifest, pd.read_csv(tmp_path / "frames" / "labels.csv"), pack.images


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        annotate(tmp_path / "raw", split)
        film(tmp_path / "raw", split)
    return tmp_path / "raw"


def test_boxes_are_around_what_the_packed_frames_show(raw: Path, tmp_path: Path) -> None:
    manifest, labels, images = packed(raw, tmp_path)
    assert len(manifest) == 2 * LENGTH
    assert (labels["label"] == "nut").all()
    assert json.loads((tmp_path / "frames" / "classes.json").read_text()) == ["bolt", "nut"]
    assert len(labels) == 24
    for row, _, cx, cy, w, h in labels.itertuples(index=False):
        rows, columns = np.nonzero(images[row][:48, :, 0] > 140)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(found - np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) * 64).max() <= 1
    assert (images[:, 49:] == 114).all()
    assert (tmp_path / "frames.png").is_file()


def test_of_a_video_every_kth_frame_is_taken_and_empty_ones_thinned_in_train(raw: Path, tmp_path: Path) -> None:
    manifest, _, _ = packed(raw, tmp_path, every=2, empty=0.5)
    taken = {split: rows["frame"].tolist() for split, rows in manifest.groupby("split")}
    assert taken["val"] == list(range(1, LENGTH + 1, 2))
    assert [frame for frame in taken["train"] if shows_object(frame)] == [1, 3, 5, 7, 9, 11]
    assert [frame for frame in taken["train"] if not shows_object(frame)] == [15, 19, 23]


def test_without_empty_frames_val_keeps_its_own(raw: Path, tmp_path: Path) -> None:
    manifest, _, _ = packed(raw, tmp_path, empty=0.0)
    assert (manifest.groupby("split")["objects"].apply(lambda counts: (counts == 0).sum()) == [0, 12]).all()


def test_of_pictures_all_are_taken(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for split in ("train", "val"):
        annotate(raw, split)
        for frame in (1, 4, 11, 20):
            write_png(raw / "images" / split / f"{frame - 1:04}.png", picture(frame))
    for path in (raw / "annotations").iterdir():
        path.write_text(path.read_text().replace(".jpg", ".png"))
    manifest, labels, _ = packed(raw, tmp_path, every=3)
    assert manifest["frame"].tolist() == [1, 4, 11, 20] * 2
    assert labels["row"].tolist() == [0, 1, 2, 4, 5, 6]


def test_without_val_nothing_is_packed(raw: Path, tmp_path: Path) -> None:
    (raw / "images" / "val" / "val.mp4").unlink()
    with pytest.raises(InputError, match="images/val"):
        packed(raw, tmp_path)
    assert not (tmp_path / "frames").exists()


def test_crowds_are_no_objects_to_learn_from(raw: Path, tmp_path: Path) -> None:
    annotate(raw, "train", crowd=1)
    with pytest.raises(InputError, match="no object"):
        packed(raw, tmp_path)
