"""Thousands of small pictures in one file: ``images.npy`` (N, S, S, 3) uint8 RGB and ``manifest.csv``, row by row.

A folder of 30,000 crops costs DVC seconds at every look; a pack is two files, and reading a row of it is a memory map's
page fault instead of opening and decoding a file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv
from sightline.core.images import Pixels

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pack:
    """A packed image set: ``images`` (N, S, S, 3) uint8 RGB, memory-mapped; ``manifest`` has one row for each."""

    images: NDArray[np.uint8]
    manifest: pd.DataFrame

    def __len__(self) -> int:
        return len(self.manifest)

    def rows(self, split: str) -> NDArray[np.int64]:
        """The row numbers of one split, ascending."""
        return np.flatnonzero((self.manifest["split"] == split).to_numpy())


def pack_files(folder: Path) -> list[Path]:
    """The files that a pack consists of."""
    return [folder / "images.npy", folder / "manifest.csv"]


def open_pack(folder: Path) -> Pack:
    """Open a pack without reading its pixels.

    Raises:
        InputError: the folder holds no pack, or its two files disagree.
    """
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        manifest = pd.read_csv(folder / "manifest.csv", keep_default_na=False, dtype=dict.fromkeys(TEXTS, str))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{folder} holds no packed images: {error}") from None
    if len(images) != len(manifest):
        raise InputError(f"{folder}: {len(images)} images but {len(manifest)} rows in its manifest")
    return Pack(images, manifest)


def write_pack(folder: Path, size: int, pieces: Iterable[tuple[Pixels, Sequence[Row]]]) -> Pack:
    """Write pieces, each (n, size, size, 3) uint8 with n rows, one after the other, and open the result.

    The pack appears whole or not at all; memory holds one piece at a time.

    Raises:
        ValueError: pictures and rows do not fit, or a column that is none of :data:`TEXTS` holds texts, which might
            look like numbers when they are read.
    """
    rows: list[Row] = []
    with replacing_folder(folder) as part:
        with (part / "images.npy").open("wb") as file:
            file.write(_npy_header(0, size))
            for images, piece_rows in pieces:
                if images.shape != (len(piece_rows), size, size, 3) or images.dtype != np.uint8:
                    raise ValueError(f"a piece of shape {images.shape} {images.dtype} for {len(piece_rows)} rows")
                file.write(np.ascontiguousarray(images).data)
                rows.extend(piece_rows)
            _rewrite_header(file, len(rows), size)
        manifest = pd.DataFrame(rows)
        numbers = manifest.drop(columns=list(TEXTS), errors="ignore")
        if texts := [str(name) for name in numbers.select_dtypes(exclude=["number", "bool"])]:
            raise ValueError(f"columns {', '.join(texts)} hold texts and are not in sightline.core.packs.TEXTS")
        write_csv(part / "manifest.csv", manifest)
    return open_pack(folder)


def _npy_header(count: int, size: int) -> bytes:
    header = BytesIO()
    layout = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    # The format leaves room in the header for the first axis to grow, so that its length does not change.
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


def _rewrite_header(file: BinaryIO, count: int, size: int) -> None:
    header = _npy_header(count, size)
    if len(header) != len(_npy_header(0, size)):
        raise ValueError(f"the header of {count} images does not fit its place")
    file.seek(0)
    file.write(header)


TEXTS = frozenset({"photo", "split", "label", "kind", "digest", "quality", "role", "person", "name", "set", "emotion"})
"""Columns of manifests that hold texts, whatever they look like: a class may be called 'NA', a person '007'."""
