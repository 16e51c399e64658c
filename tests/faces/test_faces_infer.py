"""faces-infer on a few drawn photos: what is deployed, and that tables, photos and pictures agree with each other."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_json
from sightline.core.images import read_image
from sightline.core.packs import open_pack
from sightline.faces.gallery import load_gallery
from sightline.faces.identity import open_method
from sightline.faces.identity_network import open_trained
from sightline.faces.infer import deploy, infer
from sightline.faces.neighbours import describe_pixels
from sightline.faces.params import EMOTIONS, Detect, Infer
from sightline.faces.predictor import enrol, people

DETECT = Detect(score=0.9, min_face=20, whole_below=64, near_duplicate_bits=4)


def put_out(stages: Path, out: Path, method: Any = None) -> Path:
    deploy(stages / "crops", stages / "identity", stages / "emotion", DETECT, Infer(method=method), out)
    return out


def run(stages: Path, folder: Path, workers: int = 2) -> Path:
    put_out(stages, folder / "deployed")
    infer(folder / "deployed", stages / "raw", stages / "crops", stages / "identity", workers, folder / "out")
    return folder


@pytest.fixture(scope="module")
def inferred(stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(stages, tmp_path_factory.mktemp("inferred"))


@pytest.fixture(scope="module")
def with_network(stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_out(stages, tmp_path_factory.mktemp("network") / "deployed", "cnn")


def table(inferred: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(inferred / "out" / f"{name}.csv", keep_default_na=False)


def test_the_best_method_is_deployed_with_all_it_needs(inferred: Path, stages: Path) -> None:
    deployed = inferred / "deployed"
    assert {path.name for path in deployed.iterdir()} == {
        "config.json", "detector", "emotion", "gallery.safetensors", "identity"
    }  # fmt: skip
    assert {path.name for path in (deployed / "emotion").iterdir()} == {"config.json", "guess.onnx"}
    config = read_json(deployed / "config.json")
    assert (config["task"], config["method"], config["neighbours"]) == ("faces", "knn", 5)
    assert config["threshold"] == read_json(stages / "identity" / "knn" / "config.json")["threshold"]
    assert config["emotions"] == list(EMOTIONS)
    assert load_gallery(deployed / "gallery.safetensors").people == ("anna", "ben")


def test_names_stand_in_the_gallery_alone(inferred: Path) -> None:
    holding = [
        path.name for path in (inferred / "deployed").rglob("*") if path.is_file() and b"anna" in path.read_bytes()
    ]
    assert holding == ["gallery.safetensors"]


def test_every_face_of_people_is_answered_by_every_method(inferred: Path, stages: Path) -> None:
    manifest, found = open_pack(stages / "crops").manifest, table(inferred, "identities")
    expected = manifest[manifest["role"] != "emotion"]
    assert found[["photo", "face", "split", "name"]].values.tolist() == (
        expected[["photo", "face", "split", "name"]].values.tolist()
    )
    assert found["known"].tolist() == [int(name in ("anna", "ben")) for name in found["name"]]
    for method, threshold in (("knn", 0.97), ("cnn", 0.5)):
        assert set(found[f"name_{method}"]) <= {"anna", "ben"}
        np.testing.assert_allclose(found[f"distance_{method}"], 1 - found[f"similarity_{method}"], atol=1e-7)
        assert found[f"accepted_{method}"].tolist() == (found[f"similarity_{method}"] >= threshold).astype(int).tolist()
    assert "name_embedding" not in found


def test_the_nearest_person_is_that_of_the_most_alike_photo(inferred: Path, stages: Path) -> None:
    pack, found = open_pack(stages / "crops"), table(inferred, "identities")
    rows = np.flatnonzero(pack.manifest["role"] != "emotion")
    vectors = describe_pixels(np.asarray(pack.images[rows])).astype(np.float64)
    enrolled = np.flatnonzero(pack.manifest["split"][rows] == "gallery")
    # With two photos a person, the more alike one weighs more: both lie between mean and largest.
    alike = vectors @ vectors[enrolled].T
    names = pack.manifest["name"].to_numpy()[rows][enrolled]
    for row in range(len(rows)):
        own = alike[row, names == found["name_knn"][row]]
        other = alike[row, names != found["name_knn"][row]]
        assert own.mean() - 1e-6 <= found["similarity_knn"][row] <= own.max() + 1e-6
        assert found["similarity_knn"][row] >= other.mean()


def test_emotions_of_their_own_photos_and_of_groups(inferred: Path, stages: Path) -> None:
    manifest, found = open_pack(stages / "crops").manifest, table(inferred, "emotions")
    expected = manifest[manifest["role"].isin(["emotion", "group"])]
    assert found["photo"].tolist() == expected["photo"].tolist()
    assert found["split"].tolist() == ["val", "test", "test", "test"]
    assert found["emotion"].tolist() == ["fear", "fear", "", ""]
    shares = found[[f"p_{emotion}" for emotion in EMOTIONS]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert found["predicted"].tolist() == [EMOTIONS[number] for number in shares.argmax(1)]


def test_of_a_panel_the_answers_of_each_network_are_kept(inferred: Path, stages: Path, tmp_path: Path) -> None:
    assert not any(name.startswith("predicted_") for name in table(inferred, "emotions"))
    folder = shutil.copytree(stages / "emotion", tmp_path / "emotion")
    config = read_json(folder / "config.json")
    [known] = config["networks"]
    shutil.copy(folder / "guess.onnx", folder / "turned.onnx")
    # It says of each face what the first network says, by another name; the panel does not listen to it.
    turned = {"file": "turned.onnx", "weights": dict.fromkeys(EMOTIONS, 0.0)}
    settings = {**known["settings"], "classes": [*EMOTIONS[1:], EMOTIONS[0]]}
    write_json(folder / "config.json", config | {"networks": [known, {**turned, "settings": settings}]})
    deploy(stages / "crops", stages / "identity", folder, DETECT, Infer(method=None), tmp_path / "deployed")
    inputs = (tmp_path / "deployed", stages / "raw", stages / "crops", stages / "identity")
    infer(*inputs, 1, tmp_path / "out")
    found = table(tmp_path, "emotions")
    assert found["predicted"].tolist() == found["predicted_guess"].tolist()
    next_one = dict(zip(EMOTIONS, settings["classes"], strict=True))
    assert found["predicted_turned"].tolist() == found["predicted_guess"].map(next_one).tolist()
    assert found.drop(columns=["predicted_guess", "predicted_turned"]).equals(table(inferred, "emotions"))


def test_photos_say_what_the_tables_say(inferred: Path) -> None:
    about = read_json(inferred / "out" / "photos" / "groups" / "1.json")
    identities, emotions = (table(inferred, name) for name in ("identities", "emotions"))
    of_photo = identities[identities["photo"] == "groups/1.png"].reset_index()
    assert about["photo"] == "groups/1.png"
    assert len(about["faces"]) == len(of_photo) == 2
    for row, face in enumerate(about["faces"]):
        assert face["name"] == (of_photo["name_knn"][row] if of_photo["accepted_knn"][row] else None)
        assert face["distance"] == pytest.approx(of_photo["distance_knn"][row], abs=1e-5)
        told = emotions[emotions["photo"] == "groups/1.png"].iloc[row]
        assert face["emotion"] == told["predicted"]
        assert face["probabilities"]["fear"] == pytest.approx(told["p_fear"], abs=1e-5)
    empty = read_json(inferred / "out" / "photos" / "groups" / "no_face" / "1.json")
    assert empty == {"photo": "groups/no_face/1.png", "width": 90, "height": 80, "faces": []}


def test_a_picture_is_drawn_of_each_photo(inferred: Path) -> None:
    pictures = inferred / "out" / "pictures"
    drawn = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.jpg"))
    assert drawn == ["groups/1.jpg", "groups/no_face/1.jpg"]
    assert min(read_image(pictures / "groups" / "no_face" / "1.jpg").shape[:2]) > 80


def test_the_number_of_workers_changes_no_byte(inferred: Path, stages: Path, tmp_path: Path) -> None:
    run(stages, tmp_path, workers=0)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(inferred) for path in inferred.rglob("*") if path.is_file())
    for file in files:
        assert (tmp_path / file).read_bytes() == (inferred / file).read_bytes(), file


def test_the_network_is_deployed_as_it_was_trained(with_network: Path, stages: Path) -> None:
    pack = open_pack(stages / "crops")
    crops = np.asarray(pack.images)
    names, similarity = open_method(with_network / "identity").nearest(crops)
    expected_names, expected = open_trained(stages / "identity" / "cnn").nearest(crops)
    assert names == expected_names
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    assert not (with_network / "gallery.safetensors").exists()
    assert people(with_network) == {"anna": None, "ben": None}
    with pytest.raises(InputError, match="which trains it again"):
        enrol(with_network, None, "eve", [])


def test_a_method_that_is_not_there_is_an_error(stages: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"faces\.infer\.method is embedding, but .* has cnn, knn"):
        put_out(stages, tmp_path / "deployed", "embedding")
    write_json(tmp_path / "identity" / "config.json", {"validation": {}})
    with pytest.raises(InputError, match="does not hold what faces-train leaves"):
        deploy(stages / "crops", tmp_path / "identity", stages / "emotion", DETECT, Infer(method=None), tmp_path / "x")
    assert not (tmp_path / "deployed").exists()
