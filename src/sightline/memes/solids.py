"""Boxes, pipes and ground seen through a pinhole camera: what the games in first and third person are built of.

The world has x to the right, y up and z ahead, in metres. A set is a list of quadrilaterals; they are lit one by one,
fade into fog with their distance, and are painted from the farthest to the nearest (no z-buffer: keep them small).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np

from sightline.core.rendering import Array
from sightline.memes.painting import Colour, Picture, Shape, lighter

NEAR = 0.15


class Bulb(NamedTuple):
    """A lamp in the world: where, its colour (sRGB, 0 … 255) and the distance in metres at which half is left."""

    at: tuple[float, float, float]
    colour: Colour
    reach: float


@dataclass(frozen=True)
class Weather:
    """The light that is everywhere, a sun in the direction ``towards``, fog that hides 63 % at ``sight`` metres."""

    ambient: Colour
    fog: Colour
    sight: float
    sun: Colour = (0, 0, 0)
    towards: tuple[float, float, float] = (0.3, 0.8, -0.5)


@dataclass(frozen=True)
class View:
    """A camera at ``eye`` that looks ahead, turned right by ``yaw`` and up by ``pitch`` radians."""

    shape: Shape
    eye: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    zoom: float = 0.75

    def see(self, points: Array) -> Array:
        """World coordinates (…, 3) as seen from the camera, z is the depth."""
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        return np.asarray((np.asarray(points, np.float64) - self.eye) @ (tilt @ turn).T)

    def project(self, seen: Array) -> Array:
        """Camera coordinates (…, 3) with positive depth to px (…, 2)."""
        h, w = self.shape
        scale = self.zoom * max(w, 1.2 * h)
        return np.stack([w / 2 + scale * seen[..., 0] / seen[..., 2], h / 2 - scale * seen[..., 1] / seen[..., 2]], -1)

    def spot(self, point: Sequence[float]) -> tuple[Array, float]:
        """Where in the picture a point in the world is, and px a metre there; 0 where it lies behind the camera."""
        seen = self.see(np.asarray(point))
        if seen[2] < NEAR:
            return np.zeros(2), 0.0
        here = self.project(seen)
        return here, float(self.zoom * max(self.shape[1], 1.2 * self.shape[0]) / seen[2])


@dataclass
class Set:
    """Quadrilaterals (4, 3) with their colours; those that glow are not lit by others."""

    quads: list[Array] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    glowing: list[bool] = field(default_factory=list)

    def quad(self, corners: Any, colour: Colour, glows: bool = False) -> None:
        """Add one quadrilateral (4, 3)."""
        self.quads.append(np.asarray(corners, np.float64))
        self.colours.append(colour)
        self.glowing.append(glows)

    def plane(
        self,
        rng: np.random.Generator,
        corner: Sequence[float],
        along: Sequence[float],
        across: Sequence[float],
        tiles: tuple[int, int],
        colour: Colour,
        uneven: float = 0.08,
    ) -> None:
        """Add a parallelogram of tiles, each a little lighter or darker."""
        base, u, v = (np.asarray(vector, np.float64) for vector in (corner, along, across))
        tones = np.exp(rng.normal(0, uneven, tiles))
        for i in range(tiles[0]):
            for j in range(tiles[1]):
                at = base + u * i / tiles[0] + v * j / tiles[1]
                du, dv = u / tiles[0], v / tiles[1]
                self.quad([at, at + du, at + du + dv, at + dv], lighter(colour, float(tones[i, j])))

    def block(
        self,
        centre: Sequence[float],
        size: Any,
        colour: Colour,
        turn: float = 0.0,
        roof: Colour | None = None,
    ) -> None:
        """Add a box standing upright on any floor; ``centre`` is the middle of its base."""
        half, tall = np.array([size[0] / 2, size[2] / 2]), size[1]
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        cos, sin = np.cos(turn), np.sin(turn)
        floor = corners @ np.array([[cos, sin], [-sin, cos]])
        low = np.insert(floor, 1, 0.0, axis=1) + np.asarray(centre, np.float64)
        high = low + np.array([0, tall, 0])
        for k in range(4):
            self.quad([low[k], low[(k + 1) % 4], high[(k + 1) % 4], high[k]], colour)
        self.quad(high, colour if roof is None else roof)
        self.quad(low, lighter(colour, 0.6))

    def tube(
        self,
        start: Sequence[float],
        end: Sequence[float],
        radius: float,
        colour: Colour,
        sides: int = 8,
        parts: int = 1,
    ) -> None:
        """Add a cylinder between two points: pipe, tank, mast."""
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        along = (b - a) / np.linalg.norm(b - a)
        side = np.cross(along, [0.0, 0.0, 1.0] if abs(along[2]) < 0.9 else [0.0, 1.0, 0.0])
        side /= np.linalg.norm(side)
        other = np.cross(along, side)
        turns = np.linspace(0, 2 * np.pi, sides + 1)
        rim = radius * (np.cos(turns)[:, None] * side + np.sin(turns)[:, None] * other)
        stops = np.linspace(0, 1, parts + 1)
        for low, high in pairwise(stops):
            p, q = a + (b - a) * low, a + (b - a) * high
            for k in range(sides):
                self.quad([p + rim[k], p + rim[k + 1], q + rim[k + 1], q + rim[k]], colour)
        for cap in (a, b):
            for k in range(0, sides, 2):
                self.quad([cap, cap + rim[k], cap + rim[k + 1], cap + rim[(k + 2) % sides]], colour)


def paint(picture: Picture, view: View, things: Set, weather: Weather, bulbs: Sequence[Bulb] = ()) -> None:
    """Paint a set over the picture, in place: Lambert's law for the sun, fall-off with distance for lamps, then fog."""
    quads, colours = np.stack(things.quads), np.array(things.colours, np.float64)
    centres = quads.mean(1)
    normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    to_eye = np.asarray(view.eye) - centres
    normals *= np.where((normals * to_eye).sum(1) < 0, -1, 1)[:, None]
    sun = np.asarray(weather.towards) / np.linalg.norm(weather.towards)
    light = np.asarray(weather.ambient) / 255 * (0.85 + 0.15 * normals[:, 1:2])
    light = light + np.clip(normals @ sun, 0, 1)[:, None] * np.asarray(weather.sun) / 255
    for bulb in bulbs:
        ray = np.asarray(bulb.at) - centres
        distance = np.linalg.norm(ray, axis=1)
        facing = 0.35 + 0.65 * np.clip((ray * normals).sum(1) / (distance + 1e-9), 0, 1)
        light = light + (facing / (1 + (distance / bulb.reach) ** 2))[:, None] * np.asarray(bulb.colour) / 255
    # Colours are gamma coded, light adds up linearly: its effect on a coded colour is its root.
    lit = np.where(np.array(things.glowing)[:, None], colours, colours * light**0.62)
    seen = view.see(quads)
    depths = np.linalg.norm(seen.mean(1), axis=1)
    clear = np.exp(-depths / weather.sight)[:, None]
    # What shines is seen farther through fog than what is lit.
    clear = np.where(np.array(things.glowing)[:, None], np.sqrt(clear), clear)
    shown = np.clip(np.asarray(weather.fog) + (lit - np.asarray(weather.fog)) * clear, 0, 255)
    for index in np.argsort(-depths):
        corners = _in_front(seen[index])
        if len(corners) >= 3:
            fixed = np.rint(np.clip(view.project(corners), -2000, 2000) * 16).astype(np.int32)
            cv2.fillConvexPoly(picture, fixed, shown[index].tolist(), cv2.LINE_8, 4)


def _in_front(corners: Array) -> Array:
    """What is left of a convex polygon (n, 3) in front of the camera (Sutherland and Hodgman, CACM 1974)."""
    ahead = corners[:, 2] > NEAR
    if ahead.all():
        return corners
    kept: list[Array] = []
    for k in range(len(corners)):
        here, after = corners[k], corners[(k + 1) % len(corners)]
        if ahead[k]:
            kept.append(here)
        if ahead[k] != ahead[(k + 1) % len(corners)]:
            kept.append(here + (after - here) * (NEAR - here[2]) / (after[2] - here[2]))
    return np.array(kept)
