"""Who is enrolled and who is a stranger, and which photos may choose thresholds and which may only test.

Splits of photos for identity:

- ``gallery``: of enrolled people, what the methods know
- ``probe``: further photos of enrolled people, for testing
- ``val``: of strangers who appear nowhere else; they choose the thresholds
- ``test``: of the other strangers, of groups, and photos without a face

and for emotions ``train``, ``val`` and ``test``. A photo that is left out has none ('').
"""

from collections.abc import Collection, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sightline.core.boxes import iou
from sightline.core.errors import InputError
from sightline.core.files import sha256_of
from sightline.core.intake import LEFT_OUT, Problem
from sightline.core.leakage import check_leakage, group_duplicates, near_duplicates
from sightline.core.splits import assign_splits
from sightline.faces.params import Emotion, Identity

Splits = NDArray[np.str_]


class Shares(NamedTuple):
    """The split of each photo, (N,), and what there is to say of some of them."""

    split: Splits
    problems: list[Problem]


def share_out(
    photos: pd.DataFrame, named: Collection[str], identity: Identity, emotion: Emotion, max_bits: int
) -> Shares:
    """Give each photo its split; near-duplicates that would lie in two of them are left out of the later one.

    Args:
        photos: rows of ``photos.csv``: photo, role, person, emotion, digest, hash (16 hex digits); and where the face
            of a single person lies in its photo: x1, y1, x2, y2 as shares of width and height.
        named: names of people in group photos, where they are met as a test.
        identity: who is enrolled and how.
        emotion: how the photos of emotions are shared out.
        max_bits: photos whose perceptual hashes differ in no more are near-duplicates.

    Raises:
        InputError: as :func:`assign_people`, or there are too few photos of emotions to share out.
    """
    photos = photos.reset_index(drop=True)
    split = np.full(len(photos), "test", dtype="<U7")
    roles = photos["role"].to_numpy(str)
    people = np.isin(roles, ["gallery", "stranger"])
    split[people] = assign_people(photos[people], identity, named)
    moods = roles == "emotion"
    if moods.any():
        split[moods] = assign_moods(photos[moods], emotion, max_bits)
    problems = [*_single(photos, identity), *_two_names(photos[people], max_bits)]
    # Each kind of network by itself: what one of them learned from may well test the other.
    for kind, order in (
        (np.isin(roles, ["gallery", "stranger", "group"]), ("gallery", "val", "probe", "test")),
        (np.isin(roles, ["emotion", "group"]), ("train", "val", "test")),
    ):
        problems += _separate(photos, split, np.flatnonzero(kind & (split != "")), order, max_bits)
    return Shares(split, problems)


def assign_people(photos: pd.DataFrame, settings: Identity, named: Collection[str] = ()) -> Splits:
    """Splits of the photos of single people, whose role is 'gallery' or 'stranger', (N,).

    People and photos are drawn by a hash of their names, so that a further one does not move the others. A person gets
    ``settings.photos`` photos in the gallery; of one who has no more than that, one photo is still kept to probe, as
    long as two are left. Someone in the gallery with a single photo counts as a stranger. Strangers who are ``named``
    in group photos are met there and so choose no threshold.

    Args:
        photos: columns photo, role, person; a stranger without a name is somebody else in each photo.
        settings: who is enrolled and how.
        named: names of people in group photos.

    Raises:
        InputError: somebody is to be enrolled who is not there, has a single photo or is among the strangers too, or
            fewer than two people can be enrolled.
    """
    names, roles = photos["photo"].to_numpy(str), photos["role"].to_numpy(str)
    people = photos["person"].to_numpy(str).astype(object)
    nameless = people == ""
    people[nameless] = names[nameless]
    enrolled = _enrolled(people[roles == "gallery"], people[roles == "stranger"], settings)
    split = np.full(len(photos), "test", dtype="<U7")
    for person in enrolled:
        rows = np.flatnonzero((people == person) & (roles == "gallery"))
        rows = rows[_drawn(names[rows], settings.seed)]
        known = min(settings.photos, max(len(rows) - 1, FEWEST))
        split[rows[:known]] = "gallery"
        split[rows[known:]] = "probe"
    strangers = np.array(sorted(set(people) - set(enrolled)), dtype=str)
    unmet = strangers[~np.isin(strangers, list(named))]
    # Both sides need somebody: without a stranger to test on, nobody knows what the threshold is worth.
    wanted = min(max(round(settings.val_people * len(strangers)), 1), len(unmet), max(len(strangers) - 1, 0))
    chosen = unmet[_drawn(unmet, settings.seed)[:wanted]]
    split[np.isin(people.astype(str), chosen)] = "val"
    return split


def assign_moods(photos: pd.DataFrame, settings: Emotion, max_bits: int) -> Splits:
    """Splits of photos with an emotion each, (N,) of 'train', 'val', 'test', near-duplicates and a person's together.

    Raises:
        InputError: there are fewer independent photos than parts, or no emotion has a photo for each part.
    """
    groups = group_duplicates(_hashes(photos), max_bits)
    people = photos["person"].to_numpy(str)
    for person in np.unique(people[people != ""]):
        # All that hangs together with one of the person's photos.
        groups[np.isin(groups, groups[people == person])] = groups[people == person][0]
    fractions = {"val_fraction": settings.val_fraction, "test_fraction": settings.test_fraction}
    try:
        return assign_splits(photos["emotion"].to_numpy(str), groups, **fractions, seed=settings.seed).astype("<U7")
    except InputError as error:
        # As many as there are parts of the smallest size, first of all photos, then of what the test leaves.
        rest = 1 - settings.test_fraction
        val = settings.val_fraction / rest
        enough = max(round(1 / min(rest, 1 - rest)), ceil(round(1 / min(val, 1 - val)) / rest))
        raise InputError(f"photos of emotions: {error}; {enough} independent ones of each emotion are enough") from None


def _enrolled(gallery: NDArray[np.object_], strangers: NDArray[np.object_], settings: Identity) -> list[str]:
    """The people to enrol, sorted."""
    counts = pd.Series(gallery, dtype=object).value_counts()
    if settings.enrolled is None:
        enrolled = [person for person in counts.index if counts[person] >= FEWEST]
    else:
        enrolled = list(dict.fromkeys(settings.enrolled))
        there = ", ".join(sorted(counts.index)) or "nobody"
        if missing := [person for person in enrolled if person not in counts.index]:
            raise InputError(
                f"faces.identity.enrolled: no photo with a face of {', '.join(missing)} in the gallery: "
                f"there are {there}"
            )
        if single := [person for person in enrolled if counts[person] < FEWEST]:
            raise InputError(
                f"faces.identity.enrolled: one photo with a face of {', '.join(single)}: {FEWEST} or more are needed"
            )
    if both := sorted(set(enrolled) & set(strangers)):
        raise InputError(f"{', '.join(both)}: in the gallery and among the strangers, but only one can be true")
    if len(enrolled) < FEWEST:
        raise InputError(
            f"the gallery has {len(enrolled)} people with {FEWEST} or more photos that show a face: "
            f"{FEWEST} people or more are needed to tell them apart"
        )
    return sorted(enrolled)


def _drawn(names: ArrayLike, seed: int) -> NDArray[np.int64]:
    """An order of names by chance, which a further name does not change."""
    keys = [sha256_of(str(seed), str(name)) for name in np.asarray(names)]
    return np.asarray(np.argsort(keys, kind="stable"), dtype=np.int64)


def _separate(
    photos: pd.DataFrame, split: Splits, rows: NDArray[np.int64], order: Sequence[str], max_bits: int
) -> list[Problem]:
    """Take near-duplicates in two splits out of the later one in ``split``, and in the gallery all but one of a person.

    A second copy in the gallery would be found by the first when that is left out to choose a threshold.
    """
    # Where both are in one split, the first stays.
    rows = rows[np.argsort([order.index(name) for name in split[rows]], kind="stable")]
    problems = []
    for kept, other in rows[near_duplicates(_hashes(photos)[rows], max_bits)]:
        same = split[kept] == split[other]
        harmless = same and (split[kept] != "gallery" or photos["person"][kept] != photos["person"][other])
        if harmless or "" in (split[kept], split[other]):
            continue
        split[other] = ""
        problems.append(Problem(photos["photo"][other], f"nearly the same as {photos['photo'][kept]}", LEFT_OUT))
    left = photos[split != ""].loc[lambda table: table.index.isin(rows)]
    check_leakage(
        left["photo"].tolist(), split[left.index], np.arange(len(left)), left["digest"], _hashes(left), max_bits
    )
    return problems


def _single(photos: pd.DataFrame, settings: Identity) -> list[Problem]:
    """People of the gallery who cannot be enrolled, because there is nothing to compare their photo with."""
    gallery = photos[photos["role"] == "gallery"]
    counts = gallery["person"].map(gallery["person"].value_counts())
    alone = gallery[(counts < FEWEST) & (settings.enrolled is None)]
    return [
        Problem(photo, f"the only photo with a face of {person}: {FEWEST} or more are needed", "counts as a stranger")
        for photo, person in zip(alone["photo"], alone["person"], strict=True)
    ]


def _two_names(photos: pd.DataFrame, max_bits: int) -> list[Problem]:
    """Photos that are nearly the same in two people's folders, and the same face in both.

    A photo of two people may well be in the folders of both, each with the face that is theirs.
    """
    names, people = photos["photo"].to_numpy(str), photos["person"].to_numpy(str)
    faces = photos[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    return [
        Problem(names[second], f"nearly the same as {names[first]}, of another name: one person twice?", "noted")
        for first, second in near_duplicates(_hashes(photos), max_bits)
        if people[first] != people[second] and iou(faces[[first]], faces[[second]])[0, 0] >= SAME_FACE
    ]


def _hashes(photos: pd.DataFrame) -> NDArray[np.uint64]:
    return np.array([int(text, 16) for text in photos["hash"]], dtype=np.uint64)


FEWEST = 2
SAME_FACE = 0.5
