import json

import imagehash
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sightline.core.rendering import Surface, grid
from sightline.minerals import synthetic
from sightline.minerals.synthetic import CLASSES, draw_dataset, draw_scene

PHOTOS = 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("drawn") / "minerals"
    draw_dataset(target, photos=PHOTOS, seed=3, workers=2)
    return target


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(11, index) for index in range(4)]


def test_a_photo_depends_on_seed_and_index_alone(folder, tmp_path):
    draw_dataset(tmp_path / "alone", photos=3, seed=3, workers=1)
    draw_dataset(tmp_path / "other", photos=1, seed=4, workers=1)
    first = [(folder / "images" / f"{number:04d}.jpg").read_bytes() for number in (1, 2, 3)]
    assert [path.read_bytes() for path in sorted((tmp_path / "alone/images").iterdir())] == first
    assert (tmp_path / "other/images/0001.jpg").read_bytes() != first[0]
    annotations = [
        json.loads((f / "annotations.json").read_text())["annotations"] for f in (folder, tmp_path / "alone")
    ]
    assert annotations[1] == [a for a in annotations[0] if a["image_id"] <= 3]


def test_boxes_are_the_extents_of_what_is_seen_of_each_specimen(scenes):
    for scene in scenes:
        assert scene.instances.max() == len(scene.boxes_xywh) == len(scene.labels)
        for position, box in enumerate(scene.boxes_xywh):
            encoded = coco_mask.encode(np.asfortranarray(scene.instances == position + 1).astype(np.uint8))
            assert coco_mask.toBbox(encoded).tolist() == list(box)


def test_boxes_lie_inside_the_picture_and_are_not_tiny(scenes):
    for scene in scenes:
        height, width = scene.image.shape[:2]
        for x, y, w, h in scene.boxes_xywh:
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
            assert min(w, h) >= 24
            assert max(w, h) <= 262


def test_every_specimen_is_annotated_where_it_is_in_the_picture(monkeypatch):
    """With magenta discs for the minerals on a grey table, the boxes can be read from the picture itself."""

    def disc(colour):
        def paint(rng, side):
            x, y = grid((side, side))
            inside = np.hypot(x, y) < rng.uniform(0.6, 0.9)
            return Surface(
                inside * np.float32(0.1), inside, np.broadcast_to(np.float32(colour), (side, side, 3)).copy()
            )

        return paint

    def table(rng, shape):
        return Surface(np.zeros(shape, np.float32), np.ones(shape, bool), np.full((*shape, 3), 0.4, np.float32))

    monkeypatch.setattr(synthetic, "MINERALS", dict.fromkeys(CLASSES, disc([0.8, 0.0, 0.8])))
    monkeypatch.setattr(synthetic, "LOOKALIKES", (disc([0.0, 0.5, 0.0]),))
    monkeypatch.setattr(synthetic, "OCCLUDERS", (disc([0.0, 0.4, 0.1]),))
    monkeypatch.setattr(synthetic, "BACKDROPS", (table,))
    for index in range(3):
        scene = draw_scene(5, index)
        red, green, blue = (scene.image[..., channel].astype(int) for channel in range(3))
        magenta = np.minimum(red, blue) - green > 40
        marked = scene.instances > 0
        # Blur moves the edge by a few pixels; nothing else may differ.
        assert np.mean(magenta[marked]) > 0.9
        assert np.mean(magenta[~marked]) < 0.02


def test_at_least_sixty_percent_of_each_specimen_is_seen(monkeypatch):
    whole = []
    lay = synthetic._composite

    def watch(picture, cutout, *place):
        whole.append(int(cutout.mask.sum()))
        lay(picture, cutout, *place)

    monkeypatch.setattr(synthetic, "_composite", watch)
    monkeypatch.setattr(synthetic, "LOOKALIKES", ())
    monkeypatch.setattr(synthetic, "_choose_stones", lambda rng, first: [(first, synthetic.MINERALS[first])] * 4)
    scene = draw_scene(2, 5)
    seen = np.bincount(scene.instances.ravel())[1:]
    assert len(seen) == len(scene.labels) >= 2
    assert (seen >= 0.6 * np.array(whole[: len(seen)])).all()
    assert (seen <= np.array(whole[: len(seen)])).all()


def test_a_set_of_fourteen_photos_has_every_class_twice(folder):
    tree = json.loads((folder / "annotations.json").read_text())
    for category in tree["categories"]:
        photos = {a["image_id"] for a in tree["annotations"] if a["category_id"] == category["id"]}
        assert len(photos) >= 2


def test_annotations_are_sound_coco(folder):
    coco = COCO(folder / "annotations.json")
    assert {number: category["name"] for number, category in coco.cats.items()} == dict(enumerate(CLASSES, start=1))
    assert len(coco.imgs) == PHOTOS == len(list((folder / "images").iterdir()))
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(folder / "images" / image["file_name"]) as photo:
            assert photo.size == (image["width"], image["height"])
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert 1 <= len(annotations) <= 5
        for annotation in annotations:
            _, _, width, height = annotation["bbox"]
            assert 0.2 * width * height < annotation["area"] <= width * height


def test_no_two_photos_look_alike(folder):
    hashes = [imagehash.phash(Image.open(path)) for path in sorted((folder / "images").iterdir())]
    distances = [a - b for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 8
