"""Nearest people: scores by hand, exactness of the pruning, leaving out, descriptions by pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline.faces.neighbours import (
    SHARPNESS,
    alike,
    centre,
    describe_pixels,
    leave_one_out,
    nearest_people,
    roughly,
    score_people,
    unit,
)


def at(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors in the plane."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def scored(query: NDArray[np.float32], photos: NDArray[np.float32], k: int) -> float:
    """The score of one person as its definition says, term by term."""
    nearest = sorted((float(np.dot(query, photo)) for photo in photos), reverse=True)[:k]
    weights = [np.exp(similarity / SHARPNESS) for similarity in nearest]
    return sum(w * s for w, s in zip(weights, nearest, strict=True)) / sum(weights)


def test_a_score_is_the_softmax_mean_of_the_k_nearest_photos() -> None:
    vectors, people = at(0, 20, 60, 90), np.array([0, 0, 0, 1])
    best, scores = nearest_people(at(10), vectors, people, k=2)
    assert best.tolist() == [0]
    assert scores[0] == pytest.approx(np.cos(np.radians(10)), rel=1e-5)
    one, two = np.cos(np.radians(60)), np.cos(np.radians(40))
    weights = np.exp(np.array([two - one, 0]) / SHARPNESS)
    expected = (weights * [two, one]).sum() / weights.sum()
    _, scores = nearest_people(at(-20), at(20, 40), np.array([0, 0]), k=5)
    assert scores[0] == pytest.approx(expected, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 40), st.integers(1, 12))
def test_the_best_of_all_people_is_found_though_not_all_are_scored(seed: int, k: int, count: int, persons: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((count, 5)))
    people = rng.integers(0, persons, count) * 3
    queries = unit(rng.standard_normal((4, 5)))
    best, scores = nearest_people(queries, vectors, people, k)
    for row, query in enumerate(queries):
        everybody = {person: scored(query, vectors[people == person], k) for person in np.unique(people)}
        assert scores[row] == pytest.approx(max(everybody.values()), abs=1e-5)
        assert everybody[best[row]] == pytest.approx(max(everybody.values()), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.0, 0.3, 3.0]))
def test_rounded_vectors_give_the_same_answer(seed: int, k: int, spread: float) -> None:
    """Also where photos of a person, or of all people, differ by less than the rounding."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.arange(400) // 4) * 2
    middle = rng.standard_normal((1, 16)) / max(spread, 0.01)
    vectors = unit(middle + rng.standard_normal((201, 16))[people] + spread * rng.standard_normal((400, 16)))
    queries = np.concatenate([vectors[:3], unit(rng.standard_normal((3, 16))), np.zeros((1, 16), np.float32)])
    best, scores = nearest_people(queries, vectors, people, k, roughly(vectors))
    expected, expected_scores = nearest_people(queries, vectors, people, k)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_rounding_errs_by_no_more_than_it_says_and_not_by_much_less() -> None:
    rng = np.random.default_rng(5)
    vectors, queries = unit(rng.standard_normal((300, 512))), unit(rng.standard_normal((40, 512)))
    rough = roughly(vectors)
    assert (rough.codes.dtype, rough.codes.shape) == (np.int8, vectors.shape)
    # The worst query for a vector points where that was rounded.
    left = vectors - rough.codes * np.float64(rough.step)
    worst = np.abs((left * unit(left)).sum(1)).max()
    assert np.abs(queries @ left.T).max() <= worst <= rough.error < 2 * worst
    nothing = roughly(np.zeros((2, 4), np.float32))
    assert not nothing.codes.any()


def test_scores_of_everybody_agree_with_the_best() -> None:
    rng = np.random.default_rng(0)
    vectors, people = unit(rng.standard_normal((30, 8))), rng.permutation(np.arange(30) % 4)
    queries = unit(rng.standard_normal((9, 8)))
    scores = score_people(queries, vectors, people, 3)
    best, highest = nearest_people(queries, vectors, people, 3)
    np.testing.assert_array_equal(scores.argmax(1), best)
    np.testing.assert_allclose(scores.max(1), highest, rtol=1e-6)


def test_a_face_gets_the_same_answer_alone_and_among_others() -> None:
    rng = np.random.default_rng(1)
    vectors, people = unit(rng.standard_normal((50, 64))), np.arange(50) // 5
    queries = unit(rng.standard_normal((20, 64)))
    _, together = nearest_people(queries, vectors, people, 5)
    alone = [nearest_people(query[None], vectors, people, 5)[1][0] for query in queries]
    np.testing.assert_array_equal(together, alone)


def test_nobody_enrolled_and_nobody_asked() -> None:
    nobody = np.empty((0, 2), np.float32)
    best, scores = nearest_people(at(10), nobody, np.empty(0, np.int64), 5)
    assert (best.tolist(), scores.tolist()) == ([-1], [-1.0])
    best, scores = nearest_people(nobody, at(10), np.array([0]), 5)
    assert (len(best), len(scores)) == (0, 0)


def test_ties_go_to_the_smallest_number() -> None:
    best, _ = nearest_people(at(0), at(30, -30), np.array([1, 0]), 5)
    assert best.tolist() == [0]


def test_leaving_out_equals_a_gallery_without_the_group() -> None:
    rng = np.random.default_rng(2)
    vectors, people = unit(rng.standard_normal((12, 6))), np.arange(12) // 4
    for groups in (np.arange(12), people):
        best, scores = leave_one_out(vectors, people, groups, 3)
        for row in range(12):
            rest = groups != groups[row]
            expected = nearest_people(vectors[row : row + 1], vectors[rest], people[rest], 3)
            assert (best[row], scores[row]) == (expected[0][0], expected[1][0])


def test_the_only_photo_left_out_leaves_nobody() -> None:
    best, scores = leave_one_out(at(0), np.array([0]), np.array([0]), 5)
    assert (best.tolist(), scores.tolist()) == ([-1], [-1.0])


def test_one_person_under_two_names_is_seen_and_a_resemblance_on_one_side_is_not() -> None:
    vectors, people = at(0, 5, 2, 7, 90, 95, 50), np.array([0, 0, 1, 1, 2, 2, 3])
    ((a, b, similarity),) = alike(vectors, people, 5, threshold=0.9)
    assert (a, b) == (0, 1)
    assert 0.99 < similarity < 1
    # 3 finds 2 first, but the photos of 2 do not reach the threshold from where 3 stands.
    assert alike(vectors, people, 5, threshold=0.9999) == []


def test_pixels_are_compared_by_correlation_whatever_light_and_side() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(60, 180, (2, 14, 14, 3), dtype=np.uint8)
    crops = np.stack([cv2.resize(crop, (144, 144), interpolation=cv2.INTER_CUBIC) for crop in coarse])
    first, second = describe_pixels(crops)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-6)
    assert first @ describe_pixels(crops[:1, :, ::-1])[0] == pytest.approx(1, abs=1e-5)
    dimmer = (crops[:1] * 0.7 + 20).astype(np.uint8)
    assert first @ describe_pixels(dimmer)[0] > 0.995
    symmetric = [cv2.cvtColor(crop[16:128, 16:128], cv2.COLOR_RGB2GRAY).astype(float) for crop in crops]
    symmetric = [cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA) for grey in symmetric]
    halves = [(grey + grey[:, ::-1]).ravel() for grey in symmetric]
    assert first @ second == pytest.approx(np.corrcoef(halves)[0, 1], abs=1e-4)


def test_what_lies_outside_the_centre_does_not_matter_and_a_blank_face_is_like_nothing() -> None:
    crops = np.random.default_rng(4).integers(0, 256, (1, 144, 144, 3), dtype=np.uint8)
    framed = crops.copy()
    framed[:, :16] = framed[:, :, -16:] = 0
    np.testing.assert_array_equal(describe_pixels(crops), describe_pixels(framed))
    assert not describe_pixels(np.full((1, 144, 144, 3), 9, np.uint8)).any()
    assert centre(crops, width=96).shape == (1, 112, 96, 3)
