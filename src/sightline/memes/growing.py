"""Learn one class more from a few pictures and what a model remembers, without training its network again.

Three ways, each from features (N, D) and labels (N,) of K + 1 classes, the last of which is new:

- ``class_mean``: the nearest class mean by cosine (Mensink et al., PAMI 2013; Rebuffi et al., iCaRL, CVPR 2017);
- ``ranpac``: ridge regression on randomly projected features (McDonnell et al., RanPAC, NeurIPS 2023), closed form;
- ``grown_head``: the linear head gets a row for the new class (imprinted: Qi et al., CVPR 2018) and is trained further
  on remembered and new features ('replay').

The first two only judge whether a picture is of the new class; what it is otherwise is left to the network, which was
trained for that. So nothing that was known can be confused anew, it can only be taken for the new class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

from sightline.memes.memory import Labels, Vectors

Method = Literal["class_mean", "ranpac", "grown_head"]
METHODS: tuple[Method, ...] = get_args(Method)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Beside:
    """Scores of all classes, of which one margin is taken: by how much the new class leads the best of the others.

    The probability of the new class is ``expit(slope * margin)``; the others share the rest as they did before. So it
    is once logits are divided by ``temperature``.

    Attributes:
        projection: (D, M) of the unit features, followed by a ReLU; None for none.
        weight: (M, K + 1), or (D, K + 1).
        bias: (K + 1,).
        slope: of the margin.
        temperature: of the logits.
    """

    projection: Vectors | None
    weight: Vectors
    bias: Vectors
    slope: float
    temperature: float = 1.0

    def scores(self, features: Vectors) -> Vectors:
        """Scores (N, K + 1) of features (N, D)."""
        return np.asarray(_projected(features, self.projection) @ self.weight + self.bias, np.float32)

    def logits(self, features: Vectors, known: Vectors) -> Vectors:
        """Put the new class's logit behind the logits (N, K) of the known ones."""
        return self.join(self.scores(features), known)

    def all_logits(self, features: Vectors, known: Mapping[str, Vectors]) -> dict[str, Vectors]:
        """The same for the logits of several spaces, by name."""
        scores = self.scores(features)
        return {space: self.join(scores, logits) for space, logits in known.items()}

    def join(self, scores: Vectors, known: Vectors) -> Vectors:
        """The same from scores (N, K + 1) that are at hand."""
        lead = self.slope * margins(scores)
        new = special.logsumexp(known.astype(np.float64) / self.temperature, axis=1) + lead
        return np.column_stack([known, self.temperature * new]).astype(np.float32)


@dataclass(frozen=True)
class Head:
    """A linear head in place of the old one: weight (D, K + 1), bias (K + 1,)."""

    weight: Vectors
    bias: Vectors

    def logits(self, features: Vectors, known: Vectors) -> Vectors:  # noqa: ARG002 - as Beside
        """Logits (N, K + 1) of features (N, D); those of the old head do not matter."""
        return np.asarray(features @ self.weight + self.bias, np.float32)

    def all_logits(self, features: Vectors, known: Mapping[str, Vectors]) -> dict[str, Vectors]:
        """The same in place of the logits of several spaces."""
        return dict.fromkeys(known, self.logits(features, next(iter(known.values()))))


Grown = Beside | Head


def class_mean(features: Vectors, labels: Labels, *, temperature: float = 1.0) -> Beside:
    """Nearest class mean by cosine; calibrated by leaving out each picture in turn."""
    unit = _unit(features)
    of_class = np.eye(labels.max() + 1)[labels]
    sums = of_class.T @ unit
    left_out = np.einsum("nd,kd->nk", unit, _unit(sums))
    own = _unit(sums[labels] - unit)
    left_out[np.arange(len(labels)), labels] = (own * unit).sum(1)
    weight = _unit(sums).T.astype(np.float32)
    bias = np.zeros(weight.shape[1], np.float32)
    return Beside(None, weight, bias, _slope(margins(left_out), labels), temperature)


def ranpac(
    features: Vectors, labels: Labels, *, projections: int, ridge: float, seed: int, temperature: float = 1.0
) -> Beside:
    """Ridge regression from ``projections`` random features to one-hot labels, every class of the same weight.

    ``ridge`` is in units of the mean squared length of the centred projected features. The intercept is not penalised.
    Solved in its dual form, which costs (N, N): N is at most ``memory.MOST`` and a few.
    """
    dimensions = features.shape[1]
    generator = np.random.Generator(np.random.Philox(seed))
    projection = generator.standard_normal((dimensions, projections), dtype=np.float32)
    inputs = _projected(features, projection).astype(np.float64)
    classes = int(labels.max()) + 1
    weights = len(labels) / classes / np.bincount(labels)[labels]
    fit = fit_ridge(inputs, np.eye(classes)[labels], weights, ridge)
    slope = _slope(margins(fit.left_out), labels)
    return Beside(projection, fit.weight.astype(np.float32), fit.bias.astype(np.float32), slope, temperature)


@dataclass(frozen=True)
class Ridge:
    """A weighted ridge regression: weight (M, C), bias (C,), and what each sample gets from a fit without it (N, C)."""

    weight: FloatArray
    bias: FloatArray
    left_out: FloatArray


def fit_ridge(inputs: FloatArray, targets: FloatArray, weights: FloatArray, ridge: float) -> Ridge:
    """Minimise the weighted squared error plus ``ridge`` times the mean squared length of the inputs times |weight|².

    Leaving out is exact for given weights and penalty (Allen's PRESS): residuals over one minus the leverage.

    Args:
        inputs: (N, M).
        targets: (N, C).
        weights: (N,), above 0.
        ridge: above 0.
    """
    share = weights / weights.sum()
    mean_in, mean_out = share @ inputs, share @ targets
    root = np.sqrt(weights)[:, None]
    rows, answers = (inputs - mean_in) * root, (targets - mean_out) * root
    kernel = rows @ rows.T
    penalty = max(ridge * np.trace(kernel) / len(kernel), np.finfo(np.float64).tiny)
    factor = linalg.cho_factor(kernel + penalty * np.eye(len(kernel)), lower=True)
    dual = linalg.cho_solve(factor, answers)
    inverse = linalg.cho_solve(factor, np.eye(len(kernel)))
    weight = rows.T @ dual
    leverage = share + 1 - penalty * np.diag(inverse)
    fitted = (inputs - mean_in) @ weight + mean_out
    left_out = targets - (targets - fitted) / (1 - leverage)[:, None]
    return Ridge(weight, mean_out - mean_in @ weight, left_out)


def grown_head(features: Vectors, labels: Labels, head: tuple[Vectors, Vectors], *, epochs: int) -> Head:
    """Grow a linear head, weight (K, D) and bias (K,), by a row, and train all of it on balanced classes.

    The new row points from the known pictures' mean to the new ones', as long as the old rows are on average, its
    border half-way. ``epochs`` steps of L-BFGS over all samples follow; few steps, and a pull back to the start, keep
    the known rows near what they were.
    """
    samples = features.astype(np.float64)
    old_weight, old_bias = (part.astype(np.float64) for part in head)
    known, new = (samples[rows].mean(0) for rows in (labels < len(old_bias), labels == len(old_bias)))
    towards = new - known
    scale = np.linalg.norm(old_weight, axis=1).mean() / max(np.linalg.norm(towards), 1e-12)
    start_weight = np.vstack([old_weight, towards * scale])
    start_bias = np.append(old_bias, old_bias.mean() - scale * towards @ (new + known) / 2)
    start = np.column_stack([start_weight, start_bias])
    # One scale for all features, so that the penalty means the same with any backbone.
    length = np.sqrt((samples**2).sum(1).mean())
    inputs = np.column_stack([samples / length, np.ones(len(samples))])
    unit = np.append(np.full(samples.shape[1], length), 1.0)
    classes = len(start)
    weights = 1 / np.bincount(labels)[labels] / classes
    targets = np.eye(classes)[labels]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        change = flat.reshape(start.shape)
        logits = inputs @ (start * unit + change).T
        errors = weights[:, None] * (special.softmax(logits, axis=1) - targets)
        likelihood = weights @ (special.logsumexp(logits, axis=1) - (logits * targets).sum(1))
        slopes = errors.T @ inputs + PULL * change
        return float(likelihood + PULL / 2 * (change**2).sum()), slopes.ravel()

    found = optimize.minimize(loss, np.zeros(start.size), jac=True, method="L-BFGS-B", options={"maxiter": epochs})
    rows = start + found.x.reshape(start.shape) / unit
    return Head(rows[:, :-1].T.astype(np.float32), rows[:, -1].astype(np.float32))


def margins(scores: NDArray[np.floating]) -> FloatArray:
    """By how much the last class leads the best of the others, (N,), of scores (N, K + 1)."""
    return np.asarray(scores[:, -1] - scores[:, :-1].max(1), np.float64)


def _projected(features: Vectors, projection: Vectors | None) -> Vectors:
    unit = _unit(features).astype(np.float32)
    return unit if projection is None else np.maximum(unit @ projection, 0)


def _unit(vectors: NDArray[np.floating]) -> FloatArray:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float64)


def _slope(leads: FloatArray, labels: Labels) -> float:
    """The slope at which held-out margins make the labels 'new' and 'known' most likely, every class of equal weight.

    Targets stay off 0 and 1 by one imagined sample each (Platt 1999), or the slope of a few separated samples would
    have no end.
    """
    new = labels == labels.max()
    counts = np.bincount(labels)
    weights = 1 / counts[labels] / len(counts)
    targets = np.where(new, (new.sum() + 1) / (new.sum() + 2), 1 / ((~new).sum() + 2))

    def loss(log_slope: float) -> float:
        logits = np.exp(log_slope) * leads
        return float(weights @ (np.logaddexp(0, logits) - targets * logits))

    found = optimize.minimize_scalar(loss, bounds=np.log([1e-2, 1e4]), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


PULL = 1e-3
