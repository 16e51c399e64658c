"""The build of birds and the way they hold themselves: proportions, poses, and the skeleton that follows from both.

The unit of length is a bird's body from rump to breast; x points to where it faces, y up, z towards the camera.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float64 here; the drawing rounds it to pixels.
Points = NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """Proportions of a bird in body lengths, angles in degrees.

    ``depth`` is the radius of the trunk, ``head`` of the head. ``bill`` is (length, depth at the base, curve; a
    positive curve bends down, 1 is a hook), ``tail`` (length, width at the end, fork: positive forked, negative
    graduated), ``wing`` (length of the open wing, how far the folded wing reaches beyond the rump). ``pitch`` is the
    usual slope of the back, ``reach`` the direction of the neck, ``cock`` how far the tail is raised. ``stances`` are
    the chances of each of :data:`STANCES`.
    """

    depth: float
    head: float
    neck: float
    bill: tuple[float, float, float]
    tail: tuple[float, float, float]
    wing: tuple[float, float]
    leg: float
    pitch: float
    reach: float
    cock: float
    crest: float
    stances: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Pose:
    """How a bird is seen, angles in radians.

    ``stance`` is one of :data:`STANCES`. ``pitch`` is the slope of the body. ``yaw`` turns it out of the picture plane:
    it is foreshortened. ``roll`` turns its back (positive) or belly to the camera. The head looks in ``gaze`` above
    the horizon, turned by ``turn`` (0: with the body, half pi: into the camera, pi: over the back, negative: away).
    ``stretch`` scales the neck, ``lift`` raises the tail, ``beat`` is where the open wings are, from -1 (down) to 1.
    """

    stance: str
    pitch: float
    yaw: float
    roll: float
    gaze: float
    turn: float
    stretch: float
    lift: float
    beat: float


@dataclass(frozen=True)
class Skeleton:
    """Where the parts of a posed bird are.

    ``spine`` (n, 2) runs from the rump (s = 0) to the head (s = 1), with unit ``normals`` (n, 2) towards the back and
    the distances ``above`` and ``below`` (n,) to the outline. ``head`` (2,) is the centre of the head, ``tail`` the
    direction of the tail, ``feet`` (2, 2) what it stands on (the far foot first).
    """

    spine: Points
    normals: Points
    above: Points
    below: Points
    head: Points
    tail: Points
    feet: Points

    def at(self, s: float, t: float) -> Points:
        """The point at ``s`` along the spine and ``t`` across, -1 on the lower and 1 on the upper outline."""
        # Linear between the two nearest of the spine's points, which are evenly spaced.
        place = min(max(s, 0.0), 1.0) * (len(self.spine) - 1)
        low = min(int(place), len(self.spine) - 2)
        share = np.array([low + 1 - place, place - low])
        two = slice(low, low + 2)
        radius = share @ (self.above if t > 0 else self.below)[two]
        return np.asarray(share @ self.spine[two] + t * radius * (share @ self.normals[two]))


STANCES = ("perched", "standing", "swimming", "flying", "clinging")


def choose_pose(rng: np.random.Generator, shape: Shape) -> Pose:
    """A pose that such a bird takes."""
    stance = STANCES[rng.choice(len(STANCES), p=np.array(shape.stances) / sum(shape.stances))]
    usual = {"swimming": 4.0, "flying": 8.0, "clinging": 72.0}.get(stance, shape.pitch)
    turned = rng.choice([0.0, 1.1, 2.6, -0.5], p=[0.5, 0.22, 0.16, 0.12])
    return Pose(
        stance=stance,
        pitch=float(np.radians(usual + rng.normal(0, 5 if stance == "swimming" else 14))),
        yaw=float(np.clip(abs(rng.normal(0, 0.6)), 0, 1.0)),
        roll=float(np.clip(rng.normal(-0.05, 0.34), -0.7, 0.7)) * (0.4 if stance == "swimming" else 1),
        gaze=float(np.radians(rng.normal(3, 14))),
        turn=float(turned + rng.normal(0, 0.22)),
        stretch=float(rng.uniform(0.35, 1.1)),
        lift=float(np.radians(shape.cock + rng.normal(0, 9))),
        beat=float(rng.choice([-1, 1]) * rng.uniform(0.35, 1)),
    )


def pose_bird(shape: Shape, pose: Pose) -> Skeleton:
    """Put a bird into a pose, its rump at the origin, facing right."""
    along = np.array([np.cos(pose.pitch) * np.cos(pose.yaw), np.sin(pose.pitch)])
    flight = pose.stance == "flying"
    # A flying bird holds its neck out, an upright one above the breast.
    reach = np.radians(20 + shape.reach * 0.1 if flight else shape.reach) + 0.35 * pose.pitch
    neck = np.array([np.cos(reach) * np.cos(pose.yaw), np.sin(reach)])
    length = 0.55 * shape.depth + 0.55 * shape.head + shape.neck * (1 if flight else pose.stretch)
    shoulder = 0.8 * along
    sway = np.array([-neck[1], neck[0]]) * 0.22 * shape.neck * (not flight)
    head = 0.88 * along + length * neck + np.array([0, 0.25 * shape.depth])
    controls = np.array([0 * along, 0.28 * along, 0.55 * along, shoulder, (shoulder + head) / 2 + sway, head])
    slim = min(0.75 * shape.depth, shape.head * 0.95 + 0.1 * shape.depth)
    throat = slim if shape.neck < 0.15 else shape.head * 0.72
    radii = np.array([0.4 * shape.depth, 0.88 * shape.depth, shape.depth, 0.9 * shape.depth, throat, shape.head * 0.82])
    spots = np.array([0, 0.2, 0.4, 0.58, 0.8, 1.0])
    s = np.linspace(0, 1, 30)
    spine = np.stack([_smooth(spots, controls[:, axis], s) for axis in (0, 1)], -1)
    radius = _smooth(spots, radii, s)
    tangents = np.gradient(spine, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True) + 1e-9
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], -1)
    # The belly hangs lower than the back stands up.
    sag = np.interp(s, [0, 0.3, 0.6, 0.8, 1], [0.0, 0.14, 0.14, 0.0, 0.0])
    lift = pose.pitch + np.pi - pose.lift
    tail = np.array([np.cos(lift) * np.cos(pose.yaw), np.sin(lift)])
    partial = Skeleton(spine, normals, radius * (1 - 0.7 * sag), radius * (1 + sag), head, tail, np.zeros((2, 2)))
    return Skeleton(**{**vars(partial), "feet": _feet(shape, pose, partial)})


def _feet(shape: Shape, pose: Pose, bones: Skeleton) -> Points:
    hip = bones.at(0.36, -0.6)
    if pose.stance == "clinging":
        belly = bones.at(0.45, -1.0)
        out = belly[0] + 0.1 + 0.3 * shape.leg
        return np.array([[out, hip[1] + 0.32], [out, hip[1] + 0.12]])
    lowest = min(float(bones.at(s, -1.0)[1]) for s in (0.15, 0.3, 0.45))
    if pose.stance == "swimming":
        # The waterline; what is below it does not show.
        return np.array([[hip[0], lowest + 0.5 * shape.depth]] * 2)
    apart = 0.1 + 0.12 * shape.leg
    # Upright birds stand under their weight, not under their hips.
    middle = 0.5 * hip[0] + 0.5 * bones.at(0.45, 0.0)[0]
    ground = lowest - max(shape.leg, 0.04) * (0.7 if pose.stance == "perched" else 1)
    return np.array([[middle + apart, ground], [middle - apart * 0.4, ground]])


def _smooth(knots: Points, values: Points, at: Points) -> Points:
    """Catmull-Rom spline through (knots, values), with the ends' slopes those of the first and last stretch."""
    slopes = np.gradient(values, knots)
    index = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    width = knots[index + 1] - knots[index]
    x = (at - knots[index]) / width
    h00, h10 = 2 * x**3 - 3 * x**2 + 1, x**3 - 2 * x**2 + x
    h01, h11 = -2 * x**3 + 3 * x**2, x**3 - x**2
    return np.asarray(
        h00 * values[index] + h10 * width * slopes[index] + h01 * values[index + 1] + h11 * width * slopes[index + 1]
    )


GUILDS: dict[str, tuple[Shape, str]] = {
    "warbler": (
        Shape(0.27, 0.19, 0.0, (0.17, 0.055, 0.05), (0.5, 0.16, 0.06), (0.85, 0.1), 0.2, 25, 55, 0, 0.0,
              (8, 1, 0, 0.6, 0.4)),
        "bright",
    ),
    "finch": (
        Shape(0.31, 0.215, 0.0, (0.16, 0.15, 0.15), (0.45, 0.18, 0.15), (0.8, 0.08), 0.17, 32, 60, 0, 0.0,
              (8, 3, 0, 0.6, 0)),
        "bright",
    ),
    "sparrow": (
        Shape(0.3, 0.2, 0.0, (0.14, 0.1, 0.08), (0.48, 0.16, 0.08), (0.78, 0.03), 0.2, 28, 55, 5, 0.08,
              (5, 6, 0, 0.4, 0)),
        "earthy",
    ),
    "thrush": (
        Shape(0.28, 0.175, 0.03, (0.2, 0.06, 0.08), (0.55, 0.17, 0.0), (0.9, 0.1), 0.3, 42, 65, 0, 0.0,
              (5, 6, 0, 0.5, 0)),
        "earthy",
    ),
    "flycatcher": (
        Shape(0.25, 0.19, 0.0, (0.18, 0.065, 0.06), (0.6, 0.16, 0.08), (0.95, 0.12), 0.13, 58, 72, 0, 0.12,
              (9, 0.5, 0, 1.2, 0)),
        "earthy",
    ),
    "wren": (
        Shape(0.34, 0.205, 0.0, (0.24, 0.035, 0.3), (0.36, 0.14, -0.15), (0.65, 0.0), 0.22, 22, 50, 70, 0.0,
              (7, 4, 0, 0, 0.6)),
        "earthy",
    ),
    "swallow": (
        Shape(0.22, 0.165, 0.0, (0.07, 0.05, 0.1), (0.75, 0.22, 0.6), (1.45, 0.35), 0.06, 30, 45, 0, 0.0,
              (4, 0, 0, 7, 0)),
        "bright",
    ),
    "jay": (
        Shape(0.26, 0.19, 0.02, (0.25, 0.085, 0.12), (0.85, 0.2, -0.15), (1.0, 0.05), 0.25, 35, 65, 0, 0.42,
              (8, 3, 0, 1, 0)),
        "bright",
    ),
    "oriole": (
        Shape(0.25, 0.165, 0.02, (0.25, 0.075, 0.05), (0.75, 0.2, -0.12), (0.95, 0.08), 0.22, 40, 62, 0, 0.0,
              (8, 2, 0, 0.8, 0)),
        "dark",
    ),
    "woodpecker": (
        Shape(0.24, 0.185, 0.04, (0.3, 0.07, 0.0), (0.5, 0.08, -0.35), (0.95, 0.02), 0.12, 60, 75, -4, 0.16,
              (2, 0.5, 0, 1, 9)),
        "pied",
    ),
    "kingfisher": (
        Shape(0.31, 0.27, 0.0, (0.6, 0.12, 0.0), (0.28, 0.13, 0.0), (0.85, 0.02), 0.06, 48, 70, 0, 0.34,
              (9, 0, 0, 1.2, 0)),
        "bright",
    ),
    "duck": (
        Shape(0.25, 0.165, 0.2, (0.27, 0.1, -0.12), (0.24, 0.12, -0.3), (0.95, 0.05), 0.14, 8, 68, 8, 0.0,
              (0, 2.5, 9, 1.2, 0)),
        "pied",
    ),
    "grebe": (
        Shape(0.21, 0.125, 0.5, (0.28, 0.05, 0.0), (0.07, 0.1, -0.2), (0.8, 0.0), 0.12, 6, 78, 10, 0.14,
              (0, 0, 1, 0, 0)),
        "dark",
    ),
    "gull": (
        Shape(0.22, 0.155, 0.08, (0.24, 0.075, 0.12), (0.4, 0.16, 0.1), (1.45, 0.3), 0.22, 12, 60, 0, 0.0,
              (0.5, 5, 2.5, 6, 0)),
        "pale",
    ),
    "sandpiper": (
        Shape(0.235, 0.135, 0.16, (0.5, 0.04, 0.05), (0.28, 0.1, -0.1), (1.05, 0.12), 0.55, 14, 62, 0, 0.0,
              (0, 9, 0.5, 1, 0)),
        "earthy",
    ),
    "heron": (
        Shape(0.2, 0.115, 0.85, (0.5, 0.07, 0.0), (0.25, 0.12, -0.1), (1.2, 0.05), 0.95, 28, 80, 0, 0.3,
              (1, 9, 0, 1.2, 0)),
        "pale",
    ),
    "hummingbird": (
        Shape(0.22, 0.18, 0.02, (0.62, 0.03, 0.06), (0.42, 0.2, 0.15), (0.85, 0.1), 0.04, 45, 65, 0, 0.0,
              (6, 0, 0, 5, 0)),
        "bright",
    ),
    "hawk": (
        Shape(0.27, 0.165, 0.02, (0.13, 0.115, 0.9), (0.65, 0.2, 0.0), (1.35, 0.2), 0.2, 66, 78, 0, 0.0,
              (8, 1, 0, 3, 0)),
        "earthy",
    ),
    "parrot": (
        Shape(0.27, 0.215, 0.0, (0.16, 0.19, 1.0), (0.95, 0.07, -0.5), (0.95, 0.15), 0.1, 60, 74, 0, 0.0,
              (9, 0.5, 0, 1, 1)),
        "bright",
    ),
    "dove": (
        Shape(0.28, 0.135, 0.07, (0.13, 0.045, 0.15), (0.65, 0.16, -0.25), (1.0, 0.08), 0.15, 22, 66, 0, 0.0,
              (5, 6, 0, 1, 0)),
        "pale",
    ),
    "rail": (
        Shape(0.29, 0.155, 0.1, (0.22, 0.09, 0.06), (0.18, 0.1, -0.2), (0.8, 0.0), 0.42, 16, 64, 35, 0.0,
              (0, 7, 5, 0, 0)),
        "dark",
    ),
}  # fmt: skip
"""Builds of birds, each with the kind of colours that it mostly has."""
