"""The leaderboard as CSV, and how ranks differ from sweep to sweep. Reads ranks, computes none.

A text cell that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line break) gets a leading
apostrophe. Numbers are written as they are; an empty field is 'could not be scored', which is not 0.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import Any

from longtake.dashboards.store_index import Missing, StoreIndex
from longtake.platform.errors import ConfigError
from longtake.platform.store.sweep import SweepStore

UNITS = {"cell": "average_rank", "prompt": "average_rank_per_prompt"}
SCOPES = ("overall", "within")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
Row = dict[str, Any]


def as_csv(
    ranks: dict[str, Any],
    suite: str | None,
    seconds: int | None,
    scope: str,
    unit: str,
    backbone: str | None = None,
    method: str | None = None,
) -> str:
    """The table of a suite and length (default: the first) with its intervals; a backbone or method leaves out the
    rows of others, and no rank changes. Raises ConfigError, Missing."""
    if scope not in SCOPES:
        raise ConfigError(f"scope is one of {', '.join(SCOPES)}")
    if unit not in UNITS:
        raise ConfigError(f"unit is one of {', '.join(UNITS)}")
    suite = next(iter(ranks["suites"]), None) if suite is None else suite
    lengths = [
        one for one in ranks["suites"].get(suite, {"lengths": []})["lengths"] if seconds in (None, one["seconds"])
    ]
    if suite is None or not lengths:
        raise Missing("nothing is ranked under this suite at this length")
    overall = lengths[0]["overall"]
    rows = overall if scope == "overall" else [row for rows in lengths[0]["within"].values() for row in rows]
    rows = [row for row in rows if backbone in (None, row["backbone"]) and method in (None, row["method"])]
    metrics = list(ranks["suites"][suite]["directions"])
    return table(sorted(rows, key=lambda row: place(row, scope, UNITS[unit])), metrics, UNITS[unit])


def place(row: Row, scope: str, field: str) -> tuple[Any, ...]:
    """Best first, within a backbone where ranks are."""
    rank = row[field]
    return (row["backbone"] if scope == "within" else "", rank is None, rank or 0, row["cell"])


def table(rows: list[Row], metrics: list[str], field: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    spread = [f"{metric}_{key}" for metric in metrics for key in FIELDS]
    head = ["backbone", "method", "seconds", field, f"{field}_low", f"{field}_high"]
    writer.writerow([plain(name) for name in [*head, *spread]])
    for row in rows:
        numbers = [number for metric in metrics for number in numbers_of(row["metrics"].get(metric, {}))]
        ranked = [row[field], *bounds(row[f"{field}_interval"])]
        writer.writerow([plain(one) for one in [row["backbone"], row["method"], row["seconds"], *ranked, *numbers]])
    return text.getvalue()


FIELDS = ("value", "low", "high", "n", "rank", "rank_low", "rank_high")


def numbers_of(found: Row) -> list[Any]:
    """In the order of FIELDS; n is how many takes have a value."""
    score, rank = bounds(found.get("score_interval")), bounds(found.get("rank_interval"))
    return [found.get("score"), *score, found.get("scored"), found.get("rank"), *rank]


def bounds(interval: list[float] | None) -> list[float | None]:
    return [*interval] if interval else [None, None]


def plain(value: Any) -> Any:
    """The cell, no formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def moves(index: StoreIndex, suite: str | None, seconds: int | None) -> dict[str, Any]:
    """Cells x sweeps, oldest sweep first: the average rank among all cells of a length (unit: cell) in each sweep that
    ranked the cell, null in the others. A rank is a place among the cells of its own sweep. Default: every suite and
    length; a cell of several suites then has a row each."""
    found = []
    for store in index.sweeps():
        ranks = index.ranks(store)
        if ranks is not None and (told := ranks_of(ranks, suite, seconds)):
            found.append((changed(store), store.name, told))
    found.sort()
    cells = list(dict.fromkeys(cell for _, _, told in found for cell in told))
    rows = [
        {
            "suite": of,
            "cell": cell,
            "ranks": {name: told.get((of, cell), NOTHING)[0] for _, name, told in found},
            "sets": {name: told.get((of, cell), NOTHING)[1] for _, name, told in found},
        }
        for of, cell in cells
    ]
    return {"sweeps": [name for _, name, _ in found], "cells": rows}


NOTHING = (None, None)


def ranks_of(
    ranks: dict[str, Any], suite: str | None, seconds: int | None
) -> dict[tuple[str, str], tuple[float | None, str | None]]:
    """(suite, cell) -> its average rank, and a mark of what it was ranked on: prompts, protocol, settings, weights."""
    return {
        (name, row["cell"]): (row["average_rank"], mark_of(ranked, length))
        for name, ranked in ranks["suites"].items()
        if suite in (None, name)
        for length in ranked["lengths"]
        if seconds in (None, length["seconds"])
        for row in length["overall"]
    }


def mark_of(ranked: dict[str, Any], length: dict[str, Any]) -> str:
    told = [ranked.get(key) for key in ("protocol", "settings", "weights", "precision")]
    return hashlib.sha256(json.dumps([length.get("prompt_set"), *told], sort_keys=True).encode()).hexdigest()[:12]


def changed(store: SweepStore) -> int:
    """When its ranks changed, in nanoseconds; 0 once they are gone."""
    try:
        return store.ranks_file.stat().st_mtime_ns
    except OSError:
        return 0
