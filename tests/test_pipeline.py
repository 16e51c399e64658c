"""dvc.yaml against the code: what a stage reads is what it declares."""

import ast
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
# A stage that is written once for several items stands below "do".
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}
# Options whose values are words, not paths.
WORDS = {"--name", "--crop"}
# Read by every stage, never part of a result.
UNTRACKED_SECTIONS = {"runtime"}


def imported_modules(source: str, package: str) -> set[str]:
    """Names that a module's text imports anywhere; of ``from a import b`` both a and a.b, as b may be a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def file_of(module: str) -> Path | None:
    path = SRC.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def import_closure(start: Path) -> set[Path]:
    """The files below src/ that importing ``start`` runs, ``start`` and the packages above included."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        package = ".".join(path.relative_to(SRC).parent.parts)
        for name in imported_modules(path.read_text(encoding="utf-8"), package):
            parts = name.split(".")
            prefixes = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
            waiting += [file for prefix in prefixes if (file := file_of(prefix))]
        if (init := path.parent / "__init__.py").is_file():
            waiting.append(init)
    return found


def holds_code(path: Path) -> bool:
    """Whether a file holds more than a docstring: only then can a change of it change a result."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def words(stage: dict[str, Any]) -> list[str]:
    return shlex.split(stage["cmd"])


def paths(entries: list[Any]) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_code_that_it_imports(name: str) -> None:
    task, step = words(STAGES[name])[2].split(".")
    modules = import_closure(SRC / "stage.py") | import_closure(SRC / "sightline" / task / f"{step}.py")
    needed = {path.relative_to(ROOT).as_posix() for path in modules if holds_code(path)}
    declared = {path for path in paths(STAGES[name]["deps"]) if path.startswith("src/")}
    code = {path for path in declared if path.endswith(".py")}
    assert code == needed
    assert all((ROOT / path).is_file() for path in declared)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_called_by_the_one_entry_and_named_after_it(name: str) -> None:
    assert words(STAGES[name])[:2] == ["python", "src/stage.py"]
    assert words(STAGES[name])[2] == name.replace("-", ".", 1).replace("-", "_")


@pytest.mark.parametrize("name", STAGES)
def test_every_path_on_the_command_line_is_declared_and_the_other_way_round(name: str) -> None:
    stage = STAGES[name]
    options = words(stage)[3:]
    given = {value for option, value in zip(options[::2], options[1::2], strict=True) if option not in WORDS}
    declared = {path for path in paths(stage["deps"]) if not path.startswith("src/")} | paths(stage.get("outs", []))
    # A folder may be given where its files are declared one by one.
    assert {
        path for path in given if path not in declared and not any(d.startswith(f"{path}/") for d in declared)
    } == set()
    assert {
        path for path in declared if path not in given and not any(path.startswith(f"{g}/") for g in given)
    } == set()


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_parameter_sections_that_its_main_reads(name: str) -> None:
    """``load("minerals", …).train`` in ``main`` needs ``minerals.train`` or something above it among the params."""
    task, step = words(STAGES[name])[2].split(".")
    tree = ast.parse((SRC / "sightline" / task / f"{step}.py").read_text(encoding="utf-8"))
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    read = sections_read(main) - UNTRACKED_SECTIONS
    declared = {section.removesuffix(".${key}") for section in STAGES[name].get("params", [])}
    covered = {section for section in read if any(section == d or section.startswith(f"{d}.") for d in declared)}
    assert read == covered
    assert declared == {d for d in declared if any(s == d or s.startswith(f"{d}.") for s in read)}


def sections_read(main: ast.FunctionDef) -> set[str]:
    """Dotted sections that a ``main`` hands on: attributes of what ``load`` gave, directly or by a name."""
    names: dict[str, str] = {}
    passed_over: set[int] = set()
    sections = set()
    # ast.walk goes level by level: an expression comes before its parts, and assignments before what uses them.
    for node in ast.walk(main):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            targets, values = (
                (target.elts, value.elts)
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                else ([target], [value])
            )
            for name, expression in zip(targets, values, strict=True):
                if isinstance(name, ast.Name) and (section := section_of(expression, names)):
                    names[name.id] = section
                    passed_over |= {id(part) for part in ast.walk(expression)} | {id(name)}
        elif isinstance(node, ast.expr) and id(node) not in passed_over and (section := section_of(node, names)):
            sections.add(section)
            passed_over |= {id(part) for part in ast.walk(node)}
    return sections


def section_of(node: ast.expr, loaded: dict[str, str]) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load":
        assert isinstance(node.args[0], ast.Constant)
        return str(node.args[0].value)
    if isinstance(node, ast.Name):
        return loaded.get(node.id)
    if isinstance(node, ast.Attribute) and not node.attr.startswith("model_") and node.attr != "workers":
        above = section_of(node.value, loaded)
        return f"{above}.{node.attr}" if above else None
    return None
