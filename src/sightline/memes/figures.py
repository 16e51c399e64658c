"""The drawings of the report and of the notebook; each takes a table as a stage wrote it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sightline.core import intervals, plots
from sightline.core.plots import BLUE, GREEN, GREY, INK, ORANGE, PERCENT, PURPLE, WIDTH, in_our_style


@in_our_style
def training(history: pd.DataFrame) -> Figure:
    """Draw losses and validation accuracy of each network over the epochs.

    Args:
        history: ``history.csv``, one row a ``model`` and ``epoch``: ``train_loss``, ``val_loss``, ``val_accuracy``.
    """
    figure = Figure(figsize=(WIDTH, 2.1))
    losses, scores = figure.subplots(1, 2)
    for name, rows in history.groupby("model", sort=False):
        colour = MODEL_COLOURS.get(str(name), GREY)
        losses.plot(rows["epoch"], rows["train_loss"], color=colour, linewidth=0.8, linestyle="--")
        losses.plot(rows["epoch"], rows["val_loss"], color=colour, label=MODELS.get(str(name), str(name)))
        scores.plot(rows["epoch"], rows["val_accuracy"], color=colour, label=MODELS.get(str(name), str(name)))
    losses.set_title("Loss: training dashed, validation solid")
    scores.set_title("Validation accuracy")
    for axes in (losses, scores):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    losses.set_ylim(bottom=0)
    scores.legend(loc="lower right")
    return figure


@in_our_style
def shuffle_test(shuffled: NDArray[np.float64], accuracy: float, p_value: float) -> Figure:
    """Draw what shuffled labels give, (N,), and what the true ones give."""
    figure = Figure(figsize=(3.1, 2.3))
    axes = figure.subplots()
    values, counts = np.unique(shuffled, return_counts=True)
    # Accuracies are whole numbers of pictures: bins of another width would show gaps and heaps of their own.
    width = np.diff(values).min() if len(values) > 1 else 0.01
    axes.bar(values, counts, width, color=GREY, alpha=0.5, label=f"{len(shuffled):,} shuffles")
    axes.axvline(accuracy, color=BLUE, label=f"true labels, {accuracy:.3f}")
    axes.set(xlabel="test accuracy", ylabel="shuffles")
    axes.set_title(f"p = {p_value:.2g}")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2)
    return figure


@in_our_style
def learning_curve(table: pd.DataFrame) -> Figure:
    """Draw the accuracy over the number of training pictures, with its interval.

    Args:
        table: ``learning_curve.csv``: ``pictures``, ``accuracy``, ``low``, ``high``.
    """
    figure = Figure(figsize=(3.1, 2.3))
    axes = figure.subplots()
    axes.fill_between(table["pictures"], table["low"], table["high"], color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(table["pictures"], table["accuracy"], "o-", color=BLUE, markersize=3)
    axes.set(xlabel="training pictures", ylabel="test accuracy", xlim=(0, None))
    axes.set_title("Learning curve of the linear classifier")
    axes.yaxis.set_major_formatter(PERCENT)
    return figure


@in_our_style
def abstention(table: pd.DataFrame) -> Figure:
    """Draw the error among accepted pictures over the share of known ones accepted, by each way of abstaining.

    Args:
        table: ``abstention.csv``: ``by``, ``coverage``, ``selective_error``, ``selective_error_known``.
    """
    figure = Figure(figsize=(3.6, 2.6))
    axes = figure.subplots()
    top = 0.0
    for by, rows in table.groupby("by", sort=True):
        colour, label = WAYS.get(str(by), (GREY, str(by)))
        # The first few pictures swing between 0 and 1; the rest of the curve is what there is to see.
        settled = rows["coverage"] >= SETTLED
        top = max(top, float(rows.loc[settled, ["selective_error", "selective_error_known"]].max().max()))
        axes.step(rows["coverage"], rows["selective_error"], where="post", color=colour, label=label)
        axes.step(
            rows["coverage"], rows["selective_error_known"], where="post", color=colour, linestyle="--", linewidth=0.8
        )
    axes.set(xlabel="known pictures that get an answer", ylabel="wrong among answered")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.12 * top + 0.01))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2)
    return figure


@in_our_style
def unknown_scores(predictions: pd.DataFrame, threshold: float) -> Figure:
    """Draw the chosen score of known and of unknown test pictures, and the threshold.

    Args:
        predictions: ``predictions.csv``: ``split``, ``label``, ``kind`` and ``unknown_score``.
        threshold: above it, a picture is rejected.
    """
    figure = plots.score_histogram(kinds_of_score(predictions), threshold)
    figure.axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def kinds_of_score(predictions: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The chosen score of the test pictures by what they are; kinds without a picture are left out."""
    split, kind = predictions["split"], predictions["kind"]
    unknown = split == "unknown-test"
    parts = {
        "known": split == "test",
        "unknown, near": unknown & (kind == "near"),
        "unknown, far": unknown & (kind == "far"),
        "unknown": unknown & ~kind.isin(["near", "far"]),
        "added later": split == "later-test",
    }
    scores = {name: predictions.loc[chosen, "unknown_score"].to_numpy(np.float64) for name, chosen in parts.items()}
    # More than four colours nobody tells apart.
    return dict([item for item in scores.items() if len(item[1])][:4])


@in_our_style
def adding(table: pd.DataFrame) -> Figure:
    """Draw what adding a class gains and costs over the number of pictures that it is learned from.

    Args:
        table: ``extend.csv``: ``method``, ``space``, ``shots``, and figures with ``_low`` and ``_high``.
    """
    figure = Figure(figsize=(WIDTH, 2.5))
    panels = figure.subplots(1, 3)
    titles = {
        "new_recall": "Recall of the new class",
        "old_accuracy_change": "Change of the old accuracy",
        "unknown_auroc_change": "Change of unknown AUROC",
    }
    retrained = table["method"] == UPPER_BOUND
    shots = sorted(table.loc[~retrained, "shots"].unique())
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for number, (name, rows) in enumerate(table[~retrained].groupby(["method", "space"], sort=False)):
            # Side by side, so that whiskers do not hide each other.
            at = np.searchsorted(shots, rows["shots"]) + 0.09 * (number - 2)
            label = f"{METHODS.get(str(name[0]), str(name[0]))}, {SPACES.get(str(name[1]), str(name[1]))}"
            colour = (BLUE, ORANGE, GREEN, PURPLE, INK)[number % 5]
            axes.vlines(at, rows[f"{column}_low"], rows[f"{column}_high"], color=colour, linewidth=0.8)
            axes.plot(at, rows[column], "o-", color=colour, markersize=2.5, linewidth=0.8, label=label)
        if retrained.any():
            best = float(table.loc[retrained, column].max())
            axes.axhline(best, color=GREY, linestyle="--", linewidth=0.8, label="retrained with all pictures")
        axes.set_xticks(range(len(shots)), [str(number) for number in shots])
        axes.set_xlabel("pictures of the new class")
        axes.set_title(title, fontsize=7.5)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def probe_bars(accuracies: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw accuracies, as metrics files hold them, with their intervals, one row each."""
    return plots.interval_bars(list(accuracies), [intervals.Figure(**accuracy) for accuracy in accuracies.values()])


MODELS = {"finetuned": "fine-tuned", "scratch": "from scratch"}
MODEL_COLOURS = {"finetuned": BLUE, "scratch": ORANGE}
WAYS = {"confidence": (ORANGE, "by confidence"), "unknown_score": (BLUE, "by unknown score")}
METHODS = {"class_mean": "class mean", "ranpac": "RanPAC", "grown_head": "grown head"}
SPACES = {"finetuned": "fine-tuned", "frozen": "frozen"}
UPPER_BOUND = "retrained_probe"
SETTLED = 0.1
