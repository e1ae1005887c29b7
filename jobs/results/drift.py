"""Drift of metrics over a video, per suite and length: the means of cells with intervals, from ranks.json.

'loss' and 'gain' mean that an exact sign-flip test over prompts tells the drift from none (p < 0.05, Holm over the
cells of the metric); without either, it may be chance.
"""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtake.evaluators.results.verdict import too_few
from longtake.jobs.console import heading, new_table, print_table
from longtake.jobs.results.board import RankFilter, title_of
from longtake.platform.store.ranks import DriftRow, Ranks

DRIFTS = {"quarter_diff": "last quarter minus first", "slope_per_min": "slope per minute"}


def show_drift(ranks: Ranks, console: Console, view: RankFilter) -> None:
    """Print two tables of ranked metrics per suite and length, if any video is long enough."""
    for suite, ranked in view.suites(ranks).items():
        for length in view.lengths(ranked):
            rows = [row for row in ranks.drift_at(suite, length.seconds) if row.metric in ranked.directions]
            if not any(row.drifts[kind].value is not None for row in rows for kind in DRIFTS):
                continue
            for kind, words in DRIFTS.items():
                title = f"{escape(title_of(ranks.sweep, suite, ranked, length))}: drift, {words}"
                print_table(console, drift_table(title, ranked.directions, rows, kind), keys=2)
            for note in notes_of(rows, length.prompts):
                console.print(note)


def drift_table(title: str, directions: dict[str, str], rows: list[DriftRow], kind: str) -> Table:
    """The table of one kind of drift."""
    cells = list(dict.fromkeys((row.backbone, row.method) for row in rows))
    by_cell = {(row.backbone, row.method, row.metric): row for row in rows}
    table = new_table(f"{title} (loss, gain: p < 0.05; \\[95 % interval])")
    for name in ("backbone", "method"):
        table.add_column(name, no_wrap=True)
    names = [name for name in directions if any(row.metric == name for row in rows)]
    for name in names:
        table.add_column(f"{heading(name)}\n({directions[name]})", justify="right", no_wrap=True)
    for cell in cells:
        texts = [drift_cell(by_cell.get((*cell, name)), kind, directions[name]) for name in names]
        table.add_row(*map(escape, (*cell, *texts)))
    return table


def drift_cell(row: DriftRow | None, kind: str, direction: str) -> str:
    """'-0.012 loss' and, below it, '[-0.015, -0.0096]'."""
    if row is None or (drift := row.drifts[kind]).value is None:
        return "-"
    text = f"{drift.value:+.2g}" + "*" * row.is_incomplete
    if drift.interval is None:
        return text
    mark = verdict(drift.value, direction) if row.is_significant(kind) else ""
    return f"{text}{mark}\n[{drift.interval[0]:.2g}, {drift.interval[1]:.2g}]"


def verdict(drift: float, direction: str) -> str:
    return " gain" if (drift > 0) == (direction == "higher") else " loss"


def notes_of(rows: list[DriftRow], prompts: int) -> list[str]:
    """Notes below the tables."""
    notes = []
    if any(row.is_incomplete for row in rows):
        notes.append("* some takes have no drift for this metric; the mean is over the others")
    cells = max(Counter(row.metric for row in rows if row.drift_p).values(), default=1)
    if few := too_few(prompts, cells):
        notes.append(few)
    return notes
