"""What is taken from ultralytics: nothing else happens on import, boxes decode as its own, weights come in safely."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.ops import xywh2xyxy

from sightline.core.errors import InputError
from sightline.core.weights import write_weights
from sightline.parts.yolo import Decoded, DetectionLoss, as_input, build, load_pretrained, read_architecture

SRC = Path(__file__).parents[2] / "src"
# Runs in a fresh interpreter; any connection or address look-up ends it.
IMPORT = """
import cv2, os, socket, sys, torch
from PIL import Image
def refuse(*arguments, **options):
    raise SystemExit(f"asks the network: {arguments}")
socket.getaddrinfo = socket.socket.connect = socket.create_connection = refuse
before, save, open_picture, threads = dict(os.environ), torch.save, Image.open, cv2.getNumThreads()
import sightline.parts.yolo
from ultralytics.utils import SETTINGS
assert torch.save is save
assert Image.open is open_picture
assert cv2.getNumThreads() == threads
assert os.environ.get("OMP_NUM_THREADS") == before.get("OMP_NUM_THREADS")
on = [name for name, value in SETTINGS.items() if value is True]
assert not on, on
"""


def test_importing_it_writes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    for name in ("home", "temporary", "work"):
        (tmp_path / name).mkdir()
    home = str(tmp_path / "home")
    away = {"HOME": home, "XDG_CONFIG_HOME": home, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(SRC)}
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-B", "-c", IMPORT]
    done = subprocess.run(command, env=kept | away, cwd=tmp_path / "work", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_counts_a_video_needs_neither_torch_nor_ultralytics() -> None:
    check = "import sys, sightline.parts.detector; assert not {'torch', 'ultralytics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], env=os.environ | {"PYTHONPATH": str(SRC)}, check=True)


@pytest.mark.parametrize("name", ["yolo11n", "yolov8n", "yolo26n"])
def test_architectures_of_ultralytics_by_name(name: str) -> None:
    network = build(read_architecture(name), 3).eval()
    boxes, scores = Decoded(network)(torch.zeros((1, 64, 64, 3), dtype=torch.uint8))
    assert boxes.shape == (1, 84, 4)
    assert scores.shape == (1, 84, 3)


@pytest.mark.parametrize("name", ["yolo99n", "yolo11n-seg", "../detector", "", "yolov10n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"parts\.train\.architecture"):
        read_architecture(name)


def test_decoded_boxes_are_those_of_ultralytics_fused_or_not() -> None:
    torch.manual_seed(0)
    network = build(read_architecture("detector"), 2).eval()
    images = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        theirs = network(as_input(images))[0]
        boxes, scores = Decoded(network)(images)
        fused_boxes, fused_scores = Decoded(network).fuse()(images)
    assert torch.allclose(xywh2xyxy(theirs[:, :4].transpose(1, 2)), boxes, atol=1e-3)
    assert torch.equal(theirs[:, 4:].transpose(1, 2), scores)
    assert torch.allclose(fused_boxes, boxes, atol=1e-2)
    assert torch.allclose(fused_scores, scores, atol=1e-4)


def test_the_loss_of_a_batch_is_a_mean_of_theirs() -> None:
    torch.manual_seed(0)
    network = build(read_architecture("detector"), 2)
    outputs = network(torch.rand(3, 3, 96, 96))
    rows, labels = torch.tensor([0, 0, 2]), torch.tensor([0, 1, 1])
    boxes = torch.tensor([[0.5, 0.5, 0.3, 0.2], [0.2, 0.3, 0.2, 0.2], [0.7, 0.7, 0.4, 0.4]])
    losses = DetectionLoss(network, (7.5, 0.5, 1.5))(outputs, rows, labels, boxes)
    batch = {"batch_idx": rows.float(), "cls": labels.float(), "bboxes": boxes}
    assert torch.allclose(3 * losses, v8DetectionLoss(network)(outputs, batch)[0])
    empty = DetectionLoss(network, (7.5, 0.5, 1.5))(outputs, rows[:0], labels[:0], boxes[:0])
    assert empty[0] == empty[2] == 0
    assert empty[1] > 0


def test_weights_come_back_from_safetensors_and_from_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    taught = build(read_architecture("detector"), 2)
    write_weights(tmp_path / "model.safetensors", taught.state_dict())
    torch.save({"model": taught, "ema": None, "train_args": {}}, tmp_path / "model.pt")
    for name in ("model.safetensors", "model.pt"):
        fresh = build(read_architecture("detector"), 2)
        assert load_pretrained(fresh, tmp_path / name) == len(fresh.state_dict())
        pairs = zip(fresh.state_dict().values(), taught.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_a_head_for_other_classes_stays_as_it_was(tmp_path: Path) -> None:
    write_weights(tmp_path / "model.safetensors", build(read_architecture("detector"), 5).state_dict())
    fresh = build(read_architecture("detector"), 2)
    # The last layer of each of two levels, weight and bias.
    assert load_pretrained(fresh, tmp_path / "model.safetensors") == len(fresh.state_dict()) - 4


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil",)


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Evil()}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="holds no weights"):
        load_pretrained(build(read_architecture("detector"), 2), tmp_path / "model.pt")
    assert not (tmp_path / "evil").exists()


def test_bad_weights_are_named(tmp_path: Path) -> None:
    network = build(read_architecture("detector"), 2)
    with pytest.raises(InputError, match="no such file"):
        load_pretrained(network, tmp_path / "none.pt")
    for name in ("broken.pt", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match=name):
            load_pretrained(network, tmp_path / name)
    write_weights(tmp_path / "other.safetensors", {"layer.weight": torch.from_numpy(np.zeros(3, np.float32))})
    with pytest.raises(InputError, match="no tensor of it fits"):
        load_pretrained(network, tmp_path / "other.safetensors")
