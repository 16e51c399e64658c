"""Downloads against a server on the loopback that behaves as badly as real ones do."""

import errno
import hashlib
import io
import json
import logging
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kagglehub
import pytest
import requests
from requests.adapters import HTTPAdapter

from sightline.core.download import download
from sightline.core.errors import InputError

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()
# Less than one of their chunks is lost when a connection breaks off.
GDOWN_CHUNK, KAGGLEHUB_CHUNK = 512 * 1024, 1024 * 1024


@dataclass
class Site:
    """A file server that follows RFC 9110, except for the next requests, which ``script`` answers."""

    body: bytes = BODY
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    script: list[Callable[["Request"], None]] = field(default_factory=list)
    pages: dict[str, Callable[["Request"], None]] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.close_connection = True
        length = int(self.headers.get("Content-Length", 0))
        self.posted = self.rfile.read(length)
        site = self.site
        site.asked.append(self.headers.get("Range"))
        site.conditions.append(self.headers.get("If-Range"))
        site.sent.append(0)
        page = site.pages.get(urlsplit(self.path).path, whole)
        (site.script.pop(0) if site.script else page)(self)

    do_POST = do_GET  # noqa: N815

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        # Unsaid, a client may send its next request on this connection before it sees that it is closed.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.site.sent[-1] += len(body)

    def log_message(self, *_: object) -> None:
        pass


def whole(request: Request) -> None:
    part(request, len(request.site.body))


def part(request: Request, count: int) -> None:
    """What was asked for, by the book, but the connection drops after ``count`` bytes."""
    site = request.site
    total = len(site.body)
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
    current = {None, site.headers.get("ETag"), site.headers.get("Last-Modified")}
    start = int(asked[1]) if asked and request.headers["If-Range"] in current else None
    if start is not None and start >= total:
        return request.reply(416, site.headers | {"Content-Range": f"bytes */{total}"})
    body = site.body[start or 0 :]
    headers = site.headers | {"Content-Length": str(len(body))}
    if start is not None:
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
    return request.reply(200 if start is None else 206, headers, body[:count])


def cut(count: int) -> Callable[[Request], None]:
    return lambda request: part(request, count)


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[Request], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.reply(status, named, body)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Request,), {"site": site})) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/rocks.zip"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def internet(site: Site, here: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Whatever host gdown or kagglehub ask for, ``site`` answers; their retries do not wait."""
    send = HTTPAdapter.send

    def send_to_site(self: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        request.url = urlsplit(request.url)._replace(scheme="http", netloc=urlsplit(site.url).netloc).geturl()
        return send(self, request, **options)

    monkeypatch.setattr(HTTPAdapter, "send", send_to_site)
    monkeypatch.setattr("random.uniform", lambda low, high: 0)
    monkeypatch.setenv("HOME", str(here / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(here / "home"))
    return site


def fetch(site: Site, digest: str | None = SHA256, **options: object) -> str:
    """Download to ``data/rocks.zip``; the waits between attempts cost nothing."""
    return download(site.url, Path("data/rocks.zip"), digest, **{"wait": lambda seconds: None} | options)


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_file_arrives_whole_and_nothing_else_stays(site: Site, here: Path) -> None:
    assert fetch(site) == SHA256
    assert Path("data/rocks.zip").read_bytes() == BODY
    assert left_over(here) == ["rocks.zip"]


def test_an_empty_file_is_a_file(site: Site, here: Path) -> None:
    site.body = b""
    assert fetch(site, None) == hashlib.sha256(b"").hexdigest()
    assert Path("data/rocks.zip").read_bytes() == b""


def test_without_a_pinned_digest_it_is_noted_for_sha256sum_and_named(
    site: Site, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(site, None, pin="minerals.data.sha256")
    subprocess.run(["sha256sum", "--check", "--strict", "rocks.zip.sha256"], cwd="data", check=True)
    assert f"set minerals.data.sha256 to {SHA256}" in capsys.readouterr().err


def test_away_from_a_terminal_a_pinned_download_says_nothing(
    site: Site, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch(site)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"one"'}, '"one"'),
        ({"ETag": 'W/"1"', "Last-Modified": "Tue, 01 Jul 2025 10:00:00 GMT"}, "Tue, 01 Jul 2025 10:00:00 GMT"),
    ],
)
def test_a_cut_download_goes_on_where_it_stopped(
    site: Site, here: Path, headers: dict[str, str], condition: str
) -> None:
    site.headers = headers
    site.script = [cut(4000), cut(1000)]
    assert fetch(site) == SHA256
    assert site.asked == [None, "bytes=4000-", "bytes=5000-"]
    assert site.conditions == [None, condition, condition]
    assert sum(site.sent) == len(BODY)


def test_a_later_call_goes_on_where_an_earlier_one_stopped(site: Site, here: Path) -> None:
    site.script = [cut(4000)]
    with pytest.raises(InputError, match="the connection broke off"):
        fetch(site, attempts=1)
    assert not Path("data").exists()
    assert fetch(site) == SHA256
    assert site.sent == [4000, len(BODY) - 4000]


def test_a_download_interrupted_by_the_user_goes_on(site: Site, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    site.script = [cut(4000)]
    with pytest.raises(KeyboardInterrupt):
        fetch(site, wait=interrupt)
    assert fetch(site) == SHA256
    assert site.asked[-1] == "bytes=4000-"


def test_a_file_that_was_whole_but_not_yet_in_place_is_not_fetched_again(
    site: Site, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_before_the_move(site, monkeypatch)
    assert fetch(site) == SHA256
    assert site.sent == [len(BODY), 0]


def test_a_file_that_was_whole_but_is_another_by_now_is_fetched_anew(
    site: Site, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_before_the_move(site, monkeypatch)
    site.script = [answer(416, ETag='"one"', Content_Range="bytes */100")]
    assert fetch(site) == SHA256
    assert site.asked == [None, f"bytes={len(BODY)}-", None]


def interrupt_before_the_move(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(shutil, "move", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(site)


def test_a_file_that_changed_in_between_is_fetched_anew(site: Site, here: Path) -> None:
    site.script = [cut(4000)]
    with pytest.raises(InputError):
        fetch(site, None, attempts=1)
    site.headers, site.body = {"ETag": '"two"'}, BODY[::-1]
    fetch(site, None)
    assert Path("data/rocks.zip").read_bytes() == BODY[::-1]


def test_a_server_that_checks_no_if_range_cannot_splice_two_versions(site: Site, here: Path) -> None:
    other = BODY[::-1]
    splice = {"Content_Range": f"bytes 4000-{len(other) - 1}/{len(other)}", "ETag": '"two"'}
    site.script = [cut(4000), answer(206, other[4000:], **splice)]
    site.headers, new = {"ETag": '"one"'}, {"ETag": '"two"'}

    def publish(seconds: float) -> None:
        site.body = other
        site.headers = site.headers if site.script else new

    fetch(site, None, wait=publish)
    assert Path("data/rocks.zip").read_bytes() == other


def test_without_a_validator_a_cut_download_starts_again(site: Site, here: Path) -> None:
    site.headers = {}
    site.script = [cut(4000)]
    assert fetch(site) == SHA256
    assert site.asked == [None, None]


def test_a_server_that_ignores_ranges_is_read_from_the_start(site: Site, here: Path) -> None:
    site.script = [cut(4000), answer(200, BODY, ETag='"one"')]
    assert fetch(site) == SHA256
    assert site.asked == [None, "bytes=4000-"]


@pytest.mark.parametrize(
    "wrong",
    [
        answer(206, BODY[4001:], ETag='"one"', Content_Range=f"bytes 4001-{len(BODY) - 1}/{len(BODY)}"),
        answer(206, BODY[4000:5000], ETag='"one"', Content_Range=f"bytes 4000-4999/{len(BODY)}"),
        answer(206, BODY[4000:], ETag='"one"', Content_Range=f"bytes 4000-{len(BODY) - 1}/{len(BODY) + 1}"),
        answer(206, BODY[4000:], ETag='"one"'),
        answer(416, ETag='"one"', Content_Range="bytes */100"),
        answer(416),
    ],
)
def test_another_range_than_the_one_asked_for_is_not_appended(
    site: Site, here: Path, wrong: Callable[[Request], None]
) -> None:
    site.script = [cut(4000), wrong]
    assert fetch(site) == SHA256
    assert site.asked == [None, "bytes=4000-", None]


def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(site: Site, here: Path) -> None:
    waits: list[float] = []
    site.script = [answer(503), answer(503), answer(429)]
    assert fetch(site, wait=waits.append) == SHA256
    assert waits == [1, 2, 4]


def test_the_wait_that_the_server_asks_for_is_kept_within_a_minute(site: Site, here: Path) -> None:
    waits: list[float] = []
    site.script = [answer(503, Retry_After="7"), answer(429, Retry_After="86400")]
    fetch(site, wait=waits.append)
    assert waits == [7, 60]


def test_attempts_are_counted_anew_after_each_new_byte(site: Site, here: Path) -> None:
    site.script = [cut(10) for _ in range(20)]
    assert fetch(site, attempts=2) == SHA256


def test_a_body_that_is_always_shorter_than_announced_is_given_up(site: Site, here: Path) -> None:
    site.headers = {}
    site.script = [cut(4000)] * 3
    with pytest.raises(InputError) as error:
        fetch(site, attempts=2)
    assert "broke off" in str(error.value)
    assert len(site.asked) == 2
    assert not Path("data").exists()


def test_a_server_that_falls_silent_is_asked_again(site: Site, here: Path) -> None:
    released = threading.Event()

    def silent(request: Request) -> None:
        released.wait()

    site.script = [silent]
    try:
        assert fetch(site, timeout=0.1) == SHA256
    finally:
        released.set()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_says_what_to_do_by_hand(site: Site, here: Path, status: int) -> None:
    site.script = [answer(status)]
    with pytest.raises(InputError) as error:
        fetch(site, by_hand="set minerals.data.source to path")
    assert f"HTTP {status}" in str(error.value)
    assert f"fetch {site.url} in a browser and set minerals.data.source to path" in str(error.value)
    assert len(site.asked) == 1


def test_no_network_is_one_clear_line(site: Site, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/gone"
    with pytest.raises(InputError, match="the server cannot be reached") as error:
        fetch(site, wait=waits.append)
    assert "\n" not in str(error.value)
    assert waits == [1, 2, 4, 8]


def test_a_wrong_digest_names_both_and_keeps_what_was_there(site: Site, here: Path) -> None:
    Path("data").mkdir()
    Path("data/rocks.zip").write_text("old")
    with pytest.raises(InputError) as error:
        fetch(site, "0" * 64, pin="minerals.data.sha256")
    assert all(words in str(error.value) for words in (SHA256, "0" * 64, "minerals.data.sha256"))
    assert Path("data/rocks.zip").read_text() == "old"
    assert left_over(Path(".cache")) == []


def test_md5_pins_a_file_too(site: Site, here: Path) -> None:
    assert fetch(site, "md5:" + hashlib.md5(BODY).hexdigest().upper()) == SHA256
    with pytest.raises(InputError, match="its MD5 is"):
        fetch(site, "md5:" + "0" * 32)


@pytest.mark.parametrize("digest", ["", "abc", "0" * 32, "sha256:" + "0" * 63, "sha1:" + "0" * 40])
def test_a_digest_of_another_form_is_refused_before_anything_is_fetched(site: Site, here: Path, digest: str) -> None:
    with pytest.raises(InputError, match=r"birds\.data\.sha256"):
        fetch(site, digest, pin="birds.data.sha256")
    assert site.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "rocks.zip",
        "file:///etc/passwd",
        "ftp://host/x",
        "https://",
        "gdrive:",
        "gdrive:a/b",
        "kaggle:me",
        "kaggle:../..",
    ],
)
def test_an_address_of_another_form_is_refused(here: Path, url: str) -> None:
    with pytest.raises(InputError, match="no address of a download"):
        download(url, Path("x"))
    assert left_over(here) == []


def test_a_redirect_is_followed_over_http_but_not_to_a_local_file(site: Site, here: Path) -> None:
    secret = here / "secret"
    secret.write_text("secret")
    site.script = [answer(302, Location="/moved.zip")]
    assert fetch(site) == SHA256
    site.script = [answer(302, Location=secret.as_uri())]
    with pytest.raises(InputError, match="file://"):
        fetch(site)


def test_a_compressed_transfer_is_stored_as_the_bytes_that_were_published(site: Site, here: Path) -> None:
    site.headers |= {"Content-Encoding": "gzip"}
    assert fetch(site) == SHA256


def test_a_chunked_body_that_ends_early_is_noticed(site: Site, here: Path) -> None:
    def chunked(request: Request) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"%x\r\n%b\r\n" % (100, BODY[:100]))

    site.script = [chunked]
    assert fetch(site) == SHA256
    assert site.asked == [None, None]


def test_a_full_disk_is_one_clear_line(site: Site, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path_open = Path.open

    def open_on_full_disk(path: Path, mode: str = "r", *args: object, **options: object) -> io.IOBase:
        return path_open(Path("/dev/full") if mode == "ab" else path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", open_on_full_disk)
    with pytest.raises(InputError, match="the disk is full") as error:
        fetch(site)
    assert error.value.__cause__.errno == errno.ENOSPC
    assert not Path("data").exists()


def warning_page() -> Callable[[Request], None]:
    """What Drive shows for a file that is too large to scan for viruses: a form on one line."""
    form = """<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
        <input type="hidden" name="id" value="ID"><input type="hidden" name="confirm" value="t"></form>"""
    return answer(200, form.replace("\n", "").encode(), Content_Type="text/html; charset=utf-8")


def drive_file(count: int | None = None) -> Callable[[Request], None]:
    def send(request: Request) -> None:
        file_id = parse_qs(urlsplit(request.path).query)["id"][0]
        request.site.headers |= {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{file_id}.bin"',
        }
        part(request, len(request.site.body) if count is None else count)

    return send


def test_a_drive_file_comes_through_the_warning_page(internet: Site, here: Path) -> None:
    internet.pages = {"/uc": warning_page(), "/download": drive_file()}
    assert download("gdrive:ID", Path("data/rocks.zip"), SHA256) == SHA256
    assert Path("data/rocks.zip").read_bytes() == BODY
    assert Path("data/rocks.zip").stat().st_mode & 0o044 == 0o044
    assert left_over(here) == ["rocks.zip"]


def test_a_pinned_drive_file_goes_on_where_an_earlier_call_stopped(internet: Site, here: Path) -> None:
    internet.body = BODY * 200
    sha256 = hashlib.sha256(internet.body).hexdigest()
    internet.pages = {"/uc": warning_page(), "/download": drive_file(GDOWN_CHUNK + 1)}
    with pytest.raises(InputError, match="broke off"):
        download("gdrive:ID", Path("rocks.zip"), sha256, attempts=1)
    internet.pages["/download"] = drive_file()
    assert download("gdrive:ID", Path("rocks.zip"), sha256) == sha256
    assert internet.asked[-1] == f"bytes={GDOWN_CHUNK}-"


def test_an_unpinned_drive_file_that_changed_is_fetched_anew(internet: Site, here: Path) -> None:
    internet.body = BODY * 200
    internet.pages = {"/uc": warning_page(), "/download": drive_file(GDOWN_CHUNK + 1)}
    with pytest.raises(InputError, match="broke off"):
        download("gdrive:ID", Path("rocks.zip"), attempts=1)
    internet.pages["/download"] = drive_file()
    internet.headers, internet.body = {"ETag": '"two"'}, internet.body[::-1]
    download("gdrive:ID", Path("rocks.zip"))
    assert Path("rocks.zip").read_bytes() == internet.body


def test_a_pinned_drive_file_that_changed_is_not_kept(internet: Site, here: Path) -> None:
    internet.body = BODY * 200
    sha256 = hashlib.sha256(internet.body).hexdigest()
    internet.pages = {"/uc": warning_page(), "/download": drive_file(GDOWN_CHUNK + 1)}
    with pytest.raises(InputError, match="broke off"):
        download("gdrive:ID", Path("rocks.zip"), sha256, attempts=1)
    internet.pages["/download"] = drive_file()
    internet.headers, internet.body = {"ETag": '"two"'}, internet.body[: GDOWN_CHUNK - 1]
    for remedy in ("byte range", "is not what is pinned"):
        with pytest.raises(InputError, match=remedy):
            download("gdrive:ID", Path("rocks.zip"), sha256)
    assert left_over(here) == []


@pytest.mark.parametrize(
    "page",
    [
        answer(
            200, b'<p class="uc-error-subcaption">Too many users have viewed this file.</p>', Content_Type="text/html"
        ),
        answer(404, b"<html>not found</html>", Content_Type="text/html"),
    ],
)
def test_a_drive_file_that_is_not_handed_out_says_where_to_get_it(
    internet: Site, here: Path, page: Callable[[Request], None]
) -> None:
    internet.pages = {"/uc": page}
    with pytest.raises(InputError) as error:
        download("gdrive:ID", Path("rocks.zip"), by_hand="set minerals.data.path")
    assert "quota" in str(error.value)
    assert "https://drive.google.com/file/d/ID/view in a browser and set minerals.data.path" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_drive_that_cannot_be_reached_is_one_clear_line(internet: Site, here: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        internet.url = f"http://127.0.0.1:{server.server_port}/"
    for url in ("gdrive:ID", "gdrive-folder:ID", "kaggle:me/rocks"):
        with pytest.raises(InputError, match="the server cannot be reached") as error:
            download(url, Path("rocks"), wait=lambda seconds: None)
        assert "\n" not in str(error.value)


def folder_page(title: str, *entries: tuple[str, str]) -> Callable[[Request], None]:
    links = "".join(f'<a href="https://drive.google.com/{link}"><div>{name}</div></a>' for link, name in entries)
    return answer(200, f"<html><head><title>{title}</title></head><body>{links}</body></html>".encode())


def test_a_drive_folder_lands_as_a_folder_and_is_pinned_by_what_sha256sum_says(internet: Site, here: Path) -> None:
    a, b, below = "a" * 28, "b" * 28, "c" * 28
    top = folder_page("rocks", (f"file/d/{b}/view", "b.jpg"), (f"drive/folders/{below}", "A"))
    nested = folder_page("A", (f"file/d/{a}/view", "a.jpg"))

    def listing(request: Request) -> None:
        (nested if below in request.path else top)(request)

    internet.pages = {"/embeddedfolderview": listing, "/uc": drive_file()}
    digest = download("gdrive-folder:" + "d" * 28, Path("data/rocks"))
    assert sorted(path.as_posix() for path in Path("data").rglob("*.jpg")) == ["data/rocks/A/a.jpg", "data/rocks/b.jpg"]
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum"
    printed = subprocess.run(["bash", "-c", command], cwd="data/rocks", check=True, capture_output=True).stdout
    assert Path("data/rocks.sha256").read_bytes() == printed
    assert digest == hashlib.sha256(printed).hexdigest()
    assert download("gdrive-folder:" + "d" * 28, Path("data/rocks"), digest) == digest
    with pytest.raises(InputError, match="pinned by its SHA-256"):
        download("gdrive-folder:" + "d" * 28, Path("data/rocks"), "md5:" + "0" * 32)


def test_a_drive_folder_that_is_not_shared_or_ambiguous_is_refused(internet: Site, here: Path) -> None:
    internet.pages = {"/embeddedfolderview": folder_page("Sign in")}
    with pytest.raises(InputError, match="empty or not shared"):
        download("gdrive-folder:ID", Path("rocks"))
    twins = ("file/d/" + "a" * 28 + "/view", "x.jpg"), ("file/d/" + "b" * 28 + "/view", "x.jpg")
    internet.pages = {"/embeddedfolderview": folder_page("rocks", *twins)}
    with pytest.raises(InputError, match="several files of one name"):
        download("gdrive-folder:ID", Path("rocks"))
    internet.pages = {"/embeddedfolderview": answer(404)}
    with pytest.raises(InputError, match=r"drive\.google\.com/drive/folders/ID in a browser"):
        download("gdrive-folder:ID", Path("rocks"))


def test_a_connection_that_breaks_while_a_drive_folder_is_listed_is_tried_again(internet: Site, here: Path) -> None:
    listing = folder_page("rocks", ("file/d/" + "a" * 28 + "/view", "a.jpg"))
    internet.pages = {"/embeddedfolderview": listing, "/uc": drive_file()}
    waits: list[float] = []
    internet.script = [answer(200, b"<html>", Content_Length="5000")]
    download("gdrive-folder:" + "d" * 28, Path("rocks"), wait=waits.append)
    assert Path("rocks/a.jpg").read_bytes() == BODY
    assert waits == [1.0]
    internet.script = [answer(200, b"<html>", Content_Length="5000")] * 2
    with pytest.raises(InputError, match="broke off"):
        download("gdrive-folder:" + "e" * 28, Path("other"), attempts=2, wait=waits.append)


def publish_on_kaggle(site: Site, archive: bytes) -> None:
    site.body = archive
    site.headers |= {"Accept-Ranges": "bytes"}
    api = "/v1/datasets.DatasetApiService/"
    version = json.dumps({"currentVersionNumber": 3}).encode()
    site.pages = {
        api + "GetDataset": answer(200, version, Content_Type="application/json"),
        api + "DownloadDataset": answer(302, Location="/archive.zip"),
    }


def rocks_zip(photo: bytes = BODY) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("quartz/1.jpg", photo)
        archive.writestr("readme.txt", "rocks")
    return buffer.getvalue()


def test_a_kaggle_data_set_lands_unpacked_and_leaves_nothing_at_home(
    internet: Site, here: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    publish_on_kaggle(internet, rocks_zip())
    logging.getLogger(kagglehub.__name__).addHandler(caplog.handler)
    digest = download("kaggle:me/rocks", Path("data/rocks"), pin="birds.data.sha256")
    assert Path("data/rocks/quartz/1.jpg").read_bytes() == BODY
    assert sorted(left_over(here)) == ["1.jpg", "readme.txt", "rocks.sha256"]
    said = f"kaggle:me/rocks is not pinned: set birds.data.sha256 to {digest} (noted in data/rocks.sha256)\n"
    assert capfd.readouterr() == ("", said)
    assert caplog.records == []


def test_a_kaggle_download_that_breaks_off_goes_on_in_the_same_call_and_a_later_one(internet: Site, here: Path) -> None:
    publish_on_kaggle(internet, rocks_zip(BODY * 200))
    answers = iter([cut(KAGGLEHUB_CHUNK + 1), whole, cut(10), whole, whole])
    internet.pages["/archive.zip"] = lambda request: next(answers)(request)
    with pytest.raises(InputError, match="broke off"):
        download("kaggle:me/rocks", Path("rocks"), attempts=1)
    download("kaggle:me/rocks", Path("rocks"), wait=lambda seconds: None)
    assert Path("rocks/quartz/1.jpg").read_bytes() == BODY * 200
    assert internet.asked[-1] == f"bytes={KAGGLEHUB_CHUNK}-"
    assert next(answers, None) is None


def test_kaggle_refusals_and_broken_archives_are_one_clear_line(internet: Site, here: Path) -> None:
    publish_on_kaggle(internet, b"no archive at all")
    with pytest.raises(InputError, match="Unsupported archive type"):
        download("kaggle:me/rocks", Path("rocks"))
    assert left_over(Path(".cache")) == []
    message = json.dumps({"code": 403, "message": "Permission\ndenied"}).encode()
    internet.pages["/v1/datasets.DatasetApiService/GetDataset"] = answer(403, message, Content_Type="application/json")
    with pytest.raises(InputError) as error:
        download("kaggle:me/rocks", Path("rocks"))
    assert "KAGGLE_API_TOKEN" in str(error.value)
    assert "https://www.kaggle.com/datasets/me/rocks" in str(error.value)
    assert "\n" not in str(error.value)
