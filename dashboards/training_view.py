"""A training's curves, thinned so that a long one is as quick to draw as a short one."""

from __future__ import annotations

from typing import Any

from longtake.dashboards.store_index import StoreIndex
from longtake.platform.store.training import TrainingFolder

MAX_ROWS = 2000


def training(index: StoreIndex, folder: TrainingFolder) -> dict[str, Any]:
    """Its config as text, and rows of steps and validations."""
    steps = index.files.get(folder.steps_file, "rows", lambda: thinned(folder.steps()))
    return {
        "config": folder.config_file.read_text(encoding="utf-8", errors="replace"),
        "steps": steps,
        "validation": thinned(folder.validations()),
    }


def thinned(rows: list[Any], limit: int = MAX_ROWS) -> list[dict[str, Any]]:
    """At most `limit` of the rows, evenly spaced, the first and the last among them."""
    rows = [row for row in rows if isinstance(row, dict)]
    if len(rows) <= limit:
        return rows
    return [rows[round(place * (len(rows) - 1) / (limit - 1))] for place in range(limit)]
