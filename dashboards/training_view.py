"""The curves of a training, thinned so that long trainings draw as fast as short ones."""

from __future__ import annotations

from typing import Any

from longtake.dashboards.store_index import StoreIndex
from longtake.platform.store.training import TrainingFolder

MAX_ROWS = 2000


def training(index: StoreIndex, folder: TrainingFolder) -> dict[str, Any]:
    """The config as text, and the rows of steps and validations."""
    steps = index.files.get(folder.steps_file, "rows", lambda: thinned(folder.steps()))
    return {
        "config": folder.config_file.read_text(encoding="utf-8", errors="replace"),
        "steps": steps,
        "validation": thinned(folder.validations()),
    }


def thinned(rows: list[Any], limit: int = MAX_ROWS) -> list[dict[str, Any]]:
    """At most `limit` of the rows, evenly spaced, with the first and the last one."""
    rows = [row for row in rows if isinstance(row, dict)]
    if len(rows) <= limit:
        return rows
    return [rows[round(k * (len(rows) - 1) / (limit - 1))] for k in range(limit)]
