"""The tables of `longtake eval`: scores and drift, one row per video and one column per metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from longtake.jobs.console import heading, new_table, number, say

COLUMN_GAP = 3


Cell = Callable[[dict[str, Any], str], str]
"""(entry of the report, metric) -> its text."""


def print_scores(report: dict[str, Any], folder: str, console: Console) -> None:
    """The scores of `longtake eval`, one row per video."""
    title = f"{folder}: {report['suite']}"
    print_videos(report, title, lambda entry, name: number(entry["metrics"].get(name)), console)


def print_drift(report: dict[str, Any], folder: str, console: Console) -> None:
    """Drift of each metric over each video: last quarter minus first, and their ratio for metrics that report it."""
    title = f"{folder}: drift, last quarter minus first (x: last over first)"
    print_videos(report, title, lambda entry, name: drift_text(entry["drift"], name), console)


def print_videos(report: dict[str, Any], title: str, cell: Cell, console: Console) -> None:
    """Tables with one row per video and one column per metric, as many as the width needs. A file name is never
    broken: one that leaves no room for a metric is on a line of its own, above its numbers."""
    videos: dict[str, dict[str, Any]] = report["videos"]
    names = list(dict.fromkeys(name for entry in videos.values() for name in entry["metrics"]))
    columns = {name: [cell(entry, name) for entry in videos.values()] for name in names}
    widths = {name: COLUMN_GAP + max(map(cell_len, [*name.split("_"), *columns[name]])) for name in names}
    longest = max(map(cell_len, [*videos, "video"]))
    apart = longest + max(widths.values(), default=0) > console.width
    console.print(escape(title), style="bold", soft_wrap=True)
    if apart:
        for number_, video in enumerate(videos, 1):
            say(console, f"{number_:>3}  {video}")
    heads = [f"{number_}" for number_ in range(1, len(videos) + 1)] if apart else [*map(escape, videos)]
    for part in parts_of(widths, console.width - max(map(cell_len, [*heads, "video"]))):
        table = new_table(None)
        table.show_edge = False
        table.add_column("video", no_wrap=True)
        for name in part:
            table.add_column(heading(name), justify="right", no_wrap=True)
        for row, head in enumerate(heads):
            table.add_row(head, *[columns[name][row] for name in part])
        console.print(table)


def parts_of(widths: dict[str, int], width: int) -> list[list[str]]:
    """The columns in parts that fit the width, at least one in each."""
    parts: list[list[str]] = [[]]
    left = width
    for name, own in widths.items():
        if parts[-1] and own > left:
            parts.append([])
            left = width
        parts[-1].append(name)
        left -= own
    return parts


def drift_text(drift: dict[str, float | None], name: str) -> str:
    change, ratio = drift.get(f"{name}.quarter_diff"), drift.get(f"{name}.quarter_ratio")
    if change is None:
        return "-"
    return f"{change:+.3g}" + ("" if ratio is None else f" (x{ratio:.2f})")
