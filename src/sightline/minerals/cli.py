"""``sightline minerals …``."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.core.files import write_json
from sightline.core.progress import say

app = typer.Typer(help="Classify tight patches of minerals.", no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Classify tight patches of minerals."""


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder with tight patches in any picture format.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Where to write the answers (JSON).")] = Path("result.json"),
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Confidence to accept at; default: the calibrated one.")
    ] = None,
    model: Annotated[Path, typer.Option(help="A deployed model.")] = Path("models/minerals/deployed"),
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures that the network sees at once.")] = 64,
) -> None:
    """Name the mineral on each picture of FOLDER, or none.

    The answers are {filename: {"confidence": 0.97, "result": "pyrite"}}; the result is null where the confidence is
    below the threshold or where none of the minerals fits. Files that cannot be read stand in a second file, named
    like OUT but ending in .unreadable.json.
    """
    # Loading the runtime takes a second that --help need not wait for.
    from sightline.minerals.predictor import Predictor

    found = Predictor(model).predict_folder(folder, threshold, workers, batch_size)
    write_json(out, found.results)
    named = sum(answer["result"] is not None for answer in found.results.values())
    say(f"{len(found.results)} pictures, {named} named: {out}")
    report = out.with_suffix(".unreadable.json")
    # One of an earlier run would be taken for this one's.
    report.unlink(missing_ok=True)
    if found.unreadable:
        write_json(report, found.unreadable)
        say(f"{len(found.unreadable)} unreadable files: {report}")
