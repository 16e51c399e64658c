"""Bolts and nuts in three dimensions: what they are made of, and what a camera sees of one that is turned somehow.

A part is a stack of thin slices along its axis, six-sided or round, painted from the farthest to the nearest; which
slice a pixel shows tells the surface's normal there. An eccentric round slice that turns with its place on the axis is
what a screw thread is made of. Lengths are px of a frame of 640 px; colours are linear RGB.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.rendering import MIRROR, Array, Light, Mask, fractal, linear

FRAME = 640
"""All lengths are px of frames of this side; other frames are so much larger or smaller."""
FINER = 2
"""A part is painted so many times finer than the frame."""
GLOW = 10
"""Room in px around a part for the glow of its highlights."""
ROUND, SIXSIDED = 18, 36
"""Corners of the painted outlines."""
GRAIN = 64
BRIGHTNESS = 1.35
"""Parts fall nearer to the lamps than what stands behind them."""


@dataclass(frozen=True)
class Metal:
    """A finish: reflectance ``colour`` (3,), how sharp its reflections are, and how much of it is rust, both 0 … 1."""

    colour: Array
    gloss: float
    rust: float


@dataclass(frozen=True)
class Part:
    """A bolt or a nut. z runs along the axis from the head's face at 0 to ``length``.

    Up to ``head`` it is a hexagon ``across`` its flats, then round with the radius that ``profile`` (k, 2) gives for
    some z. A nut is all head and has a ``hole`` (radius; 0 for a bolt). The thread starts at ``thread`` with its
    ``pitch`` and ``depth``. ``metals`` are those of head, shank and thread, ``grain`` (GRAIN, GRAIN) their stains.
    """

    label: str
    length: float
    head: float
    across: float
    profile: Array
    hole: float
    thread: float
    pitch: float
    depth: float
    metals: tuple[Metal, Metal, Metal]
    grain: Array


class Sprite(NamedTuple):
    """A part as it is seen: ``light`` (h, w, 3) float32 linear RGB times ``cover`` (h, w), the share of each pixel
    that it covers, with the upper left corner at (``left``, ``top``) of the frame.
    """

    light: Array
    cover: Array
    left: int
    top: int

    @property
    def mask(self) -> Mask:
        """The pixels that it covers, (h, w)."""
        return np.asarray(self.cover > 0.5)


class _Slices(NamedTuple):
    """The slices from the farthest to the nearest, ``step`` apart: (n,) each, float32.

    ``z`` on the axis from the middle, ``radius`` of a circle (a hexagon, ``six``, is what of it lies inside), ``aside``
    (n, 2) where the circle's centre is, ``taper`` how fast the radius shrinks towards the camera.
    """

    z: Array
    radius: Array
    six: Mask
    aside: Array
    taper: Array
    step: float


class _View(NamedTuple):
    """How the axis lies before the camera.

    ``along`` (2,) is the direction in the picture in which the axis leans, ``sine`` how much it does and ``toward``
    how much of it points to the camera; ``spin`` is the angle in rad of the hexagon's first flat.
    """

    along: Array
    sine: float
    toward: float
    spin: float


def make_bolt(rng: np.random.Generator) -> Part:
    """A wood screw with a point and a coarse thread, or a machine bolt with a blunt end and a fine one."""
    if rng.random() < 0.5:
        length, across = rng.uniform(70, 150), rng.uniform(23, 33)
        head, radius = across * rng.uniform(0.36, 0.48), across * rng.uniform(0.22, 0.3)
        thread = head + (length - head) * rng.uniform(0.15, 0.5)
        point = length - rng.uniform(2.0, 3.2) * radius
        profile = [(head, radius), (point, radius), (length, 0.12 * radius)]
        pitch, depth = rng.uniform(4.6, 6.4), rng.uniform(0.13, 0.2)
        worn = _metal(rng, DARK if rng.random() < 0.7 else WARM, rust=(0.0, 0.4))
        metals = worn, worn, _metal(rng, WARM, rust=(0.0, 0.3))
    else:
        length, across = rng.uniform(80, 184), rng.uniform(24, 36)
        head, radius = across * rng.uniform(0.34, 0.44), across * rng.uniform(0.22, 0.3)
        thread = head + (length - head) * rng.uniform(0.25, 0.75)
        profile = [(head, radius), (length - 2, radius), (length, 0.8 * radius)]
        if rng.random() < 0.3:
            flange = head + rng.uniform(2, 3.5)
            profile = [(head, 0.68 * across), (flange, 0.68 * across), (flange + 0.1, radius), *profile[1:]]
        pitch, depth = rng.uniform(3.0, 3.8), rng.uniform(0.06, 0.1)
        body = _metal(rng, (BRIGHT, WARM, DARK, WARM)[rng.integers(4)], rust=(0.0, 0.9))
        other = _metal(rng, BRIGHT if rng.random() < 0.4 else WARM, rust=(0.0, 0.3))
        metals = (other if rng.random() < 0.4 else body), body, (other if rng.random() < 0.5 else body)
    rings = np.asarray(profile, np.float32)
    return Part("bolt", length, head, across, rings, 0.0, thread, pitch, depth * radius, metals, _grain(rng))


def make_nut(rng: np.random.Generator) -> Part:
    """A hexagon nut, mostly bright zinc."""
    across = rng.uniform(35, 45)
    thick = across * rng.uniform(0.5, 0.82)
    hole = across * rng.uniform(0.27, 0.33)
    kind = BRIGHT if rng.random() < 0.75 else (WARM, DARK)[rng.integers(2)]
    metal = _metal(rng, kind, rust=(0.0, 0.25))
    rings = np.array([[0, 0.6 * across]], np.float32)
    return Part(
        "nut", thick, thick, across, rings, hole, 0.0, rng.uniform(2.6, 3.4), 0.0, (metal, metal, metal), _grain(rng)
    )


def render(part: Part, turn: Array, scale: float, centre: tuple[float, float], light: Light) -> Sprite:
    """What is seen of a part whose own axes are the columns of ``turn`` (3, 3), its middle at ``centre`` (x, y) px.

    ``scale`` is px of this frame a px of a frame of 640. Seen in parallel, without perspective.
    """
    view = _view(turn)
    fine = scale * FINER
    slices = _cut(part, view, fine)
    reach = np.hypot(part.length / 2, 0.7 * part.across) * scale + GLOW * scale
    left, top = (int(np.floor(c - reach)) for c in centre)
    width, height = (int(np.ceil(c + reach)) - low for c, low in zip(centre, (left, top), strict=True))
    middle = np.array([centre[0] - left, centre[1] - top]) * FINER
    shown = _paint(part, slices, view, fine, middle, (height * FINER, width * FINER))
    painted = np.flatnonzero(shown)
    number = shown.ravel().take(painted) - 1
    rows, columns = np.divmod(painted, shown.shape[1])
    offset = (np.stack([columns, rows], 1) + 0.5 - middle) / fine
    picture = np.zeros((*shown.shape, 4), np.float32)
    lit = np.ones((len(painted), 4), np.float32)
    lit[:, :3] = _lit(part, slices, view, number, offset.astype(np.float32), light, fine).T
    picture.reshape(-1, 4)[painted] = lit
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    seen = np.ascontiguousarray(small[..., :3])
    glare: Array = cv2.GaussianBlur(np.maximum(seen - 0.8, 0), (0, 0), 3.0 * scale)
    # Light behind a highlight spreads in the lens; what it adds covers nothing.
    glare *= 0.35
    seen += glare
    return Sprite(seen, np.ascontiguousarray(small[..., 3]), left, top)


def window(
    frame: tuple[int, ...], patch: tuple[int, ...], left: int, top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch at (left, top) lies in the frame, and which part of it that is; empty where it is outside."""
    y0, y1 = np.clip((top, top + patch[0]), 0, frame[0]).tolist()
    x0, x1 = np.clip((left, left + patch[1]), 0, frame[1]).tolist()
    return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]


def _view(turn: Array) -> _View:
    axis = turn[:, 2]
    sine = float(np.hypot(axis[0], axis[1]))
    along: Array = axis[:2] / sine if sine > 1e-4 else np.array([1, 0], np.float32)
    toward = float(axis[2])
    # The part's first axis in the frame of the slices: across the picture's axis, and towards the camera.
    first = turn[:, 0]
    x = first[1] * along[0] - first[0] * along[1]
    y = sine * first[2] - toward * (first[:2] @ along)
    return _View(along, sine, toward, float(np.arctan2(y, x)))


def _cut(part: Part, view: _View, fine: float) -> _Slices:
    """So many slices that two neighbours are a painted pixel apart."""
    count = int(np.clip(np.ceil(part.length * view.sine * fine), 28, 600))
    z = np.linspace(0, part.length, count)
    if view.toward < 0:
        z = z[::-1]
    six = z <= part.head
    radius = np.interp(z, part.profile[:, 0], part.profile[:, 1])
    # Turned on a lathe: the corners of a hexagon are cut at 30°, at both ends of a nut and at the face of a head.
    end = np.minimum(z, part.head - z if part.hole else np.inf)
    chamfered = np.minimum(0.5 * part.across + end * np.sqrt(3), 0.5774 * part.across)
    radius = np.where(six, chamfered, radius)
    step = part.length / (count - 1)
    shift = np.where((z >= part.thread) & ~six, part.depth, 0)
    winding = 2 * np.pi / part.pitch * z
    aside = shift[:, None] * np.stack([np.cos(winding), np.sin(winding)], 1)
    taper = np.clip(-np.diff(radius, append=radius[-1]) / step, -2, 3)
    layers = (z - part.length / 2, radius, aside, taper)
    places, radii, centres, tapers = (layer.astype(np.float32) for layer in layers)
    return _Slices(places, radii, six, centres, tapers, step)


def _paint(
    part: Part, slices: _Slices, view: _View, fine: float, middle: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """The number of the slice that each pixel shows, from 1; 0 outside; (h, w)."""
    shown = np.zeros(shape, np.int32)
    across = np.array([-view.along[1], view.along[0]])
    six_angles = view.spin + np.pi / 6 + np.arange(SIXSIDED) * (2 * np.pi / SIXSIDED)
    to_flat = (six_angles - view.spin + np.pi / 6) % (np.pi / 3) - np.pi / 6
    hexagon = 0.5 * part.across / np.cos(to_flat)
    round_angles = np.arange(ROUND) * (2 * np.pi / ROUND)
    # A polygon inside a circle covers less than the circle.
    round_fit = 1 / np.sqrt(np.sinc(2 / ROUND))

    def project(x: Array, y: Array, z: Array) -> NDArray[np.int32]:
        """Corners (n, m, 2) in 1/16 px of slices at z (n, 1)."""
        down = view.sine * z - view.toward * y
        points = x[..., None] * across + down[..., None] * view.along
        return np.asarray(np.rint((points * fine + middle - 0.5) * 16), np.int32)

    z, radius, is_six = slices.z[:, None], slices.radius[:, None], slices.six
    reach = np.minimum(hexagon, radius[is_six])
    sixes = iter(project(reach * np.cos(six_angles), reach * np.sin(six_angles), z[is_six]))
    if part.hole:
        ring = np.full((len(z), 1), part.hole * round_fit)
        holes = project(ring * np.cos(round_angles), ring * np.sin(round_angles), z)
        for number, outline in enumerate(zip(sixes, holes, strict=True), start=1):
            cv2.fillPoly(shown, outline, number, shift=4)
        return shown
    reach = radius[~is_six] * round_fit
    aside_x, aside_y = slices.aside[~is_six, :1], slices.aside[~is_six, 1:]
    rounds = iter(project(reach * np.cos(round_angles) + aside_x, reach * np.sin(round_angles) + aside_y, z[~is_six]))
    for number, six in enumerate(is_six.tolist(), start=1):
        cv2.fillConvexPoly(shown, next(sixes if six else rounds), number, shift=4)
    return shown


def _lit(
    part: Part, slices: _Slices, view: _View, number: NDArray[np.int32], offset: Array, light: Light, fine: float
) -> Array:
    """Light (3, n) from pixels of slices ``number`` that lie at ``offset`` (n, 2), in part px from its middle."""
    z, radius, six = (of_slice.take(number) for of_slice in (slices.z, slices.radius, slices.six))
    x = offset[:, 1] * view.along[0] - offset[:, 0] * view.along[1]
    u = offset @ view.along
    toward = view.toward if abs(view.toward) > 0.02 else 0.02
    ends = 1 if toward > 0 else -1
    # Where the line of sight meets the plane of the slice, and where it meets the side that faces the camera.
    y = (view.sine * z - u) / toward
    facing = view.spin + np.arange(6) * (np.pi / 3)
    flats = np.stack([np.cos(facing), np.sin(facing)]).astype(np.float32)[:, np.sin(facing) > 0.02]
    distance = (0.5 * part.across - x[:, None] * flats[0]) / flats[1]
    nearest = distance.argmin(1)
    aside = slices.aside.take(number, 0)
    cosine = np.clip((x - aside[:, 0]) / radius, -1, 1)
    sine = np.sqrt(1 - cosine * cosine)
    side = np.where(six, distance.min(1), radius * sine + aside[:, 1])
    flat = (side - y) * abs(toward) > slices.step * view.sine + 1.3 / fine

    winding = sine * aside[:, 0] - cosine * aside[:, 1]
    lean = slices.taper[number] * ends - (2 * np.pi / part.pitch) * winding
    normal = np.stack([cosine, sine, lean], 1)
    normal[six] = np.insert(flats.T, 2, 0, axis=1)[nearest[six]]
    normal[flat] = (0, 0, ends)
    depth = max(part.depth, 1e-6)
    hollow = np.where(aside.any(1), 0.22 / depth * (depth - cosine * aside[:, 0] - sine * aside[:, 1]), 0)
    flat &= six
    away = np.hypot(x, y)
    chamfer = flat & (away > 0.47 * part.across)
    if part.hole:
        chamfer |= flat & (away < 1.12 * part.hole)
    outwards = np.where(away > 0.4 * part.across, 0.55, -0.55) / np.maximum(away, 1e-6)
    normal[chamfer] += np.stack([x * outwards, y * outwards, np.zeros_like(x)], 1)[chamfer]
    if part.hole:
        # Seen through the hole in the nearest slice: its far wall.
        inside = np.hypot(x, (view.sine * slices.z[-1] - u) / toward) < part.hole
        across, winds = np.clip(x[inside] / part.hole, -1, 1), 2 * np.pi / part.pitch * z[inside]
        normal[inside] = np.stack([-across, np.sqrt(1 - across * across), 0.7 * np.sin(winds)], 1)
        down = np.abs(slices.z[-1] - z[inside]) / part.hole
        hollow[inside] = 1 - np.exp(-1.1 * down) * (0.75 + 0.25 * np.cos(winds))
    length = np.sqrt(np.einsum("ij,ij->i", normal, normal))
    for component in normal.T:
        component /= length

    turn_x, turn_y = np.cos(view.spin), np.sin(view.spin)
    on_face = np.stack([x * turn_x + y * turn_y, y * turn_x - x * turn_y])
    around = np.stack([z, (np.arccos(cosine) - view.spin) * (0.3 * part.across)])
    row, column = (np.where(flat, on_face, around) * 2).astype(np.int32) % GRAIN
    zone = np.where(six, 0, np.where(z + part.length / 2 >= part.thread, 2, 1))
    lit = _shade(part, light, normal @ _axes(view), zone, part.grain[row, column])
    lit *= 1 - hollow
    return lit


def _axes(view: _View) -> Array:
    """The frame of the slices in the picture's: rows are across, towards the camera, along the axis."""
    across = np.array([-view.along[1], view.along[0], 0])
    front = np.array([*(-view.toward * view.along), view.sine])
    return np.stack([across, front, [*(view.sine * view.along), view.toward]]).astype(np.float32)


def _shade(part: Part, light: Light, normal: Array, zone: NDArray[np.intp], stain: Array) -> Array:
    """Metal mirrors the surroundings, sharply or not; rust and dirt are matt; light (3, n) of n normals (n, 3)."""
    colours = np.stack([metal.colour for metal in part.metals], 1).take(zone, 1)
    gloss, rust = (
        np.array([getattr(m, name) for m in part.metals], np.float32).take(zone) for name in ("gloss", "rust")
    )
    rusty = np.clip((rust - 0.5 + 0.28 * stain) * 3, 0, 1)
    at = np.clip((normal[:, :2] * 0.5 + 0.5) * MIRROR, 0, MIRROR - 1).astype(np.int32)
    place = at[:, 1] * MIRROR + at[:, 0]
    # Colour by colour: NumPy is slow where it multiplies rows of three.
    sharp, rough = (layer.reshape(-1, 3).T.copy().take(place, 1) for layer in (light.mirror, light.haze))
    lambert = np.clip(normal @ light.towards, 0, 1) * light.key[:, None]
    lambert += light.ambient[:, None] * (0.5 + 0.5 * normal[:, 2])
    sharp -= rough
    sharp *= gloss
    sharp += rough
    mirrored = colours * sharp * (1 + 0.12 * stain)
    matt = RUST[:, None] * (1 + 0.3 * stain) * lambert
    lit = mirrored + rusty * (matt - mirrored)
    return np.asarray(BRIGHTNESS * lit, np.float32)


def _metal(rng: np.random.Generator, kinds: Array, rust: tuple[float, float]) -> Metal:
    colour = kinds[rng.integers(len(kinds))] * rng.uniform(0.8, 1.15) * rng.normal(1, 0.03, 3)
    return Metal(colour.astype(np.float32), float(rng.uniform(0.15, 0.75)), float(rng.uniform(*rust)))


def _grain(rng: np.random.Generator) -> Array:
    return fractal(rng, (GRAIN, GRAIN), 6, 4, 0.7)


BRIGHT = linear("dfe5ee", "c4cbd6", "d8d7d2")
WARM = linear("c79a76", "b8835c", "bb9a68", "bd8f7c")
DARK = linear("6b6a72", "5c5a5e", "75706a")
RUST = linear("7d5138")
