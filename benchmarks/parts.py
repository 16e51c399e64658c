"""How well the parts task counts and tracks, and how fast, against published rows and ultralytics' own tracking.

    python benchmarks/parts.py [--draws 50] [--video VIDEO --truth JSON] [--repeats 10]

- Counting alone, on the true boxes of the real validation video of which 20 % are dropped, 5 % false ones added, all
  shaken by 2.5 px and 3 % of the classes changed, over seeded draws.
- Tracking alone, on the public detections of MOT15 and MOT17, against the published rows of SORT and ByteTrack: frame
  by frame with the settings of the originals, and once tracks have ended.
- The whole count of a video against ``model.track`` of ultralytics on the same weights, and against the detector alone;
  and the memory of a video that is so many times as long. This needs what parts-track leaves; the video is that of the
  drawn test split if none is named.
- A step of the detector's training by the threads that learn, on the frames that parts-frames leaves.

Parts whose files are not there are left out.
"""

import argparse
import contextlib
import importlib.util
import io
import multiprocessing
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import mot
from sightline.core.files import read_json
from sightline.core.progress import progress
from sightline.params import Compute, load
from sightline.parts.annotate import Annotator
from sightline.parts.annotations import read_coco
from sightline.parts.count import count_video, load_deployed
from sightline.parts.counting import Counter, Rule, Sighting, true_crossings
from sightline.parts.detector import Detections, Detector
from sightline.parts.motion import CORNERS, Axis, Prior, learn_prior
from sightline.parts.params import Parts, Train, Video
from sightline.parts.simulation import Mistakes, simulate
from sightline.parts.tracker import Association, Tracker, fill_gaps
from sightline.parts.tracking_figures import add, figures, score
from sightline.parts.video import VideoWriter, open_frames

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared/data/parts"
DETECTOR, DEPLOYED = ROOT / "models/parts/detector", ROOT / "models/parts/deployed"
DRAWN, FRAMES = ROOT / "data/parts/raw", ROOT / "data/parts/frames"


def main() -> None:
    """Run what can be run, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=50, help="of the counting")
    parser.add_argument("--video", type=Path, default=DRAWN / "images/test/test.mp4")
    parser.add_argument("--truth", type=Path, default=DRAWN / "annotations/instances_test.json")
    parser.add_argument("--rounds", type=int, default=3, help="of each timing; the median counts")
    parser.add_argument("--repeats", type=int, default=10, help="how many times as long the long video is")
    options = parser.parse_args()
    if (SHARED / "annotations/instances_val.json").exists():
        counting(SHARED / "annotations/instances_val.json", options.draws)
    if mot.SHARED.exists():
        mot15()
        mot17()
    if DEPLOYED.exists() and options.video.exists():
        speed(options.video, options.truth, options.rounds)
        pieces(options.video)
        memory(options.video, options.repeats)
    if FRAMES.exists():
        learning()


def counting(path: Path, draws: int) -> None:
    """Print the errors of the count on true boxes that were spoilt."""
    truth, classes = read_truth(path)
    frames, size = int(truth["frame"].max()), (640, 640)
    mistakes = Mistakes(0.2, 0.05, 2.5, 0.03, np.linspace(0.4, 1, 61).tolist(), np.linspace(0.3, 0.8, 51).tolist())
    first = truth[truth["frame"] <= frames // 2]
    priors = {"falling": learn_prior(truth.assign(clip="val"), {"val": size}), "constant": None}
    priors["falling, learned on the first half"] = learn_prior(first.assign(clip="val"), {"val": size})
    rule, axis = Rule(0.5, "down", 4, 15), Axis("down", *size)
    true = true_crossings(truth, rule.line, axis, priors["falling"])["label"].value_counts()
    ids = truth.groupby("track")["label"].first().value_counts()
    print(f"{path.name}: {true.to_dict()} parts cross the line, {ids.to_dict()} tracks are there; {draws} draws")
    print(f"{'tracker':12} {'motion':36} {'count error':>11} {'worst':>6} {'exact':>6} {'by class':>9}")
    drawn = [simulate(truth, classes, frames, size, mistakes, [draw]) for draw in range(draws)]
    runs = [("bytetrack", motion) for motion in priors] + [(name, "falling") for name in ("sort", "ocsort", "botsort")]
    for tracker, motion in runs:
        association = Association(tracker, 0.5, 0.3, 0.1, 10)
        bar = progress(drawn, f"{tracker}, {motion}", unit="draw")
        counts = [count_boxes(found, association, rule, priors[motion], axis, len(classes)) for found in bar]
        expected = np.array([true.get(name, 0) for name in classes])
        off = np.array(counts) - expected
        total = np.abs(off.sum(1)) / expected.sum()
        by_class = (np.abs(off).sum(1) / expected.sum()).mean()
        exact = (off == 0).all(1).mean()
        print(f"{tracker:12} {motion:36} {total.mean():11.2%} {total.max():6.1%} {exact:6.0%} {by_class:9.2%}")


def count_boxes(
    found: list[Detections], association: Association, rule: Rule, prior: Prior | None, axis: Axis, classes: int
) -> list[int]:
    """The count by class of a video of which only the detections are known."""
    tracker = Tracker(association, prior, axis.width, axis.height)
    counter = Counter(rule, prior, classes, axis)
    for frame, seen in enumerate(found, start=1):
        tracked = tracker.update(seen.boxes_xyxy, seen.scores)
        counter.update(
            frame, [Sighting(t.track, t.box_xyxy, seen.scores[t.row], int(seen.labels[t.row])) for t in tracked]
        )
        list(counter.leave())
    tally = counter.tally()
    return [tally[label] for label in range(classes)]


def mot15() -> None:
    """Print our tracker with SORT's settings on MOT15's Faster R-CNN detections beside SORT's published table."""
    published = pd.read_csv(mot.SHARED / "MOT15/sort_published.csv", index_col="seq")
    print("\nMOT15, Faster R-CNN: SORT as published; ours: frame by frame; settled: once a track has ended")
    print(
        f"{'sequence':16} {'published MOTA':>14} {'IDs':>4} | {'ours MOTA':>9} {'IDs':>4} | {'settled':>7} {'IDs':>4}"
    )
    for folder in sorted(path for path in (mot.SHARED / "MOT15").iterdir() if path.is_dir()):
        ours, ended = on_mot15(folder)
        mota, switches = published[["MOTA", "IDs"]].reindex([folder.name]).iloc[0]
        print(
            f"{folder.name:16} {mota:9.1f} {switches:4.0f} | {100 * ours['mota']:5.1f} {ours['switches']:4.0f}"
            f" | {100 * ended['mota']:7.1f} {ended['switches']:4.0f}"
        )


def on_mot15(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of our tracker on a sequence of MOT15: as it tracks, and once tracks have ended."""
    truth = mot.scored(mot.read_mot(folder / "gt.txt"))
    detections = mot.read_mot(folder / "det_frcnn_sort.txt")
    frames = mot.length_of(folder)
    # SORT's own settings: it sees a box three times after the one that began the track before it believes in it.
    online = link(detections, frames, Association("sort", 0.0, 0.0, 0.3, 1, 4), only_confirmed=True)
    every = link(detections, frames, Association("sort", 0.0, 0.0, 0.3, 1, 1), only_confirmed=False)
    ended = settled(every, Settling(8, 0.8, 0))
    return figures(score(truth, online, frames)), figures(score(truth, ended, frames))


def mot17() -> None:
    """Print our tracker with ByteTrack's settings on the second halves of MOT17 beside the row of the original."""
    print("\nMOT17, second halves, YOLOX: MOTA / IDF1 / HOTA / switches")
    print(f"{'sequence':10} {'BYTE as published':>26} {'ours, online':>26} {'ours, settled':>26}")
    for name, (_, _, row) in BYTE.items():
        ours = [
            [*(100 * found[figure] for figure in ("mota", "idf1", "hota")), found["switches"]]
            for found in on_mot17(name)
        ]
        shown: list[Sequence[float]] = [row, *ours]
        cells = (f"{mota:.1f} / {idf1:.1f} / {hota:.1f} / {switches:.0f}" for mota, idf1, hota, switches in shown)
        print(f"{name:10} " + " ".join(f"{cell:>26}" for cell in cells))


def on_mot17(name: str) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of our tracker on the second half of a sequence of MOT17, as for :func:`on_mot15`."""
    seen, lost, _ = BYTE[name]
    folder = mot.SHARED / "MOT17" / name
    truth, detections = (
        later(mot.read_mot(folder / file), seen) for file in ("gt.txt.gz", "det_yolox_x_ablation.txt.gz")
    )
    frames = mot.length_of(folder) - seen
    # BYTE takes scores above its threshold, then those below it; rounding to 0.01 has put some right on it.
    detections = detections[detections["score"] != 0.6]
    # BYTE's own settings; tracks of two boxes are believed in.
    tracks = link(detections, frames, Association("botsort", 0.6, 0.7, 0.1, lost, 2), only_confirmed=True)
    width, height = tracks["x2"] - tracks["x1"], tracks["y2"] - tracks["y1"]
    online = tracks[(width * height > 100) & (width / height <= 1.6)]
    ended = settled(online, Settling(5, 0.0, 20))
    first, second = (figures(score(*mot.pedestrians(truth, ours), frames)) for ours in (online, ended))
    return first, second


class Settling(NamedTuple):
    """What is known of a track once it has ended: tracks with fewer boxes or a lower mean score go, gaps are filled."""

    least_boxes: int
    least_score: float
    fill: int


def link(detections: pd.DataFrame, frames: int, association: Association, *, only_confirmed: bool) -> pd.DataFrame:
    """The tracks of a sequence: frame, track, box and score."""
    tracker = Tracker(association, None, 1920, 1080)
    rows: list[tuple[float, ...]] = []
    by_frame = dict(list(detections.groupby("frame")))
    for frame in range(1, frames + 1):
        seen = by_frame.get(frame, detections[:0])
        scores = seen["score"].to_numpy()
        tracked = tracker.update(seen[mot.BOX].to_numpy(), scores)
        rows += [
            (frame, one.track, *one.box_xyxy, scores[one.row]) for one in tracked if one.confirmed or not only_confirmed
        ]
    return pd.DataFrame(rows, columns=["frame", "track", *mot.BOX, "score"]).astype({"frame": int, "track": int})


def settled(tracks: pd.DataFrame, settling: Settling) -> pd.DataFrame:
    """The tracks that are worth something, without short gaps."""
    kept = []
    for track, own in tracks.groupby("track"):
        if len(own) >= settling.least_boxes and own["score"].mean() >= settling.least_score:
            frames, boxes = fill_gaps(own["frame"].to_numpy(), own[mot.BOX].to_numpy(), settling.fill)
            kept.append(pd.DataFrame(boxes, columns=mot.BOX).assign(frame=frames, track=track))
    return pd.concat(kept)


def later(table: pd.DataFrame, seen: int) -> pd.DataFrame:
    """What comes after the first ``seen`` frames, counted anew from 1."""
    return table[table["frame"] > seen].assign(frame=lambda rows: rows["frame"] - seen)


def speed(video: Path, annotations: Path, rounds: int) -> None:
    """Print the frames a second and the HOTA of our count, of ``model.track``, and of our detector alone."""
    truth, classes = read_truth(annotations)
    sides: dict[str, Callable[[], pd.DataFrame | None]] = {
        "ours, all files written": lambda: ours(video),
        "our detector alone": lambda: detector_only(video),
        "ultralytics, bytetrack": lambda: theirs(video, "bytetrack.yaml"),
        "ultralytics, botsort (its default)": lambda: theirs(video, "botsort.yaml"),
    }
    with open_frames(video) as opened:
        frames = sum(1 for _ in opened)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    tracks: dict[str, pd.DataFrame | None] = {}
    for _ in range(rounds):
        for name, side in sides.items():
            start, worked = time.perf_counter(), time.process_time()
            tracks[name] = side()
            seconds[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - worked)
    print(f"\n{video.name}: {frames} frames, the same weights, medians of {rounds} rounds, one after the other")
    for name, times in seconds.items():
        rate, found = frames / statistics.median(times), tracks[name]
        hota = "" if found is None else f"HOTA {figures(by_class(truth, found, frames, classes))['hota']:.3f}"
        work = 1000 * statistics.median(busy[name]) / frames
        print(f"{name:36} {rate:8.1f} frames/s {work:7.1f} ms of CPU a frame  {hota}")
    alone = statistics.median(seconds["our detector alone"])
    more = statistics.median(seconds["ours, all files written"]) / alone - 1
    faster = statistics.median(seconds["ultralytics, bytetrack"]) / statistics.median(
        seconds["ours, all files written"]
    )
    print(f"the count takes {more:+.0%} of detector-only time; {faster:.1f} times the frames/s of ultralytics")


def pieces(video: Path) -> None:
    """Print the CPU time that each piece of the count takes by itself."""
    deployed = load_deployed(DEPLOYED)
    recipe, detector = deployed.recipe, deployed.detector
    spent: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(piece: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent[piece] = spent.get(piece, 0) + time.process_time() - start

    with timed("decoding"), open_frames(video) as frames:
        pictures = list(frames)
    with timed("detecting"):
        found = detector(pictures)
    axis = Axis(recipe.rule.direction, frames.width, frames.height)
    tracker = Tracker(recipe.association, recipe.prior, frames.width, frames.height)
    counter = Counter(recipe.rule, recipe.prior, len(deployed.classes), axis)
    annotator = Annotator(deployed.classes, axis, recipe.rule.line, 20)
    for number, (picture, seen) in enumerate(zip(pictures, found, strict=True), start=1):
        with timed("tracking, counting"):
            tracked = tracker.update(seen.boxes_xyxy, seen.scores)
            parts = counter.update(
                number, [Sighting(t.track, t.box_xyxy, seen.scores[t.row], int(seen.labels[t.row])) for t in tracked]
            )
            list(counter.leave())
        with timed("drawing"):
            annotator.draw(picture, parts, counter.tally(), number)
    with (
        tempfile.TemporaryDirectory() as folder,
        timed("encoding"),
        VideoWriter(Path(folder) / "out.mp4", frames.width, frames.height, crf=25, preset="ultrafast") as writer,
    ):
        for picture in pictures:
            writer.write(picture)
    shown = ", ".join(f"{piece} {1000 * seconds / len(pictures):.2f}" for piece, seconds in spent.items())
    share = sum(spent[piece] for piece in ("decoding", "tracking, counting", "drawing")) / spent["detecting"]
    print(f"ms of CPU a frame: {shown}; decoding, tracking and drawing are {share:.0%} of detecting")


def by_class(truth: pd.DataFrame, tracks: pd.DataFrame, frames: int, classes: tuple[str, ...]) -> Any:
    """Scores of each class, added up: a track of the wrong class is a wrong track."""
    return add([score(truth[truth["label"] == name], tracks[tracks["label"] == name], frames) for name in classes])


def ours(video: Path) -> pd.DataFrame:
    """The tracks of our count, with all that it writes."""
    deployed = load_deployed(DEPLOYED)
    settings = Video(preset="ultrafast", crf=25, trace=20)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        count_video(video, deployed.detector, deployed.classes, deployed.recipe, out, settings)
        table = pd.read_csv(out / "tracks.txt", header=None).iloc[:, :8]
    table.columns = pd.Index(["frame", "track", "x1", "y1", "width", "height", "score", "kind"])
    names = np.array(deployed.classes)[table["kind"].to_numpy() - 1]
    return table.assign(x2=table["x1"] + table["width"], y2=table["y1"] + table["height"], label=names)


def detector_only(video: Path) -> None:
    """Read and detect, nothing else."""
    detector = Detector(DETECTOR)
    with open_frames(video) as frames:
        waiting = iter(frames)
        while batch := list(islice(waiting, 16)):
            detector(batch)


def theirs(video: Path, tracker: str) -> pd.DataFrame:
    """The tracks of ultralytics' ``model.track``, on the weights of our detector; nothing is drawn or written.

    It wants the package lap, but has a way around it by SciPy, which is taken where lap is not there.
    """
    # yolo.py keeps what is imported after it from the network; neither is needed where there are no weights.
    from sightline.parts.yolo import load_pretrained  # isort: skip
    from ultralytics.models import YOLO  # isort: skip

    if "lap" not in sys.modules and importlib.util.find_spec("lap") is None:
        sys.modules["lap"] = types.ModuleType("lap")
        sys.modules["lap"].__dict__["__version__"] = "0.5.12"
        from ultralytics.trackers.utils import matching

        matching.linear_assignment.__defaults__ = (False,)
    config = read_json(DETECTOR / "config.json")
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / "detector.yaml"
        description.write_text(yaml.safe_dump({**config["architecture"], "nc": len(config["classes"])}))
        model: Any = YOLO(description, task="detect")
    load_pretrained(model.model, DETECTOR / "model.safetensors")
    names = model.model.names = dict(enumerate(config["classes"]))
    rows: list[tuple[Any, ...]] = []
    results = model.track(
        str(video),
        stream=True,
        tracker=tracker,
        imgsz=Detector(DETECTOR).size,
        conf=0.1,
        iou=config["overlap"]["value"],
        device="cpu",
        verbose=False,
    )
    for frame, result in enumerate(results, start=1):
        boxes = result.boxes
        if boxes.id is not None:
            table = zip(boxes.id.tolist(), boxes.xyxy.tolist(), boxes.cls.tolist(), strict=True)
            rows += [(frame, int(track), *box, names[int(label)]) for track, box, label in table]
    return pd.DataFrame(rows, columns=["frame", "track", *CORNERS, "label"])


def memory(video: Path, repeats: int) -> None:
    """Print the peak memory of counting the video, and of one that shows it ``repeats`` times."""
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.mp4"
        with open_frames(video) as frames:
            pictures = list(frames)
            with VideoWriter(long, frames.width, frames.height, frames.fps, crf=18, preset="ultrafast") as writer:
                for _ in range(repeats):
                    for picture in pictures:
                        writer.write(picture)
        peaks = []
        for path in (video, long):
            # A process of its own, since a peak never goes down.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peaks.append(pool.apply(peak_of, (path,)))
    print(f"peak memory: {peaks[0]:.0f} MiB, of a video {repeats} times as long {peaks[1]:.0f} MiB")


def peak_of(video: Path) -> float:
    """The peak memory in MiB of a process that counts a video, on Linux.

    Not that of ``resource``, which is at least what its parent had when it started.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        ours(video)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def learning() -> None:
    """Print how long a step of the training takes, by how many threads learn."""
    # Neither torch nor ultralytics is needed by what comes before, and both would count in its memory.
    from sightline.parts.train import open_lessons  # isort: skip

    settings = load("parts", Parts, ROOT / "params.yaml").train.model_copy(update={"val_frames": 1})
    steps = -(-len(open_lessons(FRAMES).pack.rows("train")) // settings.batch_size)
    print(f"\ntraining, {settings.batch_size} views of {settings.side} px a step")
    learn(settings.model_copy(update={"epochs": 1}), 1)
    for threads in (1, 2):
        # What a longer training takes more, so that starting and exporting do not count.
        short, long = (learn(settings.model_copy(update={"epochs": n}), threads) for n in (1, 5))
        print(f"{threads} learning: {1000 * (long - short) / (4 * steps):6.1f} ms a step")


def learn(settings: Train, threads: int) -> float:
    """The seconds that a training takes."""
    from sightline.parts.train import train  # isort: skip

    compute = load("compute", Compute, ROOT / "params.yaml").model_copy(update={"threads": threads})
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stderr(io.StringIO()):
        start = time.perf_counter()
        train(FRAMES, Path("none"), settings, compute, 1, Path("detector"), Path("history.csv"))
        return time.perf_counter() - start


def read_truth(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The true boxes of annotations whose first frame has image_id 1: frame, track, label and box; and the classes."""
    coco = read_coco(path)
    return coco.boxes.rename(columns={"image_id": "frame"}), coco.classes


BYTE = {
    "MOT17-02": (301, 30, (55.7, 59.6, 48.2, 53)),
    "MOT17-04": (526, 30, (89.5, 91.6, 79.5, 23)),
    "MOT17-05": (419, 14, (76.7, 76.9, 61.7, 27)),
    "MOT17-09": (263, 30, (82.8, 77.8, 65.4, 14)),
    "MOT17-11": (451, 30, (70.2, 70.3, 62.1, 11)),
}
"""Frames of the first half, on which the detector was trained; BYTE's buffer; its MOTA, IDF1, HOTA and switches."""


if __name__ == "__main__":
    main()
