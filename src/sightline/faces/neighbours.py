"""Nearest neighbours among the vectors of enrolled faces: whose a face is, and how alike it is to that person's photos.

A person's score is the mean similarity of the k photos most like the face, weighted by a softmax of these similarities:
where one photo shows the same pose or the same beard it counts most, and where all are about as like they are averaged.
It serves a person with one photo as well as one with thirty, and never exceeds the best photo's similarity,
which is why people whose best photo is too far away need not be scored at all.

Reading 100,000 vectors from memory takes longer than multiplying them, so a large gallery is read as whole numbers of a
byte each first; only those who may be the best by these are looked at again, and the answer is that of all vectors.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sightline.core.images import Pixels

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

CROP = 112
"""Side in px of the window of an aligned crop that face networks see, in its centre."""


@dataclass(frozen=True)
class Rough:
    """Vectors at a quarter of their size.

    Attributes:
        codes: int8 (N, D), the vectors in multiples of ``step``.
        step: of the largest number 127 are as much.
        error: the most by which a cosine with a unit vector may be off: half a step in each of D numbers, by
            Cauchy-Schwarz, and the rounding of two float32 sums.
    """

    codes: NDArray[np.int8]
    step: float
    error: float


def roughly(vectors: Vectors) -> Rough:
    """Round vectors, float32 (N, D), N > 0, for :func:`nearest_people`."""
    step = max(float(np.abs(vectors).max()) / 127, float(np.finfo(np.float32).tiny))
    dimensions = vectors.shape[1]
    error = step / 2 * dimensions**0.5 + 2 * dimensions * float(np.finfo(np.float32).eps)
    return Rough(np.rint(vectors / np.float32(step)).astype(np.int8), step, error)


def nearest_people(
    queries: Vectors, vectors: Vectors, people: Numbers, k: int, rough: Rough | None = None
) -> tuple[Numbers, NDArray[np.float32]]:
    """Find the best person for each face.

    Args:
        queries: the faces, float32 (M, D), unit length.
        vectors: the enrolled photos, float32 (N, D), unit length.
        people: whose each of them is, (N,).
        k: photos of a person that count, at most.
        rough: the vectors again, to be read in place of most of them; the answer is the same.

    Returns:
        The numbers of the best people, int64 (M,), and their scores, float32 (M,), in [-1, 1] with larger for surer;
        -1 and -1.0 where nobody is enrolled. A face's answer does not depend on the faces that it is asked with. Of
        people with equal scores the one with the smallest number is given.
    """
    best = np.full(len(queries), -1, np.int64)
    scores = np.full(len(queries), -1.0, np.float32)
    if len(vectors):
        for row, query in enumerate(queries):
            # Not a product of matrices: BLAS shares one out among threads that wait for each other on a busy machine,
            # ten times as long as a single one reads the vectors.
            near = slice(None) if rough is None else _in_question(query, vectors, people, k, rough)
            best[row], scores[row] = _best_person(np.vecdot(vectors[near], query), people[near], k)
    return best, scores


def score_people(queries: Vectors, vectors: Vectors, people: Numbers, k: int) -> NDArray[np.float64]:
    """The scores of all P people for each face, (M, P); people are numbered from 0 to P - 1. Arguments as before."""
    scores = np.empty((len(queries), int(people.max()) + 1))
    for row, query in enumerate(queries):
        similarities = np.vecdot(vectors, query)
        scores[row] = [_score(similarities[people == person], k) for person in range(scores.shape[1])]
    return scores


def leave_one_out(vectors: Vectors, people: Numbers, groups: Numbers, k: int) -> tuple[Numbers, NDArray[np.float32]]:
    """Answer for each enrolled photo as if its group (the photo itself; the whole person) were not enrolled.

    Args:
        vectors: float32 (N, D), unit length.
        people: whose each is, (N,).
        groups: what is left out together, (N,).
        k: as in :func:`nearest_people`.

    Returns:
        As :func:`nearest_people`.
    """
    best = np.full(len(vectors), -1, np.int64)
    scores = np.full(len(vectors), -1.0, np.float32)
    for row, vector in enumerate(vectors):
        rest = groups != groups[row]
        if rest.any():
            best[row], scores[row] = _best_person(np.vecdot(vectors[rest], vector), people[rest], k)
    return best, scores


def own_similarity(vectors: Vectors, people: Numbers, k: int) -> NDArray[np.float32]:
    """The score of each photo by the other photos of its person, without those of people who have one photo only."""
    of_people = [vectors[people == person] for person in np.unique(people)]
    scores = [leave_one_out(own, np.zeros(len(own), np.int64), np.arange(len(own)), k)[1] for own in of_people]
    return np.concatenate([np.empty(0, np.float32), *(own for own in scores if len(own) > 1)])


def alike(vectors: Vectors, people: Numbers, k: int, threshold: float) -> list[tuple[int, int, float]]:
    """Pairs of people who seem to be one person under two names.

    Each would be accepted as the other: with all photos of a person left out, at least half of them find the other
    person first, at the threshold or above, and the other way round.

    Returns:
        Triples of two numbers, the smaller first, and the mean similarity at which they find each other.
    """
    best, scores = leave_one_out(vectors, people, people, k)
    found = np.where(scores >= threshold, best, -1)
    pairs = []
    for a in np.unique(people):
        for b in np.unique(people[people > a]):
            a_as_b, b_as_a = (people == a) & (found == b), (people == b) & (found == a)
            if 2 * a_as_b.sum() >= (people == a).sum() and 2 * b_as_a.sum() >= (people == b).sum():
                pairs.append((int(a), int(b), float(scores[a_as_b | b_as_a].mean())))
    return pairs


def describe_pixels(crops: Pixels) -> Vectors:
    """Describe faces without any learning: the grey central window, 32 x 32, averaged with its mirror image.

    Brightness and contrast are taken out, so that the cosine of two descriptions is the correlation of their pixels.

    Args:
        crops: aligned faces, uint8 RGB (N, S, S, 3), S at least 112.

    Returns:
        float32 (N, 1024), unit length; zero for a face of one colour.
    """
    described = np.empty((len(crops), PIXELS, PIXELS), np.float32)
    for row, crop in enumerate(centre(crops)):
        grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).astype(np.float32)
        described[row] = cv2.resize(grey, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)
    flat = (described + described[:, :, ::-1]).reshape(len(crops), -1)
    return unit(flat - flat.mean(1, keepdims=True))


def centre(crops: Pixels, width: int = CROP, height: int = CROP) -> Pixels:
    """The central window of aligned crops (N, S, S, 3), a view (N, height, width, 3)."""
    top, left = (crops.shape[1] - height) // 2, (crops.shape[2] - width) // 2
    return crops[:, top : top + height, left : left + width]


def unit(vectors: NDArray[Any]) -> Vectors:
    """Vectors (N, D) at length 1, float32; those without a direction become zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    directions = np.zeros(vectors.shape)
    np.divide(vectors, lengths, out=directions, where=lengths > 1e-9)
    return directions.astype(np.float32)


def _in_question(query: Vectors, vectors: Vectors, people: Numbers, k: int, rough: Rough) -> "Numbers | slice":
    """The photos, all or these, of everybody whose nearest one may reach the score of somebody near."""
    cosines = np.empty(len(people), np.float32)
    _multiply(rough.codes, query * np.float32(rough.step), cosines)
    floor = _score(np.vecdot(vectors[people == people[cosines.argmax()]], query), k)
    rows = np.flatnonzero(np.isin(people, people[cosines >= floor - rough.error]))
    # Where faces are so alike, copying the vectors of many takes longer than reading those of all.
    return rows if FEW * len(rows) < len(people) else slice(None)


@njit(nogil=True, cache=True, fastmath=True)
def _multiply(codes: Any, query: Any, products: Any) -> None:
    """``codes`` int8 (N, D) by ``query`` float32 (D,) into ``products`` float32 (N,)."""
    for row in range(codes.shape[0]):
        total = np.float32(0)
        for place in range(codes.shape[1]):
            total += np.float32(codes[row, place]) * query[place]
        products[row] = total


def _best_person(similarities: NDArray[np.float32], people: Numbers, k: int) -> tuple[int, float]:
    # The person of the nearest photo sets a score to beat, and nobody can beat it whose nearest photo is below it.
    floor = _score(similarities[people == people[similarities.argmax()]], k)
    candidates = np.unique(people[similarities >= floor])
    rows = np.flatnonzero(np.isin(people, candidates))
    rows = rows[np.argsort(people[rows], kind="stable")]
    photos = np.split(similarities[rows], np.flatnonzero(np.diff(people[rows])) + 1)
    scores = [_score(own, k) for own in photos]
    first = int(np.argmax(scores))
    return int(candidates[first]), scores[first]


def _score(similarities: NDArray[np.float32], k: int) -> float:
    nearest = np.sort(similarities)[-k:].astype(np.float64)
    weights = np.exp((nearest - nearest[-1]) / SHARPNESS)
    return float(np.average(nearest, weights=weights))


PIXELS = 32
# Of 0.01 to 1.0, by leave-one-photo-out against validation strangers in draws of real people; differences are small.
SHARPNESS = 0.1
FEW = 16
