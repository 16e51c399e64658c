"""``sightline parts score`` on the published output of a tracker with three faults, and on small made-up files."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline.core.errors import InputError
from sightline.parts.cli import app
from sightline.parts.tracks_score import score_file

SHARED = Path(__file__).parents[3] / "shared/data/parts"


def annotations(folder: Path, tracked: bool = True, first: int = 1) -> Path:
    """A bolt that falls 10 px a frame, and a nut beside it, for six frames."""
    boxes: list[dict[str, Any]] = [
        {"image_id": first + n, "category_id": category, "bbox": [100 * category, 10 * n, 40, 40], "track_id": category}
        for n in range(6)
        for category in (1, 2)
    ]
    if not tracked:
        boxes[3].pop("track_id")
    images = [{"id": first + n, "file_name": f"{n:04d}.jpg", "width": 640, "height": 640} for n in range(6)]
    names = [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}]
    path = folder / "truth.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": names}))
    return path


def mot_text(folder: Path, shift: int = 0, labels: tuple[int, int] = (1, 2)) -> Path:
    rows = [
        f"{1 + n + shift},{track},{100 * track},{10 * n},40,40,0.9,{label},-1"
        for n in range(6)
        for track, label in zip((1, 2), labels, strict=True)
    ]
    path = folder / "tracks.txt"
    path.write_text("\n".join(rows))
    return path


@pytest.mark.skipif(not SHARED.exists(), reason="the shared videos are not here")
def test_the_published_output_is_scored_right_and_its_three_faults_are_named() -> None:
    tracks = SHARED / "tracker_output/val_yolov5_sort.json"
    truth = SHARED / "annotations/instances_val.json"
    result = CliRunner().invoke(app, ["score", str(tracks), "--truth", str(truth)])
    assert result.exit_code == 0
    scored = json.loads(result.stdout)
    printed = ("hota", "mota", "idf1", "switches", "fp", "fn")
    as_given, shifted = (
        [round(scored[name]["class_agnostic"][key], 4) for key in printed] for name in ("as_given", "shifted")
    )
    assert as_given == [0.4083, 0.0466, 0.5001, 59, 2024, 1747]
    assert shifted == [0.5576, 0.5661, 0.6755, 336, 842, 565]
    assert (scored["shift"], scored["ids"], scored["true_ids"]) == (1, 573, 91)
    for said, fault in zip(("add +1", "2396 of 3452", "405 of 573"), scored["faults"], strict=True):
        assert said in fault


def test_a_right_output_has_no_fault_and_full_marks_by_class_too(tmp_path: Path) -> None:
    scored = score_file(mot_text(tmp_path), annotations(tmp_path), 1, 3)
    assert (scored["shift"], scored["faults"]) == (0, [])
    assert "shifted" not in scored
    for found in (scored["as_given"]["together"], *scored["as_given"]["by_class"].values()):
        assert (found["hota"], found["mota"], found["idf1"]) == (1, 1, 1)


def test_swapped_classes_cost_everything_unless_they_are_left_out(tmp_path: Path) -> None:
    scored = score_file(mot_text(tmp_path, labels=(2, 1)), annotations(tmp_path), 1, 3)
    assert scored["as_given"]["class_agnostic"]["mota"] == 1
    assert scored["as_given"]["together"]["mota"] == -1
    assert any("classes" in fault for fault in scored["faults"])


def test_frames_counted_from_0_are_found_out_and_none_is_forgotten(tmp_path: Path) -> None:
    scored = score_file(mot_text(tmp_path, shift=-1), annotations(tmp_path), 1, 3)
    assert scored["shift"] == 1
    assert scored["shifted"]["class_agnostic"]["mota"] == 1
    given = scored["as_given"]["class_agnostic"]
    # Boxes of neighbouring frames overlap by 0.6, so that all but the first and the last pair up, shifted.
    assert (given["fp"], given["fn"]) == (2, 2)


def test_a_truth_that_counts_from_0_is_read_with_its_first_image_id(tmp_path: Path) -> None:
    scored = score_file(mot_text(tmp_path), annotations(tmp_path, first=0), 0, 3)
    assert (scored["shift"], scored["as_given"]["together"]["hota"]) == (0, 1)


def test_boxes_without_a_track_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth\.json: 1 of 12 boxes have no track_id"):
        score_file(mot_text(tmp_path), annotations(tmp_path, tracked=False), 1, 3)
