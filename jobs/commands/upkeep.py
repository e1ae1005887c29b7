"""Commands on a sweep that exists: `longtake remake`, `explain`, `rename` and `clip`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longtake.jobs.commands.arguments import Overrides
from longtake.jobs.commands.sweep import Only
from longtake.jobs.sweep.selection import Selection


def remake(
    take: Annotated[str, typer.Argument(metavar="TAKE", help="The id of a take, or its folder.")],
    runs: Annotated[Path, typer.Option(help="Output folder of the sweeps.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Output folder for the new video.")] = Path("remade"),
) -> int:
    """Make one take again and compare the pixels. Exits with 1 if they differ. Changes nothing of its sweep."""
    from longtake.jobs.console import console_for
    from longtake.jobs.upkeep.remake import remake as make_again

    return make_again(take, runs, out, console_for())


def explain(
    take: Annotated[str, typer.Argument(metavar="TAKE", help="The id of a take, or its folder.")],
    runs: Annotated[Path, typer.Option(help="Output folder of the sweeps.")] = Path("runs"),
) -> int:
    """Name the stage that lost each place that came back: stored, retrieved, attended, used. For the pocket world."""
    from longtake.jobs.console import console_for
    from longtake.jobs.explain.command import run

    return run(take, runs, console_for())


def rename(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="The folder of a sweep, such as runs/NAME.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    overrides: Overrides = None,
) -> int:
    """Give a sweep another name: its folder, its files, and its experiment and runs in MLflow. No take changes."""
    from longtake.jobs.upkeep.rename import rename as rename_sweep

    return rename_sweep(folder, name, overrides or [])


def clip(
    folder: Annotated[Path, typer.Argument(metavar="SWEEP_FOLDER", help="The folder of a sweep, such as runs/NAME.")],
    only: Only = None,
    out: Annotated[Path, typer.Option(metavar="FILE.webp", help="The file to write.")] = Path("clip.webp"),
) -> int:
    """Write a looping clip: one place in every video at its first view and at each return. For the pocket world."""
    from longtake.jobs.upkeep.clip import clip as write

    return write(folder, out, Selection(tuple(only or ())))
