"""Exact image retrieval by cosine similarity, and what its rankings are worth.

All the usual figures, average precision over the full ranking included, follow from one thing: at which ranks a query
finds the images of its own class. Those ranks can be counted without sorting anything, in one pass over blocks of the
similarity matrix, which is never there as a whole.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sightline.core.parallel import map_ordered
from sightline.core.progress import progress

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class PositiveRanks:
    """The ranks, from 0, at which each query finds its positives: the other images of its class.

    ``ranks`` (P,) int32 holds those of query 0 in ascending order, then those of query 1 and so on; the ranks of query
    q are ``ranks[starts[q] : starts[q + 1]]``, with ``starts`` (N + 1,) int64.
    """

    ranks: NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many positives each query has, (N,): R in 'R-precision' and 'MAP@R'."""
        return np.diff(self.starts)

    def first(self) -> NDArray[np.float64]:
        """The rank of each query's first positive, (N,); infinite for a query that has none."""
        first = np.full(len(self.counts), np.inf)
        has = self.counts > 0
        first[has] = self.ranks[self.starts[:-1][has]]
        return first


def rank_positives(embeddings: ArrayLike, labels: ArrayLike) -> PositiveRanks:
    """Let every image query all others and tell at which ranks it finds those with its own label.

    The rank of an image is the number of others that are more similar to the query (cosine, float32), or as similar
    and listed before it: ties are broken by index. The query itself is left out by its index, so an exact copy of it
    is found like any other image.

    >>> rank_positives([[1, 0], [0, 1], [0.6, 0.8]], ["wren", "finch", "wren"]).ranks
    array([0, 1], dtype=int32)

    Args:
        embeddings: (N, D), normalised here; a row of zeros has similarity 0 to everything.
        labels: (N,), of any sortable type.

    Raises:
        ValueError: shapes that do not fit, or an embedding that is not finite.
    """
    vectors = _normalised(embeddings)
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    if len(classes) != len(vectors):
        raise ValueError(f"{len(vectors)} embeddings, but {len(classes)} labels")
    members = np.argsort(classes, kind="stable")
    borders = np.concatenate([[0], np.cumsum(np.bincount(classes))])
    starts = np.concatenate([[0], np.cumsum(np.diff(borders)[classes] - 1)])
    ranks = np.empty(starts[-1], np.int32)

    def count(scores: Vectors, first: int, part: slice) -> None:
        _count_ahead(scores[part], first + part.start, classes, members, borders, starts, ranks)

    _in_blocks(vectors, vectors, count, "ranking")
    return PositiveRanks(ranks, starts)


def nearest(
    queries: ArrayLike, gallery: ArrayLike, k: int, exclude: ArrayLike | None = None
) -> tuple[NDArray[np.int64], Vectors]:
    """Find the ``k`` most similar gallery images of each query, the best first; ties are broken by index.

    Args:
        queries: embeddings (Q, D), normalised here.
        gallery: embeddings (N, D), normalised here.
        k: how many; all there are, if there are fewer.
        exclude: (Q,), the gallery index that each query must not find (itself), or -1.

    Returns:
        Indices into the gallery and cosine similarities, (Q, k) both.

    Raises:
        ValueError: shapes that do not fit, or an embedding that is not finite.
    """
    of_queries, of_gallery = _normalised(queries), _normalised(gallery)
    if of_queries.shape[1] != of_gallery.shape[1]:
        raise ValueError(f"queries have {of_queries.shape[1]} dimensions, the gallery {of_gallery.shape[1]}")
    excluded = np.full(len(of_queries), -1) if exclude is None else np.asarray(exclude, np.int64)
    if excluded.shape != (len(of_queries),):
        raise ValueError(f"{len(of_queries)} queries, but {excluded.shape} excluded")
    found = min(k, len(of_gallery) - int((excluded >= 0).any()))
    indices, similarities = np.empty((len(of_queries), found), np.int64), np.empty((len(of_queries), found), np.float32)

    def keep(scores: Vectors, first: int, part: slice) -> None:
        rows = slice(first + part.start, first + part.stop)
        _keep_best(scores[part], excluded[rows], indices[rows], similarities[rows])

    _in_blocks(of_queries, of_gallery, keep, "searching")
    return indices, similarities


def query_metrics(positives: PositiveRanks, hits: Sequence[int] = (1, 2, 4, 8), precision: int = 10) -> pd.DataFrame:
    """Compute the retrieval metrics of each query, one row a query; their means are the figures of the literature.

    With R positives at ranks r_1 < … < r_R (here counted from 1):

    - ``recall_at_k``: 1 if r_1 ≤ k, else 0 (the hit rate of Song et al., CVPR 2016, not the share of positives found);
    - ``precision_at_k``: the share of positives among the first k answers;
    - ``r_precision``: the share of positives among the first R answers;
    - ``map_at_r``: the mean over i of i / r_i, where r_i > R counts as 0 (Musgrave et al., 'A Metric Learning Reality
      Check', ECCV 2020);
    - ``map``: the mean over i of i / r_i, the average precision over the full ranking.

    A query without positives, the only image of its class, has no row values (NaN): like pytorch-metric-learning's
    ``AccuracyCalculator`` we leave it out of the means, while it stays in the gallery and can be a wrong answer.
    """
    count = positives.counts
    query = np.repeat(np.arange(len(count)), count)
    place = np.arange(1, len(query) + 1) - positives.starts[:-1][query]
    rank = positives.ranks.astype(np.int64) + 1
    precision_there = place / rank
    first = positives.first()

    def total(of_positive: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(query, of_positive, minlength=len(count)), dtype=np.float64)

    within = rank <= count[query]
    divisor = np.where(count > 0, count, np.nan)
    table = {f"recall_at_{k}": np.where(count > 0, first < k, np.nan) for k in hits}
    table[f"precision_at_{precision}"] = np.where(count > 0, total(rank <= precision) / precision, np.nan)
    table["r_precision"] = total(within) / divisor
    table["map_at_r"] = total(precision_there * within) / divisor
    table["map"] = total(precision_there) / divisor
    return pd.DataFrame(table)


def _normalised(embeddings: ArrayLike) -> Tensor:
    vectors = torch.from_numpy(np.array(embeddings, np.float32))
    if vectors.ndim != 2:
        raise ValueError(f"embeddings must be (N, D), not {tuple(vectors.shape)}")
    if not bool(torch.isfinite(vectors).all()):
        raise ValueError("an embedding is not finite")
    return torch.nn.functional.normalize(vectors)


def _in_blocks(queries: Tensor, gallery: Tensor, use: Callable[[Vectors, int, slice], None], description: str) -> None:
    """Call ``use(scores, first, part)`` for the similarities (B, N) of queries ``first`` and following.

    The rows of a block are shared out among as many threads as torch has; ``part`` is a thread's slice of them.
    """
    threads = torch.get_num_threads()
    block = max(threads, min(ROWS, BLOCK // max(1, len(gallery))))
    scores = torch.empty(min(block, len(queries)), len(gallery))
    copies, originals = _copies(gallery)
    with progress(range(0, len(queries), block), description, unit="block") as firsts:
        for first in firsts:
            of_block = queries[first : first + block]
            torch.mm(of_block, gallery.T, out=scores[: len(of_block)])
            scores[:, copies] = scores[:, originals]
            share = math.ceil(len(of_block) / threads)
            parts = [slice(start, min(start + share, len(of_block))) for start in range(0, len(of_block), share)]
            for _ in map_ordered(partial(use, scores.numpy()[: len(of_block)], first), parts, threads):
                pass


def _copies(gallery: Tensor) -> tuple[Tensor, Tensor]:
    """The rows that are equal to an earlier one, to the last bit, and the first such row of each.

    A matrix product adds up in an order that depends on where in the matrix a row lies: without more ado the scores of
    copies would differ in their last bits, and a tie would be broken by chance.
    """
    rows = gallery.numpy()
    # Equal rows have equal keys, and only they but for one chance in 10^9; sorting the rows themselves would take their
    # memory three times over. A sum of whole numbers does not depend on its order.
    weights = np.random.default_rng(0).integers(0, 2**64, rows.shape[1], dtype=np.uint64)
    parts = (rows[start : start + CHUNK] + np.float32(0) for start in range(0, len(rows), CHUNK))  # no -0.0
    keys = np.concatenate([part.view(np.uint32) @ weights for part in parts] or [np.empty(0, np.uint64)])
    _, first, same = np.unique(keys, return_index=True, return_inverse=True)
    originals = first[same]
    copies = np.flatnonzero(originals != np.arange(len(rows)))
    copies = copies[(rows[copies] == rows[originals[copies]]).all(axis=1)]
    return torch.from_numpy(copies), torch.from_numpy(originals[copies])


@njit(nogil=True, cache=True)
def _bin_of(score: Any, best: Any, scale: Any, last: Any) -> Any:
    # Rounding keeps the order of scores, so scores in different bins compare as their bins do.
    return np.int32(min(max((best - score) * scale + np.float32(1), np.float32(0)), last))


@njit(nogil=True, cache=True)
def _count_ahead(scores: Any, first: int, classes: Any, members: Any, borders: Any, starts: Any, ranks: Any) -> None:
    """Count, for each positive of the queries in ``scores`` (B, N), the images that are ranked before it.

    A comparison of each score with each positive would cost P times N. So the range of the positives' scores is cut
    into bins, most of which hold no positive: there, counting how many scores fall into each is enough, and only in
    the others scores are compared one by one.
    """
    size = scores.shape[1]
    most = np.max(borders[1:] - borders[:-1])
    counts = np.empty(BINS * most + 2, np.int32)
    inside = np.empty(BINS * most + 3, np.int32)
    bins = np.empty(CHUNK, np.int32)
    for row in range(scores.shape[0]):
        line, query = scores[row], first + row
        group = members[borders[classes[query]] : borders[classes[query] + 1]]
        own = group[group != query]
        if len(own) == 0:
            continue
        line[query] = np.float32(-2)  # below every cosine
        # A stable sort: equal scores stay in the order of their indices, which is their order in the ranking.
        own = own[np.argsort(-line[own], kind="mergesort")]
        values = line[own]
        best, width = values[0], values[0] - values[-1]
        last = np.float32(BINS * len(own) + 1)
        scale = np.float32((BINS * len(own) - 1) / width) if width > 1e-6 else np.float32(0)
        # The positives of bin b are those from inside[b] to inside[b + 1].
        counts[: BINS * len(own) + 2] = 0
        inside[: BINS * len(own) + 3] = 0
        for value in values:
            inside[_bin_of(value, best, scale, last) + 1] += 1
        for bin_ in range(1, BINS * len(own) + 3):
            inside[bin_] += inside[bin_ - 1]
        ahead = np.zeros(len(own), np.int32)
        for start in range(0, size, CHUNK):
            chunk = line[start : start + CHUNK]
            for place in range(len(chunk)):  # a loop of its own, which the compiler turns into vector instructions
                bins[place] = _bin_of(chunk[place], best, scale, last)
            for place in range(len(chunk)):
                counts[bins[place]] += np.int32(1)
                for other in range(inside[bins[place]], inside[bins[place] + 1]):
                    if chunk[place] > values[other] or (chunk[place] == values[other] and start + place < own[other]):
                        ahead[other] += np.int32(1)
        before, bin_ = 0, 0
        for position in range(len(own)):
            while bin_ < _bin_of(values[position], best, scale, last):
                before += counts[bin_]
                bin_ += 1
            ranks[starts[query] + position] = before + ahead[position]


@njit(nogil=True, cache=True)
def _keep_best(scores: Any, excluded: Any, indices: Any, similarities: Any) -> None:
    """Keep the best of each row of ``scores`` (B, N) by insertion; of equal ones the first comes first and stays."""
    k = indices.shape[1]
    for row in range(scores.shape[0] if k else 0):
        kept = 0
        for place in range(scores.shape[1]):
            score = scores[row, place]
            if place == excluded[row] or (kept == k and score <= similarities[row, k - 1]):
                continue
            position = min(kept, k - 1)
            while position > 0 and similarities[row, position - 1] < score:
                similarities[row, position] = similarities[row, position - 1]
                indices[row, position] = indices[row, position - 1]
                position -= 1
            similarities[row, position] = score
            indices[row, position] = place
            kept = min(kept + 1, k)


BLOCK = 2**25
"""Similarities that are in memory at a time, at most: 128 MiB."""

ROWS = 512
"""Queries at a time, at most: more only fill caches, fewer leave the matrix product slower."""

BINS = 16
"""Bins a positive: enough that most scores need no comparison."""

CHUNK = 1024
"""Scores whose bins stay in the fastest cache."""
