"""parts-audit: what does not fit is found, and a run that would train on it is stopped with what to change."""

import copy
import json
import runpy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sightline.core.errors import InputError
from sightline.params import load
from sightline.parts.audit import BOXES, Audit, audit, main
from sightline.parts.cli import app
from sightline.parts.params import Parts
from sightline.parts.synthetic import draw_dataset

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/data/parts"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
Lay = Callable[..., Path]
Fall = Callable[..., tuple[list[Any], dict[str, Any]]]


def audited(folder: Path, first_image_id: int = 1) -> Audit:
    return audit(folder, first_image_id, 3, workers=0)


def messages(found: Audit, severity: str, check: str | None = None) -> list[str]:
    rows = found.findings[found.findings["severity"] == severity]
    return rows.loc[rows["check"] == (check or rows["check"]), "message"].tolist()


def renumbered(coco: dict[str, Any], shift: int) -> dict[str, Any]:
    content = copy.deepcopy(coco)
    for image in content["images"]:
        image["id"] += shift
    for entry in content["annotations"]:
        entry["image_id"] += shift
    return content


def test_what_fits_is_without_error_or_warning_and_comes_out_as_tables(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    found = audited(lay_out("test", frames, coco))
    assert messages(found, "error") == messages(found, "warning") == []
    assert found.trouble() == ""
    assert found.classes == ("bolt", "nut")
    [clip] = found.clips.to_dict("records")
    expected = {"clip": "test", "kind": "video", "consecutive": 1, "frames": 60, "width": 128, "height": 128}
    expected |= {"source": "images/test/clip.mp4", "offset": 0, "boxes": len(coco["annotations"]), "tracked": 1}
    assert {name: clip[name] for name in expected} == expected
    assert list(found.boxes) == BOXES
    for row, entry in zip(
        found.boxes.itertuples(),
        sorted(coco["annotations"], key=lambda entry: (entry["image_id"], entry["track_id"])),
        strict=True,
    ):
        x, y, width, height = entry["bbox"]
        assert (row.frame, row.track, row.x1, row.y1) == (entry["image_id"], entry["track_id"], x, y)
        assert (row.x2, row.y2, row.shown, row.score) == (x + width, y + height, 1, 1)
    assert found.frames["frame"].tolist() == list(range(1, 61))
    assert found.figures()["clips"]["test"]["tracks_by_class"] == {
        name: len({entry["track_id"] for entry in coco["annotations"] if entry["category_id"] == number})
        for number, name in ((1, "bolt"), (2, "nut"))
    }


@pytest.mark.parametrize(("shift", "fitting"), [(-1, 0), (1, 2), (2, 3)])
def test_ids_that_start_elsewhere_stop_the_run_with_the_parameter_that_fits(
    fall: Fall, lay_out: Lay, shift: int, fitting: int
) -> None:
    frames, coco = fall()
    folder = lay_out("test", frames, renumbered(coco, shift))
    remedy = f"set parts.data.first_image_id to {fitting} (it is 1)"
    assert remedy in audited(folder).trouble()
    assert audited(folder, fitting).trouble() == ""


def test_ids_of_a_longer_recording_are_told_by_their_number_where_no_motion_can_tell(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall(12)
    folder = lay_out("test", frames, renumbered(coco, 750))
    assert "set parts.data.first_image_id to 751 (it is 1)" in audited(folder).trouble()
    assert audited(folder, 751).trouble() == ""


def test_where_only_one_clip_is_off_its_file_is_named(fall: Fall, lay_out: Lay) -> None:
    lay_out("train", *fall(seed=1))
    frames, coco = fall()
    folder = lay_out("test", frames, renumbered(coco, -1))
    assert "add 1 to each image_id in" in audited(folder).trouble()
    assert "instances_test.json" in audited(folder).trouble()


def test_a_lost_frame_stops_the_run(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall(120)
    folder = lay_out("test", frames[:60] + frames[61:], coco)
    assert "frames were lost or doubled" in audited(folder).trouble()


def test_another_size_stops_the_run(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall(10)
    folder = lay_out("test", [cv2.resize(frame, (96, 64)) for frame in frames], coco)
    assert "is 96x64 px" in audited(folder).trouble()
    assert "says 128x128" in audited(folder).trouble()


def test_an_unreadable_video_stops_the_run_and_the_others_are_still_seen(fall: Fall, lay_out: Lay) -> None:
    lay_out("train", *fall(seed=1))
    folder = lay_out("test", *fall(10))
    (folder / "images/test/clip.mp4").write_bytes(b"hello")
    found = audited(folder)
    assert "clip.mp4 is no video" in found.trouble()
    assert found.clips["frames"].tolist() == [60, 0]


def test_a_recording_that_ends_early_leaves_boxes_unshown(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    found = audited(lay_out("test", frames[:50], coco))
    late = sum(entry["image_id"] > 50 for entry in coco["annotations"])
    assert messages(found, "warning") == [
        "50 frames decode, 60 are listed",
        f"{late} of {len(coco['annotations'])} boxes are on frames without a picture",
    ]
    assert (found.boxes["shown"] == (found.boxes["frame"] <= 50)).all()
    assert found.clips["offset"].tolist() == [0]


def test_a_variable_frame_rate_is_said_and_frames_are_counted(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    folder = lay_out("test", frames, coco)
    with av.open(folder / "images/test/clip.mp4", "w") as out:
        stream = out.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p"
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = number + 20 * (number > 30), Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found = audited(folder)
    assert found.clips[["frames", "offset"]].to_numpy().tolist() == [[60, 0]]
    [warning] = messages(found, "warning")
    assert "1 frames are not 33 ms behind the one before" in warning


def test_pictures_with_gaps_keep_the_numbers_of_their_recording(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    numbers = [0, 10, 20, 21, 40]
    found = audited(lay_out("val", frames, coco, numbers=numbers))
    assert found.frames["frame"].tolist() == [number + 1 for number in numbers]
    assert found.frames["file"].tolist() == [f"{number:04d}.png" for number in numbers]
    [clip] = found.clips.to_dict("records")
    assert (clip["kind"], clip["consecutive"], clip["frames"]) == ("frames", 0, 5)
    assert set(found.boxes.loc[found.boxes["shown"] == 1, "frame"]) == {number + 1 for number in numbers}
    assert found.trouble() == ""
    assert any("cannot be judged" in message for message in messages(found, "note"))


def test_consecutive_pictures_under_the_wrong_names_stop_the_run(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    # As ffmpeg names them: 0001.png is the first, which the annotations call 0000.
    folder = lay_out("val", [frames[0], *frames[:-1]], coco, numbers=list(range(1, 60)))
    assert "its boxes belong 1 frame later" in audited(folder).trouble()
    assert "other file names" in audited(folder).trouble()


def test_pictures_that_are_not_listed_or_in_another_order_stop_the_run(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall(10)
    folder = lay_out("val", frames, coco, numbers=[1, 2, 3])
    (folder / "images/val/0003.png").rename(folder / "images/val/extra.png")
    assert "does not list extra.png" in audited(folder).trouble()
    content = json.loads((folder / "annotations/instances_val.json").read_text())
    content["images"][1]["file_name"], content["images"][2]["file_name"] = "0002.png", "0001.png"
    (folder / "annotations/instances_val.json").write_text(json.dumps(content))
    assert "in another order" in audited(folder).trouble()


def test_boxes_and_tracks_that_cannot_be_right_are_found(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    box = {"category_id": 1, "bbox": [10, 10, 20, 20]}
    coco["annotations"] += [
        {**box, "image_id": 2, "track_id": 90, "bbox": [-20, 10, 30, 20]},
        {**box, "image_id": 3, "track_id": 91, "bbox": [200, 10, 30, 20]},
        {**box, "image_id": 4, "track_id": 92, "bbox": [20, 10, 0, 20]},
        {**box, "image_id": 5, "track_id": 93},
        {**box, "image_id": 6, "track_id": 93, "category_id": 2},
        {**box, "image_id": 9, "track_id": 93},
        {**box, "image_id": 7},
    ]
    folder = lay_out("test", frames, coco)
    found = audited(folder)
    warnings = found.findings[found.findings["severity"] == "warning"].set_index("track")["message"].to_dict()
    assert "sticks out of the frame of 128x128 px: cut there" in warnings[90]
    assert "has no area in the frame of 128x128 px: left out" in warnings[91]
    assert "has no area" in warnings[92]
    assert warnings[93] == "track 93 changes its class: 2 bolt, 1 nut"
    assert "track 93 has no box between frames 6 and 9" in messages(found, "note", "gaps")
    assert f"1 of {len(found.boxes)} boxes have no track_id" in messages(found, "warning", "tracks")[0]
    assert set(found.boxes["track"]) & {90, 91, 92} == {90}
    assert found.boxes.set_index("track").loc[90, ["x1", "x2"]].tolist() == [0, 10]
    coco["annotations"].append({**box, "image_id": 5, "track_id": 93})
    lay_out("test", frames, coco)
    assert "track 93 has two boxes in frame 5" in audited(folder).trouble()


def test_missing_track_ids_are_said_and_the_run_goes_on(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    for entry in coco["annotations"]:
        del entry["track_id"]
    found = audited(lay_out("test", frames, coco))
    count = len(coco["annotations"])
    assert messages(found, "warning") == [
        f"{count} of {count} boxes have no track_id: tracks and counts cannot be judged on them"
    ]
    assert (found.clips["tracks"].tolist(), found.clips["tracked"].tolist()) == ([0], [0])
    assert found.clips["offset"].tolist() == [0]


def test_classes_are_matched_by_name_and_a_new_name_is_an_error(fall: Fall, lay_out: Lay) -> None:
    lay_out("train", *fall(10, seed=1))
    frames, coco = fall(10)
    before = audited(lay_out("test", frames, coco)).boxes
    coco["categories"] = [{"id": 5, "name": "nut"}, {"id": 9, "name": "bolt"}]
    for entry in coco["annotations"]:
        entry["category_id"] = {1: 9, 2: 5}[entry["category_id"]]
    found = audited(lay_out("test", frames, coco))
    pd.testing.assert_frame_equal(found.boxes, before)
    assert found.classes == ("bolt", "nut")
    coco["categories"][0]["name"] = "washer"
    folder = lay_out("test", frames, coco)
    with pytest.raises(InputError, match=r"instances_test\.json: .*instances_train\.json has no class washer"):
        audited(folder)


def test_annotations_of_another_recording_are_doubted(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    for entry in coco["annotations"]:
        entry["bbox"][0] = (entry["bbox"][0] + 64) % 108
    [warning] = messages(audited(lay_out("test", frames, coco)), "warning")
    assert "at no shift up to 3 the boxes are where something moves" in warning


def test_a_file_without_a_box_is_no_reason_to_fail(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall(10)
    found = audited(lay_out("test", frames, coco | {"annotations": []}))
    assert found.trouble() == ""
    assert messages(found, "warning", "class counts") == ["there is no bolt", "there is no nut"]
    assert list(found.boxes) == BOXES


def test_frames_without_parts_are_kept_and_counted(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall(30)
    coco["annotations"] = [entry for entry in coco["annotations"] if entry["image_id"] > 12]
    assert messages(audited(lay_out("test", frames, coco)), "note", "empty frames") == [
        "12 of 30 frames show no part: they are kept"
    ]


def test_a_recording_in_two_splits_stops_the_run_also_when_it_was_encoded_anew(fall: Fall, lay_out: Lay) -> None:
    frames, coco = fall()
    lay_out("train", frames, coco)
    folder = lay_out("test", frames, coco)
    assert "frames of test have the pixels of frames of train" in audited(folder).trouble()
    lay_out("test", [frame // 2 + 60 for frame in frames], renumbered(coco, 0))
    trouble = audited(folder).trouble()
    assert "pixels" not in trouble
    assert "frames of test have the boxes of frames of train" in trouble
    lay_out("test", *fall(seed=1))
    assert audited(folder).trouble() == ""


def test_things_that_rest_in_the_same_place_are_no_leak(fall: Fall, lay_out: Lay) -> None:
    still = {"category_id": 1, "bbox": [10, 100, 20, 20], "track_id": 1}
    for seed, split in enumerate(("train", "test")):
        frames, coco = fall(10, seed=seed)
        coco["annotations"] = [{**still, "image_id": number} for number in range(1, 11)]
        folder = lay_out(split, frames, coco)
    assert audited(folder).trouble() == ""


def test_several_recordings_of_a_split_are_told_by_the_folder_of_their_images(fall: Fall, lay_out: Lay) -> None:
    one, two = fall(40), fall(50, seed=1)
    both = copy.deepcopy(one[1])
    following = renumbered(two[1], 40)
    for name, content in (("one", both), ("two", following)):
        for image in content["images"]:
            image["file_name"] = f"{name}/{image['file_name']}"
    both["images"] += following["images"]
    both["annotations"] += following["annotations"]
    lay_out("test", one[0], both, name="one")
    found = audited(lay_out("test", two[0], both, name="two"))
    assert messages(found, "error") == messages(found, "warning") == []
    assert found.clips[["clip", "frames", "offset"]].to_numpy().tolist() == [["test-one", 40, 0], ["test-two", 50, 0]]


def run_main(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(ROOT)
    out, summary = tmp_path / "audit", tmp_path / "audit.json"
    main(folder, out, summary)
    return out, summary


def test_the_stage_writes_the_same_bytes_again(
    fall: Fall, lay_out: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out("test", *fall())
    lay_out("val", *fall(seed=2), numbers=list(range(0, 60, 7)))
    contents = []
    for _ in range(2):
        out, summary = run_main(folder, tmp_path, monkeypatch)
        contents.append({path.name: path.read_bytes() for path in [*out.iterdir(), summary]})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"clips.csv", "frames.csv", "boxes.csv", "findings.csv", "audit.json"}


def test_an_error_stops_the_stage_with_its_findings_said_and_nothing_written(
    fall: Fall, lay_out: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, coco = fall()
    folder = lay_out("test", frames, renumbered(coco, -1))
    with pytest.raises(InputError, match=r"parts\.data\.first_image_id to 0"):
        run_main(folder, tmp_path, monkeypatch)
    assert "error: test: its boxes belong 1 frame later" in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()
    assert not (tmp_path / "audit.json").exists()


def test_the_command_prints_figures_and_ends_with_one_where_something_is_wrong(
    fall: Fall, lay_out: Lay, tmp_path: Path
) -> None:
    frames, coco = fall()
    folder = lay_out("test", frames, renumbered(coco, -1))
    wrong = CliRunner().invoke(app, ["audit", str(folder), "--out", str(tmp_path / "found")])
    assert wrong.exit_code == 1
    assert "error" in pd.read_csv(tmp_path / "found/findings.csv")["severity"].tolist()
    right = CliRunner().invoke(app, ["audit", str(folder), "--first-image-id", "0"])
    assert right.exit_code == 0
    assert json.loads(right.stdout)["clips"]["test"]["offset"] == 0


@needs_shared
def test_official_annotations_are_checked_without_their_video(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_val.json").symlink_to(SHARED / "annotations/instances_val.json")
    found = audited(tmp_path)
    assert found.trouble() == ""
    assert messages(found, "warning") == ["there is no recording: only its annotations are checked"]
    # What the data's README.md says of them.
    assert messages(found, "note", "gaps") == [
        "track 50 has no box between frames 1011 and 1019",
        "track 51 has no box between frames 1024 and 1029",
    ]
    figures = found.figures()["clips"]["val"]
    assert figures["boxes_by_class"] == {"bolt": 3258, "nut": 759}
    assert figures["tracks_by_class"] == {"bolt": 72, "nut": 19}


@needs_shared
def test_the_sample_of_the_challenge_is_laid_out_and_fits(tmp_path: Path) -> None:
    prepare = runpy.run_path(str(ROOT / "docs/results/parts/prepare.py"))["prepare"]
    prepare(SHARED, tmp_path)
    found = audited(tmp_path)
    assert found.trouble() == ""
    clips = found.clips.set_index("clip")
    assert clips["frames"].to_dict() == {"train": 677, "val": 159, "test": 120}
    assert clips.loc["test", "offset"] == 0
    shown = found.boxes[found.boxes["shown"] == 1]
    counts = shown.groupby(["clip", "label"]).size()
    assert counts["train"].to_dict() == {"bolt": 1433, "nut": 362}
    assert counts["test"].to_dict() == {"bolt": 250, "nut": 69}
    # The pictures of val have YOLO labels as well, which say the same.
    labels = SHARED / "frames_every10/labels/val"
    for frame, own in shown[shown["clip"] == "val"].groupby("frame"):
        known = np.loadtxt(labels / f"{frame - 1:04d}.txt", ndmin=2)
        centres = own[["x1", "y1"]].to_numpy() / 2 + own[["x2", "y2"]].to_numpy() / 2
        np.testing.assert_allclose(np.sort(640 * known[:, 1:3], axis=0), np.sort(centres, axis=0), atol=0.01)


def test_the_drawn_videos_fit_and_a_shift_planted_in_them_is_found(tmp_path: Path) -> None:
    settings = load("parts", Parts, ROOT / "params.yaml").data.synthetic
    brief = {
        "train_seconds": 0.1,
        "train_videos": 1,
        "val_seconds": 0.1,
        "test_seconds": 4,
        "frame_size": 256,
        "parts_per_second": 3,
    }
    draw_dataset(tmp_path, settings.model_copy(update=brief), 2)
    found = audited(tmp_path)
    assert messages(found, "error") == []
    assert found.clips.set_index("clip").loc["test", "offset"] == 0
    path = tmp_path / "annotations/instances_test.json"
    drawn = json.loads(path.read_text())
    for shift in (-1, 1):
        path.write_text(json.dumps(renumbered(drawn, shift)))
        assert audited(tmp_path).clips.set_index("clip").loc["test", "offset"] == -shift
