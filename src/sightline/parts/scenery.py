"""What is seen besides the parts: a dark workshop that pans by, its light, and things that move in it but are no parts.

Drawn for frames of 640 px and shrunk or enlarged to the wanted size; colours are linear RGB (1 is white) until
:meth:`Scenery.develop` codes them. Times are seconds of the video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.core.rendering import Array, Light, as_rgb, fractal, linear, make_light
from sightline.parts.hardware import FRAME, Sprite, window

PANS = (14.0, 36.0)
"""The background moves by so many px/s, about a px a frame."""
BAY = (360, 640)
"""Widths of a stretch of wall between two columns in px."""
NEARER, FRONT = 1.35, 1.6
"""What stands between wall and parts, and in front of the parts, pans so much faster than the wall."""
CRANE = (150.0, 220.0)
"""A crane carries its bars past the camera by so many px/s."""
FIELD = 24
"""The light on the scene is given at so many by so many places."""
NOISE_TILES = 64
"""Noise of the sensor is a picture that lies so many px aside or less in each frame."""


class Piece(NamedTuple):
    """Something flat in the scene: its light times ``cover`` (h, w), at (``x``, ``y``) when the video starts.

    The camera's move shifts it ``speed`` times as far as the wall; by itself it moves by ``drift`` px/s to the right.
    """

    light: Array
    cover: Array
    x: float
    y: float
    speed: float
    drift: float = 0.0


class Swing(NamedTuple):
    """A chain that hangs from above the frame and swings by ``reach`` rad in ``period`` s."""

    chain: Piece
    reach: float
    period: float
    phase: float


class Sparks(NamedTuple):
    """Grinding sparks from (``x``, ``y``) at ``time``; ``velocities`` (n, 2) px/s and ``lives`` (n,) in s."""

    time: float
    x: float
    y: float
    velocities: Array
    lives: Array


class Swarf(NamedTuple):
    """A curl of metal that falls like a part, but is none."""

    enters: float
    x: float
    down: float
    radius: float
    arc: float
    spin: float


class Hidden(NamedTuple):
    """What a bar in front is to hide: the middle of a part at (``x``, ``y``) px at ``time``."""

    time: float
    x: float
    y: float


@dataclass(frozen=True)
class Scenery:
    """One workshop and one camera; ``size`` is the side of its frames in px. Made by :func:`make_scenery`."""

    size: int
    seed: tuple[int, ...]
    light: Light
    wall: Array
    pan_speed: float
    pan_start: float
    middle: tuple[Piece, ...]
    bars: tuple[Piece, ...]
    swing: Swing
    sparks: tuple[Sparks, ...]
    swarf: tuple[Swarf, ...]
    dust: Array
    waves: Array
    noise: Array

    def behind(self, time: float) -> Array:
        """The scene without parts, (size, size, 3) float32 linear RGB."""
        scale = self.size / FRAME
        x, y = self._pan(time)
        shift = np.array([[1, 0, -x * scale], [0, 1, (y - MARGIN) * scale]])
        picture: Array = cv2.warpAffine(self.wall, shift, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE)
        for piece in self.middle:
            put(picture, self._placed(piece, time))
        put(picture, self._chain(time))
        self._add_swarf(picture, time)
        return picture

    def in_front(self, time: float) -> list[Sprite]:
        """What hangs between the camera and the parts; only what is near the frame."""
        sprites = (self._placed(piece, time) for piece in self.bars)
        return [sprite for sprite in sprites if -sprite.cover.shape[1] < sprite.left < self.size]

    def illuminate(self, picture: Array, time: float) -> None:
        """Lay the light of that time over everything, in place; it varies over the frame and with the time."""
        turns, where, strength = self.waves[:, 0:1], self.waves[:, 1:3], self.waves[:, 3:6]
        beat = 0.5 + 0.5 * np.sin(turns[:, 0] * time + self.waves[:, 6])
        ys, xs = np.mgrid[0:FIELD, 0:FIELD].astype(np.float32) / (FIELD - 1)
        field = np.full((FIELD, FIELD, 3), 0.35, np.float32)
        for share, (cx, cy), colour in zip(beat, where, strength, strict=True):
            # A lamp or a window that brightens, dims and wanders.
            spot = np.exp(-((xs - cx - 0.25 * share) ** 2 + (ys - cy) ** 2) / 0.25)
            field += (0.25 + 0.75 * share) * spot[..., None] * colour
        field *= (1.1 - 0.9 * ((xs - 0.5) ** 2 + (ys - 0.5) ** 2))[..., None]
        cv2.multiply(picture, cv2.resize(field, (self.size, self.size)), dst=picture)

    def add_glints(self, picture: Array, time: float) -> None:
        """What shines by itself in front of everything, in place: sparks, dust in the light, ghosts of the lens."""
        self._add_sparks(picture, time)
        scale = self.size / FRAME
        for x, y, right, down, radius, strength in self.dust:
            at = (x + right * time) % (FRAME + 80) - 40, (y + down * time) % (FRAME + 80) - 40
            _add_blob(picture, at[0] * scale, at[1] * scale, radius * scale, strength)
        ghost = FRAME - (self._pan(time)[0] * 0.6 + 120) % (FRAME + 200) + 100
        _add_ghost(picture, ghost * scale, (150 + 0.4 * ghost) * scale, 24 * scale)

    def develop(self, picture: Array, number: int) -> NDArray[np.uint8]:
        """Frame ``number``, (size, size, 3) uint8 RGB: coded with a gamma of 2, and with the noise of the sensor."""
        rng = np.random.default_rng((*self.seed, 9, number))
        x, y = rng.integers(0, NOISE_TILES, 2).tolist()
        noise = self.noise[y : y + self.size, x : x + self.size]
        coded = cv2.sqrt(picture)
        return np.asarray(cv2.convertScaleAbs(cv2.scaleAdd(coded, 255.0, noise)))

    def _pan(self, time: float) -> tuple[float, float]:
        """Where the camera looks, px to the right of the wall's left edge and down."""
        return self.pan_start + self.pan_speed * time, 4 * float(np.sin(0.7 * time))

    def _placed(self, piece: Piece, time: float) -> Sprite:
        scale = self.size / FRAME
        x, y = self._pan(time)
        return _moved(
            piece.light,
            piece.cover,
            (piece.x + piece.drift * time - piece.speed * (x - self.pan_start)) * scale,
            (piece.y + piece.speed * y) * scale,
        )

    def _chain(self, time: float) -> Sprite:
        chain, reach, period, phase = self.swing
        hung = self._placed(chain, time)
        angle = reach * np.sin(2 * np.pi * time / period + phase)
        h, w = hung.cover.shape
        room = int(np.ceil(h * abs(np.sin(reach)))) + 2
        # Turned around its upper end.
        turn = cv2.getRotationMatrix2D((w / 2, 0), float(np.rad2deg(angle)), 1.0)
        turn[0, 2] += room
        size = (w + 2 * room, h)
        light, cover = (cv2.warpAffine(layer, turn, size) for layer in (hung.light, hung.cover))
        return Sprite(light, cover, hung.left - room, hung.top)

    def _add_swarf(self, picture: Array, time: float) -> None:
        scale = self.size / FRAME
        for enters, x, down, radius, arc, spin in self.swarf:
            age = time - enters
            at = np.array([x + 15 * np.sin(age * 3), age * (down + 120 * age)])
            if -30 < at[1] < FRAME + 30:
                patch = np.zeros((round(28 * scale),) * 2, np.uint8)
                centre, radii = patch.shape[0] * 8, (round(radius * scale * 16), round(radius * scale * 9))
                angle = np.rad2deg(spin * age)
                cv2.ellipse(patch, (centre, centre), radii, angle, 0, arc, 255, 2, cv2.LINE_AA, 4)
                cover = patch.astype(np.float32) / 255
                light = cover[..., None] * (SWARF * (0.6 + 0.4 * np.sin(3 * spin * age)))
                left, top = np.rint(at * scale - patch.shape[0] / 2).astype(int).tolist()
                put(picture, Sprite(light.astype(np.float32), cover, left, top))

    def _add_sparks(self, picture: Array, time: float) -> None:
        scale = self.size / FRAME
        for start, x, y, velocities, lives in self.sparks:
            age = time - start
            if not 0 <= age < lives.max():
                continue
            layer = np.zeros(picture.shape[:2], np.uint8)
            for (right, down), life in zip(velocities, lives, strict=True):
                if age < life:
                    ends = [
                        np.array([x + right * a, y + a * (down + 350 * a)]) * (scale * 16)
                        for a in (max(age - 0.02, 0), age)
                    ]
                    level = int(255 * (1 - age / life))
                    begin, end = (tuple(np.rint(end).astype(int).tolist()) for end in ends)
                    cv2.line(layer, begin, end, level, 1, cv2.LINE_AA, 4)
            rows = np.flatnonzero(layer.any(1))
            if len(rows):
                view = np.s_[rows[0] : rows[-1] + 1]
                picture[view] += (layer[view] / np.float32(255))[..., None] * SPARK


def make_scenery(seed: tuple[int, ...], size: int, seconds: float, hidden: Sequence[Hidden]) -> Scenery:
    """Draw the workshop of a video of so many ``seconds``; for each of ``hidden`` a bar hangs where it hides that."""
    rng = np.random.default_rng((*seed, 0))
    direction = rng.choice((-1, 1))
    speed = float(direction * rng.uniform(*PANS))
    way = int(abs(speed) * seconds) + 1
    start = 0.0 if speed > 0 else float(way)
    wall = _wall(np.random.default_rng((*seed, 1)), FRAME + way)
    middle = _columns(np.random.default_rng((*seed, 2)), speed * seconds * NEARER)
    scale = size / FRAME

    def sized(piece: Piece) -> Piece:
        light, cover = (cv2.resize(layer, None, fx=scale, fy=scale) for layer in (piece.light, piece.cover))
        return piece._replace(light=light, cover=cover)

    bars = []
    for number, (time, x, y) in enumerate(hidden):
        own = np.random.default_rng((*seed, 3, number))
        drift = float(own.choice((-1, 1)) * own.uniform(*CRANE))
        bar = _bar(own, x + (FRONT * speed - drift) * time, y)
        bars.append(sized(bar._replace(drift=drift)))
    own = np.random.default_rng((*seed, 4))
    return Scenery(
        size=size,
        seed=seed,
        light=make_light(np.random.default_rng((*seed, 5))),
        wall=cv2.resize(wall, None, fx=scale, fy=scale),
        pan_speed=speed,
        pan_start=start,
        middle=tuple(sized(piece) for piece in middle),
        bars=tuple(bars),
        swing=Swing(
            sized(_chain(own, speed * seconds)), own.uniform(0.05, 0.16), own.uniform(1.8, 3), own.uniform(0, 6)
        ),
        sparks=tuple(_burst(own, seconds) for _ in range(max(1, round(seconds / 5)))),
        swarf=tuple(_curl(own, seconds) for _ in range(max(1, round(seconds / 3)))),
        dust=_dust(own),
        waves=_waves(own),
        noise=_noise(np.random.default_rng((*seed, 6)), size),
    )


def put(picture: Array, sprite: Sprite) -> None:
    """Lay a sprite over the picture, in place."""
    there, here = window(picture.shape[:2], sprite.cover.shape, sprite.left, sprite.top)
    view = picture[there]
    if not view.size:
        return
    view *= as_rgb(1 - sprite.cover[here])
    view += sprite.light[here]


def _moved(light: Array, cover: Array, x: float, y: float) -> Sprite:
    """The layers with their upper left corner at (x, y), between the pixels as well."""
    left, top = int(np.floor(x)), int(np.floor(y))
    shift = np.array([[1, 0, x - left], [0, 1, y - top]])
    size = (cover.shape[1] + 1, cover.shape[0] + 1)
    return Sprite(cv2.warpAffine(light, shift, size), cv2.warpAffine(cover, shift, size), left, top)


def _wall(rng: np.random.Generator, width: int) -> Array:
    """The back wall, (640 + twice MARGIN, width, 3): bay after bay, out of focus, unevenly lit."""
    height = FRAME + 2 * MARGIN
    wall = np.zeros((height, width, 3), np.float32)
    accent = ACCENTS[rng.integers(len(ACCENTS))]
    left = -int(rng.integers(0, BAY[0]))
    while left < width:
        right = left + int(rng.integers(*BAY))
        view = wall[:, max(left, 0) : right]
        if view.shape[1]:
            view[:] = _bay(rng, height, right - left, accent)[:, max(-left, 0) :][:, : view.shape[1]]
        left = right
    stains = fractal(rng, (height, width), width / 220, 4)
    uneven = np.exp(0.45 * fractal(rng, (height, width), width / 600, 2))
    wall *= np.clip(1 + 0.16 * stains, 0.4, 1.8)[..., None] * uneven[..., None]
    return np.asarray(np.clip(cv2.GaussianBlur(wall, (0, 0), 2.2), 0, 0.8))


def _bay(rng: np.random.Generator, height: int, width: int, accent: Array) -> Array:
    surface = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.25, 0.9)
    bay = np.broadcast_to(surface, (height, width, 3)).copy()
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind, period = rng.integers(3), rng.uniform(11, 26)
    if kind == 0:
        bay *= (1 + 0.22 * np.sin(2 * np.pi / period * y))[..., None]
    elif kind == 1:
        bay *= np.where((x % (2 * period)) < 2.5, 0.5, 1 + 0.1 * np.sin(x // (2 * period) * 2.4))[..., None]
    base = int(rng.integers(380, 700))
    bay[base:] *= rng.uniform(0.12, 0.5)
    drawings: list[Callable[[np.random.Generator, Array, Array], None]] = [_window, _brace, _pipe, _beam, _box]
    for draw, chance in zip(drawings, (0.35, 0.6, 0.5, 0.6, 0.4), strict=True):
        if rng.random() < chance:
            draw(rng, bay, accent)
    _post(rng, bay, accent)
    return bay


def _window(rng: np.random.Generator, bay: Array, _accent: Array) -> None:
    w, h = int(rng.integers(70, 190)), int(rng.integers(80, 170))
    x, y = int(rng.integers(10, max(11, bay.shape[1] - w))), int(rng.integers(0, 120))
    bay[max(y - 14, 0) : y + h + 14, max(x - 14, 0) : x + w + 14] *= 0.25
    sky = linear("9cc0d6") * rng.uniform(0.25, 0.8)
    pane = bay[y : y + h, x : x + w]
    pane[:] = sky * np.linspace(1.1, 0.8, pane.shape[0], dtype=np.float32)[:, None, None]
    for bar in np.linspace(0, w, int(rng.integers(3, 5)) + 1)[1:-1].astype(int):
        pane[:, bar - 3 : bar + 3] *= 0.25


def _brace(rng: np.random.Generator, bay: Array, accent: Array) -> None:
    h, w = bay.shape[:2]
    top, bottom, thick = int(rng.integers(0, 200)), int(rng.integers(380, h)), int(rng.integers(7, 20))
    colour = (accent if rng.random() < 0.6 else STEEL[rng.integers(len(STEEL))]) * rng.uniform(0.5, 1)
    cv2.line(bay, (0, top), (w, bottom), colour.tolist(), thick)
    cv2.line(bay, (w, top), (0, bottom), colour.tolist(), thick)


def _pipe(rng: np.random.Generator, bay: Array, _accent: Array) -> None:
    h, w = bay.shape[:2]
    x, y, radius = int(rng.integers(20, w)), int(rng.integers(350, h)), int(rng.integers(7, 16))
    corners = np.array([[x, -20], [x, y - 40], [x - 12, y - 12], [x - 40, y], [-20, y]], np.int32)
    colour = STEEL[rng.integers(len(STEEL))] * rng.uniform(0.8, 2.5)
    # Round, and so bright along the middle.
    for share in (1.0, 0.6, 0.25):
        cv2.polylines(
            bay, [corners], False, (colour * (1.6 - share) ** 2.5).tolist(), max(1, round(2 * radius * share))
        )


def _beam(rng: np.random.Generator, bay: Array, accent: Array) -> None:
    y, thick = int(rng.integers(60, 520)), int(rng.integers(18, 70))
    colour = STEEL[rng.integers(len(STEEL))] if rng.random() < 0.75 else accent
    bay[y : y + thick] = colour * rng.uniform(0.6, 2.0)
    bay[y : y + 4] *= 2.2
    bay[y + thick : y + thick + 12] *= 0.45


def _box(rng: np.random.Generator, bay: Array, accent: Array) -> None:
    w, h = int(rng.integers(30, 90)), int(rng.integers(40, 130))
    x, y = int(rng.integers(0, max(1, bay.shape[1] - w))), int(rng.integers(150, 560))
    colour = accent if rng.random() < 0.3 else WALLS[rng.integers(len(WALLS))]
    bay[y + 8 : y + h + 12, x + 6 : x + w + 8] *= 0.4
    bay[y : y + h, x : x + w] = colour * rng.uniform(0.4, 1.4)
    bay[y + h // 3 : y + h // 3 + 4, x + 5 : x + w - 5] *= 0.4


def _post(rng: np.random.Generator, bay: Array, accent: Array) -> None:
    """The column at the left end of a bay."""
    width = min(int(rng.integers(36, 120)), bay.shape[1])
    colour = accent if rng.random() < 0.4 else WALLS[rng.integers(len(WALLS))] * 1.3
    bay[:, :width] = colour * _rounded(rng, width) * rng.uniform(0.5, 1.3)
    bay[:, width : width + 10] *= 0.4


def _rounded(rng: np.random.Generator, width: int) -> Array:
    """Brightness (width, 1) across a column: one side is lit, the edges are dark."""
    across = np.linspace(0, 1, width, dtype=np.float32)
    lit = 0.75 + 0.4 * (across if rng.random() < 0.5 else 1 - across)
    edges = np.minimum(1, 0.35 + 12 * np.minimum(across, 1 - across))
    return np.asarray((lit * edges)[:, None], np.float32)


def _columns(rng: np.random.Generator, way: float) -> list[Piece]:
    """Columns between the wall and the parts, so that the camera's move shows in depth."""
    columns = []
    for at in np.arange(min(0.0, way), max(0.0, way) + FRAME, 900):
        width = int(rng.integers(50, 130))
        stains = 1 + 0.1 * fractal(rng, (FRAME + 2 * MARGIN, width), 2, 3)
        colour = (ACCENTS if rng.random() < 0.35 else WALLS)[rng.integers(4)] * rng.uniform(0.6, 1.6)
        light = (np.clip(stains, 0.3, 2)[..., None] * (_rounded(rng, width) * colour)).astype(np.float32)
        columns.append(
            _soft(light, np.ones(light.shape[:2], np.float32), 1.6, at + rng.uniform(0, 500), -MARGIN, NEARER)
        )
    return columns


def _bar(rng: np.random.Generator, x: float, y: float) -> Piece:
    """A steel bar with its middle at (x, y), on two ropes of a crane, close to the camera and dark."""
    width, height = int(rng.integers(150, 230)), int(rng.integers(105, 145))
    ropes = FRAME
    light = np.zeros((ropes + height, width, 3), np.float32)
    cover = np.zeros((ropes + height, width), np.float32)
    profile = np.ones(height, np.float32)
    profile[: height // 6], profile[-height // 6 :] = 1.9, 1.5
    stains = 1 + 0.08 * fractal(rng, (height, width), 4, 3)
    steel = STEEL[rng.integers(len(STEEL))] * rng.uniform(0.3, 0.9)
    light[ropes:] = steel * profile[:, None, None] * np.clip(stains, 0.4, 2)[..., None]
    cover[ropes:] = 1
    for rope in (width // 5, width - width // 5):
        light[:ropes, rope : rope + 4] = steel * 0.6
        cover[:ropes, rope : rope + 4] = 1
    return _soft(light, cover, 1.8, x - width / 2, y - ropes - height / 2, FRONT)


def _chain(rng: np.random.Generator, way: float) -> Piece:
    """A hoist's chain: every other link is seen from its side, the others show their holes as a nut does."""
    links, pitch = int(rng.integers(7, 13)), int(rng.integers(24, 32))
    width, height = 36, links * pitch + 24
    layer = np.zeros((height, width), np.uint8)
    for link in range(links):
        centre = (width // 2 * 16, (link * pitch + 4) * 16)
        radii = (((10 if link % 2 else 2) * 16), round(0.62 * pitch * 16))
        cv2.ellipse(layer, centre, radii, 0, 0, 360, 255, 5, cv2.LINE_AA, 4)
    cover = layer.astype(np.float32) / 255
    colour = STEEL[rng.integers(len(STEEL))] * rng.uniform(1.5, 4)
    light = cover[..., None] * colour * (0.6 + 0.4 * np.cos(np.arange(width) / 4 - 4))[None, :, None]
    x = rng.uniform(60, 560) + rng.uniform(0.2, 0.8) * way
    return _soft(light.astype(np.float32), cover, 0.9, x, -8, 1.0, premultiplied=True)


def _soft(
    light: Array, cover: Array, sigma: float, x: float, y: float, speed: float, premultiplied: bool = False
) -> Piece:
    """A piece out of focus, with room for its soft edges."""
    room = int(np.ceil(3 * sigma))
    if not premultiplied:
        light = light * cover[..., None]
    light = np.pad(light, ((0, room), (room, room), (0, 0)))
    cover = np.pad(cover, ((0, room), (room, room)))
    light, cover = (cv2.GaussianBlur(layer, (0, 0), sigma) for layer in (light, cover))
    return Piece(light, cover, x - room, y, speed)


def _burst(rng: np.random.Generator, seconds: float) -> Sparks:
    count = int(rng.integers(12, 40))
    angle, speed = rng.normal(rng.uniform(-3, 0), 0.5, count), rng.uniform(120, 520, count)
    velocities = np.stack([np.cos(angle), np.sin(angle)], 1) * speed[:, None]
    return Sparks(
        float(rng.uniform(0, seconds)),
        float(rng.uniform(0, FRAME)),
        float(rng.uniform(80, 600)),
        velocities,
        rng.uniform(0.15, 0.7, count),
    )


def _curl(rng: np.random.Generator, seconds: float) -> Swarf:
    return Swarf(
        float(rng.uniform(0, seconds)),
        float(rng.uniform(80, 560)),
        float(rng.uniform(120, 260)),
        float(rng.uniform(4, 9)),
        float(rng.uniform(110, 250)),
        float(rng.uniform(-9, 9)),
    )


def _dust(rng: np.random.Generator) -> Array:
    """Motes (n, 6): place and speed in px and px/s, radius, strength."""
    count = 14
    places, speeds = rng.uniform(0, FRAME, (count, 2)), rng.normal(0, 14, (count, 2))
    return np.hstack([places, speeds, rng.uniform(1, 4, (count, 1)), rng.uniform(0.004, 0.03, (count, 1))])


def _waves(rng: np.random.Generator) -> Array:
    """Lamps (n, 7): change in rad/s, place (shares of the frame), colour, phase."""
    count = 3
    warm = rng.uniform(-0.12, 0.12, (count, 1))
    colour = (1 + warm * np.array([1, 0, -1])) * rng.uniform(0.35, 1.0, (count, 1))
    return np.hstack(
        [rng.uniform(0.2, 0.9, (count, 1)), rng.uniform(0.1, 0.9, (count, 2)), colour, rng.uniform(0, 6, (count, 1))]
    )


def _noise(rng: np.random.Generator, size: int) -> Array:
    side = size + NOISE_TILES
    return np.asarray(rng.standard_normal((side, side, 3), np.float32) * np.float32(rng.uniform(1.2, 2.6)))


def _add_blob(picture: Array, x: float, y: float, radius: float, strength: float) -> None:
    reach = int(np.ceil(3 * radius))
    left, top = int(np.floor(x)) - reach, int(np.floor(y)) - reach
    side = np.arange(2 * reach + 1, dtype=np.float32)
    across, down = (np.exp(-0.5 * ((side - at) / radius) ** 2) for at in (x - left, y - top))
    there, here = window(picture.shape[:2], (len(side), len(side)), left, top)
    picture[there] += (strength * np.outer(down, across)[here])[..., None]


def _add_ghost(picture: Array, x: float, y: float, radius: float) -> None:
    """A faint six-sided reflection of the aperture: as large as a nut."""
    reach = int(np.ceil(radius)) + 3
    left, top = int(np.floor(x)) - reach, int(np.floor(y)) - reach
    angles = np.arange(6) * (np.pi / 3) + 0.3
    corners = np.stack([x - left + radius * np.cos(angles), y - top + radius * np.sin(angles)], 1)
    patch = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    cv2.fillConvexPoly(patch, np.rint(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(patch.astype(np.float32), (0, 0), 1.2)
    there, here = window(picture.shape[:2], patch.shape, left, top)
    picture[there] += soft[here][..., None] * GHOST


MARGIN = 8
WALLS = linear("5a5c54", "4f5152", "65625a", "4a4942", "555a56", "646668")
STEEL = linear("2a2c2e", "383a3c", "3e3a35", "4a4d52")
ACCENTS = linear("8c521c", "7a4219", "86702f", "3d556e", "6f3b2b")
SWARF = linear("c8cad0")
SPARK = linear("ffc070") * np.float32(1.5)
GHOST = linear("8fb09a") * np.float32(0.02 / 255)
