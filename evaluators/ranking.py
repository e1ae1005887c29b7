"""Ranks of cells, with intervals.

Cell score = mean over prompts and seeds. Within one suite, length and prompt set: rank per metric (1 is best, ties
share the mean rank), average over metrics; once within each backbone, once over all cells. Scores and ranks carry a
95 % interval from a paired bootstrap over prompts (one prompt: no interval). A missing score is left out and counted.
`average_rank` ranks cell scores; `average_rank_per_prompt` ranks within each prompt first and then averages: papers
do either, and the two are not to be compared with each other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from longtake.evaluators import bootstrap as boot
from longtake.evaluators.aggregate import CELL
from longtake.platform.errors import ConfigError
from longtake.platform.takes import Cell

RESAMPLES = 1000


def rank_cells(
    df: pd.DataFrame,
    suite: str,
    directions: Mapping[str, str],
    seed: int = 0,
    *,
    value: str = "value",
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Ranks as plain JSON. `df`: aggregate.table; `directions`: metric -> 'higher' or 'lower', the metrics to rank;
    `value`: the column that is ranked ('value', or a drift column such as 'quarter_diff').
    """
    mine = df[(df["suite"] == suite) & df["metric"].isin(list(directions))]
    protocols = sorted(mine["protocol"].unique())
    if len(protocols) > 1:
        raise ConfigError(f"suite {suite!r}: protocols {', '.join(protocols)} in one table; score all takes with one")
    lengths = [_length(part, directions, value, seed, resamples) for _, part in mine.groupby("seconds", sort=True)]
    return {
        "suite": suite,
        "protocol": protocols[0] if protocols else None,
        "ranked_column": value,
        "directions": dict(directions),
        "bootstrap": {"over": "prompts", "resamples": resamples, "seed": seed, "interval": boot.INTERVAL},
        "lengths": lengths,
    }


def _length(part: pd.DataFrame, directions: Mapping[str, str], value: str, seed: int, resamples: int) -> dict[str, Any]:
    prompts = sorted(part["prompt"].unique())
    weights_BP = boot.resample_weights(len(prompts), resamples, seed)
    cells = [Cell(str(b), str(m), int(s)) for b, m, s in sorted(set(part[CELL].itertuples(index=False, name=None)))]
    expected = len(part[["prompt", "seed"]].drop_duplicates())
    grid = _grid(part, cells, prompts, list(directions), value)

    def rows(chosen: Sequence[Cell]) -> list[dict[str, Any]]:
        index = [cells.index(cell) for cell in chosen]
        return _rows(
            chosen, _Grid(grid.sums_MCP[:, index], grid.counts_MCP[:, index]), directions, weights_BP, expected
        )

    backbones = sorted({cell.backbone for cell in cells})
    return {
        "seconds": cells[0].seconds,
        "prompts": len(prompts),
        "prompt_set": hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16],
        "overall": rows(cells),
        "within": {name: rows([c for c in cells if c.backbone == name]) for name in backbones},
    }


@dataclass(frozen=True)
class _Grid:
    """Sums and counts of the scores that exist, per metric, cell and prompt (seeds summed)."""

    sums_MCP: boot.Array
    counts_MCP: boot.Array


def _grid(part: pd.DataFrame, cells: list[Cell], prompts: list[str], names: list[str], value: str) -> _Grid:
    sums = np.zeros((len(names), len(cells), len(prompts)))
    counts = np.zeros_like(sums)
    at_metric, at_prompt = ({key: i for i, key in enumerate(keys)} for keys in (names, prompts))
    at_cell = {(c.backbone, c.method, c.seconds): i for i, c in enumerate(cells)}
    known = part[np.isfinite(part[value])].sort_values(["seed", "take_id"])
    for row in known[["metric", *CELL, "prompt", value]].itertuples(index=False, name=None):
        place = at_metric[row[0]], at_cell[row[1:4]], at_prompt[row[4]]
        sums[place] += row[5]
        counts[place] += 1
    return _Grid(sums, counts)


def _rows(
    cells: Sequence[Cell], grid: _Grid, directions: Mapping[str, str], weights_BP: boot.Array, expected: int
) -> list[dict[str, Any]]:
    """One row per cell, best average rank first."""
    higher = [direction == "higher" for direction in directions.values()]
    once = np.ones((1, weights_BP.shape[1]))
    draws = list(zip(grid.sums_MCP, grid.counts_MCP, strict=True))
    scores_MC = np.stack([boot.weighted_means(once, s, n)[0] for s, n in draws])
    scores_MBC = np.stack([boot.weighted_means(weights_BP, s, n) for s, n in draws])
    ranks_MC = np.stack([boot.mean_ranks(v[None], up)[0] for v, up in zip(scores_MC, higher, strict=True)])
    ranks_MBC = np.stack([boot.mean_ranks(v, up) for v, up in zip(scores_MBC, higher, strict=True)])
    per_prompt_PC = _ranks_per_prompt(grid, higher)
    known_PC = ~np.isnan(per_prompt_PC)
    unit = np.where(known_PC, per_prompt_PC, 0.0).T, known_PC.T.astype(np.float64)
    average_C, average_BC = boot.nan_mean(ranks_MC, 0), boot.nan_mean(ranks_MBC, 0)
    prompt_C, prompt_BC = boot.weighted_means(once, *unit)[0], boot.weighted_means(weights_BP, *unit)
    spread = boot.interval if weights_BP.shape[1] > 1 else _no_interval
    counts_MC = grid.counts_MCP.sum(axis=2).astype(int)
    rows = [
        {
            "cell": str(cell),
            "backbone": cell.backbone,
            "method": cell.method,
            "seconds": cell.seconds,
            "average_rank": _number(average_C[c]),
            "average_rank_interval": spread(average_BC[:, c]),
            "average_rank_per_prompt": _number(prompt_C[c]),
            "average_rank_per_prompt_interval": spread(prompt_BC[:, c]),
            "metrics": {
                name: {
                    "score": _number(scores_MC[m, c]),
                    "score_interval": spread(scores_MBC[m, :, c]),
                    "rank": _number(ranks_MC[m, c]),
                    "rank_interval": spread(ranks_MBC[m, :, c]),
                    "scored": int(counts_MC[m, c]),
                    "missing": expected - int(counts_MC[m, c]),
                }
                for m, name in enumerate(directions)
            },
        }
        for c, cell in enumerate(cells)
    ]
    return sorted(rows, key=lambda r: (r["average_rank"] is None, r["average_rank"], r["cell"]))


def _ranks_per_prompt(grid: _Grid, higher: list[bool]) -> boot.Array:
    """[P, C]: ranks of the cells within each prompt, averaged over metrics."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means_MPC = (grid.sums_MCP / grid.counts_MCP).transpose(0, 2, 1)
    return boot.nan_mean(np.stack([boot.mean_ranks(v, up) for v, up in zip(means_MPC, higher, strict=True)]), 0)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _no_interval(_: boot.Array) -> None:
    return None
