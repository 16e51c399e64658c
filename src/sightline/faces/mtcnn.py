"""Find faces: MTCNN (Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 2016) with facenet-pytorch's weights, as its ``MTCNN.detect`` does it and
several times as fast on a CPU.

PNet looks at a pyramid of the picture for anything like a face, RNet looks at what PNet found, and ONet decides and
places the landmarks. The time goes to three things, and so does the speed: the networks run in ONNX Runtime; every
picture and crop that they see is an average of areas, and all of them are read off one table of sums; and overlapping
boxes are thinned out by OpenCV.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.core.serving import open_session

Floats = NDArray[np.float32]
Sums = NDArray[np.int32]


@dataclass(frozen=True)
class Detections:
    """The faces of a picture by descending score, in pixels of the picture; a box may reach beyond its sides.

    Attributes:
        boxes_xyxy: float32 (N, 4), tight on the face: forehead to chin, cheek to cheek.
        scores: float32 (N,), the probability of a face that the last stage, ONet, gives.
        landmarks: float32 (N, 5, 2), x and y of the left eye, the right eye, the nose and the left and the right corner
            of the mouth; left is left in the picture.
    """

    boxes_xyxy: Floats
    scores: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.scores)


class Detector:
    """Finds upright faces; may be used by several threads at once.

    >>> found = Detector(score=0.9, min_face=20).detect(read_image(Path("group.jpg")))
    >>> found.boxes_xyxy.shape, found.landmarks.shape
    ((5, 4), (5, 5, 2))
    """

    def __init__(
        self, score: float = 0.9, min_face: int = 20, threads: int = 1, graphs: Mapping[str, bytes] | None = None
    ) -> None:
        """Load the networks.

        Args:
            score: the lowest of ONet that counts as a face.
            min_face: shortest side of a face in px that is looked for; time falls with its square.
            threads: of ONNX Runtime; the result does not depend on it.
            graphs: see :func:`sightline.faces.mtcnn_graphs.pretrained_graphs`, from where they come if not given.
        """
        if graphs is None:
            # Imported here, because a detector that was exported needs no torch.
            from sightline.faces.mtcnn_graphs import pretrained_graphs

            graphs = pretrained_graphs()
        self.score = score
        self.min_face = min_face
        self.pnet, self.rnet, self.onet = (_Network(graphs[name], threads) for name in NAMES)

    @classmethod
    def from_folder(cls, folder: Path, threads: int = 1) -> "Detector":
        """Load what :func:`sightline.faces.mtcnn_graphs.export_detector` wrote.

        Raises:
            InputError: the folder holds no whole detector.
        """
        try:
            config = read_json(folder / "config.json")
            graphs = {name: (folder / f"{name}.onnx").read_bytes() for name in NAMES}
            return cls(config["score"], config["min_face"], threads, graphs)
        # The runtime's own exceptions have no common class.
        except Exception as error:  # noqa: BLE001
            raise InputError(f"{folder} holds no detector that can be loaded: {error}") from None

    def detect(self, image: Pixels) -> Detections:
        """Find the faces of an (H, W, 3) uint8 RGB picture of any size."""
        # Where sums exceed 32 bits they wrap round, and their differences come out right all the same.
        sums = np.asarray(cv2.integral(image, sdepth=cv2.CV_32S), np.int32)
        boxes = self._propose(sums)
        boxes = self._refine(sums, boxes)
        return self._decide(sums, boxes)

    def _propose(self, sums: Sums) -> Floats:
        """Squares (N, 4) around whatever PNet takes for a face at some scale."""
        found = [np.empty((0, 9), np.float32)]
        for scale in _pyramid(sums, self.min_face):
            cells = self._scan(sums, scale)
            cells[:, :4] = np.floor(cells[:, :4] / np.float32(scale))
            found.append(cells[_thin_out(cells[:, :4], cells[:, 4], 0.5)])
        cells = np.concatenate(found)
        cells = cells[_thin_out(cells[:, :4], cells[:, 4], 0.7)]
        sides = cells[:, 2:4] - cells[:, :2]
        return _squares(cells[:, :4] + cells[:, 5:] * np.tile(sides, 2))

    def _scan(self, sums: Sums, scale: float) -> Floats:
        """What looks like a face when the picture is shrunk by ``scale``, (n, 9): cell, score and offsets of its sides.

        The cells are in px of the shrunk picture.
        """
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        tops, bottoms = _bins(np.array(0), np.array(height), int(height * scale + 1))
        lefts, rights = _bins(np.array(0), np.array(width), int(width * scale + 1))
        # In strips, so that memory stays bounded; of even heights, so that a strip begins where a cell does.
        strip = max(STRIP_PIXELS // len(lefts), CELL) // 2 * 2
        found = []
        for top in range(0, len(tops) - CELL + 1, strip):
            rows = slice(top, top + strip + CELL - STRIDE)
            bands = sums[bottoms[rows]] - sums[tops[rows]]
            totals = bands.take(rights, axis=1) - bands.take(lefts, axis=1)
            out = self.pnet(_averages(totals, bottoms[rows] - tops[rows], rights - lefts)[None])[0]
            y, x = np.nonzero(out[0] >= PNET_LOGIT)
            corners = np.stack([x, y], axis=1) * STRIDE + [0, top]
            scores, offsets = _sigmoid(out[0, y, x]), out[1:, y, x]
            found.append(np.column_stack([corners + 1, corners + CELL, scores, offsets.T]).astype(np.float32))
        return np.concatenate(found)

    def _refine(self, sums: Sums, boxes: Floats) -> Floats:
        """Of the boxes those that RNet takes for a face, better placed, (N, 4)."""
        boxes, out = self._look(self.rnet, sums, boxes, 24)
        scores = _sigmoid(out[:, 0])
        passed = scores > RNET_SCORE
        boxes, scores, offsets = boxes[passed], scores[passed], out[passed, 1:]
        kept = _thin_out(boxes, scores, 0.7)
        return _squares(_shift(boxes[kept], offsets[kept]))

    def _decide(self, sums: Sums, boxes: Floats) -> Detections:
        boxes, out = self._look(self.onet, sums, boxes, 48)
        scores = _sigmoid(out[:, 0])
        passed = scores >= self.score
        boxes, scores, out = boxes[passed], scores[passed], out[passed]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        # The published code counts pixels from 1.
        landmarks = boxes[:, None, :2] - 1 + out[:, 5:].reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None]
        boxes = _shift(boxes, out[:, 1:5])
        kept = _without_parts(boxes, scores)
        return Detections(boxes[kept], scores[kept], landmarks[kept])

    def _look(self, network: "_Network", sums: Sums, boxes: Floats, side: int) -> tuple[Floats, Floats]:
        """The boxes that have pixels inside the picture, and what a network says of each, (N, channels)."""
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        # Towards zero, and from one pixel before the corner on, as in the published code.
        left, top, right, bottom = np.trunc(boxes).astype(np.int64).T
        left, top = np.maximum(left, 1) - 1, np.maximum(top, 1) - 1
        right, bottom = np.minimum(right, width), np.minimum(bottom, height)
        inside = np.flatnonzero((right > left) & (bottom > top))
        parts = [
            network(_crops(sums, left[part], top[part], right[part], bottom[part], side))
            for part in np.split(inside, range(CROPS, len(inside), CROPS))
            if len(part)
        ]
        return boxes[inside], np.concatenate(parts) if parts else np.empty((0, network.channels), np.float32)


class _Network:
    """One of the graphs: float32 pixels (N, 3, H, W) from 0 to 255 in, its ``out`` out."""

    def __init__(self, graph: bytes, threads: int) -> None:
        # On the CPU: for layers this small a GPU is slower than the way to it.
        self.session = open_session(graph, threads)
        self.channels = int(self.session.get_outputs()[0].shape[1])

    def __call__(self, pixels: Floats) -> Floats:
        return np.asarray(self.session.run(None, {"pixels": pixels})[0])


def _pyramid(sums: Sums, min_face: int) -> Iterator[float]:
    """By how much to shrink the picture so that ever larger faces, from ``min_face`` px on, fill a cell."""
    scale = CELL / min_face
    shortest = (min(sums.shape[:2]) - 1) * scale
    while shortest >= CELL:
        yield scale
        scale *= FACTOR
        shortest *= FACTOR


def _crops(
    sums: Sums,
    left: NDArray[np.int64],
    top: NDArray[np.int64],
    right: NDArray[np.int64],
    bottom: NDArray[np.int64],
    side: int,
) -> Floats:
    """The parts of the picture inside N boxes on the pixel grid, each as (3, side, side)."""
    first_rows, last_rows = _bins(top, bottom, side)
    first_columns, last_columns = _bins(left, right, side)
    flat, width = sums.reshape(-1, 3), sums.shape[1]

    def corners(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Sums:
        return np.asarray(flat.take(rows[:, :, None] * width + columns[:, None], axis=0))

    totals = corners(last_rows, last_columns)
    totals -= corners(first_rows, last_columns)
    totals -= corners(last_rows, first_columns)
    totals += corners(first_rows, first_columns)
    return _averages(totals, last_rows - first_rows, last_columns - first_columns)


def _bins(start: NDArray[np.int64], stop: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where ``count`` bins from ``start`` (…) to ``stop`` begin and end, (…, count) each.

    They overlap where the length is no multiple of the count, as torch's ``interpolate(mode="area")`` has them.
    """
    number = np.arange(count)
    length = (stop - start)[..., None]
    return start[..., None] + number * length // count, start[..., None] - (-(number + 1) * length // count)


def _averages(totals: Sums, heights: NDArray[np.int64], widths: NDArray[np.int64]) -> Floats:
    """Sums (…, H, W, 3) over bins with those heights (…, H) and widths (…, W) as averages (…, 3, H, W)."""
    areas = (heights[..., :, None] * widths[..., None, :]).astype(np.float32)
    return np.divide(np.moveaxis(totals, -1, -3), areas[..., None, :, :], dtype=np.float32, order="C")


def _thin_out(boxes_xyxy: Floats, scores: Floats, overlap: float) -> NDArray[np.int64]:
    """Non-maximum suppression: indices by descending score, none with a higher IoU than ``overlap`` to one before."""
    if not len(boxes_xyxy):
        return np.empty(0, np.int64)
    boxes_xywh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    # OpenCV takes arrays as well, and converts lists for longer than it works.
    kept = cv2.dnn.NMSBoxes(boxes_xywh, scores, 0.0, overlap)  # type: ignore[arg-type]
    return np.asarray(kept, np.int64).reshape(-1)


def _without_parts(boxes_xyxy: Floats, scores: Floats) -> NDArray[np.int64]:
    """Indices by descending score, without boxes of which more than 0.7 lies in one before, or the other way round."""
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] + 1, axis=1)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        top_left = np.maximum(boxes_xyxy[best, :2], boxes_xyxy[left, :2])
        bottom_right = np.minimum(boxes_xyxy[best, 2:], boxes_xyxy[left, 2:])
        common = np.prod(np.maximum(bottom_right - top_left + 1, 0), axis=1)
        left = left[common <= 0.7 * np.minimum(areas[best], areas[left])]
    return np.array(kept, dtype=np.int64)


def _shift(boxes_xyxy: Floats, offsets: Floats) -> Floats:
    """Move the sides of boxes (N, 4) by shares of their width and height."""
    return boxes_xyxy + offsets * np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] + 1, 2)


def _squares(boxes_xyxy: Floats) -> Floats:
    """The squares around the centres of boxes (N, 4) with their longer sides."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    longest = sides.max(axis=1, keepdims=True, initial=0)
    top_left = boxes_xyxy[:, :2] + sides * np.float32(0.5) - longest * np.float32(0.5)
    return np.concatenate([top_left, top_left + longest], axis=1)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


NOTHING = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
NAMES = ("pnet", "rnet", "onet")
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""The landmarks in their order; left is left in the picture."""
PNET_SCORE, RNET_SCORE = 0.6, 0.7
PNET_LOGIT = math.log(PNET_SCORE / (1 - PNET_SCORE))
CELL, STRIDE = 12, 2
"""PNet's field of view and step in px."""
FACTOR = 0.709
"""From a level of the pyramid to the next: half of the area."""
STRIP_PIXELS = 1 << 18
CROPS = 16
"""At a time: faster than all at once (RNet on 110 crops: 2.4 ms in sixteens, 3.7 ms together)."""
