"""`longtake run`: plan, generate, score, rank and publish, as a list of named steps. Running it again resumes.

All state is in the store, so the run may be killed at any moment. Exit codes: 0 done, 3 done
with recorded failures, 75 stopped by a signal (run again to resume); errors carry their own.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from longtake.jobs.background.publisher import Publisher, Target, how_to_open
from longtake.jobs.background.ranker import Ranker, RankTarget
from longtake.jobs.console import console_for, say
from longtake.jobs.results import leaderboard
from longtake.jobs.results import ranks as rank
from longtake.jobs.results.show import full_command
from longtake.jobs.sweep.estimates.busy_time import BusyClocks
from longtake.jobs.sweep.estimates.cost import costs_of
from longtake.jobs.sweep.estimates.time_left import TimeLeft, closing_seconds, stage_times
from longtake.jobs.sweep.families import Family, families_of, shared_costs
from longtake.jobs.sweep.grid import Grid, expand
from longtake.jobs.sweep.placement import batch_of, groups, stages_on
from longtake.jobs.sweep.plan import bank_line, capacity_of, check_capacity
from longtake.jobs.sweep.progress import SweepProgress
from longtake.jobs.sweep.report import report_all
from longtake.jobs.sweep.scheduler import Scheduler, Snapshot
from longtake.jobs.sweep.selection import EVERYTHING, Selection
from longtake.jobs.sweep.tally import Tally
from longtake.jobs.workers.agreement import changes_since
from longtake.jobs.workers.run_loop import Step, run_until_done
from longtake.jobs.workers.text import encode_prompts
from longtake.platform.names import counted
from longtake.platform.store.ranks import RankedRun, Ranks
from longtake.platform.store.sweep import SweepStore, is_sweep
from longtake.platform.takes import Take
from longtake.platform.tracking.addresses import OFF, default_uri
from longtake.platform.workers.fleet import Fleet, Running
from longtake.platform.workers.ray_cluster import INLINE, LOCAL, Cluster, connect

PROGRESS_SECONDS = 1.0


def run(
    file: Path,
    overrides: Sequence[str],
    console: Console | None = None,
    *,
    selection: Selection = EVERYTHING,
    retry_failed: bool = False,
) -> int:
    """Run the selected takes of a sweep and return the exit code. `retry_failed`: also try the takes that were set
    aside. Raises LongtakeError for errors that a user can fix."""
    console = console or console_for()
    started = time.perf_counter()
    grid = expand(file, overrides, selection=selection)
    check_capacity(grid)
    store = SweepStore(Path(grid.sweep.output).absolute(), grid.sweep.name)
    with store.lock():
        store.write_plan(grid.config_yaml, grid.planned)
        grid.plugins.keep(store.folder)
        scheduler = Scheduler(store, grid.takes, grid.suites, partial(say, console), grid.sweep.workers.evaluator_parts)
        if retry_failed:
            scheduler.retry_set_aside()
        steps = scheduler.read()
        # of all planned takes, since a run that was killed may have worked on others than these
        unfinished = [take.id for take in scheduler.unscored_of(grid.planned)]
        scheduler.index.save()
        store.sweep_leftovers_of(unfinished)
        announce(grid, store, len(scheduler.made), console)
        with Publisher(target_of(grid, store)) as publisher:
            try:
                if steps:
                    work(grid, scheduler, steps, publisher, console)
            finally:  # also after a signal: its workers have ended
                store.sweep_leftovers_of(unfinished)
            return finish(grid, store, scheduler, publisher, console, started)


def announce(grid: Grid, store: SweepStore, done: int, console: Console) -> None:
    """Print the number of takes, the output folder, the notes and the bank."""
    before = f" ({done} already done)" if done else ""
    takes = counted(len(grid.planned), "take")
    chosen = f"{len(grid.takes)} of {takes}" if grid.selection.text else takes
    console.print(f"{store.name}: {chosen}{before}, in {store.folder}", soft_wrap=True, markup=False)
    for note in grid.notes + ([] if done else elsewhere(grid, store)):
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    if capacity_of(grid):
        console.print(bank_line(grid), soft_wrap=True, markup=False)


def elsewhere(grid: Grid, store: SweepStore) -> list[str]:
    """A note for each other place with results of this sweep. A relative `output` is below the current folder, and an
    earlier run may have been started in a folder above the sweep file."""
    output = Path(grid.sweep.output)
    places = [] if output.is_absolute() else [folder / output for folder in grid.file.absolute().parents]
    others = [place for place in places if place / store.name != store.folder and is_sweep(place / store.name)]
    return [f"{place / store.name} has a sweep of this name; to go on there: output={place}" for place in others]


def target_of(grid: Grid, store: SweepStore) -> Target:
    """The tracking store and experiment for the results."""
    settings = grid.sweep.tracking
    uri = settings.uri or default_uri(store.root.folder)
    return Target(grid.plugins, store, grid.suites, uri, settings.experiment or store.name)


def work(grid: Grid, scheduler: Scheduler, steps: list[Step], publisher: Publisher, console: Console) -> None:
    """Generate and score the missing takes. Raises Interrupted if a signal ended the run early."""
    store = scheduler.store
    address = grid.sweep.workers.cluster
    if address != INLINE:
        doing = (
            "starting Ray; this takes a while on a busy machine" if address == LOCAL else f"joining Ray at {address}"
        )
        say(console, f"{store.name}: {doing}")
    with SweepProgress(console, store.name) as view, connect(address) as cluster:
        scheduler.say = view.say
        ended = scheduler.made | scheduler.failed
        missing = [take for take in grid.takes if take.id not in ended]
        if missing and (changes := changes_since_the_last_run(scheduler)):
            view.say(f"note: packages differ from those of earlier takes: {changes}; pixels may round differently")
        workers = grid.sweep.workers
        encode_prompts(missing, store.root.texts, cluster, view.say, workers.device, workers.drain_seconds)
        with Ranker(RankTarget(grid.plugins, store, grid.suites)) as ranker:
            monitor = SweepMonitor(scheduler, view, publisher, ranker)
            run_fleet(grid, steps, missing, cluster, monitor)


def changes_since_the_last_run(scheduler: Scheduler) -> str:
    """How packages differ from those that one of the finished takes was made with; '' if they do not."""
    made = next(iter(scheduler.made), None)
    result = scheduler.store.result(made) if made else None
    return changes_since(result.versions) if result else ""


def run_fleet(grid: Grid, steps: list[Step], missing: list[Take], cluster: Cluster, monitor: SweepMonitor) -> None:
    """Run the steps, and those that follow from them, on samplers and evaluators."""
    scheduler, store = monitor.scheduler, monitor.store
    resources = grid.resources(store.root.texts)
    workers = groups(grid.sweep.workers, cluster, store, len(grid.takes), grid.gpus, resources, grid.plugins)
    counts = ", ".join(f"{group.name}: {group.count}" for group in workers)
    monitor.view.say(f"{store.name}: starting workers, which load libraries and models ({counts})")
    fleet = cluster.fleet(workers, scheduler.on_start, lambda: monitor.show(fleet.running()))
    samplers = 1 if cluster.address == INLINE else workers[0].count
    families = families_of(missing, grid.sweep.workers.families)
    scheduler.time_left = time_left_of(grid, scheduler.tally, families, cluster)
    items = scheduler.start(steps, batch_of(grid, len(families), samplers), grid.sweep.workers.families)
    try:
        on_poll = partial(monitor.on_poll, fleet)
        drain = grid.sweep.workers.drain_seconds
        say_line, reports = monitor.view.say, scheduler.record_reports
        run_until_done(scheduler, items, fleet, cluster.stop, on_poll, say_line, drain, reports)
    finally:
        monitor.show([], force=True)


def time_left_of(grid: Grid, tally: Tally, families: list[Family], cluster: Cluster) -> TimeLeft:
    """An estimate of the rest that begins with the plan's. `families`: those of the takes to make."""
    stages, cores = stages_on(grid, cluster.nodes)
    costs, publishes = costs_of(grid), grid.sweep.tracking.uri != OFF
    closing = closing_seconds(len(grid.planned), len(grid.suites), costs.values(), publishes)
    return TimeLeft(tally, stage_times(shared_costs(costs, families)), stages, BusyClocks(stages, cores), closing)


class SweepMonitor:
    """Updates during the run: the display, progress.json, ranks of the takes scored so far, publication. Nothing here
    waits, and nothing grows with the number of takes."""

    def __init__(self, scheduler: Scheduler, view: SweepProgress, publisher: Publisher, ranker: Ranker):
        self.scheduler, self.view, self.publisher, self.ranker = scheduler, view, publisher, ranker
        self.store = scheduler.store
        self.progress_at = 0.0

    def show(self, running: list[Running], force: bool = False) -> None:
        snapshot = self.scheduler.snapshot(running)
        self.view.update(snapshot)
        if force or time.monotonic() - self.progress_at >= PROGRESS_SECONDS:
            self.progress_at = time.monotonic()
            self.store.write_progress(progress_row(snapshot))
            self.scheduler.index.save()

    def on_poll(self, fleet: Fleet) -> None:
        self.show(fleet.running())
        if reason := self.publisher.publish_if_due():
            self.view.say(reason)
        if reason := self.ranker.rank_if_due(len(self.scheduler.scored)):
            self.view.say(f"ranks: {reason}")


def progress_row(snapshot: Snapshot) -> dict[str, Any]:
    """progress.json: the state of the sweep, for the dashboard and other readers."""
    running = [
        {"group": r.group, "worker": r.worker, "takes": [take.id for take in r.item.payload.takes], "report": r.report}
        for r in snapshot.running
    ]
    return (
        asdict(replace(snapshot, running=[]))
        | {"running": running}
        | {"updated_at": datetime.now(UTC).isoformat(timespec="seconds"), "pid": os.getpid()}
    )


def finish(
    grid: Grid, store: SweepStore, scheduler: Scheduler, publisher: Publisher, console: Console, started: float
) -> int:
    """Compute ranks, write the contact sheet, publish, and print the results."""
    from longtake.dashboards import contact_sheet

    clocks = {"generation and scoring": time.perf_counter() - started}
    ranks = timed(clocks, "ranks", lambda: rank.refresh(store, grid.planned, grid.suites))
    update_history(store, ranks)
    sheet = timed(clocks, "contact sheet", lambda: contact_sheet.write(store, grid.planned))
    answer = timed(clocks, "MLflow", publisher.finish)
    leaderboard.show(ranks, console, worked_on={take.seconds for take in grid.takes})
    report_all(scheduler, grid, clocks, time.perf_counter() - started, console)
    if sheet:
        say(console, f"contact sheet: {sheet}")
    say(console, f"all metrics, drift: {full_command(Path(grid.sweep.output), store.name)}")
    say(console, f"dashboard: longtake dashboard {shlex.quote(str(grid.sweep.output))}")
    if not publisher.is_off:
        say(console, answer.problem or f"MLflow: {how_to_open(publisher.target.uri, answer.result)}")
    return 3 if scheduler.failed or answer.problem else 0


def timed(clocks: dict[str, float], name: str, step: Any) -> Any:
    started = time.perf_counter()
    value = step()
    clocks[name] = time.perf_counter() - started
    return value


def update_history(store: SweepStore, ranks: Ranks) -> None:
    """Append this run's average ranks to the history if they changed."""
    now, past = ranks.average_ranks(), store.history()
    if not past or past[-1].average_rank != now:
        store.append_history(RankedRun(datetime.now(UTC).isoformat(timespec="seconds"), now))
