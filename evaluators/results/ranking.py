"""Ranks of cells, with intervals.

Cell score = mean over prompts and seeds. Within one suite, length and prompt set: rank per metric (1 is best, ties
share the mean rank), average over metrics; once within each backbone, once over all cells. Scores and ranks carry a
95 % interval over prompts (one prompt: no interval). Missing scores are left out and counted.
`average_rank` ranks cell scores; `average_rank_per_prompt` ranks within each prompt first and then averages. Papers use
either; do not compare the two. Scores of different protocols, settings or weights raise ConfigError.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from longtake.evaluators.base import Bounds
from longtake.evaluators.results.table import WEIGHTS, ScoreGrid, cells_of, grid, statistic
from longtake.evaluators.results.verdict import Headline, Measured, groups, verdict
from longtake.platform import budgets, stats
from longtake.platform.errors import ConfigError
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import LengthRanks, MetricRank, RankRow, SuiteRanks
from longtake.platform.takes import Cell


def rank_cells(
    df: pd.DataFrame,
    suite: str,
    directions: Mapping[str, str],
    *,
    value: str = "value",
    headline: Headline | None = None,
    bounds: Mapping[str, Bounds] | None = None,
    attended: Mapping[Cell, float] | None = None,
) -> SuiteRanks:
    """The ranks of a suite. `df`: as table.table makes it; `directions`: metric -> 'higher' or 'lower', the metrics to
    rank; `value`: the column that is ranked ('value', or a drift column such as 'quarter_diff'); `headline`: the metric
    of the verdicts, without which they are about ranks; `bounds`: the least and greatest value of metrics; `attended`:
    latent frames that a block of a cell attends.
    """
    mine = df[(df["suite"] == suite) & df["metric"].isin(list(directions))]
    protocols = sorted(mine["protocol"].unique())
    if len(protocols) > 1:
        raise ConfigError(f"suite {suite!r}: protocols {', '.join(protocols)} in one table; score all takes with one")
    made_with = _made_with(mine, suite)
    return SuiteRanks(
        suite,
        protocols[0] if protocols else None,
        settings=json.loads(made_with.get("settings", "{}")),
        weights={key.removeprefix(WEIGHTS): text for key, text in made_with.items() if key.startswith(WEIGHTS)},
        ranked_column=value,
        directions=dict(directions),
        intervals=stats.interval_settings(),
        bounds={name: _finite((bounds or {})[name]) for name in directions if name in (bounds or {})},
        lengths=[
            _length(part, directions, value, headline, bounds or {}, attended or {})
            for _, part in mine.groupby("seconds", sort=True)
        ],
    )


def _finite(bounds: Bounds) -> tuple[float | None, float | None]:
    low, high = (bound if math.isfinite(bound) else None for bound in bounds)
    return low, high


def _made_with(mine: pd.DataFrame, suite: str) -> dict[str, str]:
    """The common `made_with` of all rows. Raises ConfigError, naming the difference, if they are not equal."""
    stamps: list[dict[str, str]] = [json.loads(text) for text in sorted(mine["made_with"].unique())]
    keys = sorted({key for stamp in stamps for key in stamp})
    for key in keys:
        values = sorted({stamp.get(key, "none") for stamp in stamps})
        if len(values) > 1:
            raise ConfigError(
                f"suite {suite!r}: {key} {' and '.join(values)} in one table; score all takes with one, under one label"
            )
    return stamps[0] if stamps else {}


def _length(
    part: pd.DataFrame,
    directions: Mapping[str, str],
    value: str,
    headline: Headline | None,
    bounds: Mapping[str, Bounds],
    attended: Mapping[Cell, float],
) -> LengthRanks:
    prompts = sorted(part["prompt"].unique())
    cells = cells_of(part)
    expected = len(part[["prompt", "seed"]].drop_duplicates())
    scores = grid(part, cells, prompts, list(directions), value, bounds)
    budget = budgets.usual(map(attended.get, cells))

    def board(chosen: Sequence[Cell]) -> Board:
        index = [cells.index(cell) for cell in chosen]
        return Board(list(chosen), scores.of(index), directions, expected, attended, budget)

    overall = board(cells)
    within = {name: board([c for c in cells if c.backbone == name]) for name in sorted({c.backbone for c in cells})}
    verdicts = [(f"{name}, ", one.verdict(headline, lambda cell: cell.method)) for name, one in within.items()]
    if not any(line for _, line in verdicts):
        verdicts = [("", overall.verdict(headline, lambda cell: f"{cell.backbone}/{cell.method}"))]
    return LengthRanks(
        cells[0].seconds,
        len(prompts),
        prompt_set=hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16],
        overall=overall.rows,
        within={name: one.rows for name, one in within.items()},
        verdicts=[f"{who}{cells[0].seconds} s: {line}" for who, line in verdicts if line],
        budget=budget,
    )


@dataclass
class Board:
    """Cells that are ranked together. `expected`: the number of takes of a cell; `attended`: the frames that a block of
    a cell attends; `budget`: those of most cells of the length."""

    cells: list[Cell]
    scores: ScoreGrid
    directions: Mapping[str, str]
    expected: int
    attended: Mapping[Cell, float]
    budget: float | None

    @cached_property
    def higher(self) -> list[bool]:
        return [direction == "higher" for direction in self.directions.values()]

    @cached_property
    def ranks_PC(self) -> stats.Array:
        """Ranks of the cells within each prompt, averaged over metrics."""
        by_metric = zip(self.scores.values_MCP.transpose(0, 2, 1), self.higher, strict=True)
        return stats.nan_mean(np.stack([stats.mean_ranks(v, up) for v, up in by_metric]), 0)

    @cached_property
    def rows(self) -> list[RankRow]:
        """One row per cell, best average rank first."""
        cells, prompts = range(len(self.cells)), self.ranks_PC.shape[0]
        pooled = [[self.scores.estimate(m, c) for c in cells] for m in range(len(self.directions))]
        means_MC = np.array([[np.nan if one.mean is None else one.mean for one in row] for row in pooled])
        draws_MBC = [
            stats.drawn_means(*both) for both in zip(self.scores.sums_MCP, self.scores.counts_MCP, strict=True)
        ]
        ranks_MC = self._ranked(means_MC[:, None, :])[:, 0]
        ranks_MBC = self._ranked(np.stack(draws_MBC))
        average_C, average_BC = stats.nan_mean(ranks_MC, 0), stats.nan_mean(ranks_MBC, 0)
        counts_MC = self.scores.counts_MCP.sum(axis=2).astype(int)

        def metric_rank(m: int, c: int) -> MetricRank:
            rank = _rank(ranks_MC[m, c], ranks_MBC[m, :, c], pooled[m][c].prompts, len(cells))
            return MetricRank(statistic(pooled[m][c]), rank, int(counts_MC[m, c]), self.expected - int(counts_MC[m, c]))

        order = sorted(
            (c for c in cells if not np.isnan(average_C[c])), key=lambda c: (average_C[c], str(self.cells[c]))
        )
        letters = groups(self.ranks_PC, order)
        rows = [
            RankRow(
                self.cells[c],
                _rank(average_C[c], average_BC[:, c], prompts, len(cells)),
                _within_ranks(statistic(stats.estimate(self.ranks_PC[:, c])), len(cells)),
                {name: metric_rank(m, c) for m, name in enumerate(self.directions)},
                letters.get(c),
                self.attended.get(self.cells[c]),
                budgets.are_unequal(self.attended.get(self.cells[c]), self.budget) or None,
            )
            for c in cells
        ]
        return sorted(rows, key=RankRow.place)

    def _ranked(self, values_MBC: stats.Array) -> stats.Array:
        return np.stack([stats.mean_ranks(v, up) for v, up in zip(values_MBC, self.higher, strict=True)])

    def verdict(self, headline: Headline | None, name: Callable[[Cell], str]) -> str:
        """The line about the best two cells; '' if fewer have a rank."""
        best = [row.cell for row in self.rows if row.average_rank.value is not None][:2]
        if len(best) < 2:
            return ""
        measured = [Measured(-self.ranks_PC.T, "ranks within prompts", len(self.cells) - 1.0)]
        if headline is not None:
            m = list(self.directions).index(headline.metric)
            sign = 1 if self.higher[m] else -1
            least, most = self.scores.bounds_M[m]
            measured.insert(0, Measured(sign * self.scores.values_MCP[m], headline.words, most - least))
        better, worse = best
        unequal = budgets.difference(self.attended.get(better), self.attended.get(worse))
        return verdict([*map(name, self.cells)], measured, self.cells.index(better), self.cells.index(worse), unequal)


def _rank(value: float, draws_B: stats.Array, prompts: int, cells: int) -> Statistic:
    if np.isnan(value):
        return Statistic()
    return Statistic(float(value), stats.rank_interval(float(value), draws_B, prompts, cells))


def _within_ranks(mean: Statistic, cells: int) -> Statistic:
    """The interval of a mean of ranks, which ends at the first and the last rank."""
    if mean.interval is None:
        return mean
    low, high = (min(max(bound, 1.0), float(cells)) for bound in mean.interval)
    return Statistic(mean.value, (low, high))
