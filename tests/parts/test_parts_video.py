"""Videos are read by frame, whatever their timestamps say, and written whole or not at all."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sightline.core.errors import InputError
from sightline.core.images import Pixels
from sightline.core.sheets import write_png
from sightline.parts.video import VideoWriter, frame_intervals, open_frames

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/data/parts"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")


def numbered(number: int, width: int = 64, height: int = 48) -> Pixels:
    """A frame that bears its number in the height of a bright bar."""
    rgb = np.full((height, width, 3), 20, np.uint8)
    rgb[: 2 * number + 2] = (230, 200, 40)
    return rgb


def number_of(rgb: Pixels) -> int:
    return round(float((rgb[..., 0] > 125).mean(axis=1).sum()) / 2) - 1


def encode(
    path: Path, pts: list[int], rate: int = 30, container: str = "mp4", size: tuple[int, int] = (64, 48)
) -> Path:
    """A video of numbered frames with the given presentation times in 1/90000 s, not by our own writer."""
    with av.open(path, "w", format=container) as out:
        stream = out.add_stream("libx264", rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 90000)
        stream.codec_context.max_b_frames = 0
        for number, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 90000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write(path: Path, frames: Iterable[Pixels], width: int = 64, height: int = 48, fps: float = 30) -> Path:
    with VideoWriter(path, width, height, fps) as video:
        for rgb in frames:
            video.write(rgb)
    return path


def read(source: Path) -> list[Pixels]:
    with open_frames(source) as frames:
        return list(frames)


@pytest.mark.parametrize(
    "pts",
    [
        [3000 * number for number in range(10)],
        # Broken: a second is missing behind the first frame, then two frames come 1/90000 s after another.
        [0, 90000, 93000, 93001, 93002, 96000, 200000, 203000, 203001, 500000],
        # Variable rate: 30, then 10 frames a second.
        [*range(0, 15000, 3000), *range(20000, 65000, 9000)],
    ],
)
def test_every_frame_is_read_once_in_order_whatever_its_time(tmp_path: Path, pts: list[int]) -> None:
    assert [number_of(rgb) for rgb in read(encode(tmp_path / "in.mp4", pts))] == list(range(10))


def test_uneven_timestamps_are_told_without_decoding(tmp_path: Path) -> None:
    even = encode(tmp_path / "even.mp4", [3000 * number for number in range(10)])
    assert frame_intervals(even) == pytest.approx((1 / 30, 1 / 30), abs=1e-3)
    uneven = encode(tmp_path / "uneven.mp4", [0, 90000, 93000, 96000])
    assert frame_intervals(uneven) == pytest.approx((1 / 30, 1), abs=1e-3)
    assert frame_intervals(encode(tmp_path / "one.mp4", [0])) == (0, 0)


@needs_shared
def test_a_stream_that_announces_more_frames_than_it_has_is_read_by_frame() -> None:
    path = SHARED / "clip/clip_original_stream.mp4"
    with open_frames(path) as frames:
        assert frames.expected == 121
        pictures = list(frames)
    assert len(pictures) == 117
    with open_frames(SHARED / "clip/clip.mp4") as frames:
        clean = list(frames)
    # The same scene, encoded twice: each frame is nearest to the frame of its own number.
    for number in range(0, 117, 13):
        near = range(max(number - 2, 0), min(number + 3, 120))
        distances = {other: np.abs(clean[other].astype(int) - pictures[number]).mean() for other in near}
        assert min(distances, key=lambda other: distances[other]) == number


def test_pixels_are_those_that_opencv_decodes(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", [numbered(number) for number in range(8)])
    capture = cv2.VideoCapture(str(path))
    for rgb in read(path):
        known, bgr = capture.read()
        assert known
        assert np.abs(rgb.astype(int) - bgr[..., ::-1]).max() <= 3
    assert not capture.read()[0]


def test_a_video_of_a_turned_phone_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(3), "rgb24")))
        out.mux(stream.encode(None))
    [rgb] = read(path)
    assert rgb.shape == (64, 48, 3)
    assert np.abs(rgb.astype(int) - cv2.VideoCapture(str(path)).read()[1][..., ::-1]).max() <= 3


def test_what_is_written_comes_back_and_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    frames = [numbered(number) for number in range(20)]
    first, second = (write(tmp_path / name, frames, fps=25) for name in ("a.mp4", "b.mp4"))
    assert first.read_bytes() == second.read_bytes()
    with open_frames(first) as opened:
        assert (opened.name, opened.width, opened.height, opened.fps, opened.expected) == ("a", 64, 48, 25, 20)
        assert [number_of(rgb) for rgb in opened] == list(range(20))


def test_browsers_play_what_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", [numbered(number) for number in range(5)])
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 30)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_an_odd_side_gets_its_last_row_twice(tmp_path: Path) -> None:
    [rgb] = read(write(tmp_path / "out.mp4", [numbered(3, 63, 47)], 63, 47))
    assert rgb.shape == (48, 64, 3)
    assert np.abs(rgb[:, 63].astype(int) - rgb[:, 62]).max() <= 6


def test_a_failure_leaves_nothing_and_an_older_video_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", [numbered(1)])
    before = path.read_bytes()

    def frames() -> Iterator[Pixels]:
        yield from (numbered(number % 20) for number in range(100))
        assert any(entry.name.endswith(".part.mp4") for entry in tmp_path.iterdir())
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write(path, frames())
    with VideoWriter(tmp_path / "other.mp4", 64, 48) as video:
        with pytest.raises(ValueError, match=r"shape \(10, 10, 3\) in a video of 64x48"):
            video.write(np.zeros((10, 10, 3), np.uint8))
        video.write(numbered(2))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.mp4", "out.mp4"]
    assert path.read_bytes() == before


def test_a_killed_writer_leaves_no_file_of_the_name(tmp_path: Path) -> None:
    lines = [
        "import os, signal, sys, numpy as np",
        "from pathlib import Path",
        "from sightline.parts.video import VideoWriter",
        "with VideoWriter(Path(sys.argv[1]), 64, 48, preset='ultrafast') as video:",
        "    for number in range(200):",
        "        video.write(np.full((48, 64, 3), number, np.uint8))",
        "    os.kill(os.getpid(), signal.SIGKILL)",
    ]
    command = [sys.executable, "-c", "\n".join(lines), str(tmp_path / "out.mp4")]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": "src"}, cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    # What is left is hidden, and git and DVC pass over it.
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    assert left.name.endswith(".part.mp4")


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        write_png(tmp_path / f"f{number}.png", numbered(number))
    (tmp_path / "notes.txt").write_text("no picture")
    with open_frames(tmp_path) as frames:
        assert frames.files == ("f1.png", "f2.png", "f9.png", "f10.png")
        assert [number_of(rgb) for rgb in frames] == [1, 2, 9, 10]


def nothing(folder: Path) -> Path:
    return folder / "none.mp4"


def text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("hello")
    return folder / "text.mp4"


def empty_folder(folder: Path) -> Path:
    return folder


def sound(folder: Path) -> Path:
    path = folder / "sound.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("aac", 8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def no_frames(folder: Path) -> Path:
    """The header of a stream, all frames cut off."""
    path = encode(folder / "in.ts", [0], container="mpegts")
    whole = path.read_bytes()
    path.write_bytes(whole[: 188 * 2])
    return path


def broken_picture(folder: Path) -> Path:
    (folder / "1.png").write_bytes(b"\x89PNG")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "there is no such video"),
        (text, "no video that can be read"),
        (empty_folder, "no frame in it"),
        (sound, "no video stream"),
        (no_frames, "no video|no frame"),
        (broken_picture, "1.png: "),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    source = make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read(source)
    assert str(source) in str(caught.value)


def test_a_missing_camera_is_named() -> None:
    with pytest.raises(InputError, match="camera 97"), open_frames(97):
        pass


def test_a_change_of_size_is_an_error_that_names_the_frame(tmp_path: Path) -> None:
    first = encode(tmp_path / "a.ts", [0, 3000, 6000], container="mpegts")
    second = encode(tmp_path / "b.ts", [9000, 12000], container="mpegts", size=(32, 32))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(InputError, match=r"joined\.ts: frame 4 has 32x32 px, those before 64x48"):
        read(joined)


def test_a_broken_packet_costs_its_frame_and_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, places = noisy(tmp_path)
    content = bytearray(path.read_bytes())
    start, length = places[4]
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    assert len(read(path)) == 8
    assert "out.mp4: 1 packets could not be decoded" in capsys.readouterr().err


def test_a_video_that_was_cut_off_gives_all_frames_up_to_there(tmp_path: Path) -> None:
    path, places = noisy(tmp_path)
    path.write_bytes(path.read_bytes()[: places[6][0]])
    with open_frames(path) as frames:
        assert frames.expected == 9
        assert len(list(frames)) == 6


def noisy(folder: Path) -> tuple[Path, list[tuple[int, int]]]:
    """A video of nine frames, and where in the file the packets are, and how long."""
    rng = np.random.default_rng(0)
    path = write(folder / "out.mp4", list(rng.integers(0, 255, (9, 48, 64, 3), dtype=np.uint8)))
    with av.open(path) as container:
        return path, [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def test_frames_end_with_their_block(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", [numbered(number) for number in range(5)])
    with open_frames(path) as frames:
        next(iter(frames))
    assert list(frames) == []
