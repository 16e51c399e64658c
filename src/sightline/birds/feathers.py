"""Plumage as flat textures: the trunk, the head and the folded wing of a species, unrolled.

Feather marks are drawn in these frames, so that they bend, foreshorten and turn with the bird that wears them. Trunk:
(TRUNK[0], TRUNK[1], 3), columns along the spine from rump to head, rows from back (top) to belly. Head: square, columns
from nape to face, rows from crown to chin. Wing: with a fourth channel, its outline; columns from shoulder to tip, rows
from the edge at the back (top) to the edge below. All uint8 sRGB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.birds.plumage import Colour
from sightline.core.rendering import fractal

Texture = NDArray[Any]
TRUNK = (96, 176)
HEAD = 112
WING = (72, 176)


@dataclass(frozen=True)
class Wear:
    """The plumage of one bird: a species' colours as this individual wears them."""

    regions: Mapping[str, Colour]
    marks: Mapping[str, Colour]
    faded: float


def wear(
    rng: np.random.Generator, regions: Mapping[str, Colour], marks: Mapping[str, Colour], dimorphism: float
) -> Wear:
    """What an individual makes of the colours of its species: fresh or worn, and duller if female or young."""
    faded = float(dimorphism * (rng.random() < 0.45) * rng.uniform(0.6, 1) + 0.08 * rng.random())
    tone, hue = rng.normal(1, 0.05), rng.normal(0, 3, (len(regions) + len(marks), 3))
    colours = np.clip(np.array([*regions.values(), *marks.values()]) * tone + hue, 3, 252)
    grey = colours.mean(1, keepdims=True) * np.array([1.04, 1.0, 0.93])
    colours = colours + (0.75 * grey + 0.25 * 120 - colours) * 0.7 * faded
    tuples = [(int(r), int(g), int(b)) for r, g, b in colours.tolist()]
    own = dict(zip(regions, tuples, strict=False))
    # The bill and the eye do not fade.
    own |= {name: regions[name] for name in ("bill", "iris")}
    return Wear(own, dict(zip(marks, tuples[len(regions) :], strict=True)), faded)


def trunk_texture(rng: np.random.Generator, bird: Wear) -> Texture:
    """The feathers of the trunk and neck."""
    regions, marks = bird.regions, bird.marks
    sheet: Texture = np.full((*TRUNK, 3), regions["belly"], np.uint8)
    edge = rng.uniform(-0.03, 0.03)
    _patch(sheet, [(0.1, 0.12), (0.62, 0.12), (0.62, -0.4), (0.25, -0.45), (0.1, -0.2)], regions["flank"])
    _patch(sheet, [(0.5, 1), (0.54, -1.1), (0.86, -1.1), (0.86, 1)], regions["breast"])
    _patch(sheet, [(0.8, 1), (0.8, -1.1), (1.02, -1.1), (1.02, 1)], regions["throat"])
    _patch(sheet, [(-0.1, 0.2), (0.12, 0.1), (0.2, -1.1), (-0.1, -1.1)], regions["vent"])
    back = [(-0.1, 1.1), (-0.1, 0.1), (0.3, 0.22), (0.62, 0.25 + edge), (0.78, 0.12), (1.02, 0.05), (1.02, 1.1)]
    _patch(sheet, back, regions["back"])
    _patch(sheet, [(0.84, 1.1), (0.86, 0.15), (1.02, 0.0), (1.02, 1.1)], regions["crown"])
    _patch(sheet, [(-0.1, 1.1), (-0.1, 0.12), (0.16, 0.2), (0.2, 1.1)], regions["rump"])
    if "mantle" in marks:
        _patch(sheet, [(0.28, 1.1), (0.3, 0.3), (0.66, 0.3), (0.74, 1.1)], marks["mantle"])
    if "rump_patch" in marks:
        _patch(sheet, [(-0.1, 1.1), (-0.1, 0.05), (0.22, 0.15), (0.24, 1.1)], marks["rump_patch"])
    if "breast_patch" in marks:
        patch = [(0.46, -1.1), (0.5, -0.2), (0.62, 0.12), (0.8, 0.1), (0.82, -1.1)]
        _patch(sheet, patch, marks["breast_patch"])
    if "belly_patch" in marks:
        _patch(sheet, [(0.12, -1.1), (0.16, -0.45), (0.34, -0.3), (0.48, -0.5), (0.52, -1.1)], marks["belly_patch"])
    if "flank_patch" in marks:
        _patch(sheet, [(0.14, 0.2), (0.6, 0.22), (0.62, -0.3), (0.3, -0.5), (0.14, -0.35)], marks["flank_patch"])
    if "bib" in marks:
        _patch(sheet, [(0.76, -1.1), (0.8, -0.35), (0.9, 0.0), (1.02, 0.0), (1.02, -1.1)], marks["bib"])
    sheet = cv2.GaussianBlur(sheet, (0, 0), 2.4)
    if "breast_band" in marks:
        _line(sheet, [(0.69, 0.35), (0.66, -0.2), (0.64, -1.1)], marks["breast_band"], 0.055)
    if "collar" in marks:
        _line(sheet, [(0.83, 1.1), (0.83, 0.3), (0.81, -1.1)], marks["collar"], 0.05)
    if "nape_patch" in marks:
        _patch(sheet, [(0.86, 1.1), (0.86, 0.4), (1.02, 0.3), (1.02, 1.1)], marks["nape_patch"])
    if "bars" in marks:
        for s in np.arange(0.12, 0.76, 0.062) + rng.uniform(0, 0.05):
            _line(sheet, [(s, 0.15), (s + rng.normal(0, 0.006), -0.4), (s, -1.1)], marks["bars"], 0.016)
    if "streaks" in marks:
        for s, u in zip(rng.uniform(0.22, 0.82, 60), rng.uniform(-1, 0.1, 60), strict=True):
            _line(sheet, [(s, u), (s - rng.uniform(0.03, 0.06), u - 0.03)], marks["streaks"], rng.uniform(0.01, 0.02))
    if "spots" in marks:
        for s, u in zip(rng.uniform(0.3, 0.8, 46), rng.uniform(-0.95, 0.08, 46), strict=True):
            _dot(sheet, s, u, rng.uniform(0.009, 0.017), marks["spots"])
    return _ruffle(rng, cv2.GaussianBlur(sheet, (0, 0), 0.7), (34, 9))


def head_texture(rng: np.random.Generator, bird: Wear) -> Texture:
    """The feathers of the head; the eye sits at :data:`EYE`."""
    regions, marks = bird.regions, bird.marks
    sheet = np.full((HEAD, HEAD, 3), regions["cheek"], np.uint8)
    face = _Face(sheet)
    crown = [(-1.1, -0.35), (-0.6, 0.1), (0.2, 0.3), (1.1, 0.2), (1.1, 1.1), (-1.1, 1.1)]
    face.patch(crown, regions["crown"])
    face.patch([(-0.75, -1.1), (-0.4, -0.45), (0.4, -0.3), (1.1, -0.28), (1.1, -1.1)], regions["throat"])
    face.patch([(-1.1, -0.3), (-0.75, -0.2), (-0.62, 1.1), (-1.1, 1.1)], regions["crown"])
    if "bib" in marks:
        face.patch([(-0.5, -1.1), (-0.1, -0.36), (0.6, -0.2), (1.1, -0.2), (1.1, -1.1)], marks["bib"])
    if "nape_patch" in marks:
        face.patch([(-1.1, -0.2), (-0.7, -0.2), (-0.45, 0.35), (-0.5, 1.1), (-1.1, 1.1)], marks["nape_patch"])
    if "cap" in marks:
        face.patch([(-0.95, 0.28), (0.1, 0.36), (1.1, 0.2), (1.1, 1.1), (-1.1, 1.1)], marks["cap"])
    if "ear" in marks:
        face.patch([(-0.62, 0.0), (-0.3, 0.14), (0.1, 0.02), (0.12, -0.28), (-0.3, -0.46), (-0.6, -0.28)], marks["ear"])
    if "mask" in marks:
        face.patch([(1.1, 0.14), (0.4, 0.36), (-0.35, 0.26), (-0.5, 0.0), (0.1, -0.1), (1.1, -0.22)], marks["mask"])
    sheet[:] = cv2.GaussianBlur(sheet, (0, 0), 1.6)
    if "crown_stripe" in marks:
        face.line([(-0.9, 0.82), (0.0, 0.9), (0.9, 0.6)], marks["crown_stripe"], 0.17)
    if "brow" in marks:
        face.line([(0.95, 0.14), (0.42, 0.42), (-0.1, 0.42), (-0.62, 0.24)], marks["brow"], 0.11)
    if "eye_line" in marks:
        face.line([(1.0, 0.05), (0.4, 0.16), (-0.1, 0.14), (-0.62, 0.0)], marks["eye_line"], 0.11)
    if "whisker" in marks:
        face.line([(0.85, -0.2), (0.4, -0.36), (0.0, -0.58)], marks["whisker"], 0.12)
    if "eye_ring" in marks:
        face.ring(EYE, 0.235, marks["eye_ring"])
    return _ruffle(rng, cv2.GaussianBlur(sheet, (0, 0), 0.8), (16, 16))


def wing_texture(rng: np.random.Generator, bird: Wear) -> Texture:
    """A folded wing with its outline as the fourth channel."""
    regions, marks = bird.regions, bird.marks
    outline = [(0.0, 0.35), (0.05, 0.1), (0.2, 0.0), (0.5, 0.06), (0.78, 0.3), (1.0, 0.62)]
    outline += [(0.97, 0.7), (0.7, 0.8), (0.45, 0.97), (0.22, 0.97), (0.06, 0.72)]
    sheet = np.zeros((*WING, 4), np.uint8)
    sheet[..., :3] = regions["flight"]
    alpha = np.zeros(WING, np.uint8)
    _fill(alpha, outline, (255,), WING)
    flight = np.array(regions["flight"])
    pale = tuple((flight * 0.72 + 62).astype(int).tolist())
    dark = tuple((flight * 0.6).astype(int).tolist())
    tertials = [(0.35, -0.1), (0.62, 0.06), (0.68, 0.4), (0.45, 0.66), (0.3, 0.5)]
    _fill(sheet, tertials, (*_blend(regions["coverts"], regions["flight"], 0.5), 0), WING)
    if "wing_patch" in marks:
        _fill(sheet, [(0.42, 0.55), (0.66, 0.42), (0.74, 0.62), (0.5, 0.92)], (*marks["wing_patch"], 0), WING)
    for row in np.linspace(0.2, 0.92, 8):
        shift = 0.9 - 0.6 * abs(row - 0.66)
        _stroke(sheet, [(0.4, row * 0.9 + 0.06), (shift, 0.34 + 0.4 * row)], (*dark, 0), 2, WING)
        _stroke(sheet, [(0.42, row * 0.9 + 0.08), (shift, 0.36 + 0.4 * row)], (*pale, 0), 1, WING)
    coverts = [(-0.05, -0.1), (0.34, -0.1), (0.46, 0.3), (0.42, 0.72), (0.3, 1.05), (-0.05, 1.05)]
    _fill(sheet, coverts, (*regions["coverts"], 0), WING)
    fringe = _blend(regions["coverts"], (226, 212, 184), 0.28)
    for a in (0.1, 0.19, 0.28):
        for b in np.linspace(0.05, 0.95, 7) + rng.uniform(0, 0.05):
            centre = (round(a * WING[1]), round(b * WING[0]))
            cv2.ellipse(sheet, centre, (8, 5), 0, -80, 80, (*fringe, 0), 1, cv2.LINE_AA)
    if "shoulder" in marks:
        _fill(sheet, [(-0.05, 0.2), (0.12, 0.2), (0.24, 0.5), (0.2, 0.9), (0.0, 0.95)], (*marks["shoulder"], 0), WING)
    if "wing_bars" in marks:
        _stroke(sheet, [(0.24, 0.2), (0.3, 0.5), (0.24, 0.92)], (*marks["wing_bars"], 0), 6, WING)
        _stroke(sheet, [(0.38, 0.2), (0.44, 0.5), (0.36, 0.95)], (*marks["wing_bars"], 0), 7, WING)
    sheet[..., :3] = _ruffle(rng, cv2.GaussianBlur(np.ascontiguousarray(sheet[..., :3]), (0, 0), 0.8), (40, 7))
    sheet[..., 3] = alpha
    return sheet


EYE = (0.4, 0.16)
"""Where the eye is in the frame of the head: (towards the face, towards the crown), in -1 … 1."""

Place = tuple[float, float]


class _Face:
    """Draws in the frame of the head: x from nape (-1) to face (1), y from chin (-1) to crown (1)."""

    def __init__(self, sheet: Texture):
        self.sheet = sheet

    def patch(self, outline: Sequence[Place], colour: Colour) -> None:
        _fill(self.sheet, [self._to(p) for p in outline], colour, (HEAD, HEAD))

    def line(self, course: Sequence[Place], colour: Colour, width: float) -> None:
        _stroke(self.sheet, [self._to(p) for p in course], colour, round(width * HEAD / 2) or 1, (HEAD, HEAD))

    def ring(self, at: Place, radius: float, colour: Colour) -> None:
        x, y = self._to(at)
        cv2.circle(self.sheet, (round(x * HEAD), round(y * HEAD)), round(radius * HEAD / 2), colour, -1, cv2.LINE_AA)

    @staticmethod
    def _to(place: Place) -> Place:
        return (place[0] + 1) / 2, (1 - place[1]) / 2


def _patch(sheet: Texture, outline: Sequence[Place], colour: Colour) -> None:
    """Fill an area of the trunk, given as (s, u): 0 … 1 along the spine, -1 … 1 from belly to back."""
    _fill(sheet, [(s, (1 - u) / 2) for s, u in outline], colour, TRUNK)


def _line(sheet: Texture, course: Sequence[Place], colour: Colour, width: float) -> None:
    _stroke(sheet, [(s, (1 - u) / 2) for s, u in course], colour, max(1, round(width * TRUNK[1])), TRUNK)


def _dot(sheet: Texture, s: float, u: float, radius: float, colour: Colour) -> None:
    centre = (round(s * TRUNK[1] * 16), round((1 - u) / 2 * TRUNK[0] * 16))
    cv2.circle(sheet, centre, round(radius * TRUNK[1] * 16), colour, -1, cv2.LINE_AA, 4)


def _fill(sheet: Texture, outline: Sequence[Place], colour: Sequence[int], size: tuple[int, int]) -> None:
    points = np.rint(np.array(outline) * (size[1] * 16, size[0] * 16)).astype(np.int32)
    cv2.fillPoly(sheet, [points], colour, cv2.LINE_AA, 4)


def _stroke(sheet: Texture, course: Sequence[Place], colour: Sequence[int], width: int, size: tuple[int, int]) -> None:
    points = np.rint(np.array(course) * (size[1] * 16, size[0] * 16)).astype(np.int32)
    cv2.polylines(sheet, [points], False, colour, width, cv2.LINE_AA, 4)


def _ruffle(rng: np.random.Generator, sheet: Texture, cells: tuple[int, int]) -> Texture:
    """Feathers lie in tufts: a little lighter and darker, and drawn out along the bird."""
    h, w = sheet.shape[:2]
    tufts = fractal(rng, (h, w), cells[1], 2)
    barbs = cv2.resize(rng.standard_normal((h // 2, cells[0]), np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    gain = 1 + 0.045 * tufts + 0.06 * barbs
    return cv2.multiply(sheet, cv2.merge([gain, gain, gain]), dtype=cv2.CV_8U)


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
