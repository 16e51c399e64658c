"""DVC's run-cache key: another value of any parameter is another key for every stage that declares it.

A stage whose key stays the same is not run: DVC restores the old output and writes the new value into dvc.lock. That
happens to parameters named ``size`` and ``nfiles`` (treeverse/dvc#10296), which ``test_params.py`` forbids.
"""

import copy
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile

ROOT = Path(__file__).parents[1]
# Sections that no stage declares, on purpose: they change no result.
UNTRACKED_SECTIONS = ("runtime.",)
# Stages that declare the whole section of their task: that they change says nothing about the stages that compute.
SUMMARIES = ("-report", "-publish")


class Effect(NamedTuple):
    """The stages that declare a parameter, and those whose run-cache key is another with another value of it."""

    declared: set[str]
    changed: set[str]


@pytest.fixture(autouse=True)
def site_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))


def effects(folder: Path) -> dict[str, Effect]:
    """Change each parameter of the pipeline in ``folder``, one at a time, and see what that does."""
    Repo.init(str(folder), no_scm=True)
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    stages = parse(folder, params)
    before = keys(stages, params)
    found = {}
    for name, value in leaves(params):
        changed = replaced(params, name.split("."), another(value))
        declaring = [stage for stage in stages if declares(stage, name)]
        # Only what is declared is read; only what a template names can give a stage another command or dependency.
        after = keys(parse(folder, changed), changed) if in_a_template(name, text) else keys(declaring, changed)
        found[name] = Effect(
            {stage.name for stage in declaring},
            {stage for stage, key in after.items() if key != before.get(stage)},
        )
    return found


def parse(folder: Path, params: dict[str, Any]) -> list[Any]:
    write(folder / "params.yaml", params)
    with Repo(str(folder)) as repo:
        return list(repo.index.stages)


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def keys(stages: Iterable[Any], params: dict[str, Any]) -> dict[str, str]:
    """The run-cache keys by stage. DVC reads ``params`` as it would a file; files are unhashed, always the same."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dvc.dependency.param.load_path", lambda *_: params)
        for stage in stages:
            for dependency in stage.deps:
                if isinstance(dependency, ParamsDependency):
                    dependency.hash_info = dependency.get_hash()
            found[stage.name] = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
    return found


def declares(stage: Any, name: str) -> bool:
    declared = [param for dep in stage.deps if isinstance(dep, ParamsDependency) for param in dep.params]
    return any(name == param or name.startswith(f"{param}.") for param in declared)


def in_a_template(name: str, text: str) -> bool:
    """Whether dvc.yaml names a parameter as ``${…}``: itself, or as an item of a section that it goes through."""
    templates = re.findall(r"\$\{([\w.]+)\}", text)
    as_item = f"item.{name.rpartition('.')[2]}" in templates
    return name in templates or (as_item and any(name.startswith(f"{template}.") for template in templates))


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; lists and empty sections are values."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def another(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2 if value else 0.5
        case str():
            return f"{value}-other"
        case None:
            return "other"
        case []:
            return ["other"]
        case list():
            return [*value[:-1], another(value[-1])]
        case dict():
            return value | {"other": 1}
    raise TypeError(value)


def replaced(tree: dict[str, Any], place: list[str], value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    section = tree
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    return tree


def test_every_parameter_is_in_the_run_cache_keys(tmp_path: Path) -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for stage in pipeline["stages"].values():
        body = stage.get("do", stage)
        # Without the code, which no parameter names, DVC parses in half the time.
        body["deps"] = [path for path in body["deps"] if not path.startswith("src/")]
    write(tmp_path / "dvc.yaml", {"stages": pipeline["stages"]})
    shutil.copy(ROOT / "params.yaml", tmp_path)
    found = effects(tmp_path)
    missed = {name: effect.declared - effect.changed for name, effect in found.items()}
    assert {name: stages for name, stages in missed.items() if stages} == {}
    idle = {name for name, effect in found.items() if all(stage.endswith(SUMMARIES) for stage in effect.changed)}
    assert idle == {name for name in found if name.startswith(UNTRACKED_SECTIONS)}


@pytest.mark.parametrize("name", ["size", "nfiles"])
def test_dvc_misses_a_parameter_of_a_forbidden_name(tmp_path: Path, name: str) -> None:
    """Once this fails, DVC sees such parameters and may be given them."""
    params = {"plain": {name: 1, "side": 1}, "deep": {"list": [{name: 1}], "other": {name: 1}}, "direct": {name: 1}}
    stage = {"cmd": "true", "deps": ["data"], "params": ["plain", "deep", f"direct.{name}"], "outs": ["out"]}
    write(tmp_path / "params.yaml", params)
    write(tmp_path / "dvc.yaml", {"stages": {"train": stage}})
    assert {leaf for leaf, effect in effects(tmp_path).items() if not effect.changed} == {
        f"plain.{name}",
        f"deep.other.{name}",
    }
