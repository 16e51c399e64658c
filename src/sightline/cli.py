"""``sightline …``: what people call. Each task adds its own group of commands."""

import sys

import typer

from sightline.birds.cli import app as birds
from sightline.core.errors import InputError
from sightline.faces.cli import app as faces
from sightline.memes.cli import app as memes
from sightline.minerals.cli import app as minerals
from sightline.parts.cli import app as parts

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(minerals, name="minerals")
app.add_typer(memes, name="memes")
app.add_typer(parts, name="parts")
app.add_typer(faces, name="faces")
app.add_typer(birds, name="birds")


@app.callback()
def describe() -> None:
    """Sightline: five computer-vision jobs as one reproducible pipeline. 'dvc repro' trains, these commands use it."""


def main() -> None:
    """Run the command line; a mistake of the user is one line and exit status 1."""
    try:
        app()
    except (InputError, OSError) as error:
        # An OSError names the file that cannot be read or written.
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
