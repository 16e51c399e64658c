"""Stage ``minerals-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.files import read_json, sha256, write_json
from sightline.core.tracking import Result, publish
from sightline.minerals.params import Minerals
from sightline.params import Compute, load

Option = typer.Option()


def main(
    summary: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    history: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    report: Annotated[Path, Option],
    receipt: Annotated[Path, Option],
) -> None:
    """Publish the result that these files are, and leave its key in ``receipt``."""
    minerals, compute = load("minerals", Minerals), load("compute", Compute)
    result = Result(
        task="minerals",
        params={"minerals": minerals.model_dump(mode="json"), "compute": compute.model_dump(mode="json")},
        metrics=read_json(metrics),
        history=pd.read_csv(history),
        digests=read_json(summary)["digests"],
        artifacts=[(deployed, "model"), (figures, "figures"), (report, "report")],
    )
    publish(result, [summary, metrics, history, deployed])
    # What DVC sees of a publication: in a fresh clone, whose store is empty, it is missing.
    write_json(receipt, {"published": {path.name: sha256(path) for path in (summary, metrics, history)}})
