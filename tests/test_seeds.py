"""benchmarks/seeds.py: a run repeated over seeds, on a pipeline of one stage that writes its seeds as metrics."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import seeds

ROOT = Path(__file__).parents[1]
PARAMS = {"birds": {"data": {"seed": 1}, "train": {"seed": 2}, "evaluate": {"seed": 3}}}
STAGE = """
import json, pathlib, yaml
birds = yaml.safe_load(open("params.yaml"))["birds"]
if birds["data"]["seed"] == 701:
    raise SystemExit("no birds today")
recall = {"value": birds["data"]["seed"] / 1000, "low": 0.1, "high": 0.9, "n": 30}
metrics = {"recall": recall, "train": {"seed": birds["train"]["seed"]}}
pathlib.Path("metrics/birds").mkdir(parents=True, exist_ok=True)
pathlib.Path("metrics/birds/metrics.json").write_text(json.dumps(metrics))
"""
OLD = "task,metric,seed,value,low,high,n\nbirds,recall,4,0.25,0.1,0.9,30\nbirds,recall,8,0.5,0.1,0.9,30\n"


class Repeated:
    """A repository in which the run was repeated over seeds 7, which fails, and 8; its table had seeds 4 and 8."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "seeds.csv"
        (root / "src").mkdir()
        (root / "src/stage.py").write_text(STAGE, encoding="utf-8")
        (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False), encoding="utf-8")
        metrics = {"metrics/birds/metrics.json": {"cache": False}}
        stage = {"cmd": "python src/stage.py", "deps": ["src"], "params": ["birds"], "metrics": [metrics]}
        (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"birds-evaluate": stage}}), encoding="utf-8")
        self.git("init", "--quiet")
        for key in ("user.name", "user.email"):
            self.git("config", key, "test@localhost")
        seeds.run(root, "dvc", "init", "--quiet")
        self.commit()
        self.out.write_text(OLD, encoding="utf-8")
        self.failed = seeds.repeat(root, [7, 8], ["birds"], 1, self.out)

    def git(self, *arguments: str) -> str:
        return seeds.run(self.root, "git", *arguments)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")

    def find(self, params: dict[str, Any]) -> str | None:
        return seeds.find_experiment(self.root, "seeds-8-birds", params)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Repeated:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            patch.delenv(name, raising=False)
        return Repeated(tmp_path_factory.mktemp("repository"))


def test_a_failed_seed_is_named_and_the_others_go_on(repeated: Repeated) -> None:
    assert repeated.failed == ["seeds-7-birds"]
    table = pd.read_csv(repeated.out)
    assert table.values.tolist() == [
        ["birds", "recall", 4, 0.25, 0.1, 0.9, 30],
        ["birds", "recall", 8, 0.801, 0.1, 0.9, 30],
        ["birds", "train.seed", 8, 802, *[pytest.approx(float("nan"), nan_ok=True)] * 3],
    ]


def test_a_seed_that_has_its_result_is_not_run_again(repeated: Repeated, monkeypatch: pytest.MonkeyPatch) -> None:
    before = repeated.out.read_bytes()
    repeated.out.unlink()
    monkeypatch.setattr(seeds, "clear_queue", lambda *_: pytest.fail("an experiment was queued"))
    assert seeds.repeat(repeated.root, [8], ["birds"], 1, repeated.out) == []
    assert repeated.out.read_bytes().splitlines()[1:] == before.splitlines()[2:]


def test_what_failed_leaves_the_queue_before_the_next_try(repeated: Repeated) -> None:
    assert repeated.git("for-each-ref", "refs/exps/celery/failed")
    assert seeds.clear_queue(repeated.root, ["seeds-7-birds"]) == set()
    assert not repeated.git("for-each-ref", "refs/exps/celery/failed")


def test_other_parameters_and_other_code_make_another_result(repeated: Repeated) -> None:
    wanted = {"data": {"seed": 801}, "train": {"seed": 802}, "evaluate": {"seed": 3}}
    assert repeated.find({"birds": wanted}) is not None
    assert repeated.find({"birds": wanted | {"train": {"seed": 2}}}) is None
    stage = repeated.root / "src/stage.py"
    stage.write_text(STAGE + "# changed\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="commit them first"):
        seeds.repeat(repeated.root, [9], ["birds"], 1, repeated.out)
    repeated.commit()
    assert repeated.find({"birds": wanted}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", [9001]), ("3", [9001, 9002, 9003]), ("9004", [9004]), ("12,9002", [12, 9002]), ("12,", [12])],
)
def test_seeds_are_a_count_or_a_list(text: str, expected: list[int]) -> None:
    assert seeds.read_seeds(text) == expected


def test_every_seed_gets_its_own_value_but_those_of_bootstraps() -> None:
    params = {
        "compute": {"threads": 2},
        "backbone": {"seed": 1, "networks": {"random": {"size": 96}}},
        "birds": {"data": {"synthetic": {"seed": 21}}, "split": {"seed": 9}, "evaluate": {"seed": 5}, "seedling": 3},
    }
    values = seeds.seed_values(params, 12)
    assert values == {"backbone.seed": 1201, "birds.data.synthetic.seed": 1202, "birds.split.seed": 1203}
    assert seeds.with_values(params, values) == {
        "compute": {"threads": 2},
        "backbone": {"seed": 1201, "networks": {"random": {"size": 96}}},
        "birds": {
            "data": {"synthetic": {"seed": 1202}},
            "split": {"seed": 1203},
            "evaluate": {"seed": 5},
            "seedling": 3,
        },
    }


def test_every_number_is_a_row_with_the_interval_it_has() -> None:
    metrics = {
        "accuracy": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8},
        "miscounted": {"value": 0.0, "upper": 0.125, "n": 23},
        "count": {"true": 23, "by_class": {"nut": {"counted": 5}}},
        "line": 0.5,
        "primary": "procedural",
        "normalise": True,
        "conventions": {"unit": "n counts photos"},
    }
    expected = """task,metric,seed,value,low,high,n
parts,accuracy,3,0.5,0.25,0.75,8
parts,miscounted,3,0.0,,0.125,23
parts,count.true,3,23.0,,,
parts,count.by_class.nut.counted,3,5.0,,,
parts,line,3,0.5,,,
"""
    assert seeds.to_rows(metrics, "parts", 3).to_csv(index=False) == expected


def test_the_summary_has_the_default_run_beside_mean_and_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "HEADLINES", {"birds": ["recall", "queries", "later"]})
    values = {1: {"recall": 0.5, "queries": 30}, 2: {"recall": 0.25, "queries": 32}}
    rows = pd.concat([seeds.to_rows(metrics, "birds", seed) for seed, metrics in values.items()])
    recall = {"value": 0.4, "low": 0.3, "high": 0.45, "n": 30}
    default = seeds.to_rows({"recall": recall, "queries": 31, "later": 0.125, "other": 1.0}, "birds", None)
    assert seeds.summarise(rows, default).splitlines() == [
        "| task | metric | default run | mean of 2 seeds | range |",
        "|---|---|---|---|---|",
        "| birds | recall | 0.400 [0.300, 0.450] | 0.375 | 0.250 to 0.500 |",
        "| birds | queries | 31 | 31 | 30 to 32 |",
        "| birds | later | 0.125 | – | – |",
    ]


def test_the_default_run_has_every_headline() -> None:
    for task in seeds.TASKS:
        metrics = json.loads((ROOT / f"metrics/{task}/metrics.json").read_text(encoding="utf-8"))
        assert set(seeds.HEADLINES[task]) <= {name for name, _ in seeds.leaves(metrics)}
