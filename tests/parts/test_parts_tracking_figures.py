"""Figures of tracks against published ones, TrackEval's own combination, and cases counted by hand."""

import numpy as np
import pandas as pd
import pytest
from trackeval.metrics import HOTA

import mot
from sightline.core.errors import InputError
from sightline.parts.stretches import Stretch
from sightline.parts.tracking_figures import ALPHAS, add, figures, hota_curves, score, score_clips, statistics

needs_mot = pytest.mark.skipif(not mot.SHARED.exists(), reason="the shared MOT files are not here")
MOT17 = ("MOT17-02", "MOT17-04", "MOT17-05", "MOT17-09", "MOT17-11")
SQUARE = (0.0, 0.0, 10.0, 10.0)


def boxes(*rows: tuple[int, int, tuple[float, float, float, float]]) -> pd.DataFrame:
    flat = [(frame, track, *box) for frame, track, box in rows]
    return pd.DataFrame(flat, columns=["frame", "track", "x1", "y1", "x2", "y2"])


@needs_mot
@pytest.mark.parametrize("name", MOT17)
def test_every_figure_of_mot17_is_that_which_trackeval_published(name: str) -> None:
    folder = mot.SHARED / "MOT17" / name
    truth, tracks = mot.pedestrians(mot.read_mot(folder / "gt.txt.gz"), mot.read_mot(folder / "tracker_mott.txt.gz"))
    scores = score(truth, tracks, mot.length_of(folder))
    found, curves = figures(scores), hota_curves(scores)
    table = pd.read_csv(mot.SHARED / "MOT17/tracker_mott_trackeval.csv", index_col="seq")
    published = table.loc[f"{name}-FRCNN"]
    names = {"hota": "HOTA___AUC", "deta": "DetA___AUC", "assa": "AssA___AUC", "loca": "LocA___AUC"}
    names |= {"mota": "MOTA", "motp": "MOTP", "idf1": "IDF1", "switches": "IDSW", "fp": "CLR_FP", "fn": "CLR_FN"}
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(published[theirs], abs=1e-9)
    for ours, theirs in {"hota": "HOTA", "deta": "DetA", "assa": "AssA", "detre": "DetRe", "detpr": "DetPr"}.items():
        expected = [published[f"{theirs}___{round(100 * alpha)}"] for alpha in ALPHAS]
        assert curves[ours].to_numpy() == pytest.approx(np.array(expected), abs=1e-9)


@needs_mot
@pytest.mark.parametrize("name", ["TUD-Campus", "TUD-Stadtmitte"])
def test_a_tracker_on_mot15_scores_what_the_official_kit_printed(name: str) -> None:
    folder = mot.SHARED / "MOT15" / name
    truth, tracks = mot.scored(mot.read_mot(folder / "gt.txt")), mot.read_mot(folder / "tracker_cem.txt")
    found = figures(score(truth, tracks, mot.length_of(folder)))
    published = pd.read_csv(mot.SHARED / "MOT15/cem_published.csv", index_col="seq").loc[name]
    assert [found[key] for key in ("fp", "fn", "switches")] == [published[key] for key in ("FP", "FN", "IDs")]
    for ours, theirs in {"mota": "MOTA", "motp": "MOTP", "idf1": "IDF1"}.items():
        assert round(100 * found[ours], 1) == published[theirs]


@needs_mot
@pytest.mark.parametrize("name", ["TUD-Campus", "ETH-Pedcross2", "ADL-Rundle-8", "Venice-2"])
def test_plain_sort_scores_what_its_authors_printed(name: str) -> None:
    folder = mot.SHARED / "MOT15" / name
    frames = mot.length_of(folder)
    tracks = mot.sort(mot.read_mot(folder / "det_frcnn_sort.txt"), frames)
    found = figures(score(mot.scored(mot.read_mot(folder / "gt.txt")), tracks, frames))
    published = pd.read_csv(mot.SHARED / "MOT15/sort_published.csv", index_col="seq").loc[name]
    assert [found[key] for key in ("fp", "fn", "switches")] == [published[key] for key in ("FP", "FN", "IDs")]
    assert round(100 * found["mota"], 1) == published["MOTA"]


@needs_mot
def test_sequences_add_up_as_trackeval_combines_them() -> None:
    metric, ours, theirs = HOTA(), [], {}
    for name in ("TUD-Campus", "TUD-Stadtmitte"):
        folder = mot.SHARED / "MOT15" / name
        truth, tracks = mot.scored(mot.read_mot(folder / "gt.txt")), mot.read_mot(folder / "tracker_cem.txt")
        ours.append(score(truth, tracks, mot.length_of(folder)))
        curves = hota_curves(ours[-1])
        counts = {"HOTA_TP": ours[-1].hota_tp, "HOTA_FN": ours[-1].hota_fn, "HOTA_FP": ours[-1].hota_fp}
        shares = {"AssA": curves["assa"].to_numpy(), "LocA": curves["loca"].to_numpy()}
        theirs[name] = counts | shares | {"AssRe": shares["AssA"], "AssPr": shares["AssA"]}
    together = metric.combine_sequences(theirs)
    for key in ("HOTA", "DetA", "AssA", "LocA"):
        assert hota_curves(add(ours))[key.lower()].to_numpy() == pytest.approx(together[key], abs=1e-12)


def test_resamples_of_stretches_add_up_to_the_whole_clip_and_move_with_their_weights() -> None:
    # A part that is lost in the second stretch, and one that is tracked well in the first.
    truth = boxes(*((frame, 1, SQUARE) for frame in range(1, 11)), *((frame, 2, SQUARE) for frame in range(11, 21)))
    truth, tracks = (table.assign(clip="a") for table in (truth, truth[truth["frame"] <= 15]))
    stretches = [Stretch("a", 1, 10), Stretch("a", 11, 20)]
    tracked = score_clips(truth, tracks, [Stretch("a", 1, 20)], stretches)
    of_resample = statistics(tracked)
    assert of_resample(np.ones(2)) == pytest.approx(figures(tracked.whole))
    assert of_resample(np.array([2.0, 0.0]))["mota"] == pytest.approx(1)
    assert of_resample(np.array([0.0, 2.0]))["mota"] == pytest.approx(1 / 2)
    assert of_resample(np.array([0.0, 2.0]))["fn"] == 10


def test_a_perfect_tracker_has_all_figures_at_their_best() -> None:
    truth = boxes((1, 7, SQUARE), (2, 7, SQUARE), (4, 9, SQUARE))
    found = figures(score(truth, truth.assign(track=truth["track"] + 5), 5))
    assert {name: found[name] for name in ("hota", "deta", "assa", "mota", "idf1")} == dict.fromkeys(
        ("hota", "deta", "assa", "mota", "idf1"), pytest.approx(1)
    )
    assert found["switches"] == found["fp"] == found["fn"] == 0


def test_a_switch_halfway_is_counted_as_one_does_by_hand() -> None:
    truth = boxes(*((frame, 1, SQUARE) for frame in range(1, 5)))
    tracks = truth.assign(track=[1, 1, 2, 2])
    found = figures(score(truth, tracks, 4))
    assert (found["switches"], found["mota"], found["idf1"]) == (1, 3 / 4, 1 / 2)
    # Each true positive shares two of the four boxes that its track and its truth have together.
    assert (found["deta"], found["assa"], found["hota"]) == pytest.approx((1, 1 / 2, np.sqrt(1 / 2)))


@pytest.mark.parametrize(("truth", "tracks"), [(0, 2), (2, 0), (0, 0)])
def test_nothing_found_and_nothing_there_are_scored_too(truth: int, tracks: int) -> None:
    rows = [(1, number, SQUARE) for number in range(2)]
    found = figures(score(boxes(*rows[:truth]), boxes(*rows[:tracks]), 3))
    assert (found["fn"], found["fp"], found["hota"], found["mota"]) == (truth, tracks, 0, pytest.approx(0))


def test_boxes_outside_the_frames_asked_for_are_left_out() -> None:
    truth = boxes((3, 1, SQUARE), (4, 1, SQUARE), (9, 1, SQUARE))
    assert score(truth, truth, frames=3, first=3).tp == 2


def test_two_boxes_of_one_track_in_a_frame_are_refused() -> None:
    with pytest.raises(InputError, match="the tracker's output has two boxes of track 4 in frame 2"):
        score(boxes(), boxes((2, 4, SQUARE), (2, 4, SQUARE)), 3)
