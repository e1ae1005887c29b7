"""The folder of one training; the only module that knows its paths. Displays and MLflow read from here.

    <output>/training/<name>/  config.yaml .lock .epoch steps.jsonl validation.jsonl stop
                               checkpoints/step-<n>/ checkpoints/<n>.json
                               best/embedder.safetensors best/embedder.json    of an embedder
                               weights.safetensors                             of a pocket backbone

Workers write and observers read, on a shared file system. A checkpoint exists if and only if its record exists; the
first worker writes the record after all workers have saved their part. A training that resumes from an earlier
checkpoint removes the rows of later steps and writes them again.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from longtake.platform.errors import ConfigError, StorageError, first_line
from longtake.platform.store import durable
from longtake.platform.store.locked_folder import LockedFolder
from longtake.platform.store.root import OutputRoot

KEEP_CHECKPOINTS = 2


class TrainingFolder(LockedFolder):
    """One training's files."""

    kind, inner = "training", "checkpoints"

    def __init__(self, output: Path | str, name: str) -> None:
        """Raises ConfigError if `name` is not a valid folder name; makes nothing."""
        super().__init__(OutputRoot(output).trainings.absolute(), name)
        self.config_file = self.folder / "config.yaml"
        self.steps_file = self.folder / "steps.jsonl"
        self.validation_file = self.folder / "validation.jsonl"
        self.stop_file = self.folder / "stop"  # while it exists, the workers save and end
        self.checkpoints = self.folder / self.inner
        self.best = self.folder / "best" / "embedder.safetensors"
        self.weights = self.folder / "weights.safetensors"
        self.early_state = self.folder / "state.pt"  # where earlier versions kept a pocket training's only checkpoint
        self.scratch = self.folder / "scratch"  # for the workers of one run

    @contextmanager
    def lock(self) -> Iterator[Self]:
        """Also removes temporary files of earlier runs and of this one."""
        with super().lock():
            self.sweep_leftovers()
            try:
                yield self
            finally:
                self.sweep_leftovers()

    def sweep_leftovers(self) -> int:
        shutil.rmtree(self.scratch, ignore_errors=True)
        return super().sweep_leftovers()

    def keep_config(self, text: str, place: str | None = None) -> None:
        """Writes config.yaml. Raises ConfigError if the folder already has another config. `place`: a key with a path,
        which may change, because another key identifies what is there."""
        path = self.config_file
        before, now = (
            [line for line in lines if place is None or not line.startswith(f"{place}:")]
            for lines in (
                path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else [],
                text.splitlines(),
            )
        )
        if path.is_file() and before != now:
            was = [line.strip() for line in before if line not in now][:1]
            is_ = [line.strip() for line in now if line not in before][:1]
            change = f"{(was or ['nothing'])[0]} -> {(is_ or ['nothing'])[0]}"
            raise ConfigError(
                f"{path}: was started with another config ({change}); choose another name, or delete the folder"
            )
        durable.replace_file(path, text.encode())

    # Steps

    def add_step(self, row: dict[str, Any]) -> None:
        """Appends a row without a sync: a checkpoint syncs the rows up to its step, and later ones are made again."""
        with durable.storage_errors(self.steps_file, "append to the file"), self.steps_file.open("ab") as file:
            file.write(durable.json_lines([row]))

    def add_validation(self, row: dict[str, Any]) -> None:
        durable.append_line(self.validation_file, json.dumps(row, allow_nan=False))

    def follow(self) -> "Follower":
        """Reads new rows of steps as they are written."""
        return Follower(self.steps_file)

    def follow_validations(self) -> "Follower":
        return Follower(self.validation_file)

    def steps(self) -> list[dict[str, Any]]:
        """A row per finished step, in order."""
        return step_rows(durable.read_json_lines(self.steps_file))

    def validations(self) -> list[dict[str, Any]]:
        return step_rows(durable.read_json_lines(self.validation_file))

    # Checkpoints

    def checkpoint(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.checkpoints / f"step-{step}"

    def checkpoint_record(self, step: int) -> Path:
        return self.checkpoints / f"{step}.json"

    @contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        """Yields the folder of a checkpoint to write, possibly with other writers, and syncs it at the end. Raises
        StorageError, also for the RuntimeError with which torch reports a full disk."""
        self.check_epoch()
        folder = self.checkpoint(step)
        with durable.storage_errors(folder, "save the checkpoint"):
            folder.mkdir(exist_ok=True)
            try:
                yield folder
            except RuntimeError as error:
                raise StorageError(f"{folder}: cannot be saved ({first_line(error)}); free some space") from error
            for path in folder.rglob("*"):
                if path.is_file():
                    durable.fsync_file(path)
            durable.fsync_folder(folder)

    @contextmanager
    def loading(self, step: int) -> Iterator[Path]:
        """Yields the folder of a checkpoint to read. Raises StorageError that says how to resume without it."""
        folder = self.checkpoint(step)
        try:
            yield folder
        except Exception as error:  # a damaged file makes readers fail in many ways
            earlier = [saved for saved in self.recorded() if saved < step]
            since = f"step {earlier[-1]}" if earlier else "the start"
            raise StorageError(
                f"{folder}: cannot be read ({first_line(error)}); "
                f"remove {self.checkpoint_record(step)} to resume from {since}"
            ) from error

    def record_checkpoint(self, record: dict[str, Any]) -> None:
        """Writes the record that completes a checkpoint, then removes all but the newest KEEP_CHECKPOINTS."""
        if self.steps_file.is_file():
            durable.fsync_file(self.steps_file)
        durable.replace_file(self.checkpoint_record(record["step"]), durable.json_bytes(record))
        for step in self.recorded()[:-KEEP_CHECKPOINTS]:
            self.checkpoint_record(step).unlink(missing_ok=True)
            shutil.rmtree(self.checkpoint(step), ignore_errors=True)

    def recorded(self) -> list[int]:
        """The steps of the complete checkpoints, ascending."""
        return sorted(int(path.stem) for path in self.checkpoints.glob("*.json") if path.stem.isdigit())

    def newest_checkpoint(self) -> dict[str, Any] | None:
        """The record of the newest checkpoint; None before the first. Raises StorageError if it is damaged."""
        steps = self.recorded()
        if not steps:
            return None
        path = self.checkpoint_record(steps[-1])
        record = durable.read_json(path)
        if not isinstance(record, dict) or record.get("step") != steps[-1]:
            raise StorageError(f"{path}: is damaged; remove it to resume from the checkpoint before")
        return record

    def rewind(self, step: int) -> None:
        """Prepares to resume after the checkpoint of `step` (0: the start). Removes the rows of later steps, which are
        written again, and incomplete checkpoints."""
        for path in (self.steps_file, self.validation_file):
            rows = step_rows(durable.read_json_lines(path))
            durable.replace_file(path, durable.json_lines([row for row in rows if row["step"] <= step]))
        known = {self.checkpoint(step) for step in self.recorded()}
        for path in self.checkpoints.glob("step-*"):
            if path not in known:
                shutil.rmtree(path, ignore_errors=True)

    # The end

    def ask_to_stop(self) -> None:
        with durable.storage_errors(self.stop_file, "write the file"):
            self.stop_file.touch()

    def clear_stop(self) -> None:
        self.stop_file.unlink(missing_ok=True)


class Follower:
    """Returns the new rows of a growing file; after the file was replaced, returns all rows again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: tuple[int, int] = (0, 0)  # inode, bytes read

    def new_rows(self) -> list[dict[str, Any]]:
        """The complete rows since the last call; a partial row is returned later."""
        with durable.storage_errors(self.path, "read the file"):
            try:
                file = self.path.open("rb")
            except FileNotFoundError:
                return []
            with file:
                now = os.fstat(file.fileno())
                inode, same = now.st_ino, now.st_ino == self.file[0] and now.st_size >= self.file[1]
                start = self.file[1] if same else 0
                file.seek(start)
                whole = file.read().rpartition(b"\n")
        self.file = inode, start + len(whole[0]) + len(whole[1])
        return step_rows(durable.parse_json_lines(whole[0]))


def step_rows(rows: list[Any]) -> list[dict[str, Any]]:
    """The rows with a step; what else a file holds is damage."""
    return [row for row in rows if isinstance(row, dict) and type(row.get("step")) is int]
