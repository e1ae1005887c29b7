"""The store: the plan, videos and scores of a sweep as files. The only module that knows their paths.

    <root>/<sweep>/  sweep.yaml plan.jsonl index.jsonl table.parquet ranks.json history.jsonl
                     progress.json contact_sheet.png .lock .epoch
    <root>/<sweep>/takes/<take id>/  video.mp4 trace.jsonl result.json scores/<suite>.json
                                     attempts.log failures.jsonl events.jsonl

The store is the source of truth; everything else can be rebuilt from it. A take is done if and only if its result.json
parses and matches the video. Every write is atomic. Reading never makes a folder, so a reader cannot create a sweep.
"""

import json
import os
import re
import socket
from copy import copy
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.digest import file_sha256
from longtake.platform.errors import ConfigError
from longtake.platform.names import NAME, check_name
from longtake.platform.store import commit, durable
from longtake.platform.store.commit import TakeWriter
from longtake.platform.store.index import TakeIndex
from longtake.platform.store.json_records import read, read_rows, to_json
from longtake.platform.store.locked_folder import LockedFolder
from longtake.platform.store.plans import check_extension, parse_plan, to_lines
from longtake.platform.store.ranks import RankedRun, Ranks
from longtake.platform.store.records import Failure, FailureRow, Progress, TakeResult, VideoScores, time_of
from longtake.platform.store.root import OutputRoot
from longtake.platform.takes import Take

if TYPE_CHECKING:
    from pandas import DataFrame

TAKE_ID = re.compile(r"[0-9a-f]{16}")
PLAN = "plan.jsonl"
FAILURES = "failures.jsonl"


def sweep_names(root: Path) -> list[str]:
    """The sorted names of the sweeps with a plan under `root`; empty if there is no such folder."""
    with durable.storage_errors(Path(root), "list the folder"):
        names = sorted(name for name in durable.names_in(Path(root)) if NAME.fullmatch(name))
    return [name for name in names if is_sweep(Path(root) / name)]


def is_sweep(folder: Path) -> bool:
    """Whether the folder is a sweep, that is, has a plan."""
    return os.path.isfile(folder / PLAN)


class SweepStore(LockedFolder):
    """One sweep's files."""

    kind, inner = "sweep", "takes"

    def __init__(self, root: Path | str, name: str) -> None:
        """Raises ConfigError if `name` is not a valid folder name; makes nothing."""
        super().__init__(root, name)
        self.root = OutputRoot(root)
        self.sweep_file = self.folder / "sweep.yaml"  # the resolved sweep of the latest run
        self.plan_file = self.folder / PLAN
        self.index_file = self.folder / "index.jsonl"
        self.table_file = self.folder / "table.parquet"
        self.ranks_file = self.folder / "ranks.json"
        self.history_file = self.folder / "history.jsonl"
        self.progress_file = self.folder / "progress.json"
        self.contact_sheet_file = self.folder / "contact_sheet.png"
        self.takes_folder = self.folder / self.inner

    # The sweep as a whole

    def write_plan(self, config_yaml: str, takes: list[Take]) -> None:
        """Writes sweep.yaml and plan.jsonl. Raises ConfigError if takes of an earlier plan are missing or changed."""
        plan = self.check_plan(takes)
        durable.make_folder(self.takes_folder)
        durable.replace_file(self.sweep_file, config_yaml.encode())
        durable.replace_file(self.plan_file, plan)

    def check_plan(self, takes: list[Take]) -> bytes:
        """The content of plan.jsonl for these takes. Raises ConfigError like `write_plan`, and writes nothing."""
        plan = to_lines(takes, self.root.folder)
        if plan != self._read_bytes(self.plan_file):
            check_extension(self.folder, self.plan(), takes)
        return plan

    def plan(self) -> list[Take]:
        """The planned takes in order; empty before the first plan. Raises StorageError when the plan is damaged."""
        return parse_plan(self.plan_file, self.root.folder)

    def config_yaml(self) -> str | None:
        """The resolved sweep file, or None."""
        data = self._read_bytes(self.sweep_file)
        return None if data is None else data.decode()

    # One take: done or not

    def is_done(self, take: Take) -> bool:
        """Whether result.json parses and matches the video's size; `verify` also reads the whole video."""
        return commit.read_done(self._take(take.id)) is not None

    def done_ids(self) -> set[str]:
        """The ids of all takes that are done."""
        index = self.index()
        return {take_id for take_id in self._take_ids() if index.facts(take_id).made}

    def index(self) -> TakeIndex:
        """What the takes' records say, without reading each of them: which takes are made and scored."""
        return TakeIndex(self.index_file, self.takes_folder)

    def suites_of(self, take_id: str) -> frozenset[str]:
        """The suites under which a take has scores, of whichever video."""
        try:
            names = durable.names_in(self._take(take_id) / commit.SCORES)
        except OSError:
            return frozenset()
        suites = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        return frozenset(suite for suite in suites if NAME.fullmatch(suite))

    def has_failures(self, take_id: str) -> bool:
        """Whether a take has failed attempts."""
        return durable.stamp_of(f"{self.takes_folder}/{take_id}/{FAILURES}") is not None

    def verify(self, take: Take) -> bool:
        """Whether the take is done and its video has the recorded checksum."""
        result = commit.read_done(self._take(take.id))
        with durable.storage_errors(self.video(take.id), "read the video"):
            return result is not None and file_sha256(self.video(take.id)) == result.video_sha256

    def discard(self, take: Take, reason: str) -> None:
        """Removes the files of a damaged take, so that the next run makes it again."""
        commit.retire(self._take(take.id), reason)

    # Attempts

    def begin_attempt(self, take: Take) -> int:
        """Counts an attempt on disk, before it starts; returns its number, from 1."""
        durable.make_folder(self._take(take.id))
        at = datetime.now(UTC).isoformat(timespec="seconds")
        durable.append_line(self._take(take.id) / "attempts.log", f"{at} {socket.gethostname()}:{os.getpid()}")
        return self.attempts(take.id)

    def attempts(self, take_id: str) -> int:
        """The number of attempts at the take, in this run and in earlier ones."""
        data = self._read_bytes(self._take(take_id) / "attempts.log")
        return sum(1 for line in (data or b"").splitlines() if line.strip())

    def first_attempt(self, take_id: str) -> datetime | None:
        """When the first attempt at the take began; None if that is not recorded."""
        data = self._read_bytes(self._take(take_id) / "attempts.log") or b""
        times = [time_of(line) for line in data.decode(errors="replace").splitlines()]
        return min((time for time in times if time is not None), default=None)

    def record_failure(self, take: Take, failure: Failure) -> None:
        """Records the reason of a failed attempt."""
        durable.make_folder(self._take(take.id))
        row = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **failure.to_json()}
        durable.append_line(self.failures_file(take.id), json.dumps(row))

    def record_event(self, take: Take, event: str) -> None:
        """Appends a line to the take's log of unusual events."""
        durable.make_folder(self._take(take.id))
        commit.record_event(self._take(take.id), event)

    def forget_failures(self, take: Take) -> None:
        """Moves the failed attempts to the log of events, so that a take that was set aside is tried again."""
        path = self.failures_file(take.id)
        for row in durable.read_json_lines(path):
            self.record_event(take, f"forgotten, to be tried again: {json.dumps(row)}")
        with durable.storage_errors(path, "remove the file"):
            path.unlink(missing_ok=True)

    def failures_file(self, take_id: str) -> Path:
        """The file of a take's failed attempts and of the deaths of its workers."""
        return self._take(take_id) / FAILURES

    def failures(self) -> dict[str, list[Failure]]:
        """Take id -> its failed attempts, oldest first; takes without failures are absent."""
        failed = filter(self.has_failures, self._take_ids())
        by_take = {take_id: self.failure_rows(take_id) for take_id in failed}
        return {take_id: [row.failure for row in rows] for take_id, rows in by_take.items() if rows}

    def failure_rows(self, take_id: str) -> list[FailureRow]:
        """The failed attempts at one take as they are stored, with their times."""
        return read_rows(FailureRow, self.failures_file(take_id))

    def open_take(self, take: Take) -> TakeWriter:
        """A writer for the video and trace of one attempt. Removes damaged files of earlier attempts first."""
        folder = self._take(take.id)
        durable.make_folder(folder)
        commit.clear_damage(folder)
        return TakeWriter(copy(self), folder)  # the copy keeps its epoch after the lock is released

    # The results of a take

    def result(self, take_id: str) -> TakeResult | None:
        """The record of a made take; None if it is missing or unreadable."""
        return commit.read_result(self._take(take_id))

    def video(self, take_id: str) -> Path:
        """The path of the take's video, which may not exist yet."""
        return self._take(take_id) / commit.VIDEO

    def result_file(self, take_id: str) -> Path:
        return self._take(take_id) / commit.RESULT

    def trace_file(self, take_id: str) -> Path:
        return self._take(take_id) / commit.TRACE

    def trace(self, take_id: str) -> list[dict[str, Any]]:
        """The choices of the method, one row per block; `evaluators/retrieval/trace_rows.py` checks the rows."""
        return durable.read_json_lines(self.trace_file(take_id))

    def write_scores(self, take_id: str, scores: VideoScores) -> None:
        """Writes the scores of one suite; replaces earlier ones."""
        path = self.scores_file(take_id, scores.suite)
        durable.make_folder(path.parent)
        durable.replace_file(path, durable.json_bytes(scores.to_json()))

    def scores_file(self, take_id: str, suite: str) -> Path:
        return self._take(take_id) / commit.SCORES / f"{check_name('suite name', suite)}.json"

    def scores(self, take_id: str, suite: str) -> VideoScores | None:
        """The suite's scores of the current video; None if they are missing, damaged or of another video."""
        scores = commit.read_scores(self._take(take_id), check_name("suite name", suite))
        result = self.result(take_id) if scores else None
        return scores if scores and result and scores.video_sha256 == result.video_sha256 else None

    # The results of the sweep

    def write_table(self, table: "DataFrame") -> None:
        """Atomically replaces table.parquet."""
        with durable.replacing(self.table_file) as temp:
            table.to_parquet(temp, index=False)

    def table(self) -> "DataFrame | None":
        """The table of scores, or None before the first."""
        import pandas

        with durable.storage_errors(self.table_file, "read the table"):
            return pandas.read_parquet(self.table_file) if self.table_file.is_file() else None

    def write_ranks(self, ranks: Ranks) -> None:
        durable.replace_file(self.ranks_file, durable.json_bytes(to_json(ranks)))

    def ranks(self) -> Ranks | None:
        """The ranks; None if the file is missing or damaged."""
        return read(Ranks, self.ranks_file)

    def append_history(self, run: RankedRun) -> None:
        """Appends a line for a finished run, so that later runs can be compared with it."""
        durable.append_line(self.history_file, json.dumps(asdict(run), allow_nan=False))

    def history(self) -> list[RankedRun]:
        """The finished runs, oldest first."""
        return read_rows(RankedRun, self.history_file)

    def write_progress(self, progress: dict[str, Any]) -> None:
        """Writes the state that dashboards show while the sweep runs."""
        durable.replace_file(self.progress_file, durable.json_bytes(progress))

    def progress(self) -> dict[str, Any] | None:
        """The state of the latest run; None if the file is missing or damaged."""
        return durable.read_json(self.progress_file) if read(Progress, self.progress_file) is not None else None

    # Paths

    def _take(self, take_id: str) -> Path:
        if not TAKE_ID.fullmatch(take_id):
            raise ConfigError(f"{self.name}: {take_id[:80]!r} is not a take id; give 16 characters of 0-9 and a-f")
        return self.takes_folder / take_id

    def _take_ids(self) -> list[str]:
        with durable.storage_errors(self.takes_folder, "list the folder"):
            return sorted(name for name in durable.names_in(self.takes_folder) if TAKE_ID.fullmatch(name))

    def _read_bytes(self, path: Path) -> bytes | None:
        with durable.storage_errors(path, "read the file"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
