"""`longtake leaderboard`: the boards of every sweep in a folder, short, in full or exported.

In full: every length and metric, the change of ranks with length and between runs, and drift.
"""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from longtake.jobs.console import new_table, number, print_table, say
from longtake.jobs.results.board import RankFilter, boards_of
from longtake.jobs.results.drift import show_drift
from longtake.jobs.results.leaderboard import show, show_full
from longtake.jobs.results.lengths import show_lengths
from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.store.ranks import RankedRun, Ranks, SuiteRanks, rank_key
from longtake.platform.store.sweep import SweepStore, sweep_names

MAX_RUNS = 6


def show_folder(runs: Path, only: str | None, view: RankFilter, console: Console, full: bool = False) -> int:
    """Print the boards of the sweeps; returns 0. Raises ConfigError if the folder has no such sweep."""
    for store in stores_of(runs, only, view):
        ranks = store.ranks()
        if ranks is None:
            say(console, f"{store.name}: no ranks yet")
        elif full:
            show_all(ranks, store.history(), console, view)
        else:
            show(ranks, console, view)
            say(console, f"all metrics, drift: {full_command(runs, store.name)}")
    return 0


def full_command(runs: Path, sweep: str) -> str:
    """The command that shows a sweep in full."""
    only = [] if sweep_names(runs) == [sweep] else ["--sweep", sweep]
    return shlex.join(["longtake", "leaderboard", str(runs), *only, "--full"])


def export_folder(runs: Path, only: str | None, view: RankFilter, wanted: dict[str, str], console: Console) -> int:
    """Write the boards of the sweeps in each wanted format: name -> file, or '-' for stdout. Returns 0."""
    from longtake.jobs.results import export

    found = [ranks for store in stores_of(runs, only, view) if (ranks := store.ranks()) is not None]
    export.write([board for ranks in found for board in boards_of(ranks, view)], wanted, partial(say, console))
    return 0


def show_metric(
    runs: Path, only: str | None, metric: str, view: RankFilter, wanted: dict[str, str], console: Console, full: bool
) -> int:
    """Print one metric of every method, or write it in each wanted format: name -> file, or '-' for stdout. Returns 0.

    Raises ConfigError if no take has a value of the metric, and for options that do not apply.
    """
    from longtake.jobs.results import by_method_formats as formats
    from longtake.jobs.results.by_method import tables_of
    from longtake.jobs.results.export import write_texts

    if view.unit != "cell":
        raise ConfigError("--rank-unit: a single metric is ranked by the means of cells; leave it out with --metric")
    if unknown := wanted.keys() - formats.FORMATS.keys():
        raise ConfigError(f"--{min(unknown)}: has every metric already; leave out --metric, or take --md or --latex")
    found = [(store, ranks) for store in stores_of(runs, only, view) if (ranks := store.ranks()) is not None]
    check_metric(metric, [ranked for _, ranks in found for ranked in view.suites(ranks).values()])
    tables = [table for store, ranks in found for table in tables_of(store, ranks, metric, view, full)]
    if not tables:
        raise ConfigError(f"--metric: no take has a value of {metric!r} yet; wait for the run, or run the sweep again")
    write_texts({name: formats.FORMATS[name](tables) for name in wanted}, wanted, partial(say, console))
    for table in tables if not wanted else []:
        print_table(console, formats.text_table(table))
        for note in table.notes:
            say(console, note)
    return 0


def show_all(ranks: Ranks, history: list[RankedRun], console: Console, view: RankFilter) -> None:
    show_full(ranks, console, earlier(ranks, history), view)
    show_lengths(ranks, console, view)
    show_drift(ranks, console, view)
    if len(history) > 1 and view.unit == "cell":
        print_table(console, history_table(ranks.sweep, ranks, history[-MAX_RUNS:], view))


def stores_of(runs: Path, only: str | None, view: RankFilter) -> list[SweepStore]:
    """The sweeps to show. Raises ConfigError for a sweep, suite or length that the folder does not have."""
    names = sweep_names(runs) if only is None else [name for name in sweep_names(runs) if name == only]
    if not names:
        what = f"no sweep {only!r}" if only else "no sweep"
        raise ConfigError(f"{runs}: {what} in this folder; give the output folder of `longtake run`")
    stores = [SweepStore(runs, name) for name in names]
    check_view(view, [ranks for store in stores if (ranks := store.ranks()) is not None])
    return stores


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


def check_metric(metric: str, suites: list[SuiteRanks]) -> None:
    """Raises ConfigError for a metric that no suite ranks."""
    known = list(dict.fromkeys(name for ranked in suites for name in ranked.directions))
    if metric not in known:
        hint = did_you_mean(metric, known) if known else "run the sweep first"
        raise ConfigError(f"--metric: no ranks of {metric!r}; {hint}")


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
