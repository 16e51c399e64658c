"""Read pictures as people see them: upright, RGB, 8 bits, whole or not at all."""

import hashlib
import math
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]

DECODED = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".webp", ".avif", ".jp2", ".tif", ".tiff", ".gif"}
)
HEIF = frozenset({".heic", ".heif", ".hif"})
RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"})
SUFFIXES = DECODED | HEIF | RAW
"""File name endings that are taken for pictures where a folder holds other files too. HEIF and raw data of cameras are
not read: they are listed so that whoever reads them says so, instead of passing them over."""

# Pillow would otherwise be told by some library to fill what is missing with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False
# What Pillow warns of (odd EXIF, palettes with bytes as transparency) does not concern whole pictures. Not around each
# call: the filters belong to the process, and pictures are read in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableImageError(Exception):
    """A file that is no whole picture; ``reason`` says in a few words what is wrong with it."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def read_image(path: Path) -> Pixels:
    """Decode a picture as (height, width, 3) uint8 RGB, with its EXIF orientation applied.

    The content decides, not the name, except for raw data of cameras. Transparency is put on white, 16-bit grey is
    scaled to 8 bits, palettes and CMYK become RGB, an animation gives its first frame.

    Raises:
        UnreadableImageError: the file is missing, empty, truncated, corrupt, no picture, of a kind that is not read
            (HEIF, raw data of cameras), too large to be one, or has 32-bit pixels, whose range nobody can know.
    """
    # By its name: Pillow takes some of these for damaged AVIF files.
    foreign = f"HEIF is not read: {CONVERT}" if path.suffix.lower() in HEIF else None
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError(path, "empty file")
        # These are TIFF files for the most part, and Pillow would take the thumbnail in them for the picture.
        if path.suffix.lower() in RAW:
            raise UnreadableImageError(path, f"raw data of a camera are not read: {CONVERT}")
        with Image.open(path) as picture:
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture), path)
    except UnidentifiedImageError:
        raise UnreadableImageError(path, foreign or "not a picture") from None
    except FileNotFoundError:
        raise UnreadableImageError(path, "no such file") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(path, "more pixels than a picture should have") from None
    # Pillow's decoders report corrupt data by any of these.
    except (OSError, SyntaxError, ValueError, IndexError, EOFError, TypeError, RuntimeError, struct.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(path, foreign or f"corrupt: {reason}") from None


def _to_rgb(picture: Image.Image, path: Path) -> Pixels:
    if picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.uint16) >> 8
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise UnreadableImageError(path, "32-bit pixels of unknown range: convert it to 8 or 16 bits")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(picture.convert("RGB"))


def fit_to_square(patch: Pixels, size: int) -> Pixels:
    """Squash a tight patch to (size, size, 3): averaged where it shrinks, bilinear where it grows.

    This is all that happens to pixels between a picture and the network's input, here and in the deployed predictor.
    It is brought to a ``size`` x 2^n not much smaller than itself, bilinearly, and then halved n times by averaging
    2 x 2 pixels: that aliases no more than OpenCV's general ``INTER_AREA`` does and takes half of its time.
    """
    halvings = [max(math.ceil(math.log2(side / size) - SLACK), 0) for side in patch.shape[:2]]
    # Pixels are averaged fastest where both sides are halved.
    height, width = (size << min(own + 1, max(halvings)) for own in halvings)
    fitted = cv2.resize(patch, (width, height), interpolation=cv2.INTER_LINEAR)
    while max(height, width) > size:
        height, width = max(height // 2, size), max(width // 2, size)
        fitted = cv2.resize(fitted, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(fitted, dtype=np.uint8)


def list_files(folder: Path) -> list[Path]:
    """All files below ``folder``, sorted by relative path; hidden files and folders are left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    visible = (path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def list_images(folder: Path) -> list[Path]:
    """The files below ``folder`` that bear a picture's name ending, sorted by relative path."""
    return [path for path in list_files(folder) if path.suffix.lower() in SUFFIXES]


def pixel_digest(image: Pixels) -> str:
    """SHA-256 of shape and pixels: equal for copies whose files differ only in metadata or lossless coding."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


SLACK = 0.2
CONVERT = "convert it to JPEG or PNG"
