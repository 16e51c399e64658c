"""Draw what was found into a frame: boxes, class and number, traces, the line and the count so far."""

from collections import Counter as Tally
from collections.abc import Sequence
from itertools import pairwise

import cv2

from sightline.core.images import Pixels
from sightline.parts.counting import Floats, Part
from sightline.parts.motion import Axis

Colour = tuple[int, int, int]


class Annotator:
    """Draws into frames of one size.

    A part has the colour of its class and, once it counts, a thicker box; what may yet become one has a thin grey box.
    ``trace`` is over how many boxes its way is shown.
    """

    def __init__(self, classes: Sequence[str], axis: Axis, line: float, trace: int) -> None:
        self.classes, self.axis, self.trace = classes, axis, trace
        self._scale = max(min(axis.width, axis.height) / 640, 0.4)
        self._start, self._end = _line(axis, line)

    def draw(self, frame: Pixels, parts: Sequence[Part], tally: Tally[int], number: int) -> None:
        """Draw into ``frame``, RGB uint8 (H, W, 3), in place.

        Args:
            frame: changed.
            parts: with a box in this frame, their latest.
            tally: the count so far by class.
            number: of the frame.
        """
        cv2.line(frame, self._start, self._end, LINE, self._px(2))
        for part in parts:
            if not part.number:
                self._box(frame, part, DOUBTFUL, 1)
        for part in parts:
            if part.number:
                colour = COLOURS[part.label % len(COLOURS)]
                self._trace(frame, part, colour)
                self._box(frame, part, colour, self._px(3 if part.counted else 1.5))
                left, top = (int(value) for value in part.last.box_xyxy[:2])
                self._text(frame, f"{self.classes[part.label]} {part.number}", (left, top - self._px(4)), colour, 0.5)
        counts = "   ".join(f"{name} {tally[label]}" for label, name in enumerate(self.classes))
        text = f"{counts}   total {sum(tally.values())}"
        self._text(frame, text, (self._px(10), self._px(24)), PANEL, 0.65)
        self._text(frame, f"frame {number}", (self._px(10), self.axis.height - self._px(10)), PANEL, 0.45)

    def _trace(self, frame: Pixels, part: Part, colour: Colour) -> None:
        trail = part.trail[-self.trace - 1 :] if self.trace else []
        centres = [_centre(moment.box_xyxy) for moment in trail]
        for start, end in pairwise(centres):
            cv2.line(frame, start, end, colour, self._px(1.5))

    def _box(self, frame: Pixels, part: Part, colour: Colour, thickness: int) -> None:
        left, top, right, bottom = (round(float(value)) for value in part.last.box_xyxy)
        cv2.rectangle(frame, (left, top), (right, bottom), colour, thickness)

    def _text(self, frame: Pixels, text: str, place: tuple[int, int], ground: Colour, size: float) -> None:
        """Text on a plate that stays inside the frame; ``place`` is where the text begins, at its foot."""
        size *= self._scale
        (width, height), _ = cv2.getTextSize(text, FONT, size, 1)
        left = min(max(place[0], 3), max(self.axis.width - width - 3, 3))
        foot = min(max(place[1], height + 4), self.axis.height - 4)
        cv2.rectangle(frame, (left - 3, foot - height - 4), (left + width + 3, foot + 4), ground, cv2.FILLED)
        cv2.putText(frame, text, (left, foot), FONT, size, _readable_on(ground), 1, cv2.LINE_AA)

    def _px(self, at_640: float) -> int:
        return max(round(at_640 * self._scale), 1)


def _line(axis: Axis, line: float) -> tuple[tuple[int, int], tuple[int, int]]:
    share = line if axis.direction in ("down", "right") else 1 - line
    at = round(share * axis.side)
    return ((0, at), (axis.width - 1, at)) if axis.number else ((at, 0), (at, axis.height - 1))


def _centre(box: Floats) -> tuple[int, int]:
    return round((box[0] + box[2]) / 2), round((box[1] + box[3]) / 2)


def _readable_on(ground: Colour) -> Colour:
    brightness = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]
    return (0, 0, 0) if brightness > 110 else (255, 255, 255)


# Okabe and Ito's colours, which people with a colour deficiency tell apart as well.
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
LINE, DOUBTFUL, PANEL = (255, 255, 255), (150, 150, 150), (25, 25, 25)
FONT = cv2.FONT_HERSHEY_SIMPLEX
