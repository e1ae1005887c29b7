"""Commits one take: turns temporary files into a done take, and survives a crash between any two steps.

Order: sync and check the files, link the video, link the trace, link result.json last. A link never overwrites a file,
so two writers of one take leave one video. A take is done if and only if its result.json matches its video.
"""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from longtake.platform.digest import file_sha256
from longtake.platform.errors import RecordError, StorageError, VideoError
from longtake.platform.store import durable
from longtake.platform.store.json_records import read
from longtake.platform.store.locked_folder import LockedFolder
from longtake.platform.store.records import TakeResult, VideoScores

VIDEO, TRACE, RESULT, EVENTS = "video.mp4", "trace.jsonl", "result.json", "events.jsonl"
SCORES = "scores"


def read_result(folder: Path) -> TakeResult | None:
    """The take's record, or None if it is missing or unreadable."""
    return read(TakeResult, folder / RESULT)


def read_scores(folder: Path, suite: str) -> VideoScores | None:
    """The take's scores under a suite, of whichever video; None if they are missing or unreadable."""
    return read(VideoScores, folder / SCORES / f"{suite}.json")


def read_done(folder: Path) -> TakeResult | None:
    """The take's record if the take is done: the record is readable, has its id and the size of its video."""
    result = read_result(folder)
    if result is None or result.take_id != folder.name:
        return None
    return result if has_video(folder, result.video_bytes) else None


def has_video(folder: Path | str, num_bytes: int) -> bool:
    """Whether the take has a video of this size."""
    video = durable.stamp_of(f"{folder}/{VIDEO}")
    return video is not None and video.size == num_bytes


def record_event(folder: Path, event: str) -> None:
    """Appends a line to the take's log of unusual events."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    durable.append_line(folder / EVENTS, durable.json_lines([{"at": at, "event": event}]).decode().rstrip("\n"))


def retire(folder: Path, reason: str) -> None:
    """Removes the damaged files of a take, result.json first, so that it can be made again."""
    record_event(folder, f"removed, to be made again: {reason}")
    with durable.storage_errors(folder, "remove damaged files"):
        for name in (RESULT, VIDEO, TRACE):
            (folder / name).unlink(missing_ok=True)
        durable.fsync_folder(folder)


def clear_damage(folder: Path) -> None:
    """Removes a record that does not match its video, and an unreadable video without a record.

    Raises RecordError for JSON of another shape: its video may be good, so nothing is removed.
    """
    from longtake.platform.video.reading import probe

    if (folder / RESULT).exists():
        if durable.read_json(folder / RESULT) is not None and read_result(folder) is None:
            raise RecordError(
                f"{folder / RESULT}: is no record of a take that this version reads; use the version that wrote it, "
                "or remove the file to make the take again"
            )
        if read_done(folder) is None:
            retire(folder, "the record and the video did not match")
    elif (folder / VIDEO).exists():
        try:
            probe(folder / VIDEO)
        except VideoError as error:
            retire(folder, str(error))


class TakeWriter:
    """One attempt's files. commit() makes the take done; abort(), or leaving `with` uncommitted, deletes them.

    `sweep`: the locked folder with the epoch of this writer; a commit under an older epoch is refused.
    """

    def __init__(self, sweep: LockedFolder, folder: Path) -> None:
        self.sweep, self.folder = sweep, folder
        self.video_path = durable.temp_path(folder, VIDEO)
        self.trace_path = durable.temp_path(folder, TRACE)

    def commit(self, result: TakeResult) -> TakeResult:
        """Makes the take done; returns the record on disk, which may be that of an earlier writer.

        Raises StorageError if the disk fails, if the files do not match `result`, or if a newer run holds the sweep;
        the take is then unchanged.
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
            raise StorageError(f"{self.trace_path}: has {rows} rows, but the result says {result.trace_rows}")

    def _agree_with_first(self, result: TakeResult) -> TakeResult:
        """Another attempt linked its video first: returns a result for it, and records an event if it differs."""
        path = self.folder / VIDEO
        size, digest = path.stat().st_size, file_sha256(path)
        if digest == result.video_sha256:
            return result
        first = dataclasses.replace(result, video_bytes=size, video_sha256=digest)
        _check_video(path, first)
        record_event(self.folder, f"kept the first video {digest}; another attempt made {result.video_sha256}")
        return first

    def abort(self) -> None:
        """Deletes the temporary files; safe to call at any time, also after a commit."""
        for path in (self.video_path, self.trace_path):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # the next start removes leftovers

    def __enter__(self) -> "TakeWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def _check_video(path: Path, result: TakeResult) -> None:
    """Checks the file's size, checksum, frame count and frame size against the record. Raises StorageError."""
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
    for name, actual, expected in facts:
        if actual() != expected:
            raise StorageError(f"{path}: {name} {actual()}, but the result says {expected}; nothing was committed")
