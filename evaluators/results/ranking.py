"""Ranks of cells, with intervals.

Cell score = mean over prompts and seeds. Within one suite, length and prompt set: rank per metric (1 is best, ties
share the mean rank), average over metrics; once within each backbone, once over all cells. Scores and ranks carry a
95 % interval from a paired bootstrap over prompts (one prompt: no interval). Missing scores are left out and counted.
`average_rank` ranks cell scores; `average_rank_per_prompt` ranks within each prompt first and then averages. Papers use
either; do not compare the two. Scores of different protocols, settings or weights raise ConfigError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from longtake.evaluators.results.table import WEIGHTS, ScoreGrid, cells_of, grid
from longtake.platform import stats
from longtake.platform.errors import ConfigError
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import LengthRanks, MetricRank, RankRow, SuiteRanks
from longtake.platform.takes import Cell


def rank_cells(df: pd.DataFrame, suite: str, directions: Mapping[str, str], *, value: str = "value") -> SuiteRanks:
    """The ranks of a suite. `df`: as table.table makes it; `directions`: metric -> 'higher' or 'lower', the metrics to
    rank; `value`: the column that is ranked ('value', or a drift column such as 'quarter_diff').
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
        bootstrap=stats.bootstrap_settings(),
        lengths=[_length(part, directions, value) for _, part in mine.groupby("seconds", sort=True)],
    )


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


def _length(part: pd.DataFrame, directions: Mapping[str, str], value: str) -> LengthRanks:
    prompts = sorted(part["prompt"].unique())
    weights_BP = stats.resample_weights(len(prompts))
    cells = cells_of(part)
    expected = len(part[["prompt", "seed"]].drop_duplicates())
    scores = grid(part, cells, prompts, list(directions), value)

    def rows(chosen: Sequence[Cell]) -> list[RankRow]:
        index = [cells.index(cell) for cell in chosen]
        mine = ScoreGrid(scores.sums_MCP[:, index], scores.counts_MCP[:, index])
        return _rows(chosen, mine, directions, weights_BP, expected)

    backbones = sorted({cell.backbone for cell in cells})
    return LengthRanks(
        cells[0].seconds,
        len(prompts),
        prompt_set=hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16],
        overall=rows(cells),
        within={name: rows([c for c in cells if c.backbone == name]) for name in backbones},
    )


def _rows(
    cells: Sequence[Cell], scores: ScoreGrid, directions: Mapping[str, str], weights_BP: stats.Array, expected: int
) -> list[RankRow]:
    """One row per cell, best average rank first."""
    higher = [direction == "higher" for direction in directions.values()]
    once = np.ones((1, weights_BP.shape[1]))
    draws = list(zip(scores.sums_MCP, scores.counts_MCP, strict=True))
    scores_MC = np.stack([stats.weighted_means(once, s, n)[0] for s, n in draws])
    scores_MBC = np.stack([stats.weighted_means(weights_BP, s, n) for s, n in draws])
    ranks_MC = np.stack([stats.mean_ranks(v[None], up)[0] for v, up in zip(scores_MC, higher, strict=True)])
    ranks_MBC = np.stack([stats.mean_ranks(v, up) for v, up in zip(scores_MBC, higher, strict=True)])
    per_prompt_PC = _ranks_per_prompt(scores, higher)
    known_PC = ~np.isnan(per_prompt_PC)
    unit = np.where(known_PC, per_prompt_PC, 0.0).T, known_PC.T.astype(np.float64)
    average_C, average_BC = stats.nan_mean(ranks_MC, 0), stats.nan_mean(ranks_MBC, 0)
    prompt_C, prompt_BC = stats.weighted_means(once, *unit)[0], stats.weighted_means(weights_BP, *unit)
    prompts = weights_BP.shape[1]
    counts_MC = scores.counts_MCP.sum(axis=2).astype(int)
    prompts_MC = (scores.counts_MCP > 0).sum(axis=2)

    def metric_rank(m: int, c: int) -> MetricRank:
        score = _statistic(scores_MC[m, c], scores_MBC[m, :, c], prompts_MC[m, c])
        rank = _statistic(ranks_MC[m, c], ranks_MBC[m, :, c], prompts)
        return MetricRank(score, rank, int(counts_MC[m, c]), expected - int(counts_MC[m, c]))

    rows = [
        RankRow(
            cell,
            _statistic(average_C[c], average_BC[:, c], prompts),
            _statistic(prompt_C[c], prompt_BC[:, c], prompts),
            {name: metric_rank(m, c) for m, name in enumerate(directions)},
        )
        for c, cell in enumerate(cells)
    ]
    return sorted(rows, key=RankRow.place)


def _statistic(value: float, samples_B: stats.Array, prompts: int) -> Statistic:
    return Statistic(stats.number(value), stats.interval(samples_B, prompts))


def _ranks_per_prompt(scores: ScoreGrid, higher: list[bool]) -> stats.Array:
    """[P, C]: ranks of the cells within each prompt, averaged over metrics."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means_MPC = (scores.sums_MCP / scores.counts_MCP).transpose(0, 2, 1)
    return stats.nan_mean(np.stack([stats.mean_ranks(v, up) for v, up in zip(means_MPC, higher, strict=True)]), 0)
