"""Our tracker beside the published rows of SORT and ByteTrack, on the same public detections."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHARED = Path(__file__).parents[3] / "shared/data/mot"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the shared MOT files are not here")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    # It imports what lies beside it.
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("parts_benchmark", BENCHMARKS / "parts.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


@pytest.mark.parametrize("name", ["TUD-Campus", "ADL-Rundle-8", "Venice-2"])
def test_on_mot15_tracks_are_at_least_as_good_as_those_of_sort(benchmark: ModuleType, name: str) -> None:
    published = pd.read_csv(SHARED / "MOT15/sort_published.csv", index_col="seq").loc[name]
    for ours in benchmark.on_mot15(SHARED / "MOT15" / name):
        assert round(100 * ours["mota"], 1) >= published["MOTA"]
        assert ours["switches"] <= published["IDs"]


@pytest.mark.parametrize("name", ["MOT17-02", "MOT17-05", "MOT17-09"])
def test_on_mot17_tracks_are_at_least_as_good_as_those_of_bytetrack(benchmark: ModuleType, name: str) -> None:
    *published, switches = benchmark.BYTE[name][2]
    online, settled = benchmark.on_mot17(name)
    for ours in (online, settled):
        assert all(
            round(100 * ours[figure], 1) >= row for figure, row in zip(("mota", "idf1", "hota"), published, strict=True)
        )
    assert settled["switches"] <= switches
