"""A long table of the scores of videos, and means per cell with intervals. Reads no files.

`made_with` (JSON) holds what can change a score except the video and its protocol: the version of the suite, its
settings and its weights. Rows with different `made_with` are not comparable.

Legend: M metrics, C cells, P prompts, B resamples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
NUMBERS = ["value", SLOPE, DIFF, RATIO]
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
            "prompt": take.prompt,
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
    """Sums and counts of the scores that exist, per metric, cell and prompt (seeds summed)."""

    sums_MCP: stats.Array
    counts_MCP: stats.Array


def cells_of(part: pd.DataFrame) -> list[Cell]:
    return [Cell(str(b), str(m), int(s)) for b, m, s in sorted(set(part[CELL].itertuples(index=False, name=None)))]


def grid(
    part: pd.DataFrame, cells: Sequence[Cell], prompts: Sequence[str], names: Sequence[str], value: str
) -> ScoreGrid:
    """Sum the column `value` on a grid of metrics `names`, cells and prompts; leaves out NaN."""
    sums = np.zeros((len(names), len(cells), len(prompts)))
    counts = np.zeros_like(sums)
    at_metric, at_prompt = ({key: i for i, key in enumerate(keys)} for keys in (names, prompts))
    at_cell = {(c.backbone, c.method, c.seconds): i for i, c in enumerate(cells)}
    known = part[np.isfinite(part[value])].sort_values(["seed", "take_id"])
    for row in known[["metric", *CELL, "prompt", value]].itertuples(index=False, name=None):
        place = at_metric[row[0]], at_cell[row[1:4]], at_prompt[row[4]]
        sums[place] += row[5]
        counts[place] += 1
    return ScoreGrid(sums, counts)


def cell_means(df: pd.DataFrame) -> list[DriftRow]:
    """A row per suite, cell and metric, unranked ones too: the mean over prompts and seeds of each of NUMBERS, and its
    95 % interval (None where fewer than two prompts have a value).

    Within a suite and length the resamples are those of the ranks. `scored` and `missing` count takes for the value,
    `drift_scored` for the drift.
    """
    return [row for _, part in df.groupby(["suite", "seconds"], sort=True) for row in _means(part)]


def _means(part: pd.DataFrame) -> Iterator[DriftRow]:
    prompts, names, cells = sorted(part["prompt"].unique()), sorted(part["metric"].unique()), cells_of(part)
    weights_BP = stats.resample_weights(len(prompts))
    grids = [grid(part, cells, prompts, names, number) for number in NUMBERS]
    suite = str(part["suite"].iloc[0])
    takes = part.groupby([*CELL, "metric"]).size().to_dict()
    for c, cell in enumerate(cells):
        for m, name in enumerate(names):
            count = takes.get((cell.backbone, cell.method, cell.seconds, name), 0)
            if not count:
                continue
            value, slope, diff, ratio = (_mean(weights_BP, one, m, c) for one in grids)
            scored, drifting = (int(one.counts_MCP[m, c].sum()) for one in grids[:2])
            counts = scored, count - scored, drifting
            yield DriftRow(suite, cell.backbone, cell.method, cell.seconds, name, value, slope, diff, ratio, *counts)


def _mean(weights_BP: stats.Array, scores: ScoreGrid, m: int, c: int) -> Statistic:
    sums_P, counts_P = scores.sums_MCP[m, c], scores.counts_MCP[m, c]
    means_B = stats.weighted_means(weights_BP, sums_P[None], counts_P[None])[:, 0]
    mean = float(sums_P.sum() / counts_P.sum()) if counts_P.any() else None
    return Statistic(mean, stats.interval(means_B, (counts_P > 0).sum()))
