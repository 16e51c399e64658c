"""Training: the recipe against a plain loop, and the same weights whatever happens on the way."""

import copy
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn

from sightline.core import classifier
from sightline.core.augment import Augmentation
from sightline.core.classifier import Followed, Recipe, fit
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.packs import Pack, open_pack, write_pack
from sightline.params import Compute

SIZE, CLASSES, PATIENCE = 16, 3, 120
COMPUTE = Compute(threads=1, accelerator="cpu", precision="32-true")
TWO = COMPUTE.model_copy(update={"threads": 2})
RECIPE = Recipe(
    seed=5,
    epochs=4,
    batch_size=8,
    crop_size=12,
    lr=0.02,
    weight_decay=0.05,
    warmup_epochs=1,
    label_smoothing=0.1,
    ema_decay=0.9,
    class_shares=(0.5, 0.25, 0.25),
    mixup_alpha=0.2,
    cutmix_alpha=0.5,
    augmentation=Augmentation(crop_area=(0.5, 1), flip=0.5, hue=0.1, blur=0.3, erase=0.3),
)
PLAIN = replace(RECIPE, crop_size=SIZE, mixup_alpha=0, cutmix_alpha=0, augmentation=Augmentation())


@pytest.fixture(autouse=True)
def leave_torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    monkeypatch.chdir(tmp_path)
    return write_pack(Path("pack"), SIZE, [coloured(np.arange(48) % CLASSES, ["train"] * 30 + ["val"] * 18)])


def coloured(labels: NDArray[np.int64], splits: list[str]) -> tuple[NDArray[np.uint8], list[dict[str, object]]]:
    """Noise, in which the channel of the class's number is brighter; and the rows."""
    noise = np.random.default_rng(1).integers(0, 150, (len(labels), SIZE, SIZE, 3), dtype=np.uint8)
    for image, label in zip(noise, labels, strict=True):
        image[..., label] += 40
    return noise, [{"split": split, "label": int(label)} for split, label in zip(splits, labels, strict=True)]


def labels_of(pack: Pack) -> NDArray[np.int64]:
    return pack.manifest["label"].to_numpy(np.int64)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(6, CLASSES),
    )


Weights = dict[str, Tensor]


def train(
    pack: Pack,
    recipe: Recipe = RECIPE,
    workers: int = 0,
    in_step: Callable[[int], None] = lambda _: None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
    followed: Followed | None = None,
    compute: Compute = COMPUTE,
) -> tuple[Weights, pd.DataFrame]:
    """Train a small network from its usual start; ``in_step`` is given the number of each training step."""
    prepare(compute, recipe.seed)
    network, steps = small_network(), []

    def count(module: nn.Module, *_: object) -> None:
        if module.training:
            steps.append(1)
            in_step(len(steps))

    network.register_forward_hook(count)
    history = fit(network, pack, labels_of(pack), recipe, compute, workers, Path("checkpoints"), on_epoch, followed)
    return network.state_dict(), history


def assert_same(found: tuple[Weights, pd.DataFrame], expected: tuple[Weights, pd.DataFrame]) -> None:
    pd.testing.assert_frame_equal(found[1], expected[1], check_exact=True)
    assert found[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        assert torch.equal(found[0][name], value), name


def test_a_training_repeats_whatever_the_workers_and_the_seed_decides(pack: Pack) -> None:
    expected = train(pack)
    assert_same(train(pack, workers=2), expected)
    assert (train(pack, replace(RECIPE, seed=6))[1]["train_loss"] != expected[1]["train_loss"]).all()


def test_learners_that_share_batches_repeat_and_go_on_as_one_does(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "SMALLEST_SHARE", 4)
    expected = train(pack, compute=TWO)
    assert not torch.equal(expected[0]["0.weight"], train(pack)[0]["0.weight"])
    assert_same(train(pack, compute=TWO, workers=2), expected)

    def interrupt(history: pd.DataFrame) -> None:
        if len(history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pack, compute=TWO, on_epoch=interrupt)
    assert torch.get_num_threads() == 2
    assert Path("checkpoints/last.ckpt").exists()
    assert_same(train(pack, compute=TWO, workers=2), expected)


def test_two_learners_learn_what_one_does(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "SMALLEST_SHARE", 4)
    trained = []
    for compute in (COMPUTE, TWO):
        network = small_network()
        # Norms see their share alone, dropout has other numbers, and mixing has other neighbours.
        network[1], network[5] = nn.Identity(), nn.Identity()
        recipe = replace(RECIPE, mixup_alpha=0, cutmix_alpha=0)
        history = fit(network, pack, labels_of(pack), recipe, compute, 0, Path("checkpoints"))
        trained.append((network.state_dict(), history))
    np.testing.assert_allclose(*(history.to_numpy() for _, history in trained), rtol=1e-3, atol=1e-4)
    for name, value in trained[0][0].items():
        torch.testing.assert_close(trained[1][0][name], value, rtol=1e-3, atol=1e-4)


STEPS_PER_EPOCH = 3


def train_until_killed(folder: str, workers: int) -> None:
    """What the child process below does: hang in the middle of the third epoch."""
    os.chdir(folder)

    def hang(step: int) -> None:
        if step == 2 * STEPS_PER_EPOCH + 2:
            print("in the third epoch", flush=True)
            sys.stdin.read()

    train(open_pack(Path("pack")), workers=workers, in_step=hang)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_that_was_killed_ends_with_the_same_weights(pack: Pack, workers: int) -> None:
    here = Path(__file__)
    child = subprocess.Popen(
        [sys.executable, "-c", f"from {here.stem} import *; train_until_killed({str(Path.cwd())!r}, {workers})"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[2] / "src"), str(here.parent)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], PATIENCE)[0], "the child did not get to the third epoch"
        assert child.stdout.readline() == "in the third epoch\n"
    finally:
        child.kill()
        child.communicate()
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["history.csv", "last.ckpt"]
    assert pd.read_csv("checkpoints/history.csv")["epoch"].tolist() == [1, 2]
    trained: list[int] = []
    resumed = train(pack, workers=workers, in_step=trained.append)
    assert len(trained) == 2 * STEPS_PER_EPOCH
    assert not Path("checkpoints").exists()
    assert_same(resumed, train(pack))


def test_ctrl_c_says_where_a_next_call_goes_on_and_it_does(pack: Pack) -> None:
    def interrupt(step: int) -> None:
        if step == STEPS_PER_EPOCH + 2:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="after epoch 1 of 4; run again to go on"):
        train(pack, in_step=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    seen: list[int] = []
    resumed = train(pack, on_epoch=lambda table: seen.append(len(table)))
    assert seen == [2, 3, 4]
    assert_same(resumed, train(pack))


def test_a_training_leaves_nothing_behind_and_is_quiet(pack: Pack, capfd: pytest.CaptureFixture[str]) -> None:
    tables: list[pd.DataFrame] = []
    history = train(pack, on_epoch=tables.append)[1]
    assert [len(table) for table in tables] == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(tables[-1], history)
    assert [path.name for path in Path().iterdir()] == ["pack"]
    assert capfd.readouterr() == ("", "")


def test_the_history_holds_the_best_epoch_and_its_weights_are_what_is_left(pack: Pack) -> None:
    # Validation labels are wrong on purpose: the more is learned, the worse, so the best epoch is not the last.
    labels, val = labels_of(pack), pack.rows("val")
    labels[val] = (labels[val] + 1) % CLASSES
    prepare(COMPUTE, 0)
    network = small_network()
    history = fit(network, pack, labels, replace(RECIPE, lr=0.05), COMPUTE, 0, Path("checkpoints"))
    assert list(history.columns) == ["epoch", "lr", "train_loss", "val_loss", "val_accuracy", "val_macro_f1"]
    assert list(history["epoch"]) == [1, 2, 3, 4]
    best = history.loc[history["val_loss"].idxmin()]
    assert best["epoch"] < 4
    logits = logits_of(network.eval(), pack, val)
    assert F.cross_entropy(logits, torch.from_numpy(labels[val])).item() == pytest.approx(best["val_loss"], rel=1e-5)
    predicted = logits.argmax(1).numpy()
    assert accuracy_score(labels[val], predicted) == pytest.approx(best["val_accuracy"])
    assert f1_score(labels[val], predicted, average="macro", zero_division=0) == pytest.approx(best["val_macro_f1"])


@torch.no_grad()
def logits_of(network: nn.Module, pack: Pack, rows: NDArray[np.int64]) -> Tensor:
    logits: Tensor = network(normalised(pack, rows))
    return logits


def normalised(pack: Pack, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy((pack.images[rows].astype(np.float32) / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)


# Warm-up over two of six steps, then half a cosine: (1 + cos(k pi / 4)) / 2.
LR_FACTORS = [1 / 3, 2 / 3, 1, 0.853553, 0.5, 0.146447]


def test_the_recipe_is_that_of_a_plain_loop(pack: Pack) -> None:
    """AdamW without decay of vectors, schedule, clipping, smoothing and averaging; one step an epoch sees all rows."""
    recipe = replace(PLAIN, epochs=6, batch_size=30, warmup_epochs=2, class_shares=(1 / 3,) * 3, lr=0.05)
    labels = labels_of(pack)
    prepare(COMPUTE, 0)
    network = small_network()
    network[5] = nn.Identity()
    with torch.no_grad():
        # Large enough for clipping to matter.
        network[6].weight.mul_(40)
    reference = copy.deepcopy(network)
    history = fit(network, pack, labels, recipe, COMPUTE, 0, Path("checkpoints"))

    matrices = [p for p in reference.parameters() if p.ndim > 1]
    vectors = [p for p in reference.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0}])
    averaged = copy.deepcopy(reference)
    train_rows, val_rows = pack.rows("train"), pack.rows("val")
    val_losses, states = [], []
    for step, factor in enumerate(LR_FACTORS):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * factor
        optimizer.zero_grad()
        logits = reference.train()(normalised(pack, train_rows))
        F.cross_entropy(logits, torch.from_numpy(labels[train_rows]), label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 2.0)
        optimizer.step()
        # The first step's weights are taken as they are; the n-th after it keeps (1 + n) / (10 + n) of the average.
        kept = 0 if step == 0 else min(0.9, (1 + step) / (10 + step))
        for old, new in zip(averaged.state_dict().values(), reference.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.copy_(kept * old + (1 - kept) * new)
        logits = logits_of(averaged.eval(), pack, val_rows)
        val_losses.append(F.cross_entropy(logits, torch.from_numpy(labels[val_rows])).item())
        states.append(copy.deepcopy(averaged.state_dict()))
    np.testing.assert_allclose(history["val_loss"], val_losses, rtol=2e-3)
    # What is written down is the rate that the next step would have.
    np.testing.assert_allclose(history["lr"], 0.05 * np.array([*LR_FACTORS[1:], 0]), atol=1e-7)
    for name, value in states[int(np.argmin(val_losses))].items():
        if value.is_floating_point():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=2e-3, atol=2e-3)


def test_each_parameter_learns_at_the_rate_of_the_first_name_that_fits(pack: Pack) -> None:
    """One step of AdamW without decay moves a weight by its rate, whatever the gradient, where that is not tiny."""
    factors = (("6.bias", 0.5), ("6", 0.1), ("0", 0.0))
    recipe = replace(PLAIN, epochs=1, batch_size=30, warmup_epochs=0, weight_decay=0.0, lr=0.01, lr_factors=factors)
    prepare(COMPUTE, 0)
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    history = fit(network, pack, labels_of(pack), recipe, COMPUTE, 0, Path("checkpoints"))
    steps = {name: (value - before[name]).abs() for name, value in network.named_parameters()}
    for name, rate in (("0.weight", 0.0), ("1.weight", 0.01), ("6.weight", 0.001), ("6.bias", 0.005)):
        np.testing.assert_allclose(steps[name].detach().numpy(), rate, rtol=0.05, atol=1e-9, err_msg=name)
    # The rate that is written down is that of parameters without a factor: after the only step, the schedule's end.
    assert history["lr"].tolist() == [0.0]


def test_decay_follows_the_rate_of_its_parameter(pack: Pack) -> None:
    recipe = replace(PLAIN, epochs=1, batch_size=30, warmup_epochs=0, weight_decay=0.5, lr=0.01)
    network = small_network()
    with torch.no_grad():
        # So large that the step itself, of at most the rate, is nothing beside the decay.
        network[6].weight.fill_(1e4)
    fit(network, pack, labels_of(pack), replace(recipe, lr_factors=(("6", 0.1),)), COMPUTE, 0, Path("checkpoints"))
    np.testing.assert_allclose(network[6].weight.detach().numpy(), 1e4 * (1 - 0.001 * 0.5), rtol=1e-6)


def follow(pack: Pack, rows: list[int], **options: Any) -> tuple[Followed, tuple[Weights, pd.DataFrame]]:
    followed = Followed(np.array(rows), RECIPE.epochs)
    return followed, train(pack, followed=followed, **options)


def test_losses_of_followed_rows_are_those_of_the_averaged_weights_and_change_nothing_else(pack: Pack) -> None:
    # In no order, of both splits, and not all of validation.
    rows = [40, 3, 29, 31, 0]
    labels = labels_of(pack)
    followed, trained = follow(pack, rows)
    expected = train(pack)
    assert_same(trained, expected)
    assert (followed.losses.shape, followed.losses.dtype) == ((5, 4), np.float32)
    best = int(expected[1]["val_loss"].idxmin())
    network = small_network().eval()
    network.load_state_dict(trained[0])
    logits = logits_of(network, pack, np.array(rows))
    losses = F.cross_entropy(logits, torch.from_numpy(labels[rows]), reduction="none")
    np.testing.assert_allclose(followed.losses[:, best], losses, rtol=1e-4)

    val_rows = pack.rows("val").tolist()
    followed, (_, history) = follow(pack, val_rows)
    np.testing.assert_allclose(followed.losses.mean(0), history["val_loss"], rtol=1e-5)


def test_losses_from_before_an_interruption_are_kept(pack: Pack) -> None:
    def interrupt(step: int) -> None:
        if step == 2 * STEPS_PER_EPOCH + 1:
            raise KeyboardInterrupt

    rows = [1, 35]
    with pytest.raises(KeyboardInterrupt):
        follow(pack, rows, in_step=interrupt)
    resumed, _ = follow(pack, rows)
    np.testing.assert_array_equal(resumed.losses, follow(pack, rows)[0].losses)
    assert np.isfinite(resumed.losses).all()


class Witness(nn.Module):
    """Notes which rows it is trained on: a row's number is the brightness of its picture."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, CLASSES)
        self.seen: list[list[int]] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append(((images[:, 0, 8, 8] * 0.25 + 0.5) * 255).round().int().tolist())
        logits: Tensor = self.linear(images.mean((2, 3)))
        return logits


def rows_by_epoch(members: tuple[int, ...], shares: tuple[float, ...], epochs: int) -> Any:
    labels = np.repeat(np.arange(len(members)), members)
    images = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), SIZE, SIZE, 3))
    splits = ["train"] * len(labels) + ["val"]
    everything = np.concatenate([images, images[:1]])
    manifest = pd.DataFrame({"split": splits})
    witness = Witness()
    recipe = replace(PLAIN, epochs=epochs, batch_size=len(labels) // 4, class_shares=shares)
    fit(witness, Pack(everything, manifest), np.append(labels, 0), recipe, COMPUTE, 0, Path("checkpoints"))
    return np.reshape(witness.seen, (epochs, -1)).tolist()


def test_classes_get_their_shares_and_are_gone_through_before_they_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    epochs = rows_by_epoch((40, 10, 2), (0.5, 0.25, 0.25), 3)
    for rows in epochs:
        counts = Counter(rows)
        by_class = [[counts[row] for row in range(*bounds)] for bounds in ((0, 40), (40, 50), (50, 52))]
        assert [sum(each) for each in by_class] == [26, 13, 13]
        assert all(max(each) - min(each) <= 1 for each in by_class)
    assert len({tuple(rows) for rows in epochs}) == 3
    assert len({frozenset(row for row in rows if row < 40) for rows in epochs}) == 3


def test_a_class_without_samples_leaves_its_share_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (rows,) = rows_by_epoch((40, 12), (1 / 3, 1 / 3, 1 / 3), 1)
    assert Counter(row < 40 for row in rows) == {True: 26, False: 26}


def test_a_loss_that_is_not_a_number_is_an_error_with_a_remedy(pack: Pack) -> None:
    network = small_network()
    with torch.no_grad():
        network[6].bias.fill_(torch.nan)
    with pytest.raises(InputError, match="not a number after epoch 1: lower lr"):
        fit(network, pack, labels_of(pack), RECIPE, COMPUTE, 0, Path("checkpoints"))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", "val"], "1 training and 1 validation"),
        (["train"] * 2, "2 training and 0 validation"),
        ([], "0 training"),
    ],
)
def test_too_few_images_are_an_error(splits: list[str], message: str) -> None:
    images = np.zeros((len(splits), SIZE, SIZE, 3), np.uint8)
    few = Pack(images, pd.DataFrame({"split": splits}))
    with pytest.raises(InputError, match=message):
        fit(small_network(), few, np.zeros(len(splits), np.int64), RECIPE, COMPUTE, 0, Path("checkpoints"))
