"""What stands about in Plumble Hollow: houses and what is in them, trees, fences, things on the beach."""

from typing import NamedTuple

import numpy as np

from sightline.core.rendering import Array
from sightline.memes.neighbours import PASTELS, ROOFS, thing
from sightline.memes.painting import Brush, Colour, Lamp, Rng, blend, lighter, palette, pick, rgb, tinted

WOOD = palette("b08050", "8c6440", "c89c6c")


class Season(NamedTuple):
    """Time and weather: the sky from above to the horizon, grass, leaves, light on all of it, what falls."""

    sky: tuple[Colour, Colour]
    grass: Colour
    leaves: Array
    light: Colour
    falling: Colour | None = None
    rain: bool = False


GREENS = palette("4c9c48", "66b454", "3c8450", "88c058")
SEASONS = {
    "summer": Season((rgb("58b4f0"), rgb("c8ecf8")), rgb("7cc85a"), GREENS, rgb("ffffff")),
    "spring": Season(
        (rgb("8ccaf0"), rgb("f4e8f0")),
        rgb("98d470"),
        palette("f4a8c4", "f8c8d8", "e890b4", "8cc868"),
        rgb("fffaf6"),
        rgb("f8c0d4"),
    ),
    "autumn": Season(
        (rgb("88aed0"), rgb("f0d8b0")),
        rgb("b4a04c"),
        palette("d87030", "e0a038", "b04a2c", "c88a3c"),
        rgb("fff0dc"),
        rgb("d88038"),
    ),
    "winter": Season(
        (rgb("98b0c4"), rgb("dce4ea")),
        rgb("e4ecf2"),
        palette("4c7468", "e8eef2", "5c8478", "c8d8dc"),
        rgb("eef2fa"),
        rgb("ffffff"),
    ),
    "dusk": Season((rgb("5c4c90"), rgb("f8a060")), rgb("7c9c54"), GREENS, rgb("c89a98")),
    "night": Season((rgb("101c48"), rgb("34508c")), rgb("68a858"), GREENS, rgb("4c5a98")),
    "rain": Season((rgb("58626e"), rgb("8c98a0")), rgb("6c9860"), GREENS, rgb("94a0a8"), rgb("b4c4cc"), rain=True),
    "winter night": Season(
        (rgb("0c1430"), rgb("28385c")), rgb("dce8f4"), palette("3c6458", "d0dce8"), rgb("4c5880"), rgb("d0d8e8")
    ),
}


def house(rng: Rng, brush: Brush, season: Season) -> list[Lamp]:
    """A round house; gives the light of its windows."""
    wall, roof = blend(tinted(rng, PASTELS), rgb("fff6e4"), 0.6), tinted(rng, ROOFS)
    wide = rng.uniform(0.42, 0.6)
    night = np.mean(season.light) < 160
    brush.oval((0, 0), (wide * 1.25, 0.1), lighter(season.grass, 0.7))
    brush.pill(-wide, -0.55, wide, 0.02, lighter(wall, 0.85), 0.2)
    brush.pill(-wide, -0.55, 0.75 * wide, 0.02, wall, 0.2)
    if rng.random() < 0.5:
        brush.box(0.45 * wide, -1.0, 0.68 * wide, -0.6, lighter(roof, 0.65))
    if rng.random() < 0.65:
        brush.oval((0, -0.48), (wide * 1.25, 0.5), roof, 0, (180, 360))
        brush.oval((-0.2 * wide, -0.5), (wide * 0.8, 0.38), lighter(roof, 1.15), 0, (180, 360))
        if rng.random() < 0.4:
            for dx, dy in ((-0.6, 0.2), (0.1, 0.34), (0.65, 0.16)):
                brush.disc((dx * wide, -(0.48 + dy)), 0.06, rgb("fff6ec"))
    else:
        brush.polygon([(-1.25 * wide, -0.46), (1.25 * wide, -0.46), (0, -1.02)], roof)
        brush.polygon([(-1.25 * wide, -0.46), (0, -0.46), (0, -1.02)], lighter(roof, 1.15))
    if season.grass[0] > 215:
        brush.oval((0, -0.62), (wide * 0.95, 0.36), rgb("f8fbff"), 0, (180, 360))
    door = tinted(rng, WOOD, 0.2)
    brush.pill(-0.16, -0.32, 0.1, 0.01, door, 0.13)
    brush.box(-0.16, -0.15, 0.1, 0.01, door)
    brush.disc((0.05, -0.13), 0.018, rgb("f4d060"))
    glass = rgb("ffe890") if night else rgb("a8dcf0")
    at = (0.58 * wide, -0.25)
    brush.disc(at, 0.11, lighter(roof, 0.9))
    brush.disc(at, 0.085, glass)
    for way in ((1, 0), (0, 1)):
        brush.line(
            [(at[0] - way[0] * 0.085, at[1] - way[1] * 0.085), (at[0] + way[0] * 0.085, at[1] + way[1] * 0.085)],
            lighter(roof, 0.9),
            1 / 45,
        )
    return [brush.lamp(at, 0.4, rgb("ffc868"), 1.3)] if night else []


def tree(rng: Rng, brush: Brush, season: Season) -> None:
    """A tree with a round or a pointed crown, and fruit now and then."""
    leaf, trunk = tinted(rng, season.leaves), tinted(rng, WOOD)
    brush.oval((0, 0), (0.24, 0.05), lighter(season.grass, 0.72))
    brush.polygon([(-0.07, 0), (0.07, 0), (0.045, -0.5), (-0.045, -0.5)], trunk)
    if rng.random() < 0.3:
        for k in range(3):
            top, wide = -(0.62 + 0.2 * k), (0.32 - 0.07 * k)
            brush.polygon([(-wide, top + 0.3), (wide, top + 0.3), (0, top - 0.12)], lighter(leaf, 0.9 + 0.12 * k))
        return
    for dx, dy, part in ((-0.17, 0.62, 0.2), (0.17, 0.62, 0.2), (0, 0.76, 0.27)):
        brush.ball((dx, -dy), (part, part * 0.95), leaf)
    if rng.random() < 0.5:
        fruit = tinted(rng, palette("e8483c", "f49c38", "f8d850", "f08cb4"))
        for dx, dy in rng.uniform(-0.2, 0.2, (5, 2)):
            brush.disc((dx, -(0.7 + dy)), 0.032, fruit)


def palm(rng: Rng, brush: Brush) -> None:
    """A leaning palm with two nuts."""
    lean = rng.normal(0, 0.2)
    steps = np.linspace(0, 1, 8)
    way = np.stack([lean * steps**2, -steps], -1)
    brush.line(way, rgb("a07848"), 0.07)
    brush.line(way - (0.012, 0), rgb("c09860"), 0.03)
    leaf = tinted(rng, palette("4ca04c", "68b454"))
    crown = brush.to(way[-1])
    for turn in np.linspace(-2.9, -0.2, 7):
        reach = np.array([np.cos(turn), np.sin(turn)]) * 0.36
        crown.polygon(
            [(0, 0), 0.6 * reach - (0, 0.11), reach + np.array([0, 0.16]), 0.6 * reach],
            lighter(leaf, rng.uniform(0.85, 1.2)),
        )
    for dx in (-0.04, 0.04):
        crown.ball((dx, 0.03), (0.045, 0.045), rgb("8c5c34"))


def parasol(rng: Rng, brush: Brush) -> None:
    """A striped parasol."""
    brush.line([(0, 0), (0.1, -0.9)], rgb("f4f0e8"), 0.04)
    colours = tinted(rng, PASTELS), rgb("fffaf2")
    for k in range(6):
        brush.oval((0.1, -0.72), (0.55, 0.32), colours[k % 2], 8, (180 + 30 * k, 210 + 30 * k))


def flowers(rng: Rng, brush: Brush) -> None:
    """A handful of flowers of one colour."""
    colour = tinted(rng, PASTELS)
    for dx, dy in rng.uniform(-1.5, 1.5, (int(rng.integers(4, 10)), 2)):
        bloom = brush.to((dx, 0.5 * dy))
        bloom.line([(0, 0), (0, 0.5)], rgb("4c9048"), 1 / 10)
        for turn in np.arange(5) * 1.257:
            bloom.disc((0.17 * np.cos(turn), 0.17 * np.sin(turn)), 0.13, colour)
        bloom.disc((0, 0), 0.1, rgb("fce068"))


def fence(rng: Rng, brush: Brush) -> None:
    """Four and a half units of fence, one high."""
    colour = pick(rng, (rgb("f8f2e6"), rgb("c09460")))
    for row in (0.35, 0.7):
        brush.box(-2.2, -row, 2.2, -(row - 0.12), lighter(colour, 0.9))
    for k in np.arange(-4, 5) * 0.5:
        brush.pill(k - 0.12, -1, k + 0.12, 0, colour)


def furniture(rng: Rng, brush: Brush) -> list[Lamp]:
    """A lamp, a sofa, a shelf, a table or a plant; gives the light of the lamp."""
    colour, wood = tinted(rng, PASTELS), tinted(rng, WOOD)
    kind = rng.integers(5)
    if kind == 0:
        brush.line([(0, 0), (0, -1)], lighter(wood, 0.7), 0.05)
        brush.oval((0, 0), (0.2, 0.06), lighter(wood, 0.7))
        brush.polygon([(-0.3, -0.8), (0.3, -0.8), (0.16, -1.2), (-0.16, -1.2)], rgb("ffe8b0"))
        return [brush.lamp((0, -0.9), 1.3, rgb("ffc878"))]
    if kind == 1:
        brush.pill(-0.8, -0.75, 0.8, -0.1, lighter(colour, 0.85), 0.2)
        brush.pill(-0.65, -0.4, 0.65, 0, colour, 0.15)
        for side in (-1, 1):
            brush.pill(side * 0.75 - 0.14, -0.5, side * 0.75 + 0.14, 0.05, lighter(colour, 1.1))
    elif kind == 2:
        brush.pill(-0.5, -1.3, 0.5, 0, wood, 0.1)
        for row in range(3):
            top = -(1.2 - 0.4 * row)
            brush.box(-0.42, top, 0.42, top + 0.32, lighter(wood, 0.65))
            for k in range(6):
                left = -0.4 + 0.13 * k
                brush.box(left, top + rng.uniform(0.03, 0.12), left + 0.1, top + 0.32, tinted(rng, PASTELS))
    elif kind == 3:
        brush.box(-0.08, -0.4, 0.08, 0, lighter(wood, 0.8))
        brush.oval((0, -0.42), (0.6, 0.14), wood)
        brush.oval((0, -0.45), (0.56, 0.12), lighter(wood, 1.2))
        thing(rng, brush.to((0, -0.55), 0.16))
    else:
        brush.ball((0, -0.2), (0.24, 0.22), colour)
        for turn in np.linspace(-2.5, -0.6, 6):
            tip = (0.5 * np.cos(turn), -0.35 + 0.6 * np.sin(turn))
            brush.line([(0, -0.38), tip], rgb("5ca050"), 0.07)
            brush.oval(tip, (0.12, 0.07), rgb("6cb85c"), np.rad2deg(turn))
    return []
