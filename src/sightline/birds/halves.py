"""The zero-shot protocol: which classes are there to learn from, and which to be found without having been seen."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.core.errors import InputError


def assign_halves(class_ids: ArrayLike, last_train_class: int | None = None) -> NDArray[np.str_]:
    """Give each photo its half by its class id, (N,) of 'train' and 'test'.

    Section 7.1 of Song, Xiang, Jegelka & Savarese, 'Deep Metric Learning via Lifted Structured Feature Embedding',
    CVPR 2016: the first half of the classes for training, the rest for testing. Of an odd number of classes the middle
    one is for testing. ``last_train_class`` puts the border after that id instead, for a part of a published set.

    Raises:
        InputError: a half has fewer than two classes.
    """
    ids = np.asarray(class_ids)
    present = np.unique(ids)
    border = last_train_class
    if border is None:
        border = int(present[len(present) // 2 - 1]) if len(present) > 1 else 0
    train, test = int(np.sum(present <= border)), int(np.sum(present > border))
    if min(train, test) < FEWEST:
        where = "" if last_train_class is None else f" with birds.split.last_train_class: {last_train_class}"
        raise InputError(
            f"{len(present)} classes make {train} to train on and {test} to test on{where}: "
            f"each half needs at least {FEWEST}"
        )
    return np.where(ids <= border, "train", "test")


FEWEST = 2
"""With one class every answer is right."""
