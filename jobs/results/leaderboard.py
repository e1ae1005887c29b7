"""Leaderboards as text: a short one that fits 80 columns, and a full one with every length, metric, floor and move.

A table has one suite, protocol, set of settings, length and rank unit, all named in its title.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtake.jobs.console import heading, interval, new_table, number, print_table, say
from longtake.jobs.results.board import Board, Floors, RankFilter, boards_of, floors_of, notes_of_suite
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import Coverage, RankRow, Ranks, rank_key

SHORT_WIDTH = 80
SHORT_METRICS = 2
NO_MOVE = 5e-3


# The short one


def show(
    ranks: Ranks, console: Console, view: RankFilter | None = None, worked_on: Collection[int] | None = None
) -> None:
    """Print the board of the longest length of each suite, below its verdicts. `worked_on`: the lengths, in seconds,
    of a run of a part of the sweep; the longest of these is printed if it has ranks."""
    view = view or RankFilter()
    width = min(SHORT_WIDTH, console.width)
    notes: list[str] = []
    for suite, ranked in view.suites(ranks).items():
        boards = [board for board in boards_of(ranks, view) if board.suite == suite]
        chosen = [board for board in boards if worked_on is None or board.length.seconds in worked_on]
        shown = (chosen or boards)[-1:]
        for board in shown:
            console.print(f"\n{escape(board.title)}", style="bold", width=width)
            for line in board.length.verdicts:
                console.print(wrapped(line, width), markup=False, width=width)
            console.print(short_table(board), width=width)
            notes += board.notes(board.metrics[:SHORT_METRICS])
        others = [board.length.seconds for board in boards if board not in shown]
        notes += [f"also ranked: {seconds} s (--length {seconds})" for seconds in others]
        notes += notes_of_suite(suite, ranked, ranks.coverage.get(suite, Coverage()))
    for note in dict.fromkeys(notes):
        console.print(note, markup=False, width=width)


def wrapped(verdict: str, width: int) -> str:
    """The verdict; if it is too long, with the prompts and the conclusion on a line of their own."""
    difference, in_prompts, conclusion = verdict.rpartition(" in ")
    parts = [verdict] if len(verdict) <= width or not in_prompts else [difference, f"  in {conclusion}"]
    return "\n".join(textwrap.fill(part, width, subsequent_indent="  ", break_on_hyphens=False) for part in parts)


def short_table(board: Board) -> Table:
    """Rank, cell, average rank with its interval, letters, and the first metrics."""
    table = new_table(None)
    table.padding, table.show_edge = (0, 1, 0, 0), False
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("cell", overflow="fold")
    is_ranking = len(board.rows) > 1
    if is_ranking:
        table.add_column(f"rank of {len(board.rows)}\n[95 % interval]", no_wrap=True)
    if board.has_frames:
        table.add_column("frames", justify="right", no_wrap=True)
    metrics = board.metrics[:SHORT_METRICS]
    for name in metrics:
        table.add_column(f"{heading(name)}\n({board.ranked.directions[name]})", justify="right", no_wrap=True)
    for place, row in enumerate(board.rows, 1):
        rank = f"{ranked_text(row.rank(board.view.unit))} {short_group(row.group or '')}".rstrip()
        cell = escape(f"{row.cell.backbone}/{row.cell.method}")
        ranks = ([rank] if is_ranking else []) + ([board.frames(row)] if board.has_frames else [])
        table.add_row(str(place), cell, *ranks, *[score_text(row, name) for name in metrics])
    return table


def short_group(letters: str) -> str:
    """The letters, with more than three in a row as 'a-e'."""
    runs: list[str] = []
    for letter in letters:
        if runs and ord(letter) == ord(runs[-1][-1]) + 1:
            runs[-1] += letter
        else:
            runs.append(letter)
    return "".join(run if len(run) <= 3 else f"{run[0]}-{run[-1]}" for run in runs)


# The full one


def show_full(ranks: Ranks, console: Console, before: dict[str, float], view: RankFilter) -> None:
    """Print one table per suite and length. `before`: average ranks (unit cell) of an earlier run, by `rank_key`."""
    for suite, ranked in view.suites(ranks).items():
        for board in (board for board in boards_of(ranks, view) if board.suite == suite):
            for line in board.length.verdicts:
                say(console, line)
            floors = floors_of(ranks, suite, board.length.seconds)
            print_table(console, full_table(board, before, floors), keys=3)
            for note in board.notes(board.metrics):
                say(console, note)
        for note in notes_of_suite(suite, ranked, ranks.coverage.get(suite, Coverage())):
            say(console, note)


def full_table(board: Board, before: dict[str, float], floors: Floors) -> Table:
    before = before if board.view.unit == "cell" else {}
    unit = f"rank unit: {board.view.unit}; rank 1 is best; \\[95 % interval]"
    table = new_table(f"{escape(board.title)} ({unit})")
    for name, justify in (("#", "right"), ("backbone", "left"), ("method", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("average rank", no_wrap=True)
    table.add_column("in backbone", no_wrap=True)
    if before:
        table.add_column("was", justify="right", no_wrap=True)
    if board.has_frames:
        table.add_column("frames", justify="right", no_wrap=True)
    with_floor = {name for _, name in floors}
    for name in board.metrics:
        arrow = board.ranked.directions[name] + (", floor" if name in with_floor else "")
        table.add_column(f"{heading(name)}\n({arrow})", justify="right", no_wrap=True)
    within = {row.cell: row for row in board.length.rows("within")}
    for place, row in enumerate(board.rows, 1):
        change = [movement(row.average_rank.value, before.get(rank_key(board.suite, row.cell)))] if before else []
        scores = [score_text(row, name) + floor_text(floors.get((row.cell, name))) for name in board.metrics]
        both = row, within[row.cell]
        places = [f"{ranked_text(one.rank(board.view.unit))} {one.group or ''}".rstrip() for one in both]
        frames = [board.frames(row)] if board.has_frames else []
        cell = escape(row.cell.backbone), escape(row.cell.method)
        table.add_row(str(place), *cell, *places, *change, *frames, *scores)
    return table


def score_text(row: RankRow, metric: str) -> str:
    one = row.metrics[metric]
    return number(one.score.value) + ("*" if one.missing else "")


def floor_text(floor: float | None) -> str:
    return "" if floor is None else f" ({floor:.3g})"


def ranked_text(rank: Statistic) -> str:
    return number(rank.value, 2) + interval(rank.interval, 2)


def movement(now: float | None, before: float | None) -> str:
    if before is None:
        return "new"
    if now is None or abs(now - before) < NO_MOVE:
        return f"{before:.2f} ="
    return f"{before:.2f} {'up' if now < before else 'down'}"
