"""The certificate of a count: each counted part with frame, class, confidence and picture, as CSV and as a page."""

import base64
import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from sightline.core.images import Pixels
from sightline.parts.counting import Part

COLUMNS = (
    "number",
    "frame",
    "track",
    "label",
    "confidence",
    "score",
    "boxes",
    "first_frame",
    "last_frame",
    "how",
    "doubts",
)


class Certificate:
    """Writes ``certificate.csv`` and ``certificate.html`` into ``folder`` as parts leave, so that memory stays flat.

    Rows are in the order of ``number``, which is that of the count. Columns: ``frame`` in which the part crossed the
    line (traced back where ``how`` is 'crossed unseen'), ``track`` in tracks.txt, ``label`` and the share of the votes
    for it, ``confidence``; mean ``score`` of its boxes and how many these are; ``doubts``, separated by '; '.
    """

    def __init__(self, folder: Path, classes: Sequence[str], video: str) -> None:
        self.folder, self.classes, self.video = folder, classes, video
        self._next = 1
        self._waiting: dict[int, tuple[list[str], Pixels | None]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            table = stack.enter_context((self.folder / "certificate.csv").open("w", newline="", encoding="utf-8"))
            self._rows = stack.enter_context((self.folder / ROWS).open("w+", encoding="utf-8"))
            self._csv = csv.writer(table, lineterminator="\n")
            self._csv.writerow(COLUMNS)
            self._stack = stack.pop_all()
        return self

    def add(self, part: Part, picture: Pixels | None) -> None:
        """Add a part that is counted and will not change, with a picture of it, RGB uint8."""
        self._waiting[part.counted] = _cells(part, self.classes), picture
        while self._next in self._waiting:
            cells, shown = self._waiting.pop(self._next)
            self._csv.writerow(cells)
            self._rows.write(_row(cells, shown))
            self._next += 1

    def finish(self, counts: Mapping[str, int], frames: int) -> None:
        """Write the page, with the counts at its top."""
        self._rows.seek(0)
        total = "".join(f"<li><b>{count}</b> {escape(name)}</li>" for name, count in counts.items())
        heads = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in COLUMNS)
        with (self.folder / "certificate.html").open("w", encoding="utf-8") as page:
            page.write(HEAD.format(video=escape(self.video), total=total, frames=frames, heads=heads))
            for row in self._rows:
                page.write(row)
            page.write(FOOT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        (self.folder / ROWS).unlink(missing_ok=True)


def _cells(part: Part, classes: Sequence[str]) -> list[str]:
    return [
        str(part.counted),
        str(part.crossed),
        str(part.number),
        classes[part.label],
        f"{part.confidence:.4f}",
        f"{part.score:.4f}",
        str(len(part.trail)),
        str(part.first.frame),
        str(part.last.frame),
        part.how or "",
        "; ".join(part.doubts),
    ]


def _row(cells: Sequence[str], picture: Pixels | None) -> str:
    shown = ""
    if picture is not None:
        coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        text = base64.b64encode(np.asarray(coded).tobytes()).decode()
        height, width = picture.shape[:2]
        shown = f'<img src="data:image/jpeg;base64,{text}" width="{width}" height="{height}" alt="part {cells[0]}">'
    doubtful = ' class="doubtful"' if cells[-1] else ""
    return f"<tr{doubtful}><td>{shown}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"


ROWS = ".rows.html"
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Count of {video}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }}
ul {{ font-size: 1.3em; list-style: none; padding: 0; display: flex; gap: 2em; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: left; vertical-align: middle; }}
th {{ position: sticky; top: 0; background: #fff; }}
.doubtful {{ background: #fff3d6; }}
</style>
</head>
<body>
<h1>Count of {video}</h1>
<ul>{total}</ul>
<p>{frames} frames were read. Each row is a part that was counted; rows with a doubt are marked.</p>
<table>
<thead><tr><th></th>{heads}</tr></thead>
<tbody>
"""
FOOT = """</tbody>
</table>
</body>
</html>
"""
