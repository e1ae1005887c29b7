"""Where the files of a sqlite tracking store are: beside its database, also after both were moved or copied.

MLflow records absolute locations, so a copied database would lead to the files of the original. Whoever opens a
database therefore first updates the locations of the experiments that Longtake made. MLflow has no call for that; the
statements here know its tables. The files themselves are neither read nor moved.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from longtake.platform.names import NAME
from longtake.platform.store.root import OutputRoot
from longtake.platform.tracking.addresses import SQLITE

FILES = "longtake.files"
"""Tag of an experiment: the folder of its files, relative to that of the database."""
CONTENT = "longtake.content"
"""Tag of a run: the hash of what was published. Without it, the run is published again."""
LOCATIONS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
MODEL_LOCATIONS = (("model_versions", "source"), ("model_versions", "storage_location"))
EXPERIMENTS = """
    select experiments.experiment_id, name, artifact_location, value
    from experiments left join experiment_tags
    on experiment_tags.experiment_id = experiments.experiment_id and key = ?
"""


def home_of(uri: str) -> Path | None:
    """The folder of a sqlite store's database; None for any other store."""
    return Path(uri.removeprefix(SQLITE)).parent.absolute() if uri.startswith(SQLITE) else None


def files_folder(experiment: str | None = None) -> str:
    """The folder of all files, or of an experiment's, relative to that of the database. A name that is not a valid
    folder name is replaced by its hash."""
    if experiment is None:
        return str(OutputRoot("").mlflow_files)
    name = experiment if NAME.fullmatch(experiment) else hashlib.sha256(experiment.encode()).hexdigest()[:16]
    return f"{files_folder()}/{name}"


def keep_files_beside(database: Path) -> None:
    """Updates the locations in a database that is no longer where they were written. Needs its write lock."""
    home = database.parent.absolute()
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for experiment, name, location, folder in connection.execute(EXPERIMENTS, (FILES,)).fetchall():
            inner = folder or f"{files_folder()}/{name}"  # earlier versions set no tag
            if not location or not location.startswith("file:") or not location.endswith(f"/{inner}"):
                continue
            here = f"{home.as_uri()}/{inner}"
            if location != here and not same_folder(location.removesuffix(f"/{inner}"), home):
                move(connection, str(experiment), location, here)


def same_folder(location: str, home: Path) -> bool:
    """Whether a location is this folder under another path, such as a link."""
    try:
        return path_of(location).samefile(home)
    except OSError:
        return False


def path_of(location: str) -> Path:
    return Path(unquote(urlsplit(location).path))


def move(connection: sqlite3.Connection, experiment: str, old: str, new: str) -> None:
    """Replaces the location of an experiment and those below it; its runs are published again.

    A registered model whose files were not copied along stays where it is: it is only read.
    """
    for table, column in LOCATIONS:
        if has(connection, table, column):
            connection.execute(
                f"update {table} set {column} = ? || substr({column}, ?) "
                f"where {column} = ? or substr({column}, 1, ?) = ?",
                (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )
    for table, column in MODEL_LOCATIONS:
        if has(connection, table, column):
            for row, location in connection.execute(f"select rowid, {column} from {table}").fetchall():
                moved = f"{new}{(location or '').removeprefix(old)}"
                is_below = (location or "").startswith(f"{old}/")
                if is_below and (path_of(moved).exists() or not path_of(location).exists()):
                    connection.execute(f"update {table} set {column} = ? where rowid = ?", (moved, row))
    connection.execute(
        "delete from tags where key = ? and run_uuid in (select run_uuid from runs where experiment_id = ?)",
        (CONTENT, experiment),
    )


def has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether the version of MLflow that made the database has the column."""
    return any(row[1] == column for row in connection.execute(f"pragma table_info({table})"))
