"""The SHA-256 of a file, for whatever a record or an id names by its bytes."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """In hex; the file is read in pieces. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
