"""Scores one video: all metrics of all asked suites in one decode, memory of a few clips.

Whatever goes wrong stays with the metric and the clip that it happened to: a broken metric leaves the others alone, a
broken video gives None and a reason for every metric, and nothing is raised for either. Opens videos only through
platform.video. What a cache holds of these very bytes is not computed again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np

from longtake.evaluators.base import Suite, SuiteEntry, VideoContext
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.drift import Timeline
from longtake.evaluators.gpu import decoder_threads, device_versions
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.scoring.metric_runner import MetricRunner, Result, is_machines
from longtake.evaluators.scoring.read_ahead import read_ahead
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
    if take is None:
        return known
    return replace(
        known, prompt=take.prompt, seed=take.seed, prefix_frames=take.prefix_frames, latent_frames=take.latent_frames
    )


@dataclass
class MetricTask:
    """A metric of a suite on one video: its track, or what the cache held; `key` is its place there."""

    suite: Suite
    name: str
    runner: MetricRunner
    key: str | None = None
    result: Result | None = None

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
) -> dict[str, VideoScores]:
    """Label -> scores. What is known of the video comes from its header and its `take`. `only`: names of metrics.

    Raises ConfigError for an unknown suite, WeightsError for weights that are not there or are others than the entry
    says, and StorageError when there is no such file; a broken video is recorded.
    """
    model_pool = model_pool or ModelPool()
    digest, before = video_sha256(path), changed_at(path)
    tasks = {entry.label: find_tasks(entry, digest, cache, only, model_pool.device) for entry in entries}
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
            if one.key is not None and one.result is not None and one.result.is_whole:
                cache.put(digest, one.key, one.result.to_json())


def changed_at(path: Path) -> tuple[int, int]:
    """Size and time of the last change. Raises StorageError."""
    with storage_errors(path, "read the video"):
        found = path.stat()
    return found.st_size, found.st_mtime_ns


def find_tasks(
    entry: SuiteEntry, digest: str, cache: ScoreCache | None, only: Sequence[str] | None, device: str
) -> list[MetricTask]:
    """The metrics of a suite, with the results that the cache has."""
    suite = entry.open()
    found = []
    for name in suite.metrics:
        runner = MetricRunner(suite.metric(name))
        if only is not None and runner.metric.name not in only:
            continue
        one = MetricTask(suite, name, runner)
        if not runner.metric.needs_take:
            one.key = cache_key(one, entry, device)
            held = cache.get(digest, one.key) if cache is not None else None
            one.result = Result.from_json(held) if held is not None else None
        found.append(one)
    return found


def cache_key(one: MetricTask, entry: SuiteEntry, device: str) -> str:
    """What the value of a metric depends on beside the video."""
    metric, suite = one.runner.metric, one.suite
    weights = {artefact: entry.weights.get(artefact) for artefact in artefacts_of(metric.networks())}
    told = [one.name, f"{suite.name}-{suite.version}", one.protocol, metric.cache_settings(), weights]
    return json.dumps([*told, libraries(metric.networks(), device)], sort_keys=True)


def artefacts_of(names: Sequence[str]) -> list[str]:
    """The artefacts that networks are filled from, each once."""
    if not names:
        return []
    from longtake.evaluators.models.base import networks

    return list(dict.fromkeys(artefact for name in names for artefact in networks.get(name).artefacts))


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
        once = {one.key or str(id(one)): one for one in asked}  # what two suites ask for alike is computed once
        timeline = _watch(path, ctx, list(once.values()), tell)
    except VideoError as error:
        for one in asked:
            one.result = one.runner.unreadable(str(error))
        return
    results = {key: one.runner.result(timeline) for key, one in once.items()}
    for one in asked:
        one.result = results[one.key or str(id(one))]


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
        protocol=entry.open().protocol,
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


def versions_of(entry: SuiteEntry, device: str = "cpu") -> dict[str, str]:
    """What can change a score beside the video: the suite, its settings and weights, libraries and the device."""
    return {**entry.stamp, **libraries(entry.open().networks(), device), "python": platform.python_version()}


def libraries(names: Sequence[str], device: str) -> dict[str, str]:
    """What decodes and computes, with these networks on this device."""
    found = {"av": av.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
    if not names:
        return found
    from longtake.evaluators.models.base import DISTRIBUTIONS, networks

    packages = dict.fromkeys(package for name in names for package in ("torch", *networks.get(name).packages))
    versions = {package: version(DISTRIBUTIONS.get(package, package)) for package in packages}
    return found | versions | device_versions(device)


def video_sha256(path: Path) -> str:
    """Hex SHA-256 of a video file. Raises StorageError."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; check that the video is there and readable") from error
