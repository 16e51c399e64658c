"""What grows on a head and what is put on it: hair in front of and behind the face, caps and hats, glasses."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sightline.core.rendering import Array, fractal, linear, step
from sightline.faces.features import Features
from sightline.faces.heads import Form, Person, Pose, inflate, look_at, make_form, project


class Layer(NamedTuple):
    """Something that lies over what is behind it: relief (h, w), colour (h, w, 3), gloss, and its share of a pixel."""

    height: Array
    colour: Array
    gloss: Array
    cover: Array


@dataclass(frozen=True)
class Cut:
    """How hair lies: where it ends above the brow and at the temples, how thick it is, and how far down it falls."""

    line: float
    temple: float
    thick: float
    top: float
    falls: float
    fringe: float = 0.0
    parting: float = 0.0


CUTS = {
    "crop": Cut(-0.86, -0.12, 0.035, 0.05, 0.0),
    "side": Cut(-0.8, -0.02, 0.07, 0.16, 0.0, 0.14, -0.35),
    "bald": Cut(-1.6, -0.4, 0.02, 0.0, 0.0),
    "receding": Cut(-1.08, -0.1, 0.045, 0.05, 0.0),
    "curtain": Cut(-0.83, 0.3, 0.12, 0.17, 0.35, 0.2, 0.05),
    "long": Cut(-0.84, 1.0, 0.13, 0.13, 1.75, 0.1, 0.1),
    "bob": Cut(-0.82, 0.8, 0.17, 0.14, 0.85, 0.22, -0.3),
    "fringe": Cut(-0.5, 0.9, 0.12, 0.12, 1.2),
    "bun": Cut(-0.84, -0.16, 0.05, 0.07, 0.0),
    "shoulder": Cut(-0.78, 0.95, 0.2, 0.17, 1.3, 0.24, 0.35),
}


def draw_hair(
    rng: np.random.Generator, person: Person, skull: Form, pose: Pose, x: Array, y: Array, scale: float
) -> Layer:
    """The hair in front: on the skull, around the face."""
    cut = CUTS[person.style]
    curl = person.curl
    thick = cut.thick * (1 + 0.7 * curl)
    shell = inflate(_with_sides(skull, cut), thick, cut.top * (1 + 0.5 * curl), 0.03 + 0.3 * cut.top)
    tangle = fractal(rng, x.shape, max(2.0, x.shape[1] / scale * (3 + 5 * curl)), 3)
    ruffle = np.float32(0.012 + 0.05 * curl) * tangle
    seen = look_at(shell, x * (1 + 0.6 * ruffle), y * (1 + 0.5 * ruffle), pose, scale)
    around = np.abs(seen.turn)
    line = cut.line - 0.05 * person.traits.hairline + 0.35 * (seen.x - np.float32(cut.parting)) ** 2 * (cut.fringe > 0)
    if cut.fringe:
        # Hair falls from the parting to both sides.
        line = line + cut.fringe * step(np.abs(seen.x - np.float32(cut.parting)), 0.12, 0.6) - 0.04
    else:
        line = line - 0.1 * step(around, 0.45, 0.75) * (person.style in ("receding", "crop"))
    # The crown's own shape: what is bald on top has hair at the sides.
    drop = step(around, 1.0 if cut.falls else 1.08, 1.22 if cut.falls else 1.32)
    line = line + (cut.temple - line) * drop
    if cut.falls > 0.5:
        line = np.where(around > 1.15, np.float32(3), line)
    strands = _strands(rng, seen.turn, seen.y, curl, cut.parting)
    edge = (line - seen.y) + 0.035 * strands * (0.4 + cut.fringe + 0.5 * (person.style == "fringe"))
    share = np.clip(edge * scale / 2.2 + 0.5, 0, 1) * seen.cover
    if person.style == "bald":
        share = share * step(around, 1.15, 1.3)
    shine = np.exp(-(((seen.y + 0.92 - 0.25 * seen.x**2) / 0.13) ** 2)) * (1 - 0.6 * curl)
    colour = person.hair * (0.8 + 0.2 * strands + 0.6 * shine + 0.1 * tangle)[..., None].clip(0.3, 2.2)
    height = seen.z + np.float32(0.02 + 0.03 * curl) * strands + np.float32(0.035 * curl) * tangle
    return Layer(height, colour.astype(np.float32), np.full_like(x, 0.25), share.astype(np.float32))


def draw_hair_behind(
    rng: np.random.Generator, person: Person, skull: Form, pose: Pose, x: Array, y: Array, scale: float
) -> Layer | None:
    """Long hair behind neck and shoulders, or a bun; None where nothing shows."""
    cut = CUTS[person.style]
    if person.style == "bun":
        at = project((0.0, -1.2, -0.45), pose)
        apart = np.hypot(x - at[0], (y - at[1]) * 1.1)
        inside = 0.42 * (1 + 0.4 * person.curl) - apart
        z = np.sqrt(np.clip(0.18 - apart**2, 0.001, None))
    elif cut.falls > 0.5:
        wide = float(skull.wide.max()) + cut.thick * (1 + 0.9 * person.curl)
        middle = project((0.0, 0.2, -0.3), pose)[0]
        spread = wide * (1 + 0.05 * np.clip(y, 0, 2)) + 0.02 * np.sin(y * 9)
        inside = np.minimum(spread - np.abs(x - middle), np.minimum(y + 0.7, cut.falls - y - 0.12 * (x - middle) ** 2))
        z = np.sqrt(np.clip(1.02 - ((x - middle) / spread) ** 2, 0.01, None)) * 0.5
    else:
        return None
    strands = _strands(rng, x * 1.2, y, person.curl, 0.0)
    cover = np.clip((inside + 0.03 * strands) * scale / 1.5 + 0.5, 0, 1)
    colour = person.hair * (0.62 + 0.2 * strands)[..., None].clip(0.25, 2)
    return Layer(
        (z + 0.02 * strands).astype(np.float32),
        colour.astype(np.float32),
        np.full_like(x, 0.15),
        cover.astype(np.float32),
    )


def draw_hat(rng: np.random.Generator, skull: Form, pose: Pose, x: Array, y: Array, scale: float) -> Layer:
    """A knitted cap, or a cap with a peak."""
    knitted = rng.random() < 0.5
    shell = inflate(skull, 0.09 if knitted else 0.06, 0.16 if knitted else 0.12, 0.09)
    seen = look_at(shell, x, y, pose, scale)
    brim = float(rng.uniform(-0.62, -0.52))
    share = np.clip((brim - seen.y + 0.05 * np.cos(seen.turn * 2)) * scale / 1.5 + 0.5, 0, 1) * seen.cover
    colour = np.ones((*x.shape, 3), np.float32) * _cloth(rng)
    height = seen.z.copy()
    if knitted:
        ribs = np.sin(seen.turn * 60).astype(np.float32)
        height += 0.012 * ribs + 0.05 * step(seen.y, brim - 0.24, brim - 0.2)
        colour *= (1 + 0.12 * ribs)[..., None]
    else:
        px, py = project((0.0, brim + 0.02, 0.95), pose)
        peak = 1 - np.hypot((x - px) / 0.62, (y - py) / 0.15)
        on = np.clip(peak * 0.15 * scale + 0.5, 0, 1).astype(np.float32)
        share = np.maximum(share, on)
        colour = colour * (1 - 0.25 * on)[..., None]
        height = np.where(on > 0.5, np.float32(1.1) + 0.25 * (py - y), height)
    return Layer(height.astype(np.float32), colour, np.full_like(x, 0.1), share.astype(np.float32))


def draw_glasses(
    rng: np.random.Generator, colour: Array, picture: Array, at: Features, pose: Pose, frame: int, dark: bool,
    x: Array, y: Array, scale: float,
) -> Array:  # fmt: skip
    """Glasses over the light of a face, (h, w, 3) radiance; ``colour`` is that of the frame."""
    ex, ey = at.eye
    high, power, thick = ((0.17, 2.2, 0.022), (0.145, 4.0, 0.034), (0.19, 3.0, 0.016))[frame]
    wide = 0.245
    squeeze = max(0.5, float(np.cos(pose.yaw)))
    drop = float(rng.normal(0.03, 0.015))
    shine = np.float32(rng.uniform(0.01, 0.08))
    for side in (-1.0, 1.0):
        cx, cy = project((side * (ex + 0.005), ey + drop, 0.93), pose)
        u, v = (x - cx) / (wide * squeeze), (y - cy) / high
        radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
        apart = (1 - radius) * min(wide * squeeze, high)
        lens = np.clip(apart * scale + 0.5, 0, 1)
        glare = shine * step(u - 0.5 * v, -0.2, 0.4) * (1 - step(u - 0.5 * v, 0.5, 0.9))
        tint = lens * (0.9 if dark else 0.06)
        picture = picture * (1 - tint)[..., None] + (lens * (glare + 0.02 * dark))[..., None]
        rim = np.clip((thick - np.abs(apart)) * scale + 0.5, 0, 1)
        # The arm goes back to the ear.
        hinge = project((side * (ex + wide), ey + drop - 0.04, 0.8), pose)
        ear = project((side * 0.82, ey + 0.02, 0.0), pose)
        rim = np.maximum(rim, _segment(x, y, hinge, ear, 0.8 * thick, scale))
        picture = picture * (1 - rim)[..., None] + rim[..., None] * colour
    left, right = (project((side * 0.1, ey + drop - 0.03, 0.95), pose) for side in (-1.0, 1.0))
    bridge = _segment(x, y, left, right, thick, scale)
    return np.asarray(picture * (1 - bridge)[..., None] + bridge[..., None] * colour, np.float32)


def _with_sides(skull: Form, cut: Cut) -> Form:
    """The skull, going straight down at the sides as far as the hair falls."""
    if cut.falls <= 0.5:
        return skull
    levels = np.linspace(skull.top, max(skull.bottom, min(cut.falls, 1.5)), len(skull.wide))
    own = np.linspace(skull.top, skull.bottom, len(skull.wide))
    tables = [np.interp(levels, own, table) for table in (skull.wide, skull.deep, skull.middle)]
    widest = int(tables[0].argmax())
    wide = tables[0].copy()
    wide[widest:] = wide[widest] * np.linspace(1, 0.97, len(wide) - widest)
    front = tables[1] + tables[2]
    back = np.minimum(tables[2] - tables[1], -0.6)
    front[widest:] = np.minimum(front[widest:], 0.75)
    form = make_form(levels, wide, front, back)
    return form._replace(wide=wide.astype(np.float32))


def _strands(rng: np.random.Generator, turn: Array, y: Array, curl: float, parting: float) -> Array:
    """Streaks along the hair, about -1 … 1."""
    count = 256
    coarse, fine = rng.standard_normal(count), rng.standard_normal(count)
    sway = np.float32(0.04 + 0.1 * curl) * np.sin(y * np.float32(6 + 8 * curl) + np.float32(rng.uniform(0, 6)))
    across = (turn - np.float32(parting)) * (1.25 - 0.35 * np.clip(-y, 0, 1.2)) + sway
    knots = np.arange(count)
    streaks = np.interp(across * 16, knots, coarse, period=count) + 0.7 * np.interp(
        across * 43, knots, fine, period=count
    )
    return np.asarray(np.tanh(0.8 * streaks), np.float32)


def _segment(
    x: Array, y: Array, start: tuple[float, float], end: tuple[float, float], thick: float, scale: float
) -> Array:
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
    apart = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    return np.asarray(np.clip((thick - apart) * scale + 0.5, 0, 1), np.float32)


def _cloth(rng: np.random.Generator) -> Array:
    return np.asarray(CLOTHS[rng.integers(len(CLOTHS))] * np.float32(rng.uniform(0.7, 1.3)))


CLOTHS = linear("1d2733", "3a4a63", "7b2d2b", "2f4a36", "c9c2b4", "8c8c90", "22201f", "b58a4a", "5d3f5f", "e8e6e2")
