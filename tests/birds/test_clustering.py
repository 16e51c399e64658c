from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn import metrics
from sklearn.cluster import KMeans

from sightline.birds.clustering import cluster, clustering_statistics


def blobs(seed: int = 0, spread: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, 160)
    return rng.normal(size=(8, 6))[labels] + spread * rng.normal(size=(160, 6)), labels


def figures(labels: Any, clusters: Any) -> dict[str, float]:
    return dict(clustering_statistics(labels, clusters)(np.ones(len(labels))))


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_nmi_and_ami_are_those_of_scikit_learn_and_of_pytorch_metric_learning(spread: float) -> None:
    embeddings, labels = blobs(spread=spread)
    clusters = cluster(embeddings, 8, 3, seed=1)
    found = figures(labels, clusters)
    assert found["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(labels, clusters), abs=1e-9)
    assert found["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(labels, clusters), abs=1e-9)
    calculator = AccuracyCalculator(
        include=("NMI", "AMI"),
        device=torch.device("cpu"),
        kmeans_func=lambda vectors, k: cluster(vectors.numpy(), k, 3, 1),
    )
    theirs = calculator.get_accuracy(embeddings, labels)
    assert (found["nmi"], found["ami"]) == (
        pytest.approx(theirs["NMI"], abs=1e-6),
        pytest.approx(theirs["AMI"], abs=1e-6),
    )


def test_a_weight_counts_as_that_many_copies() -> None:
    embeddings, labels = blobs(seed=3)
    clusters = cluster(embeddings, 8, 1, seed=0)
    times = np.random.default_rng(4).integers(0, 4, 8)[labels]
    found = clustering_statistics(labels, clusters)(times.astype(np.float64))
    copies = np.repeat(labels, times), np.repeat(clusters, times)
    assert found["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(*copies), abs=1e-9)
    assert found["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(*copies), abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "clusters"),
    [([0, 0, 1, 1], [5, 5, 2, 2]), ([0, 0, 1, 1], [3, 3, 3, 3]), ([0, 1, 2, 3], [0, 1, 2, 3]), ([0, 0, 1], [0, 1, 2])],
    ids=["perfect", "one cluster", "each its own", "clusters of one"],
)
def test_the_ends_of_the_scale_are_scikit_learns(labels: list[int], clusters: list[int]) -> None:
    found = figures(labels, clusters)
    assert found["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(labels, clusters), abs=1e-9)
    assert found["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(labels, clusters), abs=1e-9)


def test_with_one_class_there_are_no_figures() -> None:
    weights = np.array([1.0, 1.0, 0.0])
    assert clustering_statistics([0, 0, 1], [0, 1, 1])(weights) == {}


def test_well_separated_classes_are_found_again() -> None:
    embeddings, labels = blobs(spread=0.01)
    assert figures(labels, cluster(embeddings, 8, 5, seed=0))["ami"] == pytest.approx(1)


def test_restarts_keep_the_tightest_clusters() -> None:
    embeddings, _ = blobs(seed=5)
    vectors = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def inertia(clusters: Any) -> float:
        return sum(((vectors[clusters == k] - vectors[clusters == k].mean(axis=0)) ** 2).sum() for k in set(clusters))

    found = [inertia(cluster(embeddings, 8, restarts, seed=2)) for restarts in (1, 4, 12)]
    assert found[0] >= found[1] >= found[2]
    assert found[2] <= 1.02 * KMeans(8, n_init=20, random_state=0).fit(vectors).inertia_


def test_clusters_do_not_depend_on_length_threads_or_repetition() -> None:
    embeddings, _ = blobs(seed=6)
    expected = cluster(embeddings, 8, 4, seed=3)
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            np.testing.assert_array_equal(cluster(4 * embeddings, 8, 4, seed=3), expected)
        finally:
            torch.set_num_threads(threads)


def test_fewer_different_embeddings_than_clusters_are_no_error() -> None:
    embeddings = np.repeat(np.eye(3), 4, axis=0)
    assert len(set(cluster(embeddings, 5, 2, seed=0))) == 3
