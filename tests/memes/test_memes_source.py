"""memes-source: whatever the source, every sound picture with its label, kind and traits, and a word on the rest."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sightline.core.errors import InputError
from sightline.core.images import pixel_digest, read_image
from sightline.core.leakage import perceptual_hash
from sightline.memes.params import Data
from sightline.memes.source import bring_in, read_traits

SETTINGS: dict[str, Any] = {
    "path": "data/none",
    "later": "puzzle",
    "kinds": {"table": "sources.csv", "column": "note", "near": ["other game"]},
    "synthetic": {"pictures": 5, "unknown": 4, "later": 3, "seed": 8},
    "official": {"url": "kaggle:someone/something", "digest": None},
}


def picture(number: int, width: int = 64, height: int = 48) -> Image.Image:
    """Smooth colour blobs, another picture for each number."""
    coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def data(source: str = "path", **changes: Any) -> Data:
    return Data.model_validate({**SETTINGS, "source": source, **changes})


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two classes of four, three later pictures and four unknown ones, of which the table knows three."""
    number = 0
    for folder, count in (("arena", 4), ("farm", 4), ("puzzle", 3), ("unknown", 4)):
        for index in range(count):
            number += 1
            save(tmp_path / "mine" / folder / f"{index}.jpg", picture(number), quality=80)
    rows = "file,note\nunknown/0.jpg,other game\nunknown/1.jpg,meme\nunknown/2.jpg,\narena/0.jpg,other game\n"
    (tmp_path / "mine" / "sources.csv").write_text(rows)
    return tmp_path / "mine"


def brought_in(folder: Path, tmp_path: Path, **changes: Any) -> pd.DataFrame:
    bring_in(data(**changes), folder, tmp_path / "out", workers=0)
    return pd.read_csv(tmp_path / "out" / "photos.csv", keep_default_na=False, dtype=str, index_col="photo")


def problems(tmp_path: Path) -> dict[str, tuple[str, str]]:
    table = pd.read_csv(tmp_path / "out" / "problems.csv")
    return {row.photo: (row.problem, row.action) for row in table.itertuples()}


def test_folders_are_labels_and_the_table_tells_kinds_of_unknown_pictures(mine: Path, tmp_path: Path) -> None:
    table = brought_in(mine, tmp_path)
    assert table["label"].value_counts().to_dict() == {"arena": 4, "farm": 4, "puzzle": 3, "unknown": 4}
    assert table["kind"][lambda kinds: kinds != ""].to_dict() == {"unknown/0.jpg": "near", "unknown/1.jpg": "far"}
    for name, row in table.iterrows():
        copy, original = tmp_path / "out" / "images" / str(name), mine / str(name)
        assert copy.read_bytes() == original.read_bytes()
        image = read_image(original)
        assert (row["width"], row["height"], row["bytes"]) == ("64", "48", str(original.stat().st_size))
        assert (row["digest"], row["hash"]) == (pixel_digest(image), f"{perceptual_hash(image):016x}")
        assert row["quality"] == "80"
    assert problems(tmp_path) == {}


def test_the_table_is_kept_for_later_stages(mine: Path, tmp_path: Path) -> None:
    written = (mine / "sources.csv").read_text()
    brought_in(mine, tmp_path)
    assert (tmp_path / "out" / "sources.csv").read_text() == written


def test_without_a_table_all_unknown_pictures_are_of_one_kind(mine: Path, tmp_path: Path) -> None:
    (mine / "sources.csv").unlink()
    assert set(brought_in(mine, tmp_path)["kind"]) == {""}


def test_the_folders_may_lie_in_one_folder_as_archives_have_it(mine: Path, tmp_path: Path) -> None:
    inner = tmp_path / "unpacked" / "set"
    inner.parent.mkdir()
    mine.rename(inner)
    assert len(brought_in(inner.parent, tmp_path)) == 15
    assert (tmp_path / "out" / "sources.csv").is_file()


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 75, 88, 100])
def test_the_jpeg_quality_is_the_one_that_a_file_was_saved_with(tmp_path: Path, quality: int) -> None:
    assert read_traits(save(tmp_path / "a.jpg", picture(1), quality=quality)).quality == quality


def test_other_formats_have_no_quality(mine: Path, tmp_path: Path) -> None:
    save(mine / "arena" / "drawn.png", picture(40))
    save(mine / "arena" / "photo.webp", picture(41), quality=50)
    assert brought_in(mine, tmp_path).loc[["arena/drawn.png", "arena/photo.webp"], "quality"].tolist() == ["", ""]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_of_an_animation_the_first_frame_is_used_and_that_is_noted(mine: Path, tmp_path: Path, suffix: str) -> None:
    frames = [picture(50), picture(51), picture(52)]
    save(mine / "farm" / f"moving.{suffix}", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    table = brought_in(mine, tmp_path)
    assert problems(tmp_path) == {f"farm/moving.{suffix}": ("an animation", "first frame used")}
    still = read_image(mine / "farm" / f"moving.{suffix}")
    assert table.loc[f"farm/moving.{suffix}", "digest"] == pixel_digest(still)
    # GIF has 256 colours; another frame would be 80 levels off.
    assert np.abs(still - np.asarray(frames[0], dtype=float)).mean() <= (10 if suffix == "gif" else 0)


def test_what_is_no_picture_is_left_out_with_a_reason(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = save(mine / "arena" / "torn.jpg", picture(60, 400, 300)).read_bytes()
    (mine / "arena" / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (mine / "arena" / "notes.txt").write_text("buy milk")
    (mine / "farm" / "nothing.png").touch()
    save(mine / "farm" / "thin.png", picture(61, 64, 3))
    save(mine / "farm" / "bomb.png", Image.new("1", (3000, 3000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000_000)
    assert len(brought_in(mine, tmp_path)) == 15
    found = problems(tmp_path)
    assert {name: action for name, (_, action) in found.items()} == dict.fromkeys(
        ("arena/torn.jpg", "arena/notes.txt", "farm/nothing.png", "farm/thin.png", "farm/bomb.png"), "photo left out"
    )
    assert found["farm/bomb.png"][0] == "more pixels than a picture should have"
    assert found["farm/thin.png"][0] == "64x3: a side under 4 px"


def test_of_copies_one_is_kept_and_none_that_lies_in_two_labels_folders(mine: Path, tmp_path: Path) -> None:
    save(mine / "arena" / "again.png", Image.open(mine / "arena" / "0.jpg"))
    save(mine / "unknown" / "farm.png", Image.open(mine / "farm" / "0.jpg"))
    table = brought_in(mine, tmp_path)
    assert {"arena/again.png", "farm/0.jpg", "unknown/farm.png"}.isdisjoint(table.index)
    assert problems(tmp_path)["farm/0.jpg"] == ("same pixels as unknown/farm.png, another folder", "photo left out")
    assert problems(tmp_path)["arena/again.png"] == ("same pixels as arena/0.jpg", "photo left out")


def test_a_class_with_two_pictures_is_refused_and_what_was_there_stays(mine: Path, tmp_path: Path) -> None:
    before = brought_in(mine, tmp_path)
    (mine / "farm" / "0.jpg").unlink()
    (mine / "farm" / "1.jpg").write_bytes((mine / "farm" / "2.jpg").read_bytes())
    with pytest.raises(InputError, match=r"too few sound pictures: farm has 2; a class needs 3 or more"):
        bring_in(data(), mine, tmp_path / "out", workers=0)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out" / "photos.csv", keep_default_na=False, dtype=str, index_col="photo"), before
    )


def test_an_empty_folder_is_no_class_and_unknown_may_be_missing(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "emptiness").mkdir()
    for path in (mine / "unknown").iterdir():
        path.unlink()
    table = brought_in(mine, tmp_path)
    assert set(table["label"]) == {"arena", "farm", "puzzle"}
    said = capsys.readouterr().err.splitlines()
    assert f"{mine / 'emptiness'} is empty and not used" in said
    assert any("no pictures in a folder 'unknown'" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "gone", "message"),
    [
        ({"later": "missing"}, [], r"memes.data.later is 'missing', but .* name one of arena, farm, puzzle, or null"),
        ({}, ["arena"], r"must hold a folder of pictures for each of two or more classes.* it has farm"),
        ({}, ["arena", "farm", "puzzle", "unknown"], "it has none"),
        ({"kinds": {**SETTINGS["kinds"], "column": "remark"}}, [], "lacks the column remark"),
    ],
)
def test_a_broken_layout_is_one_line(
    mine: Path, tmp_path: Path, changes: dict[str, Any], gone: list[str], message: str
) -> None:
    for folder in gone:
        (mine / folder).rename(tmp_path / f"gone-{folder}")
    with pytest.raises(InputError, match=message) as caught:
        bring_in(data(**changes), mine, tmp_path / "out", workers=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_names_the_parameter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"memes\.data\.path: there is no folder .*nowhere"):
        bring_in(data(), tmp_path / "nowhere", tmp_path / "out", workers=0)


def test_the_published_set_is_fetched_as_a_folder_and_its_digest_kept(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, target: Path, digest: str | None, *, pin: str) -> str:
        assert (url, digest, pin) == ("kaggle:someone/something", None, "memes.data.official.digest")
        mine.rename(target)
        target.with_name("official.sha256").write_text("0\n")
        return "0"

    monkeypatch.setattr("sightline.memes.source.download", fetch)
    assert len(brought_in(tmp_path, tmp_path, source="official")) == 15
    assert (tmp_path / "out" / "official.sha256").read_text() == "0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
