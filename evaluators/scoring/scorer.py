"""Scores one video: all metrics of all requested suites in one decode, with memory for a few clips.

A failure only affects its metric and clip. A failing metric does not affect the others, and a damaged video gives None
with a reason for every metric; neither raises. Opens videos only through platform.video. Results that a cache has for
the same bytes are not computed again.
"""

from __future__ import annotations

import hashlib
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
from longtake.evaluators.scoring.parts import means_by_part, parts_of
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
ReportProgress = Callable[[int, int, str], None]
"""Progress callback: (frames done, frames in the header, name of the running metric). Its errors end the scoring."""


def context_of(path: Path, take: Take | None = None) -> VideoContext:
    """Facts from the header of a video and from its take. Raises VideoError."""
    head = video.probe(path)
    known = VideoContext(path, head.fps, head.width, head.height, head.num_frames)
    return known if take is None else known.of_take(take)


@dataclass
class MetricTask:
    """A metric of a suite on one video, with its runner or an earlier result; `keys`: its cache keys."""

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
    """Score a video under one suite; see score_video_suites."""
    return score_video_suites(path, [entry], model_pool=model_pool)[entry.label]


def score_video_suites(
    path: Path,
    entries: Sequence[SuiteEntry],
    take: Take | None = None,
    model_pool: ModelPool | None = None,
    cache: ScoreCache | None = None,
    only: Sequence[str] | None = None,
    report_progress: ReportProgress | None = None,
    earlier: Mapping[str, Kept] | None = None,
) -> dict[str, VideoScores]:
    """Label -> scores of a video, whose facts come from its header and `take`. `only`: restrict to these metrics;
    `earlier`: label -> current results for the same bytes, which are not computed again.

    Raises ConfigError for an unknown suite, WeightsError for weights that are missing or differ from the entry's, and
    StorageError for a missing file. A damaged video raises nothing; its scores have the reason.
    """
    model_pool = model_pool or ModelPool()
    digest, before = video_sha256(path), changed_at(path)
    kept_as = digest if cache is None else cache_digest(path, digest)
    tasks = {
        entry.label: find_tasks(entry, kept_as, cache, only, model_pool.device, (earlier or {}).get(entry.label, {}))
        for entry in entries
    }
    everyone = [one for part in tasks.values() for one in part]
    score(path, everyone, take, model_pool, report_progress)
    if changed_at(path) != before:
        raise StorageError(f"{path}: changed while it was scored; score it again once it is complete")
    if cache is not None:
        keep(everyone, kept_as, cache)
    scores = {entry.label: _record(entry, digest, tasks[entry.label], model_pool.device) for entry in entries}
    if take is None or not take.switches:
        return scores
    return {label: with_parts(one, path, take) for label, one in scores.items()}


def keep(tasks: Iterable[MetricTask], digest: str, cache: ScoreCache) -> None:
    """Write complete results to the cache. Ignores write errors, which only cost time later."""
    with suppress(StorageError):
        for one in tasks:
            if one.keys and one.result is not None and one.result.is_whole:
                cache.put(digest, one.keys[0], one.result.to_json())


def cache_digest(path: Path, digest: str) -> str:
    """What the cache keeps a video's results under: the digest of its bytes, or another one if its frames are turned to
    be shown, because earlier releases scored such frames as they are stored."""
    with suppress(VideoError):
        if turned := video.probe(path).turned:
            return hashlib.sha256(f"{digest} {turned}".encode()).hexdigest()
    return digest


def changed_at(path: Path) -> tuple[int, int]:
    """Size and modification time. Raises StorageError."""
    with storage_errors(path, "read the video"):
        status = path.stat()
    return status.st_size, status.st_mtime_ns


def find_tasks(
    entry: SuiteEntry, digest: str, cache: ScoreCache | None, only: Sequence[str] | None, device: str, earlier: Kept
) -> list[MetricTask]:
    """The metrics of a suite that may apply to the video, with their results from `earlier` or the cache."""
    tasks = []
    for name, metric in entry.metrics.items():
        if (only is not None and metric.name not in only) or earlier.get(metric.name, True) is None:
            continue
        task = MetricTask(entry.suite, name, MetricRunner(metric), result=earlier.get(metric.name))
        if not metric.needs_take:
            task.keys = cache_keys(name, metric, entry, task.protocol, device)
            if cache is not None and task.result is None:
                cached = (Result.read(cache.get(digest, key)) for key in task.keys)
                task.result = next((result for result in cached if result is not None), None)
        tasks.append(task)
    return tasks


def score(
    path: Path,
    tasks: list[MetricTask],
    take: Take | None,
    model_pool: ModelPool,
    report_progress: ReportProgress | None = None,
) -> None:
    """Compute missing results in one decode. Metrics that do not apply to the video stay without a result."""
    missing = [one for one in tasks if one.result is None]
    if not missing:
        return
    try:
        ctx = replace(context_of(path, take), model_pool=model_pool)
        missing = [one for one in missing if one.runner.metric.applies(ctx)]
        once = {one.place: one for one in missing}  # equal metrics of two suites are computed once
        timeline = _score_clips(path, ctx, list(once.values()), report_progress)
    except VideoError as error:
        for one in missing:
            one.result = one.runner.unreadable(str(error))
        return
    results = {key: one.runner.result(timeline) for key, one in once.items()}
    for one in missing:
        one.result = results[one.place]


def _score_clips(
    path: Path, ctx: VideoContext, tasks: list[MetricTask], report_progress: ReportProgress | None
) -> Timeline:
    set_one_thread()
    ctx.model_pool.set_up()
    length = clip_frames(ctx.fps, ctx.width, ctx.height, path)
    starts, seen = [], 0

    def now(metric: str) -> None:
        if report_progress is not None:
            report_progress(seen, ctx.num_frames, metric)

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
    """Pass a clip to every metric: as decoded, or encoded and decoded once more under the exact protocol."""
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
            f"{path.name}: {seen} frames decode, its header says {ctx.num_frames}; the file is truncated or damaged; "
            "generate it again"
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


def with_parts(scores: VideoScores, path: Path, take: Take) -> VideoScores:
    """The scores, with the part of the prompt that each clip belongs to and the means of each part."""
    try:
        ctx = context_of(path)
    except VideoError:
        return scores  # none of which has a clip
    drift, errors, parts = dict(scores.drift), dict(scores.errors), dict[str, list[int]]()
    for name, clips in scores.clips.items():
        if clips:
            parts[name] = parts_of(take, ctx, scores.seconds[name])
            means, reasons = means_by_part(take, clips, parts[name])
            drift |= {f"{name}.{part}": mean for part, mean in means.items()}
            errors |= {f"{name}.{part}": why for part, why in reasons.items()}
    return replace(scores, drift=drift, errors=errors, parts=parts)


def _merged(parts: Iterable[dict[str, V]]) -> dict[str, V]:
    return {key: value for part in parts for key, value in part.items()}


def video_sha256(path: Path) -> str:
    """Hex SHA-256 of a video file. Raises StorageError."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; check that the video exists and is readable") from error
