"""What lies under and over the stones: backdrops that fill the photo, and things that hide part of a specimen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sightline.core.rendering import (
    Array,
    Mask,
    Surface,
    cells_of,
    curve,
    fractal,
    grid,
    linear,
    mix,
    ramp,
    step,
)

Shape = tuple[int, int]


def bench(rng: np.random.Generator, shape: Shape) -> Surface:
    """Planed wooden boards."""
    along, across = _turned(rng, shape)
    boards = rng.uniform(1.5, 5)
    board = np.floor(across * boards + 10).astype(int) % 20
    shift = rng.uniform(0, 40, 20)[board]
    wander = fractal(rng, shape, 2, 3, 0.35)
    rings = curve(rng, 83, across * rng.uniform(20, 60) + rng.uniform(0.4, 1.6) * wander + shift + 0.6 * along + 40)
    pores = fractal(rng, (shape[0], shape[1]), shape[1] / 3, 1)
    palette = [
        linear("6b4526", "9a6b3f", "b98a58"),
        linear("b08d62", "cfae82", "dcc29c"),
        linear("3a2618", "553a26", "6b4a30"),
    ][rng.integers(3)]
    tone = rng.uniform(0.85, 1.1, 20)[board] * (1 + 0.04 * pores)
    gap = step(np.abs((across * boards) % 1 - 0.5), 0.485, 0.497)
    colour = ramp(palette, rings) * (tone * (1 - 0.8 * gap))[..., None]
    return _backdrop(0.002 * rings - 0.006 * gap, colour, gloss=rng.uniform(0, 0.35))


def cloth(rng: np.random.Generator, shape: Shape) -> Surface:
    """Woven fabric with soft folds, plain or striped."""
    along, across = _turned(rng, shape)
    threads = shape[1] / rng.uniform(5, 9) * np.pi
    weave = np.sin(along * threads) * np.sin(across * threads)
    folds = fractal(rng, shape, rng.uniform(1.5, 3), 2, 0.4)
    hue = linear("8c2f2a", "2f4a6b", "4a6b4a", "c9bda8", "6b5a7a", "b8863c", "3a3a3e", "9aa4a8")
    base = hue[rng.integers(len(hue))]
    stripes = (
        step(curve(rng, 16, across * rng.uniform(3, 8) + 8), 0.6, 0.65) * rng.uniform(0, 0.6) * (rng.random() < 0.4)
    )
    colour = mix(base, hue[rng.integers(len(hue))], stripes)
    return _backdrop(0.0016 * weave + 0.03 * folds, colour * (1 + 0.12 * weave[..., None]))


def soil(rng: np.random.Generator, shape: Shape) -> Surface:
    """Crumbly earth, dry or damp, with grit in it."""
    palette = (
        linear("2b1d12", "4a3320", "6b4e34"),
        linear("6b4a30", "8f6a48", "b08c66"),
        linear("3a322a", "5a5046", "7d7266"),
    )
    crumbs = np.abs(fractal(rng, shape, rng.uniform(14, 30), 5, 0.62))
    cell, distance = cells_of(rng, shape, int(rng.integers(500, 3000)))
    size = rng.uniform(1, 5, cell.max() + 1) ** 1.4 * (rng.uniform(0, 1, cell.max() + 1) < 0.25)
    grit = np.sqrt(np.clip(1 - (distance / np.maximum(size, 0.5)[cell]) ** 2, 0, 1)).astype(np.float32)
    pebble = rng.uniform(0.2, 1, cell.max() + 1).astype(np.float32)[cell]
    tone = np.clip(0.25 + 0.2 * crumbs + 0.14 * fractal(rng, shape, 3, 4), 0, 1)
    colour = mix(ramp(palette[rng.integers(3)], tone), ramp(linear("4a443c", "b0a898"), pebble), step(grit, 0, 0.3))
    return _backdrop(0.012 * crumbs + 0.012 * grit, colour)


def gravel(rng: np.random.Generator, shape: Shape) -> Surface:
    """Pebbles of mixed sizes and colours side by side."""
    height, colour = np.zeros(shape, np.float32), np.zeros((*shape, 3), np.float32)
    warm, palette = rng.uniform(0, 1), linear("57524c", "8f887c", "7d6450", "c9c2b6", "4a4846", "9c8468", "a8a29a")
    coarse = np.exp(rng.uniform(np.log(150), np.log(1500)))
    x, y = grid(shape)
    across, down = (0.01 * shape[1] * fractal(rng, shape, 30, 2) for _ in range(2))
    for layer in range(3):
        # Each layer lies on the one below and has fewer, scattered stones.
        cell, _ = cells_of(rng, shape, round(coarse * 3 / (1 + layer)))
        count = cell.max() + 1
        area = np.bincount(cell.ravel(), minlength=count)
        cx, cy = (np.bincount(cell.ravel(), c.ravel(), minlength=count) / area for c in (x, y))
        size = np.sqrt(area / np.pi) * 2 / shape[1] * rng.uniform(0.7, 1.05, count)
        gone = np.hypot(x + across / shape[1] - cx[cell], y + down / shape[1] - cy[cell]) / size[cell]
        dome = (np.sqrt(np.clip(1 - gone**2, 0, 1)) * size[cell] * 0.7).astype(np.float32)
        here = (dome > 0) & (rng.uniform(0, 1, count) < 0.75)[cell]
        kinds = ramp(palette, np.clip(rng.normal(warm, 0.35, count), 0, 1)) * rng.uniform(0.7, 1.15, (count, 1))
        colour[here] = kinds[cell][here]
        height[here] = dome[here] + 0.02 * layer
    grain = 1 + 0.1 * fractal(rng, shape, 60, 2)
    return _backdrop(height, (colour + 0.02) * grain[..., None], gloss=rng.uniform(0, 0.3))


def paper(rng: np.random.Generator, shape: Shape) -> Surface:
    """White, cream or kraft paper, blank, ruled or squared."""
    along, across = _turned(rng, shape, spread=0.3)
    base = linear("f2f0ea", "ece3cc", "b08d62", "dfe6ea")[rng.integers(4)]
    pitch = rng.uniform(10, 22)
    lines = step(np.abs((across * pitch) % 1 - 0.5), 0.47, 0.49)
    if rng.random() < 0.5:
        lines = np.maximum(lines, step(np.abs((along * pitch) % 1 - 0.5), 0.47, 0.49))
    shown = lines * rng.uniform(0.2, 0.6) * (rng.random() < 0.5)
    colour = mix(base, linear("5a7fae"), shown)
    fibre = fractal(rng, shape, shape[1] / 6, 2)
    return _backdrop(0.0006 * fibre + 0.01 * fractal(rng, shape, 2, 2), colour * (1 + 0.015 * fibre[..., None]))


def palm(rng: np.random.Generator, shape: Shape) -> Surface:
    """The palm of a hand: soft mounds, a few creases, fine pores."""
    along, across = _turned(rng, shape)
    blotch = fractal(rng, shape, 4, 3)
    creases = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        bend = across - rng.uniform(-0.7, 0.7) + rng.uniform(-0.4, 0.4) * along**2 + 0.05 * fractal(rng, shape, 3, 3)
        creases += rng.uniform(0.3, 1) * step(-np.abs(bend), -0.02, 0) * step(fractal(rng, shape, 2, 2), -1, 0)
    pores = fractal(rng, shape, shape[1] / 5, 2)
    base = ramp(_SKIN, rng.uniform(0, 1))
    warm = 1 + blotch[..., None] * np.array([0.04, -0.03, -0.04], np.float32)
    colour = base * warm * (1 - 0.16 * creases + 0.03 * pores)[..., None]
    return _backdrop(0.07 * fractal(rng, shape, 2, 2) - 0.006 * creases, colour, gloss=0.12)


def velvet(rng: np.random.Generator, shape: Shape) -> Surface:
    """Dark pile that shimmers where it was brushed."""
    base = linear("0c0c0e", "141a2e", "2a0f16", "10241a", "1c1620")[rng.integers(5)]
    brushed = step(fractal(rng, shape, 2.5, 3), -1, 1.5)
    pile = fractal(rng, shape, shape[1] / 3, 1)
    return _backdrop(0.02 * fractal(rng, shape, 2, 2), base * (0.7 + 1.3 * brushed + 0.12 * pile)[..., None])


def sweep(rng: np.random.Generator, shape: Shape) -> Surface:
    """A seamless studio background, white to grey or tinted, darker towards one side."""
    along, _ = _turned(rng, shape)
    base = ramp(linear("f4f4f4", "c9ccd0", "8c9094", "3c4046", "7fa0b8", "d8b8a0"), rng.uniform(0, 1))
    return _backdrop(
        np.zeros(shape, np.float32), base * (1 + rng.uniform(0, 0.35) * along)[..., None], gloss=rng.uniform(0, 0.3)
    )


def concrete(rng: np.random.Generator, shape: Shape) -> Surface:
    """Cast stone with pores and stains."""
    base = ramp(linear("8a8884", "a8a49c", "6f7072", "b8b0a4"), rng.uniform(0, 1))
    cell, distance = cells_of(rng, shape, 500)
    pores = step(-distance, -3, -0.5) * (rng.uniform(0, 1, cell.max() + 1) < 0.5)[cell]
    grain = fractal(rng, shape, 60, 3, 0.7)
    tone = 1 + 0.06 * grain + 0.1 * fractal(rng, shape, 3, 4) - 0.4 * pores
    return _backdrop(0.003 * grain - 0.008 * pores, base * tone[..., None])


def moss(rng: np.random.Generator, shape: Shape) -> Surface:
    """A cushion of moss or dry lichen."""
    tufts = fractal(rng, shape, 18, 5, 0.8)
    palette = [linear("1c2a0e", "45602a", "8c9c4a"), linear("3a3a24", "7a744a", "b0a878")][rng.integers(2)]
    tone = np.clip(0.45 + 0.2 * tufts + 0.12 * fractal(rng, shape, 3, 2), 0, 1)
    return _backdrop(0.016 * tufts, ramp(palette, tone))


def tiles(rng: np.random.Generator, shape: Shape) -> Surface:
    """Glazed tiles with joints."""
    along, across = _turned(rng, shape)
    pitch = rng.uniform(1.2, 3.5)
    joint = np.maximum(*(step(np.abs((c * pitch) % 1 - 0.5), 0.475, 0.49) for c in (along, across)))
    which = (np.floor(along * pitch).astype(int) * 7 + np.floor(across * pitch).astype(int) * 13) % 31
    base = linear("e4e2dc", "7a9aa8", "b0785a", "3f4a52", "a8b494")[rng.integers(5)]
    tone = rng.uniform(0.85, 1.08, 31)[which] * (1 + 0.05 * fractal(rng, shape, 4, 4))
    colour = mix(base * tone[..., None], linear("6f6a62"), joint)
    return _backdrop(-0.01 * joint, colour, gloss=0.4 * (1 - joint))


def leaf(rng: np.random.Generator, side: int) -> Surface:
    """A fallen leaf with its veins."""
    x, y = _turned(rng, (side, side))
    y = y - 0.15 * rng.normal() * x**2
    half = rng.uniform(0.22, 0.4) * np.clip(1 - x**2 / 0.7, 0, None) ** rng.uniform(0.6, 1.1)
    inside = np.abs(y) < half * (1 + 0.05 * fractal(rng, (side, side), 20, 2))
    palette = [linear("2f4a1c", "5a7a34"), linear("8a5a24", "c08a3c"), linear("6b2f1c", "a8502a")][rng.integers(3)]
    veins = np.maximum(
        step(-np.abs(y), -0.02, -0.005), 0.6 * step(np.abs((x * 7 - np.abs(y) * 5) % 1 - 0.5), 0.44, 0.49)
    )
    tone = np.clip(0.4 + 0.25 * fractal(rng, (side, side), 5, 4) + 0.3 * veins, 0, 1)
    height = 0.06 + 0.05 * (y / 0.4) ** 2 - 0.006 * veins
    return _prop(height, inside, ramp(palette, tone), gloss=0.25)


def coin(rng: np.random.Generator, side: int) -> Surface:
    """A coin for scale, worn copper, brass or nickel."""
    x, y = _turned(rng, (side, side))
    radius = np.hypot(x, y)
    rim = step(radius, 0.8, 0.82)
    lettering = step(fractal(rng, (side, side), 22, 1), 0.3, 0.6) * step(-np.abs(radius - 0.68), -0.07, -0.05)
    head = step(-np.hypot(x * 1.3, y) - 0.05 * fractal(rng, (side, side), 5, 3), -0.45, -0.4)
    height = 0.06 + 0.02 * rim + 0.012 * lettering + 0.02 * head
    metal = linear("b87a50", "c8a45a", "b8b8b4")[rng.integers(3)]
    worn = 1 + 0.12 * fractal(rng, (side, side), 5, 5)
    surface = _prop(height, radius < 0.88, metal * worn[..., None], gloss=rng.uniform(0.3, 0.7))
    return replace(surface, metal=0.8)


def pencil(rng: np.random.Generator, side: int) -> Surface:
    """A sharpened pencil."""
    x, y = _turned(rng, (side, side))
    wide = np.clip(np.minimum(0.07, (0.92 - x) * 0.28), 0, None)
    paint = linear("c8963a", "2f5a3a", "8c2a2a", "2a3a6b")[rng.integers(4)]
    wood, lead = step(x + 0.02 * np.cos(y * 90), 0.66, 0.67), step(x, 0.84, 0.85)
    colour = mix(paint, linear("d8b48a"), wood)
    height = 0.12 - np.abs(y) * 0.5 - 0.6 * np.clip(np.abs(y) - 0.04, 0, None)
    return _prop(height, (np.abs(y) < wide) & (x > -0.94), mix(colour, linear("2a2a2c"), lead), gloss=0.5 * (1 - wood))


def scale_bar(rng: np.random.Generator, side: int) -> Surface:
    """A photo scale with black and white centimetres."""
    x, y = _turned(rng, (side, side))
    half = rng.uniform(0.1, 0.18)
    inside = (np.abs(x) < 0.9) & (np.abs(y) < half)
    checks = ((np.floor(x * 5) + (y > 0)) % 2).astype(np.float32)
    colour = mix(linear("f0f0ee"), linear("141414"), checks * (np.abs(y) < half * 0.7))
    return _prop(np.full((side, side), 0.04, np.float32), inside, colour, gloss=0.2)


def label(rng: np.random.Generator, side: int) -> Surface:
    """A collector's card with lines of writing."""
    x, y = _turned(rng, (side, side))
    inside = (np.abs(x) < 0.75) & (np.abs(y) < 0.42)
    line = np.floor(y * 8)
    words = fractal(rng, (side, side), 26, 1) > -0.2
    script = (np.abs(y * 8 - line - 0.5) < 0.16) & words & (np.abs(x) < 0.62) & (np.abs(y) < 0.36)
    base = linear("f0ece0", "e4d8b8", "dfe6ea")[rng.integers(3)]
    colour = mix(base, linear("2a2a38"), script * np.float32(0.8))
    return _prop(np.full((side, side), 0.03, np.float32), inside, colour)


def twig(rng: np.random.Generator, side: int) -> Surface:
    """A crooked stick."""
    x, y = _turned(rng, (side, side))
    y = y + 0.16 * np.sin(2.2 * x + rng.uniform(0, 6)) + 0.02 * fractal(rng, (side, side), 6, 3)
    wide = rng.uniform(0.05, 0.1) * (1 - 0.35 * x)
    bark = fractal(rng, (side, side), 30, 3)
    height = np.sqrt(np.clip(wide**2 - y**2, 0, None)) * 1.2 + 0.006 * bark
    tone = np.clip(0.5 + 0.25 * bark, 0, 1)
    return _prop(height, (np.abs(y) < wide) & (np.abs(x) < 0.92), ramp(linear("3a2a1e", "6b5440", "8f7c68"), tone))


BACKDROPS: tuple[Callable[[np.random.Generator, Shape], Surface], ...] = (
    bench,
    cloth,
    soil,
    gravel,
    paper,
    palm,
    velvet,
    sweep,
    concrete,
    moss,
    tiles,
)
OCCLUDERS: tuple[Callable[[np.random.Generator, int], Surface], ...] = (
    leaf,
    coin,
    pencil,
    scale_bar,
    label,
    twig,
)

_SKIN = linear("5a3422", "8f5f44", "c58f70", "e2b79c")


def _turned(rng: np.random.Generator, shape: Shape, spread: float = np.pi) -> tuple[Array, Array]:
    """Coordinates along and across a random direction."""
    x, y = grid(shape)
    turn = rng.uniform(-spread, spread)
    along = x * np.cos(turn) + y * np.sin(turn)
    return along.astype(np.float32), (y * np.cos(turn) - x * np.sin(turn)).astype(np.float32)


def _backdrop(height: Array, colour: Array, gloss: Array | float = 0.0) -> Surface:
    return _prop(height, np.ones(height.shape, np.bool_), colour, gloss)


def _prop(height: Array, inside: Mask, colour: Array, gloss: Array | float = 0.0) -> Surface:
    return Surface(np.asarray(height, np.float32), inside, np.clip(colour, 0, 0.95).astype(np.float32), gloss)
