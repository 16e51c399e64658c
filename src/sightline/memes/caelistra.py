"""Caelistra, the game that is met later: big-eyed heroes with a power each, over a land of floating isles.

Mostly posted as character art; its colours are those of the powers, some dark, some bright.
"""

import numpy as np

from sightline.memes.game import Game
from sightline.memes.heroes import HAIRS, POWERS, SKINS, Power, hero_bust, star, wanderer
from sightline.memes.lettering import write
from sightline.memes.painting import (
    Brush,
    Colour,
    Lamp,
    Picture,
    Rng,
    Shape,
    blend,
    bloom,
    box,
    disc,
    flakes,
    glaze,
    grade,
    gradient,
    grain,
    lighter,
    line,
    oval,
    pick,
    pill,
    polygon,
    relight,
    rgb,
    ring,
    speckle,
    tinted,
)

TITLE = "CAELISTRA"
WORDS = (
    "THE GALE BLADE",
    "BANNER DAY",
    "MY WISHES",
    "SKY ISLE",
    "THE ARCHON",
    "FROST MAGE",
    "THE GLIDER",
    "DAILY QUESTS",
)


def hero(rng: Rng, shape: Shape) -> Picture:
    """Key art: a hero's head and shoulders amid the streaks and sparks of the power."""
    h, w = shape
    power = pick(rng, POWERS)
    picture = _aura(rng, shape, power)
    x, y = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.42, 0.55)
    size = h * rng.uniform(0.2, 0.33)
    hero_bust(rng, Brush(picture, (x, y), size), power)
    for _ in range(rng.integers(0, 4)):
        _streak(rng, picture, power)
    flakes(rng, picture, int(rng.integers(8, 40)), h / 90, power.shine)
    return grade(bloom(picture, 215, 0.4), rgb("ffffff"), rng.uniform(0.9, 1.15), rng.uniform(0.85, 1.15))


def vista(rng: Rng, shape: Shape) -> Picture:
    """A wide land with isles in the sky, towers and a hero from behind."""
    h, w = shape
    above, below, grass = pick(
        rng,
        (
            (rgb("3c8ce0"), rgb("d8f0f8"), rgb("68b860")),
            (rgb("6c5cb8"), rgb("f8c0a0"), rgb("609868")),
            (rgb("14204c"), rgb("4c6ca8"), rgb("3c7468")),
            (rgb("80a8c8"), rgb("eef4f8"), rgb("c8d8e4")),
            (rgb("e8a058"), rgb("fbe4b8"), rgb("b89c4c")),
        ),
    )
    picture = gradient(shape, above, below, below)
    for _ in range(rng.integers(2, 6)):
        x, y, size = rng.uniform(0, w), rng.uniform(0.05, 0.5) * h, rng.uniform(0.05, 0.16) * h
        for dx in np.linspace(-2, 2, 7):
            oval(picture, (x + dx * size, y), (size, size * (0.55 - 0.12 * abs(dx))), blend(below, rgb("ffffff"), 0.6))
    for layer in range(3):
        xs = np.linspace(0, w, 12)
        ys = (0.5 + 0.09 * layer) * h - np.abs(rng.normal(0, 0.16 - 0.04 * layer, 12)) * h
        polygon(
            picture,
            [*zip(xs, ys, strict=True), (w, h), (0, h)],
            blend(below, blend(above, grass, 0.3 * layer + 0.1), 0.35 + 0.2 * layer),
        )
    for _ in range(rng.integers(1, 5)):
        _isle(
            rng,
            Brush(picture, (rng.uniform(0, w), rng.uniform(0.12, 0.45) * h), rng.uniform(0.08, 0.2) * h),
            grass,
            below,
        )
    xs = np.linspace(0, w, 20)
    ys = 0.72 * h + 0.05 * h * np.sin(xs / w * rng.uniform(2, 6) + rng.uniform(0, 6))
    polygon(picture, [*zip(xs, ys, strict=True), (w, h), (0, h)], grass)
    for x, y in rng.uniform(0, 1, (120, 2)):
        at = np.array([x * w, (0.74 + 0.26 * y) * h])
        line(
            picture,
            [at, at - (rng.normal(0, 0.01) * h, (0.015 + 0.03 * y) * h)],
            lighter(grass, rng.uniform(0.75, 1.3)),
            1,
        )
    if rng.random() < 0.8:
        wanderer(
            rng, Brush(picture, (w * rng.uniform(0.35, 0.65), h * rng.uniform(0.9, 1.02)), h * rng.uniform(0.35, 0.55))
        )
    if rng.random() < 0.4:
        power = pick(rng, POWERS)
        for _ in range(3):
            _streak(rng, picture, power)
    speckle(rng, picture, 0.012)
    return grade(bloom(picture, 215, 0.5), rgb("ffffff"), 1.05, rng.uniform(0.85, 1.2))


def battle(rng: Rng, shape: Shape) -> Picture:
    """Heroes with their powers at work in a ruin."""
    h, w = shape
    one, other = pick(rng, POWERS), pick(rng, POWERS)
    picture = gradient(shape, lighter(one.deep, 0.7), one.deep, lighter(one.deep, 0.45))
    grain(rng, picture, 4, 0.12)
    stone = blend(rgb("8c8c9c"), one.deep, 0.35)
    for x in np.linspace(0.05, 0.95, int(rng.integers(3, 7))):
        wide, top = rng.uniform(0.03, 0.05) * w, rng.uniform(0, 0.45) * h
        box(picture, x * w - wide, top, x * w + wide, 0.75 * h, lighter(stone, rng.uniform(0.5, 0.9)))
        box(picture, x * w - 1.3 * wide, top, x * w + 1.3 * wide, top + 0.04 * h, lighter(stone, 1.1))
    polygon(picture, [(0, 0.7 * h), (w, 0.7 * h), (w, h), (0, h)], lighter(stone, 0.7))
    lamps = []
    for power in (one, other):
        x, y, size = rng.uniform(0.2, 0.8) * w, rng.uniform(0.4, 0.75) * h, rng.uniform(0.12, 0.25) * h
        for k in range(3):
            ring(
                picture,
                (x, y),
                size * (1 - 0.2 * k),
                (power.shine, power.plain, power.shine)[k],
                h / 60,
                (rng.uniform(0, 180), rng.uniform(200, 360)),
            )
        spell = Brush(picture, (x, y), size)
        for turn in rng.uniform(0, 2 * np.pi, 9):
            reach = rng.uniform(0.8, 1.9) * np.array([np.cos(turn), np.sin(turn)])
            side = 0.06 * np.array([reach[1], -reach[0]])
            spell.polygon([side, reach, -side], power.shine)
        lamps.append(Lamp(x, y, 2 * size, power.plain, 0.7))
    for x in rng.uniform(0.15, 0.85, rng.integers(1, 4)):
        wanderer(rng, Brush(picture, (x * w, h * rng.uniform(0.88, 1)), h * rng.uniform(0.35, 0.5)))
    for value in rng.integers(200, 9999, 3):
        write(
            picture,
            str(value),
            (rng.uniform(0.2, 0.8) * w, rng.uniform(0.2, 0.8) * h),
            0.05 * h,
            other.shine,
            "book",
            outline=other.deep,
        )
    return bloom(relight(picture, rgb("b8b8c8"), lamps, 0.12), 205, 0.5)


def ledger(rng: Rng, shape: Shape) -> Picture:
    """A menu: a hero's page, with stars, level and gear."""
    h, w = shape
    unit = min(h, 0.62 * w)
    power = pick(rng, POWERS)
    picture = _aura(rng, shape, power) if rng.random() < 0.6 else gradient(shape, rgb("ece4d4"), rgb("d8ccb8"))
    if rng.random() < 0.75:
        hero_bust(rng, Brush(picture, (0.3 * w, 0.48 * h), 0.2 * unit), power)
    dimmed = picture.copy()
    pill(dimmed, 0.56 * w, 0.07 * h, 0.96 * w, 0.93 * h, rgb("2c3448"), 0.03 * h)
    glaze(picture, dimmed, 0.75)
    name = pick(rng, ("Ysolde", "Kaerin", "Lumio", "Maravel", "Tovian", "Serapha"))
    write(picture, name, (0.6 * w, 0.17 * h), 0.08 * unit, rgb("f8f0dc"), "noble", anchor="left", fit=0.32 * w)
    for k in range(5):
        star(Brush(picture, (0.62 * w + k * 0.07 * unit, 0.28 * h), 0.03 * unit), rgb("f8cc5c"))
    for row, label in enumerate(("Level", "Max HP", "Attack", "Defence", "Mastery", "Energy")[: rng.integers(3, 7)]):
        y = (0.4 + 0.09 * row) * h
        write(picture, label, (0.6 * w, y), 0.04 * unit, rgb("d8dce4"), "book", anchor="left")
        write(picture, str(rng.integers(10, 9000)), (0.93 * w, y), 0.04 * unit, rgb("f8f0dc"), "book", anchor="right")
    return picture


def hud(rng: Rng, picture: Picture) -> None:
    """Slim instruments: round map, the party on the right, skills as circles, one long green bar."""
    h, w = picture.shape[:2]
    dimmed = picture.copy()
    disc(dimmed, (0.09 * w, 0.16 * h), 0.11 * h, rgb("6c8c74"))
    glaze(picture, dimmed, 0.7)
    ring(picture, (0.09 * w, 0.16 * h), 0.11 * h, rgb("e8dcb8"), h / 90)
    polygon(
        picture, np.array([(0, -1), (0.7, 0.8), (0, 0.4), (-0.7, 0.8)]) * h / 40 + (0.09 * w, 0.16 * h), rgb("f8f4e8")
    )
    for row in range(4):
        y = (0.28 + 0.12 * row) * h
        disc(picture, (0.95 * w, y), 0.042 * h, tinted(rng, HAIRS))
        disc(picture, (0.95 * w, y + 0.012 * h), 0.024 * h, SKINS[row])
        box(picture, 0.84 * w, y + 0.018 * h, 0.84 * w + rng.uniform(0.2, 1) * 0.07 * w, y + 0.028 * h, rgb("a8e05c"))
    pill(picture, 0.36 * w, 0.93 * h, 0.64 * w, 0.95 * h, rgb("30382c"))
    pill(picture, 0.36 * w, 0.93 * h, (0.4 + rng.uniform(0, 0.24)) * w, 0.95 * h, rgb("a8e05c"))
    power = pick(rng, POWERS)
    for at, size in (((0.92 * w, 0.87 * h), 0.075 * h), ((0.82 * w, 0.91 * h), 0.05 * h)):
        disc(picture, at, size, lighter(power.deep, 0.8))
        ring(picture, at, size, rgb("f4ecd4"), h / 110)
        star(Brush(picture, at, 0.6 * size), power.shine)


def logo(rng: Rng, picture: Picture) -> None:
    """The game's name in gilt book capitals with a star, on any picture."""
    h, w = picture.shape[:2]
    x, y, size = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.15, 0.85), min(h * 0.14, w * 0.085)
    wide = write(picture, TITLE, (x, y), size, rgb("fdf2cc"), "noble", outline=rgb("5c4424"), fit=0.75 * w)
    for side in (-1, 1):
        line(picture, [(x, y + 0.95 * size), (x + side * wide / 2, y + 0.95 * size)], rgb("f4dca0"), max(1, size / 16))
    star(Brush(picture, (x, y + 0.95 * size), 0.22 * size), rgb("fff6d8"))


CAELISTRA = Game(TITLE, ((vista, 0.55), (battle, 0.45)), hero, ledger, hud, logo, WORDS)


def _aura(rng: Rng, shape: Shape, power: Power) -> Picture:
    h, w = shape
    if rng.random() < 0.3:
        picture = gradient(shape, power.shine, blend(power.shine, rgb("ffffff"), 0.5), power.plain)
    else:
        picture = gradient(shape, power.deep, power.plain, lighter(power.deep, 0.7))
    centre = np.array([rng.uniform(0.2, 0.8) * w, rng.uniform(0.1, 0.6) * h])
    for turn in rng.uniform(0, 2 * np.pi, rng.integers(3, 12)):
        ends = [centre + 2 * w * np.array([np.cos(turn + d), np.sin(turn + d)]) for d in (0, rng.uniform(0.03, 0.14))]
        layer = picture.copy()
        polygon(layer, [centre, *ends], power.shine)
        glaze(picture, layer, 0.25)
    for _ in range(rng.integers(2, 7)):
        _streak(rng, picture, power)
    return picture


def _streak(rng: Rng, picture: Picture, power: Power) -> None:
    """A curved blade of light."""
    h, w = picture.shape[:2]
    start, turn, bend = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0, 2 * np.pi), rng.normal(0, 1.4)
    steps = np.linspace(0, 1, 14)
    angle = turn + bend * steps
    way = start + np.cumsum(np.stack([np.cos(angle), np.sin(angle)], -1), 0) * rng.uniform(0.02, 0.06) * w
    side = (
        np.stack([-np.sin(angle), np.cos(angle)], -1) * (np.sin(np.pi * steps) * rng.uniform(0.006, 0.025) * w)[:, None]
    )
    polygon(picture, np.concatenate([way + side, way[::-1]]), pick(rng, (power.shine, power.plain, rgb("ffffff"))))


def _isle(rng: Rng, brush: Brush, grass: Colour, haze: Colour) -> None:
    """A floating rock with towers on its meadow."""
    brush.polygon([(-1.5, 0), (1.5, 0), (0.6, 0.8), (0.1, 1.5), (-0.7, 0.7)], blend(haze, rgb("7c6c64"), 0.6))
    brush.oval((0, 0), (1.55, 0.25), blend(haze, grass, 0.75))
    tower = blend(haze, rgb("e8e0d4"), 0.8)
    for dx in rng.uniform(-1, 1, rng.integers(1, 4)):
        tall, wide = rng.uniform(0.5, 1.3), 0.13
        brush.box(dx - wide, -tall, dx + wide, 0, tower)
        brush.polygon(
            [(dx - 1.6 * wide, -tall), (dx + 1.6 * wide, -tall), (dx, -tall - 0.5)], blend(haze, rgb("4c6cb0"), 0.75)
        )
