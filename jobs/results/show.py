"""`longtake leaderboard`: ranks of every sweep in a folder, their change with length and between runs, and drift."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from longtake.jobs.console import new_table, number
from longtake.jobs.results.drift import show_drift
from longtake.jobs.results.leaderboard import RankFilter, show
from longtake.jobs.results.lengths import show_lengths
from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.store.ranks import RankedRun, Ranks, rank_key
from longtake.platform.store.sweep import SweepStore, sweep_names

MAX_RUNS = 6


def show_folder(runs: Path, only: str | None, view: RankFilter, console: Console) -> int:
    """Run `longtake leaderboard`: print ranks, their change with length and between runs, and drift. Returns 0. Raises
    ConfigError if the folder has no such sweep."""
    names = sweep_names(runs) if only is None else [name for name in sweep_names(runs) if name == only]
    if not names:
        what = f"no sweep {only!r}" if only else "no sweep"
        raise ConfigError(f"{runs}: {what} in this folder; give the output folder of `longtake run`")
    stores = [SweepStore(runs, name) for name in names]
    by_name = {store.name: (store.ranks(), store.history()) for store in stores}
    check_view(view, [ranks for ranks, _ in by_name.values() if ranks is not None])
    for name, (ranks, history) in by_name.items():
        if ranks is None:
            console.print(f"{name}: no ranks yet")
            continue
        show(ranks, console, earlier(ranks, history), view)
        show_lengths(ranks, console, view)
        show_drift(ranks, console, view)
        if len(history) > 1 and view.unit == "cell":
            console.print(history_table(name, ranks, history[-MAX_RUNS:], view))
    return 0


def check_view(view: RankFilter, sweeps: list[Ranks]) -> None:
    """Raises ConfigError for a suite or length that is in no sweep."""
    suites = list(dict.fromkeys(name for ranks in sweeps for name in ranks.suites))
    if view.suite is not None and view.suite not in suites:
        raise ConfigError(f"--suite: no ranks for suite {view.suite!r}; {did_you_mean(view.suite, suites)}")
    chosen = [ranked for ranks in sweeps for ranked in view.suites(ranks).values()]
    lengths = sorted({length.seconds for ranked in chosen for length in ranked.lengths})
    if view.seconds is not None and view.seconds not in lengths:
        known = ", ".join(map(str, lengths)) or "none"
        raise ConfigError(f"--length: no ranks at {view.seconds} s; known lengths in seconds: {known}")


def earlier(ranks: Ranks, history: list[RankedRun]) -> dict[str, float]:
    """The average ranks of the latest run that differs from the current ranks; {} without one."""
    now = ranks.average_ranks()
    past = [run.average_rank for run in history if run.average_rank != now]
    return past[-1] if past else {}


def history_table(sweep: str, ranks: Ranks, history: list[RankedRun], view: RankFilter) -> Table:
    """Average rank of each cell after each run that changed ranks, oldest first."""
    table = new_table(f"{sweep}: average ranks over runs (rank unit: cell)")
    table.add_column("suite and cell", no_wrap=True)
    for run in history:
        table.add_column(run.at[:16].replace("T", " "), justify="right", no_wrap=True)
    for suite, length in ranks.lengths(view.suite, view.seconds):
        for cell in [row.cell for row in length.overall if row.average_rank.value is not None]:
            past = [run.average_rank.get(rank_key(suite, cell)) for run in history]
            table.add_row(f"{suite} {cell}", *[number(rank, 2) for rank in past])
    return table
