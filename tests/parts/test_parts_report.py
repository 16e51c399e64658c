"""parts-evaluate and parts-report on a run whose videos, detections and tracks are made up."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.report import compile_report
from sightline.params import load
from sightline.parts import report as stage
from sightline.parts.count_figures import MISSED, WRONG_CLASS
from sightline.parts.evaluate import evaluate
from sightline.parts.motion import learn_prior
from sightline.parts.params import Parts
from sightline.parts.video import VideoWriter, open_frames

ROOT = Path(__file__).parents[2]
SIDE, FRAMES, CLASSES = 160, 150, ("bolt", "nut")
BOX = ["x1", "y1", "x2", "y2"]


def truth_of(clip: str, seed: int) -> pd.DataFrame:
    """Ten parts of 24 px that fall through ``SIDE`` px, faster and faster; every fourth is a nut."""
    rng = np.random.default_rng(seed)
    rows = []
    for track in range(1, 11):
        x, begins = rng.uniform(5, SIDE - 30), 1 + 14 * (track - 1)
        for n in range(40):
            y = 2.0 * n + 0.06 * n * n - 20
            if y < SIDE - 4 and begins + n <= FRAMES:
                box = np.clip([x, y, x + 24, y + 24], 0, SIDE)
                rows.append([clip, begins + n, track, "nut" if track % 4 == 0 else "bolt", *box])
    table = pd.DataFrame(rows, columns=["clip", "frame", "track", "label", *BOX])
    return table[table["y2"] > 1].assign(score=1.0, crowd=0, shown=1, split=clip)


def found_in(truth: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Detections that are a little off, some missing, some faint, and false ones."""
    rng = np.random.default_rng(seed)
    seen = truth[rng.random(len(truth)) < 0.9]
    found = seen.assign(score=rng.uniform(0.3, 1, len(seen)).round(3))
    found[BOX] = (found[BOX] + rng.normal(0, 1, (len(found), 4))).clip(0, SIDE)
    false = truth.sample(15, random_state=seed)[["split", "clip", "label"]]
    corner = rng.uniform(0, SIDE - 30, (len(false), 2))
    false[BOX] = np.c_[corner, corner + 24]
    false["frame"], false["score"] = rng.integers(1, FRAMES + 1, len(false)), rng.uniform(0.05, 0.7, len(false))
    return pd.concat([found, false], ignore_index=True)[["split", "clip", "frame", "label", "score", *BOX]]


@dataclass(frozen=True)
class Run:
    """A folder laid out as the repository is."""

    folder: Path
    parts: Parts

    def evaluate(self) -> dict[str, Any]:
        data = self.folder / "data"
        inputs = (data / "raw", data / "audit", data / "tracks", self.folder / "deployed")
        evaluate(*inputs, self.parts.evaluate, data / "errors", self.folder / "metrics")
        found: dict[str, Any] = read_json(self.folder / "metrics" / "metrics.json")
        return found

    def report(self) -> dict[str, Any]:
        """What went into the template."""
        paths = (self.folder / "data", self.folder / "deployed", self.folder / "metrics")
        with patch.object(stage, "compile_report", wraps=compile_report) as compiling:
            stage.report(*paths, self.parts, self.folder / "figures", self.folder / "report.pdf")
        told: dict[str, Any] = compiling.call_args.args[1]
        return told

    def table(self, path: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / path, keep_default_na=False)


def make_run(folder: Path) -> Run:
    """Val is counted right; in test the first part is not counted, and the second as a nut."""
    data = folder / "data"
    truth = {clip: truth_of(clip, seed) for seed, clip in enumerate(("val", "test"))}
    clips, detections = [], []
    for clip, boxes in truth.items():
        video = data / "raw/images" / clip / "a.mp4"
        write_video(video, boxes)
        tracks = boxes.assign(track=boxes["track"] + 20)
        crossing = boxes[(boxes["y1"] + boxes["y2"]) / 2 >= SIDE / 2].drop_duplicates("track")
        counted = pd.DataFrame(
            {"frame": crossing["frame"], "track": crossing["track"] + 20, "label": crossing["label"]}
        )
        if clip == "test":
            counted = counted.iloc[1:].assign(label=["nut", *counted["label"].iloc[2:]])
            tracks.loc[tracks["track"] == 22, "label"] = "nut"
        write_tracks(data / "tracks" / clip, tracks, counted.assign(number=range(1, len(counted) + 1)))
        shutil.copyfile(video, data / "tracks" / clip / "annotated.mp4")
        detections.append(found_in(boxes, len(clips)))
        row = {"clip": clip, "split": clip, "source": f"images/{clip}/a.mp4", "kind": "video", "consecutive": 1}
        clips.append(row | {"width": SIDE, "height": SIDE, "fps": 30, "tracked": 1})
    write_csv(data / "audit/clips.csv", pd.DataFrame(clips))
    frames = [pd.DataFrame({"clip": clip, "frame": range(1, FRAMES + 1), "file": ""}) for clip in truth]
    write_csv(data / "audit/frames.csv", pd.concat(frames))
    write_csv(data / "audit/boxes.csv", pd.concat(truth.values()))
    findings = [("test", "gaps", "note", 'track 3 has no box: #panic("no")', "", "")]
    columns = ["clip", "check", "severity", "message", "frame", "track"]
    write_csv(data / "audit/findings.csv", pd.DataFrame(findings, columns=columns))
    write_csv(data / "tracks/detections.csv", pd.concat(detections))
    prior = learn_prior(pd.concat(truth.values()), dict.fromkeys(truth, (SIDE, SIDE)))
    assert prior
    tracking = {"association": {"tracker": "bytetrack"}, "rule": {"line": 0.5, "direction": "down"}}
    chosen = {"motion_learned_on": "train", "tried_on": "detections"}
    config = {"classes": CLASSES, "score": {"value": 0.4}, "chosen": chosen}
    write_json(folder / "deployed/config.json", config | {"tracking": tracking | {"prior": prior.to_json()}})
    about = {
        "frames": FRAMES,
        "width": SIDE,
        "height": SIDE,
        "boxes": 9,
        "tracked": 1,
        "offset": 0,
        "truth_digest": "0",
    }
    about |= {"tracks_by_class": dict.fromkeys(CLASSES, 5)}
    write_json(folder / "metrics/audit.json", {"classes": CLASSES, "clips": dict.fromkeys(truth, about)})
    history = {"epoch": [1, 2], "lr": [0.1, 0.1], "box_loss": [2, 1], "val_map50": [0.1, 0.5], "val_map50_95": [0, 0.2]}
    write_csv(folder / "metrics/history.csv", pd.DataFrame(history))
    parts = load("parts", Parts, ROOT / "params.yaml")
    quick = parts.evaluate.model_copy(update={"resamples": 100, "pictures": 3})
    return Run(folder, parts.model_copy(update={"evaluate": quick}))


def write_video(path: Path, boxes: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True)
    with VideoWriter(path, SIDE, SIDE) as video:
        for frame in range(1, FRAMES + 1):
            pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
            for x1, y1, x2, y2 in boxes.loc[boxes["frame"] == frame, BOX].to_numpy(int):
                pixels[y1:y2, x1:x2] = 200
            video.write(pixels)


def write_tracks(folder: Path, tracks: pd.DataFrame, counted: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    rows = [
        f"{row.frame},{row.track},{row.x1},{row.y1},{row.x2 - row.x1},{row.y2 - row.y1},0.9,"
        f"{1 + CLASSES.index(str(row.label))},-1\n"
        for row in tracks.itertuples()
    ]
    (folder / "tracks.txt").write_text("".join(rows))
    write_csv(folder / "certificate.csv", counted[["number", "frame", "track", "label"]])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def measured(run: Run) -> dict[str, Any]:
    return run.evaluate()


@pytest.fixture(scope="module")
def told(run: Run, measured: dict[str, Any]) -> dict[str, Any]:
    return run.report()


def test_what_went_wrong_in_test_and_not_in_val_is_told(run: Run, measured: dict[str, Any]) -> None:
    assert measured["val"]["hota"]["value"] == pytest.approx(1)
    assert measured["val"]["count_error"]["value"] == 0
    crossed = measured["count"]["true"]
    assert crossed == measured["val"]["count"]["true"]
    # One bolt was missed, another is a nut now: two bolts too few and a nut too many.
    assert measured["count_error"]["value"] == pytest.approx(3 / crossed, abs=1e-6)
    assert measured["count_bias"]["value"] == pytest.approx(-1 / crossed, abs=1e-6)
    table = run.table("metrics/count_errors.csv")
    assert table[["split", "cause", "true_track"]].to_numpy().tolist() == [
        ["test", MISSED, 1],
        ["test", WRONG_CLASS, 2],
    ]


def test_a_track_of_the_wrong_class_matches_nothing_unless_classes_are_left_out(measured: dict[str, Any]) -> None:
    assert measured["class_agnostic"]["hota"]["value"] == pytest.approx(1)
    assert measured["hota"]["value"] < 1
    boxes = measured["boxes"]
    # The boxes of the second part are missed once as bolts and false once as nuts.
    of_part = measured["fn"]["value"]
    assert measured["fp"]["value"] == of_part
    assert measured["mota"]["value"] == pytest.approx(1 - 2 * of_part / sum(boxes.values()), abs=1e-6)


def test_figures_have_intervals_over_stretches_and_parts(measured: dict[str, Any]) -> None:
    for name in ("map50", "map50_95", "detection_recall", "hota", "mota", "idf1"):
        figure = measured[name]
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert figure["n"] == measured["stretches"] >= 3
    assert measured["count_error"]["n"] == measured["miscounted"]["n"] == measured["count"]["true"]


def test_plain_sort_stands_beside_ours_on_the_same_detections(measured: dict[str, Any]) -> None:
    sort, gain = measured["baseline"]["sort"], measured["difference"]["ours_minus_sort"]
    assert sort["hota"]["value"] < measured["hota"]["value"]
    assert gain["hota"]["value"] == pytest.approx(measured["hota"]["value"] - sort["hota"]["value"], abs=2e-6)
    assert sort["count"]["counted"] > measured["count"]["counted"]


def test_each_error_of_the_count_has_a_picture_and_so_have_the_worst_frames(run: Run, measured: dict[str, Any]) -> None:
    pictures = run.table("data/errors/pictures.csv")
    assert pictures["file"].str.startswith("count_").sum() == 2
    assert len(pictures) == 2 + run.parts.evaluate.pictures
    assert {path.name for path in (run.folder / "data/errors").glob("*.jpg")} == set(pictures["file"])
    boxes = run.table("data/errors/boxes.csv")
    wrong = boxes.groupby(["clip", "frame"]).size()
    shown = pictures[pictures["file"].str.startswith("boxes_")].iloc[0]
    assert wrong[(shown["clip"], shown["frame"])] == wrong.max()


def test_the_pdf_holds_the_figures_of_metrics_json(run: Run, measured: dict[str, Any], told: dict[str, Any]) -> None:
    pages = PdfReader(run.folder / "report.pdf").pages
    assert 4 <= len(pages) <= 8
    text = " ".join("\n".join(page.extract_text() for page in pages).split()).replace("−", "-")
    trees = (measured, measured["val"], measured["baseline"]["sort"])
    shown = [tree[name] for tree in trees for name in ("hota", "idf1")]
    shown += [measured[name] for name in ("map50", "map50_95", "detection_recall", "count_error", "count_bias")]
    shown += [measured["by_class"]["nut"]["ap50"], measured["difference"]["ours_minus_sort"]["hota"]]
    for figure in shown:
        for key in ("value", "low", "high"):
            assert f"{figure[key]:.3f}" in text
    assert '#panic("no")' in text
    assert MISSED in text


def test_the_same_run_gives_the_same_bytes_again(run: Run, told: dict[str, Any], tmp_path: Path) -> None:
    again = make_run(tmp_path)
    again.evaluate()
    again.report()
    for folder in ("metrics", "data/errors", "figures"):
        files = sorted(path for path in (run.folder / folder).rglob("*") if path.is_file())
        assert files
        for path in files:
            assert path.read_bytes() == (tmp_path / path.relative_to(run.folder)).read_bytes()
    assert (run.folder / "report.pdf").read_bytes() == (tmp_path / "report.pdf").read_bytes()


def test_without_track_ids_detection_is_measured_and_the_reason_said(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name, column, value in (("clips", "tracked", 0), ("boxes", "track", -1)):
        path = run.folder / f"data/audit/{name}.csv"
        table = pd.read_csv(path)
        table.loc[table["split"] == "test", column] = value
        write_csv(path, table)
    measured = run.evaluate()
    assert measured["map50"]["value"] > 0.5
    assert "hota" not in measured
    assert "count" not in measured
    for name in ("hota", "mota", "idf1", "count_error"):
        assert measured["absent"][name] == "test: the annotations have boxes without a track_id"
    assert "hota" in measured["val"]
    told = run.report()
    assert told["tracking"]["absent"] == told["count"]["absent"] == measured["absent"]["hota"]


def test_frames_that_do_not_follow_each_other_are_measured_by_the_detector_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    audit = run.folder / "data/audit"
    clips, frames = pd.read_csv(audit / "clips.csv"), pd.read_csv(audit / "frames.csv")
    clips.loc[clips["clip"] == "val", "consecutive"] = 0
    write_csv(audit / "clips.csv", clips)
    write_csv(audit / "frames.csv", frames[(frames["clip"] == "test") | (frames["frame"] % 10 == 0)])
    keep_every_tenth(run.folder / "data/raw/images/val/a.mp4")
    shutil.rmtree(run.folder / "data/tracks/val")
    measured = run.evaluate()
    assert "frames are missing" in measured["val"]["absent"]["hota"]
    assert measured["val"]["frames"] == FRAMES // 10
    assert "map50" in measured["val"]
    run.report()


def keep_every_tenth(video: Path) -> None:
    with open_frames(video) as frames:
        kept = [pixels for number, pixels in enumerate(frames, start=1) if number % 10 == 0]
    with VideoWriter(video, SIDE, SIDE) as writer:
        for pixels in kept:
            writer.write(pixels)


def test_a_run_that_lacks_something_is_told_so(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run.folder / "data/tracks/test/certificate.csv").unlink()
    with pytest.raises(InputError, match=r"certificate\.csv cannot be read"):
        run.evaluate()
    clips = pd.read_csv(run.folder / "data/audit/clips.csv")
    write_csv(run.folder / "data/audit/clips.csv", clips[clips["clip"] == "val"])
    with pytest.raises(InputError, match="no clip of test"):
        run.evaluate()
    write_json(run.folder / "deployed/config.json", {"classes": CLASSES})
    with pytest.raises(InputError, match="does not hold what parts-track leaves"):
        run.evaluate()
