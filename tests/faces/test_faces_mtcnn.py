"""MTCNN: the faces that facenet-pytorch finds, whatever the picture's size and colour and whoever asks."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

from sightline.core.errors import InputError
from sightline.core.images import Pixels
from sightline.core.parallel import map_ordered
from sightline.faces import mtcnn
from sightline.faces.crowds import Member, draw_group
from sightline.faces.heads import make_person
from sightline.faces.mtcnn import Detections, Detector
from sightline.faces.mtcnn_graphs import export_detector, pretrained_graphs
from sightline.faces.portraits import draw_portrait


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(score=0.9, min_face=20)


@pytest.fixture(scope="module")
def group() -> Pixels:
    rng = np.random.default_rng(8)
    image, _ = draw_group(rng, [Member(make_person(rng), None, "happiness", 0.8) for _ in range(5)])
    return image


@pytest.fixture(scope="module")
def portrait() -> Pixels:
    rng = np.random.default_rng(4)
    return draw_portrait(rng, make_person(rng), "neutral", 0.5, (200, 201), close=1.0).image


def assert_same(found: Detections, other: Detections, pixels: float = 0.01) -> None:
    np.testing.assert_allclose(found.boxes_xyxy, other.boxes_xyxy, atol=pixels)
    np.testing.assert_allclose(found.scores, other.scores, atol=1e-5)
    np.testing.assert_allclose(found.landmarks, other.landmarks, atol=pixels)


def facenet(image: Pixels, min_face: int) -> Detections:
    boxes, scores, landmarks = MTCNN(keep_all=True, min_face_size=min_face).detect(image, landmarks=True)
    if boxes is None:
        return mtcnn.NOTHING
    order = np.argsort(-scores.astype(np.float32), kind="stable")
    return Detections(*(part.astype(np.float32)[order] for part in (boxes, scores, landmarks)))


def by_place(found: Detections) -> Detections:
    """In an order that equal scores do not change."""
    order = np.argsort(found.boxes_xyxy[:, 0])
    return Detections(found.boxes_xyxy[order], found.scores[order], found.landmarks[order])


@pytest.mark.parametrize("min_face", [20, 33, 60])
@pytest.mark.parametrize("make", ["colour", "grey", "cropped", "enlarged", "noisy"])
def test_facenet_finds_the_same(group: Pixels, min_face: int, make: str) -> None:
    rng = np.random.default_rng(0)
    image = {
        "colour": lambda: group,
        "grey": lambda: cv2.cvtColor(cv2.cvtColor(group, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
        # Odd sides, and faces that the sides cut.
        "cropped": lambda: np.ascontiguousarray(group[31:-70, 43:-98]),
        "enlarged": lambda: cv2.resize(group, None, fx=1.37, fy=1.37, interpolation=cv2.INTER_CUBIC),
        "noisy": lambda: np.clip(group + rng.normal(0, 12, group.shape), 0, 255).astype(np.uint8),
    }[make]()
    theirs = facenet(image, min_face)
    assert len(theirs) >= 3
    assert_same(by_place(Detector(score=0.7, min_face=min_face).detect(image)), by_place(theirs))


@pytest.mark.parametrize(
    ("name", "network", "shape"),
    [("pnet", PNet, (1, 3, 61, 50)), ("rnet", RNet, (5, 3, 24, 24)), ("onet", ONet, (5, 3, 48, 48))],
)
def test_graphs_compute_what_the_networks_do(name: str, network: type[torch.nn.Module], shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    with torch.inference_mode():
        offsets, *landmarks, classes = network()((torch.from_numpy(pixels) - 127.5) / 128)
    out = mtcnn._Network(pretrained_graphs()[name], threads=1)(pixels)
    np.testing.assert_allclose(1 / (1 + np.exp(-out[:, 0])), classes[:, 1], atol=1e-5)
    np.testing.assert_allclose(out[:, 1:], np.concatenate([offsets, *landmarks], axis=1), atol=1e-5)


def test_faces_come_by_descending_score_and_a_higher_score_gives_fewer(group: Pixels) -> None:
    every, sure = Detector(score=0.7).detect(group), Detector(score=0.99).detect(group)
    assert (np.diff(every.scores) <= 0).all()
    kept = int((every.scores >= 0.99).sum())
    assert_same(sure, Detections(every.boxes_xyxy[:kept], every.scores[:kept], every.landmarks[:kept]), pixels=0)


def test_landmarks_lie_where_a_face_has_them(detector: Detector, portrait: Pixels) -> None:
    found = detector.detect(portrait)
    assert len(found) == 1
    assert found.boxes_xyxy.dtype == found.scores.dtype == found.landmarks.dtype == np.float32
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("shape", [(1, 1), (19, 500), (12, 12), (21, 20), (300, 300)])
def test_where_nothing_is_nothing_is_found(detector: Detector, shape: tuple[int, int]) -> None:
    found = detector.detect(np.full((*shape, 3), 90, np.uint8))
    assert (found.boxes_xyxy.shape, found.scores.shape, found.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def test_two_hundred_faces_in_one_picture(portrait: Pixels) -> None:
    face = cv2.resize(portrait, (70, round(70 * portrait.shape[0] / portrait.shape[1])), interpolation=cv2.INTER_AREA)
    crowd = np.tile(face, (10, 20, 1))
    found = Detector(score=0.9, min_face=24).detect(np.ascontiguousarray(crowd))
    columns, rows = (found.boxes_xyxy.reshape(-1, 2, 2).mean(1) // face.shape[1::-1]).T
    assert len(found) == len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 200


def test_a_face_in_a_large_bright_picture(detector: Detector, portrait: Pixels) -> None:
    # 255 * 3 * 10^7 exceeds 32 bits.
    large = np.full((2800, 3600, 3), 255, np.uint8)
    height, width = portrait.shape[:2]
    large[-height:, -width:] = portrait
    alone, found = Detector(min_face=60).detect(portrait), Detector(min_face=60).detect(large)
    assert len(alone) == len(found) == 1
    np.testing.assert_allclose(found.landmarks[0] - [3600 - width, 2800 - height], alone.landmarks[0], atol=4)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch, group: Pixels) -> None:
    whole = Detector(score=0.7).detect(group)
    monkeypatch.setattr(mtcnn, "STRIP_PIXELS", 1 << 12)
    monkeypatch.setattr(mtcnn, "CROPS", 3)
    assert_same(Detector(score=0.7).detect(group), whole)


def test_threads_get_the_same_result(detector: Detector, group: Pixels) -> None:
    pictures = [group[:, shift:] for shift in range(0, 40, 8)]
    alone = list(map_ordered(detector.detect, pictures, workers=0))
    for found, other in zip(map_ordered(detector.detect, pictures, workers=4), alone, strict=True):
        assert_same(found, other, pixels=0)


def test_an_exported_detector_is_the_same(tmp_path: Path, group: Pixels) -> None:
    export_detector(tmp_path / "detector", score=0.8, min_face=30)
    assert_same(
        Detector.from_folder(tmp_path / "detector").detect(group), Detector(score=0.8, min_face=30).detect(group), 0
    )
    export_detector(tmp_path / "again", score=0.8, min_face=30)
    for path in (tmp_path / "detector").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_an_exported_detector_needs_no_torch(tmp_path: Path) -> None:
    export_detector(tmp_path, score=0.9, min_face=20)
    code = (
        "import sys, numpy, pathlib\n"
        "from sightline.faces.mtcnn import Detector\n"
        "Detector.from_folder(pathlib.Path(sys.argv[1])).detect(numpy.zeros((50, 50, 3), numpy.uint8))\n"
        "sys.exit('torch' in sys.modules or 'facenet_pytorch' in sys.modules)\n"
    )
    source = Path(mtcnn.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, check=False).returncode == 0


@pytest.mark.parametrize("broken", ["config.json", "rnet.onnx"])
def test_a_broken_detector_is_named(tmp_path: Path, broken: str) -> None:
    export_detector(tmp_path / "detector", score=0.9, min_face=20)
    path = tmp_path / "detector" / broken
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match="detector holds no detector"):
        Detector.from_folder(tmp_path / "detector")
    path.unlink()
    with pytest.raises(InputError, match="detector holds no detector"):
        Detector.from_folder(tmp_path / "detector")
