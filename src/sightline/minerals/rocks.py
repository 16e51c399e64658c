"""The look of seven minerals, and of the stones that are mistaken for them.

A painter takes a random generator and the side of a square canvas in px and returns the
:class:`~sightline.core.rendering.Surface` of one specimen that lies in it. Every call gives another specimen:
habit, tint, scale of the texture, host rock and weathering all vary within the range that a collection drawer shows.
"""

from collections.abc import Callable

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from sightline.core.rendering import (
    Array,
    Mask,
    Solid,
    Surface,
    cells_of,
    curve,
    fractal,
    grid,
    linear,
    mix,
    ramp,
    stack_solids,
    step,
)

Painter = Callable[[np.random.Generator, int], Surface]


def biotite(rng: np.random.Generator, side: int) -> Surface:
    """Black mica: books of thin dark sheets, or a mass of flakes that glint one by one."""
    tint = ramp(linear("0b0a0a", "1a1310", "2a1d16", "171a15"), rng.uniform(0, 1))
    if rng.random() < 0.6:
        height, inside, sheet, sheen = _books(rng, side, sheets=int(rng.integers(9, 22)))
        tone = rng.uniform(0.6, 1.9, sheet.max() + 1).astype(np.float32)[sheet] * (1 + 0.25 * sheen)
    else:
        height, inside, flake = _flakes(rng, side, count=int(rng.integers(60, 260)), tilt=0.55)
        tone = rng.uniform(0.5, 2.2, flake.max() + 1).astype(np.float32)[flake]
    colour = tint * np.clip(tone, 0.3, 3)[..., None]
    bronze = step(fractal(rng, (side, side), 5), 0.6, 1.8) * rng.uniform(0, 0.7)
    colour = mix(colour, linear("6b4a26"), bronze)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.75, 1))
    return _weather(rng, _host(rng, surface, 0.15, "b9b2a6", "8f8578", "cfc7bd"), 0.2)


def bornite(rng: np.random.Generator, side: int) -> Surface:
    """Peacock ore: a bumpy bronze metal under a tarnish film whose thickness decides its colour."""
    shape = (side, side)
    height, inside = _hull(rng, side, faces=int(rng.integers(12, 22)), rounding=rng.uniform(14, 40), rough=0.1)
    lumps = np.abs(fractal(rng, shape, rng.uniform(5, 9), 4, 0.55))
    height = height + inside * (0.07 * lumps + 0.012 * fractal(rng, shape, 40, 2))
    # Thin-film interference: the film's optical path in nm against the wavelengths of red, green and blue.
    film_relief = fractal(rng, shape, rng.uniform(1.5, 4), 5, 0.45)
    path = rng.uniform(330, 640) + rng.uniform(50, 150) * film_relief + rng.uniform(10, 50) * lumps
    phase = 2 * np.pi * np.clip(path, 120, None)[..., None] / np.array([620.0, 540.0, 450.0])
    film = 0.08 + 0.42 * (0.5 + 0.5 * np.cos(phase)) ** 1.4
    bronze = ramp(linear("7d5136", "a06a44", "6d4a3c"), rng.uniform(0, 1))
    tarnish = step(fractal(rng, shape, 3, 3), -1.3 + rng.normal() * 0.5, -0.2) * rng.uniform(0.65, 1)
    colour = mix(bronze, film * rng.uniform(0.9, 1.5), tarnish).astype(np.float32)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.3, 0.65), metal=0.8)
    return _weather(rng, _host(rng, surface, 0.3, "8a8178", "5d534b", "a39a8c"), 0.35)


def chrysocolla(rng: np.random.Generator, side: int) -> Surface:
    """Blue-green crusts of packed spheres, or smooth masses, on brown host rock."""
    shape = (side, side)
    hue = rng.uniform(0, 1)
    colours = np.stack(
        [ramp(linear("0c7590", "1296a8", "1f9f98", "25967f"), hue), ramp(linear("4fb8d8", "63c8d0", "74cdbd"), hue)]
    )
    if rng.random() < 0.75:
        height, inside, rim = _spheres(rng, side, count=int(rng.integers(25, 150)))
        tone = np.clip(0.75 - 0.9 * rim + 0.22 * fractal(rng, shape, 4, 4), 0, 1)
    else:
        height, inside = _hull(rng, side, faces=int(rng.integers(12, 20)), rounding=rng.uniform(8, 20), rough=0.09)
        height = height + inside * 0.03 * fractal(rng, shape, 7, 3)
        tone = np.clip(0.45 + 0.3 * fractal(rng, shape, 3, 5, 0.6), 0, 1)
    colour = ramp(colours, tone)
    chalk = step(fractal(rng, shape, 6, 4), 0.7, 2.0) * rng.uniform(0, 0.6)
    colour = mix(colour, linear("c9e6df"), chalk)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.15, 0.55))
    return _weather(rng, _host(rng, surface, 0.6, "6b4a33", "4a382d", "8a6a4c"), 0.3)


def malachite(rng: np.random.Generator, side: int) -> Surface:
    """Green bands around several centres, as in agate, on broken, rounded or polished pieces."""
    shape = (side, side)
    x, y = grid(shape)
    polished = rng.random() < 0.5
    height, inside = _hull(
        rng, side, faces=int(rng.integers(9, 20)), rounding=rng.uniform(6, 12) if polished else rng.uniform(12, 40),
        rough=0.03 if polished else 0.09,
    )  # fmt: skip
    centres = rng.uniform(-1, 1, (int(rng.integers(1, 7)), 2)).tolist()
    squeeze = rng.uniform(0.7, 1.4, (len(centres), 2)).tolist()
    rings = np.stack(
        [np.hypot((x - cx) * sx, (y - cy) * sy) for (cx, cy), (sx, sy) in zip(centres, squeeze, strict=True)]
    )
    # A soft minimum, so that rings of neighbouring centres flow into each other.
    growth = -np.log(np.exp(-6 * rings).sum(0)) / 6 + rng.uniform(0.02, 0.07) * fractal(rng, shape, 4, 4)
    bands = curve(rng, 61, growth * rng.uniform(14, 34) + 30)
    fibres = 0.08 * fractal(rng, shape, 45, 2)
    hue = rng.uniform(0, 1)
    dark = ramp(linear("033a1e", "05402a", "064538"), hue)
    light = ramp(linear("3fae5e", "4fb884", "5cc098"), hue)
    middle = ramp(linear("0b7a3d", "0f8052", "118464"), hue)
    contrast = rng.uniform(0.7, 1.1)
    colour = ramp(np.stack([dark, middle, light]), np.clip(0.5 + contrast * (bands - 0.5) + fibres, 0, 1))
    if not polished:
        height = height + inside * (0.03 * fractal(rng, shape, 8, 4) + 0.012 * bands)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.5, 0.9) if polished else rng.uniform(0.05, 0.35))
    return _weather(rng, _host(rng, surface, 0.35, "5d4632", "7d6a54", "3d342c"), 0.3)


def muscovite(rng: np.random.Generator, side: int) -> Surface:
    """Pale mica: pearly, half transparent sheets with ragged edges, or silver flakes."""
    tint = ramp(linear("c2bfb2", "d0cab6", "bdb8a6", "c6c0a8", "d0ccc0"), rng.uniform(0, 1))
    if rng.random() < 0.85:
        height, inside, sheet, sheen = _books(rng, side, sheets=int(rng.integers(8, 20)))
        tone = rng.uniform(0.65, 1.2, sheet.max() + 1).astype(np.float32)[sheet] * (1 + 0.16 * sheen)
        clear = np.clip(rng.uniform(0.1, 0.35) - 0.3 * sheet / (sheet.max() + 1), 0, 1)
    else:
        height, inside, flake = _flakes(rng, side, count=int(rng.integers(120, 420)), tilt=0.6)
        tone = rng.uniform(0.55, 1.25, flake.max() + 1).astype(np.float32)[flake]
        clear = np.zeros((side, side))
    colour = np.clip(tint * tone[..., None], 0, 0.9)
    stain = step(fractal(rng, (side, side), 3), 0.4, 2.0) * rng.uniform(0, 0.6)
    colour = mix(colour, linear("8a6a3c"), stain)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.4, 0.8), metal=0.3, clear=clear.astype(np.float32))
    return _weather(rng, _host(rng, surface, 0.12, "a89c8c", "7d7266", "c4b8a8"), 0.3)


def pyrite(rng: np.random.Generator, side: int) -> Surface:
    """Brassy cubes grown into each other, their faces striped along one edge; now and then dodecahedra."""
    habit = rng.choice(["cubes", "drusy", "pyritohedra"], p=[0.5, 0.35, 0.15])
    count = int({"cubes": rng.integers(2, 9), "drusy": rng.integers(18, 46), "pyritohedra": rng.integers(1, 5)}[habit])
    solids, turns = [], []
    main = Rotation.from_quat(rng.normal(size=4))
    spread = 0.42 if count < 10 else 0.6
    for _ in range(count):
        turn = main if rng.random() < 0.3 else Rotation.from_quat(rng.normal(size=4))
        away, angle = spread * np.sqrt(rng.uniform(0, 1)) * (count > 1), rng.uniform(0, 2 * np.pi)
        size = (0.9 / count**0.42) * rng.uniform(0.45, 0.72)
        centre = np.array([away * np.cos(angle), away * np.sin(angle) * 0.85, size * 0.6 + 0.25 * (spread - away)])
        shape = _PYRITOHEDRON if habit == "pyritohedra" else _CUBE
        solids.append(_solid(turn, shape, np.full(len(shape), size), centre, size * 1.75))
        turns.append(turn.as_matrix())
    relief = stack_solids((side, side), solids)
    height, inside = relief.height, relief.inside
    x, y = grid((side, side))
    # Striations run along one edge direction of each face: a wave in the crystal's own coordinates.
    axes = np.array(turns)[relief.solid, :, (relief.front + 1) % 3]
    along = axes[..., 0] * x + axes[..., 1] * y + axes[..., 2] * height
    stripes = curve(rng, 97, along * rng.uniform(25, 55) + 48) - 0.5
    bumps = fractal(rng, (side, side), 9, 3)
    height = height + inside * (0.006 * rng.uniform(0.3, 1) * stripes + 0.006 * bumps)
    brass = ramp(linear("d9c08a", "e0c890", "c8a86a", "b89a62"), rng.uniform(0, 1))
    tone = rng.uniform(0.75, 1.1, (count, 12)).astype(np.float32)[relief.solid, relief.front % 12]
    colour = brass * (tone * (1 + 0.12 * stripes))[..., None]
    rust = step(fractal(rng, (side, side), 4, 5, 0.6), 0.6, 1.8) * rng.uniform(0, 0.8)
    colour = mix(colour, linear("5a3520"), rust)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.45, 0.85), metal=0.9 - 0.6 * rust)
    return _weather(rng, _host(rng, surface, 0.25, "7d766c", "a39c90", "57504a"), 0.3)


def quartz(rng: np.random.Generator, side: int) -> Surface:
    """Clear to milky six-sided prisms with pointed ends: single, in fans and clusters, or broken pieces."""
    shape = (side, side)
    tints = linear("eaf4fc", "f0f6fc", "f4f4f8", "ecc8d4", "dca8c0", "b088d0", "9a70c0")
    tint = ramp(tints, rng.uniform(0, 1) ** 1.5)
    if rng.random() < 0.95:
        height, inside, face, inner = _prisms(rng, side, count=int(rng.choice([1, 2, 4, 7, 12])))
        tone = inner * rng.uniform(0.8, 1.15, face.max() + 1).astype(np.float32)[face]
        height = height + inside * 0.003 * fractal(rng, shape, 16, 2)
    else:
        height, inside = _hull(rng, side, faces=int(rng.integers(14, 26)), rounding=60, rough=0.03)
        height = height + inside * 0.025 * np.abs(fractal(rng, shape, 4, 2))
        tone = 1 + 0.15 * fractal(rng, shape, 5, 3)
    veil = step(fractal(rng, shape, rng.uniform(2, 4), 5, 0.62), rng.uniform(-0.3, 1.2), 2.4)
    clear = np.clip(rng.uniform(0.35, 0.7) * (1 - 0.85 * veil), 0, 0.9).astype(np.float32)
    body = tint * np.clip(tone, 0.3, 1.25)[..., None]
    colour = np.clip(mix(body, linear("f2f0ec"), 0.6 * veil), 0, 0.95)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.8, 1), metal=0.1, clear=clear)
    return _weather(rng, _host(rng, surface, 0.2, "a39484", "c9bfb2", "7a6c5e"), 0.2)


def granite(rng: np.random.Generator, side: int) -> Surface:
    """Interlocked grains of feldspar, quartz and dark mica."""
    height, inside = _hull(rng, side, faces=int(rng.integers(10, 20)), rounding=rng.uniform(10, 40), rough=0.06)
    cell, _ = cells_of(rng, (side, side), int(rng.integers(400, 2200)))
    kinds = linear("d8d2ca", "c9a08c" if rng.random() < 0.5 else "b9b4ac", "8f8b86", "242322")
    colour = kinds[rng.choice(4, cell.max() + 1, p=[0.34, 0.28, 0.2, 0.18])[cell]]
    grain = rng.uniform(0, 1, cell.max() + 1).astype(np.float32)[cell]
    return _weather(rng, Surface(height + inside * 0.012 * grain, inside, colour, gloss=0.3 * (grain > 0.8)), 0.3)


def sandstone(rng: np.random.Generator, side: int) -> Surface:
    """Matt layers of sand in tan, ochre and red."""
    shape = (side, side)
    height, inside = _hull(rng, side, faces=int(rng.integers(9, 16)), rounding=rng.uniform(8, 25), rough=0.06)
    x, y = grid(shape)
    turn = rng.uniform(0, np.pi)
    depth = x * np.cos(turn) + y * np.sin(turn) + 0.06 * fractal(rng, shape, 3, 3)
    layers = curve(rng, 40, depth * rng.uniform(5, 16) + 20)
    palette = linear("a9805a", "cdb08a", "8f5a3e") if rng.random() < 0.7 else linear("8b8a78", "b5b29c", "9a927c")
    sand = fractal(rng, shape, side / 2.5, 1)
    colour = ramp(palette, np.clip(layers + 0.08 * sand, 0, 1)) * (1 + 0.08 * sand)[..., None]
    return _weather(rng, Surface(height + inside * (0.003 * sand + 0.02 * layers), inside, colour), 0.2)


def basalt(rng: np.random.Generator, side: int) -> Surface:
    """Dark volcanic rock: dull with gas holes, or obsidian with curved glassy fractures."""
    shape = (side, side)
    glassy = rng.random() < 0.25
    height, inside = _hull(
        rng, side, faces=int(rng.integers(10, 22)), rounding=60 if glassy else rng.uniform(12, 40), rough=0.05
    )
    tint = ramp(linear("101418", "3a3836", "4c4644", "5a5048"), rng.uniform(0, 0.15) if glassy else rng.uniform(0.3, 1))
    if glassy:
        x, y = grid(shape)
        cx, cy = rng.uniform(-1.2, 1.2, 2)
        height = height + inside * 0.012 * np.sin(rng.uniform(18, 40) * np.hypot(x - cx, y - cy))
        colour = np.broadcast_to(tint, (*shape, 3)).astype(np.float32)
        return _weather(rng, Surface(height, inside, colour, gloss=rng.uniform(0.7, 1)), 0.3)
    cell, distance = cells_of(rng, shape, int(rng.integers(60, 300)))
    holes = step(-distance, -side / 70, 0) * (rng.uniform(0, 1, cell.max() + 1) < 0.6)[cell]
    grit = fractal(rng, shape, 30, 3)
    colour = tint * np.clip(1 + 0.18 * grit - 0.4 * holes, 0.3, 2)[..., None]
    return _weather(rng, Surface(height + inside * (0.012 * grit - 0.03 * holes), inside, colour, gloss=0.08), 0.35)


def azurite(rng: np.random.Generator, side: int) -> Surface:
    """Deep blue crusts and nodules."""
    shape = (side, side)
    tint = ramp(linear("0b1f6e", "1a3f9c", "2c56b0"), rng.uniform(0, 1))
    if rng.random() < 0.5:
        height, inside, rim = _spheres(rng, side, count=int(rng.integers(20, 90)))
    else:
        height, inside = _hull(rng, side, faces=int(rng.integers(12, 20)), rounding=30, rough=0.09)
        rim = np.zeros(shape, np.float32)
    sparkle = fractal(rng, shape, side / 6, 1)
    tone = np.clip(1 + 0.3 * fractal(rng, shape, 6, 4) + 0.2 * sparkle - 0.5 * rim, 0.3, 2)
    surface = Surface(height + inside * 0.012 * sparkle, inside, tint * tone[..., None], gloss=rng.uniform(0.1, 0.5))
    return _weather(rng, _host(rng, surface, 0.6, "7a6350", "9c8a72", "5a4a3e"), 0.3)


def chalcopyrite(rng: np.random.Generator, side: int) -> Surface:
    """Brass-yellow lumps without crystal faces, some with a faint tarnish."""
    shape = (side, side)
    height, inside = _hull(rng, side, faces=int(rng.integers(12, 22)), rounding=rng.uniform(14, 40), rough=0.1)
    lumps = np.abs(fractal(rng, shape, rng.uniform(5, 10), 4, 0.6))
    height = height + inside * (0.07 * lumps + 0.01 * fractal(rng, shape, 40, 2))
    yellow = ramp(linear("d8b04a", "c79a3c", "b08a48"), rng.uniform(0, 1))
    tarnish = step(fractal(rng, shape, 4, 4), 0.5, 2.0) * rng.uniform(0, 0.7)
    colour = mix(yellow, ramp(linear("8a4a3a", "6a5a3a", "5a5a6a"), lumps / 3), tarnish)
    surface = Surface(height, inside, colour, gloss=rng.uniform(0.3, 0.7), metal=0.85)
    return _weather(rng, _host(rng, surface, 0.4, "7d766c", "a39c90", "57504a"), 0.3)


def serpentine(rng: np.random.Generator, side: int) -> Surface:
    """Waxy mottled green without bands."""
    shape = (side, side)
    height, inside = _hull(rng, side, faces=int(rng.integers(9, 18)), rounding=rng.uniform(6, 25), rough=0.06)
    mottle = np.clip(0.5 + 0.3 * fractal(rng, shape, 4, 5, 0.65), 0, 1)
    pale = linear("8fae6a", "7fb08a", "a8b27a")[rng.integers(3)]
    colour = ramp(np.stack([linear("16301f"), linear("3d6b3f"), pale]), mottle)
    veins = step(-np.abs(fractal(rng, shape, 3, 3)), -0.12, 0) * rng.uniform(0, 0.7)
    colour = mix(colour, linear("d0d4c0"), veins)
    return _weather(rng, Surface(height, inside, colour, gloss=rng.uniform(0.15, 0.6)), 0.3)


def glass(rng: np.random.Generator, side: int) -> Surface:
    """Glass pebbles: rounded, green, blue or brown, polished or frosted by the sea."""
    shape = (side, side)
    height, inside = _hull(rng, side, faces=int(rng.integers(6, 12)), rounding=rng.uniform(4, 8), rough=0.02)
    palette = linear("9fd6b8", "5fa88a", "7fb4d8", "b0783c", "6f9fd0")
    frost = rng.uniform(0, 1) ** 2
    colour = np.broadcast_to(palette[rng.integers(len(palette))], (*shape, 3)).astype(np.float32)
    bubbles = 0.004 * frost * fractal(rng, shape, 30, 2)
    return Surface(
        height + inside * bubbles, inside, colour, gloss=1 - 0.6 * frost, clear=rng.uniform(0.75, 0.92) - 0.4 * frost
    )


def slate(rng: np.random.Generator, side: int) -> Surface:
    """Blue-grey plates with a dull sheen."""
    height, inside, sheet, sheen = _books(rng, side, sheets=int(rng.integers(3, 8)))
    tint = ramp(linear("566270", "66707c", "5c6a66", "6a6478"), rng.uniform(0, 1))
    tone = rng.uniform(0.8, 1.2, sheet.max() + 1).astype(np.float32)[sheet] * (1 + 0.08 * sheen)
    return _weather(rng, Surface(height, inside, tint * tone[..., None], gloss=rng.uniform(0.1, 0.35)), 0.35)


def calcite(rng: np.random.Generator, side: int) -> Surface:
    """Cleaved rhombohedra, honey, orange or pink."""
    main = Rotation.from_quat(rng.normal(size=4))
    solids = []
    count = int(rng.integers(1, 5))
    for _ in range(count):
        size = rng.uniform(0.3, 0.5) / count**0.3
        away, angle = 0.4 * (count > 1) * rng.uniform(0, 1), rng.uniform(0, 2 * np.pi)
        centre = np.array([away * np.cos(angle), away * np.sin(angle), size * 0.6])
        solids.append(_solid(main, _RHOMB, size * rng.uniform(0.7, 1.15, 6), centre, size * 2))
    relief = stack_solids((side, side), solids)
    inside = relief.inside
    tint = ramp(linear("f0c8a0", "e8a868", "e09a58", "eab0a0"), rng.uniform(0, 1))
    tone = rng.uniform(0.75, 1.05, 6).astype(np.float32)[relief.back] * (1 + 0.08 * fractal(rng, (side, side), 4, 4))
    height = relief.height + inside * 0.006 * fractal(rng, (side, side), 8, 3)
    return _weather(rng, Surface(height, inside, tint * tone[..., None], gloss=0.6, clear=rng.uniform(0.1, 0.5)), 0.25)


def fluorite(rng: np.random.Generator, side: int) -> Surface:
    """Translucent cubes in violet, green or blue."""
    main = Rotation.from_quat(rng.normal(size=4))
    solids = []
    count = int(rng.integers(2, 12))
    for _ in range(count):
        size = rng.uniform(0.36, 0.56) / count**0.4
        away, angle = 0.45 * np.sqrt(rng.uniform(0, 1)), rng.uniform(0, 2 * np.pi)
        turn = main if rng.random() < 0.7 else Rotation.from_quat(rng.normal(size=4))
        centre = np.array([away * np.cos(angle), away * np.sin(angle), size * 0.6])
        solids.append(_solid(turn, _CUBE, np.full(6, size), centre, size * 1.75))
    relief = stack_solids((side, side), solids)
    inside = relief.inside
    tint = linear("4a2a90", "4fa07a", "4a7ac8", "3a9a9a")[rng.integers(4)]
    tone = rng.uniform(0.7, 1.1, 6).astype(np.float32)[relief.back] * (1 + 0.1 * fractal(rng, (side, side), 4, 4))
    height = np.where(inside, relief.height, 0).astype(np.float32)
    return _weather(rng, Surface(height, inside, tint * tone[..., None], gloss=0.8, clear=rng.uniform(0.2, 0.55)), 0.25)


def turquoise(rng: np.random.Generator, side: int) -> Surface:
    """Smooth sky-blue pebbles under a net of dark veins."""
    shape = (side, side)
    height, inside = _hull(rng, side, faces=int(rng.integers(7, 14)), rounding=rng.uniform(5, 10), rough=0.03)
    tint = ramp(linear("3fa6b8", "5fbcc0", "6fb8a4"), rng.uniform(0, 1))
    veins = step(-np.abs(fractal(rng, shape, rng.uniform(3, 6), 3)), -0.16, -0.02)
    colour = tint * (1 + 0.07 * fractal(rng, shape, 5, 3))[..., None]
    colour = mix(colour, linear("3a2a20"), veins * rng.uniform(0.5, 0.95))
    return _weather(rng, Surface(height - inside * 0.01 * veins, inside, colour, gloss=rng.uniform(0.3, 0.7)), 0.25)


MINERALS: dict[str, Painter] = {
    "biotite": biotite,
    "bornite": bornite,
    "chrysocolla": chrysocolla,
    "malachite": malachite,
    "muscovite": muscovite,
    "pyrite": pyrite,
    "quartz": quartz,
}
LOOKALIKES: tuple[Painter, ...] = (
    granite,
    sandstone,
    basalt,
    azurite,
    chalcopyrite,
    serpentine,
    glass,
    slate,
    calcite,
    fluorite,
    turquoise,
)

_CUBE = np.concatenate([np.eye(3), -np.eye(3)])
_GOLDEN = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
_PYRITOHEDRON = np.array(
    [[a * s if a == 1 else a * t for a in row] for row in _GOLDEN for s in (1, -1) for t in (1, -1)]
) / np.sqrt(5)  # fmt: skip
# Calcite cleaves along three planes whose normals stand at 75 degrees to each other.
_RHOMB_HALF = np.linalg.cholesky(np.full((3, 3), 0.26) + 0.74 * np.eye(3))
_RHOMB = np.concatenate([_RHOMB_HALF, -_RHOMB_HALF])


def _solid(turn: Rotation, normals: np.ndarray, offsets: np.ndarray, centre: np.ndarray, reach: float) -> Solid:
    return Solid(centre.astype(np.float32), turn.apply(normals).astype(np.float32), offsets.astype(np.float32), reach)


def _hull(rng: np.random.Generator, side: int, faces: int, rounding: float, rough: float) -> tuple[Array, Mask]:
    """A chip of rock: the space under random planes, their edges rounded (a smaller ``rounding`` is rounder)."""
    x, y = grid((side, side))
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.62, 1)
    u = x * np.cos(turn) + y * np.sin(turn) + rough * fractal(rng, (side, side), 3, 5)
    v = (y * np.cos(turn) - x * np.sin(turn)) / squeeze + rough * fractal(rng, (side, side), 3, 5)
    around = np.linspace(0, 2 * np.pi, 9, endpoint=False) + rng.uniform(-0.25, 0.25, 9)
    steep = rng.uniform(0.2, 0.5, 9)
    ring = np.stack([np.cos(around), np.sin(around), steep], -1)
    lid = np.concatenate([rng.normal(0, 0.55, (faces, 2)), np.ones((faces, 1))], 1)
    planes = np.concatenate([ring, lid])
    planes /= np.linalg.norm(planes, axis=1, keepdims=True)
    offsets = np.append(rng.uniform(0.6, 0.86, 9), rng.uniform(0.42, 0.62, faces))
    total = np.zeros((side, side), np.float32)
    lowest = np.full((side, side), np.inf, np.float32)
    heights = np.empty((len(planes), side, side), np.float32)
    plane, slope = np.empty_like(u), np.empty_like(u)
    for z, (nx, ny, nz), d in zip(heights, planes.tolist(), offsets.tolist(), strict=True):
        np.subtract(d, np.multiply(nx, u, out=plane), out=plane)
        plane -= np.multiply(ny, v, out=slope)
        z[:] = np.divide(plane, nz, out=plane)
        np.minimum(lowest, z, out=lowest)
    for z in heights:
        z -= lowest
        z *= -rounding
        total += np.exp(z, out=z)
    height = lowest - np.log(total) / rounding
    # Rounding takes away from the top; a pebble is as high as a chip.
    height += max(0.0, 0.42 - float(height.max()))
    height -= 0.7 * _canvas_end(x, y)
    return np.clip(height, 0, None), height > 0.03


def _books(rng: np.random.Generator, side: int, sheets: int) -> tuple[Array, Mask, np.ndarray, Array]:
    """A stack of thin six-sided sheets, each tilted a little: height, mask, sheet index, and a streaky sheen."""
    x, y = grid((side, side))
    lean = rng.uniform(0.55, 1)
    turn = rng.uniform(0, 2 * np.pi)
    u = x * np.cos(turn) + y * np.sin(turn)
    v = (y * np.cos(turn) - x * np.sin(turn)) / lean
    ragged = rng.uniform(0.02, 0.06)
    u = u + ragged * fractal(rng, (side, side), 4, 5, 0.62)
    v = v + ragged * fractal(rng, (side, side), 4, 5, 0.62)
    end = _canvas_end(x, y)
    height = np.zeros((side, side), np.float32)
    sheet = np.zeros((side, side), np.int32)
    thick = rng.uniform(0.02, 0.045)
    ripple = fractal(rng, (side, side), 5, 3)
    drift = rng.normal(0, 0.03, 2)
    middle, size = -drift * sheets / 2, rng.uniform(0.7, 0.8)
    sides = int(rng.integers(5, 8))
    for index in range(sheets):
        around = np.linspace(0, 2 * np.pi, sides, endpoint=False) + rng.normal(0, 0.12, sides)
        reach = size * rng.uniform(0.75, 1.0, sides)
        from_x, from_y = u - middle[0], v - middle[1]
        edge = np.full_like(u, -np.inf)
        for angle, far in zip(around.tolist(), reach.tolist(), strict=True):
            beyond = from_x * np.cos(angle)
            beyond += from_y * np.sin(angle)
            beyond -= far
            np.maximum(edge, beyond, out=edge)
        edge += end
        slope = rng.normal(0, 0.07, 2)
        plate = thick * (index + 1) + slope[0] * u + slope[1] * v + 0.012 * rng.normal() * ripple + 0.03
        shown = (edge < 0) & (plate > height)
        height[shown], sheet[shown] = plate[shown], index
        middle = middle + drift + rng.normal(0, 0.035, 2)
        size *= rng.uniform(0.93, 1.0)
    inside = height > 0
    sheen = fractal(rng, (side, side), 6, 4, 0.6)
    return height + inside * 0.004 * sheen, inside, sheet, sheen


def _flakes(rng: np.random.Generator, side: int, count: int, tilt: float) -> tuple[Array, Mask, np.ndarray]:
    """A lump of flakes that each face their own way: height, mask, flake index."""
    x, y = grid((side, side))
    height, inside = _hull(rng, side, faces=int(rng.integers(12, 20)), rounding=rng.uniform(10, 30), rough=0.09)
    flake, _ = cells_of(rng, (side, side), count)
    slopes = rng.normal(0, tilt, (flake.max() + 1, 2)).astype(np.float32)
    lift = rng.uniform(0, 0.05, flake.max() + 1).astype(np.float32)
    area = np.bincount(flake.ravel())
    mx, my = (np.bincount(flake.ravel(), c.ravel()) / area for c in (x, y))
    plate = slopes[flake, 0] * (x - mx[flake]) + slopes[flake, 1] * (y - my[flake]) + lift[flake]
    bumps = 0.004 * fractal(rng, (side, side), 20, 2)
    return np.where(inside, height + plate + bumps, 0).astype(np.float32), inside, flake


def _spheres(rng: np.random.Generator, side: int, count: int) -> tuple[Array, Mask, Array]:
    """A crust of packed spheres: height, mask, and how near the groove between two spheres a point is (0 … 1)."""
    x, y = grid((side, side))
    base, inside = _hull(rng, side, faces=int(rng.integers(10, 18)), rounding=rng.uniform(8, 25), rough=0.1)
    wide = 1.1 / np.sqrt(count)
    height, best = base * 0.75, np.full((side, side), 1.0, np.float32)
    for cx, cy in rng.uniform(-0.9, 0.9, (count * 2, 2)).tolist():
        row, column = (int((c + 1) * side / 2) for c in (cy, cx))
        radius = min(wide * rng.uniform(0.5, 1.25), 0.97 - float(np.hypot(cx, cy)))
        if not inside[row, column] or radius < wide / 3:
            continue
        x0, x1 = (int(np.clip((cx + s * radius + 1) * side / 2, 0, side)) for s in (-1, 1))
        y0, y1 = (int(np.clip((cy + s * radius + 1) * side / 2, 0, side)) for s in (-1, 1))
        view = np.s_[y0:y1, x0:x1]
        gone = ((x[view] - cx) ** 2 + (y[view] - cy) ** 2) / radius**2
        ball = base[row, column] * 0.75 + radius * 0.8 * np.sqrt(np.clip(1 - gone, 0, 1))
        shown = (gone < 1) & (ball > height[view])
        height[view][shown], best[view][shown] = ball[shown], gone[shown]
    inside = (inside | (best < 1)) & (height > 0.02)
    return np.where(inside, height, 0).astype(np.float32), inside, best**2


def _prisms(rng: np.random.Generator, side: int, count: int) -> tuple[Array, Mask, np.ndarray, Array]:
    """Six-sided prisms with pyramids on top, fanning out: height, mask, face index, and light from the faces behind."""
    lying = count <= 2
    solids = []
    fan = rng.uniform(0, 2 * np.pi)
    for index in range(count):
        turn = fan + (rng.normal(0, 0.35) if lying else 2 * np.pi * index / count + rng.normal(0, 0.4))
        rise = rng.uniform(0.0, 0.2) if lying else rng.uniform(0.25, 1.2)
        axis = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        length = rng.uniform(0.7, 0.82) if lying else rng.uniform(0.45, 0.82)
        radius = length * rng.uniform(0.24, 0.5) if lying else rng.uniform(0.16, 0.3) * (4 / count) ** 0.3
        spin = Rotation.align_vectors([axis], [[0, 0, 1]])[0] * Rotation.from_euler("z", rng.uniform(0, 1))
        angles = np.arange(6) * np.pi / 3
        walls = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], -1)
        # The terminal faces of quartz stand at 52 degrees to the prism's axis.
        point = walls * np.cos(np.deg2rad(38)) + [0, 0, np.sin(np.deg2rad(38))]
        tip = np.sin(np.deg2rad(38)) * (length + rng.uniform(-0.12, 0.05, 6) * radius * 2)
        ends = point * [1, 1, -1] if lying and rng.random() < 0.6 else np.array([[0.1, 0.1, -0.99]])
        back = tip if len(ends) == 6 else np.array([length * (0.8 if lying else 0.1)])
        offsets = np.concatenate([radius * rng.uniform(0.85, 1, 6), tip, back])
        shift = rng.uniform(-0.15, 0.15, 2) if count == 2 else rng.uniform(-0.14, 0.14, 2) * (count > 1)
        centre = np.array([*shift, radius * (1 if lying else 0.5)])
        solids.append(_solid(spin, np.concatenate([walls, point, ends]), offsets, centre, length * 1.15))
    relief = stack_solids((side, side), solids)
    face = relief.solid * 18 + relief.front
    inner = cv2.blur(rng.uniform(0.35, 1.2, (count, 18)).astype(np.float32)[relief.solid, relief.back], (3, 3))
    return relief.height, relief.inside, face, inner


def _canvas_end(x: Array, y: Array) -> Array:
    """0 over most of the canvas and 1 at its end, to round off what would be cut by it."""
    return step(np.hypot(x, y), 0.82, 1)


def _host(rng: np.random.Generator, surface: Surface, chance: float, *colours: str) -> Surface:
    """With some chance, leave the mineral on a part of the host rock that it grew on."""
    if rng.random() > chance:
        return surface
    shape = surface.height.shape
    x, y = grid(shape)
    turn = rng.uniform(0, 2 * np.pi)
    edge = x * np.cos(turn) + y * np.sin(turn) + 0.22 * fractal(rng, shape, 4, 5, 0.6)
    rock = step(edge, rng.uniform(0.2, 0.5), 0.62) * surface.inside
    grit = fractal(rng, shape, 14, 4, 0.65)
    colour = ramp(linear(*colours), np.clip(0.5 + 0.25 * grit, 0, 1))
    return _cover(surface, colour, rock, 0.012 * grit)


def _weather(rng: np.random.Generator, surface: Surface, strength: float) -> Surface:
    """Dust, clay and wear: mostly a trace, on some specimens much."""
    shape = surface.height.shape
    amount = strength * rng.beta(0.8, 2.6)
    cover = amount * step(fractal(rng, shape, 5, 5, 0.65), -1.2, 1.4) * surface.inside
    colour = ramp(linear("8a7a66", "b0a290", "6f6a64", "9c7f5e"), rng.uniform(0, 1))
    grit = 1 + 0.15 * fractal(rng, shape, 20, 2)
    return _cover(surface, colour * grit[..., None], cover, np.zeros(shape, np.float32))


def _cover(surface: Surface, colour: Array, share: Array, bumps: Array) -> Surface:
    bare = 1 - share
    return Surface(
        (surface.height + share * bumps).astype(np.float32),
        surface.inside,
        mix(surface.colour, colour, share).astype(np.float32),
        surface.gloss * bare,
        surface.metal * bare,
        surface.clear * bare,
    )
