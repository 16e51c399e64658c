"""Stage ``memes-luck``: has anything been learned, and is it what the pictures show?

Three questions, from the crudest to the finest. Would labels dealt out at random do as well (shuffle test)? Would a
rule that anyone can write down (the commonest class, colours, the file's size)? And does the network need what a
person looks at, or is it content with colours, captions, borders, textures, sharpness (shortcut probes)?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from scipy.stats import binomtest

from sightline.core.backbone import Backbone, load_backbone
from sightline.core.baselines import colour_histogram_neighbours, majority
from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.images import Pixels
from sightline.core.intervals import Figure, FloatArray, Statistics, bootstrap
from sightline.core.packs import Pack, open_pack
from sightline.core.progress import progress, say
from sightline.core.sheets import contact_sheet, write_png
from sightline.memes.network import MemeNet, describe, load_network, on_backbone
from sightline.memes.params import Luck, Memes
from sightline.memes.permutation import ShuffleTest, ridge_answers, ridge_smoother, shuffle_test
from sightline.memes.shortcuts import Change, answer_by_traits, changes, file_traits
from sightline.params import Compute, load

Option = typer.Option()


def main(
    samples: Annotated[Path, Option],
    inference: Annotated[Path, Option],
    network: Annotated[Path, Option],
    backbone: Annotated[Path, Option],
    out: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    curve: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`probe_luck`."""
    memes = load("memes", Memes)
    prepare(load("compute", Compute), memes.luck.seed)
    probe_luck(
        samples,
        inference,
        network,
        backbone,
        memes.luck,
        memes.evaluate.resamples,
        out,
        figures,
        curve,
        mirror=memes.infer.mirror,
    )


def probe_luck(
    samples: Path,
    inference: Path,
    network: Path,
    backbone: Path,
    settings: Luck,
    resamples: int,
    out: Path,
    figures: Path,
    curve: Path,
    *,
    mirror: bool,
) -> None:
    """Write all figures to the file ``figures``, the learning ``curve``, and what they rest on into the folder ``out``.

    ``out`` gets ``shuffles.csv`` (the accuracy of each shuffle), ``probes.csv`` (a row a test picture: the answer of
    every probe and baseline) and ``probes.png`` (some pictures as the probes change them).

    ``figures`` holds accuracies on the test split with intervals over groups of near-duplicates. Under ``probes`` each
    change has three: ``finetuned``, the fine-tuned network on changed pictures, which it was never trained on;
    ``lost``, by how much that is worse than on the pictures as they are; ``linear``, a linear classifier on the frozen
    network's features, trained and tested on changed pictures. Where both fall to chance, what was taken away is what
    tells the classes apart. Where ``linear`` stays high it is not needed, though the network may rely on it.

    Args:
        samples: a pack, as ``memes-samples`` leaves it.
        inference: the arrays of ``memes-infer``; read is ``frozen_features.npy``.
        network: the folder with ``finetuned``.
        backbone: the frozen one, with which those features were made.
        settings: how often, and how strongly.
        resamples: of each interval.
        out: a folder to write, see above.
        figures: a JSON file to write, see above.
        curve: a CSV file to write: share,groups,pictures,accuracy,low,high,spread (standard deviation over draws).
        mirror: describe a picture by the mean over it and its mirror image, as ``memes-infer`` did.

    Raises:
        InputError: the features are not of these samples, or the test split has too few pictures for an interval.
    """
    pack = open_pack(samples)
    data = _read(pack, np.load(inference / "frozen_features.npy", mmap_mode="r"), inference)
    smoother = ridge_smoother(data.train_features, data.test_features)
    shuffled = shuffle_test(smoother, data.labels, data.groups, data.truth, settings.shuffles, settings.seed)
    tuned, _ = load_network(network / "finetuned")
    changed = changes(settings.resolution, settings.quality, settings.seed)
    answers = {
        "linear": ridge_answers(smoother, data.labels[None], len(data.classes))[0],
        **_baselines(pack, data),
        **_by_traits(pack, data, settings.seed),
        **_probes(pack, data, changed, tuned, load_backbone(backbone), mirror),
    }
    write_json(figures, _figures(answers, shuffled, list(changed), data, settings.seed, resamples))
    write_csv(curve, _learning_curve(data, settings, resamples))
    with replacing_folder(out) as part:
        shuffles = pd.DataFrame({"shuffle": np.arange(settings.shuffles), "accuracy": shuffled.shuffled})
        write_csv(part / "shuffles.csv", shuffles)
        names = np.array(data.classes)
        table = pack.manifest.loc[data.test, ["photo", "label", "group"]]
        write_csv(part / "probes.csv", table.assign(**{name: names[of] for name, of in answers.items()}))
        write_png(part / "probes.png", _examples(pack, data, changed))
    chance, p_value = shuffled.shuffled.mean(), shuffled.p_value
    say(f"linear {shuffled.accuracy:.3f}, from shuffled labels {chance:.3f} on average: p = {p_value:.2g}")


@dataclass(frozen=True)
class _Data:
    """Rows, classes and features of the splits that are compared; classes are numbered in the order of their names."""

    classes: list[str]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: NDArray[np.int64]
    truth: NDArray[np.int64]
    groups: NDArray[Any]
    test_groups: NDArray[Any]
    train_features: NDArray[np.float32]
    test_features: NDArray[np.float32]


def _read(pack: Pack, features: NDArray[np.float32], source: Path) -> _Data:
    if len(features) != len(pack):
        raise InputError(f"{source} describes {len(features)} pictures, the samples are {len(pack)}: run memes-infer")
    train, test = pack.rows("train"), pack.rows("test")
    label, group = pack.manifest["label"].to_numpy(), pack.manifest["group"].to_numpy()
    classes, labels = np.unique(label[train], return_inverse=True)
    number = {name: place for place, name in enumerate(classes)}
    if strange := set(label[test]) - number.keys():
        raise InputError(f"the test split has pictures of {', '.join(sorted(strange))}, the training split has none")
    return _Data(
        classes=classes.tolist(),
        train=train,
        test=test,
        labels=labels,
        truth=np.array([number[name] for name in label[test]], dtype=np.int64),
        groups=group[train],
        test_groups=group[test],
        train_features=np.asarray(features[train]),
        test_features=np.asarray(features[test]),
    )


def _baselines(pack: Pack, data: _Data) -> dict[str, NDArray[np.int64]]:
    known, asked = (pack.images[row] for row in data.train), (pack.images[row] for row in data.test)
    return {
        "majority": majority(data.labels, len(data.test)),
        "colour_histogram_5nn": colour_histogram_neighbours(known, data.labels, asked),
    }


def _by_traits(pack: Pack, data: _Data, seed: int) -> dict[str, NDArray[np.int64]]:
    """What is answered from the traits of the files alone: all of them, then each for itself."""
    train, test = (file_traits(pack.manifest.loc[rows], pack.images[rows]) for rows in (data.train, data.test))
    chosen = {"traits": list(train)} | {f"traits_{name}": [name] for name in train}
    return {
        name: answer_by_traits(train[columns], data.labels, test[columns], seed) for name, columns in chosen.items()
    }


def _probes(
    pack: Pack, data: _Data, changed: Mapping[str, Change], tuned: MemeNet, backbone: Backbone, mirror: bool
) -> dict[str, NDArray[np.int64]]:
    frozen, _ = on_backbone(backbone, len(data.classes))
    answers = {"finetuned": describe(tuned, pack.images[data.test], BATCH, mirror=mirror)[1].argmax(1)}
    for name, change in progress(list(changed.items()), "shortcut probes", unit="probe"):
        train, test = (np.stack([change(pack.images[row], row) for row in rows]) for rows in (data.train, data.test))
        answers[f"{name}_finetuned"] = describe(tuned, test, BATCH, mirror=mirror)[1].argmax(1)
        smoother = ridge_smoother(*(describe(frozen, images, BATCH, mirror=mirror)[0] for images in (train, test)))
        answers[f"{name}_linear"] = ridge_answers(smoother, data.labels[None], len(data.classes))[0]
    return answers


def _figures(
    answers: Mapping[str, NDArray[np.int64]],
    shuffled: ShuffleTest,
    changed: Sequence[str],
    data: _Data,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    right = {name: of == data.truth for name, of in answers.items()}
    lost = {f"{name}_lost": right["finetuned"] * 1.0 - right[f"{name}_finetuned"] for name in changed}
    gained = {f"{name}_gained": right["finetuned"] * 1.0 - right[name] for name in RIVALS}
    gained["traits_over_majority"] = right["traits"] * 1.0 - right["majority"]
    right["shuffle"] = shuffled.right
    found = bootstrap(_means({**right, **lost, **gained}), data.test_groups, seed=seed, resamples=resamples)
    of = {name: figure.as_dict() for name, figure in found.items()}
    return {
        "shuffle_p_value": _p_value(shuffled).as_dict(),
        "shuffle": {
            "accuracy": of["shuffle"],
            "chance": _spread(shuffled.shuffled).as_dict(),
            "classifier": "ridge regression on frozen features, copies labelled alike",
        },
        "accuracy": of["finetuned"],
        "baseline": {name: {"accuracy": of[name], "gain": of[f"{name}_gained"]} for name in RIVALS},
        "traits": {
            "accuracy": of["traits"],
            "over_majority": of["traits_over_majority"],
            "alone": {name.removeprefix("traits_"): of[name] for name in answers if name.startswith("traits_")},
        },
        "probes": {
            "as_is": {"finetuned": of["finetuned"], "linear": of["linear"]},
            **{
                name: {"finetuned": of[f"{name}_finetuned"], "lost": of[f"{name}_lost"], "linear": of[f"{name}_linear"]}
                for name in changed
            },
        },
    }


def _means(values: Mapping[str, NDArray[Any]]) -> Statistics:
    table = np.stack([np.asarray(of, np.float64) for of in values.values()], axis=1)

    def statistics(weights: FloatArray) -> dict[str, float]:
        return dict(zip(values, (weights @ table / weights.sum()).tolist(), strict=True))

    return statistics


def _p_value(shuffled: ShuffleTest) -> Figure:
    """The p-value; its interval (Clopper-Pearson) says how far off so many shuffles may be, and n is their number."""
    shuffles = len(shuffled.shuffled)
    interval = binomtest(shuffled.as_good, shuffles).proportion_ci()
    return Figure(shuffled.p_value, float(interval.low), float(max(interval.high, shuffled.p_value)), shuffles)


def _spread(accuracies: FloatArray) -> Figure:
    """What chance gives: the mean over the shuffles, and where 95 % of them lie."""
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return Figure(float(accuracies.mean()), float(low), float(high), len(accuracies))


def _learning_curve(data: _Data, settings: Luck, resamples: int) -> pd.DataFrame:
    """Accuracy of the linear classifier by the share of each class's groups that it is trained on.

    The interval is over test groups, of the mean over the draws; ``spread`` is how much the draws differ.
    """
    rows = []
    for share in settings.shares:
        drawn = [_draw(data, share, settings.seed + repeat) for repeat in range(settings.repeats)]
        right = np.stack([_right_after(data, chosen) for chosen in drawn])
        statistics = _means({"accuracy": right.mean(0)})
        figure = bootstrap(statistics, data.test_groups, seed=settings.seed, resamples=resamples)["accuracy"]
        rows.append(
            {
                "share": share,
                "groups": np.mean([len(np.unique(data.groups[chosen])) for chosen in drawn]),
                "pictures": np.mean([len(chosen) for chosen in drawn]),
                "accuracy": figure.value,
                "low": figure.low,
                "high": figure.high,
                # Rounded, so that equal draws have no spread at all.
                "spread": round(float(right.mean(1).std(ddof=min(1, len(drawn) - 1))), 9),
            }
        )
    return pd.DataFrame(rows)


def _draw(data: _Data, share: float, seed: int) -> NDArray[np.int64]:
    """Training pictures of a share of each class's groups, at least one; a larger share adds to a smaller one."""
    rng = np.random.default_rng(seed)
    chosen: list[Any] = []
    for number in range(len(data.classes)):
        groups = rng.permutation(np.unique(data.groups[data.labels == number]))
        chosen.extend(groups[: max(1, round(share * len(groups)))])
    return np.flatnonzero(np.isin(data.groups, chosen))


def _right_after(data: _Data, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    smoother = ridge_smoother(data.train_features[chosen], data.test_features)
    answers = ridge_answers(smoother, data.labels[chosen][None], len(data.classes))[0]
    return np.asarray(answers == data.truth)


def _examples(pack: Pack, data: _Data, changed: Mapping[str, Change]) -> Pixels:
    """A contact sheet: the first test pictures of each class, a row each, as they are and as each probe has them."""
    images: list[Pixels | None] = []
    captions: list[str] = []
    for number, name in enumerate(data.classes):
        for row in data.test[data.truth == number][:EXAMPLES]:
            images += [pack.images[row], *(change(pack.images[row], row) for change in changed.values())]
            captions += [name, *(text.replace("_", " ") for text in changed)]
    return contact_sheet(images, captions, columns=1 + len(changed), cell=CELL)


RIVALS = ("majority", "colour_histogram_5nn", "traits")
BATCH = 64
EXAMPLES = 3
CELL = 128
