"""Values computed from files, kept until a file changes. Thread-safe; writes nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from longtake.platform.store.durable import Stamp, stamp_of

T = TypeVar("T")
MAX_FILES = 256


class FileCache:
    """Values computed from files, cached until a file's inode, size or modification time changes; evicts the oldest."""

    def __init__(self, limit: int = MAX_FILES) -> None:
        self.limit = limit
        self.kept: OrderedDict[tuple[str, str], tuple[Stamp, Any]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, path: Path, kind: str, load: Callable[[], T]) -> T:
        """The result of `load()` for the current file; does not cache missing files."""
        stamp = stamp_of(path)
        key = (str(path), kind)
        with self.lock:
            kept = self.kept.get(key)
            if kept is not None and kept[0] == stamp:
                self.kept.move_to_end(key)
                value: T = kept[1]
                return value
        value = load()
        with self.lock:
            self.kept.pop(key, None)
            if stamp is not None:
                self.kept[key] = (stamp, value)
            while len(self.kept) > self.limit:
                self.kept.popitem(last=False)
        return value
