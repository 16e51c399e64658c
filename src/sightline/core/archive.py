"""Unpack archives that come from elsewhere: all of it, inside the target and within bounds, or nothing."""

import errno
import lzma
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Self

from tqdm import tqdm

from sightline.core.errors import InputError
from sightline.core.files import replacing_folder
from sightline.core.progress import progress


def unpack(archive: Path, target: Path, *, max_bytes: int = 50 << 30, max_files: int = 1_000_000) -> None:
    """Unpack a zip or tar archive (plain, gzip, bzip2 or xz; known by its content, not its name) to a folder.

    ``target`` is replaced whole, once everything is out and checked: the checksums of zip, gzip, bzip2 and xz, and the
    end mark of tar. Only contents are taken over; modes, owners and times are not. A backslash in a name divides
    folders as a slash does. A link, hard or symbolic, to a file in the archive becomes a copy of that file. What macOS
    adds (``__MACOSX``, ``.DS_Store``, ``._*``) is left out.

    Raises :class:`InputError`, and leaves ``target`` as it was, for a file that is no such archive, is broken, empty or
    encrypted; for an absolute name, a drive letter or ``..``; for a link to anything but a file in the archive; for
    devices and pipes; for two entries of one name; for more than ``max_bytes`` of content, counted as it comes,
    whatever the headers say; for more than ``max_files`` entries; and for a full disk.
    """
    bar: tqdm[Any] = progress((), f"unpacking {archive.name}", unit="B")
    bar.unit_scale = True
    try:
        with replacing_folder(target) as folder, bar:
            _extract(_entries(archive), folder, max_files, _Meter(max_bytes, bar))
    except _RefusedError as error:
        raise InputError(f"{archive} is not unpacked: {error}") from error
    except NotImplementedError as error:
        raise InputError(f"{archive} is not unpacked: {error}; unpack it by hand and give the folder") from error
    except _BROKEN as error:
        raise InputError(f"{archive} is broken: {error}; get it again") from error
    except OSError as error:
        if error.errno is None:  # how gzip and bz2 report broken data
            raise InputError(f"{archive} is broken: {error}; get it again") from error
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = "the disk is full; make room and run again" if full else error.strerror
        raise InputError(f"{archive} is not unpacked: {reason}") from error


class _RefusedError(Exception):
    pass


# What the standard library raises on broken input, besides OSErrors without a number.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RecursionError,
    ValueError,
)


class _Meter:
    """Counts the bytes that come out, for the bound and for the progress bar."""

    def __init__(self, bound: int, bar: "tqdm[Any]") -> None:
        self.bound, self.left, self.bar = bound, bound, bar

    def count(self, size: int) -> None:
        self.left -= size
        self.bar.update(size)
        if self.left < 0:
            raise _RefusedError(f"it holds more than {self.bound} bytes of content, the bound set by max_bytes")


class _Entry(NamedTuple):
    name: str
    kind: Literal["file", "folder", "link"]
    open: Callable[[], Any]
    link: str = ""  # where a link points, from the top of the archive


def _extract(entries: Iterator[_Entry], folder: Path, max_files: int, meter: _Meter) -> None:
    kinds = {"": "folder"}
    links: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        if number > max_files:
            raise _RefusedError(f"it holds more than {max_files} entries, the bound set by max_files")
        name = _inside(entry.name)
        if re.search(r"(^|/)(__MACOSX|\.DS_Store|\._[^/]*)(/|$)", name):
            continue
        _claim(name, entry.kind, kinds)
        path = folder / name
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.kind == "link":
            links[name] = _inside(entry.link)
        else:
            with entry.open() as content:
                _write(content, path, meter)
    for name, link in links.items():
        source, steps = link, 0
        while source in links and steps <= len(links):
            source, steps = links[source], steps + 1
        if kinds.get(source) != "file":
            raise _RefusedError(f"{name!r} is a link to {link!r}, which is no file in the archive")
        with (folder / source).open("rb") as content:
            _write(content, folder / name, meter)
    if "file" not in kinds.values():
        raise _RefusedError("it holds no files")


def _inside(name: str) -> str:
    """The name without empty and ``.`` parts; ``""`` is the top folder."""
    unified = name.replace("\\", "/")
    parts = [part for part in unified.split("/") if part not in {"", "."}]
    if unified.startswith("/") or ".." in parts or re.match("[A-Za-z]:", unified):
        raise _RefusedError(f"{name!r} leads out of the folder that it is unpacked to")
    return "/".join(parts)


def _claim(name: str, kind: str, kinds: dict[str, str]) -> None:
    parents = [name[: slash.start()] for slash in re.finditer("/", name)]
    below_file = any(kinds.setdefault(parent, "folder") != "folder" for parent in parents)
    if below_file or (name in kinds and not kinds[name] == kind == "folder"):
        raise _RefusedError(f"it holds {name!r} twice, or as a file and as a folder")
    kinds[name] = kind


def _write(content: IO[bytes], path: Path, meter: _Meter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while block := content.read(1 << 20):
            meter.count(len(block))
            file.write(block)


def _entries(archive: Path) -> Iterator[_Entry]:
    with archive.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return _zip_entries(archive)
    if re.match(rb"\s*<(!doctype|html)", start, re.IGNORECASE):
        raise _RefusedError(
            "it is a web page, so its address led to a page about the file; use that of the file itself"
        )
    return _tar_entries(archive)


def _zip_entries(archive: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            name, content = info.orig_filename, partial(file.open, info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise _RefusedError(f"{name!r} is encrypted; unpack it by hand and give the folder")
            if name.endswith(("/", "\\")):
                yield _Entry(name, "folder", content)
            elif kind == stat.S_IFLNK and info.file_size <= 4096:
                link = posixpath.join(posixpath.dirname(name), file.read(info).decode())
                yield _Entry(name, "link", content, posixpath.normpath(link))
            elif kind in {0, stat.S_IFREG}:
                yield _Entry(name, "file", content)
            else:
                raise _RefusedError(f"{name!r} is neither a file nor a folder")


def _tar_entries(archive: Path) -> Iterator[_Entry]:
    with _open_tar(archive) as file:
        for info in file:
            if info.size < 0:
                raise tarfile.ReadError("an entry of negative size")
            if not (info.isreg() or info.isdir() or info.islnk() or info.issym()):
                raise _RefusedError(f"{info.name!r} is a special file")
            content = partial(file.extractfile, info)
            if info.isdir():
                yield _Entry(info.name, "folder", content)
            elif info.islnk():
                yield _Entry(info.name, "link", content, info.linkname)
            elif info.issym():
                link = posixpath.join(posixpath.dirname(info.name), info.linkname)
                yield _Entry(info.name, "link", content, posixpath.normpath(link))
            else:
                yield _Entry(info.name, "file", content)
        # gzip, bzip2 and xz keep their checksums behind the last entry.
        while file.fileobj and (block := file.fileobj.read(1 << 20)):
            if block.strip(b"\0"):
                raise tarfile.ReadError("there is something after its end mark")


def _open_tar(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, tarinfo=_Header)
    except tarfile.ReadError as error:
        raise _RefusedError("it is no zip and no tar archive (plain, gzip, bzip2 or xz)") from error


_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Header(tarfile.TarInfo):
    """Raises where tarfile quietly takes a broken header for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(str(error)) from error
        # tarfile reads the headers that carry long names into memory, and a negative size sends it round in circles.
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > 1 << 20):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header
