"""`longtake plan`: the grid and what it will cost, before anything is made. Writes nothing.

The cost of a take is the backbone's own estimate: cpu_seconds or gpu_seconds, bank_bytes and video_bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from longtake.jobs.console import new_table
from longtake.jobs.sweep.capacity import Need, allocate, check_machine, memory, size
from longtake.jobs.sweep.grid import HERE, Grid
from longtake.platform import config
from longtake.platform.errors import ConfigError
from longtake.platform.resources import STAGING_ENTRIES, gpu_count
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take


@dataclass
class Cost:
    """What a set of takes costs; `bank_bytes` is the largest of any take, the others are sums."""

    takes: int = 0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    video_bytes: float = 0.0
    bank_bytes: float = 0.0

    def add(self, cost: dict[str, float]) -> None:
        self.takes += 1
        self.cpu_seconds += cost.get("cpu_seconds", 0.0)
        self.gpu_seconds += cost.get("gpu_seconds", 0.0)
        self.video_bytes += cost.get("video_bytes", 0.0)
        self.bank_bytes = max(self.bank_bytes, cost.get("bank_bytes", 0.0))


def cost_of(take: Take, on_gpu: bool) -> dict[str, float]:
    """The backbone's estimate; the same for every take of a cell."""
    from longtake.platform.backbones.base import backbones
    from longtake.platform.methods.base import methods

    chosen = config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")
    return backbones.get(take.backbone).cost(take, chosen, on_gpu and backbones.get(take.backbone).spec.gpus > 0)


def need_of(grid: Grid) -> Need:
    """The largest banks of a sampler: those of the takes that it makes together."""
    cells = Counter(take.cell for take in grid.takes)
    needs = []
    for cell, take in {take.cell: take for take in grid.takes}.items():
        cost = cost_of(take, grid.on_gpu)
        entries = round(cost["bank_bytes"] / cost["entry_bytes"]) * min(grid.batch, cells[cell])
        needs.append(Need(entries, int(cost["entry_bytes"])))
    return max(needs, key=lambda need: need.num_bytes)


def capacity_of(grid: Grid) -> dict[str, int]:
    """Bytes by shelf of a sampler's largest banks. Raises ConfigError when they do not fit `workers.bank`."""
    return allocate(need_of(grid), grid.bank, grid.on_gpu, host_limit(grid))


def host_limit(grid: Grid) -> str:
    """Where the limit of host memory comes from, if the sweep does not set it."""
    if grid.sweep.workers.bank.host_gib is not None:
        return ""
    if grid.bank.host_gib is None:
        return "host_gib: half of a machine's free memory when samplers start, divided by its most samplers"
    shared = f" / {grid.samplers_here} samplers" if grid.samplers_here > 1 else ""
    return f"host_gib: {grid.bank.host_gib:g}, half of the free memory{shared}"


def check_capacity(grid: Grid) -> None:
    """Raises ConfigError when a sampler would run out of room, or all of them of this machine's memory or disk."""
    try:
        held = capacity_of(grid)
        if grid.sweep.workers.cluster in HERE:
            check_gpus(grid)
            check_capability(grid)
            with_staging = held | {"host": held.get("host", 0) + staging_bytes(grid, held)}
            check_machine(with_staging, grid.samplers_here, grid.bank.disk)
    except ConfigError as error:
        raise ConfigError(f"{grid.file}: {error}") from error


def staging_bytes(grid: Grid, held: dict[str, int]) -> int:
    """Bytes of the host memory through which entries pass between a GPU and the disk."""
    return STAGING_ENTRIES * need_of(grid).entry_bytes if grid.on_gpu and held.get("disk") else 0


def check_gpus(grid: Grid) -> None:
    """ConfigError when this machine has fewer GPUs than a sampler computes on."""
    there = gpu_count()
    if grid.gpus > there:
        raise ConfigError(
            f"workers.gpus_per_sampler: {grid.gpus:g} wanted, this machine has {there} CUDA devices; name a cluster "
            "that has them (workers.cluster), or compute on the CPU (workers.device: cpu)"
        )


def check_capability(grid: Grid) -> None:
    """Raises ConfigError when this machine's GPU cannot compute in the sweep's precision."""
    if grid.sweep.workers.precision == "fp8":
        from longtake.platform.models import fp8

        fp8.check_device(grid.resources(Path()).compute_device())


def show(grid: Grid, console: Console) -> None:
    """Print the grid, what of it is done, and the cost of the rest."""
    store = SweepStore(Path(grid.sweep.output), grid.sweep.name)
    done = store.done_ids()
    costs = {take.cell: cost_of(take, grid.on_gpu) for take in {take.cell: take for take in grid.takes}.values()}
    cells: dict[Cell, Cost] = {}
    left: dict[Cell, int] = {}
    rest = Cost()
    for take in grid.takes:
        cells.setdefault(take.cell, Cost()).add(costs[take.cell])
        left[take.cell] = left.get(take.cell, 0) + (take.id not in done)
        if take.id not in done:
            rest.add(costs[take.cell])
    console.print(table(grid, cells, left))
    for note in grid.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for line in (totals(grid, rest, done), *rates(grid), *bank_lines(grid)):
        console.print(line, markup=False, soft_wrap=True)


def rates(grid: Grid) -> list[str]:
    """What the estimates of GPU time assume."""
    from longtake.platform.backbones.base import backbones

    specs = [backbones.get(name).spec for name in grid.sweep.backbones]
    found = {f"{spec.gpu_tflops:.0f} TFLOP/s ({spec.gpu_basis})" for spec in specs if spec.gpus and grid.on_gpu}
    return [f"GPU time assumes {', '.join(sorted(found))} and overlapped decoding, without scoring"] if found else []


def table(grid: Grid, cells: dict[Cell, Cost], left: dict[Cell, int]) -> Table:
    sweep = grid.sweep
    counts = {
        "backbones": sweep.backbones,
        "methods": sweep.methods,
        "lengths": sweep.lengths_s,
        "prompts": grid.prompts,
        "seeds": sweep.seeds,
    }
    title = f"{sweep.name}: {' x '.join(f'{len(v)} {k}' for k, v in counts.items())} = {len(grid.takes)} takes"
    result = new_table(title)
    for name in ("backbone", "method", "seconds", "takes", "to do", "CPU", "GPU", "disk", "bank"):
        text = name in ("backbone", "method")  # these fold where it is narrow, numbers are never cut
        result.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for cell, cost in cells.items():
        numbers = [str(cell.seconds), str(cost.takes), str(left[cell]), duration(cost.cpu_seconds)]
        sizes = [duration(cost.gpu_seconds), size(cost.video_bytes), memory(cost.bank_bytes)]
        result.add_row(cell.backbone, cell.method, *numbers, *sizes)
    return result


def totals(grid: Grid, rest: Cost, done: set[str]) -> str:
    made = sum(take.id in done for take in grid.takes)
    if not rest.takes:
        return f"all {made} takes are made; nothing is left to generate"
    parts = [f"to do: {rest.takes} takes ({made} are made)"]
    if rest.cpu_seconds:
        parts.append(f"about {duration(rest.cpu_seconds)} of one CPU core")
    if rest.gpu_seconds:
        parts.append(f"about {rest.gpu_seconds / 3600:.1f} GPU hours of making")
    parts.append(f"{size(rest.video_bytes)} of disk under {grid.sweep.output}/{grid.sweep.name}")
    return "; ".join(parts)


def bank_lines(grid: Grid) -> list[str]:
    """Where the largest bank of a sampler will lie, and why it cannot."""
    lines = []
    try:
        lines.append(bank_line(grid))
        check_capacity(grid)
    except ConfigError as error:
        lines.append(f"does not run here: {error}")
    return lines


def bank_line(grid: Grid) -> str:
    """Where a sampler's largest banks will lie. Raises ConfigError when they do not fit."""
    held = capacity_of(grid)
    if not held:
        return "bank: none"
    parts = [f"{memory(part)} of {name}" for name, part in held.items()]
    if staging := staging_bytes(grid, held):
        parts.append(f"{memory(staging)} of host for staging")
    limit = host_limit(grid)
    return f"bank of a sampler: up to {', '.join(parts)}" + (f" ({limit})" if limit else "")


def duration(seconds: float) -> str:
    if not seconds:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
