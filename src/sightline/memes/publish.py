"""Stage ``memes-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.files import read_json
from sightline.core.tracking import publish_outputs
from sightline.memes.params import Memes
from sightline.params import Compute, load

Option = typer.Option()


def main(
    metrics: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    report: Annotated[Path, Option],
    page: Annotated[Path, Option],
    receipt: Annotated[Path, Option],
) -> None:
    """Publish the result that these files are, and leave what was published in ``receipt``."""
    parts = {name: read_json(metrics / f"{name}.json") for name in PARTS}
    publish_outputs(
        "memes",
        [("memes", load("memes", Memes)), ("compute", load("compute", Compute))],
        {**read_json(metrics / "metrics.json"), **parts},
        read_json(metrics / "samples.json")["digests"],
        tables=[*(metrics / f"{name}.json" for name in ("samples", "metrics", *PARTS)), metrics / "history.csv"],
        model=deployed,
        figures=figures,
        reports=[report, page],
        receipt=receipt,
        history=by_epoch(pd.read_csv(metrics / "history.csv")),
    )


def by_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """Turn one row a ``model`` and ``epoch`` into one an epoch, with columns ``<model>/<column>``."""
    wide = history.pivot(index="epoch", columns="model")
    names = wide.columns.get_level_values("model") + "/" + wide.columns.get_level_values(0)
    return wide.set_axis(names, axis=1).reset_index()


PARTS = ("luck", "explain", "extend")
