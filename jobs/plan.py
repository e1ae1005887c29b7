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
from longtake.jobs.room import check_memory, spread
from longtake.platform import config
from longtake.platform.errors import ConfigError
from longtake.platform.store import SweepStore
from longtake.platform.takes import Cell, Take

HERE = ("local", "inline")


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


def cost_of(take: Take) -> dict[str, float]:
    """The backbone's estimate; the same for every take of a cell."""
    from longtake.platform.backbones.base import backbones
    from longtake.platform.methods.base import methods

    chosen = config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")
    return backbones.get(take.backbone).cost(take, chosen)


def room_of(grid: Grid) -> dict[str, float]:
    """Bytes by shelf of a sampler's largest bank. Raises ConfigError when it does not fit `workers.bank`."""
    largest = max(cost_of(take)["bank_bytes"] for take in {take.cell: take for take in grid.takes}.values())
    return spread(largest * grid.batch, grid.sweep.workers.bank, grid.on_gpu)


def check_room(grid: Grid) -> None:
    """Raises ConfigError when a sampler would run out of room, or of this machine's memory."""
    try:
        held = room_of(grid)
        if grid.sweep.workers.cluster in HERE:
            check_memory(held)
    except ConfigError as error:
        raise ConfigError(f"{grid.file}: {error}") from error


def show(grid: Grid, console: Console) -> None:
    """Print the grid, what of it is done, and the cost of the rest."""
    store = SweepStore(Path(grid.sweep.output), grid.sweep.name)
    done = store.done_ids() if store.folder.is_dir() else set()
    costs = {take.cell: cost_of(take) for take in {take.cell: take for take in grid.takes}.values()}
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
    for line in (totals(grid, rest, done), *bank_lines(grid), *rates(grid)):
        console.print(line, markup=False, soft_wrap=True)


def rates(grid: Grid) -> list[str]:
    """What the estimates of GPU time stand on."""
    from longtake.platform.backbones.base import backbones

    specs = [backbones.get(name).spec for name in grid.sweep.backbones]
    found = {f"{spec.gpu_tflops:.0f} TFLOP/s" for spec in specs if spec.gpus}
    return [f"GPU time is reckoned at {', '.join(sorted(found))}, decoding overlapped"] if found else []


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
        parts.append(f"about {rest.gpu_seconds / 3600:.1f} GPU hours")
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


def size(num_bytes: float) -> str:
    """On a disk: powers of 1000."""
    return scaled(num_bytes, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def memory(num_bytes: float) -> str:
    """Of a bank: powers of 1024, as in `workers.bank`."""
    return scaled(num_bytes, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)))


def scaled(num_bytes: float, units: tuple[tuple[str, float], ...]) -> str:
    if not num_bytes:
        return "-"
    for unit, scale in units:
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes:.0f} B"
