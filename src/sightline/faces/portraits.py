"""Photos of one person: a bust in some light before some background, taken by an ordinary camera."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.boxes import Box
from sightline.core.rendering import MIRROR, Array, Light, Surface, fractal, linear, mix, photograph, ramp, shade, step
from sightline.faces.expressions import Expression, express
from sightline.faces.features import Features, draw_skin, place_features
from sightline.faces.hair import CLOTHS, Layer, draw_glasses, draw_hair, draw_hair_behind, draw_hat
from sightline.faces.heads import SHORT, Form, Person, Pose, Seen, look_at, project, skull_of


@dataclass(frozen=True)
class Photo:
    """A drawn photo, (H, W, 3) uint8 RGB, and the box around the face in it, left, top, right, bottom in px."""

    image: NDArray[np.uint8]
    box_xyxy: Box


class Wear(NamedTuple):
    """What a person has on: glasses (the number of a frame, or None), whether they are dark, a hat."""

    frame: int | None
    dark: bool
    hat: bool


class Sitter(NamedTuple):
    """A person at one moment."""

    person: Person
    mood: Expression
    pose: Pose
    wear: Wear


def draw_portrait(
    rng: np.random.Generator,
    person: Person,
    emotion: str,
    strength: float,
    sides: tuple[int, int],
    close: float = 0.0,
    calm: float = 1.0,
) -> Photo:
    """Photograph ``person`` with the longer side of the picture in ``sides`` px; ``close`` 1 leaves little around.

    Framing, pose, light, background, what is worn and the camera are chosen by ``rng``.
    """
    longer = int(rng.integers(*sides))
    aspect = float(rng.choice([0.75, 0.8, 1.0, 1.0, 1.25]))
    height, width = (longer, round(longer * aspect)) if aspect <= 1 else (round(longer / aspect), longer)
    fill = rng.uniform(0.46, 0.68) + close * rng.uniform(0.08, 0.2)
    scale = fill * min(height, 1.2 * width) / 2.3
    at = (width * rng.normal(0.5, 0.035), height * rng.normal(0.49, 0.025) + 0.05 * scale)
    light = make_lamp(rng)
    picture = draw_backdrop(rng, (height, width), light)
    sitter = pose_sitter(rng, person, emotion, strength, calm)
    box = draw_sitter(rng, picture, sitter, light, at, scale)
    return Photo(take(rng, picture), box)


def pose_sitter(rng: np.random.Generator, person: Person, emotion: str, strength: float, calm: float = 1.0) -> Sitter:
    """Choose how a person looks into the camera; ``calm`` below 1 turns the head less."""
    yaw, pitch, roll = calm * np.clip(rng.normal(0, (0.17, 0.085, 0.08)), (-0.45, -0.2, -0.25), (0.45, 0.2, 0.25))
    worn = person.frame is not None and rng.random() < 0.8
    dark = not worn and rng.random() < 0.02
    wear = Wear(person.frame if worn else 1 if dark else None, dark, bool(rng.random() < 0.05))
    if person.beard in ("none", "stubble") and person.style in ("crop", "side", "receding") and rng.random() < 0.1:
        person = replace(person, beard="stubble" if person.beard == "none" else "none")
    return Sitter(person, express(rng, emotion, strength), Pose(float(yaw), float(pitch), float(roll)), wear)


def make_lamp(rng: np.random.Generator) -> Light:
    """Light from above and in front, as most pictures of people have: a window, a lamp, the sky, a flash."""
    towards = np.array([rng.normal(0, 0.55), -abs(rng.normal(0.45, 0.25)), rng.uniform(0.55, 1.2)])
    towards = (towards / np.linalg.norm(towards)).astype(np.float32)
    warmth = rng.normal(0, 0.5)
    colour = np.array([1 + 0.14 * warmth, 1.0, 1 - 0.18 * warmth])
    share = rng.uniform(0.42, 0.8)
    key, ambient = 1.15 * share * colour, 0.95 * (1 - share) * (2 - colour)
    nx, ny = np.meshgrid(*[np.linspace(-1, 1, MIRROR, dtype=np.float32)] * 2)
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0, 1))
    ray = np.stack([2 * nz * nx, 2 * nz * ny, 2 * nz**2 - 1], -1)
    lobe = np.clip((ray @ towards - 0.75) / 0.25, 0, 1) ** 2
    mirror = (np.clip(0.35 - 0.3 * ray[..., 1:2], 0.05, None) * ambient + 3.2 * lobe[..., None] * key).astype(
        np.float32
    )
    haze = cv2.GaussianBlur(mirror, (0, 0), MIRROR / 8)
    return Light(towards, key.astype(np.float32), ambient.astype(np.float32), mirror, haze)


def draw_sitter(
    rng: np.random.Generator, picture: Array, sitter: Sitter, light: Light, at: tuple[float, float], scale: float
) -> Box:
    """Draw a person into ``picture``, (H, W, 3) linear RGB, in place; the origin of the head is at ``at`` in px.

    Returns the box of the face from the middle of the forehead to the chin and from cheek to cheek, also where it is
    out of the picture or something is drawn over it later.
    """
    person, mood, pose, wear = sitter
    skull = skull_of(person, mood.jaw, mood.chin)
    _draw_body(rng, picture, sitter, skull, light, at, scale)
    rows, columns = _window(picture.shape, at, scale)
    view = picture[rows, columns]
    if 0 in view.shape:
        return _box_of(skull, pose, at, scale)
    x, y = _grid(rows, columns, at, scale, pose.roll)
    _draw_ears(view, sitter, skull, light, x, y, scale)
    seen = look_at(skull, x, y, pose, scale)
    features = place_features(person, mood)
    skin = draw_skin(rng, person, mood, features, seen, pose, scale)
    hair = draw_hair(rng, person, skull, pose, x, y, scale)
    height = seen.z + skin.relief
    lit = shade(Surface(_beyond(height, seen), seen.cover > 0, skin.colour, skin.gloss), light, scale)
    shadow = _shadow(height, light, scale)
    lit = lit * (1 - 0.42 * shadow * (1 - 0.25 * (1 - skin.open)))[..., None] * skin.open[..., None]
    # Hair darkens the skin that it lies on.
    under = cv2.GaussianBlur(hair.cover, (0, 0), 0.07 * scale)
    lit = lit * (1 - 0.3 * under)[..., None]
    _lay(view, lit, seen.cover)
    if wear.frame is not None and not wear.hat:
        view[:] = _glasses(rng, view, features, wear, pose, x, y, scale)
    _lay_layer(view, hair, light, scale)
    if wear.hat:
        if wear.frame is not None:
            view[:] = _glasses(rng, view, features, wear, pose, x, y, scale)
        _lay_layer(view, draw_hat(rng, skull, pose, x, y, scale), light, scale)
    return _box_of(skull, pose, at, scale)


def draw_backdrop(rng: np.random.Generator, shape: tuple[int, int], light: Light | None = None) -> Array:
    """What is behind people: a wall, a garden, a room or lights, mostly out of focus; (H, W, 3) linear RGB."""
    h, w = shape
    kind = rng.choice(5, p=[0.3, 0.22, 0.2, 0.16, 0.12])
    palette = ROOMS[rng.integers(len(ROOMS))] * np.float32(rng.uniform(0.7, 1.25))
    y = np.linspace(-0.5, 0.5, h, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, w, dtype=np.float32)[None]
    slope = rng.normal(0, 0.45, 2).astype(np.float32)
    tone = 0.5 + slope[0] * x + slope[1] * y
    if kind == 0:
        tone = tone + 0.05 * fractal(rng, shape, 4, 3)
    elif kind == 1:
        palette = GARDENS[rng.integers(len(GARDENS))]
        tone = tone + 0.24 * fractal(rng, shape, rng.uniform(4, 14), 4)
    elif kind == 2:
        # Shelves, frames, windows: upright and level edges.
        for _ in range(int(rng.integers(6, 26))):
            x0, y0 = rng.uniform(-0.6, 0.5), rng.uniform(-0.6, 0.5)
            wide, high = rng.uniform(0.03, 0.5) * np.array([1.0, 1.0])
            wide, high = (wide, high) if rng.random() < 0.5 else (0.3 * wide, 1.6 * high)
            inside = (x > x0) & (x < x0 + wide) & (y > y0) & (y < y0 + high)
            tone = np.where(inside, np.float32(rng.uniform(0, 1)), tone)
    elif kind == 3:
        for _ in range(int(rng.integers(8, 30))):
            apart = np.hypot(x - rng.uniform(-0.5, 0.5), (y - rng.uniform(-0.5, 0.5)) * h / w)
            tone = tone + np.float32(rng.uniform(-0.35, 0.5)) * step(-apart, -rng.uniform(0.03, 0.12), -0.02)
    else:
        tone = tone * 0.35 + np.float32(rng.choice([0.05, 0.65]))
    picture = ramp(palette, np.clip(np.broadcast_to(tone, shape), 0, 1))
    blur = max(0.6, float(rng.gamma(1.6, 0.014)) * max(shape))
    lamp = 1.0 if light is None else light.ambient + np.float32(0.55) * light.key
    return np.ascontiguousarray(cv2.GaussianBlur(picture, (0, 0), blur) * lamp, np.float32)


def take(rng: np.random.Generator, picture: Array) -> NDArray[np.uint8]:
    """Photograph the picture; one in ten comes out in black and white."""
    image = photograph(rng, picture)
    if rng.random() >= 0.1:
        return image
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def _window(shape: tuple[int, ...], at: tuple[float, float], scale: float) -> tuple[slice, slice]:
    reach = 1.35 * scale
    rows = slice(max(0, int(at[1] - 1.85 * scale)), min(shape[0], int(at[1] + 1.9 * scale)))
    columns = slice(max(0, int(at[0] - reach)), min(shape[1], int(at[0] + reach)))
    return slice(rows.start, max(rows.start, rows.stop)), slice(columns.start, max(columns.start, columns.stop))


def _grid(rows: slice, columns: slice, at: tuple[float, float], scale: float, roll: float) -> tuple[Array, Array]:
    """The pixels in the units of a head that leans by ``roll`` about its origin."""
    across = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - np.float32(at[0])) / np.float32(scale)
    down = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - np.float32(at[1])) / np.float32(scale)
    cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
    return across[None] * cos + down[:, None] * sin, down[:, None] * cos - across[None] * sin


def _draw_body(
    rng: np.random.Generator, picture: Array, sitter: Sitter, skull: Form, light: Light, at: tuple[float, float],
    scale: float,
) -> None:  # fmt: skip
    person, _, pose, _ = sitter
    whole = _window(picture.shape, at, scale)
    if (view := picture[whole]).size:
        behind = draw_hair_behind(rng, person, skull, pose, *_grid(*whole, at, scale, pose.roll), scale)
        if behind is not None:
            _lay_layer(view, behind, light, scale)
    first = max(0, int(at[1] + 0.4 * scale))
    reach = 2.3 * scale
    rows = slice(first, picture.shape[0])
    columns = slice(max(0, int(at[0] - reach)), min(picture.shape[1], int(at[0] + reach)))
    view = picture[rows, columns]
    if not view.size:
        return
    x, y = _grid(rows, columns, at, scale, 0.0)
    # Under a head that leans, the neck stays where it is.
    x = x + np.float32(0.25 * np.sin(pose.roll))
    sturdy = person.style in SHORT
    girth = (0.47 if sturdy else 0.385) * (1 + 0.08 * person.traits.jaw)
    neck = girth * (1 + 0.35 * np.clip(y - 1.15, 0, 1) ** 1.5)
    z = np.sqrt(np.clip(1 - (x / neck) ** 2, 0.002, None)) * girth
    cover = np.clip((neck - np.abs(x)) * scale + 0.5, 0, 1)
    colour = np.ones((*x.shape, 3), np.float32) * person.skin * np.float32(0.94)
    # The chin's shadow.
    dim = 1 - 0.55 * (1 - step(y, skull.bottom - 0.02, skull.bottom + 0.38))
    lit = shade(Surface(z.astype(np.float32), cover > 0, colour, 0.2), light, scale) * dim[..., None]
    _lay(view, lit, cover)
    wide = 1.75 if sturdy else 1.5
    slope = 1.42 + 0.5 * (np.abs(x) / wide) ** 2.2 - 0.12 * np.exp(-((x / 0.55) ** 2))
    collar = 1.42 + rng.uniform(0.0, 0.35) * np.clip(1 - np.abs(x) / rng.uniform(0.45, 0.6), 0, 1) ** rng.uniform(
        0.6, 1.2
    )
    edge = np.minimum(y - np.maximum(slope, collar), wide - np.abs(x))
    folds = fractal(rng, x.shape, 5, 2)
    z = 0.7 * np.sqrt(np.clip(1.02 - (x / wide) ** 2, 0.02, None)) + 0.4 * (y - 1.3) + 0.03 * folds
    cloth = np.ones((*x.shape, 3), np.float32) * CLOTHS[rng.integers(len(CLOTHS))]
    if rng.random() < 0.35:
        second = CLOTHS[rng.integers(len(CLOTHS))]
        pitch = rng.uniform(8, 24)
        bands = np.sin((y + 0.1 * x * x) * pitch) if rng.random() < 0.5 else np.sin(x * pitch) * np.sin(y * pitch)
        cloth = mix(cloth, np.broadcast_to(second, cloth.shape), step(bands, -0.1, 0.1))
    lit = shade(Surface(z.astype(np.float32), edge > 0, cloth.astype(np.float32), 0.08), light, scale)
    _lay(view, lit, np.clip(edge * scale + 0.5, 0, 1))


def _draw_ears(view: Array, sitter: Sitter, skull: Form, light: Light, x: Array, y: Array, scale: float) -> None:
    person, _, pose, _ = sitter
    half = float(np.interp(0.0, np.linspace(skull.top, skull.bottom, len(skull.wide)), skull.wide))
    size = 1 + 0.2 * person.traits.ears
    for side in (-1.0, 1.0):
        cx, cy = project((side * (half + 0.02), 0.04, -0.02), pose)
        turned = 0.09 + 0.05 * abs(float(np.sin(pose.yaw)))
        u = (x - cx - side * 0.02) / np.float32(turned * size)
        v = (y - cy + side * 0.12 * (x - cx)) / np.float32(0.215 * size)
        radius = np.hypot(u, v - 0.12 * u * side)
        cover = np.clip((1 - radius) * 0.09 * scale + 0.5, 0, 1)
        hollow = np.exp(-(((radius - 0.45) / 0.22) ** 2))
        lamp = light.ambient + light.key * np.float32(0.35 + 0.45 * max(0.0, side * float(light.towards[0]) + 0.4))
        tint = person.skin * np.array([1.02, 0.86, 0.84], np.float32)
        _lay(view, (tint * lamp) * (0.95 - 0.4 * hollow)[..., None], cover)


def _glasses(
    rng: np.random.Generator, view: Array, features: Features, wear: Wear, pose: Pose, x: Array, y: Array, scale: float
) -> Array:
    frames = linear("141212", "3b2a20", "8d8a86", "5b1f1f")
    colour = frames[rng.integers(len(frames))] * np.float32(0.6)
    return draw_glasses(rng, colour, view, features, pose, wear.frame or 0, wear.dark, x, y, scale)


def _beyond(height: Array, seen: Seen) -> Array:
    """A height field that goes on smoothly where the head ends."""
    return np.where(seen.cover > 0, height, height - 0.3)


def _shadow(height: Array, light: Light, scale: float) -> Array:
    """What the nose, the brows and the lips keep from the light, 0 … 1."""
    run = float(np.hypot(light.towards[0], light.towards[1])) + 1e-6
    ahead, slope = light.towards[:2] / run, float(light.towards[2]) / run
    blocked = np.zeros_like(height)
    for distance in (0.04, 0.08, 0.13, 0.19, 0.26, 0.34):
        shift = np.array([[1, 0, -distance * scale * ahead[0]], [0, 1, -distance * scale * ahead[1]]])
        there = cv2.warpAffine(height, shift, height.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        np.maximum(blocked, (there - height - distance * slope) / (0.03 + 0.2 * distance), out=blocked)
    return cv2.GaussianBlur(np.minimum(blocked, 1), (0, 0), 0.02 * scale + 0.5)


def _lay_layer(view: Array, layer: Layer, light: Light, scale: float) -> None:
    lit = shade(Surface(layer.height, layer.cover > 0, layer.colour, layer.gloss), light, scale)
    _lay(view, lit, layer.cover)


def _lay(view: Array, lit: Array, cover: Array) -> None:
    view += (lit - view) * cover[..., None]


def _box_of(skull: Form, pose: Pose, at: tuple[float, float], scale: float) -> Box:
    """Around the front of the head, from the hairline to the chin and from cheek to cheek."""
    levels = np.linspace(skull.top, skull.bottom, len(skull.wide))
    face = levels > FOREHEAD
    turn = np.linspace(-CHEEK, CHEEK, 25)
    y = levels[face, None]
    side = skull.wide[face, None] * np.sin(turn)
    fore = skull.deep[face, None] * np.cos(turn) + skull.middle[face, None]
    x, y = project((side, y, fore), pose)
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    x, y = x * cos - y * sin, y * cos + x * sin
    left, top, right, bottom = x.min(), y.min(), x.max(), y.max()
    return (
        float(at[0] + scale * left),
        float(at[1] + scale * top),
        float(at[0] + scale * right),
        float(at[1] + scale * bottom),
    )


FOREHEAD = -0.83
"""Where MTCNN's boxes begin."""
CHEEK = 1.19
"""How far round the head the cheeks reach, in radians."""
ROOMS = (
    linear("3a3632", "8c857a", "d8d2c6"),
    linear("1f262e", "4c5b68", "9fb0bb"),
    linear("4a3424", "8f6d4c", "c9ab84"),
    linear("2b2b2e", "67676c", "b9b9bd"),
    linear("5a2f2a", "a0695c", "d9b3a4"),
    linear("27352d", "5f7a68", "b5c8b6"),
    linear("cfd5da", "e6e8ea", "f4f4f2"),
    linear("101216", "23272e", "4b5058"),
)
GARDENS = (
    linear("1c2a14", "3c5a26", "6f8c3c", "cdd6c0"),
    linear("142418", "2c4c30", "55784a", "b8cad6"),
    linear("2c1c12", "6a4420", "a8722c", "d9c79a"),
    linear("30456b", "5f7fae", "9db7d6", "e4ebf2"),
)
