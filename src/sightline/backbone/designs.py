"""What the drawn classes look like: things made of parts with shapes, colours and patterns of their own.

Pretraining on pictures that a formula draws carries over to photos as far as the pictures make a network see what it
needs there: Kataoka et al., "Pre-training without Natural Images", ACCV 2020 (a formula's parameters are the class);
Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021 (structure and diversity count). Here a class is a
body with limbs and marks, an emblem, a face-like layout, writing, or a piece of texture, and comes with siblings that
differ from it in a colour, a pattern or a mark, so that no single cue tells all classes apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from sightline.core.rendering import Array, cells_of, fractal, grid, mix, step

SPRITE = 64
SIBLINGS = 2


@dataclass(frozen=True)
class Part:
    """One part of a thing, on a canvas of its own that x and y from -1 to 1 span.

    ``colour`` (SPRITE, SPRITE, 3) float32 linear RGB; ``alpha`` (SPRITE, SPRITE) float32, 1 inside; ``slope``
    (SPRITE, SPRITE, 2) float32, how its rounded surface leans in x and y. ``place`` is the canvas' middle in the
    thing's coordinates, ``reach`` half the canvas' width and height there, ``turn`` its rotation in radians and
    ``swing`` the deviation by which that varies from picture to picture.
    """

    colour: Array
    alpha: Array
    slope: Array
    place: tuple[float, float]
    reach: tuple[float, float]
    turn: float
    swing: float


@dataclass(frozen=True)
class Design:
    """A drawn class: its parts from back to front, and the box (left, top, right, bottom) that they fill.

    ``traits`` are words for what it has in common with other classes: layout, shapes, patterns, colours, family.
    """

    parts: tuple[Part, ...]
    bounds: tuple[float, float, float, float]
    traits: tuple[str, ...] = ()


def design_class(seed: int, number: int) -> Design:
    """The class ``number`` of the set ``seed``: a pure function of both.

    Classes 2k and 2k + 1 are siblings: the second has the layout, the shapes and most colours and patterns of the
    first, with one or two of them changed.
    """
    family, sibling = divmod(number, SIBLINGS)
    rng = np.random.default_rng((seed, 0, family))
    palette = draw_palette(rng)
    layout = LAYOUTS[rng.choice(len(LAYOUTS), p=LAYOUT_SHARES)]
    plans = layout(rng)
    change = np.random.default_rng((seed, 1, family, sibling))
    for _ in range(int(change.integers(1, 3)) if sibling else 0):
        palette, plans = _change(change, palette, plans)
    traits = {f"thing {family}", f"layout {layout.__name__}"}
    for plan in plans:
        traits |= {f"shape {plan.shape}", f"pattern {plan.pattern}", f"colour {name_colour(palette[plan.colours[0]])}"}
    return make_design(plans, palette, seed, tuple(sorted(traits)))


def make_design(plans: "Plans", palette: Array, seed: int, traits: tuple[str, ...] = ()) -> Design:
    """Paint the parts; what their plans leave open comes from ``seed`` and the plans' keys."""
    parts = tuple(_paint(np.random.default_rng((seed, 2, plan.key)), plan, palette) for plan in plans)
    corners = np.array([_extent(part) for part in parts])
    left, top = corners[:, :2].min(0).tolist()
    right, bottom = corners[:, 2:].max(0).tolist()
    return Design(parts, (left, top, right, bottom), traits)


class Plan(NamedTuple):
    """What is decided of a part before it is painted; ``key`` seeds the rest, so that siblings share it."""

    key: int
    shape: str
    pattern: str
    colours: tuple[int, int]
    place: tuple[float, float]
    reach: tuple[float, float]
    turn: float
    swing: float


Plans = list[Plan]


def draw_palette(rng: np.random.Generator) -> Array:
    """Seven colours, linear RGB: earth and grey as often as bright ones, black and white among them."""
    hue = rng.random() + np.cumsum(rng.choice([0.03, 0.1, 0.33, 0.5], 7))
    saturation = np.where(rng.random(7) < 0.5, rng.uniform(0, 0.4, 7), rng.uniform(0.4, 1, 7))
    value = rng.beta(1.2, 1.2, 7) * 0.9 + 0.05
    saturation[-2:] *= 0.2
    value[-2:] = rng.uniform(0.02, 0.15), rng.uniform(0.8, 1)
    return _from_hsv(hue, saturation, value)


def _from_hsv(hue: Array, saturation: Array, value: Array) -> Array:
    pure = np.clip(np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    coded = value[:, None] * (1 + saturation[:, None] * (pure - 1))
    return np.asarray(coded**2.2, np.float32)


def name_colour(colour: Array) -> str:
    """One of 14 words for a colour (3,), linear RGB: what people would call the same."""
    coded = np.asarray(colour, np.float64) ** (1 / 2.2)
    value, chroma = float(coded.max()), float(coded.max() - coded.min())
    if chroma < 0.25 * value or value < 0.15:
        return f"grey {min(int(value * 4), 3)}"
    red, green, blue = (coded / value).tolist()
    hue = np.degrees(np.arctan2(3**0.5 * (green - blue), 2 * red - green - blue)) % 360
    return f"hue {int((hue + 36) % 360 // 72)} {'dark' if value < 0.5 else 'bright'}"


def creature(rng: np.random.Generator) -> Plans:
    """A body with a head, a tail, limbs, and marks on them."""
    width, height = rng.uniform(0.6, 1), rng.uniform(0.3, 0.7)
    lean = abs(rng.normal(0, 0.35))
    head = rng.uniform(0.22, 0.45)
    at = np.array([width * rng.uniform(0.75, 1.1), -height * rng.uniform(0.1, 1.1)])
    plans = [
        plan_part(
            rng, ("blob", "drop", "polygon"), (-width * 1.25, height * rng.normal(0, 0.4)), (0.5, 0.22), 0.3, 0.15
        ),
        plan_part(rng, ("ellipse", "blob", "drop"), (0, 0), (width, height), lean, 0.05),
        plan_part(rng, ("ellipse", "ellipse", "blob"), tuple(at), (head, head * rng.uniform(0.75, 1.1)), 0.2, 0.15),
    ]
    limbs = ("drop", "blob", "stroke", "polygon")
    plans += [plan_part(rng, limbs, _near(rng, width, height), (0.5, 0.3), 0.8, 0.2) for _ in range(rng.integers(0, 3))]
    beak = at + head * np.array([1.0, rng.uniform(-0.2, 0.5)])
    plans.append(plan_part(rng, ("drop", "triangle", "stroke"), tuple(beak), (0.26, 0.12), 0.3, 0.1))
    eye = at + head * rng.uniform(-0.2, 0.4, 2)
    plans.append(plan_part(rng, ("ellipse",), tuple(eye), (head * 0.25, head * 0.25), 0, 0)._replace(pattern="rings"))
    plans += [_mark(rng, width, height) for _ in range(rng.integers(1, 4))]
    for _ in range(rng.integers(0, 3)):
        leg = (rng.uniform(-0.5, 0.5) * width, height * 1.1)
        plans.insert(0, plan_part(rng, ("stroke", "line"), leg, (0.15, 0.4), 0.4, 0.2))
    return plans


def emblem(rng: np.random.Generator) -> Plans:
    """One large shape and marks that sit upon it, some of them in rings."""
    plans = [plan_part(rng, ("polygon", "star", "blob", "ellipse"), (0, 0), (1, rng.uniform(0.6, 1)), 3, 0.05)]
    for _ in range(rng.integers(1, 4)):
        mark = plan_part(rng, MARKS, (0, 0), (0.4, 0.4), 3, 0.05)
        count, radius = int(rng.choice([1, 2, 3, 5])), rng.uniform(0.3, 0.75)
        for position in range(count):
            turn = 2 * np.pi * position / count + mark.turn
            place = (0.0, 0.0) if count == 1 else (radius * np.cos(turn), radius * np.sin(turn))
            plans.append(mark._replace(place=place, turn=turn))
    return plans


def _face(rng: np.random.Generator) -> Plans:
    """Pairs to the left and right of a middle line, and single marks upon it."""
    plans = [plan_part(rng, ("ellipse", "blob"), (0, 0), (rng.uniform(0.65, 0.9), 1), 0, 0.03)]
    if rng.random() < 0.7:
        plans.append(plan_part(rng, ("ellipse", "blob", "star"), (0, -0.65), (0.8, 0.4), 0.1, 0.05))
    for y in np.sort(rng.uniform(-0.5, 0.6, int(rng.integers(2, 5)))):
        mark = plan_part(rng, MARKS, (rng.uniform(0.25, 0.5), y), (0.24, 0.16), 0.3, 0.08)
        if rng.random() < 0.6:
            plans += [mark, mark._replace(place=(-mark.place[0], y), turn=-mark.turn)]
        else:
            plans.append(mark._replace(place=(0.0, y), turn=0.0))
    return plans


def writing(rng: np.random.Generator) -> Plans:
    """A few strokes' characters in a row, on a plate or on nothing."""
    plans = (
        [plan_part(rng, ("polygon", "ellipse", "square"), (0, 0), (1.2, 0.6), 0, 0.02)] if rng.random() < 0.6 else []
    )
    ink = tuple(rng.integers(0, 7, 2).tolist())
    count = int(rng.integers(3, 6))
    for position in range(count):
        place = ((position - (count - 1) / 2) * 1.9 / count, rng.normal(0, 0.05))
        letter = plan_part(rng, ("stroke", "stroke", "line"), place, (0.85 / count, 0.4), 0.1, 0.05)
        plans.append(letter._replace(colours=(ink[0], ink[1]), pattern="plain"))
    return plans


def _stuff(rng: np.random.Generator) -> Plans:
    """Hardly any outline: a texture that is the thing, sometimes with a second one beside it."""
    plans = [
        plan_part(rng, ("square", "blob"), (0, 0), (1.2, 1.2), 3, 0.1)._replace(pattern=_pattern(rng, plain=False))
    ]
    if rng.random() < 0.5:
        second = plan_part(rng, ("blob", "square"), (0.5, rng.normal(0, 0.3)), (0.8, 1.2), 3, 0.1)
        plans.append(second._replace(pattern=_pattern(rng, plain=False)))
    return plans


LAYOUTS: tuple[Callable[[np.random.Generator], Plans], ...] = (creature, emblem, _face, writing, _stuff)
LAYOUT_SHARES = (0.5, 0.17, 0.13, 0.06, 0.14)
MARKS = ("ellipse", "blob", "drop", "polygon", "star", "stroke", "line", "triangle")


def _near(rng: np.random.Generator, width: float, height: float) -> tuple[float, float]:
    return float(rng.uniform(-0.6, 0.6) * width), float(rng.uniform(-0.5, 0.8) * height)


def _mark(rng: np.random.Generator, width: float, height: float) -> Plan:
    size = rng.uniform(0.12, 0.4)
    place = _near(rng, width, height)
    return plan_part(rng, MARKS, place, (size, size * rng.uniform(0.3, 1)), 0.6, 0.1)


def plan_part(
    rng: np.random.Generator,
    shapes: tuple[str, ...],
    place: tuple[float, ...],
    reach: tuple[float, float],
    turn: float,
    swing: float,
) -> Plan:
    """A part with a shape from ``shapes``; ``reach`` varies a little and ``turn`` within ``turn`` to either side."""
    first, second = rng.choice(7, 2, replace=False).tolist()
    width, height = (np.array(reach) * rng.uniform(0.8, 1.25, 2)).tolist()
    x, y = place
    return Plan(
        key=int(rng.integers(2**31)),
        shape=str(rng.choice(shapes)),
        pattern=_pattern(rng, plain=True),
        colours=(first, second),
        place=(float(x), float(y)),
        reach=(width, height),
        turn=float(rng.uniform(-turn, turn)),
        swing=swing,
    )


def _pattern(rng: np.random.Generator, plain: bool) -> str:
    names = list(PATTERNS)
    return "plain" if plain and rng.random() < 0.3 else names[int(rng.integers(1, len(names)))]


def _change(rng: np.random.Generator, palette: Array, plans: Plans) -> tuple[Array, Plans]:
    """One difference between siblings: a colour of all parts or of one, a pattern, the size of a part, a new mark."""
    which, plans = int(rng.integers(len(plans))), list(plans)
    kind = rng.choice(["colour", "part colours", "pattern", "size", "mark"], p=[0.3, 0.25, 0.2, 0.1, 0.15])
    if kind == "colour":
        palette = palette.copy()
        palette[plans[which].colours[0]] = draw_palette(rng)[0]
    elif kind == "part colours":
        first, second = rng.choice(7, 2, replace=False).tolist()
        plans[which] = plans[which]._replace(colours=(first, second))
    elif kind == "pattern":
        plans[which] = plans[which]._replace(pattern=_pattern(rng, plain=False), key=int(rng.integers(2**31)))
    elif kind == "size":
        width, height = plans[which].reach
        factor = float(rng.choice([0.6, 1.5]))
        plans[which] = plans[which]._replace(reach=(width * factor, height / factor**0.3))
    else:
        plans.append(_mark(rng, 0.8, 0.5))
    return palette, plans


def _paint(rng: np.random.Generator, plan: Plan, palette: Array) -> Part:
    outline = SHAPES[plan.shape](rng)
    canvas = np.zeros((SPRITE * 2, SPRITE * 2), np.uint8)
    points = np.round((outline * 0.94 + 1) * SPRITE * 16).astype(np.int32)
    if plan.shape in OPEN_SHAPES:
        thickness = int(rng.integers(5, 22))
        cv2.polylines(canvas, [points], isClosed=False, color=255, thickness=thickness, lineType=cv2.LINE_AA, shift=4)
    else:
        cv2.fillPoly(canvas, [points], 255, lineType=cv2.LINE_AA, shift=4)
    alpha = cv2.resize(canvas, (SPRITE, SPRITE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    share = PATTERNS[plan.pattern](rng, alpha)
    colour = mix(palette[plan.colours[0]], palette[plan.colours[1]], np.clip(share, 0, 1))
    fleck = rng.uniform(0, 0.12) * fractal(rng, (SPRITE, SPRITE), rng.uniform(3, 16), 2)
    # Rounded like a cushion: high in the middle, steep at the border.
    dome = np.sqrt(cv2.GaussianBlur(alpha, (0, 0), SPRITE / 9))
    slope = np.stack([cv2.Sobel(dome, cv2.CV_32F, *axis, ksize=3) for axis in ((1, 0), (0, 1))], -1)
    return Part(
        colour=np.clip(colour * (1 + fleck[..., None]), 0, 1).astype(np.float32),
        alpha=alpha,
        slope=slope,
        place=plan.place,
        reach=plan.reach,
        turn=plan.turn,
        swing=plan.swing,
    )


def _extent(part: Part) -> tuple[float, float, float, float]:
    (x, y), (width, height) = part.place, part.reach
    cos, sin = abs(np.cos(part.turn)), abs(np.sin(part.turn))
    half_width, half_height = width * cos + height * sin, width * sin + height * cos
    return x - half_width, y - half_height, x + half_width, y + half_height


def _circle(count: int) -> Array:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _polar(radius: Array, angle: Array) -> Array:
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return np.asarray(points / np.abs(points).max())


def _ellipse(rng: np.random.Generator) -> Array:  # noqa: ARG001
    return _polar(np.ones(48), _circle(48))


def _blob(rng: np.random.Generator) -> Array:
    """A closed curve of a few low harmonics (Zahn and Roskies, "Fourier Descriptors", 1972)."""
    angle = _circle(64)
    radius = np.ones(64)
    for harmonic in range(2, 6):
        radius += rng.normal(0, 0.45 / harmonic) * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    return _polar(np.clip(radius, 0.2, None), angle)


def _drop(rng: np.random.Generator) -> Array:
    angle = _circle(48)
    narrow = np.sin(angle / 2) ** rng.uniform(0.6, 2)
    return np.stack([np.cos(angle), np.sin(angle) * narrow], -1)


def _polygon(rng: np.random.Generator) -> Array:
    corners = int(rng.integers(3, 8))
    return _polar(rng.uniform(0.6, 1, corners), _circle(corners) + rng.uniform(-0.3, 0.3, corners))


def _triangle(rng: np.random.Generator) -> Array:
    return np.array([[-1, -1], [1, rng.uniform(-0.5, 0.5)], [-1, 1]])


def _square(rng: np.random.Generator) -> Array:  # noqa: ARG001
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _star(rng: np.random.Generator) -> Array:
    rays = int(rng.integers(4, 9))
    radius = np.tile([1, rng.uniform(0.3, 0.7)], rays)
    return _polar(radius, _circle(2 * rays))


def _stroke(rng: np.random.Generator) -> Array:
    knots = int(rng.integers(3, 6))
    return rng.uniform(-0.85, 0.85, (knots, 2))


def _line(rng: np.random.Generator) -> Array:
    return np.array([[rng.uniform(-0.5, 0.5), -0.9], [rng.uniform(-0.5, 0.5), 0.9]])


SHAPES: dict[str, Callable[[np.random.Generator], Array]] = {
    "ellipse": _ellipse,
    "blob": _blob,
    "drop": _drop,
    "polygon": _polygon,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "stroke": _stroke,
    "line": _line,
}
OPEN_SHAPES = frozenset({"stroke", "line"})


def _along(rng: np.random.Generator) -> Array:
    x, y = grid((SPRITE, SPRITE))
    turn = rng.uniform(0, np.pi)
    return np.asarray(x * np.cos(turn) + y * np.sin(turn))


def _plain(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    return np.zeros_like(alpha)


def _stripes(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    wave = _along(rng) * rng.uniform(2, 10) + rng.uniform(0, 0.5) * fractal(rng, (SPRITE, SPRITE), 3, 2)
    return step(np.sin(wave * np.pi), rng.uniform(-0.6, 0), rng.uniform(0.1, 0.6))


def _checks(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    turn, count = rng.uniform(0, np.pi), rng.uniform(2, 6)
    x, y = grid((SPRITE, SPRITE))
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return step(np.sin(u * count * np.pi) * np.sin(v * count * np.pi), -0.15, 0.15)


def _spots(rng: np.random.Generator, alpha: Array) -> Array:
    count = int(rng.integers(6, 90))
    _, distance = cells_of(rng, alpha.shape, count)
    radius = SPRITE / np.sqrt(count) * rng.uniform(0.2, 0.5)
    return 1 - step(distance, radius * 0.8, radius * 1.1)


def _scales(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    """Overlapping rows, each feather darker towards its border."""
    x, y = grid((SPRITE, SPRITE))
    count = rng.uniform(3, 9)
    row = np.floor(y * count)
    u, v = (x * count + 0.5 * row) % 1 - 0.5, (y * count) % 1
    return step(np.hypot(u, v - 0.2), 0.3, 0.7)


def _blend(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    middle, width = rng.uniform(-0.3, 0.3), rng.uniform(0.3, 0.9)
    return step(_along(rng), middle - width, middle + width)


def _halves(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    middle = rng.uniform(-0.5, 0.5)
    edge = _along(rng) + rng.uniform(0, 0.15) * fractal(rng, (SPRITE, SPRITE), 5, 2)
    return step(edge, middle - 0.06, middle + 0.06)


def _band(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    middle, width = rng.uniform(-0.6, 0.6), rng.uniform(0.08, 0.3)
    return 1 - step(np.abs(_along(rng) - middle), width, width + 0.1)


def _blotches(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    return step(fractal(rng, (SPRITE, SPRITE), rng.uniform(3, 10), 3), -0.3, 0.5)


def _speckle(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    return step(fractal(rng, (SPRITE, SPRITE), rng.uniform(12, 30), 1), rng.uniform(-0.5, 0.8), 1.5)


def _rings(rng: np.random.Generator, alpha: Array) -> Array:  # noqa: ARG001
    x, y = grid((SPRITE, SPRITE))
    radius = np.hypot(x, y) * rng.uniform(1, 5)
    return step(np.cos(radius * np.pi), -0.2, 0.2)


def _border(rng: np.random.Generator, alpha: Array) -> Array:
    width = rng.uniform(SPRITE / 16, SPRITE / 6)
    inner = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return 1 - step(np.asarray(inner), width * 0.7, width * 1.3)


PATTERNS: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "spots": _spots,
    "scales": _scales,
    "blend": _blend,
    "halves": _halves,
    "band": _band,
    "blotches": _blotches,
    "speckle": _speckle,
    "rings": _rings,
    "border": _border,
}
