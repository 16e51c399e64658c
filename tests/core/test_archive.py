"""Archives of every form, honest and hostile, unpacked."""

import bz2
import gzip
import io
import lzma
import re
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.core.archive import unpack
from sightline.core.errors import InputError

ROCKS = {"quartz/1.jpg": b"\xff\xd8" + bytes(5000), "quartz/2.jpg": b"two", "readme.txt": b"rocks\n", "empty": b""}


def tar_bytes(*members: tuple[tarfile.TarInfo, bytes], layout: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as archive:
        for info, content in members:
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def tar(files: dict[str, bytes]) -> bytes:
    return tar_bytes(*((entry(name), content) for name, content in files.items()))


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_with_mode(name: str, mode: int, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/1.jpg", b"one")
        archive.writestr(info, content)
    return buffer.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Unpack bytes that must be refused: one line, the old target untouched, nothing anywhere else."""

    def unpack_in_vain(content: bytes, **bounds: int) -> str:
        archive, target = tmp_path / "in" / "rocks", tmp_path / "out" / "rocks"
        for folder in (archive.parent, target):
            folder.mkdir(parents=True)
        archive.write_bytes(content)
        (target / "old").write_text("old")
        before = tree(tmp_path)
        with pytest.raises(InputError) as error:
            unpack(archive, target, **bounds)
        assert tree(tmp_path) == before
        assert [path.name for path in target.parent.iterdir()] == ["rocks"]
        message = str(error.value)
        assert message.startswith(str(archive))
        assert "\n" not in message
        return message

    return unpack_in_vain


@pytest.mark.parametrize(
    "content",
    [
        zipped(ROCKS),
        zipped(ROCKS, zipfile.ZIP_STORED),
        zipped(ROCKS, zipfile.ZIP_LZMA),
        tar(ROCKS),
        gzip.compress(tar(ROCKS)),
        bz2.compress(tar(ROCKS)),
        lzma.compress(tar(ROCKS)),
        tar_bytes(*((entry(name), content) for name, content in ROCKS.items()), layout=tarfile.GNU_FORMAT),
        tar({f"./{name}": content for name, content in ROCKS.items()}),
        zipped({name.replace("/", "\\"): content for name, content in ROCKS.items()}),
        zipped(ROCKS | {"__MACOSX/1.jpg": b"x", "quartz/.DS_Store": b"x", "._readme.txt": b"x"}),
    ],
)
def test_contents_come_out_whatever_the_form_and_the_name_of_the_archive(tmp_path: Path, content: bytes) -> None:
    archive, target = tmp_path / "rocks.jpg", tmp_path / "new" / "rocks"
    archive.write_bytes(content)
    unpack(archive, target)
    assert tree(target) == ROCKS


def test_archives_of_other_tools_come_out(tmp_path: Path) -> None:
    source = tmp_path / "rocks"
    names = ["quartz/" + "long" * 60 + ".jpg", "deep/" * 40 + "1.jpg", "größe ½.jpg", "sp ace.jpg"]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "no files").mkdir()
    commands = ["tar -cf", "tar -czf", "tar -cJf", "tar --format=ustar -cf"]
    for command in [f"{words} a -C rocks ." for words in commands[:3]]:
        subprocess.run(command.split(), cwd=tmp_path, check=True)
        unpack(tmp_path / "a", tmp_path / "out")
        assert tree(tmp_path / "out") == tree(source)
        assert (tmp_path / "out" / "no files").is_dir()


def test_the_target_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    (tmp_path / "a").write_bytes(zipped(ROCKS))
    unpack(tmp_path / "a", tmp_path / "out")
    assert tree(tmp_path / "out") == ROCKS


def test_modes_and_times_are_those_of_new_files(tmp_path: Path) -> None:
    info = entry("tool", mode=0o6777)
    info.uid = info.gid = 12345
    (tmp_path / "a").write_bytes(tar_bytes((info, b"x"), (entry("d", tarfile.DIRTYPE, mode=0), b"")))
    unpack(tmp_path / "a", tmp_path / "out")
    (tmp_path / "plain").write_text("x")
    (tmp_path / "folder").mkdir()
    for path, plain in (("tool", "plain"), ("d", "folder")):
        made, usual = (tmp_path / "out" / path).stat(), (tmp_path / plain).stat()
        assert (made.st_mode, made.st_uid, made.st_gid) == (usual.st_mode, usual.st_uid, usual.st_gid)


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "a/..", "/evil", "\\evil", "..\\evil", "C:\\evil", "c:evil", "//host/x"]
)
@pytest.mark.parametrize("form", [tar, zipped])
def test_a_name_that_leads_out_is_refused(
    refused: Callable[..., str], form: Callable[[dict[str, bytes]], bytes], name: str
) -> None:
    refused(form({"quartz/1.jpg": b"one", name: b"evil"}))


NO_FILE = "which is no file in the archive"
LEADS_OUT = "leads out"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("nothing", NO_FILE),
        ("a", NO_FILE),
        ("c", NO_FILE),
        ("a/1.jpg/x", NO_FILE),
        ("/etc/passwd", LEADS_OUT),
        ("a/../../secret", LEADS_OUT),
        ("C:\\secret", LEADS_OUT),
    ],
)
def test_a_link_to_anything_but_a_file_in_the_archive_is_refused(
    refused: Callable[..., str], kind: bytes, link: str, reason: str
) -> None:
    members = (entry("a/1.jpg"), b"one"), (entry("b", kind, link), b""), (entry("c", kind, "b"), b"")
    assert re.search(reason, refused(tar_bytes(*members)))


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("a", NO_FILE),
        ("b", NO_FILE),
        ("/etc/passwd", LEADS_OUT),
        ("../secret", LEADS_OUT),
        ("x" * 5000, "neither a file nor a folder"),
    ],
)
def test_a_link_in_a_zip_to_anything_but_a_file_in_the_archive_is_refused(
    refused: Callable[..., str], link: str, reason: str
) -> None:
    assert re.search(reason, refused(zip_with_mode("b", stat.S_IFLNK | 0o777, link.encode())))


def test_nothing_is_written_through_a_link(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = entry("door", tarfile.SYMTYPE, str(tmp_path / "elsewhere"))
    refused(tar_bytes((link, b""), (entry("door/evil"), b"evil")))


def test_links_to_files_in_the_archive_become_copies(tmp_path: Path) -> None:
    members = [
        (entry("b/late", tarfile.SYMTYPE, "../c/chain"), b""),
        (entry("a/1.jpg"), b"one"),
        (entry("b/hard", tarfile.LNKTYPE, "a/1.jpg"), b""),
        (entry("c/chain", tarfile.SYMTYPE, "../b/hard"), b""),
    ]
    (tmp_path / "a").write_bytes(tar_bytes(*members))
    unpack(tmp_path / "a", tmp_path / "out")
    assert tree(tmp_path / "out") == dict.fromkeys(["a/1.jpg", "b/hard", "b/late", "c/chain"], b"one")
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in (tmp_path / "out").rglob("*.jpg"))
    (tmp_path / "b").write_bytes(zip_with_mode("b/link", stat.S_IFLNK | 0o777, b"../a/1.jpg"))
    unpack(tmp_path / "b", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a/1.jpg": b"one", "b/link": b"one"}


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_and_pipes_are_refused(refused: Callable[..., str], kind: bytes) -> None:
    assert "is not unpacked: 'x' is a special file" in refused(
        tar_bytes((entry("1.jpg"), b"1"), (entry("x", kind), b""))
    )


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_devices_and_pipes_in_a_zip_are_refused(refused: Callable[..., str], kind: int) -> None:
    assert "neither a file nor a folder" in refused(zip_with_mode("x", kind | 0o644))


def test_the_bound_counts_what_comes_out(refused: Callable[..., str], tmp_path: Path) -> None:
    files = {"a": bytes(600_000), "b": bytes(400_000)}
    for form in (zipped(files), gzip.compress(tar(files))):
        (tmp_path / "a").write_bytes(form)
        unpack(tmp_path / "a", tmp_path / "fits", max_bytes=1_000_000, max_files=2)
    assert "more than 999999 bytes" in refused(gzip.compress(tar(files)), max_bytes=999_999)


def test_a_zip_that_lies_about_its_size_is_refused(refused: Callable[..., str]) -> None:
    bomb = zipped({"a": bytes(50_000_000)})
    lie = bomb.replace((50_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert lie != bomb
    refused(lie, max_bytes=1_000_000)


def test_overlapping_entries_of_a_zip_are_counted_each(refused: Callable[..., str]) -> None:
    """One compressed kernel under many names, as in Fifield, "A better zip bomb" (WOOT 2019)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
        for number in range(20):
            twin = archive.getinfo("a").__class__(f"{number:01x}"[:1] if number < 16 else f"{number}")
            for field in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(twin, field, getattr(archive.getinfo("a"), field))
            archive.filelist.append(twin)
    refused(buffer.getvalue(), max_bytes=3_000_000)


def test_links_count_as_the_copies_that_they_become(refused: Callable[..., str]) -> None:
    links = [(entry(f"link{number}", tarfile.LNKTYPE, "a"), b"") for number in range(20)]
    assert "more than 500000 bytes" in refused(tar_bytes((entry("a"), bytes(100_000)), *links), max_bytes=500_000)


@pytest.mark.parametrize("form", [tar, zipped])
def test_too_many_entries_are_refused(refused: Callable[..., str], form: Callable[[dict[str, bytes]], bytes]) -> None:
    assert "more than 9 entries" in refused(form({str(number): b"" for number in range(10)}), max_files=9)


@pytest.mark.parametrize("second", ["quartz/1.jpg", "quartz//./1.jpg", "quartz\\1.jpg", "quartz", "quartz/1.jpg/x"])
def test_two_entries_of_one_name_are_refused(refused: Callable[..., str], second: str) -> None:
    members = (entry("quartz/1.jpg"), b"one"), (entry(second), b"two")
    assert "twice, or as a file and as a folder" in refused(tar_bytes(*members))


def test_an_encrypted_zip_is_refused(refused: Callable[..., str]) -> None:
    content = bytearray(zipped({"a": b"one"}))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    assert "encrypted" in refused(bytes(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no zip and no tar archive"),
        (b"\xff\xd8\xff\xe0 a photo", "no zip and no tar archive"),
        (gzip.compress(b"one file, no tar" * 100), "no zip and no tar archive"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (zipped({}), "no files"),
        (tar({}), "no files"),
        (zipped({"folder/": b"", ".DS_Store": b"x"}), "no files"),
    ],
)
def test_what_is_no_archive_or_holds_nothing_is_said_to_be_so(
    refused: Callable[..., str], content: bytes, reason: str
) -> None:
    assert reason in refused(content)


@pytest.mark.parametrize("size", [100, 512, 2000, 2560, 2600, 3072, 4000, 5120, 5200])
def test_a_tar_cut_short_anywhere_before_its_end_mark_is_refused(refused: Callable[..., str], size: int) -> None:
    refused(tar({"a": bytes(2000), "b": bytes(2000)})[:size])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_tar_is_checked_to_its_end(
    refused: Callable[..., str], compress: Callable[[bytes], bytes]
) -> None:
    content = bytearray(compress(tar(ROCKS)))
    content[-6] ^= 1
    assert "is broken" in refused(bytes(content))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_tar_cut_short_is_broken(refused: Callable[..., str], compress: Callable[[bytes], bytes]) -> None:
    assert "is broken" in refused(compress(tar(ROCKS))[:-4])


def test_a_broken_header_within_a_tar_is_not_taken_for_its_end(refused: Callable[..., str]) -> None:
    content = bytearray(tar({"a": b"one", "b": b"two"}))
    content[1024 + 3] ^= 1
    assert "is broken" in refused(bytes(content))


def test_what_follows_the_end_mark_is_not_passed_over(refused: Callable[..., str]) -> None:
    assert "after its end mark" in refused(tar({"a": b"one"}) + tar({"b": b"two"}))


def overwritten(content: bytes, after: bytes, offset: int, value: bytes) -> bytes:
    start = content.rindex(after) + offset
    return content[:start] + value + content[start + len(value) :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (overwritten(zipped({"a": b"one"}, zipfile.ZIP_STORED), b"one", 0, b"two"), "is broken: Bad CRC-32"),
        (
            overwritten(zipped({"a.jpg": bytes(99)}), b"PK\3\4", 35, b"\xff" * 4),
            "is broken: Error -3 while decompressing",
        ),
        (overwritten(zipped({"ü": b"one"}), b"PK\1\2", 46, b"\xff"), "is broken: 'utf-8' codec"),
        (overwritten(zipped({"a": b"one"}), b"PK\1\2", 10, b"\x09"), "not supported; unpack it by hand"),
        (zipped(ROCKS)[:-30], "is broken: File is not a zip file"),
    ],
)
def test_a_broken_zip_is_told_from_one_that_cannot_be_read(
    refused: Callable[..., str], content: bytes, reason: str
) -> None:
    assert reason in refused(content)


@pytest.mark.parametrize("size", [1 << 33, -512])
def test_a_header_that_would_fill_the_memory_is_refused(refused: Callable[..., str], size: int) -> None:
    long_name = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    long_name.size = size
    content = tar({"a": b"one"})[:1024] + long_name.tobuf(tarfile.GNU_FORMAT) + bytes(4096)
    assert f"a header of {size} bytes" in refused(content)


def test_headers_about_headers_without_end_are_refused(refused: Callable[..., str]) -> None:
    long_name = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    long_name.size = 1
    nested = (long_name.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 2000
    assert "is broken" in refused(tar({"a": b"one"})[:1024] + nested + bytes(1024))


def test_a_negative_size_does_not_go_round_for_ever(refused: Callable[..., str]) -> None:
    turned = entry("._b")
    turned.pax_headers = {"size": "-512"}
    assert "negative size" in refused(tar_bytes((entry("a"), b"one"), (turned, b"")))


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(zipped(ROCKS))
    path_open = Path.open

    def open_on_full_disk(path: Path, mode: str = "r", *args: object, **options: object) -> io.IOBase:
        return path_open(Path("/dev/full"), "wb") if mode == "xb" else path_open(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", open_on_full_disk)
    with pytest.raises(InputError, match="the disk is full"):
        unpack(tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.zip is not unpacked: No such file"):
        unpack(tmp_path / "gone.zip", tmp_path / "out")


def attempt(archive: Path, target: Path) -> str | None:
    try:
        unpack(archive, target, max_bytes=1 << 20)
    except InputError as error:
        return str(error)
    return None


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    names=st.lists(st.text(alphabet="ab./\\:_", min_size=1, max_size=12), min_size=1, max_size=4, unique=True),
    form=st.sampled_from([tar, zipped]),
)
def test_whatever_the_names_nothing_lands_outside(names: list[str], form: Callable[[dict[str, bytes]], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive, target = Path(folder, "a"), Path(folder, "out", "rocks")
        archive.write_bytes(form({name: name.encode() for name in names}))
        refusal = attempt(archive, target)
        assert target.exists() == (refusal is None)
        assert set(tree(target).values()) <= {name.encode() for name in names}
        assert {path.name for path in Path(folder).iterdir()} == {"a", "out"}
        assert {path.name for path in target.parent.iterdir()} <= {"rocks"}


FORMS = {"zip": zipped(ROCKS), "tar": tar(ROCKS)} | {
    f"tar.{compress.__module__}": compress(tar(ROCKS)) for compress in (gzip.compress, bz2.compress, lzma.compress)
}


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    kept=st.floats(0, 1) | st.just(1.0),
)
def test_damage_is_told_in_one_line_and_leaves_nothing(form: str, damage: list[tuple[float, int]], kept: float) -> None:
    content = bytearray(FORMS[form])
    for place, value in damage:
        content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        archive, target = Path(folder, "a"), Path(folder, "out")
        archive.write_bytes(content[: round(kept * len(content))])
        refusal = attempt(archive, target)
        assert target.exists() == (refusal is None)
        assert "\n" not in (refusal or "")
        # zip and tar keep no checksum of names; what is compressed as a whole is checked as a whole.
        if form not in {"zip", "tar"} and refusal is None:
            assert tree(target) == ROCKS
