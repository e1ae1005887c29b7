"""`longtake run`, `plan` and `corpus`: commands that read a file of takes to generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longtake.jobs.commands.arguments import Overrides, SweepFile


def run(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Plan, generate, score, rank and publish a sweep. Run it again to resume."""
    from longtake.jobs.sweep.run import run as run_sweep

    return run_sweep(sweep, overrides or [])


def plan(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Print the grid of a sweep and its estimated cost. Writes nothing."""
    from longtake.jobs.console import console_for
    from longtake.jobs.sweep import plan as plans
    from longtake.jobs.sweep.grid import expand

    plans.show(expand(sweep, overrides or [], need_weights=False), console_for())
    return 0


def corpus(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The corpus file.")],
    overrides: Overrides = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the hash of every shard.")] = False,
) -> int:
    """Generate or import a corpus of latents, one entry per prompt. Run it again to resume."""
    from longtake.jobs.corpus import make as job

    return job.verify(spec, overrides or []) if verify else job.make(spec, overrides or [])
