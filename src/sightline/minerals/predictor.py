"""The deployed predictor: tight patches in, minerals and confidences out; needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.progress import say
from sightline.core.serving import OnnxClassifier, run_on_folder
from sightline.minerals.params import NONE


@dataclass(frozen=True)
class Decisions:
    """What is said of each patch: the likeliest mineral, its probability, and whether 'none' is likelier still."""

    minerals: NDArray[np.str_]
    confidences: NDArray[np.float64]
    none_wins: NDArray[np.bool_]

    def accepted(self, threshold: float) -> NDArray[np.bool_]:
        """Which patches get the mineral's name: its probability reaches the threshold, and 'none' is no likelier."""
        return (self.confidences >= threshold) & ~self.none_wins


def decide(probabilities: NDArray[np.float32], classes: Sequence[str]) -> Decisions:
    """Turn probabilities (N, K), columns as in ``classes``, into decisions, without a threshold yet."""
    minerals = [number for number, name in enumerate(classes) if name != NONE]
    best = probabilities[:, minerals].argmax(1)
    confidences = probabilities[:, minerals].max(1).astype(np.float64)
    none = probabilities[:, classes.index(NONE)] if NONE in classes else np.zeros(len(probabilities))
    return Decisions(np.array(classes)[minerals][best], confidences, none > confidences)


@dataclass(frozen=True)
class Prediction:
    """The answer to a folder of pictures, by their paths relative to it."""

    results: dict[str, dict[str, Any]]
    """``{"a.jpg": {"confidence": 0.97, "result": "pyrite"}}``; the result is None for 'none of them' and for doubt."""
    unreadable: dict[str, str]
    """Files that are no whole pictures, with the reason."""


class Predictor:
    """Classifies tight patches with a deployed model (the folder ``models/minerals/deployed``).

    >>> Predictor(Path("models/minerals/deployed")).predict_folder(Path("patches")).results
    {'a.jpg': {'confidence': 0.97, 'result': 'pyrite'}}
    """

    def __init__(self, deployed: Path, threads: int = 0) -> None:
        try:
            config = read_json(deployed / "config.json")
        except FileNotFoundError:
            raise InputError(
                f"{deployed} holds no deployed model: run 'dvc repro minerals-infer' or 'dvc pull'"
            ) from None
        except ValueError as error:
            raise InputError(f"{deployed / 'config.json'} is not valid JSON: {error}") from None
        if config.get("task") != "minerals":
            raise InputError(f"{deployed} holds a model of task {config.get('task')!r}, not of 'minerals'")
        self.classes: list[str] = config["classes"]
        self.threshold: float | None = config["threshold"]
        self.classify = OnnxClassifier(deployed / "model.onnx", threads)

    def predict_folder(
        self, folder: Path, threshold: float | None = None, workers: int = 2, batch_size: int = 64
    ) -> Prediction:
        """Classify every picture below ``folder``; hidden files are left out, other files are reported as unreadable.

        Pictures are decoded by ``workers`` threads while the network works on those before them. ``threshold`` None
        takes the calibrated one.
        """
        found = run_on_folder(self.classify.network, folder, workers, batch_size)
        if not found.names:
            return Prediction({}, found.unreadable)
        return Prediction(self._answers(found.names, found.outputs["probabilities"], threshold), found.unreadable)

    def _answers(
        self, names: Sequence[str], probabilities: NDArray[np.float32], threshold: float | None
    ) -> dict[str, dict[str, Any]]:
        if threshold is None:
            threshold = self.threshold
        if threshold is None:
            say(
                "no threshold kept the error within minerals.infer.max_error on validation: "
                "nothing is accepted unless a threshold is given"
            )
        decisions = decide(probabilities, self.classes)
        accepted = decisions.accepted(threshold) if threshold is not None else np.zeros(len(names), dtype=bool)
        return {
            name: {"confidence": round(float(confidence), 6), "result": str(mineral) if sure else None}
            for name, mineral, confidence, sure in zip(
                names, decisions.minerals, decisions.confidences, accepted, strict=True
            )
        }
