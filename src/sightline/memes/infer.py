"""Stage ``memes-infer``: describe every picture, choose how unknown ones are told, deploy, and predict."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from sightline.core.augment import whole
from sightline.core.backbone import load_backbone
from sightline.core.calibration import fit_temperature
from sightline.core.compute import prepare
from sightline.core.deploy import export_onnx
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, sha256, write_csv, write_json
from sightline.core.packs import Pack, open_pack
from sightline.core.progress import say
from sightline.core.splits import split_digest
from sightline.memes.memory import Memory, memory_of
from sightline.memes.network import MemeNet, describe, load_network, on_backbone
from sightline.memes.params import Infer, Memes
from sightline.memes.predictor import DECIDES, probabilities
from sightline.memes.probe import load_probe
from sightline.memes.rejection import Judged, choose, keeping_threshold, try_scores
from sightline.memes.unknowns import Description, save_scorer
from sightline.params import Compute, load

Option = typer.Option()


def main(
    network: Annotated[Path, Option],
    backbone: Annotated[Path, Option],
    samples: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`infer`."""
    infer(network, backbone, samples, load("memes", Memes).infer, load("compute", Compute), deployed, out)


def infer(
    network: Path, backbone: Path, samples: Path, settings: Infer, compute: Compute, deployed: Path, out: Path
) -> None:
    """Write the folder ``deployed`` (what a service needs) and the folder ``out`` (what the later stages read).

    The class is named by the fine-tuned network, at a temperature fitted on 'val' (Guo et al., ICML 2017). How unknown
    a picture is, is judged in the space, by the score and with the settings that tell 'val' from 'unknown-val' best
    (AUROC), and a picture is rejected above the threshold that keeps the share ``settings.keep`` of 'val'. No picture
    of a test split is looked at for any of this.

    ``out`` holds arrays with a row for each picture of the pack, ``predictions.csv`` and ``scores.csv`` likewise.
    With ``settings.mirror`` a picture's features are the mean of its own and its mirror image's.

    Args:
        network: with ``finetuned``, ``scratch`` and ``probe``, as ``memes-train`` wrote them.
        backbone: the pretrained network they started from.
        samples: the pack of all pictures.
        settings: what is tried.
        compute: on what.
        deployed: where the deployed model goes.
        out: where descriptions and predictions go.

    Raises:
        InputError: a folder does not hold what it should, or validation lacks pictures.
    """
    prepare(compute, seed=0)
    pack = open_pack(samples)
    finetuned, config = load_network(network / "finetuned")
    scratch, _ = load_network(network / "scratch")
    frozen = probe_network(network / "probe", backbone, len(config["classes"]))
    known = _known(pack, config["classes"])
    networks = {"finetuned": finetuned, "frozen": frozen}
    look = partial(describe, images=pack.images, batch_size=settings.batch_size, mirror=settings.mirror)
    descriptions = {name: Description(*look(each)) for name, each in networks.items()}
    val = pack.rows("val")
    if not len(val):
        raise InputError(f"{samples} has no pictures of split 'val': nothing can be chosen without them")
    temperature = fit_temperature(descriptions[DECIDES].logits[val].astype(np.float64), known[val])
    spaces = {
        space: Judged(descriptions[space], each.head.weight.detach().numpy(), each.head.bias.detach().numpy())
        for space, each in networks.items()
    }
    manifest = pack.manifest
    trials = try_scores(spaces, known, manifest["split"].to_numpy(), manifest["group"].to_numpy(), settings)
    chosen = choose(trials)
    threshold = keeping_threshold(chosen.scores[val], settings.keep)
    say(f"unknown pictures are told by {chosen.scorer.name} in the {chosen.space} space")

    with replacing_folder(deployed) as part:
        needed = {space: networks[space] for space in networks if space in (DECIDES, *settings.spaces)}
        graph = Deployed(needed, mirror=settings.mirror)
        export_onnx(graph, part / "model.onnx", np.asarray(pack.images[:COMPARED]), graph.outputs)
        save_scorer(part / "scorer.safetensors", chosen.scorer)
        _memory({space: spaces[space] for space in needed}, known, manifest["split"]).save(part / "memory.safetensors")
        write_json(
            part / "config.json",
            {
                "task": "memes",
                "classes": config["classes"],
                "temperature": temperature,
                "preprocessing": {"size": int(pack.images.shape[1]), "resize": "squash", "mirror": settings.mirror},
                "scorer": {
                    **chosen.as_dict(),
                    "threshold": threshold,
                    "keep": settings.keep,
                    "tried": [trial.as_dict() for trial in trials],
                    "split": split_digest(manifest["split"], manifest["digest"]),
                },
                "backbone": sha256(backbone / "model.safetensors"),
            },
        )
    with replacing_folder(out) as part:
        for name, description in descriptions.items():
            np.save(part / f"{name}_features.npy", description.features)
        np.save(part / "finetuned_logits.npy", descriptions["finetuned"].logits)
        np.save(part / "probe_logits.npy", descriptions["frozen"].logits)
        np.save(part / "scratch_logits.npy", look(scratch)[1])
        write_csv(part / "scores.csv", pd.DataFrame({f"{t.space}_{t.scorer.name}": t.scores for t in trials}))
        shares = probabilities(descriptions[DECIDES].logits, temperature)
        write_csv(part / "predictions.csv", _predictions(pack, config["classes"], shares, chosen.scores, threshold))


class Deployed(nn.Module):
    """Networks side by side: uint8 RGB (B, S, S, 3) to features (B, D) and logits (B, K) of each.

    With ``mirror`` the features are the mean over a picture and its mirror image, and the logits those of that mean.
    """

    def __init__(self, networks: Mapping[str, MemeNet], *, mirror: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.mirror = mirror
        self.outputs = [f"{space}_{kind}" for space in networks for kind in ("features", "logits")]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """In the order of ``outputs``."""
        views = whole(images)
        found: list[Tensor] = []
        for network in self.networks.values():
            assert isinstance(network, MemeNet)
            features = network.features(views)
            if self.mirror:
                features = (features + network.features(views.flip(3))) / 2
            found += [features, network.head(features)]
        return tuple(found)


def probe_network(probe: Path, backbone: Path, num_classes: int) -> MemeNet:
    """The backbone with the linear probe as its head, the probe's standardisation folded into the weights.

    Raises:
        InputError: a folder does not hold what it should.
    """
    network, _ = on_backbone(load_backbone(backbone), num_classes)
    try:
        weight, bias = load_probe(probe)[0].as_linear()
        network.head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{probe} holds no linear probe: {error}") from None
    except RuntimeError:
        raise InputError(f"{probe} was not fitted to the features of {backbone}: run memes-train again") from None
    return network.eval()


def _memory(spaces: Mapping[str, Judged], known: NDArray[np.int64], splits: pd.Series) -> Memory:
    """What adding a class to the deployed model will need."""
    rows = np.flatnonzero(splits.isin(["train", "val"]))
    return memory_of(
        known[rows],
        (splits == "train").to_numpy()[rows],
        {space: judged.pictures.features[rows] for space, judged in spaces.items()},
        {space: judged.pictures.logits[rows] for space, judged in spaces.items()},
        {space: (judged.weight, judged.bias) for space, judged in spaces.items()},
    )


def _known(pack: Pack, classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each picture of the pack, (N,); -1 for those of none."""
    number = {name: position for position, name in enumerate(classes)}
    known = pack.manifest["split"].isin(["train", "val", "test"])
    labels = pack.manifest["label"].where(known, "")
    if strange := sorted(set(labels[known]) - number.keys()):
        raise InputError(f"the network knows nothing of {', '.join(strange)}: run memes-train again")
    return np.array([number.get(label, -1) if is_known else -1 for label, is_known in zip(labels, known, strict=True)])


def _predictions(
    pack: Pack, classes: Sequence[str], shares: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> pd.DataFrame:
    table = pack.manifest[["photo", "split", "label", "kind"]].copy()
    table["predicted"] = np.array(classes)[shares.argmax(1)]
    table["confidence"] = shares.max(1)
    for name, column in zip(classes, shares.T, strict=True):
        table[f"p_{name}"] = column
    table["unknown_score"] = scores
    table["rejected"] = scores > threshold
    return table


COMPARED = 64
