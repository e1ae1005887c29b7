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
from longtake.platform.tracking.addresses import SQLITE, credentials, for_mlflow, secrets_of, without_secrets
from longtake.platform.tracking.file_places import FILES, files_folder, keep_files_beside

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # importing MLflow resets its loggers to this level
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for every run that ends
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment variables for MLflow, unless the user sets them."""
DEFAULT = "0"
"""The experiment that MLflow makes with a database."""
LOGGERS = ("alembic", "mlflow", "sqlalchemy", "urllib3")


class TrackingError(LongtakeError):
    """The tracking server or its database does not accept the results; they are safe in the store."""

    exit_code = 3


@contextmanager
def writing(uri: str, advice: str = "run it again to publish") -> Iterator[Any]:
    """Yields a client for a store under its write lock, and converts errors to TrackingErrors of one line."""
    with mlflow_settings(uri):
        try:
            with write_lock(uri):
                yield open_client(uri)
        except LongtakeError as error:
            raise error from (None if secrets_of(uri) else error.__cause__)
        except Exception as error:  # MLflow, SQLAlchemy, requests and the file system have errors of their own
            reason = without_secrets(str(error), uri)[:300]
            cause = None if secrets_of(uri) else error  # a traceback would print the message of the cause
            raise TrackingError(f"tracking: {type(error).__name__}: {reason}; {advice}") from cause


def open_client(uri: str) -> Any:
    """A client for the store at `uri`. Makes the database of a new sqlite store (10 s of migrations), and lets that of
    a store that was moved or copied keep its files beside it."""
    from mlflow.tracking import MlflowClient
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()  # it knows runs by their ids alone, which a copied store shares
    if uri.startswith(SQLITE):
        make_database(Path(uri.removeprefix(SQLITE)))
        keep_files_beside(Path(uri.removeprefix(SQLITE)))
    address = for_mlflow(uri)
    return MlflowClient(tracking_uri=address, registry_uri=address)


def make_database(path: Path) -> None:
    """Creates a database under a temporary name and renames it when complete: partial migrations cannot be resumed."""
    from mlflow.entities import ExperimentTag
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if path.exists():
        return
    for leftover in path.parent.glob(f"{TEMP_PREFIX}*-{path.name}*"):
        leftover.unlink(missing_ok=True)
    part = temp_path(path.parent, path.name)
    root = files_folder()
    store = SqlAlchemyStore(f"{SQLITE}{part}", f"{path.parent.absolute().as_uri()}/{root}")
    store.set_experiment_tag(DEFAULT, ExperimentTag(FILES, f"{root}/{DEFAULT}"))
    os.replace(part, path)


def warm_up(uri: str) -> None:
    """Imports MLflow and opens the store, both slow, before the first publication, which reports any failure."""
    with suppress(Exception), mlflow_settings(uri), write_lock(uri):
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
def mlflow_settings(uri: str) -> Iterator[None]:
    """Gives MLflow the credentials of the URI, limits its wait for a server, and hides its logs from the terminal."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with credentials(uri):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
