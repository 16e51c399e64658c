"""The projections against scikit-learn and against what they promise on made-up classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from sightline.birds.embeddings import Vectors, write_embeddings
from sightline.birds.params import Project
from sightline.birds.project import Projection, project
from sightline.birds.retrieval import query_metrics, rank_positives
from sightline.core.errors import InputError
from sightline.core.files import read_json
from sightline.params import Compute

COMPUTE = Compute.model_validate({"threads": 1, "accelerator": "cpu", "precision": "32-true"})
DIMENSIONS = 24


def settings(**changes: Any) -> Project:
    anchored = {
        "shrinkage": 1.0,
        "emphasis": 1.0,
        "epochs": 3,
        "batch_size": 32,
        "lr": 1e-3,
        "alpha": 32.0,
        "margin": 0.1,
    }
    tree = {
        "seed": 1,
        "val_share": 0.25,
        "whiten": {"dimensions": [8], "powers": [1.0]},
        "discriminant": {"shrinkages": [0.1], "emphases": [0.0, 1.0]},
        "proxy_anchor": anchored,
    }
    return Project.model_validate(tree | changes)


def embeddings(folder: Path, classes: int = 24, each: int = 12) -> Path:
    """Classes that differ in a few directions, drowned in strong noise that all of them share."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    means = np.zeros((classes, DIMENSIONS))
    means[:, :8] = rng.normal(0, 1, (classes, 8))
    noise = rng.normal(0, 1, (len(labels), DIMENSIONS)) * np.r_[np.full(8, 0.5), np.full(DIMENSIONS - 8, 3.0)]
    photos = pd.DataFrame(
        {
            "image_id": np.arange(len(labels)),
            "photo": [f"{row}.jpg" for row in range(len(labels))],
            "class_id": labels,
            "class_name": labels.astype(str),
            "split": np.where(labels < classes // 2, "train", "test"),
        }
    )
    write_embeddings(folder, photos, (means[labels] + noise).astype(np.float32), {})
    return folder


def half(folder: Path, name: str) -> tuple[NDArray[np.int64], Vectors]:
    return pd.read_csv(folder / f"{name}.csv")["class_id"].to_numpy(), np.load(folder / f"{name}.npy")


def map_at_r(vectors: Vectors, labels: NDArray[np.int64]) -> float:
    return float(query_metrics(rank_positives(vectors, labels))["map_at_r"].mean())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("project")
    project(embeddings(folder / "a-box"), settings(), COMPUTE, folder / "out")
    return folder / "a-box", folder / "out"


def test_whitening_is_that_of_scikit_learn(made: tuple[Path, Path]) -> None:
    source, out = made
    train, test = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for _, vectors in map(half, [source] * 2, ["train", "test"])
    )
    expected = PCA(8, whiten=True, svd_solver="full").fit(train).transform(test)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = Projection.load(out / "whitened").apply(half(source, "test")[1])
    # Equal but for the signs of the axes.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-3)


def test_unseen_classes_are_found_better_than_by_frozen_features(made: tuple[Path, Path]) -> None:
    source, out = made
    labels, vectors = half(source, "test")
    projected = Projection.load(out / "projected").apply(vectors)
    assert map_at_r(projected, labels) > map_at_r(vectors, labels) + 0.1
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)


def test_test_classes_have_no_say(made: tuple[Path, Path], tmp_path: Path) -> None:
    source, out = made
    other = embeddings(tmp_path / "b-box")
    np.save(other / "test.npy", np.zeros_like(np.load(source / "test.npy")))
    project(other, settings(), COMPUTE, tmp_path / "out")
    for form in ("whitened", "projected"):
        name = "projection.safetensors"
        assert (tmp_path / "out" / form / name).read_bytes() == (out / form / name).read_bytes()


def test_what_was_tried_is_told_and_the_best_of_it_was_taken(made: tuple[Path, Path]) -> None:
    config = read_json(made[1] / "projected" / "config.json")
    assert {entry["candidate"].split(" (")[0] for entry in config["tried"]} == {
        "frozen",
        "discriminant",
        "proxy-anchor",
    }
    best = max(config["tried"][1:], key=lambda entry: entry["map_at_r"])
    assert best["candidate"].startswith(config["method"])


def test_too_few_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few to hold some out"):
        project(embeddings(tmp_path / "a-box", classes=8), settings(), COMPUTE, tmp_path / "out")


def test_a_projection_for_other_features_is_refused(made: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="is for embeddings of 24 features, not 5"):
        Projection.load(made[1] / "whitened").apply(np.ones((2, 5), np.float32))
    with pytest.raises(InputError, match="holds no projection"):
        Projection.load(made[0])
