"""Results of metrics by the bytes of the video: what was scored once is not scored again, in this sweep or another.

    <folder>/<first two digits of the sha256>/<sha256>/<hash of the key>.json

A file is written whole or not at all, and holds its key, so that a hash that two keys share, or a file that is damaged,
is a miss and never a wrong number. Deleting the folder loses time and nothing else.
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
            held = json.loads(self._file(video_sha256, key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return held["result"] if isinstance(held, dict) and held.get("key") == key else None

    def put(self, video_sha256: str, key: str, result: dict[str, Any]) -> None:
        """Raises StorageError."""
        path = self._file(video_sha256, key)
        make_folder(path.parent)
        replace_file(path, json_bytes({"key": key, "result": result}))

    def _file(self, video_sha256: str, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        return self.folder / video_sha256[:2] / video_sha256 / f"{name}.json"
