"""Caches results of metrics by the hash of the video, so that no sweep scores the same video again.

    <folder>/<first two digits of the sha256>/<sha256>/<hash of the key>.json

A file is written atomically and contains its key, so a hash collision or a damaged file is a miss and never a wrong
number. The folder may be deleted; the results are then computed again.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from longtake.platform.store.durable import json_bytes, make_folder, replace_file


class ScoreCache:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, video_sha256: str, key: str) -> dict[str, Any] | None:
        try:
            record = json.loads(self._file(video_sha256, key).read_bytes())
            return record["result"] if record["key"] == key else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def put(self, video_sha256: str, key: str, result: dict[str, Any]) -> None:
        """Raises StorageError."""
        path = self._file(video_sha256, key)
        make_folder(path.parent)
        replace_file(path, json_bytes({"key": key, "result": result}))

    def _file(self, video_sha256: str, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        return self.folder / video_sha256[:2] / video_sha256 / f"{name}.json"
