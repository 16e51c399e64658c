"""Two other invented games, near the known ones: Hexmarrow, as dark as Slagmoor, and Bumblebrick, as bright as Plumble.

The first is a gothic crypt crawler in stone and torchlight, the second a world of cubes.
"""

import numpy as np

from sightline.core.rendering import Array
from sightline.memes.game import Game
from sightline.memes.lettering import write
from sightline.memes.painting import (
    Brush,
    Colour,
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
    mist,
    palette,
    pick,
    polygon,
    relight,
    rgb,
    speckle,
    square,
    tinted,
    vignette,
)
from sightline.memes.solids import Bulb, Set, View, Weather, paint

STONES = palette("6c6a64", "5c5a60", "746a5c", "545e5c")
TORCH = rgb("ffa048")
WITCHLIGHT = palette("70f0a0", "b07cf8", "68c8f8", "ffa048")
TURF = palette("6cb848", "84c45c", "5ca444")
BRICKS = palette("e05848", "f0a838", "f4dc58", "58b858", "4c94e0", "9c68d0", "f4f0e8", "a87448")


def crypt(rng: Rng, shape: Shape) -> Picture:
    """An aisle of pillars and arches by torchlight."""
    wide, tall, deep = rng.uniform(5, 9), rng.uniform(4, 7), rng.uniform(18, 30)
    view = View(
        shape, (rng.normal(0, 0.8), 1.7, 0), rng.normal(0, 0.18), rng.normal(0.03, 0.06), rng.uniform(0.55, 0.8)
    )
    things, bulbs, stone = Set(), [], tinted(rng, STONES)
    things.plane(rng, (-wide / 2, 0, -1), (wide, 0, 0), (0, 0, deep + 1), (7, 20), lighter(stone, 0.85), 0.2)
    things.plane(rng, (-wide / 2, tall, -1), (wide, 0, 0), (0, 0, deep + 1), (4, 14), lighter(stone, 0.6), 0.15)
    things.plane(rng, (-wide / 2, 0, deep), (wide, 0, 0), (0, tall, 0), (6, 6), lighter(stone, 0.8), 0.2)
    light = pick(rng, tuple(WITCHLIGHT), (0.15, 0.15, 0.1, 0.6))
    gap = rng.uniform(3, 4.5)
    for x in (-wide / 2, wide / 2):
        things.plane(rng, (x, 0, -1), (0, tall, 0), (0, 0, deep + 1), (8, 20), stone, 0.2)
        for z in np.arange(rng.uniform(2, 4), deep, gap):
            edge = x * 0.86
            things.tube((edge, 0, z), (edge, tall * 0.7, z), 0.32, lighter(stone, 1.1), 8, 4)
            things.block((edge, 0, z), (0.9, 0.4, 0.9), stone)
            things.block((edge, tall * 0.7, z), (0.9, 0.3, 0.9), stone)
            for k in range(6):
                a, b = (
                    np.array([np.cos(t), np.sin(t)]) * (abs(edge), tall * 0.28) for t in (k * 0.262, (k + 1) * 0.262)
                )
                side = np.sign(x)
                things.quad(
                    [
                        (side * a[0], tall * 0.7 + a[1], z - 0.3),
                        (side * b[0], tall * 0.7 + b[1], z - 0.3),
                        (side * b[0], tall * 0.7 + b[1] + 0.35, z - 0.3),
                        (side * a[0], tall * 0.7 + a[1] + 0.35, z - 0.3),
                    ],
                    lighter(stone, 0.95),
                )
            if rng.random() < 0.6:
                at = (edge * 0.86, tall * 0.42, z)
                things.block(at, (0.16, 0.34, 0.16), lighter(light, 1.6))
                things.glowing[-6:] = [True] * 6
                bulbs.append(Bulb((at[0] * 0.9, at[1] + 0.3, z - 0.3), light, rng.uniform(1.8, 3.2)))
    for _ in range(rng.integers(0, 4)):
        x, z = rng.uniform(-0.3, 0.3) * wide, rng.uniform(5, deep)
        things.block((x, 0, z), (1.1, 0.8, 2.2), lighter(stone, 0.9), rng.normal(0, 0.3), lighter(stone, 1.15))
    fog = lighter(blend(light, rgb("202430"), 0.6), 0.35)
    picture = gradient(shape, fog, fog)
    paint(picture, view, things, Weather(lighter(stone, rng.uniform(0.3, 0.6)), fog, rng.uniform(15, 45)), bulbs)
    return _finished(rng, _haunt(rng, picture, view, light), light)


def castle(rng: Rng, shape: Shape) -> Picture:
    """Towers on a crag, by moonlight, in mist or under a pale sky."""
    h, w = shape
    above, below = pick(
        rng,
        (
            (rgb("0c1020"), rgb("38445c")),
            (rgb("2c2438"), rgb("8c6478")),
            (rgb("8c949c"), rgb("ccd0d0")),
            (rgb("38444c"), rgb("8c9c94")),
        ),
        (0.35, 0.25, 0.2, 0.2),
    )
    picture = gradient(shape, above, below, below)
    grain(rng, picture, 3, 0.12)
    if rng.random() < 0.6:
        disc(picture, rng.uniform(0.1, 0.5, 2) * (w, h), h * rng.uniform(0.06, 0.13), blend(below, rgb("f4f0dc"), 0.8))
    for layer in range(3):
        colour = blend(below, rgb("16161c"), 0.35 + 0.25 * layer)
        xs = np.linspace(0, w, 14)
        ground = (0.62 + 0.12 * layer) * h - np.abs(rng.normal(0, 0.07, 14)) * h
        for x in rng.uniform(0.05, 0.95, rng.integers(2, 6)) * w if layer < 2 else ():
            foot, wide, tall = (
                np.interp(x, xs, ground) + 0.1 * h,
                rng.uniform(0.015, 0.04) * w,
                rng.uniform(0.2, 0.5) * h,
            )
            box(picture, x - wide, foot - tall, x + wide, foot, colour)
            polygon(
                picture,
                [(x - 1.3 * wide, foot - tall), (x + 1.3 * wide, foot - tall), (x, foot - tall - 3.2 * wide)],
                lighter(colour, 0.8),
            )
            for k in range(3):
                if rng.random() < 0.6:
                    box(
                        picture,
                        x - 0.2 * wide,
                        foot - tall * (0.85 - 0.22 * k),
                        x + 0.2 * wide,
                        foot - tall * (0.78 - 0.22 * k),
                        TORCH,
                    )
        polygon(picture, [*zip(xs, ground, strict=True), (w, h), (0, h)], colour)
    for _ in range(rng.integers(0, 4)):
        _dead_tree(rng, picture, (rng.uniform(0, w), h * rng.uniform(0.9, 1.05)), h * rng.uniform(0.3, 0.7))
    view = View(shape, (0.0, 1.7, 0.0))
    return _finished(rng, mist(rng, _haunt(rng, picture, view, TORCH), below, rng.uniform(0, 0.5), low=True), below)


def cowl(rng: Rng, shape: Shape) -> Picture:
    """Key art: a hooded figure or a skull with burning eyes."""
    h, w = shape
    light = pick(rng, tuple(WITCHLIGHT))
    back = blend(light, rgb("2c2c34"), rng.uniform(0.5, 0.9))
    picture = gradient(shape, lighter(back, 0.5), back, lighter(back, 0.4))
    grain(rng, picture, 4, 0.22, 4)
    at = (w * rng.uniform(0.35, 0.65), h * rng.uniform(0.42, 0.55))
    brush = Brush(picture, at, h * rng.uniform(0.2, 0.32))
    robe = tinted(rng, palette("3c3440", "4c3430", "343c3c", "5c5448"))
    brush.polygon([(-2.4, 4), (-1.7, 1.4), (-1.05, -0.4), (0, -1.5), (1.05, -0.4), (1.7, 1.4), (2.4, 4)], robe)
    brush.polygon([(-0.7, 0.9), (-0.8, -0.2), (0, -1.05), (0.8, -0.2), (0.7, 0.9), (0, 1.3)], rgb("0c0a0e"))
    if rng.random() < 0.7:
        bone = rgb("d8d0b8")
        brush.ball((0, 0), (0.6, 0.66), bone)
        brush.polygon([(-0.36, 0.4), (0.36, 0.4), (0.28, 0.95), (-0.28, 0.95)], lighter(bone, 0.85))
        for k in np.linspace(-0.24, 0.24, 5):
            brush.line([(k, 0.66), (k, 0.9)], rgb("2c2420"), 1 / 18)
        brush.polygon([(-0.09, 0.4), (0.09, 0.4), (0, 0.2)], rgb("1c1614"))
    for side in (-1, 1):
        brush.oval((side * 0.26, 0.02), (0.18, 0.2), rgb("0c0a0e"))
        brush.disc((side * 0.26, 0.03), 0.09, lighter(light, 1.3))
    lamps = [brush.lamp((side * 0.26, 0), 0.7, light, 0.7) for side in (-1, 1)]
    return _finished(rng, relight(picture, rgb("a0a0a8"), lamps, 0.15), light)


def grimoire(rng: Rng, shape: Shape) -> Picture:
    """A menu: a page of spells and relics."""
    h, w = shape
    unit = min(h, 0.62 * w)
    page, ink = (rgb("d0bf98"), rgb("3c2c20")) if rng.random() < 0.4 else (rgb("1c1a1e"), rgb("c8b890"))
    picture = gradient(shape, page, lighter(page, 0.8))
    grain(rng, picture, 20, 0.05)
    write(
        picture,
        pick(rng, ("Relics", "Attributes", "You Perished", "Grimoire")),
        (0.5 * w, 0.13 * h),
        0.1 * unit,
        ink,
        "noble",
    )
    for row in range(int(rng.integers(4, 8))):
        y = (0.3 + 0.085 * row) * h
        write(
            picture,
            pick(rng, ("Vigour", "Bone Ward", "Mind", "Candle Oath", "Faith", "Grave Salt")),
            (0.1 * w, y),
            0.045 * unit,
            ink,
            "book",
            anchor="left",
        )
        write(picture, str(rng.integers(5, 99)), (0.45 * w, y), 0.045 * unit, ink, "book", anchor="right")
    for k in range(int(rng.integers(4, 13))):
        at = np.array([0.6 + 0.11 * (k % 4), 0.34 + 0.2 * (k // 4)]) * (w, h)
        square(picture, at, 0.045 * unit, lighter(page, 0.6))
        disc(picture, at, 0.025 * unit, tinted(rng, WITCHLIGHT))
    return picture


def dungeon_hud(rng: Rng, picture: Picture) -> None:
    """Thin bars top left, what is in hand as a cross bottom left, souls bottom right."""
    h, w = picture.shape[:2]
    for row, colour in enumerate((rgb("a82c24"), rgb("2c58a8"), rgb("3c8c48"))):
        y, share = (0.07 + 0.035 * row) * h, rng.uniform(0.3, 1)
        box(picture, 0.06 * w, y, 0.36 * w, y + 0.018 * h, rgb("18140f"))
        box(picture, 0.06 * w, y, (0.06 + 0.3 * share) * w, y + 0.018 * h, colour)
    for dx, dy in ((0, -1), (-1, 0), (1, 0), (0, 1)):
        at = np.array([0.09 * w + dx * 0.075 * h, 0.83 * h + dy * 0.075 * h])
        layer = picture.copy()
        square(layer, at, 0.035 * h, rgb("2c2820"))
        glaze(picture, layer, 0.7)
        disc(picture, at, 0.02 * h, tinted(rng, STONES, 0.3))
    write(picture, str(rng.integers(100, 99999)), (0.95 * w, 0.92 * h), 0.05 * h, rgb("e0d4b4"), "book", anchor="right")


def dungeon_logo(rng: Rng, picture: Picture) -> None:
    """The name in thin book capitals, on any picture."""
    h, w = picture.shape[:2]
    spot = (w * rng.uniform(0.35, 0.65), h * rng.uniform(0.2, 0.8))
    write(
        picture, "HEXMARROW", spot, min(0.14 * h, 0.08 * w), rgb("d8ccb0"), "book", outline=rgb("100c0c"), fit=0.75 * w
    )


def cubes(rng: Rng, shape: Shape) -> Picture:
    """A landscape of cubes with trees, huts and beasts of cubes; by day, at sunset or at night."""
    above, below, ambient, sun = pick(
        rng,
        (
            (rgb("4c9cf0"), rgb("c4e4fc"), rgb("9ca4b4"), rgb("a09a88")),
            (rgb("6c5090"), rgb("f8a868"), rgb("7c6878"), rgb("d08c58")),
            (rgb("0c1434"), rgb("24345c"), rgb("2c3450"), rgb("141c30")),
            (rgb("88949c"), rgb("c4ccd0"), rgb("9aa2aa"), rgb("484c50")),
        ),
        (0.5, 0.2, 0.18, 0.12),
    )
    view = View(shape, (0, rng.uniform(4, 7), 0), rng.normal(0, 0.15), rng.uniform(-0.22, -0.02), rng.uniform(0.6, 0.9))
    things, bulbs = Set(), []
    turf, soil = pick(
        rng,
        ((tinted(rng, TURF), rgb("8c6440")), (rgb("e8f0f4"), rgb("8c8c94")), (rgb("e8d498"), rgb("d0b474"))),
        (0.7, 0.15, 0.15),
    )
    bumps = rng.normal(0, 0.8, (5, 2))
    for z in np.arange(3, 34, 2.0):
        for x in np.arange(-0.75 * z - 2, 0.75 * z + 3, 2.0):
            level = float(np.rint(sum(np.sin(x * 0.21 * a + z * 0.17 * b) for a, b in bumps) * 0.6))
            things.block(
                (x, level - 2, z),
                (2, 2, 2),
                lighter(soil, float(np.exp(rng.normal(0, 0.06)))),
                0.0,
                lighter(turf, float(np.exp(rng.normal(0, 0.07)))),
            )
            luck = rng.random()
            if luck < 0.035:
                _cube_tree(rng, things, x, level, z)
            elif luck < 0.045 and z > 8:
                wall = tinted(rng, BRICKS)
                things.block((x, level, z), (4, 3, 4), wall)
                things.block((x, level + 3, z), (4.6, 1, 4.6), lighter(wall, 0.6))
                things.block((x, level, z - 2), (0.9, 1.8, 0.2), rgb("5c4028"))
                bulbs.append(Bulb((x + 1, level + 2, z - 3), rgb("ffd070"), 2.5))
            elif luck < 0.06 and z > 5:
                _cube_beast(rng, things, x, level, z, tinted(rng, BRICKS))
    picture = gradient(shape, above, below, below)
    h, w = shape
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(0, w), rng.uniform(0.03, 0.3) * h
        box(picture, x, y, x + rng.uniform(0.1, 0.25) * w, y + 0.05 * h, blend(below, rgb("ffffff"), 0.7))
    x, y = rng.uniform(0.1, 0.9) * w, rng.uniform(0.08, 0.2) * h
    box(picture, x - 0.05 * h, y - 0.05 * h, x + 0.05 * h, y + 0.05 * h, rgb("fdf6d0"))
    paint(
        picture,
        view,
        things,
        Weather(ambient, below, rng.uniform(45, 110), sun, (rng.uniform(-1, 1), 0.9, -0.4)),
        bulbs,
    )
    speckle(rng, picture, 0.025)
    return grade(picture, rgb("ffffff"), rng.uniform(0.9, 1.1), rng.uniform(0.8, 1.15))


def cube_head(rng: Rng, shape: Shape) -> Picture:
    """Key art: a hero made of cubes before rays of colour."""
    h, w = shape
    back = tinted(rng, BRICKS)
    picture = gradient(shape, lighter(back, 1.3), lighter(back, 0.8))
    middle = np.array([w / 2, 0.6 * h])
    for turn in np.arange(0, 2 * np.pi, np.pi / 8):
        polygon(
            picture,
            [middle, *(middle + 2 * w * np.array([np.cos(turn + d), np.sin(turn + d)]) for d in (0, 0.2))],
            lighter(back, 1.15),
        )
    view, things = View(shape, (0, 1.6, -1), 0, -0.02, 0.75), Set()
    for x in np.linspace(-1, 1, int(rng.integers(1, 4))) * 1.3 if rng.random() < 0.4 else (rng.normal(0, 0.3),):
        _cube_beast(rng, things, float(x), 0.0, rng.uniform(1.8, 3), tinted(rng, BRICKS), upright=True)
    paint(picture, view, things, Weather(rgb("9098a4"), back, 80, rgb("a09888"), (0.5, 0.8, -0.9)))
    return grade(picture, rgb("ffffff"), 1.05, rng.uniform(0.85, 1.15))


def chest(rng: Rng, shape: Shape) -> Picture:
    """A menu: a grid of square slots on grey."""
    h, w = shape
    unit = min(h, 0.62 * w)
    back = pick(rng, (rgb("c6c6c6"), rgb("8c6c48"), rgb("4c84b8"), rgb("38383c")))
    picture = gradient(shape, back, lighter(back, 0.9))
    write(
        picture,
        pick(rng, ("INVENTORY", "CRAFT", "OPTIONS", "NEW WORLD")),
        (0.5 * w, 0.12 * h),
        0.075 * unit,
        rgb("ffffff"),
        "raster",
        outline=rgb("303030"),
    )
    if rng.random() < 0.6:
        side = min(0.085 * w, 0.13 * h)
        for k in range(27):
            at = np.array([0.5 * w + (k % 9 - 4) * side * 1.1, (0.35 + k // 9 * 0.0) * h + (k // 9) * side * 1.2])
            square(picture, at, side / 2, lighter(back, 0.6))
            if rng.random() < 0.5:
                colour = tinted(rng, BRICKS)
                polygon(
                    picture,
                    np.array([(0, -0.36), (0.34, -0.18), (0, 0), (-0.34, -0.18)]) * side + at,
                    lighter(colour, 1.2),
                )
                polygon(picture, np.array([(-0.34, -0.18), (0, 0), (0, 0.38), (-0.34, 0.2)]) * side + at, colour)
                polygon(
                    picture, np.array([(0.34, -0.18), (0, 0), (0, 0.38), (0.34, 0.2)]) * side + at, lighter(colour, 0.7)
                )
    else:
        for row, entry in enumerate(("SINGLE PLAYER", "FRIENDS", "TEXTURES", "QUIT")):
            y = (0.35 + 0.15 * row) * h
            box(picture, 0.22 * w, y - 0.05 * h, 0.78 * w, y + 0.05 * h, rgb("6c6c70"))
            write(picture, entry, (0.5 * w, y), 0.05 * unit, rgb("f8f8f0"), "raster", fit=0.5 * w)
    return picture


def cube_hud(rng: Rng, picture: Picture) -> None:
    """A bar of nine slots at the bottom, hearts above it, a cross in the middle."""
    h, w = picture.shape[:2]
    side = 0.085 * h
    for k in range(9):
        at = np.array([0.5 * w + (k - 4) * side, 0.93 * h])
        square(picture, at, side / 2, rgb("e8e8e8") if k == 4 else rgb("606064"))
        square(picture, at, side * 0.42, rgb("8c8c90"))
        if rng.random() < 0.6:
            square(picture, at, side * 0.22, tinted(rng, BRICKS))
    for k in range(10):
        x = 0.5 * w - 4.4 * side + k * 0.42 * side
        box(picture, x, 0.845 * h, x + 0.032 * h, 0.875 * h, rgb("d83830") if k < 7 else rgb("402024"))
    for way in ((1, 0), (0, 1)):
        line(
            picture,
            [
                (0.5 * w - way[0] * 0.02 * h, 0.5 * h - way[1] * 0.02 * h),
                (0.5 * w + way[0] * 0.02 * h, 0.5 * h + way[1] * 0.02 * h),
            ],
            rgb("f0f0f0"),
            1,
        )


def cube_logo(rng: Rng, picture: Picture) -> None:
    """The name in raster capitals, on any picture."""
    h, w = picture.shape[:2]
    spot = (w * rng.uniform(0.35, 0.65), h * rng.uniform(0.2, 0.8))
    write(
        picture,
        "BUMBLEBRICK",
        spot,
        min(0.14 * h, 0.08 * w),
        rgb("fce05c"),
        "raster",
        outline=rgb("4c3418"),
        fit=0.8 * w,
    )


HEXMARROW = Game(
    "HEXMARROW",
    ((crypt, 0.6), (castle, 0.4)),
    cowl,
    grimoire,
    dungeon_hud,
    dungeon_logo,
    ("THE BONE KING", "CRYPT LEVEL 3", "MY FIRST BOSS", "GRAVE SALT", "THE LICH"),
)
BUMBLEBRICK = Game(
    "BUMBLEBRICK",
    ((cubes, 1.0),),
    cube_head,
    chest,
    cube_hud,
    cube_logo,
    ("MY FIRST HUT", "CUBE COW", "DIGGING DOWN", "THE BIG CASTLE", "LAVA"),
)


def _haunt(rng: Rng, picture: Picture, view: View, light: Colour) -> Picture:
    """Skeletons at some distance; the wanderer from behind, or his blade."""
    h, w = picture.shape[:2]
    for _ in range(rng.integers(0, 4)):
        z = rng.uniform(4, 14)
        (x, y), scale = view.spot((rng.uniform(-0.25, 0.25) * z, 0, z))
        _skeleton(
            Brush(picture, (x, y), 1.8 * scale), blend(rgb("c8c0a8"), light, 0.2) * (0.35 + 0.4 * np.exp(-z / 10))
        )
    if rng.random() < 0.35:
        brush = Brush(picture, (w * rng.uniform(0.4, 0.6), h * 1.02), h * rng.uniform(0.45, 0.65))
        robe = tinted(rng, palette("3c3440", "4c3c30", "2c3438"))
        brush.polygon([(-0.24, 0), (-0.16, -0.7), (0, -1), (0.16, -0.7), (0.24, 0)], robe)
        brush.line([(0.2, -0.5), (0.42, -0.95)], rgb("a8acb4"), 0.035)
    elif rng.random() < 0.4:
        blade = np.array([(0.66, 1.05), (0.56, 0.35), (0.58, 0.3), (0.62, 0.36), (0.73, 1.05)])
        polygon(picture, blade * (w, h), rgb("8c9098"))
        line(picture, [(0.6 * w, 0.88 * h), (0.78 * w, 0.84 * h)], rgb("5c4428"), 0.035 * h)
    return picture


def _skeleton(brush: Brush, bone: Colour) -> None:
    for side in (-1, 1):
        brush.line([(0, -0.5), (side * 0.07, -0.25), (side * 0.08, 0)], bone, 0.035)
        brush.line([(0, -0.78), (side * 0.16, -0.6), (side * 0.2, -0.42)], bone, 0.03)
    brush.line([(0, -0.5), (0, -0.82)], bone, 0.04)
    for k in range(4):
        brush.line([(-0.09, -0.6 - 0.05 * k), (0.09, -0.6 - 0.05 * k)], bone, 0.02)
    brush.ball((0, -0.89), (0.07, 0.08), bone)


def _dead_tree(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float) -> None:
    stack: list[tuple[Array, float, float, float]] = [(np.array(foot), -np.pi / 2, tall * 0.4, tall * 0.06)]
    while stack:
        at, turn, long, wide = stack.pop()
        tip = at + long * np.array([np.cos(turn), np.sin(turn)])
        line(picture, [at, tip], rgb("121014"), wide)
        if long > tall * 0.08:
            stack += [
                (tip, turn + rng.normal(side * 0.5, 0.2), long * rng.uniform(0.55, 0.75), wide * 0.6)
                for side in (-1, 1)
            ]


def _cube_tree(rng: Rng, things: Set, x: float, level: float, z: float) -> None:
    tall, leaf = rng.uniform(2, 4), tinted(rng, TURF, 0.15)
    things.block((x, level, z), (0.8, tall, 0.8), rgb("7c5430"))
    things.block((x, level + tall, z), (3.2, 1.6, 3.2), lighter(leaf, 0.75), 0.0, leaf)
    things.block((x, level + tall + 1.6, z), (1.8, 1.2, 1.8), lighter(leaf, 0.8), 0.0, leaf)


def _cube_beast(rng: Rng, things: Set, x: float, level: float, z: float, colour: Colour, upright: bool = False) -> None:
    other = tinted(rng, BRICKS)
    if upright:
        for side in (-1, 1):
            things.block((x + side * 0.13, level, z), (0.24, 0.7, 0.25), lighter(other, 0.6))
            things.block((x + side * 0.38, level + 0.7, z), (0.22, 0.7, 0.25), other)
        things.block((x, level + 0.7, z), (0.52, 0.72, 0.28), colour)
        head = level + 1.42
        things.block((x, head, z), (0.56, 0.54, 0.5), rgb("e0b088"), 0.0, rgb("5c3c24"))
        front = z - 0.27
    else:
        for dx in (-0.3, 0.3):
            for dz in (-0.5, 0.5):
                things.block((x + dx, level, z + dz), (0.25, 0.6, 0.25), lighter(colour, 0.7))
        things.block((x, level + 0.6, z), (0.9, 0.8, 1.5), colour)
        head, front = level + 0.9, z - 1.27
        things.block((x, head, z - 1), (0.56, 0.54, 0.5), other)
    for side in (-1, 1):
        left = x + side * 0.15 - 0.06
        things.quad(
            [
                (left, head + 0.3, front),
                (left + 0.12, head + 0.3, front),
                (left + 0.12, head + 0.4, front),
                (left, head + 0.4, front),
            ],
            rgb("202028"),
        )
    things.quad(
        [
            (x - 0.1, head + 0.1, front),
            (x + 0.1, head + 0.1, front),
            (x + 0.1, head + 0.15, front),
            (x - 0.1, head + 0.15, front),
        ],
        rgb("704038"),
    )


def _finished(rng: Rng, picture: Picture, cast: Colour) -> Picture:
    speckle(rng, picture, rng.uniform(0.015, 0.06))
    if rng.random() < 0.3:
        flakes(rng, picture, int(rng.integers(10, 40)), picture.shape[0] / 150, blend(cast, rgb("ffffff"), 0.5))
    tint = blend(rgb("ffffff"), cast, rng.uniform(0, 0.15))
    return vignette(
        grade(bloom(picture), tint * 255 / tint.max(), rng.uniform(0.9, 1.2), rng.uniform(0.6, 1.1)),
        rng.uniform(0.1, 0.6),
    )
