"""What a request may name: sweeps, trainings and evaluations of one folder, and no file outside it.

Checks names and follows links. Reads no content and writes nothing. Raises `Missing` for invalid and unknown names.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.names import NAME
from longtake.platform.store import durable
from longtake.platform.store.root import EVALUATION, OutputRoot
from longtake.platform.store.sweep import SweepStore, is_sweep, sweep_names
from longtake.platform.store.training import TrainingFolder


class Missing(LongtakeError):
    """The requested sweep, take, training, file or page does not exist."""


class VisibleFolder:
    """One folder of sweeps, as far as it may be seen."""

    def __init__(self, root: Path) -> None:
        """Raises ConfigError if the folder does not exist or is the folder of a single sweep."""
        self.root = Path(root).absolute()
        if not os.path.isdir(self.root):
            raise ConfigError(f"{root}: no such folder; give the output folder of `longtake run`")
        if is_sweep(self.root):
            raise ConfigError(f"{root}: is a single sweep; give its parent folder, {self.root.resolve().parent}")
        self.real_root = self.root.resolve()
        self.output = OutputRoot(self.root)

    def sweep(self, name: str) -> SweepStore:
        """Raises Missing."""
        store = SweepStore(self.root, name) if NAME.fullmatch(name) else None
        if store is None or not self.holds(store.plan_file):
            raise Missing("no such sweep in this folder")
        files = store.sweep_file, store.index_file, store.ranks_file, store.history_file, store.progress_file
        self.keep_inside(*files, store.takes_folder)
        return store

    def sweeps(self) -> list[SweepStore]:
        """All visible sweeps, by name."""
        stores = []
        for name in sweep_names(self.root):
            with suppress(Missing):
                stores.append(self.sweep(name))
        return stores

    def training(self, name: str) -> TrainingFolder:
        """Raises Missing."""
        folder = TrainingFolder(self.root, name) if NAME.fullmatch(name) else None
        if folder is None or not self.holds(folder.config_file):
            raise Missing("no such training in this folder")
        self.keep_inside(folder.steps_file, folder.validation_file)
        return folder

    def trainings(self) -> list[TrainingFolder]:
        folders = [TrainingFolder(self.root, name) for name in self.names_in(self.output.trainings)]
        return [folder for folder in folders if self.holds(folder.config_file)]

    def evaluation(self, name: str, file: str) -> Path:
        """A file of an embedder's evaluation. Raises Missing."""
        path = self.output.evaluations / name / file
        if not (NAME.fullmatch(name) and NAME.fullmatch(file)) or not self.holds(path):
            raise Missing("no such evaluation, or no such file in it")
        return path

    def evaluations(self) -> list[str]:
        where = self.output.evaluations
        return [name for name in self.names_in(where) if self.holds(where / name / EVALUATION)]

    def holds(self, path: Path) -> bool:
        """Whether the path is a file in this folder after following links."""
        try:
            return path.is_file() and is_inside(path, self.real_root)
        except (OSError, ValueError):
            return False

    def keep_inside(self, *paths: Path) -> None:
        """Raises Missing if a path, existing or not, is outside this folder after following links."""
        if not all(is_inside(path, self.real_root) for path in paths):
            raise Missing("one of its files is a link out of this folder; open the folder that it links to")

    def names_in(self, folder: Path) -> list[str]:
        """The valid names in a folder."""
        try:
            return sorted(name for name in durable.names_in(folder) if NAME.fullmatch(name))
        except OSError:
            return []

    def public_message(self, error: object) -> str:
        """An error as one line, without the path of this folder."""
        return " ".join(str(error).replace(str(self.root), "RUNS").split())


def is_inside(path: Path, root: Path) -> bool:
    """Whether the path is in the resolved root after following links; false for a cycle of links."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):
        return False
