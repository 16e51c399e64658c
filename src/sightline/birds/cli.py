"""``sightline birds …``."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.core.files import write_json
from sightline.core.progress import say

app = typer.Typer(help="Find the pictures that are most similar to a photo.", no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Find the pictures that are most similar to a photo."""


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="Folder with pictures, at any depth.")],
    backbone: Annotated[Path, typer.Option(help="The network that describes the pictures.")] = Path(
        "models/backbone/procedural"
    ),
    projection: Annotated[
        Path | None,
        typer.Option(help="What was learned on top, such as models/birds/projection/procedural-full/projected."),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder to write the index to.")] = Path("index"),
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that the network sees at once.")] = 64,
    device: Annotated[str, typer.Option(help="What the network runs on: cpu, cuda, mps.")] = "cpu",
) -> None:
    """Make the pictures of FOLDER searchable.

    Files with a picture's name ending count. What cannot be read is left out and stands in OUT/problems.csv. An index
    that is already at OUT is replaced.
    """
    # Loading torch takes seconds that --help need not wait for.
    from sightline.birds.index import build_index

    count = build_index(folder, backbone, projection, out, workers, batch_size, device)
    say(f"{count} pictures: {out}")


@app.command()
def search(
    photo: Annotated[Path, typer.Argument(help="The picture to find similar ones to.")],
    index: Annotated[Path, typer.Option(help="What 'sightline birds index' has written.")] = Path("index"),
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 10,
    backbone: Annotated[
        Path | None, typer.Option(help="The network that the index was built with, if it is elsewhere now.")
    ] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Where to write the answers (JSON).")] = Path(
        "answers.json"
    ),
    picture: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Where to draw PHOTO and its first 50 answers (PNG).")
    ] = None,
) -> None:
    """Find the pictures of an index that are most similar to PHOTO.

    The answers are {"photo": "wren.jpg", "answers": [{"photo": "garden/7.jpg", "similarity": 0.93}]}, the best first;
    the similarity is the cosine of the two embeddings. PHOTO itself, if it is in the index, is an answer like any
    other.
    """
    from sightline.birds.index import Searcher
    from sightline.core.sheets import write_png

    searcher = Searcher(index, backbone)
    found = searcher.search(photo, top)
    write_json(out, {"photo": photo.as_posix(), "answers": [answer._asdict() for answer in found.answers]})
    say(f"{len(found.answers)} answers of {len(searcher.photos)} pictures: {out}")
    if picture is not None:
        write_png(picture, searcher.draw(found))
        say(f"drawn: {picture}")
