"""The SHA-256 of a file, for whatever a record or an id names by its bytes."""

import hashlib
import time
from pathlib import Path

SETTLED_NS = 2_000_000_000
"""A file that changed later than this may change again within one tick of its times, so its hash is not remembered."""
remembered: dict[Path, tuple[tuple[int, ...], str]] = {}


def file_sha256(path: Path) -> str:
    """In hex; the file is read in pieces. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """As `file_sha256`, without reading a file again that this process has hashed and that has not changed since.

    A file is unchanged if its inode, size and times are: any write or replacement sets the time of its last change
    (ctime), which no program can set back.
    """
    stat = path.stat()
    state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    known = remembered.get(path)
    if known is not None and known[0] == state:
        return known[1]
    digest = file_sha256(path)
    if time.time_ns() - stat.st_ctime_ns > SETTLED_NS:
        remembered[path] = (state, digest)
    return digest
