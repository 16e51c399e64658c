import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn import metrics

from sightline.birds import evaluate as stage
from sightline.birds.embeddings import write_embeddings
from sightline.birds.evaluate import evaluate
from sightline.birds.params import Evaluate
from sightline.core.errors import InputError
from sightline.core.files import write_csv
from sightline.params import Compute

VARIANTS = ["net-box", "net-full"]
BASELINES = ("pixels-box",)
SETTINGS = Evaluate(resamples=200, seed=1, primary="net-box", baselines=BASELINES, clusters_restarts=2)
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
THEIRS = {
    "recall_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
    "map": "mean_average_precision",
}


class Linear:
    """A projection whose matrix the test knows."""

    def __init__(self, matrix: NDArray[np.float32]) -> None:
        self.matrix = matrix

    @classmethod
    def load(cls, folder: Path) -> "Linear":
        return cls(np.load(folder / "matrix.npy"))

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        return unit(embeddings @ self.matrix)


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    return torch.nn.functional.normalize(torch.from_numpy(np.asarray(vectors, np.float32))).numpy()


class Run:
    """The folders that the stage reads: embeddings whose first half of the dimensions knows the species."""

    def __init__(self, folder: Path, species: int = 14, photos: int = 8) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        class_ids = np.repeat(np.arange(1, species + 1), photos)
        # The last species has one photo.
        class_ids = class_ids[: len(class_ids) - photos + 1]
        ids = np.arange(1, len(class_ids) + 1)
        self.photos = pd.DataFrame({"image_id": 3 * ids, "photo": [f"{n}.jpg" for n in ids], "class_id": class_ids})
        self.photos["class_name"] = [f"{number:03}.Bird" for number in class_ids]
        for column, value in {"left": 0, "top": 0, "right": 9, "bottom": 9, "width": 9, "height": 9}.items():
            self.photos[column] = value
        self.photos["digest"], self.photos["hash"] = "-", "00ff"
        self.photos["split"] = np.where(class_ids <= species // 2, "train", "test")
        self.test = self.photos[self.photos["split"] == "test"]
        looks = rng.normal(size=(species + 1, 8))[class_ids]
        self.vectors = {}
        for name, noise in (("net-box", 0.8), ("net-full", 1.2), ("pixels-box", 2.0)):
            nuisance = 2 * rng.normal(size=(len(ids), 8))
            vectors = np.concatenate([looks + noise * rng.normal(size=looks.shape), nuisance], axis=1)
            self.vectors[name] = vectors.astype(np.float32)
        half = np.diag([1.0] * 8 + [0.5] * 8).astype(np.float32)
        self.matrices = {"whitened": half, "projected": np.eye(16, 8, dtype=np.float32)}

    def evaluate(self, settings: Evaluate = SETTINGS) -> dict[str, Any]:
        write_csv(self.folder / "split.csv", self.photos)
        for name, vectors in self.vectors.items():
            write_embeddings(self.folder / "embeddings" / name, self.photos, vectors, {})
        for variant in VARIANTS:
            for form, matrix in self.matrices.items():
                (self.folder / "projections" / variant / form).mkdir(parents=True, exist_ok=True)
                np.save(self.folder / "projections" / variant / form / "matrix.npy", matrix)
        evaluate(
            self.folder / "split.csv",
            self.folder / "embeddings",
            self.folder / "projections",
            VARIANTS,
            settings,
            COMPUTE,
            self.folder / "results",
            self.folder / "metrics",
        )
        found: dict[str, Any] = json.loads((self.folder / "metrics" / "metrics.json").read_text())
        return found

    def of_test(self, variant: str, form: str = "frozen") -> NDArray[np.float32]:
        vectors = self.vectors[variant][self.test.index]
        return unit(vectors if form == "frozen" else vectors @ self.matrices[form])

    def read(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / name, keep_default_na=False, na_values={"map": ""})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(stage, "Projection", Linear)
    return Run(tmp_path)


def value(figure: dict[str, float]) -> float:
    return figure["value"]


def test_the_figures_of_each_form_are_those_of_pytorch_metric_learning(run: Run) -> None:
    found = run.evaluate()
    calculator = AccuracyCalculator(include=tuple(THEIRS.values()), device=torch.device("cpu"))
    described = {(variant, form): found["variants"][variant][form] for variant in VARIANTS for form in stage.LEARNED}
    described |= {(variant, "frozen"): found["variants"][variant]["frozen"] for variant in VARIANTS}
    described["pixels-box", "frozen"] = found["baseline"]["pixels-box"]
    for (variant, form), figures in described.items():
        theirs = calculator.get_accuracy(run.of_test(variant, form), run.test["class_id"].to_numpy())
        for name, their_name in THEIRS.items():
            assert value(figures[name]) == pytest.approx(theirs[their_name], abs=2e-6), (variant, form, name)


def test_the_projected_primary_variant_stands_at_the_top(run: Run) -> None:
    found = run.evaluate()
    for name, figure in found["variants"]["net-box"]["projected"].items():
        assert found[name] == figure
    assert found["primary"] == "net-box"
    # Seven test species of eight photos, but the last has one photo.
    assert (found["gallery"], found["queries"]) == (49, 48)


def test_hits_and_precision_are_what_one_counts(run: Run) -> None:
    found = run.evaluate()["variants"]["net-full"]["whitened"]
    vectors, labels = run.of_test("net-full", "whitened"), run.test["class_id"].to_numpy()
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -2)
    right = labels[np.argsort(-similarities, axis=1, kind="stable")] == labels[:, None]
    # The last photo is the only one of its species.
    right = right[:-1, :-1]
    for k in (1, 2, 4, 8):
        assert value(found[f"recall_at_{k}"]) == pytest.approx(right[:, :k].any(axis=1).mean(), abs=1e-6)
    assert value(found["precision_at_10"]) == pytest.approx(right[:, :10].mean(), abs=1e-6)


def test_the_gain_is_the_difference_and_its_interval_is_paired(run: Run) -> None:
    found = run.evaluate()
    for where in (found, found["variants"]["net-box"]):
        for name in ("recall_at_1", "map_at_r"):
            forms = found["variants"]["net-box"]
            difference = value(forms["projected"][name]) - value(forms["frozen"][name])
            assert value(where[f"gain_{name}"]) == pytest.approx(difference, abs=2e-6)
    # These projections drop the dimensions that are noise, so they gain for sure.
    gain, projected, frozen = found["gain_map_at_r"], found["map_at_r"], found["variants"]["net-box"]["frozen"]
    assert gain["low"] > 0
    apart = projected["high"] - projected["low"] + frozen["map_at_r"]["high"] - frozen["map_at_r"]["low"]
    assert gain["high"] - gain["low"] < apart


def test_intervals_are_over_species_and_hold_their_value(run: Run) -> None:
    figures = run.evaluate()["variants"]["net-box"]["frozen"]
    for name in ("recall_at_1", "precision_at_10", "r_precision", "map_at_r", "map"):
        # The species of one photo has nothing to find.
        assert figures[name]["n"] == 6
        assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]
    assert figures["nmi"]["n"] == figures["ami"]["n"] == 7


def test_the_clusters_are_scored_as_by_scikit_learn(run: Run) -> None:
    found = run.evaluate()["variants"]["net-full"]["projected"]
    queries = run.read("results/net-full-projected.csv")
    said = queries["class_id"], queries["cluster"]
    assert queries["cluster"].nunique() == 7
    assert value(found["nmi"]) == pytest.approx(metrics.normalized_mutual_info_score(*said), abs=1e-6)
    assert value(found["ami"]) == pytest.approx(metrics.adjusted_mutual_info_score(*said), abs=1e-6)


def test_each_query_is_kept_with_its_ranks_and_answers(run: Run) -> None:
    run.evaluate()
    queries = run.read("results/net-box-frozen.csv")
    assert queries["image_id"].tolist() == run.test["image_id"].tolist()
    class_of = dict(zip(run.test["image_id"], run.test["class_id"], strict=True))
    for row in queries[:-1].itertuples():
        ranks, answers = [int(rank) for rank in row.ranks.split()], [int(photo) for photo in row.answers.split()]
        assert len(ranks) == 7
        assert len(answers) == 10
        assert row.image_id not in answers
        right = [place for place, photo in enumerate(answers, start=1) if class_of[photo] == row.class_id]
        assert right == [rank for rank in ranks if rank <= 10]
        assert row.map == pytest.approx(np.mean(np.arange(1, 8) / ranks))
    assert queries["ranks"].iloc[-1] == ""
    assert np.isnan(queries["map"].iloc[-1])


def test_the_tables_agree_with_the_figures(run: Run) -> None:
    found = run.evaluate()
    per_class = run.read("metrics/per_class.csv")
    of_primary = per_class[(per_class["variant"] == "net-box") & (per_class["form"] == "projected")]
    assert of_primary["queries"].tolist() == [8] * 6
    assert of_primary["map_at_r"].mean() == pytest.approx(value(found["map_at_r"]), abs=1e-6)
    assert set(per_class["form"][per_class["variant"] == "pixels-box"]) == {"frozen"}
    curve = run.read("metrics/recall.csv")
    assert list(curve) == ["k", "frozen", "whitened", "projected", "pixels-box"]
    assert curve["k"].tolist() == list(range(1, 33))
    for k in (1, 2, 4, 8):
        row = curve[curve["k"] == k].iloc[0]
        assert row["projected"] == pytest.approx(value(found[f"recall_at_{k}"]), abs=1e-6)
        expected = value(found["baseline"]["pixels-box"][f"recall_at_{k}"])
        assert row["pixels-box"] == pytest.approx(expected, abs=1e-6)


def test_the_same_embeddings_give_the_same_bytes(run: Run) -> None:
    folders = ("metrics", "results")
    run.evaluate()
    before = {path: path.read_bytes() for name in folders for path in (run.folder / name).iterdir()}
    run.evaluate()
    assert {path: path.read_bytes() for name in folders for path in (run.folder / name).iterdir()} == before
    assert len(before) == 3 + 7


def test_embeddings_of_another_split_are_an_error(run: Run) -> None:
    run.evaluate()
    run.photos.loc[run.photos["class_id"] == 8, "split"] = "train"
    write_csv(run.folder / "split.csv", run.photos)
    folders = (run.folder / name for name in ("split.csv", "embeddings", "projections"))
    with pytest.raises(InputError, match="net-box was made from another split"):
        evaluate(*folders, VARIANTS, SETTINGS, COMPUTE, run.folder / "results", run.folder / "metrics")


def test_embeddings_that_are_not_numbers_are_an_error_and_leave_no_results(run: Run) -> None:
    run.vectors["net-full"][-1, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        run.evaluate()
    assert not (run.folder / "results").exists()
    assert not (run.folder / "metrics").exists()


def test_where_every_species_has_one_photo_there_is_nothing_to_find(run: Run) -> None:
    run.photos["class_id"] = np.where(run.photos["split"] == "test", run.photos["image_id"], run.photos["class_id"])
    with pytest.raises(InputError, match="no test class has two photos"):
        run.evaluate()
