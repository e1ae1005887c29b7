"""Options of `longtake train eval-embedder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from longtake.platform.settings.paths import expanded

MAX_SECONDS = 3600


@dataclass(frozen=True)
class EmbedderEvalOptions:
    descriptors: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DESCRIPTOR]...", help="Values of rag's parameter `descriptor`, or LABEL=VALUE."),
    ] = None
    backbone: Annotated[str, typer.Option(help="Backbone whose world has a known camera path.")] = "pocket"
    prompts: Annotated[str, typer.Option(help="A file with one prompt per line.")] = "prompts/pocket.txt"
    limit: Annotated[int, typer.Option(min=1, max=4096, help="Use the first N prompts.")] = 16
    seconds: Annotated[float, typer.Option(min=1, max=MAX_SECONDS, help="Length of the videos.")] = 240.0
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the scenes.")] = 0
    noise: Annotated[
        float,
        typer.Option(
            min=0, max=10, help="Standard deviation of noise on every latent: generated frames never repeat exactly."
        ),
    ] = 0.0
    top_k: Annotated[int, typer.Option(min=1, max=1024, help="Frames retrieved per block.")] = 6
    recency_guard: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Number of newest evicted frames that are not eligible.")
    ] = 5
    base: Annotated[str, typer.Option(metavar="LABEL", help="Descriptor to compare the others with.")] = "avg-pool"
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: OUTPUT/embedders/eval-ID.")] = None
    output: Annotated[str, typer.Option(help="The folder for results.")] = "runs"
    tracking: Annotated[str | None, typer.Option(metavar="URI", help="Address of MLflow, or disabled.")] = None

    @property
    def uri(self) -> str | None:
        """The tracking store; None when tracking is off."""
        from longtake.platform.tracking.addresses import OFF, default_uri

        return None if self.tracking == OFF else expanded(self.tracking or "") or default_uri(Path(self.output))
