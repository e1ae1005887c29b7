"""What lies in an artefact's folder, as it was when it came: `manifest.json`, written after every file.

A file is known by its size and the time of its last change; its hash is computed when it comes and by `longtake weights
verify`, never at the start of a run. One process at a time works on a folder.
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
    """One file: `path` in its repository, or the pickle's place and hash that it was converted from."""

    bytes: int
    sha256: str
    mtime_ns: int
    path: str | None = None
    etag: str | None = None
    converted_from: str | None = None
    source_sha256: str | None = None

    def matches(self, path: Path) -> bool:
        """Whether a file is there with the size and time that were recorded."""
        try:
            stat = path.stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.bytes, self.mtime_ns)


@dataclass(frozen=True)
class Manifest:
    """`taken_from`: the hub's address, or the folder that files were taken from (then there is no commit)."""

    artefact: str
    repo: str
    revision: str | None
    commit: str | None
    taken_from: str
    files: dict[str, FileRecord] = field(default_factory=dict)

    def with_file(self, place: str, record: FileRecord) -> "Manifest":
        return replace(self, files={**self.files, place: record})


def read(folder: Path) -> Manifest | None:
    """None where nothing was recorded. Raises WeightsError for a manifest that is damaged or of another version."""
    told = read_json(folder / MANIFEST)
    if told is None and not (folder / MANIFEST).exists():
        return None
    try:
        files = {place: FileRecord(**record) for place, record in told.pop("files").items()}
        return Manifest(**told, files=files)
    except (TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder / MANIFEST}: is no manifest; delete {folder} and pull it again") from error


def write(folder: Path, manifest: Manifest) -> None:
    """Atomically. Raises StorageError."""
    replace_file(folder / MANIFEST, json_bytes(asdict(manifest)))


def record(file: Path, sha256: str, **origin: str | None) -> FileRecord:
    stat = file.stat()
    return FileRecord(stat.st_size, sha256, stat.st_mtime_ns, **origin)


@contextmanager
def working_on(folder: Path) -> Iterator[None]:
    """Holds an artefact's folder, made if need be. Raises WeightsError while another process holds it."""
    make_folder(folder)
    with storage_errors(folder / LOCK, "open the lock"):
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WeightsError(f"{folder}: another `longtake weights` works on it; wait until it is done") from None
        yield
    finally:
        os.close(descriptor)
