"""From the store's scores to table.parquet and ranks.json. Deterministic: the same scores give the same bytes of ranks.

Samples nothing, scores nothing. Takes that have no scores yet are simply not in it; `coverage` says how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.scoring import current_scores
from longtake.platform.takes import Cell, Take

if TYPE_CHECKING:
    import pandas as pd

    from longtake.evaluators.base import SuiteEntry
    from longtake.platform.store.sweep import SweepStore

MOST_CUT = 3
DRIFT_COLUMNS = ("slope_per_min", "quarter_diff", "quarter_ratio")


def refresh(store: SweepStore, takes: list[Take], suites: list[SuiteEntry]) -> dict[str, Any]:
    """Rewrite table and ranks from what is scored now; returns the ranks."""
    from longtake.evaluators.results.table import table

    scored = ((take, current_scores(store, take, entry)) for entry in suites for take in takes)
    frame = table((take, scores) for take, scores in scored if scores is not None)
    ranks = ranks_of(store.name, frame, takes, suites)
    store.write_table(frame)
    store.write_ranks(ranks)
    return ranks


def ranks_of(sweep: str, frame: pd.DataFrame, takes: list[Take], suites: list[SuiteEntry]) -> dict[str, Any]:
    """What ranks.json holds."""
    made = precision_of(takes)
    return {
        "sweep": sweep,
        "coverage": {entry.label: coverage(frame, entry.label, takes) for entry in suites},
        "suites": {entry.label: rank_suite(frame, entry) | made for entry in suites},
        "drift": drift_means(frame, suites),
    }


def rank_suite(frame: pd.DataFrame, entry: SuiteEntry) -> dict[str, Any]:
    from longtake.evaluators.base import directions
    from longtake.evaluators.results.ranking import rank_cells

    cuts = [events_of(frame, entry.label, name) for name in event_counts(entry)]
    return rank_cells(frame, entry.label, directions(entry)) | {"cuts": next(iter(cuts), None)}


def precision_of(takes: list[Take]) -> dict[str, str]:
    """{"precision": "fp8"} for a sweep made in fp8, which holds for all of its takes; {} for the backbones' own."""
    return {key: value for take in takes[:1] for key, value in take.fingerprint if key == "precision"}


def events_of(frame: pd.DataFrame, suite: str, metric: str) -> dict[str, Any] | None:
    """In how many videos a metric counts events, such as cuts, and which have most; None if no video has a count."""
    known = frame[(frame["suite"] == suite) & (frame["metric"] == metric) & frame["value"].notna()]
    if known.empty:
        return None
    cut = known[known["value"] > 0].sort_values(["value", "take_id"], ascending=[False, True])
    columns = cut.head(MOST_CUT)[["take_id", "backbone", "method", "seconds", "value"]]
    most = [
        {"take_id": take, "cell": str(Cell(backbone, method, seconds)), "cuts": int(cuts)}
        for take, backbone, method, seconds, cuts in columns.itertuples(index=False, name=None)
    ]
    return {"videos": len(known), "with_cuts": len(cut), "most": most}


def coverage(frame: pd.DataFrame, suite: str, takes: list[Take]) -> dict[str, int]:
    return {"takes": len(takes), "scored": int(frame.loc[frame["suite"] == suite, "take_id"].nunique())}


def drift_means(frame: pd.DataFrame, suites: list[SuiteEntry]) -> list[dict[str, Any]]:
    """Per suite, cell and metric (unranked ones too): the mean and how it moves over a video, with intervals; None is
    missing, and the drift of what counts events, which means nothing."""
    from longtake.evaluators.results.table import cell_means

    counts = {(entry.label, name) for entry in suites for name in event_counts(entry)}
    blank = {f"{name}{part}": None for name in DRIFT_COLUMNS for part in ("", "_interval")}
    rows = cell_means(frame)
    return [row | blank if (row["suite"], row["metric"]) in counts else row for row in rows]


def event_counts(entry: SuiteEntry) -> list[str]:
    return [metric.name for metric in entry.metrics.values() if metric.counts_events]
