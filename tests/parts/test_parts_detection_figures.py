"""Average precision against pycocotools' own sums, and stretches of video against what they promise."""

import io
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.parts.detection_figures import at_threshold, average_precisions, match, precision_recall_table
from sightline.parts.stretches import Stretch, cut_into_stretches, stretch_of

CLASSES = ("bolt", "nut")
COLUMNS = ["clip", "frame", "label", "x1", "y1", "x2", "y2"]


def drawn(seed: int, frames: int = 40, crowds: bool = False) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Frames, true boxes, and detections that are off, missing, of another class, false, and of equal scores."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for frame in range(1, frames + 1):
        for _ in range(rng.integers(0, 4)):
            label, corner, size = str(rng.choice(CLASSES)), rng.uniform(0, 500, 2), rng.uniform(20, 90, 2)
            truth.append(["a", frame, label, *corner, *(corner + size), int(crowds and rng.random() < 0.2)])
            if rng.random() < 0.85:
                off = rng.normal(0, 4, 4)
                said = label if rng.random() < 0.9 else str(rng.choice(CLASSES))
                found.append(["a", frame, said, *(np.r_[corner, corner + size] + off), rng.integers(1, 20) / 20])
        if rng.random() < 0.3:
            corner = rng.uniform(0, 500, 2)
            found.append(["a", frame, str(rng.choice(CLASSES)), *corner, *(corner + 40), rng.integers(1, 20) / 20])
    numbers = pd.DataFrame({"clip": "a", "frame": np.arange(1, frames + 1)})
    return numbers, pd.DataFrame(truth, columns=[*COLUMNS, "crowd"]), pd.DataFrame(found, columns=[*COLUMNS, "score"])


def by_pycocotools(frames: pd.DataFrame, truth: pd.DataFrame, found: pd.DataFrame, clips: list[str]) -> np.ndarray:
    """Its twelve figures; a clip may be named several times, and is then there as often."""
    images, boxes, results = [], [], []
    for number, clip in enumerate(clips):
        images += [{"id": number * 1000 + frame} for frame in frames.loc[frames["clip"] == clip, "frame"]]
        for table, rows in ((truth, boxes), (found, results)):
            for row in table[table["clip"] == clip].to_dict("records"):
                size = [row["x2"] - row["x1"], row["y2"] - row["y1"]]
                entry = {"image_id": number * 1000 + row["frame"], "category_id": 1 + CLASSES.index(row["label"])}
                entry |= {"bbox": [row["x1"], row["y1"], *size], "area": size[0] * size[1], "id": len(rows) + 1}
                rows.append(entry | {"iscrowd": row.get("crowd", 0), "score": row.get("score", 1)})
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": boxes, "categories": [{"id": 1}, {"id": 2}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_pycocotools(seed: int, crowds: bool) -> None:
    tables = drawn(seed, crowds=crowds)
    ours = average_precisions(match(*tables, CLASSES), np.ones(len(tables[0])))
    theirs = by_pycocotools(*tables, ["a"])
    assert (ours["map50_95"], ours["map50"]) == pytest.approx((theirs[0], theirs[1]), abs=1e-12)


def test_a_frame_of_weight_two_is_a_frame_that_is_there_twice() -> None:
    parts = [drawn(seed) for seed in range(3)]
    frames, truth, found = (
        pd.concat([table.assign(clip=name) for name, table in zip("abc", column, strict=True)], ignore_index=True)
        for column in zip(*parts, strict=True)
    )
    # Equal scores are sorted by frame, so that frames that are there twice would come out a little differently.
    found["score"] += np.random.default_rng(0).uniform(0, 1e-3, len(found))
    weights = frames["clip"].map({"a": 2.0, "b": 0.0, "c": 1.0}).to_numpy()
    ours = average_precisions(match(frames, truth, found, CLASSES), weights)
    theirs = by_pycocotools(frames, truth, found, ["a", "a", "c"])
    assert (ours["map50_95"], ours["map50"]) == pytest.approx((theirs[0], theirs[1]), abs=5e-3)


def test_a_perfect_detector_and_none_at_all() -> None:
    frames, truth, _ = drawn(0)
    perfect = average_precisions(match(frames, truth, truth.assign(score=0.9), CLASSES), np.ones(len(frames)))
    assert set(perfect.values()) == {1.0}
    nothing = match(frames, truth, truth[:0].assign(score=0.9), CLASSES)
    assert set(average_precisions(nothing, np.ones(len(frames))).values()) == {0.0}
    assert at_threshold(nothing, 0.5, np.ones(len(frames))) == {"detection_recall": 0.0}


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    frames, truth, _ = drawn(1)
    bolts = truth[truth["label"] == "bolt"]
    found = average_precisions(match(frames, bolts, bolts.assign(score=0.5), CLASSES), np.ones(len(frames)))
    assert found == {"map50": 1.0, "map50_95": 1.0, "ap50 bolt": 1.0, "ap50_95 bolt": 1.0}


def test_recall_and_precision_at_a_score_are_those_one_counts() -> None:
    frames = pd.DataFrame({"clip": "a", "frame": [1, 2]})
    square = (0.0, 0.0, 10.0, 10.0)
    truth = pd.DataFrame([("a", 1, "bolt", *square), ("a", 2, "nut", *square)], columns=COLUMNS)
    found = pd.DataFrame(
        [("a", 1, "bolt", *square, 0.9), ("a", 2, "bolt", *square, 0.8), ("a", 2, "nut", *square, 0.3)],
        columns=[*COLUMNS, "score"],
    )
    matched = match(frames, truth, found, CLASSES)
    assert at_threshold(matched, 0.5, np.ones(2)) == {"detection_precision": 0.5, "detection_recall": 0.5}
    assert at_threshold(matched, 0.5, np.array([1.0, 0.0])) == {"detection_precision": 1.0, "detection_recall": 1.0}
    table = precision_recall_table(matched, 2)
    assert set(table["label"]) == set(CLASSES)
    # The bolts' curve ends at full recall with the first detection; the false one after it costs nothing.
    assert table.loc[(table["label"] == "bolt") & (table["iou"] == 0.5), "precision"].tolist() == pytest.approx(
        [1.0] * 101
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("frames", [1, 2, 3, 44, 45, 90, 451])
def test_stretches_cover_a_clip_once_and_are_long_enough(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    truth = pd.DataFrame({"clip": "a", "frame": rng.integers(5, 5 + frames, 300)})
    cut = cut_into_stretches(truth, Stretch("a", 5, 4 + frames), 45)
    covered = [frame for stretch in cut for frame in range(stretch.first, stretch.last + 1)]
    assert covered == list(range(5, 5 + frames))
    assert len(cut) >= min(2, frames)
    assert all(stretch.frames >= min(45, max(frames // 2, 1)) for stretch in cut)
    numbers = stretch_of(truth, cut)
    assert all(cut[n].first <= frame <= cut[n].last for n, frame in zip(numbers, truth["frame"], strict=True))


def test_stretches_are_cut_where_nothing_is_seen() -> None:
    truth = pd.DataFrame({"clip": "a", "frame": [frame for frame in range(1, 201) if frame % 60 > 3]})
    begins = [stretch.first for stretch in cut_into_stretches(truth, Stretch("a", 1, 200), 45)]
    assert begins[1:] == [61, 121]
