"""Stage ``birds-report``: one run told in a few pages, every number and picture read from the run's own files."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from sightline.birds.embeddings import read_embeddings
from sightline.birds.params import Birds
from sightline.birds.photos import BOX, crop_to_box, read_photos
from sightline.birds.project import Projection
from sightline.core import plots
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder
from sightline.core.images import Pixels, fit_to_square, read_image
from sightline.core.progress import say
from sightline.core.report import compile_report, in_words, write_mosaic
from sightline.params import Compute, load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    split: Annotated[Path, Option],
    embeddings: Annotated[Path, Option],
    projections: Annotated[Path, Option],
    results: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`report`."""
    birds = load("birds", Birds)
    prepare(load("compute", Compute), birds.evaluate.seed)
    report(raw, split, embeddings, projections, results, metrics, birds, figures, out)


def report(
    raw: Path,
    split: Path,
    embeddings: Path,
    projections: Path,
    results: Path,
    metrics: Path,
    birds: Birds,
    figures: Path,
    out: Path,
) -> None:
    """Write the PDF ``out`` and the folder of its ``figures`` from what the other stages left.

    Args:
        raw: the photos in ``images/`` and ``problems.csv``, of ``birds-source``.
        split: the table of ``birds-split``.
        embeddings: the folder with one folder a variant, of ``birds-embed`` and ``birds-pixels``.
        projections: the folder with ``<variant>/projected``, of ``birds-project``.
        results: the folder with ``<variant>-<form>.csv``, of ``birds-evaluate``.
        metrics: the folder with ``metrics.json``, ``per_class.csv`` and ``recall.csv``, of ``birds-evaluate``.
        birds: the parameters of the run.
        figures: a folder to make.
        out: the PDF to make.

    Raises:
        InputError: the files are not of one run.
    """
    photos = read_photos(split)
    measured = read_json(metrics / "metrics.json")
    primary = str(measured["primary"])
    per_class = _read_texts(metrics / "per_class.csv", "variant", "form", "class_name")
    queries = _read_texts(results / f"{primary}-projected.csv", "photo", "class_name", "answers", "ranks")
    if unknown := set(queries["image_id"]) ^ set(photos.loc[photos["split"] == "test", "image_id"]):
        raise InputError(f"{results} and {split} are of different runs: {len(unknown)} photos are in one of them only")
    with replacing_folder(figures) as part:
        plots.save(recall_curves(pd.read_csv(metrics / "recall.csv")), part / "recall.svg")
        data = {
            "source": birds.data.source,
            "headline": _headline(measured),
            "data": _data(raw, photos, birds, part),
            "embeddings": _embeddings(embeddings, measured),
            "projection": _projection(read_json(projections / primary / "projected" / "config.json")),
            "results": _results(measured),
            "gain": _gain(measured),
            "species": _species(per_class, queries, photos, primary),
            "galleries": _galleries(raw, photos, per_class, queries, primary, part),
            "map": _map(embeddings / primary, projections / primary / "projected", birds.evaluate.seed, part),
        }
        compile_report(TEMPLATE, data, part, out, BIBLIOGRAPHY)


@plots.in_our_style
def recall_curves(table: pd.DataFrame) -> Figure:
    """Draw Recall@k over k, a line a column of ``table`` beside ``k``; the learned forms strong, baselines dashed."""
    figure = Figure(figsize=(plots.WIDTH - 1.1, 2.7))
    axes = figure.subplots()
    names = [name for name in map(str, table) if name != "k"]
    baselines = [name for name in names if name not in FORMS]
    for name in names:
        is_form = name in FORMS
        dashes = (0, DASHES[baselines.index(name) % len(DASHES)]) if not is_form else "-"
        colour = FORM_COLOURS[name] if is_form else plots.GREY
        label = name.replace("$", r"\$")
        axes.plot(table["k"], table[name], color=colour, linestyle=dashes, marker="o", markersize=2.2, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks := [k for k in (1, 2, 4, 8, 16, 32) if k <= table["k"].max()], [str(k) for k in ticks])
    axes.minorticks_off()
    axes.set(xlabel="k, answers looked at", ylabel="Recall@k")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


@plots.in_our_style
def embedding_map(points: NDArray[np.float64], species: Sequence[str]) -> Figure:
    """Draw points (N, 2) coloured by genus, and each species' mark at the middle of its points.

    Args:
        points: (N, 2), without unit.
        species: (N,) names whose last word is the genus, as in 'Black footed Albatross'.
    """
    names = np.asarray(species)
    genera = Counter(name.split()[-1] for name in species)
    shown = [genus for genus, _ in sorted(genera.items(), key=lambda item: (-item[1], item[0]))][: len(MAP_COLOURS)]
    figure = Figure(figsize=(plots.WIDTH, 3.8))
    axes = figure.subplots()
    of_genus = np.array([name.split()[-1] for name in species])
    rest = ~np.isin(of_genus, shown)
    if rest.any():
        axes.scatter(points[rest, 0], points[rest, 1], s=7, color=plots.PALE, linewidth=0, label="other genera")
    for colour, genus in zip(MAP_COLOURS, shown, strict=False):
        own = of_genus == genus
        axes.scatter(
            points[own, 0], points[own, 1], s=9, color=colour, linewidth=0, alpha=0.85, label=genus.replace("$", r"\$")
        )
    if len(set(species)) <= MAP_LABELS:
        for name in sorted(set(species)):
            middle = np.median(points[names == name], axis=0)
            first = " ".join(name.split()[:-1]) or name
            text = axes.annotate(first.replace("$", r"\$"), middle, ha="center", va="center", fontsize=5)
            text.set_path_effects([withStroke(linewidth=1.6, foreground="white", alpha=0.8)])
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.03)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="genus", title_fontsize=7, markerscale=1.6)
    return figure


def _headline(measured: dict[str, Any]) -> list[dict[str, Any]]:
    notes = {
        "recall_at_1": ("Recall@1", "the first answer is right"),
        "recall_at_8": ("Recall@8", "one of the first 8 is right"),
        "map_at_r": ("MAP@R", "how well all photos are ranked"),
        "nmi": ("NMI", "clusters against species"),
    }
    return [{"name": name, "figure": in_words(measured[key]), "note": note} for key, (name, note) in notes.items()]


def _data(raw: Path, photos: pd.DataFrame, birds: Birds, figures: Path) -> dict[str, Any]:
    problems = _read_texts(raw / "problems.csv", "photo", "problem", "action")
    halves = []
    for half in ("train", "test"):
        own = photos[photos["split"] == half]
        sizes = own["class_id"].value_counts()
        halves.append([half, len(sizes), f"{len(own):,}", int(sizes.min()), f"{sizes.median():g}", int(sizes.max())])
    # One photo a species, species taken evenly from the whole list: nobody chose.
    firsts = photos.drop_duplicates("class_id").sort_values("class_id", kind="stable")
    rows = firsts.iloc[np.unique(np.linspace(0, len(firsts) - 1, SAMPLES).astype(int))]
    tiles = [fit_to_square(_central_square(read_image(raw / "images" / photo)), 160) for photo in rows["photo"]]
    genera = {_genus(name) for name in photos["class_name"]}
    return {
        "photos": f"{len(photos):,}",
        "species": photos["class_id"].nunique(),
        "genera": len(genera),
        "seed": birds.data.synthetic.seed,
        "url": birds.data.official.url,
        "halves": halves,
        "last": int(photos.loc[photos["split"] == "train", "class_id"].max()),
        "problems": [[action, n] for action, n in problems["action"].value_counts().sort_index().items()],
        "problem_count": len(problems),
        "sample": write_mosaic(figures / "sample.png", tiles, 8, 160),
        "sample_names": [_plain(name) for name in rows["class_name"]],
    }


def _embeddings(embeddings: Path, measured: dict[str, Any]) -> list[list[str]]:
    rows = []
    for variant in [*measured["variants"], *measured["baseline"]]:
        config = read_json(embeddings / variant / "config.json")
        digest = config["sha256"][:12] if config["sha256"] else "–"
        rows.append([variant, config["crop"], f"{config['size']}", f"{config['features']:,}", digest])
    return rows


def _projection(config: dict[str, Any]) -> dict[str, Any]:
    """What was chosen on train classes held out, and by how much."""
    frozen = next(row for row in config["tried"] if row["candidate"] == "frozen")
    tried = [row for row in config["tried"] if row is not frozen]
    return {
        "method": config["method"],
        "settings": ", ".join(f"{key} {value:g}" for key, value in config["settings"].items()),
        "map_at_r": f"{max(row['map_at_r'] for row in tried):.3f}",
        "frozen": f"{frozen['map_at_r']:.3f}",
        "tried": len(tried),
    }


def _results(measured: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {"variant": variant, "form": form, "figures": _figures(forms[form]), "best": False}
        for variant, forms in measured["variants"].items()
        for form in FORMS
        if form in forms
    ]
    rows += [
        {"variant": name, "form": "as it is", "figures": _figures(figures), "best": False}
        for name, figures in measured["baseline"].items()
    ]
    max(rows, key=lambda row: float(row["figures"]["map_at_r"]["value"]))["best"] = True
    top = measured["variants"][measured["primary"]]
    return {
        "primary": measured["primary"],
        "measures": [[key, name] for key, name in MEASURES.items()],
        "rows": rows,
        "queries": f"{measured['queries']:,}",
        "gallery": f"{measured['gallery']:,}",
        "species": measured["map_at_r"]["n"],
        "forms": {form: in_words(top[form]["map_at_r"]) for form in FORMS},
        "baselines": {name: in_words(figures["recall_at_1"]) for name, figures in measured["baseline"].items()},
    }


def _figures(figures: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {name: in_words(figures[name]) for name in MEASURES}


def _gain(measured: dict[str, Any]) -> list[dict[str, Any]]:
    gains = []
    for key, name in (("gain_recall_at_1", "Recall@1"), ("gain_map_at_r", "MAP@R")):
        figure = measured[key]
        sign = "better" if figure["low"] > 0 else "worse" if figure["high"] < 0 else "open"
        gains.append({"name": name, "figure": in_words(figure), "verdict": sign})
    return gains


def _of_primary(per_class: pd.DataFrame, primary: str, form: str) -> pd.DataFrame:
    chosen = (per_class["variant"] == primary) & (per_class["form"] == form)
    return per_class[chosen].sort_values(["map_at_r", "class_id"], ascending=[False, True], ignore_index=True)


def _species(per_class: pd.DataFrame, queries: pd.DataFrame, photos: pd.DataFrame, primary: str) -> dict[str, Any]:
    """The species that are found best and worst, and what is answered instead."""
    ranked = _of_primary(per_class, primary, "projected")
    frozen = _of_primary(per_class, primary, "frozen").set_index("class_id")["map_at_r"]
    name_of = photos.set_index("image_id")["class_name"]
    first = queries["answers"].str.split().str[0].astype(int).map(name_of)
    wrong = first != queries["class_name"]
    rows = []
    for row in ranked.to_dict("records"):
        mistaken = first[wrong & (queries["class_id"] == row["class_id"])].map(_plain)
        counts = sorted(Counter(mistaken).items(), key=lambda item: (-item[1], item[0]))
        told = f"{counts[0][0]} ({counts[0][1]})" if counts else "–"
        figures = [f"{row['recall_at_1']:.2f}", f"{row['map_at_r']:.3f}", f"{frozen[row['class_id']]:.3f}"]
        rows.append([_plain(row["class_name"]), str(row["queries"]), *figures, told])
    shown = min(SHOWN_SPECIES, len(rows) // 2)
    genera = queries["class_name"].map(_genus)
    cousins = (first.map(_genus) == genera) & wrong
    sizes = genera.value_counts()
    species_sizes = queries["class_name"].value_counts()
    # What a wrong answer picked blindly among the photos of all other species would give.
    others = len(queries) - queries["class_name"].map(species_sizes)
    blind = ((genera.map(sizes) - queries["class_name"].map(species_sizes)) / others.where(others > 0)).fillna(0)
    return {
        "best": rows[:shown],
        "worst": rows[len(rows) - shown :],
        "wrong": int(wrong.sum()),
        "genera": genera.nunique() < queries["class_name"].nunique(),
        "cousins": f"{100 * cousins.sum() / max(wrong.sum(), 1):.0f}",
        "blind": f"{100 * blind[wrong].mean():.0f}" if wrong.any() else "0",
    }


def _galleries(
    raw: Path, photos: pd.DataFrame, per_class: pd.DataFrame, queries: pd.DataFrame, primary: str, figures: Path
) -> list[dict[str, Any]]:
    """For species found best, as most, and worst: their query of middling success, with its first answers."""
    ranked = _of_primary(per_class, primary, "projected")["class_id"].tolist()
    count = len(ranked)
    ends = min(2, count // 3)
    middle = np.unique(np.linspace(ends, count - 1 - ends, min(4, count - 2 * ends)).astype(int)).tolist()
    groups = {"best": range(ends), "typical": middle, "worst": range(count - ends, count)}
    by_id = photos.set_index("image_id")
    galleries = []
    for name, places in groups.items():
        tiles, rows = [], []
        for place in places:
            own = queries[(queries["class_id"] == ranked[place]) & queries["map_at_r"].notna()]
            own = own.sort_values(["map_at_r", "image_id"], kind="stable")
            query = own.iloc[len(own) // 2]
            ids = [int(query["image_id"]), *map(int, query["answers"].split()[:ANSWERS])]
            found = by_id.loc[ids]
            tiles += [_tile(raw, row, primary) for _, row in found.iterrows()]
            tiles += [np.full((1, 1, 3), 255, np.uint8)] * (ANSWERS + 1 - len(ids))
            right = [bool(label == query["class_id"]) for label in found["class_id"]]
            names = [_plain(label) for label in found["class_name"]]
            rows.append({"names": names, "right": right, "map_at_r": f"{query['map_at_r']:.2f}"})
        if rows:
            mosaic = write_mosaic(figures / f"{name}.png", tiles, ANSWERS + 1)
            galleries.append({"name": name, "mosaic": mosaic, "rows": rows})
    return galleries


def _tile(raw: Path, photo: "pd.Series[Any]", primary: str) -> Pixels:
    """The photo as the primary network saw it: the bird's box or all of it, squashed to a square."""
    image = read_image(raw / "images" / str(photo["photo"]))
    if not primary.endswith("-full"):
        left, top, right, bottom = (int(photo[side]) for side in BOX)
        image = crop_to_box(image, (left, top, right, bottom))
    return fit_to_square(image, 128)


def _map(embeddings: Path, projection: Path, seed: int, figures: Path) -> dict[str, Any]:
    """The projected test embeddings in two dimensions (van der Maaten & Hinton 2008), evenly thinned."""
    photos, vectors = read_embeddings(embeddings, "test")
    order = photos.sort_values(["class_id", "image_id"], kind="stable").index.to_numpy()
    rows = order[np.unique(np.linspace(0, len(order) - 1, min(MAP_POINTS, len(order))).astype(int))]
    unit = Projection.load(projection).apply(vectors[rows]).astype(np.float64)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    say(f"drawing a map of {len(rows)} photos")
    # The sums of several threads differ in their last digits, and t-SNE makes another map of that.
    with threadpool_limits(1):
        flat = PCA(min(50, *unit.shape), svd_solver="full").fit_transform(unit)
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(flat)
    drawn = photos.iloc[rows]
    plots.save(
        embedding_map(np.asarray(points, np.float64), drawn["class_name"].map(_plain).tolist()), figures / "map.svg"
    )
    return {"points": f"{len(rows):,}", "all": len(rows) == len(order), "perplexity": f"{perplexity:.0f}"}


def _central_square(image: Pixels) -> Pixels:
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def _plain(class_name: str) -> str:
    """'Black footed Albatross' for '001.Black_footed_Albatross', as CUB writes it; never empty."""
    return re.sub(r"^\d+\.", "", class_name).replace("_", " ").strip() or "?"


def _genus(class_name: str) -> str:
    return _plain(class_name).split()[-1]


def _read_texts(path: Path, *columns: str) -> pd.DataFrame:
    # Names stay texts: a class may well be called "NA" or "007".
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(columns, str))
    return table.fillna(dict.fromkeys(columns, ""))


TEMPLATE = Path(__file__).with_suffix(".typ")
BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
FORMS = ("frozen", "whitened", "projected")
FORM_COLOURS = {"frozen": plots.ORANGE, "whitened": plots.GREEN, "projected": plots.BLUE}
DASHES = [(4, 2), (1, 1.5), (6, 2, 1, 2), (2, 2)]
MEASURES = {
    **{f"recall_at_{k}": f"R@{k}" for k in (1, 2, 4, 8)},
    "map_at_r": "MAP@R",
    "nmi": "NMI",
}
SAMPLES, SHOWN_SPECIES, ANSWERS = 16, 5, 8
MAP_POINTS, MAP_LABELS = 1500, 40
# Okabe & Ito 2008, then lighter and darker ones of them: genera beyond these are grey.
MAP_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#8c564b", "#6a3d9a", "#7f9a00", "#004c6d", "#a8325e", "#999999"),
)
