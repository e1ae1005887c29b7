"""`longtake explain TAKE`: which stage lost each place that came back, in one take of the pocket world.

The take is made again, so that each stage can be tried with the right memory in its place; its sweep is only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from longtake.jobs.console import bar, new_table, print_table, say
from longtake.jobs.explain.replay import Explained, Loss, explain
from longtake.jobs.explain.stages import STAGES
from longtake.jobs.upkeep.remake import find, grid_of
from longtake.platform.backbones.base import backbones
from longtake.platform.generation.sampler import Sampler
from longtake.platform.takes import Take

PART_S = 30
SHOWN = 10


def run(word: str, runs: Path, console: Console) -> int:
    """Prints the explanation; returns 0. Raises LongtakeError."""
    store, take = find(word, runs)
    grid = grid_of(take, store)
    sampler = Sampler(take.backbone, grid.resources(store.root.texts))
    with bar(console) as progress:
        task = progress.add_task("blocks", total=None, note="")
        found = explain(take, sampler, lambda done, total: progress.update(task, completed=done, total=total))
    show(take, found, console)
    return 0


def show(take: Take, found: Explained, console: Console) -> None:
    fps = backbones.get(take.backbone).spec.latent_fps
    if not found.losses:
        say(console, f"{take.cell}: all {found.returned} columns that came back are right")
        return
    counts = Counter(loss.stage for loss in found.losses)
    parts = ", ".join(f"{counts[stage]} {stage}" for stage in STAGES if counts[stage])
    say(console, f"{take.cell}: {len(found.losses)} of {found.returned} columns that came back are lost: {parts}")
    print_table(console, by_part(found.losses, fps))
    for loss in found.losses[:SHOWN]:
        say(console, sentence(loss, fps))
    if len(found.losses) > SHOWN:
        say(console, f"and {len(found.losses) - SHOWN} more")


def by_part(losses: Sequence[Loss], fps: float) -> Table:
    """Losses by part of the video and stage."""
    table = new_table("columns lost, by the stage that lost them")
    for head in ("part, s", *STAGES):
        table.add_column(head, justify="right", no_wrap=True)
    parts = sorted({int(loss.frame / fps) // PART_S for loss in losses})
    for part in parts:
        counts = Counter(loss.stage for loss in losses if int(loss.frame / fps) // PART_S == part)
        span = f"{part * PART_S}-{(part + 1) * PART_S}"
        table.add_row(span, *(str(counts[stage]) for stage in STAGES))
    return table


def sentence(loss: Loss, fps: float) -> str:
    """One loss in words."""
    at = f"{loss.frame / fps:.2f} s, place {loss.place}: {loss.stage}"
    if not loss.copies:
        return f"{at}; no frame in window or bank shows it rightly"
    shown = ", ".join(f"{frame / fps:.2f}" for frame in loss.copies[:3]) + (", .." if len(loss.copies) > 3 else "")
    used = f"{len(loss.attended)} attended" if loss.attended else "none attended"
    return f"{at}; shown rightly at {shown} s ({len(loss.copies)} stored, {used})"
