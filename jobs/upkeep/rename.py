"""`longtake rename SWEEP_FOLDER NAME`: another name for a sweep, in its folder, its files and MLflow.

Takes, ids and scores do not change. The folder is renamed last, so the same command finishes an interrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from longtake.jobs.sweep import spec
from longtake.platform.errors import ConfigError
from longtake.platform.settings import strict_yaml
from longtake.platform.settings.config import load_yaml
from longtake.platform.store import durable
from longtake.platform.store.sweep import SweepStore, is_sweep
from longtake.platform.tracking.addresses import OFF, SQLITE, default_uri


def rename(folder: Path, name: str, overrides: Sequence[str]) -> int:
    """Returns 0. Raises ConfigError, LockedError, StorageError, TrackingError."""
    folder = folder.absolute()
    spec.check_sweep_name("name", name)
    target = folder.with_name(name)
    if not is_sweep(folder):
        raise ConfigError(f"{folder}: is not the folder of a sweep; give one, such as runs/demo")
    if target.exists():
        raise ConfigError(f"{target}: exists already; choose another name")
    store = SweepStore(folder.parent, folder.name)
    with store.lock():
        sweep = spec.load(store.sweep_file, overrides)
        runs = rename_in_mlflow(sweep, folder, name)
        rename_in_files(store, name)
        with durable.storage_errors(target, "rename the folder"):
            folder.rename(target)
    mlflow = "" if runs is None else f", {runs} MLflow runs"
    print(f"renamed {folder} to {target}{mlflow}; next: set name: {name} in the sweep file, or run it with name={name}")
    return 0


def rename_in_mlflow(sweep: spec.SweepConfig, folder: Path, name: str) -> int | None:
    """The number of renamed runs; None without a tracking store."""
    uri = sweep.tracking.uri or default_uri(folder.parent)
    if uri == OFF or (uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()):
        return None
    from longtake.platform.tracking.rename import rename_sweep

    return rename_sweep(uri, folder.name, name, sweep.tracking.experiment)


def rename_in_files(store: SweepStore, name: str) -> None:
    """The name in the resolved sweep and in the ranks, and in the title of the contact sheet."""
    from longtake.dashboards import contact_sheet

    text = strict_yaml.dump(load_yaml(store.sweep_file) | {"name": name})
    durable.replace_file(store.sweep_file, text.encode())
    ranks = store.ranks()
    if ranks is not None:
        store.write_ranks(replace(ranks, sweep=name))
    if store.contact_sheet_file.is_file():
        contact_sheet.write(store, store.plan(), title=name)
