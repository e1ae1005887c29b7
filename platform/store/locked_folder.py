"""A folder with one writer at a time, under sweeps, corpora and trainings: flock says who, an epoch says since when.

The lock dies with its process, however that ends. The epoch on disk grows with every holder, so that a worker that
outlived its driver can see that it was replaced before it commits anything.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self

from longtake.platform.errors import LockedError, StorageError
from longtake.platform.names import check_name
from longtake.platform.store import durable

LOCK_FILE, EPOCH_FILE = ".lock", ".epoch"


class LockedFolder:
    """Plain data, so it pickles: `epoch` goes with a copy to a worker, whose writes are checked against it.

    kind: what messages call it. inner: its folder of parts, which `lock` makes with it.
    """

    kind: ClassVar[str]
    inner: ClassVar[str]

    def __init__(self, parent: Path | str, name: str) -> None:
        """Raises ConfigError for a name that is no valid folder name; makes nothing."""
        self.name = check_name(f"{self.kind} name", name)
        self.folder = Path(parent) / name
        self.epoch: int | None = None

    @contextmanager
    def lock(self) -> Iterator[Self]:
        """Holds the folder for writing, making it. Raises LockedError that names the holder, StorageError."""
        durable.make_folder(self.folder / self.inner)
        with hold_file(self.folder / LOCK_FILE, self.folder):
            try:
                self.epoch = self._epoch_on_disk() + 1
                durable.replace_file(self.folder / EPOCH_FILE, f"{self.epoch}\n".encode())
                yield self
            finally:
                self.epoch = None

    def check_epoch(self) -> None:
        """Raises StorageError in a worker that outlived its run, once another one holds the folder."""
        current = self._epoch_on_disk()
        if self.epoch is not None and current != self.epoch:
            raise StorageError(f"{self.folder}: a newer run holds the {self.kind} (epoch {current}, ours {self.epoch})")

    def sweep_leftovers(self) -> int:
        """Removes what crashed attempts left; returns how many files. Only under the lock, while no worker writes."""
        if self.epoch is None:
            raise StorageError(f"{self.folder}: leftovers are removed only while the {self.kind} is locked")
        with durable.storage_errors(self.folder, "remove leftovers"):
            leftovers = list(self.folder.rglob(f"{durable.TEMP_PREFIX}*"))
            for path in leftovers:
                path.unlink(missing_ok=True)
        return len(leftovers)

    def _epoch_on_disk(self) -> int:
        """That of the latest holder; 0 before the first."""
        try:
            return int((self.folder / EPOCH_FILE).read_text())
        except (OSError, ValueError):
            return 0


@contextmanager
def hold_file(path: Path, what: Path) -> Iterator[None]:
    """Holds the lock file `path` for `what`, which messages name. Raises LockedError, StorageError."""
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
    for _ in range(10):  # the holder signs just after it took the lock
        try:
            holder = json.loads(path.read_text())
            who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
            break
        except (OSError, ValueError, KeyError):
            time.sleep(0.05)
    else:
        who = "another process"
    return f"{what}: is in use by {who}; wait for it or stop it, or choose another name"
