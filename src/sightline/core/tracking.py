"""A task's result in MLflow: one run per result, however often and from wherever it is published."""

import hashlib
import json
import logging
import math
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from filelock import FileLock

from sightline.core.errors import InputError
from sightline.core.files import remove_leftovers, replacing, sha256, sha256_of, write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from sightline.params import Section

# MLflow's own limits (mlflow.utils.validation): beyond them it refuses the whole batch.
NAME_LENGTH, PARAM_LENGTH, DIGEST_LENGTH = 250, 6000, 36


@dataclass(frozen=True)
class Result:
    """What a task's stages made, as MLflow shall show it.

    Attributes:
        task: the MLflow experiment that the run belongs to.
        params: the parameters, nested as in params.yaml; logged as ``train.lr``. The run's ``params.json`` has
            them whole, also those that are too long for MLflow.
        metrics: what metrics.json holds: nested, with figures ``{"value", "low", "high", "n"}`` or plain numbers as
            leaves. A figure becomes ``name``, ``name.low`` and ``name.high``, a group ``group/name``; leaves that
            are not finite numbers are left out.
        history: one row per epoch, with a column ``epoch``; every other numeric column becomes the metric
            ``history/<column>``, the epoch its step. Not-a-numbers are left out.
        digests: SHA-256 (hex) by data-set name; tags ``data.<name>.sha256`` and the run's data sets.
        artifacts: pairs of a file or folder and the artifact folder to put it (or the folder's content) in, ``""``
            for the top.
    """

    task: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    history: pd.DataFrame | None
    digests: Mapping[str, str]
    artifacts: Sequence[tuple[Path, str]]


def publish_outputs(
    task: str,
    sections: Sequence[tuple[str, "Section"]],
    metrics: Mapping[str, Any],
    digests: Mapping[str, str],
    *,
    tables: Sequence[Path],
    model: Path,
    figures: Path,
    reports: Sequence[Path],
    receipt: Path,
    history: pd.DataFrame | None = None,
) -> None:
    """Publish what the stages of a task left, and write to ``receipt`` (JSON) what that was.

    Args:
        task: its name.
        sections: what it read of params.yaml, with names.
        metrics: as for :class:`Result`, like ``digests`` and ``history``.
        digests: of its data.
        tables: the files that the figures stand in; with the model they are the key of the result.
        model: a folder.
        figures: a folder.
        reports: PDFs and pages.
        receipt: what DVC sees of a publication: in a fresh clone, whose store is empty, it is missing.
        history: a row an epoch.

    Raises:
        InputError: as :func:`publish`.
    """
    result = Result(
        task=task,
        params={name: section.model_dump(mode="json") for name, section in sections},
        metrics=metrics,
        history=history,
        digests=digests,
        artifacts=[(model, "model"), (figures, "figures"), *((path, "report") for path in reports)],
    )
    publish(result, [*tables, model])
    write_json(receipt, {"published": {path.name: sha256(path) for path in tables}})


def publish(result: Result, key_paths: Sequence[Path], *, root: Path | None = None) -> str:
    """Bring ``result`` into MLflow and return the id of its run.

    The key of a result is the SHA-256 of its task, parameters, metrics, history and data digests and of the files in
    ``key_paths`` (files or folders; names count relative to their common folder). A run with that key is brought up
    to date: its tags name every commit and DVC experiment that it was published from, separated by commas. Otherwise
    a run is created, named after the DVC experiment, else the commit, else ``workspace``. A run whose publication
    broke off has the status FAILED (RUNNING if the process was killed) and is completed by the next one; a deleted
    run stays deleted.

    The store is ``mlflow.db`` with ``mlruns/`` beside it in ``root``, by default the repository that the working
    directory belongs to (for an experiment in ``.dvc/tmp/exps`` the one that started it). ``MLFLOW_TRACKING_URI``
    overrides it; a relative SQLite path counts from ``root``. Processes on one machine take turns. MLflow's logging
    and telemetry are off.

    Raises:
        InputError: a file is missing, the working directory is in no repository, the experiment was deleted in
            MLflow, or the store cannot be reached or written.
    """
    for path in [*key_paths, *(path for path, _ in result.artifacts)]:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder to publish; run the stages that write it (`dvc repro`)")
    key = _key(result, key_paths)
    provenance = _provenance(result.task)
    with _store(root or _repository()) as (client, artifacts):
        run = _find_or_create(client, result.task, key, provenance, artifacts)
        run_id: str = run.info.run_id
        try:
            _log(client, run, result, provenance)
            if run.info.status != "FINISHED":
                client.set_terminated(run_id)
        except BaseException:
            with suppress(Exception):
                client.set_terminated(run_id, "FAILED")
            raise
    return run_id


def _key(result: Result, key_paths: Sequence[Path]) -> str:
    # Only the parent is resolved: with DVC's symlink cache the file itself points at its own hash.
    paths = [path.parent.resolve() / path.name for path in key_paths]
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
    common = Path(os.path.commonpath([file.parent for file in files])) if files else Path()
    contents = sorted((file.relative_to(common).as_posix(), sha256(file)) for file in files)
    history = "" if result.history is None else result.history.to_csv(index=False)
    values = [result.params, result.metrics, result.digests, contents]
    return sha256_of(result.task, history, *(json.dumps(value, sort_keys=True, default=str) for value in values))


def _workspace() -> Path | None:
    """The repository folder whose code runs: at or above the working directory."""
    here = Path.cwd()
    return next((at for at in [here, *here.parents] if (at / ".dvc").is_dir() or (at / ".git").exists()), None)


def _repository() -> Path:
    """The real repository, also from the temporary copy in which ``dvc exp run --temp`` and ``--queue`` work."""
    # In a stage of an experiment DVC_ROOT is the repository that started it.
    folder = os.environ.get("DVC_ROOT") or _workspace()
    if folder is None:
        raise InputError(f"{Path.cwd()}: in no Git or DVC repository that could hold the MLflow store; go to yours")
    parts = Path(folder).resolve().parts
    for end in range(len(parts) - 2):
        if parts[end : end + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:end])
    return Path(*parts)


@contextmanager
def _store(root: Path) -> Iterator[tuple["MlflowClient", str | None]]:
    """A client of the tracking store, silent and under its lock, and where new experiments keep artifacts."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    # MLflow's seven retries keep a user waiting for four minutes before saying that no server answers.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    # Imported here because it takes seconds, and reads the environment set above.
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from sqlalchemy.exc import SQLAlchemyError

    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    folder, database = root.resolve(), None
    if uri.startswith("sqlite:///"):
        database = folder / uri.removeprefix("sqlite:///")
        uri, folder = f"sqlite:///{database}", database.parent
    # A server knows where its artifacts go; a bare database would put them into the working directory.
    is_database = uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES
    artifacts = (folder / "mlruns").as_uri() if is_database else None
    logged = logging.root.manager.disable
    logging.disable()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".mlflow.lock"):
            if database is not None:
                _prepare_sqlite(database, artifacts)
            yield MlflowClient(uri), artifacts
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        message = f"cannot write to MLflow at {uri} ({reason}); check that store or set MLFLOW_TRACKING_URI"
        raise InputError(re.sub(r"//[^/@\s]+@", "//***@", message)) from error
    finally:
        logging.disable(logged)


def _prepare_sqlite(database: Path, artifacts: str | None) -> None:
    remove_leftovers(database)
    if database.exists():
        # MLflow would retry for two minutes on a file that is no database.
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Under another name first: a migration that is killed half-way leaves a database that MLflow cannot mend.
    with replacing(database) as part:
        SqlAlchemyStore(f"sqlite:///{part}", artifacts).engine.dispose()  # type: ignore[no-untyped-call]


def _find_or_create(
    client: "MlflowClient", task: str, key: str, provenance: Mapping[str, str], artifacts: str | None
) -> "Run":
    experiment = client.get_experiment_by_name(task)
    if experiment is None:
        experiment_id = client.create_experiment(task, artifacts and f"{artifacts}/{_name(task)}")
    elif experiment.lifecycle_stage == "active":
        experiment_id = experiment.experiment_id
    else:
        raise InputError(f"MLflow experiment {task!r} is deleted; `mlflow experiments restore` or `mlflow gc` it")
    if runs := client.search_runs([experiment_id], f"tags.`sightline.key` = '{key}'", max_results=1):
        return runs[0]
    name = provenance.get("dvc.exp.name") or provenance.get("git.commit", "workspace")[:9]
    return client.create_run(experiment_id, tags={"sightline.key": key}, run_name=name)


def _log(client: "MlflowClient", run: "Run", result: Result, provenance: Mapping[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    run_id = run.info.run_id
    if run.info.status != "FINISHED":
        # One fixed time for all points: MLflow drops a point that it has already, time included.
        time = run.info.start_time
        metrics = [Metric(_name(name), value, time, step) for name, value, step in _points(result)]
        params = [Param(_name(name), _cut(text, PARAM_LENGTH)) for name, text in _flat(result.params)]
        client.log_batch(run_id, metrics, params)
        datasets = [
            DatasetInput(Dataset(name, digest[:DIGEST_LENGTH], "sha256", json.dumps({"sha256": digest})))
            for name, digest in result.digests.items()
        ]
        client.log_inputs(run_id, datasets)
        client.log_text(run_id, json.dumps(result.params, indent=2, default=str) + "\n", "params.json")
    for path, folder in result.artifacts:
        (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), folder or None)
    tags = {_name(f"data.{name}.sha256"): digest for name, digest in result.digests.items()} | dict(provenance)
    for name in {"git.commit", "dvc.exp.name", "dvc.exp.baseline"} & tags.keys():
        tags[name] = _joined(run.data.tags.get(name, ""), tags[name])
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def _points(result: Result) -> Iterator[tuple[str, float, int]]:
    for name, value in _figures(result.metrics):
        if not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value):
            yield name, float(value), 0
    if result.history is not None:
        for column in result.history.select_dtypes("number").columns.drop("epoch"):
            for epoch, value in zip(result.history["epoch"], result.history[column], strict=True):
                if pd.notna(value) and math.isfinite(value):
                    yield f"history/{column}", float(value), int(epoch)


def _figures(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, node in tree.items():
        if not isinstance(node, Mapping):
            yield f"{prefix}{name}", node
        elif "value" in node:
            for part, ending in (("value", ""), ("low", ".low"), ("high", ".high")):
                yield f"{prefix}{name}{ending}", node.get(part)
        else:
            yield from _figures(node, f"{prefix}{name}/")


def _cut(text: str, length: int) -> str:
    """Shorten to ``length``, told apart from others with the same beginning by a digest at the end."""
    if len(text) <= length:
        return text
    ending = f"-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return text[: length - len(ending)] + ending


def _name(name: str) -> str:
    """``name`` in the characters and the length that MLflow takes for parameters, metrics and tags."""
    # Besides odd characters, MLflow refuses names that are no clean relative path.
    legal = re.sub(r"[^\w\- /.]|^[/.]|/(?=[/.]|$)", "_", name)
    if legal != name:
        # Two names may differ in nothing but the replaced characters.
        legal += f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return _cut(legal, NAME_LENGTH)


def _joined(earlier: str, new: str) -> str:
    names = [name for name in earlier.split(",") if name not in ("", new)]
    # MLflow takes tags of up to 8000 characters: room for 190 commits.
    return ",".join([*names[-150:], new])


def _provenance(task: str) -> dict[str, str]:
    """Tags that say where a result comes from: commit, DVC experiment, dvc.lock, machine."""
    tags = {
        "machine.host": platform.node(),
        "machine.platform": platform.platform(),
        "machine.cpus": str(os.cpu_count()),
        "machine.torch": version("torch"),
    }
    if commit := _git("rev-parse", "HEAD"):
        # The second is MLflow's own name for it, which its user interface shows; it holds one commit, the latest.
        tags |= {"git.commit": commit, "mlflow.source.git.commit": commit}
        tags["git.dirty"] = "true" if _git("status", "--porcelain", "--untracked-files=no") else "false"
    for tag, variable in (("dvc.exp.name", "DVC_EXP_NAME"), ("dvc.exp.baseline", "DVC_EXP_BASELINE_REV")):
        if value := os.environ.get(variable):
            tags[tag] = value
    lock = (_workspace() or Path()) / "dvc.lock"
    if lock.exists():
        stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
        # DVC writes the entry of the publishing stage only after it has run.
        own = {name: stages[name] for name in stages if name.startswith(f"{task}-") and name != f"{task}-publish"}
        tags["dvc.lock.sha256"] = hashlib.sha256(yaml.safe_dump(own).encode()).hexdigest()
    return tags


def _git(*arguments: str) -> str:
    """What git prints in the working directory, empty where it fails or is not installed."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
