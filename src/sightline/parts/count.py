"""Count the parts of one video: read, detect, track, count, draw and write, each while the others work.

Needs neither torch nor ultralytics, and no more memory for a long video than for a short one.

>>> counted = count_video(Path("line.mp4"), load_deployed(Path("models/parts/deployed")), Path("out"), video)
>>> counted.counts
{"bolt": 72, "nut": 19}
"""

import heapq
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

import cv2
import numpy as np

from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, write_json
from sightline.core.images import Pixels
from sightline.core.progress import progress, say
from sightline.parts.annotate import Annotator
from sightline.parts.certificate import Certificate
from sightline.parts.counting import Counter, Part, Rule, Sighting
from sightline.parts.detector import Detections, Detector
from sightline.parts.motion import Axis, Prior
from sightline.parts.params import Video
from sightline.parts.tracker import Association, Tracker, fill_gaps
from sightline.parts.video import Frames, VideoWriter, open_frames

T = TypeVar("T")
Detect = Callable[[Sequence[Pixels]], list[Detections]]


@dataclass(frozen=True)
class Recipe:
    """How detections become a count.

    Attributes:
        association: how boxes are linked.
        rule: when a part counts.
        prior: how parts move; None where nothing is known.
        low_score: of the faintest detection that is looked at.
        fill: gap in frames, at most, that tracks.txt has boxes in.
    """

    association: Association
    rule: Rule
    prior: Prior | None
    low_score: float
    fill: int

    def to_json(self) -> dict[str, Any]:
        """For config.json; :meth:`of` reads it."""
        return asdict(self)

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Recipe":
        """The recipe that :meth:`to_json` gave."""
        prior = Prior(**config["prior"]) if config["prior"] else None
        association, rule = Association(**config["association"]), Rule(**config["rule"])
        return cls(association, rule, prior, config["low_score"], config["fill"])


@dataclass(frozen=True)
class Deployed:
    """What ``parts-track`` leaves to count with."""

    detector: Detector
    classes: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Counted:
    """The count of a video by class; ``seen`` are all parts that were tracked, also those that did not count.

    ``frames`` is how many were read; ``doubtful`` and ``not_counted`` are what somebody should look at.
    """

    counts: dict[str, int]
    seen: dict[str, int]
    frames: int
    doubtful: list[dict[str, Any]]
    not_counted: list[dict[str, Any]]


def load_deployed(folder: Path, threads: int = 0) -> Deployed:
    """Read what ``parts-track`` leaves; the detector uses ``threads`` threads, 0 for one a core.

    Raises:
        InputError: ``folder`` does not hold it.
    """
    try:
        recipe = Recipe.of(read_json(folder / "config.json")["tracking"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} does not hold what parts-track leaves: {error}; run the stage") from None
    detector = Detector(folder, threads, recipe.low_score)
    return Deployed(detector, tuple(detector.classes), recipe)


def at_line(recipe: Recipe, line: float) -> Recipe:
    """The same recipe with the line elsewhere."""
    return replace(recipe, rule=replace(recipe.rule, line=line))


def count_video(
    source: Path | int,
    detect: Detect,
    classes: Sequence[str],
    recipe: Recipe,
    out: Path,
    settings: Video,
    *,
    batch_size: int = 16,
    threads: int = 1,
) -> Counted:
    """Count the parts of a video and write the folder ``out``, whole or not at all.

    - ``counts.json``: counts by class and their total, all parts ``seen`` by class, line, direction, frames read,
      nominal fps, the counts that are doubtful and the parts that did not count, each with the reason.
    - ``tracks.txt``: MOTChallenge: frame, id, left, top, width, height, score, class (from 1), -1; short gaps filled.
    - ``certificate.csv`` and ``certificate.html``: see :class:`sightline.parts.certificate.Certificate`.
    - ``annotated.mp4``.

    Args:
        source: a video, a folder of pictures or the index of a camera, which is read until Ctrl-C.
        detect: from RGB uint8 (B, H, W, 3) to what is in each frame.
        classes: names, by label.
        recipe: how detections become a count.
        out: replaced whole.
        settings: of the annotated video.
        batch_size: frames that are detected at once.
        threads: of the video's encoder, a part of its bytes.

    Raises:
        InputError: the source cannot be read, or holds no frame.
    """
    with ExitStack() as stack:
        frames = stack.enter_context(open_frames(source))
        part = stack.enter_context(replacing_folder(out))
        size = (frames.width, frames.height)
        video = VideoWriter(
            part / "annotated.mp4",
            *size,
            frames.fps,
            threads=threads,
            crf=settings.crf,
            preset=settings.preset,
        )
        with (
            video,
            _behind(video.write) as write,
            Certificate(part, classes, frames.name) as certificate,
            (part / "tracks.txt").open("w", encoding="utf-8") as tracks,
        ):
            book = _Book(recipe, classes, size, certificate, tracks)
            annotator = Annotator(classes, book.axis, recipe.rule.line, settings.trace)
            number = 0
            try:
                for batch, found in _detected(frames, detect, batch_size):
                    for frame, detections in zip(batch, found, strict=True):
                        number += 1
                        parts = book.take(number, detections, frame)
                        annotator.draw(frame, parts, book.counter.tally(), number)
                        write(frame)
            except KeyboardInterrupt:
                if not isinstance(source, int):
                    raise
                say("stopped")
            counted = book.close(number)
            certificate.finish(counted.counts, number)
        write_json(part / "counts.json", _summary(counted, recipe, frames))
    return counted


class _Book:
    """Keeps the accounts of one video: boxes in, parts out, files written as parts leave."""

    def __init__(
        self, recipe: Recipe, classes: Sequence[str], size: tuple[int, int], certificate: Certificate, tracks: TextIO
    ) -> None:
        self.recipe, self.classes, self.certificate, self.tracks = recipe, classes, certificate, tracks
        self.axis = Axis(recipe.rule.direction, *size)
        self.tracker = Tracker(recipe.association, recipe.prior, *size)
        self.counter = Counter(recipe.rule, recipe.prior, len(classes), self.axis)
        self.pictures: dict[Part, tuple[float, Pixels]] = {}
        self.seen: Tally[int] = Tally()
        self.doubtful: list[dict[str, Any]] = []
        self.not_counted: list[dict[str, Any]] = []
        self._rows: list[tuple[int, int, str]] = []

    def take(self, number: int, detections: Detections, frame: Pixels) -> list[Part]:
        """Take the detections of a frame; the parts that have a box in it."""
        looked_at = np.flatnonzero(detections.scores >= self.recipe.low_score)
        scores, labels = detections.scores[looked_at], detections.labels[looked_at]
        tracked = self.tracker.update(detections.boxes_xyxy[looked_at], scores)
        sightings = [
            Sighting(found.track, found.box_xyxy, float(scores[found.row]), int(labels[found.row])) for found in tracked
        ]
        parts = self.counter.update(number, sightings)
        for part in parts:
            if part.number:
                self._portray(part, frame)
        self._settle(number)
        return parts

    def close(self, frames: int) -> Counted:
        """All parts leave."""
        self.counter.close()
        self._settle(frames)
        tally = self.counter.tally()
        counts = {name: tally[label] for label, name in enumerate(self.classes)}
        seen = {name: self.seen[label] for label, name in enumerate(self.classes)}
        self.doubtful.sort(key=lambda row: row["number"])
        return Counted(counts, seen, frames, self.doubtful, self.not_counted)

    def _portray(self, part: Part, frame: Pixels) -> None:
        """Keep a picture of the part's best moment: surely seen, and whole."""
        left, top, right, bottom = part.last.box_xyxy
        margin = 0.15 * max(right - left, bottom - top)
        x1, y1 = int(left - margin), int(top - margin)
        x2, y2 = int(right + margin) + 1, int(bottom + margin) + 1
        whole = x1 >= 0 and y1 >= 0 and x2 <= frame.shape[1] and y2 <= frame.shape[0]
        worth = part.last.score + whole
        if part in self.pictures and worth < self.pictures[part][0] + CLEARLY_BETTER:
            return
        crop = frame[max(y1, 0) : y2, max(x1, 0) : x2]
        if crop.size:
            shrink = min(THUMBNAIL / max(crop.shape[:2]), 1.0)
            sides = [max(round(side * shrink), 1) for side in crop.shape[1::-1]]
            self.pictures[part] = worth, np.asarray(cv2.resize(crop, sides, interpolation=cv2.INTER_AREA))

    def _settle(self, frame: int) -> None:
        for part in self.counter.leave():
            picture = self.pictures.pop(part, None)
            if not part.number:
                continue
            self._note(part, frame)
            if part.counted:
                self.certificate.add(part, picture[1] if picture else None)
            if not part.twin:
                self.seen[part.label] += 1
                for row in _mot_rows(part, self.recipe.fill):
                    heapq.heappush(self._rows, row)
        open_from = min((part.first.frame for part in self.counter.live), default=frame + 1)
        while self._rows and self._rows[0][0] < open_from:
            self.tracks.write(heapq.heappop(self._rows)[2])

    def _note(self, part: Part, frame: int) -> None:
        about = {
            "track": part.number,
            "label": self.classes[part.label],
            "first_frame": part.first.frame,
            "last_frame": part.last.frame,
        }
        if part.counted and part.doubts:
            self.doubtful.append({"number": part.counted, **about, "doubts": part.doubts})
        elif not part.counted:
            if part.twin:
                reason = f"its boxes lie on those of track {part.twin}"
            elif part.first.place >= self.recipe.rule.line:
                reason = "below the line when it was first seen, and not known to have crossed it in this video"
            elif frame - part.last.frame <= 1:
                reason = "above the line when the video ended"
            else:
                reason = "lost above the line"
            self.not_counted.append({**about, "reason": reason})


def _mot_rows(part: Part, fill: int) -> Iterator[tuple[int, int, str]]:
    frames = np.array([moment.frame for moment in part.trail])
    scores = np.array([moment.score for moment in part.trail])
    every, boxes = fill_gaps(frames, np.stack([moment.box_xyxy for moment in part.trail]), fill)
    for frame, (x1, y1, x2, y2), score in zip(every, boxes, np.interp(every, frames, scores), strict=True):
        cells = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},{part.label + 1},-1"
        yield int(frame), part.number, f"{frame},{part.number},{cells}\n"


def _summary(counted: Counted, recipe: Recipe, frames: Frames) -> dict[str, Any]:
    return {
        "video": frames.name,
        "counts": counted.counts,
        "total": sum(counted.counts.values()),
        "seen": counted.seen,
        "frames": counted.frames,
        "width": frames.width,
        "height": frames.height,
        "fps": frames.fps,
        "line": recipe.rule.line,
        "direction": recipe.rule.direction,
        "doubtful": counted.doubtful,
        "not_counted": counted.not_counted,
    }


def _detected(frames: Frames, detect: Detect, batch_size: int) -> Iterator[tuple[list[Pixels], list[Detections]]]:
    """Batches of frames with what is in them; read and detected in threads, a little ahead."""
    with progress(frames, "counting", frames.expected, "frame") as bar:
        several = iter(bar)
        batches = _ahead(iter(lambda: list(islice(several, batch_size)), []), depth=2)
        yield from _ahead(((batch, detect(batch)) for batch in batches), depth=2)


def _ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Make ``items`` in a thread, at most ``depth`` of them before they are asked for."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Any]] = deque(pool.submit(next, iterator, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, iterator, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _behind(function: Callable[[Pixels], None], depth: int = 8) -> Iterator[Callable[[Pixels], None]]:
    """Call ``function`` in a thread, in order, at most ``depth`` calls late; its errors come out of a later call."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[None]] = deque()

        def call(frame: Pixels) -> None:
            waiting.append(pool.submit(function, frame))
            while len(waiting) > depth:
                waiting.popleft().result()

        try:
            yield call
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


CLEARLY_BETTER = 0.02
THUMBNAIL = 96
