"""memes-report and memes-notebook on the files of a run whose answers are drawn by chance around the truth."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.packs import write_pack
from sightline.core.report import compile_report
from sightline.core.sheets import contact_sheet, write_png
from sightline.memes import extend, notebook
from sightline.memes import report as stage
from sightline.memes.causes import CAUSES
from sightline.memes.evaluate import evaluate
from sightline.memes.params import UNKNOWN, Memes
from sightline.memes.publish import by_epoch
from sightline.params import load

ROOT = Path(__file__).parents[2]
HOSTILE = ('#panic("no")', "$\\frac{$ @he2016", "<b> *bold* \\ [c]")
PLAIN = ("doom", "animal crossing", "genshin")
LOW_HIGH = {"low": 0.1, "high": 0.9, "n": 7}


@dataclass(frozen=True)
class Run:
    """A folder laid out as the repository is, and the parameters."""

    folder: Path
    memes: Memes

    def report(self, out: Path) -> dict[str, Any]:
        """Write ``report.pdf`` and ``figures/`` into ``out``; what went into the template."""
        inputs = (self.folder / "data", self.folder / "deployed", self.folder / "metrics")
        with patch.object(stage, "compile_report", wraps=compile_report) as compiling:
            stage.report(*inputs, self.memes, out / "figures", out / "report.pdf")
        told: dict[str, Any] = compiling.call_args.args[1]
        return told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("memes"), PLAIN, "synthetic")


@pytest.fixture(scope="module")
def told(run: Run) -> dict[str, Any]:
    return run.report(run.folder)


def test_the_pdf_has_six_to_ten_pages_and_the_figures_of_metrics_json(run: Run, told: dict[str, Any]) -> None:
    assert 6 <= len(PdfReader(run.folder / "report.pdf").pages) <= 10
    text = pdf_text(run.folder / "report.pdf")
    metrics = read_json(run.folder / "metrics" / "metrics.json")
    shown = ["accuracy", "macro_f1", "auroc", "ece", "coverage", "false_accept_rate", "unknown_near_fpr95"]
    for name in [*shown, "unknown_auroc", "unknown_far_aupr", "unknown_later_auroc"]:
        for key in ("value", "low", "high"):
            assert f"{metrics[name][key]:.3f}" in text
    for name in ("finetuned_minus_scratch", "finetuned_minus_probe"):
        figure = metrics["difference"][name]["accuracy"]
        assert f"{figure['value']:.3f}" in text
        verdict = next(row["difference"]["verdict"] for row in told["transfer"]["rows"] if row["name"] in name[10:])
        assert (verdict != "open") == (figure["low"] > 0 or figure["high"] < 0)


def test_the_four_questions_are_chapters(run: Run, told: dict[str, Any]) -> None:
    text = pdf_text(run.folder / "report.pdf")
    chapters = ["What is misclassified, and why?", "Learned, or lucky?", "Neither of them", "Another class", "Limits"]
    places = [text.index(chapter) for chapter in chapters]
    assert places == sorted(places)


def test_the_same_run_gives_the_same_bytes_again(run: Run, told: dict[str, Any], tmp_path: Path) -> None:
    run.report(tmp_path)
    assert (tmp_path / "report.pdf").read_bytes() == (run.folder / "report.pdf").read_bytes()
    for figure in (run.folder / "figures").iterdir():
        assert figure.read_bytes() == (tmp_path / "figures" / figure.name).read_bytes()


def test_counts_are_those_of_the_samples(run: Run, told: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in told["data"]["rows"]}
    assert rows["doom"] == ["20", "8", "10"]
    assert rows["unknown, near"] == ["–", "4", "5"]
    assert rows["genshin"] == ["12", "–", "6"]
    assert told["data"]["problems"] == [["left out", 1]]


def test_answers_on_the_first_page_are_right_where_they_are(run: Run, told: dict[str, Any]) -> None:
    captions = told["hero"]["captions"]
    assert {caption["is"].split(",")[0] for caption in captions} == {"doom", "animal crossing", UNKNOWN, "genshin"}
    for caption in captions:
        expected = caption["is"] if caption["is"] in PLAIN[:2] else UNKNOWN
        assert caption["right"] == (caption["answer"] == expected)


def test_every_cause_is_shown_before_a_second_mistake_of_one(told: dict[str, Any]) -> None:
    shown = [mistake["cause"] for mistake in told["wrong"]["shown"]]
    assert len(shown) == stage.SHOWN_MISTAKES
    assert set(shown) == {CAUSES[0], CAUSES[-1], CAUSES[3]}
    assert told["wrong"]["mosaic"]["count"] == 6 * len(shown)
    assert all(mistake["nearest"] == ["label", "answer", "answer"] for mistake in told["wrong"]["shown"])


def test_the_chosen_score_and_method_are_marked(run: Run, told: dict[str, Any]) -> None:
    assert [(row["space"], row["scorer"]) for row in told["neither"]["rows"] if row["chosen"]] == [("frozen", "knn")]
    marked = {(row["method"], row["space"]) for row in told["adding"]["rows"] if row["chosen"]}
    assert marked == {("ranpac", "finetuned")}
    assert told["adding"]["shots"] == 20


def test_names_are_never_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path, HOSTILE, "path")
    run.report(tmp_path)
    text = pdf_text(tmp_path / "report.pdf")
    assert '#panic("no")' in text
    assert "*bold*" in text


def test_without_unknown_pictures_and_a_later_class_the_rest_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, ("NA", "007"), "official")
    told = run.report(tmp_path)
    assert told["adding"] is None
    assert told["neither"]["rows"] == []
    assert [item["name"] for item in told["headline"]] == ["Accuracy", "Gain by pretraining"]


def test_results_of_another_run_are_refused(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path, ("doom", "quake", "genshin"), "synthetic")
    inference = other.folder / "data" / "inference" / "predictions.csv"
    inference.write_bytes((run.folder / "data" / "inference" / "predictions.csv").read_bytes())
    with pytest.raises(InputError, match="different runs"):
        other.report(tmp_path)
    assert not (tmp_path / "figures").exists()


def test_shares_are_equal_where_there_is_enough() -> None:
    assert stage._shared_out(16, [50, 50, 2, 50]) == [5, 5, 2, 4]
    assert stage._shared_out(16, [3, 1]) == [3, 1]


def test_history_becomes_one_row_an_epoch() -> None:
    history = pd.DataFrame({"model": ["a", "a", "b"], "epoch": [1, 2, 1], "val_loss": [0.3, 0.2, 0.9]})
    wide = by_epoch(history)
    assert wide["epoch"].tolist() == [1, 2]
    assert wide["a/val_loss"].tolist() == [0.3, 0.2]
    assert wide["b/val_loss"][0] == 0.9
    assert np.isnan(wide["b/val_loss"][1])


@pytest.mark.parametrize("classes", [PLAIN, ("NA", "007")], ids=["all", "known alone"])
def test_the_notebook_runs_from_top_to_bottom(
    classes: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    run = make_run(tmp_path, classes, "synthetic")
    source = ROOT / "notebooks" / "memes.ipynb"
    folders = (run.folder / "data", run.folder / "deployed", run.folder / "metrics")
    notebook.main(source, *folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    accuracy = read_json(run.folder / "metrics" / "metrics.json")["accuracy"]
    assert f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in page
    assert str(tmp_path) not in page
    cells = nbformat.read(source, as_version=4).cells
    assert page.count('class="jp-Cell jp-CodeCell') == sum(cell.cell_type == "code" for cell in cells)


def pdf_text(path: Path) -> str:
    text = "\n".join(page.extract_text() for page in PdfReader(path).pages)
    return re.sub(r"\s+", " ", text.replace("\u200b", ""))


def make_run(folder: Path, classes: Sequence[str], source: str) -> Run:
    """The first two names are classes; with a third, the later one, there are unknown pictures, too."""
    default = load("memes", Memes, ROOT / "params.yaml")
    known, later = list(classes[:2]), classes[2] if len(classes) > 2 else None
    memes = default.model_copy(
        update={
            "data": default.data.model_copy(update={"source": source, "later": later}),
            "evaluate": default.evaluate.model_copy(update={"resamples": 100}),
        }
    )
    rng = np.random.default_rng(0)
    manifest = pd.DataFrame(list(rows_of(known, later)))
    manifest["group"] = manifest.index
    images = rng.integers(0, 255, (len(manifest), 24, 24, 3), dtype=np.uint8)
    data, metrics = folder / "data", folder / "metrics"
    rows: Any = manifest.to_dict("records")
    write_pack(data / "samples", 24, [(images, rows)])
    write_png(data / "samples.png", contact_sheet(list(images[:8]), [""] * 8, 4))
    problems = pd.DataFrame({"photo": ["x.jpg"], "problem": ["not a picture"], "action": ["left out"]})
    write_csv(data / "raw" / "problems.csv", problems)
    twins = {"pictures": 4, "groups": 2, "of_several_labels": 1}
    write_json(metrics / "samples.json", {"groups": 80, "near_duplicates": twins, "digests": {"split": "0" * 64}})
    write_training(folder, rng)
    write_inference(folder, manifest, known, rng)
    evaluate(data / "inference", folder / "deployed", data / "samples", memes.evaluate, metrics)
    write_explain(folder, manifest, known, images)
    write_luck(folder, images, rng)
    write_extend(folder, later)
    return Run(folder, memes)


def rows_of(known: Sequence[str], later: str | None) -> Any:
    splits = [(label, "", {"train": 20, "val": 8, "test": 10}) for label in known]
    if later is not None:
        splits += [(UNKNOWN, kind, {"unknown-val": 4, "unknown-test": 5}) for kind in ("near", "far")]
        splits += [(later, "", {"later-pool": 12, "later-test": 6})]
    for label, kind, counts in splits:
        for split, count in counts.items():
            for number in range(count):
                file = {"width": 300, "height": 170, "bytes": 9000 + number, "quality": 80}
                yield {
                    "photo": f"{label}/{split}{kind}{number}.jpg",
                    "label": label,
                    "kind": kind,
                    "split": split,
                    **file,
                }


def write_training(folder: Path, rng: np.random.Generator) -> None:
    epochs = np.tile(np.arange(1, 4), 2)
    columns = ("lr", "train_loss", "val_loss", "val_accuracy", "val_macro_f1")
    history = pd.DataFrame({"model": np.repeat(["finetuned", "scratch"], 3), "epoch": epochs})
    write_csv(folder / "metrics" / "history.csv", history.assign(**{name: rng.random(6) for name in columns}))
    write_csv(folder / "data" / "training" / "folds.csv", pd.DataFrame(columns=["photo", "label", "fold"]))


def write_inference(folder: Path, manifest: pd.DataFrame, known: list[str], rng: np.random.Generator) -> None:
    out = folder / "data" / "inference"
    of_class = np.array([known.index(label) if label in known else 0 for label in manifest["label"]])
    logits = {name: rng.normal(0, 1, (len(manifest), 2)) for name in ("finetuned", "scratch", "probe")}
    for gain, values in zip((3.0, 0.8, 2.0), logits.values(), strict=True):
        values[np.arange(len(values)), of_class] += gain
    shares = np.exp(logits["finetuned"]) / np.exp(logits["finetuned"]).sum(1, keepdims=True)
    scores = rng.normal(0, 1, len(manifest)) + 2.0 * ~manifest["label"].isin(known)
    table = manifest[["photo", "split", "label", "kind"]].copy()
    table["predicted"] = np.array(known)[shares.argmax(1)]
    table["confidence"] = shares.max(1)
    for number, name in enumerate(known):
        table[f"p_{name}"] = shares[:, number]
    write_csv(out / "predictions.csv", table.assign(unknown_score=scores, rejected=scores > 1.5))
    write_csv(out / "scores.csv", pd.DataFrame({"finetuned_msp": 1 - shares.max(1), "frozen_knn": scores}))
    for name in ("scratch", "probe"):
        np.save(out / f"{name}_logits.npy", logits[name].astype(np.float32))
    has_unknown = (manifest["label"] == UNKNOWN).any()
    tried = [
        {"space": space, "name": name, "settings": settings, "val_auroc": 0.875 if has_unknown else None}
        for space, name, settings in (("finetuned", "msp", {}), ("frozen", "knn", {"neighbours": 5}))
    ]
    scorer = {**tried[1], "threshold": 1.5, "keep": 0.95, "tried": tried, "split": "0" * 64}
    write_json(folder / "deployed" / "config.json", {"classes": known, "temperature": 1.25, "scorer": scorer})


def write_explain(folder: Path, manifest: pd.DataFrame, known: list[str], images: Any) -> None:
    out = folder / "data" / "explain"
    wrong = manifest[manifest["split"].isin(["val", "test"]) & (manifest["label"] == known[0])].head(10)
    causes = [CAUSES[0]] * 2 + [CAUSES[-1]] * 7 + [CAUSES[3]]
    table = wrong[["photo", "split", "label"]].reset_index(names="row")
    table = table.assign(predicted=known[1], cause=causes, evidence="60% of *all* #x", label_quality=0.125)
    table = table.assign(confidence=np.linspace(0.99, 0.6, 10), losses="2.5 1.5 3.0", mislabelled=True)
    table = table.assign(nearest_labels=f"{known[0]} | {known[1]} | {known[1]}")
    write_csv(out / "explained.csv", table)
    for row in table["row"]:
        panel = contact_sheet(list(images[:6]), ["caption"] * 6, 6, 128)
        write_png(out / "pictures" / f"{row}.png", panel)
    for name in ("explained", "suspects"):
        write_png(out / f"{name}.png", images[0])
    write_csv(out / "suspects.csv", table[["row", "photo", "label"]])
    counts = {split: {cause: causes.count(cause) for cause in CAUSES} for split in ("val", "test")}
    cure = {"accuracy": {"value": 0.75, **LOW_HIGH}, "accuracy_on_right": {"value": 0.8125, **LOW_HIGH}}
    gain = {"gain": {"value": 0.01, **LOW_HIGH}, "gain_on_right": {"value": 0.02, **LOW_HIGH}}
    hits = {"mislabelled": 3, "precision": {"value": 0.5, **LOW_HIGH}, "recall": {"value": 0.25, **LOW_HIGH}}
    write_json(
        folder / "metrics" / "explain.json",
        {
            "misclassified": {"val": 4, "test": 6},
            "causes": counts,
            "suspects": {"count": 2, "of": 40, **hits},
            "cure": {"as_they_are": cure, **dict.fromkeys(("removed", "relabelled", "random_removed"), cure | gain)},
        },
    )


def write_luck(folder: Path, images: Any, rng: np.random.Generator) -> None:
    out = folder / "data" / "luck"
    write_csv(out / "shuffles.csv", pd.DataFrame({"shuffle": range(99), "accuracy": rng.integers(3, 8, 99) / 10}))
    write_png(out / "probes.png", images[0])
    half = {"value": 0.5, **LOW_HIGH}
    probe = {"finetuned": half, "lost": half, "linear": half}
    names = ("greyscale", "captions_masked", "borders_only", "patches_shuffled", "equalised")
    write_json(
        folder / "metrics" / "luck.json",
        {
            "shuffle_p_value": {"value": 0.01, "low": 0.0, "high": 0.03, "n": 99},
            "shuffle": {"accuracy": {"value": 0.9, **LOW_HIGH}, "chance": half, "classifier": "ridge"},
            "accuracy": half,
            "baseline": {name: {"accuracy": half, "gain": half} for name in ("majority", "colour_histogram_5nn")},
            "traits": {"accuracy": half, "over_majority": half, "alone": {"width": half, "sharpness": half}},
            "probes": {"as_is": {"finetuned": half, "linear": half}, **dict.fromkeys(names, probe)},
        },
    )
    curve = {"share": [0.5, 1.0], "pictures": [20, 40], "accuracy": [0.7, 0.8], "low": [0.6, 0.7], "high": [0.8, 0.9]}
    write_csv(folder / "metrics" / "learning_curve.csv", pd.DataFrame(curve))


def write_extend(folder: Path, later: str | None) -> None:
    keys = ["method", "space", "shots"]
    columns = [f"{name}{end}" for name in extend.FIGURES for end in ("", "_low", "_high")]
    ways = [("class_mean", "frozen"), ("ranpac", "finetuned")]
    trials = [(*way, shots) for shots in (5, 20) for way in ways] if later else []
    trials += [("retrained_probe", "frozen", 12)] if later else []
    table = pd.DataFrame(trials, columns=keys).assign(**dict.fromkeys(columns, 0.5))
    write_csv(folder / "metrics" / "extend.csv", table)
    write_csv(folder / "data" / "extend" / "extend.csv", table[keys].assign(repeat=0))
    figures = {name: {"value": 0.625, **LOW_HIGH} for name in extend.FIGURES}
    methods = {f"{method}-{space}": {"5": figures, "20": figures} for method, space in ways}
    chosen = {"method": "ranpac", "space": "finetuned", "tried": []}
    told: dict[str, Any] = {"later": later, "chosen": None, "methods": {}, "retrained": {}}
    added = {"pool": 12, "test": 6, "chosen": chosen, "methods": methods, "retrained": {"frozen": figures}}
    write_json(folder / "metrics" / "extend.json", told | (added if later else {}))
