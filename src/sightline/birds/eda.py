"""Stage ``birds-eda``: look at the photos before anything is learned from them.

How many photos a class has, how large and how bright they are, how much of them the bird fills, which are nearly the
same, within and across the two halves of the zero-shot split, which were left out, and what they look like.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

from sightline.birds.halves import assign_halves
from sightline.birds.params import Birds, Eda
from sightline.birds.photos import BOX, crop_to_box, read_photos
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.images import Pixels, read_image
from sightline.core.leakage import near_duplicates
from sightline.core.notebooks import run_notebook
from sightline.core.parallel import map_ordered
from sightline.core.plots import BLUE, GREY, ORANGE, PERCENT, WIDTH, in_our_style, save
from sightline.core.progress import progress
from sightline.core.sheets import contact_sheet, write_png
from sightline.params import Runtime, load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    notebook: Annotated[Path, Option],
    out: Annotated[Path, Option],
    summary: Annotated[Path, Option],
    page: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`explore`, and run the notebook on what it wrote."""
    birds = load("birds", Birds)
    explore(raw, birds.eda, birds.split.last_train_class, load("runtime", Runtime).workers, out, summary)
    run_notebook(notebook, {"BIRDS_RAW": raw, "BIRDS_EDA": out}, page)


def explore(raw: Path, settings: Eda, last_train_class: int | None, workers: int, out: Path, summary: Path) -> None:
    """Write tables and figures about the photos of ``raw`` (as ``birds-source`` leaves it) to the folder ``out``.

    ``photos.csv`` (one row a photo: :func:`measure`), ``classes.csv`` (one a class), ``near_duplicates.csv`` (one a
    pair), ``problems.csv``; ``images_per_class.svg``, ``sizes.svg``, ``boxes.svg``, ``brightness.svg``; ``sample.png``
    with boxes drawn in and ``near_duplicates.png``. The ``summary`` (JSON) has counts and quartiles.

    Raises:
        InputError: a half of the split has fewer than two classes.
    """
    photos = measure(raw, last_train_class, workers)
    classes = per_class(photos)
    pairs = near_duplicate_pairs(photos, settings.near_duplicate_bits)
    problems = pd.read_csv(raw / "problems.csv", keep_default_na=False, dtype=str)
    with replacing_folder(out) as part:
        write_csv(part / "photos.csv", photos.drop(columns="hash"))
        write_csv(part / "classes.csv", classes)
        write_csv(part / "near_duplicates.csv", pairs)
        write_csv(part / "problems.csv", problems)
        save(images_per_class(classes), part / "images_per_class.svg")
        save(sizes(photos), part / "sizes.svg")
        save(boxes(photos), part / "boxes.svg")
        save(brightness(photos), part / "brightness.svg")
        write_png(part / "sample.png", sample_sheet(raw, photos, settings.sample))
        write_png(part / "near_duplicates.png", pair_sheet(raw, pairs, SHOWN_PAIRS))
    write_json(summary, summarise(photos, classes, pairs, problems))


def measure(raw: Path, last_train_class: int | None, workers: int) -> pd.DataFrame:
    """What can be said of each photo of ``raw``, sorted by image id.

    The columns of ``photos.csv`` and ``half`` ('train' or 'test', as ``birds-split`` will have it), ``aspect`` (width :
    height), ``box_share`` (of the picture's area), ``box_aspect``, ``brightness`` and ``contrast`` (mean and standard
    deviation of the luma of the picture, 0 to 1), ``box_brightness`` (the mean inside the box) and ``colourfulness``
    (Hasler & Süsstrunk, 'Measuring colorfulness in natural images', SPIE 2003; 0 for grey, above 0.3 for vivid).
    """
    photos = read_photos(raw / "photos.csv").sort_values("image_id", ignore_index=True)
    photos["half"] = assign_halves(photos["class_id"], last_train_class)
    sides = (photos["right"] - photos["left"], photos["bottom"] - photos["top"])
    photos["aspect"] = photos["width"] / photos["height"]
    photos["box_share"] = sides[0] * sides[1] / (photos["width"] * photos["height"])
    photos["box_aspect"] = sides[0] / sides[1]
    tasks = list(zip(photos["photo"], photos[BOX].itertuples(index=False, name=None), strict=True))
    looks = map_ordered(partial(_light, raw / "images"), tasks, workers)
    lights = list(progress(looks, "measuring light", len(tasks), "photo"))
    return photos.join(pd.DataFrame(lights, columns=["brightness", "contrast", "box_brightness", "colourfulness"]))


def per_class(photos: pd.DataFrame) -> pd.DataFrame:
    """One row a class by id: its half, its number of images, and the medians of what :func:`measure` says of them."""
    groups = photos.groupby(["class_id", "class_name", "half"], sort=True)
    medians = groups[["width", "height", "aspect", "box_share", "box_aspect", "brightness", "colourfulness"]].median()
    return pd.concat([groups.size().rename("images"), medians], axis=1).reset_index()


def near_duplicate_pairs(photos: pd.DataFrame, max_bits: int) -> pd.DataFrame:
    """Pairs of photos whose perceptual hashes differ in at most ``max_bits`` of 64 bits, the most alike first.

    Columns: ``first``, ``second``, ``bits``, ``same_class`` and ``halves`` ('train', 'test' or 'across').
    """
    pairs = near_duplicates(photos["hash"], max_bits)
    first, second = (photos.iloc[column].reset_index(drop=True) for column in pairs.T)
    bits = np.bitwise_count(first["hash"].to_numpy() ^ second["hash"].to_numpy()).astype(int)
    table = pd.DataFrame(
        {
            "first": first["photo"],
            "second": second["photo"],
            "bits": bits,
            "same_class": first["class_id"] == second["class_id"],
            "halves": first["half"].where(first["half"] == second["half"], "across"),
        }
    )
    return table.sort_values("bits", kind="stable", ignore_index=True)


def explained_by_class(photos: pd.DataFrame, columns: Sequence[str]) -> "pd.Series[float]":
    """How much of the variance of each column the class explains: what may give a class away without its bird.

    Epsilon squared (Kelley, 'An unbiased correlation ratio measure', PNAS 1935): the share of the variance between
    classes, less what chance alone would give; about 0 where the class says nothing, 1 where it says all, NaN for a
    column without variance.
    """
    values = photos[list(columns)]
    classes = photos["class_id"]
    within = ((values - values.groupby(classes).transform("mean")) ** 2).sum() / (len(values) - classes.nunique())
    total = values.var().where(values.var() > 0)
    return 1 - within / total


def summarise(
    photos: pd.DataFrame, classes: pd.DataFrame, pairs: pd.DataFrame, problems: pd.DataFrame
) -> dict[str, Any]:
    """The counts and quartiles of ``metrics/birds/eda.json``."""
    halves = {
        half: {"images": int((photos["half"] == half).sum()), "classes": int((classes["half"] == half).sum())}
        for half in HALF_COLOURS
    }
    numbers = ["width", "height", "aspect", "box_share", "brightness", "contrast", "colourfulness"]
    quartiles = {"images_per_class": _quartiles(classes["images"])} | {
        name: _quartiles(photos[name]) for name in numbers
    }
    kinds = {half: int((pairs["halves"] == half).sum()) for half in ("train", "test", "across")}
    return {
        "images": len(photos),
        "classes": len(classes),
        "halves": halves,
        "quartiles": quartiles,
        "near_duplicates": {"pairs": len(pairs), **kinds, "other_class": int((~pairs["same_class"]).sum())},
        "problems": {action: int(count) for action, count in problems["action"].value_counts().sort_index().items()},
    }


@in_our_style
def images_per_class(classes: pd.DataFrame) -> Figure:
    """Draw the number of images of each class, by class id, coloured by half; ``classes`` as of :func:`per_class`."""
    figure = Figure(figsize=(WIDTH, 1.9))
    axes = figure.subplots()
    places = np.arange(1, len(classes) + 1)
    for half, colour in HALF_COLOURS.items():
        counts = classes.loc[classes["half"] == half, "images"]
        axes.bar(places[counts.index], counts, 0.85, color=colour, label=f"{half}: {len(counts)} classes")
    axes.axhline(classes["images"].median(), color=GREY, linewidth=0.8, linestyle="--", label="median")
    axes.set(xlabel="classes in the order of their ids", ylabel="images", xlim=(0, len(classes) + 1))
    axes.grid(visible=False, axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure


@in_our_style
def sizes(photos: pd.DataFrame) -> Figure:
    """Draw the sizes of the photos in pixels and their aspect ratios; ``photos`` as of :func:`measure`."""
    figure = Figure(figsize=(WIDTH, 2.3))
    left, right = figure.subplots(1, 2)
    for half, colour in HALF_COLOURS.items():
        part = photos[photos["half"] == half]
        left.plot(part["width"], part["height"], ".", color=colour, markersize=3, alpha=0.35, label=half, mew=0)
    _mark_squares(left)
    left.set(xlabel="width, px", ylabel="height, px", title="Size of the photo")
    _halves_histogram(right, photos, np.log2(photos["aspect"]))
    ticks = np.array([1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3, 4])
    low, high = np.log2(photos["aspect"]).min(), np.log2(photos["aspect"]).max()
    shown = ticks[(np.log2(ticks) >= low - 0.1) & (np.log2(ticks) <= high + 0.1)]
    right.set_xticks(np.log2(shown), [f"{tick:.2g}" for tick in shown])
    right.set(xlabel="width : height", title="Aspect ratio")
    return figure


@in_our_style
def boxes(photos: pd.DataFrame) -> Figure:
    """Draw the share of the picture that the box fills, and where the boxes' centres lie in it."""
    figure = Figure(figsize=(WIDTH, 2.3))
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    _halves_histogram(left, photos, photos["box_share"], (0, 1))
    left.xaxis.set_major_formatter(PERCENT)
    left.set(xlabel="share of the picture's area", title="How much of the photo is the bird's box")
    across = (photos["left"] + photos["right"]) / 2 / photos["width"]
    down = (photos["top"] + photos["bottom"]) / 2 / photos["height"]
    image = right.hist2d(across, down, bins=25, range=[[0, 1], [0, 1]], cmap="Blues", rasterized=True)[3]
    right.set(xlim=(0, 1), ylim=(1, 0), xlabel="from the left", ylabel="from the top", title="Centre of the box")
    right.xaxis.set_major_formatter(PERCENT)
    right.yaxis.set_major_formatter(PERCENT)
    right.grid(visible=False)
    figure.colorbar(image, aspect=25, label="photos").outline.set_visible(False)
    return figure


@in_our_style
def brightness(photos: pd.DataFrame) -> Figure:
    """Draw how bright the photos are, and how bright the birds are against them."""
    figure = Figure(figsize=(WIDTH, 2.3))
    left, right = figure.subplots(1, 2)
    _halves_histogram(left, photos, photos["brightness"], (0, 1))
    left.set(xlabel="mean luma, 0 black, 1 white", title="Brightness of the photo")
    for half, colour in HALF_COLOURS.items():
        part = photos[photos["half"] == half]
        right.plot(
            part["brightness"], part["box_brightness"], ".", color=colour, markersize=3, alpha=0.35, mew=0, label=half
        )
    right.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean luma of the photo", ylabel="of the box", title="Bird and backdrop")
    return figure


def sample_sheet(raw: Path, photos: pd.DataFrame, count: int) -> Pixels:
    """Photos of ``count`` classes spread evenly over the ids (of fewer classes, several each), with their boxes."""
    order = photos.groupby("class_id").cumcount()
    by_turn = photos.assign(turn=order).sort_values(["turn", "class_id"], kind="stable")
    first = by_turn[by_turn["turn"] == 0]
    if len(first) >= count:
        chosen = first.iloc[np.linspace(0, len(first) - 1, count).round().astype(int)]
    else:
        chosen = by_turn.head(count).sort_values(["class_id", "turn"])
    return boxed_sheet(raw, chosen)


def boxed_sheet(raw: Path, photos: pd.DataFrame) -> Pixels:
    """The given photos, with their boxes drawn in and their classes below."""
    tasks = zip(photos["photo"], photos[BOX].itertuples(index=False, name=None), strict=True)
    pictures = [_with_box(raw / "images", task) for task in tasks]
    return contact_sheet(pictures, [_short(name) for name in photos["class_name"]], SHEET_COLUMNS, SHEET_CELL)


def pair_sheet(raw: Path, pairs: pd.DataFrame, count: int) -> Pixels:
    """The first ``count`` near-duplicates side by side, one pair under the other in each of two columns."""
    pictures: list[Pixels | None] = []
    captions = []
    for pair in pairs.head(count).itertuples():
        pictures += [read_image(raw / "images" / str(name)) for name in (pair.first, pair.second)]
        captions += [f"{pair.bits} bits, {pair.halves}", "same class" if pair.same_class else "another class"]
    if not pictures:
        return contact_sheet([None], ["no near-duplicates"], 1, SHEET_CELL)
    return contact_sheet(pictures, captions, 4, SHEET_CELL)


def _light(folder: Path, task: tuple[str, tuple[int, int, int, int]]) -> tuple[float, float, float, float]:
    name, box = task
    image = read_image(folder / name)
    luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    mean, deviation = (float(value.item()) / 255 for value in cv2.meanStdDev(luma))
    inside = float(crop_to_box(luma, box).mean()) / 255
    return mean, deviation, inside, _colourfulness(image)


def _colourfulness(image: Pixels) -> float:
    red, green, blue = (channel.astype(np.float32) / 255 for channel in cv2.split(image))
    opponents = np.stack([red - green, (red + green) / 2 - blue]).reshape(2, -1)
    means, deviations = opponents.mean(axis=1, dtype=np.float64), opponents.std(axis=1, dtype=np.float64)
    return float(np.hypot(*deviations) + 0.3 * np.hypot(*means))


def _quartiles(values: "pd.Series[float]") -> dict[str, float]:
    shares = {"min": 0.0, "lower": 0.25, "median": 0.5, "upper": 0.75, "max": 1.0}
    return {name: round(float(values.quantile(share)), 4) for name, share in shares.items()}


def _halves_histogram(
    axes: Any, photos: pd.DataFrame, values: "pd.Series[float]", bounds: tuple[float, float] | None = None
) -> None:
    edges = np.histogram_bin_edges(values, bins=30, range=bounds)
    for half, colour in HALF_COLOURS.items():
        part = values[photos["half"] == half]
        shares = np.histogram(part, edges)[0] / len(part)
        axes.stairs(shares, edges, color=colour, fill=True, alpha=0.2)
        axes.stairs(shares, edges, color=colour, linewidth=1.1, label=half)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("share of the half's photos")
    axes.legend()


def _mark_squares(axes: Any) -> None:
    longest = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.set(xlim=(0, longest), ylim=(0, longest))
    axes.plot([0, longest], [0, longest], color=GREY, linewidth=0.8, linestyle="--")


def _with_box(folder: Path, task: tuple[str, tuple[int, int, int, int]]) -> Pixels:
    name, (left, top, right, bottom) = task
    image = read_image(folder / name)
    line = max(1, round(max(image.shape[:2]) / 130))
    return cv2.rectangle(image, (left, top), (right - 1, bottom - 1), (255, 140, 0), line).astype(np.uint8)


def _short(name: str) -> str:
    """A class without the number that CUB puts before it."""
    number, dot, rest = name.partition(".")
    return (rest if dot and number.isdecimal() else name).replace("_", " ")


HALF_COLOURS = {"train": BLUE, "test": ORANGE}
SHEET_COLUMNS, SHEET_CELL = 8, 128
SHOWN_PAIRS = 16
