"""The linear probe: logistic regression on standardised features, and how strong to make it. NumPy in and out.

How much a network knows of a task before it is trained for it is what a linear classifier on its frozen features can do
(Alain and Bengio, "Understanding intermediate layers using linear classifier probes", ICLR workshop 2017).
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from sightline.core.files import read_json, replacing_folder, write_arrays, write_json

Floats = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]


class Probe(NamedTuple):
    """Logits are ``(features - mean) / scale @ weight.T + bias``; weight (K, D), bias (K,), mean and scale (D,)."""

    weight: Floats
    bias: Floats
    mean: Floats
    scale: Floats

    def logits(self, features: Floats) -> Floats:
        """Logits float32 (N, K) of features (N, D)."""
        return np.asarray((features - self.mean) / self.scale @ self.weight.T + self.bias, dtype=np.float32)

    def as_linear(self) -> tuple[Floats, Floats]:
        """Weight (K, D) and bias (K,) of the same classifier on features as they are."""
        weight: Floats = self.weight / self.scale
        bias: Floats = self.bias - weight @ self.mean
        return weight, bias


def fit_probe(features: Floats, labels: Labels, c: float) -> Probe:
    """Fit scikit-learn's logistic regression of inverse strength ``c`` to features (N, D) and labels 0 to K - 1 (N,).

    Features that never vary are left out of it: their weights are 0.
    """
    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale[scale < SMALLEST_SCALE] = 1.0
    with threadpool_limits(1), warnings.catch_warnings():
        # Half a thousand steps leave the loss where it is to six digits, also where the regression is hardly held back.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=c, max_iter=500).fit((features - mean) / scale, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:
        # Of two classes scikit-learn gives the difference.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Probe(*(np.asarray(part, dtype=np.float32) for part in (weight, bias, mean, scale)))


def choose_c(
    features: Floats, labels: Labels, groups: NDArray[np.int64], candidates: Sequence[float], seed: int
) -> tuple[float, pd.DataFrame]:
    """The inverse strength with the lowest cross-entropy in cross-validation by group, the strongest among equals.

    Folds are five, or fewer where a class has fewer groups.

    Returns:
        It, and a table: c, log_loss, accuracy.
    """
    number = np.arange(labels.max() + 1)
    folds = min(FOLDS, *(len(np.unique(groups[labels == label])) for label in number))
    rows = []
    for c in sorted(candidates):
        logits = np.zeros((len(labels), len(number)), np.float32)
        if folds > 1:
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
            for rest, held in splitter.split(features, labels, groups):
                logits[held] = fit_probe(features[rest], labels[rest], c).logits(features[held])
        found = softmax(logits)
        accuracy = float((logits.argmax(1) == labels).mean())
        rows.append({"c": c, "log_loss": float(log_loss(labels, found, labels=number)), "accuracy": accuracy})
    table = pd.DataFrame(rows)
    return float(table["c"].iloc[table["log_loss"].to_numpy().argmin()]), table


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, K) of logits (N, K)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), dtype=np.float32)


def save_probe(folder: Path, probe: Probe, config: Mapping[str, Any]) -> None:
    """Write ``probe.safetensors`` and ``config.json`` to ``folder``, whole or not at all."""
    with replacing_folder(folder) as part:
        write_arrays(part / WEIGHTS, probe._asdict())
        write_json(part / "config.json", config)


def load_probe(folder: Path) -> tuple[Probe, dict[str, Any]]:
    """Read what :func:`save_probe` wrote."""
    return Probe(**load_file(folder / WEIGHTS)), read_json(folder / "config.json")


WEIGHTS = "probe.safetensors"
FOLDS = 5
SMALLEST_SCALE = 1e-6
