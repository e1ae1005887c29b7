"""Scores one video: all metrics of all asked suites in one decode, one thread, memory of two clips.

Whatever goes wrong stays with the metric and the clip that it happened to: a broken metric leaves the others alone, a
broken video gives None and a reason for every metric, and nothing is raised for either. Opens videos only through
platform.video and writes nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np

from longtake.evaluators.base import Suite, VideoContext, metrics, suites
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.drift import Timeline
from longtake.evaluators.track import Result, Track
from longtake.evaluators.views import set_one_thread
from longtake.platform import video
from longtake.platform.errors import StorageError, VideoError
from longtake.platform.records import VideoScores
from longtake.platform.takes import Take

READ_FRAMES = 16
V = TypeVar("V")


def context_of(path: Path, take: Take | None = None) -> VideoContext:
    """Header facts of a video, and what its take knows beside them. Raises VideoError."""
    head = video.probe(path)
    known = VideoContext(path, head.fps, head.width, head.height, head.num_frames)
    if take is None:
        return known
    return VideoContext(
        path, head.fps, head.width, head.height, head.num_frames,
        take.prompt, take.seed, take.start_frames, take.latent_frames,
    )  # fmt: skip


def score_video(path: Path, suite: str, ctx: VideoContext | None = None) -> VideoScores:
    """One suite; see score_video_suites."""
    return score_video_suites(path, [suite], ctx)[suite]


def score_video_suites(
    path: Path, suite_names: Sequence[str], ctx: VideoContext | None = None, take: Take | None = None
) -> dict[str, VideoScores]:
    """Suite -> scores. What is known of the video comes from `ctx`, else from its header and its `take`.

    Raises ConfigError for an unknown suite and StorageError when there is no such file; a broken video is recorded.
    """
    chosen = [suites.get(name) for name in suite_names]
    digest = file_sha256(path)
    results = score_metrics(path, [name for suite in chosen for name in suite.metrics], ctx, take)
    return {suite.name: _record(suite, digest, results) for suite in chosen}


def score_metrics(
    path: Path, names: Sequence[str], ctx: VideoContext | None = None, take: Take | None = None
) -> dict[str, Result]:
    """Metric -> result for those that apply, all in one decode; what two suites name is computed once."""
    tracks = {name: Track(metrics.get(name)()) for name in names}
    try:
        ctx = ctx or context_of(path, take)
        tracks = {name: track for name, track in tracks.items() if track.metric.applies(ctx)}
        timeline = _watch(path, ctx, list(tracks.values()))
    except VideoError as error:
        return {name: track.unreadable(str(error)) for name, track in tracks.items()}
    return {name: track.result(timeline) for name, track in tracks.items()}


def _watch(path: Path, ctx: VideoContext, tracks: list[Track]) -> Timeline:
    set_one_thread()
    length = clip_frames(ctx.fps, ctx.width, ctx.height, path)
    starts, seen = [], 0
    for track in tracks:
        track.open(ctx)
    for view in iter_clips(video.read_frames(path, batch=READ_FRAMES), ctx.fps, length, path):
        starts.append(view.start_frame)
        seen = view.start_frame + len(view)
        for track in tracks:
            track.clip(view)
    _check_count(path, ctx, seen)
    return Timeline(tuple(starts), length, seen, ctx.fps)


def _check_count(path: Path, ctx: VideoContext, seen: int) -> None:
    if ctx.num_frames and seen != ctx.num_frames:
        raise VideoError(
            f"{path.name}: {seen} frames decode, its header says {ctx.num_frames}; the file is cut short or damaged, "
            "make it again"
        )


def _record(suite: type[Suite], digest: str, results: dict[str, Result]) -> VideoScores:
    mine = {name: results[name] for name in suite.metrics if name in results}
    return VideoScores(
        suite=suite.name,
        protocol=suite.protocol,
        video_sha256=digest,
        metrics={name: r.value for name, r in mine.items()},
        drift=_merged(r.drift for r in mine.values()),
        clips={name: r.clips for name, r in mine.items()},
        errors=_merged(r.errors for r in mine.values()),
        seconds={name: r.seconds for name, r in mine.items()},
        versions=versions_of(suite),
    )


def _merged(parts: Iterable[dict[str, V]]) -> dict[str, V]:
    return {key: value for part in parts for key, value in part.items()}


def versions_of(suite: type[Suite]) -> dict[str, str]:
    """What can change a score beside the video: the suite, the decoder and the image library."""
    return {
        "suite": f"{suite.name}-{suite.version}",
        "av": av.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a video file. Raises StorageError."""
    try:
        return video.file_sha256(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; check that the video is there and readable") from error
