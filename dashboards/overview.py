"""The start page: one entry for each sweep, training and evaluation of a store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longtake.dashboards.store_index import Plan, StoreIndex
from longtake.platform.errors import LongtakeError
from longtake.platform.store import durable
from longtake.platform.store.durable import stamp_of
from longtake.platform.store.sweep import SweepStore
from longtake.platform.store.training import TrainingFolder

ALIVE_SECONDS = 30.0
"""A run writes its progress about once a second; after this time without an update it counts as stopped."""
TAIL_BYTES = 16384


def overview(index: StoreIndex) -> dict[str, Any]:
    """All sweeps, trainings and evaluations, one entry each."""
    return {
        "root": str(index.root),
        "sweeps": [sweep_line(index, store) for store in index.sweeps()],
        "trainings": [training_line(index, folder) for folder in index.trainings()],
        "evaluations": [evaluation_line(index, name) for name in index.evaluations()],
    }


def sweep_line(index: StoreIndex, store: SweepStore) -> dict[str, Any]:
    """The entry of a sweep; a sweep that cannot be read has an `error`."""
    try:
        plan, progress, uri = index.plan(store), index.progress(store), index.mlflow(store)
        counts = latest_counts(index, store, plan)
    except LongtakeError as error:
        return {"name": store.name, "error": str(error), "takes": 0, "made": 0, "scored": 0, "failed": 0,
                "running": 0, "updated_at": None, "suites": [], "seconds": [], "backbones": [], "methods": [],
                "prompts": 0, "mlflow": None}  # fmt: skip
    return {
        "name": store.name,
        "takes": len(plan.takes),
        **counts,
        "running": len(progress.get("running") or []) if is_alive(progress) else 0,
        "updated_at": progress.get("updated_at") or changed_at(store.plan_file),
        "suites": plan.suites,
        "seconds": sorted(plan.distinct(lambda take: take.seconds)),
        "backbones": plan.distinct(lambda take: take.backbone),
        "methods": plan.distinct(lambda take: take.method.label),
        "prompts": len(plan.prompts),
        "mlflow": uri,
    }


def latest_counts(index: StoreIndex, store: SweepStore, plan: Plan) -> dict[str, int]:
    """made, scored, failed: from the progress of the latest run if it had this plan, else counted."""
    latest = {key: index.progress(store).get(key) for key in ("total", "made", "scored", "failed")}
    if latest["total"] == len(plan.takes) and all(isinstance(value, int) for value in latest.values()):
        return {key: latest[key] for key in ("made", "scored", "failed")}  # type: ignore[misc]
    counts = index.counts(store)
    return {"made": counts["made"] + counts["scored"], "scored": counts["scored"], "failed": counts["failed"]}


def training_line(index: StoreIndex, folder: TrainingFolder) -> dict[str, Any]:
    if not index.holds(folder.steps_file):
        return {"name": folder.name, "step": None, "updated_at": None}
    step = index.files.get(folder.steps_file, "step", lambda: last_step(folder.steps_file))
    return {"name": folder.name, "step": step, "updated_at": changed_at(folder.steps_file)}


def evaluation_line(index: StoreIndex, name: str) -> dict[str, Any]:
    """`figures`: the names of its PNG files, without the suffix."""
    names = index.names_in(index.output.evaluations / name)
    figures = [one.removesuffix(".png") for one in names if one.endswith(".png")]
    return {"name": name, "figures": figures}


def is_alive(progress: dict[str, Any]) -> bool:
    """Whether a run has updated its progress within ALIVE_SECONDS."""
    try:
        updated_at = datetime.fromisoformat(str(progress.get("updated_at")))
        return abs((datetime.now(UTC) - updated_at).total_seconds()) <= ALIVE_SECONDS
    except (ValueError, TypeError):
        return False


def changed_at(path: Path) -> str | None:
    """The modification time of the file in UTC."""
    stamp = stamp_of(path)
    return None if stamp is None else datetime.fromtimestamp(stamp.modified_ns / 1e9, UTC).isoformat(timespec="seconds")


def last_step(path: Path) -> int | None:
    """The step of the last complete row; reads only the end of the file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            rows = durable.parse_json_lines(file.read())
    except OSError:
        return None
    steps = [row["step"] for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]
    return steps[-1] if steps else None
