"""The report of `longtake eval` on a folder of videos: their names and scores, and the JSON file of both.

Scoring resumes from the file: results for the same bytes, metric versions, settings, weights and libraries are reused.
The file is replaced atomically, so it is always complete. This module scores nothing and prints nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry, VideoContext, mean_of, suites
from longtake.evaluators.scoring.records import Kept, kept
from longtake.evaluators.scoring.scorer import video_sha256
from longtake.evaluators.scoring.versions import versions_of
from longtake.platform.errors import ConfigError, StorageError, VideoError
from longtake.platform.store.durable import json_bytes, replace_file
from longtake.platform.store.json_records import from_json
from longtake.platform.store.records import VideoScores
from longtake.platform.video.reading import probe

SAVING_SHARE = 0.05
SCORES = ("metrics", "drift", "clips", "seconds", "errors")
Entry = dict[str, Any]


class FolderReport:
    """{"suite", "protocol", "label", "settings", "versions", "overall": {metric: mean}, "videos": {name: {...}}}.

    A name is a path inside the folder. A video that cannot be read is included, with None and a reason per metric.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        entry: SuiteEntry,
        out: Path | None,
        prompts: Mapping[str, str] | None = None,
        device: str = "cpu",
        official: bool = False,
    ):
        """Reads `out` if it exists. `official`: score again what lacks a number of the suite's official format.

        Raises ConfigError if `out` is not a report, StorageError if it cannot be read.
        """
        self.paths, self.entry, self.out = videos, entry, out
        self.prompts = prompts or {}
        self.suite = entry.suite
        self.versions = versions_of(entry, device)
        self.entries: dict[str, Entry] = {}
        self.earlier, versions = read_earlier(out, entry) if out is not None else ({}, {})
        self.current = {name: current_results(old, versions, entry, device) for name, old in self.earlier.items()}
        if official:
            for name, old in self.earlier.items():
                gaps = self.suite.official_gaps(old)
                self.current[name] = {key: result for key, result in self.current[name].items() if key not in gaps}
        self.saved_at, self.saving_seconds = time.monotonic(), 0.0

    def keep(self, name: str) -> bool:
        """Reuse the earlier scores of a video if its bytes are unchanged and give the same frames; False if any metric
        must be computed."""
        old, path = self.earlier.get(name), self.paths[name]
        if old is None or old["sha256"] != _sha256_or_none(path) or not is_read_alike(old, path):
            self.current.pop(name, None)
        elif self.is_complete(name):
            self._put(name, old)
        return name in self.entries

    def is_complete(self, name: str) -> bool:
        """Whether the earlier report has every metric of the video."""
        return self.current.get(name, {}).keys() == set(self.names)

    def add(self, name: str, scores: VideoScores) -> None:
        facts = {"sha256": scores.video_sha256} | header_facts(self.paths[name])
        self._put(name, facts | {part: getattr(scores, part) for part in SCORES})

    def add_failure(self, name: str, reason: str) -> None:
        """Record a video that was not scored for a reason outside its bytes; the next run tries again."""
        metrics = dict.fromkeys(self.names)
        blank = {"metrics": metrics, "drift": {}, "clips": {metric: [] for metric in metrics}, "seconds": {}}
        self._put(name, {"sha256": None, **no_facts(), **blank, "errors": dict.fromkeys(metrics, reason)})

    def _put(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry | {"prompt": self.prompts.get(name)}

    @cached_property
    def names(self) -> list[str]:
        return [metric.name for metric in self.entry.metrics.values()]

    @property
    def whole(self) -> bool:
        """Whether every metric of every video has a value."""
        return all(value is not None for entry in self.entries.values() for value in entry["metrics"].values())

    def to_json(self) -> dict[str, Any]:
        videos = {name: self.entries[name] for name in self.paths if name in self.entries}
        return {
            "suite": self.entry.label,
            "protocol": self.suite.protocol,
            "label": self.suite.about,
            "settings": self.suite.settings(),
            "versions": self.versions,
            "overall": self.overall(videos),
            "videos": videos,
        }

    def overall(self, videos: Mapping[str, Entry]) -> dict[str, float | None]:
        """Metric -> mean over the videos with a value, or the mean in the suite's official results."""
        values = {name: [entry["metrics"].get(name) for entry in videos.values()] for name in self.names}
        return {name: mean_of(scores) for name, scores in values.items()} | {
            name: rows[0] for name, rows in self.suite.official_results(videos).items()
        }

    def save_when_due(self) -> None:
        """Save, unless saving would take more than SAVING_SHARE of the time since the last save."""
        if time.monotonic() - self.saved_at >= self.saving_seconds / SAVING_SHARE:
            self.save()

    def save(self) -> None:
        """Raises StorageError."""
        if self.out is None:
            return
        started = time.monotonic()
        left = [name for name in self.earlier if name in self.paths and name not in self.entries]
        waiting = {name: self.earlier[name] for name in left if self.is_complete(name)}
        report = self.to_json()
        write_file(self.out, json_bytes(report | {"videos": report["videos"] | waiting}))
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - started


def header_facts(path: Path) -> Entry:
    """Frames, frame rate and size as shown; None if the header cannot be read. `turned`: how the frames were turned to
    be shown; only if they were."""
    try:
        head = probe(path)
    except VideoError:
        return no_facts()
    facts: Entry = {"frames": head.num_frames, "fps": head.fps, "width": head.width, "height": head.height}
    return facts | ({"turned": head.turned} if head.turned else {})


def is_read_alike(old: Entry, path: Path) -> bool:
    """Whether an earlier entry is of the frames that are read today. Earlier releases refused some videos, and did not
    turn frames."""
    facts = header_facts(path)
    same = all(facts[key] == old[key] for key in no_facts() if key in old)
    return same and facts.get("turned") == old.get("turned")


def no_facts() -> Entry:
    return dict.fromkeys(("frames", "fps", "width", "height"))


def current_results(old: Entry, versions: dict[str, str], entry: SuiteEntry, device: str) -> Kept:
    """The current results of a video in an earlier report."""
    parts = {part: old[part] for part in SCORES}
    scores = VideoScores(entry.label, entry.suite.protocol, old["sha256"], **parts, versions=versions)
    ctx = VideoContext(Path(), old["fps"], old["width"], old["height"], old["frames"])
    return kept(scores, entry, lambda: ctx, device)


@dataclass(frozen=True)
class EarlierVideo:
    """A video in an earlier report."""

    sha256: str | None
    frames: int | None
    fps: float | None
    width: int | None
    height: int | None
    metrics: dict[str, float | None]
    drift: dict[str, float | None]
    clips: dict[str, list[float | None]]
    seconds: dict[str, list[float]]
    errors: dict[str, str]
    prompt: str | None = None


@dataclass(frozen=True)
class EarlierReport:
    """What is read of an earlier report."""

    suite: str
    versions: dict[str, str]
    videos: dict[str, EarlierVideo]


def read_earlier(out: Path, entry: SuiteEntry) -> tuple[dict[str, Entry], dict[str, str]]:
    """The videos and versions of an earlier report. Raises ConfigError for another suite or other settings."""
    if not out.exists():
        return {}, {}
    try:
        data = json.loads(out.read_bytes())
        report = from_json(EarlierReport, data)
        is_same = report.suite in suites.names_of(entry.name)
        if not is_same or report.versions.get("settings") != entry.stamp.get("settings"):
            was = f"{report.suite} ({report.versions.get('settings', 'no settings')})"
            raise ConfigError(f"{out}: holds results of {was}; name another --out, or remove it to score again")
        return {name: data["videos"][name] for name, old in report.videos.items() if old.sha256}, report.versions
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{out}: not a report of `longtake eval`; name another --out or remove it") from error
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}; name another --out") from error


def write_file(path: Path, data: bytes) -> None:
    """Replace the file atomically. Raises StorageError."""
    if not path.parent.is_dir():
        raise StorageError(f"{path}: no such folder; create it, or name a file in another folder")
    if path.is_dir():
        raise StorageError(f"{path}: is a folder; name a file")
    replace_file(path, data)


def check_writable(path: Path) -> None:
    """Raises StorageError now if the file could not be written at the end of a long run."""
    if path.parent.is_dir() and not path.is_dir():
        trial = path.parent / f".{path.name}.trial"
        write_file(trial, b"")
        trial.unlink()
    else:
        write_file(path, b"")


def _sha256_or_none(path: Path) -> str | None:
    try:
        return video_sha256(path)
    except StorageError:
        return None
