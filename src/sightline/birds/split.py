"""Stage ``birds-split``: the zero-shot split, by class, and the proof that neither half knows a photo of the other."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from sightline.birds.halves import assign_halves
from sightline.birds.params import Birds
from sightline.birds.photos import read_photos
from sightline.core.files import write_csv, write_json
from sightline.core.leakage import check_leakage, near_duplicates
from sightline.core.progress import say
from sightline.core.splits import split_digest
from sightline.params import load

Option = typer.Option()


def main(raw: Annotated[Path, Option], out: Annotated[Path, Option], summary: Annotated[Path, Option]) -> None:
    """Read parameters, then :func:`split`."""
    birds = load("birds", Birds)
    split(raw, birds.split.last_train_class, birds.eda.near_duplicate_bits, out, summary)


def split(raw: Path, last_train_class: int | None, near_duplicate_bits: int, out: Path, summary: Path) -> None:
    """Give each photo of ``raw`` (as ``birds-source`` leaves it) its half, see :func:`assign_halves`.

    Writes ``out``, the columns of ``photos.csv`` and ``split`` ('train' or 'test'), sorted by image id, and the
    ``summary``. Near-duplicates across the halves are named in it, not refused: the split is the published one, and
    two photos of one scene in different classes are a matter of the labels.

    Raises:
        InputError: a half has fewer than two classes, or an exact copy lies in the other half.
    """
    photos = read_photos(raw / "photos.csv").sort_values("image_id", ignore_index=True)
    photos["split"] = assign_halves(photos["class_id"], last_train_class)
    names = photos["photo"].tolist()
    check_leakage(names, photos["split"], photos["class_id"], photos["digest"], photos["hash"], max_bits=None)
    pairs = near_duplicates(photos["hash"], near_duplicate_bits)
    halves = photos["split"].to_numpy()
    across = photos["photo"].to_numpy()[pairs[halves[pairs[:, 0]] != halves[pairs[:, 1]]]]
    if len(across):
        say(f"{len(across)} pairs of near-duplicates across the halves, the first: {' and '.join(across[0])}")
    table = photos.assign(hash=[f"{value:016x}" for value in photos["hash"]])
    write_csv(out, table)
    write_json(
        summary,
        {
            "train": _count(photos[photos["split"] == "train"]),
            "test": _count(photos[photos["split"] == "test"]),
            "last_train_class": int(photos.loc[photos["split"] == "train", "class_id"].max()),
            "near_duplicates_across": {"pairs": len(across), "first": across[:SHOWN].tolist()},
            "split_sha256": split_digest(photos["split"], photos["digest"]),
        },
    )


def _count(half: pd.DataFrame) -> dict[str, Any]:
    sizes = half["class_id"].value_counts()
    return {"images": len(half), "classes": len(sizes), "classes_of_one_image": int(np.sum(sizes == 1))}


SHOWN = 20
