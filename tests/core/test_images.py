"""Reading pictures: every odd but whole one comes out right, every broken one is reported and nothing else."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sightline.core.images import (
    UnreadableImageError,
    fit_to_square,
    list_files,
    list_images,
    pixel_digest,
    read_image,
)

# The module silences Pillow for the process, but pytest starts each test with warnings of its own.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# Three wide, two high, no two pixels alike, so that no two of the eight orientations look alike.
UPRIGHT = np.array(
    [[[10, 0, 0], [20, 0, 0], [30, 0, 0]], [[40, 0, 0], [50, 0, 0], [60, 0, 0]]],
    np.uint8,
)
# What a camera stores of UPRIGHT under each orientation (EXIF 2.32, tag 274): where row 0 and column 0 of the stored
# picture lie in the upright one, spelled out pixel by pixel.
STORED = {
    1: [[10, 20, 30], [40, 50, 60]],
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[30, 60], [20, 50], [10, 40]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[40, 10], [50, 20], [60, 30]],
}


def photo(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """Gradients and a noisy patch: no large area of one colour, nothing grey."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([90 + 3 * x, 20 + 4 * y, 2 * (x + y)], -1).astype(np.uint8)
    pixels[8:24, 8:24] = np.random.default_rng(0).integers(0, 255, (16, 16, 3))
    return pixels


def encode(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def exif_with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = value
    return exif


PHOTO = Image.fromarray(photo())
CODED = {
    "jpeg": encode(PHOTO, "JPEG", quality=90, exif=exif_with_orientation(6)),
    "progressive": encode(PHOTO, "JPEG", progressive=True),
    "cmyk": encode(PHOTO.convert("CMYK"), "JPEG"),
    "png": encode(PHOTO, "PNG", exif=exif_with_orientation(6)),
    "palette": encode(PHOTO.quantize(32), "PNG"),
    "webp": encode(PHOTO, "WEBP", exif=exif_with_orientation(6)),
    "lossless webp": encode(PHOTO, "WEBP", lossless=True),
    "gif": encode(PHOTO, "GIF"),
    "tiff": encode(PHOTO, "TIFF", compression="tiff_lzw"),
    "bmp": encode(PHOTO, "BMP"),
    "avif": encode(PHOTO, "AVIF"),
    "jpeg 2000": encode(PHOTO, "JPEG2000"),
}


def read(folder: Path, content: bytes, name: str = "picture.jpg") -> NDArray[np.uint8]:
    path = folder / name
    path.write_bytes(content)
    return read_image(path)


def reason_of(folder: Path, content: bytes, name: str = "picture.jpg") -> str:
    with pytest.raises(UnreadableImageError) as caught:
        read(folder, content, name)
    assert str(folder / name) in str(caught.value)
    assert caught.value.path == folder / name
    assert "\n" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, orientation: int, file_format: str) -> None:
    stored = np.zeros((*np.shape(STORED[orientation]), 3), np.uint8)
    stored[..., 0] = STORED[orientation]
    options = {"lossless": True} if file_format == "WEBP" else {}
    exif = exif_with_orientation(orientation)
    np.testing.assert_array_equal(
        read(tmp_path, encode(Image.fromarray(stored), file_format, exif=exif, **options)), UPRIGHT
    )


def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    content = encode(Image.fromarray(UPRIGHT), "PNG", exif=exif_with_orientation(9))
    np.testing.assert_array_equal(read(tmp_path, content), UPRIGHT)


def test_a_jpeg_on_its_side_is_as_high_as_it_was_wide(tmp_path: Path) -> None:
    top_bright = np.zeros((40, 60, 3), np.uint8)
    top_bright[:20] = 255
    stored = Image.fromarray(np.rot90(top_bright))
    upright = read(tmp_path, encode(stored, "JPEG", exif=exif_with_orientation(6)))
    assert upright.shape == top_bright.shape
    assert np.abs(upright.astype(int) - top_bright).mean() < 3


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, :16] = (0, 255, 255, 0)
    inks[:, 16:32] = (255, 255, 0, 0)
    inks[:, 32:] = (0, 0, 0, 255)
    found = read(tmp_path, encode(Image.fromarray(inks, "CMYK"), "TIFF"))
    for column, colour in ((8, RED), (24, BLUE), (40, (0, 0, 0))):
        np.testing.assert_array_equal(found[8, column], colour)


def test_cmyk_jpegs_of_adobe_are_not_read_as_negatives(tmp_path: Path) -> None:
    content = encode(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in content
    assert np.abs(read(tmp_path, content).astype(int) - RED).max() < 6
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(by_opencv.astype(int) - RED).max() < 6


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([*RED, *GREEN, *BLUE])
    np.testing.assert_array_equal(read(tmp_path, encode(picture, "PNG")), [[RED, GREEN, BLUE]])


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_a_transparent_palette_entry_becomes_white(tmp_path: Path, transparency: int | bytes) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([*RED, *GREEN, *BLUE])
    content = encode(picture, "PNG", transparency=transparency)
    np.testing.assert_array_equal(read(tmp_path, content), [[RED, WHITE, BLUE]])


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    layers = np.array([[[*RED, 255], [*RED, 0], [*RED, 51]]], np.uint8)
    np.testing.assert_array_equal(
        read(tmp_path, encode(Image.fromarray(layers), "PNG")), [[RED, WHITE, (255, 204, 204)]]
    )
    grey = np.array([[[100, 255], [100, 0]]], np.uint8)
    np.testing.assert_array_equal(read(tmp_path, encode(Image.fromarray(grey), "PNG")), [[[100] * 3, WHITE]])


def test_a_transparent_colour_of_an_rgb_png_becomes_white(tmp_path: Path) -> None:
    content = encode(Image.fromarray(np.array([[RED, GREEN]], np.uint8)), "PNG", transparency=GREEN)
    np.testing.assert_array_equal(read(tmp_path, content), [[RED, WHITE]])


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bits(tmp_path: Path, file_format: str) -> None:
    deep = np.array([[0, 255, 256, 32768, 65280, 65535]], np.uint16)
    content = encode(Image.fromarray(deep), file_format)
    np.testing.assert_array_equal(read(tmp_path, content)[..., 1], [[0, 0, 1, 128, 255, 255]])


def test_16_bit_grey_of_the_other_byte_order_is_scaled_as_well(tmp_path: Path) -> None:
    deep = np.array([[0, 256, 32768, 65535]], ">u2")
    picture = Image.frombytes("I;16B", (4, 1), deep.tobytes())
    np.testing.assert_array_equal(read(tmp_path, encode(picture, "TIFF"))[0, :, 0], [0, 1, 128, 255])


def test_16_bit_rgb_is_scaled_to_8_bits(tmp_path: Path) -> None:
    deep = np.array([[[0, 32768, 65535], [65535, 256, 0]]], ">u2")
    np.testing.assert_array_equal(read(tmp_path, png_of(deep)), [[[0, 128, 255], [255, 1, 0]]])


def png_of(pixels: NDArray[np.uint16]) -> bytes:
    """A 16-bit RGB PNG by the book (ISO/IEC 15948); Pillow writes none."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    content = encode(Image.fromarray(np.array([[True, False]])), "PNG")
    np.testing.assert_array_equal(read(tmp_path, content), [[WHITE, (0, 0, 0)]])


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bit_pixels_are_refused_with_a_remedy(tmp_path: Path, kind: type[np.number[Any]]) -> None:
    assert "convert" in reason_of(tmp_path, encode(Image.fromarray(np.ones((4, 4), kind)), "TIFF"))


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), RED), Image.new("RGB", (8, 6), BLUE)
    content = encode(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read(tmp_path, content), np.full((6, 8, 3), RED))


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, encode(PHOTO, "PNG"), "picture.jpg"), photo())


def test_the_array_is_writable_and_owns_its_pixels(tmp_path: Path) -> None:
    pixels = read(tmp_path, encode(PHOTO, "PNG"))
    pixels[:] = 0
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    assert reason_of(tmp_path, b"a list of minerals\n") == "not a picture"
    assert reason_of(tmp_path, b"") == "empty file"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_image(tmp_path / "missing.jpg")
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    with pytest.raises(UnreadableImageError, match=r"folder\.jpg"):
        read_image(folder)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    content = bytearray(encode(Image.new("L", (1, 1)), "PNG"))
    content[16:24] = struct.pack(">2I", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    assert "more pixels" in reason_of(tmp_path, bytes(content))


@pytest.mark.parametrize("kind", CODED)
def test_a_cut_file_is_whole_or_reported(tmp_path: Path, kind: str) -> None:
    content = CODED[kind]
    whole = read(tmp_path, content)
    cuts = sorted({*range(0, len(content), 1 + len(content) // 60), *range(len(content) - 12, len(content))})
    for cut in cuts:
        try:
            found = read(tmp_path, content[:cut])
        except UnreadableImageError:
            continue
        np.testing.assert_array_equal(found, whole, err_msg=f"cut after {cut} of {len(content)} bytes")
        # Marks of the end and checksums are all that a picture can do without.
        assert cut > len(content) - 24


@pytest.mark.parametrize("kind", CODED)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 12), reach=st.sampled_from([60, 300, 100_000]))
def test_flipped_bits_give_pixels_or_a_report(tmp_path: Path, kind: str, seed: int, flips: int, reach: int) -> None:
    rng, content = random.Random(seed), bytearray(CODED[kind])
    for _ in range(flips):
        content[rng.randrange(min(reach, len(content)))] ^= 1 << rng.randrange(8)
    try:
        found = read(tmp_path, bytes(content))
    except UnreadableImageError:
        return
    assert found.dtype == np.uint8
    assert found.ndim == 3
    assert found.shape[2] == 3


def test_exif_that_cannot_be_written_back_is_reported(tmp_path: Path) -> None:
    # Turning the picture upright makes Pillow rewrite its EXIF; ImageWidth as a text is beyond it.
    exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08" + struct.pack(">H", 2)
    exif += struct.pack(">HHI4s", 256, 2, 2, b"a\0\0\0") + struct.pack(">HHIHH", 274, 3, 1, 6, 0) + bytes(4)
    content = encode(PHOTO, "JPEG", exif=exif)
    assert reason_of(tmp_path, content).startswith("corrupt")


def test_odd_exif_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    content = CODED["jpeg"]
    entries = content.index(b"Exif\0\0") + 14
    path = tmp_path / "picture.jpg"
    path.write_bytes(content[:entries] + b"\x00\x09" + content[entries + 2 :])
    code = "import sys, pathlib; from sightline.core.images import read_image; read_image(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-W", "always", "-c", code, path]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "EXIF" not in child.stderr
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(path) as picture:
        picture.getexif()


@given(side=st.integers(2, 40), halvings=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
@example(side=40, halvings=3)
def test_fitting_a_doubled_size_averages_blocks(side: int, halvings: int) -> None:
    factor = 2**halvings
    patch = np.random.default_rng(side).integers(0, 256, (factor * side, factor * side, 3), dtype=np.uint8)
    blocks = patch.reshape(side, factor, side, factor, 3).mean((1, 3))
    # Each halving rounds to whole grey values.
    assert np.abs(fit_to_square(patch, side) - blocks).max() <= 0.5 * halvings + 0.01


@given(height=st.integers(41, 400), width=st.integers(41, 400))
@settings(max_examples=40, deadline=None)
def test_fitting_to_less_is_close_to_the_mean_of_the_area(height: int, width: int) -> None:
    coarse = np.random.default_rng(height * width).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    patch = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    by_area = cv2.resize(patch, (40, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(fit_to_square(patch, 40).astype(int) - by_area).mean() <= 2


@given(height=st.integers(41, 400), width=st.integers(41, 400))
@settings(max_examples=40, deadline=None)
def test_fitting_keeps_about_as_much_noise_as_averaging_areas(height: int, width: int) -> None:
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    by_area = cv2.resize(noise, (40, 40), interpolation=cv2.INTER_AREA)
    assert 0.6 * by_area.std() <= fit_to_square(noise, 40).std() <= 1.2 * by_area.std()


def test_fitting_squashes_and_keeps_a_picture_of_the_right_size() -> None:
    left_half_red = np.zeros((10, 80, 3), np.uint8)
    left_half_red[:, :40] = RED
    fitted = fit_to_square(left_half_red, 32)
    assert fitted.shape == (32, 32, 3)
    np.testing.assert_array_equal(fitted[:, :15], np.full((32, 15, 3), RED))
    np.testing.assert_array_equal(fitted[:, 17:], np.zeros((32, 15, 3)))
    square = photo(40, 40)
    np.testing.assert_array_equal(fit_to_square(square, 40), square)


def test_fitting_a_single_pixel_fills_the_square() -> None:
    np.testing.assert_array_equal(fit_to_square(np.full((1, 1, 3), 7, np.uint8), 24), np.full((24, 24, 3), 7))


def test_a_pixel_digest_sees_pixels_and_shape_alone(tmp_path: Path) -> None:
    as_png = read(tmp_path, encode(PHOTO, "PNG", exif=exif_with_orientation(1)))
    as_webp = read(tmp_path, CODED["lossless webp"])
    assert pixel_digest(as_png) == pixel_digest(as_webp)
    changed = as_png.copy()
    changed[0, 0, 0] ^= 1
    reshaped = as_png.reshape(as_png.shape[1], as_png.shape[0], 3)
    assert len({pixel_digest(pixels) for pixels in (as_png, changed, reshaped)}) == 3


def test_a_pixel_digest_does_not_depend_on_the_memory_layout() -> None:
    pixels = photo()
    assert pixel_digest(pixels[:, ::-1]) == pixel_digest(np.ascontiguousarray(pixels[:, ::-1]))


def test_files_are_listed_by_relative_path_without_hidden_ones(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "set"
    for name in ("b.jpg", "a/z.PNG", "a/notes.txt", "a-b.webp", ".hidden.jpg", ".thumbs/c.jpg", "a/.d/e.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "empty").mkdir()
    assert [path.relative_to(folder).as_posix() for path in list_files(folder)] == [
        "a-b.webp",
        "a/notes.txt",
        "a/z.PNG",
        "b.jpg",
    ]
    assert [path.relative_to(folder).as_posix() for path in list_images(folder)] == ["a-b.webp", "a/z.PNG", "b.jpg"]


@pytest.mark.parametrize("ending", ["jfif", "JPE", "mpo", "avif", "jp2", "HEIC", "heif", "dng", "CR2", "nef"])
def test_no_kind_of_picture_is_passed_over(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"holiday.{ending}").touch()
    assert [path.name for path in list_images(tmp_path)] == [f"holiday.{ending}"]


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heif_is_named_and_a_jpeg_by_its_name_is_read(tmp_path: Path, brand: bytes) -> None:
    # The first box of a HEIF file (ISO/IEC 23008-12): its length, type, brand, version and compatible brands.
    content = struct.pack(">I4s4sI4s4s", 24, b"ftyp", brand, 0, b"mif1", b"heic") + bytes(200)
    damaged = CODED["avif"][:-200]
    for data in (content, damaged):
        assert reason_of(tmp_path, data, "picture.HEIC") == "HEIF is not read: convert it to JPEG or PNG"
    np.testing.assert_array_equal(read(tmp_path, CODED["png"], "renamed.heic"), read(tmp_path, CODED["png"]))


def test_of_the_pictures_in_an_mpo_file_the_first_is_read(tmp_path: Path) -> None:
    both = encode(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(180)])
    np.testing.assert_array_equal(read(tmp_path, both, "3d.mpo"), read(tmp_path, encode(PHOTO, "JPEG")))


def test_the_thumbnail_in_raw_data_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    thumbnail = encode(PHOTO.resize((14, 10)), "TIFF")
    assert reason_of(tmp_path, thumbnail, "picture.NEF").startswith("raw data of a camera are not read: convert it")


def test_linked_files_are_listed_but_not_broken_links_or_circles(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(encode(PHOTO, "PNG"))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "linked.png").symlink_to(elsewhere)
    (folder / "broken.png").symlink_to(tmp_path / "gone.png")
    (folder / "circle").symlink_to(folder)
    assert list_images(folder) == [folder / "linked.png"]
