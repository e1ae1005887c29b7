"""Options of `longtake eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class FolderEvalOptions:
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of videos.")]
    suite: Annotated[str, typer.Option(help="The suite, or metrics with --set metrics=[NAME, ...].")] = "classical"
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the suite, such as protocol=exact; repeatable."),
    ] = None
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON {video: prompt}, CSV with columns video,prompt, or names."),
    ] = None
    out: Annotated[Path | None, typer.Option(help="Write the scores to this JSON file; a second run resumes it.")] = (
        None
    )
    table: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Write a row per video and metric to this file.")
    ] = None
    official_out: Annotated[
        Path | None,
        typer.Option("--vbench-out", metavar="FILE.json", help="Write the results in VBench's format to this file."),
    ] = None
    evaluators: Annotated[
        int, typer.Option(min=1, help="Number of scoring processes; each handles one video at a time.")
    ] = 1
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    gpus_per_evaluator: Annotated[
        float | None, typer.Option(min=0, help="GPUs per evaluator if there are several; default: 1 on cuda.")
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Cache results in this folder by the bytes of the videos; default: none."),
    ] = None

    @property
    def outputs(self) -> list[Path]:
        return [path for path in (self.out, self.table, self.official_out) if path is not None]
