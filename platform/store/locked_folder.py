"""A folder with one writer at a time, the base of sweeps, corpora and trainings: a file lock (flock) and an epoch.

The lock ends with its process, even after a kill. Every holder increases the epoch on disk, so a worker that outlives
its driver detects a newer run before it commits.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self

from longtake.platform.errors import LockedError, StorageError
from longtake.platform.names import check_name
from longtake.platform.store import durable

LOCK_FILE, EPOCH_FILE = ".lock", ".epoch"


class LockedFolder:
    """Plain data that pickles: a worker gets a copy with the `epoch`, and its writes are checked against it.

    kind: its name in messages. inner: its subfolder of parts, which `lock` also makes.
    """

    kind: ClassVar[str]
    inner: ClassVar[str]

    def __init__(self, parent: Path | str, name: str) -> None:
        """Raises ConfigError if `name` is not a valid folder name; makes nothing."""
        self.name = check_name(f"{self.kind} name", name)
        self.folder = Path(parent) / name
        self.epoch: int | None = None

    @contextmanager
    def lock(self) -> Iterator[Self]:
        """Makes the folder and locks it for writing. Raises LockedError that names the holder, StorageError."""
        durable.make_folder(self.folder / self.inner)
        with hold_file(self.folder / LOCK_FILE, self.folder):
            try:
                self.epoch = self._epoch_on_disk() + 1
                durable.replace_file(self.folder / EPOCH_FILE, f"{self.epoch}\n".encode())
                yield self
            finally:
                self.epoch = None

    def check_epoch(self) -> None:
        """Raises StorageError if a newer run holds the folder, in a worker that outlived its run."""
        current = self._epoch_on_disk()
        if self.epoch is not None and current != self.epoch:
            raise StorageError(f"{self.folder}: a newer run holds the {self.kind} (epoch {current}, ours {self.epoch})")

    def first_of_run(self, name: str, facts: dict[str, str]) -> dict[str, str]:
        """The facts that the first worker of this run gave under `name`; these, if it is the first, or without a lock.

        They are in a temporary file, which goes with the leftovers of the run.
        """
        if self.epoch is None:
            return facts
        path = self.folder / f"{durable.TEMP_PREFIX}{name}.{self.epoch}.json"
        with durable.storage_errors(path, "write the file"):
            durable.link_file(path, durable.json_bytes(facts))
        return durable.read_json(path) or facts

    def sweep_leftovers(self) -> int:
        """Removes temporary files of crashed attempts; returns their number. Needs the lock; no worker may write."""
        return self._remove(temporary_files(self.folder))

    def sweep_leftovers_of(self, parts: Iterable[str]) -> int:
        """As `sweep_leftovers`, where attempts can have crashed in these parts only: it lists no other part."""
        folders = (self.folder / self.inner / name for name in parts)
        return self._remove(temporary_files(self.folder, deep=False)) + sum(
            self._remove(temporary_files(folder)) for folder in folders if folder.is_dir()
        )

    def _remove(self, temporary: Iterable[Path]) -> int:
        if self.epoch is None:
            raise StorageError(f"{self.folder}: leftovers are removed only while the {self.kind} is locked")
        with durable.storage_errors(self.folder, "remove leftovers"):
            leftovers = list(temporary)
            for path in leftovers:
                path.unlink(missing_ok=True)
        return len(leftovers)

    def _epoch_on_disk(self) -> int:
        """The epoch of the latest holder; 0 before the first."""
        try:
            return int((self.folder / EPOCH_FILE).read_text())
        except (OSError, ValueError):
            return 0


def temporary_files(folder: Path | str, deep: bool = True) -> Iterator[Path]:
    """The temporary files in a folder and, with `deep`, in the folders below it. Raises OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(durable.TEMP_PREFIX):
                yield Path(entry.path)
            elif deep and entry.is_dir(follow_symlinks=False):
                yield from temporary_files(entry.path)


@contextmanager
def hold_file(path: Path, what: Path) -> Iterator[None]:
    """Holds the lock file `path`; messages name `what`, the locked path. Raises LockedError, StorageError."""
    with durable.storage_errors(path, "open the lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with durable.storage_errors(path, "take the lock"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(_held_message(what, path)) from None
            _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _held_message(what: Path, path: Path) -> str:
    for _ in range(10):  # the holder writes its name just after it takes the lock
        try:
            holder = json.loads(path.read_bytes())
            who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
            break
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.05)
    else:
        who = "another process"
    return f"{what}: is in use by {who}; wait for it or stop it, or choose another name"
