"""The stages give the same bytes on every processor, and would not without the pins.

Other processors are emulated by QEMU: an Intel one and an AMD one, neither with AVX-512. ``.ci/emulator`` brings it.
"""

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import networkx
import pytest
import yaml
from dvc.repo import Repo

from sightline.core.processor import PINS, cpu_features

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EMULATOR = ROOT / ".cache" / "emulator" / "qemu-x86_64"
INTEL, AMD = "Haswell,-rtm,-hle", "EPYC-Rome"
# Chains of the stages of one or two tasks and what they need, each on one of the processors.
CHAINS = {"parts": AMD, "minerals": INTEL, "faces": AMD, "memes-birds": INTEL}
TINY: dict[str, Any] = yaml.safe_load((HERE / "tiny.yaml").read_text(encoding="utf-8"))
# Publishing writes to MLflow, whose ids are new each time; the notebook starts a process of its own.
LEFT_OUT = ("publish", "notebook")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EMULATOR.exists(), reason="there is no emulator: bash .ci/emulator brings it"),
]
has_avx512 = pytest.mark.skipif(
    "avx512f" not in cpu_features(), reason="without AVX-512 this processor takes few kernels that others lack"
)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: merged(base[key], value) if isinstance(value, dict) else value for key, value in over.items()}
    return {**base, **nested}


@functools.cache
def made(folder: Path) -> None:
    """Make a scratch repository in ``folder`` with a plan for each chain, as DVC resolves dvc.yaml."""
    for name in ("src", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "data").mkdir()
    shutil.copy(ROOT / "data" / "none", folder / "data" / "none")
    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump(merged(params, TINY["params"])), encoding="utf-8")
    for command in (["git"], [sys.executable, "-m", "dvc"]):
        subprocess.run([*command, "init", "--quiet"], cwd=folder, check=True)
    graph = Repo(str(folder)).index.graph
    for chain in CHAINS:
        last = [stage for stage in graph if stage.name.split("-")[0] in chain.split("-")]
        needed = set(last).union(*(networkx.descendants(graph, stage) for stage in last))
        stages = [
            (stage.name, shlex.split(stage.cmd)[2:], [str(out) for out in stage.outs])
            for stage in networkx.dfs_postorder_nodes(graph)
            if stage in needed and not stage.name.endswith(LEFT_OUT)
        ]
        plan = {"stages": stages, "constants": TINY["constants"]}
        (folder / f"{chain}.json").write_text(json.dumps(plan), encoding="utf-8")


def run(script: str, *arguments: str, folder: Path, processor: str = "") -> dict[str, str]:
    """Digests that a script prints, run in ``folder`` on a processor by QEMU's name, or on this one."""
    emulator = [str(EMULATOR), "-cpu", processor] if processor else []
    hidden = {*PINS, "PYTHONPATH"}
    done = subprocess.run(
        [*emulator, sys.executable, str(HERE / script), *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    made(folder)
    return folder


@functools.cache
def on_this_processor(plans: Path, chain: str) -> dict[str, str]:
    folder = plans.with_name(f"{chain}-here")
    shutil.copytree(plans, folder)
    return run("chain.py", f"{chain}.json", folder=folder)


@pytest.fixture(scope="session")
def elsewhere(plans: Path) -> Iterator[dict[str, "Future[dict[str, str]]"]]:
    """What each chain gives on its emulated processor; two are under way at a time, for they take minutes."""

    def there(chain: str) -> dict[str, str]:
        folder = plans.with_name(f"{chain}-there")
        shutil.copytree(plans, folder)
        return run("chain.py", f"{chain}.json", folder=folder, processor=CHAINS[chain])

    with ThreadPoolExecutor(2) as pool:
        yield {chain: pool.submit(there, chain) for chain in CHAINS}


@pytest.mark.parametrize("chain", CHAINS)
def test_all_stages_give_the_same_bytes_on_another_processor(
    chain: str, plans: Path, elsewhere: dict[str, "Future[dict[str, str]]"]
) -> None:
    there = elsewhere[chain].result()
    here = on_this_processor(plans, chain)
    assert len(here) > 20
    assert differing(here, there) == []


@has_avx512
@pytest.mark.parametrize("chain", CHAINS)
def test_without_any_pin_the_stages_give_other_bytes(chain: str, plans: Path, tmp_path: Path) -> None:
    shutil.copytree(plans, tmp_path / "unpinned")
    unpinned = run("chain.py", f"{chain}.json", "all", folder=tmp_path / "unpinned")
    assert differing(on_this_processor(plans, chain), unpinned)


@functools.cache
def primitives() -> dict[str, str]:
    return run("primitives.py", folder=ROOT)


@pytest.mark.parametrize("processor", [INTEL, AMD])
def test_every_library_gives_the_same_bytes_on_another_processor(processor: str) -> None:
    assert differing(primitives(), run("primitives.py", folder=ROOT, processor=processor)) == []


# The other pins keep what this test cannot show on two cores: threads, and a library that is not installed.
SHOWN = (
    "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "OPENCV_IPP",
    "OPENCV_CPU_DISABLE",
    "NUMBA_CPU_FEATURES",
    "SIGHTLINE_PORTABLE_ONNX",
)


@has_avx512
@pytest.mark.parametrize("name", SHOWN)
def test_without_a_pin_a_library_gives_other_bytes(name: str) -> None:
    assert differing(primitives(), run("primitives.py", name, folder=ROOT))
