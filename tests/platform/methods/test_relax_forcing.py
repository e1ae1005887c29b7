"""Relax Forcing's tables by hand: S 2, H 1, T 1, C 4, r 2.

Keys of two numbers: the sink's are (1, 0), all others (0, 1) but for the one that is to win, (1, 0): it scores
cos(c, sink) - 2 cos(c, tail) = 1, the others 0 - 2 = -2.
"""

from pathlib import Path

import pytest
import torch

from longtake.jobs.golden import recorded
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import RolloutInfo, Window
from longtake.platform.methods.relax_forcing import RelaxForcing
from tests.platform.rollouts import latents, new_network, start


def planned(block, winners, **params):
    """Per row, [(frame, time index)] of a block, for one winner per row."""
    config = RelaxForcing(**params)
    config.check(config.window_in(Window()), (16, 60, 104))
    method = config.build(RolloutInfo(config.window_in(Window()), len(winners), (0,) * len(winners)))
    keys = torch.tensor([0.0, 1.0]).repeat(len(winners), 3 * block, 1)
    for row, winner in enumerate(winners):
        keys[row, [frame for frame in (0, 1, winner) if frame < 3 * block]] = torch.tensor([1.0, 0.0])
    if block:
        method.keys.append(keys)
    plan = method.plan(3 * block)
    assert plan.query_times == (3 * block, 3 * block + 1, 3 * block + 2)
    return [[(at.frame, at.time) for at in row] for row in plan.rows], plan, method


def block_at(first):
    return [(frame, frame) for frame in range(first, first + 3)]


@pytest.mark.parametrize(
    ("block", "winner", "past"),
    [
        (0, 9, []),
        (1, 9, [(0, 0), (1, 1), (2, 2)]),
        # m = 6 - 3 = 3, c = min(4, 2): 1, 1.5, 2 give 1 and 2; without the last, frame 2 + 1.
        (2, 3, [(0, 2), (1, 3), (3, 4), (5, 5)]),
        # m = 9, c = 4: 4, 5, 6, 7, 8 without the last, frames 6 to 9.
        (4, 8, [(0, 8), (1, 9), (8, 10), (11, 11)]),
        # m = 15: 7, 8.75, 10.5, 12.25, 14 give frames 9, 10, 12, 14.
        (6, 12, [(0, 14), (1, 15), (12, 16), (17, 17)]),
        # m = 57: 28, 35, 42, 49, 56 give frames 30, 37, 44, 51.
        (20, 44, [(0, 56), (1, 57), (44, 58), (59, 59)]),
    ],
)
def test_by_hand(block, winner, past):
    rows, _, _ = planned(block, [winner])
    assert rows == [[*past, *block_at(3 * block)]]


@pytest.mark.parametrize(("winner", "chosen"), [(11, 9), (9, 9), (10, 10), (14, 14)])
def test_frames_that_are_no_candidates_do_not_win_and_the_older_of_equals_does(winner, chosen):
    """At block 6 the candidates are 9, 10, 12, 14: frame 11 is none, and the others are equal then."""
    rows, plan, _ = planned(6, [winner])
    assert rows[0][2] == (chosen, 16)
    assert plan.rows[0][2].reason == "retrieved"
    assert plan.rows[0][2].similarity == pytest.approx(1 if chosen == winner else -2)


def test_every_row_chooses_for_itself():
    rows, _, _ = planned(20, [30, 51])
    assert [row[2] for row in rows] == [(30, 58), (51, 58)]


def test_contiguous_rope_keeps_the_frames_own_indices():
    rows, _, _ = planned(20, [44], contiguous_rope=True)
    assert rows == [[(0, 0), (1, 1), (44, 44), (59, 59), *block_at(60)]]


def test_twelve_frames():
    """S 2, H 6, T 1: m = 57, c = 6: 28, 32.67, 37.33, 42, 46.67, 51.33, 56 give frames 30, 34, 39, 44, 48, 53."""
    rows, _, _ = planned(20, [44], history=6, candidates=6, window=12)
    assert [frame for frame, _ in rows[0]] == [0, 1, 30, 34, 39, 44, 48, 53, 59, 60, 61, 62]
    assert [time for _, time in rows[0]] == [*range(51, 63)]


def test_without_a_sink_the_frame_least_like_the_newest_is_chosen():
    """S 0, T 1 at f = 18: m = 17, from 8 on: 8, 10, 12, 14, 16 give frames 8, 10, 12, 14. The winner scores 0 - 2 * 0,
    the others 0 - 2 * 1."""
    rows, plan, _ = planned(6, [12], sink=0, window=None)
    assert rows == [[(12, 16), (17, 17), *block_at(18)]]
    assert plan.rows[0][0].similarity == 0


def test_without_a_tail_the_frame_most_like_the_sink_is_chosen():
    """S 2, T 0 at f = 18: m = 16, from 8 on: 8, 9.75, 11.5, 13.25, 15 give frames 10, 11, 13, 15."""
    rows, plan, _ = planned(6, [13], tail=0, window=None)
    assert rows == [[(0, 15), (1, 16), (13, 17), *block_at(18)]]
    assert plan.rows[0][2].similarity == 1


def test_without_both_the_oldest_candidate_is_chosen():
    """m = 18, from 9 on: 9, 11, 13, 15, 17 give frames 9, 11, 13, 15, all of score 0. Block 1 has m = 3: frame 1."""
    assert planned(6, [13], sink=0, tail=0, window=None)[0] == [[(9, 17), *block_at(18)]]
    assert planned(1, [2], sink=0, tail=0, window=None)[0] == [[(1, 2), *block_at(3)]]


@pytest.mark.parametrize(
    ("cached", "winner", "chosen"),
    [
        # 18 + 3 frames at f = 60: m = 15 frames, 44 .. 58; 7, 8.75, 10.5, 12.25 of them are 51, 52, 54, 56.
        (21, 54, 54),
        (21, 44, 51),
        # 12 frames at f = 60: m = 6, 53 .. 58; from 3 on, c = 3: 3, 3.67, 4.33, 5 are 56 and 57.
        (12, 57, 57),
        # A cache that is not full yet: as without one.
        (63, 44, 44),
    ],
)
def test_history_from_a_cache(cached, winner, chosen):
    rows, _, _ = planned(20, [winner], cached=cached)
    assert rows == [[(0, 56), (1, 57), (chosen, 58), (59, 59), *block_at(60)]]


@pytest.mark.parametrize("params", [{"sink": 0}, {"tail": 0}, {"sink": 0, "tail": 0}, {"cached": 9}])
def test_they_run(params):
    rollout = start(new_network(), RelaxForcing(window=None, **params), seeds=(1, 2))
    assert latents(rollout, 8).isfinite().all()


@pytest.mark.parametrize("name", ["relax", "relax-forcing"])
def test_recorded_settings(name):
    """The authors' cache of 120 frames is not the window, which is as long as its parts: 3 + 2 + 1 + 3."""
    parts = {"sink_frames": 3, "hist_frames": 2, "tail_frames": 1, "num_hist_candidates": 5, "contiguous_rope": True}
    case = {"method": name, "local_attn_size": 120, "lambda_redundancy": 1.5, "hist_position_idx": -2, **parts}
    recorded.check_keys(Path("case.json"), case)
    config = recorded.method_of(Path("case.json"), {"case": "case", "config": case})
    assert config == RelaxForcing(2, 1, 5, 1.5, contiguous_rope=True, cached=120, window=None, sink=3)
    config.check(config.window_in(Window()), (16, 60, 104))
    assert config.window_in(Window()) == Window(9, 3, 3)


def test_a_chosen_frame_that_is_about_to_leave_stays_one_block():
    """At block 2 (f = 6) frames 1 and 2 are sink and gone; frame 3 leaves the window of 7 and is chosen."""
    _, _, method = planned(2, [3])
    assert set(method.pinned(6)) == {3}
    assert planned(20, [44])[2].pinned(60) == set()


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"history": 2}, r"window = 7: must be sink \+ history \+ tail \+ block = 8; set it, or null"),
        ({"sink": 0}, "window = 7: must be .* = 5"),
        ({"cached": 7}, r"cached = 7: must be at least sink \+ tail \+ block \+ 2 = 8, or null"),
        ({"tail": -1}, "tail = -1: must be 0 or more"),
        ({"history": 0}, "history = 0: must be 1 or more"),
        ({"history": 5}, "candidates = 4: must be at least history = 5"),
    ],
)
def test_settings_that_do_not_fit(params, reason):
    with pytest.raises(ConfigError, match=reason):
        RelaxForcing(**params).check(RelaxForcing(**params).window_in(Window()), (16, 60, 104))
