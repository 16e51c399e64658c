"""The stages of one task under DVC in a scratch repository: repro, --queue and --temp, each with its MLflow run.

One task shows how DVC and the stages get on; ``.ci/run`` reproduces all of them, in the sizes that people see.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TINY = {
    "compute": {"threads": 1},
    "runtime": {"workers": 0},
    "minerals": {
        "data": {"synthetic": {"photos": 16}},
        "patches": {"patch_size": 48, "examples": 3, "per_box": {"train": 1, "val": 1, "test": 1}},
        "train": {"epochs": 1, "batch_size": 16, "crop_size": 48, "network": {"width": 8}},
        "infer": {"max_error": 0.9, "mirror": False},
        "evaluate": {"resamples": 100},
    },
}


class Repository:
    """A scratch copy of this repository with one task and parameters so small that every stage takes seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("src", ".dvcignore", ".gitignore"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(source, folder / name)
        (folder / "data").mkdir()
        shutil.copy(ROOT / "data" / "none", folder / "data" / "none")
        pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
        stages = {name: stage for name, stage in pipeline["stages"].items() if name.startswith("minerals-")}
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8")
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        (folder / "params.yaml").write_text(yaml.safe_dump(merged(params, TINY)), encoding="utf-8")
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "config", "core.analytics", "false")
        self.commit()

    def run(self, *command: str, fails: bool = False) -> str:
        hidden = ("DVC_", "MLFLOW_", "GIT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@localhost"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return output

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "all")

    def mlflow_runs(self) -> list[Any]:
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("minerals")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id]))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    return base | {key: merged(base[key], value) if isinstance(value, dict) else value for key, value in over.items()}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.run("dvc", "repro")
    made.commit()
    return made


def test_the_default_run_leaves_every_result_and_one_mlflow_run(repository: Repository) -> None:
    assert (repository.folder / "reports/minerals.pdf").read_bytes().startswith(b"%PDF")
    metrics = json.loads((repository.folder / "metrics/minerals/metrics.json").read_text(encoding="utf-8"))
    [run] = repository.mlflow_runs()
    assert run.data.metrics["accuracy"] == pytest.approx(metrics["accuracy"]["value"])
    assert run.info.status == "FINISHED"


def test_a_second_repro_runs_nothing_and_git_sees_no_change(repository: Repository) -> None:
    assert "Running stage" not in repository.run("dvc", "repro")
    assert repository.run("git", "status", "--porcelain") == ""


def test_a_fresh_clone_publishes_although_its_lock_file_knows_the_result(
    repository: Repository, tmp_path: Path
) -> None:
    clone = Repository.__new__(Repository)
    clone.folder = tmp_path / "clone"
    repository.run("git", "clone", "--quiet", str(repository.folder), str(clone.folder))
    cache = repository.folder / ".dvc" / "cache"
    clone.run("dvc", "cache", "dir", "--local", str(cache))
    clone.run("dvc", "repro")
    assert len(clone.mlflow_runs()) == 1
    assert clone.run("git", "status", "--porcelain") == ""


def test_queued_and_temporary_experiments_run_their_own_code_and_are_visible(repository: Repository) -> None:
    before = {run.info.run_id for run in repository.mlflow_runs()}
    evaluate = repository.folder / "src/sightline/minerals/evaluate.py"
    sound = evaluate.read_text(encoding="utf-8")
    repository.run("dvc", "exp", "run", "--queue", "--name", "queued", "-S", "minerals.evaluate.seed=1")
    evaluate.write_text("raise SystemExit('the workspace was run')\n", encoding="utf-8")
    repository.run("dvc", "exp", "run", "--run-all")
    evaluate.write_text(sound, encoding="utf-8")
    repository.run("dvc", "exp", "run", "--temp", "--name", "temporary", "-S", "minerals.evaluate.seed=2")
    runs = [run for run in repository.mlflow_runs() if run.info.run_id not in before]
    assert {run.data.tags["dvc.exp.name"] for run in runs} == {"queued", "temporary"}
    assert {run.data.params["minerals.evaluate.seed"] for run in runs} == {"1", "2"}
    shown = repository.run("dvc", "exp", "show", "--csv")
    assert "queued" in shown
    assert "temporary" in shown
    assert "mlflow.db" not in repository.run("git", "status", "--porcelain")


def test_a_bad_parameter_stops_an_experiment_with_one_line(repository: Repository) -> None:
    output = repository.run("dvc", "exp", "run", "--temp", "-S", "minerals.evaluate.resamples=-1", fails=True)
    assert "error: params.yaml: parameter 'minerals.evaluate.resamples'" in output
    assert "Traceback" not in output
