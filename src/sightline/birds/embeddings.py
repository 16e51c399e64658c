"""Embeddings on disk: for each half a matrix and the photos that its rows belong to.

``train.npy`` and ``test.npy`` (N, D) float32, not normalised; ``train.csv`` and ``test.csv`` with ``image_id``,
``photo``, ``class_id``, ``class_name``, row by row; ``config.json`` with what made them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json

Half = Literal["train", "test"]
Vectors = NDArray[np.float32]


def write_embeddings(folder: Path, photos: pd.DataFrame, vectors: Vectors, config: Mapping[str, Any]) -> None:
    """Write the folder whole: ``photos`` as of ``split.csv``, ``vectors`` (N, D) its rows in the same order."""
    with replacing_folder(folder) as part:
        for half in HALVES:
            rows = np.flatnonzero(photos["split"] == half)
            np.save(part / f"{half}.npy", np.ascontiguousarray(vectors[rows], dtype=np.float32))
            write_csv(part / f"{half}.csv", photos.iloc[rows][COLUMNS])
        write_json(part / "config.json", dict(config))


def read_embeddings(folder: Path, half: Half) -> tuple[pd.DataFrame, Vectors]:
    """The photos of a half and their embeddings (N, D) float32, memory-mapped.

    Raises:
        InputError: the folder holds no embeddings, or table and matrix disagree.
    """
    try:
        vectors = np.load(folder / f"{half}.npy", mmap_mode="r")
        photos = pd.read_csv(folder / f"{half}.csv", keep_default_na=False, dtype={"photo": str, "class_name": str})
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{folder} holds no embeddings: {error}") from None
    if vectors.ndim != 2 or len(vectors) != len(photos):
        raise InputError(f"{folder}: {half}.npy is {vectors.shape}, but {half}.csv has {len(photos)} rows")
    return photos, vectors


HALVES: tuple[Half, Half] = ("train", "test")
COLUMNS = ["image_id", "photo", "class_id", "class_name"]
