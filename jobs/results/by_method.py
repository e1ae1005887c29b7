"""One metric of every method: a row per method, a column per backbone. The content of `longtake leaderboard --metric`.

A number is the mean over prompts, seeds and the lengths shown, with its 95 % interval over prompts. The methods are in
the order of their mean rank: the ranks of the metric within a backbone, averaged over backbones and lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.evaluators.base import Bounds
from longtake.evaluators.results.pooled import Pooled, over_lengths
from longtake.jobs.results.board import STAR_NOTE, RankFilter, title_of
from longtake.platform import budgets
from longtake.platform.errors import ConfigError
from longtake.platform.names import counted
from longtake.platform.store.ranks import LengthRanks, RankRow, Ranks, SuiteRanks

if TYPE_CHECKING:
    import pandas as pd

    from longtake.platform.store.sweep import SweepStore


@dataclass(frozen=True)
class MethodRow:
    """`rank`: the mean rank; `frames`: what its cells attend; `scores`: by backbone."""

    method: str
    rank: float | None
    frames: list[float]
    scores: dict[str, Pooled]

    @property
    def place(self) -> tuple[bool, float, str]:
        """A sort key: best first, methods without a rank last."""
        return self.rank is None, self.rank or 0.0, self.method


@dataclass(frozen=True)
class MethodTable:
    """The methods of a sweep under one metric of a suite, best first. `label`: for references to it."""

    title: str
    label: str
    backbones: list[str]
    rows: list[MethodRow]
    ranked_over: str

    @property
    def budget(self) -> float | None:
        """The attended frames of most cells."""
        return budgets.usual(frames for row in self.rows for frames in row.frames)

    def frames(self, row: MethodRow) -> str:
        """'12', '24-60+': of all its cells, marked if one attends another number than most."""
        return budgets.span(row.frames, any(budgets.are_unequal(frames, self.budget) for frames in row.frames))

    @property
    def notes(self) -> list[str]:
        known, budget = [score for row in self.rows for score in row.scores.values()], self.budget
        notes = [f"mean rank: of this metric within a backbone, over {self.ranked_over}"]
        if any(score.missing and score.score.value is not None for score in known):
            notes.append(STAR_NOTE)
        if budget is not None and any(budgets.MARK in self.frames(row) for row in self.rows):
            notes.append(budgets.note(budget))
        return notes


def tables_of(store: SweepStore, ranks: Ranks, metric: str, view: RankFilter, full: bool) -> list[MethodTable]:
    """A table per suite that has values of the metric, over all lengths of the view; with `full` also one per length.

    Raises ConfigError for ranks of an earlier version.
    """
    tables = list[MethodTable]()
    for suite, ranked in view.suites(ranks).items():
        lengths = [length for length in view.lengths(ranked) if has_values(length, metric)]
        if not lengths:
            continue
        if ranked.bounds is None or (df := store.table()) is None:
            raise ConfigError(
                f"{store.folder}: ranks of an earlier version; run the sweep again, which keeps its takes, or show "
                "another with --sweep"
            )
        shown = [lengths] + ([[length] for length in lengths] if full and len(lengths) > 1 else [])
        tables += [table_of(df, ranks.sweep, suite, ranked, metric, some) for some in shown]
    return tables


def has_values(length: LengthRanks, metric: str) -> bool:
    return any(metric in row.metrics and row.metrics[metric].score.value is not None for row in length.overall)


def table_of(
    df: pd.DataFrame, sweep: str, suite: str, ranked: SuiteRanks, metric: str, lengths: Sequence[LengthRanks]
) -> MethodTable:
    seconds = [length.seconds for length in lengths]
    scores = over_lengths(df, suite, metric, seconds, bounds_of(ranked, metric))
    cells = [row for length in lengths for row in length.rows("within")]
    backbones = list(dict.fromkeys(row.cell.backbone for row in cells))
    rows = [
        row_of(name, metric, [row for row in cells if row.cell.method == name], scores)
        for name in dict.fromkeys(row.cell.method for row in cells)
    ]
    over = f"{'mean over ' if len(seconds) > 1 else ''}{', '.join(map(str, seconds))} s"
    prompts = counted(max(length.prompts for length in lengths), "prompt")
    what = f"{metric.replace('_', ' ')} ({ranked.directions[metric]} is better)"
    return MethodTable(
        f"{title_of(sweep, suite, ranked)}, {what}, {over}, {prompts}",
        f"{sweep}-{suite}-{metric}-{'-'.join(map(str, seconds))}s",
        backbones,
        sorted(rows, key=lambda row: row.place),
        f"{counted(len(backbones), 'backbone')} and {counted(len(seconds), 'length')}",
    )


def row_of(method: str, metric: str, cells: list[RankRow], scores: dict[tuple[str, str], Pooled]) -> MethodRow:
    ranks = [rank for row in cells if (rank := row.metrics[metric].rank.value) is not None]
    frames = [row.frames for row in cells if row.frames is not None]
    mine = {backbone: score for (backbone, name), score in scores.items() if name == method}
    return MethodRow(method, sum(ranks) / len(ranks) if ranks else None, frames, mine)


def bounds_of(ranked: SuiteRanks, metric: str) -> Bounds:
    low, high = (ranked.bounds or {})[metric]
    return -math.inf if low is None else low, math.inf if high is None else high
