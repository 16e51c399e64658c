"""Stage ``minerals-patches``: split the photos, then cut the patches that a detector would hand to the classifier.

Photos are shared out among train, val and test first, near-duplicates together; only then patches are cut, so that no
two splits know the same photo. Positives are the labelled boxes, exact and jittered; negatives are boxes that show none
of the classes, some of them hard: near a specimen, or where a region-proposal network would fire.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core import boxes
from sightline.core.boxes import Boxes
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, sha256_of, write_csv, write_json
from sightline.core.images import Pixels, fit_to_square, read_image
from sightline.core.leakage import check_leakage, group_duplicates
from sightline.core.packs import Pack, write_pack
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.core.sheets import contact_sheet, write_png
from sightline.core.splits import SPLITS, assign_splits, split_digest
from sightline.minerals.params import NONE, Minerals, Patches
from sightline.params import Runtime, load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    out: Annotated[Path, Option],
    examples: Annotated[Path, Option],
    sheet: Annotated[Path, Option],
    summary: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`make_patches`."""
    minerals = load("minerals", Minerals)
    workers = load("runtime", Runtime).workers
    make_patches(raw, minerals.data.classes, minerals.patches, out, examples, sheet, summary, workers)


def make_patches(
    raw: Path,
    classes: Sequence[str],
    settings: Patches,
    out: Path,
    examples: Path,
    sheet: Path,
    summary: Path,
    workers: int,
) -> None:
    """Cut the photos of ``raw`` (as ``minerals-source`` leaves it) into patches.

    Writes the pack ``out`` with its ``split.csv``, a folder of ``examples`` in the patches' own sizes from the test
    split, the contact ``sheet`` and the ``summary`` with counts and digests.

    Raises:
        InputError: too few photos to split, a class without a photo to train on, or a leak between the splits.
    """
    photos = _read_photos(raw, classes)
    table = _split(photos, pd.read_csv(raw / "photos.csv", dtype={"hash": str}), classes, settings)
    sizes = _specimen_sizes(photos, table)
    tasks = [(photo, split) for photo, split in zip(photos, table["split"], strict=True)]
    cut = partial(_cut_photo, raw, settings, sizes)
    with progress(map_ordered(cut, tasks, workers), "cutting patches", len(tasks), "photo") as pieces:
        pack = write_pack(out, settings.size, pieces)
    write_csv(out / "split.csv", table)
    labels = (*classes, NONE) if (pack.manifest["label"] == NONE).any() else tuple(classes)
    write_png(sheet, _sheet(pack, labels))
    _write_examples(raw, pack, examples, settings.examples)
    write_json(summary, _summary(pack, table, labels))


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo with its boxes; ``labels`` has '' for boxes of unused classes, which are only kept clear of."""

    name: str
    width: int
    height: int
    boxes_xyxy: Boxes
    labels: tuple[str, ...]


def _read_photos(raw: Path, classes: Sequence[str]) -> list[AnnotatedPhoto]:
    coco = read_json(raw / "annotations.json")
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in coco["images"]}
    for annotation in coco["annotations"]:
        found[annotation["image_id"]].append(annotation)
    photos = []
    for image in coco["images"]:
        annotations = found[image["id"]]
        xywh = np.array([annotation["bbox"] for annotation in annotations], dtype=np.float64).reshape(-1, 4)
        labels = (names[annotation["category_id"]] for annotation in annotations)
        photos.append(
            AnnotatedPhoto(
                image["file_name"],
                image["width"],
                image["height"],
                np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
                tuple(label if label in classes else "" for label in labels),
            )
        )
    return photos


def _split(
    photos: Sequence[AnnotatedPhoto], looks: pd.DataFrame, classes: Sequence[str], settings: Patches
) -> pd.DataFrame:
    """One row a photo: photo, split, group (near-duplicates share one), digest, hash."""
    hashes = np.array([int(text, 16) for text in looks["hash"]], dtype=np.uint64)
    groups = group_duplicates(hashes, settings.near_duplicate_bits)
    # What is kept in proportion are boxes; a photo without any counts as one of none of the classes.
    members = [(row, label) for row, photo in enumerate(photos) for label in photo.labels or (NONE,)]
    rows = np.array([row for row, _ in members])
    labels = np.array([label or NONE for _, label in members])
    splits = assign_splits(
        labels,
        groups[rows],
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        seed=settings.seed,
    )
    split = np.full(len(photos), "train", dtype="<U5")
    split[rows] = splits
    for name in SPLITS:
        if missing := [label for label in classes if not (labels[splits == name] == label).any()]:
            message = f"no photo of {', '.join(missing)} in the {name} split: more photos of it are needed"
            if name == "train":
                raise InputError(message)
            say(f"warning: {message}")
    names = [photo.name for photo in photos]
    check_leakage(names, split, groups, looks["digest"], hashes, settings.near_duplicate_bits)
    return pd.DataFrame(
        {"photo": names, "split": split, "group": groups, "digest": looks["digest"], "hash": looks["hash"]}
    )


def _specimen_sizes(photos: Sequence[AnnotatedPhoto], table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Widths and heights (n, 2) in pixels of each split's boxes, from which negatives draw their sizes."""
    sides: dict[str, list[Boxes]] = {split: [] for split in SPLITS}
    for photo, split in zip(photos, table["split"], strict=True):
        used = np.array([bool(label) for label in photo.labels], dtype=bool)
        sides[split].append((photo.boxes_xyxy[:, 2:] - photo.boxes_xyxy[:, :2])[used])
    return {split: np.concatenate(parts) for split, parts in sides.items() if parts}


def _cut_photo(
    raw: Path, settings: Patches, sizes: dict[str, NDArray[np.float64]], task: tuple[AnnotatedPhoto, str]
) -> tuple[Pixels, list[dict[str, Any]]]:
    photo, split = task
    image = read_image(raw / photo.name)
    # By name, so that what is drawn for a photo does not depend on which others there are.
    name_key = int.from_bytes(hashlib.sha256(photo.name.encode()).digest()[:8], "little")
    rng = np.random.default_rng((settings.seed, name_key))
    per_box = getattr(settings.per_box, split)
    chosen = [*_positives(rng, photo, per_box, settings.min_iou)]
    # A photo of background gives as many negatives as one with a single specimen.
    wanted = round(settings.negatives.per_positive * max(len(chosen), per_box))
    chosen += _negatives(rng, photo, image, sizes[split], wanted, settings)
    patches = np.empty((len(chosen), settings.size, settings.size, 3), np.uint8)
    rows = []
    for patch, (label, kind, box) in zip(patches, chosen, strict=True):
        left, top, right, bottom = box
        patch[:] = fit_to_square(image[top:bottom, left:right], settings.size)
        place = {"left": left, "top": top, "right": right, "bottom": bottom}
        rows.append({"photo": photo.name, "split": split, "label": label, "kind": kind, **place})
    return patches, rows


Chosen = tuple[str, str, tuple[int, int, int, int]]


def _positives(rng: np.random.Generator, photo: AnnotatedPhoto, per_box: int, min_iou: float) -> Iterator[Chosen]:
    """Each box as it is, then jittered as a detector's would be, with at least ``min_iou`` to the true box."""
    for label, box in zip(photo.labels, photo.boxes_xyxy, strict=True):
        if not label:
            continue
        exact = boxes.to_pixel_grid(box[None], photo.width, photo.height)
        yield label, "exact", tuple(exact[0].tolist())
        sides = np.tile(box[2:] - box[:2], 2)
        shifts = rng.normal(0, JITTER, size=(per_box - 1, TRIES, 4)) * sides
        for candidates in box + shifts:
            clipped = boxes.clip(candidates, photo.width, photo.height)
            grid = boxes.to_pixel_grid(clipped, photo.width, photo.height)
            good = boxes.iou(grid.astype(np.float64), box[None])[:, 0] >= min_iou
            # A box of a few pixels may have no neighbour on the grid that is good enough.
            yield label, "jittered", tuple((grid[good.argmax()] if good.any() else exact[0]).tolist())


def _negatives(
    rng: np.random.Generator,
    photo: AnnotatedPhoto,
    image: Pixels,
    sizes: NDArray[np.float64],
    wanted: int,
    settings: Patches,
) -> list[Chosen]:
    """Up to ``wanted`` boxes that show none of the classes; fewer where the photo has no room for them.

    A box with an IoU between ``negatives.max_iou`` and ``min_iou`` is neither positive nor negative. A small IoU alone
    is not enough: a patch cut from the middle of a large specimen has one too, and shows nothing but the mineral. So a
    negative may cover little of any box and may be filled by boxes only in part.
    """
    if not wanted:
        return []
    limits = settings.negatives
    near = round(wanted * limits.near_share)
    busy = round(wanted * limits.busy_share)
    # Where few are wanted, there must still be a box among the candidates that fits the one thing that stands out.
    count = CANDIDATES * max(wanted, 10)
    anywhere = _candidates(rng, photo, sizes, count)
    anywhere = anywhere[_shows_none(photo, anywhere, settings)]
    around = _candidates_around(rng, photo, sizes, count)
    around = around[_shows_none(photo, around, settings)]
    touching = (boxes.intersections(around, photo.boxes_xyxy) > 0).any(1)
    striking = np.argsort(-_contrast_to_surround(image, photo.boxes_xyxy, anywhere), kind="stable")
    pools = {"near": around[touching], "busy": anywhere[striking], "random": anywhere}
    chosen: list[Chosen] = []
    taken = np.empty((0, 4))
    for kind, upto in (("near", near), ("busy", near + busy), ("random", wanted)):
        for box in pools[kind]:
            if len(chosen) >= upto:
                break
            if boxes.iou(box[None], taken).max(initial=0) < MAX_IOU_AMONG_NEGATIVES:
                left, top, right, bottom = map(int, box)
                chosen.append((NONE, kind, (left, top, right, bottom)))
                taken = np.concatenate([taken, box[None]])
    return chosen


def _shows_none(photo: AnnotatedPhoto, candidates: Boxes, settings: Patches) -> NDArray[np.bool_]:
    if not len(photo.boxes_xyxy):
        return np.ones(len(candidates), dtype=bool)
    common = boxes.intersections(candidates, photo.boxes_xyxy)
    limits = settings.negatives
    return np.asarray(
        (boxes.iou(candidates, photo.boxes_xyxy) < limits.max_iou).all(1)
        & (common / boxes.areas(photo.boxes_xyxy) <= limits.max_covered).all(1)
        & (common.sum(1) / boxes.areas(candidates) <= limits.max_filled)
    )


def _candidates(rng: np.random.Generator, photo: AnnotatedPhoto, sizes: NDArray[np.float64], count: int) -> Boxes:
    """Boxes anywhere in the photo, (n, 4) on the pixel grid, with the sides of the split's specimens."""
    sides = _fitting_sides(rng, photo, sizes, count)
    top_left = rng.uniform(0, 1, (count, 2)) * (np.array([photo.width, photo.height]) - sides)
    return _on_grid(photo, np.concatenate([top_left, top_left + sides], axis=1))


def _candidates_around(
    rng: np.random.Generator, photo: AnnotatedPhoto, sizes: NDArray[np.float64], count: int
) -> Boxes:
    """Boxes that lie across the border of some specimen, as a badly placed proposal does."""
    if not len(photo.boxes_xyxy):
        return np.empty((0, 4))
    box = photo.boxes_xyxy[rng.integers(len(photo.boxes_xyxy), size=count)]
    sides = _fitting_sides(rng, photo, sizes, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = (box[:, 2:] - box[:, :2] + sides) / 2 * rng.uniform(0.5, 1.0, (count, 1))
    centre = (box[:, :2] + box[:, 2:]) / 2 + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.sqrt(2)
    inside = np.clip(centre - sides / 2, 0, np.array([photo.width, photo.height]) - sides)
    return _on_grid(photo, np.concatenate([inside, inside + sides], axis=1))


def _fitting_sides(
    rng: np.random.Generator, photo: AnnotatedPhoto, sizes: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    if not len(sizes):
        sizes = np.array([[photo.width, photo.height]]) / 4
    sides = sizes[rng.integers(len(sizes), size=count)] * rng.uniform(0.8, 1.25, (count, 1))
    return np.asarray(np.minimum(sides, np.array([photo.width, photo.height])))


def _on_grid(photo: AnnotatedPhoto, candidates: Boxes) -> Boxes:
    return boxes.to_pixel_grid(candidates, photo.width, photo.height).astype(np.float64)


def _contrast_to_surround(image: Pixels, specimens: Boxes, candidates: Boxes) -> NDArray[np.float64]:
    """How far each box's mean colour is from that of the frame around it, (n,), in CIELAB.

    A cheap stand-in for a proposal network's objectness ('color contrast', Alexe et al., "What is an object?", CVPR
    2010): it finds the unlabelled rocks that a detector would propose. Pixels of specimens count nowhere, or every box
    beside one would stand out.
    """
    height, width = image.shape[:2]
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    free = np.ones((height, width, 1), np.uint8)
    for left, top, right, bottom in boxes.to_pixel_grid(specimens, width, height):
        free[top:bottom, left:right] = 0
    sums = cv2.integral(np.concatenate([lab * free, free], axis=2), sdepth=cv2.CV_64F)
    outer = boxes.clip(
        candidates + np.tile((candidates[:, 2:] - candidates[:, :2]) * 0.25, 2) * [-1, -1, 1, 1], width, height
    )

    def total(box: Boxes) -> tuple[Boxes, Boxes]:
        left, top, right, bottom = np.round(box).astype(int).T
        value = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return value[:, :3], value[:, 3:]

    inner_sum, inner_area = total(candidates)
    outer_sum, outer_area = total(outer)
    frame_sum, frame_area = outer_sum - inner_sum, outer_area - inner_area
    difference = inner_sum / np.maximum(inner_area, 1) - frame_sum / np.maximum(frame_area, 1)
    seen = np.minimum(inner_area, frame_area)[:, 0] > 0
    return np.where(seen, np.linalg.norm(difference, axis=1), 0.0)


def _sheet(pack: Pack, labels: Sequence[str]) -> Pixels:
    """Two rows of training patches a label, taken evenly from the whole split."""
    rows = pack.rows("train")
    shown, captions = [], []
    for label in labels:
        members = rows[(pack.manifest["label"].to_numpy()[rows] == label)]
        picked = members[np.linspace(0, len(members) - 1, min(2 * SHEET_COLUMNS, len(members))).astype(int)]
        padding = [None] * (2 * SHEET_COLUMNS - len(picked))
        shown += [pack.images[row] for row in picked] + padding
        captions += [f"{label}, {pack.manifest['kind'][row]}" for row in picked] + [""] * len(padding)
    return contact_sheet(shown, captions, SHEET_COLUMNS)


def _write_examples(raw: Path, pack: Pack, target: Path, count: int) -> None:
    """Test patches as files of their own sizes, like those that a detector hands over, plus those of the data set."""
    rows = pack.rows("test")
    picked = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)] if len(rows) else rows
    with replacing_folder(target) as part:
        for row in picked:
            entry = pack.manifest.loc[row]
            image = read_image(raw / entry["photo"])
            patch = image[entry["top"] : entry["bottom"], entry["left"] : entry["right"]]
            label = re.sub(r"[^\w-]+", "-", entry["label"])
            write_png(part / f"{row:05d}_{label}.png", patch)
        if (raw / "examples").is_dir():
            shutil.copytree(raw / "examples", part / "official")


def _summary(pack: Pack, table: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    counts = pack.manifest.groupby(["split", "label"]).size()
    return {
        "photos": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "patches": {split: {label: int(counts.get((split, label), 0)) for label in labels} for split in SPLITS},
        "kinds": {str(kind): int(count) for kind, count in pack.manifest["kind"].value_counts().sort_index().items()},
        "digests": {
            "photos": sha256_of(*sorted(table["digest"])),
            "split": split_digest(table["split"], table["digest"]),
        },
    }


JITTER = 0.09
TRIES = 64
CANDIDATES = 40
MAX_IOU_AMONG_NEGATIVES = 0.5
SHEET_COLUMNS = 14
