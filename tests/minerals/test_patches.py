import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from pycocotools import mask
from pydantic import ValidationError

from sightline.core.errors import InputError
from sightline.core.packs import Pack, open_pack
from sightline.minerals.annotations import Photo, Specimen
from sightline.minerals.params import NONE, Minerals, Patches
from sightline.minerals.patches import make_patches
from sightline.minerals.source import ingest
from sightline.params import load

CLASSES = ("pyrite", "quartz")
Box = tuple[float, float, float, float]


def settings(**changes: Any) -> Patches:
    defaults = load("minerals", Minerals, Path(__file__).parents[2] / "params.yaml").patches.model_dump()
    limits = {"per_positive": 1.0, "max_iou": 0.3, "max_covered": 0.25, "max_filled": 0.4}
    negatives = {**limits, "near_share": 0.3, "busy_share": 0.4, **changes.pop("negatives", {})}
    tiny = {"patch_size": 32, "val_fraction": 0.25, "test_fraction": 0.25, "per_box": {"train": 4, "val": 2, "test": 3}}
    return Patches.model_validate({**defaults, **tiny, "examples": 6, **changes, "negatives": negatives})


def pixels(number: int, width: int, height: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(number).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


class Raw:
    """A folder as ``minerals-source`` leaves it, made photo by photo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos: list[Photo] = []

    def add(self, boxes: Sequence[tuple[str, Box]], image: NDArray[np.uint8] | None = None, name: str = "") -> None:
        number = len(self.photos)
        path = self.folder / "given" / (name or f"{number:03d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number, 200, 150) if image is None else image).save(path)
        self.photos.append(Photo(path.name, path, tuple(Specimen(label, box) for label, box in boxes)))

    def cut(self, patches: Patches, workers: int = 0, out: str = "cut", classes: Sequence[str] = CLASSES) -> Pack:
        target = self.folder / out
        ingest(self.photos, self.folder / "raw", CLASSES, workers=0)
        outputs = (target / name for name in ("patches", "examples", "sheet.png", "summary.json"))
        make_patches(self.folder / "raw", classes, patches, *outputs, workers)
        return open_pack(target / "patches")

    def truth(self) -> dict[str, list[tuple[str, Box]]]:
        return {
            f"images/{photo.name}": [(item.label, item.box_xywh) for item in photo.specimens] for photo in self.photos
        }


def random_boxes(number: int) -> list[tuple[str, Box]]:
    """One or two boxes of 25 to 70 px in a photo of 200 × 150, not on whole pixels."""
    rng = np.random.default_rng((5, number))
    found = []
    for k in range(1 + number % 2):
        width, height = rng.uniform(25, 70, 2)
        left, top = rng.uniform(0, 200 - width), rng.uniform(0, 150 - height)
        found.append((CLASSES[(number + k) % 2], (left, top, width, height)))
    return found


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    raw = Raw(tmp_path)
    for number in range(16):
        raw.add(random_boxes(number))
    return raw


def xywh(rows: pd.DataFrame) -> NDArray[np.float64]:
    sides = [rows["right"] - rows["left"], rows["bottom"] - rows["top"]]
    return np.stack([rows["left"], rows["top"], *sides], axis=1).astype(np.float64)


def iou(first: ArrayLike, second: ArrayLike, crowd: bool = False) -> NDArray[np.float64]:
    """By pycocotools; with ``crowd`` the common area is a share of the first box's."""
    pair = [np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (first, second)]
    return np.asarray(mask.iou(*pair, [crowd] * len(pair[1])))


def deal_out(monkeypatch: pytest.MonkeyPatch, raw: Raw) -> None:
    """Split photos two by two in their order, whatever is on them."""
    members = [number for number, photo in enumerate(raw.photos) for _ in photo.specimens or (None,)]
    split = np.array([("train", "train", "val", "test")[number // 2 % 4] for number in members])
    monkeypatch.setattr("sightline.minerals.patches.assign_splits", lambda *_, **__: split)


def test_each_box_is_cut_exactly_once_on_the_pixels_around_it(raw: Raw) -> None:
    manifest = raw.cut(settings()).manifest
    exact = manifest[manifest["kind"] == "exact"]
    expected = Counter(
        (photo, label, int(np.floor(x)), int(np.floor(y)), int(np.ceil(x + w)), int(np.ceil(y + h)))
        for photo, boxes in raw.truth().items()
        for label, (x, y, w, h) in ((label, tuple(round(value, 3) for value in box)) for label, box in boxes)
    )
    columns = ["photo", "label", "left", "top", "right", "bottom"]
    assert Counter(exact[columns].itertuples(index=False, name=None)) == expected


def test_a_patch_holds_the_pixels_of_its_box(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    for number in range(8):
        image = np.zeros((100, 120, 3), np.uint8)
        image[20:60, 30:90] = (200, 100, 10 * number)
        image[:, 119] = pixels(number, 1, 100)[:, 0]
        raw.add([(CLASSES[number % 2], (30.0, 20.0, 60.0, 40.0))], image)
    pack = raw.cut(settings(near_duplicate_bits=0))
    for row in pack.manifest[pack.manifest["kind"] == "exact"].itertuples():
        number = int(row.photo[-7:-4])
        assert (pack.images[row.Index] == (200, 100, 10 * number)).all()


def test_jittered_boxes_keep_their_overlap_with_a_box_of_their_label(raw: Raw) -> None:
    manifest = raw.cut(settings(min_iou=0.8)).manifest
    jittered = manifest[manifest["kind"] == "jittered"]
    for photo, rows in jittered.groupby("photo"):
        for label, of_label in rows.groupby("label"):
            truth = [box for name, box in raw.truth()[str(photo)] if name == label]
            best = iou(xywh(of_label), truth).max(axis=1)
            assert (best >= 0.8 - 1e-4).all()
            assert best.min() < 0.97


def test_counts_are_what_the_settings_ask_for(raw: Raw) -> None:
    manifest = raw.cut(settings()).manifest
    boxes = {photo: len(found) for photo, found in raw.truth().items()}
    per_box = {"train": 4, "val": 2, "test": 3}
    for (photo, split), rows in manifest.groupby(["photo", "split"]):
        positives = rows[rows["label"] != NONE]
        assert len(positives) == boxes[photo] * per_box[split]
        assert len(rows) - len(positives) <= len(positives)
    kinds = manifest["kind"].value_counts()
    # These photos have room for nearly all negatives that are asked for.
    negatives = kinds["near"] + kinds["busy"] + kinds["random"]
    assert negatives > 0.9 * (kinds["exact"] + kinds["jittered"])
    assert kinds["near"] / negatives == pytest.approx(0.3, abs=0.1)


def test_negatives_obey_every_limit(raw: Raw) -> None:
    manifest = raw.cut(settings(negatives={"per_positive": 3.0})).manifest
    for photo, rows in manifest[manifest["label"] == NONE].groupby("photo"):
        truth = [box for _, box in raw.truth()[str(photo)]]
        negatives = xywh(rows)
        assert (iou(negatives, truth) < 0.3).all()
        covered = iou(truth, negatives, crowd=True)
        assert (covered <= 0.25 + 1e-4).all()
        filled = np.zeros(len(negatives))
        for row, (left, top, width, height) in enumerate(negatives.astype(int)):
            inside = np.zeros((height * 4, width * 4), bool)
            for x, y, w, h in truth:
                edges = ((y - top) * 4, (y + h - top) * 4, (x - left) * 4, (x + w - left) * 4)
                above, below, before, after = (max(0, round(edge)) for edge in edges)
                inside[above:below, before:after] = True
            filled[row] = inside.mean()
        assert (filled <= 0.4 + 0.02).all()
        near = (rows["kind"] == "near").to_numpy()
        assert (covered.max(axis=0)[near] > 0).all()
        among = iou(negatives, negatives) - np.eye(len(negatives))
        assert (among < 0.5).all()
        assert (rows[["left", "top"]] >= 0).all(axis=None)
        assert (rows["right"] <= 200).all()
        assert (rows["bottom"] <= 150).all()


def test_sizes_of_negatives_follow_those_of_positives(raw: Raw) -> None:
    manifest = raw.cut(settings()).manifest
    side = np.sqrt(np.prod(xywh(manifest)[:, 2:], axis=1))
    is_none = (manifest["label"] == NONE).to_numpy()
    quartiles = [np.quantile(side[rows], [0.25, 0.5, 0.75]) for rows in (is_none, ~is_none)]
    np.testing.assert_allclose(*quartiles, rtol=0.3)


def test_busy_negatives_find_what_stands_out_from_the_background(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    for number in range(8):
        image = np.full((300, 400, 3), 120, np.uint8) + pixels(number, 400, 300) // 16
        image[40:100, 40:100] = (0, 255, 0)
        image[180:240, 280:340] = (150, 110, 100)
        raw.add([(CLASSES[number % 2], (40.0, 40.0, 60.0, 60.0))], image)
    only_busy = {"near_share": 0.0, "busy_share": 1.0, "per_positive": 0.25}
    manifest = raw.cut(settings(near_duplicate_bits=0, negatives=only_busy)).manifest
    train = manifest[(manifest["kind"] == "busy") & (manifest["split"] == "train")]
    assert len(train) >= 3
    # The dull stone without a label, not the surroundings of the bright one with a label.
    assert (iou(xywh(train), [280, 180, 60, 60]) > 0.3).all()


def test_near_duplicates_stay_in_one_split(raw: Raw) -> None:
    for number in range(6):
        softer = cv2.resize(cv2.resize(pixels(number, 200, 150), (100, 75)), (200, 150)).astype(np.uint8)
        raw.add(random_boxes(number), softer, f"copy-{number}.png")
    raw.cut(settings())
    split = pd.read_csv(raw.folder / "cut" / "patches" / "split.csv").set_index("photo")["split"]
    for number in range(6):
        assert split[f"images/copy-{number}.png"] == split[f"images/{number:03d}.png"]


def test_a_leak_between_splits_fails(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    raw.add(random_boxes(6), cv2.GaussianBlur(pixels(6, 200, 150), (0, 0), 1).astype(np.uint8), "copy.png")
    # Who does not know of the copy tears it from its source.
    deal_out(monkeypatch, raw)
    with pytest.raises(
        InputError, match=r"leak between splits: images/006\.png \(test\) and images/copy\.png \(train\)"
    ):
        raw.cut(settings())
    assert not (raw.folder / "cut" / "patches").exists()


def test_the_result_does_not_depend_on_the_number_of_workers(raw: Raw) -> None:
    for workers in (0, 3):
        raw.cut(settings(), workers, str(workers))
    first, second = (
        {str(path.relative_to(raw.folder / out)): path.read_bytes() for path in (raw.folder / out).rglob("*.*")}
        for out in ("0", "3")
    )
    assert len(first) == 3 + 6 + 2
    assert first == second


def test_another_photo_leaves_the_patches_of_the_others_as_they_are(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(out: str) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
        deal_out(monkeypatch, raw)
        pack = raw.cut(settings(), out=out)
        old = pack.manifest["photo"].str.startswith("images/0").to_numpy()
        return pack.manifest[old].reset_index(drop=True), pack.images[old]

    before = cut("before")
    raw.add([], name="another.png")
    after = cut("after")
    pd.testing.assert_frame_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_the_summary_counts_what_the_manifest_lists(raw: Raw) -> None:
    manifest = raw.cut(settings()).manifest
    summary = json.loads((raw.folder / "cut" / "summary.json").read_text())
    expected = pd.crosstab(manifest["split"], manifest["label"])
    assert {split: Counter(counts) for split, counts in summary["patches"].items()} == {
        str(split): Counter(row) for split, row in expected.to_dict("index").items()
    }
    assert summary["kinds"] == dict(Counter(manifest["kind"]))
    assert summary["photos"] == dict(Counter(manifest.drop_duplicates("photo")["split"]))


def test_examples_are_test_patches_in_their_own_size(raw: Raw) -> None:
    manifest = raw.cut(settings()).manifest
    found = sorted((raw.folder / "cut" / "examples").iterdir())
    assert len(found) == 6
    for path in found:
        entry = manifest.loc[int(path.name[:5])]
        assert entry["split"] == "test"
        with Image.open(raw.folder / "raw" / entry["photo"]) as photo, Image.open(path) as example:
            expected = photo.crop((entry["left"], entry["top"], entry["right"], entry["bottom"]))
            np.testing.assert_array_equal(np.asarray(example), np.asarray(expected))


def test_a_photo_without_boxes_gives_negatives_alone(raw: Raw) -> None:
    for _ in range(4):
        raw.add([])
    manifest = raw.cut(settings()).manifest
    empty = manifest[manifest["photo"].isin([f"images/{number:03d}.png" for number in range(16, 20)])]
    per_box = {"train": 4, "val": 2, "test": 3}
    for (_, split), rows in empty.groupby(["photo", "split"]):
        assert set(rows["label"]) == {NONE}
        assert len(rows) == per_box[str(split)]
    assert empty["photo"].nunique() == 4


def test_boxes_of_unused_classes_are_kept_clear_of(raw: Raw) -> None:
    for number in range(16, 20):
        raw.add([*random_boxes(number), ("calcite", (0.0, 0.0, 100.0, 150.0))])
    manifest = raw.cut(settings(negatives={"per_positive": 3.0})).manifest
    assert "calcite" not in set(manifest["label"])
    rows = manifest[(manifest["photo"] >= "images/016.png") & (manifest["label"] == NONE)]
    assert len(rows)
    assert (iou([0, 0, 100, 150], xywh(rows), crowd=True) <= 0.25).all()


def test_boxes_as_large_as_their_pictures_leave_no_room_for_negatives(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    for number in range(12):
        raw.add([(CLASSES[number % 2], (0.0, 0.0, 200.0, 150.0))])
    pack = raw.cut(settings())
    assert set(pack.manifest["label"]) == set(CLASSES)
    summary = json.loads((raw.folder / "cut" / "summary.json").read_text())
    assert set(summary["patches"]["train"]) == set(CLASSES)


def test_no_negatives_where_none_are_wanted(raw: Raw) -> None:
    raw.add([])
    assert NONE not in set(raw.cut(settings(negatives={"per_positive": 0.0})).manifest["label"])


def test_a_photo_smaller_than_the_specimens_of_others(raw: Raw) -> None:
    raw.add([], pixels(50, 12, 9))
    raw.add([("pyrite", (1.0, 1.0, 5.0, 4.0))], pixels(51, 8, 8))
    manifest = raw.cut(settings()).manifest
    for name, width, height in (("images/016.png", 12, 9), ("images/017.png", 8, 8)):
        rows = manifest[manifest["photo"] == name]
        assert len(rows)
        assert (rows["left"] < rows["right"]).all()
        assert (rows["top"] < rows["bottom"]).all()
        assert rows["right"].max() <= width
        assert rows["bottom"].max() <= height


def test_a_class_that_no_training_photo_shows_is_an_error(raw: Raw) -> None:
    with pytest.raises(InputError, match="no photo of gold in the train split"):
        raw.cut(settings(), classes=(*CLASSES, "gold"))


def test_too_few_photos_to_split(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    raw.add([("pyrite", (10.0, 10.0, 50.0, 50.0)), ("quartz", (100.0, 10.0, 50.0, 50.0))])
    with pytest.raises(InputError, match="more photos"):
        raw.cut(settings())


def test_shares_of_negatives_that_exceed_the_whole_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed 1 together"):
        settings(negatives={"near_share": 0.7, "busy_share": 0.4})
