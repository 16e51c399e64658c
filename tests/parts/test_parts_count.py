"""The count of whole videos: what is written, what is said of bad input, and that nothing half is left."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.errors import InputError
from sightline.core.images import Pixels
from sightline.parts.count import Counted, Recipe, at_line, count_video, load_deployed
from sightline.parts.counting import Rule
from sightline.parts.detector import Detections
from sightline.parts.params import Video
from sightline.parts.tracker import Association
from sightline.parts.video import Frames, VideoWriter, open_frames

FOOTAGE = Path(__file__).parents[3] / "shared/data/mot/video"
SIZE, FRAMES = 160, 40
CLASSES = ("bolt", "nut")
RECIPE = Recipe(Association("bytetrack", 0.5, 0.5, 0.1, 10), Rule(0.5, "down", 3, 10), None, 0.1, 3)
SETTINGS = Video(preset="ultrafast", crf=25, trace=5)
WAYS = ((40, 1, 6.0, 0), (110, 8, 5.0, 1), (75, 36, 5.0, 0))
"""Column, frame of entry, px a frame and class of each part: the last does not reach the line."""


def boxes_at(frame: int) -> list[tuple[float, float, float, float, int]]:
    found = []
    for x, start, speed, label in WAYS:
        y = speed * (frame - start)
        if frame >= start and y < SIZE:
            found.append((x - 12.0, max(y - 12, 0), x + 12.0, min(y + 12, SIZE), label))
    return found


def detections(frame: int) -> Detections:
    rows = boxes_at(frame)
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(rows), 0.9, np.float32), np.array([row[4] for row in rows], np.int64))


def picture(frame: int) -> Pixels:
    pixels = np.full((SIZE, SIZE, 3), 60, np.uint8)
    for x1, y1, x2, y2, label in boxes_at(frame):
        pixels[int(y1) : int(y2), int(x1) : int(x2)] = (200, 120, 40) if label == 0 else (90, 160, 220)
    return pixels


def detector(
    break_at: int | None = None, error: type[BaseException] = RuntimeError
) -> Callable[[Pixels], list[Detections]]:
    """Knows what is in the frames that it is given one after the other."""
    seen = 0

    def detect(frames: Pixels) -> list[Detections]:
        nonlocal seen
        found = []
        for _ in frames:
            seen += 1
            if seen == break_at:
                raise error
            found.append(detections(seen))
        return found

    return detect


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "line.mp4"
    with VideoWriter(path, SIZE, SIZE, 25) as writer:
        for frame in range(1, FRAMES + 1):
            writer.write(picture(frame))
    return path


@pytest.fixture(scope="module")
def counted(video: Path) -> tuple[Counted, Path]:
    out = video.parent / "out"
    return count_video(video, detector(), CLASSES, RECIPE, out, SETTINGS), out


class Tags(HTMLParser):
    """Sees that every tag is closed, and collects pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_counts_are_those_of_the_scene(counted: tuple[Counted, Path]) -> None:
    result, out = counted
    summary = json.loads((out / "counts.json").read_text())
    assert result.counts == summary["counts"] == {"bolt": 1, "nut": 1}
    assert (summary["total"], summary["frames"], summary["fps"]) == (2, FRAMES, 25)
    assert (summary["line"], summary["direction"], summary["seen"]) == (0.5, "down", {"bolt": 2, "nut": 1})
    (missing,) = summary["not_counted"]
    assert missing["reason"] == "above the line when the video ended"


def test_tracks_are_in_the_format_of_motchallenge(counted: tuple[Counted, Path]) -> None:
    table = pd.read_csv(counted[1] / "tracks.txt", header=None)
    assert table.shape[1] == 9
    assert table[0].is_monotonic_increasing
    assert not table.duplicated([0, 1]).any()
    assert dict(table.groupby(1)[7].first()) == {1: 1, 2: 2, 3: 1}
    for frame, rows in table.groupby(0):
        true = sorted(row[:4] for row in boxes_at(int(str(frame))))
        found = sorted((x, y, x + w, y + h) for x, y, w, h in rows[[2, 3, 4, 5]].to_numpy())
        assert np.array(found) == pytest.approx(np.array(true), abs=6)


def test_the_certificate_has_every_counted_part_with_its_picture(counted: tuple[Counted, Path]) -> None:
    with (counted[1] / "certificate.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The centre of the bolt is at 80 or below from frame 1 + 80 / 6 on, that of the nut from 8 + 80 / 5.
    assert [(row["number"], row["label"], row["how"]) for row in rows] == [
        ("1", "bolt", "crossed"),
        ("2", "nut", "crossed"),
    ]
    assert [int(row["frame"]) for row in rows] == pytest.approx([15, 24], abs=1)
    page = Tags()
    page.feed((counted[1] / "certificate.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.pictures) == 2
    assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in page.pictures)
    assert sorted(path.name for path in counted[1].iterdir()) == [
        "annotated.mp4",
        "certificate.csv",
        "certificate.html",
        "counts.json",
        "tracks.txt",
    ]


def test_the_video_shows_line_boxes_and_every_frame(counted: tuple[Counted, Path]) -> None:
    with open_frames(counted[1] / "annotated.mp4") as frames:
        shown = list(frames)
    assert len(shown) == FRAMES
    assert shown[5][80, 130:150].min() > 200
    # Orange around the bolt of class 0.
    left, top = boxes_at(10)[0][:2]
    red, _, blue = shown[9][round(top) + 6, round(left)].astype(int)
    assert red - blue > 60


def test_the_same_video_gives_the_same_bytes_whatever_the_batch(counted: tuple[Counted, Path], video: Path) -> None:
    again = video.parent / "again"
    count_video(video, detector(), CLASSES, RECIPE, again, SETTINGS, batch_size=3)
    for path in counted[1].iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_a_folder_of_frames_is_counted_like_the_video(tmp_path: Path) -> None:
    for frame in range(1, FRAMES + 1):
        path = tmp_path / "frames" / f"{frame - 1:04}.png"
        path.parent.mkdir(exist_ok=True)

        cv2.imwrite(str(path), cv2.cvtColor(picture(frame), cv2.COLOR_RGB2BGR))
    result = count_video(tmp_path / "frames", detector(), CLASSES, RECIPE, tmp_path / "out", SETTINGS)
    assert result.counts == {"bolt": 1, "nut": 1}


class Moving:
    """Stands for a detector: what moves in front of a background that stands still."""

    def __init__(self, least_area: int) -> None:
        self.background = cv2.createBackgroundSubtractorMOG2(history=120, varThreshold=30)
        self.least_area = least_area

    def __call__(self, frames: Pixels) -> list[Detections]:
        return [self._look(frame) for frame in frames]

    def _look(self, frame: Pixels) -> Detections:
        moves = (self.background.apply(frame) == 255).astype(np.uint8)
        moves = cv2.morphologyEx(moves, cv2.MORPH_OPEN, np.ones((3, 3)))
        blobs = cv2.connectedComponentsWithStats(cv2.dilate(moves, np.ones((17, 17))))[2][1:]
        boxes = [(x, y, x + width, y + height) for x, y, width, height, area in blobs if area >= self.least_area]
        scores, labels = np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, labels)


@pytest.mark.skipif(not FOOTAGE.exists(), reason="the shared videos are not here")
@pytest.mark.parametrize(
    ("name", "direction", "least_area", "cars"),
    [
        ("vehicles.avi", "right", 600, 5),
        ("car-detection.mp4", "up", 6000, 2),
        ("car-detection.mp4", "down", 6000, 2),
    ],
)
def test_cars_that_do_not_fall_are_counted_in_real_footage(
    tmp_path: Path, name: str, direction: str, least_area: int, cars: int
) -> None:
    rule = Rule(0.5, direction, 8, 15)  # type: ignore[arg-type]
    recipe = Recipe(Association("bytetrack", 0.5, 0.5, 0.1, 15), rule, None, 0.1, 3)
    result = count_video(FOOTAGE / name, Moving(least_area), ("car",), recipe, tmp_path / "out", SETTINGS)
    assert result.counts == {"car": cars}


def test_the_line_can_be_moved(video: Path) -> None:
    recipe = at_line(RECIPE, 0.05)
    result = count_video(video, detector(), CLASSES, recipe, video.parent / "high", SETTINGS)
    assert result.counts == {"bolt": 2, "nut": 1}


@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_without_a_part_counts_nothing(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "empty.mp4"
    with VideoWriter(path, 96, 64) as writer:
        for _ in range(frames):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    result = count_video(path, lambda batch: [nothing] * len(batch), CLASSES, RECIPE, tmp_path / "out", SETTINGS)
    assert (result.counts, result.frames) == ({"bolt": 0, "nut": 0}, frames)
    assert (tmp_path / "out/tracks.txt").read_text() == ""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_count_that_breaks_off_leaves_nothing_and_an_older_one_stays(
    tmp_path: Path, video: Path, error: type[BaseException]
) -> None:
    count_video(video, detector(), CLASSES, RECIPE, tmp_path / "out", SETTINGS)
    before = (tmp_path / "out/counts.json").read_bytes()
    for out in ("out", "new"):
        with pytest.raises(error):
            count_video(video, detector(30, error), CLASSES, RECIPE, tmp_path / out, SETTINGS)
    assert (tmp_path / "out/counts.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_no_half_video(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: VideoWriter, rgb: Pixels) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "write", write)
    with pytest.raises(OSError, match="No space left"):
        count_video(video, detector(), CLASSES, RECIPE, tmp_path / "out", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_camera_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="camera 97"):
        count_video(97, detector(), CLASSES, RECIPE, tmp_path / "out", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_camera_that_is_stopped_leaves_the_count_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shots() -> Iterator[Pixels]:
        yield from (picture(frame) for frame in range(1, 31))
        raise KeyboardInterrupt

    @contextmanager
    def camera(source: int) -> Iterator[Frames]:
        yield Frames(f"camera {source}", SIZE, SIZE, 25.0, None, (), shots())

    monkeypatch.setattr("sightline.parts.count.open_frames", camera)
    result = count_video(0, detector(), CLASSES, RECIPE, tmp_path / "out", SETTINGS, batch_size=1)
    assert (result.counts, result.frames) == ({"bolt": 1, "nut": 1}, 30)
    assert json.loads((tmp_path / "out/counts.json").read_text())["frames"] == 30
    with open_frames(tmp_path / "out/annotated.mp4") as frames:
        assert len(list(frames)) == 30


def test_a_recipe_is_read_as_it_was_written() -> None:
    assert Recipe.of(json.loads(json.dumps(RECIPE.to_json()))) == RECIPE


@pytest.mark.parametrize("content", [None, "{}", '{"tracking": {"association": {}}}'])
def test_a_folder_that_was_not_deployed_is_said(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="parts-track"):
        load_deployed(tmp_path)


def test_the_command_refuses_to_replace_what_is_no_count(tmp_path: Path, video: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    arguments = ["parts", "count", str(video), "--out", str(tmp_path), "--model", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError)
    assert "another folder" in str(result.exception)
    assert (tmp_path / "precious.txt").exists()


def test_the_command_counts(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        classes = CLASSES

        def __init__(self, *_: Any) -> None:
            self.detect = detector()

        def __call__(self, frames: Pixels) -> list[Detections]:
            return self.detect(frames)

    monkeypatch.setattr("sightline.parts.count.Detector", Known)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"tracking": RECIPE.to_json()}))
    arguments = ["parts", "count", str(video), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "model")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert json.loads(result.stdout) == {"bolt": 1, "nut": 1, "total": 2}
    assert f"{FRAMES} frames at" in result.stderr
    again = CliRunner().invoke(app, [*arguments, "--line", "0.05"], catch_exceptions=False)
    assert json.loads(again.stdout)["total"] == 3
