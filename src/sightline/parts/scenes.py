"""The clips of validation and test with their truth and all that was found in them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sightline.core.errors import InputError
from sightline.parts.annotations import read_tracks

TRACKED = ["clip", "frame", "track", "label", "x1", "y1", "x2", "y2", "score"]
COUNTED = ["clip", "frame", "number", "track", "label"]


@dataclass(frozen=True)
class Scene:
    """A clip that was looked at; all tables count frames as the annotations do, from 1, and have a column ``clip``.

    Attributes:
        name: of the clip.
        split: val or test.
        source: a video or a folder of pictures, below ``data/parts/raw``.
        width, height: of its frames.
        fps: nominal.
        frames: the numbers of those that were read, ascending.
        why_untracked: why tracks and counts cannot be judged; '' where they can.
        truth: boxes as ``parts-audit`` gives them, with ``crowd``.
        detections: of stage ``parts-track``, down to low scores.
        tracks: its tracks.txt, TRACKED.
        counted: its certificate: COUNTED and what else it says.
    """

    name: str
    split: str
    source: Path
    width: int
    height: int
    fps: float
    frames: list[int]
    why_untracked: str
    truth: pd.DataFrame
    detections: pd.DataFrame
    tracks: pd.DataFrame
    counted: pd.DataFrame

    @property
    def whole(self) -> pd.DataFrame:
        """The truth without crowds, which nobody can follow."""
        return self.truth[self.truth["crowd"] == 0]


def read_scenes(audit: Path, tracks: Path, classes: tuple[str, ...]) -> list[Scene]:
    """The clips of val and test whose frames are there, in the order of the audit.

    Args:
        audit: what ``parts-audit`` leaves.
        tracks: what ``parts-track`` leaves.
        classes: in the order of their numbers in tracks.txt.

    Raises:
        InputError: a file is missing.
    """
    clips, frames, boxes = (_table(audit / f"{name}.csv") for name in ("clips", "frames", "boxes"))
    detections = _table(tracks / "detections.csv")
    scenes = []
    for row in clips[(clips["kind"] != "none") & clips["split"].isin(["val", "test"])].to_dict("records"):
        name = str(row["clip"])
        numbers = frames.loc[frames["clip"] == name, "frame"].tolist()
        why = ""
        if not row["consecutive"]:
            why = f"{name}: frames are missing between those that are there, so nothing can be followed"
        elif not row["tracked"]:
            why = f"{name}: the annotations have boxes without a track_id"
        found, counted = pd.DataFrame(columns=TRACKED), pd.DataFrame(columns=COUNTED)
        if row["consecutive"]:
            found = _renumbered(read_tracks(tracks / name / "tracks.txt", classes), numbers, name)
            counted = _renumbered(_table(tracks / name / "certificate.csv"), numbers, name)
        scenes.append(
            Scene(
                name,
                str(row["split"]),
                Path(str(row["source"])),
                int(float(row["width"])),
                int(float(row["height"])),
                float(row["fps"]),
                numbers,
                why,
                boxes[(boxes["clip"] == name) & boxes["frame"].isin(numbers)],
                detections[detections["clip"] == name],
                found,
                counted,
            )
        )
    return scenes


def _renumbered(table: pd.DataFrame, frames: list[int], clip: str) -> pd.DataFrame:
    """Frames as the annotations count them, of a table that counts those that were read."""
    read = table["frame"].to_numpy(np.int64)
    return table.assign(clip=clip, frame=np.array(frames, np.int64)[read - 1])


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, keep_default_na=False, dtype={"clip": str, "label": str})
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}: run the stages before") from None
