"""memes-samples: near-duplicates on one side, whatever their labels, and a pack of all pictures."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from sightline.core.backbone import FeatureNetwork, save_backbone
from sightline.core.errors import InputError
from sightline.core.files import read_json, sha256_of
from sightline.core.images import fit_to_square, pixel_digest, read_image
from sightline.core.leakage import perceptual_hash
from sightline.core.packs import open_pack
from sightline.core.sheets import write_png
from sightline.memes.params import Samples
from sightline.memes.samples import make_samples, split_photos

SETTINGS = Samples(seed=3, val_fraction=0.2, test_fraction=0.2, near_duplicate_bits=6)
SIDES = {
    "train": "train",
    "val": "val",
    "test": "test",
    "unknown-val": "not test",
    "unknown-test": "test",
    "later-pool": "not test",
    "later-test": "test",
}


def photos(**counts: int) -> pd.DataFrame:
    """Unrelated pictures: random hashes of 64 bits differ in about 32."""
    labels = np.repeat(list(counts), list(counts.values()))
    hashes = np.random.default_rng(0).integers(0, 2**63, len(labels), dtype=np.uint64)
    names = [f"{label}/{number}.png" for number, label in enumerate(labels)]
    digests = [sha256_of(name) for name in names]
    return pd.DataFrame({"photo": names, "label": labels, "kind": "", "digest": digests, "hash": hashes})


def repost(table: pd.DataFrame, pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """The second picture of each pair becomes a near-copy of the first, three bits away."""
    hashes = table["hash"].to_numpy().copy()
    for first, second in pairs:
        hashes[second] = hashes[first] ^ np.uint64(0b10101)
    return table.assign(hash=hashes)


def test_every_label_has_its_splits_in_proportion() -> None:
    table = photos(arena=100, farm=60, later=30, unknown=40)
    table["kind"] = np.where(table["label"] == "unknown", np.where(np.arange(len(table)) % 4, "far", "near"), "")
    split = split_photos(table, "later", SETTINGS)
    counts = split.groupby(["label", "split"]).size().to_dict()
    assert counts == {
        ("arena", "train"): 60,
        ("arena", "val"): 20,
        ("arena", "test"): 20,
        ("farm", "train"): 36,
        ("farm", "val"): 12,
        ("farm", "test"): 12,
        ("later", "later-pool"): 20,
        ("later", "later-test"): 10,
        ("unknown", "unknown-val"): 20,
        ("unknown", "unknown-test"): 20,
    }
    near = split[split["kind"] == "near"]["split"].value_counts()
    assert near.to_dict() == {"unknown-val": 5, "unknown-test": 5}
    assert list(split.columns) == ["photo", "label", "kind", "split", "group", "digest", "hash"]


def test_groups_stay_together_whatever_their_labels() -> None:
    table = photos(arena=60, farm=60, later=30, unknown=60)
    rng = np.random.default_rng(1)
    everything = rng.permutation(len(table))
    pairs = [(int(a), int(b)) for a, b in everything[:120].reshape(-1, 2)]
    split = split_photos(repost(table, pairs), "later", SETTINGS)
    mixed = 0
    for first, second in pairs:
        one, other = split.loc[first], split.loc[second]
        assert one["group"] == other["group"]
        sides = {SIDES[one["split"]], SIDES[other["split"]]}
        assert len(sides) == 1 or sides in ({"train", "not test"}, {"val", "not test"})
        mixed += one["label"] != other["label"]
    assert mixed > 30
    assert split["group"].nunique() == len(table) - len(pairs)


def test_the_seed_decides() -> None:
    table = photos(arena=30, farm=30, unknown=20)
    first, again = (split_photos(table, None, SETTINGS) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = split_photos(table, None, SETTINGS.model_copy(update={"seed": 4}))
    assert (other["split"] != first["split"]).any()


def test_neither_unknown_pictures_nor_a_later_class_are_needed() -> None:
    split = split_photos(photos(arena=30, farm=30), None, SETTINGS)
    assert set(split["split"]) == {"train", "val", "test"}


def test_a_class_of_one_picture_and_its_reposts_is_refused() -> None:
    table = repost(photos(arena=30, farm=4), [(30, 31), (30, 32), (30, 33)])
    with pytest.raises(InputError, match=r"no picture of farm in the .* split: more pictures of it are needed"):
        split_photos(table, None, SETTINGS)


def test_unknown_pictures_that_are_all_one_are_refused() -> None:
    table = repost(photos(arena=30, farm=30, unknown=2), [(60, 61)])
    with pytest.raises(InputError, match="unknown: 1 pictures that are no near-duplicates of others, at least 2"):
        split_photos(table, None, SETTINGS)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Ten pictures a class and four unknown ones; the last of each is a brighter copy of the first."""
    rows: list[dict[str, Any]] = []
    for number, label in enumerate(("arena", "farm", "unknown")):
        for index in range(10 if label != "unknown" else 4):
            coarse = np.random.default_rng((number, index)).integers(0, 230, (6, 8, 3), dtype=np.uint8)
            picture = cv2.resize(coarse, (80 + index, 60), interpolation=cv2.INTER_CUBIC)
            if index == 9:
                picture = cv2.resize(read_image(tmp_path / "raw" / "images" / label / "0.png"), (100, 75))
            name = f"{label}/{index}.png"
            (tmp_path / "raw" / "images" / label).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "raw" / "images" / name, picture)
            kind = ("near", "far")[index % 2] if label == "unknown" else ""
            look = {"digest": pixel_digest(picture), "hash": f"{perceptual_hash(picture):016x}"}
            size = {"width": picture.shape[1], "height": picture.shape[0], "bytes": 1000, "quality": ""}
            rows.append({"photo": name, "label": label, "kind": kind, **size, **look})
    pd.DataFrame(rows).to_csv(tmp_path / "raw" / "photos.csv", index=False)
    return tmp_path / "raw"


def test_the_pack_holds_all_pictures_at_the_size_of_the_backbone(raw: Path, tmp_path: Path) -> None:
    network = FeatureNetwork("resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8})
    about = {"architecture": "resnet10t", "arguments": {}, "mean": (0.5,) * 3, "std": (0.5,) * 3, "source": "random"}
    save_backbone(tmp_path / "backbone", network, {}, name="tiny", size=40, **about)
    make_samples(
        raw, tmp_path / "backbone", None, SETTINGS, tmp_path / "out", tmp_path / "s.png", tmp_path / "s.json", 0
    )
    pack = open_pack(tmp_path / "out")
    assert list(pack.manifest.columns) == [
        *("photo", "label", "kind", "split", "group"),
        *("width", "height", "bytes", "quality", "digest"),
    ]
    assert pack.images.shape == (24, 40, 40, 3)
    for row, name in enumerate(pack.manifest["photo"]):
        np.testing.assert_array_equal(pack.images[row], fit_to_square(read_image(raw / "images" / name), 40))
    first, last = (pack.manifest.set_index("photo").loc[f"arena/{index}.png"] for index in (0, 9))
    assert (first["group"], first["split"]) == (last["group"], last["split"])
    summary = read_json(tmp_path / "s.json")
    assert summary["near_duplicates"] == {"pictures": 4, "groups": 2, "of_several_labels": 0}
    assert summary["kinds"] == {"far": 2, "near": 2}
    assert sum(sum(labels.values()) for labels in summary["pictures"].values()) == 24
    assert read_image(tmp_path / "s.png").shape[1] > 500
