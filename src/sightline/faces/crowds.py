"""Group photos: several people before one background in one light, some of them behind others."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.boxes import Box
from sightline.faces.heads import Person
from sightline.faces.portraits import draw_backdrop, draw_sitter, make_lamp, pose_sitter, take

SIDES = (480, 641)
MOST_HIDDEN = 0.5


@dataclass(frozen=True)
class Member:
    """Someone in a group photo: ``name`` is None for a person nobody knows."""

    person: Person
    name: str | None
    emotion: str
    strength: float


@dataclass(frozen=True)
class Face:
    """A face in a group photo: where it is, left, top, right, bottom in px, and the share of it that is hidden."""

    box_xyxy: Box
    hidden: float

    @property
    def ignore(self) -> bool:
        """Whether too little of it is seen for anyone to be blamed for missing it."""
        return self.hidden > MOST_HIDDEN


def draw_group(rng: np.random.Generator, members: Sequence[Member]) -> tuple[NDArray[np.uint8], list[Face]]:
    """Photograph a group; returns the photo, (H, W, 3) uint8 RGB, and a face for each member, in their order."""
    width = int(rng.integers(*SIDES))
    height = round(width / float(rng.choice([1.25, 1.33, 1.5])))
    light = make_lamp(rng)
    picture = draw_backdrop(rng, (height, width), light)
    places = _seat(rng, len(members), width, height)
    boxes = []
    seen: list[NDArray[np.bool_]] = []
    for number, (member, (x, y, scale)) in enumerate(zip(members, places, strict=True)):
        before = picture.copy()
        sitter = pose_sitter(rng, member.person, member.emotion, member.strength)
        boxes.append(draw_sitter(rng, picture, sitter, light, (x, y), scale))
        drawn = (picture != before).any(2)
        for earlier in range(number):
            seen[earlier] &= ~drawn
        seen.append(_oval(boxes[-1], (height, width)))
    faces = []
    for box, left in zip(boxes, seen, strict=True):
        whole = int(np.count_nonzero(_oval(box, (height, width))))
        faces.append(Face(box, 1 - int(np.count_nonzero(left)) / max(whole, 1)))
    return take(rng, picture), faces


def _seat(rng: np.random.Generator, count: int, width: int, height: int) -> list[tuple[float, float, float]]:
    """Where each head is (x, y in px) and its scale, those behind first: one row up to four people, else two."""
    behind = 0 if count <= 4 else count // 2
    spots = []
    for row, members in enumerate((behind, count - behind)):
        if not members:
            continue
        gap = width / (members + 0.35)
        closeness = rng.uniform(2.1, 2.7) if behind or members > 2 else rng.uniform(2.6, 3.2)
        scale = min(gap / closeness, height / (5.6 if behind else 4.0)) * (0.88 if behind and row == 0 else 1.0)
        level = height * ((0.3 if row == 0 else 0.62) if behind else rng.uniform(0.38, 0.5))
        shift = 0.5 * gap * (row == 0) * (behind == count - behind) * 0.6
        first = (width - gap * (members - 1)) / 2 + rng.normal(0, 0.08) * gap - 0.5 * shift
        for seat in range(members):
            own = scale * rng.uniform(0.92, 1.08)
            x = first + gap * seat + shift + rng.normal(0, 0.07) * gap
            x = float(np.clip(x, 0.95 * own, width - 0.95 * own))
            y = float(np.clip(level + rng.normal(0, 0.16) * own, 1.3 * own, height - 1.15 * own))
            spots.append((x, y, float(own)))
    return spots


def _oval(box: Box, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a face: the ellipse in its box."""
    left, top, right, bottom = box
    inside = np.zeros(shape, np.uint8)
    middle = (round((left + right) / 2), round((top + bottom) / 2))
    cv2.ellipse(inside, middle, (round((right - left) / 2), round((bottom - top) / 2)), 0, 0, 360, 1, -1)
    return inside.astype(np.bool_)
