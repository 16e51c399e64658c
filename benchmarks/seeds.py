"""Repeat the default run over seeds that no setting was chosen on: do the headline metrics hold?

    python benchmarks/seeds.py [--seeds 5] [--tasks minerals,birds] [--jobs 1] [--out docs/results/seeds.csv]
    python benchmarks/seeds.py --summary

Each seed is one DVC experiment, `seeds-9001`, that runs the evaluate stage of each task and all that it needs. One
experiment runs all tasks, so the backbone is pretrained once per seed. Run the command again to continue: experiments
that exist are not repeated, as long as code and parameters are the same. `dvc queue logs seeds-9001` shows why one
failed.

The table has one row per task, metric and seed. `low` and `high` are the 95 % interval within that seed, and `n` is
its number of independent units. A one-sided bound has no `low`. A plain number, such as a count, has only its `value`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sightline.core.files import write_csv

ROOT = Path(__file__).parents[1]
FIRST_SEED = 9001
TASKS = ("minerals", "memes", "parts", "faces", "birds")
METRICS = "metrics/{task}/metrics.json"
COLUMNS = ["task", "metric", "seed", "value", "low", "high", "n"]
# The metrics of evaluate stages that README.md shows.
HEADLINES = {
    "minerals": [
        "macro_f1",
        "baseline.colour_histogram_5nn.macro_f1",
        "accuracy",
        "baseline.colour_histogram_5nn.accuracy",
        "reject_auroc",
        "coverage",
        "selective_error",
        "ece",
    ],
    "memes": [
        "accuracy",
        "baseline.scratch.accuracy",
        "baseline.probe.accuracy",
        "difference.finetuned_minus_scratch.accuracy",
        "unknown_auroc",
    ],
    "parts": [
        "map50",
        "map50_95",
        "hota",
        "baseline.sort.hota",
        "mota",
        "baseline.sort.mota",
        "idf1",
        "baseline.sort.idf1",
        "count_error",
        "baseline.sort.count_error",
        "count.true",
        "count.counted",
    ],
    "faces": [
        "rank1.cnn",
        "rank1.knn",
        "known_accepted_right.cnn",
        "known_accepted_right.knn",
        "unknown_rejected.cnn",
        "unknown_rejected.knn",
        "detection_recall",
        "emotion_accuracy",
    ],
    "birds": [
        f"{variant}.{metric}"
        for metric in ("recall_at_1", "map_at_r")
        for variant in (
            "variants.procedural-box.projected",
            "variants.procedural-box.whitened",
            "variants.procedural-box.frozen",
            "baseline.pixels-box",
            "baseline.random-box",
        )
    ],
}


def main(
    seeds: Annotated[str, typer.Option(help="How many, from 9001 on; or the seeds, separated by commas.")] = "5",
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = ",".join(TASKS),
    jobs: Annotated[int, typer.Option(help="Experiments that run at the same time.", min=1)] = 1,
    out: Annotated[Path, typer.Option(help="The table of results.")] = ROOT / "docs/results/seeds.csv",
    summary: Annotated[bool, typer.Option("--summary", help="Run nothing: print the table as Markdown.")] = False,
) -> None:
    """Run the default pipeline once per seed and collect the metrics, or print a summary of them."""
    chosen = tasks.split(",")
    if summary:
        print(summarise(pd.read_csv(out), default_metrics(ROOT, chosen)))
        return
    failed = repeat(ROOT, read_seeds(seeds), chosen, jobs, out)
    if failed:
        names = ", ".join(failed)
        sys.exit(f"no result: {names}. 'dvc queue logs {failed[0]}' shows why; run this command again to continue")


def repeat(root: Path, seeds: list[int], tasks: list[str], jobs: int, out: Path) -> list[str]:
    """Run the experiments that do not exist yet, write their metrics to `out`; return the names of those that failed.

    Rows that `out` has of other seeds and tasks stay.
    """
    names = {seed: "-".join(["seeds", str(seed), *([] if tuple(tasks) == TASKS else tasks)]) for seed in seeds}
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    wanted = {seed: seed_values(params, seed) for seed in seeds}
    found = {seed: find_experiment(root, name, with_values(params, wanted[seed])) for seed, name in names.items()}
    missing = [seed for seed in seeds if found[seed] is None]
    if missing:
        if run(root, "git", "status", "--porcelain", "--", "src", "dvc.yaml", "params.yaml"):
            sys.exit("src, dvc.yaml or params.yaml has changes: commit them first, results are compared by commit")
        pending = clear_queue(root, [names[seed] for seed in missing])
        for seed in missing:
            if names[seed] not in pending:
                changes = [f"--set-param={key}={value}" for key, value in wanted[seed].items()]
                targets = [f"{task}-evaluate" for task in tasks]
                run(root, "dvc", "exp", "run", "--queue", "--name", names[seed], *changes, *targets)
        try:
            run(root, "dvc", "exp", "run", "--run-all", "--jobs", str(jobs), show=True)
        except KeyboardInterrupt:
            print("the experiments continue in the background; run this command again to wait for them")
        for seed in missing:
            found[seed] = find_experiment(root, names[seed], with_values(params, wanted[seed]))
    tables = [metrics_of(root, revision, tasks, seed) for seed, revision in found.items() if revision]
    write_csv(out, merge(pd.read_csv(out) if out.exists() else pd.DataFrame(columns=COLUMNS), tables))
    return [name for seed, name in names.items() if found[seed] is None]


def read_seeds(text: str) -> list[int]:
    """Read `3` as 9001, 9002, 9003, and `9002,9004,` as these two."""
    numbers = [int(number) for number in text.split(",") if number]
    count = numbers[0] if text.isdigit() and numbers[0] < FIRST_SEED else 0
    return [FIRST_SEED + place for place in range(count)] or numbers


def seed_values(params: dict[str, Any], seed: int) -> dict[str, int]:
    """Name the value of each seed in params.yaml: 900101 for the first, 900102 for the second, and so on.

    Equal values would give data and training the same stream of random numbers. The seeds of the evaluate stages stay:
    they only choose bootstrap resamples.
    """
    keys = [key for key, _ in leaves(params) if key.endswith(".seed")]
    return {key: seed * 100 + place for place, key in enumerate(keys, 1) if not key.endswith(".evaluate.seed")}


def with_values(params: dict[str, Any], values: dict[str, int], prefix: str = "") -> dict[str, Any]:
    """Replace parameters, given by their dotted names."""
    return {
        key: with_values(value, values, f"{prefix}{key}.")
        if isinstance(value, dict)
        else values.get(prefix + key, value)
        for key, value in params.items()
    }


def find_experiment(root: Path, name: str, params: dict[str, Any]) -> str | None:
    """Find the Git reference of a finished experiment that has the code of HEAD and these parameters."""
    references = run(root, "git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").split()
    for reference in references:
        same_code = not run(root, "git", "diff", "--name-only", reference, "HEAD", "--", "src", "dvc.yaml")
        if same_code and yaml.safe_load(run(root, "git", "show", f"{reference}:params.yaml")) == params:
            return reference
    return None


def clear_queue(root: Path, names: list[str]) -> set[str]:
    """Remove what is left in DVC's queue of earlier tries; return the names that wait there or are running."""
    status = run(root, "dvc", "queue", "status")
    idle = "Worker status: 0 active" in status
    pending = set()
    for line in status.splitlines():
        match line.split():
            case [_, name, *_, state] if name in names:
                if state == "Queued" or (state == "Running" and not idle):
                    pending.add(name)
                    continue
                if state == "Running":  # its worker was killed
                    run(root, "dvc", "queue", "kill", name)
                run(root, "dvc", "queue", "remove", name)
    return pending


def metrics_of(root: Path, revision: str, tasks: list[str], seed: int | None) -> pd.DataFrame:
    """Read the metrics of a commit as a table, with columns as in `COLUMNS`."""
    return pd.concat(
        [
            to_rows(json.loads(run(root, "git", "show", f"{revision}:{METRICS.format(task=task)}")), task, seed)
            for task in tasks
        ]
    )


def default_metrics(root: Path, tasks: list[str]) -> pd.DataFrame:
    """Read the metrics of the default run, as they lie in the workspace."""
    texts = {task: (root / METRICS.format(task=task)).read_text(encoding="utf-8") for task in tasks}
    return pd.concat([to_rows(json.loads(text), task, None) for task, text in texts.items()])


def to_rows(metrics: dict[str, Any], task: str, seed: int | None) -> pd.DataFrame:
    """List every number in the metrics of one task, one row each; names of nested metrics are joined by dots."""
    rows = []
    for name, entry in leaves(metrics):
        if isinstance(entry, dict):
            high = entry.get("high", entry.get("upper"))
            rows.append([task, name, seed, entry["value"], entry.get("low"), high, entry.get("n")])
        elif isinstance(entry, int | float) and not isinstance(entry, bool):
            rows.append([task, name, seed, entry, None, None, None])
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"seed": "Int64", "value": float, "low": float, "high": float, "n": "Int64"})


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through nested dictionaries down to values and to metrics with an interval."""
    for key, value in tree.items():
        if isinstance(value, dict) and "value" not in value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def merge(old: pd.DataFrame, new: list[pd.DataFrame]) -> pd.DataFrame:
    """Add tables to an older one, in place of its rows of the same tasks and seeds."""
    if not new:
        return old
    added = pd.concat(new)
    replaced = set(zip(added["task"], added["seed"], strict=True))
    kept = old[[pair not in replaced for pair in zip(old["task"], old["seed"], strict=True)]]
    types = {name: added[name].dtype for name in COLUMNS}
    table = pd.concat([kept.astype(types), added]) if len(kept) else added
    return table.sort_values(["task", "seed"], kind="stable", ignore_index=True)


def summarise(rows: pd.DataFrame, default: pd.DataFrame) -> str:
    """Write the headline metrics as a Markdown table: the default run, and mean and range over the seeds."""
    seeds = rows["seed"].nunique()
    lines = [f"| task | metric | default run | mean of {seeds} seeds | range |", "|---|---|---|---|---|"]
    for task in default["task"].unique():
        for metric in HEADLINES[task]:
            [own] = default[(default["task"] == task) & (default["metric"] == metric)].to_dict("records")
            counted = pd.isna(own["low"])
            digits = ".4g" if counted else ".3f"
            interval = "" if counted else f" [{own['low']:.3f}, {own['high']:.3f}]"
            values = rows[(rows["task"] == task) & (rows["metric"] == metric)]["value"]
            spread = f"{values.mean():{digits}} | {values.min():{digits}} to {values.max():{digits}}"
            if len(values) < seeds:
                spread = f"{spread}, {len(values)} seeds" if len(values) else "– | –"
            lines.append(f"| {task} | {metric} | {own['value']:{digits}}{interval} | {spread} |")
    return "\n".join(lines)


def run(root: Path, *command: str, show: bool = False) -> str:
    """Run a command in the repository and return its output, or let it print; stop where it fails."""
    python = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "true"}
    done = subprocess.run(command, cwd=root, env=environment, stdout=None if show else subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}\n{done.stdout or ''}")
    return done.stdout or ""


if __name__ == "__main__":
    typer.run(main)
