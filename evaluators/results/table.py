"""A long table of the scores of videos, and means per cell with intervals. Reads no files.

`made_with` (JSON) holds what can change a score except the video and its protocol: the version of the suite, its
settings and its weights. Rows with different `made_with` are not comparable.

Legend: M metrics, C cells, P prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from longtake.evaluators.base import UNBOUNDED, Bounds
from longtake.evaluators.drift import DIFF, RATIO, SLOPE
from longtake.platform import stats
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import DriftRow
from longtake.platform.store.records import VideoScores
from longtake.platform.takes import Cell, Take

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "take_id", "backbone", "method", "seconds", "prompt", "seed", "suite", "protocol", "made_with", "metric", "value",
    SLOPE, DIFF, RATIO, "clips", "clips_missing", "error",
]  # fmt: skip
DRIFTS = [SLOPE, DIFF, RATIO]
NUMBERS = ["value", *DRIFTS]
CELL = ["backbone", "method", "seconds"]
STAMPS = ("suite", "settings", "device")
WEIGHTS = "weights."


def table(scored: Iterable[tuple[Take, VideoScores]]) -> pd.DataFrame:
    """One row per take and metric, in a fixed order; a missing number is NaN with its reason in `error`."""
    import pandas as pd

    df = pd.DataFrame([row for take, scores in scored for row in _rows(take, scores)], columns=COLUMNS)
    df[NUMBERS] = df[NUMBERS].astype("float64")
    df[["seconds", "seed", "clips", "clips_missing"]] = df[["seconds", "seed", "clips", "clips_missing"]].astype(
        "int64"
    )
    return df.sort_values(["suite", *CELL, "prompt", "seed", "take_id", "metric"], ignore_index=True)


def _rows(take: Take, scores: VideoScores) -> Iterator[dict[str, Any]]:
    made_with = made_with_of(scores)
    for metric, value in scores.metrics.items():
        clips = scores.clips.get(metric, [])
        yield {
            "take_id": take.id,
            "backbone": take.backbone,
            "method": take.method.label,
            "seconds": take.seconds,
            "prompt": take.full_prompt,
            "seed": take.seed,
            "suite": scores.suite,
            "protocol": scores.protocol,
            "made_with": made_with,
            "metric": metric,
            "value": value,
            **{name: scores.drift.get(f"{metric}.{name}") for name in (SLOPE, DIFF, RATIO)},
            "clips": len(clips),
            "clips_missing": sum(c is None for c in clips),
            "error": scores.errors.get(metric, ""),
        }


def made_with_of(scores: VideoScores) -> str:
    """The part of a record's versions that must be equal for two scores to share a table, as JSON."""
    chosen = {name: text for name, text in scores.versions.items() if name in STAMPS or name.startswith(WEIGHTS)}
    return json.dumps(chosen, sort_keys=True)


@dataclass(frozen=True)
class ScoreGrid:
    """Sums and counts of the scores that exist, per metric, cell and prompt (seeds summed); `bounds_M`: of a value."""

    sums_MCP: stats.Array
    counts_MCP: stats.Array
    bounds_M: tuple[Bounds, ...]

    @cached_property
    def values_MCP(self) -> stats.Array:
        """The mean over seeds; NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            values: stats.Array = self.sums_MCP / self.counts_MCP
        return values

    def estimate(self, m: int, c: int) -> stats.Estimate:
        return stats.pooled_estimate(self.sums_MCP[m, c], self.counts_MCP[m, c]).within(*self.bounds_M[m])

    def of(self, index: Sequence[int]) -> ScoreGrid:
        """The scores of some of the cells."""
        return ScoreGrid(self.sums_MCP[:, index], self.counts_MCP[:, index], self.bounds_M)


def cells_of(part: pd.DataFrame) -> list[Cell]:
    return [Cell(str(b), str(m), int(s)) for b, m, s in sorted(set(part[CELL].itertuples(index=False, name=None)))]


def grid(
    part: pd.DataFrame,
    cells: Sequence[Cell],
    prompts: Sequence[str],
    names: Sequence[str],
    value: str,
    bounds: Mapping[str, Bounds],
) -> ScoreGrid:
    """Sum the column `value` on a grid of metrics `names`, cells and prompts; leaves out NaN. `bounds`: of metrics,
    which do not hold for the columns of drift."""
    sums = np.zeros((len(names), len(cells), len(prompts)))
    counts = np.zeros_like(sums)
    at_metric, at_prompt = ({key: i for i, key in enumerate(keys)} for keys in (names, prompts))
    at_cell = {(c.backbone, c.method, c.seconds): i for i, c in enumerate(cells)}
    known = part[np.isfinite(part[value])].sort_values(["seed", "take_id"])
    for row in known[["metric", *CELL, "prompt", value]].itertuples(index=False, name=None):
        place = at_metric[row[0]], at_cell[row[1:4]], at_prompt[row[4]]
        sums[place] += row[5]
        counts[place] += 1
    known_bounds = bounds if value == "value" else {}
    return ScoreGrid(sums, counts, tuple(known_bounds.get(name, UNBOUNDED) for name in names))


def cell_means(df: pd.DataFrame, bounds: Mapping[str, Mapping[str, Bounds]] | None = None) -> list[DriftRow]:
    """A row per suite, cell and metric, unranked ones too: the mean over prompts and seeds of each of NUMBERS, and its
    95 % interval (None where fewer than two prompts have a value).

    `scored` and `missing` count takes for the value, `drift_scored` for the drift. `bounds`: suite -> metric -> the
    least and greatest value.
    """
    parts = [(str(suite), part) for (suite, _), part in df.groupby(["suite", "seconds"], sort=True)]
    return [row for suite, part in parts for row in _means(suite, part, (bounds or {}).get(suite, {}))]


def _means(suite: str, part: pd.DataFrame, bounds: Mapping[str, Bounds]) -> Iterator[DriftRow]:
    prompts, names, cells = sorted(part["prompt"].unique()), sorted(part["metric"].unique()), cells_of(part)
    grids = {number: grid(part, cells, prompts, names, number, bounds) for number in NUMBERS}
    p = {number: _p_of_no_drift(grids[number], number) for number in DRIFTS}
    takes = part.groupby([*CELL, "metric"]).size().to_dict()
    for c, cell in enumerate(cells):
        for m, name in enumerate(names):
            count = takes.get((cell.backbone, cell.method, cell.seconds, name), 0)
            if not count:
                continue
            value, slope, diff, ratio = (statistic(one.estimate(m, c)) for one in grids.values())
            scored, drifting = (int(grids[number].counts_MCP[m, c].sum()) for number in NUMBERS[:2])
            counts = scored, count - scored, drifting
            drift_p = {number: float(p[number][m, c]) for number in DRIFTS if np.isfinite(p[number][m, c])} or None
            where = suite, cell.backbone, cell.method, cell.seconds, name
            yield DriftRow(*where, value, slope, diff, ratio, *counts, drift_p)


def _p_of_no_drift(scores: ScoreGrid, number: str) -> stats.Array:
    """[M, C]: p after Holm's correction over the cells of a metric; NaN without drift."""
    values_MCP = scores.values_MCP - (1.0 if number == RATIO else 0.0)
    p_MC = np.full(values_MCP.shape[:2], np.nan)
    for m, values_CP in enumerate(values_MCP):
        known_C = np.isfinite(values_CP).any(axis=1)
        p_MC[m, known_C] = stats.holm(stats.sign_flip_p(values_CP[known_C]))
    return p_MC


def statistic(found: stats.Estimate) -> Statistic:
    return Statistic(found.mean, None if found.low is None or found.high is None else (found.low, found.high))
