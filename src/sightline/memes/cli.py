"""``sightline memes …``."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.core.files import write_json
from sightline.core.progress import say

app = typer.Typer(help="Classify memes, or say that they are of no known class.", no_args_is_help=True)

DEPLOYED = Path("models/memes/deployed")


@app.callback()
def describe() -> None:
    """Classify memes, or say that they are of no known class."""


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder with pictures in any format.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Where to write the answers (JSON).")] = Path("result.json"),
    threshold: Annotated[
        float | None, typer.Option(help="Score above which a picture is unknown; default: the one of validation.")
    ] = None,
    model: Annotated[Path, typer.Option(help="A deployed model.")] = DEPLOYED,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that the network sees at once.")] = 64,
) -> None:
    """Name the class of each picture of FOLDER, or say that it is unknown.

    The answers are {filename: {"class": "doom", "confidence": 0.97, "unknown": false, "unknown_score": 0.41}}; the
    class is null where the picture is unknown. Files that cannot be read stand in a second file, named like OUT but
    ending in .unreadable.json.
    """
    # Loading the runtime takes a second that --help need not wait for.
    from sightline.memes.predictor import Predictor

    found = Predictor(model).predict_folder(folder, threshold, workers, batch_size)
    write_json(out, found.results)
    unknown = sum(answer["unknown"] for answer in found.results.values())
    say(f"{len(found.results)} pictures, {unknown} of them unknown: {out}")
    report = out.with_suffix(".unreadable.json")
    # One of an earlier run would be taken for this one's.
    report.unlink(missing_ok=True)
    if found.unreadable:
        write_json(report, found.unreadable)
        say(f"{len(found.unreadable)} unreadable files: {report}")


@app.command()
def add_class(
    name: Annotated[str, typer.Argument(help="What the new class is called.")],
    folder: Annotated[Path, typer.Argument(help="Folder with pictures of it, in any format; 20 do well.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder to write the new model to.")],
    model: Annotated[Path, typer.Option(help="The deployed model to add to; it stays as it is.")] = DEPLOYED,
    method: Annotated[
        str | None, typer.Option(help="class_mean, ranpac or grown_head; default: what EVIDENCE says.")
    ] = None,
    evidence: Annotated[
        Path, typer.Option(help="What memes-extend found best on validation; ranpac where it is missing.")
    ] = Path("metrics/memes/extend.json"),
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that the network sees at once.")] = 64,
) -> None:
    """Write to OUT a model that knows class NAME as well, without training again.

    The network stays as it is: what is learned is how NAME differs from what the model remembers of its classes. The
    new model can be added to again.
    """
    from sightline.memes import adding

    way = adding.best_way(evidence, method)
    count = adding.add_class(name, folder, model, out, way, workers, batch_size)
    say(f"{name} learned from {count} pictures by {way.method} on {way.space} features: {out}")
