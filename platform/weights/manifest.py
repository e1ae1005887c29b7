"""`manifest.json`: a record of every file in an artefact's folder, updated after each file.

A file is identified by its size and modification time. Its hash is computed when the file arrives and by `longtake
weights verify`, never at the start of a run. Only one process at a time may change a folder.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from longtake.platform.errors import WeightsError
from longtake.platform.store.durable import json_bytes, make_folder, read_json, replace_file, storage_errors

MANIFEST = "manifest.json"
LOCK = ".lock"


@dataclass(frozen=True)
class FileRecord:
    """One file, with its `path` in the repository, or the path and hash of the pickle that it was converted from."""

    bytes: int
    sha256: str
    mtime_ns: int
    path: str | None = None
    etag: str | None = None
    converted_from: str | None = None
    source_sha256: str | None = None

    def matches(self, path: Path) -> bool:
        """Whether the file exists with the recorded size and modification time."""
        try:
            stat = path.stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.bytes, self.mtime_ns)


@dataclass(frozen=True)
class Manifest:
    """`taken_from`: the address of the hub, or the folder that the files were copied from, without a commit."""

    artefact: str
    repo: str
    revision: str | None
    commit: str | None
    taken_from: str
    files: dict[str, FileRecord] = field(default_factory=dict)

    def with_file(self, place: str, record: FileRecord) -> "Manifest":
        return replace(self, files={**self.files, place: record})


def read(folder: Path) -> Manifest | None:
    """A folder's manifest, or None. Raises WeightsError for a manifest that is damaged or of another version."""
    data = read_json(folder / MANIFEST)
    if data is None and not (folder / MANIFEST).exists():
        return None
    try:
        files = {place: FileRecord(**record) for place, record in data.pop("files").items()}
        return Manifest(**data, files=files)
    except (TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder / MANIFEST}: is not a manifest; delete {folder} and pull it again") from error


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically. Raises StorageError."""
    replace_file(folder / MANIFEST, json_bytes(asdict(manifest)))


def record(file: Path, sha256: str, **origin: str | None) -> FileRecord:
    stat = file.stat()
    return FileRecord(stat.st_size, sha256, stat.st_mtime_ns, **origin)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock an artefact's folder, creating it if needed. Raises WeightsError if another process holds the lock."""
    make_folder(folder)
    with storage_errors(folder / LOCK, "open the lock"):
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WeightsError(f"{folder}: another `longtake weights` has locked it; wait for it to end") from None
        yield
    finally:
        os.close(descriptor)
