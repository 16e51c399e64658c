"""parts-train on made-up frames: it learns, and the same run gives the same bytes, cut off or not."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from sightline.core.errors import InputError
from sightline.core.files import write_json
from sightline.core.packs import write_pack
from sightline.params import Compute
from sightline.parts import train as stage
from sightline.parts.detector import Detector
from sightline.parts.params import Train
from sightline.parts.scoring import average_precision
from sightline.parts.train import open_lessons, train
from sightline.parts.yolo import build, read_architecture

COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
SIZE = 64
SETTINGS = {
    "architecture": "detector",
    "weights": "data/none",
    "seed": 3,
    "epochs": 2,
    "side": 64,
    "batch_size": 8,
    "lr": 0.02,
    "lr_others": 0.005,
    "weight_decay": 0.02,
    "warmup_epochs": 0.5,
    "ema_decay": 0.9,
    "gains": [7.5, 0.5, 1.5],
    "val_frames": 8,
    "views": {
        "scale": 0.1,
        "shift": 0.1,
        "elsewhere": 0.2,
        "flip": 0.5,
        "flip_vertical": 0.5,
        "transpose": 0.0,
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.1,
    },
}


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints go to the working folder."""
    monkeypatch.chdir(tmp_path)


def write_frames(folder: Path, train_frames: int = 24, val_frames: int = 10) -> Path:
    """Frames with red bolts that are wide and green nuts that are square, some without any."""
    rng = np.random.default_rng(0)
    images, rows, objects = [], [], []
    for number in range(train_frames + val_frames):
        image = rng.normal(70, 6, (SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
        for place in range(number % 3):
            label = int(rng.random() < 0.4)
            width, height = (14, 14) if label else (24, 12)
            left, top = rng.integers(2, SIZE - width - 2), 2 + 32 * place + rng.integers(0, 14)
            image[top : top + height, left : left + width, label] = 220
            box = np.array([left + width / 2, top + height / 2, width, height]) / SIZE
            objects.append((number, ("bolt", "nut")[label], *box))
        images.append(image)
        rows.append({"split": "train" if number < train_frames else "val", "name": "made", "frame": number + 1})
    write_pack(folder, SIZE, [(np.stack(images), rows)])
    pd.DataFrame(objects, columns=["row", "label", "cx", "cy", "w", "h"]).to_csv(folder / "labels.csv", index=False)
    write_json(folder / "classes.json", ["bolt", "nut"])
    return folder


def run(
    frames: Path, out: Path, weights: Path = Path("data/none"), workers: int = 0, threads: int = 1, **changes: object
) -> Path:
    compute = COMPUTE.model_copy(update={"threads": threads})
    train(frames, weights, Train.model_validate(SETTINGS | changes), compute, workers, out, out.with_suffix(".csv"))
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {
        "history": folder.with_suffix(".csv").read_bytes()
    }


def test_it_learns_to_find_them(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames", train_frames=64)
    out = run(frames, tmp_path / "out", epochs=16)
    lessons = open_lessons(frames)
    val = lessons.pack.rows("val")
    detector = Detector(out, threads=1)
    precision = average_precision(lessons.truth(val), detector(np.asarray(lessons.pack.images[val])), 2)
    assert precision[:, 0].mean() > 0.9
    history = pd.read_csv(tmp_path / "out.csv")
    assert history["epoch"].tolist() == list(range(1, 17))
    assert history["box_loss"].iloc[-1] < history["box_loss"].iloc[0]
    config = json.loads((out / "config.json").read_text())
    assert config["classes"] == ["bolt", "nut"]
    assert config["score"]["chosen_on"] == config["overlap"]["chosen_on"]
    assert 0 < config["score"]["value"] < 1
    assert config["overlap"]["val_map50"] > 0.9


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_run_gives_the_same_bytes_cut_off_or_not(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SMALLEST_SHARE", 2)
    frames = write_frames(tmp_path / "frames")
    whole = content(run(frames, tmp_path / "whole", epochs=3, threads=threads))
    again = content(run(frames, tmp_path / "again", epochs=3, threads=threads, workers=2))
    assert whole == again

    def stop_after_two(path: Path, table: pd.DataFrame) -> None:
        if len(table) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stage, "write_csv", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            run(frames, tmp_path / "resumed", epochs=3, threads=threads)
    assert not (tmp_path / "resumed").exists()
    assert len(list(tmp_path.glob(".cache/checkpoints/*/last.pt"))) == 1
    stepped: list[int] = []
    with monkeypatch.context() as patched:
        step = stage._Course._step
        patched.setattr(
            stage._Course, "_step", lambda self, batch, at, n: stepped.append(at) or step(self, batch, at, n)
        )
        resumed = content(run(frames, tmp_path / "resumed", epochs=3, threads=threads))
    # Three steps an epoch: only those of the last one.
    assert stepped == [6, 7, 8]
    assert resumed == whole
    assert not list(tmp_path.glob(".cache/checkpoints/*"))


def test_no_optimizer_steps_where_half_precision_overflows_in_a_layer_of_one(tmp_path: Path) -> None:
    lessons = open_lessons(write_frames(tmp_path / "frames"))
    architecture = read_architecture("detector")
    torch.manual_seed(0)
    network, average = (build(architecture, 2) for _ in range(2))
    compute = COMPUTE.model_copy(update={"precision": "16-mixed"})
    course = stage._Course(lessons, network, average, Train.model_validate(SETTINGS), compute, 0)
    share = [course._batch(0, course.rows[:6])]
    before = [weight.clone() for weight in network.parameters()]
    of_muon = course.optimizers[0].param_groups[0]["params"][0]
    scale = course.scaler.get_scale()
    handle = of_muon.register_hook(lambda gradient: torch.full_like(gradient, torch.nan))
    course._step(share, 0, 3)
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))
    assert course.scaler.get_scale() == scale / 2
    handle.remove()
    for step in range(1, 6):
        course._step(share, step, 3)
    assert all(weight.isfinite().all() for weight in network.parameters())
    assert any(not torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_learners_of_equal_shares_learn_what_one_of_them_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SMALLEST_SHARE", 4)
    torch.set_num_threads(1)
    lessons = open_lessons(write_frames(tmp_path / "frames"))
    architecture = read_architecture("detector")
    learned = []
    for threads in (1, 2):
        torch.manual_seed(0)
        network, average = (build(architecture, 2) for _ in range(2))
        compute = COMPUTE.model_copy(update={"threads": threads})
        course = stage._Course(lessons, network, average, Train.model_validate(SETTINGS), compute, 0)
        share = course._batch(0, course.rows[:6])
        losses = [course._step([share] * threads, step, 10) for step in range(3)]
        assert losses[2].sum() < losses[0].sum()
        learned.append([weight.detach() for weight in network.parameters()])
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(*learned, strict=True))


def test_the_last_batch_may_have_fewer_frames_than_there_are_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SMALLEST_SHARE", 2)
    run(write_frames(tmp_path / "frames", train_frames=9), tmp_path / "out", epochs=1, threads=3)
    assert np.isfinite(pd.read_csv(tmp_path / "out.csv")["box_loss"]).all()


def test_given_weights_are_where_it_starts(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames")
    first = run(frames, tmp_path / "first", epochs=1)
    second = run(
        frames, tmp_path / "second", first / "model.safetensors", epochs=1, lr=1e-12, lr_others=1e-12, ema_decay=0.0
    )
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    weights = [name for name in before if name.endswith("weight")]
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in weights)


def test_views_may_have_another_side_than_frames(tmp_path: Path) -> None:
    out = run(write_frames(tmp_path / "frames"), tmp_path / "out", side=96)
    assert Detector(out, threads=1).size == SIZE


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames", 8, 4)
    with pytest.raises(InputError, match=r"none\.pt: there is no such file"):
        run(frames, tmp_path / "out", Path("none.pt"))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames", 8, 4)
    with pytest.raises(InputError, match="lower lr"):
        run(frames, tmp_path / "out", lr=1e18, lr_others=1e18, epochs=4, warmup_epochs=0)


def test_frames_that_were_never_packed_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no packed images"):
        open_lessons(tmp_path)
    frames = write_frames(tmp_path / "frames", 8, 4)
    (frames / "labels.csv").write_text("row,label,cx,cy,w,h\n0,screw,0.5,0.5,0.1,0.1\n")
    with pytest.raises(InputError, match="holds no labels"):
        open_lessons(frames)
