import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from torch import Tensor, nn
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.augment import MEAN, STD, whole
from sightline.core.deploy import Deployable, export_onnx
from sightline.core.errors import InputError
from sightline.core.files import sha256_of, write_csv, write_json
from sightline.core.packs import Pack, write_pack
from sightline.minerals.infer import deploy, infer
from sightline.minerals.memory import memorise
from sightline.minerals.model import MineralNet
from sightline.minerals.params import NONE, Infer
from sightline.minerals.predictor import Predictor, decide
from sightline.params import Compute

CLASSES = ["pyrite", NONE, "quartz"]
SIZE = 32
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")


class _Colours(nn.Module):
    """Red is pyrite, green is none of them, blue is quartz: the logits are the mean colour, on a scale of 0 to 8."""

    def forward(self, views: Tensor) -> Tensor:
        return (views.mean((2, 3)) * torch.tensor(STD) + torch.tensor(MEAN)) * 8


def expected_probabilities(colour: tuple[int, int, int]) -> NDArray[np.float64]:
    return np.asarray(softmax(np.array(colour) / 255 * 8))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_onnx(Deployable(_Colours(), mirror=True), folder / "model.onnx", np.zeros((3, SIZE, SIZE, 3), np.uint8))
    return folder / "model.onnx"


@pytest.fixture
def deployed(exported: Path, tmp_path: Path) -> Callable[[float | None], Path]:
    def make(threshold: float | None) -> Path:
        folder = tmp_path / "deployed"
        folder.mkdir(exist_ok=True)
        shutil.copy(exported, folder)
        write_json(folder / "config.json", {"task": "minerals", "classes": CLASSES, "threshold": threshold})
        return folder

    return make


RED, GREEN, BLUE, PALE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (160, 150, 140)


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    (folder / "deep er").mkdir(parents=True)
    for name, colour in (("a.png", RED), ("deep er/b ü.png", BLUE), ("c.png", GREEN), ("d.png", PALE)):
        Image.new("RGB", (40, 25), colour).save(folder / name)
    return folder


def test_every_picture_gets_its_confidence_and_its_mineral_or_null(
    deployed: Callable[[float | None], Path], patches: Path
) -> None:
    found = Predictor(deployed(0.5)).predict_folder(patches)
    expected = {
        "a.png": (RED, "pyrite"),
        "c.png": (GREEN, None),
        "d.png": (PALE, None),
        "deep er/b ü.png": (BLUE, "quartz"),
    }
    assert list(found.results) == sorted(expected)
    for name, (colour, mineral) in expected.items():
        assert found.results[name]["result"] == mineral
        pyrite, _, quartz = expected_probabilities(colour)
        assert found.results[name]["confidence"] == pytest.approx(max(pyrite, quartz), abs=1e-4)
    assert json.loads(json.dumps(found.results)) == found.results
    assert found.unreadable == {}


@pytest.mark.parametrize(
    ("calibrated", "asked", "named"),
    [
        (0.5, None, {"a.png", "deep er/b ü.png"}),
        (None, None, set()),
        # A threshold that is asked for counts, whether there is a calibrated one or not.
        (0.5, 0.0, {"a.png", "d.png", "deep er/b ü.png"}),
        (None, 0.0, {"a.png", "d.png", "deep er/b ü.png"}),
        (0.5, 1.0, set()),
    ],
)
def test_which_threshold_decides(
    deployed: Callable[[float | None], Path],
    patches: Path,
    calibrated: float | None,
    asked: float | None,
    named: set[str],
) -> None:
    results = Predictor(deployed(calibrated)).predict_folder(patches, threshold=asked).results
    assert {name for name, answer in results.items() if answer["result"]} == named


def test_the_threshold_itself_is_accepted_and_none_wins_only_where_it_is_likelier() -> None:
    decisions = decide(np.array([[0.5, 0.25, 0.25], [0.4, 0.4, 0.2], [0.3, 0.4, 0.3]], np.float32), CLASSES)
    assert decisions.minerals.tolist() == ["pyrite"] * 3
    assert decisions.none_wins.tolist() == [False, False, True]
    assert decisions.accepted(0.5).tolist() == [True, False, False]
    assert decisions.accepted(0.0).tolist() == [True, True, False]


def test_without_an_output_for_none_a_mineral_always_wins() -> None:
    decisions = decide(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32), ["pyrite", "quartz"])
    assert decisions.minerals.tolist() == ["quartz", "pyrite"]
    assert not decisions.none_wins.any()


def test_files_that_are_no_pictures_are_listed_apart(deployed: Callable[[float | None], Path], patches: Path) -> None:
    (patches / "empty.jpg").touch()
    (patches / "notes.txt").write_text("not a picture")
    (patches / ".hidden").write_text("not looked at")
    found = Predictor(deployed(0.5)).predict_folder(patches)
    assert found.unreadable == {"empty.jpg": "empty file", "notes.txt": "not a picture"}
    assert len(found.results) == 4


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_answers_depend_neither_on_batches_nor_on_workers(
    deployed: Callable[[float | None], Path], tmp_path: Path, count: int
) -> None:
    predictor, folder = Predictor(deployed(0.3)), tmp_path / "many"
    folder.mkdir()
    for number in range(count):
        colours = np.random.default_rng(number).integers(0, 255, (30, 20, 3), dtype=np.uint8)
        Image.fromarray(colours).save(folder / f"{number}.png")
        (folder / f"{number}.txt").touch()
    expected = predictor.predict_folder(folder, workers=0, batch_size=1)
    assert len(expected.results) == len(expected.unreadable) == count
    for workers, batch_size in ((0, 3), (3, 2), (2, 64)):
        assert predictor.predict_folder(folder, workers=workers, batch_size=batch_size) == expected


def test_folders_that_are_not_what_they_should_be(
    deployed: Callable[[float | None], Path], tmp_path: Path, patches: Path
) -> None:
    with pytest.raises(InputError, match="holds no deployed model: run 'dvc repro minerals-infer'"):
        Predictor(tmp_path)
    model = deployed(0.5)
    with pytest.raises(InputError, match=r"a\.png is not a folder"):
        Predictor(model).predict_folder(patches / "a.png")
    write_json(model / "config.json", {"task": "memes"})
    with pytest.raises(InputError, match="holds a model of task 'memes'"):
        Predictor(model)
    (model / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not valid JSON"):
        Predictor(model)


def predict(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["minerals", "predict", *map(str, arguments)])


def test_the_command_writes_the_answers_and_what_it_could_not_read(
    deployed: Callable[[float | None], Path], patches: Path, tmp_path: Path
) -> None:
    (patches / "empty.jpg").touch()
    out = tmp_path / "new" / "result.json"
    run = predict(patches, "--model", deployed(0.5), "--out", out)
    assert run.exit_code == 0, run.output
    assert f"4 pictures, 2 named: {out}" in run.output
    answers = json.loads(out.read_text(encoding="utf-8"))
    assert answers["deep er/b ü.png"]["result"] == "quartz"
    assert answers["c.png"]["result"] is None
    unreadable = out.with_name("result.unreadable.json")
    assert json.loads(unreadable.read_text()) == {"empty.jpg": "empty file"}
    (patches / "empty.jpg").unlink()
    run = predict(patches, "--model", deployed(0.5), "--out", out, "--threshold", "0")
    assert "4 pictures, 3 named" in run.output
    assert not unreadable.exists()


def test_the_command_refuses_what_makes_no_sense(
    deployed: Callable[[float | None], Path], patches: Path, tmp_path: Path
) -> None:
    model = deployed(0.5)
    assert predict(patches, "--model", model, "--out", tmp_path / "a.json", "--threshold", "1.5").exit_code == 2
    assert predict(patches, "--model", model, "--out", tmp_path).exit_code == 2
    assert isinstance(predict(tmp_path / "gone", "--model", model).exception, InputError)


@dataclass
class _Trained:
    """A network that tells dark from bright patches, with the pack it learned on; a tenth of the labels are wrong."""

    model: Path
    patches: Path
    pack: Pack


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> _Trained:
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    names, pieces = ["pyrite", "quartz", NONE], []
    for photo in range(90):
        truth = photo % 3
        image = rng.normal(50 + 70 * truth, 20, (2, SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
        split = ("train", "val", "test")[photo // 3 % 3]
        said = names[(truth + (photo % 10 == 9)) % 3]
        row = {"photo": f"images/{photo}.png", "split": split, "label": said, "kind": "exact"}
        pieces.append((image, [row, row]))
    pack = write_pack(folder / "patches", SIZE, pieces)
    photos = pack.manifest.drop_duplicates("photo")
    digests = [sha256_of(photo) for photo in photos["photo"]]
    write_csv(folder / "patches" / "split.csv", photos[["photo", "split"]].assign(digest=digests))
    torch.manual_seed(0)
    # Two threads that share a busy core wait for each other longer than they work.
    torch.set_num_threads(1)
    arguments = {"num_classes": 3, "width": 8, "depth": 1, "dropout": 0.0, "drop_path": 0.0, "exemplars": 60}
    network = MineralNet(**arguments)
    rows = pack.rows("train")
    views = whole(torch.from_numpy(np.array(pack.images[rows])))
    labels = torch.tensor([names.index(label) for label in pack.manifest["label"][rows]])
    optimizer = torch.optim.AdamW(network.texture.parameters(), lr=5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.texture(views), labels).backward()
        optimizer.step()
    with torch.inference_mode():
        looks = network.look(views)
    memorise(network.memory, network.votes, looks, labels.numpy(), [1 / 3] * 3, ridge=0.1, seed=0)
    network.balance.data = torch.tensor([0.2, 3.0])
    (folder / "model").mkdir()
    save_file(network.state_dict(), folder / "model" / "model.safetensors")
    config = {"arguments": arguments, "classes": names, "preprocessing": {"size": SIZE}}
    write_json(folder / "model" / "config.json", config)
    return _Trained(folder / "model", folder / "patches", pack)


def infer_settings(**changes: Any) -> Infer:
    return Infer.model_validate({"max_error": 0.5, "confidence": 0.95, "mirror": True, "batch_size": 16, **changes})


@pytest.fixture(scope="session")
def inferred(trained: _Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inferred")
    (folder / "examples").mkdir()
    Image.fromarray(trained.pack.images[0]).save(folder / "examples" / "a.png")
    (folder / "examples" / "b.png").touch()
    deploy(trained.model, trained.patches, infer_settings(), COMPUTE, folder / "deployed")
    infer(folder / "deployed", trained.patches, folder / "examples", infer_settings(), 0, folder / "out")
    return folder


def test_the_threshold_is_bound_to_the_split_it_was_chosen_on(trained: _Trained, inferred: Path) -> None:
    choice = json.loads((inferred / "deployed" / "config.json").read_text())["threshold_choice"]
    table = pd.read_csv(trained.patches / "split.csv")
    assert choice["split"] == sha256_of(*sorted(table["split"] + ":" + table["digest"]))


def test_the_threshold_accepts_on_validation_what_it_says(trained: _Trained, inferred: Path) -> None:
    config = json.loads((inferred / "deployed" / "config.json").read_text())
    table = pd.read_csv(inferred / "out" / "predictions.csv", keep_default_na=False)
    val = table[table["split"] == "val"]
    accepted = val[val["accepted"]]
    choice = config["threshold_choice"]
    assert len(accepted) == choice["accepted"] > 0
    assert (accepted["predicted"] != accepted["label"]).sum() == choice["errors"] > 0
    assert choice["errors"] / choice["accepted"] < choice["upper_bound"] <= 0.5
    assert accepted["confidence"].min() >= config["threshold"]
    assert (accepted["predicted"] != NONE).all()
    refused = val[~val["accepted"]]
    assert ((refused["confidence"] < config["threshold"]) | (refused["predicted"] == NONE)).all()


def test_the_predictions_are_those_of_the_network_on_both_views(trained: _Trained, inferred: Path) -> None:
    config = json.loads((inferred / "deployed" / "config.json").read_text())
    table = pd.read_csv(inferred / "out" / "predictions.csv", keep_default_na=False)
    assert set(table["split"]) == {"val", "test"}
    assert table["label"].tolist() == trained.pack.manifest["label"][table["patch"]].tolist()
    predictor = Predictor(inferred / "deployed")
    probabilities = table[[f"p_{name}" for name in predictor.classes]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    network = MineralNet(3, width=8, exemplars=60).eval()
    network.load_state_dict(load_file(trained.model / "model.safetensors"))
    views = whole(torch.from_numpy(np.array(trained.pack.images[table["patch"]])))
    with torch.inference_mode():
        both = (network(views).softmax(1) + network(views.flip(3)).softmax(1)) / 2
    expected = softmax(np.log(both.double().numpy()) / config["temperature"], axis=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    likeliest = np.array(predictor.classes)[probabilities.argmax(axis=1)]
    assert table["predicted"].tolist() == likeliest.tolist()


def test_examples_are_answered_as_users_get_it(inferred: Path) -> None:
    answers = json.loads((inferred / "out" / "examples.json").read_text())
    assert answers == Predictor(inferred / "deployed").predict_folder(inferred / "examples").results
    assert list(answers) == ["a.png"]
    assert json.loads((inferred / "out" / "unreadable.json").read_text()) == {"b.png": "empty file"}


def test_a_promise_that_cannot_be_kept_leaves_no_threshold(
    trained: _Trained,
    inferred: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The threshold is no part of the graph, whose export takes most of the time: it is the one of ``inferred``.
    graph = inferred / "deployed" / "model.onnx"
    monkeypatch.setattr("sightline.minerals.infer.export_onnx", lambda _module, path, _sample: shutil.copy(graph, path))
    strict = infer_settings(max_error=0.001)
    deploy(trained.model, trained.patches, strict, COMPUTE, tmp_path / "deployed")
    assert "no threshold keeps the error below" in capsys.readouterr().err
    assert Predictor(tmp_path / "deployed").threshold is None
    (tmp_path / "examples").mkdir()
    infer(tmp_path / "deployed", trained.patches, tmp_path / "examples", strict, 0, tmp_path / "out")
    assert not pd.read_csv(tmp_path / "out" / "predictions.csv")["accepted"].any()
    assert json.loads((tmp_path / "out" / "examples.json").read_text()) == {}
