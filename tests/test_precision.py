"""Every precision and accelerator that params.yaml accepts trains in every stage, or says in a line why it cannot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from trainings import TRAININGS, Run, Trainer

AVAILABLE = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def histories(folder: Path) -> pd.DataFrame:
    (path,) = folder.rglob("history.csv")
    return pd.read_csv(path).select_dtypes("number").drop(columns="left_out_loss", errors="ignore")


def test_mixed_precision_trains_every_stage_and_changes_what_is_learned(run_cases: Trainer, tmp_path: Path) -> None:
    runs = [
        Run(stage, str(tmp_path / f"{stage}-{precision}"), precision=precision)
        for stage in TRAININGS
        for precision in ("32-true", "bf16-mixed", "16-mixed")
    ]
    for run, (ended,) in zip(runs, run_cases([[run] for run in runs]), strict=True):
        assert ended.status == 0, (run, ended)
        assert np.isfinite(histories(Path(run.folder))).all(axis=None), run
    for stage in TRAININGS:
        full, brain, half = (histories(tmp_path / f"{stage}-{name}") for name in ("32-true", "bf16-mixed", "16-mixed"))
        # Half precision is not bfloat16 under another name, which Lightning falls back to on a CPU.
        assert not brain.equals(half), stage
        for mixed in (brain, half):
            assert not mixed.equals(full), stage
            np.testing.assert_allclose(mixed["epoch"], full["epoch"])
            loss = "box_loss" if stage == "parts" else "train_loss"
            np.testing.assert_allclose(mixed[loss].iloc[0], full[loss].iloc[0], rtol=0.1, err_msg=stage)


@pytest.mark.parametrize("accelerator", AVAILABLE)
def test_an_accelerator_trains_every_stage_or_says_in_a_line_why_not(
    accelerator: str, run_cases: Trainer, tmp_path: Path
) -> None:
    runs = [Run(stage, str(tmp_path / stage), accelerator=accelerator) for stage in TRAININGS]
    for run, (ended,) in zip(runs, run_cases([[run] for run in runs]), strict=True):
        if AVAILABLE[accelerator]:
            assert ended.status == 0, (run, ended)
            assert np.isfinite(histories(Path(run.folder))).all(axis=None), run
        else:
            assert ended.status == 1, (run, ended)
            assert ended.stderr.startswith(f"error: compute.accelerator is {accelerator}, but torch finds no "), run
            assert ended.stderr.count("\n") == 1, run
            assert not list(Path(run.folder).iterdir()), run
