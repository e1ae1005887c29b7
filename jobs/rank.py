"""From the store's scores to table.parquet and ranks.json. Deterministic: the same scores give the same bytes of ranks.

Samples nothing, scores nothing. Takes that have no scores yet are simply not in it; `coverage` says how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longtake.jobs.evaluate import current_scores
from longtake.platform.takes import Take

if TYPE_CHECKING:
    import pandas as pd

    from longtake.evaluators.base import SuiteEntry
    from longtake.platform.store import SweepStore

DRIFT_COLUMNS = ("slope_per_min", "quarter_diff", "quarter_ratio")


def refresh(store: SweepStore, takes: list[Take], suites: list[SuiteEntry]) -> dict[str, Any]:
    """Rewrite table and ranks from what is scored now; returns the ranks."""
    from longtake.evaluators.aggregate import table

    scored = ((take, current_scores(store, take.id, entry)) for entry in suites for take in takes)
    frame = table((take, scores) for take, scores in scored if scores is not None)
    ranks = {
        "sweep": store.name,
        "coverage": {entry.label: coverage(frame, entry.label, takes) for entry in suites},
        "suites": {entry.label: rank_suite(frame, entry) for entry in suites},
        "drift": drift_means(frame),
    }
    store.write_table(frame)
    store.write_ranks(ranks)
    return ranks


def rank_suite(frame: pd.DataFrame, entry: SuiteEntry) -> dict[str, Any]:
    from longtake.evaluators.base import directions
    from longtake.evaluators.ranking import rank_cells

    return rank_cells(frame, entry.label, directions(entry), seed=0)


def coverage(frame: pd.DataFrame, suite: str, takes: list[Take]) -> dict[str, int]:
    return {"takes": len(takes), "scored": int(frame.loc[frame["suite"] == suite, "take_id"].nunique())}


def drift_means(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Per suite, cell and metric (unranked ones too): the mean and how it moves over a video; None is missing."""
    from longtake.evaluators.aggregate import cell_means

    means = cell_means(frame)
    columns = ["suite", "backbone", "method", "seconds", "metric", "value", *DRIFT_COLUMNS, "scored", "missing"]
    rows = means[columns].astype(object).where(means[columns].notna(), None).to_dict("records")
    return [{str(key): plain(value) for key, value in row.items()} for row in rows]


def plain(value: Any) -> Any:
    """numpy scalars as Python's own."""
    return value.item() if hasattr(value, "item") else value
