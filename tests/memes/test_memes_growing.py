import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

from sightline.memes.growing import Head, class_mean, fit_ridge, grown_head, margins, ranpac
from sightline.memes.memory import Labels, Vectors


def blobs(
    counts: tuple[int, ...], *, seed: int = 0, dimensions: int = 24, spread: float = 0.5
) -> tuple[Vectors, Labels]:
    """Classes around directions of their own."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((8, dimensions))
    labels = np.repeat(np.arange(len(counts)), counts)
    return (centres[labels] + spread * rng.standard_normal((len(labels), dimensions))).astype(np.float32), labels


def old_head(dimensions: int = 24) -> tuple[Vectors, Vectors]:
    centres = np.random.default_rng(99).standard_normal((8, dimensions))[:2]
    return centres.astype(np.float32), (-(centres**2).sum(1) / 2).astype(np.float32)


def test_the_new_class_takes_its_share_and_the_others_keep_their_proportions() -> None:
    features, labels = blobs((40, 40, 10))
    known = np.random.default_rng(3).standard_normal((len(labels), 2)).astype(np.float32)
    for grown in (
        class_mean(features, labels, temperature=2.5),
        ranpac(features, labels, projections=64, ridge=1.0, seed=0, temperature=2.5),
    ):
        after = softmax(grown.logits(features, known).astype(np.float64) / 2.5, axis=1)
        before = softmax(known.astype(np.float64) / 2.5, axis=1)
        new = expit(grown.slope * margins(grown.scores(features)))
        np.testing.assert_allclose(after[:, 2], new, atol=1e-5)
        np.testing.assert_allclose(after[:, :2], before * (1 - new)[:, None], atol=1e-5)


@pytest.mark.parametrize("shots", [3, 5, 20])
def test_every_method_learns_a_class_that_is_apart_and_keeps_the_old_ones(shots: int) -> None:
    features, labels = blobs((60, 60, shots))
    fresh, truth = blobs((100, 100, 100), seed=1)
    weight, bias = old_head()
    known = fresh @ weight.T + bias
    assert (known.argmax(1) == truth)[truth < 2].mean() > 0.98
    for grown in (
        class_mean(features, labels),
        ranpac(features, labels, projections=256, ridge=1.0, seed=0),
        grown_head(features, labels, old_head(), epochs=10),
    ):
        answers = grown.logits(fresh, known).argmax(1)
        assert (answers == truth)[truth < 2].mean() > 0.97
        assert (answers == truth)[truth == 2].mean() > 0.95


def test_ridge_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    inputs, targets, weights = rng.standard_normal((30, 50)), rng.standard_normal((30, 3)), rng.uniform(0.2, 3, 30)
    fit = fit_ridge(inputs, targets, weights, 0.3)
    centred = (inputs - weights @ inputs / weights.sum()) * np.sqrt(weights)[:, None]
    reference = Ridge(0.3 * (centred**2).sum() / 30).fit(inputs, targets, sample_weight=weights)
    np.testing.assert_allclose(fit.weight, reference.coef_.T, atol=1e-8)
    np.testing.assert_allclose(fit.bias, reference.intercept_, atol=1e-8)


def test_leaving_out_equals_refitting_without_the_sample() -> None:
    rng = np.random.default_rng(1)
    inputs, targets, weights = rng.standard_normal((12, 6)), rng.standard_normal((12, 2)), rng.uniform(0.2, 3, 12)
    fit = fit_ridge(inputs, targets, weights, 0.5)
    centred = (inputs - weights @ inputs / weights.sum()) * np.sqrt(weights)[:, None]
    penalty = 0.5 * (centred**2).sum() / 12
    for row in range(12):
        others = np.arange(12) != row
        without = Ridge(penalty).fit(inputs[others], targets[others], sample_weight=weights[others])
        np.testing.assert_allclose(fit.left_out[row], without.predict(inputs[[row]])[0], atol=1e-8)


def test_class_mean_answers_as_the_nearest_centroid_of_unit_vectors() -> None:
    features, labels = blobs((20, 30, 8), spread=1.5)
    unit: NDArray[np.float64] = features / np.linalg.norm(features, axis=1, keepdims=True).astype(np.float64)
    means = np.stack([unit[labels == label].mean(0) for label in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    reference = NearestCentroid().fit(means, np.arange(3))
    fresh, _ = blobs((50, 50, 50), seed=2, spread=1.5)
    scale = np.linalg.norm(fresh, axis=1, keepdims=True)
    np.testing.assert_array_equal(
        class_mean(features, labels).scores(fresh).argmax(1), reference.predict(fresh / scale)
    )


def test_a_doubtful_class_gets_a_flatter_slope() -> None:
    apart, labels = blobs((60, 60, 20), spread=0.3)
    mixed, _ = blobs((60, 60, 20), spread=4.0)
    assert class_mean(mixed, labels).slope < class_mean(apart, labels).slope


def test_a_head_without_steps_only_gains_a_row() -> None:
    features, labels = blobs((30, 30, 6))
    weight, bias = old_head()
    grown = grown_head(features, labels, (weight, bias), epochs=1)
    assert isinstance(grown, Head)
    assert grown.weight.shape == (24, 3)
    # One step of L-BFGS is small beside the weights: old answers stay.
    known = features @ weight.T + bias
    np.testing.assert_array_equal(grown.logits(features, known)[:60, :2].argmax(1), known[:60].argmax(1))
