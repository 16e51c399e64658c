"""faces-detect: one face of a portrait, all of a group, with what is known of each; and what is odd is said."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from sightline.core.boxes import iou
from sightline.core.files import read_json, sha256, sha256_of
from sightline.core.images import Pixels, read_image
from sightline.core.leakage import perceptual_hash
from sightline.core.packs import Pack, open_pack
from sightline.core.sheets import write_png
from sightline.faces.alignment import TEMPLATE
from sightline.faces.crowds import Member, draw_group
from sightline.faces.detect import BOX, LANDMARKS, find_faces
from sightline.faces.feelings import FACE_WINDOW
from sightline.faces.heads import Person, make_person
from sightline.faces.params import EMOTIONS, Detect, Emotion, Identity, Network
from sightline.faces.portraits import draw_portrait

NETWORK = Network(
    width=8,
    epochs=1,
    batch_size=8,
    lr=0.01,
    weight_decay=0,
    warmup_epochs=0,
    label_smoothing=0,
    ema_decay=0.9,
    mixup_alpha=0,
)
DETECT = Detect(score=0.9, min_face=20, whole_below=64, near_duplicate_bits=0)
EMOTION = Emotion(weights="none", val_fraction=0.3, test_fraction=0.3, seed=1, network=NETWORK)
IDENTITY = Identity(enrolled=None, photos=2, neighbours=5, val_people=0.5, false_accepts=0.01, seed=1, network=NETWORK)
PEOPLE = {
    name: make_person(np.random.default_rng(number)) for number, name in enumerate(("anna", "ben", "s1", "s2", "s3"))
}


class Raw:
    """What ``faces-source`` leaves, photo by photo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos: list[dict[str, Any]] = []
        self.boxes: list[dict[str, Any]] = []

    def add(self, photo: str, image: Pixels, role: str, person: str = "", emotion: str = "", subset: str = "") -> None:
        path = self.folder / "images" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, image)
        size = {"complete": 1, "width": image.shape[1], "height": image.shape[0]}
        keys = {"digest": sha256_of(photo), "hash": f"{perceptual_hash(image):016x}"}
        row = {"photo": photo, "role": role, "person": person, "emotion": emotion, "set": subset, **size, **keys}
        self.photos.append(row)

    def box(self, photo: str, box: Any, name: str = "", ignore: bool = False, emotion: str = "") -> None:
        number = sum(row["photo"] == photo for row in self.boxes)
        place = dict(zip(BOX, box, strict=True))
        known = {"name": name, "ignore": int(ignore), "emotion": emotion}
        self.boxes.append({"photo": photo, "box": number, **place, **known})

    def write(self) -> Path:
        pd.DataFrame(self.photos).to_csv(self.folder / "photos.csv", index=False)
        columns = ["photo", "box", *BOX, "name", "ignore", "emotion"]
        pd.DataFrame(self.boxes, columns=columns).to_csv(self.folder / "boxes.csv", index=False)
        return self.folder


def portrait(person: Person, seed: int) -> Pixels:
    return draw_portrait(np.random.default_rng(seed), person, "neutral", 0.3, (180, 181)).image


def run(raw: Path, out: Path, workers: int = 2) -> tuple[Pack, pd.DataFrame]:
    places = out / "crops", out / "detections.csv", out / "crops.png", out / "samples.json"
    find_faces(raw, DETECT, IDENTITY, EMOTION, *places, workers)
    return open_pack(out / "crops"), pd.read_csv(out / "detections.csv", dtype={"photo": str})


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = Raw(tmp_path_factory.mktemp("raw"))
    for number, (name, person) in enumerate(PEOPLE.items()):
        role, folder = ("stranger", "strangers") if name.startswith("s") else ("gallery", "gallery")
        for photo in range(4):
            raw.add(f"{folder}/{name}/{photo}.png", portrait(person, 10 * number + photo), role, name)
    # Beside a smaller face; beside a larger one that is not the person's; nobody there.
    one, two = portrait(PEOPLE["anna"], 70), portrait(PEOPLE["ben"], 71)
    raw.add("gallery/anna/two.png", beside(one, cv2.resize(two, None, fx=0.6, fy=0.6)), "gallery", "anna")
    small = cv2.resize(one, None, fx=0.6, fy=0.6)
    raw.add("gallery/anna/boxed.png", beside(two, small), "gallery", "anna")
    drawn = draw_portrait(np.random.default_rng(70), PEOPLE["anna"], "neutral", 0.3, (180, 181)).box_xyxy
    raw.box("gallery/anna/boxed.png", 0.6 * np.array(drawn) + [two.shape[1], 0, two.shape[1], 0], "anna")
    raw.add("gallery/ben/nobody.png", np.full((150, 150, 3), 120, np.uint8), "gallery", "ben")
    raw.add("groups/no_face/1.png", np.full((150, 150, 3), 90, np.uint8), "empty")
    rng = np.random.default_rng(5)
    members = [Member(PEOPLE[name], name, "happiness", 0.9) for name in ("anna", "ben")]
    members += [Member(make_person(rng), None, "neutral", 0.2)]
    image, faces = draw_group(rng, members)
    raw.add("groups/1.png", image, "group")
    raw.add("detection/1.png", image, "detection", subset="drawn")
    for member, face in zip(members, faces, strict=True):
        raw.box("groups/1.png", face.box_xyxy, member.name or "", member.name == "ben", member.emotion)
    for number, emotion in enumerate(EMOTIONS * 4):
        image = draw_portrait(rng, make_person(rng), emotion, 0.6, (100, 101), close=1.0).image
        grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (48, 48), interpolation=cv2.INTER_AREA)
        raw.add(f"emotion/{emotion}/{number}.png", np.repeat(grey[..., None], 3, 2), "emotion", "", emotion, "votes")
    return raw.write()


def beside(left: Pixels, right: Pixels) -> Pixels:
    height = max(left.shape[0], right.shape[0])
    return np.concatenate(
        [cv2.copyMakeBorder(part, 0, height - len(part), 0, 0, cv2.BORDER_REPLICATE) for part in (left, right)], axis=1
    )


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pack, pd.DataFrame]:
    out = tmp_path_factory.mktemp("out")
    return out, *run(raw, out)


Done = tuple[Path, Pack, pd.DataFrame]


def test_a_portrait_gives_one_face_and_the_named_one_if_it_is_boxed(done: Done, raw: Path) -> None:
    _, pack, _ = done
    faces = pack.manifest.set_index("photo")
    assert not faces.index[faces["role"].isin(["gallery", "stranger"])].has_duplicates
    images = raw / "images" / "gallery" / "anna"
    middle = portrait(PEOPLE["anna"], 70).shape[1]
    assert read_image(images / "two.png").shape[1] > middle > faces.loc["gallery/anna/two.png", "x2"]
    assert faces.loc["gallery/anna/boxed.png", "x1"] > portrait(PEOPLE["ben"], 71).shape[1]
    assert (faces.loc[faces["role"] == "gallery", "name"] == faces.loc[faces["role"] == "gallery", "person"]).all()


def test_a_group_gives_all_faces_with_what_is_known_of_them(done: Done, raw: Path) -> None:
    _, pack, detections = done
    faces = pack.manifest[pack.manifest["role"] == "group"]
    boxes = pd.read_csv(raw / "boxes.csv", keep_default_na=False)
    boxes = boxes[boxes["photo"] == "groups/1.png"].set_index("box")
    assert sorted(faces["box"]) == [0, 1, 2]
    for _, face in faces.iterrows():
        box = boxes.loc[face["box"]]
        overlap = iou(face[BOX].to_numpy(float)[None], box[BOX].to_numpy(float)[None])
        assert overlap[0, 0] >= 0.5
        assert [face["name"], face["ignore"], face["emotion"]] == [box["name"], box["ignore"], box["emotion"]]
    assert set(faces["split"]) == {"test"}
    found = detections[(detections["photo"] == "groups/1.png") & (detections["score"] >= DETECT.score)]
    np.testing.assert_allclose(found[BOX + LANDMARKS], faces[BOX + LANDMARKS], rtol=1e-6)


def test_photos_for_detection_alone_are_written_down_and_not_cut_out(done: Done) -> None:
    _, pack, detections = done
    assert not pack.manifest["role"].isin(["detection", "empty"]).any()
    columns = [*BOX, "score", *LANDMARKS]
    in_group, alone = (
        detections.loc[detections["photo"] == f"{name}/1.png", columns] for name in ("groups", "detection")
    )
    np.testing.assert_array_equal(in_group, alone)
    assert detections["score"].min() >= DETECT.score - 0.2


def test_crops_are_aligned(done: Done, raw: Path) -> None:
    # MTCNN finds the landmarks of a crop again, near the template's.
    from sightline.faces.mtcnn import Detector

    _, pack, _ = done
    detector, offsets = Detector(score=0.7, min_face=40), []
    for row in np.flatnonzero(pack.manifest["role"].isin(["gallery", "group"])):
        found = detector.detect(np.asarray(pack.images[row]))
        offsets += [landmarks - TEMPLATE for landmarks in found.landmarks[:1]]
    assert len(offsets) >= 8
    assert np.abs(np.median(offsets, axis=0)).max() < 3


def test_small_photos_of_one_face_are_taken_whole(done: Done, raw: Path) -> None:
    _, pack, detections = done
    rows = np.flatnonzero(pack.manifest["role"] == "emotion")
    faces = pack.manifest.iloc[rows]
    assert (faces["whole"] == 1).all()
    assert not detections["photo"].str.startswith("emotion").any()
    assert set(faces["split"]) == {"train", "val", "test"}
    assert set(faces["set"]) == {"votes"}
    assert [photo.split("/")[1] for photo in faces["photo"]] == faces["emotion"].tolist()
    # Networks of emotions see the photo itself, twice as large: nothing is cut off, no border is made up.
    left, top, right, bottom = FACE_WINDOW
    for row, photo in zip(rows, faces["photo"], strict=True):
        doubled = cv2.resize(read_image(raw / "images" / photo), (96, 96), interpolation=cv2.INTER_CUBIC)
        seen = np.asarray(pack.images[row, top:bottom, left:right])
        assert np.abs(seen.astype(int) - doubled).max() <= 2


def test_what_is_odd_is_said(done: Done) -> None:
    out, _, _ = done
    problems = pd.read_csv(out / "crops" / "problems.csv").set_index("photo")
    assert problems.loc["gallery/ben/nobody.png", "problem"] == "no face found"
    assert problems.loc["gallery/anna/two.png", "problem"] == "2 faces found"
    assert "gallery/anna/boxed.png" not in problems.index
    photos = pd.read_csv(out / "crops" / "photos.csv", keep_default_na=False).set_index("photo")
    assert photos.loc["gallery/ben/nobody.png", "split"] == ""
    # A person gets as many photos into the gallery as are asked for, of those that show a face.
    counts = photos[photos["split"] == "gallery"]["person"].value_counts()
    assert counts.to_dict() == {"anna": 2, "ben": 2}
    assert photos.loc["groups/no_face/1.png", ["faces", "split"]].tolist() == [0, "test"]


@pytest.mark.parametrize("boxed", [True, False])
def test_a_photo_in_two_folders_is_noted_if_both_mean_the_same_face(tmp_path: Path, boxed: bool) -> None:
    raw, names = Raw(tmp_path / "raw"), ("anna", "ben")
    drawn = [
        draw_portrait(np.random.default_rng(seed), PEOPLE[names[seed]], "neutral", 0.3, (180, 181)) for seed in (0, 1)
    ]
    both = beside(drawn[0].image, drawn[1].image)
    for seed, name in enumerate(names):
        for photo in range(2):
            raw.add(f"gallery/{name}/{photo}.png", portrait(PEOPLE[name], 10 * seed + photo + 5), "gallery", name)
        raw.add(f"gallery/{name}/both.png", both, "gallery", name)
        if boxed:
            shift = drawn[0].image.shape[1] * seed
            raw.box(f"gallery/{name}/both.png", np.add(drawn[seed].box_xyxy, (shift, 0, shift, 0)), name)
    run(raw.write(), tmp_path)
    problems = pd.read_csv(tmp_path / "crops" / "problems.csv", keep_default_na=False)
    noted = problems.loc[problems["action"] == "noted", "photo"].tolist()
    assert noted == ([] if boxed else ["gallery/ben/both.png"])


def test_the_summary_counts(done: Done) -> None:
    out, pack, _ = done
    summary = read_json(out / "samples.json")
    assert summary["photos"] == {"detection": 1, "emotion": 28, "empty": 1, "gallery": 11, "group": 1, "stranger": 12}
    assert summary["without_face"]["gallery"] >= 1
    assert sum(sum(counts.values()) for counts in summary["faces"].values()) == len(pack)
    assert summary["whole"] == 28
    assert list(summary["enrolled"]) == ["anna", "ben"]
    assert sum(summary["strangers"].values()) == 3


def test_files_do_not_depend_on_the_workers(done: Done, raw: Path, tmp_path: Path) -> None:
    out, _, _ = done
    run(raw, tmp_path, workers=0)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 7
    for path in files:
        assert sha256(path) == sha256(tmp_path / path.relative_to(out)), path.name
