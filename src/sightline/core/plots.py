"""The figures of the reports: one calm style, and the same bytes for the same data on every machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray
from sklearn import metrics

from sightline.core import intervals
from sightline.core.calibration import Threshold
from sightline.core.files import replacing

FloatArray = NDArray[np.float64]

# The colours of Okabe & Ito 2008, told apart with any colour vision and, by their lightness, in grey print.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, GREY, PALE = "#222222", "#7f7f7f", "#d9d9d9"

STYLE: dict[str, Any] = {
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE]),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.4,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "text.color": INK,
    "pdf.fonttype": 42,
    "svg.hashsalt": "sightline",
}

# From matplotlib's defaults, so that no matplotlibrc of the user's changes a byte.
in_our_style = style.context(["default", STYLE])

METADATA: dict[str, dict[str, None]] = {
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".png": {"Software": None},
    ".svg": {"Creator": None, "Date": None},
}

# As many digits as the tick needs, where matplotlib's own formatter writes 16.0%.
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g}%")

# Inches: the text of an A4 page between its margins.
WIDTH = 6.3


@in_our_style
def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG (200 dpi), SVG or PDF, by the suffix of ``path``; the same figure gives the same bytes.

    Raises:
        ValueError: the suffix is another one.
    """
    if path.suffix not in METADATA:
        raise ValueError(f"{path.name}: a figure is written as {', '.join(METADATA)}")
    with replacing(path) as part:
        figure.savefig(part, metadata=METADATA[path.suffix])


@in_our_style
def training_curves(history: pd.DataFrame) -> Figure:
    """Draw losses, validation scores and the learning rate over the epochs.

    Args:
        history: one row an epoch; columns ``epoch``, ``train_loss``, ``val_loss``, ``val_accuracy``, ``val_macro_f1``
            and ``lr``.
    """
    figure = Figure(figsize=(WIDTH, 2.1))
    losses, scores, rate = figure.subplots(1, 3, width_ratios=[1, 1, 0.7])
    for axes, title, lines in (
        (losses, "Loss", {"train_loss": "training", "val_loss": "validation"}),
        (scores, "Validation score", {"val_accuracy": "accuracy", "val_macro_f1": "macro F1"}),
        (rate, "Learning rate", {"lr": ""}),
    ):
        for column, label in lines.items():
            axes.plot(history["epoch"], history[column], label=label)
        if len(lines) > 1:
            axes.legend()
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    losses.set_ylim(bottom=0)
    rate.set_ylim(bottom=0)
    rate.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return figure


@in_our_style
def confusion_matrix(counts: NDArray[np.integer[Any]], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: counts as numbers, shares of the true class as colours.

    Args:
        counts: (C, C), integers; rows are true classes, columns predictions.
        classes: their C names.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 1.6 + 0.42 * len(classes)
    figure = Figure(figsize=(min(side + 0.6, WIDTH), min(side, WIDTH - 0.6)))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else INK if count else GREY
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    bar = figure.colorbar(image, shrink=0.8, aspect=25, format=PERCENT, label="share of the true class")
    bar.outline.set_visible(False)
    return figure


@in_our_style
def reliability_diagram(table: pd.DataFrame, ece: float) -> Figure:
    """Draw accuracy against confidence, bin by bin, over the number of samples in each (DeGroot & Fienberg 1983).

    Args:
        table: as :func:`sightline.core.calibration.reliability` gives it.
        ece: the expected calibration error to state.
    """
    figure = Figure(figsize=(3.1, 3.4))
    diagram, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = table[table["count"] > 0]
    middles, widths = (table["low"] + table["high"]) / 2, table["high"] - table["low"]
    diagram.bar(
        middles[filled.index], filled["accuracy"], widths[filled.index], color=BLUE, alpha=0.25, edgecolor="white"
    )
    diagram.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="perfect")
    diagram.plot(filled["confidence"], filled["accuracy"], "o-", color=BLUE, markersize=3, label="measured")
    diagram.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    diagram.set_title(f"Expected calibration error {ece:.3f}")
    diagram.legend(loc="upper left")
    histogram.bar(middles, table["count"], widths, color=GREY, edgecolor="white")
    histogram.set(xlabel="confidence", ylabel="samples")
    histogram.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    figure.align_ylabels()
    return figure


@in_our_style
def risk_coverage(curve: pd.DataFrame, threshold: Threshold, max_error: float) -> Figure:
    """Draw the error among accepted samples against how many are accepted, with the chosen threshold and its bound.

    Args:
        curve: as :func:`sightline.core.calibration.coverage_curve` gives it.
        threshold: the chosen one; its dot has a whisker up to the upper confidence bound.
        max_error: the error that was to be kept.
    """
    figure = Figure(figsize=(3.6, 2.6))
    axes = figure.subplots()
    axes.step(curve["coverage"], curve["selective_error"], where="post", color=BLUE, label="all thresholds")
    axes.axhline(max_error, color=GREY, linewidth=0.8, linestyle="--", label=f"error to keep, {max_error:.1%}")
    if threshold.value is not None:
        axes.plot([threshold.coverage] * 2, [threshold.error, threshold.bound], color=ORANGE)
        label = f"chosen threshold {threshold.value:.3f}\nwith upper bound of its error"
        axes.plot(threshold.coverage, threshold.error, "o", color=ORANGE, markersize=5, label=label)
    else:
        axes.plot([], [], " ", label="no threshold keeps it")
    axes.set(xlabel="coverage (accepted)", ylabel="error among accepted", xlim=(0, 1.02))
    # The first few samples swing between 0 and 1; the rest of the curve is what there is to see.
    settled = curve["selective_error"][curve["coverage"] >= 0.05]
    axes.set_ylim(0, 1.15 * max(float(settled.max()), max_error, threshold.bound * (threshold.value is not None)))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="upper left")
    return figure


@in_our_style
def precision_recall_and_roc(scores: FloatArray, is_positive: NDArray[np.bool_]) -> Figure:
    """Draw the precision-recall and the ROC curve of a score, with the areas under them (AUPR, AUROC).

    Args:
        scores: (N,), higher where a sample is more likely positive.
        is_positive: (N,); both kinds must occur.

    Raises:
        ValueError: all samples are of one kind.
    """
    if len(np.unique(is_positive)) != 2:
        raise ValueError("both kinds of sample must occur, or there are no curves")
    precision, recall, _ = metrics.precision_recall_curve(is_positive, scores)
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(is_positive, scores, drop_intermediate=False)
    figure = Figure(figsize=(WIDTH - 0.7, 2.7))
    left, right = figure.subplots(1, 2)
    left.step(recall, precision, where="post", color=BLUE)
    left.axhline(np.mean(is_positive), color=GREY, linewidth=0.8, linestyle="--", label="chance")
    left.set(xlabel="recall", ylabel="precision")
    left.set_title(f"Precision and recall, AUPR {metrics.average_precision_score(is_positive, scores):.3f}")
    right.plot(false_positive_rate, true_positive_rate, color=BLUE)
    right.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="chance")
    right.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set_title(f"ROC, AUROC {metrics.roc_auc_score(is_positive, scores):.3f}")
    for axes in (left, right):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    left.legend(loc="lower left")
    right.legend(loc="lower right")
    return figure


@in_our_style
def score_histogram(scores: Mapping[str, FloatArray], threshold: float | None) -> Figure:
    """Draw how a score is distributed for each kind of sample, as shares so that kinds of any size compare.

    Args:
        scores: by kind, (N,) each, finite, at most four kinds.
        threshold: where to draw a line; None for none.
    """
    figure = Figure(figsize=(3.6, 2.6))
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(scores.values())), bins=30)
    for number, (kind, values) in enumerate(scores.items()):
        shares = np.histogram(values, edges)[0] / max(len(values), 1)
        axes.stairs(shares, edges, color=f"C{number}", fill=True, alpha=0.2)
        axes.stairs(shares, edges, color=f"C{number}", linewidth=1.1, label=f"{kind} ({len(values)})")
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=0.8, linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="score", ylabel="share of the kind")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    return figure


@in_our_style
def interval_bars(names: Sequence[str], figures: Sequence[intervals.Figure]) -> Figure:
    """Draw figures as dots with their confidence intervals as whiskers, one row each, the first on top.

    Args:
        names: what each figure is of, a class for instance.
        figures: as many.
    """
    figure = Figure(figsize=(4.6, 0.7 + 0.24 * len(names)))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.hlines(rows, [f.low for f in figures], [f.high for f in figures], color=BLUE, linewidth=1.2)
    axes.plot([f.value for f in figures], rows, "o", color=BLUE, markersize=4)
    for row, f in enumerate(figures):
        text = f"{f.value:.3f}  [{f.low:.3f}, {f.high:.3f}]"
        axes.annotate(text, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    axes.margins(x=0.08)
    axes.set_yticks(rows, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("value with its confidence interval")
    return figure
