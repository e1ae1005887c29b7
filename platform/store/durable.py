"""File steps that survive a crash: after any of them the disk holds the old state or the new one, never a torn one.

Owns the primitives (write to the side, fsync, link or replace, fsync the folder) and the turning of OSError into
StorageError. Knows nothing of sweeps or takes; sweep.py and commit.py put the steps in order.
"""

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtake.platform.errors import StorageError

TEMP_PREFIX = ".tmp-"

_HINTS = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some quota and run again",
    errno.EACCES: "check its permissions or choose another output folder",
    errno.EPERM: "check its permissions or choose another output folder",
    errno.EROFS: "choose an output folder on a writable file system",
    errno.ENOTDIR: "a file is in the way; choose another output folder",
    errno.EEXIST: "a file is in the way; choose another output folder",
}


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turns an OSError inside into a StorageError of one line: file, what failed, next step."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check the disk and run again")
        reason = error.strerror or str(error) or type(error).__name__
        raise StorageError(f"{path}: cannot {doing}: {reason}; {hint}") from error


def temp_path(folder: Path, name: str) -> Path:
    """A name that no other process uses, in the same file system as the final one."""
    return folder / f"{TEMP_PREFIX}{uuid.uuid4().hex}-{name}"


def fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    fsync_file(folder)


def make_folder(folder: Path) -> None:
    with storage_errors(folder, "make the folder"):
        folder.mkdir(parents=True, exist_ok=True)


def names_in(folder: Path) -> set[str]:
    """The names of what is in a folder; none when there is no such folder. Raises OSError."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write; at the end it is atomically put at `path`, over what is there. Raises StorageError."""
    temp = temp_path(path.parent, path.name)
    with storage_errors(path, "write the file"):
        try:
            yield temp
            fsync_file(temp)
            os.replace(temp, path)
            fsync_folder(path.parent)
        finally:
            temp.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """Atomically puts `data` at `path`, over what is there. Raises StorageError."""
    with replacing(path) as temp:
        temp.write_bytes(data)


def link_new(temp: Path, path: Path) -> bool:
    """Gives a synced temporary file its final name, unless that name is taken: then False, and nothing has changed."""
    try:
        os.link(temp, path)
    except FileExistsError:
        return False
    return True


def link_file(path: Path, data: bytes) -> bool:
    """Puts a whole file at `path`, unless that name is taken: then False, and nothing has changed. Raises OSError."""
    temp = temp_path(path.parent, path.name)
    try:
        temp.write_bytes(data)
        fsync_file(temp)
        return link_new(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Appends one line and waits until it is on disk; what an earlier crash tore off is closed first."""
    with storage_errors(path, "append to the file"), path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write((b"\n" if torn else b"") + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def json_bytes(value: Any) -> bytes:
    """Readable JSON. Raises ValueError on NaN and infinity, which are no JSON."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def json_lines(values: list[Any]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values).encode()


def read_json(path: Path) -> Any:
    """The file's value, or None when it is missing or no JSON. Raises StorageError when it cannot be read."""
    with storage_errors(path, "read the file"):
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None


def read_json_lines(path: Path) -> list[Any]:
    """The file's values, without lines that a crash tore. Raises StorageError when it cannot be read."""
    with storage_errors(path, "read the file"):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
    return parse_json_lines(data)


def parse_json_lines(data: bytes) -> list[Any]:
    """The values of lines, without those that are no JSON."""
    values = []
    for line in data.splitlines():
        try:
            values.append(json.loads(line))
        except ValueError:
            continue
    return values
