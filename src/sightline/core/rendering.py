"""A small renderer: height fields under one light, seen straight from above, and the camera that takes them.

Everything in a drawn photo is a :class:`Surface` on a square or oblong canvas. Its own units make the canvas 2 wide
with the origin in the middle, x to the right, y down, z towards the camera; colours are linear RGB (not gamma coded).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

# float32 unless a docstring says otherwise; the stubs of OpenCV do not tell.
Array = NDArray[Any]
Mask = NDArray[np.bool_]
MIRROR = 96
TONES = 65536


@dataclass
class Surface:
    """What is seen at each point of a canvas of h × w px.

    ``height`` (h, w) float32 above the table, ``inside`` (h, w) bool, ``colour`` (h, w, 3) float32 linear RGB: the
    diffuse albedo, or the reflectance of a metal. ``gloss``, ``metal`` and ``clear`` are shares in 0 … 1, one number
    or (h, w): how sharp and strong reflections are, how much of the colour is metallic, how much light from beneath
    comes through.
    """

    height: Array
    inside: Mask
    colour: Array
    gloss: Array | float = 0.0
    metal: Array | float = 0.0
    clear: Array | float = 0.0


@dataclass(frozen=True)
class Light:
    """One key light and what surrounds the scene.

    ``towards`` (3,) is the unit vector to the key light, ``key`` and ``ambient`` (3,) linear RGB. ``mirror``
    (MIRROR, MIRROR, 3) is what a mirror reflects to the camera, by its normal's x and y (Sloan et al., "The Lit
    Sphere", Graphics Interface 2001), and ``haze`` the same for a rough surface.
    """

    towards: Array
    key: Array
    ambient: Array
    mirror: Array
    haze: Array


class Solid(NamedTuple):
    """A convex solid ``normals @ (p - centre) <= offsets``; ``reach`` bounds its distance from the centre."""

    centre: Array
    normals: Array
    offsets: Array
    reach: float


class Relief(NamedTuple):
    """The union of solids from above, by pixel: ``height`` (0 where ``inside`` is false), the index of the solid, of
    its face in front and of its face behind, each (h, w).
    """

    height: Array
    inside: Mask
    solid: NDArray[np.int32]
    front: NDArray[np.int32]
    back: NDArray[np.int32]


def shade(surface: Surface, light: Light, scale: float, shadow: Array | None = None) -> Array:
    """Light that a surface sends to the camera, (h, w, 3) float32 linear RGB.

    Lambert's law and the sky for the diffuse part, the lit sphere for reflections, Schlick's approximation of the
    Fresnel term, and hollows a little darker than ridges. ``scale`` is px a unit; ``shadow`` (h, w) is the share of
    the key light that is blocked.
    """
    lamp_share = 1 - shadow if shadow is not None else np.float32(1)
    normal = normals_of(surface.height, scale)
    low = cv2.blur(surface.height, (round(scale / 8) | 1,) * 2)
    cavity = np.clip(1 + 3.5 * (surface.height - low), 0.45, 1.1)
    lambert = np.clip(normal @ light.towards, 0, 1) * lamp_share
    sky = (0.4 + 0.6 * normal[..., 2]) * cavity
    at_x, at_y = ((normal[..., axis] * 0.5 + 0.5) * np.float32(MIRROR - 1) for axis in (0, 1))
    sharp = cv2.remap(light.mirror, at_x, at_y, cv2.INTER_LINEAR)
    rough = cv2.remap(light.haze, at_x, at_y, cv2.INTER_LINEAR)
    gloss, metal, clear = (np.asarray(v, np.float32) for v in (surface.gloss, surface.metal, surface.clear))
    reflection: Array = sharp
    reflection -= rough
    reflection *= _per_pixel(gloss)
    reflection += rough
    reflection *= as_rgb(cavity * (0.5 + 0.5 * lamp_share))
    grazing = (1 - normal[..., 2]) ** 2
    fresnel = gloss * (0.04 + 0.08 * gloss**2 + 0.9 * grazing * grazing * (1 - normal[..., 2]))
    body = (1 - metal) * (1 - clear)
    lit = as_rgb(body * lambert) * as_row(light.key, surface.height)
    lit += as_rgb(body * sky) * as_row(light.ambient, surface.height)
    lit *= surface.colour
    mirrored = as_rgb((1 - metal) * fresnel)
    if metal.any():
        mirrored += _per_pixel(metal) * surface.colour
    mirrored *= reflection
    lit += mirrored
    return lit


def shadow_of(height: Array, light: Light, scale: float, steps: int = 12) -> Array:
    """Share of the key light that each point of a height field does not get, (h, w) float32 in 0 … 1.

    Marches towards the light and asks whether the terrain there stands above the ray; the penumbra widens with the
    distance. ``scale`` is px a unit.
    """
    run = float(np.hypot(light.towards[0], light.towards[1]))
    direction, slope = (light.towards[:2] / run).tolist(), float(light.towards[2]) / run
    blocked = np.zeros_like(height)
    for distance in np.linspace(0.02, float(height.max()) / slope, steps).tolist():
        shift = np.array([[1, 0, -distance * scale * direction[0]], [0, 1, -distance * scale * direction[1]]])
        there: Array = cv2.warpAffine(height, shift, height.shape[::-1])
        there -= height
        there -= distance * slope
        there /= 0.03 + 0.12 * distance
        np.maximum(blocked, there, out=blocked)
    return cv2.GaussianBlur(np.minimum(blocked, 1), (0, 0), 0.012 * scale + 0.5)


def photograph(rng: np.random.Generator, radiance: Array) -> NDArray[np.uint8]:
    """What a camera makes of the light: focus, shake, vignetting, exposure, white balance, noise, tone curve, sRGB.

    ``radiance`` is (H, W, 3) float32 linear RGB, in which 1 is white; the photo is (H, W, 3) uint8 RGB. Nothing in it
    moves: a mask of the radiance is a mask of the photo.
    """
    height, width = radiance.shape[:2]
    image: Array = cv2.GaussianBlur(radiance, (0, 0), 0.35 + rng.gamma(1.2, 0.22))
    if rng.random() < 0.1:
        image = cv2.filter2D(image, -1, _shake(rng, int(rng.integers(3, 10))))
    across, down = (np.arange(side, dtype=np.float32) / side for side in (width, height))
    cx, cy = rng.uniform(0.4, 0.6, 2)
    image *= as_rgb(1 - rng.uniform(0, 0.7) * ((across - cx) ** 2 + (down[:, None] - cy) ** 2))
    # The meter raises dark scenes and lowers bright ones, but not all the way.
    metered = (0.2 / max(float(np.median(image[::4, ::4])), 0.01)) ** 0.3
    image *= float(metered * 2 ** rng.normal(-0.05, 0.22))
    image *= as_row((1 + rng.normal(0, 0.035, 3)).astype(np.float32), image)
    noise = rng.standard_normal(image.shape, np.float32)
    # Read noise, and shot noise that grows with the light.
    deviation = np.clip(image, 0, 1)
    deviation *= 0.35
    deviation += 0.02
    deviation *= rng.uniform(0.0005, 0.03) ** 2
    noise *= np.sqrt(deviation, out=deviation)
    image += noise
    image *= 16384
    coded = _tone_curve(np.clip(image, 0, 65535, out=image).astype(np.uint16), rng.uniform(-0.05, 0.2))
    grey = as_rgb(coded @ np.array([0.299, 0.587, 0.114], np.float32))
    coded -= grey
    coded *= rng.uniform(0.85, 1.15)
    coded += grey
    # Rounds to the nearest, and what is above 255 to 255.
    return np.asarray(cv2.convertScaleAbs(np.maximum(coded, 0, out=coded), alpha=255))


def make_light(rng: np.random.Generator) -> Light:
    """A random lamp, window or sun with its colour, and surroundings that glossy things reflect."""
    turn, rise = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(32, 68))
    towards = _unit(np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)]))
    warmth = rng.uniform(-1, 1)
    colour = np.array([1 + 0.16 * warmth, 1.0, 1 - 0.2 * warmth])
    share = rng.uniform(0.45, 0.8)
    key, ambient = 1.25 * share * colour, 0.95 * (1 - share) * (2 - colour)

    nx, ny = np.meshgrid(*[np.linspace(-1, 1, MIRROR, dtype=np.float32)] * 2)
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0, 1))
    ray = np.stack([2 * nz * nx, 2 * nz * ny, 2 * nz**2 - 1], -1)
    room = 0.3 + 0.35 * ray[..., 2] + 0.25 * fractal(rng, (MIRROR, MIRROR), 3, 2)
    mirror = np.clip(room, 0.04, None)[..., None] * (ambient + 0.4 * key)
    lamps = [(towards, 4.5, rng.uniform(0.9, 0.97))]
    for _ in range(rng.integers(1, 4)):
        window = _unit(np.append(rng.normal(size=2), rng.uniform(0.0, 0.9)))
        lamps.append((window, rng.uniform(0.6, 1.8), rng.uniform(0.6, 0.9)))
    for where, strength, edge in lamps:
        lobe = np.clip((ray @ where - edge) / (1 - edge) * 2.5, 0, 1)
        mirror += strength * lobe[..., None] * key
    mirror = mirror.astype(np.float32)
    haze = cv2.GaussianBlur(mirror, (0, 0), MIRROR / 9)
    return Light(towards, key.astype(np.float32), ambient.astype(np.float32), mirror, haze)


def grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """x and y of every pixel centre, each (h, w) float32; x runs from -1 to 1."""
    h, w = shape
    xs = (np.arange(w, dtype=np.float32) + 0.5 - w / 2) / (w / 2)
    ys = (np.arange(h, dtype=np.float32) + 0.5 - h / 2) / (w / 2)
    x, y = np.meshgrid(xs, ys)
    return x, y


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cells: float, octaves: int = 4, gain: float = 0.5
) -> Array:
    """Smooth random field, (h, w) float32 with mean about 0 and deviation about 1.2.

    Sum of ``octaves`` lattices of normal numbers, the coarsest with ``cells`` cells across the width, each next one
    ``gain`` times as strong and 1.87 times as fine, not twice: the lattices would show (Perlin, "An image synthesizer",
    SIGGRAPH 1985).
    """
    h, w = shape
    total, power = np.zeros(shape, np.float32), 0.0
    for octave in range(octaves):
        across = min(cells * 1.87**octave, w / 2)
        lattice = rng.standard_normal((max(2, round(across * h / w)) + 1, max(2, round(across)) + 1), np.float32)
        layer: Array = cv2.resize(lattice, (w, h), interpolation=cv2.INTER_CUBIC)
        layer *= gain**octave
        total += layer
        power += gain ** (2 * octave)
    # The factor makes up for the deviation lost in interpolating between lattice points.
    total *= np.float32(1.4 / np.sqrt(power))
    return total


def cells_of(rng: np.random.Generator, shape: tuple[int, int], count: int) -> tuple[NDArray[np.int32], Array]:
    """Voronoi cells of random points: the cell's index from 0 and the distance in px to its point, each (h, w)."""
    h, w = shape
    spots = np.ones(shape, np.uint8)
    spots[rng.integers(0, h, count), rng.integers(0, w, count)] = 0
    distance, label = cv2.distanceTransformWithLabels(
        spots, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    return label.astype(np.int32) - 1, np.asarray(distance)


def curve(rng: np.random.Generator, knots: int, at: Array) -> Array:
    """A random piecewise linear function of ``at`` with values in 0 … 1, one knot a unit, repeated every ``knots``."""
    values = rng.uniform(0, 1, knots)
    profile = np.interp(at, np.arange(knots + 1), np.append(values, values[0]), period=knots)
    return np.asarray(profile, np.float32)


def stack_solids(shape: tuple[int, int], solids: Sequence[Solid]) -> Relief:
    """Top surface of the union of convex solids (a z-buffer); only what rises above the table at height 0 is seen."""
    x, y = grid(shape)
    height, inside = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    solid, front, back = (np.zeros(shape, np.int32) for _ in range(3))
    scale = shape[1] / 2
    for index, (centre, normals, offsets, reach) in enumerate(solids):
        middle = np.array([shape[1], shape[0]]) / 2 + centre[:2] * scale
        x0, y0 = np.clip(np.floor(middle - reach * scale), 0, shape[::-1]).astype(int)
        x1, y1 = np.clip(np.ceil(middle + reach * scale), 0, shape[::-1]).astype(int)
        if x0 >= x1 or y0 >= y1:
            continue
        view = np.s_[y0:y1, x0:x1]
        px, py = x[view] - centre[0], y[view] - centre[1]
        z = (offsets[:, None, None] - normals[:, 0, None, None] * px - normals[:, 1, None, None] * py) / (
            normals[:, 2, None, None]
        )
        upper, lower = np.flatnonzero(normals[:, 2] > 0), np.flatnonzero(normals[:, 2] < 0)
        top, bottom = z[upper].min(0), z[lower].max(0)
        shown = (top > bottom) & (top + centre[2] > height[view])
        height[view][shown] = top[shown] + centre[2]
        inside[view][shown] = True
        solid[view][shown] = index
        front[view][shown] = upper[z[upper].argmin(0)][shown]
        back[view][shown] = lower[z[lower].argmax(0)][shown]
    # Edges of real crystals are a little worn; here that also keeps glints on them from breaking into dots.
    return Relief(cv2.GaussianBlur(height, (0, 0), 1.3), inside, solid, front, back)


def normals_of(height: Array, scale: float) -> Array:
    """Unit normals of a height field, (h, w, 3) float32; ``scale`` is px a unit."""
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=scale / 8)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=scale / 8)
    length = 1 / np.sqrt(1 + dx * dx + dy * dy)
    return np.asarray(cv2.merge((-dx * length, -dy * length, length)))


def linear(*colours: str) -> Array:
    """Colours written ``"rrggbb"`` (sRGB) as linear RGB: (3,) for one, (n, 3) for several."""
    srgb = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colours]) / 255
    values = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return values[0] if len(colours) == 1 else values


def ramp(colours: Array, at: Array | float) -> Array:
    """Colours along a palette (n, 3): ``at`` 0 gives the first, 1 the last; shape of ``at`` + (3,)."""
    stops, at = np.linspace(0, 1, len(colours)), np.asarray(at, np.float64)
    picture = np.empty((*at.shape, 3), np.float32)
    for channel in range(3):
        picture[..., channel] = np.interp(at, stops, colours[:, channel])
    return picture


def mix(a: Array, b: Array, share: Array) -> Array:
    """Colours ``a`` where ``share`` (h, w) is 0 and ``b`` where it is 1."""
    mixed = (b - a) * share[..., None] if share.ndim < 2 else as_row(b - a, share) * as_rgb(share)
    mixed += as_row(a, share)
    return mixed


def as_rgb(layer: Array) -> Array:
    """A layer (h, w) three times over, (h, w, 3): NumPy multiplies by that several times faster than by (h, w, 1)."""
    return np.asarray(cv2.merge((layer, layer, layer)))


def as_row(colour: Array, picture: Array) -> Array:
    """A colour (3,) as (w, 3) for a picture (h, w, …), which is faster; a picture as it is."""
    return np.tile(colour, (picture.shape[1], 1)) if colour.ndim == 1 else colour


def step(at: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between (Hermite)."""
    t = np.clip((at - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def overlap(
    picture: tuple[int, ...], patch: tuple[int, ...], left: int, top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch at (left, top) lies in the picture, and which part of it that is; both given by their shapes."""
    y0, y1 = max(top, 0), min(top + patch[0], picture[0])
    x0, x1 = max(left, 0), min(left + patch[1], picture[1])
    return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]


def _tone_curve(light: NDArray[np.uint16], contrast: float) -> Array:
    """Coded values of light 0 … 4 (white is 1) in 65536 steps: highlights roll off, then sRGB, then contrast."""
    if light.size < TONES:
        return _contrast(_srgb_curve().take(light), contrast)
    return np.asarray(_contrast(_srgb_curve(), contrast).take(light))


def _contrast(coded: Array, contrast: float) -> Array:
    return np.asarray(coded + contrast * (coded * coded * (3 - 2 * coded) - coded), np.float32)


@cache
def _srgb_curve() -> Array:
    light = np.arange(TONES, dtype=np.float32) / 16384
    light = np.where(light < 0.7, light, 0.7 + 0.3 * (1 - np.exp(-(light - 0.7) / 0.3)))
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def _shake(rng: np.random.Generator, length: int) -> Array:
    """A line-shaped blur kernel, centred so that boxes stay where they are."""
    size = length | 1
    kernel = np.zeros((size * 4, size * 4), np.float32)
    turn = rng.uniform(0, np.pi)
    middle, reach = size * 2 - 0.5, (length - 1) * 2
    ends = [(round(middle + s * reach * np.cos(turn)), round(middle + s * reach * np.sin(turn))) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 3)
    kernel = kernel.reshape(size, 4, size, 4).mean((1, 3))
    return np.asarray(kernel / kernel.sum())


def _per_pixel(value: Array) -> Array:
    """A number as it is, a layer (h, w) as (h, w, 3)."""
    return as_rgb(value) if value.ndim else value


def _unit(vector: NDArray[np.float64]) -> Array:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
