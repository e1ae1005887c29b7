"""The leaderboard as CSV, and the changes of ranks between sweeps. Reads ranks, computes none.

Text that a spreadsheet would interpret as a formula (it starts with = + - @, a tab or a line break) gets a leading
apostrophe. Numbers are written unchanged; an empty field is a missing score, not 0.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import astuple
from typing import Any

from longtake.dashboards.store_index import StoreIndex
from longtake.dashboards.visible_folder import Missing
from longtake.platform.errors import ConfigError
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import RANK_UNITS, SCOPES, LengthRanks, MetricRank, RankRow, Ranks, SuiteRanks
from longtake.platform.store.sweep import SweepStore

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_csv(
    ranks: Ranks,
    suite: str | None,
    seconds: int | None,
    scope: str,
    unit: str,
    backbone: str | None = None,
    method: str | None = None,
) -> str:
    """The table of a suite and length (default: the first) with its intervals. `backbone` and `method` filter rows
    without changing ranks. Raises ConfigError, Missing."""
    if scope not in SCOPES:
        raise ConfigError(f"scope: must be one of {', '.join(SCOPES)}")
    if unit not in RANK_UNITS:
        raise ConfigError(f"unit: must be one of {', '.join(RANK_UNITS)}")
    suite = next(iter(ranks.suites), "") if suite is None else suite
    length = next((length for _, length in ranks.lengths(suite, seconds)), None)
    if length is None:
        raise Missing("no ranks for this suite and length")
    rows = [row for row in length.rows(scope) if backbone in (None, row.cell.backbone)]
    rows = [row for row in rows if method in (None, row.cell.method)]
    rows.sort(key=lambda row: (row.cell.backbone if scope == "within" else "", row.place(unit)))
    return table(rows, list(ranks.suites[suite].directions), unit)


def table(rows: list[RankRow], metrics: list[str], unit: str) -> str:
    text, field = io.StringIO(), RANK_UNITS[unit]
    writer = csv.writer(text, lineterminator="\n")
    spread = [f"{metric}_{key}" for metric in metrics for key in FIELDS]
    head = ["backbone", "method", "seconds", field, f"{field}_low", f"{field}_high", "frames"]
    writer.writerow([plain(name) for name in [*head, *spread]])
    for row in rows:
        numbers = [number for metric in metrics for number in numbers_of(row.metrics.get(metric))]
        writer.writerow(
            [plain(one) for one in [*astuple(row.cell), *with_bounds(row.rank(unit)), row.frames, *numbers]]
        )
    return text.getvalue()


FIELDS = ("value", "low", "high", "n", "rank", "rank_low", "rank_high")


def numbers_of(metric: MetricRank | None) -> list[Any]:
    """The values of FIELDS; n: number of takes with a value."""
    return [*with_bounds(metric.score), metric.scored, *with_bounds(metric.rank)] if metric else [None] * len(FIELDS)


def with_bounds(statistic: Statistic) -> list[float | None]:
    return [statistic.value, *(statistic.interval or (None, None))]


def plain(value: Any) -> Any:
    """The value of a cell, escaped if it is a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def moves(index: StoreIndex, suite: str | None, seconds: int | None) -> dict[str, Any]:
    """Cells x sweeps, oldest sweep first: the average rank among all cells of a length (unit: cell) in each sweep, null
    if the sweep did not rank the cell. A rank is relative to the cells of its own sweep. Default: all suites and
    lengths, with one row per suite and cell."""
    sweeps = []
    for store in index.sweeps():
        ranks = index.ranks(store)
        if ranks is not None and (by_cell := ranks_of(ranks, suite, seconds)):
            sweeps.append((changed(store), store.name, by_cell))
    sweeps.sort(key=lambda one: one[:2])
    rows = [
        {
            "suite": of,
            "cell": cell,
            "ranks": {name: by_cell.get((of, cell), NOTHING)[0] for _, name, by_cell in sweeps},
            "sets": {name: by_cell.get((of, cell), NOTHING)[1] for _, name, by_cell in sweeps},
        }
        for of, cell in dict.fromkeys(key for _, _, by_cell in sweeps for key in by_cell)
    ]
    return {"sweeps": [name for _, name, _ in sweeps], "cells": rows}


NOTHING = (None, None)


def ranks_of(
    ranks: Ranks, suite: str | None, seconds: int | None
) -> dict[tuple[str, str], tuple[float | None, str | None]]:
    """(suite, cell) -> average rank, and a hash of the prompts, protocol, settings and weights behind it."""
    return {
        (name, str(row.cell)): (row.average_rank.value, hash_of(ranks.suites[name], length))
        for name, length in ranks.lengths(suite, seconds)
        for row in length.overall
    }


def hash_of(ranked: SuiteRanks, length: LengthRanks) -> str:
    facts = [length.prompt_set, ranked.protocol, ranked.settings, ranked.weights, ranked.made]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def changed(store: SweepStore) -> int:
    """Modification time of the ranks in nanoseconds; 0 if they no longer exist."""
    try:
        return store.ranks_file.stat().st_mtime_ns
    except OSError:
        return 0
