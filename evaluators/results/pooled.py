"""One metric over several lengths: the mean of each backbone and method, with its interval over prompts.

Every take counts the same, so the lengths of a prompt are pooled as its seeds are; over one length, mean and interval
are those of the ranks. Reads no files.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.evaluators.base import Bounds
from longtake.evaluators.results.table import cells_of, grid, statistic
from longtake.platform.store.json_records import Statistic

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Pooled:
    """A mean over takes; `missing`: how many takes, of those that any other cell has, are without a value."""

    score: Statistic
    missing: int


def over_lengths(
    df: pd.DataFrame, suite: str, metric: str, seconds: Collection[int], bounds: Bounds
) -> dict[tuple[str, str], Pooled]:
    """(backbone, method) -> the mean of `metric` over the lengths. `df`: as table.table makes it; `bounds`: the least
    and the greatest value."""
    mine = df[(df["suite"] == suite) & (df["metric"] == metric) & df["seconds"].isin(list(seconds))]
    expected = len(mine[["seconds", "prompt", "seed"]].drop_duplicates())
    pooled = mine.assign(seconds=0)
    cells = cells_of(pooled)
    scores = grid(pooled, cells, sorted(pooled["prompt"].unique()), [metric], "value", {metric: bounds})
    return {
        (cell.backbone, cell.method): Pooled(
            statistic(scores.estimate(0, c)), expected - int(scores.counts_MCP[0, c].sum())
        )
        for c, cell in enumerate(cells)
    }
