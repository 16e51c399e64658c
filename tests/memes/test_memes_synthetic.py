"""The drawn pictures of games: reproducible one by one, whole, hard enough, and with the faults that they declare."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from sightline.core.images import read_image
from sightline.core.leakage import near_duplicates, perceptual_hash
from sightline.memes.synthetic import FOLDERS, KNOWN, LATER, UNKNOWN, draw_dataset, plan_file

SEED, PER_CLASS = 5, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("drawn") / "memes"
    draw_dataset(target, per_class=PER_CLASS, unknown=40, later=20, seed=SEED, workers=2)
    return target


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "drawn.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def images(folder, table):
    return {name: read_image(folder / name) for name in table["file"]}


def test_every_file_is_listed_in_its_folder_and_decodes(folder, table, images):
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    assert on_disk == set(table["file"])
    assert {path.name for path in folder.iterdir()} == {*FOLDERS, "drawn.csv"}
    assert table["class"].value_counts().to_dict() == dict.fromkeys(KNOWN, PER_CLASS) | {UNKNOWN: 40, LATER: 20}
    assert (table["file"].str.split("/").str[0] == table["class"]).all()
    for image in images.values():
        assert 56 <= max(image.shape[:2]) <= 320
        assert image.std() > 1


def test_a_picture_depends_on_its_seed_and_number_alone(folder, tmp_path):
    draw_dataset(tmp_path / "fewer", per_class=20, unknown=20, later=20, seed=SEED, workers=0)
    draw_dataset(tmp_path / "other", per_class=20, unknown=20, later=20, seed=SEED + 1, workers=0)
    fewer, other = (sorted((tmp_path / name).rglob("*.jpg")) for name in ("fewer", "other"))
    assert len(fewer) == 80
    for path in fewer:
        assert path.read_bytes() == (folder / path.relative_to(tmp_path / "fewer")).read_bytes()
    assert not {path.read_bytes() for path in fewer} & {path.read_bytes() for path in other}


def test_five_of_a_hundred_pictures_of_the_known_games_lie_in_the_wrong_folder(table):
    for name in KNOWN:
        own = table[table["class"] == name]
        wrong = own["mislabelled"] == "yes"
        assert wrong.sum() == PER_CLASS // 20
        assert (wrong == (own["shows"] != name)).all()
        assert sum(plan_file(8, name, index).wrong for index in range(400)) == 20
    rest = table[~table["class"].isin(KNOWN)]
    assert (rest["mislabelled"] == "no").all()
    assert (table.loc[table["class"] == LATER, "shows"] == LATER).all()


def test_wrong_folders_hold_the_other_game_strangers_and_copies_of_what_lies_right():
    plans = [(name, plan_file(3, name, index)) for name in KNOWN for index in range(600)]
    wrong = [(name, plan) for name, plan in plans if plan.wrong]
    shown = [plan.shows for _, plan in wrong]
    assert {*KNOWN, "everyday", "hexmarrow", "bumblebrick"} == set(shown)
    copies = [(name, plan.source) for name, plan in wrong if plan.source]
    assert 0.3 < len(copies) / len(wrong) < 0.7
    assert all(source[0] != name for name, source in copies)


def test_reposts_are_near_duplicates_and_others_are_not(table, images):
    hashes = np.array([perceptual_hash(image) for image in images.values()], np.uint64)
    place = {name: number for number, name in enumerate(images)}
    copies = table[table["reposts"] != ""]
    assert len(copies) >= 0.08 * len(table)
    bits = [
        np.bitwise_count(hashes[place[a]] ^ hashes[place[b]])
        for a, b in zip(copies["file"], copies["reposts"], strict=True)
    ]
    assert np.mean(np.array(bits) <= 6) >= 0.9
    shows = table.set_index("file")["shows"]
    assert (shows[copies["file"]].to_numpy() == shows[copies["reposts"]].to_numpy()).all()
    root = dict(zip(table["file"], table["reposts"].where(table["reposts"] != "", table["file"]), strict=True))
    names = list(images)
    alike = [(a, b) for a, b in near_duplicates(hashes, 6) if root[names[a]] != root[names[b]]]
    assert len(alike) <= 2


def test_the_unknown_are_near_and_far(table):
    unknown = table[table["class"] == UNKNOWN]
    shares = unknown["unknown"].value_counts(normalize=True)
    assert set(shares.index) == {"near", "far"}
    assert shares.min() > 0.3
    assert {"screenshot", "art", "video thumbnail", "meme", "text-only", "repost"} <= set(table["kind"])


def test_file_traits_do_not_tell_the_classes_apart(folder, table):
    rows = []
    for name in table["file"]:
        with Image.open(folder / name) as picture:
            # A coarser quantisation table is a lower quality.
            rows.append((max(picture.size), picture.width / picture.height, np.mean(picture.quantization[0])))
    traits = np.array(rows)
    for one in FOLDERS:
        inside = (table["class"] == one).to_numpy()
        for trait in traits.T:
            assert ks_2samp(trait[inside], trait[~inside]).pvalue > 0.005
    known = table["class"].isin(KNOWN).to_numpy()
    size = np.array([(folder / name).stat().st_size for name in table["file"]])
    assert abs(roc_auc_score(table.loc[known, "class"] == KNOWN[0], size[known]) - 0.5) < 0.2


def test_colours_tell_the_two_games_apart_but_not_well(table, images):
    known = table[(table["class"].isin(KNOWN)) & (table["reposts"] == "")]
    histograms = [
        np.sqrt(np.histogramdd(images[name].reshape(-1, 3), (4, 4, 4), ((0, 256),) * 3)[0].ravel())
        for name in known["file"]
    ]
    features = np.array([one / np.linalg.norm(one) for one in histograms])
    accuracy = cross_val_score(KNeighborsClassifier(5), features, known["class"], cv=LeaveOneOut()).mean()
    assert 0.55 < accuracy < 0.9


def test_both_games_have_dark_and_bright_pictures(table, images):
    light = {name: np.median(image) for name, image in images.items()}
    for game in KNOWN:
        own = np.array([light[name] for name in table.loc[table["shows"] == game, "file"]])
        assert np.mean(own < 90) > 0.12
        assert np.mean(own > 110) > 0.12
