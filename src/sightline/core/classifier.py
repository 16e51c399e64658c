"""Train an image classifier on packed images: augmentation on the device, averaged weights, resume, best epoch kept.

Lightning runs the loop; what is here is the recipe. The order of the samples, their augmentation and dropout depend on
(seed, epoch, position) alone, so that the number of data workers does not matter and a training that was cut off ends
with the same weights as one that was not.
"""

import logging
import math
import shutil
import signal
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins import MixedPrecision, TorchCheckpointIO
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from sightline.core.augment import Augmentation, augment, mix, whole
from sightline.core.errors import InputError
from sightline.core.files import replacing, write_csv
from sightline.core.packs import Pack
from sightline.core.progress import progress, say
from sightline.core.shares import Shares
from sightline.params import Compute


@dataclass(frozen=True)
class Recipe:
    """How to train.

    ``crop_size`` is the side in pixels of the training views; validation and inference see whole packed images, which
    may be larger (Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019). ``class_shares`` gives
    the share of each class among the samples of an epoch, whatever their numbers are in the data. ``lr_factors`` are
    pairs of the beginning of parameter names and what ``lr`` is multiplied by for them; the first pair that fits
    counts, and without one the factor is 1.
    """

    seed: int
    epochs: int
    batch_size: int
    crop_size: int
    lr: float
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    ema_decay: float
    class_shares: tuple[float, ...]
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    lr_factors: tuple[tuple[str, float], ...] = ()


class Followed:
    """Rows whose cross-entropy :func:`fit` notes after each epoch, with that epoch's averaged weights.

    ``losses`` is float32 (rows, epochs), not-a-number where no epoch has been.
    """

    def __init__(self, rows: NDArray[np.int64], epochs: int) -> None:
        self.rows = rows
        self.losses = np.full((len(rows), epochs), np.nan, np.float32)


def fit(
    network: nn.Module,
    pack: Pack,
    labels: NDArray[np.integer[Any]],
    recipe: Recipe,
    compute: Compute,
    workers: int,
    checkpoints: Path,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
    followed: Followed | None = None,
) -> pd.DataFrame:
    """Train ``network`` on the rows of split 'train' and leave the averaged weights of the best epoch in it.

    The best epoch is the one with the lowest cross-entropy on split 'val'.

    Args:
        network: maps normalised float32 (B, 3, H, W) to logits (B, K), any H and W.
        pack: the images; all splits in one.
        labels: the class of each row of ``pack``, (N,), 0 to K - 1.
        recipe: how to train.
        compute: on what.
        workers: processes that load batches; 0 loads in this one. Does not change the result.
        checkpoints: a folder that belongs to exactly these inputs
            (:func:`sightline.core.checkpoints.checkpoint_folder`). A checkpoint in it is
            resumed. ``history.csv`` in it has the epochs so far. It is removed when the training is complete.
        on_epoch: is given the history so far after each epoch.
        followed: gets its losses, those of the epochs before a resume included; nothing is learned from its rows.

    Returns:
        One row an epoch: epoch, lr, train_loss, val_loss, val_accuracy, val_macro_f1.

    Raises:
        InputError: a split is too small to train on, or the loss is not a number any more.
        KeyboardInterrupt: interrupted; the message says where a next call goes on.
    """
    train_rows, val_rows = pack.rows("train"), pack.rows("val")
    if len(train_rows) < 2 or not len(val_rows):
        raise InputError(f"{len(train_rows)} training and {len(val_rows)} validation images are too few to train on")
    batch_size = min(recipe.batch_size, len(train_rows))
    images = _PackedDataset(pack.images, labels)
    history: list[dict[str, float]] = []
    order = _BalancedOrder(train_rows, labels, recipe, history)
    train_loader = _loader(images, batch_size, workers, compute, sampler=order, drop_last=True)
    # Rows that are only followed come after those of validation, and are left out of its figures.
    others = np.setdiff1d(followed.rows, val_rows) if followed else val_rows[:0]
    measured = np.concatenate([val_rows, others])
    val_loader = _loader(images, 4 * batch_size, workers, compute, sampler=measured.tolist())
    # The layout that convolutions are fastest in, on CPUs and GPUs alike.
    network.to(memory_format=torch.channels_last)
    shares = Shares(network, compute, batch_size, SMALLEST_SHARE)
    module = _Training(network, shares, recipe, batch_size, steps_per_epoch=len(train_loader))
    best = _KeepBest(recipe.epochs, len(train_loader), history, on_epoch, checkpoints / "history.csv", len(val_rows))
    if followed:
        best.follow(followed, measured)
    trainer = _trainer(recipe, compute, checkpoints, best)
    last = checkpoints / "last.ckpt"
    if last.exists():
        say(f"going on from the checkpoint in {checkpoints}")
    try:
        with shares:
            trainer.fit(module, train_loader, val_loader, ckpt_path=str(last) if last.exists() else None)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit with status 1 and no word about what to do next.
        raise KeyboardInterrupt(f"after epoch {len(history)} of {recipe.epochs}; run again to go on") from None
    network.load_state_dict(best.weights)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return pd.DataFrame(history)


class _PackedDataset(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches at once: one gather from the memory map instead of a Python call a sample."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]]) -> None:
        self.images = images
        self.labels = labels

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        # Sorted, so that a map larger than memory is read forwards.
        rows_sorted, back = np.unique(rows, return_inverse=True)
        return torch.from_numpy(self.images[rows_sorted][back]), torch.from_numpy(self.labels[rows])


class _BalancedOrder(Sampler[int]):
    """As many samples an epoch as there are, each class with its share; a class is gone through before it repeats.

    The epoch is the number of entries in ``history``. Lightning's ``set_epoch`` comes too late: after a resume, the
    workers have fetched the first batches by then.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        labels: NDArray[np.integer[Any]],
        recipe: Recipe,
        history: Sequence[object],
    ) -> None:
        self.members = [rows[labels[rows] == label] for label in range(len(recipe.class_shares))]
        # A class without samples leaves its share to the others.
        shares = np.array(recipe.class_shares) * [len(members) > 0 for members in self.members]
        bounds = np.round(np.cumsum(shares / shares.sum()) * len(rows)).astype(int)
        self.counts = np.diff(bounds, prepend=0)
        self.seed = recipe.seed
        self.history = history

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, len(self.history)))
        drawn = []
        for members, count in zip(self.members, self.counts, strict=True):
            rounds = -(-count // max(len(members), 1))
            drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)] or [members])[:count])
        yield from rng.permutation(np.concatenate(drawn)).tolist()


def _loader(
    images: _PackedDataset, batch_size: int, workers: int, compute: Compute, **options: Any
) -> DataLoader[tuple[Tensor, Tensor]]:
    # Torch would warn of more workers than cores, which is a parameter here.
    warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
    return DataLoader(
        images,
        batch_size,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_parent,
        pin_memory=compute.accelerator == "gpu",
        persistent_workers=workers > 0,
        **options,
    )


def _leave_signals_to_the_parent(worker: int) -> None:  # noqa: ARG001
    """Ctrl-C and ``timeout`` signal all processes of a group; a worker that they end would be an error of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


class _Training(LightningModule):
    def __init__(
        self, network: nn.Module, shares: Shares, recipe: Recipe, batch_size: int, steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.network = network
        self.shares = shares
        self.recipe = recipe
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.train_losses: list[Tensor] = []
        self.val_logits: list[Tensor] = []
        self.val_labels: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        self.train_losses = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        keys = torch.empty((len(labels), 3), dtype=torch.int64)
        keys[:, 0], keys[:, 1] = self.recipe.seed, self.current_epoch
        keys[:, 2] = batch_idx * self.batch_size + torch.arange(len(labels))
        own = self.shares.split(len(labels))
        weights = [(part.stop - part.start) / len(labels) for part in own]
        parts = [(images[part], labels[part], keys[part]) for part in own]
        loss = self.shares.loss(self._study, parts, weights, (self.recipe.seed, self.current_epoch, batch_idx))
        self.train_losses.append(loss.detach())
        return loss

    def _study(self, network: nn.Module, share: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        images, labels, keys = share
        recipe = self.recipe
        # Lower precision is for the network; pictures keep their eight bits.
        with torch.autocast(images.device.type, enabled=False):
            views = augment(images, keys, recipe.crop_size, recipe.augmentation)
            targets = F.one_hot(labels, len(recipe.class_shares)).float()
            views, targets = mix(views, targets, keys, recipe.mixup_alpha, recipe.cutmix_alpha)
        logits = network(views.contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)

    def backward(self, loss: Tensor) -> None:
        self.shares.backward(loss)

    def on_validation_epoch_start(self) -> None:
        self.val_logits, self.val_labels = [], []

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # noqa: ARG002
        images, labels = batch
        parts = [images[part] for part in self.shares.split(len(images))]
        self.val_logits.append(torch.cat(self.shares.map(lambda part: self.network(whole(part)), parts)).float().cpu())
        self.val_labels.append(labels.cpu())

    def configure_optimizers(self) -> Any:
        # Weight decay pulls weights of convolutions and linear layers, not biases and norms (He et al., "Bag of tricks
        # for image classification", CVPR 2019).
        parameters: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                factors = (factor for beginning, factor in self.recipe.lr_factors if name.startswith(beginning))
                parameters[next(factors, 1.0), parameter.ndim > 1].append(parameter)
        groups = [
            {
                "params": parameters[factor, decays],
                "lr": self.recipe.lr * factor,
                "weight_decay": self.recipe.weight_decay if decays else 0.0,
            }
            for factor, decays in sorted(parameters, reverse=True)
        ]
        # A fused optimizer undoes the scaling of mixed precision itself, too late for clipping: Lightning refuses it.
        optimizer = torch.optim.AdamW(groups, fused=self.trainer.precision == "32-true")
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def schedule(self, step: int) -> float:
        """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, "SGDR", ICLR 2017)."""
        warmup = self.recipe.warmup_epochs * self.steps_per_epoch
        total = self.recipe.epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


class _Average(WeightAveraging):
    """Exponential moving average of weights and buffers, with a decay that grows from 0.1 in the first steps.

    Without that ramp a short training would average in the random weights it began with.
    """

    def __init__(self, decay: float) -> None:
        def average(averaged: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
            # All of one type at once: a network has a hundred tensors, most of them of a few numbers.
            if not averaged[0].is_floating_point():
                torch._foreach_copy_(averaged, current)
                return
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(steps)) / (10 + int(steps))))

        super().__init__(multi_avg_fn=average)


class _KeepBest(Callback):
    """Measures each epoch's averaged weights on validation, and keeps the best ones and the history."""

    def __init__(
        self,
        epochs: int,
        steps: int,
        history: list[dict[str, float]],
        on_epoch: Callable[[pd.DataFrame], None] | None,
        curve: Path,
        validated: int,
    ) -> None:
        self.bar = progress(range(epochs * steps), "training", unit="step")
        self.history, self.on_epoch, self.curve = history, on_epoch, curve
        self.weights: dict[str, Tensor] = {}
        self.validated = validated
        self.followed: Followed | None = None
        self.places = np.empty(0, np.int64)

    def follow(self, followed: Followed, measured: NDArray[np.int64]) -> None:
        """Note the losses of ``followed``, whose rows are all among the ``measured`` ones."""
        order = np.argsort(measured)
        self.followed, self.places = followed, order[np.searchsorted(measured, followed.rows, sorter=order)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self.bar.update(trainer.global_step - self.bar.n)

    def on_train_batch_end(self, *_: object) -> None:
        self.bar.update(1)

    # In the list of callbacks this one stands before _Average, which puts the raw weights back in this same hook.
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, _Training):
            raise TypeError("this callback belongs to _Training")
        logits, labels = torch.cat(pl_module.val_logits), torch.cat(pl_module.val_labels)
        if self.followed:
            losses = F.cross_entropy(logits, labels, reduction="none").numpy()
            self.followed.losses[:, trainer.current_epoch] = losses[self.places]
        logits, labels = logits[: self.validated], labels[: self.validated]
        predicted = logits.argmax(1)
        entry = {
            "epoch": trainer.current_epoch + 1,
            "lr": pl_module.recipe.lr * pl_module.schedule(trainer.global_step),
            "train_loss": float(torch.stack(pl_module.train_losses).mean()),
            "val_loss": float(F.cross_entropy(logits, labels)),
            "val_accuracy": float((predicted == labels).float().mean()),
            "val_macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        }
        if not math.isfinite(entry["train_loss"]) or not math.isfinite(entry["val_loss"]):
            raise InputError(f"the loss is not a number after epoch {entry['epoch']}: lower lr or check the data")
        if entry["val_loss"] < min((past["val_loss"] for past in self.history), default=math.inf):
            state = pl_module.network.state_dict()
            self.weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        self.history.append(entry)
        self.bar.set_postfix(epoch=entry["epoch"], val_accuracy=f"{entry['val_accuracy']:.3f}", refresh=False)
        write_csv(self.curve, pd.DataFrame(self.history))
        if self.on_epoch:
            self.on_epoch(pd.DataFrame(self.history))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self.bar.close()

    def state_dict(self) -> dict[str, Any]:
        state = {"history": self.history, "weights": self.weights}
        return state | ({"losses": torch.from_numpy(self.followed.losses)} if self.followed else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history[:], self.weights = state_dict["history"], dict(state_dict["weights"])
        if self.followed:
            self.followed.losses[:] = state_dict["losses"].numpy()


class _WholeCheckpoints(TorchCheckpointIO):
    """Renames checkpoints when they are whole: Lightning copies them from a folder that may lie on another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        with replacing(Path(path)) as part, part.open("wb") as file:
            torch.save(checkpoint, file)


def _trainer(recipe: Recipe, compute: Compute, checkpoints: Path, best: _KeepBest) -> Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # Advice on numbers of workers and log intervals, which are parameters here.
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    checkpoint = ModelCheckpoint(
        dirpath=checkpoints,
        filename="last",
        save_top_k=1,
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    plugins: list[Any] = [_WholeCheckpoints()]
    if compute.precision != "32-true":
        # By the name of a precision alone, Lightning trains in bfloat16 on a CPU where half precision is asked for.
        device = "cuda" if compute.accelerator == "gpu" else compute.accelerator
        plugins.append(MixedPrecision(compute.precision, device))
    return Trainer(
        max_epochs=recipe.epochs,
        accelerator=compute.accelerator,
        devices=1,
        deterministic=True,
        gradient_clip_val=GRADIENT_CLIP,
        callbacks=[best, _Average(recipe.ema_decay), checkpoint],
        plugins=plugins,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


GRADIENT_CLIP = 2.0
# Samples that a learner gets at least. With 8 of them, faces of strangers looked more like enrolled ones.
SMALLEST_SHARE = 16
