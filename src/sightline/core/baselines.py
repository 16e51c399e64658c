"""What a classifier has to beat: the commonest class, and the nearest colour histograms."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from sightline.core.images import Pixels

Labels = NDArray[Any]


def majority(labels: Labels, count: int) -> Labels:
    """Answer the commonest of the training ``labels``, of equally common ones the first by name, ``count`` times."""
    commonest = pd.Series(labels).value_counts(sort=True).sort_index(kind="stable").idxmax()
    return np.full(count, commonest)


def colour_histogram_neighbours(
    images: Iterable[Pixels], labels: Labels, queries: Iterable[Pixels], neighbours: int = 5
) -> Labels:
    """Answer by the vote of the training pictures whose colour histograms are nearest (Swain & Ballard 1991).

    Args:
        images: N training pictures, uint8 RGB (H, W, 3).
        labels: their classes, (N,).
        queries: the pictures to be classified.
        neighbours: how many vote; all N, if there are fewer.

    Returns:
        The class of each query.
    """
    knn = KNeighborsClassifier(n_neighbors=min(neighbours, len(labels)))
    knn.fit(np.stack([_colour_histogram(image) for image in images]), labels)
    return np.asarray(knn.predict(np.stack([_colour_histogram(image) for image in queries])))


def _colour_histogram(image: Pixels) -> NDArray[np.float64]:
    """Square roots of the shares of 8 × 8 × 8 RGB bins, whose Euclidean distance is Hellinger's."""
    counts = cv2.calcHist([np.ascontiguousarray(image)], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return np.asarray(np.sqrt(counts.ravel() / counts.sum()), dtype=np.float64)
