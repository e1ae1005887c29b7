"""`longtake run`, `plan` and `corpus`: commands that read a file of takes to generate."""

from __future__ import annotations

from typing import Annotated

import typer

from longtake.jobs import shipped
from longtake.jobs.commands.arguments import CorpusFile, Overrides, SweepFile
from longtake.jobs.sweep.selection import Selection

Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BACKBONE/METHOD/LENGTH",
        help="Only these cells now; a part such as rag or rag/30 suffices, * stands for any text. May be repeated.",
    ),
]
MaxTakes = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="At most N takes in all, spread over the cells.")
]


def run(
    sweep: SweepFile,
    overrides: Overrides = None,
    only: Only = None,
    max_takes: MaxTakes = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try the takes again that earlier runs set aside.")
    ] = False,
) -> int:
    """Plan, generate, score, rank and publish a sweep. Run it again to resume.

    Keys of a sweep file: name, backbones, methods, lengths_s, prompts, seeds, suites, plugins, prefix_s, decode,
    budget, output, tracking, workers. `longtake schema sweep` prints all keys with their types; docs/sweeps.md explains
    them.
    """
    from longtake.jobs.sweep.run import run as run_sweep

    selection = Selection(tuple(only or ()), max_takes)
    file = shipped.find(shipped.SWEEPS, sweep)
    return run_sweep(file, overrides or [], selection=selection, retry_failed=retry_failed)


def plan(sweep: SweepFile, overrides: Overrides = None, only: Only = None, max_takes: MaxTakes = None) -> int:
    """Print the grid of a sweep and its estimated cost. Writes nothing."""
    from longtake.jobs.console import console_for
    from longtake.jobs.sweep import plan as plans
    from longtake.jobs.sweep.grid import expand

    file = shipped.find(shipped.SWEEPS, sweep)
    grid = expand(file, overrides or [], need_weights=False, selection=Selection(tuple(only or ()), max_takes))
    plans.show(grid, console_for())
    return 0


def corpus(
    spec: CorpusFile,
    overrides: Overrides = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the hash of every shard.")] = False,
) -> int:
    """Generate or import a corpus of latents, one entry per prompt. Run it again to resume."""
    from longtake.jobs.corpus import make as job

    file = shipped.find(shipped.CORPORA, spec)
    return job.verify(file, overrides or []) if verify else job.make(file, overrides or [])
