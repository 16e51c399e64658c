"""birds-embed: the rows of each half are what the network says of its photos, killed and resumed or not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from sightline.birds import embed as module
from sightline.birds.embed import embed
from sightline.birds.embeddings import HALVES, read_embeddings
from sightline.birds.layout import Photo
from sightline.birds.pixels import embed_pixels
from sightline.birds.source import ingest
from sightline.birds.split import split
from sightline.core.backbone import FeatureNetwork, save_backbone
from sightline.core.errors import InputError
from sightline.core.images import read_image
from sightline.params import Compute

CPU = Compute(threads=1, accelerator="cpu", precision="32-true")
ARCHITECTURE, SIZE = "resnet10t", 64
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
BOX = (8, 4, 40, 36)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven photos of four classes, one of them grey and one CMYK, split; and a backbone of random weights."""
    home = tmp_path_factory.mktemp("home")
    photos = []
    for number in range(11):
        coarse = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC))
        path = home / f"{number}.jpg"
        image.convert({3: "L", 4: "CMYK"}.get(number, "RGB")).save(path, quality=95)
        class_id = 1 + number // 3
        photos.append(Photo(20 - number, f"{class_id}.A/{number}.jpg", path, class_id, f"{class_id}.A", (8, 4, 32, 32)))
    ingest(photos, home / "raw", workers=0)
    split(home / "raw", None, 0, home / "split.csv", home / "split.json")
    torch.manual_seed(1)
    network = FeatureNetwork(ARCHITECTURE)
    known = {"name": "tiny", "source": "random", "architecture": ARCHITECTURE, "arguments": {}, "size": SIZE}
    save_backbone(home / "backbone", network, {}, **known, mean=MEAN, std=STD)
    return home


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Checkpoints go to the current folder; the stage's settings of torch do not outlive a test."""
    monkeypatch.chdir(tmp_path)
    yield
    torch.use_deterministic_algorithms(False)


def run(home: Path, out: Path, crop: module.Crop = "box", compute: Compute = CPU, **changes: Any) -> Path:
    settings = {"batch_size": 2, "workers": 0, **changes}
    embed(home / "raw", home / "split.csv", home / "backbone", crop, compute=compute, out=out, **settings)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_hand(home: Path, name: str, box: tuple[int, int, int, int] | None) -> NDArray[np.float32]:
    """One photo through plain timm."""
    network = timm.create_model(ARCHITECTURE, num_classes=0).eval()
    network.load_state_dict(load_file(home / "backbone" / "model.safetensors"))
    image = read_image(home / "raw" / "images" / name)
    if box:
        image = np.asarray(Image.fromarray(image).crop(box))
    # Both sides at least SIZE: averaged; here they are not, so bilinear.
    squashed = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    normalised = (squashed / 255 - np.array(MEAN)) / np.array(STD)
    with torch.inference_mode():
        features: torch.Tensor = network(torch.tensor(normalised.transpose(2, 0, 1)[None], dtype=torch.float32))
    return features[0].numpy()


@pytest.mark.parametrize(("crop", "box"), [("box", BOX), ("full", None)])
def test_each_row_is_what_plain_timm_says_of_its_photo(
    home: Path, tmp_path: Path, crop: module.Crop, box: tuple[int, int, int, int] | None
) -> None:
    out = run(home, tmp_path / "out", crop)
    table = pd.read_csv(home / "split.csv")
    for half in HALVES:
        photos, vectors = read_embeddings(out, half)
        assert photos["image_id"].tolist() == table.loc[table["split"] == half, "image_id"].tolist()
        assert list(photos.columns) == ["image_id", "photo", "class_id", "class_name"]
        assert vectors.dtype == np.float32
        for name, vector in zip(photos["photo"], vectors, strict=True):
            np.testing.assert_allclose(vector, by_hand(home, name, box), rtol=1e-3, atol=1e-4)
    config = json.loads((out / "config.json").read_text())
    known = json.loads((home / "backbone" / "config.json").read_text())
    assert config == {
        "backbone": "tiny",
        "sha256": known["sha256"],
        "crop": crop,
        "size": SIZE,
        "features": vectors.shape[1],
    }


def test_the_number_of_workers_changes_no_byte(home: Path, tmp_path: Path) -> None:
    assert contents(run(home, tmp_path / "one")) == contents(run(home, tmp_path / "two", workers=3))


@pytest.mark.parametrize("photos_before", [0, 3, 7, 10])
def test_a_killed_run_goes_on_where_it_stopped_to_the_same_bytes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos_before: int
) -> None:
    monkeypatch.setattr(module, "PART", 2)
    whole = contents(run(home, tmp_path / "whole"))
    read: list[Path] = []

    def killed(path: Path) -> Any:
        if len(read) == photos_before:
            raise KeyboardInterrupt
        read.append(path)
        return read_image(path)

    monkeypatch.setattr(module, "read_image", killed)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
        run(home, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    read.clear()
    monkeypatch.setattr(module, "read_image", lambda path: (read.append(path), read_image(path))[1])
    assert contents(run(home, tmp_path / "out")) == whole
    # Parts are of two batches of two photos.
    assert len(read) == 11 - photos_before // 4 * 4
    assert not list((tmp_path / ".cache" / "checkpoints").iterdir())


def test_what_another_run_left_is_not_taken_for_this_ones(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", 1)
    full = contents(run(home, tmp_path / "full", "full"))
    reads = iter(range(5))

    def killed(path: Path) -> Any:
        if next(reads, None) is None:
            raise KeyboardInterrupt
        return read_image(path)

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_image", killed)
        with pytest.raises(KeyboardInterrupt):
            run(home, tmp_path / "box")
    assert contents(run(home, tmp_path / "again", "full")) == full


def test_mixed_precision_gives_nearly_the_same_in_float32(home: Path, tmp_path: Path) -> None:
    exact = read_embeddings(run(home, tmp_path / "exact"), "test")[1]
    mixed = read_embeddings(
        run(home, tmp_path / "mixed", compute=CPU.model_copy(update={"precision": "bf16-mixed"})), "test"
    )[1]
    assert mixed.dtype == np.float32
    assert 0 < np.abs(mixed - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device here")
def test_a_device_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"compute\.accelerator is gpu, but "):
        run(home, tmp_path / "out", compute=CPU.model_copy(update={"accelerator": "gpu"}))


def test_pixels_embed_as_their_own_correlation(home: Path, tmp_path: Path) -> None:
    embed_pixels(home / "raw", home / "split.csv", 0, tmp_path / "pixels-box")
    photos, vectors = read_embeddings(tmp_path / "pixels-box", "test")
    assert vectors.shape == (len(photos), 16 * 16 * 3)
    thumbnails = []
    for name in photos["photo"]:
        with Image.open(home / "raw" / "images" / name) as image:
            # 32 px to 16 px: each thumbnail pixel is the mean of four.
            box = np.asarray(image.convert("RGB").crop(BOX), dtype=np.float64)
        thumbnails.append(box.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3)).reshape(-1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(unit @ unit.T, np.corrcoef(thumbnails), atol=5e-3)
    config = json.loads((tmp_path / "pixels-box" / "config.json").read_text())
    assert config == {"backbone": "pixels", "sha256": None, "crop": "box", "size": 16, "features": 768}


def test_embeddings_that_are_not_whole_are_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no embeddings"):
        read_embeddings(tmp_path, "train")
    embed_pixels(home / "raw", home / "split.csv", 0, tmp_path / "pixels-box")
    np.save(tmp_path / "pixels-box" / "train.npy", np.zeros((2, 5), np.float32))
    with pytest.raises(InputError, match=r"train.npy is \(2, 5\), but train.csv has 6 rows"):
        read_embeddings(tmp_path / "pixels-box", "train")
