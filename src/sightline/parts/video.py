"""Read videos frame by frame, whatever their timestamps say, and write H.264 that browsers play.

>>> with open_frames(Path("line.mp4")) as frames, VideoWriter(Path("out.mp4"), frames.width, frames.height) as video:
...     for rgb in frames:
...         video.write(rgb)
"""

import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from sightline.core.errors import InputError
from sightline.core.files import replacing
from sightline.core.images import Pixels, UnreadableImageError, list_images, read_image
from sightline.core.progress import say


@dataclass(frozen=True)
class Frames:
    """Frames of one size in the order in which they decode: iterate once, for RGB uint8 (height, width, 3).

    ``fps`` is nominal: the rate at which to play a copy. ``expected`` is how many frames the container announces, which
    may be wrong, or None. ``files`` names the pictures of a folder, below it.
    """

    name: str
    width: int
    height: int
    fps: float
    expected: int | None
    files: tuple[str, ...]
    pixels: Iterator[Pixels]

    def __iter__(self) -> Iterator[Pixels]:
        return self.pixels


@contextmanager
def open_frames(source: Path | int, threads: int = 1) -> Iterator[Frames]:
    """Open a video file, a folder of pictures (in the order of their names, numbers by value) or a camera (its index).

    A video is decoded from its start to its end: no frame is skipped, repeated or moved for the sake of its time, and
    pictures are turned upright. A camera gives frames until it stops. More than one of ``threads`` decode large frames
    faster, but cost the last few frames of a video that is broken just there.

    Raises:
        InputError: there is no such file or camera, nothing in it is a video or a picture, no frame decodes, a picture
            is broken, or (while frames are read) their size changes.
    """
    files: tuple[str, ...] = ()
    fps, expected = NOMINAL_FPS, None
    with ExitStack() as stack:
        if isinstance(source, int):
            shown = name = f"camera {source}"
            camera = cv2.VideoCapture(source)
            stack.callback(camera.release)
            fps = _nominal(camera.get(cv2.CAP_PROP_FPS))
            pixels = _shots(camera)
        elif source.is_dir():
            shown, name = str(source), source.resolve().name
            files = tuple(path.relative_to(source).as_posix() for path in sorted(list_images(source), key=_by_number))
            expected = len(files)
            pixels = _pictures(source, files)
        else:
            shown, name = str(source), source.stem
            container, stream = _open_video(source, stack)
            stream.thread_type, stream.thread_count = "AUTO", threads
            fps, expected = _nominal(stream.guessed_rate), stream.frames or None
            pixels = _decoded(container, stream, shown)
        first = next(pixels, None)
        if first is None:
            raise InputError(f"{shown}: there is no frame in it that can be read")
        height, width = first.shape[:2]
        frames = _of_one_size(chain([first], pixels), shown, (height, width, 3))
        # Decoding from a container that is closed ends the process without a word.
        stack.enter_context(closing(frames))
        yield Frames(name, width, height, fps, expected, files, frames)


def frame_intervals(path: Path) -> tuple[float, float]:
    """The shortest and the longest time between two frames of a video in seconds, as its timestamps say; nothing is
    decoded. Both are 0 where fewer than two frames have a timestamp.

    Raises:
        InputError: it is no video.
    """
    with ExitStack() as stack:
        container, stream = _open_video(path, stack)
        packets = (packet for packet in _packets(container, stream) if packet)
        times = sorted(packet.pts for packet in packets if packet.pts is not None)
    steps = [float((second - first) * (stream.time_base or 0)) for first, second in pairwise(times)]
    return min(steps, default=0.0), max(steps, default=0.0)


class VideoWriter:
    """Write RGB frames to an mp4 of H.264 in yuv420p with its index in front; equal frames give equal bytes.

    A context manager: the file gets its name when the block succeeds, and nothing is left of it when that fails. Where
    a side is odd its last row or column is there twice, since H.264 halves the resolution of colour.

    ``fps`` is the rate at which it plays, ``threads`` are those of the encoder (another number gives other bytes),
    ``crf`` is x264's quality from 0 (lossless) to 51, ``preset`` its speed from 'ultrafast' to 'veryslow'.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float = 30.0,
        *,
        threads: int = 1,
        crf: int = 23,
        preset: str = "veryfast",
    ) -> None:
        self.path, self.width, self.height, self.fps = path, width, height, fps
        self._options = {"crf": str(crf), "preset": preset, "x264-params": f"open-gop=0:threads={threads}"}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(replacing(self.path))
            self._container = stack.enter_context(av.open(part, "w", options={"movflags": "+faststart"}))
            rate = Fraction(self.fps).limit_denominator(1001)
            self._stream = self._container.add_stream("libx264", rate, self._options)
            self._stream.width, self._stream.height = self.width + self.width % 2, self.height + self.height % 2
            self._stream.pix_fmt = "yuv420p"
            # Players that are not told guess the colours' meaning by the size of the frame.
            self._stream.colorspace, self._stream.color_range = Colorspace.SMPTE170M, ColorRange.MPEG
            # A player can jump to every other second.
            self._stream.gop_size = max(round(2 * self.fps), 1)
            self._stack = stack.pop_all()
        return self

    def write(self, rgb: Pixels) -> None:
        """Add a frame, uint8 (height, width, 3).

        Raises:
            ValueError: it has another size than the video.
            OSError: the disk is full, for one.
        """
        if rgb.shape != (self.height, self.width, 3):
            raise ValueError(f"a frame of shape {rgb.shape} in a video of {self.width}x{self.height}")
        if self.height % 2 or self.width % 2:
            rgb = np.pad(rgb, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._container.mux(self._stream.encode(None))


def _open_video(path: Path, stack: ExitStack) -> tuple[InputContainer, VideoStream]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such video, and no folder of pictures of that name")
    try:
        container = stack.enter_context(av.open(path))
    except av.FFmpegError as error:
        raise InputError(f"{path} is no video that can be read: {error.strerror}") from error
    if not container.streams.video:
        raise InputError(f"{path} holds no video stream")
    return container, container.streams.video[0]


def _decoded(container: InputContainer, stream: VideoStream, shown: str) -> Iterator[Pixels]:
    lost = 0
    for packet in _packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            # Like other players, go on with the next one.
            lost += 1
            continue
        for frame in frames:
            rgb = np.asarray(frame.to_ndarray(format="rgb24", threads=1), dtype=np.uint8)
            yield np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90)) if frame.rotation else rgb
    if lost:
        say(f"warning: {shown}: {lost} packets could not be decoded; frames are counted without them")


def _packets(container: InputContainer, stream: VideoStream) -> Iterator["av.Packet[VideoStream] | None"]:
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        # The file ends too early: None makes the decoder give what it still holds.
        yield None


def _pictures(folder: Path, files: tuple[str, ...]) -> Iterator[Pixels]:
    for file in files:
        try:
            yield read_image(folder / file)
        except UnreadableImageError as error:
            raise InputError(f"{error.path}: {error.reason}") from error


def _shots(camera: cv2.VideoCapture) -> Iterator[Pixels]:
    while True:
        read, bgr = camera.read()
        if not read:
            return
        yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _of_one_size(pixels: Iterator[Pixels], shown: str, shape: tuple[int, ...]) -> Generator[Pixels]:
    for number, rgb in enumerate(pixels, start=1):
        if rgb.shape != shape:
            (height, width), (new_height, new_width) = shape[:2], rgb.shape[:2]
            raise InputError(f"{shown}: frame {number} has {new_width}x{new_height} px, those before {width}x{height}")
        yield rgb


def _by_number(path: Path) -> list[str | tuple[int, str]]:
    """A key that puts 9.jpg before 10.jpg; text and numbers take turns, so that like is compared with like."""
    pieces = re.split(r"(\d+)", path.as_posix())
    return [(int(piece), piece) if number % 2 else piece for number, piece in enumerate(pieces)]


def _nominal(rate: float | Fraction | None) -> float:
    return float(rate) if rate and 1 <= rate <= 1000 else NOMINAL_FPS


NOMINAL_FPS = 30.0
