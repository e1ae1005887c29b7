"""The folder of one training: the only module that knows its paths. Everything a watcher shows is read from here.

    <output>/training/<name>/  config.yaml .lock .epoch steps.jsonl validation.jsonl stop
                               checkpoints/step-<n>/ checkpoints/<n>.json
                               best/embedder.safetensors best/embedder.json

Workers write, whoever watches reads; both see one file system. A checkpoint is there if and only if its record is,
which the first worker writes after all of them have saved their part. A step's row counts until a resumed training,
that starts from an earlier checkpoint, takes it back and writes it again.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.names import check_name
from longtake.platform.store import durable, locking

KEEP_CHECKPOINTS = 2
NEVER = float("inf")


class TrainingFolder:
    """Plain data, so it pickles."""

    def __init__(self, output: Path | str, name: str) -> None:
        """Raises ConfigError for a name that is no valid folder name; makes nothing."""
        self.name = check_name("training name", name)
        self.path = Path(output).absolute() / "training" / name
        self.epoch: int | None = None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the training, making its folder. Raises LockedError that names the holder, StorageError."""
        durable.make_folder(self.checkpoints)
        with locking.hold(self.path) as epoch:
            self.epoch = epoch
            shutil.rmtree(self.scratch, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(self.scratch, ignore_errors=True)
                self.epoch = None

    def check_epoch(self) -> None:
        """Raises StorageError in a worker that outlived its run, once another one holds the training."""
        current = locking.read_epoch(self.path)
        if self.epoch is not None and current != self.epoch:
            raise StorageError(f"{self.path}: a newer run holds the training (epoch {current}, ours {self.epoch})")

    def keep_config(self, text: str) -> None:
        """Writes config.yaml. Raises ConfigError when the folder was begun with another one."""
        path = self.path / "config.yaml"
        if path.is_file() and path.read_text() != text:
            before, now = path.read_text().splitlines(), text.splitlines()
            was = [line.strip() for line in before if line not in now][:1]
            is_ = [line.strip() for line in now if line not in before][:1]
            change = f"{(was or ['nothing'])[0]} -> {(is_ or ['nothing'])[0]}"
            raise ConfigError(
                f"{path}: was begun with another config ({change}); choose another name, or delete the folder"
            )
        durable.replace_file(path, text.encode())

    @property
    def scratch(self) -> Path:
        """Where a crew keeps what nobody needs afterwards."""
        return self.path / "scratch"

    # Steps

    @property
    def steps_file(self) -> Path:
        return self.path / "steps.jsonl"

    @property
    def validation_file(self) -> Path:
        return self.path / "validation.jsonl"

    def add_step(self, row: dict[str, Any]) -> None:
        """Not synced: a checkpoint syncs the rows up to its step, later ones are made again anyway."""
        with durable.storage_errors(self.steps_file, "append to the file"), self.steps_file.open("ab") as file:
            file.write(durable.json_lines([row]))

    def add_validation(self, row: dict[str, Any]) -> None:
        durable.append_line(self.validation_file, json.dumps(row, allow_nan=False))

    def follow(self) -> "Follower":
        """Rows as they come, for a watcher."""
        return Follower(self.steps_file)

    def follow_validations(self) -> "Follower":
        return Follower(self.validation_file)

    def steps(self) -> list[dict[str, Any]]:
        """A row per finished step, in order."""
        return durable.read_json_lines(self.steps_file)

    def validations(self) -> list[dict[str, Any]]:
        return durable.read_json_lines(self.validation_file)

    def take_back(self, step: int) -> None:
        """Removes rows of steps after `step`, which a resumed training makes again."""
        for path in (self.steps_file, self.validation_file):
            kept = [
                row for row in durable.read_json_lines(path) if isinstance(row, dict) and row.get("step", NEVER) <= step
            ]
            durable.replace_file(path, durable.json_lines(kept))

    # Checkpoints

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def record_checkpoint(self, record: dict[str, Any]) -> None:
        """Makes the checkpoint of record["step"] count, then removes what is older than the newest few."""
        if self.steps_file.is_file():
            durable.fsync_file(self.steps_file)
        durable.replace_file(self.checkpoints / f"{record['step']}.json", durable.json_bytes(record))
        for step in self.recorded()[:-KEEP_CHECKPOINTS]:
            (self.checkpoints / f"{step}.json").unlink(missing_ok=True)
            shutil.rmtree(self.checkpoints / checkpoint_tag(step), ignore_errors=True)

    def settle(self, step: int) -> None:
        """Waits until what was saved of a checkpoint is on disk."""
        folder = self.checkpoints / checkpoint_tag(step)
        for path in folder.rglob("*"):
            if path.is_file():
                durable.fsync_file(path)
        durable.fsync_folder(folder)

    def recorded(self) -> list[int]:
        """Steps of the checkpoints that count, rising."""
        return sorted(int(path.stem) for path in self.checkpoints.glob("*.json") if path.stem.isdigit())

    def newest_checkpoint(self) -> dict[str, Any] | None:
        """The record of the newest checkpoint; None before the first. Raises StorageError if it is damaged."""
        steps = self.recorded()
        if not steps:
            return None
        path = self.checkpoints / f"{steps[-1]}.json"
        record = durable.read_json(path)
        if not isinstance(record, dict) or record.get("step") != steps[-1]:
            raise StorageError(f"{path}: is damaged; remove it to go on from the checkpoint before")
        return record

    def clear_unrecorded(self) -> None:
        """Removes checkpoints that a crash cut off."""
        known = {checkpoint_tag(step) for step in self.recorded()}
        for path in self.checkpoints.glob("step-*"):
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)

    # The end

    @property
    def best(self) -> Path:
        return self.path / "best" / "embedder.safetensors"

    @property
    def stop_file(self) -> Path:
        """Its being there asks the workers to save and end."""
        return self.path / "stop"

    def ask_to_stop(self) -> None:
        with durable.storage_errors(self.stop_file, "write the file"):
            self.stop_file.touch()

    def clear_stop(self) -> None:
        self.stop_file.unlink(missing_ok=True)


class Follower:
    """Gives the rows of a growing file that it has not given yet; of a file that was replaced, all of them again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: tuple[int, int] = (0, 0)  # inode, bytes read

    def new_rows(self) -> list[dict[str, Any]]:
        """A row that is only half there is given next time."""
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
        return durable.parse_json_lines(whole[0])


def checkpoint_tag(step: int) -> str:
    return f"step-{step}"
