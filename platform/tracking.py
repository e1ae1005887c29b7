"""The only importer of MLflow: publishes what the store holds, so that publishing twice changes nothing.

Every run carries a key and is looked up by it before one is created; what it holds is hashed, and an equal hash ends
the matter. Points have fixed timestamps (the run's start plus a revision), so that repeating an interrupted publication
writes the same rows. One process at a time initialises and writes a sqlite store, held by a lock file beside it.
Nothing here is a source of truth: the tracking store can be deleted and published again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.platform.durable import TEMP_PREFIX, temp_path
from longtake.platform.errors import LongtakeError
from longtake.platform.takes import canonical_json

KEY, CONTENT, REVISION = "longtake.key", "longtake.content", "longtake.revision"
LAST = "longtake.last."
"""Tags of a training's run: the last step of each kind that it has."""
PARAM_LIMIT, TAG_LIMIT, BATCH = 6000, 5000, 1000
SQLITE = "sqlite:///"


class TrackingError(LongtakeError):
    """The tracking server or its database does not take the results; they are safe in the store."""

    exit_code = 3


@dataclass(frozen=True)
class RunRecord:
    """One run. `key` identifies it for ever; params never change under one key; `series` is (step, value) per name."""

    key: str
    name: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    artifacts: list[tuple[Path, str]] = field(default_factory=list)  # (file, folder in the run)

    def digest(self) -> str:
        """sha256 of everything in it, the files' bytes included."""
        files = [[path.name, folder, file_digest(path)] for path, folder in self.artifacts]
        content = [self.params, self.tags, finite(self.metrics), self.points(), files]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()

    def points(self) -> list[tuple[str, float, int]]:
        """(name, value, step) of everything that is a number; MLflow has no NaN, and missing is not zero."""
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
    """What publishing did: runs in the publication, and how many of them were new or different."""

    runs: int
    changed: int


def default_uri(output: Path) -> str:
    """sqlite beside the sweeps' folders."""
    return f"{SQLITE}{(output / 'mlflow.db').absolute()}"


def publish(publication: Publication, uri: str) -> Published:
    """Bring the tracking store to what the publication says. Raises TrackingError."""
    with writing(uri) as client:
        return put_all(client, publication, artifact_root(uri))


@contextmanager
def writing(uri: str, advice: str = "run it again to publish") -> Iterator[Any]:
    """A client for a store, whose errors are TrackingErrors of one line; one writer at a time."""
    with quiet_mlflow():
        try:
            with write_lock(uri):
                yield open_client(uri)
        except LongtakeError:
            raise
        except Exception as error:  # MLflow, SQLAlchemy, requests and the file system each have their own
            reason = without_secrets(str(error), uri)[:300]
            raise TrackingError(f"tracking: {type(error).__name__}: {reason}; {advice}") from error


def without_secrets(text: str, uri: str) -> str:
    """One line, without the 'user:password@' that the URI may hold."""
    secret = uri.partition("://")[2].rpartition("@")[0]
    return " ".join((text.replace(f"{secret}@", "") if secret else text).split())


def open_client(uri: str) -> Any:
    """A client for the store at `uri`; makes the database of a new sqlite store (10 s of migrations)."""
    from mlflow.tracking import MlflowClient

    if uri.startswith(SQLITE):
        make_database(Path(uri.removeprefix(SQLITE)))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def make_database(path: Path) -> None:
    """A new database, made beside and renamed when it is whole: half of the migrations could not be repeated."""
    from mlflow.tracking import MlflowClient

    if path.exists():
        return
    for leftover in path.parent.glob(f"{TEMP_PREFIX}*-{path.name}*"):
        leftover.unlink(missing_ok=True)
    part = temp_path(path.parent, path.name)
    MlflowClient(tracking_uri=f"{SQLITE}{part}").search_experiments(max_results=1)  # the first call makes it
    os.replace(part, path)


def warm_up(uri: str) -> None:
    """Import MLflow and open the store, both slow, ahead of the first publication; a failure is left to that one."""
    with suppress(Exception), quiet_mlflow(), write_lock(uri):
        open_client(uri).search_experiments(max_results=1)


def artifact_root(uri: str) -> str | None:
    """Where a local store keeps its files; a server decides for itself."""
    if not uri.startswith(SQLITE):
        return None
    return (Path(uri.removeprefix(SQLITE)).parent / "mlartifacts").absolute().as_uri()


@contextmanager
def write_lock(uri: str) -> Iterator[None]:
    """One writer at a time for a sqlite store; four processes that open a fresh one together would crash three."""
    if not uri.startswith(SQLITE):
        yield
        return
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Bounded waits for a server that is away, and no migration log on the user's terminal."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # importing MLflow would set its loggers back
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow", "sqlalchemy")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def put_all(client: Any, publication: Publication, root: str | None) -> Published:
    experiment = ensure_experiment(client, publication.experiment, root)
    parent, changed = put_run(client, experiment, publication.parent, {})
    for record in publication.children:
        changed += put_run(client, experiment, record, {"mlflow.parentRunId": parent})[1]
    return Published(1 + len(publication.children), changed)


def ensure_experiment(client: Any, name: str, root: str | None) -> str:
    """The experiment's id; a deleted one of that name is an error that says so."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = f"{root}/{name}" if root else None
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage != "active":
        raise TrackingError(f"tracking: the experiment {name!r} is deleted; restore it, or set tracking.experiment")
    return str(found.experiment_id)


def put_run(client: Any, experiment: str, record: RunRecord, links: dict[str, str]) -> tuple[str, int]:
    """(run id, 1 if anything was written). The content tag comes last: without it the run is written again."""
    run = find_run(client, experiment, record.key)
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
    """The run with this key, the oldest if there are several; None when there is none."""
    query = f"tags.`{KEY}` = '{key}'"
    found = client.search_runs([experiment], filter_string=query, max_results=1, order_by=["attributes.start_time ASC"])
    return found[0] if found else None


def create_run(client: Any, experiment: str, record: RunRecord, links: dict[str, str]) -> Any:
    tags = {KEY: record.key, "mlflow.runName": record.name, **links}
    return client.create_run(experiment, tags=tags, run_name=record.name)


def log_points(client: Any, run_id: str, record: RunRecord, timestamp_ms: int) -> None:
    from mlflow.entities import Metric

    points = [Metric(name, value, timestamp_ms, step) for name, value, step in record.points()]
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def log_each(client: Any, run_id: str, points: list[tuple[str, float, int]], start_ms: int) -> None:
    """Points (name, value, step) with the timestamp that their step gives them."""
    from mlflow.entities import Metric

    metrics = [Metric(name, value, start_ms + step, step) for name, value, step in points if math.isfinite(value)]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def log_texts(client: Any, run: Any, record: RunRecord, marks: dict[str, str]) -> None:
    """Params that the run does not have yet, then tags; both cut where MLflow would cut them without a word."""
    from mlflow.entities import Param, RunTag

    new = {name: value for name, value in record.params.items() if name not in run.data.params}
    params = [Param(name, clipped(value, PARAM_LIMIT)) for name, value in new.items()]
    for start in range(0, len(params), 100):
        client.log_batch(run.info.run_id, params=params[start : start + 100])
    tags = [RunTag(name, clipped(value, TAG_LIMIT)) for name, value in (record.tags | marks).items()]
    client.log_batch(run.info.run_id, tags=tags)


def clipped(text: str, limit: int) -> str:
    """Cut visibly, with the checksum of the whole."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 40]}... (cut; sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"


def finite(numbers: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def training_run(
    output: Path, experiment: str, name: str, params: dict[str, Any], uri: str | None = None
) -> Iterator[TrainingLog]:
    """A run that a training logs to while it goes; the same name resumes the same run. The training never waits long:
    when the tracking store fails, logging ends with one warning and the training goes on."""
    log = TrainingLog(uri or default_uri(output), experiment, name, {key: str(value) for key, value in params.items()})
    try:
        yield log
    except BaseException:
        log.end("KILLED")
        raise
    log.end("FINISHED")


class TrainingLog:
    """Points of one training, written as they come."""

    def __init__(self, uri: str, experiment: str, name: str, params: dict[str, str]):
        self.uri, self.failed, self.start_time = uri, False, 0
        key = f"training:{name}:{hashlib.sha256(canonical_json(params).encode()).hexdigest()[:12]}"
        self.record = RunRecord(key, name, params, {"longtake.kind": "training"})
        self.client: Any = None
        self.run_id = ""
        self.last: dict[str, int] = {}
        self.attempt(lambda: self.open(experiment))

    def __call__(self, step: int, numbers: dict[str, float]) -> None:
        self.rows([(step, numbers)])

    def rows(self, rows: list[tuple[int, dict[str, float]]], kind: str = "") -> None:
        """The numbers of several steps at once. With a `kind`, the last of them is remembered beside the run, and steps
        up to it are not written again, in whatever process."""
        rows = [row for row in rows if not kind or row[0] > self.last.get(kind, -1)]
        if rows:
            self.attempt(lambda: self.write(rows, kind))

    def write(self, rows: list[tuple[int, dict[str, float]]], kind: str) -> None:
        log_each(
            self.client, self.run_id, [(k, v, step) for step, row in rows for k, v in row.items()], self.start_time
        )
        if kind:
            self.last[kind] = rows[-1][0]
            self.client.set_tag(self.run_id, LAST + kind, str(rows[-1][0]))

    def keep(self, path: Path, folder: str) -> None:
        """A file, in a folder of the run; one of the same name is replaced."""
        self.attempt(lambda: self.client.log_artifact(self.run_id, str(path), folder))

    def end(self, status: str) -> None:
        self.attempt(lambda: self.client.set_terminated(self.run_id, status=status))

    def open(self, experiment: str) -> None:
        self.client = open_client(self.uri)
        experiment_id = ensure_experiment(self.client, experiment, artifact_root(self.uri))
        run = find_run(self.client, experiment_id, self.record.key)
        run = run or create_run(self.client, experiment_id, self.record, {})
        self.run_id, self.start_time = str(run.info.run_id), int(run.info.start_time)
        tags = {name.removeprefix(LAST): value for name, value in run.data.tags.items() if name.startswith(LAST)}
        self.last = {kind: int(step) for kind, step in tags.items()}
        self.client.update_run(self.run_id, status="RUNNING")
        log_texts(self.client, run, self.record, {})

    def attempt(self, write: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            with quiet_mlflow(), write_lock(self.uri):
                write()
        except Exception as error:  # whatever the tracking store says, the training goes on
            self.failed = True
            reason = without_secrets(str(error), self.uri)[:200]
            warnings.warn(f"tracking: nothing more is logged: {reason}", stacklevel=2)
