"""``sightline parts …``."""

import typer

app = typer.Typer(help="Detect, track and count what falls through a video.", no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Detect, track and count what falls through a video."""
