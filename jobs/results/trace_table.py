"""The output of `longtake traces`: a CSV file with all numbers, and a table per length that fits 120 columns.

Both have the same rows. '-' and an empty field are missing values, not 0; a note or column gives the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.markup import escape
from rich.table import Table

from longtake.jobs.console import new_table, table_bytes

COLUMNS = (
    *("backbone", "method", "seconds", "from_s", "to_s", "measure"),
    *("mean", "low", "high", "prompts", "reason"),
)
HEADS = {
    "memory_frames": "mem.",
    "similarity": "alike",
    "best_similarity": "best",
    "age_s": "age, s",
    "from_start": "from\nstart",
    "again": "kept",
    "attention_ratio": "ratio",
    "places": "places",
    "relevant": "shows\nquery",
    "coverage": "covers\nnew",
}
SHARES = ("attention_memory", "attention_sink", "attention_window", "attention_block")
DIGITS = {"memory_frames": 1, "age_s": 0}

Row = dict[str, Any]


def csv_bytes(rows: Sequence[Row]) -> bytes:
    return table_bytes(rows, list(COLUMNS))


def tables(sweep: str, rows: Sequence[Row]) -> list[Table]:
    lengths = list(dict.fromkeys(row["seconds"] for row in rows))
    return [length_table(sweep, [row for row in rows if row["seconds"] == length]) for length in lengths]


def length_table(sweep: str, rows: Sequence[Row]) -> Table:
    """A table with one line per cell and part of the video."""
    table = new_table(f"{escape(sweep)}: attended frames in videos of {rows[0]['seconds']} s (means over prompts)")
    table.padding = (0, 1, 0, 0)
    table.add_column("cell", no_wrap=True)
    table.add_column("part, s", justify="right", no_wrap=True)
    for name, head in HEADS.items():
        if name == "attention_ratio":
            table.add_column("% of attention\nmem snk win blk", justify="right", no_wrap=True)
        table.add_column(head, justify="right", no_wrap=True)
    for cell, cell_rows in groupby(rows, lambda row: f"{row['backbone']}/{row['method']}"):
        spans = parts(list(cell_rows))
        for number, (span, means) in enumerate(spans):
            table.add_row("" if number else escape(cell), span, *cells(means))
        if len(spans) > 1:
            table.add_section()
    return table


def parts(rows: Sequence[Row]) -> list[tuple[str, dict[str, float | None]]]:
    """Means of one cell by part of the video; of the whole video only if it has no parts."""
    means: dict[tuple[float, float], dict[str, float | None]] = {}
    for row in rows:
        means.setdefault((row["from_s"], row["to_s"]), {})[row["measure"]] = row["mean"]
    whole = (0.0, max(end for _, end in means))
    spans = [span for span in means if span != whole] or [whole]
    return [(f"{span[0]:g}-{span[1]:g}", means[span]) for span in spans]


def cells(means: dict[str, float | None]) -> list[str]:
    texts = []
    for name in HEADS:
        if name == "attention_ratio":
            texts.append("".join(f"{percent(means[share]):>4}" for share in SHARES).removeprefix(" "))
        texts.append(decimal(means[name], DIGITS.get(name, 2)))
    return texts


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def decimal(mean: float | None, digits: int) -> str:
    return "-" if mean is None else f"{mean:.{digits}f}"


LEGEND = (
    "mem.: frames of memory; alike: their mean cosine similarity to the query, best: the highest; age: median;",
    "from start: share of given frames; kept: share that the next block retrieves again;",
    "ratio: memory's share of attention over its share of frames; places: distinct camera columns;",
    "shows query: share with at least half of the query's view; covers new: share of the newly visible scene",
)


def notes(rows: Sequence[Row], made: int, planned: int) -> list[str]:
    """Notes below the tables: the column heads, reasons for missing values, and the number of finished takes."""
    cells_by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"]:
            cells_by_reason.setdefault(row["reason"], []).append(f"{row['backbone']}/{row['method']}")
    missing = [f"-: {reason}: {', '.join(dict.fromkeys(names))}" for reason, names in cells_by_reason.items()]
    progress = [f"{made} of {planned} takes are done"] if made < planned else []
    return [*LEGEND, *missing, *progress]
