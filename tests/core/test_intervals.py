import json
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from sightline.core.errors import InputError
from sightline.core.intervals import Figure, bootstrap, confusion_statistics, paired_difference


def draw_predictions(seed, units=60, samples_per_unit=5, classes=4, right=0.8):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(units), samples_per_unit)
    labels = rng.integers(classes, size=len(groups))
    predictions = np.where(rng.random(len(groups)) < right, labels, rng.integers(classes, size=len(groups)))
    return labels, predictions, groups


def mean_of(values):
    return lambda weights: {"mean": float(np.average(values, weights=weights))}


def test_the_interval_of_a_mean_is_scipys_where_every_sample_is_its_own_unit():
    values = np.random.default_rng(0).exponential(size=200)
    figure = bootstrap(mean_of(values), np.arange(200), seed=1, resamples=20_000)["mean"]
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    width = reference.high - reference.low
    assert figure.value == pytest.approx(values.mean())
    assert figure.low == pytest.approx(reference.low, abs=0.03 * width)
    assert figure.high == pytest.approx(reference.high, abs=0.03 * width)


def test_the_interval_over_units_is_scipys_bootstrap_of_the_unit_totals():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, size=80)
    groups = np.repeat(np.arange(80), sizes)
    values = rng.normal(size=80)[groups] + 0.1 * rng.normal(size=len(groups))
    figure = bootstrap(mean_of(values), groups, seed=1, resamples=20_000)["mean"]
    reference = stats.bootstrap(
        (np.bincount(groups, values), sizes),
        lambda totals, counts, axis: totals.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        batch=2_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = reference.high - reference.low
    assert figure.n == 80
    assert figure.low == pytest.approx(reference.low, abs=0.03 * width)
    assert figure.high == pytest.approx(reference.high, abs=0.03 * width)


def test_copies_of_a_sample_within_its_unit_do_not_narrow_the_interval():
    values = np.random.default_rng(4).normal(size=50)
    single = bootstrap(mean_of(values), np.arange(50), seed=7)["mean"]
    copied = bootstrap(mean_of(np.repeat(values, 10)), np.repeat(np.arange(50), 10), seed=7)["mean"]
    assert (copied.low, copied.high, copied.n) == (pytest.approx(single.low), pytest.approx(single.high), 50)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    figures = [
        bootstrap(mean_of(rng.normal(size=100)), np.arange(100), seed=seed, resamples=200, confidence=0.9)["mean"]
        for seed in range(200)
    ]
    held = sum(figure.low <= 0 <= figure.high for figure in figures)
    assert 165 <= held <= 195


def test_the_same_seed_gives_the_same_figures_and_another_seed_others():
    labels, predictions, groups = draw_predictions(0)
    statistics = confusion_statistics(labels, predictions, 4)
    first = bootstrap(statistics, groups, seed=0, resamples=100)
    assert bootstrap(statistics, groups, seed=0, resamples=100) == first
    assert bootstrap(statistics, groups, seed=1, resamples=100) != first


def test_units_may_be_names_and_samples_in_any_order():
    labels, predictions, groups = draw_predictions(1)
    names = np.array([f"photo_{group:03}.jpg" for group in groups])
    shuffle = np.random.default_rng(6).permutation(len(labels))
    in_order = bootstrap(confusion_statistics(labels, predictions, 4), groups, seed=0, resamples=100)
    shuffled = bootstrap(
        confusion_statistics(labels[shuffle], predictions[shuffle], 4), names[shuffle], seed=0, resamples=100
    )
    assert shuffled["macro_f1"].low == pytest.approx(in_order["macro_f1"].low)
    assert shuffled["recall_2"].high == pytest.approx(in_order["recall_2"].high)


def test_resamples_in_which_a_figure_is_undefined_are_left_out_of_its_interval():
    # Unit 0 alone holds negatives: an AUROC exists only in the resamples that drew it.
    is_positive = np.array([False, False, True, True, True, True, True, True])
    scores = np.array([0.1, 0.5, 0.4, 0.6, 0.9, 0.3, 0.8, 0.7])
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])

    def statistics(weights):
        drawn = weights > 0
        auroc = np.nan
        if len(np.unique(is_positive[drawn])) == 2:
            auroc = metrics.roc_auc_score(is_positive, scores, sample_weight=weights)
        return {"auroc": auroc, "mean": float(np.average(scores, weights=weights))}

    figures = bootstrap(statistics, groups, seed=0)
    # Every pair of an AUROC has its negative in unit 0, so that of a resample is the mean over its positive units.
    of_units = [(scores[[k, k + 1]][:, None] > scores[:2]).mean() for k in (2, 4, 6)]
    assert figures["auroc"].value == pytest.approx(np.mean(of_units))
    assert min(of_units) <= figures["auroc"].low < figures["auroc"].high <= max(of_units)
    assert figures["mean"].low < figures["mean"].value < figures["mean"].high


def test_a_figure_that_a_resample_leaves_out_counts_as_undefined_there():
    groups = np.arange(4)
    with_nan = bootstrap(lambda w: {"x": w[1] if w[0] else np.nan}, groups, seed=0)
    left_out = bootstrap(lambda w: {"x": w[1]} if w[0] else {}, groups, seed=0)
    assert with_nan == left_out


@pytest.mark.parametrize(
    ("statistics", "groups", "message"),
    [
        (lambda w: {"accuracy": 1.0}, ["a", "a", "a"], "two independent units .* the 3 samples come from 1"),
        (lambda w: {"accuracy": 1.0}, [], "two independent units .* the 0 samples come from 0"),
        (lambda w: {"auroc": np.nan}, [0, 1, 2], "auroc is undefined on all samples"),
        (lambda w: {"auroc": 1.0 if w.min() > 0 else np.nan}, [0, 1, 2], "auroc is undefined on most resamples"),
    ],
)
def test_figures_that_would_be_a_guess_are_refused_in_one_line(statistics, groups, message):
    with pytest.raises(InputError, match=message) as error:
        bootstrap(statistics, np.array(groups), seed=0)
    assert "\n" not in str(error.value)


def scikit_learns(labels, predictions, classes, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figures = {
            "accuracy": metrics.accuracy_score(labels, predictions, sample_weight=weights),
            "balanced_accuracy": metrics.balanced_accuracy_score(labels, predictions, sample_weight=weights),
        }
        keywords = {"labels": range(classes), "sample_weight": weights, "zero_division": 0}
        figures["macro_f1"] = metrics.f1_score(labels, predictions, average="macro", **keywords)
        by_class = metrics.precision_recall_fscore_support(labels, predictions, **keywords)
        for name, values in zip(("precision", "recall", "f1"), by_class, strict=False):
            figures |= {f"{name}_{k}": value for k, value in enumerate(values)}
    return figures


@pytest.mark.parametrize("absent", ["none", "never true", "never predicted", "neither", "all but one"])
def test_confusion_statistics_are_scikit_learns(absent):
    labels, predictions, _ = draw_predictions(2, classes=5)
    if absent in ("never true", "neither"):
        labels[labels == 3] = 0
    if absent in ("never predicted", "neither"):
        predictions[predictions == 3] = 1
    if absent == "all but one":
        labels[:] = predictions[:] = 2
    rng = np.random.default_rng(8)
    for weights in (np.ones(len(labels)), rng.integers(3, size=len(labels)).astype(float), rng.random(len(labels))):
        expected = scikit_learns(labels, predictions, 5, weights)
        assert confusion_statistics(labels, predictions, 5)(weights) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_a_resample_did_not_draw_is_treated_as_scikit_learn_does():
    labels, predictions = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 2])
    weights = np.array([1.0, 1, 2, 2, 0])
    figures = confusion_statistics(labels, predictions, 3)(weights)
    assert figures == pytest.approx(scikit_learns(labels, predictions, 3, weights))
    assert figures["recall_2"] == 0
    assert figures["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize(("labels", "predictions"), [([0, 1, 3], [0, 1, 2]), ([0, 1], [0, -1]), ([0, 1], [0])])
def test_confusion_statistics_refuse_what_would_land_in_another_cell(labels, predictions):
    with pytest.raises(ValueError, match="must"):
        confusion_statistics(labels, predictions, 3)


def test_the_paired_difference_is_that_of_the_two_values_and_narrower_than_either_interval():
    labels, predictions, groups = draw_predictions(3, units=100)
    better = predictions.copy()
    wrong = np.flatnonzero(predictions != labels)[::4]
    better[wrong] = labels[wrong]
    before, after = confusion_statistics(labels, predictions, 4), confusion_statistics(labels, better, 4)
    difference = paired_difference(before, after, groups, seed=0)["accuracy"]
    alone = bootstrap(before, groups, seed=0)["accuracy"]
    assert difference.value == pytest.approx(len(wrong) / len(labels))
    assert 0 < difference.low < difference.value < difference.high
    assert difference.high - difference.low < 0.8 * (alone.high - alone.low)


def test_swapped_runs_give_the_mirrored_interval_and_equal_runs_exactly_zero():
    labels, predictions, groups = draw_predictions(4)
    other = draw_predictions(4, right=0.6)[1]
    a, b = confusion_statistics(labels, predictions, 4), confusion_statistics(labels, other, 4)
    there = paired_difference(a, b, groups, seed=0, resamples=200)["macro_f1"]
    back = paired_difference(b, a, groups, seed=0, resamples=200)["macro_f1"]
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert paired_difference(a, a, groups, seed=0, resamples=200)["macro_f1"] == Figure(0.0, 0.0, 0.0, 60)


def test_only_figures_of_both_runs_are_compared():
    old, new = (lambda w: {"accuracy": 0.5, "ece": 0.1}), (lambda w: {"accuracy": 0.75, "auroc": 0.9})
    assert paired_difference(old, new, np.arange(3), seed=0) == {"accuracy": Figure(0.25, 0.25, 0.25, 3)}


def test_a_figure_is_written_with_six_decimals_and_without_a_negative_zero():
    written = Figure(0.95312345678, -1e-9, 0.9659999999, 412).as_dict()
    assert json.dumps(written) == '{"value": 0.953123, "low": 0.0, "high": 0.966, "n": 412}'


def test_a_centred_interval_is_the_same_one_moved_to_where_its_mean_is_the_value() -> None:
    units = np.arange(50)

    def share_drawn(weights: NDArray[np.float64]) -> dict[str, float]:
        """1 on the samples as they are; about 0.63 in each resample."""
        return {"share": float((weights > 0).mean())}

    plain = bootstrap(share_drawn, units, seed=0)["share"]
    centred = bootstrap(share_drawn, units, seed=0, centred=True)["share"]
    assert plain.high < plain.value == centred.value == 1
    assert centred.high - centred.low == pytest.approx(plain.high - plain.low)
    # Of n units n draws leave out each with a chance of (1 - 1/n)^n.
    assert centred.low - plain.low == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)


def crossed_table(people, photos, seed, person=0.0, photo=0.0, noise=1.0):
    """A value of each person in each photo, the sum of three effects of these deviations; and who and where it is."""
    rng = np.random.default_rng(seed)
    values = person * rng.normal(size=(people, 1)) + photo * rng.normal(size=photos)
    who, where = np.divmod(np.arange(people * photos), photos)
    return (values + noise * rng.normal(size=(people, photos))).ravel(), who, where.astype(str)


def test_crossed_units_are_both_drawn_and_what_meets_is_in_the_resample_so_many_times() -> None:
    values, people, photos = crossed_table(6, 5, seed=0, person=1, photo=1)
    kept = np.random.default_rng(1).random(30) < 0.7
    values, people, photos = values[kept], people[kept], photos[kept]
    figure = bootstrap(mean_of(values), people, crossed=photos, seed=0, resamples=4000)["mean"]
    of_pair = {(who, where): value for value, who, where in zip(values, people, photos, strict=True)}
    rng, means = np.random.default_rng(2), []
    for _ in range(4000):
        drawn_people, drawn_photos = rng.integers(6, size=6), rng.integers(5, size=5).astype(str)
        pairs = ((who, where) for who in drawn_people for where in drawn_photos)
        means.append(np.mean([of_pair[pair] for pair in pairs if pair in of_pair]))
    low, high = np.quantile(means, [0.025, 0.975])
    assert (figure.value, figure.n) == (pytest.approx(values.mean()), 6)
    assert (figure.low, figure.high) == (pytest.approx(low, abs=0.1), pytest.approx(high, abs=0.1))


def test_samples_without_a_second_unit_are_drawn_with_their_first() -> None:
    values, people, photos = crossed_table(8, 5, seed=3)
    plain = bootstrap(mean_of(values), people, seed=0)
    assert bootstrap(mean_of(values), people, crossed=np.full(40, ""), seed=0) == plain
    # Of two lone samples one has a photo of its own, which is drawn once each time, and so changes nothing.
    pair = bootstrap(mean_of(np.array([0.0, 1.0])), np.arange(2), crossed=np.array(["", "photo"]), seed=0)
    assert pair == bootstrap(mean_of(np.array([0.0, 1.0])), np.arange(2), seed=0)
    assert bootstrap(mean_of(values), people, crossed=photos, seed=0) != plain


def test_pure_chance_counts_up_to_three_times_in_crossed_units() -> None:
    # Owen 2007, theorem 3: expected variances of the resampled mean of a full table, to first order in 1 / units.
    variances = []
    for seed in range(20):
        values, people, photos = crossed_table(30, 30, seed)
        means: list[float] = []

        def noted(weights, values=values, means=means):
            means.append(float(np.average(values, weights=weights)))
            return {"mean": means[-1]}

        bootstrap(noted, people, crossed=photos, seed=seed, resamples=400)
        variances.append(np.var(means[1:]))
    assert np.mean(variances) * 900 == pytest.approx(3, rel=0.15)


def test_resamples_whose_units_do_not_meet_are_left_out() -> None:
    # Anna is in photo 1 alone and Ben in photo 2: one in eight resamples has neither.
    drawn = []
    bootstrap(
        lambda w: (drawn.append(w), {"mean": float(np.average([0, 1], weights=w))})[1],
        np.array(["anna", "ben"]),
        crossed=np.array(["1", "2"]),
        seed=0,
    )
    assert len(drawn) - 1 == pytest.approx(1000 * 7 / 8, abs=40)


def test_where_few_people_recur_in_many_photos_only_crossed_units_cover_the_truth() -> None:
    held = {"photos": 0, "crossed": 0}
    for seed in range(60):
        values, people, photos = crossed_table(8, 20, seed, person=1, photo=0.3)
        by_photo = bootstrap(mean_of(values), photos, seed=seed, resamples=150)["mean"]
        crossed = bootstrap(mean_of(values), people, crossed=photos, seed=seed, resamples=150)["mean"]
        held["photos"] += by_photo.low <= 0 <= by_photo.high
        held["crossed"] += crossed.low <= 0 <= crossed.high
    assert held["photos"] < 30 < 50 <= held["crossed"]


def test_differences_are_drawn_over_crossed_units_too() -> None:
    values, people, photos = crossed_table(8, 10, seed=4, person=1, photo=1)
    before, after = mean_of(np.zeros(80)), mean_of(values)
    difference = paired_difference(before, after, people, crossed=photos, seed=0, resamples=200)["mean"]
    assert difference == bootstrap(after, people, crossed=photos, seed=0, resamples=200)["mean"]
