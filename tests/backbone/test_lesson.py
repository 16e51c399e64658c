"""The pack of drawn pictures: pure functions of their numbers, all classes alike in number."""

from pathlib import Path

import numpy as np
import pandas as pd

from sightline.backbone.lesson import Kinds, draw_pack, traits_of

SIZE = 48
KINDS = Kinds(things=4, worlds=4)


def draw(folder: Path, kinds: Kinds = KINDS, pictures: int = 5, seed: int = 1, workers: int = 0):
    return draw_pack(folder, kinds, pictures, 0.3, SIZE, seed, workers)


def by_class(pack) -> np.ndarray:
    return np.reshape(pack.images, (8, -1, SIZE, SIZE, 3))


def test_a_picture_depends_on_the_seed_its_class_and_its_number_alone(tmp_path):
    one, more = draw(tmp_path / "one"), draw(tmp_path / "more", pictures=6, workers=2)
    np.testing.assert_array_equal(by_class(more)[:, :5], by_class(one))
    other = draw(tmp_path / "other", pictures=4, seed=2)
    assert all((a != b).any() for a, b in zip(one.images, other.images, strict=False))


def test_more_classes_of_one_kind_leave_the_other_as_it_is(tmp_path):
    one, other = draw(tmp_path / "one"), draw(tmp_path / "other", Kinds(things=2, worlds=6))
    np.testing.assert_array_equal(by_class(other)[:2], by_class(one)[:2])
    np.testing.assert_array_equal(by_class(other)[2:6], by_class(one)[4:])


def test_a_pack_has_every_class_equally_often_in_both_splits(tmp_path):
    pack = draw(tmp_path / "pack")
    counts = pd.crosstab(pack.manifest["label"], pack.manifest["split"])
    assert list(counts.index.astype(int)) == list(range(8))
    assert (counts["train"] == 3).all()
    assert (counts["val"] == 2).all()


def test_traits_are_those_of_the_label():
    few, more = traits_of(Kinds(2, 3), 1), traits_of(Kinds(4, 4), 1)
    assert more[:2] == few[:2]
    assert more[4:7] == few[2:]
    assert all("thing" in " ".join(traits) for traits in few[:2])
    assert all("world" in " ".join(traits) for traits in few[2:])
