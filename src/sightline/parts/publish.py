"""Stage ``parts-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.files import read_json
from sightline.core.tracking import publish_outputs
from sightline.params import Compute, load
from sightline.parts.params import Parts

Option = typer.Option()


def main(
    metrics: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    report: Annotated[Path, Option],
    receipt: Annotated[Path, Option],
) -> None:
    """Publish the result that these files are, and leave what was published in ``receipt``."""
    clips = read_json(metrics / "audit.json")["clips"]
    publish_outputs(
        "parts",
        [("parts", load("parts", Parts)), ("compute", load("compute", Compute))],
        read_json(metrics / "metrics.json"),
        {name: about["truth_digest"] for name, about in clips.items()},
        tables=[metrics / name for name in TABLES],
        model=deployed,
        figures=figures,
        reports=[report],
        receipt=receipt,
        history=pd.read_csv(metrics / "history.csv"),
    )


TABLES = ("audit.json", "count_errors.csv", "history.csv", "hota_curve.csv", "metrics.json", "pr_curve.csv")
