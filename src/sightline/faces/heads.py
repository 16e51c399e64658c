"""Who a drawn person is: the shape of the head, what is on it and its colours; and how such a head lies in space.

Units are the same everywhere: the origin lies between the eyes' line and the nose's root, x to the right, y down, z
towards the camera; from crown to chin a head is about 2.3 long and 1.6 wide.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from sightline.core.rendering import Array, linear, ramp


@dataclass(frozen=True)
class Traits:
    """What shape a face has: each is how far it is from the average, mostly within -1 … 1."""

    width: float
    cheek: float
    jaw: float
    chin: float
    length: float
    forehead: float
    eye_gap: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    eye_depth: float
    brow_height: float
    brow_thick: float
    brow_arch: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_tip: float
    mouth_width: float
    mouth_height: float
    upper_lip: float
    lower_lip: float
    cheekbones: float
    ears: float
    hairline: float


@dataclass(frozen=True)
class Person:
    """Someone who can be drawn again and again.

    Colours are (3,) linear RGB. ``style`` is one of STYLES, ``beard`` one of BEARDS, ``frame`` the shape of glasses
    that the person owns or None; ``age`` is 0 (young) to 1 (old), ``mole`` x and y on the face or None.
    """

    traits: Traits
    skin: Array
    hair: Array
    iris: Array
    lips: Array
    style: str
    curl: float
    beard: str
    frame: int | None
    age: float
    freckles: float
    mole: tuple[float, float] | None


class Pose(NamedTuple):
    """Where a head looks, in radians: to the right of the picture, up, and leaning clockwise."""

    yaw: float
    pitch: float
    roll: float


class Form(NamedTuple):
    """A solid whose every level section is an ellipse; four tables over ``ROWS`` levels from ``top`` to ``bottom``.

    ``wide`` and ``deep`` are half axes, ``middle`` the z of the centre.
    """

    top: float
    bottom: float
    wide: Array
    deep: Array
    middle: Array


class Seen(NamedTuple):
    """What of a form the camera sees at each pixel, (h, w) each: the point's ``x`` and ``y`` on the form as if it
    looked straight ahead, its ``turn`` around the form (0 in front, ±pi/2 at the ears), its depth ``z`` towards the
    camera, and ``cover``, the share of the pixel that it fills.
    """

    x: Array
    y: Array
    turn: Array
    z: Array
    cover: Array


def make_person(rng: np.random.Generator) -> Person:
    """Anybody."""
    traits = Traits(*np.clip(rng.normal(0, 0.7, len(fields(Traits))), -1.4, 1.4).tolist())
    age = float(rng.beta(1.1, 1.7))
    tone = float(rng.uniform(0, 1))
    skin = ramp(SKINS, tone) * rng.normal(1, 0.035, 3).astype(np.float32)
    bearded = bool(rng.random() < 0.5)
    grey = age > 0.62 and rng.random() < 0.7
    fair = rng.random() > tone * 1.4
    shades = HAIR_GREY if grey else HAIR_FAIR if fair else HAIR_DARK
    hair = shades[rng.integers(len(shades))] * np.float32(rng.uniform(0.8, 1.2))
    iris = (IRIS_FAIR if fair else IRIS_DARK)[rng.integers(3)] * np.float32(rng.uniform(0.8, 1.2))
    redness = np.array([1.0, 0.52, 0.55], np.float32) ** np.float32(rng.uniform(0.6, 1.4))
    if bearded:
        style = SHORT[rng.choice(len(SHORT), p=[0.32, 0.2, 0.16, 0.16, 0.16])]
        beard = BEARDS[rng.choice(len(BEARDS), p=[0.42, 0.2, 0.14, 0.24])]
    else:
        style, beard = LONG[rng.choice(len(LONG), p=[0.28, 0.24, 0.2, 0.14, 0.14])], "none"
    return Person(
        traits=traits,
        skin=skin,
        hair=hair.astype(np.float32),
        iris=iris.astype(np.float32),
        lips=(skin * redness).astype(np.float32),
        style=style,
        curl=float(rng.choice([0.0, 0.35, 1.0], p=[0.5, 0.28, 0.22])),
        beard=beard,
        frame=int(rng.integers(3)) if rng.random() < 0.25 else None,
        age=age,
        freckles=float(rng.random() < 0.15 * (1 - tone)),
        mole=(float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.5)), float(rng.uniform(0.1, 0.75)))
        if rng.random() < 0.25
        else None,
    )


def make_sibling(rng: np.random.Generator, of: Person, likeness: float = 0.6) -> Person:
    """Somebody else with the colours and the hair of ``of`` and a face between that one's and a stranger's."""
    other = make_person(rng)
    mixed = [
        likeness * getattr(of.traits, field.name) + (1 - likeness**2) ** 0.5 * getattr(other.traits, field.name)
        for field in fields(Traits)
    ]
    tint = rng.normal(1, 0.05, 3).astype(np.float32)
    frame = other.frame if of.frame is None else of.frame
    return replace(of, traits=Traits(*mixed), skin=of.skin * tint, lips=other.lips, mole=other.mole, frame=frame)


def skull_of(person: Person, jaw_drop: float, chin_up: float = 0.0) -> Form:
    """The head without its features; ``jaw_drop`` and ``chin_up`` move the chin."""
    t = person.traits
    top = -1.3 - 0.07 * t.forehead
    low = 0.07 * t.length
    drop = 0.16 * jaw_drop - 0.03 * chin_up
    wide = 1 + 0.07 * t.width
    heavy = 0.03 * person.age
    levels = np.array([top, top + 0.16, -0.85, -0.45, -0.08, 0.28, 0.6, 0.84, 0.98, 1.06])
    levels[5:] += np.array([0.1, 0.4, 0.8, 1, 1]) * low + np.array([0, 0.35, 0.85, 1, 1]) * drop
    across = np.array([0, 0.46, 0.69, 0.785, 0.79, 0.745, 0.63, 0.44, 0.25, 0]) * wide
    across[5] *= 1 + 0.05 * t.cheek + heavy
    across[6] *= 1 + 0.04 * t.cheek + 0.12 * t.jaw + heavy
    across[7] *= 1 + 0.16 * t.jaw + 0.12 * t.chin + heavy
    across[8] *= 1 + 0.1 * t.jaw + 0.3 * t.chin
    front = np.array([-0.1, 0.5, 0.78, 0.87, 0.85, 0.83, 0.82, 0.82, 0.77, 0.62]) + 0.03 * t.chin * (levels > 0.8)
    back = np.array([-0.1, -0.62, -0.88, -0.97, -0.95, -0.72, -0.3, 0.1, 0.38, 0.58])
    return make_form(levels, across, front, back)


def make_form(
    levels: NDArray[np.float64], across: NDArray[np.float64], front: NDArray[np.float64], back: NDArray[np.float64]
) -> Form:
    """A smooth form through sections of half width ``across`` from ``back`` to ``front`` at the given levels."""
    at = np.linspace(levels[0], levels[-1], ROWS)
    # Squares, so that the ends are round.
    wide = np.sqrt(np.clip(PchipInterpolator(levels, across**2)(at), 1e-6, None))
    ends = PchipInterpolator(levels, np.stack([front, back], 1))(at)
    deep = np.maximum((ends[:, 0] - ends[:, 1]) / 2, 1e-3)
    tables = (wide, deep, ends.mean(1))
    return Form(float(levels[0]), float(levels[-1]), *(table.astype(np.float32) for table in tables))


def inflate(form: Form, sides: float, top: float, front: float) -> Form:
    """A form that lies around another one, as hair does."""
    grown = form.wide + np.float32(sides) * np.minimum(1, form.wide / 0.4)
    deep = form.deep + np.float32((sides + front) / 2)
    return Form(form.top - top, form.bottom, grown, deep, form.middle + np.float32((front - sides) / 2))


def look_at(form: Form, x: Array, y: Array, pose: Pose, scale: float) -> Seen:
    """What is seen of ``form`` at the camera's points ``x``, ``y`` (without the pose's roll); ``scale`` in px a unit.

    A section that is turned is again an ellipse, so the turn is solved exactly; the nod is solved by iteration.
    """
    sin, cos = float(np.sin(pose.yaw)), float(np.cos(pose.yaw))
    nod, level = float(np.sin(pose.pitch)), float(np.cos(pose.pitch))
    wide = np.sqrt((form.wide * cos) ** 2 + (form.deep * sin) ** 2)
    lead = np.arctan2(form.deep * sin, form.wide * cos).astype(np.float32)
    tables = (wide, lead, form.wide, form.deep, form.middle)
    on = y / np.float32(level)
    for _ in range(3 if nod else 1):
        reach, ahead, across, deep, middle = _at_level(form, on, tables)
        share = (x - middle * np.float32(sin)) / reach
        turn = np.arcsin(np.clip(share, -1, 1)) - ahead
        side, fore = across * np.sin(turn), deep * np.cos(turn) + middle
        z = fore * np.float32(cos) - side * np.float32(sin)
        on = (y + z * np.float32(nod)) / np.float32(level)
    inside = (1 - np.abs(share)) * reach
    inside = np.minimum(inside, np.minimum(on - form.top, form.bottom - on))
    return Seen(side, on, turn, z * np.float32(level) + on * np.float32(nod), np.clip(inside * scale + 0.5, 0, 1))


Where = TypeVar("Where", float, NDArray[np.float64])


def project(point: tuple[Where, Where, Where], pose: Pose) -> tuple[Where, Where]:
    """Where the camera sees a point of the head, or many, x and y without the pose's roll."""
    x, y, z = point
    sin, cos = math.sin(pose.yaw), math.cos(pose.yaw)
    ahead = z * cos - x * sin
    return x * cos + z * sin, y * math.cos(pose.pitch) - ahead * math.sin(pose.pitch)


def _at_level(form: Form, y: Array, tables: tuple[Array, ...]) -> list[Array]:
    at = np.clip((y - form.top) * np.float32((ROWS - 1) / (form.bottom - form.top)), 0, ROWS - 1.001)
    row = at.astype(np.intp)
    share = at - row.astype(np.float32)
    return [table.take(row) + share * np.diff(table).take(row) for table in tables]


ROWS = 96
SHORT = ("crop", "side", "bald", "receding", "curtain")
LONG = ("long", "bob", "fringe", "bun", "shoulder")
STYLES = SHORT + LONG
BEARDS = ("none", "stubble", "moustache", "full")
SKINS = linear("f6dccb", "eec3a4", "dda883", "c08660", "a06c49", "875940", "724a34")
HAIR_DARK = linear("15100e", "1f1613", "2b1c15", "3a251a")
HAIR_FAIR = linear("3d2819", "5a3c22", "7d5530", "a97c46", "c9a468", "8a3f1f", "6b2f1a")
HAIR_GREY = linear("77736f", "a5a19c", "cfccc7")
IRIS_FAIR = linear("5b7f99", "5f7a52", "6a5234")
IRIS_DARK = linear("3d2516", "2c1a10", "4d341f")
