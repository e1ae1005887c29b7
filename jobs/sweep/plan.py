"""`longtake plan`: the grid and its estimated cost. Writes nothing.

The cost of a take is the estimate of its backbone: cpu_seconds or gpu_seconds, bank_bytes and video_bytes.
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
from longtake.platform.store.plans import check_extension
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take


@dataclass
class Cost:
    """The cost of a set of takes. `bank_bytes` is the maximum over takes; the others are sums."""

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

    method = config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")
    return backbones.get(take.backbone).cost(take, method, on_gpu and backbones.get(take.backbone).spec.gpus > 0)


def need_of(grid: Grid) -> Need:
    """The size of a sampler's largest banks: those of one batch of takes."""
    cells = Counter(take.cell for take in grid.takes)
    needs = []
    for cell, take in {take.cell: take for take in grid.takes}.items():
        cost = cost_of(take, grid.on_gpu)
        entries = round(cost["bank_bytes"] / cost["entry_bytes"]) * min(grid.batch, cells[cell])
        needs.append(Need(entries, int(cost["entry_bytes"])))
    return max(needs, key=lambda need: need.num_bytes)


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
    """Raises ConfigError if a sampler's banks exceed `workers.bank`, or all banks this machine's memory or disk."""
    try:
        tier_bytes = capacity_of(grid)
        if grid.sweep.workers.cluster in HERE:
            check_gpus(grid)
            check_capability(grid)
            with_staging = tier_bytes | {"host": tier_bytes.get("host", 0) + staging_bytes(grid, tier_bytes)}
            check_machine(with_staging, grid.samplers_here, grid.bank.disk)
    except ConfigError as error:
        raise ConfigError(f"{grid.file}: {error}") from error


def staging_bytes(grid: Grid, tier_bytes: dict[str, int]) -> int:
    """Bytes of host memory for copying entries between a GPU and the disk."""
    return STAGING_ENTRIES * need_of(grid).entry_bytes if grid.on_gpu and tier_bytes.get("disk") else 0


def check_gpus(grid: Grid) -> None:
    """Raises ConfigError if this machine has fewer GPUs than a sampler needs."""
    available = gpu_count()
    if grid.gpus > available:
        raise ConfigError(
            f"workers.gpus_per_sampler: a sampler needs {grid.gpus:g}; this machine has {available} CUDA devices; "
            "set workers.cluster to a cluster with enough, or compute on the CPU (workers.device: cpu)"
        )


def check_capability(grid: Grid) -> None:
    """Raises ConfigError if this machine's GPU does not support the sweep's precision."""
    if grid.sweep.workers.precision == "fp8":
        from longtake.platform.models import fp8

        fp8.check_device(grid.resources(Path()).compute_device())


def show(grid: Grid, console: Console) -> None:
    """Print the grid, the number of finished takes, and the cost of the rest."""
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
    bases = {f"{spec.gpu_tflops:.0f} TFLOP/s ({spec.gpu_basis})" for spec in specs if spec.gpus and grid.on_gpu}
    return [f"GPU time assumes {', '.join(sorted(bases))} and overlapped decoding, without scoring"] if bases else []


def table(grid: Grid, cells: dict[Cell, Cost], left: dict[Cell, int]) -> Table:
    sweep = grid.sweep
    counts = {
        "backbones": sweep.backbones,
        "methods": sweep.methods,
        "lengths": sweep.lengths_s,
        "prompts": grid.prompts,
        "seeds": sweep.seeds,
    }
    title = f"{sweep.name}: {' x '.join(f'{len(v)} {k}' for k, v in counts.items())} = {len(grid.planned)} takes"
    if grid.selection.text:
        title += f", of which {grid.selection.text} selects {len(grid.takes)}"
    result = new_table(title)
    for name in ("backbone", "method", "seconds", "takes", "to do", "CPU", "GPU", "disk", "bank"):
        text = name in ("backbone", "method")  # names wrap on a narrow terminal; numbers are never cut
        result.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for cell, cost in cells.items():
        numbers = [str(cell.seconds), str(cost.takes), str(left[cell]), duration(cost.cpu_seconds)]
        sizes = [duration(cost.gpu_seconds), size(cost.video_bytes), memory(cost.bank_bytes)]
        result.add_row(cell.backbone, cell.method, *numbers, *sizes)
    return result


def totals(grid: Grid, rest: Cost, done: set[str]) -> str:
    made = sum(take.id in done for take in grid.takes)
    if not rest.takes:
        return f"all {made} takes are done; nothing left to generate"
    parts = [f"to do: {rest.takes} takes ({made} done)"]
    if rest.cpu_seconds:
        parts.append(f"about {duration(rest.cpu_seconds)} of one CPU core")
    if rest.gpu_seconds:
        parts.append(f"about {rest.gpu_seconds / 3600:.1f} GPU hours of generation")
    parts.append(f"{size(rest.video_bytes)} of disk under {grid.sweep.output}/{grid.sweep.name}")
    return "; ".join(parts)


def bank_lines(grid: Grid) -> list[str]:
    """Where a sampler's banks will be stored, and the reason if the sweep cannot run here."""
    lines, store = [], SweepStore(Path(grid.sweep.output), grid.sweep.name)
    try:
        lines.append(bank_line(grid))
        check_capacity(grid)
        check_extension(store.folder, store.plan(), grid.planned)
    except ConfigError as error:
        lines.append(f"cannot run here: {error}")
    return lines


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
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
