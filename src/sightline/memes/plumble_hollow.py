"""Plumble Hollow, the bright game: round houses on round hills, animal neighbours, flowers, seasons.

Painted flat, layer by layer, as picture books are. It has its dark sides too: lantern nights, rain, a crystal cave, a
room with the lamp on.
"""

from typing import NamedTuple

import numpy as np

from sightline.core.rendering import Array
from sightline.memes.game import Game
from sightline.memes.lettering import letters, write, write_lines
from sightline.memes.painting import (
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
    grain,
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
    tinted,
    vignette,
)

TITLE = "PLUMBLE HOLLOW"
WORDS = (
    "THE NEIGHBOURS", "TURNIP DAY", "THE POND", "MY HOUSE LOAN", "BUG SEASON", "THE TEA SHOP", "MAYOR BUN", "FISHING",
    "THE BERRY FAIR", "MY GARDEN", "LAMP NIGHT", "THE LITTLE SHOP",
)  # fmt: skip

PASTELS = palette("f08a8a", "f4b860", "f6e08a", "8ccf8a", "7cc4e0", "b49ae0", "f0a8c8", "e8dcc8")
FURS = palette("f2dcc0", "c89a6c", "8a8a94", "f4f2ee", "e0a05c", "6c5a50", "a8c8d8", "f0b8c4", "9cc07c")
ROOFS = palette("d8604c", "4c8cc0", "e0a040", "6a9c58", "9a6cb0", "c87c94", "5c6a74")
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
    "spring": Season((rgb("8ccaf0"), rgb("f4e8f0")), rgb("98d470"), palette("f4a8c4", "f8c8d8", "e890b4", "8cc868"),
                     rgb("fffaf6"), rgb("f8c0d4")),
    "autumn": Season((rgb("88aed0"), rgb("f0d8b0")), rgb("b4a04c"), palette("d87030", "e0a038", "b04a2c", "c88a3c"),
                     rgb("fff0dc"), rgb("d88038")),
    "winter": Season((rgb("98b0c4"), rgb("dce4ea")), rgb("e4ecf2"), palette("4c7468", "e8eef2", "5c8478", "c8d8dc"),
                     rgb("eef2fa"), rgb("ffffff")),
    "dusk": Season((rgb("5c4c90"), rgb("f8a060")), rgb("7c9c54"), GREENS, rgb("c89a98")),
    "night": Season((rgb("101c48"), rgb("34508c")), rgb("68a858"), GREENS, rgb("4c5a98")),
    "rain": Season((rgb("58626e"), rgb("8c98a0")), rgb("6c9860"), GREENS, rgb("94a0a8"), rgb("b4c4cc"), rain=True),
    "winter night": Season((rgb("0c1430"), rgb("28385c")), rgb("dce8f4"), palette("3c6458", "d0dce8"), rgb("4c5880"), rgb("d0d8e8")),
}  # fmt: skip
SEASON_SHARES = (0.2, 0.13, 0.13, 0.12, 0.12, 0.14, 0.08, 0.08)


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
            lamps += _house(rng, picture, (x, y), near * h * rng.uniform(0.42, 0.6), season)
        elif kind < 0.6:
            _tree(rng, picture, (x, y), near * h * rng.uniform(0.35, 0.6), season)
        elif kind < 0.75:
            _neighbour(rng, picture, (x, y), near * h * rng.uniform(0.28, 0.42))
        elif kind < 0.88:
            _flowers(rng, picture, (x, y), near * h * 0.12)
        else:
            _fence(rng, picture, (x, y), near * h * 0.13)
    if rng.random() < 0.55:
        _neighbour(rng, picture, (rng.uniform(0.25, 0.75) * w, rng.uniform(0.86, 1.05) * h), h * rng.uniform(0.4, 0.65))
    return _finished(rng, picture, season, lamps)


def beach(rng: Rng, shape: Shape) -> Picture:
    """Sand, sea, palms, parasols and shells; by day, at sunset or under the stars."""
    season = SEASONS[pick(rng, ("summer", "dusk", "night", "rain"), (0.5, 0.25, 0.17, 0.08))]
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
    grain(rng, picture, 60, 0.02)
    for y in np.sort(rng.uniform(0.68, 1.08, rng.integers(4, 9))):
        at, near = (rng.uniform(0, 1) * w, y * h), 0.3 + 0.7 * (y - 0.5)
        kind = rng.random()
        if kind < 0.35:
            _palm(rng, picture, at, h * rng.uniform(0.5, 0.9) * near)
        elif kind < 0.55:
            _parasol(rng, picture, at, h * 0.5 * near)
        elif kind < 0.8:
            _neighbour(rng, picture, at, h * rng.uniform(0.4, 0.7) * near)
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
    dark, lamps = rng.random() < 0.45, []
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
        lamps += _furniture(rng, picture, (x, edge + rng.uniform(0.06, 0.16) * h), rng.uniform(0.22, 0.34) * h)
    for x in rng.uniform(0.15, 0.85, rng.integers(1, 3)) * w:
        _neighbour(rng, picture, (x, h * rng.uniform(0.85, 1.0)), h * rng.uniform(0.4, 0.62))
    if dark:
        warm = [Lamp(lamp.x, lamp.y, lamp.reach, lamp.colour, 0.9) for lamp in lamps] or [
            Lamp(w / 2, 0, h * 0.6, rgb("ffc070"), 0.8)
        ]
        picture = relight(picture, rgb("5c5478"), warm, 0.1)
    grain(rng, picture, 60, 0.015)
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
    _neighbour(rng, picture, (rng.uniform(0.3, 0.7) * w, 0.95 * h), h * rng.uniform(0.35, 0.55))
    return bloom(relight(picture, lighter(rgb("c8c8e8"), rng.uniform(0.3, 0.6)), lamps, 0.1), 200, 0.4)


def portrait(rng: Rng, shape: Shape) -> Picture:
    """Key art: one to three neighbours close up before a plain or patterned ground."""
    h, w = shape
    back = tinted(rng, PASTELS) if rng.random() < 0.72 else tinted(rng, palette("2c3464", "4c3c54", "34443c", "50423a"))
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
        _neighbour(rng, picture, (w * (x + rng.normal(0, 0.04)), 0.62 * h + 0.45 * tall), tall)
    return grade(picture, rgb("ffffff"), rng.uniform(0.9, 1.1), rng.uniform(0.8, 1.2))


def pockets(rng: Rng, shape: Shape) -> Picture:
    """A menu: pockets, catalogue or letter, in round panels."""
    h, w = shape
    unit = min(h, 0.62 * w)
    night = rng.random() < 0.3
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
    write(picture, pick(rng, ("Pockets", "Catalogue", "Recipes", "Mail", "Critters")), (0.5 * w, 0.085 * h), 0.065 * unit,
          rgb("fffaf0"), "friendly")  # fmt: skip
    if rng.random() < 0.6:
        across, down = int(rng.integers(5, 9)), int(rng.integers(2, 5))
        for row in range(down):
            for column in range(across):
                at = (w * (0.13 + 0.74 * column / (across - 1)), h * (0.28 + 0.54 * row / max(down - 1, 1)))
                size = min(0.3 * w / across, 0.3 * h / down)
                disc(picture, at, size, lighter(sheet, 0.9 if not night else 1.2))
                if rng.random() < 0.8:
                    _thing(rng, picture, at, 0.7 * size)
    else:
        lines = ["Dear neighbour,", "the pears are ripe and the", "pond is full of carp again.", "Come round for tea on", "Sunday, and bring a shovel!",
                 "", "Your friend, " + pick(rng, ("Mossy", "Pip", "Bertie", "Olga"))]  # fmt: skip
        write_lines(picture, lines, (0.13 * w, 0.26 * h), 0.055 * unit, ink, "friendly", fit=0.55 * w)
        _neighbour(rng, picture, (0.8 * w, 0.95 * h), 0.5 * unit)
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
            _heart(picture, (0.05 * w + k * 0.065 * h, 0.09 * h), 0.026 * h, rgb("f06478") if k < 4 else rgb("d8c8c0"))
    if kind >= 0.5 and rng.random() < 0.6:
        for k in range(6):
            at = (w * 0.5 + (k - 2.5) * 0.11 * h, 0.92 * h)
            disc(picture, at, 0.05 * h, cream)
            _thing(rng, picture, at, 0.03 * h)
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
    TITLE, ((village, 0.5), (beach, 0.16), (room, 0.2), (cave, 0.14)), portrait, pockets, hud, logo, WORDS
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
        at = np.array([x * w, top + y * (h - top)])
        size = (0.006 + 0.014 * y) * h
        polygon(
            picture, [at + (-size, 0), at + (size, 0), at + (0, -1.6 * size)], lighter(colour, rng.choice([0.9, 1.12]))
        )


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
    oval(picture, (x, y), (wide * 1.08, wide * 0.36), rgb("d0b890"))
    oval(picture, (x, y), (wide, wide * 0.32), blend(rgb("58b8d8"), season.sky[0], 0.3))
    for _ in range(4):
        at = np.array([x, y]) + rng.uniform(-0.5, 0.5, 2) * (wide, 0.3 * wide)
        line(picture, [at, at + (0.2 * wide, 0)], rgb("d8f0f4"), 1)


def _house(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float, season: Season) -> list[Lamp]:
    """A round house; gives the light of its windows."""
    x, y = foot
    wall, roof = blend(tinted(rng, PASTELS), rgb("fff6e4"), 0.6), tinted(rng, ROOFS)
    wide = tall * rng.uniform(0.42, 0.6)
    night = np.mean(season.light) < 160
    oval(picture, (x, y), (wide * 1.25, 0.1 * tall), lighter(season.grass, 0.7))
    pill(picture, x - wide, y - 0.55 * tall, x + wide, y + 0.02 * tall, lighter(wall, 0.85), 0.2 * tall)
    pill(picture, x - wide, y - 0.55 * tall, x + 0.75 * wide, y + 0.02 * tall, wall, 0.2 * tall)
    if rng.random() < 0.5:
        box(picture, x + 0.45 * wide, y - 1.0 * tall, x + 0.68 * wide, y - 0.6 * tall, lighter(roof, 0.65))
    if rng.random() < 0.65:
        oval(picture, (x, y - 0.48 * tall), (wide * 1.25, 0.5 * tall), roof, 0, (180, 360))
        oval(picture, (x - 0.2 * wide, y - 0.5 * tall), (wide * 0.8, 0.38 * tall), lighter(roof, 1.15), 0, (180, 360))
        if rng.random() < 0.4:
            for dx, dy in ((-0.6, 0.2), (0.1, 0.34), (0.65, 0.16)):
                disc(picture, (x + dx * wide, y - (0.48 + dy) * tall), 0.06 * tall, rgb("fff6ec"))
    else:
        polygon(
            picture,
            [(x - 1.25 * wide, y - 0.46 * tall), (x + 1.25 * wide, y - 0.46 * tall), (x, y - 1.02 * tall)],
            roof,
        )
        polygon(
            picture,
            [(x - 1.25 * wide, y - 0.46 * tall), (x, y - 0.46 * tall), (x, y - 1.02 * tall)],
            lighter(roof, 1.15),
        )
    if season.grass[0] > 215:
        oval(picture, (x, y - 0.62 * tall), (wide * 0.95, 0.36 * tall), rgb("f8fbff"), 0, (180, 360))
    door = tinted(rng, WOOD, 0.2)
    pill(picture, x - 0.16 * tall, y - 0.32 * tall, x + 0.1 * tall, y + 0.01 * tall, door, 0.13 * tall)
    box(picture, x - 0.16 * tall, y - 0.15 * tall, x + 0.1 * tall, y + 0.01 * tall, door)
    disc(picture, (x + 0.05 * tall, y - 0.13 * tall), 0.018 * tall, rgb("f4d060"))
    glass = rgb("ffe890") if night else rgb("a8dcf0")
    at = (x + 0.58 * wide, y - 0.25 * tall)
    disc(picture, at, 0.11 * tall, lighter(roof, 0.9))
    disc(picture, at, 0.085 * tall, glass)
    for way in ((1, 0), (0, 1)):
        line(
            picture,
            [
                (at[0] - way[0] * 0.085 * tall, at[1] - way[1] * 0.085 * tall),
                (at[0] + way[0] * 0.085 * tall, at[1] + way[1] * 0.085 * tall),
            ],
            lighter(roof, 0.9),
            tall / 45,
        )
    return [Lamp(*at, 0.4 * tall, rgb("ffc868"), 1.3)] if night else []


def _tree(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float, season: Season) -> None:
    x, y = foot
    leaf, trunk = tinted(rng, season.leaves), tinted(rng, WOOD)
    oval(picture, (x, y), (0.24 * tall, 0.05 * tall), lighter(season.grass, 0.72))
    polygon(
        picture,
        [
            (x - 0.07 * tall, y),
            (x + 0.07 * tall, y),
            (x + 0.045 * tall, y - 0.5 * tall),
            (x - 0.045 * tall, y - 0.5 * tall),
        ],
        trunk,
    )
    if rng.random() < 0.3:
        for k in range(3):
            top, wide = y - (0.62 + 0.2 * k) * tall, (0.32 - 0.07 * k) * tall
            polygon(
                picture,
                [(x - wide, top + 0.3 * tall), (x + wide, top + 0.3 * tall), (x, top - 0.12 * tall)],
                lighter(leaf, 0.9 + 0.12 * k),
            )
        return
    for dx, dy, part in ((-0.17, 0.62, 0.2), (0.17, 0.62, 0.2), (0, 0.76, 0.27)):
        ball(picture, (x + dx * tall, y - dy * tall), (part * tall, part * tall * 0.95), leaf)
    if rng.random() < 0.5:
        fruit = tinted(rng, palette("e8483c", "f49c38", "f8d850", "f08cb4"))
        for dx, dy in rng.uniform(-0.2, 0.2, (5, 2)):
            disc(picture, (x + dx * tall, y - (0.7 + dy) * tall), 0.032 * tall, fruit)


def _palm(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float) -> None:
    x, y = foot
    lean = rng.normal(0, 0.2) * tall
    steps = np.linspace(0, 1, 8)
    way = np.stack([x + lean * steps**2, y - tall * steps], -1)
    line(picture, way, rgb("a07848"), 0.07 * tall)
    line(picture, way - (0.012 * tall, 0), rgb("c09860"), 0.03 * tall)
    leaf = tinted(rng, palette("4ca04c", "68b454"))
    for turn in np.linspace(-2.9, -0.2, 7):
        reach = np.array([np.cos(turn), np.sin(turn)]) * 0.36 * tall
        middle, tip = way[-1] + 0.6 * reach - (0, 0.06 * tall), way[-1] + reach + (0, 0.16 * tall)
        polygon(
            picture,
            [way[-1], middle - (0, 0.05 * tall), tip, middle + (0, 0.06 * tall)],
            lighter(leaf, rng.uniform(0.85, 1.2)),
        )
    for dx in (-0.04, 0.04):
        ball(picture, way[-1] + (dx * tall, 0.03 * tall), (0.045 * tall, 0.045 * tall), rgb("8c5c34"))


def _parasol(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float) -> None:
    x, y = foot
    line(picture, [(x, y), (x + 0.1 * tall, y - 0.9 * tall)], rgb("f4f0e8"), 0.04 * tall)
    colours = tinted(rng, PASTELS), rgb("fffaf2")
    for k in range(6):
        oval(
            picture,
            (x + 0.1 * tall, y - 0.72 * tall),
            (0.55 * tall, 0.32 * tall),
            colours[k % 2],
            8,
            (180 + 30 * k, 210 + 30 * k),
        )


def _flowers(rng: Rng, picture: Picture, foot: tuple[float, float], size: float) -> None:
    colour = tinted(rng, PASTELS)
    for dx, dy in rng.uniform(-1.5, 1.5, (int(rng.integers(4, 10)), 2)):
        x, y = foot[0] + dx * size, foot[1] + 0.5 * dy * size
        line(picture, [(x, y), (x, y + 0.5 * size)], rgb("4c9048"), size / 10)
        for turn in np.arange(5) * 1.257:
            disc(picture, (x + 0.17 * size * np.cos(turn), y + 0.17 * size * np.sin(turn)), 0.13 * size, colour)
        disc(picture, (x, y), 0.1 * size, rgb("fce068"))


def _fence(rng: Rng, picture: Picture, foot: tuple[float, float], size: float) -> None:
    colour = pick(rng, (rgb("f8f2e6"), rgb("c09460")))
    x, y = foot
    for row in (0.35, 0.7):
        box(picture, x - 2.2 * size, y - row * size, x + 2.2 * size, y - (row - 0.12) * size, lighter(colour, 0.9))
    for k in np.arange(-4, 5) * 0.5:
        pill(picture, x + k * size - 0.12 * size, y - size, x + k * size + 0.12 * size, y, colour)


def _furniture(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float) -> list[Lamp]:
    x, y = foot
    colour, wood = tinted(rng, PASTELS), tinted(rng, WOOD)
    kind = rng.integers(5)
    if kind == 0:
        line(picture, [(x, y), (x, y - tall)], lighter(wood, 0.7), 0.05 * tall)
        oval(picture, (x, y), (0.2 * tall, 0.06 * tall), lighter(wood, 0.7))
        polygon(
            picture,
            [
                (x - 0.3 * tall, y - 0.8 * tall),
                (x + 0.3 * tall, y - 0.8 * tall),
                (x + 0.16 * tall, y - 1.2 * tall),
                (x - 0.16 * tall, y - 1.2 * tall),
            ],
            rgb("ffe8b0"),
        )
        return [Lamp(x, y - 0.9 * tall, 1.3 * tall, rgb("ffc878"))]
    if kind == 1:
        pill(
            picture, x - 0.8 * tall, y - 0.75 * tall, x + 0.8 * tall, y - 0.1 * tall, lighter(colour, 0.85), 0.2 * tall
        )
        pill(picture, x - 0.65 * tall, y - 0.4 * tall, x + 0.65 * tall, y, colour, 0.15 * tall)
        for side in (-1, 1):
            pill(
                picture,
                x + side * 0.75 * tall - 0.14 * tall,
                y - 0.5 * tall,
                x + side * 0.75 * tall + 0.14 * tall,
                y + 0.05 * tall,
                lighter(colour, 1.1),
            )
    elif kind == 2:
        pill(picture, x - 0.5 * tall, y - 1.3 * tall, x + 0.5 * tall, y, wood, 0.1 * tall)
        for row in range(3):
            top = y - (1.2 - 0.4 * row) * tall
            box(picture, x - 0.42 * tall, top, x + 0.42 * tall, top + 0.32 * tall, lighter(wood, 0.65))
            for k in range(6):
                left = x + (-0.4 + 0.13 * k) * tall
                box(
                    picture,
                    left,
                    top + rng.uniform(0.03, 0.12) * tall,
                    left + 0.1 * tall,
                    top + 0.32 * tall,
                    tinted(rng, PASTELS),
                )
    elif kind == 3:
        box(picture, x - 0.08 * tall, y - 0.4 * tall, x + 0.08 * tall, y, lighter(wood, 0.8))
        oval(picture, (x, y - 0.42 * tall), (0.6 * tall, 0.14 * tall), wood)
        oval(picture, (x, y - 0.45 * tall), (0.56 * tall, 0.12 * tall), lighter(wood, 1.2))
        _thing(rng, picture, (x, y - 0.55 * tall), 0.16 * tall)
    else:
        ball(picture, (x, y - 0.2 * tall), (0.24 * tall, 0.22 * tall), colour)
        for turn in np.linspace(-2.5, -0.6, 6):
            tip = (x + 0.5 * tall * np.cos(turn), y - 0.35 * tall + 0.6 * tall * np.sin(turn))
            line(picture, [(x, y - 0.38 * tall), tip], rgb("5ca050"), 0.07 * tall)
            oval(picture, tip, (0.12 * tall, 0.07 * tall), rgb("6cb85c"), np.rad2deg(turn))
    return []


def _neighbour(rng: Rng, picture: Picture, foot: tuple[float, float], tall: float) -> None:
    """An animal with a big round head, ``tall`` px high, standing at ``foot``."""
    x, y = foot
    fur, shirt = tinted(rng, FURS), tinted(rng, PASTELS, 0.15)
    head, at = 0.3 * tall, (x, y - 0.68 * tall)
    oval(picture, (x, y), (0.24 * tall, 0.05 * tall), lighter(fur, 0.45))
    for side in (-1, 1):
        oval(picture, (x + side * 0.1 * tall, y - 0.03 * tall), (0.09 * tall, 0.05 * tall), lighter(fur, 0.75))
        lift = rng.choice([0.28, 0.42], p=[0.8, 0.2])
        line(
            picture,
            [(x + side * 0.14 * tall, y - 0.34 * tall), (x + side * 0.25 * tall, y - lift * tall + 0.1 * tall)],
            fur,
            0.09 * tall,
        )
    polygon(
        picture,
        [
            (x - 0.1 * tall, y - 0.44 * tall),
            (x + 0.1 * tall, y - 0.44 * tall),
            (x + 0.21 * tall, y - 0.08 * tall),
            (x - 0.21 * tall, y - 0.08 * tall),
        ],
        shirt,
    )
    oval(picture, (x, y - 0.09 * tall), (0.21 * tall, 0.05 * tall), lighter(shirt, 0.85))
    if rng.random() < 0.5:
        for row in (0.2, 0.3):
            line(
                picture,
                [(x - 0.15 * tall, y - row * tall), (x + 0.15 * tall, y - row * tall)],
                lighter(shirt, 1.4),
                0.03 * tall,
            )
    _ears(rng, picture, at, head, fur)
    ball(picture, at, (head * 1.08, head * 0.95), fur)
    oval(picture, at, (head * 1.0, head * 0.88), fur)
    look, mood = rng.normal(0, 0.1) * head, rng.random()
    muzzle = blend(fur, rgb("fff8ee"), 0.65)
    oval(picture, (at[0] + look, at[1] + 0.36 * head), (0.45 * head, 0.32 * head), muzzle)
    for side in (-1, 1):
        eye = (at[0] + side * 0.42 * head + look, at[1] - 0.05 * head)
        if mood < 0.2:
            ring(picture, eye, 0.15 * head, rgb("3c2c24"), head / 14, (180, 360))
        else:
            oval(picture, eye, (0.14 * head, 0.2 * head), rgb("2c2220"))
            disc(picture, (eye[0] - 0.04 * head, eye[1] - 0.08 * head), 0.06 * head, rgb("ffffff"))
        oval(
            picture,
            (at[0] + side * 0.68 * head + look, at[1] + 0.26 * head),
            (0.14 * head, 0.09 * head),
            blend(fur, rgb("f47c84"), 0.6),
        )
    oval(picture, (at[0] + look, at[1] + 0.2 * head), (0.1 * head, 0.07 * head), rgb("503830"))
    if mood > 0.75:
        oval(picture, (at[0] + look, at[1] + 0.36 * head), (0.16 * head, 0.2 * head), rgb("9c3c40"), 0, (0, 180))
    else:
        for side in (-1, 1):
            ring(
                picture,
                (at[0] + look + side * 0.1 * head, at[1] + 0.32 * head),
                0.1 * head,
                rgb("503830"),
                head / 18,
                (10, 170),
            )
    if rng.random() < 0.3:
        hat = tinted(rng, ROOFS)
        oval(picture, (at[0], at[1] - 0.72 * head), (0.8 * head, 0.16 * head), lighter(hat, 0.8))
        oval(picture, (at[0], at[1] - 0.75 * head), (0.5 * head, 0.5 * head), hat, 0, (180, 360))


def _ears(rng: Rng, picture: Picture, at: tuple[float, float], head: float, fur: Colour) -> None:
    kind, inner = rng.integers(5), blend(fur, rgb("f09ca0"), 0.55)
    for side in (-1, 1):
        x, y = at[0] + side * 0.6 * head, at[1] - 0.72 * head
        if kind == 0:
            polygon(
                picture,
                [
                    (x - side * 0.35 * head, y),
                    (x + side * 0.35 * head, y + 0.35 * head),
                    (x + side * 0.22 * head, y - 0.6 * head),
                ],
                fur,
            )
            polygon(
                picture,
                [
                    (x - side * 0.15 * head, y),
                    (x + side * 0.25 * head, y + 0.2 * head),
                    (x + side * 0.18 * head, y - 0.38 * head),
                ],
                inner,
            )
        elif kind == 1:
            disc(picture, (x, y), 0.34 * head, fur)
            disc(picture, (x, y), 0.19 * head, inner)
        elif kind == 2:
            oval(picture, (x - side * 0.15 * head, y - 0.6 * head), (0.2 * head, 0.75 * head), fur, side * 8)
            oval(picture, (x - side * 0.15 * head, y - 0.6 * head), (0.1 * head, 0.55 * head), inner, side * 8)
        elif kind == 3:
            oval(
                picture,
                (x + side * 0.4 * head, y + 0.6 * head),
                (0.22 * head, 0.55 * head),
                lighter(fur, 0.8),
                side * -12,
            )
        else:
            disc(picture, (x - side * 0.1 * head, y), 0.26 * head, fur)
            disc(picture, (x - side * 0.1 * head, y), 0.16 * head, rgb("fffaf0"))


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
    words = pick(rng, (("Oh, hello there!", "Seen any carp today?"), ("The fair is on Sunday,", "bring a turnip, pal!"),
                       ("I baked you a pie.", "It is only a bit burnt."), ("What a fine hat!", "May I have it?")))  # fmt: skip
    write_lines(picture, words, (0.17 * w, 0.79 * h), 0.05 * h, rgb("6c5440"), "friendly", fit=0.66 * w)


def _heart(picture: Picture, at: tuple[float, float], size: float, colour: Colour) -> None:
    x, y = at
    for side in (-1, 1):
        disc(picture, (x + side * 0.5 * size, y - 0.2 * size), 0.58 * size, colour)
    polygon(picture, [(x - 1.02 * size, y), (x + 1.02 * size, y), (x, y + 1.1 * size)], colour)


def _thing(rng: Rng, picture: Picture, at: tuple[float, float], size: float) -> None:
    """Something to put into a pocket: fruit, fish, leaf, shell, flower."""
    x, y = at
    colour, kind = tinted(rng, palette("e85848", "f4a040", "f4d850", "6cb85c", "58a8d8", "b080d8")), rng.integers(4)
    if kind == 0:
        ball(picture, at, (0.8 * size, 0.75 * size), colour)
        oval(picture, (x + 0.3 * size, y - 0.85 * size), (0.35 * size, 0.16 * size), rgb("58a04c"), -30)
    elif kind == 1:
        ball(picture, at, (0.8 * size, 0.45 * size), colour)
        polygon(
            picture,
            [(x + 0.6 * size, y), (x + 1.1 * size, y - 0.45 * size), (x + 1.1 * size, y + 0.45 * size)],
            lighter(colour, 0.85),
        )
        disc(picture, (x - 0.45 * size, y - 0.08 * size), 0.1 * size, rgb("202020"))
    elif kind == 2:
        oval(picture, at, (0.85 * size, 0.45 * size), rgb("68b458"), -35)
        line(picture, [(x - 0.7 * size, y + 0.5 * size), (x + 0.6 * size, y - 0.4 * size)], rgb("3c7838"), size / 8)
    else:
        for turn in np.arange(5) * 1.257:
            disc(picture, (x + 0.45 * size * np.cos(turn), y + 0.45 * size * np.sin(turn)), 0.36 * size, colour)
        disc(picture, at, 0.28 * size, rgb("fce068"))


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
    grain(rng, picture, rng.uniform(50, 110), rng.uniform(0.012, 0.04), 2)
    return vignette(
        grade(picture, rgb("ffffff"), rng.uniform(0.9, 1.12), rng.uniform(0.75, 1.15)), rng.uniform(0, 0.35)
    )
