"""The embedded data set: drawn photos of invented birds in the layout of CUB-200-2011, with exact boxes.

Each photo shows one bird in its surroundings, in one of the poses of its kind, in any light, partly hidden now and then
and taken by an ordinary camera. Relatives differ in one mark, and an individual is not like the next; the backdrop says
little about the species.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.birds.anatomy import choose_pose
from sightline.birds.drawing import LINEAR, Cutout, Daylight, draw_bird
from sightline.birds.habitat import BACKDROPS, draw_cover, draw_perch, draw_trunk, make_daylight
from sightline.birds.plumage import Species, make_species
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.core.rendering import Array, Mask, fractal, overlap, photograph

ASPECTS = (4 / 3, 3 / 2, 1.0, 3 / 4, 5 / 4, 16 / 9, 2 / 3)
ASPECT_SHARES = (0.34, 0.2, 0.1, 0.12, 0.1, 0.06, 0.08)
LONGER_SIDES = (200, 261)
SMALLEST_VISIBLE = 0.62
SHORTEST_SIDE = 16


@dataclass(frozen=True)
class Scene:
    """A drawn photo: ``image`` (H, W, 3) uint8 RGB, and ``visible`` (H, W) bool, the pixels of the bird that show."""

    image: NDArray[np.uint8]
    visible: Mask

    @property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """Left, top, width and height in px of the smallest box around the visible pixels."""
        x, y, width, height = cv2.boundingRect(self.visible.astype(np.uint8))
        return float(x), float(y), float(width), float(height)


def draw_dataset(folder: Path, species: int, photos: int, seed: int, workers: int) -> None:
    """Draw ``photos`` photos of ``species`` species into ``folder``, laid out as CUB-200-2011 is.

    ``images.txt`` (id, path below images/), ``classes.txt`` (id, name), ``image_class_labels.txt`` (image id, class
    id), ``bounding_boxes.txt`` (image id, left, top, width, height in px) and ``images/001.Name_of_species/…jpg``.
    Classes have unlike numbers of photos, at least one each. The files do not depend on ``workers``.

    Raises:
        InputError: there are fewer photos than species, or no species.
    """
    if not 1 <= species <= photos:
        raise InputError(f"{photos} photos of {species} species: each species needs a photo")
    world = make_species(seed, species)
    owners = np.repeat(np.arange(species), _shares(seed, species, photos))
    folders = [f"{number + 1:03d}.{one.name}" for number, one in enumerate(world)]
    with replacing_folder(folder) as part:
        for name in folders:
            (part / "images" / name).mkdir(parents=True)
        paths = _paths(folders, owners, seed)
        draw = partial(_draw_photo, part / "images", world, owners, paths, seed)
        boxes = list(progress(map_ordered(draw, range(photos), workers), "drawing birds", photos, "photo"))
        numbers = range(1, photos + 1)
        _write(part / "images.txt", zip(numbers, paths, strict=True))
        _write(part / "classes.txt", zip(range(1, species + 1), folders, strict=True))
        _write(part / "image_class_labels.txt", zip(numbers, (owners + 1).tolist(), strict=True))
        _write(part / "bounding_boxes.txt", ((number, *box) for number, box in zip(numbers, boxes, strict=True)))


def draw_scene(species: Species, seed: int, index: int) -> Scene:
    """Draw photo ``index`` of the set ``seed``, with a bird of the given species: a pure function of the three."""
    rng = np.random.default_rng((seed, index))
    shape = _frame(rng)
    light, behind = make_daylight(rng)
    left = bool(rng.random() < 0.5)
    while True:
        pose = choose_pose(rng, species.shape)
        size = min(shape) * rng.uniform(0.5, 1.02)
        bird = draw_bird(rng, species, pose, light, size, left)
        at = _place(rng, bird, shape)
        scene = _Scene(rng, shape, light, behind)
        scene.set_up(pose.stance, bird, at, left)
        if scene.sound(bird):
            return Scene(photograph(rng, scene.picture), scene.cover > 0.5)


class _Scene:
    """The picture as it is built up, and how much of each pixel is bird."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], light: Daylight, behind: float):
        self.rng, self.shape, self.light, self.behind = rng, shape, light, behind
        self.lamp = light.ambient + light.key * np.float32(0.35 + 0.45 * max(0.0, float(light.towards[1])))
        self.picture: Array = np.zeros((*shape, 3), np.float32)
        self.cover: Array = np.zeros(shape, np.float32)

    def set_up(self, stance: str, bird: Cutout, at: tuple[int, int], left: bool) -> None:
        rng, shape = self.rng, self.shape
        feet = bird.feet + at
        ground = int(np.clip(feet[:, 1].max(), 0, 2 * shape[0]))
        backdrops = BACKDROPS[stance]
        albedo = backdrops[rng.integers(len(backdrops))](rng, shape, ground)
        far = rng.gamma(1.5, 0.8) * (stance in ("perched", "clinging", "flying"))
        if far > 0.3:
            albedo = cv2.GaussianBlur(albedo, (0, 0), far)
        behind = np.full((*shape, 1), self.behind, np.float32)
        if stance in ("perched", "clinging"):
            blank = albedo.copy()
            draw_perch(rng, albedo, feet) if stance == "perched" else draw_trunk(rng, albedo, feet, left)
            # What the bird sits on is in its light, not in that of the backdrop.
            behind[(albedo != blank).any(2)] = 1
        self.picture = cv2.LUT(albedo, LINEAR) * (self.lamp * behind)
        there, here = overlap(shape, bird.alpha.shape, *at)
        body, alpha = bird.light[here], bird.alpha[here]
        if stance == "swimming":
            line = np.clip(feet[0, 1] - np.arange(there[0].start, there[0].stop) + 0.5, 0, 1).astype(np.float32)
            self._mirror(bird, at, float(feet[0, 1]))
            body, alpha = body * line[:, None, None], alpha * line[:, None]
        if stance == "standing":
            self._shadow(feet, bird.alpha.shape[1])
        self.picture[there] = self.picture[there] * (1 - alpha[..., None]) + body
        self.cover[there] = alpha
        if rng.random() < 0.22 and alpha.max() > 0.5:
            self._hide(grassy=stance in ("standing", "swimming"))
        if rng.random() < 0.15 and stance not in ("flying", "swimming"):
            # The shade of leaves.
            dapple = np.clip(0.72 + 0.35 * fractal(rng, shape, rng.uniform(3, 8), 2), 0.35, 1.15)
            self.picture *= dapple[..., None]

    def sound(self, bird: Cutout) -> bool:
        """Whether enough of the bird shows to tell what it is."""
        seen = self.cover > 0.5
        if np.count_nonzero(seen) < SMALLEST_VISIBLE * np.count_nonzero(bird.alpha > 0.5):
            return False
        return min(cv2.boundingRect(seen.astype(np.uint8))[2:]) >= SHORTEST_SIDE

    def _mirror(self, bird: Cutout, at: tuple[int, int], line: float) -> None:
        """The bird upside down in the water, torn by ripples."""
        rng, (h, w) = self.rng, self.shape
        first = min(max(int(line), 0), h)
        if first >= h - 2:
            return
        sway = cv2.resize(rng.standard_normal(((h - first) // 3 + 2, 2), np.float32), (w, h - first))
        depth = np.arange(h - first, dtype=np.float32)[:, None]
        across = np.arange(w, dtype=np.float32) - at[0] + sway * rng.uniform(0.5, 4)
        down = line - first - depth * np.float32(1.1) + np.float32(first - at[1])
        down = np.broadcast_to(down, across.shape).astype(np.float32)
        layers = np.dstack([bird.light, bird.alpha])
        image = cv2.remap(layers, across.astype(np.float32), down, cv2.INTER_LINEAR)
        strength = rng.uniform(0.15, 0.75) * np.exp(-depth / rng.uniform(25, 90))[..., None]
        below = self.picture[first:]
        self.picture[first:] = below * (1 - image[..., 3:] * strength) + image[..., :3] * strength * 0.8

    def _shadow(self, feet: NDArray[np.float64], wide: int) -> None:
        share = np.zeros(self.shape, np.uint8)
        away = -self.light.towards[0] * 0.3 * wide
        centre = (round(float(feet[:, 0].mean() + away)), round(float(feet[:, 1].max())))
        cv2.ellipse(share, centre, (max(2, round(0.38 * wide)), max(1, round(0.06 * wide))), 0, 0, 360, 255, -1)
        soft = cv2.GaussianBlur(share, (0, 0), 1 + 8 * self.light.soft)
        dark = 0.6 * float((self.light.key / (self.light.key + self.light.ambient)).mean())
        self.picture *= 1 - np.float32(dark / 255) * soft[..., None]

    def _hide(self, grassy: bool) -> None:
        x, y, width, height = cv2.boundingRect((self.cover > 0.5).astype(np.uint8))
        front = draw_cover(self.rng, self.shape, (x, y, x + width, y + height), grassy)
        share = front[..., 3:].astype(np.float32) * np.float32(1 / 255)
        self.picture = (
            self.picture * (1 - share) + cv2.LUT(np.ascontiguousarray(front[..., :3]), LINEAR) * self.lamp * share
        )
        self.cover = self.cover * (1 - share[..., 0])


def _frame(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a photo."""
    longer = int(rng.integers(*LONGER_SIDES))
    aspect = ASPECTS[rng.choice(len(ASPECTS), p=ASPECT_SHARES)] * np.exp(rng.normal(0, 0.03))
    return (round(longer / aspect), longer) if aspect >= 1 else (longer, round(longer * aspect))


def _place(rng: np.random.Generator, bird: Cutout, shape: tuple[int, int]) -> tuple[int, int]:
    """Left and top of the bird's canvas: anywhere, rather in the middle, now and then a little out of the picture."""
    spots = []
    for room, need in zip(shape[::-1], bird.alpha.shape[::-1], strict=True):
        free = room - need
        spread = max(abs(free) / 2, 0.0) + (0.12 * need if rng.random() < 0.12 else 0.0)
        spots.append(round(free / 2 + spread * float(np.clip(rng.normal(0, 0.5), -1, 1))))
    return spots[0], spots[1]


def _shares(seed: int, species: int, photos: int) -> NDArray[np.int64]:
    """How many photos each species gets: some are met more often than others, each at least once."""
    weights = np.random.default_rng((seed, species, photos)).uniform(0.7, 1.3, species)
    wanted = 1 + weights / weights.sum() * (photos - species)
    counts = np.floor(wanted).astype(np.int64)
    rest = np.argsort(counts - wanted, kind="stable")[: photos - counts.sum()]
    counts[rest] += 1
    return np.asarray(counts)


def _paths(folders: list[str], owners: NDArray[np.int64], seed: int) -> list[str]:
    """``001.Sooty_capped_Tarrel/Sooty_Capped_Tarrel_0001_73192.jpg``: the photo's number of its class, then its own."""
    numbers = np.random.default_rng((seed, len(owners))).permutation(len(owners)) * 7 + 10000
    paths, seen = [], dict.fromkeys(folders, 0)
    for owner, number in zip(owners.tolist(), numbers.tolist(), strict=True):
        folder = folders[owner]
        seen[folder] += 1
        stem = "_".join(word.capitalize() for word in folder.split(".")[1].split("_"))
        paths.append(f"{folder}/{stem}_{seen[folder]:04d}_{number}.jpg")
    return paths


def _draw_photo(
    folder: Path, world: list[Species], owners: NDArray[np.int64], paths: list[str], seed: int, index: int
) -> tuple[float, float, float, float]:
    scene = draw_scene(world[owners[index]], seed, index)
    quality = int(np.random.default_rng((seed, index, 1)).integers(55, 96))
    _, jpeg = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    (folder / paths[index]).write_bytes(jpeg.tobytes())
    return scene.box_xywh


def _write(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
