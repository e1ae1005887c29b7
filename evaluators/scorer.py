"""Scores one video: all metrics of all asked suites in one decode, one thread, memory of two clips.

Whatever goes wrong stays with the metric and the clip that it happened to: a broken metric leaves the others alone, a
broken video gives None and a reason for every metric, and nothing is raised for either. Opens videos only through
platform.video and writes nothing.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from longtake.evaluators.base import Metric, MetricRun, Suite, Unscorable, VideoContext, VideoValue, metrics, suites
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.drift import Timeline, drift_of
from longtake.evaluators.views import ClipView, set_one_thread
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
    path: Path, suite_names: Sequence[str], ctx: VideoContext | None = None, read_frames: int = READ_FRAMES
) -> dict[str, VideoScores]:
    """Suite -> scores. Raises ConfigError for an unknown suite and StorageError when the file cannot be read at all."""
    chosen = [suites.get(name) for name in suite_names]
    wanted = list(dict.fromkeys(name for suite in chosen for name in suite.metrics))
    tracks = {name: _Track(metrics.get(name)()) for name in wanted}
    digest = file_sha256(path)
    try:
        timeline = _watch(path, ctx or context_of(path), list(tracks.values()), read_frames)
    except VideoError as error:
        results = {name: track.unreadable(str(error)) for name, track in tracks.items()}
    else:
        results = {name: track.result(timeline) for name, track in tracks.items()}
    return {suite.name: _record(suite, digest, results) for suite in chosen}


def _watch(path: Path, ctx: VideoContext, tracks: list[_Track], read_frames: int) -> Timeline:
    set_one_thread()
    length = clip_frames(ctx.fps, ctx.width, ctx.height, path)
    starts, seen = [], 0
    for track in tracks:
        track.open(ctx)
    for view in iter_clips(video.read_frames(path, batch=read_frames), ctx.fps, length, path):
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


@dataclass
class _Result:
    value: float | None
    clips: list[float | None] = field(default_factory=list)
    drift: dict[str, float | None] = field(default_factory=dict)  # full names
    errors: dict[str, str] = field(default_factory=dict)  # full names
    seconds: list[float] = field(default_factory=list)


@dataclass
class _Track:
    """One metric on one video, with every failure turned into None and a reason."""

    metric: Metric
    run: MetricRun | None = None
    clips: list[float | None] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def open(self, ctx: VideoContext) -> None:
        if self.metric.needs_take and ctx.prompt is None:
            self.reasons.append("needs the take's prompt and seed, which a plain video file does not carry")
            return
        try:
            self.run = self.metric.open(ctx)
        except Exception as error:
            self.reasons.append(_reason(error))

    def clip(self, view: ClipView) -> None:
        if self.run is None:
            return
        try:
            score = float(self.run.clip(view))
            if not math.isfinite(score):
                raise Unscorable(f"not a number: {score}")
            self.clips.append(score)
        except Exception as error:
            self.reasons.append(f"clip {len(self.clips)} (frame {view.start_frame}): {_reason(error)}")
            self.clips.append(None)

    def result(self, timeline: Timeline) -> _Result:
        name = self.metric.name
        if self.run is None:
            return self.unreadable(self.reasons[0])
        try:
            found = self.run.finish(list(self.clips))
        except Exception as error:
            self.reasons.append(_reason(error))
            found = VideoValue(None, self.clips)
        drift, reasons = drift_of(found.clips, timeline, self.metric.ratio_drift)
        reasons |= found.errors
        if self.reasons or not _finite(found.value):
            reasons[""] = found.errors.get("") or self._summary()
        errors = {f"{name}.{part}" if part else name: why for part, why in reasons.items()}
        named = {f"{name}.{part}": number for part, number in (drift | found.extra).items()}
        return _Result(found.value, found.clips, named, errors, timeline.start_seconds)

    def unreadable(self, reason: str) -> _Result:
        return _Result(None, errors={self.metric.name: reason})

    def _summary(self) -> str:
        missing = sum(score is None for score in self.clips)
        if not self.reasons:
            return "no clip has a score"
        left_out = f"{missing} of {len(self.clips)} clips have no score and are left out; " if missing else ""
        return left_out + self.reasons[0]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, Unscorable) else f"{type(error).__name__}: {text}"


def _record(suite: type[Suite], digest: str, results: dict[str, _Result]) -> VideoScores:
    mine = {name: results[name] for name in suite.metrics}
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
        "av": version("av"),
        "opencv": version("opencv-python-headless"),
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }


def file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}; check that the video is there and readable") from error
