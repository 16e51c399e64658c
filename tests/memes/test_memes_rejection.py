import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sightline.memes.params import Infer
from sightline.memes.rejection import Judged, choose, keeping_threshold, try_scores
from sightline.memes.unknowns import Description, fit_scorer

SPLITS = np.repeat(["train", "val", "test", "unknown-val", "unknown-test"], [40, 20, 20, 12, 12])
LABELS = np.arange(len(SPLITS)) % 2
GROUPS = np.arange(len(SPLITS)) // 2
WEIGHT, BIAS = np.array([[1.0, 0, 0, 0, 0, 0], [-1.0, 0, 0, 0, 0, 0]]), np.array([0.1, 0])


def features(seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(len(SPLITS), 6))
    found[:, 0] += 3 - 6 * LABELS
    found[np.char.startswith(SPLITS, "unknown"), 2] += 3
    return found


def settings(**changes: object) -> Infer:
    every = ["msp", "max_logit", "energy", "knn", "mahalanobis", "vim", "knn_contrast"]
    known = {"batch_size": 8, "mirror": False, "keep": 0.95, "spaces": ["finetuned"], "scorers": every}
    return Infer.model_validate({**known, "neighbours": [1, 3, 5], "vim_dimensions": 3, **changes})


def judged(vectors: NDArray[np.float64]) -> dict[str, Judged]:
    return {"finetuned": Judged(Description(vectors, vectors @ WEIGHT.T + BIAS), WEIGHT, BIAS)}


def test_test_scores_have_no_say_in_choice_and_threshold() -> None:
    vectors = features()
    before = try_scores(judged(vectors), LABELS, SPLITS, GROUPS, settings())
    tested = np.flatnonzero(np.isin(SPLITS, ["test", "unknown-test"]))
    vectors[tested] = vectors[np.random.default_rng(1).permutation(tested)] * 5
    after = try_scores(judged(vectors), LABELS, SPLITS, GROUPS, settings())
    assert [trial.as_dict() for trial in before] == [trial.as_dict() for trial in after]
    thresholds = [keeping_threshold(choose(trials).scores[SPLITS == "val"], 0.9) for trials in (before, after)]
    assert thresholds[0] == thresholds[1]
    assert not np.array_equal(choose(before).scores[tested], choose(after).scores[tested])


def test_each_score_has_the_settings_that_are_best_on_validation() -> None:
    vectors = features()
    space = judged(vectors)["finetuned"]
    train, asked = SPLITS == "train", np.isin(SPLITS, ["val", "unknown-val"])

    def auroc(name: str, **variant: object) -> float:
        scorer = fit_scorer(name, space.pictures[train], LABELS[train], weight=WEIGHT, bias=BIAS, **variant)  # type: ignore[arg-type]
        return float(roc_auc_score(SPLITS[asked] == "unknown-val", scorer(space.pictures[asked])))

    found = {trial.scorer.name: trial for trial in try_scores(judged(vectors), LABELS, SPLITS, GROUPS, settings())}
    by_neighbours = {k: auroc("knn", neighbours=k) for k in (1, 3, 5)}
    assert found["knn"].val_auroc == max(by_neighbours.values())
    assert by_neighbours[found["knn"].scorer.settings["neighbours"]] == found["knn"].val_auroc
    by_length = {normalise: auroc("mahalanobis", normalise=normalise) for normalise in (False, True)}
    assert found["mahalanobis"].val_auroc == max(by_length.values())
    assert by_length[found["mahalanobis"].scorer.settings["normalise"]] == found["mahalanobis"].val_auroc
    assert choose(list(found.values())).val_auroc == max(trial.val_auroc or 0 for trial in found.values())


def test_unknown_pictures_are_held_out_where_they_are_fitted_to() -> None:
    """Random unknowns among the known ones: whoever looked them up in itself would find every one."""
    vectors = features()
    vectors[:, 2] = np.random.default_rng(4).normal(size=len(vectors))
    (trial,) = try_scores(judged(vectors), LABELS, SPLITS, GROUPS, settings(scorers=["knn_contrast"], neighbours=[1]))
    assert trial.val_auroc is not None
    assert trial.val_auroc < 0.75
    rows = np.isin(SPLITS, ["val", "unknown-val"])
    seen = trial.scorer(judged(vectors)["finetuned"].pictures[rows])
    assert roc_auc_score(SPLITS[rows] == "unknown-val", seen) > trial.val_auroc + 0.1


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_few_unknown_pictures_or_none(unknown: int) -> None:
    rows = np.flatnonzero((SPLITS != "unknown-val") | (np.arange(len(SPLITS)) < 80 + unknown))
    trials = try_scores(judged(features()[rows]), LABELS[rows], SPLITS[rows], np.arange(len(rows)), settings())
    assert ("knn_contrast" in [trial.scorer.name for trial in trials]) == (unknown == 2)
    chosen = choose(trials)
    if unknown:
        assert chosen.val_auroc == max(trial.val_auroc or 0 for trial in trials)
    else:
        assert (chosen.scorer.name, chosen.val_auroc) == ("knn", None)


def test_of_equal_trials_the_first_is_chosen() -> None:
    vectors = features()
    # With one class far ahead of the other, all scores of logits put pictures in the same order.
    trials = try_scores(judged(vectors), LABELS, SPLITS, GROUPS, settings(scorers=["max_logit", "msp", "max_logit"]))
    best = max(trial.val_auroc or 0 for trial in trials)
    assert choose(trials) is next(trial for trial in trials if trial.val_auroc == best)


@pytest.mark.parametrize(
    ("scores", "keep", "threshold"),
    [
        (np.arange(20.0), 0.95, 18.5),
        (np.arange(20.0), 0.96, 19.0),
        (np.arange(20.0)[::-1], 0.5, 9.5),
        (np.array([1.0, 1.0, 1.0, 2.0]), 0.5, 1.5),
        (np.zeros(5), 0.9, 0.0),
        (np.array([3.0]), 0.95, 3.0),
    ],
)
def test_the_threshold_keeps_at_least_the_share(scores: NDArray[np.float64], keep: float, threshold: float) -> None:
    assert keeping_threshold(scores, keep) == threshold
    assert (scores <= threshold).mean() >= keep
