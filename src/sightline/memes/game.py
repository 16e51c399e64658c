"""What a drawn game has to offer to those who post pictures of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sightline.memes.painting import Picture, Rng, Shape

Painter = Callable[[Rng, Shape], Picture]
Marker = Callable[[Rng, Picture], None]


@dataclass(frozen=True)
class Game:
    """An invented game.

    ``scenes`` are its places with their shares, ``art`` its characters close up, ``menu`` a screen of text; ``hud``
    draws the instruments over a scene and ``logo`` its name over any picture, in place. ``words`` are what its players
    talk of, ``title`` its name.
    """

    title: str
    scenes: Sequence[tuple[Painter, float]]
    art: Painter
    menu: Painter
    hud: Marker
    logo: Marker
    words: Sequence[str]
