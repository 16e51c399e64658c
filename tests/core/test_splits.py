"""Properties of grouped and stratified splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.splits import SPLITS, assign_splits, split_digest


def sample_set(seed: int, groups: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and groups: 1 to 6 samples a group, mostly of one class, in no order."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, 7, groups))
    label = np.where(rng.random(len(group)) < 0.8, group % classes, rng.integers(0, classes, len(group)))
    order = rng.permutation(len(group))
    return label[order], 1000 - group[order]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    groups=st.integers(60, 200),
    classes=st.integers(1, 5),
    fractions=st.sampled_from(
        [(0.2, 0.2), (0.1, 0.2), (0.25, 0.25), (0.15, 0.15), (0.5, 0.2), (0.15, 0.7), (0.05, 0.4)]
    ),
)
def test_groups_stay_whole_and_fractions_are_met(
    seed: int, groups: int, classes: int, fractions: tuple[float, float]
) -> None:
    labels, group = sample_set(seed, groups, classes)
    split = assign_splits(labels, group, val_fraction=fractions[0], test_fraction=fractions[1], seed=seed)
    assert set(split) == set(SPLITS)
    for number in np.unique(group):
        assert len(set(split[group == number])) == 1
    assert (split == "val").mean() == pytest.approx(fractions[0], abs=0.12)
    assert (split == "test").mean() == pytest.approx(fractions[1], abs=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_shared_out_in_proportion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(["common", "rare"], [400, 100])
    group = np.concatenate([rng.integers(0, 200, 400), rng.integers(200, 250, 100)])
    split = assign_splits(labels, group, val_fraction=0.2, test_fraction=0.2, seed=seed)
    for label in ("common", "rare"):
        for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert (split[labels == label] == name).mean() == pytest.approx(share, abs=0.05)


def test_fractions_are_exact_where_every_sample_is_its_own_group() -> None:
    labels = np.repeat(np.arange(4), 50)
    split = assign_splits(labels, np.arange(200), val_fraction=0.2, test_fraction=0.2, seed=3)
    for label in range(4):
        assert {name: int((split[labels == label] == name).sum()) for name in SPLITS} == {
            "train": 30,
            "val": 10,
            "test": 10,
        }


def test_the_seed_decides() -> None:
    labels, group = sample_set(0, 100, 3)
    first, again, other = (
        assign_splits(labels, group, val_fraction=0.2, test_fraction=0.2, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_labels_and_groups_may_be_texts() -> None:
    labels, group = sample_set(0, 100, 3)
    numbers = assign_splits(labels, group, val_fraction=0.2, test_fraction=0.2, seed=1)
    texts = assign_splits(
        [f"class {n}" for n in labels], [f"{n:05d}" for n in group], val_fraction=0.2, test_fraction=0.2, seed=1
    )
    np.testing.assert_array_equal(numbers, texts)


def test_too_few_groups_are_an_error_that_says_how_many() -> None:
    with pytest.raises(InputError, match="4 independent photos cannot be split 5 ways"):
        assign_splits([0] * 40, np.arange(40) % 4, val_fraction=0.2, test_fraction=0.2, seed=0)


def test_a_class_with_a_single_photo_is_no_error_here() -> None:
    labels = np.array([0] * 50 + [1])
    split = assign_splits(labels, np.arange(51), val_fraction=0.2, test_fraction=0.2, seed=0)
    assert split[-1] in SPLITS


def test_a_split_digest_knows_who_is_where_and_no_order() -> None:
    digest = split_digest(["val", "test", "val"], ["a", "b", "c"])
    assert digest == split_digest(["val", "val", "test"], ["c", "a", "b"])
    assert digest != split_digest(["val", "val", "test"], ["c", "b", "a"])
    assert digest != split_digest(["val", "test"], ["a", "b"])
    with pytest.raises(ValueError, match="shorter"):
        split_digest(["val", "test"], ["a"])


def test_small_classes_are_in_every_split_though_no_fraction_is_met() -> None:
    labels = np.repeat(["a", "b"], 4)
    split = assign_splits(labels, np.arange(8), val_fraction=0.3, test_fraction=0.3, seed=0)
    for label in ("a", "b"):
        assert set(split[labels == label]) == set(SPLITS)


def test_classes_that_are_all_too_small_are_an_error_that_names_the_largest() -> None:
    labels = np.repeat(["common", "rare"], [3, 2])
    with pytest.raises(InputError, match="the 3 left of 'common', the largest class, cannot be split 4 ways"):
        assign_splits(labels, np.arange(5), val_fraction=0.25, test_fraction=0.25, seed=1)
