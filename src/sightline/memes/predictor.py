"""The deployed predictor: pictures in, class and confidence out, or 'unknown'; needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.serving import OnnxNetwork, Outputs, run_on_folder
from sightline.memes.unknowns import Description, load_scorer

DECIDES = "finetuned"
"""The space whose logits name the class; the unknown score may come from another."""


@dataclass(frozen=True)
class Decisions:
    """What is said of N pictures.

    Attributes:
        probabilities: calibrated, (N, K).
        unknown_scores: (N,), larger is more likely unknown.
        rejected: (N,), whether the score is above the threshold.
    """

    probabilities: NDArray[np.float64]
    unknown_scores: NDArray[np.float64]
    rejected: NDArray[np.bool_]


@dataclass(frozen=True)
class Prediction:
    """The answer to a folder of pictures, by their paths relative to it.

    Attributes:
        results: ``{"a.jpg": {"class": "doom", "confidence": 0.97, "unknown": False, "unknown_score": 0.41}}``; the
            class is None where the picture is taken for unknown.
        unreadable: files that are no whole pictures, with the reason.
    """

    results: dict[str, dict[str, Any]]
    unreadable: dict[str, str]


class Predictor:
    """Classifies pictures with a deployed model (the folder ``models/memes/deployed``).

    >>> Predictor(Path("models/memes/deployed")).predict_folder(Path("posts")).results
    {'a.jpg': {'class': 'doom', 'confidence': 0.97, 'unknown': False, 'unknown_score': 0.41}}
    """

    def __init__(self, deployed: Path, threads: int = 0) -> None:
        try:
            config = read_json(deployed / "config.json")
        except FileNotFoundError:
            raise InputError(f"{deployed} holds no deployed model: run 'dvc repro memes-infer' or 'dvc pull'") from None
        except ValueError as error:
            raise InputError(f"{deployed / 'config.json'} is not valid JSON: {error}") from None
        if config.get("task") != "memes":
            raise InputError(f"{deployed} holds a model of task {config.get('task')!r}, not of 'memes'")
        self.classes: list[str] = config["classes"]
        self.temperature: float = config["temperature"]
        self.space: str = config["scorer"]["space"]
        self.threshold: float = config["scorer"]["threshold"]
        scorer = config["scorer"]
        self.scorer = load_scorer(deployed / "scorer.safetensors", scorer["name"], scorer["settings"])
        self.network = OnnxNetwork(deployed / "model.onnx", threads)

    def predict_folder(
        self, folder: Path, threshold: float | None = None, workers: int = 2, batch_size: int = 64
    ) -> Prediction:
        """Classify every picture below ``folder``; hidden files are left out, other files are reported as unreadable.

        Pictures are decoded by ``workers`` threads while the network works on those before them. ``threshold`` None
        takes the one chosen on validation.

        Raises:
            InputError: ``folder`` is none.
        """
        found = run_on_folder(self.network, folder, workers, batch_size)
        if not found.names:
            return Prediction({}, found.unreadable)
        decisions = self.decide(found.outputs, threshold)
        results = {}
        for row, name in enumerate(found.names):
            probabilities, unknown = decisions.probabilities[row], bool(decisions.rejected[row])
            results[name] = {
                "class": None if unknown else self.classes[int(probabilities.argmax())],
                "confidence": round(float(probabilities.max()), 6),
                "unknown": unknown,
                "unknown_score": round(float(decisions.unknown_scores[row]), 6),
            }
        return Prediction(results, found.unreadable)

    def decide(self, outputs: Outputs, threshold: float | None = None) -> Decisions:
        """Turn the graph's outputs, ``<space>_features`` (N, D) and ``<space>_logits`` (N, K), into decisions."""
        scores = self.scorer(Description(outputs[f"{self.space}_features"], outputs[f"{self.space}_logits"]))
        rejected = scores > (self.threshold if threshold is None else threshold)
        return Decisions(probabilities(outputs[f"{DECIDES}_logits"], self.temperature), scores, rejected)


def probabilities(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities (N, K) of logits (N, K)."""
    scaled = np.asarray(logits, np.float64) / temperature
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))
