"""How well k-means finds the classes again in the embeddings: NMI and AMI."""

import math
import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.cluster import expected_mutual_information
from threadpoolctl import threadpool_limits

from sightline.core.intervals import FloatArray, Statistics
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress


def cluster(embeddings: ArrayLike, clusters: int, restarts: int, seed: int) -> NDArray[np.int32]:
    """Give each L2-normalised embedding (N, D) its k-means cluster, (N,): the best of some restarts by inertia.

    The same seed gives the same clusters, whatever the number of threads (torch's): they share out the restarts, and
    each restart adds up in one thread, since sums of floats depend on their order.
    """
    vectors = torch.nn.functional.normalize(torch.from_numpy(np.array(embeddings, np.float32))).numpy()

    def restart(number: int) -> tuple[float, NDArray[np.int32]]:
        state = int(np.random.default_rng((seed, number)).integers(2**31))
        # OpenMP keeps its limit by thread, so it is set in this one.
        with threadpool_limits(1, user_api="openmp"):
            found = KMeans(clusters, n_init=1, random_state=state).fit(vectors)
        return float(found.inertia_), found.labels_

    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # Fewer different embeddings than classes leave clusters empty, which the figures show.
        warnings.simplefilter("ignore", ConvergenceWarning)
        runs = map_ordered(restart, range(restarts), torch.get_num_threads())
        return min(progress(runs, "k-means", restarts, "restart"), key=lambda run: run[0])[1]


def clustering_statistics(labels: ArrayLike, clusters: ArrayLike) -> Statistics:
    """Make the ``statistics`` of a clustering for :func:`sightline.core.intervals.bootstrap`.

    The figures are ``nmi`` and ``ami``, normalised and adjusted mutual information with the arithmetic mean of the
    entropies (Vinh, Epps & Bailey, JMLR 2010). With integer weights they equal scikit-learn's on samples that are
    repeated as often; where only one class has weight, both are left out.

    Args:
        labels: true classes (N,), of any sortable type.
        clusters: (N,), of any sortable type.
    """
    of_label, of_cluster = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (labels, clusters))
    shape = of_label.max() + 1, of_cluster.max() + 1
    cell = of_label * shape[1] + of_cluster

    def statistics(weights: FloatArray) -> dict[str, float]:
        table = np.bincount(cell, weights, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)
        table = table[np.ix_(table.any(axis=1), table.any(axis=0))]
        if len(table) < 2:
            return {}
        mean_entropy = (_entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0))) / 2
        shared = max(2 * mean_entropy - _entropy(table), 0.0)
        by_chance = float(expected_mutual_information(table, int(table.sum())))
        ami = _away_from_zero(shared - by_chance) / _away_from_zero(mean_entropy - by_chance)
        return {"nmi": shared / mean_entropy, "ami": ami}

    return statistics


def _entropy(counts: NDArray[np.int64]) -> float:
    return float(entr(counts / counts.sum()).sum())


def _away_from_zero(difference: float) -> float:
    # Where every class and every cluster is one image, both differences are 0 up to rounding: a perfect match.
    return math.copysign(max(abs(difference), float(np.finfo(np.float64).eps)), difference)
