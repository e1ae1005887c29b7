"""The commit of one take: from temporary files to a done take, safe against a crash between any two steps.

Order: sync and check what was written, link the video, link the trace, link result.json last. A link never overwrites,
so two writers of one take end with one video. A take is done exactly when its result.json matches its video.
"""

import dataclasses
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from longtake.platform.digest import file_sha256
from longtake.platform.errors import StorageError, VideoError
from longtake.platform.store import durable
from longtake.platform.store.locked_folder import LockedFolder
from longtake.platform.store.records import TakeResult

VIDEO, TRACE, RESULT, EVENTS = "video.mp4", "trace.jsonl", "result.json", "events.jsonl"


def read_result(folder: Path) -> TakeResult | None:
    """The take's record, or None when there is none that can be read."""
    data = durable.read_json(folder / RESULT)
    try:
        return None if data is None else TakeResult.from_json(data)
    except ValueError:
        return None


def read_done(folder: Path) -> TakeResult | None:
    """The take's record if it is done: readable, about this take, and of the size of the video beside it."""
    result = read_result(folder)
    if result is None or result.take_id != folder.name:
        return None
    try:
        return result if os.stat(folder / VIDEO).st_size == result.video_bytes else None
    except OSError:
        return None


def record_event(folder: Path, event: str) -> None:
    """One line in the take's history of oddities."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    durable.append_line(folder / EVENTS, durable.json_lines([{"at": at, "event": event}]).decode().rstrip("\n"))


def retire(folder: Path, reason: str) -> None:
    """Removes a take's files that do not match their record, result.json first, so that it can be made again."""
    record_event(folder, f"removed, to be made again: {reason}")
    with durable.storage_errors(folder, "remove damaged files"):
        for name in (RESULT, VIDEO, TRACE):
            (folder / name).unlink(missing_ok=True)
        durable.fsync_folder(folder)


def clear_damage(folder: Path) -> None:
    """Retires a record that does not match its video, and a video without a record that cannot be read.

    Raises StorageError for a record that is whole but of another shape: its video may be good, so nothing is removed.
    """
    from longtake.platform.video.reading import probe

    if (folder / RESULT).exists():
        if durable.read_json(folder / RESULT) is not None and read_result(folder) is None:
            raise StorageError(
                f"{folder / RESULT}: was made by another version of Longtake; use that one, or another sweep name"
            )
        if read_done(folder) is None:
            retire(folder, "the record and the video did not match")
    elif (folder / VIDEO).exists():
        try:
            probe(folder / VIDEO)
        except VideoError as error:
            retire(folder, str(error))


class TakeWriter:
    """Where one attempt writes. commit() makes the take done; abort(), or leaving `with` without a commit, drops it.

    `sweep`: the locked folder under whose epoch this writer works; a commit under an older one is refused.
    """

    def __init__(self, sweep: LockedFolder, folder: Path) -> None:
        self.sweep, self.folder = sweep, folder
        self.video_path = durable.temp_path(folder, VIDEO)
        self.trace_path = durable.temp_path(folder, TRACE)

    def commit(self, result: TakeResult) -> TakeResult:
        """Makes the take done; returns the record on disk, which is another writer's if that one was first.

        Raises StorageError when the disk fails, when the files are not what `result` says, or when a newer run holds
        the sweep; the take is then as if this attempt had not been.
        """
        try:
            with durable.storage_errors(self.folder, "commit the take"):
                return self._commit(result)
        finally:
            self.abort()

    def _commit(self, result: TakeResult) -> TakeResult:
        self.sweep.check_epoch()
        if result.take_id != self.folder.name:
            raise StorageError(f"{self.folder}: the result is about take {result.take_id}; nothing was committed")
        self._sync_and_check(result)
        if not durable.link_new(self.video_path, self.folder / VIDEO):
            result = self._agree_with_first(result)
        if self.trace_path.exists():
            durable.link_new(self.trace_path, self.folder / TRACE)
        durable.fsync_folder(self.folder)
        durable.link_file(self.folder / RESULT, durable.json_bytes(result.to_json()))
        durable.fsync_folder(self.folder)
        done = read_done(self.folder)
        if done is None:
            raise StorageError(f"{self.folder}: the record does not match the video after the commit; run again")
        return done

    def _sync_and_check(self, result: TakeResult) -> None:
        durable.fsync_file(self.video_path)
        _check_video(self.video_path, result)
        if self.trace_path.exists():
            durable.fsync_file(self.trace_path)
        rows = len(durable.read_json_lines(self.trace_path))
        if rows != result.trace_rows:
            raise StorageError(f"{self.trace_path}: has {rows} rows where the result says {result.trace_rows}")

    def _agree_with_first(self, result: TakeResult) -> TakeResult:
        """Another attempt linked its video first. The same bytes: nothing to do. Others: keep them and say so."""
        path = self.folder / VIDEO
        size, digest = path.stat().st_size, file_sha256(path)
        if digest == result.video_sha256:
            return result
        first = dataclasses.replace(result, video_bytes=size, video_sha256=digest)
        _check_video(path, first)
        record_event(self.folder, f"kept the first video {digest}; another attempt made {result.video_sha256}")
        return first

    def abort(self) -> None:
        """Drops the temporary files; safe to call at any time, also after a commit."""
        for path in (self.video_path, self.trace_path):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # leftovers are swept at the next start

    def __enter__(self) -> "TakeWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def _check_video(path: Path, result: TakeResult) -> None:
    """The file's size, checksum, frame count and picture size against the record."""
    from longtake.platform.video.reading import probe

    try:
        header = probe(path)
    except VideoError as error:
        raise StorageError(f"{error}; nothing was committed") from error
    facts: list[tuple[str, Callable[[], object], object]] = [
        ("bytes", lambda: header.bytes, result.video_bytes),
        ("frames", lambda: header.num_frames, result.num_frames),
        ("size", lambda: (header.width, header.height), (result.width, result.height)),
        ("sha256", lambda: file_sha256(path), result.video_sha256),
    ]
    for name, found, expected in facts:
        if found() != expected:
            raise StorageError(f"{path}: {name} {found()} where the result says {expected}; nothing was committed")
