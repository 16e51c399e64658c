"""The causes of count errors on falls that are made up, and their sum against counting by hand."""

import pandas as pd
import pytest

from sightline.parts.count_figures import (
    CAUSES,
    CUT,
    FALSE,
    MISSED,
    RIGHT,
    TWICE,
    WRONG_CLASS,
    Watched,
    count_figures,
    judge,
)

LINE = 320.0
LAST = 200


def fall(track: int, label: str, begins: int, x: float, frames: int = 40, lag: float = 0.0) -> pd.DataFrame:
    """A part of 50 px that falls 16 px a frame from the top, with its boxes ``lag`` px off, as far as the clip goes."""
    rows = [
        (begins + n, track, label, x, 16.0 * n + lag, x + 50, 16.0 * n + 50 + lag)
        for n in range(frames)
        if 1 <= begins + n <= LAST
    ]
    return pd.DataFrame(rows, columns=["frame", "track", "label", "x1", "y1", "x2", "y2"])


def crossing(boxes: pd.DataFrame) -> pd.DataFrame:
    """The first frame of each track whose centre is at or below the line, of those that were above it before."""
    centre = (boxes["y1"] + boxes["y2"]) / 2
    above = set(boxes.loc[centre < LINE, "track"])
    below = boxes[(centre >= LINE) & boxes["track"].isin(above)].drop_duplicates("track")
    return below[["track", "label", "frame"]]


def watched(truth: list[pd.DataFrame], tracks: list[pd.DataFrame], counted: list[int] | None = None) -> Watched:
    """A clip; without ``counted`` every track that crosses is counted."""
    known, found = pd.concat(truth), pd.concat(tracks)
    table = crossing(found) if counted is None else found[found["track"].isin(counted)].drop_duplicates("track")
    table = table[["frame", "track", "label"]].assign(number=range(1, len(table) + 1))
    return Watched("test", table, found, crossing(known), known, 1, LAST)


def causes(clip: Watched) -> dict[tuple[int, int], str]:
    table = judge(clip)
    return {(row.track, row.true_track): row.cause for row in table.itertuples()}


def test_parts_that_are_counted_once_are_right_though_their_boxes_are_a_little_off() -> None:
    truth = [fall(1, "bolt", 10, 100), fall(2, "nut", 12, 300)]
    tracks = [fall(8, "bolt", 10, 100, lag=6), fall(9, "nut", 12, 300, lag=-6)]
    assert causes(watched(truth, tracks)) == {(8, 1): RIGHT, (9, 2): RIGHT}


def test_every_error_has_its_cause() -> None:
    truth = [
        fall(1, "bolt", 10, 100),
        fall(2, "nut", 30, 300),
        fall(3, "bolt", 50, 500),
        fall(4, "bolt", 90, 100),
        # In view, below the line, when the clip begins.
        fall(5, "nut", -24, 300),
    ]
    tracks = [
        fall(1, "bolt", 10, 100),
        fall(2, "bolt", 30, 300),
        fall(4, "bolt", 90, 100, frames=25),
        fall(41, "bolt", 90, 100).iloc[25:],
        fall(5, "nut", -24, 300),
        fall(6, "nut", 120, 550),
    ]
    clip = watched(truth, tracks, counted=[1, 2, 4, 41, 5, 6])
    assert causes(clip) == {
        (1, 1): RIGHT,
        (2, 2): WRONG_CLASS,
        (4, 4): RIGHT,
        (41, 4): TWICE,
        (5, 5): CUT,
        (6, -1): FALSE,
        (-1, 3): MISSED,
    }
    tree = count_figures(judge(clip), ("bolt", "nut"), seed=0, resamples=200)
    assert tree["causes"] == dict.fromkeys(CAUSES, 1)
    # Bolts: three are true and four were counted; nuts: one, and two. The sum hides nothing.
    assert tree["by_class"]["bolt"]["count_bias"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert tree["by_class"]["nut"]["count_error"]["value"] == pytest.approx(1)
    assert (tree["true"], tree["counted"]) == (4, 6)
    assert tree["count_error"]["value"] == pytest.approx(2 / 4)
    assert tree["count_bias"]["value"] == pytest.approx(2 / 4)
    assert tree["miscounted"]["n"] == 6


def test_errors_of_two_classes_do_not_make_up_for_each_other() -> None:
    truth = [fall(number, "bolt", 10 * number, 100 * number) for number in range(1, 5)]
    tracks = [table.assign(label="nut" if number == 1 else "bolt") for number, table in enumerate(truth, start=1)]
    tree = count_figures(judge(watched(truth, tracks)), ("bolt", "nut"), seed=0, resamples=200)
    assert tree["count_bias"]["value"] == 0
    assert tree["count_error"]["value"] == pytest.approx(2 / 4)
    assert "count_error" not in tree["by_class"]["nut"]


def test_a_part_that_crosses_as_the_clip_ends_is_cut_and_one_in_the_middle_is_missed() -> None:
    truth = [fall(1, "bolt", LAST - 21, 100), fall(2, "bolt", LAST - 38, 300), fall(3, "bolt", 20, 100)]
    tracks = [fall(7, "bolt", 20, 100)]
    assert causes(watched(truth, tracks)) == {(7, 3): RIGHT, (-1, 1): CUT, (-1, 2): MISSED}


def test_crossing_parts_are_paired_one_to_one_so_that_most_boxes_agree() -> None:
    truth = [fall(1, "bolt", 10, 100), fall(2, "bolt", 10, 110)]
    tracks = [fall(5, "bolt", 10, 108), fall(6, "bolt", 10, 104)]
    assert causes(watched(truth, tracks)) == {(5, 2): RIGHT, (6, 1): RIGHT}


def test_where_nothing_went_wrong_the_bound_still_says_how_much_may() -> None:
    truth = [fall(number, "bolt", 4 * number, 15 * number) for number in range(1, 31)]
    tree = count_figures(judge(watched(truth, truth)), ("bolt",), seed=0, resamples=200)
    assert tree["count_error"] == {"value": 0, "low": 0, "high": 0, "n": 30}
    # No error among n: at most 1 - 0.05^(1/n) of all with 95 % confidence.
    assert tree["miscounted"] == {"value": 0, "upper": pytest.approx(1 - 0.05 ** (1 / 30), abs=1e-6), "n": 30}


def test_nothing_counted_and_nothing_there() -> None:
    truth, nothing = [fall(1, "bolt", 10, 100), fall(2, "bolt", 60, 100)], [fall(1, "bolt", 10, 100)[:0]]
    tree = count_figures(judge(watched(truth, nothing)), ("bolt",), seed=0, resamples=200)
    assert (tree["count_error"]["value"], tree["count_bias"]["value"]) == (1, -1)
    tree = count_figures(judge(watched(nothing, truth)), ("bolt",), seed=0, resamples=200)
    assert (tree["true"], tree["counted"], tree["causes"][FALSE]) == (0, 2, 2)
    assert "count_error" not in tree
