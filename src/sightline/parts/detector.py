"""Find parts in frames with what ``parts-train`` leaves, on ONNX Runtime: neither torch nor ultralytics is needed."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.core.serving import OnnxNetwork
from sightline.parts.letterbox import fit, scales


@dataclass(frozen=True)
class Detections:
    """What is in a frame, best first: ``boxes_xyxy`` float32 (n, 4) in px of the frame, ``scores`` float32 (n,) from 0
    to 1, ``labels`` int64 (n,), numbers of the detector's classes.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


class Detector:
    """The trained detector.

    >>> detector = Detector(Path("models/parts/detector"))
    >>> detector(frames)[0].boxes_xyxy.shape  # frames: uint8 RGB (B, H, W, 3)
    (n, 4)

    Attributes:
        classes: names, by label.
        score: the lowest score of a detection, chosen on validation; a tracker that also uses faint detections sets
            its own.
        overlap: of two boxes with a higher IoU the better one stays, whatever their classes: a part is one thing.
        size: side in px of the square that frames are fitted into.

    Raises:
        InputError: ``folder`` holds no detector.
    """

    def __init__(self, folder: Path, threads: int = 0, score: float | None = None) -> None:
        try:
            config = read_json(folder / "config.json")
            self.classes = tuple(map(str, config["classes"]))
            self.score = float(config["score"]["value"]) if score is None else score
            self.overlap = float(config["overlap"]["value"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"config.json lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise InputError(f"{folder} holds no detector of parts-train: {reason}") from None
        self.network = OnnxNetwork(folder / "model.onnx", threads)
        self.size = self.network.size

    def __call__(self, frames: Pixels) -> list[Detections]:
        """What is in each of the frames, uint8 RGB (B, H, W, 3) of any one size; B may be 0."""
        if not len(frames):
            return []
        outputs = self.network(np.stack([fit(frame, self.size) for frame in frames]))
        height, width = frames.shape[1:3]
        limits = np.array([width, height, width, height], np.float32)
        shrunk = scales(width, height, self.size).astype(np.float32)
        found = []
        for boxes, scores in zip(outputs["boxes"], outputs["scores"], strict=True):
            kept = suppress(boxes, scores, self.score, self.overlap)
            found.append(Detections((kept.boxes_xyxy / shrunk).clip(0, limits), kept.scores, kept.labels))
        return found


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], score: float, overlap: float) -> Detections:
    """Non-maximum suppression, whatever the classes.

    Args:
        boxes: float32 (N, 4), xyxy.
        scores: float32 (N, K), of which the best counts.
        score: what a box has at least.
        overlap: the IoU that two boxes that stay have at most.

    Returns:
        What stays, best first, in the units of ``boxes``.
    """
    labels = scores.argmax(1)
    best = scores[np.arange(len(scores)), labels]
    candidates = np.flatnonzero(best >= score)
    corners = boxes[candidates]
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    # Its own threshold is not for what equals it.
    order = np.asarray(
        cv2.dnn.NMSBoxes(sides.tolist(), best[candidates].tolist(), 0.0, overlap), dtype=np.int64
    ).ravel()
    kept = candidates[order]
    return Detections(boxes[kept], best[kept], labels[kept].astype(np.int64))
