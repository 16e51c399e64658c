from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from sightline.core.files import read_json, write_csv, write_json
from sightline.memes.adding import best_way
from sightline.memes.extend import extend
from sightline.memes.params import Evaluate, Extend
from sightline.memes.probe import fit_probe, save_probe
from sightline.memes.unknowns import Description, fit_scorer, save_scorer

SETTINGS = Extend(seed=5, shots=(5, 10, 500), repeats=3, projections=64, ridge=1.0, epochs=5)
EVALUATE = Evaluate(resamples=200, seed=1)
COUNTS = {
    ("train", "a"): 40,
    ("train", "b"): 40,
    ("val", "a"): 20,
    ("val", "b"): 20,
    ("test", "a"): 20,
    ("test", "b"): 20,
    ("later-pool", "c"): 30,
    ("later-test", "c"): 20,
    ("unknown-val", "unknown"): 20,
    ("unknown-test", "unknown"): 20,
}


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """What the stages before leave, of pictures that are blobs in 16 dimensions; neighbours are near-duplicates."""
    rng = np.random.default_rng(0)
    rows = [(split, label) for (split, label), count in COUNTS.items() for _ in range(count)]
    manifest = pd.DataFrame(rows, columns=["split", "label"])
    manifest["photo"] = [f"{number}.png" for number in range(len(manifest))]
    manifest["group"] = np.arange(len(manifest)) // 2
    for folder in ("samples", "model/finetuned", "inference", "deployed"):
        (tmp_path / folder).mkdir(parents=True)
    np.save(tmp_path / "samples" / "images.npy", np.zeros((len(manifest), 2, 2, 3), np.uint8))
    write_csv(tmp_path / "samples" / "manifest.csv", manifest)
    # One above another in no column, so that all features are on one side of 0, as after a ReLU.
    centres = dict(zip("abc", rng.uniform(0, 1, (3, 16)), strict=True))
    features = np.stack(
        [
            centres.get(label, rng.uniform(0, 1, 16)) + 0.25 * rng.standard_normal(16)
            for label in manifest["label"].tolist()
        ]
    ).astype(np.float32)
    labels = manifest["label"].map({"a": 0, "b": 1}).fillna(-1).to_numpy(np.int64)
    train, val = (np.flatnonzero(manifest["split"] == split) for split in ("train", "val"))
    probe = fit_probe(features[train], labels[train], 1.0)
    logits = probe.logits(features)
    weight, bias = probe.as_linear()
    save_probe(tmp_path / "model" / "probe", probe, {"c": 1.0})
    save_file(
        {"head.weight": np.ascontiguousarray(weight), "head.bias": bias},
        tmp_path / "model" / "finetuned" / "model.safetensors",
    )
    for name in ("finetuned", "frozen"):
        np.save(tmp_path / "inference" / f"{name}_features.npy", features)
    for name in ("finetuned", "probe"):
        np.save(tmp_path / "inference" / f"{name}_logits.npy", logits)
    description = Description(features, logits)
    scorer = fit_scorer("knn", description[train], labels[train], weight=weight, bias=bias, neighbours=3)
    save_scorer(tmp_path / "deployed" / "scorer.safetensors", scorer)
    threshold = float(np.quantile(scorer(description[val]), 0.95, method="higher"))
    told = {"space": "finetuned", "name": "knn", "settings": scorer.settings, "threshold": threshold}
    config = {"task": "memes", "classes": ["a", "b"], "temperature": 1.2, "scorer": told}
    write_json(tmp_path / "deployed" / "config.json", config)
    np.save(tmp_path / "scores.npy", scorer(description))
    # A graph that gives features of one space alone.
    value = helper.make_tensor_value_info("finetuned_features", TensorProto.FLOAT, ["batch", 16])
    source = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 16])
    node = helper.make_node("Identity", ["images"], ["finetuned_features"])
    graph = helper.make_model(
        helper.make_graph([node], "graph", [source], [value]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(graph, tmp_path / "deployed" / "model.onnx")
    return tmp_path


def run(stages: Path, later: str | None, out: str = "out") -> tuple[pd.DataFrame, pd.DataFrame, Path]:
    folder = stages / out
    paths = stages / "samples", stages / "model", stages / "inference", stages / "deployed"
    extend(*paths, later, SETTINGS, EVALUATE, folder, stages / f"{out}.csv", stages / f"{out}.json")
    return pd.read_csv(folder / "extend.csv"), pd.read_csv(stages / f"{out}.csv"), stages / f"{out}.json"


def test_every_method_learns_the_class_and_forgets_little(stages: Path) -> None:
    trials, table, summary = run(stages, "c")
    # More pictures than the pool holds are not tried; the pool itself is what the upper bound learns from.
    assert sorted(table["shots"].unique()) == [5, 10, 30]
    assert len(trials) == 2 * 3 * 5 + 2
    assert (table["new_recall"] > 0.8).all()
    assert (table["old_accuracy_change"] > -0.1).all()
    for name in ("old_accuracy", "new_recall", "unknown_auroc", "old_accuracy_change"):
        assert (table[f"{name}_low"] <= table[name] + 1e-9).all()
        assert (table[name] <= table[f"{name}_high"] + 1e-9).all()
    averaged = trials.groupby(["method", "space", "shots"], sort=False)[["old_accuracy", "new_recall", "unknown_auroc"]]
    figures = table[["old_accuracy", "new_recall", "unknown_auroc"]]  # six decimals
    np.testing.assert_allclose(averaged.mean().to_numpy(), figures, atol=1e-6)
    assert read_json(summary)["methods"]["ranpac-frozen"]["5"]["new_recall"]["n"] > 20


def test_the_auroc_before_is_scikit_learns(stages: Path) -> None:
    _, table, _ = run(stages, "c")
    manifest = pd.read_csv(stages / "samples" / "manifest.csv")
    scores = np.load(stages / "scores.npy")
    known, strange = (scores[manifest["split"] == split] for split in ("test", "unknown-test"))
    expected = roc_auc_score(np.repeat([0, 1], [len(known), len(strange)]), np.concatenate([known, strange]))
    np.testing.assert_allclose(table["unknown_auroc_before"], expected)


def test_the_choice_is_the_best_on_validation_that_can_be_served(stages: Path) -> None:
    trials, _, summary = run(stages, "c")
    chosen = read_json(summary)["chosen"]
    assert chosen["space"] == "finetuned"
    served = trials[(trials["space"] == "finetuned") & (trials["method"] != "retrained_probe")]
    means = served.groupby("method")[["val_old_accuracy", "val_new_recall"]].mean()
    balanced = (2 * means["val_old_accuracy"] + means["val_new_recall"]) / 3
    assert balanced[chosen["method"]] == pytest.approx(balanced.max(), abs=1e-6)
    way = best_way(summary)
    assert (way.method, way.space) == (chosen["method"], chosen["space"])
    # Test answers do not count: they may be anything.
    for name in ("finetuned", "frozen"):
        path = stages / "inference" / f"{name}_features.npy"
        features = np.load(path)
        tested = pd.read_csv(stages / "samples" / "manifest.csv")["split"].str.endswith("test").to_numpy()
        features[tested] = features[tested][::-1]
        np.save(path, features)
    assert read_json(run(stages, "c", "again")[2])["chosen"] == chosen


def test_the_same_inputs_give_the_same_files(stages: Path) -> None:
    run(stages, "c", "one")
    run(stages, "c", "two")
    for end in ("/extend.csv", ".csv", ".json"):
        assert (stages / f"one{end}").read_bytes() == (stages / f"two{end}").read_bytes()


def test_without_a_later_class_there_are_headers_only(stages: Path) -> None:
    trials, table, summary = run(stages, None)
    assert trials.empty
    assert table.empty
    assert "new_recall_low" in table.columns
    assert read_json(summary) == {"later": None, "chosen": None, "methods": {}, "retrained": {}}
