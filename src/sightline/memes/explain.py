"""Stage ``memes-explain``: what is misclassified and why, which labels are suspicious, and what curing them does."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from sightline.core.compute import prepare
from sightline.core.errors import InputError
from sightline.core.files import replacing_folder, write_csv, write_json
from sightline.core.images import Pixels
from sightline.core.intervals import FloatArray, Statistics, bootstrap
from sightline.core.packs import Pack, open_pack
from sightline.core.progress import say
from sightline.core.sheets import contact_sheet, write_png
from sightline.core.splits import SPLITS
from sightline.memes.attention import attention, overlay
from sightline.memes.causes import CAUSES, Evidence, Limits, look_for_text, name_cause
from sightline.memes.network import load_network
from sightline.memes.params import Explain, Memes
from sightline.memes.probe import fit_probe, load_probe, softmax
from sightline.memes.shortcuts import CAPTION, sharpness
from sightline.memes.suspicion import Opinion, held_out_opinion, label_quality, most_suspicious
from sightline.params import Compute, load

Option = typer.Option()


def main(
    raw: Annotated[Path, Option],
    samples: Annotated[Path, Option],
    network: Annotated[Path, Option],
    training: Annotated[Path, Option],
    inference: Annotated[Path, Option],
    out: Annotated[Path, Option],
    figures: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`explain`."""
    memes = load("memes", Memes)
    prepare(load("compute", Compute), memes.explain.seed)
    truth = raw / memes.data.kinds.table
    explain(truth, samples, network, training, inference, memes.explain, memes.evaluate.resamples, out, figures)


def explain(
    truth: Path,
    samples: Path,
    network: Path,
    training: Path,
    inference: Path,
    settings: Explain,
    resamples: int,
    out: Path,
    figures: Path,
) -> None:
    """Write what is known of each misclassified picture and each suspicious label, and the ``figures`` that follow.

    ``out`` gets

    - ``explained.csv``, a row for every misclassified picture of splits val and test: ``row`` (of the pack), ``photo``,
      ``split``, ``label``, ``predicted``, ``cause`` and ``evidence`` (see :mod:`sightline.memes.causes`), what the
      rules go by (``confidence`` … ``marks``), ``label_quality``, ``losses`` (after each epoch), ``nearest`` (training
      pictures in fine-tuned features) and ``nearest_labels`` (both divided by ' | '), ``attention_on_captions`` (the
      share of Grad-CAM's map of the predicted class that lies in the top and the bottom fifth);
    - ``pictures/<row>.png``: it, Grad-CAM for the predicted and for the given class, its nearest training pictures;
    - ``explained.png``, all of them small;
    - ``suspects.csv``, a row for each suspicious training label, the worst first; ``suspects.png``.

    ``figures`` counts causes, and says what a linear probe on frozen features gains on val from training without the
    suspects, with their labels changed, and without as many random pictures. If the table ``truth`` is there, which
    drawn data have (columns ``file`` and ``mislabelled``), both tables say what is true, and figures say how many of
    the suspects are mislabelled and how many of the mislabelled are suspects.

    Args:
        truth: a table that need not exist.
        samples: a pack, as ``memes-samples`` leaves it.
        network: the folder with ``finetuned`` and ``probe``.
        training: as ``memes-train`` leaves it; read is ``losses.npy``.
        inference: as ``memes-infer`` leaves it: features and ``predictions.csv``.
        settings: how many neighbours, suspects and folds.
        resamples: of each interval.
        out: a folder to write, see above.
        figures: a JSON file to write, see above.

    Raises:
        InputError: the folders are not of the same samples, or too few pictures to judge labels or for an interval.
    """
    data = _read(samples, training, inference, truth)
    tuned, _ = load_network(network / "finetuned")
    c = float(load_probe(network / "probe")[1]["c"])
    train, rows = data.rows("train"), data.misclassified()
    opinion = held_out_opinion(
        data.frozen[train], data.labels[train], data.groups[train], c, settings.folds, settings.seed
    )
    suspects, trust = most_suspicious(data.labels[train], opinion, data.losses[train], settings.suspects)
    explained, neighbours = _explain_rows(data, rows, opinion, c, settings.neighbours)
    images = data.pack.images[rows]
    seen = [attention(tuned, images, numbers[rows]) for numbers in (data.predicted, data.labels)]
    explained["attention_on_captions"] = [_on_captions(of) for of in seen[0]]
    with replacing_folder(out) as part:
        write_csv(part / "explained.csv", explained)
        write_csv(part / "suspects.csv", _describe_suspects(data, train, suspects, opinion, trust))
        (part / "pictures").mkdir()
        for place, row in enumerate(rows):
            panel = _panel(data, row, seen[0][place], seen[1][place], neighbours[place][:SHOWN])
            write_png(part / "pictures" / f"{row}.png", panel)
        write_png(part / "explained.png", _sheet(data, rows, list(explained["cause"])))
        write_png(part / "suspects.png", _sheet(data, train[suspects], list(data.label[train[suspects]])))
    found = _figures(data, explained, train, suspects, opinion, trust, c, settings.seed, resamples)
    write_json(figures, found)
    counts = ", ".join(f"{number} {cause}" for cause, number in explained["cause"].value_counts().items())
    say(f"{len(rows)} misclassified: {counts or 'nothing to explain'}; {len(suspects)} suspicious labels")


@dataclass(frozen=True)
class _Data:
    """All pictures, row by row; ``labels`` and ``predicted`` are numbers of classes, -1 for unknown and later ones."""

    pack: Pack
    classes: list[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: FloatArray
    losses: NDArray[np.float32]
    frozen: NDArray[np.float32]
    finetuned: NDArray[np.float32]
    wrong: NDArray[np.bool_] | None
    """Whether the label is wrong, where that is known."""

    def rows(self, split: str) -> NDArray[np.int64]:
        return self.pack.rows(split)

    @cached_property
    def groups(self) -> NDArray[Any]:
        return self.pack.manifest["group"].to_numpy()

    @cached_property
    def label(self) -> NDArray[Any]:
        return self.pack.manifest["label"].to_numpy()

    @cached_property
    def photo(self) -> NDArray[Any]:
        return self.pack.manifest["photo"].to_numpy()

    def misclassified(self) -> NDArray[np.int64]:
        """Rows of val and test, the surest first: what the network is sure of and wrong about comes first."""
        rows = np.concatenate([self.rows("val"), self.rows("test")])
        rows = rows[self.predicted[rows] != self.labels[rows]]
        return np.asarray(rows[np.argsort(-self.confidence[rows], kind="stable")])


def _read(samples: Path, training: Path, inference: Path, truth: Path) -> _Data:
    pack = open_pack(samples)
    texts = dict.fromkeys(("photo", "split", "label", "kind", "predicted"), str)
    predictions = pd.read_csv(inference / "predictions.csv", keep_default_na=False, dtype=texts)
    losses, frozen, finetuned = (
        np.load(path)
        for path in (
            training / "losses.npy",
            inference / "frozen_features.npy",
            inference / "finetuned_features.npy",
        )
    )
    for name, rows in {"losses": losses, "frozen features": frozen, "fine-tuned features": finetuned}.items():
        if len(rows) != len(pack):
            raise InputError(f"{len(pack)} samples but {len(rows)} rows of {name}: run memes-train and memes-infer")
    by_photo = predictions.set_index("photo").reindex(pack.manifest["photo"])
    known = pack.manifest["split"].isin(SPLITS).to_numpy()
    if by_photo["predicted"].isna().to_numpy()[known].any():
        raise InputError(f"{inference} lacks predictions of some samples: run memes-infer")
    classes = sorted(set(pack.manifest["label"][known]))
    number = {name: place for place, name in enumerate(classes)}
    return _Data(
        pack=pack,
        classes=classes,
        labels=np.where(known, pack.manifest["label"].map(number).fillna(-1), -1).astype(np.int64),
        predicted=by_photo["predicted"].map(number).fillna(-1).to_numpy(np.int64),
        confidence=by_photo["confidence"].fillna(0).to_numpy(np.float64),
        losses=losses,
        frozen=frozen,
        finetuned=finetuned,
        wrong=_wrong(truth, pack),
    )


def _wrong(truth: Path, pack: Pack) -> NDArray[np.bool_] | None:
    if not truth.is_file():
        return None
    table = pd.read_csv(truth, keep_default_na=False, dtype=str)
    if not {"file", "mislabelled"} <= set(table):
        return None
    return np.asarray(pack.manifest["photo"].isin(table["file"][table["mislabelled"] == "yes"]), dtype=np.bool_)


def _explain_rows(
    data: _Data, rows: NDArray[np.int64], opinion: Opinion, c: float, neighbours: int
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The table of the misclassified ``rows``, and the training pictures (rows of the pack) nearest to each."""
    train = data.rows("train")
    labels = data.labels[train]
    # These pictures are in no fold: the probe that was trained on all training pictures has not seen them.
    probabilities = softmax(fit_probe(data.frozen[train], labels, c).logits(data.frozen[rows]))
    quality = label_quality(data.labels[rows], probabilities) if len(rows) else np.empty(0)
    nearest = train[_order(data.finetuned[rows], data.finetuned[train])[:, :neighbours]]
    distances = _distances(data.frozen[rows], data.frozen[train]).min(1, initial=2)
    apart = _distances(data.frozen[train], data.frozen[train])
    apart[data.groups[train][:, None] == data.groups[train]] = np.inf
    sure = opinion.probabilities[np.arange(len(train)), labels]
    usual = Limits(
        sharpness=float(np.quantile([sharpness(data.pack.images[row]) for row in train], 0.01)),
        side=data.pack.images.shape[1] / 3,
        distance=float(np.quantile(apart.min(1), 0.95)),
        doubt=0.0,
    )
    table = []
    for place, row in enumerate(rows):
        preferred = int(probabilities[place].argmax())
        evidence = Evidence(
            confidence=float(data.confidence[row]),
            twin=_twin(data, row),
            sharpness=sharpness(data.pack.images[row]),
            side=int(data.pack.manifest.loc[row, ["width", "height"]].min()),
            distance=float(distances[place]),
            doubt=float(probabilities[place, preferred]) if preferred != data.labels[row] else 0.0,
            agreeing=float((data.labels[nearest[place]] == data.predicted[row]).mean()),
            **look_for_text(data.pack.images[row])._asdict(),
        )
        limits = Limits(usual.sharpness, usual.side, usual.distance, float(sure[labels == preferred].mean()))
        cause, reason = name_cause(evidence, limits)
        table.append(
            {
                "row": row,
                "photo": data.photo[row],
                "split": data.pack.manifest["split"][row],
                "label": data.label[row],
                "predicted": data.classes[data.predicted[row]],
                "cause": cause,
                "evidence": reason,
                "label_quality": quality[place],
                **asdict(evidence),
                "losses": " ".join(f"{loss:.3f}" for loss in data.losses[row]),
                "nearest": " | ".join(data.photo[nearest[place]]),
                "nearest_labels": " | ".join(data.label[nearest[place]]),
            }
        )
    explained = pd.DataFrame(table, columns=COLUMNS)
    return explained if data.wrong is None else explained.assign(mislabelled=data.wrong[rows]), nearest


def _twin(data: _Data, row: int) -> str:
    """A near-duplicate of the picture that is labelled as the picture was predicted; '' for none."""
    others = np.flatnonzero((data.groups == data.groups[row]) & (data.labels == data.predicted[row]))
    return str(data.photo[others[0]]) if len(others) else ""


def _distances(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> FloatArray:
    """1 - cosine, (Q, N)."""
    unit = [
        of / np.maximum(np.linalg.norm(of, axis=1, keepdims=True), 1e-12)
        for of in (queries.astype(np.float64), gallery.astype(np.float64))
    ]
    return np.asarray(1 - unit[0] @ unit[1].T)


def _order(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.argsort(_distances(queries, gallery), axis=1, kind="stable")


def _on_captions(seen: NDArray[np.float32]) -> float:
    band = round(CAPTION * len(seen))
    return float((seen[:band].sum() + seen[-band:].sum()) / max(seen.sum(), 1e-12))


def _describe_suspects(
    data: _Data, train: NDArray[np.int64], suspects: NDArray[np.int64], opinion: Opinion, trust: FloatArray
) -> pd.DataFrame:
    rows = train[suspects]
    table = pd.DataFrame(
        {
            "row": rows,
            "photo": data.photo[rows],
            "label": data.label[rows],
            "suggested": np.array(data.classes)[opinion.probabilities[suspects].argmax(1)],
            "label_quality": opinion.quality[suspects],
            "mean_loss": data.losses[rows].mean(1),
            "last_loss": data.losses[rows, -1],
            "trust": trust[suspects],
        }
    )
    return table if data.wrong is None else table.assign(mislabelled=data.wrong[rows])


def _panel(
    data: _Data, row: int, for_predicted: NDArray[np.float32], for_label: NDArray[np.float32], near: NDArray[np.int64]
) -> Pixels:
    image = np.asarray(data.pack.images[row])
    images = [image, overlay(image, for_predicted), overlay(image, for_label), *data.pack.images[near]]
    captions = [
        f"{data.label[row]} {data.photo[row].rpartition('/')[2]}",
        f"for {data.classes[data.predicted[row]]} {data.confidence[row]:.2f}",
        f"for {data.label[row]}",
        *(f"near: {name}" for name in data.label[near]),
    ]
    return contact_sheet(images, captions, columns=len(images), cell=CELL)


def _sheet(data: _Data, rows: NDArray[np.int64], captions: list[str]) -> Pixels:
    shown: list[Pixels | None] = [data.pack.images[row] for row in rows[:MOST]]
    return contact_sheet(shown or [None], captions[:MOST] or [""], columns=min(8, max(len(shown), 1)), cell=CELL)


def _figures(
    data: _Data,
    explained: pd.DataFrame,
    train: NDArray[np.int64],
    suspects: NDArray[np.int64],
    opinion: Opinion,
    trust: FloatArray,
    c: float,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    of_split = {split: list(explained["cause"][explained["split"] == split]) for split in JUDGED}
    found: dict[str, Any] = {
        "misclassified": {split: len(causes) for split, causes in of_split.items()},
        "causes": {split: {cause: causes.count(cause) for cause in CAUSES} for split, causes in of_split.items()},
        "suspects": {"count": len(suspects), "of": len(train)},
        "cure": _try_cures(data, train, suspects, opinion, c, seed, resamples),
    }
    if data.wrong is not None:
        found["suspects"] |= _hits(data, train, suspects, opinion.quality, trust, seed, resamples)
        doubtful = explained[explained["cause"] == "label doubtful"]
        found["doubtful"] = {
            "count": len(doubtful),
            "mislabelled": int(doubtful["mislabelled"].sum()),
            "mislabelled_of_all": int(explained["mislabelled"].sum()),
        }
    return found


def _hits(
    data: _Data,
    train: NDArray[np.int64],
    suspects: NDArray[np.int64],
    quality: FloatArray,
    trust: FloatArray,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """How many suspects are mislabelled (precision) and how many of the mislabelled are suspects (recall).

    ``average_precision`` is that of ranking all training pictures by trust, and by label quality alone.
    """
    assert data.wrong is not None
    wrong = data.wrong[train]
    suspected = np.isin(np.arange(len(train)), suspects)
    found: dict[str, Any] = {"mislabelled": int(wrong.sum())}
    if not wrong.any() or not suspected.any():
        return found

    def statistics(weights: FloatArray) -> dict[str, float]:
        both = weights[wrong & suspected].sum()
        figures = {}
        if weights[suspected].sum():
            figures["precision"] = both / weights[suspected].sum()
        if weights[wrong].sum():
            figures["recall"] = both / weights[wrong].sum()
            figures["average_precision"] = average_precision_score(wrong, -trust, sample_weight=weights)
            figures["label_quality_average_precision"] = average_precision_score(wrong, -quality, sample_weight=weights)
        return figures

    figures = bootstrap(statistics, data.groups[train], seed=seed, resamples=resamples)
    return found | {name: figure.as_dict() for name, figure in figures.items()}


class _Cure(NamedTuple):
    """Training rows and their labels."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]


def _try_cures(
    data: _Data,
    train: NDArray[np.int64],
    suspects: NDArray[np.int64],
    opinion: Opinion,
    c: float,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Accuracy on val of a probe that is trained without the suspects, or with the labels that are suggested for them.

    Val has wrong labels as well, and nothing is done about those: where the truth is known, ``accuracy_on_right`` is
    the accuracy on those val pictures whose labels are right.
    """
    labels = data.labels[train]
    relabelled = labels.copy()
    relabelled[suspects] = opinion.probabilities[suspects].argmax(1)
    cures = {
        "as_they_are": [_Cure(train, labels)],
        "removed": [_Cure(np.delete(train, suspects), np.delete(labels, suspects))],
        "relabelled": [_Cure(train, relabelled)],
    }
    draws = [
        np.random.default_rng((seed, draw)).choice(len(train), len(suspects), replace=False) for draw in range(DRAWS)
    ]
    cures["random_removed"] = [_Cure(np.delete(train, drawn), np.delete(labels, drawn)) for drawn in draws]
    val = data.rows("val")
    right = {name: np.mean([_right(data, cure, val, c) for cure in tries], axis=0) for name, tries in cures.items()}
    gains = {f"{name}_gain": right[name] - right["as_they_are"] for name in cures if name != "as_they_are"}
    parts = {"accuracy": np.ones(len(val), np.bool_)}
    if data.wrong is not None:
        parts["accuracy_on_right"] = ~data.wrong[val]
    cured: dict[str, Any] = {name: {} for name in cures}
    for kind, chosen in parts.items():
        statistics = _means({name: of[chosen] for name, of in {**right, **gains}.items()})
        figures = bootstrap(statistics, data.groups[val][chosen], seed=seed, resamples=resamples)
        for name in cures:
            cured[name][kind] = figures[name].as_dict()
            if name != "as_they_are":
                cured[name][kind.replace("accuracy", "gain")] = figures[f"{name}_gain"].as_dict()
    return cured


def _right(data: _Data, cure: _Cure, rows: NDArray[np.int64], c: float) -> FloatArray:
    logits = fit_probe(data.frozen[cure.rows], cure.labels, c).logits(data.frozen[rows])
    return np.asarray(logits.argmax(1) == data.labels[rows], dtype=np.float64)


def _means(values: Mapping[str, FloatArray]) -> Statistics:
    table = np.stack(list(values.values()), axis=1)

    def statistics(weights: FloatArray) -> dict[str, float]:
        return dict(zip(values, (weights @ table / weights.sum()).tolist(), strict=True))

    return statistics


COLUMNS = [
    *("row", "photo", "split", "label", "predicted", "cause", "evidence", "label_quality"),
    *(field.name for field in fields(Evidence)),
    *("losses", "nearest", "nearest_labels"),
]
JUDGED = ("val", "test")
SHOWN = 3
MOST = 64
CELL = 128
DRAWS = 5
