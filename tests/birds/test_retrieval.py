from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn import metrics

from sightline.birds import retrieval
from sightline.birds.retrieval import nearest, query_metrics, rank_positives

THEIRS = {
    "recall_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
    "map": "mean_average_precision",
}


def random_set(seed: int, count: int = 200, classes: int = 12, dimensions: int = 16) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimensions)), rng.integers(0, classes, count)


def clustered_set(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 15, 240)
    return rng.normal(size=(15, 16))[labels] + 0.8 * rng.normal(size=(240, 16)), labels


def one_image_classes(seed: int) -> tuple[Any, Any]:
    embeddings, labels = clustered_set(seed)
    labels[::17] = 100 + np.arange(len(labels[::17]))
    return embeddings, labels


def duplicates(seed: int) -> tuple[Any, Any]:
    """Every image twice under the same label: the copies of another class are tied with each other only."""
    embeddings, labels = clustered_set(seed)
    return np.concatenate([embeddings, embeddings]), np.concatenate([labels, labels])


def tied_in_class(seed: int) -> tuple[Any, Any]:
    """Few different embeddings, each of one class: many ties, none of them between right and wrong answers."""
    embeddings, _ = random_set(seed, count=30)
    which = np.random.default_rng(seed + 1).integers(0, 30, 200)
    return embeddings[which], which % 7


def unequal_classes(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.1, 300), 40)
    return rng.normal(size=(41, 8))[labels] + rng.normal(size=(300, 8)), labels


SETS = [random_set, clustered_set, one_image_classes, duplicates, tied_in_class, unequal_classes]


def unit(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    return torch.nn.functional.normalize(torch.from_numpy(np.asarray(embeddings, np.float32))).numpy()


@pytest.mark.parametrize("draw", SETS)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("knn", [None, CustomKNN(CosineSimilarity())], ids=["faiss", "cosine"])
def test_the_figures_are_those_of_pytorch_metric_learning(draw: Any, seed: int, knn: Any) -> None:
    embeddings, labels = draw(seed)
    calculator = AccuracyCalculator(include=tuple(THEIRS.values()), device=torch.device("cpu"), knn_func=knn)
    expected = calculator.get_accuracy(unit(embeddings), labels)
    found = query_metrics(rank_positives(embeddings, labels)).mean()
    for name, their_name in THEIRS.items():
        assert found[name] == pytest.approx(expected[their_name], abs=1e-6)


@pytest.mark.parametrize("draw", SETS)
def test_average_precision_is_scikit_learns_query_by_query(draw: Any) -> None:
    embeddings, labels = draw(3)
    found = query_metrics(rank_positives(embeddings, labels))
    similarities = unit(embeddings) @ unit(embeddings).T
    for query, own in enumerate(labels):
        others = np.arange(len(labels)) != query
        relevant = labels[others] == own
        if not relevant.any():
            assert found.iloc[query].isna().all()
            continue
        # The reference merges ties, and we break them by index: as places in the ranking there are none.
        scores = np.empty(len(labels))
        scores[np.lexsort((-np.arange(len(labels)), similarities[query]))] = np.arange(len(labels))
        expected = metrics.average_precision_score(relevant, scores[others])
        assert found["map"][query] == pytest.approx(expected, abs=1e-6)


def brute_force_ranks(similarities: NDArray[Any], labels: Any) -> list[list[int]]:
    """By the definition: all others in order of (similarity, index), and where the own class stands among them."""
    ranks = []
    for query in range(len(labels)):
        others = [other for other in range(len(labels)) if other != query]
        others.sort(key=lambda other: (-similarities[query, other], other))
        ranks.append([rank for rank, other in enumerate(others) if labels[other] == labels[query]])
    return ranks


def axis_aligned(picks: list[tuple[int, int]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings whose cosines are exactly representable, so that ties are ties in any arithmetic."""
    axes = np.concatenate([np.eye(4), -np.eye(4), np.ones((1, 4)), -np.ones((1, 4)), np.zeros((1, 4))])
    return axes[[axis for axis, _ in picks]].astype(np.float32), np.array([label for _, label in picks])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3)), min_size=1, max_size=40))
def test_ties_are_broken_by_index_and_the_query_is_left_out_by_its_own(picks: list[tuple[int, int]]) -> None:
    embeddings, labels = axis_aligned(picks)
    found = rank_positives(embeddings, labels)
    expected = brute_force_ranks(unit(embeddings) @ unit(embeddings).T, labels)
    assert [found.ranks[a:b].tolist() for a, b in zip(found.starts, found.starts[1:], strict=False)] == expected


def test_a_case_counted_by_hand() -> None:
    angles = np.deg2rad([0, 10, 20, 35, 60, 61])
    labels = ["a", "b", "a", "a", "b", "c"]
    table = query_metrics(rank_positives(np.stack([np.cos(angles), np.sin(angles)], 1), labels), hits=(1, 2))
    # Query 0 finds b a a b c: its positives are at ranks 2 and 3 of R = 2.
    assert table.loc[0].to_dict() == pytest.approx(
        {
            "recall_at_1": 0,
            "recall_at_2": 1,
            "precision_at_10": 0.2,
            "r_precision": 1 / 2,
            "map_at_r": (1 / 2) / 2,
            "map": (1 / 2 + 2 / 3) / 2,
        }
    )
    # Query 4 (60 degrees) finds c a a b a; its one positive is fourth.
    assert table.loc[4].to_dict() == pytest.approx(
        {"recall_at_1": 0, "recall_at_2": 0, "precision_at_10": 0.1, "r_precision": 0, "map_at_r": 0, "map": 1 / 4}
    )
    assert table.loc[5].isna().all()


def test_where_all_embeddings_are_the_same_the_order_of_the_list_decides() -> None:
    found = rank_positives(np.ones((5, 3)), [0, 1, 0, 1, 0])
    # Queries 0 to 4 find 1 2 3 4, 0 2 3 4, 0 1 3 4, 0 1 2 4, 0 1 2 3.
    assert found.ranks.tolist() == [1, 3, 2, 0, 3, 1, 0, 2]
    assert found.starts.tolist() == [0, 2, 3, 5, 6, 8]


def test_an_exact_copy_under_the_same_label_is_the_first_answer() -> None:
    embeddings, labels = clustered_set(5)
    twice = np.concatenate([embeddings, embeddings])
    both = rank_positives(twice, np.concatenate([labels, labels]))
    assert (both.first() == 0).all()
    # Under a label of its own the copy is the first answer as well, and a wrong one.
    assert (rank_positives(twice, np.concatenate([labels, labels + 100])).first() > 0).all()


def test_blocks_and_threads_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whole numbers have exact products in float32, whatever the order in which they are added up.
    embeddings = np.random.default_rng(0).integers(0, 2, (150, 16)).astype(np.float32)
    embeddings[:, 0], labels = 1, np.arange(150) % 11
    monkeypatch.setattr(retrieval, "_normalised", lambda vectors: torch.from_numpy(np.asarray(vectors)))
    expected = brute_force_ranks(embeddings @ embeddings.T, labels)
    threads = torch.get_num_threads()
    for block, count in ((1, 1), (450, 1), (450, 3), (2**20, 2)):
        monkeypatch.setattr(retrieval, "BLOCK", block)
        torch.set_num_threads(count)
        try:
            found = rank_positives(embeddings, labels)
        finally:
            torch.set_num_threads(threads)
        assert found.ranks.tolist() == [rank for ranks in expected for rank in ranks]


def test_large_classes_are_counted_right() -> None:
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 3000)
    embeddings = rng.normal(size=(3000, 4)) + labels[:, None]
    found = rank_positives(embeddings, labels)
    similarities = (torch.from_numpy(unit(embeddings)) @ torch.from_numpy(unit(embeddings)).T).numpy()
    for query in range(0, 3000, 300):
        order = np.argsort(-np.delete(similarities[query], query), kind="stable")
        expected = np.flatnonzero(np.delete(labels, query)[order] == labels[query])
        np.testing.assert_array_equal(found.ranks[found.starts[query] : found.starts[query + 1]], expected)


def test_labels_may_be_names() -> None:
    embeddings, labels = clustered_set(2)
    names = np.array([f"species {label}" for label in labels])
    np.testing.assert_array_equal(rank_positives(embeddings, names).ranks, rank_positives(embeddings, labels).ranks)


@pytest.mark.parametrize("k", [1, 7, 500])
def test_the_nearest_are_those_of_a_stable_sort(k: int) -> None:
    gallery, queries = random_set(1)[0], random_set(2, count=30)[0]
    indices, similarities = nearest(queries, gallery, k)
    scores = (torch.from_numpy(unit(queries)) @ torch.from_numpy(unit(gallery)).T).numpy()
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(similarities, np.take_along_axis(scores, expected, axis=1), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.just(0)), min_size=2, max_size=30), st.integers(1, 8))
def test_the_nearest_break_ties_by_index_and_leave_out_what_they_are_told(picks: list[tuple[int, int]], k: int) -> None:
    embeddings, _ = axis_aligned(picks)
    indices, _ = nearest(embeddings, embeddings, k, exclude=np.arange(len(embeddings)))
    similarities = unit(embeddings) @ unit(embeddings).T
    for query, found in enumerate(indices):
        others = [other for other in range(len(embeddings)) if other != query]
        assert found.tolist() == sorted(others, key=lambda other: (-similarities[query, other], other))[:k]


@pytest.mark.parametrize("queries", [1, 3, 100])
@pytest.mark.parametrize("dimensions", [37, 512])
def test_exact_copies_come_in_the_order_of_their_index_wherever_they_lie(dimensions: int, queries: int) -> None:
    which = np.arange(333) % 10
    gallery = np.random.default_rng(5).normal(size=(10, dimensions))[which]
    indices, similarities = nearest(np.random.default_rng(6).normal(size=(queries, dimensions)), gallery, 333)
    for found, similar in zip(indices, similarities, strict=True):
        for vector in range(10):
            copies = which[found] == vector
            assert found[copies].tolist() == list(range(vector, 333, 10))
            assert len(np.unique(similar[copies])) == 1


def test_copies_are_ranked_by_index_too() -> None:
    which = np.random.default_rng(4).integers(0, 60, 333)
    embeddings = np.random.default_rng(5).normal(size=(60, 37))[which]
    indices, _ = nearest(embeddings, embeddings, 333, exclude=np.arange(333))
    right = which[indices] == which[:, None]
    assert rank_positives(embeddings, which).ranks.tolist() == np.nonzero(right)[1].tolist()


def test_ranks_and_answers_tell_the_same_story() -> None:
    embeddings, labels = clustered_set(9)
    answers, _ = nearest(embeddings, embeddings, 8, exclude=np.arange(len(labels)))
    right = labels[answers] == labels[:, None]
    table = query_metrics(rank_positives(embeddings, labels), precision=8)
    np.testing.assert_array_equal(table["recall_at_4"], right[:, :4].any(axis=1))
    np.testing.assert_allclose(table["precision_at_8"], right.mean(axis=1))


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        rank_positives([[1.0, float("nan")]], [0])
    with pytest.raises(ValueError, match="2 embeddings, but 3 labels"):
        rank_positives(np.ones((2, 2)), [0, 1, 1])
    with pytest.raises(ValueError, match="must be"):
        rank_positives(np.ones(4), [0, 1, 1, 0])
    with pytest.raises(ValueError, match="queries have 3 dimensions, the gallery 2"):
        nearest(np.ones((1, 3)), np.ones((1, 2)), 1)
    with pytest.raises(ValueError, match="excluded"):
        nearest(np.ones((1, 3)), np.ones((1, 3)), 1, exclude=[0, 0])
