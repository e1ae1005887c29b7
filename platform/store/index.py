"""What the records of the takes say, in one file, so that a resume does not read two files for every take.

Owns `index.jsonl`: an entry per take with what decides whether it is made and scored. It is a cache: an entry is used
only while its files have the inodes, sizes and modification times that it was read from, and the file may be deleted.
A run appends an entry when a take is scored; readers such as dashboards write nothing.

A take is *made* if it is done (see commit.py), and *scored* if it is made and every suite has scores of its video.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from longtake.platform.errors import StorageError
from longtake.platform.store import commit, durable
from longtake.platform.store.durable import Stamp, stamp_of
from longtake.platform.store.json_records import from_json
from longtake.platform.store.records import TakeResult

MAX_LINES_PER_TAKE = 3
"""A file with more lines is written anew: a take gets a line when it is made, and one when it is scored."""


@dataclass(frozen=True, eq=False)
class ScoresHead:
    """The part of a record of scores that decides whether it is current; `metrics` has the names as keys. Equal heads
    of an index are the same object."""

    suite: str
    protocol: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TakeFacts:
    """`versions`: those of the take's record; None if the take is not made. `heads`: suite -> the
    head of the scores of its video."""

    versions: Mapping[str, str] | None = None
    heads: Mapping[str, ScoresHead] = field(default_factory=dict)

    @property
    def made(self) -> bool:
        return self.versions is not None

    def is_scored(self, suites: Iterable[str]) -> bool:
        return self.made and all(suite in self.heads for suite in suites)


NOTHING = TakeFacts()


@dataclass(slots=True)
class Entry:
    """A take's record and scores as they were read. `versions` and heads are numbers in the pool. `scores`: suite ->
    (stamp, head); None: unreadable, or the scores of another video."""

    stamp: Stamp
    video_bytes: int
    versions: int
    scores: dict[str, tuple[Stamp, int | None]] = field(default_factory=dict)
    video_sha256: str | None = None


class Pool:
    """Versions and heads that many entries share, each with a number, which the file defines before its first use."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}
        self.values: dict[int, Any] = {}
        self.unsaved: dict[int, None] = {}

    def number_of(self, value: Mapping[str, str] | ScoresHead) -> int:
        """The number of a value; that of an equal one, if there is one."""
        key = key_of(value)
        if key not in self.numbers:
            number = max(self.values, default=-1) + 1
            self.set(number, value)
            self.unsaved[number] = None
        return self.numbers[key]

    def set(self, number: int, value: Mapping[str, str] | ScoresHead) -> None:
        self.numbers[key_of(value)] = number
        self.values[int(number)] = value

    def unsaved_lines(self) -> list[dict[str, Any]]:
        unsaved, self.unsaved = self.unsaved, {}
        return [line_of(number, self.values[number]) for number in unsaved]


def key_of(value: Mapping[str, str] | ScoresHead) -> Hashable:
    if isinstance(value, ScoresHead):
        return value.suite, value.protocol, tuple(value.metrics), tuple(value.versions.items())
    return tuple(value.items())


def line_of(number: int, value: Mapping[str, str] | ScoresHead) -> dict[str, Any]:
    is_head = isinstance(value, ScoresHead)
    return {"number": number, "head": is_head, "value": asdict(value) if isinstance(value, ScoresHead) else value}


class TakeIndex:
    """The facts about the takes in a folder. Loads the file when first asked. Not thread-safe."""

    def __init__(self, path: Path, takes_folder: Path):
        self.path, self.takes = path, str(takes_folder)
        self.entries: dict[str, Entry] = {}
        self.pool = Pool()
        self.is_loaded = self.is_long = False
        self.fresh: dict[str, Entry] = {}  # not in the file yet

    def facts(self, take_id: str, suites: Iterable[str] = ()) -> TakeFacts:
        """What the files of a take say now, about the given suites. Raises StorageError if a file cannot be read."""
        self.load()
        folder = f"{self.takes}/{take_id}"
        stamp = stamp_of(f"{folder}/{commit.RESULT}")
        if stamp is None:
            return NOTHING
        entry = self.entries.get(take_id)
        if entry is None or entry.stamp != stamp:
            result = commit.read_result(Path(folder))
            if result is None or result.take_id != take_id:
                return NOTHING
            entry = self._enter(stamp, result)
        if not commit.has_video(folder, entry.video_bytes):
            return NOTHING
        heads = {suite: head for suite in suites if (head := self._head(take_id, entry, suite)) is not None}
        return TakeFacts(self.pool.values[entry.versions], heads)

    def _enter(self, stamp: Stamp, result: TakeResult) -> Entry:
        versions = self.pool.number_of(result.versions)
        entry = Entry(stamp, result.video_bytes, versions, video_sha256=result.video_sha256)
        self.entries[result.take_id] = entry
        self.fresh[result.take_id] = entry
        return entry

    def _head(self, take_id: str, entry: Entry, suite: str) -> ScoresHead | None:
        stamp = stamp_of(f"{self.takes}/{take_id}/{commit.SCORES}/{suite}.json")
        if stamp is None:
            return None
        known = entry.scores.get(suite)
        if known is None or known[0] != stamp:
            known = stamp, self._read_head(Path(self.takes, take_id), entry, suite)
            entry.scores[suite] = known
            self.fresh[take_id] = entry
        return None if known[1] is None else self.pool.values[known[1]]

    def _read_head(self, folder: Path, entry: Entry, suite: str) -> int | None:
        scores = commit.read_scores(folder, suite)
        if entry.video_sha256 is None:
            result = commit.read_result(folder)
            entry.video_sha256 = None if result is None else result.video_sha256
        if scores is None or scores.video_sha256 != entry.video_sha256:
            return None
        head = ScoresHead(scores.suite, scores.protocol, dict.fromkeys(scores.metrics), scores.versions)
        return self.pool.number_of(head)

    # The file

    def load(self) -> None:
        """Read the file, once. Leaves out damaged lines, and a file that cannot be read or is no regular file: `save`
        replaces it."""
        if self.is_loaded:
            return
        self.is_loaded = True
        lines = self._read_lines()
        if lines is None:
            self.is_long = True
            return
        for line in lines:
            try:
                self._load_line(line)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
        self.is_long = len(lines) > MAX_LINES_PER_TAKE * len(self.entries) + MAX_LINES_PER_TAKE

    def _read_lines(self) -> list[Any] | None:
        if not os.path.lexists(self.path):
            return []
        try:
            return None if stamp_of(self.path) is None else durable.read_json_lines(self.path)
        except StorageError:
            return None

    def _load_line(self, line: Any) -> None:
        if isinstance(line, dict):
            value = line["value"]
            self.pool.set(int(line["number"]), from_json(ScoresHead, value) if line["head"] else dict(value))
            return
        take_id, stamp, video_bytes, versions, scores = line
        known = {suite: (Stamp(*of), head) for suite, (of, head) in scores.items()}
        if not isinstance(self.pool.values[versions], dict):
            raise TypeError(f"entry {versions} is not of a record")
        if not all(head is None or isinstance(self.pool.values[head], ScoresHead) for _, head in known.values()):
            raise TypeError("an entry is not of scores")
        self.entries[str(take_id)] = Entry(Stamp(*stamp), int(video_bytes), versions, known)

    def save(self) -> None:
        """Append the entries that the file does not have. Call it with the sweep locked. Raises StorageError."""
        if not self.fresh:
            return
        if self.is_long:
            self.fresh, self.pool.unsaved, self.is_long = dict(self.entries), dict.fromkeys(self.pool.values), False
            durable.replace_file(self.path, b"")
        with durable.storage_errors(self.path, "append to the file"), self.path.open("ab") as file:
            file.write(b"\n" + durable.json_lines([*self.pool.unsaved_lines(), *self._lines()]))
        self.fresh = {}

    def _lines(self) -> Iterator[list[Any]]:
        for take_id, entry in self.fresh.items():
            yield [take_id, entry.stamp, entry.video_bytes, entry.versions, entry.scores]
