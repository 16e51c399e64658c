"""What saying who a face is is worth, closed and open set, for every method on the same test faces.

Portraits and group photos are different jobs, so each has figures of its own beside those of all. The independent unit
is the person: who is hard to recognise is so in every photo, alone or in a group, and that outweighs what the faces of
one photo have in common. Group photos share people among them and a light among their faces, so both are drawn again,
see ``crossed`` of :func:`sightline.core.intervals.bootstrap`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sightline.core.intervals import Figure, FloatArray, Statistics, bootstrap, paired_difference
from sightline.faces.openset import open_set_statistics
from sightline.faces.params import Evaluate

FIGURES = {
    "rank1": "rank1",
    "known_right": "known_accepted_right",
    "misidentified": "misidentified",
    "frr": "frr",
    "far": "far",
    "unknown_rejected": "unknown_rejected",
    "dir_at_1_far": "dir_at_far_1",
    "dir_at_10_far": "dir_at_far_10",
    "open_set_auroc": "open_set_auroc",
}
"""Names of :func:`sightline.faces.openset.open_set_statistics` and those of metrics.json."""
COMPARED = ("rank1", "known_accepted_right", "open_set_auroc")
BASELINE = "knn"
PARTS = ("portraits", "groups")


def faces_to_test(manifest: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """The faces that test identification, with who they are and what each method says of them.

    Faces to be ignored are left out, and so is what was found in a group photo and matches no known box: nobody knows
    who that is.

    Args:
        manifest: of the pack of stage ``faces-detect``.
        answers: ``identities.csv`` of stage ``faces-infer``: photo, face, and ``name_<m>`` and ``similarity_<m>`` of
            each method m.

    Returns:
        A row a face: photo, face, ``row`` (of the manifest), ``box``, ``truth`` (who of the enrolled people it is, ''
        for nobody), ``part`` (one of PARTS), ``unit`` (the person; of a face whose name nobody knows the photo),
        ``crossed`` (the photo of a face with a name in a group, '' for the others, whose unit holds or is their
        photo), and the columns of the methods.
    """
    enrolled = set(manifest.loc[manifest["split"] == "gallery", "person"])
    is_group = manifest["role"] == "group"
    is_portrait = manifest["role"].isin(["gallery", "stranger"]) & manifest["split"].isin(["probe", "test"])
    is_used = (manifest["ignore"] == 0) & (is_portrait | (is_group & (manifest["box"] >= 0)))
    rows = manifest[is_used]
    unit = rows["name"].where(rows["name"] != "", rows["photo"])
    is_crossed = (rows["role"] == "group") & (rows["name"] != "")
    faces = pd.DataFrame(
        {
            "photo": rows["photo"],
            "face": rows["face"],
            "row": rows.index,
            "box": rows["box"],
            "truth": rows["name"].where(rows["name"].isin(enrolled), ""),
            "part": np.where(rows["role"] == "group", "groups", "portraits"),
            "unit": unit,
            "crossed": rows["photo"].where(is_crossed, ""),
        }
    )
    columns = [name for name in answers if str(name).startswith(("name_", "similarity_"))]
    return faces.merge(answers[["photo", "face", *columns]], on=["photo", "face"], how="inner", validate="1:1")


def identity_figures(
    faces: pd.DataFrame, thresholds: Mapping[str, float], settings: Evaluate
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All figures about identification.

    Args:
        faces: as :func:`faces_to_test` gives them.
        thresholds: of each method, the similarity from which a face is given a name.
        settings: of the intervals.

    Returns:
        For metrics.json: each of FIGURES by method, the same for each part under ``by_part``, and how many ``faces``
        and ``units`` there are, known and unknown; and the paired differences of every method from BASELINE. The n of
        a figure counts the units of the faces that it is of, known, unknown or both; where there are not two, the
        figure is left out.
    """
    tree: dict[str, Any] = _by_method(faces, thresholds, settings)
    tree["by_part"] = {}
    for part in PARTS:
        own = faces[faces["part"] == part]
        tree["by_part"][part] = _counts(own) | _by_method(own, thresholds, settings)
    differences: dict[str, Any] = {}
    for method in thresholds:
        if method == BASELINE or BASELINE not in thresholds:
            continue

        def gain(own: pd.DataFrame, method: str = method) -> dict[str, Figure]:
            before, after = (_statistics(own, name, thresholds[name]) for name in (BASELINE, method))
            return paired_difference(before, after, **_resampling(own, settings))

        found = _by_kind(faces, gain)
        differences[f"{method}_minus_{BASELINE}"] = {name: found[name] for name in COMPARED if name in found}
    return {**tree, **_counts(faces)}, differences


def found_and_named(
    faces: pd.DataFrame, boxes: pd.DataFrame, thresholds: Mapping[str, float], settings: Evaluate
) -> dict[str, Any]:
    """From photo to name: of the enrolled people boxed in group photos, the share that are found, accepted and named
    right, by method; people and photos are drawn again as for :func:`identity_figures`, and n counts people.

    Args:
        faces: as :func:`faces_to_test` gives them.
        boxes: ``boxes.csv``, those of group photos whose name is enrolled.
        thresholds: as for :func:`identity_figures`.
        settings: of the intervals.

    Returns:
        A figure a method; none where there are not two people in two photos.
    """
    asked = boxes[boxes["ignore"] == 0]
    if asked["name"].nunique() < 2 or asked["photo"].nunique() < 2:
        return {}
    people, photos = asked["name"].to_numpy(str), asked["photo"].to_numpy(str)

    def figure(method: str) -> dict[str, float]:
        is_named = (faces[f"name_{method}"] == faces["truth"]) & (faces[f"similarity_{method}"] >= thresholds[method])
        named = set(faces.loc[is_named, ["photo", "box"]].itertuples(index=False, name=None))
        right = np.array([place in named for place in asked[["photo", "box"]].itertuples(index=False, name=None)])

        def statistics(weights: FloatArray) -> dict[str, float]:
            return {"share": float(np.average(right, weights=weights))}

        found = bootstrap(statistics, people, crossed=photos, seed=settings.seed, resamples=settings.resamples)
        return found["share"].as_dict()

    return {method: figure(method) for method in thresholds}


def dir_far_curves(faces: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """The detection-and-identification rate of each method against false alarms, at its own threshold and all others.

    Returns:
        ``method``, ``threshold``, ``far``, ``dir``, ``chosen``, by falling threshold: a row for each at which a further
        unknown face is accepted, at most POINTS, and the one that was chosen.
    """
    curves = []
    is_known = (faces["truth"] != "").to_numpy()
    for method, chosen in thresholds.items():
        similarity = faces[f"similarity_{method}"].to_numpy(np.float64)
        is_right = (faces[f"name_{method}"] == faces["truth"]).to_numpy() & is_known
        # Just above each unknown face, where as many known ones are accepted as can be for the price.
        alarms = np.unique(similarity[~is_known])[::-1]
        shown = np.unique(np.linspace(0, max(len(alarms) - 1, 0), min(POINTS, len(alarms))).astype(int))
        levels = np.nextafter(alarms[shown], np.inf)
        table = pd.DataFrame({"threshold": [*levels, chosen], "chosen": [0] * len(levels) + [1]})
        table["far"] = [_share(similarity[~is_known] >= level) for level in table["threshold"]]
        table["dir"] = [_share((similarity >= level)[is_known] & is_right[is_known]) for level in table["threshold"]]
        ordered = table.sort_values("threshold", ascending=False, kind="stable")
        curves.append(ordered.assign(method=method))
    return pd.concat(curves, ignore_index=True)[["method", "threshold", "far", "dir", "chosen"]]


def _by_method(faces: pd.DataFrame, thresholds: Mapping[str, float], settings: Evaluate) -> dict[str, Any]:
    """Figures by name, then by method."""
    tree: dict[str, Any] = {}
    for method, threshold in thresholds.items():

        def figures(own: pd.DataFrame, method: str = method, threshold: float = threshold) -> dict[str, Figure]:
            return bootstrap(_statistics(own, method, threshold), **_resampling(own, settings))

        for name, figure in _by_kind(faces, figures).items():
            tree.setdefault(name, {})[method] = figure
    return {name: tree[name] for name in FIGURES.values() if name in tree}


def _by_kind(faces: pd.DataFrame, compute: Callable[[pd.DataFrame], dict[str, Figure]]) -> dict[str, dict[str, float]]:
    """Figures that compare known with unknown faces from all, the others from their kind alone: so n is what they rest
    on, not all units that there are."""
    kinds = [faces[faces["truth"] != ""], faces[faces["truth"] == ""]]
    several = [own for own in kinds if own["unit"].nunique() > 1]
    found: dict[str, Figure] = {}
    for own in [faces, *kinds] if len(several) == len(kinds) else several:
        found |= compute(own)
    return {FIGURES[name]: figure.as_dict() for name, figure in found.items()}


def _resampling(faces: pd.DataFrame, settings: Evaluate) -> dict[str, Any]:
    labels = {name: faces[column].to_numpy(str) for name, column in (("groups", "unit"), ("crossed", "crossed"))}
    return {**labels, "seed": settings.seed, "resamples": settings.resamples}


def _statistics(faces: pd.DataFrame, method: str, threshold: float) -> Statistics:
    truth, names = (faces[column].to_numpy(str) for column in ("truth", f"name_{method}"))
    return open_set_statistics(truth, names, faces[f"similarity_{method}"].to_numpy(np.float64), threshold)


def _counts(faces: pd.DataFrame) -> dict[str, Any]:
    known = faces["truth"] != ""
    return {
        "faces": {"known": int(known.sum()), "unknown": int((~known).sum())},
        "units": {"known": faces.loc[known, "unit"].nunique(), "unknown": faces.loc[~known, "unit"].nunique()},
    }


def _share(chosen: Any) -> float:
    return float(np.mean(chosen)) if len(chosen) else float("nan")


POINTS = 200
