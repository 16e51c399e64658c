"""Slagmoor, the dark game: a foundry moon held by armoured crews; corridors, furnaces, snow bases, a city at night.

Seen in first or third person through :mod:`sightline.memes.solids`. It has its bright sides too: white laboratories,
noon in the scrap desert, snow under an overcast sky.
"""

from typing import NamedTuple

import numpy as np

from sightline.memes.crew import ARMOURS, METALS, ORANGE, RED, drone, helmeted_bust, rifle, soldier
from sightline.memes.game import Game
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
    mist,
    oval,
    palette,
    pick,
    polygon,
    relight,
    rgb,
    speckle,
    tinted,
    vignette,
)
from sightline.memes.solids import Bulb, Set, View, Weather, paint

TITLE = "SLAGMOOR"
WORDS = (
    "THE FOUNDRY", "NIGHT SHIFT", "THE WARDEN", "REACTOR LEVEL", "DRILL CREW", "HARD MODE", "SECTOR 9",
    "THE CRUSHER", "SLAG PATROL", "RIVET GUN", "COLD DECK", "THE SIREN",
)  # fmt: skip


class Hall(NamedTuple):
    """How an indoor level is fitted out."""

    walls: Colour
    floor: Colour
    accent: Colour
    lamp: Colour
    ambient: Colour
    fog: Colour


HALLS = (
    Hall(rgb("5c564e"), rgb("4a4642"), rgb("b06a22"), rgb("ffb060"), rgb("2e2a2a"), rgb("1c1614")),
    Hall(rgb("50585e"), rgb("3e444a"), rgb("8a2a20"), rgb("ff4a30"), rgb("262a30"), rgb("161214")),
    Hall(rgb("4e5c64"), rgb("424a50"), rgb("c8a02c"), rgb("a8d0f0"), rgb("343a42"), rgb("1c2830")),
    Hall(rgb("c8ccce"), rgb("9aa0a4"), rgb("d06a20"), rgb("f4faff"), rgb("8a8e94"), rgb("b4bcc4")),
    Hall(rgb("6a7460"), rgb("525a4c"), rgb("4a9048"), rgb("c0f090"), rgb("46503e"), rgb("38482e")),
)
HALL_SHARES = (0.26, 0.2, 0.14, 0.24, 0.16)


def corridor(rng: Rng, shape: Shape) -> Picture:
    """A passage with pipes, ribs and ceiling lamps that ends at a blast door."""
    hall = pick(rng, HALLS, HALL_SHARES)
    wide, tall, deep = rng.uniform(2.6, 5), rng.uniform(2.6, 3.8), rng.uniform(14, 26)
    view = View(
        shape, (rng.uniform(-0.3, 0.3) * wide, 1.6, 0), rng.normal(0, 0.22), rng.normal(0, 0.08), rng.uniform(0.5, 0.8)
    )
    things, bulbs = Set(), []
    rows = int(deep)
    side = wide / 2
    things.plane(rng, (-side, 0, -1), (wide, 0, 0), (0, 0, deep + 1), (4, rows), hall.floor, 0.14)
    things.plane(rng, (-side, tall, -1), (wide, 0, 0), (0, 0, deep + 1), (3, rows), lighter(hall.walls, 0.7), 0.12)
    for x in (-side, side):
        things.plane(rng, (x, 0, -1), (0, tall, 0), (0, 0, deep + 1), (3, rows), hall.walls, 0.12)
        if rng.random() < 0.7:
            stripe = rng.uniform(0.8, 1.5)
            inner = x * 0.99
            things.plane(rng, (inner, stripe, -1), (0, 0.18, 0), (0, 0, deep + 1), (1, rows), hall.accent, 0.1)
    gap = rng.uniform(2, 4)
    for z in np.arange(rng.uniform(1, 3), deep, gap):
        for x in (-side, side):
            things.block((x, 0, z), (0.3, tall, 0.3), lighter(hall.walls, 0.62))
        things.block((0, tall - 0.25, z), (wide, 0.25, 0.3), lighter(hall.walls, 0.55))
        if rng.random() < 0.75:
            colour = RED if rng.random() < 0.15 else hall.lamp
            x, z = rng.uniform(-0.2, 0.2) * wide, z + gap / 2
            half = rng.uniform(0.2, 0.6)
            corners = [(x - half, tall - 0.02, z - 0.3), (x + half, tall - 0.02, z - 0.3)]
            things.quad([*corners, *((a, b, c + 0.6) for a, b, c in corners[::-1])], lighter(colour, 1.5), glows=True)
            bulbs.append(Bulb((x, tall - 0.4, z), colour, rng.uniform(1.6, 2.8)))
    for _ in range(rng.integers(2, 6)):
        x, y = float(pick(rng, (-1, 1))) * (side - rng.uniform(0.15, 0.5)), rng.uniform(0.5, 1) * tall - 0.2
        things.tube((x, y, -0.5), (x, y, deep), rng.uniform(0.06, 0.18), tinted(rng, METALS, 0.2), 6, rows // 3)
    for _ in range(rng.integers(0, 5)):
        x, z, size = rng.uniform(-0.8, 0.8) * side, rng.uniform(3, deep), rng.uniform(0.4, 1)
        things.block((x, 0, z), (size, size * rng.uniform(0.7, 1.3), size), tinted(rng, METALS), rng.uniform(0, 1.5))
    _blast_door(rng, things, wide, tall, deep, hall)
    bulbs.append(Bulb((0, tall - 0.5, deep - 1.5), pick(rng, (RED, ORANGE, hall.lamp)), 2.5))
    picture = gradient(shape, hall.fog, hall.fog)
    paint(picture, view, things, Weather(hall.ambient, hall.fog, rng.uniform(12, 40)), bulbs)
    return _finished(rng, _crew(rng, picture, view, (4, deep)), hall.lamp)


def furnace(rng: Rng, shape: Shape) -> Picture:
    """A high hall with tanks, gantries and a furnace that lights it."""
    heat = pick(rng, (ORANGE, RED, rgb("ffc050"), rgb("8adcff")), (0.5, 0.25, 0.15, 0.1))
    view = View(shape, (rng.uniform(-3, 3), rng.uniform(1.6, 5), 0), rng.normal(0, 0.15), rng.normal(-0.02, 0.06), 0.65)
    things, metal = Set(), tinted(rng, METALS)
    things.plane(rng, (-14, 0, 0), (28, 0, 0), (0, 0, 34), (12, 14), lighter(metal, 0.8), 0.18)
    things.plane(rng, (-14, 0, 34), (28, 0, 0), (0, 16, 0), (10, 6), lighter(metal, 0.7), 0.16)
    for x in (-14.0, 14.0):
        things.plane(rng, (x, 0, 0), (0, 16, 0), (0, 0, 34), (5, 10), lighter(metal, 0.75), 0.16)
    bulbs = []
    for _ in range(rng.integers(3, 7)):
        x, z = float(rng.uniform(4, 12)) * pick(rng, (-1, 1)), rng.uniform(8, 30)
        if rng.random() < 0.6:
            radius, tall = rng.uniform(1, 2.6), rng.uniform(3, 10)
            colour = tinted(rng, METALS, 0.2)
            things.tube((x, 0, z), (x, tall, z), radius, colour, 12, 3)
            things.tube((x, tall * 0.6, z), (x, tall * 0.66, z), radius * 1.06, rgb("b8902c"), 12)
        else:
            things.block((x, 0, z), rng.uniform(2, 5, 3), tinted(rng, METALS, 0.2), rng.uniform(-0.4, 0.4))
    for _ in range(rng.integers(1, 4)):
        y, z = rng.uniform(5, 11), rng.uniform(8, 28)
        things.block((0, y, z), (28, 0.3, 1.6), lighter(metal, 0.55))
        for x in np.arange(-13, 14, 2.0):
            things.block((x, y + 0.3, z - 0.7), (0.1, 1, 0.1), rgb("b07a24"))
        things.block((0, y + 1.2, z - 0.7), (28, 0.1, 0.1), rgb("b07a24"))
    for _ in range(rng.integers(2, 6)):
        x, y = rng.uniform(-12, 12), rng.uniform(6, 14)
        things.tube((x, y, 2), (x, y, 34), rng.uniform(0.2, 0.5), tinted(rng, METALS, 0.2), 6, 5)
    x, z = rng.uniform(-6, 6), rng.uniform(18, 30)
    things.block((x, 0, z + 1.2), (6, 7, 2), rgb("3c3430"))
    for part, tone in enumerate((0.55, 1.0, 1.4, 2.2)):
        half, low, high = 2.2 - 0.45 * part, 0.5, 4.8 - 0.8 * part
        arch = [(x - half, low), (x + half, low), (x + 0.7 * half, high), (x - 0.7 * half, high)]
        things.quad([(a, b, z - 0.02 * part) for a, b in arch], lighter(heat, tone), glows=True)
    for bar in np.linspace(-1.8, 1.8, 6):
        things.tube((x + bar, 0.4, z - 0.3), (x + 0.8 * bar, 4.6, z - 0.3), 0.1, rgb("2c2624"), 4)
    for stream in (1.0, 0.45):
        ends = [(x - 0.7 * stream, z), (x + 0.7 * stream, z), (x + 0.5 + 0.8 * stream, 3), (x + 0.5 - 0.8 * stream, 3)]
        things.quad([(a, 0.05 - 0.02 * stream, c) for a, c in ends], lighter(heat, 2.2 - 1.2 * stream), glows=True)
    bulbs += [Bulb((x, 3, z - 2), heat, 6), Bulb((x, 1, 8), heat, 2.5)]
    picture = gradient(shape, rgb("0c0a0a"), rgb("1a1412"))
    for _ in range(rng.integers(1, 5)):
        at = (rng.uniform(-11, 11), rng.uniform(3, 9), rng.uniform(5, 24))
        bulbs.append(Bulb(at, pick(rng, (heat, rgb("ffd8a0"), rgb("c8dcec"))), rng.uniform(2, 4.5)))
    dim = rng.uniform(0.2, 0.6)
    weather = Weather(lighter(rgb("e0e4ec"), dim), lighter(blend(heat, rgb("403c40"), 0.6), 0.45), rng.uniform(20, 60))
    paint(picture, view, things, weather, bulbs)
    picture = _crew(rng, picture, view, (5, 20))
    if rng.random() < 0.6:
        flakes(rng, picture, int(rng.integers(10, 50)), shape[0] / 140, lighter(heat, 1.3))
    return _finished(rng, mist(rng, picture, lighter(heat, 0.35), rng.uniform(0, 0.25), low=True), heat)


class Outside(NamedTuple):
    """A time and place out of doors: sky from above to the horizon, ground, the light, and how far one sees."""

    sky: tuple[Colour, Colour]
    ground: Colour
    ambient: Colour
    sun: Colour
    sight: float
    snow: bool


OUTSIDES = (
    Outside((rgb("8e98a2"), rgb("c2c8cc")), rgb("dde2e6"), rgb("9aa0a8"), rgb("55524e"), 60, True),
    Outside((rgb("3c72b4"), rgb("b8ccd8")), rgb("c4a878"), rgb("8c929c"), rgb("c4b496"), 150, False),
    Outside((rgb("463a58"), rgb("f09a4c")), rgb("8a7460"), rgb("6a5a64"), rgb("e08a48"), 90, False),
    Outside((rgb("06080e"), rgb("1c2230")), rgb("5c6066"), rgb("262c3a"), rgb("0c1018"), 60, False),
    Outside((rgb("141a28"), rgb("303c50")), rgb("b0bcc8"), rgb("3a4456"), rgb("141c28"), 50, True),
    Outside((rgb("7a7260"), rgb("a08e6c")), rgb("7c6c50"), rgb("84785c"), rgb("30281c"), 22, False),
    Outside((rgb("5a9cd8"), rgb("d0e4e8")), rgb("7ca054"), rgb("98a098"), rgb("b8b094"), 120, False),
)
OUTSIDE_SHARES = (0.18, 0.18, 0.16, 0.1, 0.1, 0.1, 0.18)


def base(rng: Rng, shape: Shape) -> Picture:
    """An outpost in snow, scrap desert, fog or night: bunkers, containers, tanks, masts and pipes."""
    place = pick(rng, OUTSIDES, OUTSIDE_SHARES)
    view = View(
        shape, (0, rng.uniform(1.6, 4.5), 0), rng.normal(0, 0.1), rng.normal(0.03, 0.05), rng.uniform(0.55, 0.9)
    )
    things, bulbs = Set(), []
    things.plane(rng, (-60, 0, -2), (120, 0, 0), (0, 0, 100), (24, 26), place.ground, 0.05)
    night = float(np.mean(place.ambient)) < 80
    cover = place.ground if place.snow else None
    for _ in range(rng.integers(5, 11)):
        z = rng.uniform(10, 60)
        x = rng.uniform(3, 6 + z * 0.6) * pick(rng, (-1, 1))
        _building(rng, things, x, z, cover)
        if rng.random() < (0.8 if night else 0.25):
            at = (x * 0.8, rng.uniform(2, 5), z - 4)
            colour = pick(rng, (ORANGE, ORANGE, RED, rgb("d8e8ff")))
            corners = [(at[0] - 0.25, at[1], at[2]), (at[0] + 0.25, at[1], at[2])]
            things.quad([*corners, *((a, b + 0.3, c) for a, b, c in corners[::-1])], lighter(colour, 1.7), glows=True)
            bulbs.append(Bulb(at, colour, rng.uniform(2, 5) if night else 1.5))
    for _ in range(rng.integers(1, 4)):
        y, z = rng.uniform(0.4, 4), rng.uniform(9, 40)
        things.tube(
            (-40, y, z), (40, y, z + rng.uniform(-6, 6)), rng.uniform(0.2, 0.6), tinted(rng, METALS, 0.2), 8, 12
        )
    for _ in range(rng.integers(0, 8)):
        x, z, size = rng.uniform(-8, 8), rng.uniform(5, 22), rng.uniform(0.5, 1.4)
        things.block((x, 0, z), (size, size * 0.8, size), tinted(rng, ARMOURS, 0.2), rng.uniform(0, 1.5), cover)
    picture = gradient(shape, *place.sky, place.sky[1])
    grain(rng, picture, 3, 0.05)
    _far_works(rng, picture, view, place)
    towards = (rng.uniform(-0.8, 0.8), rng.uniform(0.25, 0.9), rng.uniform(-0.7, 0.5))
    paint(picture, view, things, Weather(place.ambient, place.sky[1], place.sight, place.sun, towards), bulbs)
    picture = _crew(rng, picture, view, (5, 22))
    if rng.random() < 0.5:
        picture = mist(rng, picture, place.sky[1], rng.uniform(0.05, 0.3))
    if place.snow and rng.random() < 0.8:
        flakes(rng, picture, int(rng.integers(40, 160)), shape[0] / 150, blend(place.sky[1], rgb("ffffff"), 0.6))
    return _finished(rng, picture, place.sky[1])


def city(rng: Rng, shape: Shape) -> Picture:
    """A street of the workers' city by night or, now and then, on a grey day: towers, windows, signs, wet asphalt."""
    day = rng.random() < 0.38
    glow = pick(rng, (ORANGE, RED, rgb("d07ae0"), rgb("60c8e0")), (0.5, 0.2, 0.12, 0.18))
    fog = blend(rgb("aeb4ba"), glow, 0.1) if day else lighter(blend(glow, rgb("202838"), 0.72), 0.8)
    view = View(shape, (rng.uniform(-3, 3), rng.uniform(1.6, 7), 0), rng.normal(0, 0.1), rng.normal(0.08, 0.06), 0.65)
    things, bulbs = Set(), []
    things.plane(rng, (-9, 0, 0), (18, 0, 0), (0, 0, 90), (8, 22), rgb("62625f") if day else rgb("4a4a50"), 0.1)
    for side in (-1, 1):
        z = rng.uniform(0, 4)
        while z < 80:
            long, tall = rng.uniform(6, 14), rng.uniform(8, 34)
            colour = tinted(rng, METALS, 0.2) if not day else lighter(tinted(rng, METALS, 0.2), 1.4)
            x = side * (9 + rng.uniform(5, 7))
            things.block((x, 0, z + long / 2), (12, tall, long), colour)
            _windows(rng, things, side, abs(x) - 6.03, z, long, tall, 0.1 if day else 0.45)
            if rng.random() < 0.5:
                y, sign = rng.uniform(3, min(tall, 9)), lighter(pick(rng, (glow, glow, rgb("e8e0c0"))), 1.2)
                edge = side * (abs(x) - 6.1)
                corners = [(edge, y, z + 1), (edge - side * 1.6, y, z + 1)]
                high = rng.uniform(0.8, 4)
                things.quad([*corners, *((a, b + high, c) for a, b, c in corners[::-1])], sign, glows=not day)
                if not day:
                    bulbs.append(Bulb((edge - side * 2, y, z), sign, 3.5))
            z += long + rng.uniform(0, 3)
    for _ in range(rng.integers(0, 6)):
        x, z = rng.uniform(-7, 7), rng.uniform(8, 40)
        colour = tinted(rng, palette("6a2a22", "3a4450", "8a8478", "2c2c30"), 0.2)
        things.block((x, 0.3, z), (2, 0.8, 4.4), colour)
        things.block((x, 1.1, z + 0.3), (1.8, 0.6, 2.2), lighter(colour, 0.6))
        for dx in (-0.7, 0.7):
            corners = [(x + dx - 0.2, 0.7, z - 2.22), (x + dx + 0.2, 0.7, z - 2.22)]
            things.quad([*corners, *((a, 0.9, c) for a, _, c in corners[::-1])], RED, glows=True)
    picture = gradient(shape, lighter(fog, 0.6 if day else 0.3), fog, fog)
    ambient = rgb("9aa0a6") if day else rgb("2c2e3a")
    paint(picture, view, things, Weather(ambient, fog, rng.uniform(30, 80)), bulbs)
    if not day:
        _wet(picture, view)
    picture = _crew(rng, picture, view, (5, 25))
    if rng.random() < 0.5:
        flakes(rng, picture, int(rng.integers(60, 160)), shape[0] / 230, blend(fog, rgb("ffffff"), 0.5), slant=0.15)
    return _finished(rng, picture, glow)


def helmet(rng: Rng, shape: Shape) -> Picture:
    """Key art: a crew member in armour, head and shoulders, before smoke and light."""
    h, w = shape
    bright = rng.random() < 0.55
    back = tinted(rng, palette("c8701e", "7e1e16", "46525c", "6a6256", "3c78b0", "6c9c50", "8c6cb0", "c8a04c"))
    back = blend(back, rgb("e8e4dc"), 0.55) if bright else lighter(back, 0.55)
    picture = gradient(
        shape, lighter(back, 0.5 if not bright else 0.9), back, lighter(back, 0.35 if not bright else 0.7)
    )
    grain(rng, picture, 3, 0.3, 4)
    x, y, size = w * rng.uniform(0.3, 0.7), h * rng.uniform(0.42, 0.6), h * rng.uniform(0.2, 0.36)
    if rng.random() < 0.6:
        for _ in range(2):
            small = size * rng.uniform(0.4, 0.6)
            helmeted_bust(
                rng,
                Brush(picture, (rng.uniform(0.1, 0.9) * w, y - 0.2 * size), small),
                lighter(tinted(rng, ARMOURS), 0.5),
            )
        picture = mist(rng, picture, back, 0.35)
    visor = helmeted_bust(rng, Brush(picture, (x, y), size), tinted(rng, ARMOURS, 0.15))
    lamps = [Lamp(x, y, size * 0.8, visor, 0.5)]
    rim = (pick(rng, (ORANGE, RED, rgb("a8c8e8"))), pick(rng, (ORANGE, RED, rgb("a8c8e8"))))
    lamps += [Lamp(w * at, h * 0.3, h * 0.6, colour, 0.9) for at, colour in zip((-0.1, 1.1), rim, strict=True)]
    grain(rng, picture, 30, 0.07, 3)
    picture = relight(picture, rgb("c8c8c8") if bright else rgb("585860"), lamps, 0.12)
    if rng.random() < 0.7:
        flakes(rng, picture, int(rng.integers(15, 70)), h / 110, lighter(ORANGE, 1.2))
    return _finished(rng, picture, back)


def terminal(rng: Rng, shape: Shape) -> Picture:
    """A menu: loadout, briefing or settings, in angular panels."""
    h, w = shape
    unit = min(h, 0.62 * w)
    light = rng.random() < 0.45
    back, ink = (rgb("c8c6c0"), rgb("26241f")) if light else (rgb("1b1d20"), rgb("cfd2d0"))
    if rng.random() < 0.5:
        picture = corridor(rng, shape)
        glaze(picture, np.full_like(picture, back), 0.78)
    else:
        picture = gradient(shape, lighter(back, 1.15), back)
        grain(rng, picture, 8, 0.03)
    accent = pick(rng, (ORANGE, RED, rgb("7ec0b0")))
    write(
        picture,
        pick(rng, ("LOADOUT", "BRIEFING", "SETTINGS", "CREW", "MISSION FAILED", "ARMOURY")),
        (0.06 * w, 0.11 * h),
        0.075 * unit,
        ink,
        "stencil",
        anchor="left",
    )
    line(picture, [(0.06 * w, 0.185 * h), (0.94 * w, 0.185 * h)], accent, h / 90)
    rows = int(rng.integers(4, 9))
    chosen = int(rng.integers(rows))
    for row in range(rows):
        y = h * (0.27 + 0.66 * row / rows)
        if row == chosen:
            _panel(picture, 0.05 * w, y - 0.035 * h, 0.5 * w, y + 0.035 * h, accent)
        entry = pick(
            rng,
            (
                "RIVET GUN MK2",
                "PLASMA CUTTER",
                "FRAG CHARGE",
                "ARC WELDER",
                "FIELD KIT",
                "DEPLOY",
                "RESUME",
                "AUDIO",
                "GAMMA",
                "QUIT TO DECK",
                "EXO FRAME",
                "SCANNER",
            ),
        )
        colour = rgb("16120c") if row == chosen else ink
        write(picture, entry, (0.07 * w, y), 0.04 * unit, colour, "technical", anchor="left", fit=0.34 * w)
        write(picture, str(rng.integers(1, 400)), (0.48 * w, y), 0.04 * unit, colour, "technical", anchor="right")
    _panel(picture, 0.56 * w, 0.25 * h, 0.94 * w, 0.9 * h, lighter(back, 1.35 if not light else 0.85))
    kind = rng.integers(3)
    if kind == 0:
        helmeted_bust(rng, Brush(picture, (0.75 * w, 0.52 * h), 0.17 * unit), tinted(rng, ARMOURS))
    elif kind == 1:
        rifle(Brush(picture, (0.62 * w, 0.5 * h), 0.3 * w), tinted(rng, METALS))
    else:
        middle = np.array([0.75 * w, 0.55 * h])
        turns = np.linspace(0, 2 * np.pi, 7)[:6]
        for radius in (0.1, 0.18, 0.25):
            corner = middle + radius * unit * np.stack([np.cos(turns), np.sin(turns)], -1)
            line(picture, np.concatenate([corner, corner[:1]]), lighter(ink, 0.5), 1)
        reach = rng.uniform(0.07, 0.25, 6)[:, None] * unit
        polygon(picture, middle + reach * np.stack([np.cos(turns), np.sin(turns)], -1), accent)
    return picture


def hud(rng: Rng, picture: Picture) -> None:
    """Angular instruments: armour and health bottom left, ammunition bottom right, compass or map, an objective."""
    h, w = picture.shape[:2]
    accent = pick(rng, (ORANGE, rgb("e8e0d0"), rgb("ffb04a")))
    left, low = 0.035 * w, 0.93 * h
    for row, (share, colour) in enumerate(((rng.uniform(0.2, 1), rgb("d8d4c8")), (rng.uniform(0, 1), accent))):
        for k in range(10):
            x = left + k * 0.019 * w
            tone = colour if k < 10 * share else lighter(colour, 0.3)
            polygon(
                picture,
                np.array([(x + 2, low - 0.03 * h), (x + 0.016 * w + 2, low - 0.03 * h), (x + 0.016 * w, low), (x, low)])
                - (0, row * 0.045 * h),
                tone,
            )
    write(
        picture,
        f"{rng.integers(4, 60)}/{rng.integers(20, 400)}",
        (0.96 * w, 0.9 * h),
        0.06 * h,
        rgb("e8e4dc"),
        "stencil",
        anchor="right",
    )
    if rng.random() < 0.6:
        middle, size = np.array([0.5 * w, 0.5 * h]), 0.022 * h
        for turn in range(4):
            way = np.array([np.cos(turn * np.pi / 2), np.sin(turn * np.pi / 2)])
            line(picture, [middle + way * size, middle + way * size * 2.2], rgb("f0ece4"), 1)
    if rng.random() < 0.5:
        line(picture, [(0.35 * w, 0.06 * h), (0.65 * w, 0.06 * h)], rgb("d0ccc4"), 1)
        for k, mark in enumerate(("W", "", "N", "", "E")):
            x = (0.36 + 0.07 * k) * w
            line(picture, [(x, 0.045 * h), (x, 0.06 * h)], rgb("d0ccc4"), 1)
            write(picture, mark, (x, 0.09 * h), 0.03 * h, accent, "technical")
    else:
        middle, size = np.array([0.09 * w, 0.16 * h]), 0.11 * h
        turns = np.linspace(0, 2 * np.pi, 7)[:6] + 0.52
        rim = middle + size * np.stack([np.cos(turns), np.sin(turns)], -1)
        dimmed = picture.copy()
        polygon(dimmed, rim, rgb("101214"))
        glaze(picture, dimmed, 0.6)
        for _ in range(3):
            line(picture, middle + rng.uniform(-0.5, 0.5, (3, 2)) * size, rgb("8a8c88"), 1)
        line(picture, np.concatenate([rim, rim[:1]]), accent, 1)
        disc(picture, middle, h / 90, accent)
    if rng.random() < 0.6:
        task = pick(rng, ("REACH THE LIFT", "SEAL THE VENT", "RESTART PUMP 4", "HOLD THE DECK", "FIND THE CREW"))
        box(picture, 0.7 * w, 0.13 * h, 0.707 * w, 0.2 * h, accent)
        write(picture, task, (0.72 * w, 0.165 * h), 0.038 * h, rgb("f0ece4"), "technical", anchor="left", fit=0.26 * w)


def logo(rng: Rng, picture: Picture) -> None:
    """The game's name in slit capitals over a bar, on any picture."""
    h, w = picture.shape[:2]
    x, y, size = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.2, 0.8), min(h * 0.17, w * 0.1)
    colour = pick(rng, (rgb("f0ece6"), ORANGE, RED))
    wide = write(picture, TITLE, (x, y), size, colour, "stencil", outline=rgb("14100e"), fit=0.8 * w)
    # The slit through the letters, and the number of the part below.
    line(picture, [(x - wide / 2, y + 0.12 * size), (x + wide / 2, y - 0.02 * size)], rgb("14100e"), max(1, size / 18))
    if rng.random() < 0.6:
        box(picture, x - wide / 2, y + 0.85 * size, x + wide / 2, y + 1.0 * size, colour)
        write(
            picture,
            pick(rng, ("NIGHT SHIFT", "II", "COLD DECK", "REDUX")),
            (x, y + 1.35 * size),
            0.32 * size,
            colour,
            "technical",
            outline=rgb("14100e"),
        )


SLAGMOOR = Game(
    TITLE, ((corridor, 0.28), (furnace, 0.12), (base, 0.42), (city, 0.18)), helmet, terminal, hud, logo, WORDS
)


def _blast_door(rng: Rng, things: Set, wide: float, tall: float, deep: float, hall: Hall) -> None:
    things.plane(rng, (-wide / 2, 0, deep), (wide, 0, 0), (0, tall, 0), (6, 4), lighter(hall.walls, 0.8), 0.1)
    bars = 8
    for k in range(bars):
        colour = rgb("c89a20") if k % 2 else rgb("22201c")
        x = -wide / 2 + wide * k / bars
        step = wide / bars
        things.quad(
            [
                (x, 0.9, deep - 0.05),
                (x + step, 0.9, deep - 0.05),
                (x + step, 1.25, deep - 0.05),
                (x, 1.25, deep - 0.05),
            ],
            colour,
        )
    light = pick(rng, (RED, rgb("60e070"), ORANGE))
    half = 0.12 * wide
    things.quad(
        [
            (-half, tall - 0.6, deep - 0.1),
            (half, tall - 0.6, deep - 0.1),
            (half, tall - 0.35, deep - 0.1),
            (-half, tall - 0.35, deep - 0.1),
        ],
        light,
        glows=True,
    )


def _building(rng: Rng, things: Set, x: float, z: float, cover: Colour | None) -> None:
    kind, colour = rng.random(), tinted(rng, np.concatenate([METALS, ARMOURS]), 0.2)
    if kind < 0.45:
        size = np.array([rng.uniform(4, 9), rng.uniform(2.4, 6), rng.uniform(4, 9)])
        turn = rng.normal(0, 0.2)
        things.block((x, 0, z), size, colour, turn, cover)
        things.block((x, size[1], z), (size[0] * 0.5, 1.4, size[2] * 0.5), lighter(colour, 0.85), turn, cover)
        things.block((x - np.sign(x) * size[0] / 2, 0, z - size[2] / 4), (0.3, 2.2, 1.4), rgb("2a2826"), turn)
    elif kind < 0.65:
        for level in range(rng.integers(1, 4)):
            paint_of = tinted(rng, palette("8a3a22", "3c5a66", "7c7a5c", "6a6c70"), 0.15)
            things.block((x, level * 2.4, z), (2.4, 2.4, 6), paint_of, rng.normal(0, 0.1), cover)
    elif kind < 0.85:
        radius, tall = rng.uniform(1.4, 3.4), rng.uniform(3, 9)
        things.tube((x, 0, z), (x, tall, z), radius, colour, 12, 2)
        things.tube(
            (x, tall, z), (x, tall + 0.3, z), radius * 0.92, lighter(colour, 0.8) if cover is None else cover, 12
        )
    else:
        tall = rng.uniform(9, 20)
        for dx, dz in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            things.tube((x + dx, 0, z + dz), (x + 0.2 * dx, tall, z + 0.2 * dz), 0.12, colour, 4, 3)
        for y in np.arange(2, tall, 2.5):
            reach = 2 * (1 - 0.8 * y / tall)
            things.block((x, y, z), (reach, 0.15, reach), colour)
        things.block((x, tall, z), (0.6, 0.6, 0.6), RED)


def _windows(rng: Rng, things: Set, side: int, edge: float, start: float, long: float, tall: float, lit: float) -> None:
    for y in np.arange(2.5, tall - 1.5, 3.2):
        for z in np.arange(start + 1, start + long - 1.2, 2.4):
            if rng.random() < 0.6:
                x = side * edge
                warm = pick(rng, (rgb("ffc070"), rgb("ffd8a0"), rgb("b8d4e8")))
                glows = rng.random() < lit
                colour = warm if glows else rgb("282c32")
                things.quad([(x, y, z), (x, y, z + 1.2), (x, y + 1.6, z + 1.2), (x, y + 1.6, z)], colour, glows)


def _wet(picture: Picture, view: View) -> None:
    """Wet asphalt: what stands above the horizon shows again below it, dimmer and drawn out."""
    h = picture.shape[0]
    horizon = int(np.clip(view.spot((0.0, 0.0, 400.0))[0][1], 4, h - 4))
    below = h - horizon
    rows = np.clip(horizon - (np.arange(below) * 0.9).astype(int) - 1, 0, h - 1)
    fade = np.linspace(0.45, 0.1, below, dtype=np.float32)[:, None, None]
    mirrored = picture[rows].astype(np.float32)
    picture[horizon:] = np.clip(picture[horizon:] * (1 - 0.5 * fade) + mirrored * fade, 0, 255).astype(np.uint8)


def _far_works(rng: Rng, picture: Picture, view: View, place: Outside) -> None:
    """Mountains and chimneys on the horizon."""
    h, w = picture.shape[:2]
    horizon = view.spot((0.0, 0.0, 400.0))[0][1]
    for layer in range(2):
        colour = blend(place.sky[1], lighter(place.ground, 0.45), 0.2 + 0.2 * layer)
        knots = horizon - np.abs(rng.normal(0, 0.1 - 0.03 * layer, 9)) * h
        xs = np.linspace(0, w, 9)
        polygon(picture, [*zip(xs, knots, strict=True), (w, h), (0, h)], colour)
    for _ in range(rng.integers(0, 6)):
        x, wide, tall = rng.uniform(0, w), rng.uniform(0.008, 0.03) * w, rng.uniform(0.08, 0.3) * h
        colour = blend(place.sky[1], rgb("241f1c"), 0.45)
        polygon(
            picture,
            [
                (x - wide, horizon),
                (x - 0.6 * wide, horizon - tall),
                (x + 0.6 * wide, horizon - tall),
                (x + wide, horizon),
            ],
            colour,
        )
        for k in range(5):
            oval(
                picture,
                (x + k * 1.3 * wide, horizon - tall - k * 1.1 * wide),
                (wide * (1 + 0.5 * k), wide * (0.8 + 0.3 * k)),
                blend(place.sky[1], rgb("4c4644"), 0.45 - 0.07 * k),
            )


def _crew(rng: Rng, picture: Picture, view: View, depths: tuple[float, float]) -> Picture:
    """Who is in the scene: others at some distance, and the player from behind or his weapon."""
    h, w = picture.shape[:2]
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.35, 0.35, 0.2, 0.1])):
        z = rng.uniform(*depths)
        spot, scale = view.spot((rng.uniform(-0.25, 0.25) * z, 0, z))
        if scale:
            tone = 0.35 + 0.5 * np.exp(-z / 20)
            painter = drone if rng.random() < 0.25 else soldier
            painter(rng, Brush(picture, spot, 1.85 * scale), lighter(tinted(rng, ARMOURS, 0.15), tone))
    person = rng.random()
    if person < 0.35:
        colour = lighter(tinted(rng, METALS, 0.2), 0.75)
        rifle(
            Brush(picture, (w * rng.uniform(0.55, 0.68), h * rng.uniform(0.82, 0.95)), w * 0.42), colour, towards=True
        )
    elif person < 0.6:
        at = np.array([w * rng.uniform(0.3, 0.6), h * rng.uniform(1.0, 1.25)])
        soldier(rng, Brush(picture, at, h * rng.uniform(0.75, 1.1)), lighter(tinted(rng, ARMOURS, 0.15), 0.7))
    return picture


def _panel(picture: Picture, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """A rectangle with one corner cut off."""
    cut = min(0.3 * (bottom - top), 0.05 * picture.shape[0])
    polygon(picture, [(left, top), (right, top), (right, bottom - cut), (right - cut, bottom), (left, bottom)], colour)


def _finished(rng: Rng, picture: Picture, cast: Colour) -> Picture:
    """Dirt, bloom, the level's colour cast and darker corners."""
    speckle(rng, picture, rng.uniform(0.015, 0.06))
    tint = blend(rgb("ffffff"), cast, rng.uniform(0, 0.18))
    picture = grade(bloom(picture), tint * 255 / tint.max(), rng.uniform(0.9, 1.15), rng.uniform(0.7, 1.3))
    return vignette(picture, rng.uniform(0, 0.5))
