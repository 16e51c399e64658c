"""Stage ``parts-train``: teach a YOLO to find parts, then choose its threshold on validation and export it.

The network and its loss are ultralytics'; the loop is ours: a training that was cut off goes on to the same result, the
same commit gives the same bytes, and frames come out of the pack's memory map.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.core.checkpoints import checkpoint_folder
from sightline.core.compute import prepare
from sightline.core.deploy import export_onnx
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing, replacing_folder, write_csv, write_json
from sightline.core.images import Pixels, pixel_digest
from sightline.core.packs import Pack, open_pack, pack_files
from sightline.core.parallel import map_ordered
from sightline.core.progress import progress, say
from sightline.core.shares import Shares
from sightline.core.splits import split_digest
from sightline.core.weights import write_weights
from sightline.params import Compute, Runtime, load
from sightline.parts.detector import Detections, Detector, suppress
from sightline.parts.muon import Muon
from sightline.parts.params import Parts, Train
from sightline.parts.scoring import Truth, average_precision, choose_score
from sightline.parts.views import draw_view
from sightline.parts.yolo import Decoded, DetectionLoss, as_input, build, load_pretrained, read_architecture

Option = typer.Option()


def main(
    frames: Annotated[Path, Option],
    weights: Annotated[Path, Option],
    out: Annotated[Path, Option],
    history: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`train`."""
    compute, workers = load("compute", Compute), load("runtime", Runtime).workers
    train(frames, weights, load("parts", Parts).train, compute, workers, out, history)


def train(
    frames: Path, weights: Path, settings: Train, compute: Compute, workers: int, out: Path, history: Path
) -> None:
    """Learn from the frames of split 'train', choose the score and the overlap to cut at on 'val'.

    Args:
        frames: the pack that ``parts-frames`` leaves.
        weights: ``.pt`` or ``.safetensors`` to start from; with another name ending the start is random.
        settings: ``parts.train``.
        compute: device and precision.
        workers: threads that prepare batches; they do not change the result.
        out: the folder with ``model.safetensors``, ``model.onnx`` (:class:`Decoded`) and ``config.json``.
        history: the learning curves (CSV): epoch, lr, the three losses, mAP50 and mAP50-95 on some frames of 'val'.

    Raises:
        InputError: the weights are missing or do not fit, there is no such architecture, or the loss is no number.
    """
    lessons = open_lessons(frames)
    is_pretrained = weights.suffix in (".pt", ".safetensors")
    architecture = read_architecture(settings.architecture)
    prepare(compute, settings.seed)
    network = build(architecture, len(lessons.classes))
    if is_pretrained:
        count = load_pretrained(network, weights)
        say(f"{weights}: {count} of {len(network.state_dict())} tensors fit and are where the training starts")
    files = [*pack_files(frames), frames / "labels.csv", *([weights] if is_pretrained else [])]
    checkpoints = checkpoint_folder(files, settings, compute, architecture)
    course = _Course(lessons, network, build(architecture, len(lessons.classes)), settings, compute, workers)
    try:
        learned = course.learn(checkpoints / "last.pt").cpu()
    except KeyboardInterrupt:
        reached = f"after epoch {len(course.history)} of {settings.epochs}"
        raise KeyboardInterrupt(f"{reached}; run again to go on") from None
    with replacing_folder(out) as part:
        write_weights(part / "model.safetensors", learned.network.state_dict())
        val = lessons.pack.rows("val")
        sample = np.asarray(lessons.pack.images[val[:8]])
        export_onnx(learned.fuse(), part / "model.onnx", sample, ("boxes", "scores"))
        config = {"architecture": architecture, "classes": list(lessons.classes)} | PREPROCESSING
        write_json(part / "config.json", config | _chosen(part, config, lessons, val, compute.threads))
    write_csv(history, pd.DataFrame(course.history))
    shutil.rmtree(checkpoints, ignore_errors=True)


@dataclass(frozen=True)
class Lessons:
    """The packed frames and their objects, ordered by frame: those of frame ``row`` are ``starts[row]`` to
    ``starts[row + 1]`` of ``labels`` int64 (N,) and ``boxes`` float32 (N, 4): centre and sides as shares of the square.
    """

    pack: Pack
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    starts: NDArray[np.int64]

    def objects(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels and boxes of a frame."""
        own = slice(self.starts[row], self.starts[row + 1])
        return self.labels[own], self.boxes[own]

    def truth(self, rows: NDArray[np.int64]) -> list[Truth]:
        """The same in px of the square, to be compared with detections."""
        size = self.pack.images.shape[1]
        return [
            Truth(np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2]) * size, labels)
            for labels, boxes in map(self.objects, rows)
        ]


def open_lessons(folder: Path) -> Lessons:
    """Open what ``parts-frames`` left, without reading its pixels.

    Raises:
        InputError: it is no such folder.
    """
    pack = open_pack(folder)
    try:
        classes = tuple(map(str, read_json(folder / "classes.json")))
        table = pd.read_csv(folder / "labels.csv", keep_default_na=False).sort_values("row", kind="stable")
        labels = table["label"].map(classes.index).to_numpy(np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no labels of parts-frames: {error}") from None
    boxes = table[["cx", "cy", "w", "h"]].to_numpy(np.float32)
    return Lessons(pack, classes, labels, boxes, np.searchsorted(table["row"], np.arange(len(pack) + 1)))


@dataclass(frozen=True)
class _Batch:
    """``images`` uint8 RGB (B, S, S, 3); of its objects the picture ``rows``, ``labels`` (N,) and ``boxes`` (N, 4)."""

    images: Pixels
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]


class _Learner(nn.Module):
    """A network with its loss, which keeps what it computes: each thread needs one of its own."""

    def __init__(self, network: nn.Module, gains: tuple[float, float, float]) -> None:
        super().__init__()
        self.network, self.loss = network, DetectionLoss(network, gains)


class _Course:
    """A training. ``network`` learns; ``average`` follows it, and is what is measured and kept in the end."""

    def __init__(
        self,
        lessons: Lessons,
        network: nn.Module,
        average: nn.Module,
        settings: Train,
        compute: Compute,
        workers: int,
    ) -> None:
        self.lessons, self.settings, self.workers = lessons, settings, workers
        self.device = torch.device("cuda" if compute.accelerator == "gpu" else compute.accelerator)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        average.load_state_dict(network.state_dict())
        self.average = Decoded(average.to(self.device)).eval()
        self.shares = Shares(_Learner(network.train(), settings.gains), compute, settings.batch_size, SMALLEST_SHARE)
        self.optimizers = _optimizers(network, settings)
        self.precision = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(compute.precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.rows = lessons.pack.rows("train")
        val = lessons.pack.rows("val")
        self.measured = val[np.unique(np.linspace(0, len(val) - 1, settings.val_frames).astype(int))]
        self.history: list[dict[str, float]] = []

    def learn(self, checkpoint: Path) -> Decoded:
        """Run all epochs that ``checkpoint`` has not seen; the average of the weights, ready to be deployed.

        The history so far lies beside ``checkpoint`` after each epoch.
        """
        self._resume(checkpoint)
        steps = -(-len(self.rows) // self.settings.batch_size)
        with self.shares, progress(range(self.settings.epochs * steps), "training", unit="step") as bar:
            bar.update(len(self.history) * steps)
            for epoch in range(len(self.history), self.settings.epochs):
                losses = []
                for number, shares in enumerate(self._batches(epoch)):
                    losses.append(self._step(shares, epoch * steps + number, steps))
                    bar.update(1)
                self.history.append(self._entry(epoch, torch.stack(losses).mean(0)))
                bar.set_postfix(map50=f"{self.history[-1]['val_map50']:.3f}", refresh=False)
                write_csv(checkpoint.with_name("history.csv"), pd.DataFrame(self.history))
                self._save(checkpoint)
        return self.average

    def _step(self, shares: Sequence[_Batch], step: int, steps_per_epoch: int) -> Tensor:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * self._schedule(step, steps_per_epoch)
        total = sum(len(share.images) for share in shares)
        weights = [len(share.images) / total for share in shares]
        self.network.zero_grad()
        losses = self.shares.loss(self._study, shares, weights, (self.settings.seed, step))
        self.shares.backward(self.scaler.scale(losses.sum()))
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_CLIP)
        # Where half precision overflows in one layer, clipping spoils the gradients of all layers. The scaler does not
        # see that: it has looked at the gradients of each optimizer before.
        if norm.isfinite() or not self.scaler.is_enabled():
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
        self.scaler.update()
        self._follow(step)
        return losses.detach()

    def _study(self, learner: nn.Module, share: _Batch) -> Tensor:
        if not isinstance(learner, _Learner):
            raise TypeError("the learners of a course are of class _Learner")
        images, rows, labels, boxes = (
            torch.from_numpy(array).to(self.device) for array in (share.images, share.rows, share.labels, share.boxes)
        )
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            outputs = learner.network(as_input(images))
        return learner.loss(outputs, rows, labels, boxes)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Exponential moving average, with a decay that grows: the weights it began with are random ones."""
        averaged, current = (
            [value for value in module.state_dict().values() if value.is_floating_point()]
            for module in (self.average.network, self.network)
        )
        torch._foreach_lerp_(averaged, current, 1 - min(self.settings.ema_decay, (1 + step) / (10 + step)))

    def _schedule(self, step: int, steps_per_epoch: int) -> float:
        """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, "SGDR", ICLR 2017)."""
        warmup, total = (count * steps_per_epoch for count in (self.settings.warmup_epochs, self.settings.epochs))
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))

    def _batches(self, epoch: int) -> Iterator[list[_Batch]]:
        """Batches, each in a share per learner."""
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(self.rows)
        size = self.settings.batch_size
        parts = (order[start : start + size] for start in range(0, len(order), size))
        shares = ([rows[own] for own in self.shares.split(len(rows))] for rows in parts)
        return map_ordered(lambda own: [self._batch(epoch, rows) for rows in own], shares, min(self.workers, 1))

    def _batch(self, epoch: int, rows: NDArray[np.int64]) -> _Batch:
        images, places, labels, boxes = [], [], [], []
        for place, row in enumerate(rows.tolist()):
            own_labels, own_boxes = self.lessons.objects(row)
            key = (self.settings.seed, epoch, row)
            view, moved, stays = draw_view(
                self.lessons.pack.images[row], own_boxes, key, self.settings.views, self.settings.side
            )
            images.append(view)
            places.append(np.full(len(moved), place))
            labels.append(own_labels[stays])
            boxes.append(moved)
        return _Batch(np.stack(images), np.concatenate(places), np.concatenate(labels), np.concatenate(boxes))

    def _entry(self, epoch: int, losses: Tensor) -> dict[str, float]:
        if not losses.isfinite().all():
            raise InputError(f"parts.train: the loss is not a number after epoch {epoch + 1}: lower lr")
        entry = {"epoch": epoch + 1, "lr": self.optimizers[0].param_groups[0]["lr"]}
        return entry | dict(zip(DetectionLoss.names, losses.tolist(), strict=True)) | self._measure()

    @torch.inference_mode()
    def _measure(self) -> dict[str, float]:
        found = [
            found for batch in self.shares.map(self._look, range(0, len(self.measured), VAL_BATCH)) for found in batch
        ]
        return _figures(average_precision(self.lessons.truth(self.measured), found, len(self.lessons.classes)))

    def _look(self, start: int) -> list[Detections]:
        images = np.asarray(self.lessons.pack.images[self.measured[start : start + VAL_BATCH]])
        outputs = (output.cpu().numpy() for output in self.average(torch.from_numpy(images).to(self.device)))
        return [suppress(boxes, scores, FAINT, TYPICAL_OVERLAP) for boxes, scores in zip(*outputs, strict=True)]

    def _save(self, checkpoint: Path) -> None:
        states = [part.state_dict() for part in self._learning()]
        with replacing(checkpoint) as part:
            torch.save({"states": states, "history": self.history}, part)

    def _resume(self, checkpoint: Path) -> None:
        if not checkpoint.is_file():
            return
        reached = torch.load(checkpoint, map_location=self.device, weights_only=True)
        for part, state in zip(self._learning(), reached["states"], strict=True):
            part.load_state_dict(state)
        self.history = reached["history"]
        say(f"going on after epoch {len(self.history)}, which an earlier run reached")

    def _learning(self) -> list[Any]:
        """All that changes from step to step."""
        return [self.network, self.average, *self.optimizers, self.scaler]


def _optimizers(network: nn.Module, settings: Train) -> list[torch.optim.Optimizer]:
    """Muon for convolutions that a norm follows, AdamW for all else; norms and biases do not decay."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    inner = [layer.weight for layer in convolutions if layer.bias is None and layer.groups == 1]
    others = [weight for weight in network.parameters() if all(weight is not own for own in inner)]
    groups = [
        {"params": [weight for weight in others if weight.requires_grad and (weight.ndim > 1) == decays]}
        | {"weight_decay": settings.weight_decay if decays else 0.0}
        for decays in (True, False)
    ]
    return [
        Muon(inner, settings.lr, weight_decay=settings.weight_decay),
        torch.optim.AdamW(groups, settings.lr_others, fused=True),
    ]


def _chosen(
    folder: Path, config: dict[str, Any], lessons: Lessons, val: NDArray[np.int64], threads: int
) -> dict[str, Any]:
    """What was exported, run on 'val': the overlap and the score with the best F1, which is what a count feels."""
    digest = split_digest(["val"] * len(val), [pixel_digest(lessons.pack.images[row]) for row in val])
    truth, classes = lessons.truth(val), len(lessons.classes)
    write_json(folder / "config.json", config | {"score": {"value": FAINT}, "overlap": {"value": TYPICAL_OVERLAP}})
    detector = Detector(folder, threads)
    best: dict[str, Any] = {}
    for overlap in OVERLAPS_TRIED:
        detector.overlap = overlap
        found = [
            detections
            for start in range(0, len(val), VAL_BATCH)
            for detections in detector([np.asarray(lessons.pack.images[row]) for row in val[start : start + VAL_BATCH]])
        ]
        score, f1 = choose_score(truth, found, classes)
        if not best or f1 > best["score"]["val_f1"]:
            figures = _figures(average_precision(truth, found, classes))
            best = {
                "score": {"value": round(score, 4), "val_f1": f1, "chosen_on": digest},
                "overlap": {"value": overlap, **figures, "chosen_on": digest},
            }
    return best


def _figures(precision: NDArray[np.float64]) -> dict[str, float]:
    present = precision[~np.isnan(precision[:, 0])]
    if not len(present):
        return {"val_map50": 0.0, "val_map50_95": 0.0}
    return {"val_map50": float(present[:, 0].mean()), "val_map50_95": float(present.mean())}


PREPROCESSING = {"preprocessing": "RGB; longer side to the network's, at the top left, filled with 114; from 0 to 1"}
GRADIENT_CLIP = 10.0
VAL_BATCH = 16
# Frames that a learner gets at least; a frame has hundreds of points that norms see.
SMALLEST_SHARE = 8
# Detections below this score do not matter for average precision; what non-maximum suppression is tried with.
FAINT = 0.01
OVERLAPS_TRIED, TYPICAL_OVERLAP = (0.5, 0.6, 0.7), 0.6
