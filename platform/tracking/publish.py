"""Publishes runs to MLflow so that publishing twice changes nothing.

Every run has a key and is looked up by it before it is created. A run with an equal content hash is not changed. Points
have fixed timestamps (the start of the run plus a revision), so repeating an interrupted publication writes the same
rows.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.platform.digest import file_sha256
from longtake.platform.store.plans import OUTPUT
from longtake.platform.takes import canonical_json
from longtake.platform.tracking.client import TrackingError, writing
from longtake.platform.tracking.file_places import CONTENT, FILES, files_folder, home_of

KEY, REVISION = "longtake.key", "longtake.revision"
PARAM_LIMIT, TAG_LIMIT, BATCH = 6000, 5000, 1000


@dataclass(frozen=True)
class RunRecord:
    """One run. `key` identifies it; params never change for a key; `series`: name -> (step, value) points."""

    key: str
    name: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    artifacts: list[tuple[Path, str]] = field(default_factory=list)  # (file, folder in the run)
    same: frozenset[str] = frozenset()  # tags; a run of an earlier version with these and the params is this one

    def digest(self) -> str:
        """The sha256 of its content, including the bytes of its files."""
        files = [[path.name, folder, file_sha256(path)] for path, folder in self.artifacts]
        content = [self.params, self.tags, finite(self.metrics), self.points(), files]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()

    def points(self) -> list[tuple[str, float, int]]:
        """(name, value, step) of all finite numbers; MLflow has no NaN, and missing is not zero."""
        singles = [(name, value, 0) for name, value in self.metrics.items()]
        series = [(name, value, step) for name, points in self.series.items() for step, value in points]
        return [point for point in singles + series if math.isfinite(point[1])]


@dataclass(frozen=True)
class Publication:
    """A parent run and its children, in one experiment."""

    experiment: str
    parent: RunRecord
    children: list[RunRecord]


@dataclass(frozen=True)
class Published:
    """The result of publishing: the number of runs, and how many of them were new or changed."""

    runs: int
    changed: int


def publish(publication: Publication, uri: str) -> Published:
    """Writes the publication to the tracking store; writes nothing for unchanged runs. Raises TrackingError."""
    with writing(uri) as client:
        return put_all(client, publication, home_of(uri))


def put_all(client: Any, publication: Publication, home: Path | None) -> Published:
    experiment = ensure_experiment(client, publication.experiment, home)
    parent, changed = put_run(client, experiment, publication.parent, {})
    for record in publication.children:
        changed += put_run(client, experiment, record, {"mlflow.parentRunId": parent})[1]
    return Published(1 + len(publication.children), changed)


def ensure_experiment(client: Any, name: str, home: Path | None) -> str:
    """The id of the experiment, created if needed; with a `home`, its files are in that folder. Raises TrackingError if
    an experiment of that name is deleted."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        folder = files_folder(name)
        location = f"{home.as_uri()}/{folder}" if home else None
        return str(client.create_experiment(name, location, tags={FILES: folder} if home else {}))
    if experiment.lifecycle_stage != "active":
        raise TrackingError(f"tracking: the experiment {name!r} is deleted; restore it, or set tracking.experiment")
    return str(experiment.experiment_id)


def put_run(client: Any, experiment: str, record: RunRecord, links: dict[str, str]) -> tuple[str, int]:
    """Returns (run id, 1 if written else 0). Writes the content tag last: without it, the run is written again."""
    run = find_run(client, experiment, record.key) or find_earlier(client, experiment, record)
    digest = record.digest()
    if run is None:
        run = create_run(client, experiment, record, links)
    elif run.data.tags.get(CONTENT) == digest:
        return str(run.info.run_id), 0
    revision = int(run.data.tags.get(REVISION, "0")) + 1
    log_points(client, run.info.run_id, record, run.info.start_time + revision)
    for path, folder in record.artifacts:
        client.log_artifact(run.info.run_id, str(path), folder or None)
    log_texts(client, run, record, {REVISION: str(revision), CONTENT: digest})
    client.set_terminated(run.info.run_id, status="FINISHED")
    return str(run.info.run_id), 1


def find_run(client: Any, experiment: str, key: str) -> Any:
    """The oldest run with this key; None if there is none."""
    query = f"tags.`{KEY}` = '{key}'"
    runs = client.search_runs([experiment], filter_string=query, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def find_earlier(client: Any, experiment: str, record: RunRecord) -> Any:
    """The run of an earlier version, whose key contained paths of weights; None if there is none. Renews its key."""
    if not record.same:
        return None
    query = " and ".join(f"tags.`{name}` = '{record.tags[name]}'" for name in sorted(record.same))
    for run in client.search_runs([experiment], filter_string=query, order_by=["attributes.start_time ASC"]):
        fixed = {name: value for name, value in record.params.items() if not value.startswith(OUTPUT)}
        if fixed.items() <= run.data.params.items():
            client.set_tag(run.info.run_id, KEY, record.key)
            return run
    return None


def create_run(client: Any, experiment: str, record: RunRecord, links: dict[str, str]) -> Any:
    tags = {KEY: record.key, "mlflow.runName": record.name, **links}
    return client.create_run(experiment, tags=tags, run_name=record.name)


def log_points(client: Any, run_id: str, record: RunRecord, timestamp_ms: int) -> None:
    from mlflow.entities import Metric

    points = [Metric(name, value, timestamp_ms, step) for name, value, step in record.points()]
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def log_texts(client: Any, run: Any, record: RunRecord, tags: dict[str, str]) -> None:
    """Logs params that the run does not have, then tags, clipped visibly where MLflow would truncate silently."""
    from mlflow.entities import Param, RunTag

    new = {name: value for name, value in record.params.items() if name not in run.data.params}
    params = [Param(name, clipped(value, PARAM_LIMIT)) for name, value in new.items()]
    for start in range(0, len(params), 100):
        client.log_batch(run.info.run_id, params=params[start : start + 100])
    all_tags = [RunTag(name, clipped(value, TAG_LIMIT)) for name, value in (record.tags | tags).items()]
    client.log_batch(run.info.run_id, tags=all_tags)


def clipped(text: str, limit: int) -> str:
    """Cuts a long text and appends the hash of the whole."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 40]}... (cut; sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"


def finite(numbers: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
