"""Arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from longtake.jobs import shipped


def completion(folder: Path) -> Callable[[str], list[str]]:
    """For the shell: the names of the shipped files of one kind, and the YAML files that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        typed = Path(incomplete)
        place = typed if incomplete.endswith("/") else typed.parent
        here = [str(path) + "/" * path.is_dir() for path in place.glob("*") if path.is_dir() or path.suffix == ".yaml"]
        return [name for name in (*shipped.names(folder), *sorted(here)) if name.startswith(incomplete)]

    return complete


SweepFile = Annotated[
    Path,
    typer.Argument(
        metavar="SWEEP",
        help="A sweep file, or the name of a shipped one, such as demo (see `longtake list sweeps`).",
        autocompletion=completion(shipped.SWEEPS),
    ),
]
CorpusFile = Annotated[
    Path,
    typer.Argument(
        metavar="CORPUS",
        help="A corpus file, or the name of a shipped one, such as pocket.",
        autocompletion=completion(shipped.CORPORA),
    ),
]
TrainingFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="A training config, or the name of a shipped one, such as pocket.",
        autocompletion=completion(shipped.TRAININGS),
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Override keys of the file, such as seeds=[0,1].")
]
