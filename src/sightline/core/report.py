"""Written reports: a Typst template and a run's own numbers become a PDF, the same bytes for the same inputs.

A template is a ``.typ`` file that begins with ``#import "house.typ": *``. The house style (``report.typ`` beside this
module) gives it ``data``, the page, headings, captions and tables, and the building blocks that reports share:
``headline``, ``annotated`` photos, ``gallery``, ``architecture``.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import typst

from sightline.core.files import replacing, write_json
from sightline.core.images import Pixels
from sightline.core.sheets import write_png


class ReportError(RuntimeError):
    """Typst did not accept a template with its data; the message is one line with place and reason."""


def compile_report(
    template: Path, data: Mapping[str, Any], figures: Path, out: Path, bibliography: Path | None = None
) -> None:
    """Compile a Typst template to the PDF ``out``.

    Everything is copied to one closed folder, so the template reads nothing but its inputs: ``data`` (through JSON:
    texts in it are shown as they are and never read as markup), ``figures/NAME`` and ``references.bib``. Fonts are
    those in the packages of Typst (Libertinus Serif, DejaVu Sans Mono) and Matplotlib (DejaVu Sans), never the
    machine's, and the document bears no date, so that a report differs only where its inputs do.

    Args:
        template: the report's text.
        data: what it says; anything that JSON can hold, without NaN.
        figures: a folder of PNG, JPEG and SVG files.
        out: where the PDF goes.
        bibliography: a BibTeX file.

    Raises:
        ReportError: the template does not compile.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-") as scratch:
        root = Path(scratch)
        shutil.copyfile(HOUSE_STYLE, root / "house.typ")
        shutil.copyfile(template, root / "report.typ")
        shutil.copytree(figures, root / "figures")
        if bibliography:
            shutil.copyfile(bibliography, root / "references.bib")
        write_json(root / "data.json", data)
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[MATPLOTLIB_FONTS])
        try:
            pdf = typst.compile(root / "report.typ", root=root, font_paths=fonts, format="pdf")
        except typst.TypstError as error:
            place = re.search(r"\w+\.typ:\d+", error.diagnostic)
            raise ReportError(f"{place[0] if place else template.name}: {' '.join(str(error).split())}") from None
    with replacing(out) as part:
        part.write_bytes(pdf)


def in_words(figure: Mapping[str, float], digits: int = 3) -> dict[str, str]:
    """A figure of metrics.json as texts: ``value``, ``low`` and ``high`` with that many digits, and ``n``."""
    texts = {key: f"{figure[key]:.{digits}f}" for key in ("value", "low", "high")}
    return {**texts, "n": f"{figure['n']:,}"}


def write_photo(path: Path, photo: Pixels, longest: int) -> None:
    """Write an (H, W, 3) uint8 RGB photo as JPEG, shrunk to at most ``longest`` pixels on its longer side."""
    scale = min(1.0, longest / max(photo.shape[:2]))
    size = [max(1, round(side * scale)) for side in photo.shape[1::-1]]
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    with replacing(path) as part:
        part.write_bytes(coded.tobytes())


def write_mosaic(path: Path, tiles: Sequence[Pixels], columns: int, cell: int = 128) -> dict[str, Any]:
    """Write square RGB uint8 pictures side by side as one PNG, each ``cell`` pixels wide, row by row.

    Returns:
        What ``tile`` and ``gallery`` of the house style find them by: ``file``, ``columns``, ``rows`` and ``count``.
    """
    rows = -(-len(tiles) // columns)
    mosaic = np.full((max(rows, 1) * cell, columns * cell, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * cell, number % columns * cell
        smooth = cv2.INTER_AREA if tile.shape[0] > cell else cv2.INTER_CUBIC
        mosaic[top : top + cell, left : left + cell] = cv2.resize(tile, (cell, cell), interpolation=smooth)
    write_png(path, mosaic)
    return {"file": path.name, "columns": columns, "rows": max(rows, 1), "count": len(tiles)}


HOUSE_STYLE = Path(__file__).with_suffix(".typ")
MATPLOTLIB_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
