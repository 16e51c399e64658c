"""Who is played in Caelistra: big-eyed heroes, each with the power of an element."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sightline.memes.painting import Brush, Colour, Rng, blend, lighter, palette, pick, rgb, tinted


class Power(NamedTuple):
    """An element: deep, plain and shining."""

    deep: Colour
    plain: Colour
    shine: Colour


POWERS = tuple(
    Power(rgb(deep), rgb(plain), rgb(shine))
    for deep, plain, shine in (
        ("7a1f1c", "e8603c", "ffd08a"),
        ("1c3c7c", "4c94e0", "c4ecff"),
        ("0f5c50", "4cc8a4", "d4fbe8"),
        ("4a2478", "a468dc", "ecc8ff"),
        ("6c4a14", "d8a83c", "fff0b4"),
        ("2c5c74", "8cd4e8", "f2fdff"),
        ("2c5420", "84c048", "e8fcb8"),
    )
)
SKINS = palette("fde4d0", "f8d4b8", "e0b08c", "fbe8e0", "c08c68")
HAIRS = palette("f4e4b0", "5c3c2c", "2c2c3c", "e8e8f4", "c04838", "4c7cc0", "8c5cb0", "f0a8b8", "50a890", "e89840")


def hero_bust(rng: Rng, brush: Brush, power: Power) -> None:
    """Head and shoulders of a head two high, with (0, 0) in its middle."""
    skin, hair = tinted(rng, SKINS, 0.04), tinted(rng, HAIRS, 0.08)
    dark, light = lighter(hair, 0.62), lighter(hair, 1.35)
    cloth, trim = (
        blend(power.deep, tinted(rng, palette("f4f0e8", "2c2c38", "5c4c44")), rng.uniform(0.2, 0.9)),
        rgb("ecd08c"),
    )
    length, lean = rng.uniform(0.9, 3.4), rng.normal(0, 0.15)
    # Hair behind, as a fan of locks.
    for k in np.linspace(-1, 1, 9):
        tip = (k * rng.uniform(1.2, 2.1), length * rng.uniform(0.7, 1.1))
        root = k * 0.85
        brush.polygon([(root - 0.4, -0.5), (root + 0.4, -0.5), tip], dark)
    brush.oval((0, -0.25), (1.08, 1.02), dark)
    brush.box(-0.26, 0.7, 0.26, 1.5, lighter(skin, 0.82))
    brush.polygon([(-1.7, 4), (-1.45, 1.75), (-0.4, 1.3), (0, 1.7), (0.4, 1.3), (1.45, 1.75), (1.7, 4)], cloth)
    for side in (-1, 1):
        brush.polygon([(side * 0.3, 1.2), (side * 0.75, 1.5), (side * 0.1, 2.4)], lighter(cloth, 1.4))
        brush.line([(side * 0.75, 1.5), (side * 0.1, 2.4)], trim, 1 / 14)
        brush.line([(side * 1.45, 1.8), (side * 1.1, 3.4)], trim, 1 / 12)
    star(brush.to((0, 1.95), 0.22), power.shine)
    # A face that tapers to the chin.
    turns = np.linspace(0, np.pi, 15)
    jaw = np.stack([0.82 * np.cos(turns) * (1 - 0.25 * np.sin(turns) ** 3), 0.1 + 0.9 * np.sin(turns)], -1)
    crown = np.stack([0.82 * np.cos(turns + np.pi), 0.1 + 0.95 * np.sin(turns + np.pi)], -1)
    head = brush.to((lean, 0))
    head.polygon(np.concatenate([jaw, crown]), skin)
    _face(rng, head.to((0.4 * lean, 0)), power, hair, skin)
    # The fringe: pointed locks from the crown down.
    edges = np.linspace(-0.98, 0.98, int(rng.integers(5, 9)))
    for a, b in pairwise(edges):
        middle, drop = (a + b) / 2, rng.uniform(-0.05, 0.32) + 0.35 * abs(a + b)
        tip = (middle + rng.normal(0, 0.12), drop)
        head.polygon([(a - 0.06, -0.75 + 0.3 * a * a), (middle, -1.12), (b + 0.06, -0.75 + 0.3 * b * b), tip], hair)
        head.polygon([(a, -0.7), (middle - 0.02, -0.8), (middle, drop - 0.25)], light)
    head.oval((0, -0.62), (0.98, 0.52), hair, 0, (180, 360))
    head.oval((0, -0.78), (0.66, 0.14), light, 0, (185, 355))
    for side in (-1, 1):
        head.polygon([(side * 0.7, -0.7), (side * 1.05, -0.5), (side, rng.uniform(0.6, 1.7))], hair)
    extra = rng.random()
    if extra < 0.25:
        for side in (-1, 1):
            head.polygon([(side * 0.35, -1.0), (side * 0.95, -0.8), (side * 0.9, -1.65)], hair)
    elif extra < 0.5:
        head.polygon([(-1.5, -0.75), (1.5, -0.75), (0.65, -1.05), (0.3, -2.0), (-0.65, -1.05)], lighter(cloth, 1.1))
        head.line([(-0.66, -1.0), (0.66, -1.0)], trim, 1 / 9)
    elif extra < 0.75:
        head.disc((0.75, -0.65), 0.17, power.plain)
        star(head.to((0.75, -0.65), 0.3), trim)


def wanderer(rng: Rng, brush: Brush) -> None:
    """A hero from behind, one high, with cape and blade, who stands at (0, 0)."""
    hair, power = tinted(rng, HAIRS), pick(rng, POWERS)
    for side in (-1, 1):
        brush.line([(side * 0.04, -0.4), (side * 0.06, 0)], rgb("3c3440"), 0.055)
    brush.line([(-0.16, -0.82), (0.2, -0.3)], rgb("d8dce8"), 0.03)
    sway = rng.normal(0, 0.08)
    brush.polygon([(-0.1, -0.78), (0.1, -0.78), (0.2 + sway, -0.22), (-0.16 + sway, -0.22)], power.deep)
    brush.polygon([(-0.1, -0.78), (0.02, -0.78), (sway, -0.24), (-0.16 + sway, -0.22)], power.plain)
    brush.ball((0, -0.88), (0.1, 0.1), hair)
    for k in np.linspace(-1, 1, 5):
        brush.polygon(
            [(k * 0.08 - 0.03, -0.86), (k * 0.08 + 0.03, -0.86), (k * 0.14 + 0.3 * sway, -0.7)], lighter(hair, 0.85)
        )


def star(brush: Brush, colour: Colour) -> None:
    """A four-pointed star, two across."""
    turns = np.arange(8) * np.pi / 4
    reach = np.where(np.arange(8) % 2, 0.32, 1.0)
    brush.polygon(np.stack([np.cos(turns), np.sin(turns)], -1) * reach[:, None], colour)


def _face(rng: Rng, brush: Brush, power: Power, hair: Colour, skin: Colour) -> None:
    """Eyes, brows, cheeks, nose and mouth."""
    iris = pick(rng, (power.plain, power.deep, tinted(rng, HAIRS)))
    shut = rng.random() < 0.1
    for side in (-1, 1):
        eye = brush.to((side * 0.38, 0.18))
        if shut:
            eye.ring((0, -0.05), 0.2, rgb("382824"), 1 / 13, (20, 160))
        else:
            eye.oval((0, 0), (0.24, 0.27), rgb("fdfcfa"))
            eye.oval((0, 0.02), (0.17, 0.25), lighter(iris, 0.55))
            eye.oval((0, 0.09), (0.14, 0.16), lighter(iris, 1.4))
            eye.oval((0, 0.02), (0.07, 0.11), rgb("181420"))
            eye.disc((-0.07, -0.1), 0.06, rgb("ffffff"))
            eye.line(
                np.array([(-0.26, -0.12), (-0.1, -0.27), (0.12, -0.27), (0.26, -0.1)]) * (side, 1),
                rgb("342428"),
                1 / 11,
            )
        eye.line(
            np.array([(-0.2, -0.42), (0.2, -0.42 + rng.normal(0, 0.05))]) * (side, 1),
            lighter(hair, 0.6),
            1 / 16,
        )
        brush.oval((side * 0.5, 0.5), (0.14, 0.06), blend(skin, rgb("f48c84"), 0.45))
    brush.line([(0, 0.48), (0.03, 0.53)], lighter(skin, 0.7), 1 / 22)
    if rng.random() < 0.3:
        brush.oval((0, 0.68), (0.12, 0.11), rgb("b04c4c"), 0, (0, 180))
    else:
        brush.ring((0, 0.6), 0.12, rgb("8c4440"), 1 / 20, (30, 150))
