"""Brush and lamp of the drawn games: shapes, light and weather on pictures of (h, w, 3) uint8 sRGB.

Colours are sRGB, 0 … 255, three numbers; points are (x, y) in px, fractions included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.rendering import Array, as_rgb, as_row, fractal

Picture = Array
Colour = Array | Sequence[float]
Shape = tuple[int, int]
Rng = np.random.Generator
T = TypeVar("T")
DIRT = 45


class Lamp(NamedTuple):
    """A light in the picture: where, the distance in px at which half of it is left, and how much (1: as daylight)."""

    x: float
    y: float
    reach: float
    colour: Colour
    strength: float = 1.0


@dataclass(frozen=True)
class Brush:
    """Paints on ``picture`` in the measure of a figure: its (0, 0) is ``at`` in px, its 1 is ``size`` px, y goes down.

    The methods are the functions of this module.
    """

    picture: Picture
    at: Any
    size: float

    def px(self, points: Any) -> Array:
        """Points (…, 2) of the figure in px of the picture."""
        return np.asarray(np.asarray(points) * self.size + np.asarray(self.at))

    def to(self, at: Any, size: float = 1.0) -> "Brush":
        """The brush for a part of the figure, with its origin ``at`` and ``size`` times as large."""
        return Brush(self.picture, self.px(at), self.size * size)

    def lamp(self, at: Any, reach: float, colour: Colour, strength: float = 1.0) -> Lamp:
        """A light in the figure."""
        x, y = self.px(at)
        return Lamp(x, y, reach * self.size, colour, strength)

    def polygon(self, points: Any, colour: Colour) -> None:  # noqa: D102
        polygon(self.picture, self.px(points), colour)

    def line(self, points: Any, colour: Colour, width: float = 0) -> None:  # noqa: D102
        line(self.picture, self.px(points), colour, width * self.size)

    def oval(self, centre: Any, axes: Any, colour: Colour, turn: float = 0, part: Any = (0, 360)) -> None:  # noqa: D102
        oval(self.picture, self.px(centre), np.asarray(axes) * self.size, colour, turn, part)

    def disc(self, centre: Any, radius: float, colour: Colour) -> None:  # noqa: D102
        disc(self.picture, self.px(centre), radius * self.size, colour)

    def ring(self, centre: Any, radius: float, colour: Colour, width: float, part: Any = (0, 360)) -> None:  # noqa: D102
        ring(self.picture, self.px(centre), radius * self.size, colour, width * self.size, part)

    def ball(self, centre: Any, axes: Any, colour: Colour, turn: float = 0) -> None:  # noqa: D102
        ball(self.picture, self.px(centre), np.asarray(axes) * self.size, colour, turn)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:  # noqa: D102
        (x0, y0), (x1, y1) = self.px([(left, top), (right, bottom)])
        box(self.picture, x0, y0, x1, y1, colour)

    def pill(  # noqa: D102
        self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 1e9
    ) -> None:
        (x0, y0), (x1, y1) = self.px([(left, top), (right, bottom)])
        pill(self.picture, x0, y0, x1, y1, colour, radius * self.size)


def rgb(code: str) -> Array:
    """The colour written ``"rrggbb"``, (3,) float64."""
    return np.array([int(code[at : at + 2], 16) for at in (0, 2, 4)], np.float64)


def palette(*codes: str) -> Array:
    """Several colours, (n, 3) float64."""
    return np.stack([rgb(code) for code in codes])


def pick(rng: Rng, options: Sequence[T], shares: Sequence[float] | None = None) -> T:
    """One of the options, by their shares where these are given."""
    return options[int(rng.choice(len(options), p=shares))]


def tinted(rng: Rng, colours: Array, spread: float = 0.08) -> Array:
    """One colour of a palette (n, 3), a little lighter or darker and warmer or cooler than written."""
    colour = colours[rng.integers(len(colours))]
    return np.asarray(np.clip(colour * (1 + rng.normal(0, spread)) * (1 + rng.normal(0, spread / 3, 3)), 0, 255))


def lighter(colour: Colour, factor: float) -> Array:
    """A colour ``factor`` times as bright; above 1 it also moves towards white, as lit paint does."""
    base = np.asarray(colour, np.float64)
    if factor <= 1:
        return base * factor
    return np.clip(base + (255 - base) * (1 - 1 / factor) * 0.75 + base * (factor - 1) * 0.25, 0, 255)


def blend(a: Colour, b: Colour, share: float) -> Array:
    """Colour ``a`` at share 0, ``b`` at 1."""
    first = np.asarray(a, np.float64)
    return first + (np.asarray(b, np.float64) - first) * share


def gradient(shape: Shape, *colours: Colour) -> Picture:
    """Colours from the top to the bottom."""
    stops = np.linspace(0, 1, len(colours))
    rows = np.linspace(0, 1, shape[0])
    column = np.stack([np.interp(rows, stops, [colour[c] for colour in colours]) for c in range(3)], -1)
    return np.ascontiguousarray(np.broadcast_to(column[:, None].astype(np.uint8), (*shape, 3)))


def polygon(picture: Picture, points: Any, colour: Colour) -> None:
    """Fill a polygon (n, 2)."""
    cv2.fillPoly(picture, [_fixed(points)], _scalar(colour), cv2.LINE_AA, 4)


def line(picture: Picture, points: Any, colour: Colour, width: float = 1) -> None:
    """Draw a line through the points (n, 2), with round ends."""
    cv2.polylines(picture, [_fixed(points)], False, _scalar(colour), max(1, round(width)), cv2.LINE_AA, 4)


def oval(picture: Picture, centre: Any, axes: Any, colour: Colour, turn: float = 0, part: Any = (0, 360)) -> None:
    """Fill an ellipse with half axes ``axes``, turned by ``turn`` degrees, or its sector between two angles."""
    at, half = (tuple(_fixed([pair])[0].tolist()) for pair in (centre, np.maximum(axes, 0.1)))
    cv2.ellipse(picture, at, half, turn, part[0], part[1], _scalar(colour), -1, cv2.LINE_AA, 4)


def disc(picture: Picture, centre: Any, radius: float, colour: Colour) -> None:
    """Fill a circle."""
    oval(picture, centre, (radius, radius), colour)


def ring(picture: Picture, centre: Any, radius: float, colour: Colour, width: float, part: Any = (0, 360)) -> None:
    """Draw a circle, or its arc between two angles in degrees, clockwise from the right."""
    at, half = (tuple(_fixed([pair])[0].tolist()) for pair in (centre, (max(radius, 0.1),) * 2))
    cv2.ellipse(picture, at, half, 0, part[0], part[1], _scalar(colour), max(1, round(width)), cv2.LINE_AA, 4)


def ball(picture: Picture, centre: Any, axes: Any, colour: Colour, turn: float = 0) -> None:
    """An ellipsoid lit from the upper left: five ellipses, the smaller the brighter."""
    x, y = centre
    for size, tone in ((1.0, 0.72), (0.93, 0.86), (0.8, 1.0), (0.58, 1.12), (0.3, 1.25)):
        away = (1 - size) * 0.42
        oval(
            picture,
            (x - away * axes[0], y - away * axes[1]),
            (axes[0] * size, axes[1] * size),
            lighter(colour, tone),
            turn,
        )


def box(picture: Picture, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """Fill a rectangle."""
    polygon(picture, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def square(picture: Picture, centre: Any, half: float, colour: Colour) -> None:
    """Fill a square with sides of twice ``half``."""
    x, y = centre
    box(picture, x - half, y - half, x + half, y + half, colour)


def pill(
    picture: Picture, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 1e9
) -> None:
    """Fill a rectangle with round corners."""
    radius = min(radius, (right - left) / 2, (bottom - top) / 2)
    turns = np.linspace(0, np.pi / 2, 7)
    corners = []
    for x, y, start in (
        (right - radius, bottom - radius, 0),
        (left + radius, bottom - radius, 1),
        (left + radius, top + radius, 2),
        (right - radius, top + radius, 3),
    ):
        angle = turns + start * np.pi / 2
        corners.append(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], -1))
    polygon(picture, np.concatenate(corners), colour)


def glaze(picture: Picture, painted: Picture, share: float) -> None:
    """Lay ``painted`` over the picture, in place, so that ``share`` of it shows: see-through panels, glass, mist."""
    cv2.addWeighted(painted, share, picture, 1 - share, 0, dst=picture)


def grain(rng: Rng, picture: Picture, cells: float, strength: float, octaves: int = 3) -> None:
    """Make a picture's tones uneven in patches, in place: dirt, plaster, smoke. ``cells`` across the width."""
    h, w = picture.shape[:2]
    field = cv2.resize(fractal(rng, (h // 2, w // 2), cells, octaves), (w, h), interpolation=cv2.INTER_LINEAR)
    picture[:] = _to_bytes(picture * as_rgb(1 + np.float32(strength) * field))


def speckle(rng: Rng, picture: Picture, strength: float) -> None:
    """Fine grain, in place: brush strokes, film, an engine's dithering.

    What is dark gets some as well: it would be the smaller JPEG file otherwise, and give dark games away.
    """
    h, w = picture.shape[:2]
    field = cv2.resize(
        rng.standard_normal((h * 2 // 3, w * 2 // 3), np.float32), (w, h), interpolation=cv2.INTER_LINEAR
    )
    grain = picture + np.float32(DIRT)
    grain *= as_rgb(np.float32(strength) * field)
    grain += picture
    picture[:] = _to_bytes(grain)


def relight(picture: Picture, ambient: Colour, lamps: Sequence[Lamp], glare: float = 0.25) -> Picture:
    """The picture, painted as in plain daylight, by the light of ``ambient`` (255: as painted) and of lamps."""
    h, w = picture.shape[:2]
    y, x = np.indices((h // 4 + 1, w // 4 + 1), dtype=np.float32) * 4
    light = np.broadcast_to(np.asarray(ambient, np.float32) / 255, (*x.shape, 3)).copy()
    shine = np.zeros_like(light)
    for lamp in lamps:
        away = ((x - lamp.x) ** 2 + (y - lamp.y) ** 2) / lamp.reach**2
        colour = np.asarray(lamp.colour, np.float32) * np.float32(lamp.strength)
        light += (1 / (1 + away) ** 1.5)[..., None] * (colour / 255)
        shine += np.exp(-3 * away)[..., None] * (colour * np.float32(glare))
    bright, haze = (cv2.resize(layer, (w, h), interpolation=cv2.INTER_LINEAR) for layer in (light, shine))
    return _to_bytes(picture * bright + haze)


def bloom(picture: Picture, threshold: float = 170, strength: float = 0.6) -> Picture:
    """Bright places bleed into their surroundings, as lenses and game engines have it."""
    h, w = picture.shape[:2]
    small = cv2.resize(picture, (w // 4, h // 4), interpolation=cv2.INTER_AREA).astype(np.float32)
    bright = np.clip(small - np.float32(threshold), 0, None)
    soft = cv2.resize(cv2.GaussianBlur(bright, (0, 0), w / 110), (w, h), interpolation=cv2.INTER_LINEAR)
    return _to_bytes(picture + np.float32(strength) * 2 * soft)


def grade(picture: Picture, tint: Colour = (255, 255, 255), contrast: float = 1, colour: float = 1) -> Picture:
    """Multiply by a tint, then stretch contrast about mid-grey and saturation by the factors."""
    image = picture * as_row(np.asarray(tint, np.float32) / 255, picture)
    grey = as_rgb(image @ np.array([0.299, 0.587, 0.114], np.float32))
    image -= grey
    image *= np.float32(colour)
    image += grey
    image -= 110
    image *= np.float32(contrast)
    image += 110
    return _to_bytes(image)


def vignette(picture: Picture, strength: float) -> Picture:
    """Darker towards the corners, by ``strength`` there."""
    h, w = picture.shape[:2]
    x, y = np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    return _to_bytes(picture * as_rgb(1 - np.float32(strength / 2) * (x * x + y * y)))


def mist(rng: Rng, picture: Picture, colour: Colour, share: float, low: bool = False) -> Picture:
    """Drifting fog or smoke; ``low`` keeps it to the lower half."""
    h, w = picture.shape[:2]
    field = cv2.resize(fractal(rng, (h // 4, w // 4), rng.uniform(2, 4), 3), (w, h), interpolation=cv2.INTER_LINEAR)
    cover = np.clip(np.float32(share) * (1 + 0.7 * field), 0, 1)
    if low:
        cover *= np.linspace(-0.3, 1, h, dtype=np.float32).clip(0)[:, None]
    return _to_bytes(picture + (np.asarray(colour, np.float32) - picture) * cover[..., None])


def flakes(rng: Rng, picture: Picture, count: int, size: float, colour: Colour, slant: float = 0) -> None:
    """Snow, sparks, petals or, with ``slant`` and small sizes, rain: specks all over, each as long as it is fast."""
    h, w = picture.shape[:2]
    for x, y, big in rng.uniform(0, 1, (count, 3)):
        at, radius = np.array([x * w, y * h]), size * (0.3 + big**2)
        if slant:
            line(picture, [at, at + np.array([slant, 1]) * radius * 8], colour, radius)
        else:
            disc(picture, at, radius, colour)


def _fixed(points: Any) -> NDArray[np.int32]:
    """Fixed-point coordinates with four binary places, kept within what OpenCV can hold."""
    return np.rint(np.clip(np.asarray(points, np.float64), -4000, 4000) * 16).astype(np.int32)


def _scalar(colour: Colour) -> tuple[float, ...]:
    return tuple(float(value) for value in colour)


def _to_bytes(values: Array) -> Picture:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
