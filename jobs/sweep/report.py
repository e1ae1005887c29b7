"""The report after the leaderboard at the end of a sweep: missing values, failures, times, memory, mixed numerics."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from longtake.jobs.console import say
from longtake.jobs.sweep.families import families_of
from longtake.jobs.sweep.grid import Grid
from longtake.jobs.sweep.scheduler import Scheduler, name_of
from longtake.platform.names import counted

# precision is not listed: takes in bf16 and fp8 have different ids, so a sweep never mixes them
NUMERICS = ("device", "dtype", "attention", "kernels", "compiled")


def report_all(scheduler: Scheduler, grid: Grid, clocks: dict[str, float], seconds: float, console: Console) -> None:
    """`clocks`: wall seconds of each step. `seconds`: wall seconds of the whole run."""
    report_left(scheduler, grid, console)
    report_unscored(scheduler, console)
    report_failures(scheduler, console)
    report_times(scheduler, clocks, seconds, console)
    report_memory(scheduler, console)
    report_numerics(scheduler, console)


def report_left(scheduler: Scheduler, grid: Grid, console: Console) -> None:
    """After a run of selected takes, the number of takes of the sweep that are not scored yet, and how to go on."""
    if not grid.selection.text:
        return
    left = scheduler.unscored_of(grid.planned)
    aside = sum(map(scheduler.is_set_aside, left))
    parts = []
    if to_do := len(left) - aside:
        parts.append(f"{to_do} are left; run again without {grid.selection.text} to make and score them")
    if aside:
        parts.append(f"{aside} set aside after failures; add --retry-failed to try them again")
    say(
        console,
        f"selected {len(grid.takes)} of the {len(grid.planned)} takes of the sweep; "
        f"{'; '.join(parts) or 'none is left'}",
    )


def report_unscored(scheduler: Scheduler, console: Console) -> None:
    """Per metric, the number of takes without a value, with one reason. Means leave these takes out."""
    by_metric: dict[str, list[str]] = {}
    for suites in scheduler.unscored:
        for suite, reasons in suites.items():
            for metric, reason in reasons.items():
                by_metric.setdefault(f"{suite}/{metric}", []).append(reason)
    for name, whys in sorted(by_metric.items()):
        say(console, f"no value: {name} in {counted(len(whys), 'take')}: {whys[0]}")


def report_failures(scheduler: Scheduler, console: Console) -> None:
    for take_id in sorted(scheduler.failed)[:5]:
        say(console, f"failed: {name_of(scheduler.takes[take_id])}: {scheduler.attempts.failures[take_id][-1].brief}")
    if len(scheduler.failed) > 5:
        say(console, f"and {len(scheduler.failed) - 5} more; see failures.jsonl in the folder of each take")


def report_times(scheduler: Scheduler, clocks: dict[str, float], total: float, console: Console) -> None:
    """Wall seconds by stage; the samplers' seconds are summed over workers. Of what a family shares, its longest take
    counts."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in clocks.items())
    say(console, f"time: {total:.0f} s ({parts})")
    if not scheduler.results:
        return
    results = {result.take_id: result for result in scheduler.results}
    takes = [scheduler.takes[take_id] for take_id in results]
    families = families_of(takes, scheduler.families)
    longest = [results[family[0].id] for family in families]
    names = dict.fromkeys(name for result in longest for name in result.timings)
    stages = {
        name: sum(one.timings.get(name, 0.0) for one in (results.values() if name == "encode" else longest))
        for name in names
    }
    inner = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
    say(console, f"samplers, summed over {counted(len(results), 'take')}: {inner}")
    if len(families) < len(results):
        rolled, alone = sum(family[0].latent_frames for family in families), sum(take.latent_frames for take in takes)
        saved = f"{1 - rolled / alone:.0%}"
        say(
            console,
            f"families: {len(results)} takes from {counted(len(families), 'rollout')}, {saved} less to generate",
        )


def report_memory(scheduler: Scheduler, console: Console) -> None:
    """Per length, the largest bank and the peak memory of a sampler. Only the bank may grow with the length."""
    peaks: dict[int, tuple[int, int]] = {}
    for result in scheduler.results:
        seconds = scheduler.takes[result.take_id].seconds
        bank, peak = peaks.get(seconds, (0, 0))
        peaks[seconds] = max(bank, result.bank_bytes), max(peak, result.peak_rss_bytes)
    parts = [
        f"{s} s: bank {bank / 1e6:.1f} MB, process {peak / 1e6:.0f} MB" for s, (bank, peak) in sorted(peaks.items())
    ]
    if parts:
        say(console, f"peak memory of a sampler: {'; '.join(parts)}")


def report_numerics(scheduler: Scheduler, console: Console) -> None:
    """Print a note if takes were computed in several ways, since different rounding affects a comparison."""
    made_with = (scheduler.index.facts(take_id).versions for take_id in scheduler.made)
    ways = Counter(" ".join(filter(None, map(versions.get, NUMERICS))) for versions in made_with if versions)
    if len(ways) > 1:
        counts = "; ".join(f"{counted(count, 'take')} on {way}" for way, count in ways.most_common())
        say(console, f"note: computed in {len(ways)} ways, which round differently ({', '.join(NUMERICS)}): {counts}")
