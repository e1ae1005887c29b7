"""The command line of `longtake bench sampler`: one option per field of BenchOptions. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.jobs.bench.options import from_words, with_bench_options

if TYPE_CHECKING:
    pass


@with_bench_options
def command(
    *,
    end_to_end: Annotated[bool, typer.Option(help="Also make whole videos, as `longtake run` does.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write every block's reading to this CSV file.")] = None,
    **words: Any,
) -> int:
    """Measure speed and memory of a backbone with random weights; downloads nothing."""
    from longtake.jobs.bench.sampler import sampler

    return sampler(from_words(words), end_to_end, out)
