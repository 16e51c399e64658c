"""Stage ``minerals-train``: train our network on the patches of split 'train', keep the weights that 'val' prefers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from sightline.core.augment import MEAN, STD, Augmentation, whole
from sightline.core.calibration import fit_balance
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.classifier import Recipe, fit
from sightline.core.compute import prepare
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.packs import Pack, open_pack, pack_files
from sightline.core.progress import progress
from sightline.core.weights import write_weights
from sightline.minerals.memory import memorise
from sightline.minerals.model import MineralNet
from sightline.minerals.params import NONE, Minerals, Train
from sightline.params import Compute, Runtime, load

Option = typer.Option()


def main(patches: Annotated[Path, Option], out: Annotated[Path, Option], history: Annotated[Path, Option]) -> None:
    """Read parameters, then :func:`train`."""
    minerals = load("minerals", Minerals)
    workers = load("runtime", Runtime).workers
    train(patches, minerals.data.classes, minerals.train, load("compute", Compute), workers, out, history)


def train(
    patches: Path,
    classes: Sequence[str],
    settings: Train,
    compute: Compute,
    workers: int,
    out: Path,
    history: Path,
) -> None:
    """Write ``out/model.safetensors`` and ``out/config.json``, and the learning curve to ``history`` (CSV).

    The network has an output for 'none of them' if there are negative patches to learn it from; photos that are one
    specimen each leave none. A training that was cut off goes on where it stopped.
    """
    pack = open_pack(patches)
    present = pack.manifest["label"]
    names = [*classes, NONE] if (present == NONE).any() else list(classes)
    labels = present.map({name: number for number, name in enumerate(names)}).to_numpy()
    prepare(compute, settings.seed)
    rows = pack.rows("train")
    shape = settings.network.model_dump() | {"exemplars": min(settings.memory.exemplars, len(rows))}
    network = MineralNet(len(names), **shape)
    checkpoints = checkpoint_folder(pack_files(patches), classes, settings, compute)
    recipe = recipe_of(settings, names)
    curve = fit(network.texture, pack, labels, recipe, compute, workers, checkpoints)
    fit_memory(network, pack, labels, recipe.class_shares, settings)
    with replacing_folder(out) as part:
        write_weights(part / "model.safetensors", network.state_dict())
        config = {
            "architecture": "MineralNet",
            "arguments": {"num_classes": len(names), **shape},
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "balance": [round(weight, 6) for weight in network.balance.tolist()],
            "classes": names,
            "preprocessing": {
                "size": pack.images.shape[1],
                "resize": "squash",
                "colour": "RGB",
                "mean": MEAN,
                "std": STD,
            },
        }
        write_json(part / "config.json", config)
    write_csv(history, curve)


def fit_memory(
    network: MineralNet, pack: Pack, labels: NDArray[np.integer[Any]], class_shares: Sequence[float], settings: Train
) -> None:
    """Let a network whose texture stream is trained remember split 'train', and balance the two on split 'val'."""
    network.eval()
    train_rows, val_rows = pack.rows("train"), pack.rows("val")
    looks = _through(network.look, pack, train_rows, "looking at colours")
    ridge, seed = settings.memory.ridge, settings.seed
    memorise(network.memory, network.votes, looks, labels[train_rows], class_shares, ridge, seed)
    voters = [_through(stream, pack, val_rows, "balancing").numpy() for stream in (network.texture, network.recall)]
    balance = fit_balance(np.stack(voters), labels[val_rows])
    network.balance.data = torch.from_numpy(balance).to(network.balance)


def _through(
    function: Callable[[torch.Tensor], torch.Tensor], pack: Pack, rows: NDArray[np.int64], does: str
) -> torch.Tensor:
    starts = range(0, len(rows), BATCH)
    batches = (torch.from_numpy(np.asarray(pack.images[rows[start : start + BATCH]])) for start in starts)
    with torch.inference_mode(), progress(batches, does, len(starts), "batch") as bar:
        return torch.cat([function(whole(batch)) for batch in bar])


def recipe_of(settings: Train, names: Sequence[str]) -> Recipe:
    """The recipe that the parameters describe; ``names`` are the classes with 'none of them' last, if there is one."""
    strengths = settings.augment.model_dump(exclude={"mixup_alpha", "cutmix_alpha"})
    minerals = sum(name != NONE for name in names)
    none_share = settings.none_share if NONE in names else 0.0
    shares = tuple(none_share if name == NONE else (1 - none_share) / minerals for name in names)
    return Recipe(
        **settings.model_dump(exclude={"network", "memory", "augment", "none_share"}),
        class_shares=shares,
        mixup_alpha=settings.augment.mixup_alpha,
        cutmix_alpha=settings.augment.cutmix_alpha,
        augmentation=Augmentation(**strengths),
    )


BATCH = 256
