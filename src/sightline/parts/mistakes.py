"""Frames in which something went wrong, drawn: green boxes are right, orange ones were missed, red ones are false or of
the wrong class; counts that went wrong have a picture of their own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from sightline.core.boxes import areas, intersections, iou
from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import Pixels
from sightline.core.report import write_photo
from sightline.parts.count_figures import RIGHT
from sightline.parts.scenes import Scene
from sightline.parts.video import open_frames

BOX = ["x1", "y1", "x2", "y2"]
COLUMNS = ["clip", "frame", "verdict", "label", "true_label", "score", *BOX]
PICTURES = ["file", "clip", "frame", "what"]


def draw_mistakes(
    raw: Path, scenes: Sequence[Scene], verdicts: pd.DataFrame, threshold: float, most: int, out: Path
) -> None:
    """Write the folder ``out``: ``parts.csv``, ``boxes.csv``, ``pictures.csv`` and the pictures that it lists.

    ``parts.csv`` is the verdict on every part, ``boxes.csv`` every box that is not right. Each error of the count has
    a picture of the frame in which the line was crossed. Of frames with errors of the detector ``most`` at most are
    drawn, those with most errors, ``APART`` frames or more from each other.

    Args:
        raw: the folder that ``sources`` of the scenes lie in.
        scenes: clips with what was found in them.
        verdicts: as :func:`sightline.parts.count_figures.judge` gives them.
        threshold: of the detector.
        most: frames with errors of the detector that are drawn.
        out: replaced whole.
    """
    boxes = pd.concat([judge_boxes(scene.truth, scene.detections, threshold) for scene in scenes], ignore_index=True)
    pictures = pd.concat([_of_counts(verdicts), _of_boxes(boxes, most)], ignore_index=True)
    with replacing_folder(out) as part:
        write_csv(part / "parts.csv", verdicts)
        write_csv(part / "boxes.csv", boxes[boxes["verdict"] != RIGHT])
        write_csv(part / "pictures.csv", pictures)
        for scene in scenes:
            asked = pictures[pictures["clip"] == scene.name]
            # A crossing that is traced back need not fall into a frame.
            places = np.searchsorted(scene.frames, asked["frame"]).clip(max=len(scene.frames) - 1)
            for place, pixels in _frames(raw / scene.source, set(places.tolist())):
                drawn = draw(pixels, boxes[(boxes["clip"] == scene.name) & (boxes["frame"] == scene.frames[place])])
                for file in asked["file"][places == place]:
                    write_photo(part / file, drawn, LONGEST)


def judge_boxes(truth: pd.DataFrame, detections: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """What became of each box of one clip: COLUMNS, ``verdict`` is right, wrong class, false or missed.

    Boxes of a frame are paired one to one at an IoU of 0.5 or more, whatever their class, so that they overlap most.
    What was found and has half of its area or more in a crowd is neither right nor wrong. A box is that which was
    found, or the true one that was missed.
    """
    sure = detections[detections["score"] >= threshold]
    known_in, found_in = (dict(tuple(table.groupby("frame"))) for table in (truth, sure))
    rows: list[list[Any]] = []
    for frame in np.union1d(truth["frame"], sure["frame"]):
        known, found = known_in.get(frame, truth[:0]), found_in.get(frame, sure[:0])
        is_crowd = known["crowd"].to_numpy() == 1
        known, crowds = known[~is_crowd], known[is_crowd][BOX].to_numpy(np.float64)
        boxes = found[BOX].to_numpy(np.float64)
        overlaps = iou(boxes, known[BOX].to_numpy(np.float64))
        overlaps[overlaps < MATCH_IOU] = 0
        pairs = dict(zip(*linear_sum_assignment(overlaps, maximize=True), strict=True))
        pairs = {row: column for row, column in pairs.items() if overlaps[row, column]}
        in_crowd = np.any(intersections(boxes, crowds) >= areas(boxes)[:, None] / 2, axis=1)
        for row, box in enumerate(found.to_dict("records")):
            true = str(known["label"].iloc[pairs[row]]) if row in pairs else ""
            verdict = RIGHT if true == box["label"] else WRONG_CLASS if true else FALSE
            if true or not in_crowd[row]:
                rows.append([box["clip"], frame, verdict, box["label"], true, box["score"], *(box[x] for x in BOX)])
        missed = known.drop(known.index[list(pairs.values())]).to_dict("records")
        rows += [[box["clip"], frame, MISSED, "", box["label"], np.nan, *(box[x] for x in BOX)] for box in missed]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(image: Pixels, boxes: pd.DataFrame) -> Pixels:
    """A copy of a frame, uint8 RGB, with the boxes of it that :func:`judge_boxes` lists."""
    drawn = image.copy()
    for box in boxes.to_dict("records"):
        colour = COLOURS[box["verdict"]]
        (left, top), (right, bottom) = ((round(box[x]), round(box[y])) for x, y in (("x1", "y1"), ("x2", "y2")))
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, 2)
        words = {
            RIGHT: f"{box['label']} {box['score']:.2f}",
            WRONG_CLASS: f"{box['label']} {box['score']:.2f}, is {box['true_label']}",
            FALSE: f"false {box['label']} {box['score']:.2f}",
            MISSED: f"missed {box['true_label']}",
        }[box["verdict"]]
        place = (max(left, 2), top - 5 if top > 18 else min(bottom + 15, image.shape[0] - 4))
        for ink, width in (((0, 0, 0), 3), (colour, 1)):
            cv2.putText(drawn, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, width, cv2.LINE_AA)
    return drawn


def _of_counts(verdicts: pd.DataFrame) -> pd.DataFrame:
    wrong = verdicts[verdicts["cause"] != RIGHT]
    rows = [
        [f"count_{number:03d}.jpg", row["clip"], row["frame"], f"{row['cause']}: {row['label'] or row['true_label']}"]
        for number, row in enumerate(wrong.to_dict("records"), start=1)
    ]
    return pd.DataFrame(rows, columns=PICTURES)


def _of_boxes(boxes: pd.DataFrame, most: int) -> pd.DataFrame:
    """The frames with the most errors, none beside another."""
    wrong = boxes[boxes["verdict"] != RIGHT]
    chosen: list[tuple[str, int]] = []
    for clip, frame in wrong.groupby(["clip", "frame"]).size().sort_values(ascending=False, kind="stable").index:
        if len(chosen) == most:
            break
        if all(clip != other or abs(frame - its) >= APART for other, its in chosen):
            chosen.append((clip, frame))
    rows = []
    for number, (clip, frame) in enumerate(chosen, start=1):
        own = wrong[(wrong["clip"] == clip) & (wrong["frame"] == frame)]["verdict"].value_counts()
        what = ", ".join(f"{count} {verdict}" for verdict, count in own.items())
        rows.append([f"boxes_{number:03d}.jpg", clip, frame, what])
    return pd.DataFrame(rows, columns=PICTURES)


def _frames(source: Path, places: set[int]) -> Iterator[tuple[int, Pixels]]:
    """The frames at some places, counted from 0; nothing is read beyond the last of them."""
    if not places:
        return
    with open_frames(source) as frames:
        for place, pixels in enumerate(frames):
            if place in places:
                yield place, pixels
            if place == max(places):
                return


WRONG_CLASS, FALSE, MISSED = "wrong class", "false", "missed"
COLOURS = {RIGHT: (90, 220, 90), WRONG_CLASS: (255, 70, 60), FALSE: (255, 70, 60), MISSED: (255, 160, 40)}
MATCH_IOU, APART, LONGEST = 0.5, 15, 900
