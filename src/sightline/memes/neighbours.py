"""Who lives in Plumble Hollow: animals with round heads, and what they keep in their pockets."""

import numpy as np

from sightline.memes.painting import Brush, Colour, Rng, blend, lighter, palette, rgb, tinted

PASTELS = palette("f08a8a", "f4b860", "f6e08a", "8ccf8a", "7cc4e0", "b49ae0", "f0a8c8", "e8dcc8")
FURS = palette("f2dcc0", "c89a6c", "8a8a94", "f4f2ee", "e0a05c", "6c5a50", "a8c8d8", "f0b8c4", "9cc07c")
ROOFS = palette("d8604c", "4c8cc0", "e0a040", "6a9c58", "9a6cb0", "c87c94", "5c6a74")


def neighbour(rng: Rng, brush: Brush) -> None:
    """An animal with a big round head, ``tall`` px high, standing at ``foot``."""
    fur, shirt = tinted(rng, FURS), tinted(rng, PASTELS, 0.15)
    head, at = 0.3, (0, -0.68)
    brush.oval((0, 0), (0.24, 0.05), lighter(fur, 0.45))
    for side in (-1, 1):
        brush.oval((side * 0.1, -0.03), (0.09, 0.05), lighter(fur, 0.75))
        lift = rng.choice([0.28, 0.42], p=[0.8, 0.2])
        brush.line([(side * 0.14, -0.34), (side * 0.25, -lift + 0.1)], fur, 0.09)
    brush.polygon([(-0.1, -0.44), (0.1, -0.44), (0.21, -0.08), (-0.21, -0.08)], shirt)
    brush.oval((0, -0.09), (0.21, 0.05), lighter(shirt, 0.85))
    if rng.random() < 0.5:
        for row in (0.2, 0.3):
            brush.line([(-0.15, -row), (0.15, -row)], lighter(shirt, 1.4), 0.03)
    _ears(rng, brush.to(at, head), fur)
    brush.ball(at, (head * 1.08, head * 0.95), fur)
    brush.oval(at, (head * 1.0, head * 0.88), fur)
    look, mood = rng.normal(0, 0.1) * head, rng.random()
    muzzle = blend(fur, rgb("fff8ee"), 0.65)
    brush.oval((at[0] + look, at[1] + 0.36 * head), (0.45 * head, 0.32 * head), muzzle)
    for side in (-1, 1):
        eye = (at[0] + side * 0.42 * head + look, at[1] - 0.05 * head)
        if mood < 0.2:
            brush.ring(eye, 0.15 * head, rgb("3c2c24"), head / 14, (180, 360))
        else:
            brush.oval(eye, (0.14 * head, 0.2 * head), rgb("2c2220"))
            brush.disc((eye[0] - 0.04 * head, eye[1] - 0.08 * head), 0.06 * head, rgb("ffffff"))
        brush.oval(
            (at[0] + side * 0.68 * head + look, at[1] + 0.26 * head),
            (0.14 * head, 0.09 * head),
            blend(fur, rgb("f47c84"), 0.6),
        )
    brush.oval((at[0] + look, at[1] + 0.2 * head), (0.1 * head, 0.07 * head), rgb("503830"))
    if mood > 0.75:
        brush.oval((at[0] + look, at[1] + 0.36 * head), (0.16 * head, 0.2 * head), rgb("9c3c40"), 0, (0, 180))
    else:
        for side in (-1, 1):
            brush.ring(
                (at[0] + look + side * 0.1 * head, at[1] + 0.32 * head), 0.1 * head, rgb("503830"), head / 18, (10, 170)
            )
    if rng.random() < 0.3:
        hat = tinted(rng, ROOFS)
        brush.oval((at[0], at[1] - 0.72 * head), (0.8 * head, 0.16 * head), lighter(hat, 0.8))
        brush.oval((at[0], at[1] - 0.75 * head), (0.5 * head, 0.5 * head), hat, 0, (180, 360))


def _ears(rng: Rng, brush: Brush, fur: Colour) -> None:
    kind, inner = rng.integers(5), blend(fur, rgb("f09ca0"), 0.55)
    for side in (-1, 1):
        x, y = side * 0.6, -0.72
        if kind == 0:
            brush.polygon([(x - side * 0.35, y), (x + side * 0.35, y + 0.35), (x + side * 0.22, y - 0.6)], fur)
            brush.polygon([(x - side * 0.15, y), (x + side * 0.25, y + 0.2), (x + side * 0.18, y - 0.38)], inner)
        elif kind == 1:
            brush.disc((x, y), 0.34, fur)
            brush.disc((x, y), 0.19, inner)
        elif kind == 2:
            brush.oval((x - side * 0.15, y - 0.6), (0.2, 0.75), fur, side * 8)
            brush.oval((x - side * 0.15, y - 0.6), (0.1, 0.55), inner, side * 8)
        elif kind == 3:
            brush.oval((x + side * 0.4, y + 0.6), (0.22, 0.55), lighter(fur, 0.8), side * -12)
        else:
            brush.disc((x - side * 0.1, y), 0.26, fur)
            brush.disc((x - side * 0.1, y), 0.16, rgb("fffaf0"))


def thing(rng: Rng, brush: Brush) -> None:
    """Something to put into a pocket: fruit, fish, leaf, shell, flower."""
    colour, kind = tinted(rng, palette("e85848", "f4a040", "f4d850", "6cb85c", "58a8d8", "b080d8")), rng.integers(4)
    if kind == 0:
        brush.ball((0, 0), (0.8, 0.75), colour)
        brush.oval((0.3, -0.85), (0.35, 0.16), rgb("58a04c"), -30)
    elif kind == 1:
        brush.ball((0, 0), (0.8, 0.45), colour)
        brush.polygon([(0.6, 0), (1.1, -0.45), (1.1, 0.45)], lighter(colour, 0.85))
        brush.disc((-0.45, -0.08), 0.1, rgb("202020"))
    elif kind == 2:
        brush.oval((0, 0), (0.85, 0.45), rgb("68b458"), -35)
        brush.line([(-0.7, 0.5), (0.6, -0.4)], rgb("3c7838"), 1 / 8)
    else:
        for turn in np.arange(5) * 1.257:
            brush.disc((0.45 * np.cos(turn), 0.45 * np.sin(turn)), 0.36, colour)
        brush.disc((0, 0), 0.28, rgb("fce068"))


def heart(brush: Brush, colour: Colour) -> None:
    """A heart, about two wide and two high."""
    for side in (-1, 1):
        brush.disc((side * 0.5, -0.2), 0.58, colour)
    brush.polygon([(-1.02, 0), (1.02, 0), (0, 1.1)], colour)
