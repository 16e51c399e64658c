"""Stage ``memes-notebook``: run the notebook that tells how one comes from the pictures to the result."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.core.notebooks import run_notebook
from sightline.memes import figures

Option = typer.Option()

# The notebook draws with these figures; it takes them from here, so that DVC knows that it depends on them.
__all__ = ["figures", "main"]


def main(
    notebook: Annotated[Path, Option],
    data: Annotated[Path, Option],
    model: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    page: Annotated[Path, Option],
) -> None:
    """Run the notebook on what the other stages left: pictures and tables, the deployed model, and figures."""
    run_notebook(notebook, {"MEMES_DATA": data, "MEMES_MODEL": model, "MEMES_METRICS": metrics}, page)
