"""Stage ``faces-report``: one run told in a few pages, every number and picture read from the run's own files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from sklearn.metrics import confusion_matrix

from sightline.core import plots
from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing_folder
from sightline.core.images import Pixels, read_image
from sightline.core.packs import Pack, open_pack
from sightline.core.report import compile_report, in_words, write_mosaic, write_photo
from sightline.faces import figures as drawings
from sightline.faces.identity_figures import faces_to_test
from sightline.faces.mistakes import CONFUSED, MISTAKES, VERDICTS, pictures_of
from sightline.faces.params import EMOTIONS, Faces
from sightline.faces.tables import read_table
from sightline.params import load

Option = typer.Option()


def main(
    data: Annotated[Path, Option],
    models: Annotated[Path, Option],
    metrics: Annotated[Path, Option],
    figures: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`report`."""
    report(data, models, metrics, load("faces", Faces), figures, out)


def report(data: Path, models: Path, metrics: Path, faces: Faces, figures: Path, out: Path) -> None:
    """Write the PDF ``out`` and the folder of its ``figures`` from what the other stages left.

    Args:
        data: the folder with ``raw``, ``crops`` (and ``crops.png``), ``training``, ``inference`` and ``evaluation``.
        models: the folder with ``identity`` and ``deployed``.
        metrics: the folder with the figures and tables of all stages.
        faces: the parameters of the run.
        figures: a folder to make.
        out: the PDF to make.

    Raises:
        InputError: the files are of different runs.
    """
    pack = open_pack(data / "crops")
    manifest = read_table(data / "crops" / "manifest.csv")
    answers = read_table(data / "inference" / "identities.csv")
    verdicts = read_table(data / "evaluation" / "verdicts.csv")
    tested = faces_to_test(manifest, answers)
    if len(tested) != verdicts["verdict"].isin(["right", "unknown", *CONFUSED]).sum():
        raise InputError(f"{data / 'evaluation'} and {data / 'inference'} are of different runs: run faces-evaluate")
    measured, summary = read_json(metrics / "metrics.json"), read_json(metrics / "crops.json")
    with replacing_folder(figures) as part:
        told = {
            "source": faces.data.source,
            "headline": _headline(measured),
            "data": _data(data, summary, faces, part),
            "gallery": _gallery(pack, manifest, part),
            "photos": _photos(data / "evaluation", verdicts, part),
            "detection": _detection(metrics, measured, faces, part),
            "identity": _identity(models, metrics, measured, tested, faces, part),
            "mistakes": _mistakes(pack, manifest, verdicts, part),
            "emotion": _emotion(data / "inference", metrics, pack, manifest, measured, part),
            "settings": _settings(faces),
        }
        compile_report(TEMPLATE, told, part, out, BIBLIOGRAPHY)


def _headline(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """The four figures that say most, of those that this run has."""
    method = measured["method"]
    by = drawings.METHODS[method]
    shown = [
        ("Faces found", measured.get("detection_recall"), "recall of detection, on photos in which all are boxed"),
        ("Known people named", _of(measured, "known_accepted_right", method), f"accepted and named right, {by}"),
        ("Strangers rejected", _of(measured, "unknown_rejected", method), "at the same threshold"),
        ("Emotions right", measured.get("emotion_accuracy"), "accuracy over seven labels"),
    ]
    return [{"name": name, "figure": in_words(figure), "note": note} for name, figure, note in shown if figure]


def _of(tree: Mapping[str, Any], name: str, method: str) -> dict[str, float] | None:
    figure: dict[str, float] | None = tree.get(name, {}).get(method)
    return figure


def _data(data: Path, summary: dict[str, Any], faces: Faces, figures: Path) -> dict[str, Any]:
    write_photo(figures / "sheet.jpg", read_image(data / "crops.png"), 1760)
    problems = [read_table(data / name / "problems.csv") for name in ("raw", "crops")]
    actions = pd.concat([table["action"] for table in problems if len(table)] or [pd.Series(dtype=str)])
    rows = []
    for role, what in ROLES.items():
        photos, found = summary["photos"].get(role, 0), summary["faces"].get(role, {})
        if photos:
            rows.append([what, f"{photos:,}", *(f"{found[name]:,}" if name in found else "–" for name in SPLITS)])
    return {
        "rows": rows,
        "splits": list(SPLITS.values()),
        "people": len(summary["enrolled"]),
        "enrolled_photos": faces.identity.photos,
        "strangers": summary["strangers"],
        "photos": f"{sum(summary['photos'].values()):,}",
        "seed": faces.data.synthetic.seed,
        "url": faces.data.official.url,
        "problems": [[action, int(n)] for action, n in actions.value_counts().sort_index().items()],
        "bits": faces.detect.near_duplicate_bits,
    }


def _gallery(pack: Pack, manifest: pd.DataFrame, figures: Path) -> dict[str, Any]:
    """A row of enrolled faces for each of the first people."""
    enrolled = manifest[(manifest["split"] == "gallery") & (manifest["role"] == "gallery")]
    people = sorted(set(enrolled["person"]))
    tiles: list[Pixels] = []
    for person in people[:SHOWN_PEOPLE]:
        own = [_face(pack, row) for row in enrolled.index[enrolled["person"] == person][:SHOWN_PHOTOS]]
        tiles += [*own, *[BLANK] * (SHOWN_PHOTOS - len(own))]
    mosaic = write_mosaic(figures / "gallery.png", tiles, SHOWN_PHOTOS, 96)
    return {"mosaic": mosaic, "people": people[:SHOWN_PEOPLE], "all": len(people), "photos": SHOWN_PHOTOS}


def _photos(evaluation: Path, verdicts: pd.DataFrame, figures: Path) -> dict[str, Any]:
    """Two group photos taken evenly, and then those with the most mistakes."""
    pictures = pictures_of(verdicts)
    groups = verdicts[verdicts["photo"].isin(pictures)]
    wrong = groups["verdict"].isin(MISTAKES).groupby(groups["photo"], sort=False).sum()
    names = list(dict.fromkeys(groups.loc[groups["role"] == "group", "photo"]))
    places = np.linspace(0, len(names) - 1, EVEN + 2).astype(int)[1:-1] if names else np.empty(0, int)
    even = list(dict.fromkeys(names[int(place)] for place in places))
    worst = wrong[~wrong.index.isin(even) & (wrong > 0)].sort_values(ascending=False, kind="stable").index[:WORST]

    def shown(number: int, photo: str) -> dict[str, Any]:
        image = read_image(evaluation / pictures[photo])
        file = f"photo_{number}.jpg"
        write_photo(figures / file, image, 1100)
        return {"file": file, "aspect": image.shape[1] / image.shape[0], "name": photo, "wrong": int(wrong[photo])}

    counts = groups["verdict"].value_counts()
    return {
        "even": [shown(number, photo) for number, photo in enumerate(even)],
        "worst": [shown(number, photo) for number, photo in enumerate(worst, start=len(even))],
        "counts": [
            [verdict, meaning, int(counts[verdict])] for verdict, meaning in VERDICTS.items() if verdict in counts
        ],
        "groups": len(names),
    }


def _detection(metrics: Path, measured: dict[str, Any], faces: Faces, figures: Path) -> dict[str, Any]:
    told = measured["detection"]
    rows = [_detected("all photos", {**measured, **told})]
    rows += [_detected(name, of_set) for name, of_set in told.get("by_set", {}).items()]
    curve = read_table(metrics / "detection.csv")
    if len(curve):
        plots.save(drawings.detection_curve(curve, faces.detect.score), figures / "detection.svg")
    false = told.get("false_faces_per_photo")
    return {
        "rows": [row for row in rows if row["figures"][0]],
        "curve": bool(len(curve)),
        "score": f"{faces.detect.score:g}",
        "lowest": f"{faces.detect.score - 0.2:.2g}",
        "min_face": faces.detect.min_face,
        "iou": f"{faces.evaluate.iou:g}",
        "empty": told["photos_without_face"],
        "false": in_words(false) if false else None,
    }


def _detected(name: str, tree: dict[str, Any]) -> dict[str, Any]:
    figures = [tree.get(f"detection_{kind}") for kind in ("recall", "precision", "ap")]
    return {
        "name": name,
        "photos": tree.get("photos", 0),
        "faces": tree.get("faces", 0),
        "figures": [in_words(figure) if figure else None for figure in figures],
    }


def _identity(
    models: Path, metrics: Path, measured: dict[str, Any], tested: pd.DataFrame, faces: Faces, figures: Path
) -> dict[str, Any]:
    """The methods side by side, on all test faces, on portraits and in groups."""
    thresholds = measured["thresholds"]
    plots.save(drawings.dir_far(pd.read_csv(metrics / "dir_far.csv")), figures / "dir_far.svg")
    plots.save(drawings.similarities(tested, thresholds), figures / "similarities.svg")
    plots.save(drawings.training(pd.read_csv(metrics / "history.csv")), figures / "training.svg")
    methods = [method for method in drawings.METHODS if method in thresholds]
    parts = {"all test faces": {**measured, **measured["identity"]}, **measured["identity"]["by_part"]}
    verdict = read_json(models / "identity" / "config.json")
    return {
        "methods": [
            {
                "name": drawings.METHODS[method],
                "deployed": method == measured["method"],
                "threshold": f"{thresholds[method]:.3f}",
                "validation": {name: f"{share:.3f}" for name, share in verdict["validation"][method].items()},
            }
            for method in methods
        ],
        "tables": [
            {
                "part": part,
                "faces": tree["faces"],
                "units": tree["units"],
                "rows": [
                    {"name": drawings.METHODS[method], "figures": [_figure(tree, name, method) for name in IDENTIFIED]}
                    for method in methods
                ],
            }
            for part, tree in parts.items()
            if _figure(tree, "rank1", methods[0]) or _figure(tree, "far", methods[0])
        ],
        "named": [[drawings.METHODS[method], _figure(measured, "found_and_named", method)] for method in methods],
        "differences": [
            {
                "name": drawings.METHODS[name.removesuffix("_minus_knn")],
                "figures": {kind: in_words(figure) for kind, figure in of.items()},
            }
            for name, of in measured["difference"].items()
        ],
        "method": drawings.METHODS[measured["method"]],
        "neighbours": faces.identity.neighbours,
        "false_accepts": f"{100 * faces.identity.false_accepts:g}",
        "hardly": _names_hardly_anybody(measured),
        "has_embedding": "embedding" in methods,
        "doubles": verdict["doubles"],
    }


def _names_hardly_anybody(measured: dict[str, Any]) -> bool:
    named = _of(measured, "known_accepted_right", measured["method"])
    return named is not None and named["value"] < HARDLY


def _figure(tree: Mapping[str, Any], name: str, method: str) -> dict[str, str] | None:
    figure = _of(tree, name, method)
    return in_words(figure) if figure else None


def _mistakes(pack: Pack, manifest: pd.DataFrame, verdicts: pd.DataFrame, figures: Path) -> dict[str, Any]:
    """Faces under a wrong name or none, beside an enrolled photo of whom they are most like and of who they are."""
    wrong = verdicts[verdicts["verdict"].isin(CONFUSED)]
    # The surest of each kind, then the second surest of each, …
    ordered = wrong.sort_values("similarity", ascending=False, kind="stable")
    nth = ordered.groupby("verdict").cumcount()
    shown = ordered.loc[nth.sort_values(kind="stable").index[:SHOWN_MISTAKES]]
    shown = shown.sort_values(["verdict", "similarity"], ascending=[False, False], kind="stable")
    enrolled = manifest[manifest["split"] == "gallery"].reset_index(names="row").groupby("person")["row"].first()

    def example(person: str) -> Pixels:
        return _face(pack, int(enrolled[person])) if person in enrolled else BLANK

    tiles: list[Pixels] = []
    for row in shown.to_dict("records"):
        tiles += [_face(pack, int(row["row"])), example(row["nearest"]), example(row["truth"])]
    return {
        "mosaic": write_mosaic(figures / "mistakes.png", tiles, 3, 96) if tiles else None,
        "shown": [
            {
                "verdict": row["verdict"],
                "said": row["said"],
                "nearest": row["nearest"],
                "truth": row["truth"],
                "similarity": f"{float(row['similarity']):.2f}",
                "photo": row["photo"],
            }
            for row in shown.to_dict("records")
        ],
        "all": len(wrong),
        "counts": [[verdict, int((wrong["verdict"] == verdict).sum())] for verdict in CONFUSED],
    }


def _emotion(
    inference: Path, metrics: Path, pack: Pack, manifest: pd.DataFrame, measured: dict[str, Any], figures: Path
) -> dict[str, Any] | None:
    """What guesses of emotions are worth; None where no face tests them."""
    if "emotion_accuracy" not in measured:
        return None
    confusion = read_table(metrics / "confusion.csv")
    counts = confusion_matrix(confusion["label"], confusion["predicted"], labels=list(EMOTIONS))
    plots.save(plots.confusion_matrix(counts, EMOTIONS), figures / "confusion.svg")
    diagram = plots.reliability_diagram(pd.read_csv(metrics / "reliability.csv"), measured["emotion_ece"]["value"])
    plots.save(diagram, figures / "reliability.svg")
    told = measured["emotion"]
    rows = [["all test faces", told["faces"], *(in_words(measured[name]) for name in FELT)]]
    for name, of_set in told.get("by_set", {}).items():
        own = [of_set.get(key) for key in FELT.values()]
        rows.append([name or "no set", of_set["faces"], *(in_words(figure) if figure else None for figure in own)])
    if "groups" in told:
        rows.append(
            [
                "faces in group photos",
                told["groups"]["faces"],
                *(in_words(told["groups"][key]) for key in FELT.values()),
            ]
        )
    for network, of_network in told.get("networks", {}).items():
        own = [in_words(of_network[name]) for name in list(FELT.values())[:2]]
        rows.append([f"{network} alone", of_network["faces"], *own, None])
    majority = measured["baseline"].get("majority_emotion")
    if majority:
        rows.append(
            ["commonest emotion, always", told["faces"], *(in_words(majority[name]) for name in list(FELT)[:2]), None]
        )
    per_class = [
        [name, *(in_words(figures_of[kind]) for kind in ("precision", "recall", "f1"))]
        for name, figures_of in told["per_class"].items()
    ]
    return {"rows": rows, "per_class": per_class, "tiles": _moods(inference, pack, manifest, figures)}


def _moods(inference: Path, pack: Pack, manifest: pd.DataFrame, figures: Path) -> dict[str, Any]:
    """Test faces of every emotion, taken evenly, with the answers; nobody chose them."""
    moods = read_table(inference / "emotions.csv")
    rows = manifest.reset_index(names="row")[["photo", "face", "row"]]
    table = moods[(moods["split"] == "test") & (moods["role"] == "emotion")].merge(rows, on=["photo", "face"])
    shown = []
    for emotion in EMOTIONS:
        own = table[table["emotion"] == emotion]
        shown.append(own.iloc[np.linspace(0, len(own) - 1, min(PER_EMOTION, len(own))).astype(int)])
    chosen = pd.concat(shown)
    tiles = [_face(pack, int(row)) for row in chosen["row"]]
    return {
        "mosaic": write_mosaic(figures / "moods.png", tiles, 7, 112),
        "captions": [
            {
                "answer": row["predicted"],
                "confidence": f"{float(row['p_' + row['predicted']]):.2f}",
                "is": row["emotion"],
                "right": row["predicted"] == row["emotion"],
            }
            for row in chosen.to_dict("records")
        ],
    }


def _settings(faces: Faces) -> dict[str, list[list[str]]]:
    """The parameters that decide, by section."""
    sections = {
        "faces.detect": faces.detect.model_dump(),
        "faces.identity": faces.identity.model_dump(exclude={"network", "enrolled"}),
        "faces.identity.network": faces.identity.network.model_dump(),
        "faces.emotion.network": faces.emotion.network.model_dump(),
    }
    return {
        name: [[key, f"{value:g}"] for key, value in section.items() if isinstance(value, int | float)]
        for name, section in sections.items()
    }


def _face(pack: Pack, row: int) -> Pixels:
    """An aligned face without most of its margin."""
    return np.asarray(pack.images[row][MARGIN:-MARGIN, MARGIN:-MARGIN])


TEMPLATE = Path(__file__).with_suffix(".typ")
BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
ROLES = {
    "gallery": "portraits of enrolled people",
    "stranger": "portraits of strangers",
    "group": "group photos",
    "empty": "photos without a face",
    "detection": "photos for detection alone",
    "emotion": "faces with an emotion",
}
SPLITS = {"gallery": "enrolled", "train": "learn", "val": "choose", "probe": "test, known", "test": "test"}
IDENTIFIED = (
    "rank1",
    "known_accepted_right",
    "misidentified",
    "unknown_rejected",
    "dir_at_far_1",
    "dir_at_far_10",
    "open_set_auroc",
)
FELT = {"emotion_accuracy": "emotion_accuracy", "emotion_macro_f1": "macro_f1", "emotion_ece": "ece"}
"""Figures of all, and their names in the figures of a part."""
BLANK: Pixels = np.full((1, 1, 3), 255, np.uint8)
MARGIN = 12
SHOWN_PEOPLE, SHOWN_PHOTOS, SHOWN_MISTAKES, PER_EMOTION = 12, 8, 12, 2
EVEN, WORST = 2, 4
HARDLY = 0.1
