"""Stage ``parts-frames``: the frames that the detector learns from, in one file, as it sees them.

Neighbouring frames of a video are nearly the same picture, so one of a few is taken; they never lie on both sides of a
split, since a split consists of whole recordings. ``labels.csv`` holds the objects as YOLO has them: row (of the pack),
label, cx, cy, w, h, as shares of the square.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pandas as pd
import typer

from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.images import Pixels
from sightline.core.packs import Pack, write_pack
from sightline.core.progress import progress
from sightline.core.sheets import contact_sheet, write_png
from sightline.params import load
from sightline.parts import params
from sightline.parts.annotations import read_coco
from sightline.parts.layout import Clip, read_layout
from sightline.parts.letterbox import fit, scales
from sightline.parts.video import open_frames

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    audit: Annotated[Path, Option],
    out: Annotated[Path, Option],
    sheet: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`pack_frames`."""
    pack_frames(raw, audit, load("parts", params.Parts).frames, out, sheet)


def pack_frames(raw: Path, audit: Path, settings: params.Frames, out: Path, sheet: Path) -> None:
    """Pack frames of the splits 'train' and 'val' with their objects.

    Of frames in succession every ``every``-th is taken; where only some frames of a recording were kept as pictures,
    all of them are. Empty ones are thinned out in 'train' alone: what is measured on 'val' should be what a video is
    like.

    Args:
        raw: the layout that ``parts-source`` leaves.
        audit: what ``parts-audit`` leaves.
        settings: ``parts.frames``.
        out: the pack: ``images.npy``, ``manifest.csv`` (split, name of the clip, frame, photo, width, height, objects),
            ``labels.csv`` and ``classes.json``.
        sheet: a picture of some of them (PNG).

    Raises:
        InputError: there is nothing to learn from, or nothing to validate on.
    """
    clips = [clip for clip in read_layout(raw) if clip.split in ("train", "val") and clip.source is not None]
    for split in ("train", "val"):
        if split not in {clip.split for clip in clips}:
            raise InputError(f"{raw}/images/{split} holds neither a video nor pictures: the detector needs some")
    boxes = pd.read_csv(audit / "boxes.csv", keep_default_na=False, dtype={"clip": str, "label": str})
    boxes = boxes[boxes["crowd"] == 0]
    frames = pd.read_csv(audit / "frames.csv", keep_default_na=False, dtype={"clip": str, "file": str})
    chosen = {clip.name: _choose(clip, frames, boxes, settings) for clip in clips}
    if not any(boxes["clip"].eq(clip.name).any() for clip in clips if clip.split == "train"):
        raise InputError(f"{clips[0].annotations}: there is no object to learn from")
    with replacing_folder(out) as part:
        total = sum(map(len, chosen.values()))
        with progress(_pieces(clips, chosen, settings.input_size), "packing frames", total, "frame") as pieces:
            pack = write_pack(part, settings.input_size, pieces)
        labels = _labels(pack, boxes, settings.input_size)
        write_csv(part / "labels.csv", labels)
        write_json(part / "classes.json", read_coco(clips[0].annotations).classes)
        write_png(sheet, _sheet(pack, labels))


def _choose(
    clip: Clip, frames: pd.DataFrame, boxes: pd.DataFrame, settings: params.Frames
) -> dict[int, dict[str, Any]]:
    """The rows of the manifest for a clip, by the place of the frame in the recording, from 0."""
    own = frames[frames["clip"] == clip.name].reset_index(drop=True)
    numbers = own["frame"]
    if (numbers.diff().dropna() == 1).all():
        own = own[(numbers - 1) % settings.every == 0]
    objects = boxes[boxes["clip"] == clip.name].groupby("frame").size()
    own = own.assign(objects=own["frame"].map(objects).fillna(0).astype(int))
    if clip.split == "train":
        # Evenly spread: of n empty frames those at which the share of them reaches the next whole number.
        empty = own["objects"] == 0
        due = np.floor(empty.to_numpy().cumsum() * settings.empty)
        own = own[~empty | (np.diff(due, prepend=0) > 0)]
    rows = {}
    for place, row in zip(own.index, own.to_dict("records"), strict=True):
        rows[int(place)] = {
            "split": clip.split,
            "name": clip.name,
            "frame": row["frame"],
            "photo": row["file"],
            "objects": row["objects"],
        }
    return rows


def _pieces(
    clips: list[Clip], chosen: dict[str, dict[int, dict[str, Any]]], size: int
) -> Iterator[tuple[Pixels, list[dict[str, Any]]]]:
    for clip in clips:
        assert clip.source is not None
        rows, waiting = chosen[clip.name], dict[int, Pixels]()
        with open_frames(clip.source) as frames:
            sides = {"width": frames.width, "height": frames.height}
            for place, frame in enumerate(frames):
                if place in rows:
                    waiting[place] = fit(frame, size)
                if len(waiting) == PIECE:
                    yield np.stack(list(waiting.values())), [rows[place] | sides for place in waiting]
                    waiting.clear()
        if waiting:
            yield np.stack(list(waiting.values())), [rows[place] | sides for place in waiting]


def _labels(pack: Pack, boxes: pd.DataFrame, size: int) -> pd.DataFrame:
    manifest = pack.manifest.reset_index(names="row")[["row", "name", "frame", "width", "height"]]
    found = manifest.merge(boxes, left_on=["name", "frame"], right_on=["clip", "frame"], how="inner")
    shrunk = (
        np.stack([scales(width, height, size) for width, height in found[["width", "height"]].to_numpy()])
        if len(found)
        else 1
    )
    corners = found[["x1", "y1", "x2", "y2"]].to_numpy() * shrunk / size
    numbers = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    table = pd.DataFrame(numbers, columns=["cx", "cy", "w", "h"])
    return pd.concat([found[["row", "label"]], table], axis=1)


def _sheet(pack: Pack, labels: pd.DataFrame) -> Pixels:
    names = sorted(labels["label"].unique())
    rows = np.unique(np.linspace(0, len(pack) - 1, SHOWN).astype(int))
    looks = []
    for row in rows:
        look = np.array(pack.images[row])
        for box in labels[labels["row"] == row].itertuples():
            centre, half = np.array([box.cx, box.cy]) * len(look), np.array([box.w, box.h]) * len(look) / 2
            first, last = (np.round(corner).astype(int).tolist() for corner in (centre - half, centre + half))
            cv2.rectangle(look, first, last, COLOURS[names.index(str(box.label)) % len(COLOURS)], 2)
        looks.append(look)
    captions = [f"{row.split} {row.name} {row.frame}" for row in pack.manifest.iloc[rows].itertuples()]
    return contact_sheet(looks, captions, columns=6, cell=224)


PIECE, SHOWN = 64, 24
COLOURS = ((255, 170, 0), (0, 190, 255), (120, 220, 60), (230, 90, 200))
