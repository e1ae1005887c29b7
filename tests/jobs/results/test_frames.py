"""The column of attended frames: in every table, with a mark where budgets are unequal."""

from __future__ import annotations

import csv
import io

from longtake.dashboards.leaderboard import as_csv
from longtake.jobs.results import leaderboard
from longtake.jobs.results.board import RankFilter, boards_of
from longtake.jobs.results.export import csv_text, latex_text, markdown_text
from longtake.jobs.results.lengths import show_lengths
from longtake.jobs.workers.recording import attended_frames
from longtake.platform.store.ranks import Ranks
from longtake.platform.takes import Cell
from tests.jobs.results.test_leaderboard import line_with, printed, swapped, unwrapped

NOTE = "+ attends another number of frames than the 12 of most cells"


def with_frames(native: float = 12.0, rag: float = 12.0) -> Ranks:
    attended = {Cell("pocket", name, s): value for name, value in (("native", native), ("rag", rag)) for s in (30, 60)}
    return swapped(attended)


def test_equal_budgets_have_a_column_and_no_mark() -> None:
    for show in (leaderboard.show, leaderboard.show_full):
        out = printed(show, with_frames())
        assert "frames" in out
        assert "12 " in out
        assert "another number" not in out


def test_unequal_budgets_are_marked() -> None:
    """Of two cells that differ, the larger budget is that of most."""
    ranks = with_frames(rag=9.54)
    short = printed(leaderboard.show, ranks, width=80)
    assert NOTE in unwrapped(short)
    assert "9.5+" in line_with(short, "pocket/rag")
    assert "12+" not in short
    assert "9.5+" in printed(leaderboard.show_full, ranks)
    boards = boards_of(ranks, RankFilter())
    rows = list(csv.DictReader(io.StringIO(csv_text(boards))))
    assert {(row["method"], row["frames"]) for row in rows} == {("native", "12.0"), ("rag", "9.54")}
    assert markdown_text(boards).count("| 9.5+ |") == 2
    assert NOTE in markdown_text(boards)
    assert latex_text(boards).count("& 9.5+ &") == 2
    assert NOTE in latex_text(boards)
    page = list(csv.DictReader(io.StringIO(as_csv(ranks, "vb", 30, "overall", "cell"))))
    assert {(row["method"], row["frames"]) for row in page} == {("native", "12.0"), ("rag", "9.54")}


def test_a_verdict_between_unequal_budgets_says_so_wherever_it_stands() -> None:
    """rag is best at 30 s, native at 60 s; 9.54 frames are written 9.5."""
    ranks = with_frames(rag=9.54)
    rag_first = "pocket, 30 s: rag (attends 9.5 frames against 12) beats native by 1.0 ranks"
    native_first = "pocket, 60 s: native (attends 12 frames against 9.5) beats rag by 1.0 ranks"
    (short, long) = ranks.suites["vb"].lengths
    assert short.verdicts[0].startswith(rag_first)
    assert long.verdicts[0].startswith(native_first)
    boards = boards_of(ranks, RankFilter())
    for text in (printed(leaderboard.show_full, ranks), markdown_text(boards), latex_text(boards)):
        assert rag_first in text
        assert native_first in text
    narrow = printed(leaderboard.show, ranks, width=80)
    assert native_first in unwrapped(narrow)
    assert max(map(len, narrow.splitlines())) <= 80
    equal = "".join(with_frames(rag=12.05).verdicts()) + "".join(swapped().verdicts())
    assert "attends" not in equal, "a tenth of a frame is no other budget, and an unknown budget is not called unequal"


def test_ranks_length_beside_length_have_the_frames_too() -> None:
    equal, unequal = printed(show_lengths, with_frames()), printed(show_lengths, with_frames(rag=9.54))
    assert line_with(equal, "native").split()[:3] == ["pocket", "native", "12"]
    assert line_with(unequal, "rag ").split()[:3] == ["pocket", "rag", "9.5+"]
    assert (NOTE in equal, unequal.count(NOTE)) == (False, 1)


def test_without_records_there_is_no_column() -> None:
    assert "frames" not in printed(leaderboard.show, swapped())
    assert "frames" not in markdown_text(boards_of(swapped(), RankFilter()))


def test_tokens_are_counted_in_frames() -> None:
    entry = [0, 0, "window", None]
    assert attended_frames({"attended": [entry] * 12}) == 12
    assert attended_frames({"attended": [entry] * 3, "parts": [1.0, 0.5, 0.25]}) == 1.75
