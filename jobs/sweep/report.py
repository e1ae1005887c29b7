"""What a sweep prints at its end after the leaderboard: missing values, failures, times, memory, mixed numerics."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from longtake.jobs.console import say
from longtake.jobs.sweep.grid import Grid
from longtake.jobs.sweep.scheduler import Scheduler, name_of
from longtake.platform.store.sweep import SweepStore

# without precision: a sweep never mixes bf16 and fp8, whose takes have different ids
NUMERICS = ("device", "dtype", "attention", "kernels", "compiled")


def report_all(scheduler: Scheduler, grid: Grid, clocks: dict[str, float], seconds: float, console: Console) -> None:
    """`clocks`: the wall time of each step; `seconds`: of the whole run."""
    report_unscored(scheduler, console)
    report_failures(scheduler, console)
    report_times(scheduler, clocks, seconds, console)
    report_memory(scheduler, console)
    report_numerics(scheduler.store, grid, console)


def report_unscored(scheduler: Scheduler, console: Console) -> None:
    """Which metrics had no value in how many takes, with one reason; means leave them out, they are not 0."""
    by_metric: dict[str, list[str]] = {}
    for suites in scheduler.unscored:
        for suite, reasons in suites.items():
            for metric, reason in reasons.items():
                by_metric.setdefault(f"{suite}/{metric}", []).append(reason)
    for name, whys in sorted(by_metric.items()):
        say(console, f"no value: {name} in {len(whys)} takes: {whys[0]}")


def report_failures(scheduler: Scheduler, console: Console) -> None:
    for take_id in sorted(scheduler.failed)[:5]:
        say(console, f"failed: {name_of(scheduler.takes[take_id])}: {scheduler.failures[take_id][-1]}")
    if len(scheduler.failed) > 5:
        say(console, f"and {len(scheduler.failed) - 5} more; each take's folder keeps its failures")


def report_times(scheduler: Scheduler, clocks: dict[str, float], total: float, console: Console) -> None:
    """Wall time by stage; the samplers' own seconds add up over workers."""
    stages: dict[str, float] = {}
    for result in scheduler.results:
        for stage, seconds in result.timings.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clocks.items())
    say(console, f"time: {total:.0f} s ({parts})")
    if stages:
        inner = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
        say(console, f"samplers, summed over {len(scheduler.results)} takes: {inner}")


def report_memory(scheduler: Scheduler, console: Console) -> None:
    """Per length, the largest bank and the most that a sampler held; only the bank may grow with the length."""
    peaks: dict[int, tuple[int, int]] = {}
    for result in scheduler.results:
        seconds = scheduler.takes[result.take_id].seconds
        bank, held = peaks.get(seconds, (0, 0))
        peaks[seconds] = max(bank, result.bank_bytes), max(held, result.peak_rss_bytes)
    parts = [
        f"{s} s: bank {bank / 1e6:.1f} MB, process {held / 1e6:.0f} MB" for s, (bank, held) in sorted(peaks.items())
    ]
    if parts:
        say(console, f"most memory of a sampler: {'; '.join(parts)}")


def report_numerics(store: SweepStore, grid: Grid, console: Console) -> None:
    """Says so when takes were computed in several ways, which round differently and blur a comparison."""
    results = [result for take in grid.takes if (result := store.result(take.id)) is not None]
    ways = Counter(" ".join(filter(None, map(result.versions.get, NUMERICS))) for result in results)
    if len(ways) > 1:
        counts = "; ".join(f"{count} takes on {way}" for way, count in ways.most_common())
        say(console, f"note: computed in {len(ways)} ways, which round differently ({', '.join(NUMERICS)}): {counts}")
