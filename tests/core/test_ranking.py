import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from sightline.core.ranking import Ranking


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("levels", [None, 7, 1])
def test_figures_are_scikit_learns_with_ties_and_weights(seed: int, levels: int | None) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(60) < 0.3
    scores = rng.normal(size=60) + positive
    if levels:
        scores = (scores * levels / 4).round() if levels > 1 else np.zeros(60)
    for weights in (np.ones(60), rng.integers(0, 4, 60).astype(float)):
        ranking = Ranking(scores, positive)
        assert ranking.auroc(weights) == pytest.approx(
            roc_auc_score(positive, scores, sample_weight=weights), abs=1e-12
        )
        expected = average_precision_score(positive, scores, sample_weight=weights)
        assert ranking.average_precision(weights) == pytest.approx(expected, abs=1e-12)
        fpr, tpr, _ = roc_curve(positive, scores, sample_weight=weights, drop_intermediate=False)
        for level in (0.5, 0.95, 1.0):
            assert ranking.fpr_at_tpr(weights, level) == pytest.approx(fpr[tpr >= level - 1e-12][0], abs=1e-12)


def test_nineteen_of_twenty_are_95_percent() -> None:
    scores = np.append(np.arange(20), 0.5)
    assert Ranking(scores, np.arange(21) < 20).fpr_at_tpr(np.ones(21)) == 0
    assert Ranking(scores, np.arange(21) < 20).fpr_at_tpr(np.ones(21), 0.96) == 1


@pytest.mark.parametrize("positive", [[], [True, True], [False, False]])
def test_without_both_kinds_nothing_is_defined(positive: list[bool]) -> None:
    ranking = Ranking(np.arange(len(positive)), np.array(positive, bool))
    weights = np.ones(len(positive))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = [ranking.auroc(weights), ranking.average_precision(weights), ranking.fpr_at_tpr(weights)]
    assert np.isnan(figures).all()


def test_what_is_no_number_or_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be numbers"):
        Ranking([0.0, np.nan], [True, False])
    with pytest.raises(ValueError, match=r"must be \(N,\) both"):
        Ranking([0.0, 1.0], [True])
