"""Stage ``birds-evaluate``: how well each description finds photos of the same species, with intervals over species.

Every test photo queries all the others. A description is a variant (network and crop) in one of three forms: 'frozen'
as the network gives it, 'whitened' and 'projected' as ``birds-project`` learned it from the train classes alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.birds.clustering import cluster, clustering_statistics
from sightline.birds.embeddings import Vectors, read_embeddings
from sightline.birds.params import Birds, Evaluate
from sightline.birds.photos import read_photos
from sightline.birds.project import Projection
from sightline.birds.retrieval import nearest, query_metrics, rank_positives
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.intervals import Figure, FloatArray, Statistics, bootstrap, paired_difference
from sightline.core.progress import say
from sightline.params import Compute, load

Option = typer.Option()


def main(
    split: Annotated[Path, Option],
    embeddings: Annotated[Path, Option],
    projections: Annotated[Path, Option],
    results: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`evaluate`."""
    birds = load("birds", Birds)
    embedded = [f"{backbone}-{crop}" for backbone in birds.embed.backbones for crop in birds.embed.crops]
    variants = [variant for variant in embedded if variant not in birds.evaluate.baselines]
    evaluate(split, embeddings, projections, variants, birds.evaluate, load("compute", Compute), results, out)


def evaluate(
    split: Path,
    embeddings: Path,
    projections: Path,
    variants: Sequence[str],
    settings: Evaluate,
    compute: Compute,
    results: Path,
    out: Path,
) -> None:
    """Write the figures into the folder ``out`` and what each query found into the folder ``results``.

    ``out`` gets ``metrics.json``, ``per_class.csv`` and ``recall.csv`` (Recall@k by k, of the primary variant and
    the baselines). ``results`` gets ``<variant>-<form>.csv``, a row a query: its metrics, its cluster, the ranks of its
    positives and its first answers, so that two commits can be compared query by query.

    The intervals are over classes as queries; the gallery stays whole in each resample. So they tell how the figures
    vary with the species that are asked for, not with those that there are to confuse them with.

    Args:
        split: as ``birds-split`` leaves it.
        embeddings: the folder that holds one folder a variant, baselines included, as ``birds-embed`` leaves it.
        projections: the folder that holds ``<variant>/whitened`` and ``<variant>/projected``.
        variants: those with projections; the settings name the baselines, which are evaluated as they are.
        settings: resamples, seeds, and which variant's figures stand at the top.
        compute: threads; everything runs on the CPU.
        results: the folder to write, see above.
        out: the folder to write, see above.

    Raises:
        InputError: embeddings are not of this split, or no class has two photos.
    """
    prepare(compute, settings.seed)
    photos = read_photos(split)
    test = photos[photos["split"] == "test"].reset_index(drop=True)
    found: dict[str, dict[str, _Found]] = {}
    with replacing_folder(results) as part:
        for variant, form, vectors in _descriptions(embeddings, projections, variants, settings.baselines, test):
            found.setdefault(variant, {})[form] = result = _assess(vectors, test, settings)
            write_csv(part / f"{variant}-{form}.csv", result.queries)
    primary = found[settings.primary]
    of_variants = {variant: _of_variant(found[variant], settings) for variant in variants}
    top = of_variants[settings.primary]
    baselines = {name: _figures(found[name]["frozen"], settings) for name in settings.baselines}
    metrics = {
        **top["projected"],
        **{name: top[name] for name in top if name.startswith("gain_")},
        "primary": settings.primary,
        "queries": int(primary["frozen"].scored.sum()),
        "gallery": len(test),
        "variants": of_variants,
        "baseline": baselines,
    }
    write_json(out / "metrics.json", metrics)
    write_csv(out / "per_class.csv", _per_class(found))
    curves = {**primary, **{name: found[name]["frozen"] for name in settings.baselines}}
    write_csv(out / "recall.csv", _recall_by_k(curves))
    recalls = {"projected": top["projected"], "frozen": top["frozen"], **baselines}
    told = ", ".join(f"{figures['recall_at_1']['value']:.3f} {name}" for name, figures in recalls.items())
    say(f"{settings.primary}: Recall@1 {told}")
    say(f"{settings.primary}: MAP@R {_text(top['projected']['map_at_r'])}, gained {_text(top['gain_map_at_r'])}")


@dataclass(frozen=True)
class _Found:
    """What the queries found with one description."""

    queries: pd.DataFrame
    """A row a test photo, as in ``results``."""
    scored: NDArray[np.bool_]
    """Which of them have another photo of their class to find."""
    first: FloatArray
    """The rank, from 1, of each one's first right answer."""


def _descriptions(
    embeddings: Path, projections: Path, variants: Sequence[str], baselines: Sequence[str], test: pd.DataFrame
) -> Iterator[tuple[str, str, Vectors]]:
    """Variant, form and embeddings (N, D) of the test photos, one after the other: they need not all fit in memory."""
    for variant in [*variants, *baselines]:
        photos, vectors = read_embeddings(embeddings / variant, "test")
        if not np.array_equal(photos[["image_id", "class_id"]], test[["image_id", "class_id"]]):
            raise InputError(f"{embeddings / variant} was made from another split: run birds-embed again")
        yield variant, "frozen", vectors
        for form in LEARNED if variant in variants else ():
            yield variant, form, Projection.load(projections / variant / form).apply(vectors)


def _assess(vectors: Vectors, test: pd.DataFrame, settings: Evaluate) -> _Found:
    labels = test["class_id"].to_numpy()
    try:
        positives = rank_positives(vectors, labels)
    except ValueError as error:
        raise InputError(f"the embeddings cannot be compared: {error}") from None
    scored = positives.counts > 0
    if not scored.any():
        raise InputError("no test class has two photos: there is nothing to find")
    answers, _ = nearest(vectors, vectors, ANSWERS, exclude=np.arange(len(test)))
    clusters = cluster(vectors, len(np.unique(labels)), settings.clusters_restarts, settings.seed)
    of_query = np.split(positives.ranks + 1, positives.starts[1:-1])
    queries = pd.concat([test[QUERY], query_metrics(positives)], axis=1).assign(
        cluster=clusters,
        ranks=[" ".join(map(str, ranks)) for ranks in of_query],
        answers=[" ".join(map(str, row)) for row in test["image_id"].to_numpy()[answers]],
    )
    return _Found(queries, scored, positives.first() + 1)


def _of_variant(forms: Mapping[str, _Found], settings: Evaluate) -> dict[str, Any]:
    return {**{form: _figures(found, settings) for form, found in forms.items()}, **_gains(forms, settings)}


def _figures(found: _Found, settings: Evaluate) -> dict[str, Any]:
    """The figures of one description, by name."""
    queries = found.queries
    means, groups = _means(found), queries["class_id"].to_numpy()
    figures = bootstrap(means, groups[found.scored], seed=settings.seed, resamples=settings.resamples)
    statistics = clustering_statistics(groups, queries["cluster"])
    resamples = min(settings.resamples, CLUSTERING_RESAMPLES)
    # A class drawn twice is a class of twice the size, not two that k-means would have to tell apart.
    figures |= bootstrap(statistics, groups, seed=settings.seed, resamples=resamples, centred=True)
    return {name: figure.as_dict() for name, figure in figures.items()}


def _gains(forms: Mapping[str, _Found], settings: Evaluate) -> dict[str, Any]:
    """What the projection adds to the frozen embeddings, query by query."""
    frozen, projected = forms["frozen"], forms["projected"]
    groups = frozen.queries["class_id"].to_numpy()[frozen.scored]
    gains: dict[str, Figure] = paired_difference(
        _means(frozen), _means(projected), groups, seed=settings.seed, resamples=settings.resamples
    )
    return {f"gain_{name}": gains[name].as_dict() for name in GAINS}


def _means(found: _Found) -> Statistics:
    """The means over the scored queries, for the bootstrap."""
    names = [name for name in map(str, found.queries) if name.startswith(MEANS)]
    values = found.queries.loc[found.scored, names].to_numpy(np.float64)

    def statistics(weights: FloatArray) -> dict[str, float]:
        return dict(zip(names, (weights @ values / weights.sum()).tolist(), strict=True))

    return statistics


def _per_class(found: Mapping[str, Mapping[str, _Found]]) -> pd.DataFrame:
    tables = []
    for variant, forms in found.items():
        for form, result in forms.items():
            of_class = result.queries[result.scored].groupby(["class_id", "class_name"], as_index=False)
            means = of_class[PER_CLASS].mean().assign(queries=of_class.size()["size"], variant=variant, form=form)
            tables.append(means[["variant", "form", "class_id", "class_name", "queries", *PER_CLASS]])
    return pd.concat(tables, ignore_index=True)


def _recall_by_k(curves: Mapping[str, _Found]) -> pd.DataFrame:
    ks = np.arange(1, CURVE + 1)
    table = {name: (found.first[found.scored, None] <= ks).mean(axis=0) for name, found in curves.items()}
    return pd.DataFrame({"k": ks, **table})


def _text(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


LEARNED = ("whitened", "projected")
ANSWERS = 10
"""How many answers of each query are kept."""
CURVE = 32
QUERY = ["image_id", "photo", "class_id", "class_name"]
MEANS = ("recall_at_", "precision_at_", "r_precision", "map")
PER_CLASS = ["recall_at_1", "r_precision", "map_at_r", "map"]
GAINS = ("recall_at_1", "map_at_r")
CLUSTERING_RESAMPLES = 200
"""At most: AMI's correction for chance costs a thousand times what a mean costs."""
