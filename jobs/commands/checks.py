"""Commands that look at an installation: `longtake list`, `methods`, `doctor`, `certify` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LISTED = ("backbones", "methods", "suites", "metrics", "sweeps")


def list_names(
    kind: Annotated[str, typer.Argument(metavar="|".join(LISTED), autocompletion=lambda: LISTED)],
) -> int:
    """List what exists by name, one line each: what it is, and whether it can run on this machine."""
    from longtake.jobs.console import console_for
    from longtake.jobs.inventory.listing import show

    return show(kind, console_for())


def methods(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One method, in full.")] = None,
) -> int:
    """List the context methods: attended frames, positions, what they hold, source; or one method in full."""
    from longtake.jobs.console import console_for
    from longtake.jobs.inventory.methods import show

    return show(name, console_for())


def doctor(
    output: Annotated[str, typer.Option(help="Output folder to check.")] = "runs",
) -> int:
    """Check what can run on this machine and how to install the rest. Exits with 1 if no backbone can run."""
    from longtake.jobs.console import console_for
    from longtake.jobs.inventory.doctor import doctor as examine

    return examine(output, console_for())


def certify(file: Annotated[Path, typer.Argument(metavar="FILE.py", help="A plug-in.")]) -> int:
    """Hold a method, metric or backbone of your own to its contract; ends with 1 when a check fails."""
    from longtake.jobs.certify.command import certify as check

    return check(file)


def verify(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of golden cases.")]) -> int:
    """Check the engine against golden cases. Exits with 1 if a case fails."""
    from longtake.jobs.verify import verify as verify_folder

    return verify_folder(folder)
