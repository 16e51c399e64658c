"""Stage ``minerals-infer``: deploy the network, calibrate it on validation, and predict with what is deployed."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import load_file

from sightline.core.calibration import Threshold, choose_threshold, fit_temperature
from sightline.core.compute import prepare
from sightline.core.deploy import Deployable, export_onnx
from sightline.core.files import read_json, replacing_folder, write_csv, write_json
from sightline.core.packs import Pack, open_pack
from sightline.core.progress import progress, say
from sightline.core.serving import OnnxClassifier
from sightline.core.splits import split_digest
from sightline.minerals.model import MineralNet
from sightline.minerals.params import NONE, Infer, Minerals
from sightline.minerals.predictor import Decisions, Predictor, decide
from sightline.params import Compute, Runtime, load

Option = typer.Option()


def main(
    model: Annotated[Path, Option],
    patches: Annotated[Path, Option],
    examples: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`deploy` and :func:`infer`."""
    settings = load("minerals", Minerals).infer
    deploy(model, patches, settings, load("compute", Compute), deployed)
    infer(deployed, patches, examples, settings, load("runtime", Runtime).workers, out)


def deploy(model: Path, patches: Path, settings: Infer, compute: Compute, out: Path) -> None:
    """Write ``out/model.onnx`` and ``out/config.json``: all that a service needs to classify tight patches.

    The temperature (Guo et al., ICML 2017) and the threshold come from split 'val' alone. The threshold is the lowest
    at which, with the confidence that ``settings`` asks for, accepted patches are wrong less often than
    ``settings.max_error``; the digest of the split that it was chosen on stands beside it. Where no threshold does
    that it is null, and the predictor accepts nothing unless it is told a threshold.
    """
    prepare(compute, seed=0)
    config = read_json(model / "config.json")
    network = MineralNet(**config["arguments"])
    network.load_state_dict(load_file(model / "model.safetensors"))
    pack = open_pack(patches)
    rows = pack.rows("val")
    images = np.asarray(pack.images[rows])
    plain = Deployable(network.eval(), mirror=settings.mirror)
    with torch.inference_mode():
        logs = torch.cat(
            [plain.log_probabilities(batch) for batch in torch.split(torch.from_numpy(images), settings.batch_size)]
        )
    classes = config["classes"]
    truth = pack.manifest["label"].to_numpy()[rows]
    labels = np.array([classes.index(label) for label in truth])
    temperature = fit_temperature(logs.double().numpy(), labels)
    with replacing_folder(out) as part:
        calibrated = Deployable(network, mirror=settings.mirror, temperature=temperature)
        export_onnx(calibrated, part / "model.onnx", images[:COMPARED])
        probabilities = OnnxClassifier(part / "model.onnx", compute.threads).in_batches(images, settings.batch_size)
        decisions = decide(probabilities, classes)
        photos = pack.manifest["photo"].to_numpy()[rows]
        threshold = _threshold(decisions, truth, photos, settings)
        photos_of_split = pd.read_csv(patches / "split.csv", dtype=str)
        write_json(
            part / "config.json",
            {
                "task": "minerals",
                "classes": classes,
                "preprocessing": config["preprocessing"],
                "temperature": temperature,
                "threshold": threshold.value,
                "threshold_choice": {
                    "max_error": settings.max_error,
                    "confidence": settings.confidence,
                    "accepted": threshold.accepted,
                    "errors": threshold.errors,
                    "upper_bound": threshold.bound,
                    "split": split_digest(photos_of_split["split"], photos_of_split["digest"]),
                },
            },
        )


def infer(deployed: Path, patches: Path, examples: Path, settings: Infer, workers: int, out: Path) -> None:
    """Predict the patches of splits 'val' and 'test' and the pictures in ``examples`` with the deployed model.

    Writes ``out/predictions.csv`` (one row a patch, what ``minerals-evaluate`` measures), ``out/examples.json`` as
    users get it from ``sightline minerals predict``, and ``out/unreadable.json``.
    """
    predictor = Predictor(deployed)
    pack = open_pack(patches)
    rows = np.concatenate([pack.rows("val"), pack.rows("test")])
    with replacing_folder(out) as part:
        write_csv(part / "predictions.csv", _predictions(predictor, pack, rows, settings.batch_size))
        found = predictor.predict_folder(examples, workers=workers, batch_size=settings.batch_size)
        write_json(part / "examples.json", found.results)
        write_json(part / "unreadable.json", found.unreadable)


def _threshold(decisions: Decisions, truth: NDArray[np.str_], photos: NDArray[np.str_], settings: Infer) -> Threshold:
    # A patch on which 'none' wins is never accepted, whatever the threshold.
    eligible = ~decisions.none_wins
    correct = (decisions.minerals == truth)[eligible]
    threshold = choose_threshold(
        decisions.confidences[eligible], correct, settings.max_error, settings.confidence, photos[eligible]
    )
    if threshold.value is None:
        say(
            f"warning: on validation no threshold keeps the error below {settings.max_error:.0%} with "
            f"{settings.confidence:.0%} confidence: the predictor will accept nothing; raise minerals.infer.max_error"
        )
    return threshold


def _predictions(predictor: Predictor, pack: Pack, rows: NDArray[np.int64], batch_size: int) -> pd.DataFrame:
    starts = range(0, len(rows), batch_size)
    batches = (np.asarray(pack.images[rows[start : start + batch_size]]) for start in starts)
    with progress(batches, "predicting patches", len(starts), "batch") as bar:
        probabilities = np.concatenate([predictor.classify(batch) for batch in bar])
    decisions = decide(probabilities, predictor.classes)
    accepted = decisions.accepted(np.inf if predictor.threshold is None else predictor.threshold)
    table = pack.manifest.loc[rows, ["photo", "split", "label", "kind"]].reset_index(names="patch")
    table["predicted"] = np.where(decisions.none_wins, NONE, decisions.minerals)
    table["confidence"] = decisions.confidences
    table["accepted"] = accepted
    for number, name in enumerate(predictor.classes):
        table[f"p_{name}"] = probabilities[:, number]
    return table


COMPARED = 64
