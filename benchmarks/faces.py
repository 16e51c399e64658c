"""How fast the faces task is against its limits, measured side by side in one run.

    python benchmarks/faces.py [--photos FOLDER] [--rounds 5]

Detection alternates its two sides and takes the median of their times, so that a busy machine slows both alike. Then a
face is identified among 10, 1,000 and 100,000 enrolled vectors of 128 and 512 numbers.
``FOLDER`` holds photos and, for recall and precision, their boxes in ``annotations.json``; without one, group photos
are drawn, which have boxes too.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sightline.core.files import read_json
from sightline.core.images import Pixels, list_images, read_image
from sightline.core.progress import progress
from sightline.faces.gallery import Gallery, identify
from sightline.faces.layout import read_layout
from sightline.faces.matching import DetectionCurve, match
from sightline.faces.mtcnn import NOTHING, Detections, Detector
from sightline.faces.neighbours import unit
from sightline.faces.params import Faces
from sightline.faces.synthetic import draw_dataset
from sightline.params import Runtime, load


class Scene(NamedTuple):
    """A photo and its true boxes: (M, 4) in px, and which of them need not be found; None where nobody knows them."""

    image: Pixels
    boxes_xyxy: NDArray[np.float64] | None
    ignored: NDArray[np.bool_]


def main() -> None:
    """Run the comparisons, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of photos with annotations.json")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison")
    options = parser.parse_args()
    faces = load("faces", Faces)
    scenes = read_scenes(options.photos) if options.photos else drawn_scenes(faces)
    # One thread for both sides, whatever the machine has.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    detection(scenes, sorted({PLAIN_MIN_FACE, faces.detect.min_face}), faces.detect.score, options.rounds)
    columns = ("vectors", "numbers", "people", "known", "stranger", "slowest")
    print("".join(f"{column:>12}" for column in columns), "  limit 5 ms")
    for size in SIZES:
        for dimensions in DIMENSIONS:
            identification(size, dimensions, ASKED)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process {peak:.2f} GiB")


def detection(scenes: Sequence[Scene], min_faces: Sequence[int], score: float, rounds: int) -> None:
    """Faces found per second and what of them is right, against ``MTCNN().detect``, photo by photo on both sides."""
    plain = MTCNN(keep_all=True, min_face_size=PLAIN_MIN_FACE)
    print(f"{len(scenes)} photos, one thread, faces from {PLAIN_MIN_FACE} px with a score of {score} or more")

    def detect_plainly(image: Pixels) -> Detections:
        boxes, scores, landmarks = plain.detect(image, landmarks=True)
        if boxes is None:
            return NOTHING
        sure = scores.astype(np.float32) >= score
        return Detections(*(np.asarray(part, np.float32)[sure] for part in (boxes, scores, landmarks)))

    for min_face in min_faces:
        detector = Detector(score, min_face)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        found: dict[bool, list[Detections]] = {}
        for number in progress(range(rounds + 1), f"faces from {min_face} px", unit="round"):
            times, found = {True: 0.0, False: 0.0}, {True: [], False: []}
            for scene in scenes:
                for ours, detect in ((True, detector.detect), (False, detect_plainly)):
                    start = time.perf_counter()
                    found[ours].append(detect(scene.image))
                    times[ours] += time.perf_counter() - start
            # The first round warms up.
            for ours in times if number else ():
                seconds[ours].append(times[ours])
        rates = {ours: sum(map(len, found[ours])) / statistics.median(seconds[ours]) for ours in seconds}
        ratios = [plain_time / our_time for our_time, plain_time in zip(seconds[True], seconds[False], strict=True)]
        for ours, name in ((True, f"ours, from {min_face} px"), (False, f"MTCNN, from {PLAIN_MIN_FACE} px")):
            precision, recall = _precision_recall(scenes, found[ours])
            print(
                f"{name:<24}{rates[ours]:>8.1f} faces/s   precision {precision:.3f}   recall {recall:.3f}", flush=True
            )
        print(f"{'':<24}{rates[True] / rates[False]:>8.2f} x faces/s   {_spread(ratios)}")


def identification(size: int, dimensions: int, rounds: int) -> None:
    """How long it takes to identify one face: a line of a table.

    Vectors are eight a person, spread about as those of a face network are: photos of one person at a cosine of 0.6, of
    two people near 0. A known face and a stranger are asked for in turn; the median counts.
    """
    rng = np.random.default_rng(0)
    people = -(-size // PHOTOS)
    centres = rng.standard_normal((people, dimensions), np.float32)
    owners = np.arange(size) // PHOTOS
    names = tuple(f"person {number:06}" for number in owners)
    gallery = Gallery(_near(rng, centres[owners]), names, names, "benchmark")
    asked = rng.integers(people, size=rounds)
    known, strangers = _near(rng, centres[asked]), unit(rng.standard_normal((rounds, dimensions), np.float32))
    # Names are numbered once for a gallery, not for each face.
    identify(gallery, known[:1], NEIGHBOURS, THRESHOLD)
    times: tuple[list[float], list[float]] = ([], [])
    for row in range(rounds):
        for kind, faces in enumerate((known, strangers)):
            started = time.perf_counter()
            found, _ = identify(gallery, faces[row : row + 1], NEIGHBOURS, THRESHOLD)
            times[kind].append(1e3 * (time.perf_counter() - started))
            if kind == 0 and found != [f"person {asked[row]:06}"]:
                raise RuntimeError(f"{found} is not person {asked[row]:06}")
    medians = "".join(f"{statistics.median(kind):>9.3f} ms" for kind in times)
    print(f"{size:>12,}{dimensions:>12}{people:>12,}{medians}{max(*times[0], *times[1]):>9.3f} ms", flush=True)


def _precision_recall(scenes: Sequence[Scene], found: Sequence[Detections]) -> tuple[float, float]:
    scores, right, expected = [], [], 0
    for scene, seen in zip(scenes, found, strict=True):
        if scene.boxes_xyxy is not None:
            matches = match(
                seen.boxes_xyxy, seen.scores, scene.boxes_xyxy, scene.ignored, iou=IOU, min_side=PLAIN_MIN_FACE
            )
            scores.append(seen.scores[matches.counts])
            right.append(matches.truth[matches.counts] >= 0)
            expected += int(matches.expected.sum())
    if not scores:
        return np.nan, np.nan
    curve = DetectionCurve(np.concatenate(scores), np.concatenate(right))
    return curve.at(0, np.ones(len(curve.scores)), expected)


def _spread(ratios: Sequence[float]) -> str:
    return f"times by round {min(ratios):.2f} to {max(ratios):.2f} x"


def read_scenes(folder: Path) -> list[Scene]:
    """Photos that annotations.json lists (names below the folder or beside it), or all below a folder without one."""
    if not (folder / "annotations.json").is_file():
        return [Scene(read_image(path), None, np.empty(0, np.bool_)) for path in list_images(folder)]
    scenes = []
    for entry in read_json(folder / "annotations.json"):
        path = next(path for path in (folder / entry["file"], folder.parent / entry["file"]) if path.is_file())
        faces = entry["faces"]
        known = all("bbox" in face for face in faces)
        boxes = np.array([face["bbox"] for face in faces], np.float64).reshape(-1, 4) if known else None
        scenes.append(Scene(read_image(path), boxes, np.array([bool(face.get("invalid")) for face in faces], np.bool_)))
    return scenes


def drawn_scenes(faces: Faces) -> list[Scene]:
    """The embedded data set's group photos."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "drawn"
        fewest = {"people": 2, "photos": 2, "strangers": 2, "stranger_photos": 1, "empty": 1, "emotions": 1}
        draw_dataset(folder, faces.data.synthetic.model_copy(update=fewest), load("runtime", Runtime).workers)
        groups = [photo for photo in read_layout(folder) if photo.role == "group"]
        return [
            Scene(
                read_image(photo.path),
                np.array([face.box_xyxy for face in photo.faces], np.float64).reshape(-1, 4),
                np.array([face.ignore for face in photo.faces], np.bool_),
            )
            for photo in groups
        ]


def _near(rng: np.random.Generator, centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors about centres, at a cosine of about 0.6 with each other."""
    return unit(centres + 0.8 * rng.standard_normal(centres.shape, np.float32))


PLAIN_MIN_FACE = 20
"""The published default, in px."""
IOU = 0.5
SIZES, DIMENSIONS, PHOTOS, NEIGHBOURS, THRESHOLD = (10, 1_000, 100_000), (128, 512), 8, 5, 0.35
ASKED = 50
"""Known faces, and as many strangers."""

if __name__ == "__main__":
    main()
