"""`longtake run`, `plan` and `corpus`: commands that read a file of takes to generate."""

from __future__ import annotations

from typing import Annotated

import typer

from longtake.jobs import shipped
from longtake.jobs.commands.arguments import CorpusFile, Overrides, SweepFile


def run(
    sweep: SweepFile,
    overrides: Overrides = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try the takes again that earlier runs set aside.")
    ] = False,
) -> int:
    """Plan, generate, score, rank and publish a sweep. Run it again to resume.

    Keys of a sweep file: name, backbones, methods, lengths_s, prompts, seeds, suites, plugins, prefix_s, decode,
    output, tracking, workers. `longtake schema sweep` prints all keys with their types; docs/sweeps.md explains them.
    """
    from longtake.jobs.sweep.run import run as run_sweep

    return run_sweep(shipped.find(shipped.SWEEPS, sweep), overrides or [], retry_failed=retry_failed)


def plan(sweep: SweepFile, overrides: Overrides = None) -> int:
    """Print the grid of a sweep and its estimated cost. Writes nothing."""
    from longtake.jobs.console import console_for
    from longtake.jobs.sweep import plan as plans
    from longtake.jobs.sweep.grid import expand

    grid = expand(shipped.find(shipped.SWEEPS, sweep), overrides or [], need_weights=False)
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
