"""A suite's average ranks, length by length: which methods keep their rank in longer videos.

A rank is relative to the cells of its length; a note says if the lengths have different cells.
"""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtake.jobs.console import interval, new_table, number, print_table
from longtake.jobs.results.board import RankFilter, budget_note, title_of
from longtake.jobs.results.leaderboard import NO_MOVE
from longtake.platform import budgets
from longtake.platform.store.ranks import SCOPES, LengthRanks, RankRow, Ranks

Cells = dict[tuple[str, str], RankRow]
"""(backbone, method) -> the row of a rank table."""


def show_lengths(ranks: Ranks, console: Console, view: RankFilter) -> None:
    """Print a table per suite that has ranks at more than one length."""
    for suite, ranked in view.suites(ranks).items():
        lengths = view.lengths(ranked)
        if len(lengths) < 2:
            continue
        print_table(console, lengths_table(escape(title_of(ranks.sweep, suite, ranked)), lengths, view), keys=2)
        if len({frozenset(cells_of(length.overall)) for length in lengths}) > 1:
            console.print("the lengths have different cells; a rank is relative to the cells of its length")
        if len({length.prompt_set for length in lengths}) > 1:
            console.print("the lengths have different prompts")
        for note in dict.fromkeys(filter(None, map(budget_note, lengths))):
            console.print(note)


def lengths_table(title: str, lengths: list[LengthRanks], view: RankFilter) -> Table:
    """One row per cell: per length its rank among all cells and within its backbone, and the change of the latter from
    the shortest to the longest."""
    table = new_table(f"{title}: average rank by length (rank unit: {view.unit}; rank 1 is best; \\[95 % interval])")
    table.add_column("backbone", no_wrap=True)
    table.add_column("method", no_wrap=True)
    has_frames = any(length.budget is not None for length in lengths)
    if has_frames:
        table.add_column("frames", justify="right", no_wrap=True)
    for scope in ("overall", "in backbone"):
        for length in lengths:
            table.add_column(f"{scope}\n{length.seconds} s", no_wrap=True)
    first, last = lengths[0].seconds, lengths[-1].seconds
    table.add_column(f"in backbone,\n{first} s to {last} s", justify="right", no_wrap=True)
    overall, within = ([cells_of(length.rows(scope)) for length in lengths] for scope in SCOPES)
    for cell in in_order(overall, view):
        places = [place_text(rows.get(cell), view) for rows in [*overall, *within]]
        ends = [rows[cell].rank(view.unit).value if cell in rows else None for rows in (within[0], within[-1])]
        frames = [frames_text([rows[cell] for rows in overall if cell in rows])] if has_frames else []
        table.add_row(*map(escape, cell), *frames, *places, change(*ends))
    return table


def frames_text(rows: list[RankRow]) -> str:
    """What a cell attends at all lengths, with the mark of another budget."""
    known = [row.frames for row in rows if row.frames is not None]
    return budgets.span(known, any(row.other_budget for row in rows))


def place_text(row: RankRow | None, view: RankFilter) -> str:
    """'1.14' and, below it, '[1.00, 1.43]'."""
    if row is None:
        return "-"
    rank = row.rank(view.unit)
    return f"{number(rank.value, 2)}\n{interval(rank.interval, 2).strip()}"


def change(first: float | None, last: float | None) -> str:
    """'1.00 to 1.14 down'; '-' if the cell does not have a rank at both."""
    if first is None or last is None:
        return "-"
    word = "=" if abs(last - first) < NO_MOVE else "up" if last < first else "down"
    return f"{first:.2f} to {last:.2f} {word}"


def cells_of(rows: list[RankRow]) -> Cells:
    return {(row.cell.backbone, row.cell.method): row for row in rows}


def in_order(overall: list[Cells], view: RankFilter) -> list[tuple[str, str]]:
    """Cells by backbone, then by rank at the longest length; cells without that length come last."""
    best = {cell: place for rows in overall for place, cell in enumerate(cells_of(view.sorted([*rows.values()])))}
    longest = {cell: place for place, cell in enumerate(cells_of(view.sorted([*overall[-1].values()])))}
    return sorted(best, key=lambda cell: (cell[0], cell not in longest, longest.get(cell, 0), cell[1]))
