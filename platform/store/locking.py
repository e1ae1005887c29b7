"""One writer per sweep folder: flock says who, a fencing epoch says since when.

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

from longtake.platform.errors import LockedError
from longtake.platform.store.durable import replace_file, storage_errors

LOCK_FILE = ".lock"
EPOCH_FILE = ".epoch"


@contextmanager
def hold(folder: Path) -> Iterator[int]:
    """Holds `folder` and yields the new epoch. Raises LockedError that names the holder, StorageError."""
    with hold_file(folder / LOCK_FILE, folder):
        epoch = read_epoch(folder) + 1
        replace_file(folder / EPOCH_FILE, f"{epoch}\n".encode())
        yield epoch


@contextmanager
def hold_file(path: Path, what: Path) -> Iterator[None]:
    """Holds the lock file `path` for `what`, which messages name. Raises LockedError, StorageError."""
    with storage_errors(path, "open the lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with storage_errors(path, "take the lock"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(_held_message(what, path)) from None
            _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def read_epoch(folder: Path) -> int:
    """The epoch of the latest holder; 0 before the first."""
    try:
        return int((folder / EPOCH_FILE).read_text())
    except (OSError, ValueError):
        return 0


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
