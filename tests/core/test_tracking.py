import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from sightline.core.errors import InputError
from sightline.core.tracking import Result, publish, publish_outputs
from sightline.params import Compute

DIGEST = hashlib.sha256(b"photos").hexdigest()
SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A store with MLflow's tables, which take a second to make, and nothing in them."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    SqlAlchemyStore(f"sqlite:///{database}", database.parent.as_uri()).engine.dispose()
    return database


def git(*arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def bare_repository(tmp_path, monkeypatch):
    """A repository with one commit and an output, its folder the working directory; no store yet."""
    root = tmp_path / "my repository"
    root.mkdir()
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)
    write_output(root, "stone,quartz\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "start")
    return root


@pytest.fixture
def repository(bare_repository, empty_store):
    shutil.copy(empty_store, bare_repository / "mlflow.db")
    return bare_repository


def write_output(folder, content):
    path = folder / "data" / "predictions.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def a_result(**changes):
    result = Result(
        task="minerals",
        params={"train": {"lr": 0.001, "amp": True}, "data": {"source": "synthetic", "path": None}},
        metrics={
            "accuracy": {"value": 0.75, "low": 0.5, "high": 0.875, "n": 40},
            "baseline": {"accuracy": 0.25},
            "per_class": {"quartz": {"f1": {"value": None, "low": None, "high": None, "n": 0}}},
            "classes": ["quartz", "pyrite"],
            "passed": True,
        },
        history=pd.DataFrame({"epoch": [0, 1, 2], "val_loss": [3.0, np.nan, 1.0], "phase": ["a", "a", "b"]}),
        digests={"photos": DIGEST},
        artifacts=[(Path("data"), "predictions")],
    )
    return replace(result, **changes)


def client_of(root):
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def runs_of(root, task="minerals"):
    client = client_of(root)
    experiment = client.get_experiment_by_name(task)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def points_of(root, run_id, name):
    return [(point.step, point.value) for point in client_of(root).get_metric_history(run_id, name)]


def artifact_of(root, run_id, name):
    folder = url2pathname(urlsplit(client_of(root).get_run(run_id).info.artifact_uri).path)
    assert Path(folder).is_relative_to(root / "mlruns")
    return (Path(folder) / name).read_text()


def test_a_run_shows_everything_that_the_result_holds(repository):
    client = client_of(repository)
    run = client.get_run(publish(a_result(), [Path("data")]))

    assert client.get_experiment(run.info.experiment_id).name == "minerals"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "train.lr": "0.001",
        "train.amp": "true",
        "data.source": "synthetic",
        "data.path": "null",
    }
    assert run.data.metrics == {
        "accuracy": 0.75,
        "accuracy.low": 0.5,
        "accuracy.high": 0.875,
        "baseline/accuracy": 0.25,
        "history/val_loss": 1.0,
    }
    assert points_of(repository, run.info.run_id, "history/val_loss") == [(0, 3.0), (2, 1.0)]
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("photos", DIGEST[:36])
    assert run.data.tags["data.photos.sha256"] == DIGEST
    assert run.data.tags["machine.host"] == socket.gethostname()

    assert artifact_of(repository, run.info.run_id, "predictions/predictions.csv") == "stone,quartz\n"
    assert json.loads(artifact_of(repository, run.info.run_id, "params.json")) == a_result().params


def test_the_outputs_of_a_task_are_published_with_a_receipt_of_their_tables(repository):
    table, report = Path("metrics.json"), Path("report.pdf")
    for path in (table, report):
        path.write_text(path.name)
    compute = Compute(threads=1, accelerator="cpu", precision="32-true")
    outputs = {"tables": [table], "model": Path("data"), "figures": Path("data"), "reports": [report]}
    publish_outputs("birds", [("compute", compute)], {"nmi": 0.5}, {}, **outputs, receipt=Path("receipt.json"))
    digest = hashlib.sha256(b"metrics.json").hexdigest()
    assert json.loads(Path("receipt.json").read_text()) == {"published": {"metrics.json": digest}}
    [run] = runs_of(repository, "birds")
    assert run.data.params["compute.threads"] == "1"
    assert run.data.metrics == {"nmi": 0.5}
    assert artifact_of(repository, run.info.run_id, "report/report.pdf") == "report.pdf"
    assert artifact_of(repository, run.info.run_id, "model/predictions.csv") == "stone,quartz\n"


def test_the_commit_and_the_state_of_the_working_folder_are_tagged(repository):
    commit = git("rev-parse", "HEAD")
    clean = client_of(repository).get_run(publish(a_result(), [Path("data")]))
    assert clean.data.tags["git.commit"] == clean.data.tags["mlflow.source.git.commit"] == commit
    assert clean.data.tags["git.dirty"] == "false"
    assert clean.info.run_name == commit[:9]

    write_output(repository, "stone,pyrite\n")
    changed = client_of(repository).get_run(publish(a_result(), [Path("data")]))
    assert changed.data.tags["git.dirty"] == "true"


def test_the_lock_tag_follows_the_stages_of_its_task_alone(repository):
    def tag(stages):
        (repository / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
        return client_of(repository).get_run(publish(a_result(), [Path("data")])).data.tags["dvc.lock.sha256"]

    stages = {"minerals-train": {"cmd": "train"}}
    first = tag(stages)
    assert tag(stages | {"birds-train": {"cmd": "train"}, "minerals-publish": {"cmd": "publish"}}) == first
    assert tag({"minerals-train": {"cmd": "train --harder"}}) != first


def test_publishing_twice_leaves_one_run_with_the_same_points(repository):
    first = publish(a_result(), [Path("data")])
    assert publish(a_result(), [Path("data")]) == first
    assert len(runs_of(repository)) == 1
    assert points_of(repository, first, "history/val_loss") == [(0, 3.0), (2, 1.0)]
    assert points_of(repository, first, "accuracy") == [(0, 0.75)]


def test_a_changed_artifact_of_the_same_result_is_replaced(repository):
    figure = repository / "figure.svg"
    figure.write_text("old")
    result = a_result(artifacts=[(figure, "")])
    run_id = publish(result, [Path("data")])
    figure.write_text("new")
    assert publish(result, [Path("data")]) == run_id
    assert artifact_of(repository, run_id, "figure.svg") == "new"


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"train": {"lr": 0.002}}},
        {"digests": {"photos": hashlib.sha256(b"others").hexdigest()}},
        {"metrics": {"accuracy": 0.5}},
        {"history": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_result_is_another_run(repository, change):
    assert publish(a_result(), [Path("data")]) != publish(a_result(**change), [Path("data")])


def test_a_changed_output_is_another_run(repository):
    first = publish(a_result(), [Path("data")])
    write_output(repository, "stone,pyrite\n")
    assert publish(a_result(), [Path("data")]) != first


def test_the_key_depends_on_neither_the_order_nor_the_place_of_the_files(repository, tmp_path, monkeypatch):
    def outputs(folder):
        for name, content in (("models/net.bin", "weights"), ("metrics/metrics.json", "{}")):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text(content)
        return [folder / "models", folder / "metrics" / "metrics.json"]

    result = a_result(artifacts=[])
    first = publish(result, outputs(repository), root=repository)
    elsewhere = tmp_path / "elsewhere"
    copies = outputs(elsewhere)
    assert publish(result, copies[::-1], root=repository) == first
    monkeypatch.chdir(elsewhere)
    assert publish(result, [path.relative_to(elsewhere) for path in copies], root=repository) == first


def test_the_same_result_of_two_experiments_and_commits_is_found_under_each(repository, monkeypatch):
    commits = [git("rev-parse", "HEAD")]
    monkeypatch.setenv("DVC_EXP_NAME", "bold-lynx")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", commits[0])
    publish(a_result(), [Path("data")])
    git("commit", "--quiet", "--allow-empty", "--message", "next")
    commits.append(git("rev-parse", "HEAD"))
    monkeypatch.setenv("DVC_EXP_NAME", "calm-wren")
    for _ in range(2):
        publish(a_result(), [Path("data")])

    [run] = runs_of(repository)
    assert run.info.run_name == "bold-lynx"
    assert run.data.tags["dvc.exp.name"] == "bold-lynx,calm-wren"
    assert run.data.tags["dvc.exp.baseline"] == commits[0]
    assert run.data.tags["git.commit"] == ",".join(commits)
    assert run.data.tags["mlflow.source.git.commit"] == commits[1]


@pytest.mark.parametrize("told_by_dvc", [True, False])
def test_an_experiment_in_a_temporary_folder_publishes_into_the_real_repository(repository, monkeypatch, told_by_dvc):
    temporary = repository / ".dvc" / "tmp" / "exps" / "tmpabc"
    git("clone", "--quiet", str(repository), str(temporary))
    (temporary / ".dvc").mkdir()
    monkeypatch.chdir(temporary)
    if told_by_dvc:
        monkeypatch.setenv("DVC_ROOT", str(repository))
    run_id = publish(a_result(), [Path("data")])
    shutil.rmtree(temporary)

    assert [run.info.run_id for run in runs_of(repository)] == [run_id]
    assert artifact_of(repository, run_id, "predictions/predictions.csv") == "stone,quartz\n"


def test_a_tracking_address_overrides_the_store_and_counts_from_the_repository(repository, monkeypatch, empty_store):
    (repository / "shared").mkdir()
    shutil.copy(empty_store, repository / "shared" / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///shared/mlflow.db")
    monkeypatch.chdir(repository / "data")
    publish(a_result(artifacts=[]), [Path("predictions.csv")])
    [run] = runs_of(repository / "shared")
    assert run.info.artifact_uri.startswith((repository / "shared" / "mlruns").as_uri())
    assert runs_of(repository) == []


def test_a_publication_that_broke_off_is_marked_and_completed_by_the_next(repository):
    obstacle = repository / "mlruns"
    obstacle.write_text("a file where artifacts should go")
    with pytest.raises(InputError, match="mlruns") as caught:
        publish(a_result(), [Path("data")])
    assert "\n" not in str(caught.value)
    [failed] = runs_of(repository)
    assert failed.info.status == "FAILED"

    obstacle.unlink()
    assert publish(a_result(), [Path("data")]) == failed.info.run_id
    [completed] = runs_of(repository)
    assert completed.info.status == "FINISHED"
    assert points_of(repository, failed.info.run_id, "history/val_loss") == [(0, 3.0), (2, 1.0)]
    assert points_of(repository, failed.info.run_id, "accuracy") == [(0, 0.75)]
    assert len(completed.inputs.dataset_inputs) == 1


def test_a_deleted_run_stays_deleted_and_gets_a_successor(repository):
    first = publish(a_result(), [Path("data")])
    client_of(repository).delete_run(first)
    second = publish(a_result(), [Path("data")])
    assert second != first
    assert [run.info.run_id for run in runs_of(repository)] == [second]
    assert client_of(repository).get_run(first).info.lifecycle_stage == "deleted"


def test_a_deleted_experiment_is_named_with_its_remedy(repository):
    publish(a_result(), [Path("data")])
    client = client_of(repository)
    client.delete_experiment(client.get_experiment_by_name("minerals").experiment_id)
    with pytest.raises(InputError, match=r"'minerals' is deleted; `mlflow experiments restore`"):
        publish(a_result(), [Path("data")])


def test_long_values_odd_names_and_many_entries_get_past_the_limits_of_mlflow(repository):
    long = "x" * 10_000
    params = {"long": long, "n" * 300: 1, "folds": {f"fold{index}": index for index in range(250)}}
    names = ["café (dark)", "café [dark]", "../up", "/top", "a//b", "a/", ".", "emotion: sad", "m" * 300]
    metrics = {"per_class": dict.fromkeys(names, 0.5), **dict.fromkeys(names, 0.5)}
    history = pd.DataFrame({"epoch": range(2500), "loss": np.linspace(1, 0, 2500)})
    result = a_result(params=params, metrics=metrics, history=history, digests=dict.fromkeys(names, DIGEST))
    run = client_of(repository).get_run(publish(result, [Path("data")]))

    assert len(run.data.params) == 252
    assert run.data.params["long"].startswith("x" * 5000)
    assert sum(value == 0.5 for value in run.data.metrics.values()) == 2 * len(names)
    points = points_of(repository, run.info.run_id, "history/loss")
    assert sorted(points) == list(enumerate(np.linspace(1, 0, 2500)))
    assert list(run.data.tags.values()).count(DIGEST) == len(names)
    assert json.loads(artifact_of(repository, run.info.run_id, "params.json"))["long"] == long


def test_long_values_that_differ_only_at_their_end_stay_different(repository):
    first, second = (
        client_of(repository).get_run(publish(a_result(params={"seeds": "1," * 5000 + end}), [Path("data")]))
        for end in ("2", "3")
    )
    assert first.data.params != second.data.params


def test_an_unreachable_server_is_one_line_that_keeps_the_password(repository, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=f"127.0.0.1:{port}.*MLFLOW_TRACKING_URI") as caught:
        publish(a_result(), [Path("data")])
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "-journal"])
def test_what_a_killed_migration_left_is_removed(repository, ending):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = repository / f".mlflow.{ended.pid}-0123abcd.part.db{ending}"
    left.touch()
    living = repository / f".mlflow.{os.getpid()}-0123abcd.part.db{ending}"
    living.touch()
    publish(a_result(), [Path("data")])
    assert not left.exists()
    assert living.exists()


def test_a_damaged_store_is_named(repository):
    (repository / "mlflow.db").write_text("no database at all, though long enough to look like one" * 100)
    with pytest.raises(InputError, match=r"mlflow\.db \(file is not a database\)"):
        publish(a_result(), [Path("data")])


def test_a_missing_output_is_named_before_anything_is_stored(repository):
    with pytest.raises(InputError, match=r"curves\.csv: no such file"):
        publish(a_result(), [Path("data"), Path("curves.csv")])
    with pytest.raises(InputError, match=r"report\.pdf: no such file"):
        publish(a_result(artifacts=[(Path("report.pdf"), "")]), [Path("data")])
    assert runs_of(repository) == []


def test_outside_a_repository_there_is_no_place_to_publish_to(bare_repository):
    shutil.rmtree(bare_repository / ".git")
    with pytest.raises(InputError, match="in no Git or DVC repository"):
        publish(a_result(), [Path("data")])


PUBLISHER = """
import socket, sys
from pathlib import Path
connections = []
socket.socket.connect = lambda self, address: connections.append(address)
socket.getaddrinfo = lambda host, *rest, **more: connections.append(host) or []
from sightline.core.tracking import Result, publish, publish_outputs
from sightline.params import Compute
publish(Result("minerals", {"lr": sys.argv[1]}, {}, None, {}, []), [Path("data")])
assert not connections, connections
"""


def start_publisher(lr, **environment):
    # MLflow turns its telemetry off by itself under CI and pytest, which would hide a mistake of ours.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, lr],
        env=kept | {"PYTHONPATH": str(SOURCES)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_processes_that_meet_in_a_fresh_store_all_find_their_run_in_it(bare_repository):
    publishers = [start_publisher(lr) for lr in ("0.1", "0.1", "0.2")]
    assert [(publisher.communicate()[0], publisher.returncode) for publisher in publishers] == [("", 0)] * 3
    runs = runs_of(bare_repository)
    assert sorted(run.data.params["lr"] for run in runs) == ["0.1", "0.2"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    # MLflow's Default experiment must not point into a working directory that may vanish.
    default = client_of(bare_repository).get_experiment("0")
    assert default.artifact_location == (bare_repository / "mlruns" / "0").as_uri()


def test_publishing_is_silent_and_offline_also_without_git(repository):
    publisher = start_publisher("0.1", PATH="")
    assert (publisher.communicate()[0], publisher.returncode) == ("", 0)
    [run] = runs_of(repository)
    assert run.info.run_name == "workspace"
    assert "git.commit" not in run.data.tags
