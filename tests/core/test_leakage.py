"""Near-duplicates are found, kept together, and fatal across splits."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sightline.core.errors import InputError
from sightline.core.images import Pixels
from sightline.core.leakage import BLOCK, check_leakage, group_duplicates, near_duplicates, perceptual_hash

NEAR, FAR = 8, 16


def scene(seed: int, size: int = 256) -> Pixels:
    """Coloured blobs on a gradient: as smooth as a photo."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.random((4, 4, 3)), (size, size), interpolation=cv2.INTER_CUBIC) * 120
    for _ in range(12):
        centre, radius = rng.integers(0, size, 2).tolist(), int(rng.integers(size // 16, size // 4))
        cv2.circle(picture, centre, radius, rng.uniform(0, 255, 3).tolist(), -1)
    return cv2.GaussianBlur(picture, (0, 0), 2).clip(0, 255).astype(np.uint8)


def recompressed(image: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def bits(first: int, second: int) -> int:
    return (first ^ second).bit_count()


@pytest.mark.parametrize("seed", range(6))
def test_copies_at_another_size_quality_or_brightness_are_near(seed: int) -> None:
    original = scene(seed)
    copies = {
        "half the size": cv2.resize(original, (128, 128), interpolation=cv2.INTER_AREA),
        "larger": cv2.resize(original, (400, 400), interpolation=cv2.INTER_CUBIC),
        "strong JPEG": recompressed(original, 30),
        "brighter": np.minimum(original.astype(int) * 1.15, 255).astype(np.uint8),
        "grey": np.repeat(cv2.cvtColor(original, cv2.COLOR_RGB2GRAY)[..., None], 3, 2),
    }
    reference = perceptual_hash(original)
    assert 0 <= reference < 2**64
    distances = {name: bits(reference, perceptual_hash(copy)) for name, copy in copies.items()}
    assert max(distances.values()) <= NEAR, distances


def test_unrelated_pictures_are_far() -> None:
    hashes = [perceptual_hash(scene(seed)) for seed in range(20)]
    distances = [bits(one, other) for number, one in enumerate(hashes) for other in hashes[:number]]
    assert min(distances) > FAR
    assert np.mean(distances) == pytest.approx(32, abs=3)


def brute_force(hashes: list[int], max_bits: int) -> list[tuple[int, int]]:
    count = len(hashes)
    return [(i, j) for i in range(count) for j in range(i + 1, count) if bits(hashes[i], hashes[j]) <= max_bits]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 3, 2**63, 2**64 - 1]), max_size=25), st.integers(0, 32)
)
def test_pairs_are_those_of_a_double_loop(hashes: list[int], max_bits: int) -> None:
    found = near_duplicates(np.array(hashes, np.uint64), max_bits)
    assert found.shape == (len(found), 2)
    assert sorted(map(tuple, found.tolist())) == brute_force(hashes, max_bits)


def test_pairs_across_blocks_are_found_once() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 2 * BLOCK + 5, dtype=np.uint64)
    hashes[[3, BLOCK + 1, 2 * BLOCK + 4]] = 77
    expected = [[3, BLOCK + 1], [3, 2 * BLOCK + 4], [BLOCK + 1, 2 * BLOCK + 4]]
    np.testing.assert_array_equal(np.sort(near_duplicates(hashes, 2), 0), np.sort(expected, 0))


def test_duplicates_of_duplicates_share_a_group() -> None:
    # A chain in which each differs from the next in four bits, so that its ends differ in eight; and two loners.
    hashes = [0x0, 0xF0F0F0F0F0F0F0F0, 0xF, 0xFF, 0x0F0F0F0F0F0F0F0F]
    groups = group_duplicates(hashes, 4)
    assert groups[0] == groups[2] == groups[3]
    assert len({groups[0], groups[1], groups[4]}) == 3


@given(st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=20), st.integers(0, 6))
def test_groups_are_the_transitive_closure_of_pairs(hashes: list[int], max_bits: int) -> None:
    expected = list(range(len(hashes)))
    for one, other in brute_force(hashes, max_bits):
        old, new = expected[other], expected[one]
        expected = [new if group == old else group for group in expected]
    groups = group_duplicates(hashes, max_bits)
    same = np.equal.outer(groups, groups)
    np.testing.assert_array_equal(same, np.equal.outer(expected, expected))


def test_no_pictures_are_no_groups() -> None:
    assert near_duplicates([], 4).shape == (0, 2)
    assert group_duplicates([], 4).shape == (0,)


NAMES = [f"{number}.jpg" for number in range(6)]
SPLITS = ["train", "train", "val", "val", "test", "test"]
GROUPS = [0, 0, 1, 1, 2, 2]
DIGESTS = ["a", "a", "b", "c", "d", "e"]
# Far from each other, except the two of the training split.
HASHES = np.array([0x0, 0x1, 0xFFFF << 8, 0xFFFF << 24, 0xFFFF << 40, 0xFF << 56], np.uint64)


def test_likeness_within_a_split_is_allowed() -> None:
    check_leakage(NAMES, SPLITS, GROUPS, DIGESTS, HASHES, 6)


@pytest.mark.parametrize(
    ("groups", "digests", "hashes", "names", "why"),
    [
        ([0, 0, 0, 1, 2, 2], DIGESTS, HASHES, ("0.jpg (train)", "2.jpg (val)"), "the same group"),
        (GROUPS, ["a", "x", "b", "c", "d", "x"], HASHES, ("1.jpg (train)", "5.jpg (test)"), "the same pixels"),
        (
            GROUPS,
            DIGESTS,
            [*HASHES[:4], HASHES[3] ^ np.uint64(0x3F), HASHES[5]],
            ("3.jpg (val)", "4.jpg (test)"),
            "near",
        ),
    ],
)
def test_likeness_between_splits_is_an_error_that_names_both(
    groups: list[int], digests: list[str], hashes: NDArray[np.uint64], names: tuple[str, str], why: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_leakage(NAMES, SPLITS, groups, digests, hashes, 6)
    message = str(caught.value)
    assert "\n" not in message
    assert why in message
    assert all(name in message for name in names)
    assert not any(name in message for name in set(NAMES) - {full.split()[0] for full in names})


def test_one_bit_more_than_allowed_is_no_leak() -> None:
    hashes = [*HASHES[:4], HASHES[3] ^ np.uint64(0x7F), HASHES[5]]
    check_leakage(NAMES, SPLITS, GROUPS, DIGESTS, hashes, 6)


def test_many_leaks_are_counted_and_the_first_few_named() -> None:
    with pytest.raises(InputError, match="pairs of pictures leak") as caught:
        check_leakage(NAMES, SPLITS, [0] * 6, DIGESTS, HASHES, 6)
    assert str(caught.value).count("the same group") == 3


def test_a_photo_and_its_recompressed_copy_leak() -> None:
    pictures = [scene(0), scene(1), recompressed(scene(0), 60)]
    hashes = [perceptual_hash(picture) for picture in pictures]
    groups = group_duplicates(hashes, 6)
    assert groups[0] == groups[2] != groups[1]
    with pytest.raises(InputError, match=r"a\.jpg \(train\) and c\.jpg \(test\): near-duplicates"):
        check_leakage(["a.jpg", "b.jpg", "c.jpg"], ["train", "train", "test"], [0, 1, 2], ["a", "b", "c"], hashes, 6)
