"""Tracking settings chosen on validation, and the stage, with a detector that knows the truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sightline.core.errors import InputError
from sightline.core.images import Pixels
from sightline.parts.count import Recipe, load_deployed
from sightline.parts.counting import Rule
from sightline.parts.detector import Detections
from sightline.parts.motion import CORNERS
from sightline.parts.params import Line, Track, Video
from sightline.parts.simulation import Mistakes, by_frame, measure_mistakes, simulate
from sightline.parts.track import track
from sightline.parts.tracker import Association
from sightline.parts.tune import Round, recipes, tune
from sightline.parts.video import VideoWriter

SIZE, FRAMES = 128, 60
CLASSES = ("bolt", "nut")
PERFECT = Mistakes(0.0, 0.0, 0.0, 0.0, [0.9], [0.5])
TRACK = Track(
    tracker="bytetrack",
    motion="falling",
    low_score=0.1,
    high_score=[1.0],
    new_score=[1.0],
    min_iou=[0.1],
    lost_frames=[10],
    fill=3,
    draws=2,
    seed=1,
)
LINE = Line(line=[0.5], direction=None, confirm=3, refind_frames=10)


def truth(clip: str = "val", count: int = 6) -> pd.DataFrame:
    """Squares that fall one after the other; every third is a nut."""
    rows = []
    for number in range(count):
        for frame in range(1 + 10 * number, FRAMES + 1):
            y = 5.0 * (frame - 1 - 10 * number)
            if y < SIZE:
                x = 20.0 + 15 * number
                label = CLASSES[number % 3 == 2]
                rows.append((clip, frame, number + 1, label, x - 9, max(y - 9, 0), x + 9, min(y + 9, SIZE)))
    return pd.DataFrame(rows, columns=["clip", "frame", "track", "label", *CORNERS])


def test_a_detector_without_mistakes_gives_the_truth() -> None:
    true = truth()
    found = simulate(true, CLASSES, FRAMES, (SIZE, SIZE), PERFECT, [1])
    assert len(found) == FRAMES
    for frame, seen in enumerate(found, start=1):
        own = true[true["frame"] == frame]
        assert sorted(map(tuple, seen.boxes_xyxy)) == sorted(map(tuple, own[CORNERS].to_numpy(np.float32)))
        assert sorted(seen.labels) == sorted(own["label"].map({"bolt": 0, "nut": 1}))


def test_simulated_mistakes_are_measured_as_what_they_are() -> None:
    true = truth().assign(clip="val")
    big = pd.concat([true.assign(frame=true["frame"] + FRAMES * turn) for turn in range(20)])
    mistakes = Mistakes(0.2, 0.1, 0.8, 0.05, [0.8, 0.9], [0.4])
    found = simulate(big, CLASSES, FRAMES * 20, (SIZE, SIZE), mistakes, [3])
    table = pd.concat(
        pd.DataFrame(seen.boxes_xyxy, columns=CORNERS).assign(
            clip="val", frame=frame, label=np.array(CLASSES)[seen.labels], score=seen.scores
        )
        for frame, seen in enumerate(found, start=1)
    )
    measured = measure_mistakes(table, big)
    assert measured.missed == pytest.approx(0.2, abs=0.03)
    assert measured.false == pytest.approx(0.1, abs=0.03)
    assert measured.jitter == pytest.approx(0.8, abs=0.1)
    assert measured.flipped == pytest.approx(0.05, abs=0.02)
    assert set(np.round(measured.scores, 3)) == {0.8, 0.9}


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    mistakes = Mistakes(0.2, 0.1, 1.0, 0.05, [0.8, 0.9], [0.4])
    first, again, other = (simulate(truth(), CLASSES, FRAMES, (SIZE, SIZE), mistakes, [seed]) for seed in (1, 1, 2))
    assert all(np.array_equal(a.boxes_xyxy, b.boxes_xyxy) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.boxes_xyxy, b.boxes_xyxy) for a, b in zip(first, other, strict=True))


def test_every_combination_is_a_recipe_and_scores_are_shares_of_the_threshold() -> None:
    settings = TRACK.model_copy(update={"high_score": [1.0, 0.5], "lost_frames": [10, 20]})
    line = LINE.model_copy(update={"line": [0.5, 0.6]})
    found = recipes(settings, line, 0.4, "down", None)
    assert len(found) == 8
    assert found[0] == Recipe(Association("bytetrack", 0.4, 0.4, 0.1, 10), Rule(0.5, "down", 3, 10, 0.4), None, 0.1, 3)
    assert {recipe.association.high_score for recipe in found} == {0.4, 0.2}


def test_the_recipe_with_the_fewest_errors_wins() -> None:
    def recipe(line: float, new_score: float) -> Recipe:
        association = Association("bytetrack", 0.5, new_score, 0.1, 10)
        return Recipe(association, Rule(line, "down", 3, 10), None, 0.1, 3)

    rounds = [Round((SIZE, SIZE), simulate(truth(), CLASSES, FRAMES, (SIZE, SIZE), PERFECT, [1]), truth())]
    # With a new_score above all scores there is never a track.
    candidates = [recipe(0.5, 0.95), recipe(0.5, 0.5), recipe(0.6, 0.5)]
    best, trials = tune(candidates, rounds, CLASSES)
    assert best == candidates[1]
    assert trials["count_errors"].tolist() == [5, 0, 0]
    assert trials["true"].tolist() == [5, 5, 5]
    assert trials["hota"].tolist()[0] == 0
    assert trials["hota"].tolist()[1] > 0.8


def test_without_anything_to_try_the_first_recipe_is_taken() -> None:
    candidates = recipes(TRACK, LINE.model_copy(update={"line": [0.7, 0.5]}), 0.5, "down", None)
    best, trials = tune(candidates, [], CLASSES)
    assert best.rule.line == 0.7
    assert len(trials) == 0


class Knowing:
    """Stands for the detector: sees squares by their colours."""

    classes = CLASSES

    def __init__(self, folder: Path, threads: int = 0, score: float | None = None) -> None:
        assert (folder / "model.onnx").exists()

    def __call__(self, frames: Pixels) -> list[Detections]:
        return [self._look(frame) for frame in frames]

    def _look(self, frame: Pixels) -> Detections:
        boxes, labels = [], []
        for number in range(6):
            column = frame[:, 20 + 15 * number].astype(int)
            rows = np.flatnonzero(np.abs(column - 60).max(1) > 50)
            if len(rows) > 4:
                x = 20 + 15 * number
                boxes.append((x - 9, rows[0], x + 9, rows[-1] + 1))
                labels.append(int(column[rows[len(rows) // 2], 2] > 150))
        shape = np.array(boxes, np.float32).reshape(-1, 4)
        return Detections(shape, np.full(len(boxes), 0.9, np.float32), np.array(labels, np.int64))


def write_video(path: Path, true: pd.DataFrame) -> None:
    with VideoWriter(path, SIZE, SIZE, crf=10) as writer:
        for frame in range(1, FRAMES + 1):
            pixels = np.full((SIZE, SIZE, 3), 60, np.uint8)
            for row in true[true["frame"] == frame].to_dict("records"):
                colour = (200, 140, 40) if row["label"] == "bolt" else (60, 140, 230)
                # As narrow as the room between columns.
                x = int(row["x1"]) + 9
                pixels[int(row["y1"]) : int(row["y2"]), x - 5 : x + 6] = colour
            writer.write(pixels)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stages before leave, of a clip of each split."""
    monkeypatch.setattr("sightline.parts.track.Detector", Knowing)
    monkeypatch.setattr("sightline.parts.count.Detector", Knowing)
    (tmp_path / "audit").mkdir()
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector/model.onnx").write_bytes(b"graph")
    (tmp_path / "detector/config.json").write_text(json.dumps({"classes": CLASSES, "score": {"value": 0.5}}))
    clips, boxes = [], []
    for split in ("train", "val", "test"):
        true = truth(split)
        write_video(tmp_path / f"raw/images/{split}/{split}.mp4", true)
        boxes.append(true.assign(split=split, score=1.0, crowd=0, shown=1))
        source = f"images/{split}/{split}.mp4"
        clips.append((split, split, source, "video", 1, FRAMES, SIZE, SIZE, 30.0, 1))
    names = ["clip", "split", "source", "kind", "consecutive", "frames", "width", "height", "fps", "tracked"]
    pd.DataFrame(clips, columns=names).to_csv(tmp_path / "audit/clips.csv", index=False)
    pd.concat(boxes).to_csv(tmp_path / "audit/boxes.csv", index=False)
    frames = pd.DataFrame({"frame": np.tile(np.arange(1, FRAMES + 1), 3), "file": ""})
    frames.insert(0, "clip", np.repeat(["train", "val", "test"], FRAMES))
    frames.to_csv(tmp_path / "audit/frames.csv", index=False)
    return tmp_path


def run(folder: Path, settings: Track = TRACK, line: Line = LINE) -> None:
    video = Video(preset="ultrafast", crf=30, trace=5)
    inputs = (folder / "raw", folder / "audit", folder / "detector")
    track(*inputs, settings, line, video, 1, folder / "deployed", folder / "tracks")


def change(path: Path, **values: Any) -> None:
    table = pd.read_csv(path, keep_default_na=False)
    table.assign(**values).to_csv(path, index=False)


def test_the_stage_counts_val_and_test_and_deploys_what_it_counted_with(folders: Path) -> None:
    run(folders)
    for split in ("val", "test"):
        counts = json.loads((folders / f"tracks/{split}/counts.json").read_text())
        # The sixth enters too late to reach the line.
        assert counts["counts"] == {"bolt": 4, "nut": 1}
        assert counts["seen"] == {"bolt": 4, "nut": 2}
    detections = pd.read_csv(folders / "tracks/detections.csv")
    assert detections.columns.tolist() == ["split", "clip", "frame", "label", "score", *CORNERS]
    assert set(detections["split"]) == {"val", "test"}
    config = json.loads((folders / "deployed/config.json").read_text())
    assert config["chosen"]["motion_learned_on"] == "train"
    assert config["chosen"]["tried_on"] == "detections"
    deployed = load_deployed(folders / "deployed")
    assert deployed.classes == CLASSES
    assert deployed.recipe.prior is not None
    assert deployed.recipe.prior.direction == "down"
    assert deployed.recipe.prior.speed(0.5) * SIZE == pytest.approx(5, abs=0.1)


def test_the_stage_gives_the_same_bytes_twice(folders: Path) -> None:
    run(folders)
    before = {path: path.read_bytes() for name in ("tracks", "deployed") for path in (folders / name).rglob("*.*")}
    run(folders)
    assert len(before) > 10
    assert all(path.read_bytes() == content for path, content in before.items())


def test_without_tracks_detection_still_works_and_motion_is_constant(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folders / "audit/boxes.csv", track=-1)
    change(folders / "audit/clips.csv", tracked=0)
    run(folders)
    config = json.loads((folders / "deployed/config.json").read_text())
    assert config["tracking"]["prior"] is None
    assert config["chosen"]["tried_on"] == "nothing"
    assert "val has no true tracks" in capsys.readouterr().err
    assert json.loads((folders / "tracks/test/counts.json").read_text())["counts"] == {"bolt": 4, "nut": 1}


def test_where_train_has_no_tracks_motion_is_learned_from_val(folders: Path) -> None:
    boxes = pd.read_csv(folders / "audit/boxes.csv")
    change(folders / "audit/boxes.csv", track=boxes["track"].where(boxes["split"] != "train", -1))
    run(folders)
    assert json.loads((folders / "deployed/config.json").read_text())["chosen"]["motion_learned_on"] == "val"


def test_where_frames_of_val_do_not_follow_each_other_detections_are_simulated(folders: Path) -> None:
    clips = pd.read_csv(folders / "audit/clips.csv")
    change(folders / "audit/clips.csv", consecutive=(clips["split"] != "val").astype(int))
    run(folders, line=LINE.model_copy(update={"line": [0.5, 0.7]}))
    config = json.loads((folders / "deployed/config.json").read_text())
    assert config["chosen"]["tried_on"] == "simulated detections"
    assert len(pd.read_csv(folders / "tracks/tuning.csv")) == 2
    assert not (folders / "tracks/val").exists()
    assert (folders / "tracks/test").exists()


def test_a_task_without_recordings_to_track_in_is_said(folders: Path) -> None:
    change(folders / "audit/clips.csv", split="train")
    with pytest.raises(InputError, match="nothing to track"):
        run(folders)
    assert not (folders / "deployed").exists()


def test_boxes_of_a_table_are_found_by_frame() -> None:
    table = pd.DataFrame(
        {"frame": [3, 1, 3], "label": [0, 1, 1], "score": [0.2, 0.9, 0.8], **{name: [1.0, 2, 3] for name in CORNERS}}
    )
    found = by_frame(table, 4)
    assert [len(seen) for seen in found] == [1, 0, 2, 0]
    assert found[2].scores.tolist() == pytest.approx([0.8, 0.2])
