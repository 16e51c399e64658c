"""The drawings of the report; each takes a table as a stage wrote it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sightline.core.plots import BLUE, GREEN, GREY, INK, ORANGE, PERCENT, PURPLE, WIDTH, in_our_style

METHODS = {"embedding": "embedding", "cnn": "own CNN", "knn": "kNN on pixels"}
"""In the order in which reports name them."""
METHOD_COLOURS = {"embedding": GREEN, "cnn": BLUE, "knn": ORANGE}
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK, GREY)


@in_our_style
def detection_curve(table: pd.DataFrame, score: float) -> Figure:
    """Draw precision against recall, with a dot at the score from which a box is called a face.

    Args:
        table: ``detection.csv``: ``set``, ``score``, ``precision``, ``recall``, by falling score.
        score: ``faces.detect.score``.
    """
    figure = Figure(figsize=(WIDTH / 2 - 0.1, 2.6))
    axes = figure.subplots()
    for colour, (name, rows) in zip(COLOURS, table.groupby("set", sort=False), strict=False):
        axes.plot(rows["recall"], rows["precision"], color=colour, label=str(name))
        sure = rows[rows["score"] >= score]
        if len(sure):
            axes.plot(sure["recall"].iloc[-1], sure["precision"].iloc[-1], "o", color=colour, markersize=4)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.03))
    axes.legend(loc="lower left")
    return figure


@in_our_style
def dir_far(table: pd.DataFrame) -> Figure:
    """Draw how many known faces are accepted and named right against how many unknown ones are accepted.

    Args:
        table: ``dir_far.csv``: ``method``, ``far``, ``dir``, and ``chosen``, 1 where the threshold lies.
    """
    figure = Figure(figsize=(WIDTH / 2 - 0.1, 2.6))
    axes = figure.subplots()
    # On a logarithmic axis there is no zero; what never happens stands at its left end.
    least = max(min(table.loc[table["far"] > 0, "far"].min(), 0.01) / 2, 1e-4) if (table["far"] > 0).any() else 0.005
    for method, label in METHODS.items():
        rows = table[table["method"] == method].sort_values(["far", "dir"])
        if not len(rows):
            continue
        colour, shown = METHOD_COLOURS[method], np.maximum(rows["far"], least)
        axes.step(shown, rows["dir"], where="post", color=colour, label=label)
        chosen = (rows["chosen"] == 1).to_numpy()
        axes.plot(shown[chosen], rows.loc[chosen, "dir"], "o", color=colour, markersize=5, clip_on=False)
    axes.set_xscale("log")
    axes.set(xlabel="unknown faces accepted", ylabel="known faces accepted and right", ylim=(-0.02, 1.03))
    axes.set_xlim(least, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3)
    return figure


@in_our_style
def similarities(faces: pd.DataFrame, thresholds: Mapping[str, float]) -> Figure:
    """Draw for each method how similar known and unknown test faces are to their best person, and the threshold.

    Args:
        faces: as :func:`sightline.faces.identity_figures.faces_to_test` gives them.
        thresholds: by method.
    """
    methods = [method for method in METHODS if method in thresholds]
    figure = Figure(figsize=(WIDTH, 1.9))
    panels = np.atleast_1d(figure.subplots(1, len(methods), sharey=True))
    truth = faces["truth"]
    for axes, method in zip(panels, methods, strict=True):
        values, is_right = faces[f"similarity_{method}"], faces[f"name_{method}"] == truth
        kinds = {
            "known, best person right": values[(truth != "") & is_right],
            "known, best person wrong": values[(truth != "") & ~is_right],
            "unknown": values[truth == ""],
        }
        edges = np.histogram_bin_edges(values, bins=24)
        for colour, (kind, own) in zip((GREEN, ORANGE, GREY), kinds.items(), strict=True):
            counts = np.histogram(own, edges)[0]
            axes.stairs(counts, edges, color=colour, fill=True, alpha=0.25)
            axes.stairs(counts, edges, color=colour, linewidth=1.1, label=kind)
        axes.axvline(thresholds[method], color=INK, linewidth=0.8, linestyle="--", label="threshold")
        axes.set_title(METHODS[method])
        axes.set_xlabel("similarity")
    panels[0].set_ylabel("faces")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@in_our_style
def training(history: pd.DataFrame) -> Figure:
    """Draw the losses of the identity network on what it learns from, and of its folds on what they have not seen.

    Args:
        history: ``history.csv``, a row a ``model`` and ``epoch``: ``train_loss``, ``left_out_loss``.
    """
    figure = Figure(figsize=(WIDTH / 2 - 0.1, 2.3))
    axes = figure.subplots()
    final = history[history["model"] == "cnn"]
    axes.plot(final["epoch"], final["train_loss"], color=BLUE, label="learned, augmented")
    folds = history[history["model"] != "cnn"].groupby("epoch")["left_out_loss"]
    low, high, mean = folds.min(), folds.max(), folds.mean()
    axes.fill_between(mean.index, low, high, color=ORANGE, alpha=0.2, linewidth=0)
    axes.plot(mean.index, mean, color=ORANGE, label="left out, folds")
    axes.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)
    return figure
