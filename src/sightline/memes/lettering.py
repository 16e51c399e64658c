"""Words on pictures, without font files: OpenCV's own letters, fattened, narrowed, slanted and spaced into faces."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from sightline.core.rendering import Array, overlap
from sightline.memes.painting import Colour, Picture

CAPITAL = 21.0
"""Height in px of OpenCV's capitals at scale 1."""
WEIGHTS = {
    "regular": (cv2.FONT_HERSHEY_SIMPLEX, 1),
    "semibold": (cv2.FONT_HERSHEY_SIMPLEX, 2),
    "bold": (cv2.FONT_HERSHEY_DUPLEX, 1),
    "black": (cv2.FONT_HERSHEY_DUPLEX, 2),
}
"""Alphabet and thickness by which OpenCV (5.0: one typeface in several weights) is asked for each."""


class Face(NamedTuple):
    """A way to write: the weight, how much fatter than that and how wide for its height a letter is, its slant.

    ``spaced`` puts a gap between letters; ``steps`` above 0 draws them on a raster of so many rows, as old screens do.
    """

    weight: str
    fatter: float = 0.0
    narrow: float = 1.0
    slant: float = 0.0
    spaced: bool = False
    steps: int = 0


FACES = {
    "plain": Face("regular"),
    "bold": Face("bold"),
    "impact": Face("black", 0.03, 0.72),
    "stencil": Face("black", 0.0, 0.8, 0.18),
    "technical": Face("semibold", 0.0, 0.95),
    "round": Face("black", 0.1),
    "friendly": Face("semibold", 0.02),
    "noble": Face("regular", 0.0, 0.8, 0.0, spaced=True),
    "book": Face("regular", 0.0, 0.8, 0.1),
    "raster": Face("bold", 0.0, 1.0, 0.0, steps=10),
}


def letters(text: str, height: float, face: str, extra: float = 0.0) -> Array:
    """Coverage (h, w) uint8 of a line of capitals ``height`` px tall, with room for strokes and descenders.

    ``extra`` widens the strokes by so many px on every side, for outlines; the mask's size does not depend on it.
    """
    style = FACES[face]
    detail = style.steps / height if style.steps else 2.0
    tall = height * detail
    alphabet, thickness = WEIGHTS[style.weight]
    text = " ".join(text) if style.spaced else text
    scale = tall / CAPITAL
    (wide, high), below = cv2.getTextSize(text, alphabet, scale, thickness)
    room = int(np.ceil(0.5 * tall)) + 2
    canvas: Array = np.zeros((high + below + 2 * room, wide + 2 * room), np.uint8)
    cv2.putText(canvas, text, (room, room + high), alphabet, scale, 255, thickness, cv2.LINE_AA)
    if (reach := round(tall * style.fatter + extra * detail)) > 0:
        canvas = cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    if style.slant:
        lean = np.array([[1, -style.slant, style.slant * canvas.shape[0] / 2], [0, 1, 0]], np.float64)
        # Leaning to the right: the upper rows move right.
        canvas = cv2.warpAffine(canvas, lean, canvas.shape[::-1])
    size = (max(1, round(canvas.shape[1] / detail * style.narrow)), max(1, round(canvas.shape[0] / detail)))
    return np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_NEAREST if style.steps else cv2.INTER_AREA))


def write(
    picture: Picture,
    text: str,
    at: Sequence[float],
    height: float,
    colour: Colour,
    face: str = "plain",
    *,
    outline: Colour | None = None,
    anchor: str = "middle",
    fit: float | None = None,
    turn: float = 0.0,
) -> float:
    """Write a line of text, in place, centred at ``at`` (px); give its width in px.

    ``anchor`` left or right puts that end there; ``fit`` makes the letters smaller until the line is so narrow;
    ``turn`` rotates the line by so many degrees.
    """
    if not text:
        return 0.0
    cover = letters(text, height, face)
    if fit is not None and cover.shape[1] - height > fit:
        height = max(3.0, height * fit / (cover.shape[1] - height))
        cover = letters(text, height, face)
    wide = cover.shape[1]
    shift = {"left": -0.5 * height, "middle": -wide / 2, "right": -wide + 0.5 * height}[anchor]
    corner = (round(at[0] + shift), round(at[1] - cover.shape[0] / 2))
    if outline is not None:
        around = letters(text, height, face, extra=max(1.0, 0.1 * height))
        _lay(picture, _turned(around, turn), corner, outline)
    _lay(picture, _turned(cover, turn), corner, colour)
    return float(wide) - height


def write_lines(
    picture: Picture,
    lines: Sequence[str],
    at: Sequence[float],
    height: float,
    colour: Colour,
    face: str = "plain",
    *,
    outline: Colour | None = None,
    anchor: str = "left",
    fit: float | None = None,
    spacing: float = 1.7,
) -> None:
    """Write lines of text below each other; ``at`` is where the first one goes."""
    for number, text in enumerate(lines):
        spot = (at[0], at[1] + number * spacing * height)
        write(picture, text, spot, height, colour, face, outline=outline, anchor=anchor, fit=fit)


def _turned(cover: Array, degrees: float) -> Array:
    if degrees == 0:
        return cover
    h, w = cover.shape
    return np.asarray(cv2.warpAffine(cover, cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1), (w, h)))


def _lay(picture: Picture, cover: Array, corner: tuple[int, int], colour: Colour) -> None:
    there, here = overlap(picture.shape, cover.shape, *corner)
    if there[0].start >= there[0].stop or there[1].start >= there[1].stop:
        return
    share = cover[here][..., None].astype(np.float32) / 255
    under = picture[there]
    picture[there] = under + (np.asarray(colour, np.float32) - under) * share
