"""From scores of videos to one long table, and from the table to means per cell. Reads no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from longtake.evaluators.drift import DIFF, RATIO, SLOPE
from longtake.platform.records import VideoScores
from longtake.platform.takes import Take

COLUMNS = [
    "take_id", "backbone", "method", "seconds", "prompt", "seed", "suite", "protocol", "metric", "value",
    SLOPE, DIFF, RATIO, "clips", "clips_missing", "error",
]  # fmt: skip
NUMBERS = ["value", SLOPE, DIFF, RATIO]
CELL = ["backbone", "method", "seconds"]


def table(scored: Iterable[tuple[Take, VideoScores]]) -> pd.DataFrame:
    """One row per take and metric, in a fixed order; a missing number is NaN with its reason in `error`."""
    df = pd.DataFrame([row for take, scores in scored for row in _rows(take, scores)], columns=COLUMNS)
    df[NUMBERS] = df[NUMBERS].astype("float64")
    df[["seconds", "seed", "clips", "clips_missing"]] = df[["seconds", "seed", "clips", "clips_missing"]].astype(
        "int64"
    )
    return df.sort_values(["suite", *CELL, "prompt", "seed", "take_id", "metric"], ignore_index=True)


def _rows(take: Take, scores: VideoScores) -> Iterator[dict[str, Any]]:
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
            "metric": metric,
            "value": value,
            **{name: scores.drift.get(f"{metric}.{name}") for name in (SLOPE, DIFF, RATIO)},
            "clips": len(clips),
            "clips_missing": sum(c is None for c in clips),
            "error": scores.errors.get(metric, ""),
        }


def cell_means(df: pd.DataFrame) -> pd.DataFrame:
    """Mean over prompts and seeds per suite, cell and metric; `scored` and `missing` count the takes behind it."""
    groups = df.groupby(["suite", *CELL, "metric"], sort=True)
    means = groups[NUMBERS].mean()
    means["scored"] = groups["value"].count()
    means["missing"] = groups.size() - means["scored"]
    return means.reset_index()
