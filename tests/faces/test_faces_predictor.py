"""The deployed predictor on photos of every kind, and who may be enrolled from which."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_json
from sightline.core.images import Pixels, read_image
from sightline.faces.gallery import forget_in, load_gallery
from sightline.faces.mtcnn import POINTS, Detector
from sightline.faces.params import EMOTIONS
from sightline.faces.pictures import draw, marks_of
from sightline.faces.predictor import FacesPredictor, answer, enrol, forget, gallery_file, people

PhotoWriter = Callable[..., Path]
ORIENTATION = 0x0112


def side_by_side(*images: Pixels) -> Pixels:
    height = max(len(image) for image in images)
    padded = [cv2.copyMakeBorder(i, 0, height - len(i), 0, 0, cv2.BORDER_REPLICATE) for i in images]
    return np.concatenate(padded, axis=1).astype(np.uint8)


def test_each_face_has_all_that_is_said_of_it(deployed: Path, photo: PhotoWriter) -> None:
    anna, eve = read_image(photo("a.png", "anna")), read_image(photo("e.png", "eve"))
    image = side_by_side(eve, anna)
    found = FacesPredictor(deployed, threads=1).look(image)
    assert sorted(face.name or "" for face in found) == ["", "anna"]
    expected = Detector().detect(image)
    for row, face in enumerate(found):
        np.testing.assert_allclose(face.box_xyxy, expected.boxes_xyxy[row], atol=1e-3)
        about = face.as_dict()
        assert list(about) == ["box", "landmarks", "score", "name", "distance", "emotion", "probabilities"]
        assert list(about["landmarks"]) == list(POINTS)
        x1, y1, x2, y2 = about["box"]
        assert all(x1 < x < x2 and y1 < y < y2 for x, y in about["landmarks"].values())
        # Anna stands on the right.
        assert (x1 > eve.shape[1]) == (face.name == "anna")
        assert about["distance"] == pytest.approx(1 - (face.similarity or 0), abs=1e-6)
        assert list(about["probabilities"]) == list(EMOTIONS)
        assert sum(about["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert about["emotion"] == max(about["probabilities"], key=about["probabilities"].get)
    assert answer(image, found)["width"] == image.shape[1]


def test_a_photo_without_a_face_has_none(deployed: Path) -> None:
    predictor = FacesPredictor(deployed, threads=1)
    assert predictor.look(np.full((300, 400, 3), 90, np.uint8)) == []
    assert predictor.look(np.zeros((3, 5, 3), np.uint8)) == []


def test_two_hundred_faces_are_found_named_and_drawn(deployed: Path, photo: PhotoWriter) -> None:
    small = cv2.resize(read_image(photo("a.png", "anna")), (96, 96), interpolation=cv2.INTER_AREA)
    image = np.tile(small, (10, 20, 1))
    found = FacesPredictor(deployed, threads=1).look(image)
    assert 180 <= len(found) <= 200
    assert draw(image, marks_of(found)).shape[1] >= image.shape[1]


def test_a_photo_turned_by_its_exif_entry_is_looked_at_upright(deployed: Path, photo: PhotoWriter) -> None:
    upright = read_image(photo("a.png", "anna"))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = photo("turned.png", np.ascontiguousarray(np.rot90(upright)))
    Image.open(path).save(path, exif=exif)
    (face,) = FacesPredictor(deployed, threads=1).look(read_image(path))
    assert face.name == "anna"
    assert 0 < face.box_xyxy[1] < face.box_xyxy[3] < upright.shape[0]


def test_a_grey_photo_is_of_the_same_person(deployed: Path, tmp_path: Path, photo: PhotoWriter) -> None:
    Image.open(photo("a.png", "anna")).convert("L").save(tmp_path / "grey.png")
    # Colours have a say in where the landmarks are.
    write_json(deployed / "config.json", read_json(deployed / "config.json") | {"threshold": {"value": 0.8}})
    (face,) = FacesPredictor(deployed, threads=1).look(read_image(tmp_path / "grey.png"))
    assert face.name == "anna"


def test_a_person_with_one_photo_is_found_and_forgotten(deployed: Path, photo: PhotoWriter) -> None:
    path = photo("e.png", "eve")
    before = FacesPredictor(deployed, threads=1).look(read_image(path))
    assert [face.name for face in before] == [None]
    assert enrol(deployed, None, "Eve", [path]) == []
    assert people(deployed) == {"Eve": 1, "anna": 1, "ben": 1}
    assert [face.name for face in FacesPredictor(deployed, threads=1).look(read_image(path))] == ["Eve"]
    forget_in(gallery_file(deployed), "Eve")
    assert FacesPredictor(deployed, threads=1).look(read_image(path)) == before
    assert not [file for file in deployed.rglob("*") if file.is_file() and b"Eve" in file.read_bytes()]


def test_nobody_enrolled_means_nobody_known(deployed: Path, photo: PhotoWriter) -> None:
    for name in ("anna", "ben"):
        forget_in(gallery_file(deployed), name)
    (face,) = FacesPredictor(deployed, threads=1).look(read_image(photo("a.png", "anna")))
    assert (face.name, face.similarity, face.as_dict()["distance"]) == (None, None, None)


def test_one_person_under_two_names_is_said(deployed: Path, photo: PhotoWriter) -> None:
    (said,) = enrol(deployed, None, "benny", [photo("b.png", read_image(photo("c.png", "ben")) // 2 * 2)])
    assert "ben and benny look like one person under two names" in said
    assert people(deployed)["benny"] == 1


def test_what_shows_not_exactly_one_face_enrols_nobody(deployed: Path, photo: PhotoWriter) -> None:
    before = gallery_file(deployed).read_bytes()
    good = photo("good.png", "eve")
    two = photo("two.png", side_by_side(read_image(good), read_image(photo("a.png", "anna"))))
    none = photo("none.png", np.full((100, 100, 3), 70, np.uint8))
    (broken := two.with_name("broken.jpg")).write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"two\.png shows 2 faces; .*none\.png shows no face; .*broken\.jpg: not a p"):
        enrol(deployed, None, "eve", [good, two, none, broken])
    with pytest.raises(InputError, match="no photo of eve"):
        enrol(deployed, None, "eve", [])
    with pytest.raises(InputError, match="is no name"):
        enrol(deployed, None, " ", [good])
    assert gallery_file(deployed).read_bytes() == before


def test_a_damaged_gallery_is_named_and_left_alone(deployed: Path, photo: PhotoWriter) -> None:
    path = gallery_file(deployed)
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(content)
    for attempt in (
        lambda: FacesPredictor(deployed),
        lambda: enrol(deployed, None, "eve", [photo("e.png", "eve")]),
        lambda: people(deployed),
    ):
        with pytest.raises(InputError, match=r"gallery\.safetensors is damaged and was left as it is"):
            attempt()
    assert path.read_bytes() == content


def test_a_gallery_of_ones_own_is_made_and_used(deployed: Path, tmp_path: Path, photo: PhotoWriter) -> None:
    own, path = tmp_path / "mine" / "gallery.safetensors", photo("e.png", "eve")
    before = gallery_file(deployed).read_bytes()
    enrol(deployed, own, "eve", [path], is_new=True)
    assert people(deployed, own) == {"eve": 1}
    assert [face.name for face in FacesPredictor(deployed, own, threads=1).look(read_image(path))] == ["eve"]
    assert gallery_file(deployed).read_bytes() == before
    identity = deployed / "identity" / "config.json"
    write_json(identity, read_json(identity) | {"describer": "another"})
    with pytest.raises(InputError, match="was made by another model"):
        FacesPredictor(deployed, own)
    assert load_gallery(own).people == ("eve",)


def test_a_network_that_was_trained_on_people_takes_no_others(deployed: Path, photo: PhotoWriter) -> None:
    write_json(deployed / "config.json", read_json(deployed / "config.json") | {"method": "cnn"})
    with pytest.raises(InputError, match=r"has no gallery: add photos .* -S faces\.infer\.method=knn faces-infer"):
        enrol(deployed, None, "eve", [photo("e.png", "eve")])


def test_who_is_to_be_forgotten_by_a_network_is_not_told_to_enrol(deployed: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    gallery_file(deployed).rename(own)
    write_json(deployed / "config.json", read_json(deployed / "config.json") | {"method": "cnn"})
    with pytest.raises(
        InputError, match=r"has no gallery: delete their photos .*'dvc repro', which trains it again"
    ) as told:
        forget(deployed, None, "anna")
    assert "enrol" not in str(told.value)
    # A file that is named has nothing to do with what is deployed.
    assert people(deployed, own) == {"anna": 1, "ben": 1}
    assert forget(deployed, own, "anna") == own
    assert people(tmp_path / "no model", own) == {"ben": 1}


def test_the_threshold_of_the_deployed_model_decides(deployed: Path, photo: PhotoWriter) -> None:
    config = read_json(deployed / "config.json")
    write_json(deployed / "config.json", config | {"threshold": {"value": -1.0}})
    (face,) = FacesPredictor(deployed, threads=1).look(read_image(photo("e.png", "eve")))
    assert face.name in ("anna", "ben")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "holds no deployed model"), ("{", "is not valid JSON"), ('{"task": "memes"}', "of task 'memes'")],
)
def test_another_folder_is_no_model(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        FacesPredictor(tmp_path)


@pytest.mark.parametrize(
    "part", ["detector/onet.onnx", "identity/config.json", "gallery.safetensors", "emotion/guess.onnx"]
)
def test_a_part_that_is_missing_is_named(deployed: Path, part: str) -> None:
    (deployed / part).unlink()
    with pytest.raises(InputError, match=part.split("/")[0].split(".")[0]):
        FacesPredictor(deployed)


def test_a_service_needs_no_torch() -> None:
    code = (
        "import sys; import sightline.faces.predictor, sightline.faces.pictures; "
        "print(sorted({'torch', 'lightning', 'sklearn', 'timm', 'onnx', 'matplotlib'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
