"""What became of each box of a frame, and frames that are numbered as the annotations number them."""

from pathlib import Path

import numpy as np
import pandas as pd

from sightline.core.files import write_csv
from sightline.parts.mistakes import draw, judge_boxes
from sightline.parts.scenes import read_scenes

A, B, FAR, CROWD = (10.0, 10.0, 50.0, 50.0), (100.0, 10.0, 140.0, 50.0), (300.0, 300.0, 340.0, 340.0), (200, 0, 300, 90)
BOX = ["x1", "y1", "x2", "y2"]


def table(rows: list[tuple[object, ...]], last: str) -> pd.DataFrame:
    return pd.DataFrame([("a", *row) for row in rows], columns=["clip", "frame", "label", *BOX, last])


def test_a_box_is_right_of_the_wrong_class_false_or_missed() -> None:
    truth = table([(1, "bolt", *A, 0), (1, "nut", *B, 0), (1, "bolt", *CROWD, 1), (2, "bolt", *A, 0)], "crowd")
    in_crowd, twice = (210.0, 10.0, 250.0, 50.0), (11.0, 12.0, 51.0, 52.0)
    found = table(
        [
            (1, "bolt", *A, 0.9),
            (1, "bolt", *B, 0.8),
            (1, "bolt", *FAR, 0.7),
            (1, "bolt", *in_crowd, 0.9),
            (1, "bolt", *twice, 0.9),
            (2, "bolt", *A, 0.2),
            (3, "nut", *FAR, 0.9),
        ],
        "score",
    )
    judged = judge_boxes(truth, found, 0.5)
    assert judged[["frame", "verdict", "label", "true_label"]].to_numpy().tolist() == [
        [1, "right", "bolt", "bolt"],
        [1, "wrong class", "bolt", "nut"],
        [1, "false", "bolt", ""],
        [1, "false", "bolt", ""],
        [2, "missed", "", "bolt"],
        [3, "false", "nut", ""],
    ]
    frame = np.zeros((400, 400, 3), np.uint8)
    drawn = draw(frame, judged[judged["frame"] == 1])
    assert not frame.any()
    green, red = drawn[50, 20].astype(int), drawn[340, 320].astype(int)
    assert green.argmax() == 1
    assert red.argmax() == 0


def test_pictures_of_some_frames_keep_the_numbers_that_they_have_in_the_annotations(tmp_path: Path) -> None:
    """A folder of pictures that begins with frame 11 of its recording: trackers count what they read from 1."""
    audit, tracks = tmp_path / "audit", tmp_path / "tracks"
    clip = {"clip": "test", "split": "test", "source": "images/test", "kind": "frames", "consecutive": 1, "tracked": 1}
    write_csv(audit / "clips.csv", pd.DataFrame([clip | {"width": 640, "height": 480, "fps": 30}]))
    frames = pd.DataFrame({"clip": "test", "frame": [11, 12, 13], "file": ["10.jpg", "11.jpg", "12.jpg"]})
    write_csv(audit / "frames.csv", frames)
    truth = table([(12, "nut", *A, 0), (99, "nut", *A, 0)], "crowd").assign(clip="test", track=1, split="test")
    write_csv(audit / "boxes.csv", truth)
    write_csv(tracks / "detections.csv", table([(12, "nut", *A, 0.9)], "score").assign(clip="test", split="test"))
    (tracks / "test").mkdir()
    (tracks / "test/tracks.txt").write_text("2,7,10,10,40,40,0.9,2,-1\n")
    write_csv(
        tracks / "test/certificate.csv", pd.DataFrame({"number": [1], "frame": [3], "track": [7], "label": ["nut"]})
    )
    (scene,) = read_scenes(audit, tracks, ("bolt", "nut"))
    assert scene.tracks[["frame", "track", "label", *BOX]].to_numpy().tolist() == [[12, 7, "nut", *A]]
    assert scene.counted["frame"].tolist() == [13]
    assert scene.truth["frame"].tolist() == [12]
    assert (scene.width, scene.height, scene.why_untracked) == (640, 480, "")
