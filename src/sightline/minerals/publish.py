"""Stage ``minerals-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.files import read_json
from sightline.core.tracking import publish_outputs
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
    """Publish the result that these files are, and leave what was published in ``receipt``."""
    publish_outputs(
        "minerals",
        [("minerals", load("minerals", Minerals)), ("compute", load("compute", Compute))],
        read_json(metrics),
        read_json(summary)["digests"],
        tables=[summary, metrics, history],
        model=deployed,
        figures=figures,
        reports=[report],
        receipt=receipt,
        history=pd.read_csv(history),
    )
