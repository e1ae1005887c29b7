"""`longtake plan`: the grid and what it will cost, before anything is made. Writes nothing.

The cost of a take is the backbone's own estimate: cpu_seconds or gpu_seconds, bank_bytes and video_bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from longtake.jobs.grid import Grid
from longtake.jobs.leaderboard import new_table
from longtake.platform.store import SweepStore
from longtake.platform.takes import Cell, Take


@dataclass
class Cost:
    """What a set of takes costs; `bank_bytes` is the largest of any take, the others are sums."""

    takes: int = 0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    video_bytes: float = 0.0
    bank_bytes: float = 0.0

    def add(self, take: Take) -> None:
        from longtake.platform.backbones.base import backbones
        from longtake.platform.methods.base import methods

        keeps_evicted = methods.get(take.method.name).keeps_evicted
        cost = backbones.get(take.backbone).cost(take, keeps_evicted)
        self.takes += 1
        self.cpu_seconds += cost.get("cpu_seconds", 0.0)
        self.gpu_seconds += cost.get("gpu_seconds", 0.0)
        self.video_bytes += cost.get("video_bytes", 0.0)
        self.bank_bytes = max(self.bank_bytes, cost.get("bank_bytes", 0.0))


def show(grid: Grid, console: Console) -> None:
    """Print the grid, what of it is done, and the cost of the rest."""
    store = SweepStore(Path(grid.sweep.output), grid.sweep.name)
    done = store.done_ids() if store.folder.is_dir() else set()
    cells: dict[Cell, Cost] = {}
    left: dict[Cell, int] = {}
    rest = Cost()
    for take in grid.takes:
        cells.setdefault(take.cell, Cost()).add(take)
        left[take.cell] = left.get(take.cell, 0) + (take.id not in done)
        if take.id not in done:
            rest.add(take)
    console.print(table(grid, cells, left))
    for note in grid.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(totals(grid, rest, done), markup=False, soft_wrap=True)


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
        result.add_column(name, justify="left" if name in ("backbone", "method") else "right", no_wrap=True)
    for cell, cost in cells.items():
        numbers = [str(cell.seconds), str(cost.takes), str(left[cell]), duration(cost.cpu_seconds)]
        sizes = [duration(cost.gpu_seconds), size(cost.video_bytes), size(cost.bank_bytes)]
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
        parts.append(f"about {rest.gpu_seconds / 3600:.1f} GPU hours")
    parts.append(f"{size(rest.video_bytes)} of disk under {grid.sweep.output}/{grid.sweep.name}")
    parts.append(f"a bank of up to {size(rest.bank_bytes)} of RAM per sampler")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    if not seconds:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(num_bytes: float) -> str:
    if not num_bytes:
        return "-"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes:.0f} B"
