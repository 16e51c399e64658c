"""Stage ``faces-emotion``: what reads emotions from faces, trained or taken over, and calibrated on validation.

Where pretrained networks are given they are put together as a panel; otherwise a network of our own learns from the
emotion pictures of split 'train'. How much each network counts for each emotion, which is a temperature where there is
one, and how much each emotion is to be preferred (networks were trained on other shares of them, by other people's
labels) comes from faces that the networks did not learn from: splits 'train' and 'val' for pretrained ones, 'val' for
our own. Split 'test' is not looked at.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from scipy import optimize, special

from sightline.core.augment import Augmentation
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.classifier import Recipe, fit
from sightline.core.compute import prepare
from sightline.core.deploy import Deployable, export_onnx
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, sha256, write_csv, write_json
from sightline.core.images import pixel_digest
from sightline.core.packs import Pack, open_pack, pack_files
from sightline.core.progress import say
from sightline.core.splits import split_digest
from sightline.core.weights import write_weights
from sightline.faces.emotion_network import EmotionNet
from sightline.faces.feelings import FACE_WINDOW, EmotionNetwork, Settings, combine, read_settings
from sightline.faces.params import EMOTIONS, Emotion, Faces
from sightline.faces.pretrained import find_networks
from sightline.params import Augment, Compute, Runtime, load

Option = typer.Option()
FloatArray = NDArray[np.float64]


def main(
    crops: Annotated[Path, Option],
    weights: Annotated[Path, Option],
    out: Annotated[Path, Option],
    history: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`learn_emotions`."""
    faces = load("faces", Faces)
    compute, workers = load("compute", Compute), load("runtime", Runtime).workers
    learn_emotions(crops, weights, faces.emotion, faces.augment, compute, workers, out, history)


def learn_emotions(
    crops: Path,
    weights: Path,
    settings: Emotion,
    augmentation: Augment,
    compute: Compute,
    workers: int,
    out: Path,
    history: Path,
) -> None:
    """Write the folder ``out``, which :func:`sightline.faces.feelings.load_emotion` reads, and ``history`` (CSV).

    ``out`` holds an ONNX graph for each network, ``model.safetensors`` beside it where the network is ours, and
    ``config.json``. ``history`` has a row an epoch, none where nothing was trained. A training that was cut off goes on
    where it stopped.

    Args:
        crops: the pack that ``faces-detect`` leaves.
        weights: a folder of ONNX files, each with its settings in a JSON file of the same stem; a file without a
            suffix stands for none.
        settings: ``faces.emotion``.
        augmentation: ``faces.augment``.
        compute: device, threads and precision.
        workers: processes that load batches; they do not change the result.
        out: the folder with the networks.
        history: the learning curve.

    Raises:
        InputError: a pretrained network or its settings are wrong, an emotion has no pictures to learn from, or
            ``settings.trust`` names a source of labels that is not there.
    """
    faces = EmotionFaces.open(crops)
    with replacing_folder(out) as part:
        if given := find_networks(weights, "faces.emotion.weights"):
            networks = [_take_over(path, part, compute) for path in given]
            unseen, curve = ["train", "val"], pd.DataFrame(columns=CURVE)
        else:
            checkpoints = checkpoint_folder(pack_files(crops), settings, augmentation, compute)
            network, curve = _train(faces, settings, augmentation, compute, workers, checkpoints)
            networks, unseen = [_export(network, faces, part, compute)], ["val"]
        known = {"task": "faces", "classes": EMOTIONS, **calibrate(networks, faces, unseen, settings.trust)}
        write_json(part / "config.json", known)
    write_csv(history, curve)


@dataclass(frozen=True)
class EmotionFaces:
    """The faces of a pack with an emotion each: ``pack`` with a split for these alone, and ``labels`` (N,), -1 else."""

    pack: Pack
    labels: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> "EmotionFaces":
        """Open the pack of ``faces-detect``.

        Raises:
            InputError: it holds no pack, or an emotion that is none of the seven.
        """
        pack = open_pack(folder)
        chosen = pack.manifest["role"] == "emotion"
        names = pack.manifest["emotion"].where(chosen, "")
        if strange := sorted(set(names) - {*EMOTIONS, ""}):
            raise InputError(f"{folder}: emotion {', '.join(strange)} is none of {', '.join(EMOTIONS)}")
        numbers = names.map({name: number for number, name in enumerate(EMOTIONS)}).fillna(-1)
        labels = numbers.to_numpy().astype(np.int64)
        chosen &= labels >= 0
        manifest = pack.manifest.assign(split=pack.manifest["split"].where(chosen, ""))
        return cls(Pack(pack.images, manifest), labels)

    def counts(self, trust: Mapping[str, float]) -> FloatArray:
        """How much each face counts, (N,), by the source of its label.

        Raises:
            InputError: no label comes from a source that ``trust`` names.
        """
        sets = self.pack.manifest["set"].where(self.labels >= 0, "")
        there = sorted(set(sets) - {""})
        if strange := sorted(set(trust) - set(there)):
            raise InputError(
                f"faces.emotion.trust names {', '.join(strange)}; labels are of {', '.join(there) or 'no source'}"
            )
        return np.array([trust.get(name, 1.0) for name in sets], np.float64)

    def check(self) -> None:
        """See that there is something to learn each emotion from, and to choose the best epoch by.

        Raises:
            InputError: an emotion has no picture in split 'train' or 'val'.
        """
        for split in ("train", "val"):
            present = set(self.labels[self.pack.rows(split)].tolist())
            if missing := [name for number, name in enumerate(EMOTIONS) if number not in present]:
                counts = ", ".join(str((self.labels == EMOTIONS.index(name)).sum()) for name in missing)
                raise InputError(
                    f"no picture of {', '.join(missing)} in split '{split}' (of {counts} in all): add some to the "
                    "folder 'emotion', or give pretrained networks in faces.emotion.weights"
                )


def calibrate(
    networks: Sequence[EmotionNetwork], faces: EmotionFaces, splits: Sequence[str], trust: Mapping[str, float]
) -> dict[str, Any]:
    """What config.json says of the networks: how to use each, and how good they are on the faces that this rests on.

    Those are the faces of ``splits``, each counting as ``trust`` says. Without any the networks count alike and no
    emotion is preferred.
    """
    rows = np.concatenate([faces.pack.rows(split) for split in splits])
    labels, counts = faces.labels[rows], faces.counts(trust)[rows]
    weights, offsets = np.full((len(networks), len(EMOTIONS)), 1 / len(networks)), np.zeros(len(EMOTIONS))
    rests_on: dict[str, Any] = {"splits": list(splits), "faces": len(rows)}
    if counts.any():
        images = np.asarray(faces.pack.images[rows])
        votes = np.stack([network(images) for network in networks])
        weights, offsets = fit_panel(votes, labels, counts)
        rests_on |= {
            "split": _split_digest(faces),
            **_measure(combine(votes, weights, offsets), labels),
            "networks": {
                network.path.name: _measure(np.exp(vote), labels) for network, vote in zip(networks, votes, strict=True)
            },
        }
        say(f"emotions: calibrated on {len(rows)} faces, {rests_on['accuracy']:.3f} of them right")
    else:
        say("warning: no emotion pictures to calibrate on: probabilities are the networks' own")
    return {
        "networks": [
            {
                "file": network.path.name,
                "sha256": sha256(network.path),
                "weights": dict(zip(EMOTIONS, own.round(6).tolist(), strict=True)),
                "settings": network.settings.model_dump(mode="json"),
            }
            for network, own in zip(networks, weights, strict=True)
        ],
        "offsets": dict(zip(EMOTIONS, offsets.round(6).tolist(), strict=True)),
        "calibration": rests_on,
    }


def fit_panel(votes: FloatArray, labels: NDArray[np.integer[Any]], counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit weights (S, 7) and offsets (7,) of :class:`~sightline.faces.feelings.Panel` to validation faces.

    They make the labels most likely, as vector scaling does (Guo et al., ICML 2017) with one network. A weight is what
    the network counts for all emotions, 0 at the least, and what it counts for this one in addition: one network knows
    fear from surprise where another never says fear. What is added is held back by a Gaussian prior of precision
    :data:`PRIOR`, and so are the offsets: how often each emotion is met in the pictures that somebody collected says
    little about other faces. What is added counts from a network's mean vote on: where it finds an emotion unlikely in
    every face, a small weight would be a large offset else.

    Args:
        votes: log-probabilities (S, N, 7) by S networks.
        labels: true emotions, (N,), numbers of columns.
        counts: how many faces each stands for, (N,).
    """
    voters, _, classes = votes.shape
    truth = np.eye(classes)[labels]
    means = np.average(votes, axis=1, weights=counts)
    centred = votes - means[:, None]

    def loss(numbers: FloatArray) -> tuple[float, FloatArray]:
        weights, held = numbers[:voters, None], numbers[voters:].reshape(voters + 1, classes)
        logits = (weights[:, None] * votes + held[:voters, None] * centred).sum(0) + held[voters]
        logs = special.log_softmax(logits, axis=1)
        excess = counts[:, None] * (np.exp(logs) - truth)
        slopes = np.vstack([np.einsum("nk,snk->sk", excess, centred), excess.sum(0)]) + PRIOR * held
        found = np.concatenate([np.einsum("nk,snk->s", excess, votes), slopes.ravel()])
        unlikely = -counts @ (logs * truth).sum(axis=1) + PRIOR * (held**2).sum() / 2
        return float(unlikely) / counts.sum(), found / counts.sum()

    start = np.concatenate([np.full(voters, 1 / voters), np.zeros((voters + 1) * classes)])
    bounds = [(0, MOST)] * voters + [(None, None)] * ((voters + 1) * classes)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    held = found[voters:].reshape(voters + 1, classes)
    return found[:voters, None] + held[:voters], held[voters] - (held[:voters] * means).sum(0)


def _measure(probabilities: FloatArray, labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    likelihood = np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, None))
    accuracy = (probabilities.argmax(1) == labels).mean()
    return {"accuracy": round(float(accuracy), 6), "log_loss": round(float(-likelihood.mean()), 6)}


def _split_digest(faces: EmotionFaces) -> str:
    rows = np.flatnonzero(faces.pack.manifest["split"] != "")
    digests = [pixel_digest(np.asarray(faces.pack.images[row])) for row in rows]
    return split_digest(faces.pack.manifest["split"].to_numpy()[rows], digests)


def _take_over(path: Path, folder: Path, compute: Compute) -> EmotionNetwork:
    settings = read_settings(path.with_suffix(".json"))
    # Opened where it is first, so that an error names the user's own file.
    EmotionNetwork(path, settings, compute.threads)
    shutil.copyfile(path, folder / path.name)
    return EmotionNetwork(folder / path.name, settings, compute.threads)


def _train(
    faces: EmotionFaces,
    settings: Emotion,
    augmentation: Augment,
    compute: Compute,
    workers: int,
    checkpoints: Path,
) -> tuple[EmotionNet, pd.DataFrame]:
    faces.check()
    prepare(compute, settings.seed)
    left, top, right, bottom = FACE_WINDOW
    # A view of the memory map: nothing is read before a batch asks for it.
    pack = Pack(faces.pack.images[:, top:bottom, left:right], faces.pack.manifest)
    network = EmotionNet(len(EMOTIONS), settings.network.width)
    recipe = Recipe(
        seed=settings.seed,
        **settings.network.model_dump(exclude={"width"}),
        crop_size=TRAIN_SIZE,
        class_shares=(1 / len(EMOTIONS),) * len(EMOTIONS),
        augmentation=Augmentation(**augmentation.model_dump()),
    )
    curve = fit(network, pack, faces.labels, recipe, compute, workers, checkpoints)
    return network.eval(), curve


def _export(network: EmotionNet, faces: EmotionFaces, folder: Path, compute: Compute) -> EmotionNetwork:
    left, top, right, bottom = FACE_WINDOW
    sample = np.asarray(faces.pack.images[faces.pack.rows("val")[:COMPARED], top:bottom, left:right])
    write_weights(folder / "model.safetensors", network.state_dict())
    export_onnx(Deployable(network, mirror=False), folder / "model.onnx", sample)
    settings = Settings(
        size=right - left, colour="RGB", output="probabilities", gives="probabilities", classes=EMOTIONS
    )
    return EmotionNetwork(folder / "model.onnx", settings, compute.threads)


CURVE = ["epoch", "lr", "train_loss", "val_loss", "val_accuracy", "val_macro_f1"]
# A multiple of 32 about as large as the window: the features lie on a grid that a smaller view would fill otherwise.
TRAIN_SIZE = 96
COMPARED = 64
PRIOR, MOST = 20.0, 100.0
