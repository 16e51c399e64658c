"""Open-set figures: cases counted by hand, scikit-learn, and weights as repeated probes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from sightline.faces.openset import choose_threshold, dir_at_far, open_set_statistics

TRUTH = ["ann", "ann", "ben", "ben", "ben", "", "", "", ""]
NAMES = ["ann", "ben", "ben", "ben", "ann", "ann", "ben", "ann", "ben"]
SIMILARITY = [0.9, 0.8, 0.7, 0.4, 0.3, 0.75, 0.5, 0.35, 0.1]


def figures(truth: list[str], names: list[str], similarity: list[float], threshold: float) -> dict[str, float]:
    return dict(open_set_statistics(truth, names, similarity, threshold)(np.ones(len(truth))))


def test_a_case_counted_by_hand() -> None:
    found = figures(TRUTH, NAMES, SIMILARITY, 0.4)
    assert found["rank1"] == pytest.approx(3 / 5)
    assert found["frr"] == pytest.approx(1 / 5)
    assert found["known_right"] == pytest.approx(3 / 5)
    assert found["misidentified"] == pytest.approx(1 / 5)
    assert found["far"] == pytest.approx(2 / 4)
    assert found["unknown_rejected"] == pytest.approx(2 / 4)
    # No stranger may pass: the threshold lies above 0.75, where one known face is accepted and right.
    assert found["dir_at_1_far"] == found["dir_at_10_far"] == pytest.approx(1 / 5)
    assert found["open_set_auroc"] == pytest.approx(14 / 20)


@pytest.mark.parametrize(("far", "expected"), [(0, 1 / 5), (0.24, 1 / 5), (0.25, 2 / 5), (0.5, 3 / 5), (1, 3 / 5)])
def test_the_rate_rises_with_the_false_alarms_that_are_allowed(far: float, expected: float) -> None:
    assert dir_at_far(TRUTH, NAMES, SIMILARITY, far) == pytest.approx(expected)


def test_a_stranger_who_ties_with_a_known_face_counts_as_accepted_with_it() -> None:
    assert dir_at_far(["ann", ""], ["ann", "ann"], [0.5, 0.5], 0.1) == 0
    assert dir_at_far(["ann", ""], ["ann", "ann"], [0.5, 0.5], 1.0) == 1


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(2, 8))
def test_it_is_the_best_true_positive_rate_on_the_roc_curve_where_every_name_is_right(
    seed: int, count: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(count) < 0.5, "ann", "")
    truth[:2] = ["ann", ""]
    similarity = rng.integers(0, levels, count) / levels
    found = figures(truth.tolist(), ["ann"] * count, similarity.tolist(), 0.5)
    rates, hits, _ = roc_curve(truth == "ann", similarity, drop_intermediate=False)
    for percent in (1, 10):
        expected = hits[rates <= percent / 100].max()
        assert found[f"dir_at_{percent}_far"] == pytest.approx(expected)
    assert found["open_set_auroc"] == pytest.approx(roc_auc_score(truth == "ann", similarity))


def test_a_weight_is_a_probe_so_many_times() -> None:
    rng = np.random.default_rng(5)
    times = rng.integers(0, 4, len(TRUTH))
    times[[0, 5]] = 1
    weighted = open_set_statistics(TRUTH, NAMES, SIMILARITY, 0.4)(times.astype(float))
    rows = np.repeat(np.arange(len(TRUTH)), times)
    repeated = figures(*([column[row] for row in rows] for column in (TRUTH, NAMES, SIMILARITY)), 0.4)  # type: ignore[arg-type]
    assert dict(weighted) == pytest.approx(repeated)


def test_a_resample_without_strangers_has_no_rate_rather_than_zero() -> None:
    weights = np.array([1.0] * 5 + [0.0] * 4)
    found = open_set_statistics(TRUTH, NAMES, SIMILARITY, 0.4)(weights)
    assert all(math.isnan(found[name]) for name in ("far", "dir_at_1_far", "dir_at_10_far", "open_set_auroc"))
    assert found["rank1"] == pytest.approx(3 / 5)


def test_figures_that_lack_their_probes_are_left_out() -> None:
    assert set(figures(["ann"] * 2, ["ann"] * 2, [0.1, 0.2], 0.5)) == {"rank1", "frr", "known_right", "misidentified"}
    assert set(figures([""] * 2, ["ann"] * 2, [0.1, 0.2], 0.5)) == {"far", "unknown_rejected"}
    assert figures([], [], [], 0.5) == {}
    assert math.isnan(dir_at_far(["ann"], ["ann"], [0.5], 0.1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        open_set_statistics(["ann"], ["ann"], [0.1, 0.2], 0.5)
    with pytest.raises(ValueError, match="numbers"):
        open_set_statistics(["ann"], ["ann"], [float("nan")], 0.5)
    with pytest.raises(ValueError, match="two strangers"):
        choose_threshold([[0.1, 0.2]], [], 0.01)
    with pytest.raises(ValueError, match="two strangers"):
        choose_threshold([0.1], [], 0.01)


def test_without_enrolled_photos_the_threshold_lets_the_promised_share_of_strangers_through() -> None:
    rng = np.random.default_rng(6)
    seen, unseen = (np.tanh(rng.normal(0.1, 0.08, (2000, 5))) for _ in range(2))
    for share in (0.01, 0.05):
        threshold = choose_threshold(seen, [], share)
        assert (unseen.max(1) >= threshold).mean() == pytest.approx(share, rel=0.5)
    alone = choose_threshold(seen[:, :1], [], 0.05)
    assert np.arctanh(alone) == pytest.approx(stats.norm(0.1, 0.08).ppf(0.95), abs=0.01)


NINE = [0.999, 0.2, 0.9, 0.3, 0.99, 0.1, 0.6, 0.5, 0.97]
"""Probabilities of the best person: of nine strangers, so that a tenth of new ones pass each further one."""


@pytest.mark.parametrize(
    ("false_accepts", "expected"),
    # Ranks 9 and 8 of 9; rank 7.5, in the middle of 0.97 and 0.99; and a share that nine cannot tell.
    [(0.1, 0.999), (0.2, 0.99), (0.25, 0.98), (0.01, 0.999)],
)
def test_of_the_best_similarities_alone_the_threshold_is_a_quantile(false_accepts: float, expected: float) -> None:
    assert choose_threshold(NINE, [], false_accepts) == pytest.approx(expected)
    # The promise is kept as it is: there is no room to be left.
    assert choose_threshold(NINE, [1, 1, 1], false_accepts) == pytest.approx(expected)


def test_new_strangers_pass_as_often_as_promised_however_few_chose_the_threshold() -> None:
    rng = np.random.default_rng(8)
    passed = []
    for _ in range(2000):
        # Piled up below 1, where a normal distribution would have a third of them beyond.
        seen, new = 1 - rng.uniform(0, 1, 19) ** 4, 1 - rng.uniform(0, 1, 100) ** 4
        passed.append((new >= choose_threshold(seen, [], 0.1)).mean())
    assert np.mean(passed) == pytest.approx(0.1, abs=0.01)


def test_the_threshold_leaves_a_tenth_of_the_way_to_the_enrolled_as_room() -> None:
    impostors = np.random.default_rng(7).normal(0.1, 0.05, (50, 4))
    least = choose_threshold(impostors, [], 0.01)
    assert choose_threshold(impostors, [0.5, 0.7, 0.8], 0.01) == pytest.approx(least + 0.1 * (0.7 - least))
    assert choose_threshold(impostors, [0.0, 0.1], 0.01) == least
    for impostors in (np.full((3, 1), 1.0), np.full(3, 1.0), np.full(3, 1.0000001)):
        assert choose_threshold(impostors, [1.0], 0.01) <= 1
