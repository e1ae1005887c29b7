"""Connections to MLflow: addresses, clients, locks, and errors of one line. Only this folder imports MLflow.

One process at a time creates and writes a sqlite store, under a lock file beside it. The tracking store is no source of
truth: it can be deleted and published again.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longtake.platform.errors import LongtakeError
from longtake.platform.store.durable import TEMP_PREFIX, temp_path
from longtake.platform.store.root import OutputRoot

SQLITE = "sqlite:///"


class TrackingError(LongtakeError):
    """The tracking server or its database does not accept the results; they are safe in the store."""

    exit_code = 3


def default_uri(output: Path) -> str:
    """The URI of the sqlite store in the output folder."""
    return f"{SQLITE}{OutputRoot(output).mlflow_db.absolute()}"


@contextmanager
def writing(uri: str, advice: str = "run it again to publish") -> Iterator[Any]:
    """Yields a client for a store under its write lock, and converts errors to TrackingErrors of one line."""
    with quiet_mlflow():
        try:
            with write_lock(uri):
                yield open_client(uri)
        except LongtakeError:
            raise
        except Exception as error:  # MLflow, SQLAlchemy, requests and the file system have errors of their own
            reason = without_secrets(str(error), uri)[:300]
            raise TrackingError(f"tracking: {type(error).__name__}: {reason}; {advice}") from error


def without_secrets(text: str, uri: str) -> str:
    """The text on one line, without the 'user:password@' of the URI."""
    secret = uri.partition("://")[2].rpartition("@")[0]
    return " ".join((text.replace(f"{secret}@", "") if secret else text).split())


def open_client(uri: str) -> Any:
    """A client for the store at `uri`; makes the database of a new sqlite store (10 s of migrations)."""
    from mlflow.tracking import MlflowClient

    if uri.startswith(SQLITE):
        make_database(Path(uri.removeprefix(SQLITE)))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def make_database(path: Path) -> None:
    """Creates a database under a temporary name and renames it when complete: partial migrations cannot be resumed."""
    from mlflow.tracking import MlflowClient

    if path.exists():
        return
    for leftover in path.parent.glob(f"{TEMP_PREFIX}*-{path.name}*"):
        leftover.unlink(missing_ok=True)
    part = temp_path(path.parent, path.name)
    MlflowClient(tracking_uri=f"{SQLITE}{part}").search_experiments(max_results=1)  # creates the database
    os.replace(part, path)


def warm_up(uri: str) -> None:
    """Imports MLflow and opens the store, both slow, before the first publication, which reports any failure."""
    with suppress(Exception), quiet_mlflow(), write_lock(uri):
        open_client(uri).search_experiments(max_results=1)


@contextmanager
def write_lock(uri: str) -> Iterator[None]:
    """Locks a sqlite store for one writer: of processes that create a store together, all but one would crash."""
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
    """Limits the wait for an unreachable server, and hides migration logs from the terminal."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # importing MLflow resets its loggers to this level
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow", "sqlalchemy")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


OFF = "disabled"


def without_password(uri: str | None) -> str | None:
    """The URI without 'user:password@' (a password may contain any character but @) and without the query."""
    if uri is None or "://" not in uri or uri.startswith("sqlite:"):
        return uri
    scheme, rest = uri.split("://", 1)
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
