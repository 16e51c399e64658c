"""Share samples out among train, val and test by group, with the classes in proportion."""

import warnings
from fractions import Fraction
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold

from sightline.core.errors import InputError
from sightline.core.files import sha256_of

SPLITS = ("train", "val", "test")


def assign_splits(
    labels: ArrayLike, groups: ArrayLike, *, val_fraction: float, test_fraction: float, seed: int
) -> NDArray[np.str_]:
    """Give each sample its split, (N,) of 'train', 'val', 'test'; a group is never divided.

    Samples are what is counted (boxes, say) and groups what must stay together (the source photo with its
    near-duplicates). The fractions are met as nearly as whole folds of ten can, or of fewer, by scikit-learn's
    ``StratifiedGroupKFold``.

    Raises:
        InputError: there are fewer groups than folds, or no class has a member for each.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    split = np.full(len(labels), "train", dtype="<U5")
    test = held_out(labels, groups, test_fraction, seed)
    split[test] = "test"
    rest = np.flatnonzero(split == "train")
    # Of what is left after the test split, the validation share is larger.
    val = held_out(labels[rest], groups[rest], val_fraction / (1 - test_fraction), seed)
    split[rest[val]] = "val"
    return split


def held_out(labels: NDArray[np.generic], groups: NDArray[np.generic], fraction: float, seed: int) -> NDArray[np.int64]:
    """The indices of about ``fraction`` of the samples, groups undivided, classes in proportion.

    Raises:
        InputError: there are fewer groups than folds of that size, or no class has a member for each fold.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    count, members = len(np.unique(groups)), int(sizes.max())
    # No more folds than a class has members, but enough that neither side gets none.
    most = max(min(MOST_FOLDS, count, members), round(1 / min(fraction, 1 - fraction)))
    share = Fraction(fraction).limit_denominator(most)
    folds = share.denominator
    if count < folds:
        raise InputError(f"{count} independent photos cannot be split {folds} ways: more photos or larger fractions")
    if members < folds:
        largest = f"the {members} left of '{classes[sizes.argmax()]}', the largest class,"
        raise InputError(f"{largest} cannot be split {folds} ways: more photos or larger fractions")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer members than folds is allowed here; who needs it in every split checks that.
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = splitter.split(np.zeros(len(labels)), labels, groups)
        chosen = [part for _, part in islice(parts, share.numerator)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def split_digest(splits: ArrayLike, digests: ArrayLike) -> str:
    """SHA-256 of which picture (by its digest) is in which split: what a threshold chosen on one is bound to."""
    pairs = zip(np.asarray(splits), np.asarray(digests), strict=True)
    return sha256_of(*sorted(f"{split}:{digest}" for split, digest in pairs))


MOST_FOLDS = 10
