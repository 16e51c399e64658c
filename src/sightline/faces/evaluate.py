"""Stage ``faces-evaluate``: what detection, identification and emotions are worth on test photos, with intervals.

The test photos trained nothing and chose nothing in a run: networks learn from training faces, thresholds come from
validation strangers and from the enrolled photos, each left out in turn.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from sightline.core.baselines import majority
from sightline.core.calibration import reliability
from sightline.core.errors import InputError
from sightline.core.files import read_json, write_csv, write_json
from sightline.core.intervals import bootstrap, confusion_statistics
from sightline.core.leakage import group_duplicates
from sightline.core.progress import say
from sightline.faces.detection_figures import detection_figures
from sightline.faces.emotion_figures import emotion_figures, network_figures
from sightline.faces.identity_figures import BASELINE, dir_far_curves, faces_to_test, found_and_named, identity_figures
from sightline.faces.mistakes import judge, mark_mistakes
from sightline.faces.params import EMOTIONS, Detect, Evaluate, Faces
from sightline.faces.tables import read_table
from sightline.params import Runtime, load

Option = typer.Option()

CONVENTIONS = {
    "unit": "n counts photos for detection; for identification the people that a figure is of, and the photo where "
    "nobody knows a name; for emotions photos, those of one person or near-duplicates together. People who are met in "
    "several group photos are crossed with these: both are drawn again",
    "detection_*": "on photos in which every face is boxed; faces smaller than faces.detect.min_face count neither "
    "way; the curve and its area end at the lowest score that was written down",
    "rank1": "closed set: share of the known faces whose best person is right, at any similarity",
    "known_accepted_right": "share of the known faces that are accepted at the threshold and named right",
    "misidentified": "share of the known faces that are accepted under another's name",
    "far": "share of the unknown faces that are accepted at the threshold, and so given a name",
    "frr": "share of the known faces that are not accepted at the threshold",
    "dir_at_far_*": "share of the known faces that are accepted and named right at the threshold at which 1 or 10 % of "
    "the unknown test faces would be accepted; no threshold of use in practice is chosen so",
    "open_set_auroc": "known is the positive class",
    "found_and_named": "share of the known faces boxed in group photos that are found, accepted and named right",
    "emotion_*": "faces with a single emotion each, of split test; by_set tells apart who labelled them; "
    "emotion/networks has each network of a panel by itself, and how much better the panel is on the same faces",
}


def main(
    raw: Annotated[Path, Option],
    crops: Annotated[Path, Option],
    detections: Annotated[Path, Option],
    identity: Annotated[Path, Option],
    deployed: Annotated[Path, Option],
    inference: Annotated[Path, Option],
    pictures: Annotated[Path, Option],
    out: Annotated[Path, Option],
) -> None:
    """Read parameters, then :func:`evaluate`."""
    faces = load("faces", Faces)
    workers = load("runtime", Runtime).workers
    inputs = (raw, crops, detections, identity, deployed, inference)
    evaluate(*inputs, faces.detect, faces.evaluate, pictures, out, workers)


def evaluate(
    raw: Path,
    crops: Path,
    detections: Path,
    identity: Path,
    deployed: Path,
    inference: Path,
    detect: Detect,
    settings: Evaluate,
    pictures: Path,
    out: Path,
    workers: int,
) -> None:
    """Write ``metrics.json`` and the tables behind the plots into ``out``, and what went wrong into ``pictures``.

    Args:
        raw: the folder that ``faces-source`` leaves.
        crops: the pack of ``faces-detect``, with the photos and their splits.
        detections: its table.
        identity: the methods of ``faces-train``, with their thresholds.
        deployed: what ``faces-infer`` deployed; its method's mistakes are drawn.
        inference: what it found.
        detect: ``faces.detect``.
        settings: ``faces.evaluate``.
        pictures: a folder to make, see :func:`sightline.faces.mistakes.mark_mistakes`.
        out: the folder for figures.
        workers: threads that read photos.

    Raises:
        InputError: the files are of different runs, or no face tests identification.
    """
    boxes, found = read_table(raw / "boxes.csv"), read_table(detections)
    photos, manifest = read_table(crops / "photos.csv"), read_table(crops / "manifest.csv")
    # Of photos that were left out no face was cut out: nothing in them was missed.
    photos = photos[photos["split"] != ""]
    answers, moods = (read_table(inference / f"{name}.csv") for name in ("identities", "emotions"))
    configs = {path.parent.name: read_json(path) for path in sorted(identity.glob("*/config.json"))}
    thresholds = {method: float(config["threshold"]["value"]) for method, config in configs.items()}
    faces = faces_to_test(manifest, answers)
    enrolled = set(manifest.loc[manifest["split"] == "gallery", "person"])
    in_groups = boxes[boxes["photo"].isin(photos.loc[photos["role"] == "group", "photo"])]
    if (people := faces.loc[faces["truth"] != "", "truth"].nunique()) < 2:
        raise InputError(
            f"{len(faces)} faces test identification, of {people} enrolled people, where an interval needs two: add "
            "photos of people in the gallery beyond faces.identity.photos, or group photos with their names"
        )
    if missing := [name for name in thresholds if f"similarity_{name}" not in faces]:
        raise InputError(f"{inference} has no answers of {', '.join(missing)}: run faces-infer again")

    detection, detection_curves = detection_figures(photos, boxes, found, detect, settings)
    identification, differences = identity_figures(faces, thresholds, settings)
    emotions, tested = _emotions(manifest, photos, moods, detect, settings)
    method = str(read_json(deployed / "config.json")["method"])
    metrics = {
        **_top(detection, "detection_"),
        **{name: identification[name] for name in identification if name not in ("by_part", "faces", "units")},
        "found_and_named": found_and_named(faces, in_groups[in_groups["name"].isin(enrolled)], thresholds, settings),
        **{f"emotion_{name}": emotions[key] for name, key in EMOTION_NAMES.items() if key in emotions},
        "method": method,
        "thresholds": thresholds,
        "detection": {key: value for key, value in detection.items() if not key.startswith("detection_")},
        "identity": {key: identification[key] for key in ("by_part", "faces", "units")},
        "emotion": {key: value for key, value in emotions.items() if key not in (*EMOTION_NAMES.values(), "confusion")},
        "difference": differences,
        "conventions": CONVENTIONS,
    }
    metrics["baseline"] = {BASELINE: _of_method(identification, BASELINE)} | _majority(manifest, tested, settings)
    write_json(out / "metrics.json", metrics)
    write_csv(out / "detection.csv", detection_curves)
    write_csv(out / "dir_far.csv", dir_far_curves(faces, thresholds))
    write_csv(out / "confusion.csv", tested[["set", "label", "predicted"]])
    write_csv(out / "reliability.csv", _reliability(tested))
    sure = found[found["score"] >= detect.score]
    verdicts = judge(photos, boxes, sure, manifest, answers, method, thresholds[method])
    mark_mistakes(raw, verdicts, pictures, workers)
    rank1 = metrics["rank1"][method]["value"]
    say(f"{method}: rank-1 {rank1:.3f}, accepted and right {metrics['known_accepted_right'][method]['value']:.3f}")


def _emotions(
    manifest: pd.DataFrame, photos: pd.DataFrame, moods: pd.DataFrame, detect: Detect, settings: Evaluate
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Figures on the test faces with an emotion, nothing if there are not two; and these faces with their answers."""
    table = moods.merge(manifest[["photo", "face", "person", "name"]], on=["photo", "face"], validate="1:1")
    is_tested = (table["role"] == "emotion") & (table["split"] == "test") & table["emotion"].isin(EMOTIONS)
    tested = table[is_tested].reset_index(drop=True).rename(columns={"emotion": "label"})
    tested["unit"], tested["crossed"] = _unit_of_mood(tested, photos, detect.near_duplicate_bits), ""
    tree = _emotion_figures(tested, settings)
    for of_set in tree.get("by_set", {}).values():
        # confusion.csv says it face by face.
        of_set.pop("confusion", None)
    columns = [str(name) for name in tested if str(name).startswith(ALONE)]
    alone = {name.removeprefix(ALONE): _numbers(tested[name]) for name in columns}
    if tree and alone:
        sets, units = tested["set"].to_numpy(str), tested["unit"].to_numpy(str)
        of_panel = _numbers(tested["predicted"])
        tree["networks"] = network_figures(alone, of_panel, _numbers(tested["label"]), sets, units, settings)
    in_groups = table[(table["role"] == "group") & table["emotion"].isin(EMOTIONS)].rename(columns={"emotion": "label"})
    is_named = in_groups["name"] != ""
    in_groups["unit"] = in_groups["name"].where(is_named, in_groups["photo"])
    in_groups["crossed"] = in_groups["photo"].where(is_named, "")
    if figures := _emotion_figures(in_groups, settings):
        tree["groups"] = {key: figures[key] for key in (*EMOTION_NAMES.values(), "faces")}
    return tree, tested


def _emotion_figures(tested: pd.DataFrame, settings: Evaluate) -> dict[str, Any]:
    if tested["unit"].nunique() < 2:
        return {}
    probabilities = tested[[f"p_{name}" for name in EMOTIONS]].to_numpy(np.float64)
    sets, units, crossed = (tested[column].to_numpy(str) for column in ("set", "unit", "crossed"))
    return emotion_figures(probabilities, _numbers(tested["label"]), sets, units, settings, crossed)


def _unit_of_mood(tested: pd.DataFrame, photos: pd.DataFrame, bits: int) -> NDArray[np.str_]:
    """The person of each face, or else its photo and the near-duplicates of that."""
    hashes = tested[["photo"]].merge(photos[["photo", "hash"]], on="photo", how="left", validate="m:1")["hash"]
    groups = group_duplicates([int(text, 16) for text in hashes], bits)
    return np.where(tested["person"] != "", "person " + tested["person"], groups.astype(str)).astype(str)


def _majority(manifest: pd.DataFrame, tested: pd.DataFrame, settings: Evaluate) -> dict[str, Any]:
    """What always answering the commonest emotion of the training faces would be worth."""
    learned = manifest.loc[(manifest["role"] == "emotion") & (manifest["split"] == "train"), "emotion"]
    if not len(learned) or tested["unit"].nunique() < 2:
        return {}
    answers = _numbers(pd.Series(majority(learned.to_numpy(str), len(tested))))
    of_confusion = confusion_statistics(_numbers(tested["label"]), answers, len(EMOTIONS))
    units = tested["unit"].to_numpy(str)
    found = bootstrap(of_confusion, units, seed=settings.seed, resamples=settings.resamples)
    return {"majority_emotion": {f"emotion_{name}": found[name].as_dict() for name in ("accuracy", "macro_f1")}}


def _numbers(labels: "pd.Series[Any]") -> NDArray[np.int64]:
    return np.array([EMOTIONS.index(label) for label in labels], np.int64)


def _reliability(tested: pd.DataFrame) -> pd.DataFrame:
    confidences = tested[[f"p_{name}" for name in EMOTIONS]].to_numpy(np.float64).max(1, initial=0).clip(0, 1)
    return reliability(confidences, (tested["label"] == tested["predicted"]).to_numpy())


def _top(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key.startswith(prefix)}


def _of_method(identification: dict[str, Any], method: str) -> dict[str, Any]:
    named = {key: value for key, value in identification.items() if isinstance(value, dict) and method in value}
    return {key: value[method] for key, value in named.items()}


ALONE = "predicted_"
EMOTION_NAMES = {"accuracy": "emotion_accuracy", "macro_f1": "macro_f1", "ece": "ece"}
