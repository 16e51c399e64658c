"""The motion says by how many frames boxes are off, or that it cannot say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sightline.core.images import Pixels
from sightline.parts.annotations import read_coco
from sightline.parts.offset import Offset, OffsetMeter
from sightline.parts.video import open_frames

SHARED = Path(__file__).parents[3] / "shared/data/parts/clip"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")


def boxes_of(coco: dict[str, Any]) -> pd.DataFrame:
    rows = [(entry["image_id"], *entry["bbox"]) for entry in coco["annotations"]]
    table = pd.DataFrame(rows, columns=["frame", "x1", "y1", "x2", "y2"]).astype(float)
    return table.assign(x2=table["x1"] + table["x2"], y2=table["y1"] + table["y2"], frame=table["frame"].astype(int))


def measured(frames: list[Pixels], boxes: pd.DataFrame, numbers: list[int] | None = None) -> Offset:
    height, width = frames[0].shape[:2]
    meter = OffsetMeter(boxes, width, height, max_shift=3)
    for number, rgb in zip(numbers or range(1, len(frames) + 1), frames, strict=True):
        meter.add(number, rgb)
    return meter.offset()


@pytest.fixture(scope="module")
def clip() -> tuple[list[Pixels], pd.DataFrame]:
    with open_frames(SHARED / "clip.mp4") as frames:
        return list(frames), read_coco(SHARED / "instances_clip.json").boxes.rename(columns={"image_id": "frame"})


@needs_shared
@pytest.mark.parametrize("planted", [-2, -1, 0, 1, 2])
def test_a_shift_planted_in_the_real_clip_is_found(clip: tuple[list[Pixels], pd.DataFrame], planted: int) -> None:
    frames, boxes = clip
    offset = measured(frames, boxes.assign(frame=boxes["frame"] - planted))
    assert offset.shift == planted
    assert offset.margin > 0.2
    assert {stretch.shift for stretch in offset.stretches} == {planted}


@needs_shared
def test_a_frame_lost_from_the_real_clip_is_found_where_it_was(clip: tuple[list[Pixels], pd.DataFrame]) -> None:
    frames, boxes = clip
    offset = measured(frames[:60] + frames[61:], boxes)
    assert offset.shift is None
    assert "changes within" in offset.reason
    before, after = ([stretch for stretch in offset.stretches if stretch.shift == shift] for shift in (0, -1))
    assert len(before) + len(after) == len(offset.stretches)
    assert before[-1].last <= 70
    assert after[0].first >= 50


@needs_shared
def test_the_broken_stream_of_the_same_scene_is_not_off() -> None:
    with open_frames(SHARED / "clip_original_stream.mp4") as frames:
        pictures = list(frames)
    boxes = read_coco(SHARED / "instances_clip.json").boxes.rename(columns={"image_id": "frame"})
    assert measured(pictures, boxes).shift == 0


@pytest.mark.parametrize("planted", [-3, -1, 0, 1, 3])
def test_a_shift_planted_in_a_drawn_fall_is_found(fall: Callable[..., Any], planted: int) -> None:
    frames, coco = fall()
    boxes = boxes_of(coco)
    assert measured(frames, boxes.assign(frame=boxes["frame"] - planted)).shift == planted


def test_a_change_of_light_is_not_taken_for_motion(fall: Callable[..., Any]) -> None:
    frames, coco = fall()
    lights = np.random.default_rng(0).integers(0, 60, len(frames)).astype(np.uint8)
    lit = [np.minimum(frame, 190) + light for frame, light in zip(frames, lights, strict=True)]
    assert measured(lit, boxes_of(coco)).shift == 0


def test_nothing_is_said_of_pictures_that_are_not_consecutive(fall: Callable[..., Any]) -> None:
    frames, coco = fall()
    offset = measured(frames[::2], boxes_of(coco), list(range(1, 61, 2)))
    assert offset.shift is None
    assert "consecutive frames" in offset.reason


def test_boxes_of_another_recording_are_told(fall: Callable[..., Any]) -> None:
    frames, coco = fall()
    boxes = boxes_of(coco)
    elsewhere = (boxes["x1"] + 64) % 108
    offset = measured(frames, boxes.assign(x1=elsewhere, x2=elsewhere + 20))
    assert offset.shift is None
    assert offset.unrelated


def test_things_that_move_too_slowly_for_a_frame_to_matter_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    background, plate = rng.integers(40, 60, (128, 128, 3), np.uint8), rng.integers(90, 255, (40, 40, 3), np.uint8)
    frames, rows = [], []
    for number in range(80):
        frame = background.copy()
        frame[number : number + 40, 40:80] = plate
        frames.append(frame)
        rows.append((number + 1, 40, number, 80, number + 40))
    offset = measured(frames, pd.DataFrame(rows, columns=["frame", "x1", "y1", "x2", "y2"]))
    assert offset.shift is None
    assert "no shift fits clearly better" in offset.reason
    assert not offset.unrelated


def test_nothing_is_said_where_nothing_moves(fall: Callable[..., Any]) -> None:
    frames, coco = fall()
    noise = np.random.default_rng(0).integers(0, 5, (60, *frames[0].shape), dtype=np.uint8)
    offset = measured([frames[0] // 2 + grain for grain in noise], boxes_of(coco))
    assert offset.shift is None
    assert "where something moves" in offset.reason
    assert offset.unrelated


def test_nothing_is_said_without_boxes(fall: Callable[..., Any]) -> None:
    frames, coco = fall()
    assert measured(frames, boxes_of(coco)[:0]).shift is None
