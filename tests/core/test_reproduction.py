"""What counts as the same result, on the committed processor and on another."""

import copy
from typing import Any

import pytest

from sightline.core.reproduction import Results, judge, trained_stages

STAGES: dict[str, Any] = {
    "source": {"outs": [{"path": "data/raw", "md5": "1"}], "params": {"params.yaml": {"task.data": {}}}},
    "train": {
        "deps": [{"path": "data/raw", "md5": "1"}],
        "params": {"params.yaml": {"compute": {"threads": 2}}},
        "outs": [{"path": "models/net", "md5": "2"}],
    },
    "evaluate": {
        "deps": [{"path": "models/net/weights", "md5": "3"}],
        "outs": [{"path": "metrics/a.json", "md5": "4"}],
    },
}
METRICS: dict[str, Any] = {
    "metrics/a.json": {
        "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40},
        "by_class": {"nut": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 40}},
        "photos": 40,
    }
}
HERE = {"processor": {"maker": "one"}}
ELSEWHERE = {"processor": {"maker": "another"}}
COMMITTED = Results(HERE, STAGES, METRICS)


def found(provenance: Any, *changes: tuple[str, Any]) -> Results:
    """COMMITTED as it comes out on another machine, with other values by dotted path below stages and metrics."""
    tree = copy.deepcopy({"stages": STAGES, "metrics": METRICS})
    for path, value in changes:
        *parents, key = path.split(":")
        node: Any = tree
        for parent in parents:
            node = node[int(parent) if isinstance(node, list) else parent]
        node[key] = value
    return Results(provenance, tree["stages"], tree["metrics"])


ACCURACY = "metrics:metrics/a.json:accuracy"
NUT = "metrics:metrics/a.json:by_class:nut"


@pytest.mark.parametrize("provenance", [HERE, ELSEWHERE])
def test_equal_bytes_are_right_anywhere(provenance: Any) -> None:
    compared, wrong = judge(COMMITTED, found(provenance), ["metrics/provenance.json"])
    assert wrong == []
    assert "every byte is as committed" in compared


def test_the_same_machine_must_give_every_byte() -> None:
    compared, wrong = judge(COMMITTED, found(HERE), ["metrics/a.json", "dvc.lock"])
    assert wrong == ["metrics/a.json differs", "dvc.lock differs"]
    assert "every byte must be" in compared


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([(f"{ACCURACY}:value", 0.93), (f"{ACCURACY}:high", 0.97)], None),
        ([("stages:train:outs:0:md5", "9"), ("stages:evaluate:outs:0:md5", "9")], None),
        ([(f"{ACCURACY}:value", 0.7)], "accuracy was 0.9 [0.8, 0.95], n 40 and is 0.7"),
        ([(f"{ACCURACY}:value", 0.91), (f"{ACCURACY}:low", 0.905)], "accuracy was"),
        ([(f"{ACCURACY}:n", 41)], "accuracy was"),
        ([(NUT, {"value": 0.5, "low": 0.5, "high": 0.5, "n": 40})], "by_class.nut was"),
        ([(NUT, {"value": 0.9, "low": 0.85, "high": 0.95, "n": 40})], "by_class.nut was"),
        ([(NUT, {"value": 0.97, "low": 0.9, "high": 1.0, "n": 40})], None),
        ([("metrics:metrics/a.json:by_class", {})], "by_class.nut is missing"),
        ([("stages:source:outs:0:md5", "9")], "data/raw of source differs"),
        ([("stages:more", {})], "other stages: more"),
        ([("metrics:metrics/b.json", {})], "other files of metrics: metrics/b.json"),
    ],
)
def test_another_machine_must_give_the_data_and_agreeing_metrics(changes: list[Any], complaint: str | None) -> None:
    compared, wrong = judge(COMMITTED, found(ELSEWHERE, *changes), ["dvc.lock", "metrics/a.json"])
    assert "computed elsewhere" in compared
    assert len(wrong) == (complaint is not None)
    assert complaint is None or complaint in wrong[0]


def test_other_files_are_never_results() -> None:
    assert judge(COMMITTED, found(ELSEWHERE), ["src/a.py"])[1] == ["src/a.py differs, and is no result"]


def test_what_reads_trained_outputs_counts_as_trained() -> None:
    assert trained_stages(STAGES) == {"train", "evaluate"}
