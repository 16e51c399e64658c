"""Scores against references written straight from the papers, in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.covariance import EmpiricalCovariance, LedoitWolf
from sklearn.neighbors import NearestNeighbors

from sightline.core.errors import InputError
from sightline.memes.unknowns import SCORERS, Description, Scorer, fit_scorer, load_scorer, save_scorer

CLASSES = 3


class Case:
    """Features of three classes, the head that judges them, and features to score."""

    def __init__(self, count: int, width: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.arange(count) % CLASSES
        centres = rng.normal(size=(CLASSES, width))
        mixing = rng.normal(size=(width, width)) / np.sqrt(width)
        self.train = centres[self.labels] + rng.normal(size=(count, width)) @ mixing + 2
        self.asked = 2 * rng.normal(size=(20, width)) + 1.5
        self.weight, self.bias = rng.normal(size=(CLASSES, width)), rng.normal(size=CLASSES)

    def describe(self, features: NDArray[np.float64]) -> Description:
        return Description(features, features @ self.weight.T + self.bias)

    def fit(self, name: str, **settings: Any) -> Scorer:
        return fit_scorer(name, self.describe(self.train), self.labels, weight=self.weight, bias=self.bias, **settings)

    def score(self, name: str, **settings: Any) -> NDArray[np.float64]:
        return self.fit(name, **settings)(self.describe(self.asked))


MANY, FEW = Case(90, 8), Case(24, 40)


@pytest.mark.parametrize("case", [MANY, FEW])
def test_scores_of_logits(case: Case) -> None:
    logits = case.describe(case.asked).logits
    np.testing.assert_allclose(case.score("msp"), 1 - softmax(logits, axis=1).max(1), atol=1e-12)
    np.testing.assert_allclose(case.score("max_logit"), -logits.max(1), rtol=1e-14)
    np.testing.assert_allclose(case.score("energy"), -logsumexp(logits, axis=1), rtol=1e-14)


def test_certain_pictures_are_still_told_apart_and_large_logits_do_no_harm() -> None:
    logits = np.array([[50.0, 0.0, 0.0], [60.0, 0.0, 0.0], [1e4, 0.0, -1e4], [7.0, 7.0, 7.0]])
    scores = Scorer("msp")(Description(np.zeros((4, 1)), logits))
    assert scores[0] > scores[1] > scores[2] == 0
    np.testing.assert_allclose(scores[[0, 3]], [2 * np.exp(-50), 2 / 3])
    assert np.isfinite(Scorer("energy")(Description(np.zeros((4, 1)), logits))).all()


@pytest.mark.parametrize("case", [MANY, FEW])
@pytest.mark.parametrize("neighbours", [1, 5, 24])
def test_knn_is_scikit_learns_kth_neighbour_of_unit_features(case: Case, neighbours: int) -> None:
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (case.train, case.asked)]
    distances, _ = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(unit[0]).kneighbors(unit[1])
    np.testing.assert_allclose(case.score("knn", neighbours=neighbours), distances[:, -1], atol=1e-7)


def test_knn_of_fewer_pictures_than_neighbours_takes_the_farthest() -> None:
    scorer = FEW.fit("knn", neighbours=1000)
    assert scorer.settings == {"neighbours": 24}
    np.testing.assert_array_equal(scorer(FEW.describe(FEW.asked)), FEW.score("knn", neighbours=24))


def test_contrast_is_the_mean_distance_to_known_less_half_of_that_to_unknown_pictures() -> None:
    rng = np.random.default_rng(5)
    outliers = rng.normal(size=(2, 8))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (MANY.asked, MANY.train, outliers)]
    known = np.sort(cdist(unit[0], unit[1]), axis=1)[:, :3].mean(1)
    expected = known - cdist(unit[0], unit[2]).mean(1) / 2
    np.testing.assert_allclose(MANY.score("knn_contrast", outliers=outliers, neighbours=3), expected, atol=1e-7)
    with pytest.raises(ValueError, match="needs unknown pictures"):
        MANY.fit("knn_contrast")


def by_mahalanobis(
    case: Case, train: NDArray[np.float64], asked: NDArray[np.float64], precision: NDArray[np.float64]
) -> NDArray[np.float64]:
    means = [train[case.labels == label].mean(0) for label in range(CLASSES)]
    return np.asarray([min((row - mean) @ precision @ (row - mean) for mean in means) for row in asked])


def residuals_of(case: Case, train: NDArray[np.float64]) -> NDArray[np.float64]:
    return train - np.stack([train[case.labels == label].mean(0) for label in case.labels])


def test_mahalanobis_without_shrinkage_is_the_papers() -> None:
    residuals = residuals_of(MANY, MANY.train)
    covariance = sum(np.outer(row, row) for row in residuals) / len(residuals)
    expected = by_mahalanobis(MANY, MANY.train, MANY.asked, np.linalg.inv(covariance))
    np.testing.assert_allclose(MANY.score("mahalanobis", normalise=False, shrinkage=0), expected, rtol=1e-9)


@pytest.mark.parametrize("case", [MANY, FEW])
@pytest.mark.parametrize("normalise", [False, True])
def test_mahalanobis_shrinks_as_ledoit_and_wolf(case: Case, normalise: bool) -> None:
    train, asked = case.train, case.asked
    if normalise:
        train, asked = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (train, asked))
    reference = LedoitWolf(assume_centered=True).fit(residuals_of(case, train))
    scorer = case.fit("mahalanobis", normalise=normalise)
    assert scorer.settings["shrinkage"] == pytest.approx(reference.shrinkage_, abs=1e-12)
    expected = by_mahalanobis(case, train, asked, np.linalg.inv(reference.covariance_))
    np.testing.assert_allclose(scorer(case.describe(case.asked)), expected, rtol=1e-8)


@pytest.mark.parametrize(("case", "dimensions"), [(MANY, 4), (MANY, None), (FEW, 10)])
def test_vim_is_the_papers(case: Case, dimensions: int | None) -> None:
    principal = dimensions or case.train.shape[1] // 2
    origin = -np.linalg.pinv(case.weight) @ case.bias
    covariance = EmpiricalCovariance(assume_centered=True).fit(case.train - origin).covariance_
    values, vectors = np.linalg.eigh(covariance)
    rest = vectors[:, np.argsort(-values)[principal:]]
    logits = case.describe(case.train).logits
    alpha = logits.max(1).sum() / np.linalg.norm((case.train - origin) @ rest, axis=1).sum()
    virtual = alpha * np.linalg.norm((case.asked - origin) @ rest, axis=1)
    expected = virtual - logsumexp(case.describe(case.asked).logits, axis=1)
    np.testing.assert_allclose(case.score("vim", dimensions=dimensions), expected, rtol=1e-9)


def test_vim_orders_as_the_probability_of_the_virtual_logit() -> None:
    scores = MANY.score("vim", dimensions=4)
    logits = MANY.describe(MANY.asked).logits
    virtual = scores + logsumexp(logits, axis=1)
    probability = softmax(np.column_stack([logits, virtual]), axis=1)[:, -1]
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(probability))


@pytest.mark.parametrize(("given", "taken"), [(None, 12), (5, 5), (39, 23), (1000, 23)])
def test_vims_principal_space_leaves_something_of_the_training_pictures(given: int | None, taken: int) -> None:
    scorer = FEW.fit("vim", dimensions=given)
    assert scorer.settings["dimensions"] == taken
    assert 0 < scorer.settings["scale"] < 1e6
    # Of the features' length: what is left of it away from the training pictures counts as well.
    assert scorer.arrays["residual"].shape == (40, 40 - taken)


@pytest.mark.parametrize("name", SCORERS)
def test_any_score_is_finite_on_degenerate_training_pictures(name: str) -> None:
    case = Case(6, 5)
    case.train[:] = 1.0
    case.train[:, 3] = 0.0
    outliers = np.zeros((1, 5))
    case.asked[0] = 0.0
    assert np.isfinite(case.score(name, outliers=outliers)).all()


@pytest.mark.parametrize("name", SCORERS)
def test_a_score_survives_its_file_and_float32(name: str, tmp_path: Path) -> None:
    scorer = FEW.fit(name, outliers=FEW.asked[:3])
    save_scorer(tmp_path / "scorer.safetensors", scorer)
    loaded = load_scorer(tmp_path / "scorer.safetensors", name, scorer.settings)
    asked = FEW.describe(FEW.asked)
    np.testing.assert_array_equal(loaded(asked), scorer(asked))
    narrow = Description(asked.features.astype(np.float32), asked.logits.astype(np.float32))
    np.testing.assert_allclose(loaded(narrow), scorer(asked), rtol=1e-4, atol=1e-3)
    assert loaded(narrow).dtype == np.float64


@pytest.mark.parametrize("name", ["knn", "knn_contrast", "mahalanobis"])
def test_far_away_is_more_unknown_than_a_training_picture(name: str) -> None:
    rng = np.random.default_rng(2)
    far = -MANY.train[:10] + rng.normal(size=(10, 8))
    scorer = MANY.fit(name, outliers=-MANY.train[20:40])
    assert scorer(MANY.describe(far)).min() > np.median(scorer(MANY.describe(MANY.train)))


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no score 'odin'"):
        MANY.fit("odin")
    with pytest.raises(ValueError, match="do not fit together"):
        fit_scorer("knn", MANY.describe(MANY.train), MANY.labels[1:], weight=MANY.weight, bias=MANY.bias)
    with pytest.raises(InputError, match="holds no fitted score"):
        load_scorer(tmp_path / "gone.safetensors", "knn", {})
    (tmp_path / "half.safetensors").write_bytes(b"12")
    with pytest.raises(InputError, match="holds no fitted score"):
        load_scorer(tmp_path / "half.safetensors", "knn", {})
