"""`longtake run`: plan, generate, score, rank and publish, as a list of named steps. Running it again resumes.

Everything it knows is in the store at every moment, so that it may be killed at any of them. Exit codes: 0 done, 3 done
with recorded failures, 75 stopped by a signal (run again to resume); errors carry their own.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from longtake.jobs import leaderboard, rank
from longtake.jobs.desk import EVALUATORS, SAMPLERS, TOGETHER, Desk, Snapshot, name_of
from longtake.jobs.drain import drain
from longtake.jobs.evaluate import ScoreWorker
from longtake.jobs.generate import SamplerWorker
from longtake.jobs.grid import Grid, expand, without_password
from longtake.jobs.plan import bank_line, check_room, room_of
from longtake.jobs.progress import View
from longtake.jobs.publisher import OFF, Publisher, Target
from longtake.jobs.sweep import WorkersConfig
from longtake.jobs.text import encode_prompts
from longtake.platform import tracking
from longtake.platform.cluster import INLINE, Cluster, connect
from longtake.platform.errors import Interrupted
from longtake.platform.fleet import Fleet, Group, Node
from longtake.platform.resources import Resources
from longtake.platform.store import SweepStore

RANK_EVERY_SECONDS = 30.0
PROGRESS_SECONDS = 1.0
# without precision: a sweep never mixes bf16 and fp8, whose takes have different ids
NUMERICS = ("device", "dtype", "attention", "kernels", "compiled")


def run(file: Path, overrides: Sequence[str], console: Console | None = None) -> int:
    """The whole sweep; returns the exit code. Raises LongtakeError for what a user can mend."""
    console = console or leaderboard.console_for()
    started = time.perf_counter()
    grid = expand(file, overrides)
    check_room(grid)
    store = SweepStore(Path(grid.sweep.output).absolute(), grid.sweep.name)
    with store.lock():
        store.sweep_leftovers()
        store.write_plan(grid.config_yaml, grid.takes)
        announce(grid, store, console)
        with Publisher(target_of(grid, store)) as publisher:
            desk = work(grid, store, publisher, console)
            store.sweep_leftovers()
            return finish(grid, store, desk, publisher, console, started)


def announce(grid: Grid, store: SweepStore, console: Console) -> None:
    """What is about to happen, and what was adjusted."""
    done = len(store.done_ids() & {take.id for take in grid.takes})
    before = f", {done} of them made before" if done else ""
    console.print(f"{store.name}: {len(grid.takes)} takes{before}, into {store.folder}", soft_wrap=True, markup=False)
    for note in grid.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    if room_of(grid):
        console.print(bank_line(grid), soft_wrap=True, markup=False)


def target_of(grid: Grid, store: SweepStore) -> Target | None:
    """Where results are published; None when tracking is off."""
    settings = grid.sweep.tracking
    if settings.uri == OFF:
        return None
    uri = settings.uri or tracking.default_uri(store.folder.parent)
    return Target(store, grid.suites, uri, settings.experiment or store.name)


def work(grid: Grid, store: SweepStore, publisher: Publisher, console: Console) -> Desk:
    """Make and score what is missing. Raises Interrupted when a signal ended it early."""
    with View(console, store.name) as view:
        desk = Desk(store, grid.takes, grid.suites, view.say, grid.sweep.workers.evaluator_parts)
        items = desk.read()
        if not items:
            return desk
        with connect(grid.sweep.workers.cluster) as cluster:
            watch = Watch(grid, store, desk, view, publisher)
            unmade = [take for take in grid.takes if take.id not in desk.made | desk.failed]
            encode_prompts(unmade, store.texts, cluster, view.say, grid.sweep.workers.device)
            wanted = groups(grid.sweep.workers, cluster, store, len(grid.takes), grid.gpus, grid.resources(store.texts))
            fleet = cluster.fleet(wanted, desk.on_start, watch.show)
            try:
                desk.open(
                    fleet,
                    desk.gather(
                        items, batch_of(grid, len(unmade), 1 if cluster.address == INLINE else wanted[0].count)
                    ),
                )
                drive(fleet, cluster, desk, watch)
            finally:
                fleet.close()
                watch.show(force=True)
    return desk


def drive(fleet: Fleet, cluster: Cluster, desk: Desk, watch: Watch) -> None:
    """Until nothing is unfinished. Raises Interrupted when a signal ended it early."""
    drain(fleet, cluster.stop, lambda: desk.unfinished, desk.book, watch.between, watch.view.say)
    if desk.unfinished:
        now = desk.snapshot()
        raise Interrupted(f"stopped: {now.made} of {now.total} takes made, {now.scored} scored; run again to resume")


class Watch:
    """What happens beside the work: the display, progress.json, ranks of what is scored so far, publication."""

    def __init__(self, grid: Grid, store: SweepStore, desk: Desk, view: View, publisher: Publisher):
        self.grid, self.store, self.desk, self.view, self.publisher = grid, store, desk, view, publisher
        self.noted_at = 0.0
        self.ranked_at = time.monotonic()
        self.ranked = 0

    def show(self, force: bool = False) -> None:
        snapshot = self.desk.snapshot()
        self.view.update(snapshot)
        if force or time.monotonic() - self.noted_at >= PROGRESS_SECONDS:
            self.noted_at = time.monotonic()
            self.store.write_progress(progress_row(snapshot))

    def between(self) -> None:
        self.show()
        self.publisher.now_and_then()
        scored = len(self.desk.scored)
        if scored > self.ranked and time.monotonic() - self.ranked_at > RANK_EVERY_SECONDS:
            rank.refresh(self.store, self.grid.takes, self.grid.suites)
            self.ranked, self.ranked_at = scored, time.monotonic()


def progress_row(snapshot: Snapshot) -> dict[str, Any]:
    """progress.json: where the sweep stands, for whoever watches from outside."""
    row = asdict(snapshot)
    row["running"] = [
        {"group": r.group, "worker": r.worker, "takes": r.item.key.split(TOGETHER), "report": r.report}
        for r in snapshot.running
    ]
    return row | {"updated_at": datetime.now(UTC).isoformat(timespec="seconds"), "pid": os.getpid()}


def groups(
    workers: WorkersConfig,
    cluster: Cluster,
    store: SweepStore,
    takes: int,
    gpus: float = 0.0,
    resources: Resources | None = None,
) -> list[Group]:
    """The fleet for these nodes. On CPUs, where scoring costs what making costs, every core does both; a GPU belongs to
    one sampler, and the evaluators share the cores that are left."""
    cpus = sum(node.cpus for node in cluster.nodes)
    scoring = workers.gpus_per_evaluator
    told = workers.evaluators if workers.evaluators != "auto" else 1 if scoring else 0
    samplers = workers.samplers if workers.samplers != "auto" else places(less(cluster.nodes, told, scoring), gpus)
    spare = (cpus - samplers) / 2 if gpus else cpus
    evaluators = told or max(1, int(spare))
    made = min(samplers, takes)
    shared = replace(resources or Resources(), samplers_per_machine=most_together(cluster.nodes, gpus, made))
    evaluator_cpus = 1.0 if gpus and cpus >= samplers + evaluators else 0.0
    return [
        Group(SAMPLERS, partial(SamplerWorker, store, shared), made, 1.0, gpus),
        Group(
            EVALUATORS,
            partial(ScoreWorker, store, "cuda" if scoring else "cpu"),
            min(evaluators, takes * workers.evaluator_parts),
            evaluator_cpus,
            scoring,
            gpus_key="gpus_per_evaluator",
            python=workers.evaluator_python,
            image=workers.evaluator_image,
        ),
    ]


def less(nodes: list[Node], count: int, gpus: float) -> list[Node]:
    """The nodes without the GPUs of so many workers."""
    left = list(nodes)
    for _ in range(count if gpus else 0):
        place = next((i for i, node in enumerate(left) if node.gpus >= gpus), None)
        if place is not None:
            left[place] = replace(left[place], gpus=left[place].gpus - gpus)
    return left


def batch_of(grid: Grid, takes: int, samplers: int) -> int:
    """How many takes a sampler makes together: as told, but no fewer pieces of work than samplers."""
    return max(1, min(grid.batch, takes // samplers))


def places(nodes: list[Node], gpus: float) -> int:
    """How many samplers of one CPU and so many GPUs the nodes hold; at least one, which the check then refuses."""
    per_node = [min(node.cpus, node.gpus / gpus) if gpus else node.cpus for node in nodes]
    return max(1, sum(int(count) for count in per_node))


def most_together(nodes: list[Node], gpus: float, samplers: int) -> int:
    """The most samplers that one node may get. Ray places them, so a node may get as many as fit."""
    return max(1, min(samplers, max((places([node], gpus) for node in nodes), default=1)))


def finish(grid: Grid, store: SweepStore, desk: Desk, publisher: Publisher, console: Console, started: float) -> int:
    """Ranks, contact sheet, publication, and what a user sees at the end."""
    from longtake.dashboards import contact_sheet

    clocks = {"making and scoring": time.perf_counter() - started}
    ranks = timed(clocks, "ranks", lambda: rank.refresh(store, grid.takes, grid.suites))
    before = remember(store, ranks)
    sheet = timed(clocks, "contact sheet", lambda: contact_sheet.write(store, grid.takes))
    problem = timed(clocks, "MLflow", publisher.finish)
    leaderboard.show(ranks, console, before)
    report_unscored(desk, console)
    report_failures(desk, console)
    report_times(desk, clocks, time.perf_counter() - started, console)
    report_memory(desk, console)
    report_numerics(store, grid, console)
    if sheet:
        say(console, f"contact sheet: {sheet}")
    say(console, f"dashboard: longtake dashboard {shlex.quote(str(grid.sweep.output))}")
    if publisher.target:
        say(console, problem or f"MLflow: {ui_command_of(publisher.target.uri)}")
    return 3 if desk.failed or problem else 0


def timed(clocks: dict[str, float], name: str, step: Any) -> Any:
    started = time.perf_counter()
    value = step()
    clocks[name] = time.perf_counter() - started
    return value


def remember(store: SweepStore, ranks: dict[str, Any]) -> dict[str, float]:
    """Note this run's average ranks if they changed; returns those of the run before, empty when there is none."""
    now, past = leaderboard.average_ranks(ranks), store.history()
    if not past or past[-1]["average_rank"] != now:
        store.append_history({"at": datetime.now(UTC).isoformat(timespec="seconds"), "average_rank": now})
        past = store.history()
    return past[-2]["average_rank"] if len(past) > 1 else {}


def report_unscored(desk: Desk, console: Console) -> None:
    """Which metrics had no value in how many takes, with one reason; means leave them out, they are not 0."""
    found: dict[str, list[str]] = {}
    for suites in desk.unscored:
        for suite, reasons in suites.items():
            for metric, reason in reasons.items():
                found.setdefault(f"{suite}/{metric}", []).append(reason)
    for name, whys in sorted(found.items()):
        say(console, f"no value: {name} in {len(whys)} takes: {whys[0]}")


def report_failures(desk: Desk, console: Console) -> None:
    for take_id in sorted(desk.failed)[:5]:
        say(console, f"failed: {name_of(desk.takes[take_id])}: {desk.failures[take_id][-1]}")
    if len(desk.failed) > 5:
        say(console, f"and {len(desk.failed) - 5} more; each take's folder keeps its failures")


def report_times(desk: Desk, clocks: dict[str, float], total: float, console: Console) -> None:
    """Wall time by stage; the samplers' own seconds add up over workers."""
    stages: dict[str, float] = {}
    for result in desk.results:
        for stage, seconds in result.timings.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clocks.items())
    say(console, f"time: {total:.0f} s ({parts})")
    if stages:
        inner = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
        say(console, f"samplers, summed over {len(desk.results)} takes: {inner}")


def report_memory(desk: Desk, console: Console) -> None:
    """Per length, the largest bank and the most that a sampler held; only the bank may grow with the length."""
    peaks: dict[int, tuple[int, int]] = {}
    for result in desk.results:
        seconds = desk.takes[result.take_id].seconds
        bank, held = peaks.get(seconds, (0, 0))
        peaks[seconds] = max(bank, result.bank_bytes), max(held, result.peak_rss_bytes)
    parts = [
        f"{s} s: bank {bank / 1e6:.1f} MB, process {held / 1e6:.0f} MB" for s, (bank, held) in sorted(peaks.items())
    ]
    if parts:
        say(console, f"most memory of a sampler: {'; '.join(parts)}")


def report_numerics(store: SweepStore, grid: Grid, console: Console) -> None:
    """Takes that were computed in unlike ways round differently, which a comparison should know."""
    results = [result for take in grid.takes if (result := store.result(take.id)) is not None]
    ways = Counter(" ".join(filter(None, map(result.versions.get, NUMERICS))) for result in results)
    if len(ways) > 1:
        told = "; ".join(f"{count} takes on {way}" for way, count in ways.most_common())
        say(console, f"note: computed in {len(ways)} ways, which round differently ({', '.join(NUMERICS)}): {told}")


def ui_command_of(told: str) -> str:
    """The command that opens MLflow's UI on a tracking store, or its address."""
    uri = without_password(told) or told
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}" if uri.startswith("sqlite:") else uri


def say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
