import re
from dataclasses import replace
from itertools import pairwise

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from sightline.birds import synthetic
from sightline.birds.anatomy import GUILDS, STANCES, choose_pose
from sightline.birds.drawing import Cutout, Daylight, draw_bird
from sightline.birds.plumage import MARKS, REGIONS, make_species
from sightline.birds.synthetic import draw_dataset, draw_scene
from sightline.core.errors import InputError

SPECIES, PHOTOS = 5, 24
NOON = Daylight(*(np.array(v, np.float32) for v in ([0, 0.8, 0.6], [0.9, 0.9, 0.9], [0.4, 0.4, 0.4])), soft=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("drawn") / "birds"
    draw_dataset(target, species=SPECIES, photos=PHOTOS, seed=3, workers=2)
    return target


@pytest.fixture(scope="module")
def world():
    return make_species(21, 60)


def rows(folder, name):
    return [line.split(" ") for line in (folder / name).read_text().splitlines()]


def test_the_layout_is_that_of_cub(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "bounding_boxes.txt", "classes.txt", "image_class_labels.txt", "images", "images.txt",
    ]  # fmt: skip
    images, classes = rows(folder, "images.txt"), rows(folder, "classes.txt")
    numbers = [str(n) for n in range(1, PHOTOS + 1)]
    for name in ("images.txt", "image_class_labels.txt", "bounding_boxes.txt"):
        assert [row[0] for row in rows(folder, name)] == numbers
    assert [row[0] for row in classes] == [str(n) for n in range(1, SPECIES + 1)]
    names = dict(classes)
    for (_, path), (_, label) in zip(images, rows(folder, "image_class_labels.txt"), strict=True):
        assert path.split("/")[0] == names[label]
        assert re.fullmatch(r"\d{3}\.[A-Z]\w+/([A-Z][a-z]+_)+\d{4}_\d{5,}\.jpg", path)
    on_disk = {path.relative_to(folder / "images").as_posix() for path in (folder / "images").rglob("*.jpg")}
    assert on_disk == {path for _, path in images}
    assert {label for _, label in rows(folder, "image_class_labels.txt")} == set(names)


def test_boxes_lie_inside_pictures_of_many_sizes(folder):
    sizes = set()
    for (_, path), (_, *box) in zip(rows(folder, "images.txt"), rows(folder, "bounding_boxes.txt"), strict=True):
        with Image.open(folder / "images" / path) as photo:
            width, height = photo.size
            assert photo.mode == "RGB"
        sizes.add((width, height))
        assert 200 <= max(width, height) <= 260
        left, top, wide, high = map(float, box)
        assert left >= 0
        assert top >= 0
        assert left + wide <= width
        assert top + high <= height
        assert min(wide, high) >= 16
    assert len(sizes) > PHOTOS / 2


def test_the_result_does_not_depend_on_workers_and_the_photos_do_on_the_seed(folder, tmp_path):
    draw_dataset(tmp_path / "alone", species=SPECIES, photos=PHOTOS, seed=3, workers=0)
    draw_dataset(tmp_path / "other", species=SPECIES, photos=PHOTOS, seed=4, workers=1)
    files = [
        {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (folder, tmp_path / "alone", tmp_path / "other")
    ]
    assert files[0] == files[1]
    assert not set(files[0].values()) & set(files[2].values())


def test_too_few_photos_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 photos of 4 species"):
        draw_dataset(tmp_path / "set", species=4, photos=3, seed=1, workers=0)
    assert not (tmp_path / "set").exists()


def test_every_species_has_a_photo_even_when_photos_are_few(tmp_path):
    draw_dataset(tmp_path / "set", species=6, photos=7, seed=1, workers=0)
    labels = [int(label) for _, label in rows(tmp_path / "set", "image_class_labels.txt")]
    assert sorted(set(labels)) == [1, 2, 3, 4, 5, 6]


def test_boxes_hold_just_what_is_seen_of_the_bird(monkeypatch, world):
    """Red birds on black behind green leaves, taken by an ideal camera: the boxes can be read from the picture."""

    def red(*args):
        bird = draw_bird(*args)
        return Cutout(bird.alpha[..., None] * np.float32([1, 0, 0]), bird.alpha, bird.feet)

    def leaves(rng, shape, box, grassy):
        cover = np.zeros((*shape, 4), np.uint8)
        cover[:, : (box[0] + box[2]) // 2 - (box[2] - box[0]) // 4] = (0, 255, 0, 255)
        return cover

    hidden = []
    monkeypatch.setattr(synthetic, "draw_bird", red)
    monkeypatch.setattr(
        synthetic, "BACKDROPS", {s: (lambda r, shape, g: np.zeros((*shape, 3), np.uint8),) for s in STANCES}
    )
    monkeypatch.setattr(synthetic, "draw_cover", lambda *args: hidden.append(1) or leaves(*args))
    monkeypatch.setattr(synthetic, "draw_perch", lambda *args: None)
    monkeypatch.setattr(synthetic, "draw_trunk", lambda *args: None)
    monkeypatch.setattr(synthetic, "fractal", lambda rng, shape, *args: np.full(shape, 0.8, np.float32))
    monkeypatch.setattr(synthetic, "photograph", lambda rng, light: np.rint(255 * light.clip(0, 1)).astype(np.uint8))
    # No reflections: they are as red as the bird.
    monkeypatch.setattr(synthetic._Scene, "_mirror", lambda *args: None)
    for index in range(40):
        scene = draw_scene(world[index], 5, index)
        share = scene.image[..., 0].astype(int) - scene.image[..., 2]
        seen = share > 127.5
        unsure = abs(share - 127.5) < 3
        np.testing.assert_array_equal(seen[~unsure], scene.visible[~unsure])
        columns, lines = np.flatnonzero(scene.visible.any(0)), np.flatnonzero(scene.visible.any(1))
        corners = (columns[0], lines[0], columns[-1] + 1 - columns[0], lines[-1] + 1 - lines[0])
        assert scene.box_xywh == corners
    assert hidden


def test_a_longer_list_of_species_begins_with_a_shorter_one(world):
    assert make_species(21, 17) == world[:17]
    assert make_species(22, 17) != world[:17]


def test_names_are_unique_and_can_be_said(world):
    assert len({one.name for one in world}) == 60
    for one in world:
        assert re.fullmatch(r"[A-Z][a-z]+_[a-z]+_[A-Z][a-z]{3,}", one.name)
        assert re.search("[aeiou]", one.name.split("_")[2])
        assert not re.search("[^aeiou]{5}", one.name.split("_")[2])


def test_species_have_all_colours_and_known_marks(world):
    for one in world:
        assert set(one.regions) == set(REGIONS)
        assert set(one.marks) <= set(MARKS)
        for colour in (*one.regions.values(), *one.marks.values()):
            assert all(0 <= value <= 255 for value in colour)


def test_relatives_lie_side_by_side_and_share_all_but_a_mark(world):
    genera = [one.genus for one in world]
    assert genera == sorted(genera)
    assert len(set(genera)) >= 15
    for genus in set(genera):
        first, *others = [one for one in world if one.genus == genus]
        for number, one in enumerate(others, 1):
            assert one.name.split("_")[2] == first.name.split("_")[2]
            for region, colour in one.regions.items():
                assert np.abs(np.subtract(colour, first.regions[region])).max() < 60
            # The mark that sets it apart from one before it; marks that it covers go.
            before = [world[k].marks for k in range(len(world)) if world[k].genus == genus][:number]
            added = [{m for m in one.marks if one.marks[m] != marks.get(m)} for marks in before]
            assert min(map(len, added)) == 1


def test_relatives_look_different_in_the_same_pose(world):
    """The mean of some individuals lies closer to that of others of their species than to that of a relative."""
    pairs = [(a, b) for a, b in pairwise(world) if a.genus == b.genus][::2]
    shape = GUILDS["finch"][0]
    pose = replace(choose_pose(np.random.default_rng(1), shape), stance="perched", yaw=0.0, roll=-0.1, turn=0.0)

    def mean_of(species, seeds):
        alike = replace(species, shape=shape, dimorphism=0.0)
        return np.mean([draw_bird(np.random.default_rng(s), alike, pose, NOON, 80, False).light for s in seeds], 0)

    closer = []
    for one, relative in pairs:
        here, again, there = mean_of(one, range(6)), mean_of(one, range(6, 12)), mean_of(relative, range(12, 18))
        closer.append(np.abs(here - there).mean() > 1.3 * np.abs(here - again).mean())
    assert len(closer) > 10
    # The rest differ in what this pose hides.
    assert np.mean(closer) > 0.75


@pytest.mark.parametrize("guild", GUILDS)
def test_every_kind_of_bird_is_drawn_whole_in_every_stance(guild, world):
    shape = GUILDS[guild][0]
    for number, chance in enumerate(shape.stances):
        if chance == 0:
            continue
        species = replace(world[0], shape=replace(shape, stances=tuple(float(k == number) for k in range(5))))
        for seed in range(3):
            rng = np.random.default_rng((seed, number))
            pose = choose_pose(rng, species.shape)
            assert pose.stance == STANCES[number]
            bird = draw_bird(rng, species, pose, NOON, 100, bool(seed % 2))
            edge = [bird.alpha[0], bird.alpha[-1], bird.alpha[:, 0], bird.alpha[:, -1]]
            assert max(line.max() for line in edge) < 0.05
            _, _, wide, high = cv2.boundingRect((bird.alpha > 0.5).astype(np.uint8))
            assert 82 <= max(wide, high) <= 104
            pieces = cv2.connectedComponentsWithStats((bird.alpha > 0.3).astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
            assert pieces.max() > 0.98 * pieces.sum()
            assert bird.light.min() >= 0
            assert np.isfinite(bird.light).all()


def test_a_bird_looking_left_is_the_mirror_image_of_one_looking_right(world):
    pose = choose_pose(np.random.default_rng(4), world[8].shape)
    right, left = (draw_bird(np.random.default_rng(9), world[8], pose, NOON, 110, side) for side in (False, True))
    np.testing.assert_array_equal(right.alpha, left.alpha[:, ::-1])
    np.testing.assert_allclose(right.light, left.light[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(right.feet[:, 0] + left.feet[:, 0], right.alpha.shape[1])
    np.testing.assert_allclose(right.feet[:, 1], left.feet[:, 1])


def test_no_two_photos_look_alike(folder):
    hashes = [imagehash.phash(Image.open(path)) for path in sorted((folder / "images").rglob("*.jpg"))]
    distances = [a - b for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 6


def test_the_birds_colours_tell_species_apart_and_raw_pixels_do_not(world):
    """Nearest neighbours among 12 species of several genera: the difficulty that the task is about."""
    chosen = [world[k] for k in range(0, 60, 5)]
    labels = np.repeat(np.arange(12), 6)
    pixels, colours = [], []
    for index, label in enumerate(labels):
        scene = draw_scene(chosen[label], 7, index)
        pixels.append(cv2.resize(scene.image, (24, 24), interpolation=cv2.INTER_AREA).ravel().astype(np.float32))
        lab = cv2.cvtColor(scene.image, cv2.COLOR_RGB2LAB)[scene.visible]
        histogram = np.histogramdd(lab[:, 1:], (12, 12), ((70, 190), (70, 190)))[0].ravel()
        colours.append(np.sqrt(histogram / histogram.sum()))

    def recall_at_1(features):
        features = np.array(features) - np.mean(features, 0)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        similar = features @ features.T
        np.fill_diagonal(similar, -np.inf)
        return np.mean(labels[similar.argmax(1)] == labels)

    assert recall_at_1(pixels) < 0.3
    assert recall_at_1(colours) > recall_at_1(pixels) + 0.25
