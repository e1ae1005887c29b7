"""The column of attended frames: in every table, with a mark where budgets are unequal."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from longtake.dashboards.leaderboard import as_csv
from longtake.jobs.results import leaderboard
from longtake.jobs.results.board import RankFilter, boards_of
from longtake.jobs.results.export import csv_text, latex_text, markdown_text
from longtake.jobs.workers.recording import attended_frames
from longtake.platform.store.ranks import Ranks
from longtake.platform.takes import Cell
from tests.jobs.results.test_leaderboard import line_with, printed, swapped, unwrapped

NOTE = "+ attends another number of frames than the 12 of most cells"


def with_frames(native: float = 12.0, rag: float = 12.0) -> Ranks:
    ranks = swapped()
    attended = {Cell("pocket", name, s): value for name, value in (("native", native), ("rag", rag)) for s in (30, 60)}
    suite = ranks.suites["vb"]
    lengths = [length.with_frames(attended) for length in suite.lengths]
    return replace(ranks, suites={"vb": replace(suite, lengths=lengths)})


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


def test_without_records_there_is_no_column() -> None:
    assert "frames" not in printed(leaderboard.show, swapped())
    assert "frames" not in markdown_text(boards_of(swapped(), RankFilter()))


def test_tokens_are_counted_in_frames() -> None:
    entry = [0, 0, "window", None]
    assert attended_frames({"attended": [entry] * 12}) == 12
    assert attended_frames({"attended": [entry] * 3, "parts": [1.0, 0.5, 0.25]}) == 1.75
