"""What is on the front of a head: nose, eyes, brows, mouth, wrinkles, stubble, as relief and colour of the skin.

Everything is a smooth function of the point on the head (see heads.py), so that a face of any size has clean edges.
Both halves of a face are drawn at once, from the distance to its middle line.
"""

from dataclasses import dataclass

import numpy as np

from sightline.core.rendering import Array, fractal, linear, mix, step
from sightline.faces.expressions import Expression
from sightline.faces.heads import Person, Pose, Seen


@dataclass(frozen=True)
class Features:
    """Where the parts of a face are for one person in one mood, in the units of the head."""

    eye: tuple[float, float]
    eye_wide: float
    eye_tilt: float
    lid_up: float
    lid_down: float
    brow: tuple[float, float]
    nose_tip: float
    nose_wide: float
    mouth: float
    mouth_wide: float
    corner: float
    gap: float
    chin: float


@dataclass
class Skin:
    """Relief above the head, colour (linear RGB), gloss and how much light reaches hollows, by pixel."""

    relief: Array
    colour: Array
    gloss: Array
    open: Array


def place_features(person: Person, mood: Expression) -> Features:
    """Put the parts of a face where the person has them and the mood moves them."""
    t = person.traits
    chin = 1.06 + 0.07 * t.length + 0.16 * mood.jaw - 0.03 * mood.chin
    lids = 0.058 * (1 + 0.28 * t.eye_open) * (1 + 0.1 * t.eye_size)
    up = lids * (1 + 1.0 * mood.wide_eyes - 0.45 * mood.squint - 0.2 * mood.cheeks - 0.3 * mood.nose)
    down = 0.68 * lids * (1 + 0.3 * mood.wide_eyes - 0.6 * mood.squint - 0.75 * mood.cheeks - 0.4 * mood.nose)
    open_ = 1 - mood.blink
    return Features(
        eye=(0.335 + 0.034 * t.eye_gap, -0.12),
        eye_wide=0.15 * (1 + 0.13 * t.eye_size),
        eye_tilt=0.035 * t.eye_tilt,
        lid_up=max(up * open_ - 0.6 * down * mood.blink, -0.6 * down),
        lid_down=max(down, 0.012),
        brow=(0.335 + 0.02 * t.eye_gap, -0.335 - 0.045 * t.brow_height),
        nose_tip=0.27 + 0.065 * t.nose_length - 0.04 * mood.nose - 0.015 * mood.upper_lip,
        nose_wide=0.15 * (1 + 0.2 * t.nose_width + 0.12 * mood.nose + 0.06 * mood.smile),
        mouth=0.62 + 0.05 * t.length + 0.035 * t.mouth_height + 0.03 * t.nose_length - 0.03 * mood.smile
        - 0.03 * mood.upper_lip - 0.025 * mood.chin + 0.05 * mood.jaw,
        mouth_wide=0.255 * (1 + 0.16 * t.mouth_width)
        * (1 + 0.26 * mood.smile + 0.2 * mood.stretch - 0.14 * mood.jaw * (1 - mood.smile) - 0.1 * mood.tight),
        corner=-0.14 * mood.smile + 0.13 * mood.sulk + 0.045 * mood.stretch + 0.03 * mood.nose,
        gap=0.23 * mood.jaw + 0.045 * mood.stretch + 0.05 * mood.upper_lip * (1 - 0.4 * mood.tight),
        chin=chin,
    )  # fmt: skip


def draw_skin(
    rng: np.random.Generator, person: Person, mood: Expression, at: Features, seen: Seen, pose: Pose, scale: float
) -> Skin:
    """The skin of the head at each pixel that ``seen`` describes; ``scale`` is px a unit."""
    x, y = seen.x, seen.y
    # What stands out moves with the turn of the head more than what lies beneath it.
    for _ in range(2):
        height = _nose(person, at, x, y)
        x = seen.x - np.float32(np.tan(pose.yaw)) * height
        y = seen.y + np.float32(np.tan(pose.pitch)) * height
    face = np.clip(np.cos(seen.turn) * 3 - 0.2, 0, 1).astype(np.float32)
    side = np.sign(x)
    ax = np.abs(x)
    flesh = fractal(rng, x.shape, max(2.0, x.shape[1] / scale * 4), 3)
    skin = Skin(
        relief=_nose(person, at, x, y) + _bones(person, mood, at, ax, y),
        colour=person.skin * (1 + 0.025 * flesh)[..., None],
        gloss=np.full(x.shape, 0.42, np.float32),
        open=np.ones_like(x),
    )
    _wrinkle(skin, person, mood, at, ax, y)
    _flush(skin, person, at, ax, y)
    _grow_stubble(rng, skin, person, at, ax, y, scale)
    _nostrils(skin, at, ax, y)
    _mouth(skin, person, mood, at, x, ax, y, scale)
    _eye(rng, skin, person, mood, at, x, ax, y, side, scale)
    _brow(rng, skin, person, mood, at, ax, y, scale)
    if person.freckles:
        spots = fractal(rng, x.shape, x.shape[1] / scale * 14, 1) > 1.5
        skin.colour *= (1 - np.float32(0.3) * spots * _bump(ax, y, 0.25, 0.2, 0.4, 0.25))[..., None]
    if person.mole:
        dot = step(_bump(x, y, *person.mole, 0.035, 0.035), 0.3, 0.7)
        skin.colour *= (1 - 0.75 * dot)[..., None]
    skin.relief *= face
    return skin


def _bump(x: Array, y: Array, at_x: float, at_y: float, wide: float, high: float) -> Array:
    return np.asarray(np.exp(-(((x - np.float32(at_x)) / wide) ** 2) - ((y - np.float32(at_y)) / high) ** 2))


def _edge(distance: Array, scale: float, soft: float = 1.0) -> Array:
    """1 inside (positive), 0 outside; ``distance`` in units, the edge ``soft`` px wide."""
    return np.asarray(np.clip(distance * (scale / soft) + 0.5, 0, 1))


def _nose(person: Person, at: Features, x: Array, y: Array) -> Array:
    t = person.traits
    root = -0.24
    along = np.clip((y - root) / (at.nose_tip - root), 0, 1)
    rise = (0.05 + 0.03 * t.nose_bridge) + (0.2 + 0.035 * t.nose_tip) * along ** (1.35 - 0.35 * t.nose_bridge)
    starts, ends = step(y, root - 0.14, root + 0.1), 1 - step(y, at.nose_tip - 0.01, at.nose_tip + 0.13)
    broad = at.nose_wide * (0.42 + 0.26 * along)
    ridge = rise * starts * ends * np.exp(-((np.abs(x) / broad) ** 2.2))
    ax = np.abs(x)
    wings = _bump(ax, y, 0.74 * at.nose_wide, at.nose_tip + 0.035, 0.45 * at.nose_wide, 0.075)
    ball = _bump(ax, y, 0, at.nose_tip, 0.55 * at.nose_wide, 0.09)
    return np.asarray(ridge + 0.085 * wings + (0.045 + 0.02 * t.nose_tip) * ball, np.float32)


def _bones(person: Person, mood: Expression, at: Features, ax: Array, y: Array) -> Array:
    t = person.traits
    ex, ey = at.eye
    relief = (0.055 + 0.02 * t.brow_tilt) * _bump(ax, y, 0.3, at.brow[1] + 0.03, 0.26, 0.085)
    relief -= (0.085 + 0.025 * t.eye_depth) * _bump(ax, y, ex - 0.03, ey - 0.02, 0.21, 0.13)
    relief += 0.05 * _bump(ax, y, ex, ey, 0.125, 0.1)
    plump = 0.05 + 0.03 * t.cheekbones + 0.06 * mood.cheeks + 0.02 * mood.nose
    relief += plump * _bump(ax, y, 0.44, 0.2 - 0.05 * mood.cheeks, 0.2, 0.16)
    relief -= 0.04 * (0.5 + 0.5 * t.cheekbones) * _bump(ax, y, 0.5, 0.56, 0.16, 0.2)
    relief += 0.06 * _bump(ax, y, 0, at.mouth, 0.34, 0.17)
    relief += (0.07 + 0.03 * mood.chin) * _bump(ax, y, 0, at.chin - 0.14, 0.2, 0.11)
    relief -= 0.045 * _bump(ax, y, 0, (at.mouth + at.chin) / 2 - 0.05, 0.2, 0.05)
    relief -= 0.018 * _bump(ax, y, 0, (at.nose_tip + at.mouth) / 2 + 0.02, 0.035, 0.09)
    return np.asarray(relief, np.float32)


def _wrinkle(skin: Skin, person: Person, mood: Expression, at: Features, ax: Array, y: Array) -> None:
    old = max(0.0, person.age - 0.35)
    ex, ey = at.eye
    raised = 0.55 * mood.inner_brow + 0.5 * mood.outer_brow + 0.7 * old
    waves = np.sin((y + 0.06 * ax * ax) * np.float32(46)) * _bump(ax, y, 0, -0.62, 0.42, 0.13)
    depth = 0.022 * raised * np.clip(waves, -0.2, 1)
    frown = max(0.0, mood.frown) + 0.35 * old
    depth += 0.045 * frown * _bump(ax, y, 0.07, -0.3, 0.022, 0.1)
    depth += 0.05 * mood.nose * np.clip(np.sin(y * 70 + ax * 20), 0, 1) * _bump(ax, y, 0.05, -0.1, 0.12, 0.1)
    # From the wings of the nose to the corners of the mouth.
    low = (y - at.nose_tip) / (at.mouth + 0.06 - at.nose_tip)
    fold = at.nose_wide + 0.03 + (at.mouth_wide + 0.02 - at.nose_wide) * np.clip(low, 0, 1.2) ** 1.3
    strength = 0.35 * old + 0.7 * mood.smile + 0.75 * mood.nose + 0.5 * mood.upper_lip + 0.25 * mood.sulk + 0.08
    ends = step(low, -0.1, 0.15) * (1 - step(low, 0.85, 1.2))
    depth += 0.06 * strength * ends * np.exp(-(((ax - fold) / 0.035) ** 2))
    crow = np.clip(np.sin(np.arctan2(y - ey, ax - ex) * 16), 0, 1) * _bump(ax, y, ex + 0.25, ey + 0.02, 0.06, 0.09)
    depth += 0.05 * (0.6 * mood.cheeks + 0.5 * old) * crow
    depth += 0.03 * (old + 0.3 * mood.squint) * _bump(ax, y, ex - 0.02, ey + 0.13, 0.11, 0.02)
    depth += 0.05 * mood.sulk * _bump(ax, y, at.mouth_wide + 0.03, at.mouth + 0.12, 0.03, 0.07)
    skin.relief -= depth
    skin.open *= 1 - np.clip(depth * 7, 0, 0.4)


def _flush(skin: Skin, person: Person, at: Features, ax: Array, y: Array) -> None:
    red = 0.16 * _bump(ax, y, 0.45, 0.22, 0.2, 0.2) + 0.14 * _bump(ax, y, 0, at.nose_tip, 0.13, 0.12)
    skin.colour *= 1 - red[..., None] * np.array([0.0, 0.9, 0.8], np.float32)
    ex, ey = at.eye
    tired = (0.12 + 0.2 * person.age) * _bump(ax, y, ex - 0.03, ey + 0.09, 0.14, 0.055)
    socket = 0.22 * _bump(ax, y, ex - 0.06, ey - 0.08, 0.17, 0.07)
    skin.colour *= (1 - tired - socket)[..., None]
    skin.gloss += 0.25 * _bump(ax, y, 0, at.nose_tip - 0.05, 0.06, 0.16) + 0.12 * _bump(ax, y, 0, -0.6, 0.35, 0.16)
    under = step(y, at.chin - 0.09, at.chin + 0.03)
    skin.open *= 1 - 0.35 * under


def _grow_stubble(
    rng: np.random.Generator, skin: Skin, person: Person, at: Features, ax: Array, y: Array, scale: float
) -> None:
    if person.beard == "none":
        return
    upper = step(y, at.nose_tip + 0.1, at.nose_tip + 0.16) * (1 - step(ax, at.mouth_wide + 0.02, at.mouth_wide + 0.12))
    lower = step(y + 1.1 * np.clip(ax - 0.34, 0, 0.4), at.mouth - 0.02, at.mouth + 0.12)
    area = np.maximum(upper * (y < at.mouth + 0.3), lower)
    if person.beard == "moustache":
        area = upper * (1 - step(y, at.mouth + 0.02, at.mouth + 0.07))
    area = area * (1 - step(y, at.chin + 0.1, at.chin + 0.2))
    hairs = fractal(rng, ax.shape, max(4.0, ax.shape[1] / scale * 18), 2)
    dense = 0.4 if person.beard == "stubble" else 0.93
    share = area * dense * np.clip(1 + 0.16 * hairs, 0, 1.05)
    share *= 1 - 0.75 * _bump(ax, y, 0, at.mouth + 0.005, 0.8 * at.mouth_wide, 0.06)
    colour = person.hair * (0.9 + 0.3 * np.clip(hairs, -1, 1))[..., None]
    if person.beard == "stubble":
        colour = 0.45 * person.skin + 0.55 * person.hair
    skin.colour = mix(skin.colour, np.asarray(colour, np.float32), np.clip(share, 0, 1))
    if person.beard != "stubble":
        skin.relief += area * (0.05 + 0.012 * hairs)
        skin.gloss *= 1 - 0.6 * area


def _nostrils(skin: Skin, at: Features, ax: Array, y: Array) -> None:
    hole = _bump(ax, y, 0.5 * at.nose_wide, at.nose_tip + 0.085, 0.3 * at.nose_wide, 0.026)
    crease = _bump(ax, y, 1.12 * at.nose_wide, at.nose_tip + 0.045, 0.028, 0.06)
    beneath = _bump(ax, y, 0, at.nose_tip + 0.115, 0.85 * at.nose_wide, 0.035)
    skin.colour *= (1 - 0.82 * hole - 0.25 * crease - 0.18 * beneath)[..., None]


def _mouth(
    skin: Skin, person: Person, mood: Expression, at: Features, x: Array, ax: Array, y: Array, scale: float
) -> None:
    t = person.traits
    along = np.clip(ax / at.mouth_wide, 0, 1.25)
    arch = np.clip(1 - along**2, 0, 1)
    line = at.mouth + at.corner * along**1.7 - 0.012 * _bump(ax, y * 0, 0, 0, 0.07, 1) * (1 - mood.smile)
    thin = 1 - 0.7 * mood.tight - 0.2 * mood.smile
    upper = 0.062 * (1 + 0.45 * t.upper_lip) * thin
    lower = 0.085 * (1 + 0.4 * t.lower_lip) * (thin + 0.15 * mood.chin)
    top = line - (0.28 * at.gap + 0.05 * mood.upper_lip) * arch
    bottom = line + at.gap * 0.85 * arch**0.8
    bow = 1 - 0.28 * np.exp(-((ax / 0.05) ** 2))
    lip_top = top - upper * np.clip(1 - along, 0, 1) ** 0.75 * bow * 1.15 - 0.004
    lip_bottom = bottom + lower * arch**0.85 + 0.004
    ends = _edge(at.mouth_wide - ax, scale, 2.0)
    lips = _edge(y - lip_top, scale, 1.6) * _edge(lip_bottom - y, scale, 2.2) * ends
    above = np.clip((y - lip_top) / np.maximum(top - lip_top, 0.01), 0, 1) * (y < top)
    below = np.clip((lip_bottom - y) / np.maximum(lip_bottom - bottom, 0.01), 0, 1) * (y > bottom)
    round_ = np.sin(np.pi * np.clip(above + below, 0, 1)).astype(np.float32)
    skin.relief += lips * (0.03 * round_ + 0.012) * (1 + 0.4 * t.lower_lip)
    tone = np.float32(0.78) + np.float32(0.22) * (y > line)
    skin.colour = mix(skin.colour, person.lips * tone[..., None].astype(np.float32), lips * 0.88)
    skin.gloss = skin.gloss + lips * 0.12
    inside = _edge(y - top, scale) * _edge(bottom - y, scale) * ends * (1 if at.gap > 0.012 else 0)
    depth = np.clip((y - top) / max(at.gap, 0.03), 0, 1)
    teeth_high = 0.075 if mood.smile + mood.stretch + mood.upper_lip > 0.35 else 0.035
    teeth = inside * _edge(top + teeth_high - y, scale, 2.0) * step(arch, 0.1, 0.45)
    if mood.stretch > 0.4:
        teeth = np.maximum(teeth, inside * _edge(y - bottom + 0.05, scale, 2.0) * step(arch, 0.2, 0.5) * 0.8)
    hollow = linear("3a1512") * (0.9 - 0.6 * depth)[..., None].astype(np.float32)
    tongue = linear("a4524c") * np.float32(0.7)
    hollow = mix(hollow, tongue, inside * _bump(ax, y, 0, at.mouth + at.gap * 0.75, 0.16, 0.05) * (at.gap > 0.08))
    hollow = mix(hollow, np.broadcast_to(linear("e6ded0"), hollow.shape), teeth)
    skin.colour = mix(skin.colour, hollow.astype(np.float32), inside)
    skin.relief -= 0.05 * inside
    closed = np.exp(-(((y - line) * np.float32(1 / 0.016)) ** 2)) * ends * (1 - inside)
    corner = _bump(ax, y, at.mouth_wide, at.mouth + at.corner, 0.035, 0.03)
    skin.colour *= (1 - 0.62 * closed - 0.4 * corner)[..., None]
    skin.colour *= (1 - 0.22 * _bump(x, y, 0, at.mouth + 0.85 * at.gap + 0.15, 0.19, 0.035))[..., None]


def _eye(
    rng: np.random.Generator, skin: Skin, person: Person, mood: Expression, at: Features,
    x: Array, ax: Array, y: Array, side: Array, scale: float,
) -> None:  # fmt: skip
    ex, ey = at.eye
    along = (ax - np.float32(ex)) / at.eye_wide
    arch = np.clip(1 - np.abs(along) ** 2.2, 0, 1)
    middle = ey - at.eye_tilt * along + 0.012 * along
    upper = middle - at.lid_up * arch**0.75 * (1 - 0.1 * along)
    lower = middle + at.lid_down * arch**0.85
    ends = _edge(at.eye_wide - np.abs(ax - np.float32(ex)), scale, 1.5)
    inside = _edge(y - upper, scale) * _edge(lower - y, scale) * ends
    shaded = 1 - 0.35 * np.clip(np.abs(along), 0, 1) ** 2 - 0.3 * np.exp(-np.clip((y - upper) / 0.022, 0, 9))
    white = linear("dcd5cd") * shaded[..., None]
    gaze = np.clip(rng.normal(0, 0.022, 2), -0.05, 0.05).astype(np.float32)
    apart = np.hypot(ax - ex - gaze[0] * side, y - ey - 0.4 * gaze[1] + 0.006) / np.float32(0.071)
    iris = person.iris * (0.65 + 0.7 * np.clip(apart, 0, 1) ** 2)[..., None]
    ball = mix(white.astype(np.float32), iris.astype(np.float32), _edge((1 - apart) * 0.071, scale))
    ball *= (1 - 0.7 * np.exp(-(((apart - 1) / 0.16) ** 2)))[..., None]
    ball *= (1 - 0.95 * _edge((0.42 - apart) * 0.071, scale))[..., None]
    glint = _edge(0.017 - np.hypot(x - side * np.float32(ex) + 0.022, y - ey + 0.03), scale)
    ball = ball + (0.9 * glint)[..., None]
    skin.colour = mix(skin.colour, ball.astype(np.float32), inside)
    skin.relief -= 0.012 * inside
    skin.gloss = np.maximum(skin.gloss * (1 - inside), 0.5 * inside)
    lash = np.exp(-(((y - upper + 0.006) / (0.017 + 0.006 * (person.beard == "none"))) ** 2))
    lash = lash * _edge(1.13 * at.eye_wide - np.abs(ax - np.float32(ex)), scale, 2.5)
    rim = np.exp(-(((y - lower) / 0.011) ** 2)) * ends
    crease = np.exp(-(((y - upper + 0.05 + 0.012 * person.traits.eye_open) / 0.014) ** 2))
    crease = crease * _edge(at.eye_wide - np.abs(ax - np.float32(ex)), scale, 5)
    skin.colour *= (1 - 0.88 * lash)[..., None]
    skin.colour *= (1 - 0.38 * rim - 0.25 * crease)[..., None]
    corner = _bump(ax, y, ex - at.eye_wide, ey + at.eye_tilt - 0.004, 0.028, 0.02)
    skin.colour *= 1 - corner[..., None] * np.array([0.15, 0.4, 0.4], np.float32)
    if mood.cheeks + mood.squint > 0.5:
        skin.colour *= (1 - 0.18 * _bump(ax, y, ex, ey + 0.085, 0.12, 0.02))[..., None]


def _brow(
    rng: np.random.Generator, skin: Skin, person: Person, mood: Expression, at: Features, ax: Array, y: Array,
    scale: float,
) -> None:  # fmt: skip
    t = person.traits
    bx, by = at.brow
    inner = bx - 0.185 - 0.045 * mood.frown
    outer = bx + 0.225
    along = np.clip((ax - inner) / (outer - inner), 0, 1)
    line = by - (0.05 + 0.028 * t.brow_arch) * np.sin(np.pi * along**1.25) + 0.035 * t.brow_tilt * (along - 0.5)
    line = line - 0.17 * mood.inner_brow * (1 - along) ** 1.3 - 0.14 * mood.outer_brow * step(along, 0.1, 0.75)
    line = line + (0.15 * mood.frown * (1 - mood.inner_brow * 0.75) + 0.07 * mood.nose) * (1 - along) ** 1.1
    line = line + 0.03 * mood.frown * along
    thick = (0.036 + 0.014 * t.brow_thick) * (1 - 0.7 * along**2.2) * (0.75 + 0.25 * step(along, 0, 0.2))
    hairs = fractal(rng, ax.shape, max(4.0, ax.shape[1] / scale * 16), 2)
    ends = _edge(ax - inner, scale, 3.5) * _edge(outer - ax, scale, 3.5)
    share = np.exp(-(np.abs((y - line) / thick) ** 3)) * ends * np.clip(0.82 + 0.1 * t.brow_thick + 0.13 * hairs, 0, 1)
    dark = np.minimum(person.hair * np.float32(0.75), person.skin * np.float32(0.62))
    skin.colour = mix(skin.colour, np.broadcast_to(dark, skin.colour.shape), np.clip(share, 0, 1))
    skin.relief += 0.012 * share
