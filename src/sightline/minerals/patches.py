"""Stage ``minerals-patches``: split the photos, then cut the patches that a detector would hand to the classifier.

Photos are shared out among train, val and test first, near-duplicates together; only then patches are cut, so that no
two splits know the same photo. Positives are the labelled boxes, exact and jittered; negatives are boxes that show none
of the classes, some of them hard: near a specimen, or where a region-proposal network would fire.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Sequence
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
    photos = read_photos(raw, classes)
    table = split_photos(photos, pd.read_csv(raw / "photos.csv", dtype={"hash": str}), classes, settings)
    pack = cut_patches(raw, photos, table["split"], settings, out, workers)
    write_csv(out / "split.csv", table)
    labels = (*classes, NONE) if (pack.manifest["label"] == NONE).any() else tuple(classes)
    write_png(sheet, _sheet(pack, labels))
    _write_examples(raw, pack, examples, settings.examples)
    write_json(summary, _summary(pack, table, labels))


def cut_patches(
    raw: Path, photos: Sequence["AnnotatedPhoto"], splits: Iterable[str], settings: Patches, out: Path, workers: int
) -> Pack:
    """Decode each photo once, in ``workers`` threads, and write the patches of all of them to the pack ``out``."""
    tasks = list(zip(photos, splits, strict=True))
    cut = partial(_cut_photo, raw, settings, _specimen_sizes(tasks))
    with progress(map_ordered(cut, tasks, workers), "cutting patches", len(tasks), "photo") as pieces:
        return write_pack(out, settings.patch_size, pieces)


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo with its boxes; ``labels`` has '' for boxes of unused classes, which are only kept clear of."""

    name: str
    width: int
    height: int
    boxes_xyxy: Boxes
    labels: tuple[str, ...]


def read_photos(raw: Path, classes: Sequence[str]) -> list[AnnotatedPhoto]:
    """The photos of ``raw`` with their boxes, as ``minerals-source`` wrote them down."""
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


def split_photos(
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


def _specimen_sizes(tasks: Sequence[tuple[AnnotatedPhoto, str]]) -> dict[str, NDArray[np.float64]]:
    """Widths and heights (n, 2) in pixels of each split's boxes, from which negatives draw their sizes."""
    sides: dict[str, list[Boxes]] = {split: [] for split in SPLITS}
    for photo, split in tasks:
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
    chosen = _positives(rng, photo, per_box, settings.min_iou)
    # A photo of background gives as many negatives as one with a single specimen.
    wanted = round(settings.negatives.per_positive * max(len(chosen), per_box))
    chosen += _negatives(rng, photo, image, sizes[split], wanted, settings)
    patches = np.empty((len(chosen), settings.patch_size, settings.patch_size, 3), np.uint8)
    rows = []
    for patch, (label, kind, box) in zip(patches, chosen, strict=True):
        left, top, right, bottom = box
        patch[:] = fit_to_square(image[top:bottom, left:right], settings.patch_size)
        place = {"left": left, "top": top, "right": right, "bottom": bottom}
        rows.append({"photo": photo.name, "split": split, "label": label, "kind": kind, **place})
    return patches, rows


PixelBox = tuple[int, int, int, int]
Chosen = tuple[str, str, PixelBox]


def _positives(rng: np.random.Generator, photo: AnnotatedPhoto, per_box: int, min_iou: float) -> list[Chosen]:
    """Each box as it is, then jittered as a detector's would be, with at least ``min_iou`` to the true box."""
    labels = [label for label in photo.labels if label]
    true = photo.boxes_xyxy[[bool(label) for label in photo.labels]]
    exact = boxes.to_pixel_grid(true, photo.width, photo.height)
    shifts = rng.normal(0, JITTER, size=(len(true), per_box - 1, TRIES, 4))
    tried = true[:, None, None] + shifts * np.tile(true[:, 2:] - true[:, :2], 2)[:, None, None]
    grid = boxes.to_pixel_grid(tried.reshape(-1, 4), photo.width, photo.height).reshape(tried.shape)
    overlaps = boxes.iou(grid.reshape(-1, 4).astype(np.float64), true).reshape(*grid.shape[:3], len(true))
    own = np.arange(len(true))
    good = overlaps[own, :, :, own] >= min_iou
    first = np.take_along_axis(grid, good.argmax(2)[..., None, None], axis=2)[:, :, 0]
    # A box of a few pixels may have no neighbour on the grid that is good enough.
    jittered = np.where(good.any(2, keepdims=True), first, exact[:, None])
    chosen = []
    for label, box, near in zip(labels, exact.tolist(), jittered.tolist(), strict=True):
        chosen += [(label, "exact", tuple(box)), *((label, "jittered", tuple(other)) for other in near)]
    return chosen


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
    anywhere = _showing_none(photo, _candidates(rng, photo, sizes, count), settings)
    around = _showing_none(photo, _candidates_around(rng, photo, sizes, count), settings)
    touching = (boxes.intersections(around, photo.boxes_xyxy) > 0).any(1)
    striking = np.argsort(-_contrast_to_surround(image, photo.boxes_xyxy, anywhere), kind="stable")
    pools = {"near": around[touching], "busy": anywhere[striking], "random": anywhere}
    chosen: list[Chosen] = []
    for kind, upto in (("near", near), ("busy", near + busy), ("random", wanted)):
        for left, top, right, bottom in pools[kind].astype(int).tolist():
            if len(chosen) >= upto:
                break
            box = (left, top, right, bottom)
            if all(_iou(box, other) < MAX_IOU_AMONG_NEGATIVES for _, _, other in chosen):
                chosen.append((NONE, kind, box))
    return chosen


def _iou(one: PixelBox, other: PixelBox) -> float:
    """IoU of two boxes that are not empty: for a handful of pairs, where arrays would cost more than they save."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    sizes = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (sum(sizes) - common)


def _showing_none(photo: AnnotatedPhoto, candidates: Boxes, settings: Patches) -> Boxes:
    """Those candidates that keep clear enough of every box."""
    limits = settings.negatives
    common = boxes.intersections(candidates, photo.boxes_xyxy)
    own, theirs = boxes.areas(candidates), boxes.areas(photo.boxes_xyxy)
    clear = (common < limits.max_iou * (own[:, None] + theirs - common)) & (common <= limits.max_covered * theirs)
    return np.asarray(candidates[clear.all(1) & (common.sum(1) <= limits.max_filled * own)])


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
    beside one would stand out. A sample of the pixels, in rows and columns, has nearly the same means.
    """
    step = max(image.shape[0], image.shape[1]) // CONTRAST_SIDE + 1
    lab = cv2.cvtColor(image[::step, ::step], cv2.COLOR_RGB2LAB)
    height, width = lab.shape[:2]
    free = np.ones((height, width), np.uint8)
    for left, top, right, bottom in boxes.to_pixel_grid(specimens / step, width, height).tolist():
        free[top:bottom, left:right] = 0
    sums = cv2.integral(cv2.merge([*cv2.split(cv2.bitwise_and(lab, lab, mask=free)), free]))
    inner = candidates / step
    margin = (inner[:, 2:] - inner[:, :2]) * 0.25
    outer = np.concatenate([inner[:, :2] - margin, inner[:, 2:] + margin], axis=1)
    grid = boxes.to_pixel_grid(np.concatenate([inner, outer]), width, height)
    left, top, right, bottom = grid.T
    totals = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    inside, around = totals[: len(inner)], totals[len(inner) :] - totals[: len(inner)]
    means = [part[:, :3] / np.maximum(part[:, 3:], 1) for part in (inside, around)]
    seen = np.minimum(inside, around)[:, 3] > 0
    return np.where(seen, np.linalg.norm(means[0] - means[1], axis=1), 0.0)


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
TRIES = 16
CANDIDATES = 20
CONTRAST_SIDE = 128
MAX_IOU_AMONG_NEGATIVES = 0.5
SHEET_COLUMNS = 14
