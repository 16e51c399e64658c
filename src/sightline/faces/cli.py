"""``sightline faces …``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.core.errors import InputError
from sightline.core.files import to_json
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say

app = typer.Typer(help="Find faces, say whose they are and which emotion they show.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The person.")]
Model = Annotated[Path, typer.Option(help="Folder of a deployed model.")]
GalleryFile = Annotated[
    Path | None, typer.Option(dir_okay=False, help="File of enrolled people; default: the one in the model's folder.")
]
DEPLOYED = Path("models/faces/deployed")


@app.callback()
def describe() -> None:
    """Find faces, say whose they are and which emotion they show."""


@app.command()
def identify(
    photos: Annotated[
        list[Path], typer.Argument(help="Photos in any format, or folders of them with all folders inside.")
    ],
    model: Model = DEPLOYED,
    gallery: GalleryFile = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Folder for JPEGs of the photos with what was found drawn in: a green box and the name for who is "
            "recognised, a grey one for others; JPEGs of the same names are replaced. Default: none are drawn.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that look at photos; 0: one after another.")] = 2,
) -> None:
    """Print who is in each photo and how they look, as JSON.

    The answers are {photo: {"picture": "out/party.jpg", "width": 640, "height": 427, "faces": [{"box": [x1, y1, x2,
    y2], "landmarks": {"left_eye": [x, y], ...}, "score": 0.998, "name": "anna", "distance": 0.41, "emotion":
    "happiness", "probabilities": {"happiness": 0.93, ...}}]}}, the surest face first. Places are in px of the upright
    photo. The score, of the detection, and probabilities go from 0 to 1. The name is null where nobody is recognised;
    the distance is to the person most alike, 0 for the same face, and null where nobody is enrolled. "picture" is
    there with --pictures.

    A photo that cannot be read has {"error": reason}, one whose picture cannot be written "picture": null and
    "picture_error": reason; both are said on stderr too, the others are answered, and the exit status is 1.
    """
    # Loading the runtime takes a second that --help need not wait for.
    from sightline.core.images import UnreadableImageError, read_image
    from sightline.faces.pictures import draw, marks_of, picture_names, write_jpeg
    from sightline.faces.predictor import FacesPredictor, answer

    paths = _listed(photos, is_deep=True)
    if pictures is not None and (own := _within(pictures, paths)):
        raise InputError(f"{pictures} holds {own}, one of the photos: name another folder for the pictures")
    predictor = FacesPredictor(model, gallery, threads=1)

    def look(task: tuple[Path, str]) -> dict[str, Any]:
        path, name = task
        try:
            image = read_image(path)
        except UnreadableImageError as error:
            return {"error": error.reason}
        faces = predictor.look(image)
        if pictures is None:
            return answer(image, faces)
        picture = pictures / f"{name}.jpg"
        try:
            write_jpeg(picture, draw(image, marks_of(faces)))
        except OSError as error:
            return {"picture": None, "picture_error": f"{picture}: {error.strerror or error}", **answer(image, faces)}
        return {"picture": picture.as_posix(), **answer(image, faces)}

    names = picture_names([path.name for path in paths])
    looks = map_ordered(look, zip(paths, names, strict=True), workers)
    answers = list(progress(looks, "looking at photos", len(paths), "photo"))
    found = dict(zip((path.as_posix() for path in paths), answers, strict=True))
    # Bytes: JSON is UTF-8 whatever the terminal's encoding is.
    typer.echo(to_json(found), nl=False)
    wrong = [f"{photo}: {about['error']}" for photo, about in found.items() if "error" in about]
    wrong += [
        f"{photo}: no picture: {about['picture_error']}" for photo, about in found.items() if "picture_error" in about
    ]
    for line in wrong:
        say(line)
    if wrong:
        raise typer.Exit(1)


@app.command()
def enrol(
    name: Name,
    photos: Annotated[
        list[Path],
        typer.Argument(help="Photos in any format, each of that one face, or folders of them without folders inside."),
    ],
    model: Model = DEPLOYED,
    gallery: GalleryFile = None,
    new: Annotated[bool, typer.Option("--new", help="Make the gallery file, which must not be there yet.")] = False,
) -> None:
    """Enrol a person, or add photos of one who is enrolled.

    All photos are taken, or none. What is kept of a photo is a vector and a digest, in the gallery file. The one in the
    model's folder is an output of the pipeline and made anew by the next 'dvc repro': with --gallery people stay
    enrolled in a file of your own. A model of method cnn cannot enrol.
    """
    from sightline.faces.predictor import enrol as enrol_photos
    from sightline.faces.predictor import gallery_file
    from sightline.faces.predictor import people as enrolled

    for line in enrol_photos(model, gallery, name, _listed(photos, is_deep=False), is_new=new):
        say(f"warning: {line}")
    count = len(enrolled(model, gallery))
    say(f"{name.strip()} is enrolled, as one of {count}, in {gallery_file(model, gallery)}{' (new)' if new else ''}")
    if gallery is None and model == DEPLOYED:
        say("the next 'dvc repro' makes that gallery anew: with --gallery people stay enrolled in a file of your own")


@app.command()
def forget(name: Name, model: Model = DEPLOYED, gallery: GalleryFile = None) -> None:
    """Take a person out of the gallery file.

    Nothing of them is left in that file. Photos in a data set, and what the pipeline made of them, are not touched: to
    be rid of those as well, delete the photos, run 'dvc repro' and then 'dvc gc --workspace'.
    """
    from sightline.faces.predictor import forget as forget_person

    say(f"{name.strip()} is no longer in {forget_person(model, gallery, name)}")
    if gallery is None and model == DEPLOYED:
        say("the next 'dvc repro' makes that gallery anew, from the photos that are in the data set then")


@app.command()
def people(model: Model = DEPLOYED, gallery: GalleryFile = None) -> None:
    """Print who is enrolled, as JSON.

    The answer is {name: number of photos}; null instead of a number for people on whom a network was trained (method
    cnn).
    """
    from sightline.faces.predictor import people as enrolled

    typer.echo(to_json(enrolled(model, gallery)), nl=False)


def _within(folder: Path, photos: Sequence[Path]) -> Path | None:
    """The first photo that lies in ``folder``, where a picture might take its place."""
    place = folder.resolve()
    return next((path for path in photos if place in (path.absolute().parent, path.resolve().parent)), None)


def _listed(photos: Sequence[Path], *, is_deep: bool) -> list[Path]:
    """The files, and the pictures in folders, each once: also those in folders within, if ``is_deep``.

    What is left out of a folder is said on stderr.
    """
    from sightline.core.images import SUFFIXES, list_files

    # A dictionary for its order.
    listed: dict[Path, None] = {}
    for path in photos:
        if not path.is_dir():
            listed[path] = None
            continue
        found = []
        for file in list_files(path):
            if file.suffix.lower() not in SUFFIXES:
                say(f"{file}: no picture by its name: left out")
            elif file.parent != path and not is_deep:
                # A folder of folders may well hold somebody else's photos.
                say(f"{file}: in a folder within {path}: left out")
            else:
                found.append(file)
        if not found:
            raise InputError(f"{path} holds no pictures")
        listed.update(dict.fromkeys(found))
    return list(listed)
