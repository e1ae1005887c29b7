"""Crash-safe file operations: after each one the disk has the old state or the new one, never a partial one.

Owns the primitives (write a temporary file, fsync, link or replace, fsync the folder) and the conversion of OSError to
StorageError. Knows nothing about sweeps or takes; sweep.py and commit.py combine the operations.
"""

import errno
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
    """Converts an OSError to a StorageError of one line: file, failed operation, next step."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check the disk and run again")
        reason = error.strerror or str(error) or type(error).__name__
        raise StorageError(f"{path}: cannot {doing}: {reason}; {hint}") from error


def temp_path(folder: Path, name: str) -> Path:
    """A unique name in the same file system as the final one."""
    return folder / f"{TEMP_PREFIX}{uuid.uuid4().hex}-{name}"


class Stamp(NamedTuple):
    """What changes with the content of a file."""

    inode: int
    size: int
    modified_ns: int


def stamp_of(path: Path | str) -> Stamp | None:
    """The stamp of a regular file; None if it does not exist or cannot be reached."""
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(now.st_ino, now.st_size, now.st_mtime_ns) if stat.S_ISREG(now.st_mode) else None


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
    """The names in a folder; empty if there is no such folder. Raises OSError."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary file to write, then atomically replaces the file at `path` with it. Raises StorageError."""
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
    """Atomically replaces the file at `path` with `data`. Raises StorageError."""
    with replacing(path) as temp:
        temp.write_bytes(data)


def link_new(temp: Path, path: Path) -> bool:
    """Gives a synced temporary file its final name; returns False, without a change, if that name exists."""
    try:
        os.link(temp, path)
    except FileExistsError:
        return False
    return True


def link_file(path: Path, data: bytes) -> bool:
    """Writes a new file at `path`; returns False, without a change, if that name exists. Raises OSError."""
    temp = temp_path(path.parent, path.name)
    try:
        temp.write_bytes(data)
        fsync_file(temp)
        return link_new(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Appends one line and syncs the file; first ends the partial line of an earlier crash."""
    with storage_errors(path, "append to the file"), path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write((b"\n" if torn else b"") + encoded(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def json_bytes(value: Any) -> bytes:
    """Indented JSON. Raises ValueError for NaN and infinity, which are not JSON."""
    return encoded(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def json_lines(values: list[Any]) -> bytes:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    return encoded("".join(encode(value) + "\n" for value in values))


def encoded(text: str) -> bytes:
    """JSON as UTF-8. Half of a surrogate pair, which UTF-8 cannot hold, becomes JSON's own escape for it."""
    return text.encode("utf-8", "backslashreplace")


def read_json(path: Path) -> Any:
    """The file's value, or None if it is missing or not JSON. Raises StorageError if reading fails."""
    with storage_errors(path, "read the file"):
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None


def read_json_lines(path: Path) -> list[Any]:
    """The file's values, without lines that a crash cut short. Raises StorageError if reading fails."""
    with storage_errors(path, "read the file"):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
    return parse_json_lines(data)


def parse_json_lines(data: bytes) -> list[Any]:
    """The values of the lines that are JSON."""
    values = []
    for line in data.splitlines():
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return values
