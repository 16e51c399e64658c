"""``sightline parts …``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
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


@app.command()
def count(
    video: Annotated[str, typer.Argument(help="A video, a folder of frames, or the number of a camera.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the count, replaced if it holds one.")],
    model: Annotated[Path, typer.Option(help="What parts-track deployed.")] = Path("models/parts/deployed"),
    line: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Where to count, as a share of the way through the frame.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="x264's, of the video: faster is larger.")] = "ultrafast",
    crf: Annotated[int, typer.Option(min=0, max=51, help="x264's quality: less is better.")] = 25,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames that are detected at once.")] = 8,
    threads: Annotated[int, typer.Option(min=0, help="Of the detector; 0 is one a core.")] = 0,
) -> None:
    """Count the parts of VIDEO, and print the counts as JSON.

    OUT holds counts.json, tracks.txt (MOTChallenge), certificate.csv and certificate.html with a picture of every
    counted part, and annotated.mp4. A camera is read until Ctrl-C; batches of 1 show it without delay.
    """
    import json
    import time

    from sightline.core.errors import InputError
    from sightline.core.progress import say
    from sightline.parts.count import at_line, count_video, load_deployed
    from sightline.parts.params import Video

    if out.is_dir() and any(out.iterdir()) and not (out / "counts.json").is_file():
        raise InputError(f"{out} holds something else than a count: name another folder")
    source = int(video) if video.isdecimal() and not Path(video).exists() else Path(video)
    deployed = load_deployed(model, threads)
    recipe = deployed.recipe if line is None else at_line(deployed.recipe, line)
    settings = Video.model_validate({"preset": preset, "crf": crf, "trace": 20})
    start = time.perf_counter()
    counted = count_video(source, deployed.detector, deployed.classes, recipe, out, settings, batch_size=batch_size)
    say(f"{counted.frames} frames at {counted.frames / (time.perf_counter() - start):.1f} frames/s")
    for row in counted.doubtful:
        say(f"look at part {row['number']}: {'; '.join(row['doubts'])}")
    typer.echo(json.dumps({**counted.counts, "total": sum(counted.counts.values())}, indent=2, ensure_ascii=False))


@app.command()
def score(
    tracks: Annotated[
        Path, typer.Argument(help="A tracker's output: COCO-like JSON with track_id, or MOTChallenge text.")
    ],
    truth: Annotated[Path, typer.Option(help="The annotations: COCO JSON with track_id.")],
    first_image_id: Annotated[int, typer.Option(min=0, help="The image_id of the truth's first frame.")] = 1,
    max_shift: Annotated[int, typer.Option(min=0, max=30, help="The largest frame shift to look for.")] = 3,
) -> None:
    """Score a tracker's output against the truth, and name its faults; prints JSON.

    'as_given' has HOTA, MOTA, IDF1 and so on as the files stand; where another frame shift fits better, 'shifted' has
    them at that shift. 'class_agnostic' leaves classes out; 'by_class' and 'together' need a class at every box.
    """
    import json

    from sightline.core.progress import say
    from sightline.parts.tracks_score import score_file

    scored = score_file(tracks, truth, first_image_id, max_shift)
    for fault in scored["faults"]:
        say(f"fault: {fault}")
    typer.echo(json.dumps(scored, indent=2, ensure_ascii=False))
