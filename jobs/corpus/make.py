"""`longtake corpus`: plans a corpus, samples or imports the latents of every prompt, and writes the index. Resumable.

A work item is a shard of the plan, so a corpus has one entry per prompt for any number of samplers, even after a crash.
Exit codes: 0 done, 1 `--verify` detected damage, 3 done except for recorded failures, 75 stopped by a signal (run again
to resume); errors have their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from longtake.jobs.console import console_for, say
from longtake.jobs.corpus import spec as corpus_spec
from longtake.jobs.corpus.latents import Imported, LatentWorker, Sampled, ShardItem, Source
from longtake.jobs.corpus.spec import CorpusPlan
from longtake.jobs.sweep.estimates.busy_time import SAMPLERS
from longtake.jobs.sweep.placement import SAMPLER_SETTINGS, slots
from longtake.jobs.sweep.plan import check_capacity
from longtake.jobs.sweep.progress import SweepProgress
from longtake.jobs.sweep.scheduler import Snapshot
from longtake.jobs.workers.attempts import Attempts
from longtake.jobs.workers.run_loop import FINAL_ERRORS, Step, run_until_done
from longtake.jobs.workers.text import encode_prompts
from longtake.platform.corpus.reader import Corpus, read_spec
from longtake.platform.corpus.records import ShardRecord
from longtake.platform.corpus.writer import CorpusStore, damage_lines
from longtake.platform.errors import ConfigError
from longtake.platform.names import counted
from longtake.platform.store.records import MAKING
from longtake.platform.store.root import OutputRoot
from longtake.platform.takes import Take
from longtake.platform.workers.fleet import Group, Item, Outcome, Patience, Running
from longtake.platform.workers.ray_cluster import Cluster, connect


def make(file: Path, overrides: Sequence[str], console: Console | None = None) -> int:
    """Makes the whole corpus; returns the exit code. Raises LongtakeError for errors that a user can fix."""
    console = console or console_for()
    plan = corpus_spec.expand(file, overrides)
    if plan.grid:
        check_capacity(plan.grid)
    store = CorpusStore(Path(plan.spec.output).absolute(), plan.spec.name, plan.spec.dtype, plan.latent)
    with store.lock():
        store.sweep_leftovers()
        shards = store.write_plan(plan.spec_yaml, plan.takes, plan.spec.shard_takes)
        plan.plugins.keep(store.folder)
        with SweepProgress(console, store.name) as view:
            scheduler = ShardScheduler(store, shards, view.say)
            announce(plan, scheduler, view.say)
            if scheduler.unfinished:
                work(plan, scheduler, view)
        store.sweep_leftovers()
        return finish(scheduler, console)


def verify(file: Path, overrides: Sequence[str]) -> int:
    """Checks the hash of every shard; returns 1 if one does not match its record."""
    spec = corpus_spec.load(file, overrides)
    folder = OutputRoot(spec.output).corpora.absolute() / spec.name
    read_spec(folder)
    lines = damage_lines(folder)
    for line in lines or [f"{folder}: {len(Corpus.open(folder))} entries; every shard matches its record"]:
        print(line)
    return 1 if lines else 0


def announce(plan: CorpusPlan, scheduler: ShardScheduler, say: Callable[[str], None]) -> None:
    """Prints the amount of work, and the notes on adjusted settings."""
    before = f", {scheduler.takes_done} already made" if scheduler.done else ""
    shards, folder = len(scheduler.shards), scheduler.store.folder
    say(f"{plan.spec.name}: {counted(len(plan.takes), 'take')} in {counted(shards, 'shard')}{before}, into {folder}")
    for note in plan.notes:
        say(f"note: {note}")


class ShardScheduler:
    """Schedules the missing shards. One that fails too often (`attempts.py`) is set aside until the next run."""

    def __init__(self, store: CorpusStore, shards: list[list[Take]], say: Callable[[str], None]):
        self.store, self.shards, self.say = store, shards, say
        records = {number: store.record(number, takes) for number, takes in enumerate(shards)}
        self.done = {number: record for number, record in records.items() if record is not None}
        self.attempts: Attempts[int] = Attempts()
        self.started, self.before = time.monotonic(), self.takes_done

    @property
    def missing(self) -> list[int]:
        """Shards that are neither done nor set aside."""
        return [number for number in range(len(self.shards)) if number not in self.done and not self.is_aside(number)]

    @property
    def unfinished(self) -> int:
        return len(self.missing)

    @property
    def takes_done(self) -> int:
        return sum(len(self.shards[number]) for number in self.done)

    @property
    def progress_text(self) -> str:
        return f"{self.takes_done} of {sum(map(len, self.shards))} takes made; run again to resume"

    def is_aside(self, number: int) -> bool:
        return self.attempts.is_set_aside(MAKING, number)

    def start(self) -> list[Step]:
        """Starts the clock; returns one item per missing shard."""
        self.started = time.monotonic()
        return [(SAMPLERS, self.item(number)) for number in self.missing]

    def item(self, number: int) -> Item:
        takes = self.shards[number]
        size, label = (
            float(sum(take.latent_frames for take in takes)),
            f"shard {number} ({counted(len(takes), 'take')})",
        )
        return Item(ShardItem(number, takes), size, label=label)

    def record_outcome(self, outcome: Outcome) -> list[Step]:
        number = outcome.item.payload.number
        if isinstance(outcome.error, FINAL_ERRORS):
            raise outcome.error
        self.attempts.ended(MAKING, [number], outcome.died)
        if outcome.error is None:
            self.done[number] = outcome.value
            return []
        self.attempts.check_workers(MAKING, outcome.error)
        failure = self.attempts.failed(MAKING, number, outcome.error, outcome.died)
        if self.is_aside(number):
            self.say(f"shard {number}: set aside after {self.attempts.count(number)}; the last: {failure.brief}")
            return []
        self.say(f"shard {number}: tried again after {failure.brief}")
        return [(SAMPLERS, outcome.item)]

    def snapshot(self, running: list[Running]) -> Snapshot:
        total, made = sum(map(len, self.shards)), self.takes_done
        seconds, new = time.monotonic() - self.started, made - self.before
        return Snapshot(
            total=total,
            made=made,
            scored=None,
            failed=sum(len(self.shards[number]) for number in self.attempts.failures if self.is_aside(number)),
            new_made=new,
            seconds=seconds,
            takes_per_minute=60 * new / seconds if new else None,
            seconds_left=(total - made) * seconds / new if new else None,
            running=running,
        )


def work(plan: CorpusPlan, scheduler: ShardScheduler, view: SweepProgress) -> None:
    """Makes the missing shards. Raises Interrupted if a signal ends it early."""
    workers = plan.spec.workers
    with connect(workers.cluster) as cluster:
        if plan.grid:
            unmade = [take for number in scheduler.missing for take in scheduler.shards[number]]
            encode_prompts(unmade, scheduler.store.root.texts, cluster, view.say, workers.device, workers.drain_seconds)

        def show() -> None:
            view.update(scheduler.snapshot(fleet.running()))

        fleet = cluster.fleet([group(plan, scheduler, cluster)], on_report=show)
        run_until_done(scheduler, scheduler.start(), fleet, cluster.stop, show, view.say, workers.drain_seconds)


def group(plan: CorpusPlan, scheduler: ShardScheduler, cluster: Cluster) -> Group:
    """The samplers, or the readers of files, that fit on these nodes; at most one per missing shard."""
    gpus = plan.grid.gpus if plan.grid else 0.0
    samplers = plan.spec.workers.samplers
    count = samplers if samplers != "auto" else slots(cluster.nodes, gpus)
    return Group(
        SAMPLERS,
        partial(plan.plugins.worker, LatentWorker, scheduler.store, source_of(plan, scheduler)),
        min(count, scheduler.unfinished),
        1.0,
        gpus,
        plan.spec.workers.patience if plan.grid else Patience(),
        SAMPLER_SETTINGS,
    )


def source_of(plan: CorpusPlan, scheduler: ShardScheduler) -> Source:
    if plan.grid:
        return Sampled(scheduler.store, plan.grid.resources(scheduler.store.root.texts), plan.grid.batch)
    return Imported(Path(str(plan.spec.latents)).absolute())


def finish(scheduler: ShardScheduler, console: Console) -> int:
    """Writes the index and prints the report; returns the exit code."""
    for number, failures in sorted(scheduler.attempts.failures.items()):
        if scheduler.is_aside(number):
            say(console, f"failed: shard {number}: {failures[-1].brief}")
    if len(scheduler.done) < len(scheduler.shards):
        aside = len(scheduler.shards) - len(scheduler.done)
        say(console, f"{aside} of {len(scheduler.shards)} shards are missing, so the index was not written; run again")
        return 3
    records = [scheduler.done[number] for number in range(len(scheduler.shards))]
    left_out = report_left_out(scheduler, records, console)
    if not any(record.entries for record in records):
        raise ConfigError(
            f"{scheduler.store.folder}: the corpus is empty: no take gave usable latents; choose other prompts"
        )
    scheduler.store.write_index(records)
    report(Corpus.open(scheduler.store.folder), records, console)
    report_pace(scheduler, console)
    return 3 if left_out else 0


def report_left_out(scheduler: ShardScheduler, records: list[ShardRecord], console: Console) -> int:
    takes = {take.id: take for shard in scheduler.shards for take in shard}
    reasons = {take_id: reason for record in records for take_id, reason in record.left_out.items()}
    for take_id, reason in list(reasons.items())[:5]:
        say(console, f"left out: {takes[take_id].prompt[:60]!r} [{take_id}]: {reason}")
    if len(reasons) > 5:
        say(console, f"and {len(reasons) - 5} more; the records of the shards have their reasons")
    return len(reasons)


def report(corpus: Corpus, records: list[ShardRecord], console: Console) -> None:
    entries = corpus.entries
    frames, size = sum(entry.frames for entry in entries), sum(record.bytes for record in records)
    mean = sum(entry.mean * entry.frames for entry in entries) / frames
    square = sum((entry.std**2 + entry.mean**2) * entry.frames for entry in entries) / frames
    low, high = min(entry.minimum for entry in entries), max(entry.maximum for entry in entries)
    shape = " x ".join(map(str, corpus.latent))
    say(console, f"{len(entries)} entries, {frames} latent frames of {shape} {records[0].dtype}, {size / 1e6:.1f} MB")
    say(console, f"mean {mean:.4f}, std {max(0.0, square - mean**2) ** 0.5:.4f}, from {low:.3f} to {high:.3f}")
    say(console, f"corpus: {corpus.folder} (digest {corpus.digest[:16]})")


def report_pace(scheduler: ShardScheduler, console: Console) -> None:
    now = scheduler.snapshot([])
    if now.new_made:
        say(
            console,
            f"made {counted(now.new_made, 'take')} in {now.seconds:.0f} s, {now.new_made / now.seconds:.2f} takes/s",
        )
