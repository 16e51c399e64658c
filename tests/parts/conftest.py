"""A little recording in which plates fall, its true boxes, and ways to write both down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightline.core.images import Pixels
from sightline.core.sheets import write_png
from sightline.parts.video import VideoWriter

SIDE = 128
Coco = dict[str, list[dict[str, Any]]]


def recording(length: int = 60, seed: int = 0) -> tuple[list[Pixels], Coco]:
    """``length`` frames of SIDE px, in which a bolt and a nut start to fall in turns, and what is true of them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 90, (8, 8, 3), dtype=np.uint8)
    background = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    plate = rng.integers(120, 255, (20, 20, 3), dtype=np.uint8)
    frames = [background.copy() for _ in range(length)]
    coco: Coco = {
        "images": [
            {"id": number + 1, "file_name": f"{number:04d}.jpg", "width": SIDE, "height": SIDE}
            for number in range(length)
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}],
    }
    for track, start in enumerate(range(-4, length, 8), start=1):
        x = int(rng.integers(4, SIDE - 24))
        for number in range(max(start, 0), length):
            top = -12 + 7 * (number - start)
            y1, y2 = max(top, 0), min(top + 20, SIDE)
            if y1 >= SIDE:
                break
            frames[number][y1:y2, x : x + 20] = plate[y1 - top : y2 - top]
            box = [x, y1, 20, y2 - y1]
            entry = {"image_id": number + 1, "category_id": 2 - track % 2, "bbox": box, "track_id": track}
            coco["annotations"].append({"id": len(coco["annotations"]), "segmentation": [], "iscrowd": 0, **entry})
    noise = rng.integers(0, 4, (length, SIDE, SIDE, 3), dtype=np.uint8)
    return [frame + grain for frame, grain in zip(frames, noise, strict=True)], coco


@pytest.fixture
def fall() -> Callable[..., tuple[list[Pixels], Coco]]:
    """:func:`recording`."""
    return recording


@pytest.fixture
def lay_out(tmp_path: Path) -> Callable[..., Path]:
    """Writes a split of a layout: frames as a video or, with their numbers from 0, as pictures; returns the folder."""

    def write(
        split: str,
        frames: list[Pixels],
        coco: Coco,
        name: str = "clip",
        numbers: list[int] | None = None,
        folder: Path = tmp_path / "layout",
    ) -> Path:
        media = folder / "images" / split
        media.mkdir(parents=True, exist_ok=True)
        if numbers is None:
            with VideoWriter(media / f"{name}.mp4", frames[0].shape[1], frames[0].shape[0], crf=10) as video:
                for rgb in frames:
                    video.write(rgb)
        else:
            for number in numbers:
                write_png(media / f"{number:04d}.png", frames[number])
            for image in coco["images"]:
                image["file_name"] = image["file_name"].replace(".jpg", ".png")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))
        return folder

    return write
