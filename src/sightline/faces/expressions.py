"""How emotions move a drawn face: action units, as faces are coded by those who study them.

Ekman, Friesen & Hager, 'Facial Action Coding System', 2002; which units make which emotion: Friesen & Ekman,
'EMFACS-7', 1983. Each unit is 0 at rest and 1 when the muscle does what it can.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from sightline.faces.params import EMOTIONS


@dataclass(frozen=True)
class Expression:
    """The action units that are drawn, by what they do (their number in FACS beside them)."""

    inner_brow: float = 0.0  # 1, up
    outer_brow: float = 0.0  # 2, up
    frown: float = 0.0  # 4, brows down and together
    wide_eyes: float = 0.0  # 5, upper lid up
    cheeks: float = 0.0  # 6, up
    squint: float = 0.0  # 7, lids tight
    nose: float = 0.0  # 9, wrinkled
    upper_lip: float = 0.0  # 10, up
    smile: float = 0.0  # 12, corners up and out
    sulk: float = 0.0  # 15, corners down
    chin: float = 0.0  # 17, up
    stretch: float = 0.0  # 20, corners apart
    tight: float = 0.0  # 23, lips thin
    jaw: float = 0.0  # 26, mouth open
    blink: float = 0.0  # 45


def express(rng: np.random.Generator, emotion: str, strength: float) -> Expression:
    """An expression of ``emotion`` (one of EMOTIONS), from 0 (hardly to be seen) to 1 (unmistakable).

    No two are alike: each unit of an emotion is stronger or weaker by chance, some stay away, and every face also
    moves a little in ways that mean nothing.
    """
    if emotion not in EMOTIONS:
        raise ValueError(f"{emotion!r} is none of {', '.join(EMOTIONS)}")
    idle = dict(zip(UNITS, np.clip(rng.normal(0, 0.045, len(UNITS)), 0, 0.15).tolist(), strict=True))
    units = {name: idle[name] for name in UNITS}
    for name, most in PROTOTYPES[emotion].items():
        here = float(np.clip(rng.normal(0.95, 0.16), 0.45, 1.25)) * (rng.random() > 0.07)
        units[name] += most * strength * here
    units["jaw"] += 0.3 * float(rng.random() < 0.06) * float(rng.uniform(0.3, 1))  # Someone speaks.
    units["blink"] = float(rng.random() < 0.03)
    return replace(Expression(), **{name: min(value, 1.1) for name, value in units.items()})


UNITS = tuple(field.name for field in fields(Expression))

PROTOTYPES = {
    "neutral": {},
    "happiness": {"cheeks": 0.8, "smile": 1.0, "jaw": 0.3, "squint": 0.25},
    "surprise": {"inner_brow": 1.0, "outer_brow": 1.0, "wide_eyes": 0.9, "jaw": 0.85},
    "sadness": {"inner_brow": 1.0, "frown": 0.35, "sulk": 0.95, "chin": 0.5, "squint": 0.3},
    "anger": {"frown": 1.0, "wide_eyes": 0.45, "squint": 0.5, "tight": 0.9, "chin": 0.3},
    "disgust": {"nose": 1.0, "upper_lip": 0.95, "sulk": 0.4, "cheeks": 0.3, "frown": 0.45, "squint": 0.5},
    "fear": {"inner_brow": 1.0, "outer_brow": 0.6, "frown": 0.5, "wide_eyes": 1.0, "stretch": 0.95, "jaw": 0.4},
}
