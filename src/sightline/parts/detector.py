"""Find parts in frames with what ``parts-train`` leaves, on ONNX Runtime: neither torch nor ultralytics is needed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.images import Pixels
from sightline.core.parallel import map_ordered
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
    >>> detector(frames)[0].boxes_xyxy.shape  # frames: of uint8 RGB (H, W, 3)
    (n, 4)

    Attributes:
        classes: names, by label.
        score: the lowest score of a detection, chosen on validation; a tracker that also uses faint detections sets
            its own.
        overlap: of two boxes with a higher IoU the better one stays, whatever their classes: a part is one thing.
        size: side in px of the square that frames are fitted into.
        threads: frames that are looked at at the same time.
        together: frames that one run of the network takes.

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
        # A CPU does more with a frame a thread than with threads that share a frame, and so wait for one another; and
        # what is found does not depend on how many there are.
        self.network = OnnxNetwork(folder / "model.onnx", threads=1)
        self.size = self.network.size
        self.threads = threads or os.cpu_count() or 1
        self.together = ON_A_GPU if "CUDAExecutionProvider" in self.network.session.get_providers() else 1

    def __call__(self, frames: Sequence[Pixels]) -> list[Detections]:
        """What is in each of the frames, uint8 RGB (H, W, 3)."""
        runs = [frames[start : start + self.together] for start in range(0, len(frames), self.together)]
        return [found for run in map_ordered(self._find, runs, self.threads) for found in run]

    def _find(self, frames: Sequence[Pixels]) -> list[Detections]:
        outputs = self.network(np.stack([fit(frame, self.size) for frame in frames]))
        found = []
        for frame, boxes, scores in zip(frames, outputs["boxes"], outputs["scores"], strict=True):
            height, width = frame.shape[:2]
            kept = suppress(boxes, scores, self.score, self.overlap)
            corners = kept.boxes_xyxy / scales(width, height, self.size).astype(np.float32)
            limits = np.array([width, height, width, height], np.float32)
            found.append(Detections(corners.clip(0, limits), kept.scores, kept.labels))
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


ON_A_GPU = 8
