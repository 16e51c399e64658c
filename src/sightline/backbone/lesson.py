"""All pictures that a network is pretrained on: so many of each drawn class, things first, then worlds."""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sightline.backbone.designs import design_class
from sightline.backbone.drawing import draw_picture
from sightline.backbone.worlds import design_world, draw_world
from sightline.core.images import Pixels
from sightline.core.packs import Pack, Row, write_pack
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress


class Kinds(NamedTuple):
    """How many classes of each kind there are; labels count through things, then through worlds."""

    things: int
    worlds: int


def draw_pack(folder: Path, kinds: Kinds, pictures: int, val_share: float, size: int, seed: int, workers: int) -> Pack:
    """Draw ``pictures`` pictures of each class into a pack: split 'train' or 'val', and label.

    Class after class; picture k of class c of a kind depends on ``seed``, ``size``, the kind, c and k alone. The last
    ``val_share`` of the pictures of each class are those of 'val'.
    """
    total = sum(kinds) * pictures
    first_val = pictures - max(1, round(pictures * val_share))
    draw = partial(_draw_one, seed, size, kinds.things)

    def pieces() -> Iterator[tuple[Pixels, list[Row]]]:
        numbers = [divmod(row, pictures) for row in range(total)]
        with progress(map_ordered(draw, numbers, workers), "drawing", total, "picture") as bar:
            for (label, index), picture in zip(numbers, bar, strict=True):
                yield picture[None], [{"split": "val" if index >= first_val else "train", "label": label}]

    return write_pack(folder, size, pieces())


def traits_of(kinds: Kinds, seed: int) -> list[tuple[str, ...]]:
    """What each class has in common with others, in words, by label."""
    return [_design(seed, n).traits for n in range(kinds.things)] + [
        _world(seed, n).traits for n in range(kinds.worlds)
    ]


def _draw_one(seed: int, size: int, things: int, number: tuple[int, int]) -> Pixels:
    label, index = number
    if label < things:
        return draw_picture(_design(seed, label), np.random.default_rng((seed, 3, label, index)), size)
    world = label - things
    return draw_world(_world(seed, world), np.random.default_rng((seed, 6, world, index)), size)


# A class takes half a megabyte and some milliseconds, and its pictures come one after the other.
_design = lru_cache(maxsize=16)(design_class)
_world = lru_cache(maxsize=16)(design_world)
