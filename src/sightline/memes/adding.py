"""Add a class to a deployed model from a folder of pictures, with what the model remembers of its training.

The result is another deployed folder; the old one is read and nothing else. A model can be added to again.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder, write_json
from sightline.core.images import fit_to_square, read_image
from sightline.core.progress import say
from sightline.core.serving import FolderOutputs, OnnxNetwork, run_on_folder
from sightline.memes.grafting import graft
from sightline.memes.growing import METHODS, Grown, Head, Method, class_mean, grown_head, ranpac
from sightline.memes.memory import Labels, Memory, Vectors, extended
from sightline.memes.params import UNKNOWN
from sightline.memes.predictor import DECIDES, Predictor
from sightline.memes.refitting import refit, same_share
from sightline.memes.unknowns import Description, Scorer, save_scorer


@dataclass(frozen=True)
class Way:
    """How a class is learned: a method of ``growing``, the space that it works in, and its settings."""

    method: Method = "ranpac"
    space: str = DECIDES
    settings: Mapping[str, Any] = field(default_factory=lambda: DEFAULTS["ranpac"])


def best_way(evidence: Path, method: str | None = None) -> Way:
    """What ``memes-extend`` has found best on validation, or ``method`` with its default settings.

    Args:
        evidence: ``metrics/memes/extend.json``; where it is missing or says nothing, RanPAC is taken, which stands
            apart from how the network was trained.
        method: one of ``METHODS``, to be used whatever the evidence says.

    Raises:
        InputError: there is no such method, or the file is damaged.
    """
    if method is not None:
        if method not in METHODS:
            raise InputError(f"there is no method '{method}', only {', '.join(METHODS)}")
        return Way(next(known for known in METHODS if known == method), settings=DEFAULTS[method])
    try:
        chosen = read_json(evidence)["chosen"]
        return Way() if chosen is None else Way(chosen["method"], chosen["space"], chosen["settings"])
    except FileNotFoundError:
        return Way()
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{evidence} is not what memes-extend writes: {error}") from None


def add_class(name: str, folder: Path, model: Path, out: Path, way: Way, workers: int = 2, batch_size: int = 64) -> int:
    """Write to ``out`` what ``model`` is with one class more, learned from the pictures of ``folder``.

    Files that are no whole pictures are left out, of an animation the first frame counts, of copies the first.

    Returns:
        How many pictures were learned from.

    Raises:
        InputError: the name is taken or no name for a class, ``out`` exists or lies in ``model`` or ``folder``, there
            are fewer than ``FEWEST`` different pictures, or the model knows most of them as another class.
    """
    _check_place(out, model, folder)
    predictor = Predictor(model)
    check_name(name, predictor.classes)
    memory = Memory.load(model / "memory.safetensors")
    config = read_json(model / "config.json")
    found = run_on_folder(predictor.network, folder, workers, batch_size)
    rows = _worth_learning(found, memory, predictor.classes, folder)
    features = {space: found.outputs[f"{space}_features"][rows] for space in memory.features}
    if way.space not in features:
        raise InputError(f"{model} remembers no {way.space} features, only {', '.join(features)}")
    grown = _learn(way, memory, features[way.space], predictor.temperature)
    known = {
        space: np.concatenate([old, found.outputs[f"{space}_logits"][rows]]) for space, old in memory.logits.items()
    }
    logits = grown.all_logits(np.concatenate([memory.features[way.space], features[way.space]]), known)
    larger = extended(memory, features, logits)
    if isinstance(grown, Head):
        larger.heads[way.space] = (grown.weight.T, grown.bias)
    scorer, threshold = _refitted(predictor, memory, larger)
    with replacing_folder(out) as part:
        names = [f"{space}_logits" for space in memory.logits]
        graft(model / "model.onnx", part / "model.onnx", grown, features=f"{way.space}_features", logits=names)
        larger.save(part / "memory.safetensors")
        save_scorer(part / "scorer.safetensors", scorer)
        how = {"class": name, "pictures": len(rows), "method": way.method, "space": way.space}
        write_json(
            part / "config.json",
            {
                **config,
                "classes": [*predictor.classes, name],
                "scorer": {**config["scorer"], "settings": scorer.settings, "threshold": threshold},
                "added": [*config.get("added", []), {**how, "settings": dict(way.settings)}],
            },
        )
        for path in model.iterdir():
            if path.is_file() and path.name not in WRITTEN:
                shutil.copyfile(path, part / path.name)
        _compare(predictor.network, part / "model.onnx", folder / found.names[rows[0]], grown, way.space)
    return len(rows)


def check_name(name: str, classes: Sequence[str]) -> None:
    """Make sure that ``name`` can be a class's and is not one of ``classes``, however it is capitalised.

    Raises:
        InputError: it is not.
    """
    if not name.strip() or name != name.strip() or name.startswith(".") or not name.isprintable():
        raise InputError(f"{name!r} is no name for a class: letters and digits, with no spaces around them")
    if "/" in name or "\\" in name:
        raise InputError(f"{name!r} is no name for a class: it must have no slashes, as folders are named after it")
    if name.casefold() == UNKNOWN:
        raise InputError(f"a class cannot be called {name!r}: that is what pictures of no class are called")
    for known in classes:
        if name.casefold() == known.casefold():
            raise InputError(f"the model already has a class {known!r}: choose another name")


def _check_place(out: Path, model: Path, folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    target = out.resolve()
    if target == model.resolve() or target.is_relative_to(model.resolve()):
        raise InputError(f"{out} lies in the model that is added to, which stays as it is: choose another folder")
    if target.is_relative_to(folder.resolve()):
        raise InputError(f"{out} lies among the pictures of the class: choose another folder")
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} exists: choose another folder, or remove it first")


def _worth_learning(found: FolderOutputs, memory: Memory, classes: Sequence[str], folder: Path) -> NDArray[np.int64]:
    """The rows of different pictures that the model does not remember as pictures of a class."""
    if not found.names:
        raise InputError(f"{folder} holds no pictures that can be read: a class needs {FEWEST} at least")
    space = next(iter(memory.features))
    features = found.outputs[f"{space}_features"]
    same = _alike(features, features)
    copies = np.asarray(np.tril(same, -1).any(axis=1))
    remembered = _alike(features, memory.features[space])
    met = np.asarray(remembered.any(axis=1))
    for row in np.flatnonzero(copies & ~met):
        say(f"{found.names[row]}: the same picture as {found.names[int(same[row].argmax())]}: left out")
    for row in np.flatnonzero(met):
        label = classes[memory.labels[int(remembered[row].argmax())]]
        say(f"{found.names[row]}: the model knows this picture, as one of {label!r}: left out")
    if 2 * met.sum() >= len(met):
        label = classes[int(np.bincount(memory.labels[remembered.argmax(1)[met]]).argmax())]
        raise InputError(f"the model knows {met.sum()} of the {len(met)} pictures of {folder} already, as {label!r}")
    rows = np.flatnonzero(~copies & ~met)
    if len(rows) < FEWEST:
        raise InputError(
            f"{folder} holds {len(rows)} different pictures that can be read: a class needs {FEWEST} at least, "
            "and is learned well from 20"
        )
    if len(rows) < FEW:
        say(f"warning: {len(rows)} pictures are few to learn a class from")
    return rows


def _alike(features: Vectors, others: Vectors) -> NDArray[np.bool_]:
    """Which pictures (N, M) a network cannot tell apart: copies, also those whose files differ."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (features, others))
    return np.asarray(a @ b.T > 1 - SAME)


def _learn(way: Way, memory: Memory, fresh: Vectors, temperature: float) -> Grown:
    old, numbers = memory.train(way.space)
    features: Vectors = np.concatenate([old, fresh])
    labels: Labels = np.append(numbers, np.full(len(fresh), numbers.max() + 1))
    if way.method == "class_mean":
        return class_mean(features, labels, temperature=temperature)
    if way.method == "ranpac":
        return ranpac(features, labels, temperature=temperature, **way.settings)
    if len(memory.heads[way.space][1]) <= numbers.max():
        raise InputError("a class was added to this model without a row in its head: grown_head cannot go on from that")
    return grown_head(features, labels, memory.heads[way.space], **way.settings)


def _refitted(predictor: Predictor, memory: Memory, larger: Memory) -> tuple[Scorer, float]:
    """The predictor's scorer, which knows the new class, and the threshold that keeps as much of validation."""
    scorer = refit(predictor.scorer, predictor.space, larger)
    before, after = (
        each(Description(of.features[predictor.space], of.logits[predictor.space])[~of.is_train])
        for each, of in ((predictor.scorer, memory), (scorer, larger))
    )
    return scorer, same_share(before, predictor.threshold, after)


def _compare(network: OnnxNetwork, new: Path, picture: Path, grown: Grown, space: str) -> None:
    """Fail if the new graph does not give what was learned."""
    image = fit_to_square(read_image(picture), network.size)[None]
    before, after = network(image), OnnxNetwork(new)(image)
    expected = grown.logits(before[f"{space}_features"], before[f"{DECIDES}_logits"])
    difference = float(np.abs(after[f"{DECIDES}_logits"] - expected).max() / max(1, np.abs(expected).max()))
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the grown graph differs by {difference:.2e} from what was learned")


DEFAULTS: dict[str, dict[str, Any]] = {
    "class_mean": {},
    "ranpac": {"projections": 4096, "ridge": 1.0, "seed": 5},
    "grown_head": {"epochs": 10},
}
WRITTEN = ("model.onnx", "memory.safetensors", "scorer.safetensors", "config.json")
FEWEST = 3
"""Different pictures of a class: leaving one out must leave some to compare it with."""
FEW = 5
"""The fewest that ``memes-extend`` tries."""
SAME = 1e-6
TOLERANCE = 1e-3
