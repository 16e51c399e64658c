"""Why a picture was misclassified: explicit rules, the first that applies, each with the numbers that it goes by.

A cause is a reading of the evidence, not a proof. In their order:

1. ``near-duplicate in the other class``: a picture of the predicted class is the same picture but for a few bits of a
   perceptual hash, so one of the two labels is wrong, or nobody could tell.
2. ``low resolution``: next to no detail is left: sharpness below that of 99 in 100 training pictures, or a file with
   less than a third of the network's side in one direction.
3. ``unlike all training data``: further away from its nearest training picture than 95 in 100 training pictures are
   from theirs, so that whatever the network says is a guess.
4. ``text only``: a plain ground with sharp marks on it: text, a logo, a menu.
5. ``label doubtful``: two witnesses, the fine-tuned network and the frozen one's probe, which have not seen it, both
   take it for another class as surely as the probe takes the average picture of that class, and nearly all of its
   nearest training pictures are of that class.
6. ``between the classes``: none of these; both classes have pictures like it.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from sightline.core.images import Pixels

Cause = Literal[
    "near-duplicate in the other class",
    "low resolution",
    "unlike all training data",
    "text only",
    "label doubtful",
    "between the classes",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True)
class Evidence:
    """What is known of a misclassified picture.

    ``confidence`` is that of the network in what it predicted (calibrated); ``twin`` names a near-duplicate labelled as
    was predicted, '' for none; ``side`` is the shorter side of the file in
    px; ``distance`` that to the nearest training picture in frozen features; ``doubt`` the probe's probability of the
    class that it prefers to the label, 0 where it prefers the label; ``agreeing`` the share of the nearest training
    pictures with the predicted label; ``ground`` and ``marks`` as in :func:`look_for_text`.
    """

    confidence: float
    twin: str
    sharpness: float
    side: int
    distance: float
    doubt: float
    agreeing: float
    ground: float
    marks: float


@dataclass(frozen=True)
class Limits:
    """What is usual among the training pictures.

    ``sharpness`` of the hundredth part that is least sharp; ``side`` in px; ``distance`` of the twentieth part that is
    most alone; ``doubt`` the mean probability that the probe gives to the preferred class where that is the label.
    """

    sharpness: float
    side: float
    distance: float
    doubt: float


class Text(NamedTuple):
    """``ground``: share of the largest plain area; ``marks``: share of what is not plain that has hard edges."""

    ground: float
    marks: float


def name_cause(evidence: Evidence, limits: Limits) -> tuple[Cause, str]:
    """The first rule that applies, and the numbers behind it in words."""
    if evidence.twin:
        return CAUSES[0], f"the same picture as {evidence.twin}"
    if evidence.sharpness < limits.sharpness:
        return CAUSES[1], f"sharpness {evidence.sharpness:.2f}, 99 in 100 training pictures have {limits.sharpness:.2f}"
    if evidence.side < limits.side:
        return CAUSES[1], f"shorter side {evidence.side} px, the network sees {3 * limits.side:.0f}"
    if evidence.distance > limits.distance:
        usual = f"95 in 100 training pictures have one within {limits.distance:.3f}"
        return CAUSES[2], f"nearest training picture at {evidence.distance:.3f}, {usual}"
    if evidence.ground >= GROUND and evidence.marks >= MARKS:
        return CAUSES[3], f"plain ground {evidence.ground:.0%}, hard edges on {evidence.marks:.0%} of the rest"
    if min(evidence.doubt, evidence.confidence) >= limits.doubt and evidence.agreeing >= AGREEING:
        return CAUSES[4], (
            f"the probe is {evidence.doubt:.2f} and the network {evidence.confidence:.2f} sure of the other class "
            f"(usual: {limits.doubt:.2f}), {evidence.agreeing:.0%} of the nearest training pictures are of it"
        )
    return CAUSES[5], (
        f"the network is {evidence.confidence:.2f} sure, "
        f"{evidence.agreeing:.0%} of the nearest training pictures are of the predicted class"
    )


def look_for_text(image: Pixels) -> Text:
    """Measure what sets text, logos and menus off from scenes: a plain ground, and hard edges on it.

    Args:
        image: uint8 RGB (S, S, 3).
    """
    usual = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA if len(image) > SIDE else cv2.INTER_LINEAR)
    calm = cv2.medianBlur(usual, 3)  # JPEG's ripples
    kernel = np.ones((3, 3), np.uint8)
    steps = (cv2.dilate(calm, kernel).astype(np.int64) - cv2.erode(calm, kernel)).max(2)
    plain = steps <= PLAIN
    areas = cv2.connectedComponentsWithStats(plain.astype(np.uint8), connectivity=4)[2][1:, cv2.CC_STAT_AREA]
    rest = steps[~plain]
    return Text(float(areas.max(initial=0) / plain.size), float((rest > HARD).mean()) if len(rest) else 0.0)


AGREEING = 0.8
GROUND = 0.45
MARKS = 0.25
SIDE = 160
PLAIN = 10
HARD = 60
