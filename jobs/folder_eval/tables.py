"""The tables of `longtake eval`: scores and drift, one row per video and one column per metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.markup import escape
from rich.table import Table

from longtake.jobs.console import heading, new_table, number


def folder_table(report: dict[str, Any], folder: str) -> Table:
    """The scores of `longtake eval`, one row per video."""
    return video_table(report, f"{folder}: {report['suite']}", lambda entry, name: number(entry["metrics"].get(name)))


def drift_table(report: dict[str, Any], folder: str) -> Table:
    """Drift of each metric over each video: last quarter minus first, and their ratio for metrics that report it."""
    title = f"{folder}: drift, last quarter minus first (x: last over first)"
    return video_table(report, title, lambda entry, name: drift_text(entry["drift"], name))


def video_table(report: dict[str, Any], title: str, cell: Callable[[dict[str, Any], str], str]) -> Table:
    """A table with one row per video and one column per metric."""
    names = list(dict.fromkeys(name for entry in report["videos"].values() for name in entry["metrics"]))
    table = new_table(escape(title))
    table.add_column("video", overflow="fold")
    for name in names:
        table.add_column(heading(name), justify="right", no_wrap=True)
    for video, entry in report["videos"].items():
        table.add_row(escape(video), *[cell(entry, name) for name in names])
    return table


def drift_text(drift: dict[str, float | None], name: str) -> str:
    change, ratio = drift.get(f"{name}.quarter_diff"), drift.get(f"{name}.quarter_ratio")
    if change is None:
        return "-"
    return f"{change:+.3g}" + ("" if ratio is None else f" (x{ratio:.2f})")
