"""Find the clips of a folder in the challenge's layout, and number their frames; docs/parts.md describes it.

Frames are counted from 1 in the order in which a recording shows them. Of a recording of which only some frames are
kept as pictures, they keep the numbers that they had in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from sightline.core.errors import InputError
from sightline.core.images import list_images
from sightline.parts.annotations import Coco

SPLITS = ("train", "val", "test")
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".h264", ".hevc"})


@dataclass(frozen=True)
class Clip:
    """A recording and the file of its annotations.

    ``name`` is that of the split, with ``-<recording>`` behind it where a split has several. ``source`` is a video or a
    folder of pictures, None where only annotations are there. ``folder`` is what file_name begins with in the
    annotations, '' where the split has but one recording.
    """

    split: str
    name: str
    source: Path | None
    annotations: Path
    folder: str = ""

    @property
    def kind(self) -> Literal["video", "frames", "none"]:
        """What the recording is: one file, pictures, or not there."""
        if self.source is None:
            return "none"
        return "frames" if self.source.is_dir() else "video"


def read_layout(folder: Path) -> list[Clip]:
    """The clips below ``folder`` in the order train, val, test; a split of which nothing is there is left out.

    - ``annotations/instances_<split>.json`` and
    - ``images/<split>/<name>.mp4``, or another kind of video; where there are several, the JSON names its images
      ``<name>/0000.jpg``, or
    - ``images/<split>/*.jpg``, or other pictures: the JSON's images, or some of them, by the last part of their
      file_name; where they lie in folders, each folder is a recording.

    Nothing is opened.

    Raises:
        InputError: there are no annotations at all, or none for a recording, or videos lie beside pictures.
    """
    clips = [clip for split in SPLITS for clip in _clips(folder, split)]
    if not clips:
        raise InputError(f"{folder} holds no annotations/instances_train.json, and none of val or test")
    return clips


def number_images(clip: Clip, coco: Coco, first_image_id: int) -> pd.DataFrame:
    """The images that the annotations list for a clip: image_id, frame, file (the last part of file_name), width,
    height.

    ``first_image_id`` is the image_id of the first frame. Where ids go on from one recording to the next, each is
    counted from the lowest of its own: all of its frames must be listed then.

    Raises:
        InputError: none is listed, or two images bear the same file name.
    """
    images = coco.images
    paths = [PurePosixPath(name) for name in images["file_name"]]
    if clip.folder:
        own = [clip.folder in path.parts[:-1] for path in paths]
        images, paths = images[own], [path for path, mine in zip(paths, own, strict=True) if mine]
    if images.empty:
        raise InputError(f"{clip.annotations} lists no images{f' of {clip.folder}/' if clip.folder else ''}")
    files = pd.Series([path.name for path in paths], index=images.index, name="file")
    if (twice := files[files.duplicated()]).size:
        raise InputError(f"{clip.annotations}: two images have the file_name {twice.iloc[0]!r}")
    first = first_image_id + images["image_id"].min() - coco.images["image_id"].min()
    columns = {"frame": images["image_id"] - first + 1, "file": files}
    return images.assign(**columns)[["image_id", "frame", "file", "width", "height"]].reset_index(drop=True)


def _clips(folder: Path, split: str) -> Iterator[Clip]:
    annotations, media = folder / "annotations" / f"instances_{split}.json", folder / "images" / split
    recordings = _recordings(media) if media.is_dir() else {}
    if recordings and not annotations.is_file():
        raise InputError(f"{media} holds recordings, but there is no {annotations}")
    if len(recordings) > 1:
        for name, source in recordings.items():
            yield Clip(split, f"{split}-{name}", source, annotations, name)
    elif annotations.is_file():
        yield Clip(split, split, next(iter(recordings.values()), None), annotations)


def _recordings(media: Path) -> dict[str, Path]:
    entries = sorted(path for path in media.iterdir() if not path.name.startswith("."))
    videos = [path for path in entries if path.suffix.lower() in VIDEOS]
    pictures = list_images(media)
    if videos and pictures:
        raise InputError(f"{media} holds videos and pictures: leave the ones or the others")
    named = {path.stem: path for path in videos}
    if len(named) < len(videos):
        raise InputError(f"{media} holds two videos of one name")
    if any(picture.parent == media for picture in pictures):
        return {media.name: media}
    return named or {path.name: path for path in entries if list_images(path)}
