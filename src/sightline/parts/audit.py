"""Stage ``parts-audit``: look at every frame, and say where annotations and recordings do not fit, before training.

The result is a folder with the truth as all later stages read it:

- ``clips.csv``: a row a clip, what was found of it. ``source`` is its path below ``data/parts/raw``, ``kind`` video or
  frames, ``consecutive`` whether no frame is missing between the first and the last, ``tracked`` whether every box has
  a track.
- ``frames.csv``: clip, frame, file: what is read of each clip, in the order in which it is read (file is '' in a
  video). Of a recording of which only some frames are kept, these have the numbers that they have in it.
- ``boxes.csv``: clip, frame, track (-1: unknown), label, x1, y1, x2, y2 (inside the frame), score (1), crowd, shown (1
  where there is a picture of the frame) and split.
- ``findings.csv``: what is wrong (error), doubtful (warning) or good to know (note).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from tqdm import tqdm

from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, sha256, sha256_of, write_csv, write_json
from sightline.core.images import list_images
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.params import Runtime, load
from sightline.parts.annotations import NO_TRACK, Coco, read_coco
from sightline.parts.checks import (
    Finding,
    Severity,
    check_classes,
    check_empty,
    check_splits,
    check_tracks,
    place_boxes,
)
from sightline.parts.layout import Clip, number_images, read_layout
from sightline.parts.params import Parts
from sightline.parts.watching import Seen, watch

CLIPS = ["clip", "split", "source", "kind", "consecutive", "frames", "expected", "width", "height", "fps", "listed"]
CLIPS += ["annotated_images", "boxes", "tracks", "tracked", "offset", "offset_margin", "digest"]
WHOLE = ["expected", "width", "height", "offset"]
FRAMES = ["clip", "frame", "file"]
BOXES = ["clip", "frame", "track", "label", "x1", "y1", "x2", "y2", "score", "crowd", "shown", "split"]


def main(
    raw: Annotated[Path, typer.Option()],
    out: Annotated[Path, typer.Option()],
    summary: Annotated[Path, typer.Option()],
) -> None:
    """Read parameters, then :func:`audit`; with an error among the findings, say them all and write nothing."""
    parts = load("parts", Parts)
    audited = audit(raw, parts.data.first_image_id, parts.audit.max_shift, load("runtime", Runtime).workers)
    announce(audited.findings)
    if trouble := audited.trouble():
        raise InputError(trouble)
    write(audited, out)
    write_json(summary, audited.figures())


@dataclass(frozen=True)
class Audit:
    """What was found: the classes in the order of their ids, and the tables that the module's docstring names."""

    classes: tuple[str, ...]
    clips: pd.DataFrame
    frames: pd.DataFrame
    boxes: pd.DataFrame
    findings: pd.DataFrame

    def trouble(self) -> str:
        """The errors, in one line; '' where there is none."""
        errors = self.findings[self.findings["severity"] == "error"]
        lines = [f"{row.clip}: {row.message}" for row in errors.head(MOST_SHOWN).itertuples()]
        return "; ".join(lines) + (f"; and {len(errors) - MOST_SHOWN} more" if len(errors) > MOST_SHOWN else "")

    def figures(self) -> dict[str, Any]:
        """For metrics: of each clip what it holds, its offset and digests; and how many findings there are."""
        clips = {}
        for row in self.clips.to_dict("records"):
            boxes = self.boxes[self.boxes["clip"] == row["clip"]]
            tracked = boxes[boxes["track"] != NO_TRACK]
            clips[row["clip"]] = {name: None if pd.isna(row[name]) else row[name] for name in CLIPS[1:]} | {
                "truth_digest": sha256_of(boxes.to_csv(index=False, float_format="%.9g")),
                "boxes_by_class": {label: int((boxes["label"] == label).sum()) for label in self.classes},
                "tracks_by_class": {
                    label: int(tracked.loc[tracked["label"] == label, "track"].nunique()) for label in self.classes
                },
            }
        severities = self.findings["severity"].tolist()
        counts = {severity: severities.count(severity) for severity in SEVERITIES}
        return {"classes": list(self.classes), "clips": clips, "findings": counts}


def audit(folder: Path, first_image_id: int, max_shift: int, workers: int) -> Audit:
    """Check the clips of ``folder``, which is laid out as :func:`sightline.parts.layout.read_layout` says.

    ``first_image_id`` is what annotations call the first frame; an offset of up to ``max_shift`` frames is looked for;
    ``workers`` recordings are seen at once. Of a clip without a recording only the annotations are checked.

    Raises:
        InputError: the layout or an annotation file is broken, or has a class that the first file has not.
    """
    clips = read_layout(folder)
    cocos = {path: read_coco(path) for path in dict.fromkeys(clip.annotations for clip in clips)}
    classes = cocos[clips[0].annotations].classes
    for path, coco in cocos.items():
        if unknown := sorted(set(coco.classes) - set(classes)):
            raise InputError(f"{path}: {clips[0].annotations} has no class {', '.join(unknown)}")
    truths = [_annotated(clip, cocos[clip.annotations], first_image_id) for clip in clips]
    bar: tqdm[Any]
    with progress((), "looking at frames", sum(len(truth.images) for truth in truths), "frame") as bar:
        seen = list(map_ordered(lambda truth: _seen(truth, max_shift, bar.update), truths, workers))
    pairs = list(zip(truths, seen, strict=True))
    boxes = pd.concat([_box_table(*pair) for pair in pairs], ignore_index=True)
    digests = {truth.clip.name: look.digests for truth, look in pairs if isinstance(look, Seen)}
    findings = [
        *(finding for truth in truths for finding in truth.findings),
        *(finding for truth in truths for finding in _check_truth(truth, classes)),
        *(finding for truth, look in pairs for finding in _check_recording(truth, look)),
        *_check_numbers(pairs, first_image_id),
        *check_splits(boxes, {clip.name: clip.split for clip in clips}, digests),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(
        classes,
        pd.DataFrame([_row(folder, *pair) for pair in pairs], columns=CLIPS).astype(dict.fromkeys(WHOLE, "Int64")),
        pd.concat([_frame_table(*pair) for pair in pairs], ignore_index=True),
        boxes,
        pd.DataFrame(findings, columns=Finding._fields).astype({"frame": "Int64", "track": "Int64"}),
    )


def announce(findings: pd.DataFrame) -> None:
    """Say the findings on stderr: the first few of each kind in each clip."""
    for (severity, clip, check), own in findings.groupby(["severity", "clip", "check"], sort=False):
        for message in own["message"].head(MOST_SHOWN):
            say(f"{severity}: {clip}: {message}")
        if len(own) > MOST_SHOWN:
            say(f"{severity}: {clip}: {len(own) - MOST_SHOWN} more like this ({check})")


def write(audited: Audit, out: Path) -> None:
    """Write the tables as the folder ``out``."""
    with replacing_folder(out) as part:
        for name in ("clips", "frames", "boxes", "findings"):
            write_csv(part / f"{name}.csv", getattr(audited, name))


@dataclass(frozen=True)
class _Truth:
    """What the annotations say of a clip: ``images`` as :func:`number_images` gives them, ``boxes`` with frame."""

    clip: Clip
    images: pd.DataFrame
    boxes: pd.DataFrame
    findings: tuple[Finding, ...]


Look = Seen | str
"""A recording, or why it was not seen."""


def _annotated(clip: Clip, coco: Coco, first_image_id: int) -> _Truth:
    images = number_images(clip, coco, first_image_id)
    findings: list[Finding] = []
    boxes = place_boxes(clip.name, coco.boxes.merge(images, on="image_id"), findings)
    return _Truth(clip, images, boxes.sort_values(["frame", "track"], kind="stable"), tuple(findings))


def _seen(truth: _Truth, max_shift: int, count: Callable[[], object]) -> Look:
    if truth.clip.source is None:
        return "there is no recording: only its annotations are checked"
    try:
        return watch(truth.clip.source, truth.images, truth.boxes, max_shift, count)
    except InputError as error:
        return str(error)


def _check_truth(truth: _Truth, classes: Sequence[str]) -> Iterator[Finding]:
    name, listed = truth.clip.name, truth.images["frame"].tolist()
    yield from check_tracks(name, truth.boxes, listed)
    yield from check_empty(name, truth.boxes, listed)
    yield from check_classes(name, truth.boxes, classes)


def _check_recording(truth: _Truth, look: Look) -> Iterator[Finding]:
    """Size and number of frames against what the annotations say."""
    name = truth.clip.name
    if isinstance(look, str):
        yield Finding(name, "recording", "warning" if truth.clip.kind == "none" else "error", look)
        return
    for width, height in truth.images[["width", "height"]].drop_duplicates().itertuples(index=False, name=None):
        if (width, height) != (look.width, look.height):
            message = (
                f"{truth.clip.source} is {look.width}x{look.height} px, {truth.clip.annotations} says {width}x{height}"
            )
            yield Finding(name, "size", "error", f"{message}: they do not belong together, or one was scaled")
    if look.expected not in (None, len(look.frames) + len(look.unlisted)):
        message = f"{look.expected} frames are announced, {len(look.frames)} decode: they are counted as they decode"
        yield Finding(name, "frames", "warning", message)
    shortest, longest = look.intervals
    if longest > UNEVEN * shortest:
        apart = f"{1000 * shortest:.0f} to {1000 * longest:.0f} ms apart"
        message = f"its timestamps are uneven, frames are {apart}: they are counted, and speeds are in px a frame"
        yield Finding(name, "times", "warning", message)
    for file in look.unlisted:
        yield Finding(name, "listed", "error", f"{truth.clip.annotations} does not list {file}")
    if list(look.frames) != sorted(look.frames):
        message = "the names of the pictures are in another order than the image_ids of the annotations"
        yield Finding(name, "listed", "error", message)
    if truth.clip.kind == "video" and len(look.frames) != len(truth.images):
        message = f"{len(look.frames)} frames decode, {len(truth.images)} are listed"
        yield Finding(name, "frames", "warning", message)
    if unseen := int((~truth.boxes["frame"].isin(look.frames)).sum()):
        partial: Severity = "note" if truth.clip.kind == "frames" else "warning"
        severity = "error" if unseen == len(truth.boxes) else partial
        yield Finding(name, "frames", severity, f"{unseen} of {len(truth.boxes)} boxes are on frames without a picture")


def _check_numbers(pairs: Sequence[tuple[_Truth, Look]], first_image_id: int) -> Iterator[Finding]:
    """Whether boxes and pictures of one number belong together; where not, what to change."""
    shifts = {truth.clip: _shift(truth, look) for truth, look in pairs if isinstance(look, Seen)}
    needed = {shift for clip, shift in shifts.items() if shift is not None and clip.kind == "video"}
    for truth, look in pairs:
        if isinstance(look, str):
            continue
        clip, offset = truth.clip, look.offset
        shift = shifts[clip]
        for before, after in pairwise(offset.stretches):
            if before.shift != after.shift:
                message = (
                    f"between frames {before.last} and {after.first} frames were lost or doubled: before, the boxes fit"
                    f" a shift of {before.shift}, behind, one of {after.shift}"
                )
                yield Finding(clip.name, "offset", "error", message, before.last)
        if shift is None and not offset.stretches:
            message = f"whether boxes are some frames off cannot be judged: {offset.reason}"
            yield Finding(clip.name, "offset", "warning" if offset.unrelated else "note", message)
        elif shift:
            way = f"{abs(shift)} frame{'s' * (abs(shift) > 1)} {'later' if shift > 0 else 'earlier'} than they say"
            message = f"its boxes belong {way}: {_remedy(clip, shift, needed, first_image_id)}"
            yield Finding(clip.name, "offset", "error", message)


def _shift(truth: _Truth, look: Seen) -> int | None:
    """What to add to the frames of boxes: by the motion or else, in a video, by the numbers that are listed."""
    if look.offset.shift is not None or truth.clip.kind != "video":
        return look.offset.shift
    first = int(truth.images["frame"].min())
    return 1 - first if first < 1 or (first > 1 and len(truth.images) == len(look.frames)) else None


def _remedy(clip: Clip, shift: int, needed: set[int], first_image_id: int) -> str:
    fitting = first_image_id - shift
    if clip.kind == "frames":
        return f"{clip.annotations} lists other file names than its pictures should have"
    if needed == {shift} and fitting >= 0:
        return f"set parts.data.first_image_id to {fitting} (it is {first_image_id})"
    return f"add {shift} to each image_id in {clip.annotations} (not all clips need that)"


def _row(folder: Path, truth: _Truth, look: Look) -> list[Any]:
    clip, boxes = truth.clip, truth.boxes
    tracks = boxes.loc[boxes["track"] != NO_TRACK, "track"].nunique()
    counted = [len(truth.images), boxes["frame"].nunique(), len(boxes), tracks, int((boxes["track"] != NO_TRACK).all())]
    if clip.source is None or isinstance(look, str):
        return [clip.name, clip.split, "", "none", 0, 0, None, None, None, None, *counted, None, None, ""]
    files = [sha256(path) for path in (list_images(clip.source) if clip.kind == "frames" else [clip.source])]
    recording = [clip.source.relative_to(folder).as_posix(), clip.kind, int(look.consecutive)]
    frames = [len(look.frames), look.expected, look.width, look.height, look.fps]
    offset = [look.offset.shift, round(look.offset.margin, 4) if look.offset.shift is not None else None]
    return [clip.name, clip.split, *recording, *frames, *counted, *offset, sha256_of(*files)]


def _frame_table(truth: _Truth, look: Look) -> pd.DataFrame:
    if isinstance(look, str):
        return pd.DataFrame(columns=FRAMES)
    return pd.DataFrame({"clip": truth.clip.name, "frame": look.frames, "file": look.files}, columns=FRAMES)


def _box_table(truth: _Truth, look: Look) -> pd.DataFrame:
    shown = truth.boxes["frame"].isin([] if isinstance(look, str) else look.frames).astype(int)
    clip = truth.clip
    return truth.boxes.assign(clip=clip.name, score=1.0, shown=shown, split=clip.split)[BOXES]


SEVERITIES = ("error", "warning", "note")
MOST_SHOWN = 3
# The two lengths of a tick that a clock of whole milliseconds gives are even.
UNEVEN = 1.5
