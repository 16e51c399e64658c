"""Pictures of many pictures: contact sheets that show a person what is in a packed image set."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from sightline.core.files import replacing
from sightline.core.images import Pixels


def contact_sheet(images: Sequence[Pixels | None], captions: Sequence[str], columns: int, cell: int = 96) -> Pixels:
    """Lay RGB uint8 pictures out in rows, each in a square cell with its caption below; None leaves a cell empty."""
    strip = 14
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (cell + strip), columns * cell, 3), 255, np.uint8)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        if image is None:
            continue
        top, left = number // columns * (cell + strip), number % columns * cell
        scale = (cell - 4) / max(image.shape[:2])
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        top_margin, left_margin = (cell - small.shape[0]) // 2, (cell - small.shape[1]) // 2
        sheet[top + top_margin :, left + left_margin :][: small.shape[0], : small.shape[1]] = small
        place = (left + 2, top + cell + strip - 5)
        cv2.putText(sheet, caption[: cell // 5], place, cv2.FONT_HERSHEY_SIMPLEX, 0.3, (40, 40, 40), 1, cv2.LINE_AA)
    return sheet


def write_png(path: Path, image: Pixels) -> None:
    """Write an (H, W, 3) uint8 RGB picture as PNG."""
    coded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    with replacing(path) as part:
        part.write_bytes(coded.tobytes())
