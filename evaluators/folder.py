"""`longtake eval FOLDER`: scores every video of a folder into one JSON file.

Resumes by itself: a video that the file already holds with the same bytes, suite and versions is not scored again.
The file is replaced atomically, so it is whole at every moment. Prints nothing; progress goes to a callback.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.scorer import file_sha256, versions_of
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.records import VideoScores

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
SAVE_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class FolderProgress:
    """Told after each video."""

    done: int
    total: int
    video: str
    reused: bool
    errors: int


def find_videos(folder: Path) -> list[Path]:
    """Video files under a folder, sorted by name; hidden ones are left out. Raises ConfigError when there is none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder; give the folder that holds the videos")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    shown = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not shown:
        raise ConfigError(f"{folder}: no video ({', '.join(SUFFIXES)}) in it; give the folder that holds the videos")
    return shown


def eval_folder(
    folder: Path,
    entry: SuiteEntry,
    out: Path | None,
    score: Callable[[Path], VideoScores],
    progress: Callable[[FolderProgress], None] | None = None,
) -> dict[str, Any]:
    """The JSON object that `out` holds afterwards: {"suite", "protocol", "versions", "videos": {name: {...}}}.

    A name is the path inside the folder. A video that cannot be read stays in it, with None and a reason per metric.
    """
    suite = entry.open()
    names = [suite.metric(key).name for key in suite.metrics]
    videos = find_videos(folder)
    known = _resumable(out, entry) if out else {}
    report: dict[str, Any] = {
        "suite": entry.label, "protocol": suite.protocol, "label": suite.about, "versions": versions_of(entry),
        "videos": {},
    }  # fmt: skip
    saved_at = time.monotonic()
    for done, path in enumerate(videos, start=1):
        name = path.relative_to(folder).as_posix()
        old = known.get(name)
        reused = old is not None and old.get("sha256") == _sha256_or_none(path)
        report["videos"][name] = old if reused else _score(path, score, names)
        if out and time.monotonic() - saved_at > SAVE_EVERY_SECONDS:
            _write(out, report | {"videos": known | report["videos"]})
            saved_at = time.monotonic()
        if progress:
            progress(FolderProgress(done, len(videos), name, reused, len(report["videos"][name]["errors"])))
    if out:
        _write(out, report)
    return report


def _score(path: Path, score: Callable[[Path], VideoScores], names: Sequence[str]) -> dict[str, Any]:
    try:
        return _entry(score(path))
    except StorageError as error:
        reason = str(error)
    blank = {"metrics": dict.fromkeys(names), "drift": {}, "clips": {name: [] for name in names}}
    return {"sha256": None, **blank, "seconds": {}, "errors": dict.fromkeys(names, reason)}


def _entry(scores: VideoScores) -> dict[str, Any]:
    return {
        "sha256": scores.video_sha256,
        "metrics": scores.metrics,
        "drift": scores.drift,
        "clips": scores.clips,
        "seconds": scores.seconds,
        "errors": scores.errors,
    }


def _sha256_or_none(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except StorageError:
        return None


def _resumable(out: Path, entry: SuiteEntry) -> dict[str, Any]:
    """The videos of an earlier report, when the same suite in the same versions made it."""
    if not out.exists():
        return {}
    try:
        report = json.loads(out.read_text(encoding="utf-8"))
        same = report["suite"] == entry.label and report["versions"] == versions_of(entry)
        return {name: held for name, held in report["videos"].items() if held["sha256"]} if same else {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{out}: not a report of `longtake eval`; name another --out or remove it") from error
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}; name another --out") from error


def _write(out: Path, report: dict[str, Any]) -> None:
    """Atomic: a reader sees the old file or the new one."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(report, stream, indent=1, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, out)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise StorageError(f"{out}: {error.strerror or error}; name a writable --out") from error
