"""`longtake plan`: the grid, and the estimated cost of what is left to do. Writes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

from rich.console import Console
from rich.table import Table

from longtake.jobs.console import new_table, print_table
from longtake.jobs.sweep.capacity import Need, allocate, check_context, check_machine, memory, size
from longtake.jobs.sweep.estimates.busy_time import seconds_together
from longtake.jobs.sweep.estimates.cost import TakeCost, cost_of, costs_of
from longtake.jobs.sweep.estimates.time_left import START_SECONDS, closing_seconds, stage_times, work_of
from longtake.jobs.sweep.families import families_of, shared_costs
from longtake.jobs.sweep.grid import HERE, Grid
from longtake.jobs.sweep.placement import stages_on
from longtake.jobs.sweep.scheduler import Scheduler
from longtake.jobs.sweep.tally import Tally
from longtake.platform.errors import ConfigError
from longtake.platform.machine.process import collection_paused
from longtake.platform.machine.resources import STAGING_ENTRIES, gpu_count
from longtake.platform.names import counted
from longtake.platform.prompts import Part, on_one_line
from longtake.platform.store.sweep import SweepStore, is_sweep
from longtake.platform.takes import Cell, Take
from longtake.platform.tracking.addresses import OFF
from longtake.platform.workers.fleet import Node

NO_COST = "-"
TIMED_SHOWN, TEXT_CHARS = 5, 60


def need_of(grid: Grid) -> Need:
    """The size of a sampler's largest banks: those of one batch of takes."""
    needs = []
    for takes in grid.cells.values():
        cost = cost_of(takes[0], grid)
        entries = round(cost.bank_bytes / cost.entry_bytes) * min(grid.batch, len(takes))
        needs.append(Need(entries, int(cost.entry_bytes)))
    return max(needs, key=lambda need: need.num_bytes)


def largest_context(grid: Grid) -> int:
    """Bytes on a sampler's device of contexts that grow with the video: those of one batch of takes."""
    costs = ((cost_of(takes[0], grid), min(grid.batch, len(takes))) for takes in grid.cells.values())
    return int(max(cost.context_bytes * rows for cost, rows in costs))


def capacity_of(grid: Grid) -> dict[str, int]:
    """Bytes per tier of a sampler's largest banks. Raises ConfigError if they do not fit `workers.bank`."""
    return allocate(need_of(grid), grid.bank, grid.on_gpu, host_limit(grid))


def host_limit(grid: Grid) -> str:
    """The source of the host memory limit, if the sweep does not set it."""
    if grid.sweep.workers.bank.host_gib is not None:
        return ""
    if grid.bank.host_gib is None:
        return "host_gib: half of the free memory when samplers start, divided by the most samplers per machine"
    shared = f" / {grid.samplers_here} samplers" if grid.samplers_here > 1 else ""
    return f"host_gib: {grid.bank.host_gib:g}, half of the free memory{shared}"


def check_capacity(grid: Grid) -> None:
    """Raises ConfigError if a sampler's banks exceed `workers.bank`, or all banks and contexts this machine's memory
    or disk."""
    try:
        tier_bytes = capacity_of(grid)
        if grid.sweep.workers.cluster in HERE:
            check_gpus(grid)
            check_capability(grid)
            with_staging = tier_bytes | {"host": tier_bytes.get("host", 0) + staging_bytes(grid, tier_bytes)}
            check_machine(with_staging, grid.samplers_here, grid.bank.disk)
            check_context(largest_context(grid), grid.samplers_here, grid.on_gpu)
    except ConfigError as error:
        raise ConfigError(f"{grid.file}: {error}") from error


def staging_bytes(grid: Grid, tier_bytes: dict[str, int]) -> int:
    """Bytes of host memory for copying entries between a GPU and the disk."""
    return STAGING_ENTRIES * need_of(grid).entry_bytes if grid.on_gpu and tier_bytes.get("disk") else 0


def check_gpus(grid: Grid) -> None:
    """Raises ConfigError if this machine has fewer GPUs than a sampler needs."""
    if lacks_gpus(grid):
        available = gpu_count()
        raise ConfigError(
            f"workers.gpus_per_sampler: a sampler needs {grid.gpus:g}; this machine has {available} CUDA devices; "
            "set workers.cluster to a cluster with enough, or compute on the CPU (workers.device: cpu)"
        )


def lacks_gpus(grid: Grid) -> bool:
    return grid.gpus > gpu_count()


def check_capability(grid: Grid) -> None:
    """Raises ConfigError if this machine's GPU does not support the sweep's precision."""
    if grid.sweep.workers.precision == "fp8":
        from longtake.platform.models import fp8

        fp8.check_device(grid.resources(Path()).compute_device())


@collection_paused()
def show(grid: Grid, console: Console) -> None:
    """Print why the sweep cannot run here, if so, then the grid, what is left to do, and its cost."""
    if problem := problem_of(grid):
        console.print(f"cannot run here: {problem}", markup=False, soft_wrap=True)
    tally = tally_of(grid)
    costs = added_costs(grid, tally)
    print_table(console, table(grid, tally, costs), keys=3)
    for note in grid.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if not grid.ids_are_final and is_sweep(store_of(grid).folder):
        console.print(f"note: {done_is_unknown(grid)}", markup=False, soft_wrap=True)
    for line in (*prompt_lines(grid), *totals(grid, tally, costs), *bases(grid, costs), *bank_lines(grid)):
        console.print(line, markup=False, soft_wrap=True)


def store_of(grid: Grid) -> SweepStore:
    return SweepStore(Path(grid.sweep.output), grid.sweep.name)


def tally_of(grid: Grid) -> Tally:
    """The takes by their state in the store. Takes without their final ids are all left to do."""
    scheduler = Scheduler(store_of(grid), grid.takes, grid.suites, lambda line: None)
    if grid.ids_are_final:
        scheduler.read()
    return scheduler.tally


def added_costs(grid: Grid, tally: Tally) -> dict[Cell, TakeCost]:
    """The cost of a take of each cell: of making it, what it adds to the rollout of its family."""
    ended = tally.made | tally.failed
    missing = (take for take in grid.takes if take.id not in ended)
    return shared_costs(costs_of(grid), families_of(missing, grid.sweep.workers.families))


def done_is_unknown(grid: Grid) -> str:
    return (
        f"{store_of(grid).folder}: the takes that are done are not known while something of the sweep is missing here; "
        "all count as left to do; get what is missing and plan again"
    )


def table(grid: Grid, tally: Tally, costs: Mapping[Cell, TakeCost]) -> Table:
    """A row per cell: its takes, and the cost of those that are left. A column in which nothing costs is left out."""
    sweep = grid.sweep
    counts = {
        "backbone": sweep.backbones,
        "method": sweep.methods,
        "length": sweep.lengths_s,
        "prompt": grid.prompts,
        "seed": sweep.seeds,
    }
    product = " x ".join(counted(len(values), name) for name, values in counts.items())
    title = f"{sweep.name}: {product} = {counted(len(grid.planned), 'take')}"
    if grid.selection.text:
        title += f", of which {grid.selection.text} selects {len(grid.takes)}"
    result = new_table(title)
    rows = [row(cell, len(grid.cells[cell]), tally, cost) for cell, cost in costs.items()]
    shown = [name for name in rows[0] if any(one[name] != NO_COST for one in rows)]
    for name in shown:
        result.add_column(name, justify="left" if name in ("backbone", "method") else "right", no_wrap=True)
    for one in rows:
        result.add_row(*(one[name] for name in shown))
    return result


def row(cell: Cell, takes: int, tally: Tally, cost: TakeCost) -> dict[str, str]:
    """Column -> text, for a cell of so many takes."""
    make, score = tally.to_make[cell], tally.to_score[cell]
    return {
        "backbone": cell.backbone,
        "method": cell.method,
        "seconds": str(cell.seconds),
        "takes": str(takes),
        "make": str(make),
        "score": str(score),
        "CPU": duration(make * cost.cpu_seconds + score * cost.score_seconds),
        "GPU": duration(make * cost.gpu_seconds),
        "disk": size(make * cost.video_bytes),
        "bank": memory(cost.bank_bytes),
        "context": memory(cost.context_bytes),
    }


def prompt_lines(grid: Grid) -> list[str]:
    """The prompts whose text changes, with the times of the blocks at which it does."""
    lines = list(dict.fromkeys(prompt_line(take) for take in grid.takes if take.switches))
    more = [f"... and {len(lines) - TIMED_SHOWN} more prompts that change"] if len(lines) > TIMED_SHOWN else []
    return [*lines[:TIMED_SHOWN], *more]


def prompt_line(take: Take) -> str:
    from longtake.platform.backbones.base import backbones

    fps = backbones.get(take.backbone).spec.latent_fps
    later = [Part(one.frame / fps, shorten(one.text, TEXT_CHARS), one.cut) for one in take.switches]
    return f"prompt: {on_one_line(shorten(take.prompt, TEXT_CHARS), later)}"


def totals(grid: Grid, tally: Tally, costs: Mapping[Cell, TakeCost]) -> list[str]:
    """What is left, what it needs of processors and of disk, and how long it takes."""
    made, to_score = len(tally.made), tally.unfinished
    to_make = tally.to_make.total()
    if not to_make and not to_score:
        return [f"all of {counted(made, 'take')} made and scored; nothing is left to do"]
    unknown = not_estimated(costs)
    least, without = (
        ("at least", f", not counting {counted(len(unknown), 'metric')} (below)") if unknown else ("about", "")
    )
    done = (f" ({made} made)", f" ({len(tally.scored)} scored)") if grid.ids_are_final else ("", "")
    parts = [f"to do: make {counted(to_make, 'take')}{done[0]}, score {to_score}{done[1]}"]
    sampling = sum(tally.to_make[cell] * cost.cpu_seconds for cell, cost in costs.items())
    scoring = sum(tally.to_score[cell] * cost.score_seconds for cell, cost in costs.items())
    gpu = sum(tally.to_make[cell] * cost.gpu_seconds for cell, cost in costs.items())
    disk = sum(tally.to_make[cell] * cost.video_bytes for cell, cost in costs.items())
    parts.append(
        f"{least} {duration(sampling + scoring)} of one CPU core, {duration(scoring)} of it for scoring{without}"
    )
    if gpu:
        parts.append(f"about {gpu / 3600:.1f} GPU hours of generation")
    parts.append(f"{size(disk)} of disk under {grid.sweep.output}/{grid.sweep.name}")
    return ["; ".join(parts), wall_time(grid, tally, costs)]


def wall_time(grid: Grid, tally: Tally, costs: Mapping[Cell, TakeCost]) -> str:
    """How long the rest takes on this machine. Another cluster is not asked for its size."""
    is_here = grid.sweep.workers.cluster in HERE
    if not is_here or lacks_gpus(grid):
        making = sum(tally.to_make[cell] * cost.make_seconds for cell, cost in costs.items())
        where = "the GPUs, which are not here" if is_here else "the cluster"
        return f"wall time: depends on {where}; one sampler needs about {duration(making)} for generation"
    stages, cores = stages_on(grid, [Node(float(os.cpu_count() or 1), float(gpu_count()))])
    seconds = START_SECONDS + seconds_together(work_of(tally, stage_times(costs)), stages, cores)
    seconds += closing_seconds(len(grid.planned), len(grid.suites), costs.values(), grid.sweep.tracking.uri != OFF)
    counts = " and ".join(counted(group.count, name.removesuffix("s")) for name, group in stages.items())
    least = "at least" if not_estimated(costs) else "about"
    return f"wall time: {least} {duration(seconds)} here, with {counts} on {cores:g} cores, closing steps included"


def not_estimated(costs: Mapping[Cell, TakeCost]) -> list[str]:
    """The metrics whose time is in no estimate."""
    return sorted({name for cost in costs.values() for name in cost.not_estimated})


def bases(grid: Grid, costs: Mapping[Cell, TakeCost]) -> list[str]:
    """What the estimates assume, and what they leave out."""
    from longtake.platform.backbones.base import backbones

    specs = [backbones.get(name).spec for name in grid.sweep.backbones]
    rates = {f"{spec.gpu_tflops:.0f} TFLOP/s ({spec.gpu_basis})" for spec in specs if spec.gpus and grid.on_gpu}
    lines = [f"GPU time assumes {', '.join(sorted(rates))} and overlapped decoding"] if rates else []
    lines.append("CPU time assumes one core as measured in docs/measurements/estimates_cpu.csv")
    if unknown := not_estimated(costs):
        lines.append(f"not in the estimates, since it was not measured: the time of {', '.join(unknown)}")
    return lines


def problem_of(grid: Grid) -> str:
    """Why the sweep cannot run on this machine, or in its folder; '' if it can, as far as that is known."""
    try:
        check_capacity(grid)
        if grid.ids_are_final:
            store_of(grid).check_plan(grid.planned)
    except ConfigError as error:
        return str(error)
    return ""


def bank_lines(grid: Grid) -> list[str]:
    """Where a sampler's banks will be stored; nothing if they do not fit, which is the problem of the sweep."""
    try:
        return [bank_line(grid)]
    except ConfigError:
        return []


def bank_line(grid: Grid) -> str:
    """Where a sampler's largest banks will be stored. Raises ConfigError if they do not fit."""
    tier_bytes = capacity_of(grid)
    if not tier_bytes:
        return "bank: none"
    parts = [f"{memory(part)} of {name}" for name, part in tier_bytes.items()]
    if staging := staging_bytes(grid, tier_bytes):
        parts.append(f"{memory(staging)} of host for staging")
    limit = host_limit(grid)
    return f"bank of a sampler: up to {', '.join(parts)}" + (f" ({limit})" if limit else "")


def duration(seconds: float) -> str:
    if not seconds:
        return NO_COST
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
