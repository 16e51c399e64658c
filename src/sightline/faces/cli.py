"""``sightline faces …``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.core.errors import InputError
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say

app = typer.Typer(help="Find faces, say whose they are and which emotion they show.", no_args_is_help=True)

Photos = Annotated[list[Path], typer.Argument(help="Photos in any format.")]
Name = Annotated[str, typer.Argument(help="The person.")]
Model = Annotated[Path, typer.Option(help="A deployed model.")]
GalleryFile = Annotated[
    Path | None, typer.Option(dir_okay=False, help="The file of enrolled people; default: the one in MODEL.")
]
DEPLOYED = Path("models/faces/deployed")


@app.callback()
def describe() -> None:
    """Find faces, say whose they are and which emotion they show."""


@app.command()
def identify(
    photos: Annotated[list[Path], typer.Argument(help="Photos in any format, or folders of them.")],
    model: Model = DEPLOYED,
    gallery: GalleryFile = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for the photos with what was found drawn in.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that look at photos.")] = 2,
) -> None:
    """Print what is found in each photo, as JSON.

    The answers are {photo: {"width": 640, "height": 427, "faces": [{"box": [x1, y1, x2, y2], "landmarks": {"left_eye":
    [x, y], ...}, "score": 0.998, "name": "anna", "distance": 0.41, "emotion": "happiness", "probabilities":
    {"happiness": 0.93, ...}}]}}, in px of the upright photo; the name is null where nobody is recognised. A photo that
    cannot be read has {"error": reason} instead, and the exit status is 1.
    """
    # Loading the runtime takes a second that --help need not wait for.
    from sightline.core.images import UnreadableImageError, read_image
    from sightline.faces.pictures import draw, marks_of, picture_names, write_jpeg
    from sightline.faces.predictor import FacesPredictor, answer

    paths = _listed(photos)
    predictor = FacesPredictor(model, gallery, threads=1)

    def look(task: tuple[Path, str]) -> dict[str, Any]:
        path, name = task
        try:
            image = read_image(path)
        except UnreadableImageError as error:
            return {"error": error.reason}
        faces = predictor.look(image)
        if pictures is not None:
            write_jpeg(pictures / f"{name}.jpg", draw(image, marks_of(faces)))
        return answer(image, faces)

    names = picture_names([path.name for path in paths])
    looks = map_ordered(look, zip(paths, names, strict=True), workers)
    answers = list(progress(looks, "looking at photos", len(paths), "photo"))
    found = dict(zip((path.as_posix() for path in paths), answers, strict=True))
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
    unreadable = [f"{photo}: {about['error']}" for photo, about in found.items() if "error" in about]
    for line in unreadable:
        say(line)
    if unreadable:
        raise typer.Exit(1)


@app.command()
def enrol(name: Name, photos: Photos, model: Model = DEPLOYED, gallery: GalleryFile = None) -> None:
    """Enrol NAME, or add to their photos; each photo must show that one face.

    What is kept of a photo is a vector and a digest, in the gallery file. The one in MODEL is an output of the pipeline
    and made anew from the photos of the data set when faces-infer runs: with --gallery people stay enrolled in a file
    of your own, which is made where there is none.
    """
    from sightline.faces.predictor import enrol as enrol_photos
    from sightline.faces.predictor import people as enrolled

    for line in enrol_photos(model, gallery, name, photos):
        say(f"warning: {line}")
    say(f"{name.strip()} is enrolled, as one of {len(enrolled(model, gallery))}")


@app.command()
def forget(name: Name, model: Model = DEPLOYED, gallery: GalleryFile = None) -> None:
    """Take NAME out of the gallery file: nothing of that person is left in it.

    Photos in a data set, and what the pipeline made of them, are not touched: to be rid of those as well, delete the
    photos, run 'dvc repro' and then 'dvc gc --workspace'.
    """
    from sightline.faces.gallery import forget_in
    from sightline.faces.predictor import gallery_file

    path = gallery_file(model, gallery)
    forget_in(path, name)
    say(f"{name.strip()} is no longer in {path}")


@app.command()
def people(model: Model = DEPLOYED, gallery: GalleryFile = None) -> None:
    """Print who is enrolled, with the number of photos, as JSON; null for a network that was trained on them."""
    from sightline.faces.predictor import people as enrolled

    typer.echo(json.dumps(enrolled(model, gallery), indent=2, ensure_ascii=False))


def _listed(photos: Sequence[Path]) -> list[Path]:
    """The files, and the pictures in folders, each once."""
    from sightline.core.images import list_images

    listed: dict[Path, None] = {}
    for path in photos:
        found = list_images(path) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path} holds no pictures")
        listed.update(dict.fromkeys(found))
    return list(listed)
