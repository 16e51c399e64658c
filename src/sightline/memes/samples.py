"""Stage ``memes-samples``: near-duplicates together, then shared out among the splits, then packed for the network.

The unit of a split is a group of near-duplicates, whatever their labels: a repost is one picture, also where one copy
lies in a class's folder and the other among the unknown ones.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core.backbone import read_config
from sightline.core.errors import InputError
from sightline.core.files import sha256_of, write_json
from sightline.core.images import Pixels, fit_to_square, read_image
from sightline.core.leakage import check_leakage, group_duplicates
from sightline.core.packs import Pack, write_pack
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.core.sheets import contact_sheet, write_png
from sightline.core.splits import SPLITS, assign_splits, held_out, split_digest
from sightline.memes.params import UNKNOWN, Memes, Samples
from sightline.params import Runtime, load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    backbone: Annotated[Path, Option],
    out: Annotated[Path, Option],
    sheet: Annotated[Path, Option],
    summary: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`make_samples`."""
    memes = load("memes", Memes)
    make_samples(raw, backbone, memes.data.later, memes.samples, out, sheet, summary, load("runtime", Runtime).workers)


def make_samples(
    raw: Path,
    backbone: Path,
    later: str | None,
    settings: Samples,
    out: Path,
    sheet: Path,
    summary: Path,
    workers: int,
) -> None:
    """Split the pictures of ``raw`` (as ``memes-source`` leaves it) and pack them at the size of ``backbone``.

    Writes the pack ``out`` of all pictures, the contact ``sheet`` and the ``summary`` with counts and digests.

    Raises:
        InputError: too few independent pictures to split, or a leak between the splits.
    """
    photos = read_photos(raw / "photos.csv")
    table = split_photos(photos, later, settings)
    fit = partial(_read_square, raw / "images", read_config(backbone).size)
    with progress(map_ordered(fit, table["photo"], workers), "packing", len(table), "picture") as pictures:
        rows: Any = table.drop(columns="hash").to_dict("records")
        pieces = ((picture[None], [row]) for picture, row in zip(pictures, rows, strict=True))
        pack = write_pack(out, read_config(backbone).size, pieces)
    write_png(sheet, _sheet(pack))
    write_json(summary, _summary(table))


def read_photos(path: Path) -> pd.DataFrame:
    """Read ``photos.csv`` as ``memes-source`` writes it; ``hash`` becomes uint64, names and ``quality`` stay texts."""
    texts = dict.fromkeys(("photo", "label", "kind", "quality", "digest", "hash"), str)
    photos = pd.read_csv(path, keep_default_na=False, dtype=texts)
    return photos.assign(hash=np.array([int(digits, 16) for digits in photos["hash"]], dtype=np.uint64))


def split_photos(photos: pd.DataFrame, later: str | None, settings: Samples) -> pd.DataFrame:
    """The columns of ``photos`` with ``split`` and ``group`` after ``kind``.

    Splits are 'train', 'val', 'test' of the classes, 'unknown-val' (half), 'unknown-test', 'later-pool' (two thirds)
    and 'later-test'. A group with pictures of several labels lies on one side as a whole: its unknown pictures are in
    'unknown-test', and those of the later class in 'later-test', just if its known ones are in 'test'.

    Raises:
        InputError: there are too few independent pictures of a label.
    """
    groups = group_duplicates(photos["hash"], settings.near_duplicate_bits)
    labels, kinds = photos["label"].to_numpy(str), photos["kind"].to_numpy(str)
    side = np.full(len(photos), "", dtype="<U5")
    is_known = ~np.isin(labels, [UNKNOWN, later or UNKNOWN])
    known = np.flatnonzero(is_known)
    side[known] = assign_splits(
        labels[known],
        groups[known],
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        seed=settings.seed,
    )
    side_of = dict(zip(groups[known].tolist(), side[known].tolist(), strict=True))
    # The later class first: it is the smaller one, so that its share is met more nearly.
    for label, test_share in ((later, LATER_TEST), (UNKNOWN, UNKNOWN_TEST)):
        members = labels == label
        free = np.flatnonzero(members & ~np.isin(groups, list(side_of)))
        if len(free):
            _check_independent(str(label), groups[free], round(1 / test_share))
            tested = held_out(kinds[free], groups[free], test_share, settings.seed)
            side_of |= dict.fromkeys(groups[free].tolist(), "val") | dict.fromkeys(
                groups[free[tested]].tolist(), "test"
            )
        side[members] = [side_of[group] for group in groups[members].tolist()]
    split = side.astype("<U12")
    for label, names in ((later, ("later-pool", "later-test")), (UNKNOWN, ("unknown-val", "unknown-test"))):
        split[labels == label] = np.where(side[labels == label] == "test", names[1], names[0])
    _check_classes(labels, split, sorted(set(labels[is_known])))
    hashes, bits = photos["hash"], settings.near_duplicate_bits
    check_leakage(photos["photo"].tolist(), side, groups, photos["digest"], hashes, bits)
    table = photos.copy()
    table.insert(3, "split", split)
    table.insert(4, "group", groups)
    return table


def _check_independent(label: str, groups: NDArray[np.int64], needed: int) -> None:
    if (count := len(np.unique(groups))) < needed:
        raise InputError(f"{label}: {count} pictures that are no near-duplicates of others, at least {needed} needed")


def _check_classes(labels: NDArray[np.str_], split: NDArray[np.str_], classes: Sequence[str]) -> None:
    for name in SPLITS:
        if missing := [label for label in classes if not ((split == name) & (labels == label)).any()]:
            raise InputError(
                f"no picture of {', '.join(missing)} in the {name} split: more pictures of it are needed that are no "
                "near-duplicates of one another"
            )


def _read_square(folder: Path, size: int, name: str) -> Pixels:
    return fit_to_square(read_image(folder / name), size)


def _sheet(pack: Pack) -> Pixels:
    """Two rows a label, and a kind of unknown ones, taken evenly from all splits."""
    manifest = pack.manifest
    shown: list[Pixels | None] = []
    captions: list[str] = []
    titles = (manifest["kind"] + " " + manifest["label"]).str.strip().to_numpy(str)
    for title in sorted(set(titles), key=str.split):
        members = np.flatnonzero(titles == title)
        picked = members[np.linspace(0, len(members) - 1, min(2 * SHEET_COLUMNS, len(members))).astype(int)]
        padding = -len(picked) % SHEET_COLUMNS
        shown += [*(np.asarray(pack.images[row]) for row in picked), *[None] * padding]
        captions += [*(title for _ in picked), *[""] * padding]
    return contact_sheet(shown, captions, SHEET_COLUMNS)


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    sizes = table["group"].value_counts()
    together = table[table["group"].map(sizes) > 1]
    across = together.groupby("group")["label"].nunique() > 1
    counts = table.groupby(["split", "label"]).size()
    return {
        "pictures": {name: counts[name].to_dict() for name in sorted(set(table["split"]))},
        "kinds": table.loc[table["label"] == UNKNOWN, "kind"].value_counts().sort_index().to_dict(),
        "groups": len(sizes),
        "near_duplicates": {"pictures": len(together), "groups": len(across), "of_several_labels": int(across.sum())},
        "digests": {
            "photos": sha256_of(*sorted(table["digest"])),
            "split": split_digest(table["split"], table["digest"]),
        },
    }


LATER_TEST, UNKNOWN_TEST = 1 / 3, 1 / 2
SHEET_COLUMNS = 14
