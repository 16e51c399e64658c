"""Files that are whole or not there: atomic writes, plain tables, digests."""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary sibling of ``target`` to write (a file or a folder) and rename it when the block succeeds.

    An exception inside the block removes the temporary and leaves an existing ``target`` as it was. A killed process
    leaves at most a hidden ``.<name>.<process>-<random>.part`` sibling, never half a file under the real name. The next
    process that writes ``target`` removes it (:func:`remove_leftovers`).

    >>> with replacing(Path("out.json")) as part:
    ...     part.write_text("{}")
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    # The suffix stays last: several writers (pandas, OpenCV) choose the format by it.
    part = target.with_name(f".{target.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part{target.suffix}")
    try:
        yield part
        if part.is_dir() and target.is_dir():
            shutil.rmtree(target)
        part.replace(target)
    finally:
        _remove(part)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Like :func:`replacing`, with the temporary already made as an empty folder."""
    with replacing(target) as part:
        part.mkdir()
        yield part


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside ``target`` for what is needed while ``target`` is made, and remove it then.

    It lies there because a system's folder for temporary files is often too small for a data set. What a killed process
    leaves of it is removed as that of :func:`replacing` is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    folder = target.with_name(f".sightline-{target.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part{target.suffix}")
    folder.mkdir()
    try:
        yield folder
    finally:
        _remove(folder)


def remove_leftovers(target: Path) -> None:
    """Remove what killed processes of this machine left of writing ``target``: temporary files and scratch folders.

    The name of each tells the process. What belongs to a living one is left alone. Each folder is listed once per
    process, so that writing many files into one stays cheap.
    """
    parent = target.parent.absolute()
    if parent not in _leftovers:
        _leftovers[parent] = _list_leftovers(parent)
    for path in _leftovers[parent].pop(target.name, []):
        _remove(path)


def _list_leftovers(folder: Path) -> dict[str, list[Path]]:
    """By the name of the target, what belongs to processes that have ended."""
    found = defaultdict(list)
    for path in folder.iterdir():
        match = LEFTOVER.fullmatch(path.name)
        if match and not _is_running(int(match["process"])):
            found[match["stem"] + match["suffix"]].append(path)
    return found


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # It is another user's.
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


_leftovers: dict[Path, dict[str, list[Path]]] = {}
# SQLite puts a journal beside the file that it writes.
LEFTOVER = re.compile(
    r"\.(?:sightline-)?(?P<stem>.+)\.(?P<process>\d+)-[0-9a-f]{8}\.part(?P<suffix>(?:\.[^.]+?)?)(?:-journal|-wal|-shm)?"
)


def to_json(content: Any) -> bytes:
    """``content`` as indented JSON in UTF-8 with a newline at the end; not-a-number is an error, not ``NaN``.

    A byte of a file name that is no UTF-8 stands as an escape, ``\\udce9`` for instance: the JSON is valid, and
    :func:`os.fsencode` brings the name back from what :func:`json.loads` reads.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as :func:`to_json` has it."""
    coded = to_json(content)
    with replacing(path) as part:
        part.write_bytes(coded)


def read_json(path: Path) -> Any:
    """Read a JSON file (UTF-8)."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index; floats with nine significant digits, which bring a float32 back exactly."""
    with replacing(path) as part:
        table.to_csv(part, index=False, float_format="%.9g", lineterminator="\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name; :func:`safetensors.numpy.load_file` reads them.

    Raises:
        OSError: no space is left, for one; safetensors' own writer hides the system's reason in an error of its own,
            and leaves a file that only its owner can read.
    """
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(*contents: bytes | str) -> str:
    """SHA-256 over several pieces; each is length-prefixed, so that moving a border changes the digest."""
    digest = hashlib.sha256()
    for content in contents:
        piece = content.encode() if isinstance(content, str) else content
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()
