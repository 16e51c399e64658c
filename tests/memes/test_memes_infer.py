"""What is deployed, chosen and predicted, from tiny networks on pictures of four brightnesses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from sightline.core.augment import whole
from sightline.core.backbone import FeatureNetwork, load_backbone, save_backbone
from sightline.core.errors import InputError
from sightline.core.files import sha256_of, write_json
from sightline.core.packs import Pack, write_pack
from sightline.memes.infer import infer
from sightline.memes.memory import Memory
from sightline.memes.network import MemeNet, on_backbone, save_network
from sightline.memes.params import Infer
from sightline.memes.predictor import Predictor
from sightline.memes.probe import Probe, save_probe
from sightline.params import Compute

SIZE = 32
CLASSES = ["bright", "dark"]
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
SETTINGS: dict[str, Any] = {
    "batch_size": 16,
    "mirror": True,
    "keep": 0.9,
    "spaces": ["finetuned", "frozen"],
    "scorers": ["msp", "max_logit", "energy", "knn", "mahalanobis", "vim", "knn_contrast"],
    "neighbours": [1, 3],
    "vim_dimensions": None,
}
LEVEL = {"bright": 190, "dark": 60, "unknown": 125, "later": 240}


def write_samples(folder: Path, *, unknown: bool = True) -> Pack:
    rng = np.random.default_rng(0)
    rows, images = [], []
    parts = [(label, split, count) for label in CLASSES for split, count in (("train", 14), ("val", 10), ("test", 8))]
    parts += [("later", "later-pool", 3), ("later", "later-test", 3)]
    parts += [("unknown", "unknown-val", 9), ("unknown", "unknown-test", 9)] if unknown else []
    for label, split, count in parts:
        for _ in range(count):
            tone = LEVEL[label] + rng.normal(0, 12, 3)
            images.append(rng.normal(tone, 30, (SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8))
            photo = f"{label}/{len(rows)}.png"
            kind = ("near", "far")[len(rows) % 2] if label == "unknown" else ""
            row = {"photo": photo, "label": label, "kind": kind, "split": split, "group": len(rows) - len(rows) % 2}
            rows.append({**row, "digest": sha256_of(photo)})
    return write_pack(folder, SIZE, [(np.stack(images), rows)])


def run(folder: Path, *, unknown: bool = True, **changes: Any) -> Path:
    """All that the stage needs, and what it makes of it, in ``folder``."""
    torch.manual_seed(0)
    pack = write_samples(folder / "samples", unknown=unknown)
    arguments = {"channels": [8, 8, 16, 24], "stem_width": 8}
    first, _ = on_backbone_of(folder / "backbone", arguments)
    features = first.backbone.count_features(SIZE)
    rng = np.random.default_rng(1)
    arrays = rng.normal(size=(4, features)).astype(np.float32)
    probe = Probe(np.stack([arrays[0], -arrays[0]]), np.float32([0.1, -0.1]), arrays[2], np.abs(arrays[3]) + 0.5)
    save_probe(folder / "network" / "probe", probe, {"classes": CLASSES})
    for name in ("finetuned", "scratch"):
        network, built = on_backbone(load_backbone(folder / "backbone"), 2)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
            if name == "finetuned":
                separate(network, pack)
        save_network(folder / "network" / name, network, {"arguments": built, "classes": CLASSES})
    infer_again(folder, **changes)
    return folder


def on_backbone_of(folder: Path, arguments: dict[str, Any]) -> tuple[MemeNet, dict[str, Any]]:
    known = {"size": SIZE, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
    network = FeatureNetwork("resnet10t", arguments).eval()
    save_backbone(
        folder, network, {}, name="x", source="random", architecture="resnet10t", arguments=arguments, **known
    )
    return on_backbone(load_backbone(folder), 2)


def separate(network: MemeNet, pack: Pack) -> None:
    """Put the difference of the class means into the head, so that the network is right most of the time."""
    rows = pack.rows("train")
    features = network.eval().features(whole(torch.from_numpy(np.array(pack.images[rows]))))
    bright = torch.tensor((pack.manifest["label"][rows] == "bright").to_numpy())
    means = torch.stack([features[bright].mean(0), features[~bright].mean(0)])
    axis = (means[0] - means[1]) / (means[0] - means[1]).square().sum()
    network.head.weight.copy_(torch.stack([axis, -axis]))
    middle = (means.mean(0) @ axis).reshape(1)
    network.head.bias.copy_(torch.cat([-middle, middle]))


def infer_again(folder: Path, **changes: Any) -> None:
    settings = Infer.model_validate({**SETTINGS, **changes})
    folders = (folder / name for name in ("network", "backbone", "samples"))
    infer(*folders, settings, COMPUTE, folder / "deployed", folder / "out")


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("inferred"))


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "deployed" / "config.json").read_text())
    return config


def predictions_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "predictions.csv", keep_default_na=False)


def test_every_picture_is_described_and_predicted(inferred: Path) -> None:
    manifest = pd.read_csv(inferred / "samples" / "manifest.csv", keep_default_na=False)
    table = predictions_of(inferred)
    assert table["photo"].tolist() == manifest["photo"].tolist()
    for name, width in (("finetuned_features", 24), ("frozen_features", 24), ("scratch_logits", 2)):
        array = np.load(inferred / "out" / f"{name}.npy")
        assert array.shape == (len(manifest), width)
        assert array.dtype == np.float32
    logits = np.load(inferred / "out" / "finetuned_logits.npy").astype(np.float64)
    shares = softmax(logits / config_of(inferred)["temperature"], axis=1)
    np.testing.assert_allclose(table[["p_bright", "p_dark"]], shares, atol=1e-8)
    assert table["predicted"].tolist() == np.array(CLASSES)[shares.argmax(1)].tolist()
    test = table[table["split"] == "test"]
    assert (test["predicted"] == test["label"]).mean() > 0.8


def test_features_are_the_mean_of_both_views_and_the_heads_make_the_logits_of_them(inferred: Path) -> None:
    images = torch.from_numpy(np.load(inferred / "samples" / "images.npy"))
    backbone = load_backbone(inferred / "backbone")
    with torch.inference_mode():
        views = [backbone.network(backbone.normalise(each)) for each in (images, images.flip(2))]
    features = torch.stack(views).mean(0).double().numpy()
    np.testing.assert_allclose(np.load(inferred / "out" / "frozen_features.npy"), features, atol=1e-5)
    rng = np.random.default_rng(1)
    first, _, mean, spread = rng.normal(size=(4, 24)).astype(np.float32).astype(np.float64)
    logit = (features - mean) / (np.abs(spread) + 0.5) @ first + 0.1
    found = np.load(inferred / "out" / "probe_logits.npy")
    np.testing.assert_allclose(found, np.stack([logit, -logit], 1), rtol=1e-3, atol=1e-3)


def test_the_choice_is_the_best_auroc_on_validation(inferred: Path) -> None:
    scorer, table = config_of(inferred)["scorer"], predictions_of(inferred)
    scores = pd.read_csv(inferred / "out" / "scores.csv")
    assert list(scores) == [f"{space}_{name}" for space in SETTINGS["spaces"] for name in SETTINGS["scorers"]]
    asked = table["split"].isin(["val", "unknown-val"])
    aurocs = {name: roc_auc_score(table["split"][asked] == "unknown-val", scores[name][asked]) for name in scores}
    for trial in scorer["tried"]:
        assert trial["val_auroc"] == pytest.approx(aurocs[f"{trial['space']}_{trial['name']}"])
    assert scorer["val_auroc"] == pytest.approx(max(aurocs.values()))
    np.testing.assert_allclose(table["unknown_score"], scores[f"{scorer['space']}_{scorer['name']}"], rtol=1e-6)


def test_the_threshold_keeps_the_share_of_validation(inferred: Path) -> None:
    table, scorer = predictions_of(inferred), config_of(inferred)["scorer"]
    val = table[table["split"] == "val"]
    assert (~val["rejected"]).sum() == 18 == SETTINGS["keep"] * len(val)
    assert table["rejected"].tolist() == (table["unknown_score"] > scorer["threshold"]).tolist()
    manifest = pd.read_csv(inferred / "samples" / "manifest.csv")
    assert scorer["split"] == sha256_of(*sorted(manifest["split"] + ":" + manifest["digest"]))


def test_test_pictures_have_no_say_in_what_is_deployed(inferred: Path, tmp_path: Path) -> None:
    for name in ("samples", "network", "backbone"):
        shutil.copytree(inferred / name, tmp_path / name)
    manifest = pd.read_csv(tmp_path / "samples" / "manifest.csv", keep_default_na=False)
    images = np.load(tmp_path / "samples" / "images.npy")
    tested = np.flatnonzero(manifest["split"].isin(["test", "unknown-test", "later-pool", "later-test"]))
    images[tested] = np.random.default_rng(9).integers(0, 256, images[tested].shape)
    np.save(tmp_path / "samples" / "images.npy", images)
    infer_again(tmp_path)
    for name in ("config.json", "scorer.safetensors", "model.onnx", "memory.safetensors"):
        assert (tmp_path / "deployed" / name).read_bytes() == (inferred / "deployed" / name).read_bytes(), name


def test_the_predictor_says_of_files_what_the_stage_says(inferred: Path, tmp_path: Path) -> None:
    images, table = np.load(inferred / "samples" / "images.npy"), predictions_of(inferred)
    (tmp_path / "deep er").mkdir()
    for row in range(0, len(images), 3):
        Image.fromarray(images[row]).save(tmp_path / "deep er" / f"{row:03}.png")
    (tmp_path / "empty.jpg").touch()
    found = Predictor(inferred / "deployed", threads=1).predict_folder(tmp_path, workers=0, batch_size=7)
    assert found.unreadable == {"empty.jpg": "empty file"}
    assert len(found.results) == len(range(0, len(images), 3))
    for name, answer in found.results.items():
        expected = table.iloc[int(Path(name).stem)]
        assert answer["unknown"] == expected["rejected"]
        assert answer["class"] == (None if expected["rejected"] else expected["predicted"])
        assert answer["confidence"] == pytest.approx(expected["confidence"], abs=1e-3)
        assert answer["unknown_score"] == pytest.approx(expected["unknown_score"], abs=1e-3)
    json.dumps(found.results)
    everything = Predictor(inferred / "deployed").predict_folder(tmp_path, threshold=1e9)
    assert not any(answer["unknown"] for answer in everything.results.values())


def test_an_empty_folder_and_one_of_no_pictures(inferred: Path, tmp_path: Path) -> None:
    predictor = Predictor(inferred / "deployed")
    assert predictor.predict_folder(tmp_path).results == {}
    (tmp_path / "a.jpg").write_text("no picture")
    found = predictor.predict_folder(tmp_path)
    assert (found.results, found.unreadable) == ({}, {"a.jpg": "not a picture"})
    with pytest.raises(InputError, match="is not a folder"):
        predictor.predict_folder(tmp_path / "a.jpg")


def test_a_folder_that_holds_no_deployed_model_is_an_error(inferred: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no deployed model"):
        Predictor(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not valid JSON"):
        Predictor(tmp_path)
    write_json(tmp_path / "config.json", {"task": "minerals"})
    with pytest.raises(InputError, match="of task 'minerals', not of 'memes'"):
        Predictor(tmp_path)
    write_json(tmp_path / "config.json", config_of(inferred))
    with pytest.raises(InputError, match="holds no fitted score"):
        Predictor(tmp_path)


def test_the_model_remembers_what_its_graph_gives(inferred: Path) -> None:
    memory = Memory.load(inferred / "deployed" / "memory.safetensors")
    rows = np.flatnonzero(predictions_of(inferred)["split"].isin(["train", "val"]))
    outputs = Predictor(inferred / "deployed").network(np.load(inferred / "samples" / "images.npy")[rows])
    for space in ("finetuned", "frozen"):
        np.testing.assert_allclose(memory.features[space], outputs[f"{space}_features"], atol=1e-4)
        np.testing.assert_allclose(memory.logits[space], outputs[f"{space}_logits"], atol=1e-3)
        weight, bias = memory.heads[space]
        np.testing.assert_allclose(memory.features[space] @ weight.T + bias, memory.logits[space], rtol=1e-3, atol=1e-3)
    assert memory.is_train.sum() == 28


def test_without_unknown_pictures_neighbours_judge(tmp_path: Path) -> None:
    scorer = config_of(run(tmp_path, unknown=False))["scorer"]
    assert (scorer["name"], scorer["val_auroc"]) == ("knn", None)
    assert "knn_contrast" not in [trial["name"] for trial in scorer["tried"]]
    assert (~predictions_of(tmp_path).query("split == 'val'")["rejected"]).sum() == 18


def test_a_space_that_is_not_tried_costs_a_service_nothing(inferred: Path, tmp_path: Path) -> None:
    for name in ("samples", "network", "backbone"):
        shutil.copytree(inferred / name, tmp_path / name)
    infer_again(tmp_path, spaces=["finetuned"], scorers=["energy"], mirror=False)
    predictor = Predictor(tmp_path / "deployed")
    assert predictor.network.outputs == ["finetuned_features", "finetuned_logits"]
    found = predictor.predict_folder(tmp_path / "backbone").unreadable
    assert set(found) == {"config.json", "model.safetensors"}


def test_a_probe_of_other_features_is_an_error(inferred: Path, tmp_path: Path) -> None:
    for name in ("samples", "network", "backbone"):
        shutil.copytree(inferred / name, tmp_path / name)
    vector = np.ones(7, np.float32)
    save_probe(tmp_path / "network" / "probe", Probe(np.ones((2, 7), np.float32), vector[:2], vector, vector), {})
    with pytest.raises(InputError, match="was not fitted to the features"):
        infer_again(tmp_path)
    (tmp_path / "network" / "probe" / "probe.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="holds no linear probe"):
        infer_again(tmp_path)


def test_a_service_needs_no_torch() -> None:
    code = (
        "import sys; import sightline.memes.predictor; "
        "print(sorted({'torch', 'lightning', 'sklearn', 'scipy', 'timm', 'pydantic'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_graph_takes_pictures_one_by_one(inferred: Path) -> None:
    network = Predictor(inferred / "deployed", threads=1).network
    images = np.load(inferred / "samples" / "images.npy")[:3]
    together = network(images)
    for row in range(3):
        for name, output in network(images[row : row + 1]).items():
            np.testing.assert_allclose(output[0], together[name][row], atol=1e-4)
