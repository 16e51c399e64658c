"""Search any folder of pictures: an index of their embeddings, and what of it is most similar to a photo.

An index is a folder: ``embeddings.npy`` (N, D) float32, of length 1, projected if it has a projection; ``photos.csv``
(``photo``, the path below the indexed folder, and ``digest``, that of its pixels), row by row; ``problems.csv``, what
was left out; ``config.json``; and ``projection/``, a copy of its weights, so that queries go the same way. Its paths to
the pictures and to the backbone are relative to the index itself.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from sightline.birds.embed import embed_pictures
from sightline.birds.embeddings import Vectors
from sightline.birds.project import Projection
from sightline.birds.retrieval import nearest
from sightline.core.backbone import Backbone, load_backbone
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, sha256, write_csv, write_json
from sightline.core.images import (
    Pixels,
    UnreadableImageError,
    fit_to_square,
    list_images,
    pixel_digest,
    read_image,
)
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.core.sheets import contact_sheet


def build_index(
    folder: Path,
    backbone: Path,
    projection: Path | None,
    out: Path,
    workers: int = 2,
    batch_size: int = 64,
    device: str = "cpu",
) -> int:
    """Embed the full pictures below ``folder`` and write the index ``out``, whole or not at all.

    Args:
        folder: files with a picture's name ending count; what of them is no whole picture is left out and listed.
        backbone: a folder that :func:`sightline.core.backbone.load_backbone` reads.
        projection: a folder that :meth:`Projection.load` reads; None compares the features as they are.
        out: the folder to write; an older index there is replaced, anything else is not.
        workers: threads that decode while the network works.
        batch_size: pictures that the network sees at once.
        device: torch's name of what the network runs on, such as cpu or cuda.

    Returns:
        The number of pictures in the index.

    Raises:
        InputError: there is no sound picture, a folder is not what it should be, or there is no such device.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    _refuse_to_replace(out)
    paths = list_images(folder)
    if not paths:
        raise InputError(f"{folder} holds no pictures")
    network = load_backbone(backbone)
    learned = None if projection is None else _projection_for(network, projection)
    _move(network.network, device)
    rows: list[tuple[str, str]] = []
    problems: list[tuple[str, str, str]] = []
    looks = map_ordered(partial(_look_at, size=network.config.size), paths, workers)
    with progress(looks, f"embedding by {network.config.name}", len(paths), "picture") as bar:

        def sound() -> Iterator[Pixels]:
            for path, look in zip(paths, bar, strict=True):
                name = path.relative_to(folder).as_posix()
                if isinstance(look, str):
                    problems.append((name, look, "left out"))
                    say(f"{name}: {look}: left out")
                else:
                    rows.append((name, look.digest))
                    yield look.pixels

        pictures = sound()
        batches = iter(lambda: list(islice(pictures, batch_size)), [])
        parts = [embed_pictures(batch, network, device).cpu() for batch in batches]
    if not parts:
        raise InputError(f"none of the {len(paths)} pictures of {folder} can be read: the lines above say why")
    features: Vectors = torch.cat(parts).numpy()
    vectors = _compared(features, learned)
    with replacing_folder(out) as part:
        np.save(part / "embeddings.npy", vectors)
        write_csv(part / "photos.csv", pd.DataFrame(rows, columns=["photo", "digest"]))
        write_csv(part / "problems.csv", pd.DataFrame(problems, columns=["photo", "problem", "action"]))
        if projection is not None:
            (part / "projection").mkdir()
            shutil.copyfile(projection / WEIGHTS, part / "projection" / WEIGHTS)
        config = {
            "task": TASK,
            "backbone": network.config.name,
            "sha256": network.config.sha256,
            "projection_sha256": sha256(projection / WEIGHTS) if projection else None,
            "crop": "full",
            "size": network.config.size,
            "features": vectors.shape[1],
            "photos": len(vectors),
            "photos_folder": _path_from(out, folder),
            "backbone_folder": _path_from(out, backbone),
        }
        write_json(part / "config.json", config)
    return len(rows)


class Answer(NamedTuple):
    """A picture of the index, by its path below the indexed folder, and its cosine similarity to the query."""

    photo: str
    similarity: float


@dataclass(frozen=True)
class Found:
    """The query's pixels (H, W, 3) uint8 RGB and its answers, the most similar first."""

    query: Pixels
    answers: Sequence[Answer]


class Searcher:
    """Finds the pictures of an index that are most similar to a photo.

    >>> Searcher(Path("index")).search(Path("wren.jpg"), top=1).answers
    [Answer(photo='garden/0007.jpg', similarity=0.934127)]

    ``backbone`` None takes the folder that the index was built with.

    Raises:
        InputError: the folder holds no whole index, or the backbone is not the one that it was built with.
    """

    def __init__(self, index: Path, backbone: Path | None = None) -> None:
        self.config, self.photos, self.vectors = _read_index(index)
        self.folder = (index / self.config["photos_folder"]).resolve()
        where = backbone or (index / self.config["backbone_folder"]).resolve()
        if backbone is None and not where.is_dir():
            raise InputError(f"{where}, the backbone that {index} was built with, is not there: give --backbone")
        self.network = load_backbone(where)
        built, given = self.config["sha256"], self.network.config.sha256
        if built != given:
            raise InputError(
                f"{index} was built with another backbone: '{self.config['backbone']}' (sha256 {built[:12]}…), "
                f"but {where} holds '{self.network.config.name}' (sha256 {given[:12]}…)"
            )
        self.projection = None
        if self.config["projection_sha256"]:
            self.projection = Projection.load(index / "projection")
            if sha256(index / "projection" / WEIGHTS) != self.config["projection_sha256"]:
                raise InputError(f"{index}/projection is not the one that the index was built with: build it again")

    def search(self, photo: Path, top: int = 10) -> Found:
        """Find the ``top`` most similar pictures, all if there are fewer; equal ones in the order of their paths.

        The photo itself, if it is in the index, is an answer like any other.

        Raises:
            InputError: the file is no whole picture.
        """
        try:
            query = read_image(photo)
        except UnreadableImageError as error:
            raise InputError(str(error)) from None
        square = fit_to_square(query, self.network.config.size)
        vector = _compared(embed_pictures([square], self.network).numpy(), self.projection)
        indices, similarities = nearest(vector, self.vectors, top)
        names = self.photos["photo"].to_numpy()[indices[0]]
        values = [round(float(value), DIGITS) for value in similarities[0]]
        answers = [Answer(str(name), value) for name, value in zip(names, values, strict=True)]
        return Found(query, answers)

    def draw(self, found: Found) -> Pixels:
        """Lay out the query, framed, and to its right its first answers with their similarities; (H, W, 3) uint8 RGB.

        A picture that is gone or has changed since it was indexed is a grey cell, and a line on stderr says so.
        """
        digests = dict(zip(self.photos["photo"], self.photos["digest"], strict=True))
        pictures: list[Pixels | None] = []
        captions: list[str] = []
        for place, answer in enumerate(found.answers[:DRAWN]):
            if place % COLUMNS == 0:
                pictures.append(None if place else _framed(found.query))
                captions.append("" if place else "query")
            pictures.append(self._picture(answer.photo, digests[answer.photo]))
            captions.append(_caption(answer))
        return contact_sheet(pictures, captions, COLUMNS + 1, CELL)

    def _picture(self, name: str, digest: str) -> Pixels:
        try:
            image = read_image(self.folder / name)
        except UnreadableImageError as error:
            say(f"{name}: {error.reason}: not shown")
            return MISSING
        if pixel_digest(image) != digest:
            say(f"{name}: changed since it was indexed: not shown")
            return MISSING
        return _shrunken(image)


def _projection_for(backbone: Backbone, folder: Path) -> Projection:
    """The projection, if it was learned from what this backbone gives: another's features may be as many."""
    learned = Projection.load(folder)
    try:
        origin = read_json(folder / "config.json")["embeddings"]
        made_by, crop, sha = origin["backbone"], origin["crop"], origin["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder}/config.json does not say what the projection was learned from") from None
    if sha != backbone.config.sha256:
        raise InputError(
            f"{folder} was learned from embeddings of another backbone: '{made_by}' (sha256 {sha[:12]}…), "
            f"not of '{backbone.config.name}' (sha256 {backbone.config.sha256[:12]}…)"
        )
    if crop != "full":
        say(f"warning: {folder} was learned from crops to the {crop}, but an index holds whole pictures")
    return learned


class _Look(NamedTuple):
    pixels: Pixels
    digest: str


def _look_at(path: Path, size: int) -> _Look | str:
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        return error.reason
    return _Look(fit_to_square(image, size), pixel_digest(image))


def _compared(features: Vectors, projection: Projection | None) -> Vectors:
    """What is compared, (N, d) of length 1."""
    if projection is not None:
        return projection.apply(features)
    return np.asarray(normalize(torch.from_numpy(features)).numpy(), dtype=np.float32)


def _move(network: torch.nn.Module, device: str) -> None:
    try:
        # The layout that convolutions are fastest in, on CPUs and GPUs alike.
        network.to(torch.device(device)).to(memory_format=torch.channels_last)
    # torch reports a device that is not there, or was not built in, by either.
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the network cannot run on '{device}': {str(error).splitlines()[0]}") from None


def _refuse_to_replace(out: Path) -> None:
    """An older index is replaced; a mistyped path must not cost anyone a folder of photos."""
    if out.is_dir():
        found = {path.name for path in out.iterdir()}
        if found and not ("config.json" in found and found <= CONTENTS):
            raise InputError(f"{out} holds something else than an index: give another folder as --out")
    elif out.exists():
        raise InputError(f"{out} is a file: give a folder as --out")


def _path_from(index: Path, other: Path) -> str:
    return Path(os.path.relpath(other.resolve(), index.resolve())).as_posix()


def _read_index(index: Path) -> tuple[dict[str, Any], pd.DataFrame, Vectors]:
    try:
        config = read_json(index / "config.json")
        if not isinstance(config, dict) or config.get("task") != TASK:
            raise ValueError("config.json is of something else")
        if missing := sorted(FIELDS - config.keys()):
            raise ValueError(f"config.json lacks {', '.join(missing)}")
        photos = pd.read_csv(index / "photos.csv", keep_default_na=False, dtype=str)
        vectors = np.load(index / "embeddings.npy", mmap_mode="r")
        if not {"photo", "digest"} <= set(photos):
            raise ValueError("photos.csv lacks photo or digest")
        if vectors.shape != (len(photos), config["features"]):
            raise ValueError(f"embeddings.npy is {vectors.shape}, but photos.csv has {len(photos)} rows")
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{index} holds no index: {reason}; 'sightline birds index' builds one") from None
    return config, photos, vectors


def _caption(answer: Answer) -> str:
    letters = CELL // LETTER - len("0.000 ")
    name = answer.photo if len(answer.photo) <= letters else Path(answer.photo).name
    # OpenCV's letters are ASCII.
    shown = name.encode("ascii", "replace").decode()
    return f"{answer.similarity:.3f} {shown}"


def _framed(image: Pixels) -> Pixels:
    small = _shrunken(image)
    width = max(2, max(small.shape[:2]) // 40)
    framed = cv2.copyMakeBorder(small, width, width, width, width, cv2.BORDER_CONSTANT, value=FRAME)
    return np.asarray(framed, dtype=np.uint8)


def _shrunken(image: Pixels) -> Pixels:
    """At most as large as its cell: the answers of a long list, all in full size, might not fit in memory."""
    scale = CELL / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


TASK = "birds-index"
WEIGHTS = "projection.safetensors"
FIELDS = {"backbone", "sha256", "projection_sha256", "features", "photos_folder", "backbone_folder"}
CONTENTS = {"embeddings.npy", "photos.csv", "problems.csv", "config.json", "projection"}
DIGITS = 6
DRAWN = 50
"""Answers on the picture, at most."""
COLUMNS, CELL = 5, 192
LETTER = 5
"""Pixels of a caption's letter, as :func:`contact_sheet` counts them."""
FRAME = (214, 110, 20)
MISSING = np.full((CELL, CELL, 3), 225, np.uint8)
