"""Files are whole or not there."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sightline.core.files import (
    read_json,
    replacing,
    replacing_folder,
    scratch_folder,
    sha256,
    sha256_of,
    write_csv,
    write_json,
)


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out.json"
    with replacing(target) as part:
        part.write_text("half")
        assert not target.exists()
        assert part.suffix == ".json"
        assert part.parent == target.parent
        assert part.name.startswith(".")
        part.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def make_file(path: Path) -> None:
    path.write_text("new")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "new.txt").write_text("new")


@pytest.mark.parametrize("make", [make_file, make_folder])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(
    tmp_path: Path, make: Callable[[Path], None], error: type[BaseException]
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").write_text("old")

    def cut_off() -> None:
        with replacing(target) as part:
            make(part)
            raise error

    with pytest.raises(error):
        cut_off()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in target.iterdir()] == ["old.txt"]


def test_a_file_replaces_a_file_and_a_folder_a_folder(tmp_path: Path) -> None:
    for make, old in ((make_file, make_file), (make_folder, make_folder)):
        target = tmp_path / make.__name__
        old(target)
        if target.is_dir():
            (target / "old.txt").write_text("old")
        with replacing(target) as part:
            make(part)
        content = [path.name for path in target.iterdir()] if target.is_dir() else target.read_text()
        assert content in (["new.txt"], "new")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("make", "old"), [(make_file, make_folder), (make_folder, make_file)])
def test_a_file_does_not_replace_a_folder_nor_a_folder_a_file(
    tmp_path: Path, make: Callable[[Path], None], old: Callable[[Path], None]
) -> None:
    target = tmp_path / "out"
    old(target)
    with pytest.raises(OSError), replacing(target) as part:  # noqa: PT011 - which one depends on the system
        make(part)
    assert list(tmp_path.iterdir()) == [target]


KILLED = """
import os, signal, sys
from pathlib import Path
from sightline.core.files import replacing, replacing_folder, scratch_folder
folder = Path(sys.argv[1])
with scratch_folder(folder / "out"), replacing_folder(folder / "out") as part, replacing(folder / "out.txt") as file:
    for path in (part / "half.txt", file):
        path.write_text("half")
    # As SQLite leaves it.
    file.with_name(file.name + "-journal").touch()
    print(flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""
Writer = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """Starts processes in the middle of writing ``out``, with a scratch folder, and ``out.txt``; killed at the end."""
    started = []

    def start() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        command = [sys.executable, "-c", KILLED, tmp_path]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(command, env=environment, text=True, **pipes)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def write_both(folder: Path) -> None:
    with replacing_folder(folder / "out") as part, scratch_folder(folder / "out"):
        (part / "whole.txt").touch()
    with replacing(folder / "out.txt") as file:
        file.touch()


def left_in(folder: Path) -> list[str]:
    """The beginnings of hidden names."""
    return sorted(
        path.name.rpartition(".part")[0].rpartition(".")[0] for path in folder.iterdir() if path.name[0] == "."
    )


LEFT = [".out", ".out", ".out", ".sightline-out"]


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_the_same(tmp_path: Path, writer: Writer) -> None:
    killed = writer()
    killed.communicate()
    assert killed.returncode == -9
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.txt").exists()
    assert left_in(tmp_path) == LEFT
    with replacing(tmp_path / "other.txt") as file:
        file.touch()
    assert left_in(tmp_path) == LEFT
    write_both(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.txt", "out", "out.txt"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path, writer: Writer) -> None:
    writer()
    write_both(tmp_path)
    assert left_in(tmp_path) == LEFT


@pytest.mark.parametrize("name", [".out.part", ".out.12-abc.part", ".out.1-0123abcd.txt", "out.1-0123abcd.part"])
def test_files_of_other_names_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    write_both(tmp_path)
    assert (tmp_path / name).exists()


def test_a_link_that_was_left_is_removed_and_not_what_it_points_to(tmp_path: Path, writer: Writer) -> None:
    killed = writer()
    killed.communicate()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    link = tmp_path / f".out.{killed.pid}-0123abcd.part"
    link.symlink_to(kept)
    write_both(tmp_path)
    assert not link.is_symlink()
    assert (kept / "file").exists()


def test_a_folder_is_given_empty(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "out") as part:
        assert part.is_dir()
        assert not list(part.iterdir())
    assert (tmp_path / "out").is_dir()


def test_json_is_utf8_and_comes_back(tmp_path: Path) -> None:
    content = {"größe": [1, 0.1, None, True], "empty": {}}
    write_json(tmp_path / "out.json", content)
    text = (tmp_path / "out.json").read_bytes().decode("utf-8")
    assert "größe" in text
    assert text.endswith("}\n")
    assert json.loads(text) == read_json(tmp_path / "out.json") == content


def test_a_file_name_that_is_no_utf8_is_valid_json_and_comes_back(tmp_path: Path) -> None:
    name = b"caf\xe9 \\ \xf0\x9f\x98\x80.jpg"
    write_json(tmp_path / "out.json", {os.fsdecode(name): "é"})
    assert "caf\\udce9 \\\\ 😀" in (tmp_path / "out.json").read_bytes().decode("utf-8")
    ((found, _),) = read_json(tmp_path / "out.json").items()
    assert os.fsencode(found) == name


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_is_no_json(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "out.json", {"value": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "out.json", {"value": value})
    assert read_json(tmp_path / "out.json") == {"value": 1}


def test_a_float32_comes_back_from_csv_exactly(tmp_path: Path) -> None:
    patterns = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    # Just above a thousand nine digits are needed.
    column = np.concatenate([patterns[np.isfinite(patterns)], np.arange(1000, 1001, 2**-14, dtype=np.float32)])
    write_csv(tmp_path / "table.csv", pd.DataFrame({"value": column}))
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "table.csv")["value"].to_numpy(np.float32), column)


def test_csv_keeps_whole_numbers_and_texts_and_has_no_index(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", pd.DataFrame({"n": [1, 2**53 + 1], "text": ["a,b", 'say "c"']}))
    assert (tmp_path / "table.csv").read_bytes() == b'n,text\n1,"a,b"\n9007199254740993,"say ""c"""\n'


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1.
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_moving_a_border_changes_the_digest_of_several_pieces() -> None:
    digests = [
        sha256_of(*pieces) for pieces in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("c", "ab"))
    ]
    assert len(set(digests)) == len(digests)
    assert sha256_of("é") == sha256_of("é".encode())
    assert sha256_of() == hashlib.sha256().hexdigest()
