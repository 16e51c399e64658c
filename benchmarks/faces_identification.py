"""How long it takes to identify one face among 10, 1,000 and 100,000 enrolled vectors.

    python benchmarks/faces_identification.py [--rounds 50]

Vectors are of 128 and 512 numbers, eight a person, spread about as those of a face network are: photos of one person
at a cosine of 0.6, of two people near 0. A known face and a stranger are asked for in turn; the median counts.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sightline.faces.gallery import Gallery, identify
from sightline.faces.neighbours import unit

SIZES, DIMENSIONS, PHOTOS, NEIGHBOURS, THRESHOLD = (10, 1_000, 100_000), (128, 512), 8, 5, 0.35


def main() -> None:
    """Time all sizes, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="of each kind of face")
    options = parser.parse_args()
    columns = ("vectors", "numbers", "people", "known", "stranger", "slowest")
    print("".join(f"{column:>12}" for column in columns), "  limit 5 ms")
    for size in SIZES:
        for dimensions in DIMENSIONS:
            report(size, dimensions, options.rounds)


def report(size: int, dimensions: int, rounds: int) -> None:
    """One line of the table."""
    rng = np.random.default_rng(0)
    people = -(-size // PHOTOS)
    centres = rng.standard_normal((people, dimensions), np.float32)
    owners = np.arange(size) // PHOTOS
    names = tuple(f"person {number:06}" for number in owners)
    gallery = Gallery(near(rng, centres[owners]), names, names, "benchmark")
    asked = rng.integers(people, size=rounds)
    known, strangers = near(rng, centres[asked]), unit(rng.standard_normal((rounds, dimensions), np.float32))
    # Names are numbered once for a gallery, not for each face.
    identify(gallery, known[:1], NEIGHBOURS, THRESHOLD)
    times: tuple[list[float], list[float]] = ([], [])
    for row in range(rounds):
        for kind, faces in enumerate((known, strangers)):
            started = time.perf_counter()
            found, _ = identify(gallery, faces[row : row + 1], NEIGHBOURS, THRESHOLD)
            times[kind].append(1e3 * (time.perf_counter() - started))
            if kind == 0 and found != [f"person {asked[row]:06}"]:
                raise RuntimeError(f"{found} is not person {asked[row]:06}")
    medians = "".join(f"{statistics.median(kind):>9.3f} ms" for kind in times)
    print(f"{size:>12,}{dimensions:>12}{people:>12,}{medians}{max(*times[0], *times[1]):>9.3f} ms", flush=True)


def near(rng: np.random.Generator, centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors about centres, at a cosine of about 0.6 with each other."""
    return unit(centres + 0.8 * rng.standard_normal(centres.shape, np.float32))


if __name__ == "__main__":
    main()
