"""birds-split: Section 7.1 of Lifted Structured Feature Embedding, counted on the official lists."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sightline.birds.halves import assign_halves
from sightline.birds.photos import read_photos
from sightline.birds.split import split
from sightline.core.errors import InputError

OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "birds" / "metadata_full" / "image_class_labels.txt"


def table(class_ids: list[int], **columns: Any) -> pd.DataFrame:
    """One photo a given class, in falling order of the image ids."""
    count = len(class_ids)
    numbers = list(range(count, 0, -1))
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "image_id": numbers,
            "photo": [f"{class_id}/{number}.jpg" for class_id, number in zip(class_ids, numbers, strict=True)],
            "class_id": class_ids,
            "class_name": [f"NA{class_id}" for class_id in class_ids],
            **dict.fromkeys(("left", "top"), 0),
            **dict.fromkeys(("right", "bottom", "width", "height"), 9),
            "digest": [f"{number:064x}" for number in numbers],
            "hash": [f"{value:016x}" for value in rng.integers(0, 1 << 63, count, dtype=np.uint64)],
            **columns,
        }
    )


def run(folder: Path, photos: pd.DataFrame, last_train_class: int | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    photos.to_csv(folder / "photos.csv", index=False)
    split(folder, last_train_class, 6, folder / "split.csv", folder / "split.json")
    return read_photos(folder / "split.csv"), json.loads((folder / "split.json").read_text())


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official lists are not here")
def test_the_official_lists_give_the_published_numbers() -> None:
    class_ids = np.loadtxt(OFFICIAL, dtype=int)[:, 1]
    halves = assign_halves(class_ids)
    assert (np.sum(halves == "train"), np.sum(halves == "test")) == (5864, 5924)
    assert len(np.unique(class_ids[halves == "train"])) == len(np.unique(class_ids[halves == "test"])) == 100
    # In a part of the set the official border is kept by its id.
    some = np.isin(class_ids, [1, 2, 50, 99, 100, 101, 150, 200])
    assert assign_halves(class_ids[some], 100).tolist() == halves[some].tolist()


def test_the_first_half_of_the_classes_trains_whatever_their_ids_and_sizes() -> None:
    ids = [90, 7, 7, 7, 7, 7, 7, 12, 90, 88]
    assert assign_halves(ids).tolist() == ["test", *["train"] * 7, "test", "test"]


def test_the_middle_class_of_an_odd_number_is_for_testing() -> None:
    assert assign_halves([1, 2, 3, 4, 5]).tolist() == ["train", "train", "test", "test", "test"]


def test_the_border_can_be_given() -> None:
    assert assign_halves([1, 2, 3, 4, 5], 3).tolist() == ["train", "train", "train", "test", "test"]
    # An id that is not there is a border all the same: class 100 of a part of CUB.
    assert assign_halves([1, 2, 104, 105], 100).tolist() == ["train", "train", "test", "test"]


@pytest.mark.parametrize("ids", [[], [1], [1, 2, 3], [5, 5, 5]])
def test_too_few_classes_for_two_halves(ids: list[int]) -> None:
    with pytest.raises(InputError, match="each half needs at least 2"):
        assign_halves(ids)


@pytest.mark.parametrize("border", [0, 1, 3, 200])
def test_a_border_that_leaves_a_half_empty_is_named(border: int) -> None:
    with pytest.raises(InputError, match=f"with birds.split.last_train_class: {border}: each half needs at least 2"):
        assign_halves([1, 2, 3, 4], border)


def test_the_table_has_all_columns_and_a_half_sorted_by_image_id(tmp_path: Path) -> None:
    photos = table([1, 1, 2, 2, 30, 30, 31])
    result, summary = run(tmp_path / "raw", photos)
    assert result["image_id"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert result["split"].tolist() == ["test", "test", "test", "train", "train", "train", "train"]
    sorted_photos = photos.sort_values("image_id", ignore_index=True)
    hashes = [int(text, 16) for text in sorted_photos["hash"]]
    pd.testing.assert_frame_equal(
        result.drop(columns="split"), sorted_photos.assign(hash=np.array(hashes, dtype=np.uint64)), check_dtype=False
    )
    assert summary["train"] == {"images": 4, "classes": 2, "classes_of_one_image": 0}
    assert summary["test"] == {"images": 3, "classes": 2, "classes_of_one_image": 1}
    assert summary["last_train_class"] == 2
    assert summary["near_duplicates_across"] == {"pairs": 0, "first": []}


def test_a_copy_in_the_other_half_stops_the_pipeline(tmp_path: Path) -> None:
    photos = table([1, 2, 3, 4])
    photos.loc[3, "digest"] = photos.loc[0, "digest"]
    with pytest.raises(InputError, match=r"1 pairs .* leak between splits: .* the same pixels"):
        run(tmp_path / "raw", photos)
    assert not (tmp_path / "raw" / "split.csv").exists()


def test_copies_and_near_duplicates_within_a_half_are_no_leak(tmp_path: Path) -> None:
    photos = table([1, 2, 3, 4])
    photos.loc[1, ["digest", "hash"]] = photos.loc[0, ["digest", "hash"]].to_numpy()
    assert run(tmp_path / "raw", photos)[1]["near_duplicates_across"]["pairs"] == 0


def test_near_duplicates_across_the_halves_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = table([1, 2, 3, 4])
    # Six bits apart, and seven.
    photos.loc[0, "hash"], photos.loc[3, "hash"] = "ff00ff00ff00ff00", "ff00ff00ff00ff3f"
    assert run(tmp_path / "raw", photos)[1]["near_duplicates_across"] == {"pairs": 1, "first": [["4/1.jpg", "1/4.jpg"]]}
    assert "1 pairs of near-duplicates across the halves, the first: 4/1.jpg and 1/4.jpg" in capsys.readouterr().err
    photos.loc[3, "hash"] = "ff00ff00ff00ff7f"
    assert run(tmp_path / "raw", photos)[1]["near_duplicates_across"]["pairs"] == 0


def test_the_digest_tells_splits_apart_and_not_the_order_of_rows(tmp_path: Path) -> None:
    photos = table([1, 2, 3, 4, 5, 6])
    digest = run(tmp_path / "raw", photos)[1]["split_sha256"]
    assert run(tmp_path / "raw", photos.iloc[::-1])[1]["split_sha256"] == digest
    assert run(tmp_path / "raw", photos, last_train_class=2)[1]["split_sha256"] != digest


def test_a_folder_without_photos_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"photos\.csv is no table of photos"):
        split(tmp_path, None, 6, tmp_path / "split.csv", tmp_path / "split.json")
    with pytest.raises(InputError, match="it lacks digest"):
        run(tmp_path / "raw", table([1, 2, 3, 4]).drop(columns="digest"))
