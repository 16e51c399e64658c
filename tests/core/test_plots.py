import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from sightline.core import intervals, plots
from sightline.core.calibration import Threshold, coverage_curve, reliability

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [1.5, 0.9, 0.6],
        "val_loss": [1.6, 1.1, 1.0],
        "val_accuracy": [0.4, 0.6, 0.7],
        "val_macro_f1": [0.3, 0.55, 0.68],
        "lr": [0.001, 0.0006, 0.0001],
    }
)
CONFIDENCES = np.array([0.1, 0.2, 0.35, 0.6, 0.65, 0.9, 0.95, 1.0])
CORRECT = np.array([False, True, False, True, False, True, True, True])
CHOSEN = Threshold(value=0.6, accepted=5, errors=1, coverage=0.625, error=0.2, bound=0.66)
FIGURES = [intervals.Figure(0.9, 0.8, 0.95, 40), intervals.Figure(0.5, 0.52, 0.6, 40)]


def make_every_figure():
    return {
        "training": plots.training_curves(HISTORY),
        "confusion": plots.confusion_matrix(np.array([[3, 1], [0, 6]]), ["pyrite", "quartz"]),
        "reliability": plots.reliability_diagram(reliability(CONFIDENCES, CORRECT, 5), 0.123),
        "risk": plots.risk_coverage(coverage_curve(CONFIDENCES, CORRECT), CHOSEN, 0.25),
        "curves": plots.precision_recall_and_roc(CONFIDENCES, CORRECT),
        "scores": plots.score_histogram({"known": CONFIDENCES[CORRECT], "other": CONFIDENCES[~CORRECT]}, 0.6),
        "intervals": plots.interval_bars(["pyrite", "quartz"], FIGURES),
    }


def line(axes, label):
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return found.get_xydata().tolist()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_data_give_the_same_bytes_whatever_the_users_settings(tmp_path, suffix, monkeypatch):
    for name, figure in make_every_figure().items():
        plots.save(figure, tmp_path / "first" / f"{name}{suffix}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 5, "svg.hashsalt": "other", "savefig.dpi": 30}):
        for name, figure in make_every_figure().items():
            plots.save(figure, tmp_path / "second" / f"{name}{suffix}")
    for first in (tmp_path / "first").iterdir():
        assert first.read_bytes() == (tmp_path / "second" / first.name).read_bytes(), first.name
    assert len(list((tmp_path / "second").iterdir())) == 7


def test_drawing_leaves_the_users_settings_alone():
    before = dict(mpl.rcParams)
    make_every_figure()
    assert dict(mpl.rcParams) == before


def test_a_suffix_that_is_no_picture_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"curves\.gif: .*\.png"):
        plots.save(plots.training_curves(HISTORY), tmp_path / "curves.gif")
    assert list(tmp_path.iterdir()) == []


def test_training_curves_show_every_column_over_the_epochs():
    losses, scores, rate = plots.training_curves(HISTORY).axes
    assert line(losses, "training") == [[1, 1.5], [2, 0.9], [3, 0.6]]
    assert line(losses, "validation") == [[1, 1.6], [2, 1.1], [3, 1.0]]
    assert line(scores, "accuracy") == [[1, 0.4], [2, 0.6], [3, 0.7]]
    assert line(scores, "macro F1") == [[1, 0.3], [2, 0.55], [3, 0.68]]
    assert rate.lines[0].get_ydata().tolist() == [0.001, 0.0006, 0.0001]


def test_the_confusion_matrix_writes_counts_and_colours_shares_of_the_true_class():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 6]])
    axes = plots.confusion_matrix(counts, ["malachite", "pyrite", "quartz"]).axes[0]
    written = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert written == {(column, row): str(counts[row, column]) for row in range(3) for column in range(3)}
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0, 0.75]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["malachite", "pyrite", "quartz"]
    assert axes.yaxis_inverted()


def test_the_labels_of_eight_classes_do_not_overlap():
    classes = ["biotite", "bornite", "chrysocolla", "malachite", "muscovite", "pyrite", "quartz", "none of them"]
    figure = plots.confusion_matrix(np.full((8, 8), 1234), classes)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for texts in (axes.texts, axes.get_yticklabels()):
        boxes = [text.get_window_extent() for text in texts]
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_the_reliability_diagram_shows_bins_that_hold_samples_and_all_counts():
    table = reliability(CONFIDENCES, CORRECT, 5)
    diagram, histogram = plots.reliability_diagram(table, 0.1234).axes
    # Bins (0, 0.2], (0.2, 0.4], (0.4, 0.6], (0.6, 0.8], (0.8, 1].
    assert np.array(line(diagram, "measured")) == pytest.approx(
        np.array([[0.15, 0.5], [0.35, 0], [0.6, 1], [0.65, 0], [0.95, 1]])
    )
    assert [bar.get_height() for bar in histogram.patches] == [2, 1, 1, 1, 3]
    assert "0.123" in diagram.get_title(loc="left")


def test_risk_coverage_shows_the_curve_the_dot_and_its_bound():
    axes = plots.risk_coverage(coverage_curve(CONFIDENCES, CORRECT), CHOSEN, 0.25).axes[0]
    curve = np.array(line(axes, "all thresholds"))
    np.testing.assert_allclose(curve[:, 0], np.arange(1, 9) / 8)
    np.testing.assert_allclose(curve[:, 1], [0, 0, 0, 1 / 4, 1 / 5, 2 / 6, 2 / 7, 3 / 8])
    drawn = [points.get_xydata().tolist() for points in axes.lines]
    assert [[0.625, 0.2]] in drawn
    assert [[0.625, 0.2], [0.625, 0.66]] in drawn
    assert [[0, 0.25], [1, 0.25]] in drawn
    assert axes.get_ylim()[1] > 0.66


def test_risk_coverage_says_so_where_no_threshold_was_found():
    nothing = Threshold(value=None, accepted=0, errors=0, coverage=0.0, error=0.0, bound=1.0)
    axes = plots.risk_coverage(coverage_curve(CONFIDENCES, CORRECT), nothing, 0.25).axes[0]
    assert "no threshold keeps it" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert [0.0, 0.0] not in [point for points in axes.lines for point in points.get_xydata().tolist()]


def test_the_areas_stated_are_those_under_the_curves_drawn():
    rng = np.random.default_rng(0)
    is_positive = rng.random(300) < 0.4
    scores = rng.normal(size=300) + is_positive
    left, right = plots.precision_recall_and_roc(scores, is_positive).axes
    recall, precision = left.lines[0].get_xydata().T
    assert f"AUPR {-np.sum(np.diff(recall) * precision[:-1]):.3f}" in left.get_title(loc="left")
    false_positive_rate, true_positive_rate = right.lines[0].get_xydata().T
    area = np.trapezoid(true_positive_rate, false_positive_rate)
    assert f"AUROC {area:.3f}" in right.get_title(loc="left")
    assert area == pytest.approx(metrics.roc_auc_score(is_positive, scores))


def test_scores_of_one_kind_have_no_curves():
    with pytest.raises(ValueError, match="both kinds"):
        plots.precision_recall_and_roc(np.array([0.1, 0.9]), np.array([True, True]))


def test_the_score_histogram_shows_each_kind_in_full_whatever_its_size():
    scores = {"minerals": np.linspace(0.5, 1, 500), "background": np.linspace(0, 0.6, 20), "near": np.array([])}
    axes = plots.score_histogram(scores, 0.7).axes[0]
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    assert [patch.get_data().values.sum() for patch in outlines] == pytest.approx([1, 1, 0])
    assert outlines[0].get_data().edges[[0, -1]].tolist() == [0, 1]
    assert line(axes, "threshold 0.700") == [[0.7, 0], [0.7, 1]]
    assert plots.score_histogram(scores, None).axes[0].lines[:] == []


def test_interval_bars_show_value_and_bounds_with_the_first_on_top():
    axes = plots.interval_bars(["pyrite", "quartz"], FIGURES).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0.9, 0], [0.5, 1]]
    (whiskers,) = axes.collections
    assert [segment.tolist() for segment in whiskers.get_segments()] == [
        [[0.8, 0], [0.95, 0]],
        [[0.52, 1], [0.6, 1]],
    ]
    assert [text.get_text() for text in axes.texts] == ["0.900  [0.800, 0.950]", "0.500  [0.520, 0.600]"]
    assert axes.yaxis_inverted()
