"""How unknown a picture is: scores of a network's features and logits, larger for what is more likely unknown.

    scorer = fit_scorer("knn", train, labels, weight=weight, bias=bias, neighbours=5)
    scores = scorer(pictures)

NumPy in float64 and nothing else: the deployed predictor computes the very same scores without torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sightline.core.errors import InputError
from sightline.core.files import write_arrays

FloatArray = NDArray[np.float64]

SCORERS = ("msp", "max_logit", "energy", "knn", "mahalanobis", "vim", "knn_contrast")


@dataclass(frozen=True)
class Description:
    """What a network says of N pictures: features (N, D) and the logits (N, K) that its linear head makes of them."""

    features: NDArray[Any]
    logits: NDArray[Any]

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: Any) -> "Description":
        return Description(self.features[rows], self.logits[rows])


@dataclass(frozen=True)
class Scorer:
    """A fitted score: ``settings`` say how, in words and numbers; ``arrays`` hold what was learned from training."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, FloatArray] = field(default_factory=dict)

    def __call__(self, pictures: Description) -> FloatArray:
        """Score each picture, (N,); larger is more likely unknown."""
        features, logits = np.asarray(pictures.features, np.float64), np.asarray(pictures.logits, np.float64)
        if self.name == "knn":
            return _knn(features, self.arrays["exemplars"], self.settings["neighbours"])
        if self.name == "knn_contrast":
            return _contrast(features, self.arrays, self.settings)
        if self.name == "mahalanobis":
            return _mahalanobis(features, self.arrays, self.settings["normalise"])
        if self.name == "vim":
            return _virtual_logit(features, self.arrays) - _log_sum_exp(logits)
        if self.name == "energy":
            return -_log_sum_exp(logits)
        if self.name == "max_logit":
            return np.asarray(0 - logits.max(1))
        return _improbability(logits)


def fit_scorer(
    name: str,
    train: Description,
    labels: ArrayLike,
    *,
    weight: ArrayLike,
    bias: ArrayLike,
    outliers: ArrayLike | None = None,
    neighbours: int = 5,
    normalise: bool = True,
    shrinkage: float | None = None,
    dimensions: int | None = None,
) -> Scorer:
    """Fit a score to training pictures of the known classes.

    - ``msp``: 1 minus the largest probability (Hendrycks & Gimpel, ICLR 2017), computed from the other classes' share,
      so that pictures of which a network is certain are still told apart.
    - ``max_logit``: minus the largest logit (Hendrycks et al., ICML 2022).
    - ``energy``: minus the log of the sum of the logits' exponentials (Liu et al., NeurIPS 2020), at temperature 1.
    - ``knn``: Euclidean distance to the k-th nearest training picture, features brought to length 1 (Sun et al., ICML
      2022).
    - ``mahalanobis``: squared Mahalanobis distance to the nearest class mean under one covariance for all classes (Lee
      et al., NeurIPS 2018). There are often fewer pictures than features, and that covariance has no inverse; it is
      shrunk towards a multiple of the identity, as strongly as Ledoit & Wolf (2004) find best for the data. With
      ``shrinkage`` 0 and more pictures than features it is Lee's exactly (and with fewer, a pseudo-inverse would be
      blind to every direction in which training pictures do not differ, which is where unknown ones do).
      ``normalise`` brings the features to length 1 first (Mueller & Hein, "Mahalanobis++", ICML 2025).
    - ``vim``: the virtual logit, which is the norm of what the principal space of the training features leaves of a
      feature, scaled to the size of the largest logits, less the energy's log-sum-exp (Wang et al., CVPR 2022).
    - ``knn_contrast``: the one score that has seen unknown pictures, so it can only be trusted with unknown ones like
      those. The mean distance to the k nearest training pictures, as for ``knn``, less half of that to the k nearest
      ``outliers``; outlier exposure (Hendrycks et al., ICLR 2019) without training.

    Args:
        name: one of ``SCORERS``.
        train: of the training pictures.
        labels: their classes, (N,), 0 to K - 1; every class must be there.
        weight: of the linear head that gave the logits, (K, D).
        bias: of that head, (K,).
        outliers: features (M, D) of unknown pictures, for ``knn_contrast``.
        neighbours: k of ``knn`` and ``knn_contrast``; where there are fewer pictures, all of them.
        normalise: of ``mahalanobis``.
        shrinkage: of ``mahalanobis``, in [0, 1]; None: Ledoit & Wolf's.
        dimensions: of ``vim``'s principal space, at most one less than the training features span; None: the rule of
            its authors' code (1000 for 2048 features or more, 512 for 768 or more, half of them otherwise), or half of
            what they span where there are fewer pictures than features: a residual that no training picture has could
            not be scaled.

    Raises:
        ValueError: there is no such score, or a shape does not fit.
    """
    features, logits = np.asarray(train.features, np.float64), np.asarray(train.logits, np.float64)
    labels, weight, bias = np.asarray(labels), np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    if weight.shape != (logits.shape[1], features.shape[1]) or len(bias) != len(weight) or len(labels) != len(logits):
        raise ValueError(
            f"features {features.shape}, logits {logits.shape}, labels {labels.shape}, weight {weight.shape} and bias "
            f"{bias.shape} do not fit together"
        )
    if name == "knn":
        return Scorer(name, {"neighbours": min(neighbours, len(features))}, {"exemplars": _unit(features)})
    if name == "knn_contrast":
        if outliers is None:
            raise ValueError("knn_contrast needs unknown pictures")
        seen = _unit(np.asarray(outliers, np.float64))
        return Scorer(name, {"neighbours": neighbours, "weight": 0.5}, {"exemplars": _unit(features), "outliers": seen})
    if name == "mahalanobis":
        return _fit_mahalanobis(features, labels, normalise, shrinkage)
    if name == "vim":
        return _fit_vim(features, logits, weight, bias, dimensions)
    if name not in SCORERS:
        raise ValueError(f"there is no score '{name}', only {', '.join(SCORERS)}")
    return Scorer(name)


def save_scorer(path: Path, scorer: Scorer) -> None:
    """Write the arrays; name and settings belong into the config beside them."""
    write_arrays(path, scorer.arrays)


def load_scorer(path: Path, name: str, settings: dict[str, Any]) -> Scorer:
    """Load what :func:`save_scorer` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return Scorer(name, settings, load_file(path))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} holds no fitted score: {error}") from None


def _log_sum_exp(logits: FloatArray) -> FloatArray:
    largest = logits.max(1)
    return np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(1)))


def _improbability(logits: FloatArray) -> FloatArray:
    # 1 - p loses all digits where p is nearly 1; the sum over the other classes does not.
    shares = np.exp(logits - logits.max(1, keepdims=True))
    np.put_along_axis(shares, logits.argmax(1)[:, None], 0, axis=1)
    others = shares.sum(1)
    return np.asarray(others / (1 + others))


def _knn(features: FloatArray, exemplars: FloatArray, neighbours: int) -> FloatArray:
    return np.asarray(_nearest(features, exemplars, neighbours).max(1))


def _contrast(features: FloatArray, arrays: dict[str, FloatArray], settings: dict[str, Any]) -> FloatArray:
    known, unknown = (
        _nearest(features, arrays[kind], settings["neighbours"]).mean(1) for kind in ("exemplars", "outliers")
    )
    return np.asarray(known - settings["weight"] * unknown)


def _nearest(features: FloatArray, exemplars: FloatArray, neighbours: int) -> FloatArray:
    """Distances (N, k) to the k nearest of ``exemplars``, which have length 1, in no order."""
    neighbours = min(neighbours, len(exemplars))
    distances = np.sqrt((2 - 2 * _unit(features) @ exemplars.T).clip(0))
    return np.partition(distances, neighbours - 1, axis=1)[:, :neighbours]


def _fit_mahalanobis(features: FloatArray, labels: NDArray[Any], normalise: bool, shrinkage: float | None) -> Scorer:
    if normalise:
        features = _unit(features)
    means = np.stack([features[labels == label].mean(0) for label in range(labels.max() + 1)])
    residuals = features - means[labels]
    if shrinkage is None:
        shrinkage = _ledoit_wolf(residuals)
    covariance = residuals.T @ residuals / len(residuals)
    scale = np.trace(covariance) / len(covariance)
    precision = np.linalg.pinv(
        (1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(covariance)), hermitian=True
    )
    return Scorer(
        "mahalanobis", {"normalise": normalise, "shrinkage": shrinkage}, {"means": means, "precision": precision}
    )


def _mahalanobis(features: FloatArray, arrays: dict[str, FloatArray], normalise: bool) -> FloatArray:
    if normalise:
        features = _unit(features)
    offsets = [features - mean for mean in arrays["means"]]
    return np.asarray(np.min([((offset @ arrays["precision"]) * offset).sum(1) for offset in offsets], axis=0))


def _ledoit_wolf(residuals: FloatArray) -> float:
    """The best share of a multiple of the identity, for residuals (N, D) of mean zero (Ledoit & Wolf 2004).

    It is the covariance's own squared error, estimated from the pictures, as a share of how far the covariance is from
    a multiple of the identity. With the Gram matrix (N, N) no picture's D x D product is ever formed.
    """
    count, width = residuals.shape
    gram = residuals @ residuals.T / count
    scale = np.trace(gram) / width
    squared = (gram**2).sum()
    distance = squared - width * scale**2
    error = ((np.diag(gram) ** 2).sum() * count - squared) / count
    return float(min(error, distance) / distance) if distance > 0 else 1.0


def _fit_vim(
    features: FloatArray, logits: FloatArray, weight: FloatArray, bias: FloatArray, dimensions: int | None
) -> Scorer:
    count, width = features.shape
    origin = -np.linalg.pinv(weight) @ bias
    centred = features - origin
    values, vectors = np.linalg.eigh(centred.T @ centred / count)
    rank = int((values > values[-1] * max(count, width) * np.finfo(np.float64).eps).sum())
    if dimensions is None:
        dimensions = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
        if rank < width:
            dimensions = min(dimensions, rank // 2)
    dimensions = max(min(dimensions, rank - 1), 0)
    # In ascending order of their variance, so the first are what the principal space leaves.
    residual = vectors[:, : width - dimensions]
    norms = np.linalg.norm(centred @ residual, axis=1)
    scale = logits.max(1).mean() / norms.mean() if norms.mean() > 0 else 0.0
    return Scorer(
        "vim",
        {"dimensions": dimensions, "scale": float(scale)},
        {"origin": origin, "residual": residual, "scale": np.array([scale])},
    )


def _virtual_logit(features: FloatArray, arrays: dict[str, FloatArray]) -> FloatArray:
    return np.asarray(arrays["scale"] * np.linalg.norm((features - arrays["origin"]) @ arrays["residual"], axis=1))


def _unit(features: FloatArray) -> FloatArray:
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12))
