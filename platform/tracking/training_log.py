"""The MLflow run of a training: points are logged during the training, and the same name resumes the same run."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtake.platform.takes import canonical_json
from longtake.platform.tracking.addresses import default_uri, without_secrets
from longtake.platform.tracking.client import mlflow_settings, open_client, write_lock
from longtake.platform.tracking.file_places import home_of
from longtake.platform.tracking.points import log_rows
from longtake.platform.tracking.publish import create_run, ensure_experiment, find_run, log_texts
from longtake.platform.tracking.records import RunRecord

LAST = "longtake.last."
"""Prefix of the tags that hold the last logged step of each kind of row."""


@contextmanager
def training_run(
    output: Path, experiment: str, name: str, params: dict[str, Any], uri: str | None = None
) -> Iterator[TrainingLog]:
    """Yields the log of a running training; the same name resumes the same run. If the tracking store fails, logging
    stops with one warning and the training continues."""
    log = TrainingLog(uri or default_uri(output), experiment, name, {key: str(value) for key, value in params.items()})
    try:
        yield log
    except BaseException:
        log.end("KILLED")
        raise
    log.end("FINISHED")


class TrainingLog:
    """Logs the points of one training immediately."""

    def __init__(self, uri: str, experiment: str, name: str, params: dict[str, str]):
        self.uri, self.failed, self.start_time = uri, False, 0
        key = f"training:{name}:{hashlib.sha256(canonical_json(params).encode()).hexdigest()[:12]}"
        self.record = RunRecord(key, name, params, {"longtake.kind": "training"})
        self.client: Any = None
        self.run_id = self.experiment_id = ""
        self.last: dict[str, int] = {}
        self.attempt(lambda: self.open(experiment))

    def __call__(self, step: int, numbers: dict[str, float]) -> None:
        self.rows([(step, numbers)])

    def rows(self, rows: list[tuple[int, dict[str, float]]], kind: str = "") -> None:
        """Logs the numbers of several steps. With a `kind`, stores the last step in the run, so that no process logs
        steps up to it again."""
        rows = [row for row in rows if not kind or row[0] > self.last.get(kind, -1)]
        if rows:
            self.attempt(lambda: self.write(rows, kind))

    def write(self, rows: list[tuple[int, dict[str, float]]], kind: str) -> None:
        points = [(name, value, step) for step, row in rows for name, value in row.items() if math.isfinite(value)]
        log_rows(self.client, self.run_id, [(*point, self.start_time + point[2]) for point in points])
        if kind:
            self.last[kind] = rows[-1][0]
            self.client.set_tag(self.run_id, LAST + kind, str(rows[-1][0]))

    def keep(self, path: Path, folder: str) -> None:
        """Logs a file to a folder of the run; replaces a file of the same name."""
        self.attempt(lambda: self.client.log_artifact(self.run_id, str(path), folder))

    def end(self, status: str) -> None:
        self.attempt(lambda: self.client.set_terminated(self.run_id, status=status))

    def open(self, experiment: str) -> None:
        self.client = open_client(self.uri)
        self.experiment_id = ensure_experiment(self.client, experiment, home_of(self.uri))
        run = find_run(self.client, self.experiment_id, self.record.key)
        run = run or create_run(self.client, self.experiment_id, self.record, {})
        self.run_id, self.start_time = str(run.info.run_id), int(run.info.start_time)
        tags = {name.removeprefix(LAST): value for name, value in run.data.tags.items() if name.startswith(LAST)}
        self.last = {kind: int(step) for kind, step in tags.items()}
        self.client.update_run(self.run_id, status="RUNNING")
        log_texts(self.client, run, self.record, {})

    def attempt(self, write: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            with mlflow_settings(self.uri), write_lock(self.uri):
                write()
        except Exception as error:  # the training continues after any error of the tracking store
            self.failed = True
            reason = without_secrets(str(error), self.uri)[:200]
            warnings.warn(f"tracking: logging stopped, the training continues: {reason}", stacklevel=2)
