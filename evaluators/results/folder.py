"""What `longtake eval` knows of a folder of videos: their names, their scores so far, and the JSON file of both.

Resumes by itself: what the file has of the same bytes, from the same metric versions, settings, weights and libraries,
is not computed again. It is replaced atomically, so it is whole at every moment. Scores nothing and prints nothing.
"""

from __future__ import annotations

import json
import mimetypes
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry, VideoContext, mean_of, suites
from longtake.evaluators.scoring.records import Kept, kept
from longtake.evaluators.scoring.scorer import video_sha256
from longtake.evaluators.scoring.versions import versions_of
from longtake.platform.errors import ConfigError, StorageError, VideoError
from longtake.platform.store.durable import json_bytes, replace_file
from longtake.platform.store.records import VideoScores
from longtake.platform.video.reading import FORMATS, probe

SUFFIXES = tuple(FORMATS)
SAVING_SHARE = 0.05
SCORES = ("metrics", "drift", "clips", "seconds", "errors")
Entry = dict[str, Any]


def find_videos(folder: Path) -> dict[str, Path]:
    """Path inside the folder -> file, of all videos under it, sorted; hidden ones are left out. Raises ConfigError when
    there is none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder; give the folder that holds the videos")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    shown = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not shown:
        raise ConfigError(f"{folder}: no video ({', '.join(SUFFIXES)}) in it; give the folder that holds the videos")
    return {path.relative_to(folder).as_posix(): path for path in shown}


def skipped(folder: Path, videos: Mapping[str, Path]) -> list[str]:
    """Files and links of a folder that no known ending makes a video; hidden ones are not told."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    known = {*videos, *(Path(name).with_suffix(".json").as_posix() for name in videos)}
    return [
        name
        for name in names
        if name not in known and not any(part.startswith(".") for part in Path(name).parts) and is_media(name)
    ]


def is_media(name: str) -> bool:
    """Whether one would take a file for a video: by what its name says, or a link that leads nowhere."""
    kind = mimetypes.guess_type(name)[0] or ""
    return kind.startswith("video/") or kind == "image/gif"


class FolderReport:
    """{"suite", "protocol", "label", "settings", "versions", "overall": {metric: mean}, "videos": {name: {...}}}.

    A name is the path inside the folder. A video that cannot be read stays in it, with None and a reason per metric.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        entry: SuiteEntry,
        out: Path | None,
        prompts: Mapping[str, str] | None = None,
        device: str = "cpu",
    ):
        """Reads what `out` holds. Raises ConfigError when that is no report, StorageError when it cannot be read."""
        self.paths, self.entry, self.out = videos, entry, out
        self.prompts = prompts or {}
        self.suite = entry.suite
        self.versions = versions_of(entry, device)
        self.found: dict[str, Entry] = {}
        self.earlier, versions = read_earlier(out, entry) if out is not None else ({}, {})
        self.current = {name: current_results(old, versions, entry, device) for name, old in self.earlier.items()}
        self.saved_at, self.saving_seconds = time.monotonic(), 0.0

    def keep(self, name: str) -> bool:
        """Take over what is known of the very bytes of this video; False when something has to be computed."""
        old = self.earlier.get(name)
        if old is None or old["sha256"] != _sha256_or_none(self.paths[name]):
            self.current.pop(name, None)
        elif self.is_complete(name):
            self._put(name, old)
        return name in self.found

    def is_complete(self, name: str) -> bool:
        """Whether the earlier report has every metric of the video."""
        return self.current.get(name, {}).keys() == set(self.names)

    def add(self, name: str, scores: VideoScores) -> None:
        facts = {"sha256": scores.video_sha256} | header_facts(self.paths[name])
        self._put(name, facts | {part: getattr(scores, part) for part in SCORES})

    def add_failure(self, name: str, reason: str) -> None:
        """The video was not scored, for a reason that is not in its bytes; the next run tries again."""
        metrics = dict.fromkeys(self.names)
        blank = {"metrics": metrics, "drift": {}, "clips": {metric: [] for metric in metrics}, "seconds": {}}
        self._put(name, {"sha256": None, **no_facts(), **blank, "errors": dict.fromkeys(metrics, reason)})

    def _put(self, name: str, entry: Entry) -> None:
        self.found[name] = entry | {"prompt": self.prompts.get(name)}

    @cached_property
    def names(self) -> list[str]:
        return [metric.name for metric in self.entry.metrics.values()]

    @property
    def whole(self) -> bool:
        """Whether every metric of every video has a value."""
        return all(value is not None for entry in self.found.values() for value in entry["metrics"].values())

    def to_json(self) -> dict[str, Any]:
        videos = {name: self.found[name] for name in self.paths if name in self.found}
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
        """Metric -> its mean over the videos that have a value, or the mean of the suite's official results."""
        values = {name: [entry["metrics"].get(name) for entry in videos.values()] for name in self.names}
        return {name: mean_of(found) for name, found in values.items()} | {
            name: rows[0] for name, rows in self.suite.official_results(videos).items()
        }

    def save_when_due(self) -> None:
        """After every video, or less often where writing would take more than a twentieth of the time."""
        if time.monotonic() - self.saved_at >= self.saving_seconds / SAVING_SHARE:
            self.save()

    def save(self) -> None:
        """Raises StorageError."""
        if self.out is None:
            return
        started = time.monotonic()
        left = [name for name in self.earlier if name in self.paths and name not in self.found]
        waiting = {name: self.earlier[name] for name in left if self.is_complete(name)}
        report = self.to_json()
        write_file(self.out, json_bytes(report | {"videos": report["videos"] | waiting}))
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - started


def header_facts(path: Path) -> Entry:
    """Frames, rate and size as the header has them; None where it cannot be read."""
    try:
        head = probe(path)
    except VideoError:
        return no_facts()
    return {"frames": head.num_frames, "fps": head.fps, "width": head.width, "height": head.height}


def no_facts() -> Entry:
    return dict.fromkeys(("frames", "fps", "width", "height"))


def current_results(old: Entry, versions: dict[str, str], entry: SuiteEntry, device: str) -> Kept:
    """What an earlier report has of a video that is current."""
    parts = {part: old[part] for part in SCORES}
    scores = VideoScores(entry.label, entry.suite.protocol, old["sha256"], **parts, versions=versions)
    ctx = VideoContext(Path(), old["fps"], old["width"], old["height"], old["frames"])
    return kept(scores, entry, lambda: ctx, device)


def read_earlier(out: Path, entry: SuiteEntry) -> tuple[dict[str, Entry], dict[str, str]]:
    """The videos and the versions of an earlier report, which is of the same suite and settings."""
    if not out.exists():
        return {}, {}
    try:
        report = json.loads(out.read_text(encoding="utf-8"))
        held = report["versions"]
        is_same = report["suite"] in suites.names_of(entry.name)
        if not is_same or held.get("settings") != entry.stamp.get("settings"):
            was = f"{report['suite']} ({held.get('settings', 'no settings')})"
            raise ConfigError(f"{out}: holds results of {was}; name another --out, or remove it to score anew")
        return {name: _checked(old) for name, old in report["videos"].items() if old["sha256"]}, held
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{out}: not a report of `longtake eval`; name another --out or remove it") from error
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}; name another --out") from error


def _checked(held: Entry) -> Entry:
    needed = ("sha256", "frames", "fps", "metrics", "drift", "clips", "seconds", "errors")
    if lacking := [key for key in needed if key not in held]:
        raise KeyError(lacking[0])
    return held


def write_file(path: Path, data: bytes) -> None:
    """Atomic: a reader sees the old file or the new one. Raises StorageError."""
    if not path.parent.is_dir():
        raise StorageError(f"{path}: no such folder; make it, or name a file in another")
    if path.is_dir():
        raise StorageError(f"{path}: is a folder; name a file")
    replace_file(path, data)


def check_writable(path: Path) -> None:
    """Raises the StorageError that writing the file at the end of a long run would raise."""
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
