"""Stage ``faces-infer``: deploy what finds, names and reads faces, and look at every face and group photo with it."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, write_csv, write_json
from sightline.core.images import Pixels, read_image
from sightline.core.packs import Pack, open_pack
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.faces.feelings import load_emotion
from sightline.faces.gallery import load_gallery
from sightline.faces.identity import BY_GALLERY, METHODS, open_method
from sightline.faces.identity_network import deploy_network, open_trained
from sightline.faces.mtcnn_graphs import export_detector
from sightline.faces.params import EMOTIONS, Detect, Faces, Infer
from sightline.faces.pictures import draw, marks_of, picture_names, write_jpeg
from sightline.faces.predictor import FacesPredictor, answer
from sightline.params import Compute, Runtime, load

Option = typer.Option()
T = TypeVar("T")


def main(
    raw: Annotated[Path, Option],
    crops: Annotated[Path, Option],
    identity: Annotated[Path, Option],
    emotion: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`deploy` and :func:`infer`."""
    faces = load("faces", Faces)
    prepare(load("compute", Compute), seed=0)
    deploy(crops, identity, emotion, faces.detect, faces.infer, deployed)
    infer(deployed, raw, crops, identity, load("runtime", Runtime).workers, out)


def deploy(crops: Path, identity: Path, emotion: Path, detect: Detect, settings: Infer, out: Path) -> None:
    """Write the folder ``out``, all that a service needs: ``detector/``, ``identity/``, ``emotion/``,
    ``gallery.safetensors`` (for a method that has one) and ``config.json``.

    The method is ``settings.method``, or the best on validation: the one that accepts and names right the largest share
    of enrolled photos, each judged by a model that has not seen it, at its own threshold; of equals the one with the
    higher rank-1, then embedding before knn before cnn, whose people cannot come and go. Names stand in the gallery
    file alone (for ``cnn``, in its ``config.json``), so that who is taken out of that is gone.

    Args:
        crops: the pack that ``faces-detect`` leaves.
        identity: the methods that ``faces-train`` leaves.
        emotion: what ``faces-emotion`` leaves.
        detect: of the detector.
        settings: the method.
        out: replaced whole.

    Raises:
        InputError: a folder does not hold what it should, or there is no such method.
    """
    verdict = _verdict(identity)
    method = settings.method or verdict["best"]
    if method not in verdict["validation"]:
        there = ", ".join(sorted(verdict["validation"]))
        raise InputError(
            f"faces.infer.method is {method}, but {identity} has {there}: 'embedding' needs faces.embedding.weights"
        )
    trained = identity / method
    with replacing_folder(out) as part:
        export_detector(part / "detector", detect.score, detect.min_face)
        if method == "cnn":
            pack = open_pack(crops)
            deploy_network(trained, part / "identity", np.asarray(pack.images[pack.rows("gallery")[:COMPARED]]))
        else:
            shutil.copytree(trained, part / "identity", ignore=NOT_ONNX)
            shutil.copyfile(trained / "gallery.safetensors", part / "gallery.safetensors")
        shutil.copytree(emotion, part / "emotion", ignore=NOT_ONNX)
        config = read_json(part / "identity" / "config.json")
        write_json(
            part / "config.json",
            {
                "task": "faces",
                "method": method,
                "neighbours": config.get("neighbours"),
                "threshold": config["threshold"],
                "validation": verdict["validation"],
                "emotions": EMOTIONS,
            },
        )
    say(f"faces are identified by {method}")


def infer(deployed: Path, raw: Path, crops: Path, identity: Path, workers: int, out: Path) -> None:
    """Ask all methods about the faces of the pack, and the deployed model about the photos of groups and of nobody.

    Writes into ``out``:

    - ``identities.csv``, a row a face of roles 'gallery', 'stranger' and 'group': photo, face, role, split, box, ignore
      and name as the manifest has them, ``known`` (1 if somebody of that name is enrolled), and for each method ``m``
      ``name_m``, the best person, accepted or not; ``similarity_m``; ``distance_m``; ``accepted_m``. Faces of split
      'gallery' are answered by what has learned from them: only their leave-one-photo-out answers, which
      ``faces-train`` keeps, say how good a method is.
    - ``emotions.csv``, a row a face of roles 'emotion' and 'group': photo, face, role, set, split, emotion (the truth,
      empty where nobody knows), ``predicted``, and ``p_<emotion>``; where networks form a panel, ``predicted_<n>`` is
      what network ``n`` says by itself.
    - ``photos/…json``: what ``sightline faces identify`` says of each photo, and ``pictures/…jpg``, drawn; named as the
      photo below the folder of images.

    Args:
        deployed: what :func:`deploy` wrote.
        raw: the photos, as ``faces-source`` leaves them.
        crops: the pack that ``faces-detect`` leaves.
        identity: the methods that ``faces-train`` leaves.
        workers: threads; they do not change the result.
        out: replaced whole.
    """
    predictor = FacesPredictor(deployed, threads=1)
    pack = open_pack(crops)
    photos = pd.read_csv(raw / "photos.csv", keep_default_na=False, dtype=str)
    shown = photos.loc[photos["role"].isin(["group", "empty"]), "photo"].tolist()
    with replacing_folder(out) as part:
        write_csv(part / "identities.csv", _identities(pack, deployed, identity, workers))
        write_csv(part / "emotions.csv", _emotions(pack, deployed, workers))
        look_at(predictor, raw / "images", shown, part, workers)


def look_at(predictor: FacesPredictor, folder: Path, photos: Sequence[str], out: Path, workers: int) -> None:
    """Write ``photos/<name>.json`` and ``pictures/<name>.jpg`` for each photo, a path below ``folder``."""

    def look(task: tuple[str, str]) -> None:
        photo, name = task
        image = read_image(folder / photo)
        faces = predictor.look(image)
        write_json(out / "photos" / f"{name}.json", {"photo": photo, **answer(image, faces)})
        write_jpeg(out / "pictures" / f"{name}.jpg", draw(image, marks_of(faces)))

    tasks = list(zip(photos, picture_names(photos), strict=True))
    for _ in progress(map_ordered(look, tasks, workers), "looking at photos", len(tasks), "photo"):
        pass


def _verdict(identity: Path) -> dict[str, Any]:
    try:
        verdict: dict[str, Any] = read_json(identity / "config.json")
        return {"best": verdict["best"], "validation": verdict["validation"]}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{identity} does not hold what faces-train leaves: {error}") from None


def _identities(pack: Pack, deployed: Path, identity: Path, workers: int) -> pd.DataFrame:
    chosen = pack.manifest["role"].isin(["gallery", "stranger", "group"])
    rows = np.flatnonzero(chosen)
    table = pack.manifest.loc[rows, ["photo", "face", "role", "split", "box", "ignore", "name"]]
    enrolled = set(pack.manifest.loc[chosen & (pack.manifest["split"] == "gallery"), "name"])
    table["known"] = table["name"].isin(enrolled).astype(int)
    for name in METHODS:
        if not (identity / name).is_dir():
            continue
        # What is deployed is asked as it is deployed.
        is_deployed = read_json(deployed / "config.json")["method"] == name
        method = open_method(deployed / "identity") if is_deployed else open_trained(identity / name)
        gallery = load_gallery(identity / name / "gallery.safetensors") if name in BY_GALLERY else None
        found = _batched(partial(method.nearest, gallery=gallery), pack, rows, workers, f"identifying by {name}")
        table[f"name_{name}"] = [person or "" for people, _ in found for person in people]
        similarity = np.concatenate([scores for _, scores in found])
        table[f"similarity_{name}"] = similarity
        table[f"distance_{name}"] = 1 - similarity
        table[f"accepted_{name}"] = (similarity >= method.threshold).astype(int)
    return table


def _emotions(pack: Pack, deployed: Path, workers: int) -> pd.DataFrame:
    rows = np.flatnonzero(pack.manifest["role"].isin(["emotion", "group"]))
    table = pack.manifest.loc[rows, ["photo", "face", "role", "set", "split", "emotion"]]
    panel = load_emotion(deployed / "emotion", threads=1)
    votes = np.concatenate(_batched(panel.votes, pack, rows, workers, "reading emotions"), axis=1)
    shares = panel.probabilities(votes)
    table["predicted"] = np.array(EMOTIONS)[shares.argmax(1)]
    table = table.assign(**{f"p_{emotion}": column for emotion, column in zip(EMOTIONS, shares.T, strict=True)})
    if len(panel.networks) > 1:
        for network, vote in zip(panel.networks, votes, strict=True):
            table[f"predicted_{network.path.stem}"] = np.array(EMOTIONS)[vote.argmax(1)]
    return table


def _batched(
    ask: Callable[[Pixels], T], pack: Pack, rows: NDArray[np.int64], workers: int, description: str
) -> list[T]:
    """What ``ask`` says of those faces, a batch at a time."""
    batches = np.split(rows, range(BATCH, len(rows), BATCH))
    answers = map_ordered(lambda batch: ask(np.asarray(pack.images[batch])), batches, workers)
    return list(progress(answers, description, len(batches), "batch"))


# What a network was exported from; the gallery has a place of its own.
NOT_ONNX = shutil.ignore_patterns("*.safetensors")
BATCH = 64
COMPARED = 32
