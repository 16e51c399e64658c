"""Pictures of the drawn things: the same thing in other poses, places, lights, in front of other things."""

import cv2
import numpy as np

from sightline.backbone.designs import SPRITE, Design, Part
from sightline.core.images import Pixels
from sightline.core.rendering import Array, as_rgb, as_row, fractal, mix, photograph, ramp


def draw_picture(design: Design, rng: np.random.Generator, size: int) -> Pixels:
    """One picture, (size, size, 3) uint8 RGB, of a thing that fills most of it."""
    picture = _backdrop(rng, size)
    pose = _pose(rng, design, size)
    light = rng.normal(0, 0.9, 2)
    if rng.random() < 0.4:
        _cast_shadow(rng, picture, design, pose)
    for part in design.parts:
        lay(picture, part, pose @ placed(part, rng.normal(0, part.swing)), light)
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.7, 0.15, 0.1, 0.05])):
        _hide_part(rng, picture)
    _light(rng, picture)
    return recode(rng, photograph(rng, picture))


def _pose(rng: np.random.Generator, design: Design, size: int) -> Array:
    """From the thing's coordinates to pixels, (3, 3): its box about fills the picture, squashed as a crop would be."""
    left, top, right, bottom = design.bounds
    turn = rng.normal(0, 0.3)
    flip = rng.choice([-1, 1])
    cos, sin = np.cos(turn), np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[flip, rng.normal(0, 0.15)], [0, 1]])
    corners = linear @ np.array([[left, right, right, left], [top, top, bottom, bottom]])
    low, high = corners.min(1), corners.max(1)
    fill = np.clip(rng.normal(1.15, 0.2) * np.exp(rng.normal(0, 0.15, 2)), 0.5, 1.7)
    # Between a squash to the square and a true aspect.
    extent = high - low
    extent = extent * (extent.max() / extent) ** rng.uniform(0, 1)
    scale = size * fill / extent
    middle = size * (0.5 + rng.normal(0, 0.06, 2)) - scale * (low + high) / 2
    pose = np.eye(3)
    pose[:2, :2] = scale[:, None] * linear
    pose[:2, 2] = middle
    return pose


def placed(part: Part, swing: float) -> Array:
    """Where a part sits: from a part's canvas in pixels to the thing's coordinates, (3, 3)."""
    cos, sin = np.cos(part.turn + swing), np.sin(part.turn + swing)
    (x, y), (width, height) = part.place, part.reach
    unit = 2 / SPRITE
    return np.array(
        [
            [cos * width * unit, -sin * height * unit, x - cos * width + sin * height],
            [sin * width * unit, cos * height * unit, y - sin * width - cos * height],
            [0, 0, 1],
        ]
    )


def lay(picture: Array, part: Part, onto: Array, light: Array) -> None:
    """Blend a part into a picture (S, S, 3), or one with alpha (S, S, 4); ``onto`` (3, 3) takes its canvas to pixels.

    ``light`` (2,) is how the surface that leans to the right or down is lit: 0 is even light.
    """
    shade = np.clip(1 + part.slope @ light.astype(np.float32), 0.25, 2.2)
    sprite = cv2.merge((part.colour * as_rgb(shade * part.alpha), part.alpha))
    view, shift = _window(onto, picture.shape[0])
    if view is None:
        return
    patch = picture[view]
    laid = cv2.warpAffine(sprite, (shift @ onto)[:2], patch.shape[1::-1], flags=cv2.INTER_LINEAR)
    channels = patch.shape[2]
    patch *= cv2.merge((1 - laid[..., 3],) * channels)
    patch += laid if channels == 4 else cv2.cvtColor(laid, cv2.COLOR_RGBA2RGB)


def _window(onto: Array, size: int) -> tuple[tuple[slice, slice] | None, Array]:
    """The part of the picture that a canvas falls on, and what moves its corner to the origin."""
    corners = onto[:2] @ np.array([[0, SPRITE, SPRITE, 0], [0, 0, SPRITE, SPRITE], [1, 1, 1, 1]])
    low = np.clip(np.floor(corners.min(1)), 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(1)) + 1, 0, size).astype(int)
    shift = np.eye(3)
    shift[:2, 2] = -low
    if (low >= high).any():
        return None, shift
    return (slice(low[1], high[1]), slice(low[0], high[0])), shift


def _cast_shadow(rng: np.random.Generator, picture: Array, design: Design, pose: Array) -> None:
    size = picture.shape[0]
    offset = np.eye(3)
    offset[:2, 2] = rng.normal(0, 0.06, 2) * size
    cover = np.zeros((size, size), np.float32)
    for part in design.parts[:4]:
        onto = (offset @ pose @ placed(part, 0.0))[:2]
        cover = np.maximum(cover, cv2.warpAffine(part.alpha, onto, (size, size), flags=cv2.INTER_LINEAR))
    soft = cv2.GaussianBlur(cover, (0, 0), size * rng.uniform(0.02, 0.08))
    picture *= as_rgb(1 - rng.uniform(0.3, 0.7) * soft)


def _backdrop(rng: np.random.Generator, size: int) -> Array:
    """Sky, ground, foliage or a heap of shapes, sharp or out of focus; (size, size, 3) float32 linear RGB."""
    colours = rng.uniform(0.03, 0.95, (3, 3)).astype(np.float32) ** 1.5
    # Two colours of three are near each other and dull, as they mostly are behind a subject.
    colours += rng.uniform(0.2, 0.9) * (colours.mean(1, keepdims=True) - colours)
    kind = rng.choice(4, p=[0.2, 0.3, 0.3, 0.2])
    field = fractal(rng, (size, size), rng.uniform(1, 8), 3) * 0.3
    if kind == 0:
        field = field * 0.3 + np.linspace(-0.5, 0.5, size, dtype=np.float32)[:, None] * rng.choice([-1, 1])
    picture = ramp(colours, np.clip(field + 0.5, 0, 1))
    if kind >= 2:
        _heap(rng, picture, int(rng.integers(8, 40)), thin=kind == 3)
    if kind and rng.random() < 0.75:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.7, size / 16))
    return np.ascontiguousarray(picture, np.float32)


def _heap(rng: np.random.Generator, picture: Array, count: int, thin: bool) -> None:
    """Shapes that fell upon each other ("dead leaves": Lee, Mumford and Huang, IJCV 2001): sizes as a power law."""
    size = picture.shape[0]
    centres = rng.uniform(0, size, (count, 2))
    radii = np.clip(size * 0.06 / rng.random(count) ** 0.6, 2, size / 3)
    tones = rng.uniform(0.02, 0.9, (count, 3)) ** 1.7
    tones += rng.uniform(0, 1, (count, 1)) * (tones.mean(1, keepdims=True) - tones)
    turns, aspects = rng.uniform(0, 180, count), rng.uniform(0.05, 0.2, count) if thin else rng.uniform(0.3, 1, count)
    for centre, radius, tone, turn, aspect in zip(centres, radii, tones, turns, aspects, strict=True):
        axes = (radius * (3 if thin else 1), max(radius * aspect, 0.6))
        cv2.ellipse(picture, (centre.tolist(), (2 * axes[0], 2 * axes[1]), float(turn)), tone.tolist(), -1)


def _hide_part(rng: np.random.Generator, picture: Array) -> None:
    """A twig, a leaf or a post in front."""
    size = picture.shape[0]
    tone = (rng.uniform(0.02, 0.6, 3) ** 1.5).tolist()
    middle = rng.uniform(0, size, 2).tolist()
    length, width = rng.uniform(0.3, 2) * size, rng.uniform(0.015, 0.14) * size
    cv2.ellipse(picture, (middle, (length, width), float(rng.uniform(0, 180))), tone, -1)


def _light(rng: np.random.Generator, picture: Array) -> None:
    """The lamp's colour and strength, and that it reaches one side better than the other."""
    size = picture.shape[0]
    across = np.linspace(-1, 1, size, dtype=np.float32)
    lean = rng.normal(0, 0.25, 2)
    picture *= as_rgb(np.clip(1 + lean[0] * across + lean[1] * across[:, None], 0.2, 2))
    picture *= as_row((2 ** rng.normal(0, 0.35) * np.exp(rng.normal(0, 0.12, 3))).astype(np.float32), picture)
    if rng.random() < 0.15:
        haze = np.float32(rng.uniform(0.1, 0.5))
        picture[...] = mix(picture, np.full(3, 0.7 * picture.mean() + 0.2, np.float32), np.full((size, size), haze))


def recode(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Through a JPEG of some quality, as most photos have come."""
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 98))])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
