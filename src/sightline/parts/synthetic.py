"""The embedded data set: drawn videos of bolts and nuts that fall through a workshop, with exact truth.

``draw_dataset`` writes the layout of the published challenge: ``images/<split>/*.mp4`` and
``annotations/instances_<split>.json``. A box is that of all of the part that is inside the frame, also of what another
part hides, as in the challenge; the mask (``segmentation``, compressed RLE) is what is seen of it. A part is annotated
as long as enough of it is in the frame and not hidden; each split has a workshop, a light and parts of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from sightline.core.files import replacing_folder, write_json
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress
from sightline.core.rendering import Mask
from sightline.parts.falling import Fall, plan_falls
from sightline.parts.hardware import FRAME, Sprite, render, window
from sightline.parts.params import Synthetic
from sightline.parts.scenery import Hidden, Scenery, make_scenery, put
from sightline.parts.video import VideoWriter

LABELS = ("bolt", "nut")
"""In the order of their category ids, which start at 1."""
EXPOSURE, STEPS = (0.1, 0.3), 5
"""Share of the time of a frame in which its light is gathered, and the moments that stand for it."""
LEAST_INSIDE, LEAST_SEEN = 22, 0.4
"""Annotated are parts with so many px of their height and width inside the frame (or half of them, if that is less),
of which such a share is not hidden."""
HIDE_EVERY = 24
"""One part in so many passes behind a bar."""
CRF = 23


Box = tuple[float, float, float, float]


class Seen(NamedTuple):
    """A part in a frame: the number of its fall, its box (x, y, w, h) and the mask of what is seen of it."""

    fall: int
    label: str
    box: Box
    mask: Mask


@dataclass(frozen=True)
class Film:
    """A video that can be drawn frame by frame, in any order. Made by :func:`make_film`."""

    size: int
    fps: int
    frames: int
    falls: list[Fall]
    scenery: Scenery
    exposure: float

    def draw(self, number: int) -> tuple[NDArray[np.uint8], list[Seen]]:
        """Frame ``number`` from 0, (size, size, 3) uint8 RGB, and what is annotated in it."""
        time = number / self.fps
        picture = self.scenery.behind(time)
        falling = sorted((fall.near, index) for index, fall in enumerate(self.falls) if fall.in_view(time))
        sprites = [(index, self._sprite(self.falls[index], time)) for _, index in falling]
        for index, sprite in sprites:
            put(picture, self._blurred(sprite, self.falls[index].speed(time)))
        bars = self.scenery.in_front(time)
        for bar in bars:
            put(picture, bar)
        self.scenery.illuminate(picture, time)
        self.scenery.add_glints(picture, time)
        covered = np.zeros(picture.shape[:2], np.bool_)
        for bar in bars:
            _cover(covered, bar)
        seen = []
        for index, sprite in reversed(sprites):
            whole = np.zeros_like(covered)
            _cover(whole, sprite)
            visible = whole & ~covered
            box = self._box(sprite)
            if box and np.count_nonzero(visible) >= LEAST_SEEN * np.count_nonzero(whole):
                seen.append(Seen(index, self.falls[index].part.label, box, visible))
            covered |= whole
        return self.scenery.develop(picture, number), sorted(seen, key=lambda part: part.fall)

    def _sprite(self, fall: Fall, time: float) -> Sprite:
        scale = self.size / FRAME
        x, y = fall.centre(time)
        return render(fall.part, fall.attitude(time), scale * fall.near, (x * scale, y * scale), self.scenery.light)

    def _blurred(self, sprite: Sprite, speed: tuple[float, float]) -> Sprite:
        """The mean of what is seen while the shutter is open; the part moves on, but turns no further."""
        way = np.array(speed) * (self.size / FRAME * self.exposure / self.fps)
        reach = int(np.ceil(np.abs(way).max() / 2)) + 1
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        point = np.zeros_like(kernel)
        point[reach, reach] = 1 / STEPS
        for moment in np.linspace(-0.5, 0.5, STEPS):
            shift = np.hstack([np.eye(2), (way * moment)[:, None]])
            kernel += cv2.warpAffine(point, shift, kernel.shape)
        light, cover = (cv2.filter2D(layer, -1, kernel) for layer in (sprite.light, sprite.cover))
        return sprite._replace(light=light, cover=cover)

    def _box(self, sprite: Sprite) -> Box | None:
        """The box in whole px of what of a part is inside the frame; None if that is too little."""
        there, here = window((self.size, self.size), sprite.mask.shape, sprite.left, sprite.top)
        inside = sprite.mask[here]
        if not inside.any():
            return None
        (top, height), (left, width) = (_extent(inside, axis) for axis in (1, 0))
        for shown, axis in ((height, 1), (width, 0)):
            if shown < min(LEAST_INSIDE * self.size / FRAME, _extent(sprite.mask, axis)[1] / 2):
                return None
        return float(left + there[1].start), float(top + there[0].start), float(width), float(height)


def draw_dataset(folder: Path, settings: Synthetic, threads: int) -> None:
    """Draw the videos that ``settings`` ask for into ``folder``; the files do not depend on ``threads``.

    What the detector learns from is cut into ``train_videos`` of equal length, each in a workshop of its own: from a
    single one it would learn the workshop too. More parts fall in them, since what takes time is to draw frames.
    """
    seconds = {"train": settings.train_seconds, "val": settings.val_seconds, "test": settings.test_seconds}
    with replacing_folder(folder) as part:
        for number, (split, length) in enumerate(seconds.items()):
            count = settings.train_videos if split == "train" else 1
            density = settings.train_parts_per_second if split == "train" else settings.parts_per_second
            names = [f"{split}-{take + 1:02d}" for take in range(count)] if count > 1 else [split]
            films = {
                name: make_film(settings, (number, take), length / count, density) for take, name in enumerate(names)
            }
            images, annotations = _shoot(films, part / "images" / split, threads)
            categories = [{"id": number, "name": label} for number, label in enumerate(LABELS, 1)]
            content = {
                "info": {"description": "Drawn nuts and bolts", "version": "1.0"},
                "licenses": [],
                "images": images,
                "annotations": annotations,
                "categories": categories,
            }
            write_json(part / "annotations" / f"instances_{split}.json", content)


def make_film(settings: Synthetic, number: tuple[int, ...], seconds: float, parts_per_second: float) -> Film:
    """The video ``number`` of the set; a video stays as it is when another one gets longer."""
    seed = (settings.seed, *number)
    falls = plan_falls((*seed, 0), seconds, parts_per_second, settings.nuts)
    rng = np.random.default_rng((*seed, 1))
    hidden = []
    for fall in falls[HIDE_EVERY // 2 :: HIDE_EVERY]:
        y = float(rng.uniform(200, 430))
        time = fall.time_at(y)
        hidden.append(Hidden(time, fall.centre(time)[0], y))
    scenery = make_scenery((*seed, 2), settings.frame_size, seconds, hidden)
    frames = max(1, round(seconds * settings.fps))
    return Film(settings.frame_size, settings.fps, frames, falls, scenery, float(rng.uniform(*EXPOSURE)))


def _shoot(films: Mapping[str, Film], folder: Path, threads: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the videos of a split; the images and annotations of its JSON, tracks numbered as they appear."""
    images: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    tracks: dict[tuple[str, int], int] = {}
    for name, film in films.items():
        # Where there are several videos, the folder in a file name says which.
        prefix = f"{name}/" if len(films) > 1 else ""
        drawn = map_ordered(film.draw, range(film.frames), threads)
        with VideoWriter(folder / f"{name}.mp4", film.size, film.size, film.fps, crf=CRF) as writer:
            for number, (picture, seen) in enumerate(progress(drawn, f"drawing {name}", film.frames, "frame")):
                writer.write(picture)
                image_id = len(images) + 1
                images.append(
                    {
                        "file_name": f"{prefix}{number:04d}.jpg",
                        "width": film.size,
                        "height": film.size,
                        "id": image_id,
                    }
                )
                for part in seen:
                    track = tracks.setdefault((name, part.fall), len(tracks) + 1)
                    entries.append(_entry(part, len(entries), image_id, track))
    return images, entries


def _entry(part: Seen, number: int, image_id: int, track: int) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(part.mask.astype(np.uint8)))
    return {
        "image_id": image_id,
        "category_id": LABELS.index(part.label) + 1,
        "segmentation": {"size": list(part.mask.shape), "counts": encoded["counts"].decode("ascii")},
        "bbox": list(part.box),
        "area": float(np.count_nonzero(part.mask)),
        "iscrowd": 0,
        "id": number,
        "track_id": track,
    }


def _extent(mask: Mask, axis: int) -> tuple[int, int]:
    """Where a mask starts and how far it reaches, seen along ``axis``."""
    filled = np.flatnonzero(mask.any(axis))
    return int(filled[0]), int(filled[-1] - filled[0] + 1)


def _cover(covered: Mask, sprite: Sprite) -> None:
    """Set in the frame what a sprite covers, in place."""
    there, here = window(covered.shape, sprite.cover.shape, sprite.left, sprite.top)
    covered[there] |= sprite.mask[here]
