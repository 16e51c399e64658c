"""sightline birds: an index of a folder of pictures, and what a search in it answers."""

import json
import shutil
from collections.abc import Callable
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
from typer.testing import CliRunner, Result

from sightline import cli
from sightline.birds.index import build_index
from sightline.birds.project import Projection
from sightline.core.backbone import FeatureNetwork, save_backbone
from sightline.core.errors import InputError

ARCHITECTURE, SIZE = "test_resnet", 32
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NAMES = ["a.jpg", "b.png", "deep er/c ü.png", "deep er/d.jpg", "grey.png", "cmyk.jpg", "wide.png"]


def save_network(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    network = FeatureNetwork(ARCHITECTURE)
    known = {"name": folder.name, "source": "random", "architecture": ARCHITECTURE, "arguments": {}, "size": SIZE}
    save_backbone(folder, network, {}, **known, mean=MEAN, std=STD)


def learned_from(backbone: Path, projection: Projection, folder: Path, crop: str = "full") -> None:
    config = json.loads((backbone / "config.json").read_text())
    projection.save(folder, {"embeddings": {"backbone": config["name"], "sha256": config["sha256"], "crop": crop}})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos`` with seven pictures, three broken ones and a text; two backbones of random weights; a projection."""
    made = tmp_path_factory.mktemp("made")
    photos = made / "photos"
    (photos / "deep er").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        coarse = np.random.default_rng(number).integers(0, 255, (4, 5, 3), dtype=np.uint8)
        size = (90, 30) if name == "wide.png" else (36, 30)
        image = Image.fromarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
        image.convert({"grey.png": "L", "cmyk.jpg": "CMYK"}.get(name, "RGB")).save(photos / name)
    (photos / "empty.jpg").touch()
    (photos / "torn.jpg").write_bytes((photos / "a.jpg").read_bytes()[:-200])
    (photos / "words.png").write_text("no picture")
    (photos / "notes.txt").write_text("not meant as one")
    for seed, name in enumerate(("tiny", "other")):
        save_network(made / name, seed)
    features = json.loads((made / "tiny" / "config.json").read_text())["features"]
    torch.manual_seed(7)
    learned_from(made / "tiny", Projection(torch.randn(features) * 0.01, torch.randn(features, 6)), made / "projected")
    return made


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["birds", *arguments])


def build(*arguments: str) -> Path:
    done = call("index", "photos", "--backbone", "tiny", "--out", "index", *arguments)
    assert done.exit_code == 0, done.output
    return Path("index")


def search(photo: str, *arguments: str) -> dict[str, Any]:
    done = call("search", photo, *arguments)
    assert done.exit_code == 0, done.output
    answers: dict[str, Any] = json.loads(Path("answers.json").read_text(encoding="utf-8"))
    return answers


def refusal(*arguments: str) -> str:
    """The one line that the command says no with."""
    done = call(*arguments)
    assert isinstance(done.exception, InputError), done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def by_hand(photos: Path, projected: bool) -> NDArray[np.float64]:
    """Unit vectors of ``photos``, in the order of NAMES, by Pillow, OpenCV and plain timm."""
    network = timm.create_model(ARCHITECTURE, num_classes=0).eval()
    network.load_state_dict(load_file("tiny/model.safetensors"))
    squashed = []
    for name in NAMES:
        with Image.open(photos / name) as image:
            # As large as the network's pictures, so bilinear, but for wide.png, which is then averaged.
            size = (4 * SIZE, 2 * SIZE) if name == "wide.png" else (SIZE, SIZE)
            pixels = cv2.resize(np.asarray(image.convert("RGB")), size, interpolation=cv2.INTER_LINEAR)
            squashed.append(cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    normalised = ((np.stack(squashed) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        vectors = network(torch.tensor(normalised, dtype=torch.float32)).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if projected:
        parts = load_file("projected/projection.safetensors")
        vectors = (vectors - parts["mean"].numpy()) @ parts["matrix"].numpy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors)


@pytest.mark.parametrize("projected", [False, True])
def test_answers_are_the_cosines_of_what_plain_timm_says(home: Path, projected: bool) -> None:
    build(*(["--projection", "projected"] if projected else []))
    vectors = by_hand(home / "photos", projected)
    for number, name in enumerate(NAMES):
        found = search(f"photos/{name}", "--top", "20")
        assert found["photo"] == f"photos/{name}"
        similarity = {answer["photo"]: answer["similarity"] for answer in found["answers"]}
        assert similarity == pytest.approx(dict(zip(NAMES, vectors @ vectors[number], strict=True)), abs=1e-3)
        values = list(similarity.values())
        assert values == sorted(values, reverse=True)
        # The photo itself is in the index.
        assert found["answers"][0] == {"photo": name, "similarity": pytest.approx(1, abs=1e-5)}


def test_only_as_many_answers_as_asked_for(home: Path) -> None:
    build()
    everything = search("photos/b.png", "--top", "20")["answers"]
    assert search("photos/b.png", "--top", "3")["answers"] == everything[:3]


def test_the_index_says_what_is_in_it_what_is_not_and_what_made_it(home: Path) -> None:
    index = build("--projection", "projected")
    photos = pd.read_csv(index / "photos.csv")
    assert photos["photo"].tolist() == sorted(NAMES)
    assert photos["digest"].str.fullmatch("[0-9a-f]{64}").all()
    vectors = np.load(index / "embeddings.npy")
    assert vectors.shape == (len(NAMES), 6)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    problems = pd.read_csv(index / "problems.csv")
    assert problems.columns.tolist() == ["photo", "problem", "action"]
    assert problems["photo"].tolist() == ["empty.jpg", "torn.jpg", "words.png"]
    assert problems["problem"].tolist()[::2] == ["empty file", "not a picture"]
    config = json.loads((index / "config.json").read_text())
    assert config["sha256"] == json.loads(Path("tiny/config.json").read_text())["sha256"]
    assert (config["backbone"], config["crop"], config["photos"], config["features"]) == ("tiny", "full", 7, 6)
    assert len(config["projection_sha256"]) == 64
    assert (index / "projection" / "projection.safetensors").is_file()
    assert str(home) not in (index / "config.json").read_text()


def test_neither_workers_nor_another_run_change_a_byte(home: Path) -> None:
    first = contents(build("--workers", "0"))
    # The older index is replaced.
    assert contents(build("--workers", "3")) == first


def test_batches_change_next_to_nothing(home: Path) -> None:
    whole = np.load(build() / "embeddings.npy")
    np.testing.assert_allclose(np.load(build("--batch-size", "2") / "embeddings.npy"), whole, atol=1e-5)


def test_copies_are_equally_similar_and_come_in_the_order_of_their_paths(home: Path) -> None:
    for name in ("photos/z.png", "photos/0.png"):
        shutil.copy("photos/b.png", name)
    build("--batch-size", "1")
    answers = search("photos/b.png", "--top", "3")["answers"]
    assert [answer["photo"] for answer in answers] == ["0.png", "b.png", "z.png"]
    assert len({answer["similarity"] for answer in answers}) == 1


def test_an_index_moves_together_with_what_it_was_built_from(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("--projection", "projected")
    before = search("photos/a.jpg")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "all"
    shutil.move(home, elsewhere)
    monkeypatch.chdir(elsewhere / "index")
    assert search("../photos/a.jpg", "--index", ".", "--picture", "a.png")["answers"] == before["answers"]


def test_the_picture_shows_the_query_and_its_answers(home: Path) -> None:
    for number, colour in enumerate([(200, 0, 0), (0, 0, 200)]):
        Image.new("RGB", (60, 60), colour).save(f"photos/plain{number}.png")
    build()
    answers = search("photos/plain1.png", "--top", "7", "--picture", "drawn/answers.png")["answers"]
    with Image.open("drawn/answers.png") as image:
        sheet = np.asarray(image.convert("RGB"))
    cell, strip = 192, 14
    assert sheet.shape == (2 * (cell + strip), 6 * cell, 3)
    # The query stands in the first row's first cell, its answers to the right, five a row.
    assert tuple(sheet[cell // 2, cell // 2]) == (0, 0, 200)
    assert (sheet[cell + strip :, :cell] == 255).all()
    assert (sheet[cell + strip :, 3 * cell :] == 255).all()
    for place, answer in enumerate(answers):
        row, column = divmod(place, 5)
        if answer["photo"].startswith("plain"):
            centre = sheet[row * (cell + strip) + cell // 2, (column + 1) * cell + cell // 2]
            assert tuple(centre) == ((0, 0, 200) if answer["photo"] == "plain1.png" else (200, 0, 0))


def test_an_answer_that_is_gone_or_has_changed_is_not_shown_as_if_it_were_there(
    home: Path,
) -> None:
    build()
    query = shutil.copy("photos/a.jpg", "query.jpg")
    Path("photos/b.png").unlink()
    shutil.copy("photos/grey.png", "photos/a.jpg")
    said = call("search", query, "--picture", "answers.png").output
    assert "a.jpg: changed since it was indexed: not shown" in said
    assert "b.png: no such file: not shown" in said
    with Image.open("answers.png") as image:
        first = np.asarray(image.convert("RGB"))[:192, 192:384]
    assert len(np.unique(first.reshape(-1, 3), axis=0)) == 2


@pytest.mark.parametrize(("name", "reason"), [("photos/words.png", "not a picture"), ("gone.jpg", "no such file")])
def test_a_query_that_is_no_picture(home: Path, name: str, reason: str) -> None:
    build()
    assert refusal("search", name) == f"{name}: {reason}"
    assert not Path("answers.json").exists()


def test_another_backbone_is_refused_by_its_weights_not_by_its_name(home: Path) -> None:
    build()
    assert "index was built with another backbone: 'tiny' (sha256 " in refusal(
        "search", "photos/a.jpg", "--backbone", "other"
    )
    shutil.rmtree("tiny")
    assert "is not there: give --backbone" in refusal("search", "photos/a.jpg")
    save_network(Path("tiny"), seed=3)
    assert "built with another backbone" in refusal("search", "photos/a.jpg")
    save_network(Path("moved/tiny"), seed=0)
    assert search("photos/a.jpg", "--backbone", "moved/tiny")["answers"][0]["photo"] == "a.jpg"


def _break_config(index: Path) -> None:
    (index / "config.json").write_text("{")


def _break_task(index: Path) -> None:
    (index / "config.json").write_text('{"task": "minerals"}')


def _break_matrix(index: Path) -> None:
    np.save(index / "embeddings.npy", np.zeros((2, 6), np.float32))


def _break_table(index: Path) -> None:
    (index / "photos.csv").write_text("")


@pytest.mark.parametrize("damage", [shutil.rmtree, _break_config, _break_task, _break_matrix, _break_table])
def test_what_is_no_whole_index_is_named(home: Path, damage: Callable[[Path], None]) -> None:
    damage(build())
    assert refusal("search", "photos/a.jpg").startswith("index holds no index: ")


def test_a_projection_that_was_exchanged_is_noticed(home: Path) -> None:
    index = build("--projection", "projected")
    features = json.loads(Path("tiny/config.json").read_text())["features"]
    Projection(torch.zeros(features), torch.eye(features)[:, :6]).save(Path("another"), {})
    shutil.copy("another/projection.safetensors", index / "projection")
    assert "is not the one that the index was built with" in refusal("search", "photos/a.jpg")


def test_a_projection_for_other_features_is_refused_and_leaves_nothing(home: Path) -> None:
    learned_from(Path("tiny"), Projection(torch.zeros(5), torch.eye(5)), Path("five"))
    said = refusal("index", "photos", "--backbone", "tiny", "--projection", "five", "--out", "index")
    assert "the projection is for embeddings of 5 features" in said
    assert not Path("index").exists()


def test_a_projection_learned_from_another_backbone_is_refused(home: Path) -> None:
    said = refusal("index", "photos", "--backbone", "other", "--projection", "projected", "--out", "index")
    assert "projected was learned from embeddings of another backbone: 'tiny'" in said
    Projection(torch.zeros(5), torch.eye(5)).save(Path("silent"), {})
    said = refusal("index", "photos", "--backbone", "tiny", "--projection", "silent", "--out", "index")
    assert said == "silent/config.json does not say what the projection was learned from"


def test_a_projection_learned_from_boxes_is_used_with_a_warning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = json.loads(Path("tiny/config.json").read_text())["features"]
    learned_from(Path("tiny"), Projection(torch.zeros(features), torch.eye(features)), Path("boxed"), crop="box")
    build_index(Path("photos"), Path("tiny"), Path("boxed"), Path("index"), workers=0)
    assert "boxed was learned from crops to the box, but an index holds whole pictures" in capsys.readouterr().err


def test_folders_without_a_sound_picture(home: Path) -> None:
    assert refusal("index", "gone", "--backbone", "tiny") == "gone is not a folder"
    assert refusal("index", "tiny", "--backbone", "tiny") == "tiny holds no pictures"
    Path("torn").mkdir()
    shutil.copy("photos/torn.jpg", "torn")
    assert refusal("index", "torn", "--backbone", "tiny").startswith("none of the 1 pictures of torn can be read")
    assert refusal("index", "photos", "--backbone", "torn").startswith("torn holds no backbone")
    assert not Path("index").exists()


def test_a_folder_that_is_no_index_is_never_replaced(home: Path) -> None:
    before = contents(Path("photos"))
    said = refusal("index", "photos", "--backbone", "tiny", "--out", "photos")
    assert said == "photos holds something else than an index: give another folder as --out"
    assert contents(Path("photos")) == before
    index = build()
    (index / "holiday.jpg").touch()
    assert "something else" in refusal("index", "photos", "--backbone", "tiny", "--out", "index")


def test_a_device_that_is_not_there(home: Path) -> None:
    said = refusal("index", "photos", "--backbone", "tiny", "--device", "abacus")
    assert said.startswith("the network cannot run on 'abacus': ")


def test_on_the_command_line_a_mistake_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sightline", "birds", "search", "photos/a.jpg", "--index", "nowhere"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: nowhere holds no index: ")
    assert said.count("\n") == 1
