"""Counting, on parts whose ways are known, and on the real truth with errors put in."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sightline.parts.counting import Counter, Part, Rule, Sighting, true_crossings
from sightline.parts.motion import Axis, Prior, learn_prior
from sightline.parts.simulation import Mistakes, simulate
from sightline.parts.tracker import Association, Tracker

VAL = Path(__file__).parents[3] / "shared/data/parts/annotations/instances_val.json"
AXIS = Axis("down", 640, 640)
RULE = Rule(line=0.5, direction="down", confirm=4, refind_frames=15)
SPEED = 16.0


def even(speed: float = SPEED / 640, direction: str = "down") -> Prior:
    """All parts have the same speed everywhere."""
    velocity = {"down": [0, 1, 0, 1], "up": [0, -1, 0, -1], "right": [1, 0, 1, 0], "left": [-1, 0, -1, 0]}[direction]
    table = [[speed * value for value in velocity]] * 20
    places = [(number + 0.5) / 20 for number in range(20)]
    return Prior(direction, places, table, [[0.001] * 4] * 20, [[0.0] * 4] * 20, [0.001] * 4)  # type: ignore[arg-type]


def path(
    track: int, frames: Iterable[int], start: int, y: float = 0.0, x: float = 300, label: int = 0
) -> dict[int, Sighting]:
    """Boxes of a part that was at height ``y`` in frame ``start`` and falls at ``SPEED``."""
    boxes = {}
    for frame in frames:
        centre = y + SPEED * (frame - start)
        if 0 <= centre <= 640:
            box = np.array([x - 20, centre - 20, x + 20, centre + 20]).clip(0, 640)
            boxes[frame] = Sighting(track, box, 0.9, label)
    return boxes


def count(
    *paths: dict[int, Sighting], frames: int = 80, prior: Prior | None = None, rule: Rule = RULE
) -> tuple[Counter, list[Part]]:
    counter = Counter(rule, prior, 2, AXIS)
    parts = []
    for frame in range(1, frames + 1):
        counter.update(frame, [boxes[frame] for boxes in paths if frame in boxes])
        parts += list(counter.leave())
    counter.close()
    parts += list(counter.leave())
    return counter, [part for part in parts if part.number]


def test_a_part_counts_once_in_the_frame_in_which_its_centre_crosses() -> None:
    counter, (part,) = count(path(1, range(3, 80), 3))
    assert counter.tally() == {0: 1}
    # 3 + 320 / 16
    assert (part.crossed, part.how, part.counted, part.doubts) == (23, "crossed", 1, [])


def test_nothing_counts_before_it_crosses() -> None:
    counter = Counter(RULE, even(), 2, AXIS)
    seen = path(1, range(1, 80), 1)
    tallies = []
    for frame in range(1, 40):
        counter.update(frame, [seen[frame]])
        tallies.append(sum(counter.tally().values()))
    assert tallies == [0] * 20 + [1] * 19


@pytest.mark.parametrize("overlap", [0, 1, 3])
@pytest.mark.parametrize("prior", [None, even()])
def test_a_part_whose_track_is_taken_over_by_a_box_of_a_piece_of_it_counts_once(
    overlap: int, prior: Prior | None
) -> None:
    whole = path(1, range(3, 30), 3)
    # From below the line on the detector sees the part's left end, then all of it again, as another track.
    piece = {
        frame: Sighting(2, box * [1, 1, 0, 1] + [0, 0, box[0] + 12, 0], 0.6, 0)
        for frame, (_, box, _, _) in path(2, range(30 - overlap, 42), 3).items()
    }
    counter, parts = count(whole, piece, prior=prior)
    assert counter.tally() == {0: 1}
    (part,) = parts
    frames = [moment.frame for moment in part.trail]
    assert frames == sorted(set(frames)) == list(range(3, 42))


def test_a_part_that_comes_out_from_behind_another_one_counts_for_itself() -> None:
    front = path(1, range(3, 80), 3)
    hidden = {
        frame: Sighting(2, box * [1, 1, 0, 1] + [0, 0, box[0] + 12, 0], 0.6, 0)
        for frame, (_, box, _, _) in path(2, range(10, 80), 3, x=300 + 40).items()
    }
    assert count(front, hidden, prior=even())[0].tally() == {0: 2}


def test_what_the_detector_is_never_sure_of_is_no_part() -> None:
    rule = Rule(0.5, "down", 4, 15, sure=0.5)
    faint = {frame: one._replace(score=0.4) for frame, one in path(1, range(3, 80), 3).items()}
    assert count(faint, rule=rule)[0].tally() == {}
    seen_well = {frame: one._replace(score=0.6) if frame in (5, 6, 7, 30) else one for frame, one in faint.items()}
    assert count(seen_well, rule=rule)[0].tally() == {0: 1}


def test_centres_that_tremble_on_the_line_count_once() -> None:
    rng = np.random.default_rng(3)
    boxes = {
        frame: Sighting(1, np.array([280.0, y - 20, 320, y + 20]), 0.9, 0)
        for frame, y in enumerate([200, 250, 290, *(320 + rng.normal(0, 5, 30)), 350, 400], start=1)
    }
    assert count(boxes)[0].tally() == {0: 1}


def test_a_track_of_a_few_frames_does_not_count() -> None:
    assert not count(path(1, range(19, 22), 1), prior=even())[1]


@pytest.mark.parametrize("prior", [None, even()])
def test_what_does_not_move_does_not_count(prior: Prior | None) -> None:
    box = np.array([280.0, 310, 320, 350])
    still = {frame: Sighting(1, box, 0.9, 0) for frame in range(1, 80)}
    assert count(still, prior=prior)[0].tally() == {}


def test_a_part_below_the_line_at_the_start_is_not_counted() -> None:
    counter, (part,) = count(path(1, range(1, 80), 1, y=400), prior=even())
    assert counter.tally() == {}
    assert part.number == 1


def test_a_part_first_seen_below_the_line_counts_where_it_must_have_crossed_unseen() -> None:
    # It is at 480 in frame 30, so it crossed 320 ten frames before.
    counter, (part,) = count(path(1, range(30, 80), 30, y=480), prior=even())
    assert counter.tally() == {0: 1}
    assert (part.crossed, part.how) == (20, "crossed unseen")
    assert part.doubts == ["first seen below the line, in frame 30"]


def test_where_nobody_knows_how_parts_move_what_begins_below_the_line_does_not_count() -> None:
    counter, (part,) = count(path(1, range(30, 80), 30, y=480))
    assert counter.tally() == {}
    assert part.number == 1


def test_a_part_that_comes_back_as_another_track_is_the_same_part() -> None:
    counter, (part,) = count(path(1, range(1, 16), 1), path(2, range(24, 80), 1), prior=even())
    assert counter.tally() == {0: 1}
    assert (part.gap, part.number) == (8, 1)
    assert part.doubts == ["lost for 8 frames and found again"]
    assert [moment.frame for moment in part.trail] == [*range(1, 16), *range(24, 42)]


def test_two_halves_of_one_way_below_the_line_count_once() -> None:
    counter, parts = count(path(1, range(1, 28), 1), path(2, range(33, 80), 1), prior=even())
    assert (counter.tally(), len(parts)) == ({0: 1}, 1)


def test_a_part_elsewhere_is_another_part() -> None:
    lost, beside = path(1, range(1, 28), 1), path(2, range(33, 80), 1, x=500)
    assert count(lost, beside, prior=even())[0].tally() == {0: 2}


def test_a_track_that_comes_back_after_its_part_was_taken_over_is_something_else() -> None:
    again = {**path(1, range(1, 16), 1), **path(1, range(30, 80), 29, y=100, x=100)}
    counter, _ = count(again, path(2, range(20, 80), 1), prior=even())
    assert counter.tally() == {0: 2}


def test_boxes_vote_for_the_class_by_their_scores() -> None:
    seen = path(1, range(1, 80), 1)
    for frame in (2, 5, 9, 22, 23, 24):
        seen[frame] = seen[frame]._replace(label=1, score=0.4)
    counter, (part,) = count(seen)
    assert counter.tally() == {0: 1}
    assert part.confidence == pytest.approx(35 * 0.9 / (35 * 0.9 + 6 * 0.4))


def test_a_count_is_mended_when_the_vote_turns_after_the_line() -> None:
    seen = path(1, range(1, 80), 1)
    for frame in range(1, 22):
        seen[frame] = seen[frame]._replace(label=1, score=0.3)
    counter = Counter(RULE, even(), 2, AXIS)
    tallies = {}
    for frame in range(1, 42):
        counter.update(frame, [seen[frame]])
        tallies[frame] = dict(counter.tally())
    assert (tallies[21], tallies[41]) == ({1: 1}, {0: 1})


def test_two_parts_at_once_are_two() -> None:
    counter, parts = count(path(1, range(1, 80), 1, x=300), path(2, range(1, 80), 1, x=330, label=1), prior=even())
    assert counter.tally() == {0: 1, 1: 1}
    assert sorted(part.counted for part in parts) == [1, 2]


def test_what_a_detector_sees_twice_counts_once() -> None:
    once, again = path(1, range(1, 80), 1, x=300), path(2, range(3, 80), 1, x=306)
    counter, (first, second) = count(once, again, prior=even())
    assert counter.tally() == {0: 1}
    assert (first.counted, second.counted, second.twin) == (1, 0, first.number)


def test_a_long_part_that_passes_behind_a_bar_counts_once() -> None:
    # It goes behind the bar, between 340 and 440 px, end first, and comes out end first: pieces of it, far apart.
    above, below = {}, {}
    for frame in range(3, 60):
        top, bottom = SPEED * (frame - 3) - 60, SPEED * (frame - 3) + 60
        if top < 325:
            above[frame] = Sighting(1, np.array([280, max(top, 0), 320, min(bottom, 340)]), 0.9, 0)
        elif bottom > 455 and top < 620:
            below[frame] = Sighting(2, np.array([280, max(top, 440), 320, min(bottom, 640)]), 0.9, 0)
    assert min(below) - max(above) <= 3
    counter, parts = count(above, below, prior=even())
    assert counter.tally() == {0: 1}
    assert len(parts) == 1


def test_a_box_around_pieces_of_two_parts_is_no_third_one() -> None:
    # First seen below the line, half on one of them and half on the other as long as it is there.
    one, two = path(1, range(1, 80), 1, x=300), path(2, range(1, 80), 1, x=330)
    between = path(3, range(26, 38), 1, x=315)
    counter, _ = count(one, two, between, prior=even())
    assert counter.tally() == {0: 2}


def test_two_parts_whose_ways_cross_are_two() -> None:
    crossing = path(2, range(1, 80), 1)
    for frame, sighting in crossing.items():
        aside = 4.0 * (frame - 21) * np.array([1.0, 0, 1, 0])
        crossing[frame] = sighting._replace(box_xyxy=sighting.box_xyxy + aside)
    assert count(path(1, range(1, 80), 1), crossing, prior=even())[0].tally() == {0: 2}


def test_parts_that_go_up_count_upwards() -> None:
    rule = Rule(0.5, "up", 4, 15)
    counter = Counter(rule, even(direction="up"), 2, Axis("up", 640, 640))
    for frame in range(1, 40):
        y = 640 - SPEED * frame
        counter.update(frame, [Sighting(1, np.array([280, y - 20, 320, y + 20]), 0.9, 0)])
    assert counter.tally() == {0: 1}


def test_true_tracks_count_by_the_same_rule() -> None:
    ways = {
        1: path(1, range(1, 80), 1),
        2: path(2, range(1, 80), 1, y=400),
        3: path(3, range(60, 70), 60),
        4: path(4, range(50, 80), 50, y=400),
    }
    rows = [(track, frame, "bolt", *box.box_xyxy) for track, way in ways.items() for frame, box in way.items()]
    truth = pd.DataFrame(rows, columns=["track", "frame", "label", "x1", "y1", "x2", "y2"])
    crossed = true_crossings(truth, 0.5, AXIS, even())
    assert crossed[["track", "frame"]].to_numpy().tolist() == [[1, 21], [4, 45]]
    assert true_crossings(truth, 0.5, AXIS, None)["track"].tolist() == [1]


@pytest.mark.skipif(not VAL.exists(), reason="the shared annotations are not here")
@pytest.mark.parametrize("tracker", ["bytetrack", "sort", "ocsort", "botsort"])
def test_the_real_tracks_are_counted_through_lost_false_and_trembling_boxes(tracker: str) -> None:
    content = json.loads(VAL.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    rows = [
        ("val", note["image_id"], note["track_id"], names[note["category_id"]], x, y, x + width, y + height)
        for note in content["annotations"]
        for x, y, width, height in [note["bbox"]]
    ]
    truth = pd.DataFrame(rows, columns=["clip", "frame", "track", "label", "x1", "y1", "x2", "y2"])
    # The prior comes from the first half, so that half of what is counted is new to it.
    prior = learn_prior(truth[truth["frame"] <= 900], {"val": (640, 640)})
    mistakes = Mistakes(0.2, 0.05, 2.5, 0.03, np.linspace(0.4, 1, 31).tolist(), np.linspace(0.3, 0.8, 31).tolist())
    off = 0
    for draw in range(2):
        found = simulate(truth, ["bolt", "nut"], 1800, (640, 640), mistakes, [7, draw])
        linker = Tracker(Association(tracker, 0.5, 0.3, 0.1, 10), prior, 640, 640)
        counter = Counter(RULE, prior, 2, AXIS)
        for frame, seen in enumerate(found, start=1):
            tracked = linker.update(seen.boxes_xyxy, seen.scores)
            boxes = [Sighting(t.track, t.box_xyxy, seen.scores[t.row], int(seen.labels[t.row])) for t in tracked]
            counter.update(frame, boxes)
            list(counter.leave())
        tally = counter.tally()
        off += abs(tally[0] - 72) + abs(tally[1] - 19)
    assert off <= 0.02 * 2 * 91
