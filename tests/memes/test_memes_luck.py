"""A probe must find what was planted, and nothing where there is nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from sightline.core.backbone import FeatureNetwork, load_backbone, save_backbone
from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.core.packs import open_pack, write_pack
from sightline.memes import luck
from sightline.memes.network import MemeNet, describe, on_backbone
from sightline.memes.params import Luck
from sightline.memes.permutation import ridge_answers, ridge_smoother, shuffle_test
from sightline.memes.shortcuts import answer_by_traits, changes, file_traits

SETTINGS = Luck(seed=3, shuffles=99, shares=(0.3, 1.0), repeats=2, quality=40, resolution=16)


def clouds(count: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes of points in 20 dimensions whose means are ``apart`` in the first."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    points = rng.normal(size=(count, 20))
    points[:, 0] += apart * labels
    return points, labels


def test_the_smoother_is_ridge_regression_as_scikit_learn_has_it() -> None:
    train, labels = clouds(40, 2, 0)
    test, _ = clouds(30, 2, 1)
    scaler = StandardScaler().fit(train)
    ridge = Ridge(alpha=20)  # D: the mean of the eigenvalues of a standardised kernel
    ridge.fit(scaler.transform(train), labels)
    expected = ridge.predict(scaler.transform(test))
    smoother = ridge_smoother(train, test)
    assert smoother @ (labels - labels.mean()) + labels.mean() == pytest.approx(expected)
    assert (ridge_answers(smoother, labels[None], 2)[0] == (expected > 0.5)).all()


def test_a_dead_feature_changes_nothing() -> None:
    train, _ = clouds(40, 2, 0)
    test, _ = clouds(30, 2, 1)
    dead = [np.hstack([points, np.full((len(points), 1), 7.0)]) for points in (train, test)]
    assert ridge_smoother(*dead) == pytest.approx(ridge_smoother(train, test))


def test_separable_classes_get_the_smallest_p_value_there_is() -> None:
    (train, labels), (test, truth) = clouds(60, 8, 0), clouds(60, 8, 1)
    found = shuffle_test(ridge_smoother(train, test), labels, np.arange(60), truth, 1000, 0)
    assert found.accuracy > 0.95
    assert found.p_value == pytest.approx(1 / 1001)
    assert found.shuffled.mean() == pytest.approx(0.5, abs=0.03)


def test_p_values_of_noise_are_uniform() -> None:
    values = []
    for seed in range(200):
        (train, labels), (test, truth) = clouds(40, 0, 2 * seed), clouds(200, 0, 2 * seed + 1)
        values.append(shuffle_test(ridge_smoother(train, test), labels, np.arange(40), truth, 99, seed).p_value)
    assert kstest(values, "uniform").pvalue > 0.01
    assert np.mean(np.array(values) <= 0.05) < 0.11


def test_copies_are_shuffled_as_one() -> None:
    """Two distinct pictures, fifty copies of each: half of all shuffles of two labels is the true order."""
    rng = np.random.default_rng(0)
    two = rng.normal(size=(2, 20))
    labels = np.repeat([0, 1], 50)
    smoother = ridge_smoother(two[labels], two)
    by_group = shuffle_test(smoother, labels, labels, np.array([0, 1]), 400, 0)
    by_picture = shuffle_test(smoother, labels, np.arange(100), np.array([0, 1]), 400, 0)
    assert by_group.p_value == pytest.approx(0.5, abs=0.1)
    assert set(by_group.shuffled) == {0.0, 1.0}
    assert np.median(by_picture.shuffled) not in (0.0, 1.0) or len(set(by_picture.shuffled)) > 2


def traits_of(seed: int, larger: bool) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(200) % 2
    manifest = pd.DataFrame({"width": 300, "height": 168, "bytes": rng.integers(9_000, 11_000, 200), "quality": ""})
    manifest["bytes"] += 3_000 * labels * larger
    return file_traits(manifest, rng.integers(0, 256, (200, 16, 16, 3), np.uint8)), labels


def test_traits_give_a_class_away_whose_files_are_larger() -> None:
    (train, labels), (test, truth) = traits_of(0, larger=True), traits_of(1, larger=True)
    assert (answer_by_traits(train, labels, test, 0) == truth).mean() > 0.97
    assert (answer_by_traits(train[["bytes"]], labels, test[["bytes"]], 0) == truth).mean() > 0.97
    assert (answer_by_traits(train[["width"]], labels, test[["width"]], 0) == truth).mean() == 0.5


def test_traits_give_nothing_away_where_files_are_alike() -> None:
    (train, labels), (test, truth) = traits_of(0, larger=False), traits_of(1, larger=False)
    assert (answer_by_traits(train, labels, test, 0) == truth).mean() == pytest.approx(0.5, abs=0.1)


def test_changes_take_away_what_they_say() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    before = image.copy()
    made = {name: change(image, 4) for name, change in changes(16, 40, 0).items()}
    assert (image == before).all()
    assert all(of.shape == image.shape and of.dtype == np.uint8 for of in made.values())
    assert (np.ptp(made["greyscale"].astype(int), axis=2) == 0).all()
    masked = made["captions_masked"]
    assert (masked[:10] == 128).all()
    assert (masked[40:] == 128).all()
    assert (masked[10:40] == image[10:40]).all()
    border = made["borders_only"]
    assert (border[8:42, 8:42] == 128).all()
    assert (border[:8] == image[:8]).all()
    shuffled = made["patches_shuffled"]
    assert (shuffled != image).any()
    assert (np.sort(shuffled.reshape(-1, 3), axis=0) == np.sort(image.reshape(-1, 3), axis=0)).all()
    assert (changes(16, 40, 0)["patches_shuffled"](image, 5) != shuffled).any()
    assert made["equalised"].astype(float).std() < 0.7 * image.astype(float).std()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red and blue pictures with noise, near-duplicates in pairs, and a network with random weights."""
    folder = tmp_path_factory.mktemp("luck")
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    images = rng.integers(60, 120, (80, 32, 32, 3)).astype(np.uint8)
    images[labels == 0, :, :, 0] += 100
    images[labels == 1, :, :, 2] += 100
    splits = np.repeat(["train", "val", "test", "unknown-test"], [40, 10, 20, 10])
    rows = [
        {
            "photo": f"{number:03d}.jpg",
            "label": "unknown" if split == "unknown-test" else ("red", "blue")[label],
            "split": split,
            "group": number // 4 * 2 + label,
            "width": 32,
            "height": 32,
            "bytes": int(rng.integers(900, 1000)),
            "quality": "",
        }
        for number, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]
    pack = write_pack(folder / "samples", 32, [(images, rows)])
    network = FeatureNetwork("resnet10t").eval()
    about = {"architecture": "resnet10t", "arguments": {}, "size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    save_backbone(folder / "backbone", network, {}, name="tiny", source="random", **about)
    (folder / "inference").mkdir()
    frozen, _ = describe(on_backbone(load_backbone(folder / "backbone"), 2)[0], pack.images)
    np.save(folder / "inference/frozen_features.npy", frozen)
    return folder


def colours(
    network: MemeNet | None, images: np.ndarray, batch_size: int, *, mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    """In the place of the fine-tuned network one that knows red from blue: class 0 is blue."""
    if network:
        return describe(network, images, batch_size, mirror=mirror)
    mean = np.asarray(images, np.float32).mean((1, 2))
    return mean, np.stack([mean[:, 2] - mean[:, 0], mean[:, 0] - mean[:, 2]], axis=1)


def run(project: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(luck, "load_network", lambda folder: (None, {}))
    monkeypatch.setattr(luck, "describe", colours)
    luck.probe_luck(
        *(project / "samples", project / "inference", project / "network", project / "backbone"),
        *(SETTINGS, 200, out / "luck", out / "luck.json", out / "curve.csv"),
        mirror=False,
    )
    return read_json(out / "luck.json")


def test_a_network_that_looks_at_colours_is_found_out(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(project, tmp_path, monkeypatch)
    assert found["accuracy"]["value"] == 1
    shuffled = pd.read_csv(tmp_path / "luck/shuffles.csv")["accuracy"]
    assert len(shuffled) == 99
    assert found["shuffle"]["accuracy"]["value"] == 1
    assert found["shuffle_p_value"]["value"] == pytest.approx((1 + (shuffled == 1).sum()) / 100)
    assert found["baseline"]["majority"]["accuracy"]["value"] == 0.5
    assert found["baseline"]["colour_histogram_5nn"]["accuracy"]["value"] == 1
    probes = found["probes"]
    table = pd.read_csv(tmp_path / "luck/probes.csv")
    assert probes["greyscale"]["finetuned"]["value"] == 0.5
    assert probes["greyscale"]["lost"]["value"] == 0.5
    assert probes["greyscale"]["lost"]["low"] > 0
    assert probes["greyscale"]["lost"]["n"] == len(np.unique(table["group"]))
    for name in ("captions_masked", "borders_only", "patches_shuffled", "equalised"):
        assert probes[name]["lost"]["value"] == 0
    assert len(table) == 20
    assert (table["finetuned"] == table["label"]).all()
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert curve["pictures"].is_monotonic_increasing
    assert curve["pictures"].iloc[-1] == 40
    assert (curve["low"] <= curve["accuracy"]).all()


def test_nothing_is_learned_from_shuffled_labels(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All labels are dealt out anew, train and test: what is left above chance would be a leak."""
    pack = open_pack(project / "samples")
    rng = np.random.default_rng(5)
    manifest = pack.manifest.copy()
    known = manifest["label"] != "unknown"
    manifest.loc[known, "label"] = rng.permutation(manifest.loc[known, "label"])
    write_pack(tmp_path / "samples", 32, [(np.array(pack.images), manifest.to_dict("records"))])
    for name in ("inference", "backbone"):
        (tmp_path / name).symlink_to(project / name)
    found = run(tmp_path, tmp_path, monkeypatch)
    # Below chance is chance as well: the few test pictures may be more of the class that train has less of.
    assert found["shuffle"]["accuracy"]["low"] <= found["shuffle"]["chance"]["value"]
    assert found["shuffle_p_value"]["value"] > 0.05


def test_the_same_seed_gives_the_same_bytes(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("once", "again"):
        run(project, tmp_path / name, monkeypatch)
    for file in ("luck.json", "curve.csv", "luck/probes.csv", "luck/shuffles.csv", "luck/probes.png"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_features_of_other_samples_are_refused(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samples").symlink_to(project / "samples")
    (tmp_path / "inference").mkdir()
    np.save(tmp_path / "inference/frozen_features.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match="describes 3 pictures, the samples are 80"):
        run(tmp_path, tmp_path, monkeypatch)
