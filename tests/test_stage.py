"""The one entry of all stages: one line and an exit status for everything a user can mend."""

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import typer

from sightline.core.errors import InputError

SRC = Path(__file__).parents[1] / "src"


def call(folder: Path, *arguments: str, src: Path = SRC, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, src / "stage.py", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stage_under_test", SRC / "stage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_main(stage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a function as if it were the stage ``minerals.example``."""

    def run(main: Callable[..., None], *arguments: str) -> int:
        module = ModuleType("sightline.minerals.example")
        module.__spec__ = importlib.util.spec_from_loader(module.__name__, None)
        module.main = main  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return int(stage.run(["minerals.example", *arguments]))

    return run


@pytest.fixture
def only_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """The one line on stderr; nothing may stand on stdout."""

    def line() -> str:
        out, err = capsys.readouterr()
        assert not out
        assert err.count("\n") == 1
        return err.strip()

    return line


@pytest.mark.parametrize(
    "arguments", [[], [""], ["minerals"], ["minerals."], [".train"], ["--help"], ["a b.c"], ["minerals.train.main"]]
)
def test_wrong_usage_shows_the_right_one(stage: ModuleType, only_line: Callable[[], str], arguments: list[str]) -> None:
    assert stage.run(arguments) == 1
    assert only_line() == "error: usage: python src/stage.py TASK.STEP [OPTIONS]"


@pytest.mark.parametrize(
    "name",
    ["minerals.polish", "gems.train", "core.images", "minerals.params", "cli.main", "core.no"],
)
def test_what_is_no_stage_is_an_error(stage: ModuleType, only_line: Callable[[], str], name: str) -> None:
    assert stage.run([name]) == 1
    assert only_line() == f"error: there is no stage '{name}'"


def test_options_reach_the_stage_with_their_types(run_main: Callable[..., int]) -> None:
    seen: list[object] = []

    def main(out: Annotated[Path, typer.Option()], size: Annotated[int, typer.Option()] = 3) -> None:
        seen.extend((out, size))

    assert run_main(main, "--out", "a/b") == 0
    assert seen == [Path("a/b"), 3]


@pytest.mark.parametrize("arguments", [[], ["--out", "a", "--bogus", "1"], ["--out", "a", "--size", "big"], ["extra"]])
def test_wrong_options_are_one_line(
    run_main: Callable[..., int], only_line: Callable[[], str], arguments: list[str]
) -> None:
    def main(out: Annotated[Path, typer.Option()], size: Annotated[int, typer.Option()] = 3) -> None:
        raise AssertionError("it must not start")

    assert run_main(main, *arguments) == 2
    assert only_line().startswith("error: minerals.example: ")


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_a_mistake_of_the_user_is_its_message(run_main: Callable[..., int], only_line: Callable[[], str]) -> None:
    assert run_main(raising(InputError("the folder x is empty: put photos into it"))) == 1
    assert only_line() == "error: the folder x is empty: put photos into it"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_line_that_names_the_file(
    run_main: Callable[..., int], only_line: Callable[[], str], code: int
) -> None:
    assert run_main(raising(OSError(code, os.strerror(code), "models/model.onnx"))) == 1
    assert only_line() == "error: no space left on the device for models/model.onnx: free some and run again"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_really_full_device_is_reported(run_main: Callable[..., int], only_line: Callable[[], str]) -> None:
    def main() -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"1")

    assert run_main(main) == 1
    assert "no space left on the device for the outputs" in only_line()


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied", "x"), ZeroDivisionError("a bug")])
def test_any_other_error_keeps_its_traceback(run_main: Callable[..., int], error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run_main(raising(error))
    assert caught.value is error


@pytest.mark.parametrize("message", ["", "after epoch 3 of 12; run again to go on"])
def test_an_interrupt_is_status_130_and_says_how_to_go_on(
    run_main: Callable[..., int], only_line: Callable[[], str], message: str
) -> None:
    assert run_main(raising(KeyboardInterrupt(*[message] * bool(message)))) == 130
    line = only_line()
    assert line.startswith("error: minerals.example: interrupted: ")
    assert message in line


def test_an_exit_status_of_the_stage_is_kept(run_main: Callable[..., int]) -> None:
    assert run_main(raising(typer.Exit(7))) == 7


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupted_process_ends_with_the_status_of_its_signal(tmp_path: Path, name: str, status: int) -> None:
    package = copied_tree(tmp_path)
    (package / "minerals" / "example.py").write_text(
        f"import os, signal\ndef main() -> None:\n    os.kill(os.getpid(), signal.{name})\n    signal.pause()\n"
    )
    ended = call(tmp_path, "minerals.example", src=package.parent)
    assert ended.returncode == status
    assert ended.stderr == "error: minerals.example: interrupted: nothing half-written is left\n"


def test_the_process_ends_with_the_status_and_the_line(tmp_path: Path) -> None:
    package = copied_tree(tmp_path)
    (package / "minerals" / "example.py").write_text(
        "from sightline.params import Runtime, load\n"
        "def main(workers: int = 0) -> None:\n    print(load('runtime', Runtime).workers + workers)\n"
    )
    (tmp_path / "params.yaml").write_text("runtime: {workers: 40}\n")
    done = call(tmp_path, "minerals.example", "--workers", "2", src=package.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
    (tmp_path / "params.yaml").write_text("runtime: {workers: 40, wrokers: 3}\n")
    wrong = call(tmp_path, "minerals.example", src=package.parent)
    assert wrong.returncode == 1
    assert wrong.stderr == "error: params.yaml: unknown parameter 'runtime.wrokers'\n"


def test_an_unknown_parameter_stops_a_real_stage(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("minerals: {learning_rate: 1}\n")
    ended = call(tmp_path, "minerals.source", "--path", "none", "--out", "out")
    assert ended.returncode == 1
    assert "unknown parameter 'minerals.learning_rate'" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_stage_runs_the_code_of_its_own_tree(tmp_path: Path) -> None:
    elsewhere = tmp_path / "installed" / "sightline" / "minerals"
    elsewhere.mkdir(parents=True)
    for folder in (elsewhere.parent, elsewhere):
        (folder / "__init__.py").touch()
    (elsewhere / "example.py").write_text("def main() -> None:\n    print('installed')\n")
    package = copied_tree(tmp_path)
    (package / "minerals" / "example.py").write_text("def main() -> None:\n    print('own')\n")
    found = call(tmp_path, "minerals.example", src=package.parent, PYTHONPATH=str(elsewhere.parents[1]))
    assert (found.returncode, found.stdout) == (0, "own\n")
    # Neither does the folder it is started in matter.
    shutil.copytree(elsewhere.parent, tmp_path / "cwd" / "sightline")
    assert call(tmp_path / "cwd", "minerals.example", src=package.parent).stdout == "own\n"


def test_missing_packages_say_what_to_do(tmp_path: Path) -> None:
    package = copied_tree(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-S", package.parent / "stage.py", "minerals.train"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("stage.py: packages are missing: run 'make setup'")
    assert ended.stderr.count("\n") == 1


def copied_tree(folder: Path) -> Path:
    """A copy of what stage.py itself needs, with an empty minerals package; returns its sightline folder."""
    package = folder / "tree" / "src" / "sightline"
    (package / "minerals").mkdir(parents=True)
    (package / "core").mkdir()
    for name in ("stage.py", "sightline/__init__.py", "sightline/params.py"):
        shutil.copy(SRC / name, package.parent / name)
    for name in ("errors.py", "processor.py"):
        shutil.copy(SRC / "sightline/core" / name, package / "core" / name)
    for name in ("core", "minerals"):
        (package / name / "__init__.py").touch()
    return package
