"""Computes table.parquet and ranks.json from the stored scores. The same scores give the same bytes of ranks.json.

Generates and scores nothing. Takes without scores are left out; `coverage` counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from longtake.jobs.workers.scoring import current_scores
from longtake.platform.machine.resources import PUBLISHED
from longtake.platform.store.ranks import Coverage, Cuts, CutTake, DriftRow, Ranks, SuiteRanks
from longtake.platform.takes import PUBLISHED_DECODE, Cell, Take

if TYPE_CHECKING:
    import pandas as pd

    from longtake.evaluators.base import SuiteEntry
    from longtake.evaluators.results.verdict import Headline
    from longtake.platform.store.sweep import SweepStore

MAX_CUT_TAKES = 3


def refresh(store: SweepStore, takes: list[Take], suites: list[SuiteEntry]) -> Ranks:
    """Rewrite table and ranks from the current scores; returns the ranks. Raises StorageError, without a change, if a
    newer run holds the sweep."""
    from longtake.evaluators.results.table import table

    scored = ((take, current_scores(store, take, entry)) for entry in suites for take in takes)
    frame = table((take, scores) for take, scores in scored if scores is not None)
    ranks = ranks_of(store.name, frame, takes, suites, attended_of(store, takes))
    store.check_epoch()
    store.write_table(frame)
    store.write_ranks(ranks)
    return ranks


def attended_of(store: SweepStore, takes: list[Take]) -> dict[Cell, float]:
    """The frames' worth of tokens that a block attended, mean over the takes that say."""
    seen: dict[Cell, list[float]] = {}
    for take in takes:
        if (made := store.result(take.id)) is not None and made.attended_frames:
            seen.setdefault(take.cell, []).append(made.attended_frames)
    return {cell: sum(frames) / len(frames) for cell, frames in seen.items()}


def ranks_of(
    sweep: str,
    frame: pd.DataFrame,
    takes: list[Take],
    suites: list[SuiteEntry],
    attended: Mapping[Cell, float] | None = None,
) -> Ranks:
    """The content of ranks.json. `attended`: frames that a block of each cell attended."""
    return Ranks(
        sweep,
        {entry.label: coverage(frame, entry.label, takes) for entry in suites},
        {entry.label: rank_suite(frame, entry, takes, attended or {}) for entry in suites},
        drift_means(frame, suites),
    )


def rank_suite(frame: pd.DataFrame, entry: SuiteEntry, takes: list[Take], attended: Mapping[Cell, float]) -> SuiteRanks:
    from longtake.evaluators.base import bounds_of, directions
    from longtake.evaluators.results.ranking import rank_cells

    ranked = rank_cells(
        frame,
        entry.label,
        directions(entry),
        headline=headline_of(entry),
        bounds=bounds_of(entry),
        attended=attended,
    )
    cuts = [events_of(frame, entry.label, name) for name in event_counts(entry)]
    return replace(ranked, cuts=next(iter(cuts), None), precision=precision_of(takes), decode=decode_of(takes))


def headline_of(entry: SuiteEntry) -> Headline | None:
    """The metric of the suite's verdicts; None if the suite, or its choice of metrics, has none."""
    from longtake.evaluators.results.verdict import Headline

    units = {metric.name: metric.unit for metric in entry.metrics.values() if metric.ranked}
    name = entry.suite.headline
    return Headline(name, units[name]) if name in units else None


def precision_of(takes: list[Take]) -> str | None:
    """'fp8' if all takes of the sweep are in fp8; None for the backbones' own precision."""
    return dict(takes[0].fingerprint).get("precision") if takes else None


def decode_of(takes: list[Take]) -> str | None:
    """'published' if all takes of the sweep are decoded so; None for one stream."""
    return PUBLISHED if takes and ("decode", PUBLISHED_DECODE) in takes[0].fingerprint else None


def events_of(frame: pd.DataFrame, suite: str, metric: str) -> Cuts | None:
    """Number of videos with events of a metric, such as cuts, and those with most; None if no video has a count."""
    known = frame[(frame["suite"] == suite) & (frame["metric"] == metric) & frame["value"].notna()]
    if known.empty:
        return None
    cut = known[known["value"] > 0].sort_values(["value", "take_id"], ascending=[False, True])
    columns = cut.head(MAX_CUT_TAKES)[["take_id", "backbone", "method", "seconds", "value"]]
    most = [
        CutTake(take, str(Cell(backbone, method, seconds)), int(cuts))
        for take, backbone, method, seconds, cuts in columns.itertuples(index=False, name=None)
    ]
    return Cuts(len(known), len(cut), most)


def coverage(frame: pd.DataFrame, suite: str, takes: list[Take]) -> Coverage:
    scored = set(frame.loc[frame["suite"] == suite, "take_id"])
    missing = Counter(str(take.cell) for take in takes if take.id not in scored)
    return Coverage(len(takes), len(takes) - missing.total(), dict(missing))


def drift_means(frame: pd.DataFrame, suites: list[SuiteEntry]) -> list[DriftRow]:
    """Per suite, cell and metric (unranked ones too): the mean and its drift over a video, with intervals. None is a
    missing value, or the drift of an event count, which is not meaningful."""
    from longtake.evaluators.base import bounds_of
    from longtake.evaluators.results.table import cell_means

    means = cell_means(frame, {entry.label: bounds_of(entry) for entry in suites})
    counts = {(entry.label, name) for entry in suites for name in event_counts(entry)}
    return [row.without_drift() if (row.suite, row.metric) in counts else row for row in means]


def event_counts(entry: SuiteEntry) -> list[str]:
    return [metric.name for metric in entry.metrics.values() if metric.counts_events]
