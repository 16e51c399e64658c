"""Bring a published data set here: over HTTP, from Google Drive or from Kaggle; checked, and whole or not there.

What a broken download has brought stays in a cache folder, out of reach of DVC (which deletes outputs before it runs
a stage), and the next call goes on from there.
"""

import contextlib
import errno
import hashlib
import io
import logging
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
import typer
import urllib3
from filelock import FileLock
from tqdm import tqdm

from sightline.core.errors import InputError
from sightline.core.files import read_json, replacing, sha256, write_json
from sightline.core.progress import progress

T = TypeVar("T")


def download(
    url: str,
    target: Path,
    digest: str | None = None,
    *,
    pin: str = "the digest",
    by_hand: str = "set data.source to path and data.path to the unpacked folder",
    cache: Path = Path(".cache/downloads"),
    attempts: int = 5,
    timeout: float = 60.0,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Download ``url`` to ``target``, check it and return its SHA-256 (64 hex digits).

    - ``https://…`` or ``http://…``: one file, resumed by Range and If-Range (RFC 9110, section 13.1.5).
    - ``gdrive:FILE_ID``: one file on Google Drive; ``gdrive-folder:FOLDER_ID``: ``target`` becomes a folder.
    - ``kaggle:OWNER/DATASET`` or ``kaggle:OWNER/DATASET/versions/N``: ``target`` becomes the unpacked folder.

    ``digest`` is the pinned SHA-256 (``64 hex digits`` or ``sha256:…``) or, for a file, ``md5:…``. A folder's SHA-256
    is that of its listing: what ``sha256sum`` prints inside it for all files in the byte order of their paths.
    Without a ``digest`` the listing (one line for a file) is written to ``<target>.sha256``, and a line on stderr
    says what to set ``pin`` to, the name of a parameter such as ``minerals.data.sha256``.

    A dropped connection, a body shorter than announced and a busy server (429, 5xx) are tried again, up to
    ``attempts`` times in a row without a new byte; ``timeout`` is the server's time to answer and ``wait`` takes the
    time between attempts, both in seconds. A part from an earlier call is gone on with when the server vouches for
    the same version of the file; gdown does not ask it, so a Drive file only when ``digest`` can tell.

    Raises :class:`InputError` for an address that cannot be read or fetched (``by_hand`` tells what to do with a copy
    fetched in a browser), for a wrong digest (nothing is kept then) and for a full disk.
    """
    kind, name, page = _parse_url(url)
    pinned = None if digest is None else _parse_digest(digest, pin)
    patience = _Patience(attempts, timeout, wait)
    store = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{store}.lock"), _failures_explained(url, page, by_hand):
        if kind.startswith("gdrive") and not pinned:
            shutil.rmtree(store, ignore_errors=True)
        store.mkdir(exist_ok=True)
        if kind == "kaggle":
            body = _fetch_kaggle(name, store, patience)
        elif kind == "gdrive":
            body = _fetch_drive_file(name, store / "file", patience)
        elif kind == "gdrive-folder":
            body = _fetch_drive_folder(name, store / "folder", patience)
        else:
            body = _fetch_http(url, store / "body.part", patience)
        listing = _sha256sum(body, target.name)
        found = hashlib.sha256(listing.encode()).hexdigest() if body.is_dir() else listing[:64]
        if pinned and (wrong := _mismatch(body, found, pinned)):
            shutil.rmtree(store)
            raise InputError(f"{url} is not what is pinned: {wrong}; look at {page}, and correct {pin} if it is good")
        with replacing(target) as part:
            shutil.move(body, part)
        if not pinned:
            record = target.with_name(f"{target.name}.sha256")
            with replacing(record) as part:
                part.write_text(listing, encoding="utf-8")
            typer.echo(f"{url} is not pinned: set {pin} to {found} (noted in {record})", err=True)
        shutil.rmtree(store)
    return found


class _Patience(NamedTuple):
    attempts: int
    timeout: float
    wait: Callable[[float], None]


def _parse_url(url: str) -> tuple[str, str, str]:
    """Kind, name, and the page on which a person finds the same thing."""
    pages = {
        r"(gdrive):([-\w]+)": "https://drive.google.com/file/d/{}/view",
        r"(gdrive-folder):([-\w]+)": "https://drive.google.com/drive/folders/{}",
        r"(kaggle):([-\w]+/[-\w]+(?:/versions/\d+)?)": "https://www.kaggle.com/datasets/{}",
        r"(https?)(://[^/\s]\S*)": "{1}",
    }
    for pattern, page in pages.items():
        if match := re.fullmatch(pattern, url):
            return match[1], match[2], page.format(match[2], url)
    forms = "https://…, gdrive:FILE_ID, gdrive-folder:FOLDER_ID or kaggle:OWNER/DATASET"
    raise InputError(f"{url!r} is no address of a download: give {forms}")


def _parse_digest(digest: str, pin: str) -> tuple[str, str]:
    match = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})|md5:([0-9a-f]{32})", digest.lower())
    if not match:
        raise InputError(f"{pin}: {digest!r} is no digest: give 64 hex digits (SHA-256) or md5: and 32 hex digits")
    return ("SHA-256", match[1]) if match[1] else ("MD5", match[2])


def _sha256sum(body: Path, name: str) -> str:
    if body.is_file():
        return f"{sha256(body)}  {name}\n"
    files = {path.relative_to(body).as_posix(): path for path in body.rglob("*") if path.is_file()}
    return "".join(f"{sha256(files[name])}  {name}\n" for name in progress(sorted(files), "checking", unit="file"))


def _mismatch(body: Path, found: str, pinned: tuple[str, str]) -> str | None:
    algorithm, expected = pinned
    if algorithm == "MD5" and body.is_dir():
        return f"a folder is pinned by its SHA-256, which is {found}"
    if algorithm == "MD5":
        with body.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    return None if found == expected else f"its {algorithm} is {found}, the pinned one {expected}"


class _FetchError(Exception):
    """Nothing came, for the reason that the message gives."""


class _TransientError(_FetchError):
    """It is worth another try, after ``after`` seconds where the server says so."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


@contextlib.contextmanager
def _failures_explained(url: str, page: str, by_hand: str) -> Iterator[None]:
    try:
        yield
    except (_FetchError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        remedy = f"try again later, or fetch {page} in a browser and {by_hand}"
        raise InputError(f"{url} cannot be downloaded: {_reason(error)}; {remedy}") from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise InputError(f"{url} cannot be downloaded: the disk is full; make room and run again") from error


def _reason(error: Exception) -> str:
    plain = {
        requests.Timeout: "the server does not answer",
        requests.exceptions.SSLError: "the server's certificate is not accepted",
        requests.exceptions.ProxyError: "the proxy cannot be reached",
        requests.ConnectionError: "the server cannot be reached",
        requests.exceptions.ChunkedEncodingError: "the connection broke off",
        urllib3.exceptions.TimeoutError: "the server does not answer",
        urllib3.exceptions.ProtocolError: "the connection broke off",
    }
    # requests wraps a reset in its error for servers out of reach, or not, by the moment in which it came.
    cause = next((part for part in error.args if isinstance(part, urllib3.exceptions.ProtocolError)), error)
    words = next((text for kind, text in plain.items() if isinstance(cause, kind)), str(error))
    return " ".join(words.split())


_TRANSIENT = (
    _TransientError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


def _patiently(fetch: Callable[[], T], store: Path, patience: _Patience) -> T:
    """Call ``fetch`` again after a passing failure; each attempt that brings new bytes starts the count anew."""
    failures, most = 0, _size(store)
    while True:
        try:
            return fetch()
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
            raise
        except _TRANSIENT as error:
            size = _size(store)
            failures = 1 if size > most else failures + 1
            most = max(most, size)
            if failures >= patience.attempts:
                raise
            after = error.after if isinstance(error, _TransientError) else None
            seconds = 2.0 ** (failures - 1) if after is None else after
            typer.echo(f"{_reason(error)}; trying again in {seconds:.0f} s", err=True)
            patience.wait(seconds)


def _size(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def _fetch_http(url: str, body: Path, patience: _Patience) -> Path:
    with requests.Session() as session:
        return _patiently(lambda: _transfer(session, url, body, patience.timeout), body.parent, patience)


def _transfer(session: requests.Session, url: str, body: Path, timeout: float) -> Path:
    """Bring ``body`` from where it stands to its end; ``note.json`` beside it says which version it is a part of."""
    note = body.with_name("note.json")
    known: list[Any] = read_json(note) if body.exists() else [None, None]
    validator, total = known
    offset = body.stat().st_size if validator and total else 0
    # Sizes and ranges must count the bytes of the file, not those of a compressed transfer.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    # requests follows redirects to http and https alone.
    with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        status, content_range = response.status_code, response.headers.get("Content-Range")
        if status in {408, 429} or status >= 500:
            after = response.headers.get("Retry-After", "")
            seconds = min(float(after), 60.0) if after.isdigit() else None
            raise _TransientError(f"HTTP {status} {response.reason}", seconds)
        if offset == total and status == 416 and content_range == f"bytes */{total}":
            return body
        if offset and status in {206, 416}:
            if content_range != f"bytes {offset}-{total - 1}/{total}" or _validator(response) not in {None, validator}:
                body.unlink()
                raise _TransientError("the server does not go on where the partial file ends")
        elif status == 200:
            length = response.headers.get("Content-Length", "")
            offset, total = 0, int(length) if length.isdigit() else None
            body.unlink(missing_ok=True)
            write_json(note, [_validator(response), total])
        else:
            raise _FetchError(f"HTTP {status} {response.reason}")
        with body.open("ab") as file, _bytes_bar(Path(urlsplit(url).path).name, total, offset) as bar:
            # Undecoded, like curl: some servers call a .tar.gz a compressed transfer of a .tar.
            for chunk in response.raw.stream(1 << 20, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
    if total not in {None, body.stat().st_size}:
        raise _TransientError(f"the server sent {body.stat().st_size} of {total} bytes")
    return body


def _validator(response: requests.Response) -> str | None:
    """What If-Range may name: a strong ETag or else the date (a weak ETag does not promise the same bytes)."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


def _bytes_bar(name: str, total: int | None = None, initial: int = 0) -> "tqdm[Any]":
    settings: dict[str, Any] = {"unit": "B", "unit_scale": True, "delay": 2, "disable": None, "leave": False}
    return tqdm(desc=name, total=total, initial=initial, **settings)


def _fetch_drive_folder(folder_id: str, folder: Path, patience: _Patience) -> Path:
    # Imported where they are used: gdown and kagglehub set up logging and read the environment on import.
    import gdown

    def look_inside() -> list[Any]:
        with _drive_errors_explained(folder):
            found: list[Any] = gdown.download_folder(
                id=folder_id,
                output=str(folder),
                skip_download=True,
                quiet=True,
                use_cookies=False,
                timeout=patience.timeout,
            )
        return found

    files = _patiently(look_inside, folder, patience)
    paths = [Path(file.local_path) for file in files]
    if not files:
        raise _FetchError("the folder is empty or not shared with 'Anyone with the link'")
    if len(set(paths)) < len(paths):
        raise _FetchError("the folder holds several files of one name")
    for file, path in zip(progress(files, "Google Drive", unit="file"), paths, strict=True):
        _fetch_drive_file(file.id, path, patience)
    return folder


def _fetch_drive_file(file_id: str, path: Path, patience: _Patience) -> Path:
    import gdown

    def show(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    path.parent.mkdir(parents=True, exist_ok=True)
    with _bytes_bar(path.name) as bar, _drive_errors_explained(path):
        gdown.download(
            id=file_id,
            output=str(path),
            quiet=True,
            use_cookies=False,
            resume=True,
            progress=show,
            timeout=patience.timeout,
            retries=patience.attempts - 1,
        )
    path.chmod(0o644)  # gdown leaves it readable for the owner alone
    return path


@contextlib.contextmanager
def _drive_errors_explained(path: Path) -> Iterator[None]:
    import gdown

    try:
        yield
    except gdown.FileURLRetrievalError as error:
        reason = "it is not shared with 'Anyone with the link', or over its daily quota"
        raise _FetchError(f"Google Drive does not hand it out: {reason}") from error
    except gdown.DownloadError as error:
        if isinstance(error.__cause__, requests.RequestException):
            raise error.__cause__ from error
        # An answer came that does not fit the partial file; with it, every later call would fail in the same way.
        for partial in path.parent.glob("*.part"):
            partial.unlink()
        raise _FetchError(re.split(r"[;\n]", str(error))[0]) from error


def _fetch_kaggle(handle: str, store: Path, patience: _Patience) -> Path:
    import kagglehub
    from kagglehub import exceptions as kaggle

    logging.getLogger("kagglehub").setLevel(logging.WARNING)
    # Its cache can be moved out of the home folder by the environment alone, if it is to go on with a part.
    os.environ["KAGGLEHUB_CACHE"] = str(store.resolve())

    def fetch() -> Path:
        # Its progress bar does not ask whether it is on a terminal.
        with contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO()):
            return Path(kagglehub.dataset_download(handle))

    try:
        return _patiently(fetch, store, patience)
    except requests.HTTPError as error:
        advice = "check the name, set KAGGLE_API_TOKEN, and accept the data set's terms on its page"
        raise _FetchError(f"Kaggle refuses ({_reason(error)}): {advice}") from error
    except (kaggle.DataCorruptionError, kaggle.CredentialError, ValueError, zipfile.BadZipFile) as error:
        shutil.rmtree(store)
        raise _FetchError(str(error)) from error
