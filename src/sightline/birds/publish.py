"""Stage ``birds-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.birds.params import Birds
from sightline.core.files import read_json, sha256, write_json
from sightline.core.tracking import Result, publish
from sightline.params import Compute, load

Option = typer.Option()


def main(
    summary: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    projections: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    report: Annotated[Path, Option],
    receipt: Annotated[Path, Option],
) -> None:
    """Publish the result that these files are, and leave what was published in ``receipt``."""
    birds, compute = load("birds", Birds), load("compute", Compute)
    result = Result(
        task="birds",
        params={"birds": birds.model_dump(mode="json"), "compute": compute.model_dump(mode="json")},
        metrics=read_json(metrics),
        history=None,
        digests={"split": read_json(summary)["split_sha256"]},
        artifacts=[(projections, "model"), (figures, "figures"), (report, "report")],
    )
    publish(result, [summary, metrics, projections])
    # What DVC sees of a publication: in a fresh clone, whose store is empty, it is missing.
    write_json(receipt, {"published": {path.name: sha256(path) for path in (summary, metrics)}})
