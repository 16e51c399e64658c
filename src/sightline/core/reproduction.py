"""Compare the results in the working tree with the committed ones, after ``make repro`` in a clean clone.

    python -m sightline.core.reproduction

On the processor that ``metrics/provenance.json`` names, with the same libraries and pins, every byte must be as
committed. Elsewhere the pins make every byte equal as well, as far as could be tested. Where they do not after all, the
data and all that no training went into must still be equal, and each metric must agree with the committed one within
their intervals. These are no paired intervals: predictions are not in git. What is compared is printed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sightline.core.progress import say

PROVENANCE = "metrics/provenance.json"
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """What a commit or a working tree holds.

    Attributes:
        provenance: the content of ``metrics/provenance.json``.
        stages: the section ``stages`` of ``dvc.lock``.
        metrics: the JSON files below ``metrics/``, by path.
    """

    provenance: Tree
    stages: Tree
    metrics: Mapping[str, Any]


def judge(committed: Results, found: Results, changed: list[str]) -> tuple[str, list[str]]:
    """Compare two results.

    Args:
        committed: what git has.
        found: what was computed here.
        changed: the paths of files that differ, or that only one side has.

    Returns:
        What was compared, in a sentence, and what is wrong, a line per finding.
    """
    here = "on the committed processor, with its libraries" if found.provenance == committed.provenance else "elsewhere"
    unequal = [path for path in changed if path != PROVENANCE]
    if not unequal:
        return f"computed {here}: every byte is as committed", []
    if found.provenance == committed.provenance:
        return f"computed {here}: every byte must be as committed", [f"{path} differs" for path in unequal]
    strange = [path for path in unequal if path != "dvc.lock" and not path.startswith("metrics/")]
    wrong = [f"{path} differs, and is no result" for path in strange]
    wrong += _unequal_data(committed.stages, found.stages)
    wrong += _unequal_metrics(committed.metrics, found.metrics)
    return (
        f"computed {here}; files that differ: {len(unequal)}; data compared by digest, metrics by whether their "
        "intervals agree",
        wrong,
    )


def trained_stages(stages: Tree) -> set[str]:
    """The stages that ``compute`` is a parameter of, and all that read what these write."""
    trained = {name for name, stage in stages.items() if "compute" in stage.get("params", {}).get("params.yaml", {})}
    while True:
        written = {entry["path"] for name in trained for entry in stages[name].get("outs", ())}
        after = {
            name
            for name, stage in stages.items()
            if any(_overlap(entry["path"], path) for entry in stage.get("deps", ()) for path in written)
        }
        if after <= trained:
            return trained
        trained |= after


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _unequal_data(committed: Tree, found: Tree) -> Iterator[str]:
    if committed.keys() != found.keys():
        yield f"dvc.lock: other stages: {', '.join(sorted(committed.keys() ^ found.keys()))}"
    for name in sorted((committed.keys() & found.keys()) - trained_stages(committed)):
        before, after = ({out["path"]: out.get("md5") for out in of[name].get("outs", ())} for of in (committed, found))
        for path in sorted(before.keys() | after.keys()):
            if before.get(path) != after.get(path):
                yield f"{path} of {name} differs, which no training went into"


def _unequal_metrics(committed: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    if committed.keys() != found.keys():
        yield f"other files of metrics: {', '.join(sorted(committed.keys() ^ found.keys()))}"
    for path in sorted(committed.keys() & found.keys()):
        before, after = (dict(_intervals(of[path])) for of in (committed, found))
        for name in sorted(before.keys() | after.keys()):
            if name not in before or name not in after:
                yield f"{path}: {name} is {'new' if name in after else 'missing'}"
            elif not _agree(before[name], after[name]):
                yield f"{path}: {name} was {_shown(before[name])} and is {_shown(after[name])}"


def _intervals(tree: Any, name: str = "") -> Iterator[tuple[str, Tree]]:
    if isinstance(tree, Mapping):
        if {"value", "low", "high"} <= tree.keys():
            yield name, tree
            return
        for key, below in tree.items():
            yield from _intervals(below, f"{name}.{key}".lstrip("."))


def _agree(one: Tree, other: Tree) -> bool:
    """Whether each value lies in the other's interval; an interval of no width, where all is right, tells nothing."""
    inside = [
        a["low"] == a["high"] or a["low"] - ROUNDING <= b["value"] <= a["high"] + ROUNDING
        for a, b in ((one, other), (other, one))
    ]
    both_flat = one["low"] == one["high"] and other["low"] == other["high"]
    return one.get("n") == other.get("n") and all(inside) and (not both_flat or one["value"] == other["value"])


def _shown(interval: Tree) -> str:
    return f"{interval['value']:g} [{interval['low']:g}, {interval['high']:g}], n {interval.get('n')}"


def _committed() -> Results:
    def content(path: str) -> str:
        return _git("show", f"HEAD:{path}")

    paths = [path for path in _git("ls-tree", "-r", "--name-only", "HEAD", "metrics").split() if path.endswith(".json")]
    return Results(
        json.loads(content(PROVENANCE)) if PROVENANCE in paths else {},
        yaml.safe_load(content("dvc.lock"))["stages"],
        {path: json.loads(content(path)) for path in paths if path != PROVENANCE},
    )


def _found() -> Results:
    paths = sorted(path.as_posix() for path in Path("metrics").rglob("*.json"))
    return Results(
        json.loads(Path(PROVENANCE).read_text(encoding="utf-8")),
        yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"],
        {path: json.loads(Path(path).read_text(encoding="utf-8")) for path in paths if path != PROVENANCE},
    )


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Print what was compared and what is wrong; returns the exit status."""
    changed = [line[3:] for line in _git("status", "--porcelain", "--untracked-files=all").splitlines()]
    compared, wrong = judge(_committed(), _found(), changed)
    for line in (compared, *wrong):
        say(line)
    return 1 if wrong else 0


ROUNDING = 1e-6
"""Of what stands in metrics.json."""

if __name__ == "__main__":
    sys.exit(main())
