"""The embedded data set: drawn photos of mineral specimens with exact boxes.

A photo shows one to five specimens of the seven minerals among stones that look like them and are not annotated, on a
backdrop that says nothing about the class, partly hidden, in the light of one lamp and through an ordinary camera.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.files import replacing_folder, write_json
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.core.rendering import (
    Array,
    Light,
    Mask,
    Surface,
    as_rgb,
    as_row,
    make_light,
    normals_of,
    overlap,
    photograph,
    shade,
    shadow_of,
)
from sightline.minerals.props import BACKDROPS, OCCLUDERS
from sightline.minerals.rocks import LOOKALIKES, MINERALS, Painter

CLASSES = tuple(MINERALS)
SIZES = ((640, 480), (480, 640), (800, 600), (512, 512), (720, 480), (600, 450))
SIZE_SHARES = (0.5, 0.12, 0.12, 0.1, 0.08, 0.08)
SHORTEST_SIDE = 24
LONGEST_SIDES = (52, 260)
SMALLEST_VISIBLE = 0.6
TRIES = 30


@dataclass(frozen=True)
class Scene:
    """A drawn photo and its truth.

    ``image`` is (H, W, 3) uint8 RGB. ``boxes_xywh`` are (x, y, width, height) in px and hold exactly the visible pixels
    of their specimen, which ``instances`` (H, W) uint8 marks with its index + 1 (0: no specimen). ``labels`` name the
    mineral in each box. At least 60 % of every specimen is visible and no box side is below 24 px.
    """

    image: NDArray[np.uint8]
    boxes_xywh: list[tuple[float, float, float, float]]
    labels: list[str]
    instances: NDArray[np.uint8]


def draw_dataset(folder: Path, photos: int, seed: int, workers: int) -> None:
    """Draw ``photos`` scenes into ``folder``: ``images/0001.jpg`` … and ``annotations.json`` (COCO, categories 1 … 7).

    Photo number i + 1 depends on ``seed`` and i alone, not on ``photos`` or ``workers``. The mineral of its first
    specimen is ``CLASSES[i % 7]``, so that small sets have every class as well.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with replacing_folder(folder) as part:
        (part / "images").mkdir()
        draw = partial(_draw_photo, part / "images", seed)
        with progress(map_ordered(draw, range(photos), workers), "drawing photos", photos, "photo") as bar:
            for image, specimens in bar:
                images.append(image)
                for specimen in specimens:
                    annotations.append({"id": len(annotations) + 1, **specimen})
        categories = [{"id": CLASSES.index(name) + 1, "name": name, "supercategory": "mineral"} for name in CLASSES]
        write_json(part / "annotations.json", {"images": images, "annotations": annotations, "categories": categories})


def draw_scene(seed: int, index: int) -> Scene:
    """Draw photo ``index`` of the set ``seed``: a pure function of both."""
    rng = np.random.default_rng((seed, index))
    light = make_light(rng)
    width, height = SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)]
    backdrop = BACKDROPS[rng.integers(len(BACKDROPS))](rng, (height, width))
    table = _Table(rng, light, shade(backdrop, light, width / 2))
    for label, painter in _choose_stones(rng, CLASSES[index % len(CLASSES)]):
        table.put(label, painter)
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.4, 0.4, 0.15, 0.05])):
        table.hide_part()
    boxes = [_box_of(table.owner == number) for number in table.labels]
    instances = np.zeros((height, width), np.uint8)
    for position, number in enumerate(table.labels):
        instances[table.owner == number] = position + 1
    return Scene(photograph(rng, table.picture), boxes, list(table.labels.values()), instances)


def _draw_photo(folder: Path, seed: int, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    scene = draw_scene(seed, index)
    name = f"{index + 1:04d}.jpg"
    quality = int(np.random.default_rng((seed, index, 1)).integers(60, 97))
    _, jpeg = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    (folder / name).write_bytes(jpeg.tobytes())
    height, width = scene.image.shape[:2]
    specimens = [
        {
            "image_id": index + 1,
            "category_id": CLASSES.index(label) + 1,
            "bbox": list(box),
            "area": int(np.count_nonzero(scene.instances == position + 1)),
            "iscrowd": 0,
        }
        for position, (label, box) in enumerate(zip(scene.labels, scene.boxes_xywh, strict=True))
    ]
    return {"id": index + 1, "file_name": name, "width": width, "height": height}, specimens


def _choose_stones(rng: np.random.Generator, first: str) -> list[tuple[str | None, Painter]]:
    """Specimens (the required one first, so that it finds room) and unlabelled look-alikes in random order."""
    others = rng.choice(CLASSES, rng.choice(5, p=[0.05, 0.1, 0.2, 0.3, 0.35]))
    specimens: list[tuple[str | None, Painter]] = [(str(name), MINERALS[str(name)]) for name in (first, *others)]
    strangers = [(None, LOOKALIKES[k]) for k in rng.integers(0, len(LOOKALIKES), rng.integers(1, 4))]
    rest = [*specimens[1:], *strangers]
    return [specimens[0], *(rest[k] for k in rng.permutation(len(rest)))]


class _Table:
    """The picture as it is built up: what lies where, and how much of each stone is still to be seen.

    ``owner`` (H, W) int32 has the number of the stone seen at each pixel (0: none), ``whole`` the pixels that each
    stone would show if nothing lay on it, ``labels`` the mineral of those that are one.
    """

    def __init__(self, rng: np.random.Generator, light: Light, picture: Array):
        self.rng = rng
        self.light = light
        self.picture = picture
        self.owner: NDArray[np.int32] = np.zeros(picture.shape[:2], np.int32)
        self.whole: dict[int, int] = {}
        self.labels: dict[int, str] = {}
        self.scale = min(self.owner.shape) * np.exp(rng.normal(np.log(0.27), 0.25))

    def put(self, label: str | None, painter: Painter) -> None:
        """Lay a stone where it leaves enough of the others in sight; where there is no room, leave it out.

        The first stone always has room.
        """
        wanted = self.scale * np.exp(self.rng.normal(0, 0.25))
        surface = painter(self.rng, round(min(wanted, 220) * 1.65))
        wide, high = _size(_extent(surface.inside))
        slender = max(wide, high) / min(wide, high)
        longest = float(np.clip(wanted, max(LONGEST_SIDES[0], SHORTEST_SIDE * 1.15 * slender), LONGEST_SIDES[1]))
        cutout = _cut_out(surface, self.light, longest)
        rows, columns = _extent(cutout.mask)
        height, width = self.picture.shape[:2]
        number = len(self.whole) + 1
        whole = {**self.whole, number: int(np.count_nonzero(cutout.mask))}
        for _ in range(TRIES):
            left = int(self.rng.integers(2, width - 2 - (columns.stop - columns.start))) - columns.start
            top = int(self.rng.integers(2, height - 2 - (rows.stop - rows.start))) - rows.start
            owner = _with_mask(self.owner, cutout.mask, left, top, number)
            if _enough_visible(owner, whole):
                self.owner, self.whole = owner, whole
                if label:
                    self.labels[number] = label
                _composite(self.picture, cutout, left, top, self.light)
                return

    def hide_part(self) -> None:
        """Lay some thing over the edge of a stone; leave it out where it would hide too much or nothing."""
        stone = int(self.rng.choice(list(self.whole)))
        rows, columns = _extent(self.owner == stone)
        size = max(_size((rows, columns)))
        longest = float(np.clip(size * self.rng.uniform(0.8, 1.8), 60, 300))
        surface = OCCLUDERS[self.rng.integers(len(OCCLUDERS))](self.rng, round(longest * 1.1))
        cutout = _cut_out(surface, self.light, longest)
        seen = np.count_nonzero(self.owner == stone)
        for _ in range(TRIES):
            turn, away = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.25, 0.8) * size
            left = round((columns.start + columns.stop - cutout.mask.shape[1]) / 2 + away * np.cos(turn))
            top = round((rows.start + rows.stop - cutout.mask.shape[0]) / 2 + away * np.sin(turn))
            owner = _with_mask(self.owner, cutout.mask, left, top, 0)
            hides = seen - np.count_nonzero(owner == stone) > 0.04 * seen
            if hides and _enough_visible(owner, self.whole):
                self.owner = owner
                _composite(self.picture, cutout, left, top, self.light)
                return


@dataclass(frozen=True)
class _Cutout:
    """A rendered stone with a margin for its shadow, each layer (h, w) or (h, w, 3) float32.

    ``light`` it sends (times ``alpha``, the share of the pixel it covers), ``shadow`` on it and around it, ``clear``
    the share of light from beneath that comes through, coloured by ``tint`` and displaced by ``bend`` (h, w, 2) px.
    """

    light: Array
    alpha: Array
    shadow: Array
    clear: Array
    tint: Array
    bend: Array

    @property
    def mask(self) -> Mask:
        return np.asarray(self.alpha > 0.5)


def _cut_out(surface: Surface, light: Light, longest: float) -> _Cutout:
    """Render a surface and scale it so that the longer side of its mask has ``longest`` px."""
    window = _extent(surface.inside)
    size = _size(window)
    target = [round(n * longest / max(size)) for n in size]
    inside = surface.inside[window]
    scale = surface.inside.shape[1] / 2
    height = np.where(inside, surface.height[window], 0).astype(np.float32)
    gloss, metal, clear = (
        np.broadcast_to(np.asarray(value, np.float32), surface.inside.shape)[window]
        for value in (surface.gloss, surface.metal, surface.clear)
    )
    # Shadows are soft: they are computed at the final size, with room around the stone to fall on.
    margin = round(longest / 2)
    small_scale = scale * longest / max(size)
    small_height = _pad(cv2.resize(height, target, interpolation=cv2.INTER_AREA), margin)
    shadow = shadow_of(small_height, light, small_scale)
    on_itself = cv2.resize(shadow[margin:-margin, margin:-margin], size, interpolation=cv2.INTER_LINEAR)
    lit = shade(Surface(height, inside, surface.colour[window], gloss, metal, clear), light, scale, on_itself)
    normal = normals_of(cv2.GaussianBlur(small_height, (0, 0), 0.8), small_scale)
    bend = normal[..., :2] * (small_height * (-0.6 * small_scale))[..., None]
    # Canvas and photo have about the same resolution: without this, straight crystal edges would show steps.
    cover = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)
    alpha, clear, lit, tint = (
        _pad(cv2.resize(layer, target, interpolation=cv2.INTER_AREA), margin)
        for layer in (cover, clear * cover, lit * as_rgb(cover), surface.colour[window])
    )
    return _Cutout(lit, alpha, shadow, clear, tint, bend)


def _composite(picture: Array, cutout: _Cutout, left: int, top: int, light: Light) -> None:
    """Lay a cut-out over the picture, in place: first its shadow, then what shines through it, then its own light."""
    there, here = overlap(picture.shape[:2], cutout.alpha.shape, left, top)
    under, alpha = picture[there].copy(), cutout.alpha[here]
    opaque = 1 - 0.6 * float(cutout.clear.sum() / cutout.alpha.sum())
    lamp = light.key * light.towards[2]
    contact = cv2.GaussianBlur(cutout.alpha, (0, 0), max(1.0, 0.03 * cutout.alpha.shape[1]))[here]
    ground = 1 - as_row(lamp / (lamp + light.ambient), alpha) * as_rgb(opaque * cutout.shadow[here])
    ground *= under
    ground *= as_rgb(1 - 0.45 * opaque * contact)
    ground *= as_rgb(1 - alpha)
    ground += cutout.light[here]
    picture[there] = ground
    if cutout.clear.any():
        bend, (height, width) = cutout.bend[here], alpha.shape
        at_x = bend[..., 0] + np.arange(width, dtype=np.float32)
        at_y = bend[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        behind: Array = cv2.remap(under, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        behind *= cutout.tint[here]
        behind *= as_rgb(cutout.clear[here])
        picture[there] += behind


def _enough_visible(owner: NDArray[np.int32], whole: dict[int, int]) -> bool:
    for number, pixels in whole.items():
        seen = owner == number
        if np.count_nonzero(seen) < SMALLEST_VISIBLE * pixels or min(_size(_extent(seen))) < SHORTEST_SIDE:
            return False
    return True


def _box_of(mask: Mask) -> tuple[float, float, float, float]:
    rows, columns = _extent(mask)
    return float(columns.start), float(rows.start), float(columns.stop - columns.start), float(rows.stop - rows.start)


def _extent(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the smallest window that holds all of a mask, which is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _size(window: tuple[slice, slice]) -> tuple[int, int]:
    rows, columns = window
    return columns.stop - columns.start, rows.stop - rows.start


def _pad(layer: Array, margin: int) -> Array:
    width = ((margin, margin), (margin, margin), (0, 0))
    return np.pad(layer, width[: layer.ndim])


def _with_mask(owner: NDArray[np.int32], mask: Mask, left: int, top: int, number: int) -> NDArray[np.int32]:
    there, here = overlap(owner.shape, mask.shape, left, top)
    changed = owner.copy()
    changed[there][mask[here]] = number
    return changed
