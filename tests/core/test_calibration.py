import numpy as np
import pytest
from scipy import special, stats
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from sightline.core.calibration import (
    THRESHOLDS,
    Threshold,
    area_under_risk_coverage,
    choose_threshold,
    clopper_pearson_upper,
    coverage_curve,
    effective_sample_size,
    expected_calibration_error,
    fit_balance,
    fit_temperature,
    reliability,
)

NOTHING_ACCEPTED = Threshold(value=None, accepted=0, errors=0, coverage=0.0, error=0.0, bound=1.0)


def draw_logits(seed, samples, classes=4):
    """Logits whose softmax is the true distribution of the labels drawn with them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(samples, classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_logits_were_scaled_by_is_found_again(temperature):
    logits, labels = draw_logits(0, 20_000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_of_two_classes_is_that_of_a_logistic_regression_on_the_margin():
    logits, labels = draw_logits(1, 500, classes=2)
    margin = (logits[:, 1] - logits[:, 0])[:, None]
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(margin, labels).coef_[0, 0]
    assert fit_temperature(logits, labels) == pytest.approx(1 / slope, rel=1e-4)


def test_the_temperature_does_not_depend_on_a_constant_added_to_each_samples_logits():
    logits, labels = draw_logits(2, 300)
    shifted = logits + np.random.default_rng(0).normal(scale=1000, size=(300, 1))
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-5)


def test_the_temperature_ends_at_its_bounds_where_all_is_right_or_nothing_is_known():
    logits = np.eye(3)[[0, 1, 2, 0]]
    assert fit_temperature(logits, np.array([0, 1, 2, 0])) == pytest.approx(0.01, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 2, 0, 1])) == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(np.zeros((0, 3)), []), (np.zeros((2, 3)), [0]), (np.array([[0.0, np.nan]]), [0])],
)
def test_logits_without_a_temperature_are_refused(logits, labels):
    with pytest.raises(ValueError, match="logits"):
        fit_temperature(logits, np.array(labels, dtype=int))


def test_the_balance_of_one_voter_is_its_inverse_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 4))
    labels = np.array([rng.choice(4, p=row) for row in special.softmax(logits / 1.7, axis=1)])
    assert fit_balance(logits[None], labels)[0] == pytest.approx(1 / fit_temperature(logits, labels), rel=1e-3)


def test_the_balance_is_found_by_brute_force_too() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300)
    voters = np.stack([noise * rng.normal(0, 1, (300, 3)) + np.eye(3)[labels] for noise in (0.5, 1.0)])
    found = fit_balance(voters, labels)
    grid = np.linspace(0, 8, 81)

    def loss(weights: tuple[float, ...]) -> float:
        total = np.einsum("s,snc->nc", weights, voters)
        return -float(special.log_softmax(total, axis=1)[np.arange(300), labels].mean())

    best = min(((a, b) for a in grid for b in grid), key=loss)
    np.testing.assert_allclose(found, best, atol=0.1)


def test_a_voter_that_is_wrong_is_not_listened_to() -> None:
    labels = np.arange(30) % 3
    good = np.eye(3)[labels] * 2 + np.random.default_rng(0).normal(0, 1, (30, 3))
    assert fit_balance(np.stack([good, -good]), labels)[1] == 0


@pytest.mark.parametrize("shape", [(2, 0, 3), (2, 5), (2, 4, 3)])
def test_a_balance_of_nothing_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        fit_balance(np.zeros(shape), np.zeros(5 if shape[1] else 0, int))


def test_the_calibration_error_of_a_hand_made_case():
    confidences = np.array([0.0, 0.1, 0.5, 0.55, 0.95, 1.0])
    correct = np.array([False, True, True, False, True, False])
    # Two bins, [0, 0.5] and (0.5, 1]: |0.6 - 2| and |2.5 - 1| of six samples.
    assert expected_calibration_error(confidences, correct, bins=2) == pytest.approx((1.4 + 1.5) / 6)


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_bins_are_those_of_scikit_learn(bins):
    rng = np.random.default_rng(3)
    confidences = np.concatenate([rng.random(400) ** 0.3, np.linspace(0, 1, bins + 1)])
    correct = rng.random(len(confidences)) < confidences
    accuracy, mean_confidence = calibration_curve(correct, confidences, n_bins=bins)
    table = reliability(confidences, correct, bins)
    filled = table[table["count"] > 0]
    np.testing.assert_allclose(filled["accuracy"], accuracy)
    np.testing.assert_allclose(filled["confidence"], mean_confidence)
    assert table["count"].sum() == len(confidences)
    gaps = np.abs(accuracy - mean_confidence)
    expected = np.average(gaps, weights=filled["count"])
    assert expected_calibration_error(confidences, correct, bins) == pytest.approx(expected)


def test_empty_bins_are_rows_without_a_mean():
    table = reliability(np.array([0.05, 0.95]), np.array([False, True]), bins=4)
    assert table["low"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["count"].tolist() == [1, 0, 0, 1]
    assert table["accuracy"].isna().tolist() == [False, True, True, False]
    assert table["confidence"].isna().tolist() == [False, True, True, False]


def test_confidences_of_exactly_zero_and_one_fall_into_the_outer_bins():
    table = reliability(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]), bins=10)
    assert (table["count"].iloc[0], table["count"].iloc[-1]) == (1, 2)
    assert expected_calibration_error(np.array([0.0, 1.0, 1.0]), np.array([False, True, True])) == 0


def test_a_weight_counts_as_that_many_copies():
    rng = np.random.default_rng(4)
    confidences, weights = rng.random(100), rng.integers(4, size=100)
    correct = rng.random(100) < 0.5
    copied = expected_calibration_error(np.repeat(confidences, weights), np.repeat(correct, weights))
    assert expected_calibration_error(confidences, correct, weights=weights.astype(float)) == pytest.approx(copied)
    assert np.isnan(expected_calibration_error(confidences, correct, weights=np.zeros(100)))


@pytest.mark.parametrize("confidences", [[0.5, 1.1], [-0.1, 0.5], [0.5, np.nan], [0.5]])
@pytest.mark.parametrize("function", [expected_calibration_error, reliability, coverage_curve])
def test_what_is_no_confidence_is_refused(function, confidences):
    with pytest.raises(ValueError, match="confidences"):
        function(np.array(confidences), np.array([True, False]))


def test_the_coverage_curve_accepts_equal_confidences_together():
    confidences = np.array([0.5, 0.9, 0.5, 0.7, 0.0])
    correct = np.array([False, True, True, False, True])
    curve = coverage_curve(confidences, correct)
    assert curve["threshold"].tolist() == [0.9, 0.7, 0.5, 0.0]
    assert not np.signbit(curve["threshold"]).any()
    assert curve["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert curve["selective_error"].tolist() == pytest.approx([0, 1 / 2, 2 / 4, 2 / 5])


def test_the_coverage_curve_is_what_thresholding_gives():
    rng = np.random.default_rng(5)
    confidences, correct = rng.integers(20, size=300) / 20, rng.random(300) < 0.7
    for row in coverage_curve(confidences, correct).itertuples():
        accepted = confidences >= row.threshold
        assert row.coverage == pytest.approx(accepted.mean())
        assert row.selective_error == pytest.approx(1 - correct[accepted].mean())


def test_the_area_under_risk_coverage_is_the_mean_error_of_the_k_most_confident():
    rng = np.random.default_rng(6)
    confidences, correct = rng.random(200), rng.random(200) < 0.7
    errors = ~correct[np.argsort(-confidences)]
    expected = np.mean([errors[:k].mean() for k in range(1, 201)])
    assert area_under_risk_coverage(coverage_curve(confidences, correct)) == pytest.approx(expected)


def test_the_area_of_all_right_all_wrong_and_one_tie():
    confidences = np.array([0.2, 0.4, 0.6, 0.8])
    assert area_under_risk_coverage(coverage_curve(confidences, np.ones(4, bool))) == 0
    assert area_under_risk_coverage(coverage_curve(confidences, np.zeros(4, bool))) == pytest.approx(1)
    tied = coverage_curve(np.full(4, 0.5), np.array([True, True, True, False]))
    assert area_under_risk_coverage(tied) == pytest.approx(0.25)


@pytest.mark.parametrize(("errors", "n"), [(0, 1), (0, 59), (3, 40), (39, 40), (40, 40), (17, 1000)])
def test_the_clopper_pearson_bound_is_scipys_exact_interval(errors, n):
    reference = stats.binomtest(errors, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert clopper_pearson_upper(errors, n) == pytest.approx(reference)


def test_without_an_error_the_bound_follows_the_rule_of_three():
    assert clopper_pearson_upper(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert clopper_pearson_upper(0, 59) < 0.05 < clopper_pearson_upper(0, 58)
    assert clopper_pearson_upper(0, 0) == 1


def test_more_errors_than_samples_are_refused():
    with pytest.raises(ValueError, match="errors"):
        clopper_pearson_upper(3, 2)


def test_the_effective_sample_size_of_a_hand_made_case():
    # Four photos of two patches, one photo all wrong: error 1/4, residuals (3/2, -1/2, -1/2, -1/2),
    # variance 4/3 x 3 / 64 = 1/16 against (3/16) / 8 when independent.
    correct = np.array([False, False, True, True, True, True, True, True])
    few_clusters = (stats.t.ppf(0.95, 7) / stats.t.ppf(0.95, 3)) ** 2
    size = effective_sample_size(correct, np.array(list("aabbccdd")))
    assert size == pytest.approx((3 / 16) / (1 / 16) * few_clusters)


def test_the_effective_sample_size_is_near_n_for_independent_and_near_the_photos_for_equal_patches():
    rng = np.random.default_rng(7)
    photos = np.repeat(np.arange(400), 5)
    assert effective_sample_size(rng.random(2000) < 0.9, photos) == pytest.approx(2000, rel=0.15)
    assert effective_sample_size((rng.random(400) < 0.9)[photos], photos) == pytest.approx(400, rel=0.05)


def test_the_effective_sample_size_counts_photos_where_errors_do_not_vary():
    photos = np.array([0, 0, 0, 1, 1])
    assert effective_sample_size(np.ones(5, bool), photos) == 2
    assert effective_sample_size(np.zeros(5, bool), photos) == 2
    assert effective_sample_size(np.array([True, False]), np.array([4, 4])) == 1


def test_the_effective_sample_size_never_exceeds_the_number_of_samples():
    # Every photo has exactly one error in two: less variance than independent patches would have.
    assert effective_sample_size(np.tile([True, False], 50), np.repeat(np.arange(50), 2)) == 100


def test_all_right_accepts_everything_and_all_wrong_nothing():
    confidences = np.linspace(0.3, 0.999, 100)
    assert choose_threshold(confidences, np.ones(100, bool), 0.05) == Threshold(
        value=THRESHOLDS[THRESHOLDS <= 0.3][0],
        accepted=100,
        errors=0,
        coverage=1.0,
        error=0.0,
        bound=pytest.approx(1 - 0.05 ** (1 / 100)),
    )
    assert choose_threshold(confidences, np.zeros(100, bool), 0.05) == NOTHING_ACCEPTED


def test_too_few_samples_to_prove_anything_accept_nothing():
    confidences = np.full(58, 0.9)
    assert choose_threshold(confidences, np.ones(58, bool), 0.05) == NOTHING_ACCEPTED
    assert choose_threshold(confidences[:0], np.ones(0, bool), 0.05) == NOTHING_ACCEPTED
    assert choose_threshold(np.full(59, 0.9), np.ones(59, bool), 0.05).accepted == 59


def test_the_chosen_threshold_separates_the_confident_right_from_the_rest():
    confidences = np.concatenate([np.full(300, 0.95), np.full(300, 0.6)])
    correct = np.concatenate([np.arange(300) >= 3, np.arange(300) >= 100])
    chosen = choose_threshold(confidences, correct, 0.05)
    assert 0.6 < chosen.value <= 0.95
    assert (chosen.accepted, chosen.errors, chosen.coverage, chosen.error) == (300, 3, 0.5, 0.01)
    assert chosen.bound == pytest.approx(stats.beta.ppf(0.95, 4, 297))


def test_the_walk_ends_at_the_first_failure_even_where_a_later_threshold_would_pass():
    # Strict to lax: 200 all right, then 60 all wrong, then 5000 right that would dilute them below the bound.
    confidences = np.concatenate([np.full(200, 0.99), np.full(60, 0.9), np.full(5000, 0.5)])
    correct = np.concatenate([np.ones(200, bool), np.zeros(60, bool), np.ones(5000, bool)])
    assert clopper_pearson_upper(60, 5260) < 0.05
    assert choose_threshold(confidences, correct, 0.05).accepted == 200


def test_one_unlucky_error_at_the_very_top_does_not_end_the_walk():
    confidences = np.linspace(0.999, 0.5, 1000)
    correct = np.arange(1000) != 0
    assert choose_threshold(confidences, correct, 0.05).accepted == 1000


def test_saturated_confidences_leave_a_choice():
    rng = np.random.default_rng(8)
    logits = rng.normal(8, 2, size=2000)
    confidences = special.expit(logits).astype(np.float32)
    correct = logits > 6.5
    chosen = choose_threshold(confidences, correct, 0.05)
    assert 0.6 < chosen.coverage < 0.9
    assert 0.99 < chosen.value < 1


def test_thresholds_run_from_strict_to_lax_down_to_zero():
    assert (np.diff(THRESHOLDS) < 0).all()
    assert THRESHOLDS[0] < 1
    assert THRESHOLDS[-1] == 0


@pytest.mark.parametrize(("max_error", "confidence"), [(0, 0.95), (1, 0.95), (0.05, 1), (0.05, 0.5)])
def test_a_promise_that_nobody_can_keep_is_refused(max_error, confidence):
    with pytest.raises(ValueError, match="must lie in"):
        choose_threshold(np.full(100, 0.9), np.ones(100, bool), max_error, confidence)


def broken_promises(repetitions, photos, patches, shared, grouped):
    """The share of repetitions whose threshold has a true error above 10 %, which it promised with 90 %."""
    log_odds = np.linspace(0, 8, 4001)
    right = special.expit(log_odds - 0.5)
    # Log odds are uniform, so the true error above a threshold is a plain mean.
    error_above = (1 - right)[::-1].cumsum()[::-1] / np.arange(4001, 0, -1)
    broken = 0
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        draw = photos if shared else photos * patches
        at = rng.integers(4001, size=draw)
        correct = rng.random(draw) < right[at]
        if shared:
            at, correct = np.repeat(at, patches), np.repeat(correct, patches)
        groups = np.repeat(np.arange(photos), patches) if grouped else None
        value = choose_threshold(special.expit(log_odds[at]), correct, 0.1, 0.9, groups).value
        if value is not None:
            broken += error_above[np.searchsorted(special.expit(log_odds), value)] > 0.1
    return broken / repetitions


def test_the_promise_holds_for_independent_samples():
    assert broken_promises(300, photos=300, patches=1, shared=False, grouped=False) <= 0.1 + 0.05


def test_the_promise_holds_where_every_threshold_is_just_not_good_enough():
    # Searching all thresholds for one that passes would find one by luck in about every third repetition.
    rng = np.random.default_rng(10)
    accepted = [
        choose_threshold(special.expit(rng.uniform(0, 8, size=500)), rng.random(500) > 0.101, 0.1, 0.9).accepted > 0
        for _ in range(300)
    ]
    assert np.mean(accepted) <= 0.1 + 0.05


def test_patches_of_one_photo_break_the_promise_unless_they_are_grouped():
    assert broken_promises(150, photos=150, patches=8, shared=True, grouped=False) > 0.2
    assert broken_promises(150, photos=150, patches=8, shared=True, grouped=True) <= 0.1 + 0.07


def test_groups_of_one_sample_each_give_nearly_the_ungrouped_threshold():
    rng = np.random.default_rng(9)
    confidences = special.expit(rng.uniform(0, 8, size=2000))
    correct = rng.random(2000) < confidences
    alone = choose_threshold(confidences, correct, 0.1)
    grouped = choose_threshold(confidences, correct, 0.1, groups=np.array([f"photo_{k}" for k in range(2000)]))
    assert grouped.coverage == pytest.approx(alone.coverage, abs=0.02)
