"""Leaderboards as text: one sweep's ranks, and how ranks moved between runs. Reads ranks, computes none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtake.platform.errors import ConfigError

PLAIN_WIDTH = 176
FIXED_WIDTH = 72
METRIC_WIDTH = 13
MAX_RUNS = 6

Floors = dict[tuple[str, str], float | None]
"""(cell, metric) -> the metric's floor."""


def console_for(stream: Any = None) -> Console:
    """A console that does not cut tables to 80 columns when nobody's terminal is behind it."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, highlight=False, width=PLAIN_WIDTH)


def show(ranks: dict[str, Any], console: Console, before: dict[str, float] | None = None) -> None:
    """Print one table per suite and length. `before`: average ranks of an earlier run, by `rank_key`."""
    for suite, ranked in ranks["suites"].items():
        cover = ranks["coverage"][suite]
        for length in ranked["lengths"]:
            floors = floors_of(ranks, suite, length["seconds"])
            console.print(length_table(ranks["sweep"], suite, ranked, length, console.width, before or {}, floors))
            for note in notes_of(ranked, length, console.width):
                console.print(note)
        if cover["scored"] < cover["takes"]:
            console.print(f"{suite}: {cover['scored']} of {cover['takes']} takes are scored")


def floors_of(ranks: dict[str, Any], suite: str, seconds: int) -> Floors:
    """What chance alone gives, for the metrics that measure it."""
    mine = [row for row in ranks["drift"] if (row["suite"], row["seconds"]) == (suite, seconds)]
    return {
        (f"{row['backbone']}/{row['method']}/{seconds}s", row["metric"].removesuffix("_floor")): row["value"]
        for row in mine
        if row["metric"].endswith("_floor")
    }


def scored_metrics(ranked: dict[str, Any], length: dict[str, Any]) -> list[str]:
    """Metrics that have a value in some cell; what applies to no take of a sweep is not a column."""
    rows = length["overall"]
    return [name for name in ranked["directions"] if any(row["metrics"][name]["score"] is not None for row in rows)]


def notes_of(ranked: dict[str, Any], length: dict[str, Any], width: int) -> list[str]:
    """What a reader of the table must know: columns that did not fit, and means over fewer takes than the others'."""
    names = scored_metrics(ranked, length)
    hidden = names[shown_metrics(width) :]
    some_missing = any(row["metrics"][name]["missing"] for row in length["overall"] for name in names)
    starred = "* some takes have no value for this metric; the mean, and the rank, are over the others"
    wider = f"not shown, for want of width, but in ranks.json and in the ranks: {', '.join(hidden)}"
    return [note for note, needed in ((starred, some_missing), (wider, hidden)) if needed]


def shown_metrics(width: int) -> int:
    """How many metrics' columns a table of this width holds."""
    return max(1, (width - FIXED_WIDTH) // METRIC_WIDTH)


def length_table(
    sweep: str,
    suite: str,
    ranked: dict[str, Any],
    length: dict[str, Any],
    width: int,
    before: dict[str, float],
    floors: Floors,
) -> Table:
    title = f"{sweep}: {suite}, {length['seconds']} s, {length['prompts']} prompts (rank 1 is best; [95 % interval])"
    table = new_table(title)
    for name, justify in (("#", "right"), ("backbone", "left"), ("method", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("average rank", no_wrap=True)
    table.add_column("in backbone", no_wrap=True)
    if before:
        table.add_column("was", justify="right", no_wrap=True)
    metrics = scored_metrics(ranked, length)[: shown_metrics(width)]
    floored = {name for _, name in floors}
    for name in metrics:
        arrow = ranked["directions"][name] + (", floor" if name in floored else "")
        table.add_column(f"{heading(name)}\n({arrow})", justify="right", no_wrap=True)
    within = {row["cell"]: row for rows in length["within"].values() for row in rows}
    for place, row in enumerate(length["overall"], 1):
        moved = [movement(row["average_rank"], before.get(rank_key(suite, row["cell"])))] if before else []
        scores = [
            number(row["metrics"][name]["score"])
            + ("*" if row["metrics"][name]["missing"] else "")
            + floor_text(floors.get((row["cell"], name)))
            for name in metrics
        ]
        best = within[row["cell"]]
        table.add_row(str(place), row["backbone"], row["method"], ranked_text(row), ranked_text(best), *moved, *scores)
    return table


def new_table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)


def heading(metric: str) -> str:
    """A metric's name, a word a line."""
    return escape(metric.replace("_", "\n"))


def floor_text(floor: float | None) -> str:
    return "" if floor is None else f" ({floor:.3g})"


def ranked_text(row: dict[str, Any]) -> str:
    return number(row["average_rank"], 2) + interval(row["average_rank_interval"], 2)


def number(value: float | None, digits: int | None = None) -> str:
    """'-' is 'could not be scored', which is not 0."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"


def interval(bounds: list[float] | None, digits: int) -> str:
    return f" \\[{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if bounds else ""


def movement(now: float | None, before: float | None) -> str:
    if before is None:
        return "new"
    if now is None or abs(now - before) < 5e-3:
        return f"{before:.2f} ="
    return f"{before:.2f} {'up' if now < before else 'down'}"


def rank_key(suite: str, cell: str) -> str:
    return f"{suite}:{cell}"


def average_ranks(ranks: dict[str, Any]) -> dict[str, float]:
    """Every cell's overall average rank, by `rank_key`."""
    return {rank_key(suite, row["cell"]): row["average_rank"] for suite, row in rows_of(ranks)}


def rows_of(ranks: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for suite, ranked in ranks["suites"].items():
        for length in ranked["lengths"]:
            for row in length["overall"]:
                if row["average_rank"] is not None:
                    yield suite, row


def folder_table(report: dict[str, Any], folder: str) -> Table:
    """The scores of `longtake eval`, a row per video."""
    return video_table(report, f"{folder}: {report['suite']}", lambda entry, name: number(entry["metrics"].get(name)))


def drift_table(report: dict[str, Any], folder: str) -> Table:
    """How each metric moved over each video: last quarter minus first, and their ratio where the metric tells it."""
    title = f"{folder}: drift, last quarter minus first (x: last over first)"
    return video_table(report, title, lambda entry, name: drift_text(entry["drift"], name))


def video_table(report: dict[str, Any], title: str, cell: Callable[[dict[str, Any], str], str]) -> Table:
    """A row per video, a column per metric."""
    names = list(dict.fromkeys(name for entry in report["videos"].values() for name in entry["metrics"]))
    table = new_table(escape(title))
    table.add_column("video", overflow="fold")
    for name in names:
        table.add_column(heading(name), justify="right", no_wrap=True)
    for video, entry in report["videos"].items():
        table.add_row(escape(video), *[cell(entry, name) for name in names])
    return table


def show_folder(runs: Path, only: str | None, console: Console) -> int:
    """`longtake leaderboard`: every sweep of a folder with its ranks, and what they were in the run before."""
    from longtake.platform.store import SweepStore, sweep_names

    names = sweep_names(runs) if only is None else [name for name in sweep_names(runs) if name == only]
    if not names:
        what = f"no sweep {only!r}" if only else "no sweep"
        raise ConfigError(f"{runs}: {what} in this folder; name the folder that `longtake run` wrote to")
    for name in names:
        store = SweepStore(runs, name)
        ranks, history = store.ranks(), store.history()
        if ranks is None:
            console.print(f"{name}: nothing is ranked yet")
            continue
        show(ranks, console, earlier(ranks, history))
        if len(history) > 1:
            console.print(history_table(name, ranks, history[-MAX_RUNS:]))
    return 0


def earlier(ranks: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, float]:
    """The average ranks of the latest run that differs from what stands now; empty when there is none."""
    now = average_ranks(ranks)
    past = [row["average_rank"] for row in history if row["average_rank"] != now]
    return past[-1] if past else {}


def history_table(sweep: str, ranks: dict[str, Any], history: list[dict[str, Any]]) -> Table:
    """Average rank of each cell over the runs that changed something, oldest first."""
    table = new_table(f"{sweep}: average ranks over runs")
    table.add_column("suite and cell", no_wrap=True)
    for row in history:
        table.add_column(str(row["at"])[:16].replace("T", " "), justify="right", no_wrap=True)
    for suite, row in rows_of(ranks):
        key = rank_key(suite, row["cell"])
        table.add_row(f"{suite} {row['cell']}", *[number(past["average_rank"].get(key), 2) for past in history])
    return table


def drift_text(drift: dict[str, float | None], name: str) -> str:
    moved, ratio = drift.get(f"{name}.quarter_diff"), drift.get(f"{name}.quarter_ratio")
    if moved is None:
        return "-"
    return f"{moved:+.3g}" + ("" if ratio is None else f" (x{ratio:.2f})")
