"""Stage ``faces-train``: three ways to say who a face is, and from which similarity on to believe them.

``knn`` compares pixels, ``cnn`` is trained from scratch on the enrolled people, ``embedding`` compares vectors of a
pretrained face network, where one is given. All see the same aligned crops, each averaged with its mirror image, and
are judged alike: every enrolled photo by a method that has not seen it (leave-one-photo-out; for the network in a few
folds, since a training for each photo would take minutes and say the same), and validation strangers by the final
method. Both have a say in the threshold, see :func:`sightline.faces.openset.choose_threshold`; test faces have none.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core.augment import MEAN, STD, Augmentation
from sightline.core.checkpoints import checkpoint_folder
from sightline.core.classifier import Followed, Recipe, fit
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, sha256, sha256_of, write_csv, write_json
from sightline.core.images import Pixels, pixel_digest
from sightline.core.packs import Pack, open_pack, pack_files
from sightline.core.progress import say
from sightline.core.splits import split_digest
from sightline.core.weights import write_weights
from sightline.faces.embedding import deploy, read_settings
from sightline.faces.gallery import Gallery, save_gallery
from sightline.faces.identity import SIDE, views
from sightline.faces.identity_network import IdentityNet, classify, load_network
from sightline.faces.neighbours import PIXELS, Numbers, Vectors, describe_pixels, leave_one_out, score_people
from sightline.faces.openset import choose_threshold
from sightline.faces.params import Faces, Identity
from sightline.faces.pretrained import find_networks
from sightline.params import Augment, Compute, Runtime, load

Option = typer.Option()


@dataclass(frozen=True)
class Judged:
    """What a method says of faces that it has not seen.

    ``names`` (G,) and ``similarity`` (G,) are its answers for the enrolled photos, each left out; ``impostors`` (V, P)
    the similarities of validation strangers to the enrolled people, sorted by name, which are ``is_shared`` where they
    add up to 1.
    """

    names: NDArray[np.str_]
    similarity: NDArray[np.float32]
    impostors: NDArray[np.float64]
    is_shared: bool = False


def main(
    crops: Annotated[Path, Option],
    weights: Annotated[Path, Option],
    out: Annotated[Path, Option],
    validation: Annotated[Path, Option],
    history: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`train`."""
    faces = load("faces", Faces)
    compute, workers = load("compute", Compute), load("runtime", Runtime).workers
    train(crops, weights, faces.identity, faces.augment, compute, workers, out, validation, history)


def train(
    crops: Path,
    weights: Path,
    settings: Identity,
    augmentation: Augment,
    compute: Compute,
    workers: int,
    out: Path,
    validation: Path,
    history: Path,
) -> None:
    """Learn the faces of split 'gallery' and choose thresholds on those of split 'val'.

    Writes a folder a method into ``out`` (``config.json``; ``gallery.safetensors`` for knn and embedding;
    ``model.safetensors`` or ``model.onnx``), ``config.json`` beside them with the best method;
    ``validation.csv`` (photo, face, method, split, truth, name, similarity) into ``validation``; and the learning
    curves to ``history``: those of ``cnn``, and of its folds with the loss on the photos that are left out. Work that
    was cut off goes on where it stopped.

    Args:
        crops: the pack that ``faces-detect`` leaves.
        weights: a folder with a pretrained face network and its settings; where it is a file without a suffix, there
            is no method ``embedding``.
        settings: ``faces.identity``.
        augmentation: ``faces.augment``.
        compute: device, threads and precision.
        workers: processes that load batches; they do not change the result.
        out: the folder with the methods.
        validation: the folder with what is known of the validation faces.
        history: the learning curves (CSV).

    Raises:
        InputError: there are fewer than two enrolled people or validation faces, or the weights are wrong.
    """
    pack = open_pack(crops)
    faces = _Faces(pack, crops)
    pretrained = find_networks(weights, "faces.embedding.weights", (".onnx", ".safetensors"))
    if len(pretrained) > 1:
        raise InputError(f"faces.embedding.weights: {weights} holds {len(pretrained)} networks: one is wanted")
    given = [read_settings(path) for path in pretrained]
    prepare(compute, settings.seed)
    checkpoints = checkpoint_folder([*pack_files(crops), *pretrained], settings, augmentation, compute, *given)
    judged: dict[str, Judged] = {}
    configs: dict[str, dict[str, Any]] = {}
    galleries: dict[str, Gallery] = {}
    with replacing_folder(out) as part:
        describers: dict[str, Callable[[Pixels], Vectors]] = {"knn": describe_pixels}
        configs["knn"] = {"describer": f"pixels {PIXELS}"}
        for path in pretrained:
            embedder = describers["embedding"] = deploy(path, part / "embedding")
            how = embedder.settings.model_dump(mode="json")
            describer = sha256_of(sha256(part / "embedding" / "model.onnx"), repr(embedder.settings))
            configs["embedding"] = {"describer": describer, "preprocessing": how}
        for method, describe in describers.items():
            vectors, describer = describe(faces.crops), configs[method]["describer"]
            galleries[method] = Gallery(vectors, faces.names, faces.digests, describer)
            save_gallery(part / method / "gallery.safetensors", galleries[method])
            configs[method]["neighbours"] = settings.neighbours
            judged[method] = _by_neighbours(galleries[method], describe(faces.strangers), settings.neighbours)
        course = _Course(faces, settings, augmentation, compute, workers, checkpoints)
        network, judged["cnn"] = course.learn()
        (part / "cnn").mkdir()
        write_weights(part / "cnn" / "model.safetensors", network.state_dict())
        configs["cnn"] = course.config(network)
        for method, answers in judged.items():
            known = {"method": method, "threshold": faces.threshold(answers, settings.false_accepts)}
            configs[method] = known | configs[method]
            write_json(part / method / "config.json", configs[method])
        tables = {method: faces.table(method, judged[method]) for method in sorted(judged)}
        write_json(part / "config.json", _verdict(tables, configs, galleries, settings.neighbours))
    with replacing_folder(validation) as part:
        write_csv(part / "validation.csv", pd.concat(tables.values()))
    write_csv(history, pd.concat(course.curves, names=["model"]).reset_index("model"))
    shutil.rmtree(checkpoints, ignore_errors=True)


class _Faces:
    """The enrolled faces, sorted as in the pack, and those of validation strangers."""

    def __init__(self, pack: Pack, folder: Path) -> None:
        manifest = pack.manifest
        is_used = ~manifest["ignore"].astype(bool) & manifest["role"].isin(["gallery", "stranger"])
        self.enrolled = np.flatnonzero(is_used & (manifest["split"] == "gallery"))
        self.validation = np.flatnonzero(is_used & (manifest["split"] == "val"))
        self.manifest = manifest
        self.names = tuple(manifest["person"].astype(str).iloc[self.enrolled])
        self.people = tuple(sorted(set(self.names)))
        if len(self.people) < 2:
            raise InputError(f"{folder} has faces of {len(self.people)} enrolled people: two are needed to tell apart")
        if len(self.validation) < 2:
            raise InputError(
                f"{folder} has {len(self.validation)} faces of validation strangers, who choose the threshold, and two "
                "are needed: add photos of people who are neither in the gallery nor named in group photos to "
                "strangers/<person>/, or name fewer people in faces.identity.enrolled"
            )
        self.numbers = np.array([self.people.index(name) for name in self.names], np.int64)
        self.crops = np.asarray(pack.images[self.enrolled])
        self.strangers = np.asarray(pack.images[self.validation])
        self.digests = tuple(map(pixel_digest, self.crops))
        splits = ["gallery"] * len(self.crops) + ["val"] * len(self.strangers)
        self.split_digest = split_digest(splits, [*self.digests, *map(pixel_digest, self.strangers)])

    def table(self, method: str, answers: Judged) -> pd.DataFrame:
        """Answers for the enrolled and for the validation faces, as validation.csv holds them."""
        rows = np.concatenate([self.enrolled, self.validation])
        nearest = np.array(self.people)[answers.impostors.argmax(1)]
        return self.manifest.loc[rows, ["photo", "face"]].assign(
            method=method,
            split=["gallery"] * len(self.enrolled) + ["val"] * len(self.validation),
            truth=[*self.names, *[""] * len(self.validation)],
            name=[*answers.names, *nearest],
            similarity=np.concatenate([answers.similarity, answers.impostors.max(1)]),
        )

    def threshold(self, answers: Judged, false_accepts: float) -> dict[str, Any]:
        """The threshold, and what it was chosen on."""
        genuine = answers.similarity[answers.names == np.array(self.names)]
        impostors = answers.impostors.max(1) if answers.is_shared else answers.impostors
        if answers.is_shared and false_accepts * (len(impostors) + 1) < 1:
            say(
                f"warning: {len(impostors)} strangers' faces cannot tell the similarity that {false_accepts:.1%} exceed"
            )
        return {
            "value": choose_threshold(impostors, genuine, false_accepts),
            "false_accepts": false_accepts,
            "strangers": len(impostors),
            "split_sha256": self.split_digest,
        }


def _by_neighbours(gallery: Gallery, strangers: Vectors, k: int) -> Judged:
    best, similarity = leave_one_out(gallery.vectors, gallery.numbers, np.arange(len(gallery)), k)
    # The last is for a single photo in all, which leaves nobody to be found.
    names = np.array([*gallery.people, ""])[best]
    return Judged(names, similarity, score_people(strangers, gallery.vectors, gallery.numbers, k))


def _verdict(
    tables: dict[str, pd.DataFrame], configs: dict[str, dict[str, Any]], galleries: dict[str, Gallery], k: int
) -> dict[str, Any]:
    """Which method is best on validation, and whom it takes for one person under two names."""
    shares = {}
    for method, table in tables.items():
        own = table[table["split"] == "gallery"]
        accepted = own["similarity"].astype(float) >= configs[method]["threshold"]["value"]
        shares[method] = {
            "rank1": float((own["name"] == own["truth"]).mean()),
            "known_right": float((accepted & (own["name"] == own["truth"])).mean()),
        }
    # Of equals the one with the higher rank-1, then that whose people can come and go.
    order = ["cnn", "knn", "embedding"]
    best = max(shares, key=lambda method: (*reversed(shares[method].values()), order.index(method)))
    # Only methods with a gallery can be asked who somebody would be if not themselves.
    comparing = max(galleries, key=lambda method: shares[method]["known_right"])
    doubles = galleries[comparing].doubles(k, configs[comparing]["threshold"]["value"])
    for text in doubles:
        say(f"warning: {text}")
    return {"best": best, "validation": shares, "doubles": doubles}


class _Course:
    """The trainings of the network: one on all enrolled photos, and one a fold without some of them."""

    def __init__(
        self,
        faces: _Faces,
        settings: Identity,
        augmentation: Augment,
        compute: Compute,
        workers: int,
        checkpoints: Path,
    ) -> None:
        self.faces, self.settings, self.compute, self.workers = faces, settings, compute, workers
        self.augmentation, self.checkpoints = augmentation, checkpoints
        self.arguments = {"num_classes": len(faces.people), "width": settings.network.width}
        # Each photo twice: to be learned from, and to be looked at whole after each epoch.
        self.images = np.concatenate([views(faces.crops)] * 2)
        self.labels = np.concatenate([faces.numbers] * 2)
        self.curves: dict[str, pd.DataFrame] = {}

    def learn(self) -> tuple[IdentityNet, Judged]:
        """The network; its folds' answers for the enrolled photos, and its own for the validation faces."""
        people, crops = np.array(self.faces.people), self.faces.crops
        names = np.full(len(crops), "", people.dtype)
        similarity = np.zeros(len(crops), np.float32)
        fold_of = self._folds()
        for fold in range(FOLDS):
            held = fold_of == fold
            if held.any():
                found = classify(self._fit(f"fold-{fold + 1}", held), crops[held])
                names[held], similarity[held] = people[found.argmax(1)], found.max(1)
        network = self._fit("cnn", np.zeros(len(crops), bool))
        impostors = classify(network, self.faces.strangers).astype(np.float64)
        return network, Judged(names, similarity, impostors, is_shared=True)

    def config(self, network: IdentityNet) -> dict[str, Any]:
        """What is written beside the network's weights."""
        return {
            "architecture": "IdentityNet",
            "arguments": self.arguments,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "classes": list(self.faces.people),
            "folds": FOLDS,
            "preprocessing": {"size": SIDE, "resize": "centre", "colour": "RGB", "mean": MEAN, "std": STD},
        }

    def _folds(self) -> Numbers:
        """Photo j of every person is left out in fold j, counted on from 0 again after the last fold."""
        numbers = self.faces.numbers
        order = [int((numbers[:row] == number).sum()) for row, number in enumerate(numbers)]
        return np.array(order, np.int64) % FOLDS

    def _fit(self, name: str, held: NDArray[np.bool_]) -> IdentityNet:
        """Train without the photos in ``held``, or take over what an earlier call left before it was cut off."""
        prepare(self.compute, self.settings.seed)
        network = IdentityNet(**self.arguments)
        done = self.checkpoints / name / "done"
        if not done.is_dir():
            splits = np.concatenate([np.where(held, "", split) for split in ("train", "val")])
            pack = Pack(self.images, pd.DataFrame({"split": splits}))
            followed = Followed(len(held) + np.flatnonzero(held), self.settings.network.epochs) if held.any() else None
            running = self.checkpoints / name / "running"
            history = fit(
                network, pack, self.labels, self._recipe(), self.compute, self.workers, running, followed=followed
            )
            with replacing_folder(done) as part:
                write_weights(part / "model.safetensors", network.state_dict())
                write_csv(part / "history.csv", _with_held_loss(history, followed))
        self.curves[name] = pd.read_csv(done / "history.csv")
        return load_network(done / "model.safetensors", {"arguments": self.arguments})

    def _recipe(self) -> Recipe:
        people = len(self.faces.people)
        return Recipe(
            seed=self.settings.seed,
            **self.settings.network.model_dump(exclude={"width"}),
            crop_size=SIDE,
            class_shares=(1 / people,) * people,
            augmentation=Augmentation(**self.augmentation.model_dump()),
        )


def _with_held_loss(history: pd.DataFrame, followed: Followed | None) -> pd.DataFrame:
    """A column for the photos that were left out; 'val' are the learned ones, seen whole."""
    renamed = history.rename(columns={"val_loss": "own_loss", "val_accuracy": "own_accuracy"})
    losses = followed.losses.mean(0)[: len(history)] if followed else np.nan
    return renamed.drop(columns="val_macro_f1").assign(left_out_loss=losses)


FOLDS = 4
