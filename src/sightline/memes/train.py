"""Stage ``memes-train``: a linear probe on frozen features, fine-tuning that starts from it, and the same from scratch.

The probe is what the pretrained network knows already. Fine-tuning begins with the very same predictions and lets the
layers change, the later ones more than the earlier; the network from scratch gets the same pictures, the same number of
steps and no pretraining, so that what it lacks is what pretraining gives.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from timm.models import group_parameters
from torch import Tensor, nn

from sightline.core.augment import Augmentation
from sightline.core.backbone import Backbone, load_backbone
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.classifier import Followed, Recipe, fit
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv
from sightline.core.packs import Pack, open_pack, pack_files
from sightline.core.progress import say
from sightline.core.splits import SPLITS, held_out
from sightline.memes.network import MemeNet, describe, load_network, on_backbone, save_network
from sightline.memes.params import Memes, Train
from sightline.memes.probe import Probe, choose_c, fit_probe, save_probe, softmax
from sightline.params import Compute, Runtime, load

Option = typer.Option()


def main(
    samples: Annotated[Path, Option],
    backbone: Annotated[Path, Option],
    out: Annotated[Path, Option],
    training: Annotated[Path, Option],
    history: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`train`."""
    settings = load("memes", Memes).train
    workers = load("runtime", Runtime).workers
    train(samples, backbone, settings, load("compute", Compute), workers, out, training, history)


def train(
    samples: Path,
    backbone: Path,
    settings: Train,
    compute: Compute,
    workers: int,
    out: Path,
    training: Path,
    history: Path,
) -> None:
    """Learn the pictures of split 'train' three ways; of the two trainings keep the epochs that 'val' prefers.

    Writes the folders ``probe``, ``finetuned`` and ``scratch`` into ``out``; ``losses.npy`` (float32, row of the pack
    by epoch: the fine-tuned network's cross-entropy of every picture of a known class, not-a-number for the others) and
    ``folds.csv`` into ``training``; the learning curves to ``history`` (CSV). Work that was cut off goes on where it
    stopped.

    Args:
        samples: as ``memes-samples`` leaves it.
        backbone: a folder that :func:`sightline.core.backbone.load_backbone` reads.
        settings: ``memes.train``; with ``folds`` above 1, all is done again for each fold of the pictures in 'train'
            and 'val', of which ``folds.csv`` then holds predictions by networks that have not seen them.
        compute: device, threads and precision.
        workers: processes that load batches.
        out: the folder with the models.
        training: the folder with what the training says of pictures.
        history: the learning curves.

    Raises:
        InputError: the pack and the backbone do not fit, or a split is too small.
    """
    pack = open_pack(samples)
    pretrained = load_backbone(backbone)
    if pack.images.shape[1] != pretrained.config.size:
        raise InputError(f"{samples} has pictures of {pack.images.shape[1]} px, {backbone} is for others: pack again")
    prepare(compute, settings.seed)
    files = [*pack_files(samples), backbone / "model.safetensors", backbone / "config.json"]
    checkpoints = checkpoint_folder(files, settings, compute)
    course = _Course(pack, pretrained, settings, compute, workers, checkpoints)
    known = np.flatnonzero(course.labels >= 0)
    followed = Followed(known, settings.epochs)
    probe, found = course.probe(pack)
    finetuned, finetuned_curve = course.finetune(pack, probe, "finetuned", followed)
    scratch, scratch_curve = course.from_scratch(pack, "scratch")
    folds = course.cross_validate()
    with replacing_folder(out) as part:
        save_probe(part / "probe", probe, {**course.config("frozen"), **found})
        save_network(part / "finetuned", finetuned, course.config("probe"))
        save_network(part / "scratch", scratch, course.config("random"))
    with replacing_folder(training) as part:
        losses = np.full((len(pack), settings.epochs), np.nan, np.float32)
        losses[known] = followed.losses
        np.save(part / "losses.npy", losses)
        write_csv(part / "folds.csv", folds)
    curves = {"finetuned": finetuned_curve, "scratch": scratch_curve}
    write_csv(history, pd.concat(curves, names=["model"]).reset_index("model"))
    shutil.rmtree(checkpoints, ignore_errors=True)


class _Course:
    """What all trainings of a run have in common; ``labels`` (N,) are -1 where a picture is of no known class."""

    def __init__(
        self, pack: Pack, pretrained: Backbone, settings: Train, compute: Compute, workers: int, checkpoints: Path
    ) -> None:
        self.classes, self.labels = number_classes(pack)
        self.pack, self.pretrained, self.settings = pack, pretrained, settings
        self.compute, self.workers, self.checkpoints = compute, workers, checkpoints
        network, self.arguments = on_backbone(pretrained, len(self.classes))
        learned = np.flatnonzero(np.isin(pack.manifest["split"], ["train", "val"]))
        self.features = np.full((len(pack), pretrained.config.features), np.nan, np.float32)
        self.features[learned] = describe(network, pack.images[learned], settings.batch_size)[0]

    def probe(self, pack: Pack) -> tuple[Probe, dict[str, Any]]:
        """The linear probe of split 'train', and how its strength was chosen."""
        rows = pack.rows("train")
        features, labels = self.features[rows], self.labels[rows]
        groups = pack.manifest["group"].to_numpy()[rows]
        c, table = choose_c(features, labels, groups, self.settings.probe.c, self.settings.seed)
        return fit_probe(features, labels, c), {"c": c, "cross_validation": table.to_dict("records")}

    def finetune(
        self, pack: Pack, probe: Probe, name: str, followed: Followed | None = None
    ) -> tuple[MemeNet, pd.DataFrame]:
        """A network that starts as the pretrained one with the probe for a head, and ends between there and training.

        With its learning curve.

        Halfway is often better than either end, most of all where data are few (Wortsman et al., "Robust fine-tuning of
        zero-shot models", CVPR 2022).
        """
        network, _ = on_backbone(self.pretrained, len(self.classes))
        with torch.no_grad():
            for parameter, value in zip((network.head.weight, network.head.bias), probe.as_linear(), strict=True):
                parameter.copy_(torch.from_numpy(value))
        start = {entry: value.clone() for entry, value in network.state_dict().items()}
        freeze(network, self.settings.frozen_stages)
        factors = (*layer_factors(network, self.settings.layer_decay), ("head", self.settings.head_factor))
        curve = self._fit(network, pack, self._recipe(self.settings.lr, factors), name, followed)
        network.load_state_dict(between(start, network.state_dict(), self.settings.blend))
        return network, curve

    def from_scratch(self, pack: Pack, name: str) -> tuple[MemeNet, pd.DataFrame]:
        """The same network from random weights, and its learning curve."""
        prepare(self.compute, self.settings.seed)
        network = MemeNet(**self.arguments)
        return network, self._fit(network, pack, self._recipe(self.settings.scratch_lr), name)

    def cross_validate(self) -> pd.DataFrame:
        """Predictions for the pictures of 'train' and 'val' by probes and fine-tunings that have not seen them."""
        manifest, settings = self.pack.manifest, self.settings
        columns = ["photo", "label", "fold", *(f"p_{name}" for name in self.classes)]
        rows = np.flatnonzero(np.isin(manifest["split"], ["train", "val"]))
        labels, groups = self.labels[rows], manifest["group"].to_numpy()[rows]
        tables = [pd.DataFrame(columns=columns)]
        if settings.folds > 1:
            splitter = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=settings.seed)
            for fold, (rest, held) in enumerate(splitter.split(rows, labels, groups)):
                say(f"fold {fold + 1} of {settings.folds}")
                split = np.full(len(manifest), "", dtype="<U5")
                split[rows[rest]] = "train"
                split[rows[rest][held_out(labels[rest], groups[rest], VAL_SHARE, settings.seed)]] = "val"
                pack = Pack(self.pack.images, manifest.assign(split=split))
                network, _ = self.finetune(pack, self.probe(pack)[0], f"fold-{fold}")
                found = softmax(describe(network, pack.images[rows[held]], settings.batch_size)[1])
                table = manifest.loc[rows[held], ["photo", "label"]].assign(fold=fold)
                tables.append(table.assign(**dict(zip(columns[3:], found.T, strict=True))))
        return pd.concat(tables[1:] or tables)

    def config(self, start: str) -> dict[str, Any]:
        """What is written beside weights."""
        known = self.pretrained.config
        return {
            "architecture": "MemeNet",
            "arguments": self.arguments,
            "start": start,
            "backbone": {"name": known.name, "sha256": known.sha256},
            "classes": list(self.classes),
            "preprocessing": {
                "size": known.size,
                "resize": known.resize,
                "colour": "RGB",
                "mean": known.mean,
                "std": known.std,
            },
        }

    def _recipe(self, lr: float, lr_factors: tuple[tuple[str, float], ...] = ()) -> Recipe:
        names = {"seed", "epochs", "batch_size", "weight_decay", "warmup_epochs", "label_smoothing", "ema_decay"}
        return Recipe(
            **self.settings.model_dump(include={*names, "mixup_alpha"}),
            lr=lr,
            lr_factors=lr_factors,
            crop_size=self.pretrained.config.size,
            class_shares=(1 / len(self.classes),) * len(self.classes),
            augmentation=Augmentation(**self.settings.augment.model_dump()),
        )

    def _fit(
        self, network: MemeNet, pack: Pack, recipe: Recipe, name: str, followed: Followed | None = None
    ) -> pd.DataFrame:
        """Train, or take the result over that an earlier call left before it was cut off in a later training.

        Returns:
            The learning curve.
        """
        done = self.checkpoints / name / "done"
        if not done.is_dir():
            folder = self.checkpoints / name / "running"
            history = fit(network, pack, self.labels, recipe, self.compute, self.workers, folder, followed=followed)
            with replacing_folder(done) as part:
                save_network(part / "network", network, self.config(name))
                write_csv(part / "history.csv", history)
                if followed:
                    np.save(part / "losses.npy", followed.losses)
        # As it is when it was trained in this process.
        network.to(memory_format=torch.channels_last)
        network.load_state_dict(load_network(done / "network")[0].state_dict())
        if followed:
            followed.losses[:] = np.load(done / "losses.npy")
        return pd.read_csv(done / "history.csv")


def number_classes(pack: Pack) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The known classes, sorted, and each picture's number among them (N,), -1 for pictures of none."""
    labels = pack.manifest["label"].where(pack.manifest["split"].isin(SPLITS), "")
    classes = tuple(sorted(set(labels) - {""}))
    return classes, labels.map({name: number for number, name in enumerate(classes)}).fillna(-1).to_numpy(np.int64)


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights at ``share`` of the way from ``start`` to ``end``; counters, not being weights, are those of ``end``."""
    return {
        name: torch.lerp(start[name], value, share) if value.is_floating_point() else value
        for name, value in end.items()
    }


def layer_factors(network: MemeNet, decay: float) -> tuple[tuple[str, float], ...]:
    """Factors of the learning rate by parameter name: ``decay`` for the last stage, its square for the one before, ….

    Stages are timm's; those near the picture come first (Howard and Ruder, "Universal Language Model Fine-tuning for
    Text Classification", ACL 2018: discriminative fine-tuning). The head is not among them.
    """
    stages = _stages(network)
    last = max(stages.values())
    # Whole names, the longest first, so that none is taken for the beginning of another.
    names = sorted(stages, key=len, reverse=True)
    return tuple((f"backbone.model.{name}", decay ** (last + 1 - stages[name])) for name in names)


def freeze(network: MemeNet, count: int) -> None:
    """Let the first ``count`` stages of the backbone, in timm's order, keep weights and batch-norm statistics.

    Raises:
        InputError: there are no more stages than that.
    """
    stages = _stages(network)
    if count > max(stages.values()):
        raise InputError(f"memes.train.frozen_stages is {count}: the backbone has {max(stages.values()) + 1} stages")
    model = network.backbone.model
    for name, stage in stages.items():
        if stage < count:
            model.get_parameter(name).requires_grad_(False)
            owner = model.get_submodule(name.rpartition(".")[0])
            if isinstance(owner, nn.modules.batchnorm._BatchNorm):
                # Lightning leaves a module in eval mode that it finds in eval mode.
                owner.eval()


def _stages(network: MemeNet) -> dict[str, int]:
    """The stage of every parameter of the backbone, 0 nearest to the picture, as timm groups them."""
    model = network.backbone.model
    stages: dict[str, int] = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    return stages


VAL_SHARE = 0.2
