"""Progress bars that appear when work takes longer than two seconds and stay quiet away from a terminal."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], description: str, total: int | None = None, unit: str = "it") -> "tqdm[T]":
    """Iterate over ``items`` with a bar on stderr; also usable as a context manager with ``.update(n)``.

    ``total`` is needed where ``items`` has no length.
    """
    # disable=None: tqdm's own switch for "only on a terminal".
    return tqdm(items, desc=description, total=total, unit=unit, delay=2, disable=None, leave=False)


def say(message: str) -> None:
    """Print a line on stderr without tearing a bar that is shown there."""
    tqdm.write(message, file=sys.stderr)
