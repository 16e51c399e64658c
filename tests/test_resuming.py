"""A training that was killed, interrupted or terminated ends with the bytes of one that was not, in every stage."""

import re
from itertools import product
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from trainings import EPOCHS, TRAININGS, Place, Run, Trainer

WORKERS, SIGNALS, PLACES = (0, 2, 3), (SIGKILL, SIGINT, SIGTERM), ("first", "middle", "last")
Cut = tuple[int, Signals, str]


def place(stage: str, name: str) -> Place:
    """The first epoch of the first training, the second of the one in the middle, the last of the last."""
    last = TRAININGS[stage] - 1
    return {"first": Place(0, 0), "middle": Place(last // 2, 1), "last": Place(last, EPOCHS - 1)}[name]


def check(stage: str, cuts: list[Cut], run_cases: Trainer, folder: Path) -> None:
    """Cut trainings off and resume them, and compare what they leave with what one leaves that was not cut off."""
    whole = Run(stage, str(folder / "whole"))
    cases = [[whole]]
    for workers, signal, where in cuts:
        cut = Run(stage, str(folder / f"{workers}-{signal.name}-{where}"), workers, signal, place(stage, where))
        cases.append([cut, Run(stage, cut.folder, workers)])
    # Once more than it takes to resume: what the first run left is looked at in between.
    (uncut,), *others = run_cases(cases)
    assert uncut.status == 0, uncut.stderr
    expected = content(Path(whole.folder))
    assert any(name.endswith("history.csv") for name in expected)
    wrong = []
    for (_, signal, where), (cut, _), (stopped, resumed) in zip(cuts, cases[1:], others, strict=True):
        ended = -SIGKILL if signal == SIGKILL else 128 + signal
        assert stopped.status == ended, (cut, stopped)
        if signal != SIGKILL:
            epoch = place(stage, where).epoch
            assert re.findall("error: .*", stopped.stderr) == [
                f"error: tiny.train: interrupted: after epoch {epoch} of {EPOCHS}; run again to go on"
            ], (cut, stopped)
        assert resumed.status == 0, (cut, resumed)
        # It does go on: it does not do again what was done.
        assert resumed.steps < uncut.steps or where == "first", (cut, resumed)
        if content(Path(cut.folder)) != expected:
            wrong.append(cut)
    assert not wrong


def content(folder: Path) -> dict[str, bytes]:
    """All files, hidden ones as well."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_training_that_was_cut_off_ends_with_the_same_bytes(run_cases: Trainer, tmp_path: Path) -> None:
    cuts = [(2, SIGKILL, "middle"), (2, SIGTERM, "last"), (0, SIGINT, "first"), (3, SIGINT, "middle")]
    check("minerals", cuts, run_cases, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", TRAININGS)
def test_so_does_every_stage_wherever_it_is_cut_off(stage: str, run_cases: Trainer, tmp_path: Path) -> None:
    check(stage, list(product(WORKERS, SIGNALS, PLACES)), run_cases, tmp_path)


@pytest.mark.parametrize("signal", SIGNALS)
def test_nothing_of_a_training_that_was_cut_off_looks_complete(
    signal: Signals, run_cases: Trainer, tmp_path: Path
) -> None:
    cuts = [Run(name, str(tmp_path / name), 2, signal, place(name, "last")) for name in TRAININGS]
    run_cases([[cut] for cut in cuts])
    for cut in cuts:
        folder = Path(cut.folder)
        left = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        assert any(path.name in ("last.ckpt", "last.pt") for path in left), cut
        shown = [path for path in left if not any(part.startswith(".") for part in path.parts)]
        assert not shown, cut
        if signal != SIGKILL:
            assert {path.parts[0] for path in left} == {".cache"}, cut
