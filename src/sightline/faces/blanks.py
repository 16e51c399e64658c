"""Photos without a face, among them things that are near one: round, with two of something and a line below."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sightline.core.rendering import Array, Light, Surface, fractal, linear, mix, ramp, shade, step
from sightline.faces.portraits import draw_backdrop, make_lamp, take

Thing = Callable[[np.random.Generator, Array, Light, Array, Array, float], None]


def draw_blank(rng: np.random.Generator, number: int) -> NDArray[np.uint8]:
    """Photograph thing ``number`` of THINGS (counted around), (H, W, 3) uint8 RGB."""
    height, width = int(rng.integers(220, 321)), int(rng.integers(260, 401))
    light = make_lamp(rng)
    picture = draw_backdrop(rng, (height, width), light)
    scale = rng.uniform(0.25, 0.36) * min(height, width)
    at = np.array([width, height]) * rng.normal(0.5, 0.05, 2)
    y, x = np.indices((height, width), dtype=np.float32)
    x, y = ((v + 0.5 - np.float32(c)) / np.float32(scale) for v, c in zip((x, y), at, strict=True))
    THINGS[number % len(THINGS)](rng, picture, light, x, y, scale)
    return take(rng, picture)


def _scenery(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """Nothing but a field of stones or leaves."""
    field = fractal(rng, x.shape, rng.uniform(6, 20), 4)
    tones = linear("2c2a24", "6d6a58", "a6a48e", "d5d3c4")
    colour = ramp(tones, np.clip(0.5 + 0.25 * field, 0, 1))
    cover = step(y, -0.2, 0.1) * np.float32(0.9)
    _lay(picture, shade(Surface(0.08 * field, y > -2, colour), light, scale), cover)


def _ball(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """A ball with panels."""
    height, cover = _sphere(x, y, scale)
    colours = linear("d8d4cc", "c4482f", "2f5f9e", "e0b23a")
    first, second = rng.permutation(len(colours))[:2]
    bands = np.sin(5 * np.arctan2(y, x + 0.2) + rng.uniform(0, 6)) * np.sin(4 * height + 2)
    colour = ramp(colours[[first, second]], step(bands, -0.05, 0.05))
    _lay(picture, shade(Surface(height, cover > 0, colour, 0.5), light, scale), cover)


def _clock(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """A clock on the wall, with marks and hands."""
    radius = np.hypot(x, y)
    _lay(picture, _flat(x, linear("2a2522"), light), _inside(1.08 - radius, scale))
    _lay(picture, _flat(x, linear("eae6da"), light), _inside(0.97 - radius, scale))
    angle = np.arctan2(y, x)
    near = np.abs((angle / (np.pi / 6)) - np.rint(angle / (np.pi / 6))) * radius * (np.pi / 6)
    marks = np.minimum(_inside(0.035 - near, scale), _inside(0.09 - np.abs(radius - 0.84), scale))
    for length, thick in ((0.5, 0.05), (0.75, 0.03)):
        marks = np.maximum(marks, _stroke(x, y, (0, 0), float(rng.uniform(0, 6.28)), length, thick, scale))
    _lay(picture, _flat(x, linear("1a1a1c"), light), marks)


def _dog(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """A dog's head with hanging ears and a long snout."""
    coats = linear("8a5a33", "3a2a20", "c9a878", "4c4a48")
    coat = coats[rng.integers(len(coats))]
    fur = fractal(rng, x.shape, x.shape[1] / scale * 10, 2)
    colour = (coat * (1 + 0.14 * fur)[..., None]).astype(np.float32)
    ax = np.abs(x)
    height, cover = _sphere(x / 0.8, (y + 0.2) / 0.85, scale * 0.8)
    _lay(picture, shade(Surface(height + 0.02 * fur, cover > 0, colour, 0.1), light, scale), cover)
    ear = _inside((1 - np.hypot((ax - 0.82) / 0.3, (y - 0.1) / 0.75)) * 0.3, scale)
    _lay(picture, shade(Surface(0.02 * fur - 0.3 * ax, ear > 0, colour * np.float32(0.55), 0.1), light, scale), ear)
    height, cover = _sphere(x / 0.52, (y - 0.45) / 0.52, scale * 0.52)
    pale = mix(colour, np.broadcast_to(linear("d6c6ad"), colour.shape), np.full_like(x, 0.5))
    _lay(picture, shade(Surface(0.7 * height + 0.02 * fur, cover > 0, pale, 0.1), light, scale), cover)
    _lay(picture, _flat(x, linear("151211"), light), _inside((1 - np.hypot(x / 0.2, (y - 0.2) / 0.14)) * 0.14, scale))
    for side in (-1, 1):
        _lay(picture, _flat(x, linear("191411"), light), _inside(0.075 - np.hypot(x - side * 0.3, y + 0.3), scale))
    lips = _inside(0.02 - np.abs(y - 0.68 - 0.3 * x * x) - 0.2 * step(ax, 0.25, 0.3), scale)
    _lay(picture, _flat(x, linear("221816"), light), lips)


def _shield(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """An oval ornament with two dots and a bar, on patterned cloth."""
    weave = np.sin(x * 12) * np.sin(y * 12)
    colours = linear("7a2f2a", "c7a04a", "2b3d52", "d9cfb8")
    ground, mark = rng.permutation(len(colours))[:2]
    _lay(picture, _flat(x, colours[ground], light) * (1 + 0.15 * np.sign(weave))[..., None], np.ones_like(x))
    _lay(picture, _flat(x, colours[mark], light), _inside((1 - np.hypot(x / 0.75, y)) * 0.75, scale))
    dots = _inside(0.12 - np.hypot(np.abs(x) - 0.3, y + 0.25), scale)
    bar = np.minimum(_inside(0.06 - np.abs(y - 0.4), scale), _inside(0.35 - np.abs(x), scale))
    _lay(picture, _flat(x, colours[ground], light), np.maximum(dots, bar))


def _house(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """The front of a house: two windows over a door."""
    walls = linear("c9b79c", "a7654b", "dcd8cc", "7f8a86")
    wall = np.minimum(_inside(1.0 - np.abs(x), scale), _inside(0.9 - np.abs(y - 0.1), scale))
    roof = np.minimum(_inside(y + 1.5 - 0.65 * np.abs(x), scale), _inside(-0.75 - y, scale))
    rough = (1 + 0.06 * fractal(rng, x.shape, 30, 2))[..., None]
    _lay(picture, _flat(x, linear("5a2f26"), light) * rough, roof)
    _lay(picture, _flat(x, walls[rng.integers(len(walls))], light) * rough, wall)
    panes = np.minimum(_inside(0.22 - np.abs(np.abs(x) - 0.48), scale), _inside(0.27 - np.abs(y + 0.25), scale))
    door = np.minimum(_inside(0.22 - np.abs(x), scale), _inside(0.42 - np.abs(y - 0.6), scale))
    bars = np.minimum(np.abs(np.abs(x) - 0.48), np.abs(y + 0.25)) < 0.025
    _lay(picture, _flat(x, linear("38444f"), light), panes)
    _lay(picture, _flat(x, linear("e5e1d6"), light), panes * bars)
    _lay(picture, _flat(x, linear("3d2a1c"), light), door)


def _fruit(rng: np.random.Generator, picture: Array, light: Light, x: Array, y: Array, scale: float) -> None:
    """Apples and oranges on a table."""
    colours = linear("b8322a", "d88a2c", "9aa83a", "c9b048")
    table = _flat(x, linear("6b4a30"), light) * (1 + 0.1 * fractal(rng, x.shape, 12, 3))[..., None]
    _lay(picture, table, step(y, 0.35, 0.4))
    for cx in (-0.85, 0.05, 0.9):
        size = rng.uniform(0.42, 0.58)
        height, cover = _sphere((x - np.float32(cx)) / size, (y - np.float32(0.5 - 0.3 * size)) / size, scale * size)
        colour = np.ones((*x.shape, 3), np.float32) * colours[rng.integers(len(colours))]
        _lay(picture, shade(Surface(height * size, cover > 0, colour, 0.6), light, scale), cover)
        stem = _stroke(x, y, (cx, 0.5 - 1.1 * size), -1.4, 0.2, 0.025, scale)
        _lay(picture, _flat(x, linear("3a2a1a"), light), stem)


def _sphere(x: Array, y: Array, scale: float) -> tuple[Array, Array]:
    radius = np.hypot(x, y)
    height = np.sqrt(np.clip(1 - radius**2, 0, None)).astype(np.float32)
    return height, _inside(1 - radius, scale)


def _inside(distance: Array, scale: float) -> Array:
    return np.asarray(np.clip(distance * scale + 0.5, 0, 1), np.float32)


def _stroke(
    x: Array, y: Array, start: tuple[float, float], angle: float, length: float, thick: float, scale: float
) -> Array:
    u = (x - start[0]) * np.cos(angle) + (y - start[1]) * np.sin(angle)
    v = (y - start[1]) * np.cos(angle) - (x - start[0]) * np.sin(angle)
    return _inside(thick - np.hypot(v, u - np.clip(u, 0, length)), scale)


def _flat(like: Array, colour: Array, light: Light) -> Array:
    return np.ones((*like.shape, 3), np.float32) * (colour * (light.ambient + np.float32(0.6) * light.key))


def _lay(picture: Array, lit: Array, cover: Array) -> None:
    picture += (lit - picture) * cover[..., None]


THINGS: tuple[Thing, ...] = (_ball, _clock, _dog, _shield, _house, _fruit, _scenery)
