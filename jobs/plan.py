"""`longtake plan`: the grid and what it will cost, before anything is made. Writes nothing.

The cost of a take is the backbone's own estimate: cpu_seconds or gpu_seconds, bank_bytes and video_bytes.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from longtake.jobs.grid import Grid
from longtake.jobs.leaderboard import new_table
from longtake.jobs.room import Need, check_machine, memory, size, spread
from longtake.platform import config
from longtake.platform.errors import ConfigError
from longtake.platform.store import SweepStore
from longtake.platform.takes import Cell, Take

INLINE = "inline"
HERE = ("local", INLINE)


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


def room_of(grid: Grid) -> dict[str, int]:
    """Bytes by shelf of a sampler's largest banks. Raises ConfigError when they do not fit `workers.bank`."""
    cells = Counter(take.cell for take in grid.takes)
    needs = []
    for cell, take in {take.cell: take for take in grid.takes}.items():
        cost = cost_of(take, grid.on_gpu)
        entries = round(cost["bank_bytes"] / cost["entry_bytes"]) * min(grid.batch, cells[cell])
        needs.append(Need(entries, int(cost["entry_bytes"])))
    return spread(max(needs, key=lambda need: need.num_bytes), grid.sweep.workers.bank, grid.on_gpu)


def check_room(grid: Grid) -> None:
    """Raises ConfigError when a sampler would run out of room, or all of them of this machine's memory or disk."""
    try:
        held = room_of(grid)
        if grid.sweep.workers.cluster in HERE:
            check_gpus(grid)
            check_capability(grid)
            check_machine(held, samplers_here(grid), grid.sweep.workers.bank.disk)
    except ConfigError as error:
        raise ConfigError(f"{grid.file}: {error}") from error


def check_gpus(grid: Grid) -> None:
    """ConfigError when this machine has fewer GPUs than a sampler computes on."""
    import torch

    there = torch.cuda.device_count()
    if grid.gpus > there:
        raise ConfigError(
            f"workers.gpus_per_sampler: {grid.gpus:g} wanted, this machine has {there} CUDA devices; name a cluster "
            "that has them (workers.cluster), or compute on the CPU (workers.device: cpu)"
        )


def check_capability(grid: Grid) -> None:
    """ConfigError when this machine's GPU does not compute in the precision that is asked for."""
    if grid.sweep.workers.precision == "fp8":
        from longtake.platform.models import fp8

        fp8.check_device(grid.resources(Path()).compute_device())


def samplers_here(grid: Grid) -> int:
    """How many samplers this machine will run."""
    workers = grid.sweep.workers
    if workers.cluster == INLINE:
        return 1
    if workers.samplers != "auto":
        return min(int(workers.samplers), len(grid.takes))
    if not grid.on_gpu:
        return min(os.cpu_count() or 1, len(grid.takes))
    import torch

    return max(1, min(int(torch.cuda.device_count() / grid.gpus), len(grid.takes)))


def show(grid: Grid, console: Console) -> None:
    """Print the grid, what of it is done, and the cost of the rest."""
    store = SweepStore(Path(grid.sweep.output), grid.sweep.name)
    done = store.done_ids() if store.folder.is_dir() else set()
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
    """What the estimates of GPU time stand on."""
    from longtake.platform.backbones.base import backbones

    specs = [backbones.get(name).spec for name in grid.sweep.backbones]
    found = {f"{spec.gpu_tflops:.0f} TFLOP/s ({spec.gpu_basis})" for spec in specs if spec.gpus and grid.on_gpu}
    return (
        [f"GPU time is reckoned at {', '.join(sorted(found))}, decoding overlapped; scoring is not in it"]
        if found
        else []
    )


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
        held = room_of(grid)
        parts = ", ".join(f"{memory(part)} of {name}" for name, part in held.items())
        lines.append(f"bank of a sampler: up to {parts}" if held else "bank: none")
        check_room(grid)
    except ConfigError as error:
        lines.append(f"does not run here: {error}")
    return lines


def duration(seconds: float) -> str:
    if not seconds:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
