"""Stage ``backbone``: bring in one pretrained network, wherever it comes from, as one folder that all tasks read.

``out`` holds ``model.safetensors`` and ``config.json`` (see ``core/backbone.py``); source 'procedural' adds
``history.csv`` and ``classes.png``, a sheet of what was drawn.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import timm.models
import typer
from huggingface_hub import hf_hub_url

from sightline.backbone.params import Backbone, Network, Procedural
from sightline.backbone.pretrain import pretrain
from sightline.core.augment import MEAN, STD
from sightline.core.backbone import FeatureNetwork, load_weights, save_backbone
from sightline.core.compute import prepare
from sightline.core.download import download
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, scratch_folder, sha256, write_csv
from sightline.core.sheets import write_png
from sightline.params import Compute, Runtime, load

Option = typer.Option()


def main(name: Annotated[str, Option], path: Annotated[Path, Option], out: Annotated[Path, Option]) -> None:
    """Read parameters, then :func:`bring_in`."""
    settings = load("backbone", Backbone)
    if name not in settings.networks:
        raise InputError(f"params.yaml has no backbone.networks.{name}: there are {', '.join(settings.networks)}")
    network, workers = settings.networks[name], load("runtime", Runtime).workers
    bring_in(name, network, settings.procedural, settings.seed, load("compute", Compute), workers, path, out)


def bring_in(
    name: str,
    settings: Network,
    procedural: Procedural,
    seed: int,
    compute: Compute,
    workers: int,
    path: Path,
    out: Path,
) -> None:
    """Make the folder ``out`` from the source that ``settings`` names; ``path`` is the user's file for source 'path'.

    Raises:
        InputError: timm does not know the architecture, the download failed, or the weights do not fit.
    """
    prepare(compute, seed)
    network = FeatureNetwork(settings.architecture, settings.arguments)
    mean, std = _normalisation(settings)
    known: dict[str, Any] = {
        "name": name,
        "source": settings.source,
        "architecture": settings.architecture,
        "arguments": settings.arguments,
        "size": settings.image_size,
        "mean": mean,
        "std": std,
    }
    with replacing_folder(out) as part:
        extras: dict[str, Any] = {}
        if settings.source == "imagenet":
            extras = _download(name, settings, network, out)
        elif settings.source == "path":
            if not path.is_file():
                raise InputError(f"{path} is no file: set backbone.networks.{name}.path to a .safetensors or .pth file")
            load_weights(network, path)
            extras = {"file": {"sha256": sha256(path)}}
        elif settings.source == "procedural":
            history, sheet = pretrain(network, procedural, seed, compute, workers, out)
            extras = {"pretraining": _summary(history)}
        save_backbone(part, network, extras, **known)
        if settings.source == "procedural":
            write_csv(part / "history.csv", history)
            write_png(part / "classes.png", sheet)


def _normalisation(settings: Network) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation: those of the parameters, else those that the weights were trained with."""
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    if settings.source in ("imagenet", "path"):
        config = timm.models.get_pretrained_cfg(settings.architecture)
        mean, std = (config.mean, config.std) if config else (MEAN, STD)
    return settings.mean or mean, settings.std or std


def _download(name: str, settings: Network, network: FeatureNetwork, out: Path) -> dict[str, Any]:
    """Weights from the timm hub (or the mirror that HF_ENDPOINT names), at one revision."""
    config = timm.models.get_pretrained_cfg(settings.architecture)
    if config is None or not config.hf_hub_id:
        raise InputError(f"timm has no weights for '{settings.architecture}': name an architecture with its tag")
    url = hf_hub_url(
        config.hf_hub_id, "model.safetensors", revision=settings.revision, endpoint=os.environ.get("HF_ENDPOINT")
    )
    where = f"backbone.networks.{name}"
    by_hand = f"set {where}.source to path and {where}.path to the file"
    with scratch_folder(out) as folder:
        file = folder / "model.safetensors"
        digest = download(url, file, settings.digest, pin=f"{where}.digest", by_hand=by_hand)
        load_weights(network, file)
    return {"hub": {"id": config.hf_hub_id, "revision": settings.revision, "sha256": digest}}


def _summary(history: pd.DataFrame) -> dict[str, float]:
    """The epoch whose weights were kept."""
    names = ["epoch", "val_loss", "val_accuracy"]
    best = history[names].to_numpy()[history["val_loss"].to_numpy().argmin()]
    return dict(zip(names, best.tolist(), strict=True))
