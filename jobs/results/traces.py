"""`longtake traces SWEEP_FOLDER`: what the methods of a sweep attended to, from the traces of its takes.

Steps: open, read take by take, write the CSV, print a table per length. Only reads the store, so it also works during
the sweep; a note counts the finished takes. If a backbone has a known camera, its prompts determine what a frame
shows. Reads and generates no video.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from longtake.jobs.console import bar, console_for, print_table, say
from longtake.jobs.results import trace_table
from longtake.platform import plugins
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.names import counted
from longtake.platform.store import durable
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take

if TYPE_CHECKING:
    from longtake.evaluators.retrieval.trace_measures import TraceContext
    from longtake.evaluators.retrieval.trace_summary import CellSums
    from longtake.evaluators.retrieval.world import Scene

SHOW_SECONDS = 2.0


def traces(folder: Path, out: Path | None = None, console: Console | None = None) -> int:
    """Run the whole job; returns 0. Raises ConfigError if no take is done, StorageError for a damaged trace."""
    console = console or console_for()
    store, plan, made = open_sweep(folder)
    rows = rows_of(plan, read(store, plan, with_progress(made, console)))
    if out is not None:
        durable.make_folder(out.parent)
        durable.replace_file(out, trace_table.csv_bytes(rows))
    for table in trace_table.tables(store.name, rows):
        print_table(console, table, keys=2)
    for line in trace_table.notes(rows, len(made), len(plan)):
        say(console, line)
    if out is not None:
        say(console, f"all numbers with 95 % intervals: {out}")
    return 0


def open_sweep(folder: Path) -> tuple[SweepStore, list[Take], list[Take]]:
    """The store, its plan, and the finished takes, sorted by backbone, length and prompt."""
    where = folder.resolve()
    store = SweepStore(where.parent, where.name)
    plan, done = store.plan(), store.done_ids()
    if not plan:
        raise ConfigError(f"{folder}: is not the folder of a sweep; give a folder such as runs/NAME")
    plugins.load_kept(store.sweep_file)
    made = [take for take in plan if take.id in done]
    if not made:
        raise ConfigError(f"{folder}: 0 of {counted(len(plan), 'take')} done yet; run the sweep first")
    return store, plan, sorted(made, key=lambda take: (take.backbone, take.latent_frames, take.full_prompt))


def read(store: SweepStore, plan: Sequence[Take], made: Iterator[Take]) -> dict[Cell, CellSums]:
    """Read what every cell attended to, one trace at a time."""
    from longtake.evaluators.retrieval.trace_measures import measure_blocks
    from longtake.evaluators.retrieval.trace_rows import read_blocks
    from longtake.evaluators.retrieval.trace_summary import CellSums

    numbers = {prompt: number for number, prompt in enumerate(prompts_of(plan))}
    world, cells = World(), dict[Cell, CellSums]()
    for take in made:
        context, rows = world.context(take), store.trace(take.id)
        if not rows:
            raise StorageError(f"{store.folder}: take {take.id} has no trace; {REPAIR}")
        try:
            blocks = read_blocks(rows, take.latent_frames // context.window.block)
        except ValueError as error:
            raise StorageError(f"{store.folder}: take {take.id}: trace.jsonl: {error}; {REPAIR}") from error
        cell = cells.setdefault(take.cell, CellSums(len(numbers), take.latent_frames / context.latent_fps))
        cell.add(numbers[take.full_prompt], *measure_blocks(blocks, context))
    return cells


REPAIR = "remove the folder of the take and run the sweep again"


def prompts_of(plan: Sequence[Take]) -> list[str]:
    return list(dict.fromkeys(take.full_prompt for take in plan))


def rows_of(plan: Sequence[Take], cells: dict[Cell, CellSums]) -> list[dict[str, Any]]:
    """One row per cell, part of the video and measure, in the order of the plan."""
    return [
        {"backbone": cell.backbone, "method": cell.method, "seconds": cell.seconds, **row}
        for cell in dict.fromkeys(take.cell for take in plan)
        if cell in cells
        for row in cells[cell].rows()
    ]


@dataclass
class World:
    """Context from the backbones: a take's window and what its frames show. Caches only the latest scene."""

    loaded: dict[str, Any] = field(default_factory=dict)
    latest: tuple[Any, Scene] | None = None

    def context(self, take: Take) -> TraceContext:
        from longtake.evaluators.retrieval.trace_measures import TraceContext
        from longtake.platform.backbones.base import backbones
        from longtake.platform.methods.base import methods
        from longtake.platform.settings.config import build

        spec, params = backbones.get(take.backbone).spec, take.method.params
        kind = methods.get(take.method.name)
        looks_back = kind.keeps_evicted
        return TraceContext(
            window=build(kind, params, take.method.label).window_in(spec.window),
            latent_fps=spec.latent_fps,
            latent_frames=take.latent_frames,
            prefix_frames=take.prefix_frames,
            recency_guard=params.get("recency_guard", 0) if looks_back else None,
            scene=self.scene(take) if looks_back and spec.has_camera else None,
        )

    def scene(self, take: Take) -> Scene:
        import numpy as np

        from longtake.evaluators.retrieval.world import Scene
        from longtake.platform.backbones.base import backbones
        from longtake.platform.machine.resources import Resources

        key = (take.backbone, take.latent_frames, take.full_prompt)
        if self.latest is None or self.latest[0] != key:
            if take.backbone not in self.loaded:
                self.loaded[take.backbone] = backbones.get(take.backbone)(Resources(device="cpu"))
            condition = self.loaded[take.backbone].condition_of(take)
            scene = Scene(np.asarray(condition.columns, np.int64), condition.view_columns, condition.world_columns)
            self.latest = key, scene
        return self.latest[1]


def with_progress(made: Sequence[Take], console: Console) -> Iterator[Take]:
    """Yield the takes and show progress: a bar on a terminal, else a line every SHOW_SECONDS."""
    if console.is_terminal:
        with bar(console) as progress:
            yield from progress.track(made, task_id=progress.add_task("takes", total=len(made), note=""))
        return
    last = time.monotonic()
    for number, take in enumerate(made):
        if time.monotonic() - last >= SHOW_SECONDS:
            last = time.monotonic()
            say(console, f"traces: {number} of {len(made)} takes read")
        yield take
