"""Who is in which split: gallery and probes of enrolled people, strangers who choose thresholds, strangers who test."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.core.errors import InputError
from sightline.core.files import sha256_of
from sightline.faces.params import EMOTIONS, Emotion, Identity, Network
from sightline.faces.people import assign_moods, assign_people, share_out

NETWORK = Network(
    width=8,
    epochs=1,
    batch_size=8,
    lr=0.01,
    weight_decay=0,
    warmup_epochs=0,
    label_smoothing=0,
    ema_decay=0.9,
    mixup_alpha=0,
)
EMOTION = Emotion(weights="none", val_fraction=0.2, test_fraction=0.25, seed=1, network=NETWORK)
BITS = 4


def identity(**changed: Any) -> Identity:
    plain = {"enrolled": None, "photos": 4, "neighbours": 5, "val_people": 0.4, "false_accepts": 0.01, "seed": 1}
    return Identity(**{**plain, "network": NETWORK, **changed})


def photos(role: str, **counts: int) -> pd.DataFrame:
    """Unrelated pictures of people: random hashes of 64 bits differ in about 32."""
    rows = [
        (f"{role}/{person}/{number}.jpg", role, person) for person, count in counts.items() for number in range(count)
    ]
    table = pd.DataFrame(rows, columns=["photo", "role", "person"]).assign(emotion="")
    table["digest"] = [sha256_of(name) for name in table["photo"]]
    # The same place in every photo.
    table = table.assign(x1=0.2, y1=0.2, x2=0.4, y2=0.5)
    return table.assign(hash=[digest[:16] for digest in table["digest"]])


def people(gallery: dict[str, int], strangers: dict[str, int]) -> pd.DataFrame:
    return pd.concat([photos("gallery", **gallery), photos("stranger", **strangers)], ignore_index=True)


def splits_of(table: pd.DataFrame, split: np.ndarray, person: str) -> list[str]:
    return sorted(split[(table["person"] == person).to_numpy()].tolist())


TABLE = people({"anna": 7, "ben": 5, "cleo": 4, "dora": 2}, {f"s{number}": 3 for number in range(10)})


def test_everybody_in_the_gallery_is_enrolled_and_probed() -> None:
    split = assign_people(TABLE, identity())
    assert splits_of(TABLE, split, "anna") == ["gallery"] * 4 + ["probe"] * 3
    assert splits_of(TABLE, split, "ben") == ["gallery"] * 4 + ["probe"]
    # One who has no more photos than the gallery takes keeps one to test with, but not of the last two.
    assert splits_of(TABLE, split, "cleo") == ["gallery"] * 3 + ["probe"]
    assert splits_of(TABLE, split, "dora") == ["gallery"] * 2


def test_a_stranger_is_on_one_side_only() -> None:
    split = assign_people(TABLE, identity())
    sides = [set(splits_of(TABLE, split, f"s{number}")) for number in range(10)]
    assert all(len(side) == 1 for side in sides)
    assert sides.count({"val"}) == 4
    assert sides.count({"test"}) == 6


def test_who_is_not_enrolled_is_a_stranger() -> None:
    split = assign_people(TABLE, identity(enrolled=("anna", "cleo"), val_people=0.5))
    assert set(splits_of(TABLE, split, "anna")) == {"gallery", "probe"}
    assert {*splits_of(TABLE, split, "ben"), *splits_of(TABLE, split, "dora")} <= {"val", "test"}
    assert (split == "val").any()


def test_who_is_met_in_a_group_chooses_no_threshold() -> None:
    met = {f"s{number}" for number in range(8)}
    split = assign_people(TABLE, identity(), met)
    assert set(TABLE["person"][split == "val"]) == {"s8", "s9"}


def test_a_stranger_without_a_name_is_somebody_else_in_each_photo() -> None:
    table = people({"anna": 3, "ben": 3}, {"": 20})
    split = assign_people(table, identity())
    assert (split == "val").sum() == 8
    assert (split == "test").sum() == 12


def test_a_single_stranger_is_kept_for_testing() -> None:
    table = people({"anna": 3, "ben": 3}, {"s": 4})
    assert splits_of(table, assign_people(table, identity()), "s") == ["test"] * 4


@given(st.integers(0, 2**31), st.integers(1, 6))
def test_a_further_photo_or_person_moves_few(seed: int, count: int) -> None:
    settings = identity(seed=seed)
    split = assign_people(TABLE, settings)
    more = pd.concat([TABLE, photos("gallery", emil=count)], ignore_index=True)
    kept = assign_people(more, settings)[: len(TABLE)]
    people_in_gallery = (TABLE["role"] == "gallery").to_numpy()
    np.testing.assert_array_equal(kept[people_in_gallery], split[people_in_gallery])
    # In another order the same.
    shuffled = TABLE.sample(frac=1, random_state=seed)
    np.testing.assert_array_equal(assign_people(shuffled, settings), split[shuffled.index])


@pytest.mark.parametrize(
    ("table", "changed", "message"),
    [
        (TABLE, {"enrolled": ("anna", "zoe")}, "no photo with a face of zoe in the gallery: there are anna, ben"),
        (people({"anna": 3, "ben": 1}, {}), {"enrolled": ("anna", "ben")}, "one photo with a face of ben"),
        (people({"anna": 3, "ben": 1}, {}), {}, "the gallery has 1 people with 2 or more photos"),
        (people({"anna": 3, "ben": 3}, {"ben": 2}), {}, "ben: in the gallery and among the strangers"),
    ],
)
def test_what_cannot_be_is_said(table: pd.DataFrame, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign_people(table, identity(**changed))


def with_copy(table: pd.DataFrame, of: str, photo: str) -> pd.DataFrame:
    """``photo`` shows what ``of`` shows but for three bits of the hash."""
    hashes = dict(zip(table["photo"], table["hash"], strict=True))
    hashes[photo] = f"{int(hashes[of], 16) ^ 0b10000100010:016x}"
    return table.assign(hash=table["photo"].map(hashes))


def test_near_duplicates_of_the_gallery_are_left_out() -> None:
    everything = pd.concat([TABLE, photos("group", **{"": 3}), photos("empty", **{"": 2})], ignore_index=True)
    before = share_out(everything, (), identity(), EMOTION, BITS).split
    known = everything["photo"][(before == "gallery") & (everything["person"] == "anna")].tolist()
    probe = everything["photo"][(before == "probe") & (everything["person"] == "anna")].iloc[0]
    copies = with_copy(with_copy(with_copy(everything, known[0], known[1]), known[2], probe), known[3], "group//1.jpg")
    after = share_out(copies, (), identity(), EMOTION, BITS)
    dropped = set(everything["photo"][(after.split == "") & (before != "")])
    assert {probe, "group//1.jpg"} < dropped
    assert len(dropped & {known[0], known[1]}) == 1
    assert len(dropped) == 3
    assert {problem.photo for problem in after.problems} == dropped
    unchanged = ~everything["photo"].isin(dropped).to_numpy()
    np.testing.assert_array_equal(after.split[unchanged], before[unchanged])


def test_copies_on_the_same_side_stay() -> None:
    table = pd.concat([TABLE, photos("group", **{"": 3})], ignore_index=True)
    shares = share_out(with_copy(table, "group//0.jpg", "group//1.jpg"), (), identity(), EMOTION, BITS)
    assert (shares.split != "").all()


def test_one_person_under_two_names_is_noted() -> None:
    split = assign_people(TABLE, identity())
    mine, other = (TABLE["photo"][(split == "gallery") & (TABLE["person"] == name)].iloc[0] for name in ("anna", "ben"))
    shares = share_out(with_copy(TABLE, mine, other), (), identity(), EMOTION, BITS)
    assert (shares.split != "").all()
    [problem] = shares.problems
    assert (problem.photo, problem.action) == (other, "noted")
    assert mine in problem.problem


def test_two_people_of_one_photo_are_not_one_under_two_names() -> None:
    split = assign_people(TABLE, identity())
    mine, other = (TABLE["photo"][(split == "gallery") & (TABLE["person"] == name)].iloc[0] for name in ("anna", "ben"))
    table = with_copy(TABLE, mine, other)
    table.loc[table["photo"] == other, ["x1", "x2"]] = [0.6, 0.8]
    assert share_out(table, (), identity(), EMOTION, BITS).problems == []


def test_a_person_with_a_single_photo_is_noted() -> None:
    table = people({"anna": 3, "ben": 3, "solo": 1}, {"s": 3})
    shares = share_out(table, (), identity(), EMOTION, BITS)
    assert [problem.photo for problem in shares.problems] == ["gallery/solo/0.jpg"]
    assert set(splits_of(table, shares.split, "solo")) <= {"val", "test"}


def test_moods_are_shared_out_in_proportion_with_copies_and_people_together() -> None:
    table = pd.concat([photos("emotion", **{f"p{number}": 2 for number in range(70)})], ignore_index=True)
    table["emotion"] = np.tile(np.repeat(EMOTIONS, 2), 10)
    table = with_copy(table, table["photo"][0], table["photo"][40])
    split = assign_moods(table, EMOTION, BITS)
    assert table.assign(split=split).groupby("person")["split"].nunique().max() == 1
    assert split[0] == split[40]
    assert set(split) == {"train", "val", "test"}
    tested = table["emotion"][split == "test"].value_counts()
    assert set(tested.index) == set(EMOTIONS)
    assert abs((split == "test").mean() - 0.25) < 0.06


def test_too_few_photos_of_every_mood_are_said_with_how_many_are_needed() -> None:
    moods = photos("emotion", **{"": 3 * len(EMOTIONS)}).assign(emotion=EMOTIONS * 3)
    with pytest.raises(InputError, match=r"photos of emotions: the 3 left of 'anger', .* 4 ways: .*; 6 independent"):
        assign_moods(moods, EMOTION, BITS)
    enough = photos("emotion", **{"": 6 * len(EMOTIONS)}).assign(emotion=EMOTIONS * 6)
    assert set(assign_moods(enough, EMOTION, BITS)) == {"train", "val", "test"}


def test_photos_of_moods_stay_apart_from_people() -> None:
    moods = photos("emotion", **{"": 40}).assign(emotion=np.resize(EMOTIONS, 40))
    table = pd.concat([TABLE, moods], ignore_index=True)
    shares = share_out(table, (), identity(), EMOTION, BITS)
    np.testing.assert_array_equal(shares.split[: len(TABLE)], assign_people(TABLE, identity()))
    assert set(shares.split[len(TABLE) :]) == {"train", "val", "test"}
    # What an identity is known by may well be a mood's photo: other networks, other splits.
    again = share_out(with_copy(table, TABLE["photo"][0], moods["photo"].iloc[0]), (), identity(), EMOTION, BITS)
    assert (again.split != "").all()
