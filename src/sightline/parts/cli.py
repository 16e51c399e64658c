"""``sightline parts …``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Detect, track and count what falls through a video.", no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Detect, track and count what falls through a video."""


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="The folder that holds annotations/ and images/.")],
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for the tables of what was found.")] = None,
    first_image_id: Annotated[int, typer.Option(min=0, help="The image_id of a recording's first frame.")] = 1,
    max_shift: Annotated[int, typer.Option(min=1, max=30, help="The largest frame offset to look for.")] = 3,
    workers: Annotated[int, typer.Option(min=0, help="Threads that look at recordings.")] = 2,
) -> None:
    """Say where the annotations of FOLDER do not fit its recordings; the exit status is 1 if something is wrong.

    Of a recording that is not there only the annotations are checked. The figures are printed as JSON.
    """
    import json

    from sightline.parts.audit import announce, write
    from sightline.parts.audit import audit as audit_folder

    audited = audit_folder(folder, first_image_id, max_shift, workers)
    announce(audited.findings)
    if out is not None:
        write(audited, out)
    typer.echo(json.dumps(audited.figures(), indent=2, ensure_ascii=False))
    if audited.trouble():
        raise typer.Exit(1)
