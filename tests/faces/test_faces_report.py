"""faces-evaluate and faces-report on the files of a run whose answers are drawn by chance around the truth."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader
from sklearn import metrics as reference

from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.packs import write_pack
from sightline.core.report import compile_report
from sightline.core.sheets import contact_sheet, write_png
from sightline.faces import report as stage
from sightline.faces.evaluate import evaluate
from sightline.faces.mistakes import CONFUSED
from sightline.faces.params import EMOTIONS, Faces
from sightline.faces.publish import by_epoch
from sightline.faces.tables import read_table
from sightline.params import load

ROOT = Path(__file__).parents[2]
PLAIN = ("anna", "bruno", "carla")
HOSTILE = ('#panic("no")', "$x$ @zhang2016", "*bold* [c]")
THRESHOLDS = {"cnn": 0.5, "embedding": 0.45, "knn": 0.55}
NETWORKS = ("net_a", "predicted_b")
GAIN = {"cnn": 0.3, "embedding": 0.5, "knn": 0.15}


@dataclass(frozen=True)
class Run:
    """A folder laid out as the repository is, and the parameters."""

    folder: Path
    faces: Faces

    def evaluate(self) -> dict[str, Any]:
        data, models = self.folder / "data", self.folder / "models"
        evaluate(
            data / "raw",
            data / "crops",
            data / "detections.csv",
            models / "identity",
            models / "deployed",
            data / "inference",
            self.faces.detect,
            self.faces.evaluate,
            data / "evaluation",
            self.folder / "metrics",
            workers=1,
        )
        found: dict[str, Any] = read_json(self.folder / "metrics" / "metrics.json")
        return found

    def report(self, out: Path) -> dict[str, Any]:
        """Write ``report.pdf`` and ``figures/`` into ``out``; what went into the template."""
        inputs = (self.folder / "data", self.folder / "models", self.folder / "metrics")
        with patch.object(stage, "compile_report", wraps=compile_report) as compiling:
            stage.report(*inputs, self.faces, out / "figures", out / "report.pdf")
        told: dict[str, Any] = compiling.call_args.args[1]
        return told

    def table(self, path: str) -> pd.DataFrame:
        return read_table(self.folder / path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def measured(run: Run) -> dict[str, Any]:
    return run.evaluate()


@pytest.fixture(scope="module")
def told(run: Run, measured: dict[str, Any]) -> dict[str, Any]:
    return run.report(run.folder)


def test_emotions_are_measured_on_test_faces_as_scikit_learn_does(run: Run, measured: dict[str, Any]) -> None:
    table = run.table("data/inference/emotions.csv").query("role == 'emotion' and split == 'test'")
    accuracy = reference.accuracy_score(table["emotion"], table["predicted"])
    assert measured["emotion_accuracy"]["value"] == pytest.approx(accuracy, abs=1e-6)
    f1 = reference.f1_score(table["emotion"], table["predicted"], average="macro")
    assert measured["emotion_macro_f1"]["value"] == pytest.approx(f1, abs=1e-6)
    assert set(measured["emotion"]["by_set"]) == {"votes", "one person"}
    confusion = run.table("metrics/confusion.csv")
    assert confusion["label"].tolist() == table["emotion"].tolist()
    majority = measured["baseline"]["majority_emotion"]["emotion_accuracy"]["value"]
    assert majority == pytest.approx((table["emotion"] == "anger").mean(), abs=1e-6)


def test_networks_of_a_panel_are_measured_by_themselves(
    run: Run, measured: dict[str, Any], told: dict[str, Any]
) -> None:
    tested = run.table("data/inference/emotions.csv").query("role == 'emotion' and split == 'test'")
    found = measured["emotion"]["networks"]
    assert set(found) == set(NETWORKS)
    for network in NETWORKS:
        for tree, table in (
            (found[network], tested),
            (found[network]["by_set"]["votes"], tested[tested["set"] == "votes"]),
        ):
            own = table[f"predicted_{network}"]
            accuracy = reference.accuracy_score(table["emotion"], own)
            assert tree["emotion_accuracy"]["value"] == pytest.approx(accuracy, abs=1e-6)
            present = sorted(set(table["emotion"]))
            f1, of_panel = (
                reference.f1_score(table["emotion"], said, labels=present, average="macro", zero_division=0)
                for said in (own, table["predicted"])
            )
            assert tree["macro_f1"]["value"] == pytest.approx(f1, abs=1e-6)
            assert tree["panel_minus_this"]["macro_f1"]["value"] == pytest.approx(of_panel - f1, abs=2e-6)
            assert tree["faces"] == len(table)
        assert f"{network} alone" in pdf_text(run.folder / "report.pdf")


def test_near_duplicates_are_one_unit_of_emotions(run: Run, measured: dict[str, Any]) -> None:
    tested = run.table("data/inference/emotions.csv").query("role == 'emotion' and split == 'test'")
    assert measured["emotion_accuracy"]["n"] == len(tested) // 2


def test_emotions_in_groups_are_drawn_over_who_is_named_and_the_photos_of_who_is_not(measured: dict[str, Any]) -> None:
    in_groups = measured["emotion"]["groups"]
    assert (in_groups["faces"], in_groups["emotion_accuracy"]["n"]) == (15, len(PLAIN) + 5)


def test_the_methods_stand_side_by_side_and_the_baseline_beside_them(measured: dict[str, Any]) -> None:
    for name in ("rank1", "known_accepted_right", "open_set_auroc", "dir_at_far_1", "dir_at_far_10", "far", "frr"):
        assert set(measured[name]) == set(THRESHOLDS)
        assert measured["baseline"]["knn"][name] == measured[name]["knn"]
    assert measured["thresholds"] == THRESHOLDS
    assert set(measured["difference"]) == {"cnn_minus_knn", "embedding_minus_knn"}


def test_the_pdf_holds_the_figures_of_metrics_json(run: Run, measured: dict[str, Any], told: dict[str, Any]) -> None:
    assert 5 <= len(PdfReader(run.folder / "report.pdf").pages) <= 10
    text = pdf_text(run.folder / "report.pdf")
    shown = [measured[name] for name in ("detection_recall", "detection_ap", "emotion_accuracy", "emotion_ece")]
    shown += [measured[name][method] for name in ("rank1", "unknown_rejected", "dir_at_far_1") for method in THRESHOLDS]
    shown += [measured["identity"]["by_part"]["groups"]["rank1"]["cnn"], measured["found_and_named"]["embedding"]]
    for figure in shown:
        for key in ("value", "low", "high"):
            assert f"{figure[key]:.3f}" in text


def test_limits_are_said_plainly(run: Run, told: dict[str, Any]) -> None:
    text = pdf_text(run.folder / "report.pdf")
    for said in ("Art. 9(2) GDPR", "Art. 5(1)(f)", "workplace and in education is prohibited", "These faces are drawn"):
        assert said in text


def test_the_same_run_gives_the_same_bytes_again(run: Run, told: dict[str, Any], tmp_path: Path) -> None:
    again = make_run(tmp_path)
    again.evaluate()
    again.report(tmp_path)
    for folder in ("metrics", "data/evaluation", "figures"):
        files = sorted(path for path in (run.folder / folder).rglob("*") if path.is_file())
        assert files
        for path in files:
            assert path.read_bytes() == (tmp_path / path.relative_to(run.folder)).read_bytes()
    assert (run.folder / "report.pdf").read_bytes() == (tmp_path / "report.pdf").read_bytes()


def test_misjudged_faces_are_shown_beside_whom_they_are_most_like(run: Run, told: dict[str, Any]) -> None:
    shown, verdicts = told["mistakes"]["shown"], run.table("data/evaluation/verdicts.csv")
    assert 0 < len(shown) <= stage.SHOWN_MISTAKES
    assert told["mistakes"]["mosaic"]["count"] == 3 * len(shown)
    assert told["mistakes"]["all"] == verdicts["verdict"].isin(CONFUSED).sum()
    assert {"wrong name", "stranger named", "not recognised"} == {item["verdict"] for item in shown}


def test_names_are_never_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path, HOSTILE)
    run.evaluate()
    run.report(tmp_path)
    text = pdf_text(tmp_path / "report.pdf")
    assert '#panic("no")' in text
    assert "*bold*" in text


def test_without_groups_emotions_and_pretrained_weights_the_rest_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, ("007", "NA"), methods=("cnn", "knn"), roles=("gallery", "stranger"))
    measured = run.evaluate()
    assert not any(name.startswith(("emotion_", "detection_")) for name in measured)
    assert measured["found_and_named"] == {}
    assert measured["identity"]["by_part"]["groups"]["faces"] == {"known": 0, "unknown": 0}
    told = run.report(tmp_path)
    assert told["emotion"] is None
    assert told["gallery"]["people"] == ["007", "NA"]
    assert [item["name"] for item in told["headline"]] == ["Known people named", "Strangers rejected"]


def test_a_group_photo_that_was_left_out_changes_nothing(run: Run, measured: dict[str, Any], tmp_path: Path) -> None:
    again, data = make_run(tmp_path), tmp_path / "data"
    # As faces-detect leaves a near-duplicate: boxed, looked at, without a split and without faces in the pack.
    for file, added in (
        (data / "raw" / "boxes.csv", {"name": "anna", "ignore": 0}),
        (data / "detections.csv", {}),
        (data / "raw" / "photos.csv", {}),
        (data / "crops" / "photos.csv", {"split": ""}),
    ):
        table = read_table(file)
        own = table[table["photo"] == "groups/0.jpg"].assign(photo="groups/9.jpg", **added)
        assert len(own)
        write_csv(file, pd.concat([table, own]))
    assert again.evaluate() == measured
    verdicts = "data/evaluation/verdicts.csv"
    assert (tmp_path / verdicts).read_bytes() == (run.folder / verdicts).read_bytes()


def test_what_does_not_belong_together_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.evaluate()
    table = run.table("data/inference/identities.csv")
    write_csv(tmp_path / "data" / "inference" / "identities.csv", table[table["split"] != "probe"])
    with pytest.raises(InputError, match="of different runs"):
        run.report(tmp_path)
    assert not (tmp_path / "figures").exists()
    write_csv(tmp_path / "data" / "inference" / "identities.csv", table.drop(columns="similarity_cnn"))
    with pytest.raises(InputError, match="no answers of cnn: run faces-infer again"):
        run.evaluate()
    write_csv(tmp_path / "data" / "inference" / "identities.csv", table[table["split"] == "gallery"])
    with pytest.raises(InputError, match="0 faces test identification, of 0 enrolled people"):
        run.evaluate()
    anna = (table["split"] == "probe") & (table["name"] == "anna")
    write_csv(tmp_path / "data" / "inference" / "identities.csv", table[anna | (table["role"] == "stranger")])
    with pytest.raises(InputError, match="16 faces test identification, of 1 enrolled people"):
        run.evaluate()


def test_history_becomes_one_row_an_epoch() -> None:
    history = pd.DataFrame({"model": ["cnn", "cnn", "fold-1"], "epoch": [1, 2, 1], "left_out_loss": [None, None, 0.9]})
    wide = by_epoch(history.assign(train_loss=[0.3, 0.2, 0.4]))
    assert wide["epoch"].tolist() == [1, 2]
    assert wide["cnn/train_loss"].tolist() == [0.3, 0.2]
    assert wide["fold-1/left_out_loss"][0] == 0.9
    assert "cnn/left_out_loss" not in wide


def pdf_text(path: Path) -> str:
    text = "\n".join(page.extract_text() for page in PdfReader(path).pages)
    return re.sub(r"\s+", " ", text.replace("\u200b", ""))


ALL_ROLES = ("gallery", "stranger", "group", "empty", "emotion")
BOXES = [(20.0 + 70 * place, 30.0, 60.0 + 70 * place, 80.0) for place in range(4)]


def make_run(
    folder: Path,
    people: tuple[str, ...] = PLAIN,
    methods: tuple[str, ...] = tuple(THRESHOLDS),
    roles: tuple[str, ...] = ALL_ROLES,
) -> Run:
    default = load("faces", Faces, ROOT / "params.yaml")
    faces = default.model_copy(update={"evaluate": default.evaluate.model_copy(update={"resamples": 100})})
    rng = np.random.default_rng(0)
    manifest = pd.DataFrame([row for row in faces_of(people) if row["role"] in roles])
    photos = write_photos(folder / "data" / "raw", manifest, roles, rng)
    images = rng.integers(0, 255, (len(manifest), 144, 144, 3), dtype=np.uint8)
    rows: Any = manifest.to_dict("records")
    write_pack(folder / "data" / "crops", 144, [(images, rows)])
    splits = dict(zip(manifest["photo"], manifest["split"], strict=True))
    write_csv(
        folder / "data" / "crops" / "photos.csv",
        photos.assign(split=[splits.get(name, "test") for name in photos["photo"]]),
    )
    write_csv(folder / "data" / "crops" / "problems.csv", pd.DataFrame(columns=["photo", "problem", "action"]))
    write_png(folder / "data" / "crops.png", contact_sheet(list(images[:8]), [""] * 8, 4))
    found = manifest[["photo", "face", "x1", "y1", "x2", "y2", "score"]]
    write_csv(folder / "data" / "detections.csv", found)
    write_answers(folder, manifest, people, methods, rng)
    enrolled = {person: {"gallery": 4, "probe": 4} for person in people}
    digests = {"photos": "0" * 64, "split": "1" * 64}
    write_json(
        folder / "metrics" / "crops.json",
        {
            "photos": photos["role"].value_counts().to_dict(),
            "faces": {role: of["split"].value_counts().to_dict() for role, of in manifest.groupby("role")},
            "enrolled": enrolled,
            "strangers": {"val": 2, "test": 4},
            "digests": digests,
        },
    )
    epochs = np.tile(np.arange(1, 4), 2)
    history = pd.DataFrame({"model": np.repeat(["fold-1", "cnn"], 3), "epoch": epochs, "train_loss": 1 / epochs})
    history["left_out_loss"] = np.where(history["model"] == "cnn", np.nan, 1.2 / epochs)
    write_csv(folder / "metrics" / "history.csv", history)
    return Run(folder, faces)


def faces_of(people: tuple[str, ...]) -> Any:
    """Rows of the manifest: 8 portraits a person, strangers, groups of three and of one who is not there, emotions."""
    face = {"set": "", "emotion": "", "face": 0, "box": -1, "ignore": 0, "whole": 0, "score": 0.99}
    place = dict(zip(("x1", "y1", "x2", "y2"), BOXES[0], strict=True))
    for number, person in enumerate(people):
        for photo in range(8):
            who = {"photo": f"gallery/{number}/{photo}.jpg", "role": "gallery", "person": person, "name": person}
            yield {**face, **place, **who, "split": "gallery" if photo < 4 else "probe"}
    for stranger in range(6):
        for photo in range(3):
            who = {"photo": f"strangers/{stranger}/{photo}.jpg", "role": "stranger", "person": f"stranger {stranger}"}
            yield {**face, **place, **who, "name": f"stranger {stranger}", "split": "val" if stranger < 2 else "test"}
    for group in range(5):
        for seat in range(3):
            place = dict(zip(("x1", "y1", "x2", "y2"), BOXES[seat], strict=True))
            name = people[(group + seat) % len(people)] if seat else ""
            who = {"photo": f"groups/{group}.jpg", "role": "group", "person": "", "name": name, "split": "test"}
            yield {**face, **place, **who, "face": seat, "box": seat, "emotion": EMOTIONS[(group + seat) % 7]}
    place = dict(zip(("x1", "y1", "x2", "y2"), BOXES[0], strict=True))
    for number, emotion in enumerate(EMOTIONS):
        for photo in range(12 if emotion == "anger" else 8):
            split = "test" if photo < 4 else "train"
            who = {"photo": f"emotion/{emotion}/{photo}.jpg", "role": "emotion", "person": "", "name": ""}
            label = {"emotion": emotion, "set": "votes" if number % 2 else "one person"}
            yield {**face, **place, **who, **label, "split": split}


def write_photos(raw: Path, manifest: pd.DataFrame, roles: tuple[str, ...], rng: np.random.Generator) -> pd.DataFrame:
    photos = manifest.drop_duplicates("photo")[["photo", "role", "person", "emotion", "set"]].copy()
    photos["complete"] = (photos["role"] == "group").astype(int)
    if "empty" in roles:
        nobody = [{"photo": f"groups/no_face/{n}.jpg", "role": "empty", "complete": 1} for n in range(3)]
        photos = pd.concat([photos, pd.DataFrame(nobody)], ignore_index=True).fillna("")
    # Emotion photos come in pairs of near-duplicates.
    hashes = rng.integers(0, 2**63, len(photos))
    pairs = (photos["role"] == "emotion").to_numpy() & photos["photo"].str.contains(r"[13579]\.jpg").to_numpy()
    hashes[pairs] = hashes[np.flatnonzero(pairs) - 1] ^ 1
    photos["hash"] = [f"{value:016x}" for value in hashes]
    write_csv(raw / "photos.csv", photos)
    group = manifest[manifest["role"] == "group"]
    missed = group.groupby("photo").head(1)[["photo"]].assign(box=3, name="", ignore=0)
    missed = missed.assign(**dict(zip(("x1", "y1", "x2", "y2"), BOXES[3], strict=True)))
    columns = ["photo", "box", "x1", "y1", "x2", "y2", "name", "ignore"]
    write_csv(raw / "boxes.csv", pd.concat([group[columns], missed[columns]]))
    write_csv(
        raw / "problems.csv", pd.DataFrame({"photo": ["x.jpg"], "problem": ["not a picture"], "action": ["left out"]})
    )
    for photo in photos.loc[photos["role"].isin(["group", "empty"]), "photo"]:
        (raw / "images" / photo).parent.mkdir(parents=True, exist_ok=True)
        write_png((raw / "images" / photo).with_suffix(".png"), np.full((120, 320, 3), 90, np.uint8))
        (raw / "images" / photo).with_suffix(".png").rename(raw / "images" / photo)
    return photos


def write_answers(
    folder: Path, manifest: pd.DataFrame, people: tuple[str, ...], methods: tuple[str, ...], rng: np.random.Generator
) -> None:
    faces = manifest[manifest["role"].isin(["gallery", "stranger", "group"])]
    table = faces[["photo", "face", "role", "split", "box", "ignore", "name"]].copy()
    is_known = table["name"].isin(people).to_numpy()
    for method in methods:
        is_right = is_known & (rng.random(len(table)) < 0.6 + GAIN[method])
        table[f"name_{method}"] = np.where(is_right, table["name"], rng.choice(people, len(table)))
        table[f"similarity_{method}"] = 0.35 + GAIN[method] * is_known + rng.normal(0, 0.12, len(table))
        config = {"method": method, "threshold": {"value": THRESHOLDS[method]}}
        write_json(folder / "models" / "identity" / method / "config.json", config)
    validation = {method: {"rank1": 0.9, "known_right": 0.8} for method in methods}
    write_json(folder / "models" / "identity" / "config.json", {"best": "cnn", "validation": validation, "doubles": []})
    write_json(folder / "models" / "deployed" / "config.json", {"task": "faces", "method": "cnn"})
    write_csv(folder / "data" / "inference" / "identities.csv", table)
    moods = manifest[manifest["role"].isin(["emotion", "group"])]
    shares = rng.dirichlet(np.ones(7), len(moods))
    shares[np.arange(len(moods)), [EMOTIONS.index(name) for name in moods["emotion"]]] += 0.4
    shares /= shares.sum(1, keepdims=True)
    answers = moods[["photo", "face", "role", "set", "split", "emotion"]].copy()
    answers["predicted"] = np.array(EMOTIONS)[shares.argmax(1)] if len(moods) else ""
    answers[[f"p_{name}" for name in EMOTIONS]] = shares
    for network in NETWORKS:
        answers[f"predicted_{network}"] = np.array(EMOTIONS)[rng.integers(0, 7, len(moods))]
    write_csv(folder / "data" / "inference" / "emotions.csv", answers)
