"""Draw on a photo what was found in it: a box for each face, and beside it a plate with words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sightline.core.boxes import clip, intersections
from sightline.core.files import replacing
from sightline.core.images import Pixels
from sightline.faces.predictor import Face

Colour = tuple[int, int, int]
Boxes = NDArray[np.float64]

GREEN: Colour = (0, 122, 64)
"""Identified."""
GREY: Colour = (88, 88, 88)
"""Nobody known."""
RED: Colour = (190, 24, 40)
"""Misidentified; only where the truth is known."""


@dataclass(frozen=True)
class Mark:
    """A face to point out: its box in px of the photo, and lines of words if any, the first of them bold.

    ``shape`` says what is drawn: the 'box'; a 'circle' around it, for somebody who was missed; or 'both'.
    """

    box_xyxy: Sequence[float]
    lines: tuple[str, ...]
    colour: Colour
    shape: Literal["box", "circle", "both"] = "box"


def marks_of(faces: Sequence[Face]) -> list[Mark]:
    """Green with the name for who is identified, who come first, grey for others, and the emotion below."""
    return [
        Mark(
            face.box_xyxy,
            (face.name or "unknown", f"{face.emotion} {face.emotions[face.emotion]:.0%}"),
            GREEN if face.name else GREY,
        )
        for face in sorted(faces, key=lambda face: face.name is None)
    ]


def draw(image: Pixels, marks: Sequence[Mark]) -> Pixels:
    """Draw marks on a copy of a photo, which is enlarged where its faces are small beside words that can be read.

    Boxes and plates have a white rim, so that they stand out from any background. A plate lies where it covers the
    least of faces and of other plates, always whole inside the picture; words too long for it end in an ellipsis.

    Args:
        image: (H, W, 3) uint8 RGB.
        marks: in order of importance: a later plate makes way for an earlier one, and lies under it where there is
            no room for both.

    Returns:
        uint8 RGB, at least of the photo's size.
    """
    boxes = np.array([mark.box_xyxy for mark in marks], dtype=np.float64).reshape(-1, 4)
    scale = _scale(image, boxes)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    canvas = Image.fromarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) if scale > 1 else image)
    boxes = clip(boxes * scale, canvas.width, canvas.height)
    letters = _letter_size(canvas, boxes)
    plates = _lay_out(marks, boxes, letters, canvas.size)
    pen = ImageDraw.Draw(canvas)
    line = max(3, round(letters / 4))
    for box, mark in zip(boxes.tolist(), marks, strict=True):
        if mark.shape != "circle":
            _rectangle(pen, box, mark.colour, line)
        if mark.shape != "box":
            _circle(pen, box, mark.colour, line)
    for plate, left, top in reversed(plates):
        plate.draw(pen, left, top)
    return np.array(canvas)


def picture_names(photos: Sequence[str]) -> list[str]:
    """Names for what is written of photos: theirs without the ending, with a number where that is taken.

    >>> picture_names(["a.jpg", "b.png", "a.png"])
    ['a', 'b', 'a-2']
    """
    # A dictionary for its order.
    names: dict[str, None] = {}
    for photo in photos:
        stem = Path(photo).with_suffix("").as_posix()
        numbered = (f"{stem}-{number}" for number in count(2))
        names[next(name for name in chain([stem], numbered) if name not in names)] = None
    return list(names)


def write_jpeg(path: Path, image: Pixels) -> None:
    """Write an (H, W, 3) uint8 RGB picture as JPEG.

    Raises:
        OSError: the file cannot be written, or the picture has more px a side than a JPEG can have.
    """
    if max(image.shape) > LARGEST_JPEG:
        # OpenCV would give an empty file.
        raise OSError(f"{image.shape[1]} x {image.shape[0]} px are too many for a JPEG")
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    with replacing(path) as part:
        part.write_bytes(coded.tobytes())


def _scale(image: Pixels, boxes: Boxes) -> float:
    """So that the median face is as wide as a word, as long as the picture does not get too large."""
    height, width = image.shape[:2]
    wanted = SMALLEST_PICTURE / min(height, width)
    if len(boxes):
        wanted = max(wanted, FACE_WIDTH / max(float(np.median(boxes[:, 2] - boxes[:, 0])), 1.0))
    return float(max(1.0, min(wanted, LARGEST_PICTURE / max(height, width))))


def _letter_size(canvas: Image.Image, boxes: Boxes) -> int:
    """Px: in proportion to the faces, and never so small that a picture shown at screen size cannot be read."""
    longer = max(canvas.size)
    least = max(SMALLEST_LETTERS, longer / 110)
    faces = float(np.median(boxes[:, 2] - boxes[:, 0])) if len(boxes) else 0.0
    return int(np.clip(0.15 * faces, least, max(least, 0.03 * longer)))


class _Plate:
    """Lines of words on a ground of the mark's colour; ``size`` is its width and height in px."""

    def __init__(self, mark: Mark, letters: int, most: int) -> None:
        self.colour = mark.colour
        self.room = max(2, letters // 4)
        fonts = [_font(letters, is_bold=number == 0) for number in range(len(mark.lines))]
        self.lines = [
            (_shortened(text, font, most - 2 * self.room - 2), font)
            for text, font in zip(mark.lines, fonts, strict=True)
        ]
        self.step = round(1.25 * letters)
        width = max(font.getlength(text) for text, font in self.lines)
        self.size = (int(np.ceil(width)) + 2 * self.room + 2, self.step * len(self.lines) + self.room + 2)

    def draw(self, pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
        width, height = self.size
        pen.rounded_rectangle(
            (left, top, left + width - 1, top + height - 1), self.room, fill=self.colour, outline="white"
        )
        for number, (text, font) in enumerate(self.lines):
            baseline = top + 1 + self.room // 2 + number * self.step + round(0.8 * self.step)
            pen.text((left + 1 + self.room, baseline), text, fill="white", font=font, anchor="ls")


def _lay_out(marks: Sequence[Mark], boxes: Boxes, letters: int, size: tuple[int, int]) -> list[tuple[_Plate, int, int]]:
    """The plates, with left and top: in letters of that size or, where it is crowded, as small as can be read."""
    said = [number for number, mark in enumerate(marks) if mark.lines]
    best: tuple[float, list[tuple[_Plate, int, int]]] = (np.inf, [])
    for smaller in range(letters, min(letters, SMALLEST_LETTERS) - 1, -2):
        plates = [_Plate(marks[number], smaller, size[0]) for number in said]
        covered, places = _places([plate.size for plate in plates], boxes[said], boxes, size)
        if covered < best[0]:
            best = covered, [(plate, *place) for plate, place in zip(plates, places, strict=True)]
        if covered <= LITTLE * sum(plate.size[0] * plate.size[1] for plate in plates):
            break
    return best[1]


def _places(
    plates: Sequence[tuple[int, int]], own: Boxes, boxes: Boxes, size: tuple[int, int]
) -> tuple[float, list[tuple[int, int]]]:
    """Left upper corners of plates beside their ``own`` boxes, and the area of ``boxes`` and plates that they cover."""
    taken = np.empty((0, 4))
    places = []
    in_all = 0.0
    for plate, box in zip(plates, own, strict=True):
        corners = _beside(box, plate, *size)
        candidates = np.concatenate([corners, corners + plate], axis=1)
        covered = intersections(candidates, boxes).sum(1) + 2 * intersections(candidates, taken).sum(1)
        chosen = int(covered.argmin())
        in_all += float(covered[chosen])
        taken = np.concatenate([taken, candidates[chosen : chosen + 1]])
        places.append((int(corners[chosen, 0]), int(corners[chosen, 1])))
    return in_all, places


def _beside(box: NDArray[np.float64], size: tuple[int, int], width: int, height: int) -> NDArray[np.float64]:
    """Corners of plates around a box, the best first, pushed into the picture, (8, 2)."""
    left, top, right, bottom = box
    wide, high = size
    middle = (left + right - wide) / 2
    corners = np.array(
        [
            (left, bottom + GAP),
            (left, top - GAP - high),
            (middle, bottom + GAP),
            (middle, top - GAP - high),
            (right + GAP, top),
            (left - GAP - wide, top),
            (right + GAP, bottom - high),
            (left - GAP - wide, bottom - high),
        ]
    )
    return np.asarray(np.clip(corners.round(), 0, np.maximum([width - wide, height - high], 0)))


def _rectangle(pen: ImageDraw.ImageDraw, box: Sequence[float], colour: Colour, line: int) -> None:
    corners = [round(value) for value in box]
    left, top = min(corners[0], corners[2] - 1), min(corners[1], corners[3] - 1)
    outer = (left - 1, top - 1, max(corners[2], left + 1), max(corners[3], top + 1))
    pen.rectangle(outer, outline="white", width=line + 2)
    inner = (outer[0] + 1, outer[1] + 1, max(outer[2] - 1, outer[0] + 1), max(outer[3] - 1, outer[1] + 1))
    pen.rectangle(inner, outline=colour, width=line)


def _circle(pen: ImageDraw.ImageDraw, box: Sequence[float], colour: Colour, line: int) -> None:
    """The ellipse through the corners of the box."""
    left, top, right, bottom = box
    wide, high = (right - left) * (math.sqrt(2) - 1) / 2, (bottom - top) * (math.sqrt(2) - 1) / 2
    outer = (left - wide - 1, top - high - 1, right + wide + 1, bottom + high + 1)
    pen.ellipse(outer, outline="white", width=line + 2)
    pen.ellipse((outer[0] + 1, outer[1] + 1, outer[2] - 1, outer[3] - 1), outline=colour, width=line)


def _shortened(text: str, font: ImageFont.FreeTypeFont, most: float) -> str:
    if font.getlength(text) <= most:
        return text
    while text and font.getlength(text + "…") > most:
        text = text[:-1]
    return text + "…"


@lru_cache
def _font(size: int, *, is_bold: bool) -> ImageFont.FreeTypeFont:
    # The letters of matplotlib: OpenCV's own have no accents, and names do.
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib is not installed: it holds the letters")
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    # The other layout engine is there on some machines only, and sets words differently.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


FACE_WIDTH = 72
"""Px, of the median face in a result picture, if the picture stays within bounds."""
SMALLEST_PICTURE, LARGEST_PICTURE = 360, 2000
"""Px of the shorter side, and of the longer."""
SMALLEST_LETTERS = 11
LARGEST_JPEG = 65500
"""Px a side that OpenCV writes."""
LITTLE = 0.01
"""The share of the plates' area that may lie on faces or other plates, before smaller letters are tried."""
GAP = 3
