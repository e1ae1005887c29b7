"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
TrainingFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Override keys of the file, such as seeds=[0,1].")
]
