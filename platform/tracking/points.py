"""The numbers of a run: only those that changed are written.

MLflow keeps every number that was ever logged. A point that is logged again under a later time replaces the earlier
one in its views, so a changed number is one more row, and an unchanged one is none.
"""

from __future__ import annotations

import math
from typing import Any

from longtake.platform.tracking.records import RunRecord

BATCH = 1000
Points = dict[int, float]
"""Step -> value of one metric."""


def log_changed(client: Any, run: Any, record: RunRecord, timestamp_ms: int) -> None:
    """Logs the numbers of the record that differ from those of the run, and NaN in place of those it no longer has."""
    wanted = record.numbers()
    names = [*wanted, *(name for name in run.data.metrics if name not in wanted)]
    rows = []
    for name in names:
        for step, value in changed(client, run, name, wanted.get(name)).items():
            rows.append((name, value, step, timestamp_ms))
    log_rows(client, run.info.run_id, rows)


def changed(client: Any, run: Any, name: str, wanted: float | None) -> Points:
    """The points to log so that the metric has the wanted value alone, or none. A run of an earlier version may also
    have points of later steps."""
    latest = run.data.metrics.get(name)
    points = {} if wanted is None else {0: wanted}
    if latest is None:
        return points
    if latest == wanted or (wanted is None and math.isnan(latest)):
        return {}
    now = current(client.get_metric_history(run.info.run_id, name))
    gone = {step: math.nan for step, value in now.items() if step not in points and not math.isnan(value)}
    return {step: value for step, value in points.items() if now.get(step) != value} | gone


def current(history: list[Any]) -> Points:
    """The newest value of each step."""
    return {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}


def log_rows(client: Any, run_id: str, rows: list[tuple[str, float, int, int]]) -> None:
    """Logs rows of name, value, step and time in ms."""
    from mlflow.entities import Metric

    metrics = [Metric(name, value, timestamp, step) for name, value, step, timestamp in rows]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
