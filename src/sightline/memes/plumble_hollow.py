"""Plumble Hollow, the bright game: round houses on round hills, animal neighbours, flowers, seasons.

Painted flat, layer by layer, as picture books are. It has its dark sides too: lantern nights, rain, a crystal cave, a
room with the lamp on.
"""

import numpy as np

from sightline.memes.countryside import SEASONS, WOOD, Season, fence, flowers, furniture, house, palm, parasol, tree
from sightline.memes.game import Game
from sightline.memes.lettering import letters, write, write_lines
from sightline.memes.neighbours import PASTELS, ROOFS, heart, neighbour, thing
from sightline.memes.painting import (
    Brush,
    Colour,
    Lamp,
    Picture,
    Rng,
    Shape,
    ball,
    blend,
    bloom,
    box,
    disc,
    flakes,
    glaze,
    grade,
    gradient,
    lighter,
    line,
    mist,
    oval,
    palette,
    pick,
    pill,
    polygon,
    relight,
    rgb,
    ring,
    speckle,
    tinted,
    vignette,
)

TITLE = "PLUMBLE HOLLOW"
WORDS = (
    "THE NEIGHBOURS", "TURNIP DAY", "THE POND", "MY HOUSE LOAN", "BUG SEASON", "THE TEA SHOP", "MAYOR BUN",
    "FISHING", "THE BERRY FAIR", "MY GARDEN", "LAMP NIGHT", "THE LITTLE SHOP",
)  # fmt: skip


SEASON_SHARES = (0.13, 0.1, 0.13, 0.12, 0.15, 0.17, 0.1, 0.1)


def village(rng: Rng, shape: Shape) -> Picture:
    """Houses, trees and neighbours on hills, in any season and at any hour."""
    season = pick(rng, tuple(SEASONS.values()), SEASON_SHARES)
    h, w = shape
    picture = _sky(rng, shape, season)
    horizon = rng.uniform(0.3, 0.55) * h
    for layer in range(3):
        tone = blend(season.sky[1], season.grass, 0.35 + 0.28 * layer)
        _hill(rng, picture, horizon + layer * 0.07 * h, tone, season if layer == 2 else None)
    lamps: list[Lamp] = []
    if rng.random() < 0.6:
        _path(rng, picture, horizon, pick(rng, (rgb("d8b888"), rgb("c8a878"), rgb("c4bcb0"))))
    if rng.random() < 0.3:
        _pond(rng, picture, horizon, season)
    for y in np.sort(rng.uniform(horizon + 0.1 * h, 1.05 * h, rng.integers(6, 15))):
        near = 0.25 + 0.75 * (y - horizon) / (h - horizon)
        x = rng.uniform(-0.05, 1.05) * w
        kind = rng.random()
        if kind < 0.24:
            lamps += house(rng, Brush(picture, (x, y), near * h * rng.uniform(0.42, 0.6)), season)
        elif kind < 0.6:
            tree(rng, Brush(picture, (x, y), near * h * rng.uniform(0.35, 0.6)), season)
        elif kind < 0.75:
            neighbour(rng, Brush(picture, (x, y), near * h * rng.uniform(0.28, 0.42)))
        elif kind < 0.88:
            flowers(rng, Brush(picture, (x, y), near * h * 0.12))
        else:
            fence(rng, Brush(picture, (x, y), near * h * 0.13))
    if rng.random() < 0.55:
        neighbour(
            rng, Brush(picture, (rng.uniform(0.25, 0.75) * w, rng.uniform(0.86, 1.05) * h), h * rng.uniform(0.4, 0.65))
        )
    return _finished(rng, picture, season, lamps)


def beach(rng: Rng, shape: Shape) -> Picture:
    """Sand, sea, palms, parasols and shells; by day, at sunset or under the stars."""
    season = SEASONS[pick(rng, ("summer", "dusk", "night", "rain"), (0.32, 0.28, 0.25, 0.15))]
    h, w = shape
    picture = _sky(rng, shape, season)
    horizon = rng.uniform(0.25, 0.45) * h
    sea = blend(rgb("2c9cc8"), season.sky[0], 0.3)
    box(picture, 0, horizon, w, h, sea)
    for y in np.linspace(horizon + 4, 0.75 * h, 14):
        for x in rng.uniform(0, w, 5):
            line(picture, [(x, y), (x + rng.uniform(0.02, 0.1) * w, y)], lighter(sea, 1.5), h / 150)
    xs = np.linspace(-0.05 * w, 1.05 * w, 24)
    shore = rng.uniform(0.55, 0.72) * h + 0.05 * h * np.sin(xs / w * rng.uniform(3, 9) + rng.uniform(0, 6))
    for lift, colour in ((-0.04, rgb("a8e4e8")), (-0.015, rgb("f6fbf8")), (0.0, rgb("d8bc8c")), (0.04, rgb("f0dcac"))):
        polygon(picture, [*zip(xs, shore + lift * h, strict=True), (w, h), (0, h)], colour)
    speckle(rng, picture, 0.02)
    for y in np.sort(rng.uniform(0.68, 1.08, rng.integers(4, 9))):
        at, near = (rng.uniform(0, 1) * w, y * h), 0.3 + 0.7 * (y - 0.5)
        kind = rng.random()
        if kind < 0.35:
            palm(rng, Brush(picture, at, h * rng.uniform(0.5, 0.9) * near))
        elif kind < 0.55:
            parasol(rng, Brush(picture, at, h * 0.5 * near))
        elif kind < 0.8:
            neighbour(rng, Brush(picture, at, h * rng.uniform(0.4, 0.7) * near))
        else:
            for _ in range(3):
                spot = np.array(at) + rng.normal(0, 0.04, 2) * h
                oval(picture, spot, (0.022 * h, 0.017 * h), tinted(rng, PASTELS))
                for turn in (-0.5, 0, 0.5):
                    line(picture, [spot, spot + 0.017 * h * np.array([np.sin(turn), -np.cos(turn)])], rgb("ffffff"), 1)
    return _finished(rng, picture, season, [])


def room(rng: Rng, shape: Shape) -> Picture:
    """The inside of a house: wallpaper, rug, furniture; by daylight or with the lamps on."""
    h, w = shape
    wall, floor = tinted(rng, PASTELS), tinted(rng, WOOD)
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = wall.astype(np.uint8)
    edge = rng.uniform(0.5, 0.66) * h
    style, stripe = rng.integers(3), lighter(wall, 1.25)
    for k, x in enumerate(np.arange(0, w, 0.06 * w)):
        if style == 0:
            box(picture, x, 0, x + 0.03 * w, edge, stripe)
        elif style == 1:
            for y in np.arange((k % 2) * 0.05 * h, edge, 0.1 * h):
                disc(picture, (x, y), 0.014 * h, stripe)
    box(picture, 0, edge, w, h, floor)
    for k in range(9):
        x = w * (k - 4) / 4
        line(picture, [(w / 2 + 0.35 * x, edge), (w / 2 + x, h)], lighter(floor, 0.85), h / 150)
    box(picture, 0, edge - 0.02 * h, w, edge + 0.015 * h, lighter(floor, 1.4))
    oval(picture, (w * rng.uniform(0.35, 0.65), 0.82 * h), (0.32 * w, 0.13 * h), tinted(rng, PASTELS))
    oval(picture, (w * 0.5, 0.82 * h), (0.22 * w, 0.09 * h), tinted(rng, PASTELS))
    dark, lamps = rng.random() < 0.6, []
    x, y, size = rng.uniform(0.2, 0.8) * w, 0.25 * h, 0.14 * h
    disc(picture, (x, y), size * 1.15, lighter(floor, 1.3))
    disc(picture, (x, y), size, rgb("1c2850") if dark else rgb("a8dcf4"))
    for way in ((1, 0), (0, 1)):
        line(
            picture,
            [(x - way[0] * size, y - way[1] * size), (x + way[0] * size, y + way[1] * size)],
            lighter(floor, 1.3),
            h / 60,
        )
    for x in rng.permutation(np.linspace(0.08, 0.92, 5))[: rng.integers(3, 6)] * w:
        lamps += furniture(rng, Brush(picture, (x, edge + rng.uniform(0.06, 0.16) * h), rng.uniform(0.22, 0.34) * h))
    for x in rng.uniform(0.15, 0.85, rng.integers(1, 3)) * w:
        neighbour(rng, Brush(picture, (x, h * rng.uniform(0.85, 1.0)), h * rng.uniform(0.4, 0.62)))
    if dark:
        warm = [Lamp(lamp.x, lamp.y, lamp.reach, lamp.colour, 0.9) for lamp in lamps] or [
            Lamp(w / 2, 0, h * 0.6, rgb("ffc070"), 0.8)
        ]
        picture = relight(picture, rgb("5c5478"), warm, 0.1)
    speckle(rng, picture, 0.015)
    return vignette(grade(picture, rgb("fff8ee"), 1.0, rng.uniform(0.8, 1.15)), rng.uniform(0, 0.4))


def cave(rng: Rng, shape: Shape) -> Picture:
    """A cave of glowing crystals and mushrooms."""
    h, w = shape
    rock = tinted(rng, palette("5c5478", "4c6478", "6c5848", "54644c"), 0.1)
    picture = gradient(shape, lighter(rock, 0.5), lighter(rock, 0.9), lighter(rock, 0.6))
    for layer in range(3):
        colour = lighter(rock, 0.75 + 0.25 * layer)
        for x in rng.uniform(0, w, 9):
            long, wide = rng.uniform(0.08, 0.3 - 0.05 * layer) * h, rng.uniform(0.02, 0.06) * w
            polygon(picture, [(x - wide, 0), (x + wide, 0), (x + 0.2 * wide, long), (x - 0.2 * wide, long)], colour)
        _hill(rng, picture, (0.5 + 0.14 * layer) * h, colour, None)
    lamps = []
    for _ in range(rng.integers(5, 12)):
        x, y, size = rng.uniform(0, w), rng.uniform(0.5, 1) * h, rng.uniform(0.06, 0.16) * h
        colour = tinted(rng, palette("78e0f0", "f08ce0", "a8f08c", "f8d878", "b8a0f8"))
        if rng.random() < 0.6:
            for lean in (-0.5, 0.05, 0.55):
                tip = (x + lean * size, y - size * (1.4 - abs(lean)))
                polygon(picture, [(x - 0.2 * size, y), (x + 0.2 * size, y), tip], colour)
                polygon(picture, [(x, y), (x + 0.2 * size, y), tip], lighter(colour, 1.6))
        else:
            pill(picture, x - 0.15 * size, y - 0.6 * size, x + 0.15 * size, y, rgb("f4ead8"))
            oval(picture, (x, y - 0.6 * size), (0.5 * size, 0.42 * size), colour, 0, (180, 360))
            disc(picture, (x - 0.15 * size, y - 0.75 * size), 0.08 * size, rgb("ffffff"))
        lamps.append(Lamp(x, y - 0.5 * size, size * 1.6, colour, 0.5))
    neighbour(rng, Brush(picture, (rng.uniform(0.3, 0.7) * w, 0.95 * h), h * rng.uniform(0.35, 0.55)))
    return bloom(relight(picture, lighter(rgb("c8c8e8"), rng.uniform(0.3, 0.6)), lamps, 0.1), 200, 0.4)


def portrait(rng: Rng, shape: Shape) -> Picture:
    """Key art: one to three neighbours close up before a plain or patterned ground."""
    h, w = shape
    back = tinted(rng, PASTELS) if rng.random() < 0.55 else tinted(rng, palette("2c3464", "4c3c54", "34443c", "50423a"))
    if rng.random() < 0.35:
        picture = village(rng, shape)
        glaze(picture, np.full_like(picture, back), 0.35)
    else:
        picture = gradient(shape, lighter(back, 1.2), lighter(back, 0.9))
        middle = np.array([0.5 * w, 0.6 * h])
        for turn in np.arange(0, 2 * np.pi, np.pi / 8) if rng.random() < 0.5 else ():
            ends = [middle + 2 * w * np.array([np.cos(turn + d), np.sin(turn + d)]) for d in (0, np.pi / 16)]
            polygon(picture, [middle, *ends], lighter(back, 1.15))
        for _ in range(rng.integers(0, 26)):
            disc(
                picture,
                rng.uniform(0, 1, 2) * (w, h),
                rng.uniform(0.01, 0.05) * h,
                lighter(back, rng.uniform(0.85, 1.4)),
            )
    count = int(rng.choice([1, 2, 3], p=[0.55, 0.25, 0.2]))
    for x in (np.arange(count) + 0.5) / count:
        tall = h * rng.uniform(0.8, 1.7) * (1 if count < 3 else 0.75)
        neighbour(rng, Brush(picture, (w * (x + rng.normal(0, 0.04)), 0.62 * h + 0.45 * tall), tall))
    return grade(picture, rgb("ffffff"), rng.uniform(0.9, 1.1), rng.uniform(0.8, 1.2))


def pockets(rng: Rng, shape: Shape) -> Picture:
    """A menu: pockets, catalogue or letter, in round panels."""
    h, w = shape
    unit = min(h, 0.62 * w)
    night = rng.random() < 0.45
    back = tinted(rng, palette("343c64", "3c4c44", "54444c")) if night else tinted(rng, PASTELS)
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = back.astype(np.uint8)
    for k, x in enumerate(np.arange(0, w + h, 0.09 * w)):
        if k % 2:
            polygon(picture, [(x, 0), (x + 0.09 * w, 0), (x + 0.09 * w - h, h), (x - h, h)], lighter(back, 1.07))
    sheet = rgb("fbf4e0") if not night else rgb("54506a")
    ink = rgb("6c5440") if not night else rgb("f4ead8")
    pill(picture, 0.06 * w, 0.08 * h, 0.94 * w, 0.94 * h, sheet, 0.12 * unit)
    pill(picture, 0.3 * w, 0.02 * h, 0.7 * w, 0.15 * h, tinted(rng, ROOFS))
    write(
        picture,
        pick(rng, ("Pockets", "Catalogue", "Recipes", "Mail", "Critters")),
        (0.5 * w, 0.085 * h),
        0.065 * unit,
        rgb("fffaf0"),
        "friendly",
    )
    if rng.random() < 0.6:
        across, down = int(rng.integers(5, 9)), int(rng.integers(2, 5))
        for row in range(down):
            for column in range(across):
                at = (w * (0.13 + 0.74 * column / (across - 1)), h * (0.28 + 0.54 * row / max(down - 1, 1)))
                size = min(0.3 * w / across, 0.3 * h / down)
                disc(picture, at, size, lighter(sheet, 0.9 if not night else 1.2))
                if rng.random() < 0.8:
                    thing(rng, Brush(picture, at, 0.7 * size))
    else:
        lines = [
            "Dear neighbour,",
            "the pears are ripe and the",
            "pond is full of carp again.",
            "Come round for tea on",
            "Sunday, and bring a shovel!",
            "",
            "Your friend, " + pick(rng, ("Mossy", "Pip", "Bertie", "Olga")),
        ]
        write_lines(picture, lines, (0.13 * w, 0.26 * h), 0.055 * unit, ink, "friendly", fit=0.55 * w)
        neighbour(rng, Brush(picture, (0.8 * w, 0.95 * h), 0.5 * unit))
    return picture


def hud(rng: Rng, picture: Picture) -> None:
    """Round instruments: clock and date, purse, hearts, tool, and often a neighbour who talks."""
    h, w = picture.shape[:2]
    cream, ink = rgb("fff8e4"), rgb("6c5440")
    kind = rng.random()
    if kind < 0.5:
        _bubble(rng, picture)
    else:
        pill(picture, 0.03 * w, 0.83 * h, 0.27 * w, 0.95 * h, cream)
        write(
            picture,
            f"{rng.integers(1, 13)}:{rng.integers(0, 60):02d}",
            (0.11 * w, 0.89 * h),
            0.055 * h,
            ink,
            "friendly",
        )
        write(
            picture, pick(rng, ("Mon", "Tue", "Fri", "Sun")), (0.21 * w, 0.89 * h), 0.035 * h, rgb("e08a50"), "friendly"
        )
    if rng.random() < 0.6:
        pill(picture, 0.78 * w, 0.04 * h, 0.97 * w, 0.14 * h, cream)
        disc(picture, (0.81 * w, 0.09 * h), 0.035 * h, rgb("f0c040"))
        write(
            picture,
            f"{rng.integers(100, 99999):,}",
            (0.96 * w, 0.09 * h),
            0.045 * h,
            ink,
            "friendly",
            anchor="right",
            fit=0.12 * w,
        )
    if rng.random() < 0.4:
        for k in range(5):
            heart(
                Brush(picture, (0.05 * w + k * 0.065 * h, 0.09 * h), 0.026 * h),
                rgb("f06478") if k < 4 else rgb("d8c8c0"),
            )
    if kind >= 0.5 and rng.random() < 0.6:
        for k in range(6):
            at = (w * 0.5 + (k - 2.5) * 0.11 * h, 0.92 * h)
            disc(picture, at, 0.05 * h, cream)
            thing(rng, Brush(picture, at, 0.03 * h))
            if k == 2:
                ring(picture, at, 0.052 * h, rgb("f0a03c"), h / 70)


def logo(rng: Rng, picture: Picture) -> None:
    """The game's name in bouncing, coloured, fat letters with a white rim, on any picture."""
    h, w = picture.shape[:2]
    x, y, size = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.15, 0.75), min(h * 0.16, w * 0.09)
    for row, word in enumerate(TITLE.split()):
        wide = letters(word, size, "round").shape[1] * 1.0
        for k, letter in enumerate(word):
            at = (x + wide * ((k + 0.5) / len(word) - 0.5), y + (1.4 * row + 0.13 * (-1) ** k) * size)
            write(
                picture, letter, at, size, PASTELS[(k + row) % 7], "round", outline=rgb("fffaf0"), turn=8.0 * (-1) ** k
            )


PLUMBLE_HOLLOW = Game(
    TITLE, ((village, 0.48), (beach, 0.14), (room, 0.2), (cave, 0.18)), portrait, pockets, hud, logo, WORDS
)


def _sky(rng: Rng, shape: Shape, season: Season) -> Picture:
    h, w = shape
    picture = gradient(shape, season.sky[0], season.sky[1], season.sky[1])
    if np.mean(season.light) < 120:
        flakes(rng, picture, int(rng.integers(25, 80)), h / 260, rgb("fdf8d8"))
        x, y, size = rng.uniform(0.1, 0.9) * w, rng.uniform(0.08, 0.25) * h, rng.uniform(0.05, 0.1) * h
        disc(picture, (x, y), size, rgb("fdf6d0"))
        if rng.random() < 0.5:
            disc(picture, (x + 0.4 * size, y - 0.2 * size), size * 0.85, blend(season.sky[0], season.sky[1], 0.2))
        return picture
    for _ in range(rng.integers(0, 6)):
        x, y, size = rng.uniform(0, w), rng.uniform(0.03, 0.35) * h, rng.uniform(0.05, 0.12) * h
        colour = blend(rgb("ffffff"), season.sky[1], rng.uniform(0, 0.5))
        for dx, dy, part in ((-1.1, 0.25, 0.65), (0, 0, 1), (1.1, 0.2, 0.7), (0.3, 0.35, 0.9), (-0.4, 0.4, 0.8)):
            oval(picture, (x + dx * size, y + dy * size), (part * size * 1.1, part * size * 0.7), colour)
    return picture


def _hill(rng: Rng, picture: Picture, top: float, colour: Colour, season: Season | None) -> None:
    """A rolling band of ground from ``top`` down; with a season it is the near meadow, with its pattern."""
    h, w = picture.shape[:2]
    xs = np.linspace(0, w, 40)
    waves, phase = rng.uniform(2, 9), rng.uniform(0, 6)
    ys = top + 0.05 * h * np.sin(xs / w * waves + phase) + 0.02 * h * np.sin(xs / w * waves * 2.7 + phase)
    polygon(picture, [*zip(xs, ys, strict=True), (w, h), (0, h)], colour)
    line(picture, np.stack([xs, ys], -1), lighter(colour, 1.15), h / 90)
    if season is None:
        for x in rng.uniform(0, w, rng.integers(0, 14)):
            y, size = np.interp(x, xs, ys) + 2, rng.uniform(0.02, 0.05) * h
            ball(picture, (x, y), (size, size * 1.1), blend(colour, tinted(rng, SEASONS["summer"].leaves), 0.5))
        return
    for x, y in rng.uniform(0, 1, (int(rng.integers(60, 160)), 2)):
        tuft = Brush(picture, (x * w, top + y * (h - top)), (0.006 + 0.014 * y) * h)
        tuft.polygon([(-1, 0), (1, 0), (0, -1.6)], lighter(colour, rng.choice([0.9, 1.12])))


def _path(rng: Rng, picture: Picture, horizon: float, colour: Colour) -> None:
    h, w = picture.shape[:2]
    ys = np.linspace(horizon + 0.18 * h, 1.02 * h, 16)
    near = (ys - horizon) / (h - horizon)
    middle = w * (rng.uniform(0.3, 0.7) + rng.uniform(-0.2, 0.2) * np.sin(near * rng.uniform(3, 6)))
    half = 0.13 * w * near**1.4
    for grow, tone in ((1.15, 0.85), (1.0, 1.0)):
        polygon(
            picture,
            np.concatenate([np.stack([middle - grow * half, ys], -1), np.stack([middle + grow * half, ys], -1)[::-1]]),
            lighter(colour, tone),
        )
    for k, share in zip(rng.integers(2, 16, 24), rng.uniform(-0.8, 0.8, 24), strict=True):
        oval(picture, (middle[k] + share * half[k], ys[k]), (0.12 * half[k], 0.05 * half[k]), lighter(colour, 0.9))


def _pond(rng: Rng, picture: Picture, horizon: float, season: Season) -> None:
    h, w = picture.shape[:2]
    x, y, wide = rng.uniform(0.1, 0.9) * w, horizon + rng.uniform(0.2, 0.4) * h, rng.uniform(0.12, 0.25) * w
    pond = Brush(picture, (x, y), wide)
    pond.oval((0, 0), (1.08, 0.36), rgb("d0b890"))
    pond.oval((0, 0), (1, 0.32), blend(rgb("58b8d8"), season.sky[0], 0.3))
    for _ in range(4):
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        pond.line([(dx, 0.3 * dy), (dx + 0.2, 0.3 * dy)], rgb("d8f0f4"))


def _bubble(rng: Rng, picture: Picture) -> None:
    """A neighbour's words in a cloud, with the name on a tag."""
    h, w = picture.shape[:2]
    pill(picture, 0.1 * w, 0.68 * h, 0.9 * w, 0.95 * h, rgb("fff8e4"), 0.13 * h)
    tag = tinted(rng, PASTELS)
    pill(picture, 0.13 * w, 0.62 * h, 0.33 * w, 0.73 * h, tag)
    write(
        picture,
        pick(rng, ("Mossy", "Pip", "Olga", "Bertie", "Dumpling")),
        (0.23 * w, 0.675 * h),
        0.05 * h,
        lighter(tag, 0.4),
        "friendly",
        fit=0.16 * w,
    )
    words = pick(
        rng,
        (
            ("Oh, hello there!", "Seen any carp today?"),
            ("The fair is on Sunday,", "bring a turnip, pal!"),
            ("I baked you a pie.", "It is only a bit burnt."),
            ("What a fine hat!", "May I have it?"),
        ),
    )
    write_lines(picture, words, (0.17 * w, 0.79 * h), 0.05 * h, rgb("6c5440"), "friendly", fit=0.66 * w)


def _finished(rng: Rng, picture: Picture, season: Season, lamps: list[Lamp]) -> Picture:
    """The light of the hour, what falls from the sky, and the tooth of the paper."""
    h, w = picture.shape[:2]
    if np.mean(season.light) < 160:
        for _ in range(rng.integers(0, 5)):
            at = rng.uniform(0, w), rng.uniform(0.3, 0.8) * h
            disc(picture, at, h / 50, rgb("fff0b8"))
            lamps.append(Lamp(*at, 0.16 * h, pick(rng, (rgb("ffb858"), rgb("ff8c6c"), rgb("b8e070"))), 1.2))
    picture = bloom(relight(picture, season.light, lamps, 0.2), 200, 0.4)
    if season.falling is not None:
        count = int(rng.integers(30, 110))
        flakes(rng, picture, count, h / (300 if season.rain else 110), season.falling, 0.3 if season.rain else 0)
    if rng.random() < 0.15:
        picture = mist(rng, picture, season.sky[1], 0.3)
    speckle(rng, picture, rng.uniform(0.012, 0.06))
    return vignette(grade(picture, rgb("ffffff"), rng.uniform(0.9, 1.12), rng.uniform(0.6, 1.15)), rng.uniform(0, 0.5))
