"""Lay the sample of the challenge out as ``parts.data.path`` takes it: ``python prepare.py SAMPLE OUT``.

SAMPLE is the folder of what people who solved the challenge committed (its README.md says who):

- train: ``frames_every10/images/train``, boxes from their YOLO labels; nobody kept their track ids.
- val: ``frames_every10/images/val`` with the official annotations of the whole video, of which they are every tenth.
- test: ``clip/clip.mp4``, 120 frames of the official test video.
"""

import json
import shutil
import sys
from pathlib import Path

SIDE = 640


def prepare(sample: Path, out: Path) -> None:
    """Write annotations/ and images/ below ``out``."""
    for split in ("train", "val"):
        shutil.copytree(sample / "frames_every10" / "images" / split, out / "images" / split)
    (out / "images" / "test").mkdir()
    shutil.copyfile(sample / "clip" / "clip.mp4", out / "images" / "test" / "clip.mp4")
    annotations = out / "annotations"
    annotations.mkdir()
    shutil.copyfile(sample / "clip" / "instances_clip.json", annotations / "instances_test.json")
    shutil.copyfile(sample / "annotations" / "instances_val.json", annotations / "instances_val.json")
    train = coco(sample / "frames_every10" / "labels" / "train")
    (annotations / "instances_train.json").write_text(json.dumps(train))


def coco(labels: Path) -> dict[str, list[dict[str, object]]]:
    """YOLO labels (class from 0, centre and size as shares of the side) as COCO; ``0099.txt`` is of image_id 100."""
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for path in sorted(labels.glob("*.txt")):
        image_id = int(path.stem) + 1
        images.append({"id": image_id, "file_name": f"{path.stem}.jpg", "width": SIDE, "height": SIDE})
        for line in path.read_text().splitlines():
            label, *shares = line.split()
            x, y, width, height = (SIDE * float(share) for share in shares)
            box = [x - width / 2, y - height / 2, width, height]
            boxes.append({"id": len(boxes), "image_id": image_id, "category_id": int(label) + 1, "bbox": box})
    categories: list[dict[str, object]] = [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}]
    return {"images": images, "annotations": boxes, "categories": categories}


if __name__ == "__main__":
    prepare(*map(Path, sys.argv[1:]))
