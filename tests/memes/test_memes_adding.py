import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.errors import InputError
from sightline.core.files import read_json, sha256, write_json
from sightline.core.serving import OnnxNetwork
from sightline.memes import adding
from sightline.memes.adding import DEFAULTS, Way, add_class, best_way, check_name
from sightline.memes.growing import METHODS
from sightline.memes.memory import Memory, memory_of
from sightline.memes.predictor import Predictor
from sightline.memes.unknowns import Description, fit_scorer, save_scorer

SIZE = 8
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220), "yellow": (210, 210, 20)}
WEIGHT = np.array([[9, 0, -3], [0, 9, -3]], np.float32)


def paint(folder: Path, colour: str, count: int, seed: int = 0) -> Path:
    """Pictures of about one colour."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *COLOURS[colour]])
    for number in range(count):
        shade = np.clip(np.array(COLOURS[colour]) + rng.integers(-25, 26, 3), 0, 255)
        pixels = np.clip(shade + rng.integers(-9, 10, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{colour}{number}.png")
    return folder


def write_graph(path: Path) -> None:
    """The mean colour is the feature, of both spaces."""
    spaces = ("finetuned", "frozen")
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "sides"], ["mean"], keepdims=0),
    ]
    for space in spaces:
        nodes += [
            helper.make_node("Div", ["mean", "most"], [f"{space}_features"]),
            helper.make_node("MatMul", [f"{space}_features", "weight"], [f"{space}_logits"]),
        ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info(f"{space}_{kind}", TensorProto.FLOAT, ["batch", width])
            for space in spaces
            for kind, width in (("features", 3), ("logits", 2))
        ],
        [
            numpy_helper.from_array(np.array([1, 2]), "sides"),
            numpy_helper.from_array(np.array(255, np.float32), "most"),
            numpy_helper.from_array(np.ascontiguousarray(WEIGHT.T), "weight"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(params=["knn"])
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A deployed model that knows red and green, trained on 30 pictures of each and validated on 10."""
    folder = tmp_path / "deployed"
    folder.mkdir()
    write_graph(folder / "model.onnx")
    pictures = [paint(tmp_path / "train" / name, name, 40) for name in ("green", "red")]
    network = OnnxNetwork(folder / "model.onnx")
    order = ["red", "green"]
    parts = {name: network(pixels_of(where)) for name, where in zip(("green", "red"), pictures, strict=True)}
    outputs = {key: np.concatenate([parts[name][key] for name in order]) for key in parts["red"]}
    labels = np.repeat([0, 1], 40)
    is_train = np.tile(np.arange(40) < 30, 2)
    spaces = ("finetuned", "frozen")
    head = (WEIGHT, np.zeros(2, np.float32))
    memory_of(
        labels,
        is_train,
        {space: outputs[f"{space}_features"] for space in spaces},
        {space: outputs[f"{space}_logits"] for space in spaces},
        dict.fromkeys(spaces, head),
    ).save(folder / "memory.safetensors")
    description = Description(outputs["frozen_features"], outputs["frozen_logits"])
    train = description[is_train]
    greys = np.repeat(np.linspace(0.1, 0.9, 5), 3).reshape(5, 3)
    scorer = fit_scorer(
        request.param, train, labels[is_train], weight=head[0], bias=head[1], outliers=greys, neighbours=3
    )
    save_scorer(folder / "scorer.safetensors", scorer)
    scores = scorer(description[~is_train])
    write_json(
        folder / "config.json",
        {
            "task": "memes",
            "classes": order,
            "temperature": 0.8,
            "scorer": {
                "space": "frozen",
                "name": request.param,
                "settings": scorer.settings,
                "threshold": float(scores.max() + 1e-3),
            },
        },
    )
    return folder


def pixels_of(folder: Path) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


def named(model: Path, folder: Path) -> list[str | None]:
    return [answer["class"] for answer in Predictor(model).predict_folder(folder).results.values()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("space", ["finetuned", "frozen"])
def test_a_class_is_added_and_the_old_model_stays_as_it_was(
    method: str, space: str, model: Path, tmp_path: Path
) -> None:
    blue = paint(tmp_path / "blue", "blue", 12)
    before = digests(model)
    assert named(model, paint(tmp_path / "more", "blue", 8, seed=1)) == [None] * 8
    way = Way(method, space, DEFAULTS[method])  # type: ignore[arg-type]
    assert add_class("blue", blue, model, tmp_path / "new", way) == 12
    assert digests(model) == before
    new = tmp_path / "new"
    assert named(new, tmp_path / "more").count("blue") >= 7
    for colour in ("red", "green"):
        fresh = paint(tmp_path / f"fresh-{colour}", colour, 20, seed=2)
        old, now = named(model, fresh), named(new, fresh)
        assert sum(a == b for a, b in zip(old, now, strict=True)) >= 19
    # What is still unknown is still called so.
    assert named(new, paint(tmp_path / "strange", "yellow", 6)) == [None] * 6
    config = read_json(new / "config.json")
    assert config["classes"] == ["red", "green", "blue"]
    assert config["added"][0]["pictures"] == 12


@pytest.mark.parametrize("model", ["msp", "max_logit", "energy", "mahalanobis", "vim", "knn_contrast"], indirect=True)
def test_every_scorer_can_be_fitted_again(model: Path, tmp_path: Path) -> None:
    add_class("blue", paint(tmp_path / "blue", "blue", 12), model, tmp_path / "new", Way())
    before, after = read_json(model / "config.json")["scorer"], read_json(tmp_path / "new" / "config.json")["scorer"]
    assert after["name"] == before["name"]
    fresh = paint(tmp_path / "red", "red", 30, seed=5)
    assert named(tmp_path / "new", fresh).count("red") >= 24


def test_a_model_can_be_added_to_again(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    add_class("blue", paint(tmp_path / "blue", "blue", 10), model, first, Way())
    before = digests(first)
    add_class("yellow", paint(tmp_path / "yellow", "yellow", 10), first, second, Way("class_mean", "frozen", {}))
    assert digests(first) == before
    for name in COLOURS:
        answers = named(second, paint(tmp_path / "fresh" / name, name, 10, seed=3))
        assert answers.count(name) >= 9, name
    memory = Memory.load(second / "memory.safetensors")
    assert np.bincount(memory.labels).tolist() == [40, 40, 10, 10]
    assert memory.logits["finetuned"].shape == (100, 4)
    with pytest.raises(InputError, match="grown_head cannot go on"):
        add_class(
            "x", paint(tmp_path / "x", "blue", 5, seed=9), second, tmp_path / "third", Way("grown_head", "frozen", {})
        )


def test_the_memory_knows_what_the_new_graph_says(model: Path, tmp_path: Path) -> None:
    blue = paint(tmp_path / "blue", "blue", 7)
    add_class("blue", blue, model, tmp_path / "new", Way())
    outputs = OnnxNetwork(tmp_path / "new" / "model.onnx")(pixels_of(blue))
    memory = Memory.load(tmp_path / "new" / "memory.safetensors")
    np.testing.assert_allclose(memory.features["finetuned"][-7:], outputs["finetuned_features"], atol=1e-6)
    np.testing.assert_allclose(memory.logits["finetuned"][-7:], outputs["finetuned_logits"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no name for a class"),
        ("  ", "no name for a class"),
        ("a\nb", "no name for a class"),
        ("../red", "no name for a class"),
        ("a/b", "no slashes"),
        ("a\\b", "no slashes"),
        ("unknown", "no class are called"),
        ("Unknown", "no class are called"),
        ("red", "already has a class 'red'"),
        ("Red", "already has a class 'red'"),
    ],
)
def test_bad_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_name(name, ["green", "red"])


def test_animations_count_by_their_first_frame_and_broken_files_are_left_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blue = paint(tmp_path / "blue", "blue", 4)
    rng = np.random.default_rng(4)
    for suffix in ("gif", "webp"):
        first = Image.fromarray(rng.integers(0, 40, (SIZE, SIZE, 3), np.uint8) + np.array([0, 0, 190], np.uint8))
        frames = [Image.new("RGB", (SIZE, SIZE), COLOURS[name]) for name in ("red", "green")]
        first.save(blue / f"animated.{suffix}", save_all=True, append_images=frames, lossless=True)
    (blue / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (blue / "text.txt").write_text("hello")
    Image.new("L", (400, 400)).save(blue / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70_000)
    assert add_class("blue", blue, model, tmp_path / "new", Way()) == 6
    said = capsys.readouterr().err
    assert "bomb.png: more pixels than a picture should have" in said
    assert "broken.jpg" in said
    assert "text.txt: not a picture" in said


def test_too_few_pictures(model: Path, tmp_path: Path) -> None:
    before = digests(model)
    two = paint(tmp_path / "two", "blue", 2)
    with pytest.raises(InputError, match="2 different pictures that can be read: a class needs 3"):
        add_class("blue", two, model, tmp_path / "new", Way())
    # Copies under other names and formats are no further pictures.
    Image.open(two / "blue0.png").save(two / "copy.bmp")
    with pytest.raises(InputError, match="2 different pictures"):
        add_class("blue", two, model, tmp_path / "new", Way())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        add_class("blue", empty, model, tmp_path / "new", Way())
    with pytest.raises(InputError, match="is not a folder"):
        add_class("blue", tmp_path / "nowhere", model, tmp_path / "new", Way())
    assert not (tmp_path / "new").exists()
    assert digests(model) == before


def test_pictures_that_the_model_knows_are_no_new_class(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"knows 40 of the 40 pictures .* already, as 'red'"):
        add_class("crimson", tmp_path / "train" / "red", model, tmp_path / "new", Way())
    blue = paint(tmp_path / "blue", "blue", 8)
    add_class("blue", blue, model, tmp_path / "new", Way())
    with pytest.raises(InputError, match="already has a class 'blue'"):
        add_class("blue", blue, tmp_path / "new", tmp_path / "again", Way())
    with pytest.raises(InputError, match="already, as 'blue'"):
        add_class("azure", blue, tmp_path / "new", tmp_path / "again", Way())
    shutil.copy(tmp_path / "train" / "red" / "red3.png", blue / "zz.png")
    assert add_class("blue", blue, model, tmp_path / "third", Way()) == 8


def test_places_that_must_not_be_written_to(model: Path, tmp_path: Path) -> None:
    blue = paint(tmp_path / "blue", "blue", 5)
    before = digests(model)
    for out in (model, model / "new", tmp_path / "train" / ".." / "deployed"):
        with pytest.raises(InputError, match="lies in the model"):
            add_class("blue", blue, model, out, Way())
    with pytest.raises(InputError, match="lies among the pictures"):
        add_class("blue", blue, model, blue / "new", Way())
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(InputError, match="exists"):
        add_class("blue", blue, model, there, Way())
    assert digests(model) == before


def test_a_failure_on_the_way_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    blue, before = paint(tmp_path / "blue", "blue", 5), digests(model)
    monkeypatch.setattr(adding, "save_scorer", fail)
    with pytest.raises(KeyboardInterrupt):
        add_class("blue", blue, model, tmp_path / "out" / "new", Way())
    assert list((tmp_path / "out").iterdir()) == []
    assert digests(model) == before


def test_a_model_without_memory(model: Path, tmp_path: Path) -> None:
    (model / "memory.safetensors").unlink()
    with pytest.raises(InputError, match="deployed without what adding a class needs"):
        add_class("blue", paint(tmp_path / "blue", "blue", 5), model, tmp_path / "new", Way())


def test_the_evidence_decides(tmp_path: Path) -> None:
    assert best_way(tmp_path / "none.json").method == "ranpac"
    write_json(tmp_path / "e.json", {"chosen": {"method": "class_mean", "space": "frozen", "settings": {}}})
    assert best_way(tmp_path / "e.json") == Way("class_mean", "frozen", {})
    assert best_way(tmp_path / "e.json", "grown_head").settings == {"epochs": 10}
    write_json(tmp_path / "e.json", {"chosen": None})
    assert best_way(tmp_path / "e.json").method == "ranpac"
    with pytest.raises(InputError, match="no method 'magic'"):
        best_way(tmp_path / "e.json", "magic")


def test_the_command_line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blue = paint(tmp_path / "blue", "blue", 9)
    arguments = ["memes", "add-class", "blue", str(blue), "--model", str(model), "--out", "new"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    fresh = paint(tmp_path / "fresh", "blue", 4, seed=8)
    arguments = ["memes", "predict", str(fresh), "--model", "new", "--out", "answers.json"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert [answers[f"blue{number}.png"]["class"] for number in range(4)].count("blue") >= 3
    assert {"class", "confidence", "unknown"} <= answers["blue0.png"].keys()
    with pytest.raises(InputError, match="exists"):
        CliRunner().invoke(
            app,
            ["memes", "add-class", "azure", str(fresh), "--model", str(model), "--out", "new"],
            catch_exceptions=False,
        )
