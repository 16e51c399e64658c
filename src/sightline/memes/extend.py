"""Stage ``memes-extend``: what adding the later class from a few pictures costs and gains, by three methods.

For each number of pictures ('shots') and each repeat, other pictures of 'later-pool' are learned; the rest of the pool
is validation, by which the method for ``sightline memes add-class`` is chosen, and 'later-test' is the test. Beside
them stands what training again with all of the pool gives.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from sightline.core.files import read_json, replacing_folder, write_csv, write_json
from sightline.core.intervals import Figure, FloatArray
from sightline.core.packs import open_pack
from sightline.core.progress import progress, say
from sightline.core.serving import OnnxNetwork
from sightline.memes.growing import METHODS, Beside, Grown, Method, class_mean, grown_head, ranpac
from sightline.memes.memory import Labels, Vectors, memory_of
from sightline.memes.params import Evaluate, Extend, Memes
from sightline.memes.predictor import DECIDES
from sightline.memes.probe import fit_probe, load_probe
from sightline.memes.refitting import refit, same_share
from sightline.memes.unknowns import Description, Scorer, load_scorer
from sightline.params import load

Option = typer.Option()


def main(
    samples: Annotated[Path, Option],
    model: Annotated[Path, Option],
    inference: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    out: Annotated[Path, Option],
    table: Annotated[Path, Option],
    summary: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`extend`."""
    memes = load("memes", Memes)
    paths = (samples, model, inference, deployed)
    extend(*paths, memes.data.later, memes.extend, memes.evaluate, out, table, summary)


def extend(
    samples: Path,
    model: Path,
    inference: Path,
    deployed: Path,
    later: str | None,
    settings: Extend,
    evaluate: Evaluate,
    out: Path,
    table: Path,
    summary: Path,
) -> None:
    """Write ``out/extend.csv`` (a row a trial), ``table`` (means and intervals) and ``summary``.

    How long learning took is said on stderr alone: it is never the same twice, and no file may hold that.

    Args:
        samples: as ``memes-samples`` leaves it.
        model: as ``memes-train`` leaves it.
        inference: as ``memes-infer`` leaves it.
        deployed: likewise; its scorer and threshold, and the spaces that its graph gives.
        later: the class to add; without one, or without enough pictures, tables hold their headers only.
        settings: ``memes.extend``.
        evaluate: ``memes.evaluate``, for the intervals.
        out: the folder for details.
        table: CSV, a row for each method, space and number of shots.
        summary: JSON, the same figures with intervals, and the choice.
    """
    study = _Study.read(samples, model, inference, deployed, later)
    trials: list[_Trial] = []
    for shots in progress(settings.shots, "adding a class", unit="shots"):
        picks = [study.pick(shots, repeat, settings.seed) for repeat in range(settings.repeats)] if later else []
        if later and any(len(pick.held_out) == 0 for pick in picks):
            say(f"{later} has {len(study.rows('later-pool'))} pictures to learn from: {shots} leave none to check with")
            continue
        trials += [
            study.trial(method, space, shots, repeat, pick, partial(_learn, method, space, study, settings))
            for method, space in study.candidates()
            for repeat, pick in enumerate(picks)
        ]
    retrained = study.retrained() if trials else []
    resamples = partial(_figures, study, seed=evaluate.seed, resamples=evaluate.resamples)
    figures = {key: resamples(of_key) for key, of_key in _by_key([*trials, *retrained]).items()}
    with replacing_folder(out) as part:
        records = [{**trial.key._asdict(), "repeat": trial.repeat, **trial.shares} for trial in [*trials, *retrained]]
        write_csv(part / "extend.csv", pd.DataFrame(records, columns=[*_Key._fields, "repeat", *SHARES]))
    write_csv(table, _table(figures))
    write_json(summary, _summary(later, study, settings, trials, figures))
    for key, of_key in _by_key([*trials, *retrained]).items():
        seconds = float(np.median([trial.seconds for trial in of_key]))
        say(f"{key.method} on {key.space} features, {key.shots} pictures: learned in {seconds:.2f} s")


class _Pick(NamedTuple):
    """Pictures of the pool to learn, and those of its pictures that are neither learned nor like one that is."""

    learned: NDArray[np.int64]
    held_out: NDArray[np.int64]


class _Key(NamedTuple):
    method: str
    space: str
    shots: int


@dataclass(frozen=True)
class _Trial:
    """What one model with the later class says of the pictures of the pack."""

    key: _Key
    repeat: int
    answers: Labels
    """The likeliest class (N,), K is the later one."""
    unknown: FloatArray
    """The scorer's verdict (N,), less its threshold."""
    shares: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class _Study:
    """The pack's pictures as the networks see them."""

    manifest: pd.DataFrame
    classes: list[str]
    later: str | None
    features: dict[str, Vectors]
    logits: dict[str, Vectors]
    heads: dict[str, tuple[Vectors, Vectors]]
    temperature: float
    c: float
    space: str
    """That the scorer judges in."""
    scorer: Scorer
    threshold: float
    served: tuple[str, ...]
    """Spaces that the deployed graph gives features in."""
    verdicts: dict[bytes, FloatArray] = field(default_factory=dict)
    """Scores by what was learned, for scorers that no logit enters: all methods share them."""

    @classmethod
    def read(cls, samples: Path, model: Path, inference: Path, deployed: Path, later: str | None) -> "_Study":
        config = read_json(deployed / "config.json")
        scorer = config["scorer"]
        given = OnnxNetwork(deployed / "model.onnx").outputs
        probe, how = load_probe(model / "probe")
        finetuned = load_file(model / "finetuned" / "model.safetensors")
        columns = {"finetuned": "finetuned_logits", "frozen": "probe_logits"}
        features = {space: np.load(inference / f"{space}_features.npy") for space in columns}
        logits = {space: np.load(inference / f"{name}.npy") for space, name in columns.items()}
        return cls(
            manifest=open_pack(samples).manifest,
            classes=config["classes"],
            later=later,
            features=features,
            logits=logits,
            heads={
                "finetuned": (finetuned["head.weight"], finetuned["head.bias"]),
                "frozen": probe.as_linear(),
            },
            temperature=config["temperature"],
            c=how["c"],
            space=scorer["space"],
            scorer=load_scorer(deployed / "scorer.safetensors", scorer["name"], scorer["settings"]),
            threshold=scorer["threshold"],
            served=tuple(space for space in columns if f"{space}_features" in given),
        )

    @cached_property
    def labels(self) -> Labels:
        """Numbers of the classes (N,), the later one last; -1 for unknown pictures."""
        names = [*self.classes, self.later]
        number = {name: position for position, name in enumerate(names) if name is not None}
        return np.asarray(self.manifest["label"].map(number).fillna(-1), dtype=np.int64)

    def rows(self, *splits: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.manifest["split"].isin(splits).to_numpy())

    def candidates(self) -> Iterator[tuple[Method, str]]:
        """Methods with the spaces they are tried in; a head belongs to the network that it is trained with."""
        for method in METHODS:
            for space in ("finetuned",) if method == "grown_head" else self.features:
                yield method, space

    def pick(self, shots: int, repeat: int, seed: int) -> _Pick:
        """Take ``shots`` pictures of the pool at random, near-duplicates one after the other."""
        pool = self.rows("later-pool")
        groups = self.manifest["group"].to_numpy()[pool]
        order = np.random.default_rng([seed, shots, repeat]).permutation(np.unique(groups))
        place = {group: number for number, group in enumerate(order.tolist())}
        taken = np.argsort([place[group] for group in groups.tolist()], kind="stable")
        learned = pool[taken[:shots]]
        met = set(self.manifest["group"].to_numpy()[learned].tolist())
        return _Pick(np.sort(learned), pool[[group not in met for group in groups.tolist()]])

    def trial(
        self, method: str, space: str, shots: int, repeat: int, pick: _Pick, learn: Callable[[_Pick], Grown]
    ) -> _Trial:
        start = time.perf_counter()
        grown = learn(pick)
        seconds = time.perf_counter() - start
        if isinstance(grown, Beside):
            scores = grown.scores(self.features[space])
            logits = {name: grown.join(scores, known) for name, known in self.logits.items()}
            alone = scores.argmax(1)
        else:
            logits = grown.all_logits(self.features[space], self.logits)
            alone = logits[DECIDES].argmax(1)
        answers = logits[DECIDES].argmax(1)
        return self._judged(_Key(method, space, shots), repeat, pick, answers, alone, logits, seconds)

    def retrained(self) -> list[_Trial]:
        """The linear probe, fitted again with all pictures of the pool: no method with fewer should do better."""
        pool = self.rows("later-pool")
        pick, rows = _Pick(pool, pool[:0]), np.concatenate([self.rows("train"), pool])
        trials = []
        for space, features in self.features.items():
            start = time.perf_counter()
            probe = fit_probe(features[rows], self.labels[rows], self.c)
            seconds = time.perf_counter() - start
            logits = dict.fromkeys(self.logits, probe.logits(features))
            answers = logits[space].argmax(1)
            key = _Key("retrained_probe", space, len(pool))
            trials.append(self._judged(key, 0, pick, answers, answers, logits, seconds))
        return trials

    @cached_property
    def before(self) -> _Trial:
        """The model as it is deployed."""
        answers = self.logits[DECIDES].argmax(1)
        nothing = _Pick(self.rows()[:0], self.rows("later-pool"))
        return self._judged(_Key("before", "", 0), 0, nothing, answers, answers, self.logits, 0.0)

    def _judged(
        self,
        key: _Key,
        repeat: int,
        pick: _Pick,
        answers: Labels,
        alone: Labels,
        logits: dict[str, Vectors],
        seconds: float,
    ) -> _Trial:
        scores, val = self._scores(pick, logits[self.space]), self.rows("val")
        unknown = scores - same_share(self._deployed_scores[val], self.threshold, scores[val])
        shares = self._shares(pick, answers, alone, unknown)
        return _Trial(key, repeat, answers, unknown, shares, seconds)

    @cached_property
    def _deployed_scores(self) -> FloatArray:
        return self.scorer(Description(self.features[self.space], self.logits[self.space]))

    def _scores(self, pick: _Pick, logits: Vectors) -> FloatArray:
        """How unknown each picture is (N,), to a scorer that knows what was picked."""
        if not len(pick.learned):
            return self._deployed_scores
        learned = pick.learned.tobytes()
        if self.scorer.name in WITHOUT_LOGITS and learned in self.verdicts:
            return self.verdicts[learned]
        features = self.features[self.space]
        rows = np.concatenate([self.rows("train"), pick.learned])
        memory = memory_of(
            self.labels[rows],
            np.ones(len(rows), bool),
            {self.space: features[rows]},
            {self.space: logits[rows]},
            {self.space: self.heads[self.space]},
        )
        self.verdicts[learned] = refit(self.scorer, self.space, memory)(Description(features, logits))
        return self.verdicts[learned]

    def _shares(self, pick: _Pick, answers: Labels, alone: Labels, unknown: FloatArray) -> dict[str, float]:
        right, named = answers == self.labels, unknown <= 0
        test, later, strange = self.rows("test"), self.rows("later-test"), self.rows("unknown-test")
        val, held_out = self.rows("val"), pick.held_out
        known = np.concatenate([test, later]) if len(pick.learned) else test
        return {
            "old_accuracy": _mean(right[test]),
            "old_accuracy_alone": _mean((alone == self.labels)[test]),
            "new_recall": _mean(right[later]),
            "new_named": _mean((right & named)[later]),
            "old_kept": _mean(named[test]),
            "unknown_auroc": _auroc(unknown[known], unknown[strange]),
            "unknown_rejected": _mean(~named[strange]),
            "val_old_accuracy": _mean(right[val]),
            "val_new_recall": _mean(right[held_out]),
            "val_new_named": _mean((right & named)[held_out]),
        }


def _learn(method: Method, space: str, study: _Study, settings: Extend, pick: _Pick) -> Grown:
    rows = np.concatenate([study.rows("train"), pick.learned])
    features, labels = study.features[space][rows], study.labels[rows]
    if method == "class_mean":
        return class_mean(features, labels, temperature=study.temperature)
    if method == "ranpac":
        return ranpac(
            features,
            labels,
            projections=settings.projections,
            ridge=settings.ridge,
            seed=settings.seed,
            temperature=study.temperature,
        )
    return grown_head(features, labels, study.heads[space], epochs=settings.epochs)


def _by_key(trials: Sequence[_Trial]) -> dict[_Key, list[_Trial]]:
    return {key: [trial for trial in trials if trial.key == key] for key in dict.fromkeys(each.key for each in trials)}


@dataclass(frozen=True)
class _Answers:
    """Whether each answer is right (R, N), and the scorer's verdict, above 0 for unknown (R, N)."""

    right: FloatArray
    unknown: FloatArray

    @property
    def kept(self) -> FloatArray:
        return (self.unknown <= 0).astype(np.float64)

    def auroc(
        self, known: NDArray[np.bool_], strange: NDArray[np.bool_], pictures: FloatArray, shares: FloatArray
    ) -> FloatArray:
        """Probability (B,) that an unknown picture scores above a known one, ties for one half."""
        by_repeat = []
        for unknown in self.unknown:
            above = (1 + np.sign(unknown[strange][None] - unknown[known][:, None])) / 2
            by_repeat.append(((pictures[:, known] @ above) * pictures[:, strange]).sum(1))
        total = pictures[:, known].sum(1) * pictures[:, strange].sum(1)
        hits = (np.stack(by_repeat, axis=1) * shares).sum(1)
        return np.asarray(np.divide(hits, total, out=np.full(len(total), np.nan), where=total > 0), np.float64)


def _figures(study: _Study, trials: Sequence[_Trial], *, seed: int, resamples: int) -> dict[str, Figure]:
    """Means over repeats, with percentile intervals over groups of test pictures and over repeats.

    Pictures and repeats are crossed: every repeat answers the same pictures. Each resample draws both, and a picture in
    a repeat counts the product (the pigeonhole bootstrap, Owen, Annals of Applied Statistics 2007).
    """
    rows = study.rows("test", "later-test", "unknown-test")
    units, unit_of_row = np.unique(study.manifest["group"].to_numpy()[rows], return_inverse=True)
    statistics = _Statistics.of(study, trials, rows)
    rng = np.random.default_rng(seed)
    pictures = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), resamples)[:, unit_of_row]
    repeats = rng.multinomial(len(trials), np.full(len(trials), 1 / len(trials)), resamples)
    values = statistics(np.ones((1, len(rows))), np.ones((1, len(trials))))
    drawn = statistics(pictures.astype(np.float64), repeats.astype(np.float64))
    figures = {}
    for name, (value,) in values.items():
        low, high = np.nanquantile(drawn[name], [0.025, 0.975]).tolist() if not np.isnan(value) else (value, value)
        figures[name] = Figure(float(value), low, high, len(units))
    return figures


@dataclass(frozen=True)
class _Statistics:
    """The figures of one method, of R repeats on N pictures, by weights of both."""

    test: NDArray[np.bool_]
    later: NDArray[np.bool_]
    strange: NDArray[np.bool_]
    before: _Answers
    after: _Answers

    @classmethod
    def of(cls, study: _Study, trials: Sequence[_Trial], rows: NDArray[np.int64]) -> "_Statistics":
        """Collect what ``trials`` say of the pictures ``rows``."""
        split, labels = study.manifest["split"].to_numpy()[rows], study.labels[rows]
        before, after = (
            _Answers(
                np.stack([trial.answers[rows] == labels for trial in some]).astype(np.float64),
                np.stack([trial.unknown[rows] for trial in some]),
            )
            for some in ([study.before], trials)
        )
        return cls(split == "test", split == "later-test", split == "unknown-test", before, after)

    def __call__(self, pictures: FloatArray, repeats: FloatArray) -> dict[str, FloatArray]:
        """Figures (B,) from B times weights of pictures (B, N) and of repeats (B, R).

        Not-a-number where a figure has no picture to rest on.
        """
        shares = repeats / repeats.sum(1, keepdims=True)
        single = np.ones((len(pictures), 1))
        old_before = _share(self.before.right, pictures * self.test, single)
        old = _share(self.after.right, pictures * self.test, shares)
        auroc_before = self.before.auroc(self.test, self.strange, pictures, single)
        auroc = self.after.auroc(self.test | self.later, self.strange, pictures, shares)
        return {
            "old_accuracy_before": old_before,
            "old_accuracy": old,
            "old_accuracy_change": old - old_before,
            "new_recall": _share(self.after.right, pictures * self.later, shares),
            "new_named": _share(self.after.right * self.after.kept, pictures * self.later, shares),
            "old_kept": _share(self.after.kept, pictures * self.test, shares),
            "unknown_auroc_before": auroc_before,
            "unknown_auroc": auroc,
            "unknown_auroc_change": auroc - auroc_before,
            "unknown_rejected_before": _share(1 - self.before.kept, pictures * self.strange, single),
            "unknown_rejected": _share(1 - self.after.kept, pictures * self.strange, shares),
        }


def _share(values: FloatArray, pictures: FloatArray, shares: FloatArray) -> FloatArray:
    """Means (B,) of values (R, N) under weights of pictures (B, N) and shares of repeats (B, R)."""
    total = pictures.sum(1)
    means = np.divide((pictures @ values.T * shares).sum(1), total, out=np.full(len(total), np.nan), where=total > 0)
    return np.asarray(means, np.float64)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _auroc(known: FloatArray, strange: FloatArray) -> float:
    if not (len(known) and len(strange)):
        return float("nan")
    return float(roc_auc_score(np.repeat([0, 1], [len(known), len(strange)]), np.concatenate([known, strange])))


def _table(figures: dict[_Key, dict[str, Figure]]) -> pd.DataFrame:
    columns = [*_Key._fields, *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high"))]
    rows = [
        {
            **key._asdict(),
            **{f"{name}{end}": found[name].as_dict()[part] for name in FIGURES for end, part in ENDS.items()},
        }
        for key, found in figures.items()
    ]
    return pd.DataFrame(rows, columns=columns)


def _summary(
    later: str | None,
    study: _Study,
    settings: Extend,
    trials: Sequence[_Trial],
    figures: dict[_Key, dict[str, Figure]],
) -> dict[str, Any]:
    told: dict[str, Any] = {"later": later, "chosen": None, "methods": {}, "retrained": {}}
    if not trials:
        return told
    told |= {"pool": len(study.rows("later-pool")), "test": len(study.rows("later-test"))}
    chosen = _choose(study, trials)
    told["chosen"] = {**chosen, "settings": settings.model_dump(include=set(SETTINGS[chosen["method"]]))}
    for key, found in figures.items():
        of_key = {name: figure.as_dict() for name, figure in found.items() if not np.isnan(figure.value)}
        if key.method == "retrained_probe":
            told["retrained"][key.space] = of_key
        else:
            told["methods"].setdefault(f"{key.method}-{key.space}", {})[str(key.shots)] = of_key
    return told


def _choose(study: _Study, trials: Sequence[_Trial]) -> dict[str, Any]:
    """The method and space that do best on validation: balanced accuracy on 'val' and on what the pool has left.

    Only spaces that the deployed graph gives can be chosen. Of equals the first of ``METHODS`` is the simplest.
    """
    tried: list[dict[str, Any]] = []
    for method, space in dict.fromkeys((trial.key.method, trial.key.space) for trial in trials):
        of_method = [trial.shares for trial in trials if (trial.key.method, trial.key.space) == (method, space)]
        old, new = (
            float(np.nanmean([shares[name] for shares in of_method])) for name in ("val_old_accuracy", "val_new_recall")
        )
        classes = len(study.classes)
        tried.append(
            {
                "method": method,
                "space": space,
                "served": space in study.served,
                "balanced_accuracy": round((classes * old + new) / (classes + 1), 6),
                "old_accuracy": round(old, 6),
                "new_recall": round(new, 6),
            }
        )
    best = max((each for each in tried if each["served"]), key=lambda each: float(each["balanced_accuracy"]))
    return {"method": best["method"], "space": best["space"], "tried": tried}


SHARES = (
    "old_accuracy",
    "old_accuracy_alone",
    "new_recall",
    "new_named",
    "old_kept",
    "unknown_auroc",
    "unknown_rejected",
    "val_old_accuracy",
    "val_new_recall",
    "val_new_named",
)
FIGURES = (
    "old_accuracy_before",
    "old_accuracy",
    "old_accuracy_change",
    "new_recall",
    "new_named",
    "old_kept",
    "unknown_auroc_before",
    "unknown_auroc",
    "unknown_auroc_change",
    "unknown_rejected_before",
    "unknown_rejected",
)
SETTINGS: dict[str, tuple[str, ...]] = {
    "class_mean": (),
    "ranpac": ("projections", "ridge", "seed"),
    "grown_head": ("epochs",),
}
WITHOUT_LOGITS = ("knn", "knn_contrast", "mahalanobis")
ENDS = {"": "value", "_low": "low", "_high": "high"}
