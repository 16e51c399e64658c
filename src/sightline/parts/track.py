"""Stage ``parts-track``: choose on val how to track, deploy that, and count the clips of val and test with it."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer

from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, sha256_of, write_csv, write_json
from sightline.core.progress import progress, say
from sightline.params import Compute, load
from sightline.parts.count import Detect, count_video
from sightline.parts.detector import Detections, Detector
from sightline.parts.motion import CORNERS, Prior, learn_prior
from sightline.parts.params import Line, Parts, Track, Video
from sightline.parts.simulation import measure_mistakes, simulate
from sightline.parts.tune import Round, recipes, tune
from sightline.parts.video import open_frames

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    audit: Annotated[Path, Option],
    detector: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`track`."""
    parts = load("parts", Parts)
    threads = load("compute", Compute).threads
    track(raw, audit, detector, parts.track, parts.count, parts.video, threads, deployed, out)


def track(
    raw: Path,
    audit: Path,
    detector: Path,
    settings: Track,
    line: Line,
    video: Video,
    threads: int,
    deployed: Path,
    out: Path,
) -> None:
    """Detect in all clips of val and test, choose a recipe on val, and count with it.

    Writes the folder ``deployed``, which ``sightline parts count`` needs: the detector's ``model.onnx`` and
    ``config.json`` with a section ``tracking``, a :class:`sightline.parts.count.Recipe`, and how it was ``chosen``; and
    the folder ``out``:

    - ``detections.csv``: split, clip, frame, label, score (from ``FAINTEST``), x1, y1, x2, y2.
    - ``<clip>/``: for each clip whose frames follow each other, what :func:`sightline.parts.count.count_video` writes.
    - ``tuning.csv``: the trials on val.

    How parts move is learned from the true tracks of train, or of val where train has none. Recipes are tried on the
    detections of val; where its frames do not follow each other, on detections that are drawn from its true tracks with
    the errors that the detector makes on the frames that are there. Where val has no tracks, nothing is tried.

    Args:
        raw: the videos, as ``parts-source`` leaves them.
        audit: the truth, as ``parts-audit`` leaves it.
        detector: what ``parts-train`` leaves.
        settings: how to link.
        line: what counts.
        video: of the annotated videos.
        threads: of the detector and of the video encoder.
        deployed: replaced whole.
        out: replaced whole.

    Raises:
        InputError: there is no clip to look at, or a folder does not hold what it should.
    """
    recordings = _recordings(raw, audit)
    boxes = pd.read_csv(audit / "boxes.csv")
    looked_at = [one for one in recordings if one.split != "train"]
    if not looked_at:
        raise InputError(f"{audit} names no recording of val or test: there is nothing to track in")
    network = Detector(detector, threads, FAINTEST)
    found = {one.clip: _detect(one, network) for one in looked_at}
    detections = pd.concat([_table(one, found[one.clip], network.classes) for one in looked_at], ignore_index=True)
    prior, learned_on = _learn(recordings, boxes, settings)
    rounds, tried_on = _rounds(looked_at, boxes, found, detections, network.classes, settings)
    threshold = float(read_json(detector / "config.json")["score"]["value"])
    direction = line.direction or (prior.direction if prior else "down")
    recipe, trials = tune(recipes(settings, line, threshold, direction, prior), rounds, network.classes)
    val_truth = boxes[boxes["split"] == "val"].to_csv(index=False, float_format="%.9g")
    how = {"motion_learned_on": learned_on, "tried_on": tried_on, "val_truth": sha256_of(val_truth)}
    with replacing_folder(deployed) as part:
        shutil.copyfile(detector / "model.onnx", part / "model.onnx")
        config = read_json(detector / "config.json")
        write_json(part / "config.json", {**config, "tracking": recipe.to_json(), "chosen": how})
    with replacing_folder(out) as part:
        write_csv(part / "detections.csv", detections)
        write_csv(part / "tuning.csv", trials)
        for one in looked_at:
            if one.consecutive:
                replay = _replay(found[one.clip])
                counted = count_video(
                    one.source, replay, network.classes, recipe, part / one.clip, video, threads=threads
                )
                say(f"{one.clip}: " + ", ".join(f"{count} {name}" for name, count in counted.counts.items()))


class _Recording(NamedTuple):
    """A clip with frames; ``frames`` are the numbers of those that are read, in order."""

    clip: str
    split: str
    source: Path
    size: tuple[int, int]
    consecutive: bool
    tracked: bool
    frames: list[int]


def _recordings(raw: Path, audit: Path) -> list[_Recording]:
    try:
        clips = pd.read_csv(audit / "clips.csv", keep_default_na=False).to_dict("records")
        frames = pd.read_csv(audit / "frames.csv", keep_default_na=False)
    except OSError as error:
        raise InputError(f"{audit} does not hold what parts-audit leaves: {error}") from None
    return [
        _Recording(
            str(row["clip"]),
            str(row["split"]),
            raw / str(row["source"]),
            (int(float(row["width"])), int(float(row["height"]))),
            bool(row["consecutive"]),
            bool(row["tracked"]),
            frames.loc[frames["clip"] == row["clip"], "frame"].tolist(),
        )
        for row in clips
        if row["kind"] != "none"
    ]


def _learn(recordings: Sequence[_Recording], boxes: pd.DataFrame, settings: Track) -> tuple[Prior | None, str]:
    """How parts move, and the split that says so."""
    if settings.motion == "constant":
        return None, "nothing"
    sizes = {one.clip: one.size for one in recordings}
    for split in ("train", "val"):
        prior = learn_prior(boxes[(boxes["split"] == split) & boxes["clip"].isin(sizes)], sizes)
        if prior is not None:
            return prior, split
    say("no true tracks of train or val show how parts move: their speed is taken to be constant")
    return None, "nothing"


def _rounds(
    recordings: Sequence[_Recording],
    boxes: pd.DataFrame,
    found: Mapping[str, Sequence[Detections]],
    detections: pd.DataFrame,
    classes: Sequence[str],
    settings: Track,
) -> tuple[list[Round], str]:
    """What recipes are tried on, and what that is."""
    rounds, on = [], "nothing"
    for one in recordings:
        truth = boxes[(boxes["clip"] == one.clip) & (boxes["crowd"] == 0)]
        if one.split != "val" or not one.tracked or truth.empty:
            continue
        if one.consecutive:
            rounds.append(Round(one.size, found[one.clip], truth[truth["frame"].isin(one.frames)]))
            on = "detections"
            continue
        shown = truth[truth["frame"].isin(one.frames)]
        mistakes = measure_mistakes(detections[detections["clip"] == one.clip], shown)
        frames = int(truth["frame"].max())
        for draw in range(settings.draws):
            drawn = simulate(truth, classes, frames, one.size, mistakes, [settings.seed, draw])
            rounds.append(Round(one.size, drawn, truth))
        on = "simulated detections"
    if not rounds:
        say("val has no true tracks: of each list of tracker settings the first is taken")
    return rounds, on


def _detect(one: _Recording, network: Detect) -> list[Detections]:
    found: list[Detections] = []
    with open_frames(one.source) as frames:
        bar = iter(progress(frames, f"detecting in {one.clip}", len(one.frames), "frame"))
        while batch := list(islice(bar, BATCH)):
            found += network(batch)
    return found


def _replay(found: Sequence[Detections]) -> Detect:
    """A detector that has looked at the frames before."""
    left = iter(found)
    return lambda frames: [next(left) for _ in frames]


def _table(one: _Recording, found: Sequence[Detections], classes: Sequence[str]) -> pd.DataFrame:
    counts = [len(detections) for detections in found]
    table = pd.DataFrame({"split": one.split, "clip": one.clip, "frame": np.repeat(one.frames, counts)})
    table["label"] = np.array(classes)[np.concatenate([detections.labels for detections in found])]
    table["score"] = np.concatenate([detections.scores for detections in found])
    table[CORNERS] = np.concatenate([detections.boxes_xyxy for detections in found])
    return table


FAINTEST = 0.01
BATCH = 16
