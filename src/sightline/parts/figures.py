"""The drawings of the report; each takes a table as a stage wrote it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sightline.core.plots import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, WIDTH, in_our_style
from sightline.parts.count_figures import crossed
from sightline.parts.motion import Prior

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
HALF = WIDTH / 2 - 0.1


@in_our_style
def training(history: pd.DataFrame) -> Figure:
    """Draw what the detector is worth on frames of val, epoch by epoch, and the losses that it learns by.

    Args:
        history: ``history.csv``: epoch, columns that end in ``_loss``, val_map50 and val_map50_95.
    """
    figure = Figure(figsize=(HALF, 3.0))
    scores, losses = figure.subplots(2, 1, sharex=True, height_ratios=[1.4, 1])
    scores.plot(history["epoch"], history["val_map50"], color=BLUE, label="mAP50")
    scores.plot(history["epoch"], history["val_map50_95"], color=ORANGE, label="mAP50-95")
    scores.set(ylabel="average precision, val", ylim=(0, 1.03))
    scores.legend(loc="lower right")
    for colour, name in zip(COLOURS, [str(name) for name in history if str(name).endswith("_loss")], strict=False):
        losses.plot(history["epoch"], history[name], color=colour, label=name.removesuffix("_loss"))
    losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    losses.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    losses.legend(loc="upper right", ncols=3)
    figure.align_ylabels()
    return figure


@in_our_style
def precision_recall(table: pd.DataFrame, threshold: float) -> Figure:
    """Draw precision against recall by class, at IoU 0.5 and 0.75, with a dot at the detector's threshold.

    Args:
        table: rows of ``pr_curve.csv`` of one split.
        threshold: the score from which a box counts.
    """
    figure = Figure(figsize=(HALF, 3.0))
    axes = figure.subplots()
    for colour, (label, of_class) in zip(COLOURS, table.groupby("label", sort=False), strict=False):
        for overlap, style in ((0.5, "-"), (0.75, "--")):
            rows = of_class[of_class["iou"] == overlap]
            axes.plot(rows["recall"], rows["precision"], style, color=colour, label=f"{label}, IoU {overlap:g}")
        # The curve of the threshold's own figures.
        sure = of_class[(of_class["iou"] == 0.5) & (of_class["score"] >= threshold)].tail(1)
        axes.plot(sure["recall"], sure["precision"], "o", color=colour, markersize=4)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.03))
    axes.legend(loc="lower left")
    return figure


@in_our_style
def hota(table: pd.DataFrame) -> Figure:
    """Draw HOTA and what it is made of against the overlap that a match needs.

    Args:
        table: rows of ``hota_curve.csv`` of one split and one class, or all together.
    """
    figure = Figure(figsize=(HALF, 2.6))
    axes = figure.subplots()
    for colour, (column, label) in zip(COLOURS, {"hota": "HOTA", "deta": "DetA", "assa": "AssA"}.items(), strict=False):
        axes.plot(table["alpha"], table[column], color=colour, label=label)
    axes.set(xlabel="overlap α that a match needs", ylabel="score", xlim=(0, 1), ylim=(0, 1.03))
    axes.legend(loc="lower left")
    return figure


@in_our_style
def motion(prior: Prior, side: int) -> Figure:
    """Draw how fast parts are at each place of their way, with the spread between parts.

    Args:
        prior: as learned.
        side: the frame's extent along the way in px.
    """
    figure = Figure(figsize=(HALF, 2.6))
    axes = figure.subplots()
    number = int(prior.direction in ("down", "up"))
    corners = [number, number + 2]
    speed = np.abs(np.array(prior.velocity)[:, corners].mean(axis=1)) * side
    spread = np.array(prior.spread)[:, corners].mean(axis=1) * side
    places = np.array(prior.places)
    axes.fill_between(places, np.maximum(speed - spread, 0), speed + spread, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(places, speed, color=BLUE)
    axes.axhline(0, color=INK, linewidth=0.5)
    axes.set(xlabel=f"place along the way ({prior.direction})", ylabel="px per frame", xlim=(0, 1), ylim=(0, None))
    return figure


@in_our_style
def running_count(parts: pd.DataFrame, frames: int, classes: Sequence[str]) -> Figure:
    """Draw the true and the counted parts of one clip, added up over its frames.

    Args:
        parts: rows of ``parts.csv`` of one clip.
        frames: the number of its last frame.
        classes: their names.
    """
    figure = Figure(figsize=(HALF, 2.6))
    axes = figure.subplots()
    expected, counted = parts[crossed(parts)], parts[parts["number"] >= 0]
    for colour, label in zip(COLOURS, classes, strict=False):
        # The truth is a broad band, so that it is seen where the count lies on it.
        for rows, column, look in (
            (expected, "true_label", {"linewidth": 5, "alpha": 0.25, "label": f"{label}, true"}),
            (counted, "label", {"label": f"{label}, counted"}),
        ):
            at = np.sort(rows.loc[rows[column] == label, "frame"].to_numpy())
            steps = np.r_[0, np.arange(1, len(at) + 1), len(at)]
            axes.step(np.r_[0, at, frames], steps, where="post", color=colour, **look)
    axes.set(xlabel="frame", ylabel="parts", xlim=(0, frames), ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.legend(loc="upper left")
    return figure
