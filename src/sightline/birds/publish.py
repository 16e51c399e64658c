"""Stage ``birds-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.birds.params import Birds
from sightline.core.files import read_json
from sightline.core.tracking import publish_outputs
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
    publish_outputs(
        "birds",
        [("birds", load("birds", Birds)), ("compute", load("compute", Compute))],
        read_json(metrics),
        {"split": read_json(summary)["split_sha256"]},
        tables=[summary, metrics],
        model=projections,
        figures=figures,
        reports=[report],
        receipt=receipt,
    )
