"""Score a tracker's output, whoever made it, against annotations: what ``sightline parts score`` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sightline.core.errors import InputError
from sightline.parts.annotations import NO_TRACK, read_coco, read_tracks
from sightline.parts.tracking_figures import COUNTS, add, figures, score
from sightline.parts.tracks_audit import audit_tracks


def score_file(tracks: Path, truth: Path, first_image_id: int, max_shift: int) -> dict[str, Any]:
    """Score one clip.

    Args:
        tracks: COCO-like JSON with ``track_id``, or MOTChallenge text; frames count from 1.
        truth: COCO JSON with ``track_id``, of one clip.
        first_image_id: the ``image_id`` of its first frame.
        max_shift: how many frames, either way, the output may be shifted against the truth.

    Returns:
        ``shift``, that fits best; ``faults``, a sentence each; ``ids`` and ``true_ids``; and figures ``as_given``, and
        ``shifted`` if the shift is not 0: ``class_agnostic``, and where all boxes have a class ``together`` and
        ``by_class``.

    Raises:
        InputError: a file cannot be read, or has boxes without a track.
    """
    coco = read_coco(truth)
    found = read_tracks(tracks, coco.classes)
    known = coco.boxes[coco.boxes["crowd"] == 0].assign(frame=lambda table: table["image_id"] - first_image_id + 1)
    for path, table in ((truth, known), (tracks, found)):
        if without := int((table["track"] == NO_TRACK).sum()):
            raise InputError(f"{path}: {without} of {len(table)} boxes have no track_id: tracks cannot be scored")
    audited = audit_tracks(found, known, max_shift)
    frames = int(max(coco.images["image_id"].max() - first_image_id + 1, found["frame"].max() if len(found) else 1))
    shifts = {"as_given": 0} | ({"shifted": audited.shift} if audited.shift else {})
    return {
        "shift": audited.shift,
        "faults": list(audited.faults()),
        "ids": audited.ids,
        "true_ids": audited.true_ids,
        **{
            name: _figures(known, found.assign(frame=found["frame"] + shift), frames, coco.classes)
            for name, shift in shifts.items()
        },
    }


def _figures(truth: pd.DataFrame, tracks: pd.DataFrame, frames: int, classes: Sequence[str]) -> dict[str, Any]:
    # A tracker that counts from 0, shifted or not, may have boxes before frame 1: they are false, not forgotten.
    first = min(1, int(tracks["frame"].min())) if len(tracks) else 1
    length = frames - first + 1
    found: dict[str, Any] = {"class_agnostic": _rounded(figures(score(truth, tracks, length, first)))}
    if set(tracks["label"]) <= set(classes):
        scores = {
            label: score(truth[truth["label"] == label], tracks[tracks["label"] == label], length, first)
            for label in classes
        }
        found["together"] = _rounded(figures(add(list(scores.values()))))
        found["by_class"] = {label: _rounded(figures(own)) for label, own in scores.items()}
    return found


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: int(value) if name in COUNTS else round(value, 6) for name, value in found.items()}
