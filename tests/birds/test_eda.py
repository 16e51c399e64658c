"""birds-eda and its notebook: measures against other libraries, and the same bytes for the same photos."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from sightline.birds import eda
from sightline.birds.layout import Photo
from sightline.birds.params import Eda
from sightline.birds.source import ingest
from sightline.core.notebooks import run_notebook

ROOT = Path(__file__).parents[2]
SETTINGS = Eda(near_duplicate_bits=6, sample=6)


def picture(number: int, width: int = 60, height: int = 40) -> Image.Image:
    coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four classes of three photos; the second photo of classes 1 and 4 is another coding of the first of class 1."""
    photos = []
    for number in range(12):
        class_id = 1 + number // 3
        path = tmp_path / "in" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        twin = number in (1, 10)
        picture(0 if twin else number, 60 + 2 * class_id).save(path, quality=70 + number if twin else 95)
        name = f"{class_id:03}.Red_bird/{number}.jpg"
        photos.append(Photo(number + 1, name, path, class_id, f"{class_id:03}.Red_bird", (10.0, 5.0, 30.0, 20.0)))
    broken = tmp_path / "in" / "broken.jpg"
    broken.write_text("no picture")
    photos.append(Photo(99, "001.Red_bird/broken.jpg", broken, 1, "001.Red_bird", (0.0, 0.0, 9.0, 9.0)))
    ingest(photos, tmp_path / "raw", workers=0)
    return tmp_path / "raw"


def explore(raw: Path, out: Path, workers: int = 0) -> dict[str, Any]:
    eda.explore(raw, SETTINGS, None, workers, out, out.with_suffix(".json"))
    summary: dict[str, Any] = json.loads(out.with_suffix(".json").read_text())
    return summary


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_photo_is_measured_as_pillow_measures_it(raw: Path) -> None:
    photos = eda.measure(raw, None, workers=0)
    for row in photos.itertuples():
        with Image.open(raw / "images" / str(row.photo)) as image:
            luma = np.asarray(image.convert("L")) / 255
        assert row.brightness == pytest.approx(luma.mean(), abs=0.003)
        assert row.contrast == pytest.approx(luma.std(), abs=0.003)
        assert row.box_brightness == pytest.approx(luma[5:25, 10:40].mean(), abs=0.003)
    first = photos.iloc[0]
    assert (first["aspect"], first["box_share"], first["box_aspect"]) == (62 / 40, 600 / (62 * 40), 1.5)
    assert photos["half"].tolist() == ["train"] * 6 + ["test"] * 6


def test_colourfulness_of_flat_pictures_by_hand() -> None:
    """Without variance what is left is 0.3 times the distance from grey in the opponent colours."""
    grey, red, blue = (np.full((4, 4, 3), colour, np.uint8) for colour in ((90, 90, 90), (255, 0, 0), (0, 0, 255)))
    assert eda._colourfulness(grey) == 0
    assert eda._colourfulness(red) == pytest.approx(0.3 * np.hypot(1, 0.5))
    assert eda._colourfulness(blue) == pytest.approx(0.3)
    # Half red, half green: red - green is +-1, (red + green) / 2 - blue is a constant half.
    stripes = np.concatenate([red, red[..., [1, 0, 2]]])
    assert eda._colourfulness(stripes) == pytest.approx(1 + 0.3 * 0.5)


def test_twins_are_found_within_and_across_the_halves(raw: Path) -> None:
    pairs = eda.near_duplicate_pairs(eda.measure(raw, None, workers=0), 6)
    found = {frozenset((a, b)): (same, halves) for a, b, _, same, halves in pairs.itertuples(index=False)}
    first, second, third = "001.Red_bird/0.jpg", "001.Red_bird/1.jpg", "004.Red_bird/10.jpg"
    assert found == {
        frozenset((first, second)): (True, "train"),
        frozenset((first, third)): (False, "across"),
        frozenset((second, third)): (False, "across"),
    }
    assert pairs["bits"].is_monotonic_increasing


def test_classes_are_counted_with_their_medians(raw: Path) -> None:
    photos = eda.measure(raw, None, workers=0)
    classes = eda.per_class(photos)
    assert classes[["class_id", "half", "images", "width"]].to_numpy().tolist() == [
        [1, "train", 3, 62],
        [2, "train", 3, 64],
        [3, "test", 3, 66],
        [4, "test", 3, 68],
    ]
    median = np.median(photos["brightness"].to_numpy()[3:6])
    assert classes["brightness"][1] == pytest.approx(median)


def test_what_the_class_explains_agrees_with_the_f_test() -> None:
    """Epsilon squared from scipy's one-way analysis of variance: (F - 1) df1 / (F df1 + df2)."""
    rng = np.random.default_rng(3)
    classes = np.repeat([3, 5, 9], [10, 20, 7])
    table = pd.DataFrame({"class_id": classes, "told": classes + rng.normal(size=37), "noise": rng.normal(size=37)})
    table["fixed"] = 2.0
    explained = eda.explained_by_class(table, ["told", "noise", "fixed"])
    for column in ("told", "noise"):
        f = stats.f_oneway(*(part[column] for _, part in table.groupby("class_id"))).statistic
        assert explained[column] == pytest.approx((f - 1) * 2 / (f * 2 + 34))
    assert np.isnan(explained["fixed"])
    assert abs(explained["noise"]) < 0.1 < 0.6 < explained["told"]


def test_the_stage_writes_tables_figures_and_counts(raw: Path, tmp_path: Path) -> None:
    summary = explore(raw, tmp_path / "eda")
    assert summary["images"] == 12
    assert summary["halves"] == {"train": {"images": 6, "classes": 2}, "test": {"images": 6, "classes": 2}}
    assert summary["near_duplicates"] == {"pairs": 3, "train": 1, "test": 0, "across": 2, "other_class": 2}
    assert summary["problems"] == {"photo left out": 1}
    assert summary["quartiles"]["width"] == {"min": 62, "lower": 63.5, "median": 65, "upper": 66.5, "max": 68}
    tables = {name: pd.read_csv(tmp_path / "eda" / f"{name}.csv") for name in ("photos", "classes", "near_duplicates")}
    assert [len(table) for table in tables.values()] == [12, 4, 3]
    for name in ("images_per_class", "sizes", "boxes", "brightness"):
        assert (tmp_path / "eda" / f"{name}.svg").read_text().count("<svg") == 1
    with Image.open(tmp_path / "eda" / "sample.png") as sheet:
        assert sheet.width == 8 * 128
    with Image.open(tmp_path / "eda" / "near_duplicates.png") as sheet:
        # Three pairs, two in a row.
        assert (sheet.width, sheet.height) == (4 * 128, 2 * (128 + 14))


def test_the_same_photos_give_the_same_bytes_with_any_number_of_workers(raw: Path, tmp_path: Path) -> None:
    explore(raw, tmp_path / "one")
    explore(raw, tmp_path / "two", workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_sample_shows_a_photo_of_each_class_before_a_second(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = eda.measure(raw, None, workers=0)
    shown: list[list[str]] = []
    monkeypatch.setattr(eda, "boxed_sheet", lambda _, chosen: shown.append(chosen["photo"].tolist()))
    for count in (2, 4, 6):
        eda.sample_sheet(raw, photos, count)
    names = [[int(re.findall(r"/(\d+)", name)[0]) for name in sample] for sample in shown]
    assert names == [[0, 9], [0, 3, 6, 9], [0, 1, 3, 4, 6, 9]]


def test_boxes_are_drawn_on_the_sample(raw: Path) -> None:
    photos = eda.measure(raw, None, workers=0).head(1)
    marked = eda._with_box(raw / "images", (photos["photo"][0], (10, 5, 40, 25)))
    orange = (marked == (255, 140, 0)).all(axis=2)
    rows, columns = np.nonzero(orange)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 5, 40, 25)


def run(raw: Path, tmp_path: Path, notebook: Path, out: str = "page.html") -> str:
    run_notebook(notebook, {"BIRDS_RAW": raw, "BIRDS_EDA": tmp_path / "eda"}, tmp_path / out)
    return (tmp_path / out).read_text(encoding="utf-8")


def test_the_notebook_runs_from_top_to_bottom_and_its_page_needs_nothing_else(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    explore(raw, tmp_path / "eda")
    notebook = ROOT / "notebooks" / "birds_eda.ipynb"
    before = notebook.read_bytes()
    page = run(raw, tmp_path, notebook)
    assert "12 photos of 4 classes" in page
    assert page.count('src="data:image/png;base64,') == 7
    assert not re.findall(r"""(?:src=|href=|import\(|from )["']https?:""", page)
    assert str(tmp_path) not in page
    assert run(raw, tmp_path, notebook, "again.html") == page
    assert notebook.read_bytes() == before
