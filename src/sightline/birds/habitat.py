"""Where birds are met: the light of the day, what lies behind them, what they sit on, and what grows in front.

Pictures here are (h, w, 3) uint8 sRGB reflectances; ``ground`` is the row in px on which the bird stands or swims.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.birds.anatomy import Points
from sightline.birds.drawing import Daylight
from sightline.core.rendering import fractal, ramp

Picture = NDArray[Any]
Shape = tuple[int, int]
Backdrop = Callable[[np.random.Generator, Shape, int], Picture]


def make_daylight(rng: np.random.Generator) -> tuple[Daylight, float]:
    """The light on the bird, and how much more of it the backdrop gets: above 1 where the bird is against the light."""
    weather = rng.choice(["sun", "overcast", "shade", "low sun", "backlit"], p=[0.4, 0.25, 0.13, 0.12, 0.1])
    side, behind = rng.uniform(-1, 1), 1.0
    sun, sky = np.array([1.0, 0.97, 0.9]), np.array([0.92, 0.98, 1.08])
    if weather == "sun":
        towards, key, ambient, soft = (side, rng.uniform(0.6, 1.6), rng.uniform(0.3, 1)), 0.95 * sun, 0.36 * sky, 0.2
    elif weather == "overcast":
        towards, key, ambient, soft = (side, 1.5, 0.8), 0.3 * sky, 0.62 * sky, 0.9
    elif weather == "shade":
        towards, key, ambient, soft = (side, 1.0, 0.6), 0.14 * sky, 0.46 * np.array([0.92, 1.06, 0.96]), 0.9
        behind = rng.uniform(0.8, 1.5)
    elif weather == "low sun":
        warm = np.array([1.15, 0.86, rng.uniform(0.45, 0.7)])
        towards, key, ambient, soft = (2.2 * side, 0.35, 0.9), 0.95 * warm, 0.27 * np.array([0.95, 0.95, 1.1]), 0.1
    else:
        towards, key, ambient, soft = (side, 0.9, -0.7), 0.9 * sun, 0.3 * sky, 0.2
        behind = rng.uniform(1.3, 2.3)
    vector = np.array(towards) / np.linalg.norm(towards)
    return Daylight(vector.astype(np.float32), key.astype(np.float32), ambient.astype(np.float32), soft), float(behind)


def sky(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:  # noqa: ARG001
    """Open sky, blue to grey, with or without clouds."""
    tones = [(70, 120, 190), (120, 165, 215), (190, 205, 220), (205, 208, 210), (226, 190, 160)]
    top, low = (np.array(tones[rng.integers(len(tones))], np.float32) for _ in range(2))
    rise = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(top + (low - top) * rise, (*shape, 3))
    cloud = np.clip(_noise(rng, shape, rng.uniform(1.5, 4), 4) * 0.5 + rng.uniform(-0.8, 0.3), 0, 1)[..., None]
    return _to_bytes(picture + (238 - picture) * cloud)


def bokeh(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:  # noqa: ARG001
    """Foliage far out of focus, with discs of light where the sky shows through."""
    palette = _tones(rng, _GREENERY)
    small = (shape[0] // 3, shape[1] // 3)
    picture = _to_bytes(255 * ramp(palette, np.clip(0.5 + 0.3 * _noise(rng, small, rng.uniform(2, 5), 3), 0, 1)))
    discs = int(rng.integers(0, 45))
    for colour, (x, y, radius) in zip(
        _shades(rng, palette, discs, 0.6, 1.7), rng.uniform(0, 1, (discs, 3)), strict=True
    ):
        centre = (int(x * small[1]), int(y * small[0]))
        cv2.circle(picture, centre, int(2 + 7 * radius), colour.tolist(), -1, cv2.LINE_AA)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 5))
    return cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_CUBIC)


def foliage(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:
    """Leaves and twigs in several layers, the nearer ones sharper."""
    picture = bokeh(rng, shape, ground)
    palette = _tones(rng, _GREENERY[:4])
    size = rng.uniform(9, 26)
    for layer in range(2):
        for _ in range(rng.integers(2, 6)):
            start, end = (rng.uniform(-0.2, 1.2, 2) * shape[::-1] for _ in range(2))
            _branch(rng, picture, start, end, rng.uniform(1, 5))
        for colour in _shades(rng, palette, int(rng.integers(20, 45)), 0.45 + 0.15 * layer, 0.9 + 0.25 * layer):
            _leaf(rng, picture, rng.uniform(0, 1, 2) * shape[::-1], size * rng.uniform(0.6, 1.3), colour)
        if layer == 0:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 3))
    return picture


def trunk(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:
    """Woods behind; the trunk itself is what the bird holds on to."""
    return (bokeh, foliage)[rng.integers(2)](rng, shape, ground)


def meadow(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:
    """Grass, short or tall, green or dry."""
    picture = _plain(rng, shape, ground, _tones(rng, _GRASSES), 12)
    palette = _tones(rng, _GRASSES)
    tall = rng.uniform(8, 40)
    count = int(rng.integers(70, 190))
    # Blades further down are nearer: drawn later, longer.
    rows = np.sort(rng.uniform(max(0.2, ground / shape[0] - 0.4), 1.15, count))
    for y, colour in zip(rows.tolist(), _shades(rng, palette, count, 0.65, 1.2), strict=True):
        foot = np.array([rng.uniform(0, shape[1]), y * shape[0]])
        top = foot + np.array([rng.normal(0, 0.35), -1]) * tall * rng.uniform(0.5, 1.2) * (0.4 + y)
        _line(picture, [foot, top], colour.tolist(), int(rng.integers(1, 3)))
    return picture


def shore(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:
    """Sand, mud, earth, pebbles or snow, with water or a blurred bank behind."""
    palette = _tones(rng, _SOILS)
    picture = _plain(rng, shape, ground, palette, rng.uniform(6, 30))
    if rng.random() < 0.5:
        rows = np.sort(rng.uniform(ground / shape[0] - 0.25, 1.05, int(rng.integers(15, 80))))
        for y, colour in zip(rows.tolist(), _shades(rng, palette, len(rows), 0.55, 1.2), strict=True):
            centre = (round(rng.uniform(0, shape[1])), round(y * shape[0]))
            wide = rng.uniform(1, 5) * (0.4 + y)
            axes = (max(1, round(wide)), max(1, round(0.6 * wide)))
            cv2.ellipse(picture, centre, axes, 0, 0, 360, (0.6 * colour).tolist(), -1, cv2.LINE_AA)
            cv2.ellipse(picture, (centre[0], centre[1] - 1), axes, 0, 0, 360, colour.tolist(), -1, cv2.LINE_AA)
    return picture


def water(rng: np.random.Generator, shape: Shape, ground: int) -> Picture:  # noqa: ARG001
    """A lake, calm or rippled, that mirrors sky or trees."""
    palette = _tones(rng, _WATERS)
    y = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    swell = cv2.resize(rng.standard_normal((shape[0] // 4, 9), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    ripple = cv2.resize(
        rng.standard_normal((shape[0] // 2, 34), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    tone = 0.25 + 0.35 * y + rng.uniform(0.04, 0.3) * swell + rng.uniform(0.02, 0.2) * ripple
    picture = 255 * ramp(palette, np.clip(tone, 0, 1))
    bank = rng.uniform(-0.4, 0.35)
    if bank > 0:
        trees = 255 * ramp(_tones(rng, _GREENERY), np.clip(0.4 + 0.3 * _noise(rng, shape, 6, 3), 0, 1))
        share = np.clip((bank - y) * 14 + 0.3 * swell, 0, 1)[..., None]
        picture = picture + (trees - picture) * share
    return _to_bytes(picture)


BACKDROPS: dict[str, tuple[Backdrop, ...]] = {
    "perched": (sky, bokeh, bokeh, foliage, foliage, meadow),
    "standing": (meadow, shore, shore),
    "swimming": (water,),
    "flying": (sky, sky, bokeh, water),
    "clinging": (trunk,),
}
"""What may lie behind a bird of each stance."""


def draw_perch(rng: np.random.Generator, picture: Picture, feet: Points) -> None:
    """Draw, in place, what a perched bird sits on: a branch, a twig, a rail or the top of a post."""
    h, w = picture.shape[:2]
    middle = feet.mean(0)
    thick = max(2.0, 0.5 * abs(feet[0, 0] - feet[1, 0])) * rng.uniform(0.5, 1.6)
    kind = rng.random()
    if kind < 0.12:
        wide = thick * rng.uniform(2.8, 5.2)
        top = middle + np.array([0, 0.1 * thick])
        _branch(rng, picture, top, np.array([top[0] + rng.normal(0, 6), h + 20]), wide)
        return
    along = np.array([w, w * rng.normal(0, 0.12 if kind < 0.3 else 0.32)])
    middle = middle + np.array([0, 0.42 * thick])
    bend = 0.0 if kind < 0.3 else rng.normal(0, 0.05)
    way = _branch(rng, picture, middle - along, middle + along, thick, bend)

    def somewhere() -> Points:
        x = rng.uniform(0, w)
        return np.array([x, np.interp(x, way[:, 0], way[:, 1])])

    if kind > 0.45:
        for _ in range(rng.integers(0, 4)):
            at = somewhere()
            _branch(rng, picture, at, at + rng.normal(0, 0.5, 2) * w, thick * 0.35)
        palette = _tones(rng, _GREENERY[:4])
        for colour in _shades(rng, palette, int(rng.integers(0, 12)), 0.7, 1.2):
            _leaf(rng, picture, somewhere(), rng.uniform(9, 30), colour)


def draw_trunk(rng: np.random.Generator, picture: Picture, feet: Points, left: bool) -> None:
    """Draw, in place, the trunk or thick branch that a climbing bird holds on to; it looks left or right."""
    h, w = picture.shape[:2]
    edge, out = feet[:, 0].mean(), -1 if left else 1
    wide = max(8.0, rng.uniform(0.12, 0.9) * w)
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    lean = np.float32(rng.normal(0, 0.12)) * (y - np.float32(feet[:, 1].mean()))
    rough = _noise(rng, (h, w), rng.uniform(5, 12), 3)
    across = (x - np.float32(edge + out * 0.46 * wide) - lean + 1.2 * rough) / np.float32(wide / 2)
    ridges = cv2.resize(rng.standard_normal((h // 12 + 2, w // 3), np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    tone = np.sqrt(np.clip(1.05 - across * across, 0.04, 1)) * (1 + 0.16 * ridges + 0.12 * rough)
    bark = _BARKS[rng.integers(len(_BARKS))] * rng.uniform(0.7, 1.25)
    inside = np.abs(across) < 1
    picture[inside] = _to_bytes(tone[inside][:, None] * bark)


def draw_cover(rng: np.random.Generator, shape: Shape, box: tuple[int, int, int, int], grassy: bool) -> Picture:
    """Leaves, twigs or blades in front of a part of ``box`` (left, top, right, bottom): (h, w, 4), alpha last."""
    layer = np.zeros((*shape, 4), np.uint8)
    left, top, right, bottom = box
    palette = _tones(rng, _GRASSES if grassy else _GREENERY[:4])
    layer[..., :3] = _to_bytes(255 * ramp(palette, 0.5))
    size = max(right - left, bottom - top)
    if grassy:
        for colour in _shades(rng, palette, int(rng.integers(3, 14)), 0.7, 1.2):
            x = rng.uniform(left - 0.1 * size, right + 0.1 * size)
            foot = np.array([x, bottom + 0.15 * size])
            tip = foot + np.array([rng.normal(0, 0.3), -1]) * size * rng.uniform(0.2, 0.8)
            _line(layer, [foot, tip], (*colour.tolist(), 255), int(rng.integers(1, 4)))
    else:
        turn = rng.uniform(0, 2 * np.pi)
        reach = np.array([(right - left) * np.cos(turn), (bottom - top) * np.sin(turn)]) * rng.uniform(0.3, 0.55)
        at = np.array([(left + right) / 2, (top + bottom) / 2]) + reach
        away = at + np.array([np.cos(turn), np.sin(turn)]) * size
        _line(layer, [at, away], (52, 44, 34, 255), int(rng.integers(1, 4)))
        for colour in _shades(rng, palette, int(rng.integers(2, 10)), 0.7, 1.2):
            spot = at + (away - at) * rng.uniform(0, 0.5) + rng.normal(0, 0.05 * size, 2)
            _leaf(rng, layer, spot, size * rng.uniform(0.08, 0.28), colour)
    return cv2.GaussianBlur(layer, (0, 0), 0.5 + rng.gamma(1.2, 0.7))


def _colours(*codes: str) -> NDArray[Any]:
    return np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in codes]) / 255


_GREENERY = (
    _colours("1c2a14", "3c5a26", "6f8c3c", "a3b060"),
    _colours("142418", "2c4c30", "55784a", "8aa878"),
    _colours("2a2c12", "5c6024", "94923c", "c8bc6a"),
    _colours("2c1c12", "6a4420", "a8722c", "d0a850"),
    _colours("2a2622", "5a5048", "8c8272", "bcb4a2"),
    _colours("1a2226", "3c4c52", "70848a", "aab8ba"),
    _colours("203018", "557038", "9cae78", "dfe2cc"),
)
_GRASSES = (
    _colours("24381a", "56762e", "93aa50"),
    _colours("4c4424", "8c7c44", "c8b878"),
    _colours("30421e", "6c7a38", "b2a866"),
)
_SOILS = (
    _colours("8a7454", "b89c74", "d8c29c"),
    _colours("4a3c30", "6e5c4a", "968470"),
    _colours("6c6a66", "94928c", "bcbab2"),
    _colours("c8d0d8", "e4e8ec", "f6f6f6"),
    _colours("5a4630", "86683e", "a8905c"),
)
_WATERS = (
    _colours("16303c", "3c6478", "88a8b4"),
    _colours("1c2c1c", "44583a", "8c9c78"),
    _colours("2a3034", "5c666c", "a4acb0"),
    _colours("163a5c", "3c74a4", "94c0dc"),
    _colours("4a3c2c", "86745c", "c4b498"),
)


def _tones(rng: np.random.Generator, palettes: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    """A palette, a little lighter or darker and warmer or cooler than written."""
    palette = palettes[rng.integers(len(palettes))]
    return np.asarray(np.clip(palette * rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.035, 3)), 0, 1))


def _shades(rng: np.random.Generator, palette: NDArray[Any], count: int, dark: float, light: float) -> NDArray[Any]:
    """Colours (count, 3) from a palette, 0 … 255, each between ``dark`` and ``light`` times as bright."""
    colours = 255 * ramp(palette, rng.uniform(0, 1, count)) * rng.uniform(dark, light, (count, 1))
    return np.asarray(np.clip(colours, 0, 255))


def _noise(rng: np.random.Generator, shape: Shape, cells: float, octaves: int) -> NDArray[Any]:
    """Smooth noise at half the resolution, which is all that a backdrop out of focus needs."""
    half = fractal(rng, (shape[0] // 2, shape[1] // 2), cells, octaves)
    return np.asarray(cv2.resize(half, shape[::-1], interpolation=cv2.INTER_LINEAR))


def _plain(rng: np.random.Generator, shape: Shape, ground: int, palette: NDArray[Any], cells: float) -> Picture:
    """Ground seen at a slant, its grain coarser towards the camera, and what is blurred behind it."""
    grain = _noise(rng, shape, 3, 2) * 0.12
    squeezed = cv2.resize(fractal(rng, (shape[0] // 2, shape[1] // 3), cells, 3), shape[::-1])
    near = ramp(palette, np.clip(0.5 + 0.2 * squeezed + grain, 0, 1)) * 255
    horizon = ground - rng.uniform(0.05, 1.1) * shape[0]
    if horizon < 0:
        return _to_bytes(near)
    behind = (water if rng.random() < 0.3 else bokeh)(rng, shape, ground).astype(np.float32)
    share = np.clip((np.arange(shape[0]) - horizon) / max(3.0, rng.uniform(0.01, 0.1) * shape[0]), 0, 1)
    return _to_bytes(behind + (near - behind) * share[:, None, None])


def _branch(
    rng: np.random.Generator, picture: Picture, start: Points, end: Points, thick: float, bend: float = 0.05
) -> Points:
    """A branch of round section with bark, lit from above; it bends on both sides of its middle. Gives its course."""
    along = end - start
    across = np.array([-along[1], along[0]])
    k = np.linspace(0, 1, 13)
    sway = bend * np.sin(2 * np.pi * (k - 0.5) * rng.uniform(0.5, 1.2)) + rng.normal(0, 0.003, 13) * (k != 0.5)
    way: Points = start + k[:, None] * along + sway[:, None] * across
    bark = _BARKS[rng.integers(len(_BARKS))] * rng.uniform(0.7, 1.25)
    wide = max(1, round(thick))
    normal = across / (np.linalg.norm(across) + 1e-9)
    # Lighter on the side that faces up.
    normal = normal if normal[1] < 0 or (normal[1] == 0 and normal[0] < 0) else -normal
    for share, offset, tone in ((1.0, 0.0, 0.55), (0.8, 0.09, 0.8), (0.5, 0.2, 1.0), (0.2, 0.28, 1.18)):
        _line(
            picture, way + normal * offset * thick, np.clip(bark * tone, 0, 255).tolist(), max(1, round(wide * share))
        )
        if wide < 4:
            return way
    for _ in range(int(np.clip(thick * 1.5, 4, 60))):
        at = int(rng.integers(0, 11))
        offset = normal * rng.uniform(-0.42, 0.42) * thick
        a, b = way[at] + offset, way[at + 1] + offset
        low, high = np.sort(rng.uniform(0, 1, 2))
        colour = np.clip(bark * rng.uniform(0.45, 1.3), 0, 255).tolist()
        _line(picture, [a + low * (b - a), a + high * (b - a)], colour, 1)
    return way


_BARKS = np.array([[110, 86, 62], [128, 116, 98], [84, 70, 60], [146, 136, 124], [96, 78, 50]], np.float64)


def _leaf(rng: np.random.Generator, picture: Picture, at: Points, long: float, colour: NDArray[Any]) -> None:
    """A pointed leaf with its midrib, hanging any way; on a picture of four channels it is opaque."""
    turn = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(turn), np.sin(turn)]) * long
    across = np.array([-along[1], along[0]]) * rng.uniform(0.25, 0.5)
    opaque = (255,) if picture.shape[2] == 4 else ()
    fixed = np.rint(np.clip(at + _LEAF @ np.stack([along, across]), -4000, 4000) * 16).astype(np.int32)
    cv2.fillPoly(picture, [fixed], (*colour.tolist(), *opaque), cv2.LINE_AA, 4)
    _line(picture, [at, at + 0.95 * along], (*(colour * 0.78).tolist(), *opaque), 1)


_LEAF = np.array([[0, 0], [0.25, 0.4], [0.55, 0.42], [0.85, 0.16], [1, 0], [0.85, -0.16], [0.55, -0.42], [0.25, -0.4]])


def _line(picture: Picture, course: Any, colour: Any, width: int) -> None:
    points = np.rint(np.clip(np.asarray(course), -4000, 4000) * 16).astype(np.int32)
    cv2.polylines(picture, [points], False, colour, width, cv2.LINE_AA, 4)


def _to_bytes(values: NDArray[Any]) -> Picture:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
