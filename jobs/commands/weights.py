"""`longtake weights`: published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="A backbone, vbench, or an artefact of `longtake weights list`.")
]


def show() -> int:
    """List every artefact with its source, its local files and the components that need it."""
    from longtake.jobs import weights as job
    from longtake.jobs.console import console_for

    return job.show(console_for())


def pull(
    names: Names,
    source: Annotated[
        Path | None, typer.Option("--from", help="Copy the files from this folder instead of downloading.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the repository.")] = None,
    convert: Annotated[bool, typer.Option(help="Convert pickles to safetensors.")] = True,
) -> int:
    """Download and convert weights, such as `vbench` or those of a backbone. Run it again to resume."""
    from longtake.jobs import weights as job

    return job.pull(names, source, revision, convert, print)


def convert(
    names: Names,
    delete_source: Annotated[bool, typer.Option("--delete-source", help="Delete converted pickles.")] = False,
) -> int:
    """Convert downloaded pickles and archives to safetensors. Runs no code from them."""
    from longtake.jobs import weights as job

    return job.convert(names, delete_source, print)


def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all local ones.")] = None,
) -> int:
    """Check file hashes, and tensor names and shapes against the architecture. Exits with 1 on a difference."""
    from longtake.jobs import weights as job

    return job.verify(names or [], print)
