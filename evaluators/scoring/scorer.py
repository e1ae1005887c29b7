"""Scores one video: all metrics of all asked suites in one decode, memory of a few clips.

Whatever goes wrong stays with the metric and the clip that it happened to: a broken metric leaves the others alone, a
broken video gives None and a reason for every metric, and nothing is raised for either. Opens videos only through
platform.video. What a cache holds of these very bytes is not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from longtake.evaluators.base import Suite, SuiteEntry, VideoContext
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.drift import Timeline
from longtake.evaluators.gpu import decoder_threads
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.scoring.metric_runner import MetricRunner, Result, is_machines
from longtake.evaluators.scoring.read_ahead import read_ahead
from longtake.evaluators.scoring.records import Kept
from longtake.evaluators.scoring.versions import cache_keys, versions_of
from longtake.evaluators.views import ClipView, Frames, set_one_thread
from longtake.platform.digest import file_sha256
from longtake.platform.errors import StorageError, VideoError
from longtake.platform.store.durable import storage_errors
from longtake.platform.store.records import VideoScores
from longtake.platform.store.score_cache import ScoreCache
from longtake.platform.takes import Take
from longtake.platform.video import reading as video

READ_FRAMES = 16
DIRECT, EXACT = "direct", "exact"
V = TypeVar("V")
Tell = Callable[[int, int, str], None]
"""Told how many frames of how many are through, and which metric is at work."""
"""Called after every clip: (frames seen, frames that the header names). What it raises ends the scoring."""


def context_of(path: Path, take: Take | None = None) -> VideoContext:
    """Header facts of a video, and what its take knows beside them. Raises VideoError."""
    head = video.probe(path)
    known = VideoContext(path, head.fps, head.width, head.height, head.num_frames)
    return known if take is None else known.of_take(take)


@dataclass
class MetricTask:
    """A metric of a suite on one video: its runner, or an earlier result; `keys` are its places in the cache."""

    suite: Suite
    name: str
    runner: MetricRunner
    keys: Sequence[str] = ()
    result: Result | None = None

    @property
    def place(self) -> str:
        """Equal for tasks with equal results."""
        return self.keys[0] if self.keys else str(id(self))

    @property
    def protocol(self) -> str:
        return DIRECT if self.runner.metric.sees_source else self.suite.protocol


def score_video(path: Path, entry: SuiteEntry, model_pool: ModelPool | None = None) -> VideoScores:
    """One suite; see score_video_suites."""
    return score_video_suites(path, [entry], model_pool=model_pool)[entry.label]


def score_video_suites(
    path: Path,
    entries: Sequence[SuiteEntry],
    take: Take | None = None,
    model_pool: ModelPool | None = None,
    cache: ScoreCache | None = None,
    only: Sequence[str] | None = None,
    tell: Tell | None = None,
    earlier: Mapping[str, Kept] | None = None,
) -> dict[str, VideoScores]:
    """Label -> scores. What is known of the video comes from its header and its `take`. `only`: names of metrics;
    `earlier`: label -> what an earlier record of these very bytes has, which is not computed again.

    Raises ConfigError for an unknown suite, WeightsError for weights that are not there or are others than the entry
    says, and StorageError when there is no such file; a broken video is recorded.
    """
    model_pool = model_pool or ModelPool()
    digest, before = video_sha256(path), changed_at(path)
    tasks = {
        entry.label: find_tasks(entry, digest, cache, only, model_pool.device, (earlier or {}).get(entry.label, {}))
        for entry in entries
    }
    everyone = [one for part in tasks.values() for one in part]
    score(path, everyone, take, model_pool, tell)
    if changed_at(path) != before:
        raise StorageError(f"{path}: changed while it was scored; score it again once it is whole")
    if cache is not None:
        keep(everyone, digest, cache)
    return {entry.label: _record(entry, digest, tasks[entry.label], model_pool.device) for entry in entries}


def keep(tasks: Iterable[MetricTask], digest: str, cache: ScoreCache) -> None:
    """What is whole goes into the cache. A cache that cannot be written costs time later, and no score now."""
    with suppress(StorageError):
        for one in tasks:
            if one.keys and one.result is not None and one.result.is_whole:
                cache.put(digest, one.keys[0], one.result.to_json())


def changed_at(path: Path) -> tuple[int, int]:
    """Size and time of the last change. Raises StorageError."""
    with storage_errors(path, "read the video"):
        found = path.stat()
    return found.st_size, found.st_mtime_ns


def find_tasks(
    entry: SuiteEntry, digest: str, cache: ScoreCache | None, only: Sequence[str] | None, device: str, earlier: Kept
) -> list[MetricTask]:
    """The metrics of a suite that apply as far as is known, with the results that `earlier` or the cache has."""
    found = []
    for name, metric in entry.metrics.items():
        if (only is not None and metric.name not in only) or earlier.get(metric.name, True) is None:
            continue
        one = MetricTask(entry.suite, name, MetricRunner(metric), result=earlier.get(metric.name))
        if not metric.needs_take:
            one.keys = cache_keys(name, metric, entry, one.protocol, device)
            if cache is not None and one.result is None:
                held = (cache.get(digest, key) for key in one.keys)
                one.result = next((Result.from_json(result) for result in held if result is not None), None)
        found.append(one)
    return found


def score(
    path: Path, tasks: list[MetricTask], take: Take | None, model_pool: ModelPool, tell: Tell | None = None
) -> None:
    """Fill in the results that are missing, all in one decode; what does not apply to the video stays without one."""
    asked = [one for one in tasks if one.result is None]
    if not asked:
        return
    try:
        ctx = replace(context_of(path, take), model_pool=model_pool)
        asked = [one for one in asked if one.runner.metric.applies(ctx)]
        once = {one.place: one for one in asked}  # what two suites ask for alike is computed once
        timeline = _watch(path, ctx, list(once.values()), tell)
    except VideoError as error:
        for one in asked:
            one.result = one.runner.unreadable(str(error))
        return
    results = {key: one.runner.result(timeline) for key, one in once.items()}
    for one in asked:
        one.result = results[one.place]


def _watch(path: Path, ctx: VideoContext, tasks: list[MetricTask], tell: Tell | None) -> Timeline:
    set_one_thread()
    ctx.model_pool.set_up()
    length = clip_frames(ctx.fps, ctx.width, ctx.height, path)
    starts, seen = [], 0

    def now(metric: str) -> None:
        if tell is not None:
            tell(seen, ctx.num_frames, metric)

    for one in tasks:
        now(one.runner.metric.name)
        one.runner.open(ctx)
    with closing(_decoded(path, ctx.model_pool, length)) as frames:
        for view in iter_clips(frames, ctx.fps, length, path):
            starts.append(view.start_frame)
            _show(view, tasks, now)
            seen = view.start_frame + len(view)
            now("")
    _check_count(path, ctx, seen)
    return Timeline(tuple(starts), length, seen, ctx.fps)


def _decoded(path: Path, model_pool: ModelPool, clip_length: int) -> Generator[Frames]:
    """Yield the frames, a few at a time. On a GPU machine, threads decode up to one clip ahead."""
    batches = video.read_frames(path, READ_FRAMES, decoder_threads(model_pool.device))
    yield from read_ahead(batches, max(1, clip_length // READ_FRAMES)) if model_pool.on_gpu else batches


def _show(view: ClipView, tasks: list[MetricTask], now: Callable[[str], None]) -> None:
    """A clip to every metric: as it was decoded, or encoded and decoded once more where the protocol says so."""
    again = [one for one in tasks if one.protocol == EXACT]
    for one in [one for one in tasks if one.protocol != EXACT]:
        now(one.runner.metric.name)
        one.runner.clip(view)
    if again:
        from longtake.evaluators.vbench.exact import encoded_again

        try:
            other = encoded_again(view)
        except Exception as error:
            if is_machines(error):
                raise
            for one in again:
                one.runner.lost(view, error)
            return
        for one in again:
            now(one.runner.metric.name)
            one.runner.clip(other)


def _check_count(path: Path, ctx: VideoContext, seen: int) -> None:
    if ctx.num_frames and seen != ctx.num_frames:
        raise VideoError(
            f"{path.name}: {seen} frames decode, its header says {ctx.num_frames}; the file is cut short or damaged, "
            "make it again"
        )


def _record(entry: SuiteEntry, digest: str, tasks: Iterable[MetricTask], device: str) -> VideoScores:
    mine = {one.runner.metric.name: one.result for one in tasks if one.result is not None}
    return VideoScores(
        suite=entry.label,
        protocol=entry.suite.protocol,
        video_sha256=digest,
        metrics={name: r.value for name, r in mine.items()},
        drift=_merged(r.drift for r in mine.values()),
        clips={name: r.clips for name, r in mine.items()},
        errors=_merged(r.errors for r in mine.values()),
        seconds={name: r.seconds for name, r in mine.items()},
        versions=versions_of(entry, device),
    )


def _merged(parts: Iterable[dict[str, V]]) -> dict[str, V]:
    return {key: value for part in parts for key, value in part.items()}


def video_sha256(path: Path) -> str:
    """Hex SHA-256 of a video file. Raises StorageError."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; check that the video is there and readable") from error
