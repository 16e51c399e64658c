"""The linear probe against scikit-learn's own pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sightline.memes.probe import choose_c, fit_probe, load_probe, save_probe, softmax


def blobs(classes: int, count: int = 120, width: int = 6) -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    labels = np.arange(count) % classes
    features = rng.normal(0, 1, (count, width)) * np.geomspace(0.01, 100, width) + 3
    features[np.arange(count), labels] += np.geomspace(0.01, 100, width)[labels]
    return features.astype(np.float32), labels


def pipeline(c: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(classes: int) -> None:
    features, labels = blobs(classes)
    probe = fit_probe(features, labels, 0.3)
    assert probe.weight.shape == (classes, 6)
    expected = pipeline(0.3).fit(features.astype(np.float64), labels).predict_proba(features)
    np.testing.assert_allclose(softmax(probe.logits(features)), expected, atol=1e-3)
    weight, bias = probe.as_linear()
    np.testing.assert_allclose(features @ weight.T + bias, probe.logits(features), rtol=1e-3, atol=1e-3)


def test_a_feature_that_never_varies_has_no_weight() -> None:
    features, labels = blobs(2)
    features[:, 3] = 7
    probe = fit_probe(features, labels, 1.0)
    np.testing.assert_array_equal(probe.weight[:, 3], 0)
    assert np.isfinite(probe.logits(features)).all()


def test_the_strength_is_that_of_the_lowest_cross_entropy_in_folds_by_group() -> None:
    features, labels = blobs(2)
    groups = np.arange(120) // 4
    candidates = (10.0, 0.001, 0.1)
    c, table = choose_c(features, labels, groups, candidates, seed=1)
    assert table["c"].tolist() == [0.001, 0.1, 10.0]
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=1)
    for row in table.itertuples():
        found = cross_val_predict(pipeline(row.c), features, labels, groups=groups, cv=splitter, method="predict_proba")
        assert row.log_loss == pytest.approx(log_loss(labels, found), rel=1e-3)
        assert row.accuracy == pytest.approx(accuracy_score(labels, found.argmax(1)), abs=0.01)
    assert c == table.loc[table["log_loss"].idxmin(), "c"]


def test_copies_in_one_group_do_not_reward_learning_by_heart() -> None:
    """Labels are noise, but every picture has a copy: folds that ignore groups would find a weak penalty best."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(40, 80)), 2, 0).astype(np.float32)
    labels = np.repeat(rng.integers(0, 2, 40), 2)
    groups = np.repeat(np.arange(40), 2)
    assert choose_c(features, labels, groups, (1e-4, 100.0), seed=0)[0] == 1e-4
    assert choose_c(features, labels, np.arange(80), (1e-4, 100.0), seed=0)[0] == 100.0


def test_a_class_of_few_groups_makes_fewer_folds_and_one_group_none() -> None:
    features, labels = blobs(2, 40)
    groups = np.arange(40)
    groups[labels == 1] = 41
    c, table = choose_c(features, labels, groups, (0.1, 1.0), seed=0)
    assert c == 0.1
    np.testing.assert_allclose(table["log_loss"], np.log(2), rtol=1e-6)


def test_a_probe_comes_back_from_its_folder(tmp_path: Path) -> None:
    features, labels = blobs(3)
    probe = fit_probe(features, labels, 1.0)
    save_probe(tmp_path / "probe", probe, {"classes": ["a", "b", "c"]})
    again, config = load_probe(tmp_path / "probe")
    assert config == {"classes": ["a", "b", "c"]}
    for one, other in zip(probe, again, strict=True):
        np.testing.assert_array_equal(one, other)
