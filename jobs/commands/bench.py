"""`longtake bench`: speed and memory of generation and training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longtake.jobs import shipped
from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.commands.arguments import Overrides, TrainingFile
from longtake.jobs.commands.options import options_of


def engine(
    frames: Annotated[int, typer.Option(min=60, help="Latent frames per run (960 frames are 240 s).")] = 240,
    methods: Annotated[
        str | None,
        typer.Option(help="Methods to time, separated by commas; by default all. native is always timed."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="A very small network, so that what a method itself costs shows.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the measurement of every block to this CSV file.")] = None,
) -> int:
    """Measure CPU time per block of every context method, relative to the matrix multiplication rate of this machine.

    All 320 blocks of 240 s (--frames 960) take about 40 minutes of one core; fewer methods, or --small, take less."""
    from longtake.jobs.bench.engine import engine as measure

    names = None if methods is None else [name.strip() for name in methods.split(",")]
    return measure(frames, names, small, out)


@options_of(BenchOptions)
def sampler(
    options: BenchOptions,
    *,
    end_to_end: Annotated[bool, typer.Option(help="Also generate whole videos, as `longtake run` does.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write the measurement of every block to this CSV file.")] = None,
) -> int:
    """Measure the speed and memory of a backbone with random weights. Downloads nothing."""
    from longtake.jobs.bench.sampler import sampler as measure

    return measure(options, end_to_end, out)


def embedder(
    config: TrainingFile,
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of workers to compare with one.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the measurement of every step to this CSV file.")] = None,
) -> int:
    """Measure training steps: DeepSpeed against plain PyTorch, and several workers against one."""
    from longtake.jobs.bench.embedder import bench as measure

    return measure(shipped.find(shipped.TRAININGS, config), overrides or [], workers, out)
