"""Relax Forcing's tables by hand: S 2, H 1, T 1, C 4, r 2.

Keys of two numbers: the sink's are (1, 0), all others (0, 1) but for the one that is to win, (1, 0): it scores
cos(c, sink) - 2 cos(c, tail) = 1, the others 0 - 2 = -2.
"""

import pytest
import torch

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import RolloutInfo, Window
from longtake.platform.methods.relax_forcing import RelaxForcing


def planned(block, winners, **params):
    """Per row, [(frame, time index)] of a block, for one winner per row."""
    config = RelaxForcing(**params)
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


def test_a_chosen_frame_that_is_about_to_leave_stays_one_block():
    """At block 2 (f = 6) frames 1 and 2 are sink and gone; frame 3 leaves the window of 7 and is chosen."""
    _, _, method = planned(2, [3])
    assert set(method.pinned(6)) == {3}
    assert planned(20, [44])[2].pinned(60) == set()


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"history": 2}, r"window = 7, sink = 2: must be sink \(1 or more\) \+ history \+ tail \+ block = 8"),
        ({"sink": 0}, "window = 7, sink = 0: must be sink"),
        ({"history": 0}, "history = 0: must be 1 or more"),
        ({"history": 5}, "candidates = 4: must be at least history = 5"),
    ],
)
def test_settings_that_do_not_fit(params, reason):
    with pytest.raises(ConfigError, match=reason):
        RelaxForcing(**params).check(RelaxForcing(**params).window_in(Window()), (16, 60, 104))
