"""What all tests need before anything imports torch, and a process that trains on demand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

# As in stage.py: OpenMP threads that spin while they wait slow each other down on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from trainings import Ended, Run, Trainer


@pytest.fixture(scope="session")
def run_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """Runs cases of tiny trainings, see trainings.py: each of them is a list of runs."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, here / "trainings.py", tmp_path_factory.mktemp("trainings") / "inputs"],
        env={**os.environ, "PYTHONPATH": str(here.parent / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def run(cases: Sequence[Sequence[Run]]) -> list[list[Ended]]:
        print(json.dumps([[asdict(each) for each in case] for case in cases]), file=process.stdin, flush=True)
        return [[Ended(**end) for end in ends] for ends in json.loads(process.stdout.readline())]

    yield run
    process.stdin.close()
    assert process.wait() == 0
