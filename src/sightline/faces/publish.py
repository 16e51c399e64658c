"""Stage ``faces-publish``: bring the finished result into MLflow."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sightline.core.files import read_json
from sightline.core.tracking import publish_outputs
from sightline.faces.params import Faces
from sightline.params import Compute, load

Option = typer.Option()


def main(
    metrics: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    report: Annotated[Path, Option],
    receipt: Annotated[Path, Option],
) -> None:
    """Publish the result that these files are, and leave what was published in ``receipt``."""
    publish_outputs(
        "faces",
        [("faces", load("faces", Faces)), ("compute", load("compute", Compute))],
        read_json(metrics / "metrics.json"),
        read_json(metrics / "crops.json")["digests"],
        tables=[metrics / name for name in ("crops.json", "metrics.json", "history.csv", "emotion_history.csv")],
        model=deployed,
        figures=figures,
        reports=[report],
        receipt=receipt,
        history=by_epoch(pd.read_csv(metrics / "history.csv")),
    )


def by_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """Turn one row a ``model`` and ``epoch`` into one an epoch, with columns ``<model>/<column>``; empty ones go."""
    wide = history.pivot(index="epoch", columns="model")
    names = wide.columns.get_level_values("model") + "/" + wide.columns.get_level_values(0)
    return wide.set_axis(names, axis=1).dropna(axis=1, how="all").reset_index()
