"""Commands about the files that users write: `longtake new` and `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    kind: Annotated[str, typer.Argument(metavar="method|metric|backbone|sweep")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What a sweep calls it.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write the file.")] = Path(),
) -> int:
    """Write a commented file that runs as it is: a method, metric or backbone of your own, or a sweep of those here."""
    from longtake.jobs.new import new as write

    return write(kind, name, folder)


def schema(
    kind: Annotated[str, typer.Argument(metavar="sweep|corpus|embedder|pocket", help="Kind of file.")],
) -> int:
    """Print the JSON Schema of a kind of file, for completion and checks in an editor."""
    from longtake.jobs.schema import show

    return show(kind)
