"""Draw one bird: its skeleton is clothed in feathers, painted part by part from far to near, and lit as round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from sightline.birds.anatomy import Points, Pose, Shape, Skeleton, pose_bird
from sightline.birds.feathers import (
    EYE,
    HEAD,
    TRUNK,
    WING,
    Texture,
    Wear,
    head_texture,
    trunk_texture,
    wear,
    wing_texture,
)
from sightline.birds.plumage import Colour, Species
from sightline.core.rendering import Array

# The canvas has this many pixels for each of the photo.
FINE = 2
LINEAR = np.where(
    np.arange(256) <= 10, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)


@dataclass(frozen=True)
class Daylight:
    """The light on a scene: ``towards`` (3,) the sun (x right, y up, z to the camera), linear RGB ``key`` and
    ``ambient`` (3,), and ``soft``, how much of the sky's light comes from all sides (0 … 1).
    """

    towards: Array
    key: Array
    ambient: Array
    soft: float


@dataclass(frozen=True)
class Cutout:
    """A lit thing on nothing: ``light`` (h, w, 3) float32 linear RGB times coverage, ``alpha`` (h, w) the coverage.

    ``feet`` (2, 2) are the points in px where it stands, which may lie outside.
    """

    light: Array
    alpha: Array
    feet: Points


def draw_bird(
    rng: np.random.Generator, species: Species, pose: Pose, light: Daylight, size: float, left: bool
) -> Cutout:
    """One bird of a species, the longer side of its extent about ``size`` px; looking right, or left."""
    bird = wear(rng, species.regions, species.marks, species.dimorphism)
    bones = pose_bird(species.shape, pose)
    towards = light.towards * np.array([-1 if left else 1, 1, 1])
    canvas = _Canvas(_extent(species.shape, pose, bones), size * FINE, bird.regions["back"], towards, light.soft)
    wings = pose.stance == "flying"
    if wings:
        _open_wing(canvas, rng, species.shape, pose, bones, bird, near=False)
    if pose.stance not in ("swimming", "flying"):
        _leg(canvas, species.shape, bones, bird, far=True)
    _tail(canvas, species.shape, pose, bones, bird)
    if pose.stance not in ("swimming", "flying"):
        _leg(canvas, species.shape, bones, bird, far=False)
    _trunk(canvas, rng, pose, bones, bird)
    if not wings:
        _folded_wing(canvas, rng, species.shape, pose, bones, bird)
    _head(canvas, rng, species.shape, pose, bones, bird)
    if wings:
        _open_wing(canvas, rng, species.shape, pose, bones, bird, near=True)
    return canvas.develop(light, bones.feet, left)


class _Canvas:
    """What has been painted so far: colour, coverage, and the shares of sun and sky that each pixel gets."""

    def __init__(self, extent: tuple[Points, Points], size: float, base: Colour, towards: Array, soft: float):
        low, high = extent
        self.scale = size / float((high - low).max())
        self.low, self.high = low - 3 / self.scale, high + 3 / self.scale
        width, height = (int(n) // FINE * FINE + FINE for n in (self.high - self.low) * self.scale)
        self.colour: Texture = np.full((height, width, 3), base, np.uint8)
        self.alpha: Texture = np.zeros((height, width), np.uint8)
        self.sun: Array = np.full((height, width), 0.0, np.float32)
        self.sky: Array = np.full((height, width), 1.0, np.float32)
        self.towards, self.soft = towards, soft

    def pixels(self, points: Points) -> Points:
        """Points of the bird's frame (n, 2) in canvas px."""
        return np.asarray((points - (self.low[0], self.high[1])) * (self.scale, -self.scale))

    def polygon(self, points: Points, colour: Sequence[float], turn: float = 0.0, tone: float = 1.0) -> None:
        """Fill an outline (n, 2); it is flat, and ``turn`` is how much it faces up."""
        at = np.rint(self.pixels(np.asarray(points)) * 16).astype(np.int32)
        cv2.fillPoly(self.colour, [at], [min(255.0, c * tone) for c in colour], cv2.LINE_AA, 4)
        cv2.fillPoly(self.alpha, [at], 255, cv2.LINE_AA, 4)
        sun, sky = self.light_on(0.0, turn, float(np.sqrt(max(0.0, 1 - turn * turn))))
        cv2.fillPoly(self.sun, [at >> 4], float(sun))
        cv2.fillPoly(self.sky, [at >> 4], float(sky))

    def stroke(self, points: Points, colour: Sequence[float], width: float, *, solid: bool = True) -> None:
        """Draw a line ``width`` units wide; with ``solid`` false only where something is already."""
        at = np.rint(self.pixels(np.asarray(points)) * 16).astype(np.int32)
        wide = max(1, round(width * self.scale))
        cv2.polylines(self.colour, [at], False, colour, wide, cv2.LINE_AA, 4)
        if solid:
            cv2.polylines(self.alpha, [at], False, 255, wide, cv2.LINE_AA, 4)
            sun, sky = self.light_on(0.0, 0.0, 1.0)
            cv2.polylines(self.sun, [at >> 4], False, float(sun), wide)
            cv2.polylines(self.sky, [at >> 4], False, float(sky), wide)

    def light_on(self, x: Any, y: Any, z: Any) -> tuple[Any, Any]:
        """Shares of sun and sky on a surface with normal (x, y, z)."""
        facing = self.towards[0] * x + self.towards[1] * y + self.towards[2] * z
        sun = np.maximum((facing + 0.25 * self.soft) / (1 + 0.25 * self.soft), 0)
        return sun, 0.62 + 0.38 * y + 0.12 * z

    def develop(self, light: Daylight, feet: Points, left: bool) -> Cutout:
        h, w = self.alpha.shape
        small = (w // FINE, h // FINE)
        alpha = self.alpha.astype(np.float32) * np.float32(1 / 255)
        shares = cv2.merge([self.sun * alpha, self.sky * alpha, alpha])
        shares = cv2.resize(shares, small, interpolation=cv2.INTER_AREA)
        cover = shares[..., 2]
        albedo = cv2.LUT(cv2.resize(self.colour, small, interpolation=cv2.INTER_AREA), LINEAR)
        lit = albedo * (shares[..., :1] * light.key + shares[..., 1:2] * light.ambient)
        at = self.pixels(feet) / FINE
        if left:
            lit, cover = lit[:, ::-1], cover[:, ::-1]
            at = at * (-1, 1) + (small[0], 0)
        return Cutout(np.ascontiguousarray(lit, np.float32), np.ascontiguousarray(cover), at)


def _extent(shape: Shape, pose: Pose, bones: Skeleton) -> tuple[Points, Points]:
    """Corners of a rectangle that holds the posed bird."""
    ahead, _, axis = _gaze(pose)
    upward = np.array([-axis[1], axis[0]])
    bill = bones.head + (0.84 * shape.head + shape.bill[0]) * ahead * axis
    crest = bones.head - 0.85 * shape.head * ahead * axis + (0.9 * shape.head + shape.crest) * upward
    ends = [bones.at(s, t) for s in np.linspace(0, 1, 9) for t in (-1.0, 1.0)]
    ends += [
        bones.head - 1.1 * shape.head,
        bones.head + 1.1 * shape.head,
        bill - 0.5 * shape.bill[1],
        bill + 0.5 * shape.bill[1],
        crest,
    ]
    ends += [end + side for _, end in _tail_feathers(shape, pose, bones) for side in (-0.03, 0.03)]
    if pose.stance == "flying":
        ends += [end for near in (True, False) for _, end, _ in _wing_feathers(shape, pose, bones, near)]
    else:
        ends.append(_wing_tip(shape, pose, bones))
        if pose.stance != "swimming":
            ends += [
                foot + side * _toe(shape) for foot in bones.feet for side in (np.array([-0.6, -0.4]), np.array([1, 0]))
            ]
    everything = np.stack(ends)
    return everything.min(0) - 0.03, everything.max(0) + 0.03


def _gaze(pose: Pose) -> tuple[float, float, Points]:
    """How far the head looks along the picture and into it, and its axis in the picture."""
    turn = pose.turn + 0.6 * pose.yaw * (pose.turn >= 0)
    ahead, aside = float(np.cos(turn)), float(np.sin(turn))
    tilt = pose.gaze * (1 if ahead >= 0 else -1)
    return ahead, aside, np.array([np.cos(tilt), np.sin(tilt)])


def _trunk(canvas: _Canvas, rng: np.random.Generator, pose: Pose, bones: Skeleton, bird: Wear) -> None:
    upper = bones.spine + bones.normals * bones.above[:, None]
    lower = bones.spine - bones.normals * bones.below[:, None]
    mask = np.zeros_like(canvas.alpha)
    left, right = (np.rint(canvas.pixels(side) * 16).astype(np.int32) for side in (upper, lower))
    for i in range(len(left) - 1):
        cv2.fillConvexPoly(mask, np.array([left[i], left[i + 1], right[i + 1], right[i]]), 255, cv2.LINE_AA, 4)
    middle = np.rint(canvas.pixels((upper + lower) / 2) * 16).astype(np.int32)
    radius = np.rint((bones.above + bones.below) / 2 * canvas.scale * 16).astype(np.int32)
    for i in (0, 1, len(left) - 1):
        cv2.circle(mask, middle[i].tolist(), int(radius[i]), 255, -1, cv2.LINE_AA, 4)
    x0, y0, w, h = cv2.boundingRect(mask)
    window = np.s_[y0 : y0 + h, x0 : x0 + w]
    s, t, normal = _coordinates(canvas, bones, (x0, y0, w, h))
    turned = np.arcsin(np.clip(t, -1, 1)) + pose.roll
    u = np.sin(turned)
    flesh = np.sqrt(np.maximum(1 - t * t, 0.02))
    sun, sky = canvas.light_on(normal[..., 0] * t, normal[..., 1] * t, flesh)
    # Feathers at the edge of the body hide each other's shafts: the rim is a little darker.
    sky = sky * (0.75 + 0.25 * flesh)
    maps = [s * (TRUNK[1] - 1), (1 - u) / 2 * (TRUNK[0] - 1), sun, sky]
    across, down, sun, sky = (cv2.resize(m.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR) for m in maps)
    coat = cv2.remap(trunk_texture(rng, bird), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    _lay(canvas, window, coat, mask[window], sun, sky)


def _coordinates(canvas: _Canvas, bones: Skeleton, window: tuple[int, int, int, int]) -> tuple[Array, Array, Array]:
    """Where on the trunk each point of a coarse grid over a window lies: s, t and the spine's normal there.

    Every point takes the mean of the spine's frames, those near it counting most: smooth also inside a bend.
    """
    x0, y0, w, h = window
    coarse = (max(2, h // 5), max(2, w // 5))
    ys = y0 + (np.arange(coarse[0]) + 0.5) * h / coarse[0]
    xs = x0 + (np.arange(coarse[1]) + 0.5) * w / coarse[1]
    px = (xs / canvas.scale + canvas.low[0]).astype(np.float32)
    py = (canvas.high[1] - ys / canvas.scale).astype(np.float32)
    every = np.s_[::2]
    spine, normals = (a[every].astype(np.float32) for a in (bones.spine, bones.normals))
    above, below = (a[every].astype(np.float32) for a in (bones.above, bones.below))
    dx = px[None, :, None] - spine[:, 0]
    dy = py[:, None, None] - spine[:, 1]
    gap = (dx * dx + dy * dy) / (above * below)
    weight = np.exp(-5.0 * (gap - gap.min(-1, keepdims=True)))
    weight /= weight.sum(-1, keepdims=True)
    offset = dx * normals[:, 0] + dy * normals[:, 1]
    t = (weight * offset / np.where(offset > 0, above, below)).sum(-1)
    knots = np.linspace(0, 1, len(bones.spine), dtype=np.float32)[every]
    normal = weight @ normals
    return weight @ knots, t, normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + np.float32(1e-6))


def _head(canvas: _Canvas, rng: np.random.Generator, shape: Shape, pose: Pose, bones: Skeleton, bird: Wear) -> None:
    ahead, aside, axis = _gaze(pose)
    upward = np.array([-axis[1], axis[0]])
    flat_axis, flat_up = axis.astype(np.float32), upward.astype(np.float32)

    def spot(f: float, up: float) -> Points:
        return np.asarray(bones.head + shape.head * (f * axis + up * upward))

    if shape.crest > 0.02:
        long = shape.crest / shape.head
        crest = [(0.62 * ahead, 0.72), (0.0, 0.98 + 0.35 * long), (-0.75 * ahead, 0.85 + long), (-0.8 * ahead, 0.2)]
        colour = bird.marks.get("cap", bird.regions["crown"])
        canvas.polygon(np.array([spot(f, up) for f, up in _rounded(crest)]), colour, 0.3)
    if aside < -0.1:
        _bill(canvas, shape, bird, spot, ahead, aside)
    side = HEAD * 1.0
    radius = shape.head * canvas.scale
    centre = canvas.pixels(bones.head)
    x0, y0 = (max(0, int(c - 1.15 * radius)) for c in centre)
    x1, y1 = (min(n, int(c + 1.15 * radius) + 2) for n, c in zip(canvas.alpha.shape[::-1], centre, strict=True))
    px = ((np.arange(x0, x1) + 0.5 - centre[0]) / radius).astype(np.float32)
    py = ((centre[1] - np.arange(y0, y1) - 0.5) / radius).astype(np.float32)
    longer = np.float32(1 + 0.08 * ahead * ahead)
    x = (px[None] * flat_axis[0] + py[:, None] * flat_axis[1]) / longer
    y = px[None] * flat_up[0] + py[:, None] * flat_up[1]
    gap = x * x + y * y
    z = np.sqrt(np.maximum(1 - gap, 0))
    cover = np.clip((1 - np.sqrt(gap)) * radius + 0.5, 0, 1)
    forward = x * np.float32(ahead) + z * np.float32(aside)
    coat = cv2.remap(
        head_texture(rng, bird), (forward + 1) * (side / 2) - 0.5, (1 - y) * (side / 2) - 0.5, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    sun, sky = canvas.light_on(px[None] * np.ones_like(y), py[:, None] * np.ones_like(x), z)
    # The neck goes on beneath the head without an edge.
    joint = np.clip((forward * 0.75 + 0.55 * np.abs(y) + 1.1) * 2.2, 0, 1) if aside > -0.3 else np.ones_like(x)
    mask = (cover * joint * 255).astype(np.uint8)
    _lay(canvas, np.s_[y0:y1, x0:x1], coat, mask, sun, sky * (0.8 + 0.2 * z))
    if aside >= -0.1:
        _bill(canvas, shape, bird, spot, ahead, aside)
    f, up = EYE
    out = float(np.sqrt(1 - f * f - up * up))
    for lateral in (out, -out):
        depth = f * aside + lateral * ahead
        if depth > 0.2:
            _eye(canvas, bird, spot((f * ahead - lateral * aside) * 1.04, up), shape.head, depth, axis)


def _eye(canvas: _Canvas, bird: Wear, at: Points, head: float, depth: float, axis: Points) -> None:
    centre = np.rint(canvas.pixels(at) * 16).astype(int).tolist()
    radius = max(0.155 * head * canvas.scale, 1.6)
    angle = -float(np.degrees(np.arctan2(axis[1], axis[0])))
    for size, colour in ((1.0, bird.regions["iris"]), (0.66, (12, 10, 10))):
        axes = [round(radius * size * (0.35 + 0.65 * depth) * 16), round(radius * size * 16)]
        cv2.ellipse(canvas.colour, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA, 4)
    glint = [round(centre[0] + 16 * 0.3 * radius), round(centre[1] - 16 * 0.35 * radius)]
    cv2.circle(canvas.colour, glint, max(8, round(0.24 * radius * 16)), (255, 255, 255), -1, cv2.LINE_AA, 4)


def _bill(canvas: _Canvas, shape: Shape, bird: Wear, spot: Any, ahead: float, aside: float) -> None:
    length, depth, curve = shape.bill[0] / shape.head, shape.bill[1] / shape.head, shape.bill[2]
    middle = -0.08

    def outline(profile: Sequence[tuple[float, float]]) -> Points:
        return np.array([spot(ahead * (0.84 + along * length), middle + up * depth) for along, up in profile])

    ratio = length / depth
    drop = -curve * min(ratio, 1.6) * 0.5 if curve > 0.5 else -curve * ratio
    upper = [
        (-0.1, 0.1),
        (-0.05, 0.5),
        (0.3, 0.47 + 0.12 * min(curve, 1)),
        (0.62, 0.3 + 0.2 * drop),
        (0.86, 0.1 + 0.6 * drop),
    ]
    upper += [(1.0, drop), (0.84, -0.06 + 0.45 * drop), (0.4, -0.05 + 0.12 * drop), (-0.1, -0.05)]
    lower = [(-0.1, 0.0), (0.4, -0.05 + 0.12 * drop), (0.84, -0.06 + 0.55 * drop), (0.9, -0.1 + 0.7 * drop)]
    lower += [(0.5, -0.32 + 0.2 * drop), (0.1, -0.48), (-0.1, -0.45)]
    if curve > 0.5:
        lower = [(-0.1, 0.0), (0.4, -0.05), (0.62, -0.14), (0.55, -0.42), (0.1, -0.5)]
    if abs(ahead) < 0.4 and aside > 0:
        # Straight at the camera: a wedge that points down.
        wedge = [(-0.42, 0.35), (0.0, 0.55), (0.42, 0.35), (0.12, -0.6), (-0.12, -0.6)]
        front = [spot(ahead * 0.9 + x * depth, middle + y * depth) for x, y in _rounded(wedge)]
        canvas.polygon(np.array(front), bird.regions["bill"], 0.1, 0.9)
    canvas.polygon(outline(_rounded(lower)), bird.regions["bill"], -0.35, 0.8)
    canvas.polygon(outline(_rounded(upper)), bird.regions["bill"], 0.35)
    if "bill_tip" in bird.marks:
        tip = [(a, up) for a, up in upper if a > 0.6]
        canvas.polygon(outline([(0.6, 0.32 + 0.2 * drop), *tip, (0.6, -0.3 + 0.2 * drop)]), bird.marks["bill_tip"], 0.2)


def _folded_wing(
    canvas: _Canvas, rng: np.random.Generator, shape: Shape, pose: Pose, bones: Skeleton, bird: Wear
) -> None:
    sheet = wing_texture(rng, bird)

    droop = float(rng.normal(0, 4))
    front = _side(pose, bones, 0.66, 14 + droop)
    upper, lower = (_side(pose, bones, 0.35, angle + droop) - front for angle in (58, -32))
    tip = _wing_tip(shape, pose, bones)
    along = tip - front
    # In the frame of the wing: the shoulder, the tip, the edge at the back and the edge below.
    source = np.array([[0, 0.42], [1, 0.66], [0.45, 0.03], [0.4, 0.97]]) * (WING[1], WING[0])
    target = canvas.pixels(np.array([front, front + along, front + upper, front + lower]))
    rows = np.hstack([source, np.ones((4, 1))])
    matrix = np.linalg.lstsq(rows, target, rcond=None)[0].T
    x0, y0 = (max(0, int(n)) for n in _corners(matrix).min(0))
    x1, y1 = (min(n, int(c) + 2) for n, c in zip(canvas.alpha.shape[::-1], _corners(matrix).max(0), strict=True))
    if x1 <= x0 or y1 <= y0:
        return
    matrix[:, 2] -= (x0, y0)
    laid = cv2.warpAffine(sheet, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    window = np.s_[y0:y1, x0:x1]
    mask = np.ascontiguousarray(laid[..., 3])
    shadow = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.02 * canvas.scale))
    canvas.sun[window] *= 1 - 0.5 / 255 * shadow
    canvas.sky[window] *= 1 - 0.22 / 255 * shadow
    # The wing is rounded from its upper to its lower edge as the body beneath it is.
    down = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[1]
    b = (down[0] * np.arange(x1 - x0)[None] + down[1] * np.arange(y1 - y0)[:, None] + down[2]) / WING[0]
    round_ = (0.72 - 1.15 * np.clip(b, 0, 1)).astype(np.float32) - np.float32(0.6 * np.sin(pose.roll))
    round_ = np.clip(round_, -0.9, 0.9)
    normal = bones.normals[8].astype(np.float32)
    sun, sky = canvas.light_on(normal[0] * round_, normal[1] * round_, np.sqrt(1 - round_ * round_))
    _lay(canvas, window, np.ascontiguousarray(laid[..., :3]), mask, sun, sky)


def _side(pose: Pose, bones: Skeleton, s: float, angle: float) -> Points:
    """The point of the trunk ``angle`` degrees above its middle, as far as the roll of the bird lets it be seen."""
    return bones.at(s, float(np.sin(np.clip(np.radians(angle) - pose.roll, -1.5, 1.5))))


def _wing_tip(shape: Shape, pose: Pose, bones: Skeleton) -> Points:
    """Where a folded wing ends."""
    beyond = (bones.spine[0] - bones.spine[6]) * 0.8 + bones.tail * shape.wing[1] * 0.8
    return np.asarray(_side(pose, bones, 0.02, 12) + beyond)


def _corners(matrix: Points) -> Points:
    box = np.array([[0, 0, 1], [WING[1], 0, 1], [0, WING[0], 1], [WING[1], WING[0], 1]])
    return np.asarray(box @ matrix.T)


def _wing_bones(shape: Shape, pose: Pose, bones: Skeleton, near: bool) -> tuple[Points, Points, Points]:
    """Shoulder, wrist and tip of an open wing."""
    shoulder = bones.at(0.6 if near else 0.62, 0.2 if near else 0.55)
    span = shape.wing[0] * (0.62 + 0.38 * abs(pose.beat)) * (1 if near else 0.9)
    # Seen from the side the near wing beats in front of the body, the far one behind it.
    up = np.sign(pose.beat) * (0.95 + 0.25 * abs(pose.beat)) + (0.0 if near else -0.22)
    arm = np.pi / 2 * up + pose.pitch - (0.28 if near else 0.5) * np.sign(pose.beat)
    hand = arm + np.sign(pose.beat) * 0.62
    wrist = shoulder + 0.42 * span * np.array([np.cos(arm), np.sin(arm)])
    return shoulder, wrist, wrist + 0.75 * span * np.array([np.cos(hand), np.sin(hand)])


def _chord(shape: Shape, bones: Skeleton) -> tuple[Points, float]:
    """The direction in which the feathers of the arm point, and how long they are."""
    backward = bones.spine[0] - bones.spine[12]
    return backward / (np.hypot(*backward) + 1e-9), 0.4 * (0.75 + 0.35 * min(shape.wing[0], 1.2))


def _wing_feathers(shape: Shape, pose: Pose, bones: Skeleton, near: bool) -> list[tuple[Points, Points, float]]:
    """Root, end and width of the feathers of an open wing: nine of the arm from the shoulder on, nine of the hand."""
    shoulder, wrist, tip = _wing_bones(shape, pose, bones, near)
    backward, chord = _chord(shape, bones)
    feathers = []
    for k in np.linspace(0, 1, 9).tolist():
        root = shoulder + (wrist - shoulder) * k
        feathers.append((root, root + chord * (1 + 0.08 * k) * backward + 0.12 * (wrist - shoulder) * k, 0.075))
    for k in np.linspace(0.08, 1, 9).tolist():
        root = wrist + (tip - wrist) * 0.45 * k
        end = (1 - k) * (wrist + chord * 1.12 * backward + 0.12 * (wrist - shoulder)) + k * tip
        feathers.append((root, end + 0.13 * np.sin(np.pi * k) * (tip - wrist), 0.07))
    return feathers


def _open_wing(
    canvas: _Canvas, rng: np.random.Generator, shape: Shape, pose: Pose, bones: Skeleton, bird: Wear, near: bool
) -> None:
    shoulder, wrist, tip = _wing_bones(shape, pose, bones, near)
    backward, chord = _chord(shape, bones)
    flight, coverts = np.array(bird.regions["flight"]), np.array(bird.regions["coverts"])
    # One of the two shows its underside.
    under = near != (pose.beat < 0)
    tone = 1.0 if near else 0.82
    if under and not near:
        flight, coverts = 0.55 * flight + 0.45 * np.array(bird.regions["belly"]), np.array(bird.regions["belly"]) * 0.9
    turn = 0.25 * np.sign(pose.beat)
    feathers = _wing_feathers(shape, pose, bones, near)
    for number, (root, end, wide) in enumerate(feathers):
        shade = tone * (1.0 + 0.1 * (number % 2) + rng.normal(0, 0.02)) * (1 if number < 9 else 0.85)
        canvas.polygon(_feather(root, end, wide), tuple(flight), turn, shade)
    if "wing_patch" in bird.marks and not under:
        band = [
            root + f * (end - root) for f in (0.5, 0.85) for root, end, _ in (feathers[2:8][:: 1 if f < 0.6 else -1])
        ]
        canvas.polygon(np.array(band), bird.marks["wing_patch"], turn, tone)
    for number, (root, end, _) in enumerate(feathers):
        edge = flight * (0.62 if number % 2 else 0.7)
        canvas.stroke(np.array([root + 0.35 * (end - root), end * 0.97 + root * 0.03]), tuple(edge), 0.008, solid=False)
    # Greater coverts, then lesser ones over them.
    for reach, colour in ((0.52, coverts * 0.92), (0.3, coverts)):
        tips = [root + reach * chord * (end - root) / np.hypot(*(end - root)) for root, end, _ in feathers[:17]]
        canvas.polygon(np.array([shoulder, *tips, wrist + 0.42 * (tip - wrist), wrist]), tuple(colour), turn, tone)
        if reach > 0.4 and "wing_bars" in bird.marks and not under:
            canvas.stroke(np.array(tips[:13]), bird.marks["wing_bars"], 0.035, solid=False)
        if reach < 0.4 and "shoulder" in bird.marks and not under:
            canvas.polygon(np.array([shoulder, *tips[:7], wrist]), bird.marks["shoulder"], turn, tone)
    lead = [shoulder + 0.05 * backward, wrist - 0.03 * backward, wrist + 0.45 * (tip - wrist)]
    canvas.stroke(np.array(_rounded([(x, y) for x, y in lead])[:-1]), tuple(coverts * 0.9), 0.045)


def _tail(canvas: _Canvas, shape: Shape, pose: Pose, bones: Skeleton, bird: Wear) -> None:
    colour = np.array(bird.regions["tail"])
    feathers = _tail_feathers(shape, pose, bones)
    number = len(feathers)
    for i in sorted(range(number), key=lambda i: -abs(i - (number - 1) / 2)):
        start, end = feathers[i]
        tone = (1.0, 0.88)[i % 2]
        canvas.polygon(_feather(start, end, 0.055 + 0.18 * shape.tail[1]), tuple(colour), 0.1, tone)
        canvas.stroke(
            np.array([start + 0.3 * (end - start), start + 0.96 * (end - start)]),
            tuple(colour * 0.6),
            0.01,
            solid=False,
        )
    if "tail_band" in bird.marks:
        ends = [(s + f * (e - s)) for f in (0.72, 0.95) for s, e in (feathers if f < 0.8 else feathers[::-1])]
        canvas.polygon(np.array(ends), bird.marks["tail_band"], 0.1)


def _tail_feathers(shape: Shape, pose: Pose, bones: Skeleton) -> list[tuple[Points, Points]]:
    """Root and end of the feathers of the tail."""
    length, width, fork = shape.tail
    root = bones.spine[0] - bones.tail * 0.1
    across = np.array([-bones.tail[1], bones.tail[0]])
    spread = 1.9 if pose.stance == "flying" else 1.0
    # From the side one sees the edge of the fan, from above or below its breadth.
    flat = spread * (0.45 + 0.9 * abs(np.sin(pose.roll)) + 0.25 * np.sin(pose.yaw))
    base = 0.09 + 0.22 * shape.depth
    feathers = []
    for k in np.linspace(-1, 1, 6).tolist():
        reach = length * (1 + fork * (abs(k) - 0.5) * 0.9) + 0.1
        end = root + bones.tail * reach + across * k * width * flat * (1 + 0.5 * max(fork, 0))
        feathers.append((root + across * k * base * 0.45, end))
    return feathers


def _leg(canvas: _Canvas, shape: Shape, bones: Skeleton, bird: Wear, far: bool) -> None:
    foot = bones.feet[0 if far else 1]
    hip = bones.at(0.36 if not far else 0.4, -0.72)
    colour = np.array(bird.regions["leg"]) * (0.8 if far else 1.0)
    thick = 0.026 + 0.012 * shape.depth / 0.25
    height = hip[1] - foot[1]
    # What looks like a knee is the heel: it bends backwards.
    heel = np.array([0.55 * foot[0] + 0.45 * hip[0] - 0.16 * max(height, 0) - 0.02, foot[1] + 0.52 * height])
    if shape.leg > 0.1:
        thigh = np.array(bird.regions["flank"]) * 0.85
        canvas.polygon(_feather(hip + 0.1 * (hip - heel), heel, 0.1 + 0.1 * shape.depth), tuple(thigh), -0.3)
    canvas.stroke(np.array([hip, heel, foot]), tuple(colour), thick)
    toe = _toe(shape)
    for x, y in ((1.0, -0.12), (0.75, -0.42), (-0.6, -0.2)):
        canvas.stroke(np.array([foot, foot + toe * np.array([x, y])]), tuple(colour), thick * 0.85)


def _toe(shape: Shape) -> float:
    return 0.07 + 0.09 * min(shape.leg, 0.5)


def _lay(canvas: _Canvas, window: Any, coat: Texture, mask: Texture, sun: Array, sky: Array) -> None:
    """Put a textured part on the canvas where ``mask`` is set."""
    share = cv2.merge([mask, mask, mask])
    under = canvas.colour[window]
    kept = cv2.multiply(under, 255 - share, scale=1 / 255)
    canvas.colour[window] = cv2.add(kept, cv2.multiply(coat, share, scale=1 / 255))
    # Where nothing was, the base colour must not shine through the edge.
    fresh = (canvas.alpha[window] == 0) & (mask > 0)
    canvas.colour[window][fresh] = coat[fresh]
    np.maximum(canvas.alpha[window], mask, out=canvas.alpha[window])
    part = mask.astype(np.float32) * np.float32(1 / 255)
    part[fresh] = 1
    for layer, value in ((canvas.sun, sun), (canvas.sky, sky)):
        layer[window] += (value - layer[window]) * part


def _feather(root: Points, tip: Points, width: float) -> Points:
    """A blade from root to tip with a round end."""
    along = tip - root
    across = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-9) * width
    return np.asarray(root + _BLADE @ np.stack([along, across]))


def _rounded(outline: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """An outline with its corners cut (Chaikin, "An algorithm for high-speed curve generation", 1974)."""
    points = np.array(outline)
    following = np.roll(points, -1, axis=0)
    cut = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1)
    return [(float(x), float(y)) for x, y in cut.reshape(-1, 2)]


_BLADE = np.array([[0, -0.3], [0.6, -0.5], [0.9, -0.4], [1.0, -0.08], [1.0, 0.08], [0.9, 0.4], [0.6, 0.5], [0, 0.3]])
