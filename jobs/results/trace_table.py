"""What `longtake traces` leaves: a CSV file with everything, and a table per length that fits 120 columns.

Both are made of the same rows. '-' and an empty field are 'no value', which is not 0; the reasons stand beside them.
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
CELL_WIDTH = 22

Row = dict[str, Any]


def csv_bytes(rows: Sequence[Row]) -> bytes:
    return table_bytes(rows, list(COLUMNS))


def tables(sweep: str, rows: Sequence[Row]) -> list[Table]:
    lengths = list(dict.fromkeys(row["seconds"] for row in rows))
    return [length_table(sweep, [row for row in rows if row["seconds"] == length]) for length in lengths]


def length_table(sweep: str, rows: Sequence[Row]) -> Table:
    """A line per cell and part of the video."""
    table = new_table(f"{escape(sweep)}: what was attended in videos of {rows[0]['seconds']} s (means over prompts)")
    table.padding = (0, 1, 0, 0)
    table.add_column("cell", overflow="fold", max_width=CELL_WIDTH)
    table.add_column("part, s", justify="right", no_wrap=True)
    for name, head in HEADS.items():
        if name == "attention_ratio":
            table.add_column("% of attention\nmem snk win blk", justify="right", no_wrap=True)
        table.add_column(head, justify="right", no_wrap=True)
    for cell, found in groupby(rows, lambda row: f"{row['backbone']}/{row['method']}"):
        for number, (span, means) in enumerate(parts(list(found))):
            table.add_row("" if number else escape(cell), span, *cells(means))
        table.add_section()
    return table


def parts(rows: Sequence[Row]) -> list[tuple[str, dict[str, float | None]]]:
    """Means by part of one cell; the whole video only where it is not cut into parts."""
    found: dict[tuple[float, float], dict[str, float | None]] = {}
    for row in rows:
        found.setdefault((row["from_s"], row["to_s"]), {})[row["measure"]] = row["mean"]
    whole = (0.0, max(end for _, end in found))
    spans = [span for span in found if span != whole] or [whole]
    return [(f"{span[0]:g}-{span[1]:g}", found[span]) for span in spans]


def cells(means: dict[str, float | None]) -> list[str]:
    told = []
    for name in HEADS:
        if name == "attention_ratio":
            told.append("".join(f"{percent(means[share]):>4}" for share in SHARES).removeprefix(" "))
        told.append(short(means[name], DIGITS.get(name, 2)))
    return told


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def short(mean: float | None, digits: int) -> str:
    return "-" if mean is None else f"{mean:.{digits}f}"


LEGEND = (
    "mem.: frames of memory; alike: their mean cosine to the query, best: of the most alike; age: median;",
    "from start: share of given frames; kept: share that the next block retrieves again;",
    "ratio: memory's share of attention over its share of frames; places: distinct camera columns;",
    "shows query: share with at least half of the query's view; covers new: share of what comes into view",
)


def notes(rows: Sequence[Row], made: int, planned: int) -> list[str]:
    """How to read the table: what its heads mean, why a value is missing, and what is not made yet."""
    why: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"]:
            why.setdefault(row["reason"], []).append(f"{row['backbone']}/{row['method']}")
    missing = [f"-: {reason}: {', '.join(dict.fromkeys(names))}" for reason, names in why.items()]
    partly = [f"{made} of {planned} takes are made"] if made < planned else []
    return [*LEGEND, *missing, *partly]
