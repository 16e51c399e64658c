"""Figures of faces-evaluate against hand-made counts, brute force and scikit-learn, on small tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from sightline.faces.detection_figures import detection_figures
from sightline.faces.identity_figures import dir_far_curves, faces_to_test, found_and_named, identity_figures
from sightline.faces.mistakes import CONFUSED, MISTAKES, VERDICTS, judge, mark, pictures_of
from sightline.faces.params import Detect, Evaluate
from sightline.faces.pictures import GREEN, GREY, RED

DETECT = Detect(score=0.9, min_face=20, whole_below=64, near_duplicate_bits=4)
SETTINGS = Evaluate(iou=0.5, resamples=100, seed=1)
Box = tuple[float, float, float, float]
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
A, B, C, TINY, BLURRED, ELSEWHERE = (
    (10.0, 10.0, 50.0, 60.0),
    (100.0, 10.0, 150.0, 70.0),
    (200.0, 20.0, 240.0, 60.0),
    (300.0, 10.0, 310.0, 22.0),
    (350.0, 10.0, 400.0, 60.0),
    (500.0, 200.0, 540.0, 240.0),
)


def photo_table(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["photo", "role", "set", "complete"])


def box_table(*rows: tuple[str, Box, str, int]) -> pd.DataFrame:
    table = pd.DataFrame(
        [(photo, *box, name, ignore) for photo, box, name, ignore in rows],
        columns=["photo", "x1", "y1", "x2", "y2", "name", "ignore"],
    )
    return table.assign(box=table.groupby("photo").cumcount())


def found_table(*rows: tuple[str, Box, float]) -> pd.DataFrame:
    table = pd.DataFrame(
        [(photo, *box, score) for photo, box, score in rows], columns=["photo", "x1", "y1", "x2", "y2", "score"]
    )
    return table.assign(face=table.groupby("photo").cumcount())


@pytest.fixture
def detection() -> Tables:
    """Five faces to be found: A is found in both photos, B in one and at a low score in the other, C is not."""
    photos = photo_table(
        ("g/1.jpg", "group", "", 1),
        ("d/1.jpg", "detection", "wider", 1),
        ("g/2.jpg", "group", "", 0),
        ("e/1.jpg", "empty", "", 1),
        ("e/2.jpg", "empty", "", 1),
    )
    boxes = box_table(
        *(("g/1.jpg", box, "", 0) for box in (A, B, C)),
        *(("d/1.jpg", box, "", 0) for box in (A, B, TINY)),
        ("d/1.jpg", BLURRED, "", 1),
        ("g/2.jpg", A, "", 0),
    )
    found = found_table(
        ("g/1.jpg", A, 0.99),
        ("g/1.jpg", B, 0.95),
        ("g/1.jpg", ELSEWHERE, 0.97),
        ("d/1.jpg", A, 0.98),
        ("d/1.jpg", BLURRED, 0.96),
        ("d/1.jpg", TINY, 0.94),
        ("d/1.jpg", B, 0.75),
        ("g/2.jpg", ELSEWHERE, 0.99),
        ("e/1.jpg", A, 0.92),
        ("e/1.jpg", B, 0.71),
    )
    return photos, boxes, found


def test_detection_is_counted_on_complete_photos_without_tiny_and_ignored_faces(detection: Tables) -> None:
    tree, _ = detection_figures(*detection, DETECT, SETTINGS)
    assert tree["detection_recall"]["value"] == pytest.approx(3 / 5)
    assert tree["detection_precision"]["value"] == pytest.approx(3 / 4)
    assert (tree["photos"], tree["faces"], tree["detection_recall"]["n"]) == (2, 5, 2)
    assert {name: of["faces"] for name, of in tree["by_set"].items()} == {"group": 3, "wider": 2}


def test_average_precision_is_the_area_under_the_hand_drawn_curve(detection: Tables) -> None:
    tree, curve = detection_figures(*detection, DETECT, SETTINGS)
    # By falling score: right, right, wrong, right, right. The best precision at recalls up to 0.4 is 1, up to 0.8 4/5.
    expected = (41 * 1 + 40 * 4 / 5) / 101
    assert tree["detection_ap"]["value"] == pytest.approx(expected, abs=1e-6)
    whole = curve[curve["set"] == "all"]
    assert whole["score"].tolist() == [0.99, 0.98, 0.97, 0.95, 0.75]
    assert whole["recall"].tolist() == pytest.approx([0.2, 0.4, 0.4, 0.6, 0.8])
    assert whole["precision"].tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4, 4 / 5])


def test_false_faces_are_counted_a_photo_at_the_score(detection: Tables) -> None:
    tree, _ = detection_figures(*detection, DETECT, SETTINGS)
    assert tree["false_faces_per_photo"]["value"] == pytest.approx(0.5)
    assert tree["photos_without_face"] == 2


def test_without_complete_photos_and_empty_ones_there_are_no_figures_of_detection(detection: Tables) -> None:
    photos, boxes, found = detection
    tree, curve = detection_figures(photos[photos["photo"] == "g/2.jpg"], boxes, found, DETECT, SETTINGS)
    assert tree == {"photos": 0, "faces": 0, "photos_without_face": 0}
    assert not len(curve)


@pytest.fixture
def manifest() -> pd.DataFrame:
    """Anna and Ben are enrolled; a stranger, another one whom thresholds were chosen by, and a group with all sorts."""
    columns = ["photo", "role", "person", "split", "face", "box", "name", "ignore", "x1", "y1", "x2", "y2"]
    rows = [
        *(("gallery/anna/1.jpg", "gallery", "anna", "gallery", 0, -1, "anna", 0, *A),),
        *(("gallery/ben/1.jpg", "gallery", "ben", "gallery", 0, -1, "ben", 0, *A),),
        *((f"gallery/anna/{n}.jpg", "gallery", "anna", "probe", 0, -1, "anna", 0, *A) for n in (2, 3, 4)),
        *((f"gallery/ben/{n}.jpg", "gallery", "ben", "probe", 0, -1, "ben", 0, *A) for n in (2, 3)),
        *((f"strangers/eve/{n}.jpg", "stranger", "eve", "test", 0, -1, "eve", 0, *A) for n in (1, 2)),
        ("strangers/val/1.jpg", "stranger", "val", "val", 0, -1, "val", 0, *A),
        ("groups/1.jpg", "group", "", "test", 0, 0, "anna", 0, *A),
        ("groups/1.jpg", "group", "", "test", 1, 1, "", 0, *B),
        ("groups/1.jpg", "group", "", "test", 2, -1, "", 0, *ELSEWHERE),
        ("groups/1.jpg", "group", "", "test", 3, 3, "", 1, *BLURRED),
        ("groups/2.jpg", "group", "", "test", 0, 0, "ben", 0, *A),
        ("groups/2.jpg", "group", "", "test", 1, 1, "cleo", 0, *B),
        ("groups/2.jpg", "group", "", "test", 2, -1, "", 0, *ELSEWHERE),
    ]
    return pd.DataFrame(rows, columns=columns)


def answers(manifest: pd.DataFrame, names: Sequence[str], similarity: Sequence[float]) -> pd.DataFrame:
    said = manifest[["photo", "face"]].copy()
    for method in ("cnn", "knn"):
        said[f"name_{method}"], said[f"similarity_{method}"] = names, similarity
    return said


# Enrolled, then probes of anna, of ben, eve, val, and the groups.
NAMES = ["anna", "ben", *["anna", "anna", "ben"], *["ben", "ben"], *["anna", "anna"], "ben", *["anna"] * 7]
SIMILARITY = [1, 1, *[0.9, 0.4, 0.8], *[0.7, 0.6], *[0.65, 0.2], 0.99, *[0.95, 0.3, 0.85, 0.9, 0.75, 0.5, 0.1]]


def test_what_nobody_knows_and_what_chose_thresholds_does_not_test(manifest: pd.DataFrame) -> None:
    faces = faces_to_test(manifest, answers(manifest, NAMES, SIMILARITY))
    assert faces["truth"].tolist() == ["anna"] * 3 + ["ben"] * 2 + ["", ""] + ["anna", "", "ben", ""]
    # Who has a name is one person alone and in groups; the photo stands for who has none.
    assert faces["unit"].tolist()[-6:] == ["eve", "eve", "anna", "groups/1.jpg", "ben", "cleo"]
    assert faces["unit"].nunique() == len({"anna", "ben", "eve", "groups/1.jpg", "cleo"})
    assert faces["crossed"].tolist() == [""] * 7 + ["groups/1.jpg", "", "groups/2.jpg", "groups/2.jpg"]
    assert manifest.loc[faces["row"], "photo"].tolist() == faces["photo"].tolist()


def test_figures_of_identification_are_those_that_one_counts(manifest: pd.DataFrame) -> None:
    faces = faces_to_test(manifest, answers(manifest, NAMES, SIMILARITY))
    tree, _ = identity_figures(faces, {"cnn": 0.62}, SETTINGS)
    # Known: anna .9, anna .4, (ben .8), ben .7, ben .6 | anna .95, (anna .75). Unknown: .65, .2 | .3, .5.
    expected = {
        "rank1": 5 / 7,
        "known_accepted_right": 3 / 7,
        "misidentified": 2 / 7,
        "frr": 2 / 7,
        "far": 1 / 4,
        "unknown_rejected": 3 / 4,
        "dir_at_far_1": 3 / 7,
        "dir_at_far_10": 3 / 7,
        "open_set_auroc": metrics.roc_auc_score(
            [1] * 7 + [0] * 4, [0.9, 0.4, 0.8, 0.7, 0.6, 0.95, 0.75, 0.65, 0.2, 0.3, 0.5]
        ),
    }
    assert {name: tree[name]["cnn"]["value"] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert tree["by_part"]["portraits"]["rank1"]["cnn"]["value"] == pytest.approx(4 / 5)
    assert tree["by_part"]["groups"]["far"]["cnn"]["value"] == 0
    # Anna and Ben; Eve, Cleo and a photo; all of these.
    assert [tree[name]["cnn"]["n"] for name in ("rank1", "far", "open_set_auroc")] == [2, 3, 5]
    assert (tree["faces"], tree["units"]) == ({"known": 7, "unknown": 4}, {"known": 2, "unknown": 3})
    # One stranger is not enough for an interval.
    assert not {"far", "open_set_auroc"} & set(tree["by_part"]["portraits"])


def test_many_group_photos_of_a_few_people_are_no_more_people() -> None:
    names = [f"p{number}" for number in range(8)]
    faces = pd.DataFrame(
        [(name, f"groups/{photo}.jpg", "groups", number) for number, name in enumerate(names) for photo in range(30)],
        columns=["truth", "crossed", "part", "number"],
    )
    # Six are always recognised and two never.
    faces["name_cnn"] = faces["truth"].where(faces["number"] < 6, "nobody")
    faces = faces.assign(unit=faces["truth"], similarity_cnn=0.9)
    tree, _ = identity_figures(faces, {"cnn": 0.5}, Evaluate(iou=0.5, resamples=2000, seed=1))
    rank1 = tree["rank1"]["cnn"]
    # Photos do not matter, so of each resample of eight people the share that is recognised counts.
    low, high = stats.binom(8, 6 / 8).ppf([0.025, 0.975]) / 8
    assert (rank1["low"], rank1["high"], rank1["n"]) == (pytest.approx(low), pytest.approx(high), 8)


def test_methods_are_compared_on_the_same_resamples(manifest: pd.DataFrame) -> None:
    said = answers(manifest, NAMES, SIMILARITY)
    said["name_cnn"] = manifest["name"]
    faces = faces_to_test(manifest, said)
    tree, differences = identity_figures(faces, {"cnn": 0.62, "knn": 0.62}, SETTINGS)
    gain = differences["cnn_minus_knn"]["rank1"]
    assert gain["value"] == pytest.approx(tree["rank1"]["cnn"]["value"] - tree["rank1"]["knn"]["value"], abs=2e-6)
    same = answers(manifest, NAMES, SIMILARITY)
    _, none = identity_figures(faces_to_test(manifest, same), {"cnn": 0.62, "knn": 0.62}, SETTINGS)
    assert {figure[key] for figure in none["cnn_minus_knn"].values() for key in ("value", "low", "high")} == {0}


def test_curves_go_through_what_brute_force_finds(manifest: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    faces = pd.DataFrame({"truth": rng.choice(["", "anna", "ben"], 300), "name_cnn": rng.choice(["anna", "ben"], 300)})
    faces["similarity_cnn"] = rng.normal(0.4 + 0.2 * (faces["truth"] == faces["name_cnn"]), 0.15).round(2)
    curve = dir_far_curves(faces, {"cnn": 0.5})
    known, unknown = faces[faces["truth"] != ""], faces[faces["truth"] == ""]
    for row in curve.to_dict("records"):
        accepted = known[known["similarity_cnn"] >= row["threshold"]]
        assert row["far"] == pytest.approx((unknown["similarity_cnn"] >= row["threshold"]).mean())
        assert row["dir"] == pytest.approx((accepted["truth"] == accepted["name_cnn"]).sum() / len(known))
    assert curve["far"].is_monotonic_increasing
    assert curve.loc[curve["chosen"] == 1, "threshold"].tolist() == [0.5]
    assert curve["far"].iloc[0] == 0


def test_a_face_that_was_not_found_was_not_named(manifest: pd.DataFrame) -> None:
    faces = faces_to_test(manifest, answers(manifest, NAMES, SIMILARITY))
    boxes = box_table(
        ("groups/1.jpg", A, "anna", 0),
        ("groups/2.jpg", A, "ben", 0),
        ("groups/2.jpg", C, "anna", 0),
        ("groups/2.jpg", B, "ben", 1),
    )
    boxes["box"] = [0, 0, 7, 8]
    found = found_and_named(faces, boxes, {"cnn": 0.62}, SETTINGS)
    assert found["cnn"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["cnn"]["n"] == len({"anna", "ben"})
    # One person, or one photo.
    assert found_and_named(faces, boxes[boxes["name"] == "anna"], {"cnn": 0.62}, SETTINGS) == {}
    assert found_and_named(faces, boxes[1:3], {"cnn": 0.62}, SETTINGS) == {}


def test_who_is_named_in_the_photo_that_is_drawn_again_is_drawn_with_it() -> None:
    seats = [(f"groups/{photo}.jpg", seat) for photo in range(10) for seat in range(3)]
    boxes = box_table(*((photo, A, f"p{seat}", 0) for photo, seat in seats))
    truth = boxes["name"]
    faces = boxes[["photo", "box"]].assign(truth=truth, name_cnn=truth, similarity_cnn=0.9)
    # All three are named in eight photos and nobody is in the dark ones.
    faces.loc[faces["photo"].isin(["groups/3.jpg", "groups/7.jpg"]), "similarity_cnn"] = 0.1
    found = found_and_named(faces, boxes, {"cnn": 0.5}, Evaluate(iou=0.5, resamples=2000, seed=1))["cnn"]
    low, high = stats.binom(10, 8 / 10).ppf([0.025, 0.975]) / 10
    assert (found["low"], found["high"], found["n"]) == (pytest.approx(low), pytest.approx(high), 3)


def judged(manifest: pd.DataFrame) -> pd.DataFrame:
    photos = photo_table(
        *((photo, "gallery", "", 0) for photo in dict.fromkeys(manifest["photo"][:10])),
        ("groups/1.jpg", "group", "", 1),
        ("groups/2.jpg", "group", "", 0),
        ("groups/no_face/1.jpg", "empty", "", 1),
    )
    boxes = box_table(
        ("groups/1.jpg", A, "anna", 0),
        ("groups/1.jpg", B, "", 0),
        ("groups/1.jpg", C, "ben", 0),
        ("groups/1.jpg", BLURRED, "", 1),
    )
    strays = found_table(("groups/no_face/1.jpg", A, 0.99))
    return judge(photos, boxes, strays, manifest, answers(manifest, NAMES, SIMILARITY), "cnn", 0.62)


def test_every_face_gets_the_verdict_that_it_deserves(manifest: pd.DataFrame) -> None:
    verdicts = judged(manifest)
    by_photo = {photo: rows["verdict"].tolist() for photo, rows in verdicts.groupby("photo", sort=False)}
    assert by_photo == {
        "gallery/anna/2.jpg": ["right"],
        "gallery/anna/3.jpg": ["not recognised"],
        "gallery/anna/4.jpg": ["wrong name"],
        "gallery/ben/2.jpg": ["right"],
        "gallery/ben/3.jpg": ["not recognised"],
        "strangers/eve/1.jpg": ["stranger named"],
        "strangers/eve/2.jpg": ["unknown"],
        "groups/1.jpg": ["right", "unknown", "no face, named", "not found"],
        "groups/2.jpg": ["wrong name", "unknown", "not known"],
        "groups/no_face/1.jpg": ["no face"],
    }
    assert set(verdicts["verdict"]) == set(VERDICTS)
    missed = verdicts[verdicts["verdict"] == "not found"].iloc[0]
    assert (missed["truth"], missed["x1"], missed["row"]) == ("ben", C[0], -1)


def test_groups_and_photos_of_nobody_are_drawn_under_their_names(manifest: pd.DataFrame) -> None:
    assert pictures_of(judged(manifest)) == {
        "groups/1.jpg": "pictures/groups/1.jpg",
        "groups/2.jpg": "pictures/groups/2.jpg",
        "groups/no_face/1.jpg": "pictures/groups/no_face/1.jpg",
    }


@pytest.mark.parametrize("verdict", VERDICTS)
def test_what_is_named_wrong_is_red_and_what_is_not_named_is_grey(verdict: str) -> None:
    canvas = np.full((400, 600, 3), (40, 90, 200), np.uint8)
    is_named = verdict in ("right", "wrong name", "stranger named", "no face, named")
    face = {"verdict": verdict, "said": "anna" if is_named else "", "truth": "anna" if verdict == "right" else ""}
    box = dict(zip(("x1", "y1", "x2", "y2"), (200.0, 120.0, 320.0, 260.0), strict=True))
    marked = mark(canvas, pd.DataFrame([face | box]))
    expected = GREEN if verdict == "right" else RED if is_named else GREY
    for colour in (GREEN, RED, GREY):
        assert (marked == colour).all(-1).any() == (colour == expected)
    # At half its height, a box has its sides, and a circle lies outside.
    is_boxed = (marked[188:192, 196:204] == expected).all(-1).any()
    assert is_boxed == (verdict != "not found")
    is_circled = (marked[188:192, 165:185] == expected).all(-1).any()
    assert is_circled == (verdict in ("not found", "not recognised"))
    assert (verdict in MISTAKES) == (verdict not in ("right", "unknown", "not known"))
    assert set(CONFUSED) < set(MISTAKES)
