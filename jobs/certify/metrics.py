"""The contract of a metric: clips of small videos made in memory, as the scorer shows them.

Frames are uint8 RGB [n, H, W, 3].
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from pathlib import Path

import numpy as np

from longtake.evaluators.base import MetricRun, Unscorable, VideoContext, VideoValue, metrics
from longtake.evaluators.clips import clip_frames, iter_clips
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.views import ClipView, Frames, set_one_thread
from longtake.jobs.certify.check import DECLARATION, PROMPT, Broken, Checks, disturb, named, require
from longtake.platform.errors import ConfigError
from longtake.platform.names import check_name

METRIC_CHECKS: Checks = {}
check = partial(named, METRIC_CHECKS)
PATH = Path("made-in-memory.mp4")
FEATURES_BYTES = 16 << 10
"""What a run may keep of a clip."""


def textured(frames: int = 84) -> Frames:
    """A random picture of 40 x 48 that pans 1 px a frame, so that nothing is flat and everything moves."""
    coarse = np.random.default_rng(7).integers(0, 256, (10, 40, 3), dtype=np.uint8)
    wide = np.kron(coarse, np.ones((4, 4, 1), dtype=np.uint8))
    return np.stack([wide[:, i : i + 48] for i in range(frames)])


class MetricSubject:
    """A registered metric, with the networks of a pool."""

    def __init__(self, name: str, pool: ModelPool | None = None):
        self.name, self.kind, self.pool = name, metrics.get(name), pool or ModelPool()
        set_one_thread()

    def open(self, frames: int, height: int, width: int, fps: float = 16.0) -> MetricRun:
        """A run on a video of this size, as a take of the pocket world."""
        latent = 1 + (frames - 1) // 4
        return self.kind().open(
            VideoContext(PATH, fps, width, height, frames, PROMPT, 0, 0, latent, model_pool=self.pool)
        )

    def run(self, frames: Frames, fps: float = 16.0, batch: int = 16) -> VideoValue:
        """The value of a video that is decoded so many frames at a time; raises what the metric raises."""
        run = self.open(len(frames), frames.shape[1], frames.shape[2], fps)
        return run.finish([run.clip(view) for view in views(frames, fps, batch)])

    def outcome(self, play: Callable[[], VideoValue]) -> object:
        """The value, or the reason why there is none. Raises Broken for numbers that are not finite."""
        try:
            found = play()
        except Unscorable as reason:
            require(str(reason), "raises Unscorable without a reason")
            return str(reason)
        values = [("value", found.value), *(("a clip", clip) for clip in found.clips), *found.extra.items()]
        for name, number in values:
            require(number is None or isfinite(number), f"{name} is {number}; raise Unscorable with the reason")
        return found


def views(frames: Frames, fps: float = 16.0, batch: int = 16) -> Iterator[ClipView]:
    parts = (frames[start : start + batch] for start in range(0, len(frames), batch))
    return iter_clips(parts, fps, clip_frames(fps, frames.shape[2], frames.shape[1], PATH), PATH)


@check(DECLARATION)
def declared(subject: MetricSubject) -> str:
    kind = subject.kind
    try:
        for part in subject.name.split("/", 1):  # a suite's prefix, as in vbench/imaging_quality, and the name
            check_name("registered name", part)
    except ConfigError as error:
        raise Broken(str(error)) from error
    plain = subject.name.rpartition("/")[2]
    require(kind.name == plain, f"name = {kind.name!r}, registered as {subject.name!r}")
    require(kind.direction in ("higher", "lower"), f"direction = {kind.direction!r}; write higher or lower")
    require(kind.unit and kind.deviations, "unit and deviations say what the number is; one is empty")
    if kind.floor_of is not None:
        require(metrics.get(kind.floor_of).unit == kind.unit, f"has another unit than {kind.floor_of}, its metric")
        require(not kind.ranked, "a floor is shown beside its metric and is not ranked; set ranked = False")
    kind()
    return f"{kind.direction} is better, {kind.unit}"


@check("identical frames")
def identical(subject: MetricSubject) -> str:
    """72 frames are two clips and a remainder; all show the same, so all score the same."""
    if subject.kind.needs_take:
        return "of takes only"
    found, ideal = subject.run(np.repeat(textured(1), 72, axis=0)), subject.kind.still_value
    close = all(clip is not None and abs(clip - (found.clips[0] or 0)) <= 1e-6 for clip in found.clips)
    require(len(found.clips) == 3 and close, f"clips that are the same score {found.clips}")
    if ideal is None:
        return f"{found.value}, still_value is not stated"
    require(found.value is not None and abs(found.value - ideal) <= 1e-6, f"{found.value}, still_value is {ideal}")
    return f"{ideal}"


@check("finite or a reason")
def finite(subject: MetricSubject) -> str:
    """Flat, noisy and short videos, down to one frame: a finite number, or Unscorable."""
    noise = np.random.default_rng(5).integers(0, 256, (33, 24, 24, 3), dtype=np.uint8)
    flat = [np.full((64, 24, 24, 3), level, dtype=np.uint8) for level in (0, 128, 255)]
    found = [subject.outcome(partial(subject.run, video)) for video in (*flat, noise, *(noise[:n] for n in (1, 2, 3)))]
    return (
        f"{sum(isinstance(one, VideoValue) for one in found)} of {len(found)} flat, noisy and short videos have a value"
    )


@check("same again")
def again(subject: MetricSubject) -> str:
    """The same video scores the same, bit by bit, however it is decoded and whatever else draws random numbers."""
    found = []
    for batch in (84, 1, 7):
        disturb(batch)
        found.append(subject.outcome(partial(subject.run, textured(), batch=batch)))
    require(found[0] == found[1] == found[2], f"{found[0]}, then {found[1]}; fix the seed of what is drawn")
    return "bit by bit, decoded 84, 1 or 7 frames at a time"


@check("other videos")
def others(subject: MetricSubject) -> str:
    """A video that is scored before or meanwhile changes nothing: state belongs to the run."""
    one, other = textured(), textured()[::-1].copy()
    alone = [subject.outcome(partial(subject.run, video)) for video in (one, other)]

    def together() -> list[VideoValue]:
        runs, clips = [subject.open(84, 40, 48) for _ in range(2)], []
        for pair in zip(views(one), views(other), strict=True):
            clips.append([run.clip(view) for run, view in zip(runs, pair, strict=True)])
        return [run.finish(list(scores)) for run, scores in zip(runs, zip(*clips, strict=True), strict=True)]

    try:
        require(together() == alone, "the value depends on the videos that are scored before or meanwhile")
    except Unscorable as reason:
        require(str(reason) in alone, f"Unscorable beside another video: {reason}")
    return "two videos clip by clip: as alone"


@check("lent frames")
def lent(subject: MetricSubject) -> str:
    """Frames are overwritten after the clip, so a run keeps none; other metrics see them, so it changes none."""

    def scrambled() -> VideoValue:
        run, clips = subject.open(84, 40, 48), list[float | None]()
        for view in views(textured()):
            buffer = view.frames.copy()
            shown = ClipView(buffer, view.start_frame, view.fps, view.overlaps, view.shared)
            small = shown.small_NHWC.copy()
            clips.append(run.clip(shown))
            kept = np.array_equal(buffer, view.frames) and np.array_equal(shown.small_NHWC, small)
            require(kept, "changes the frames, which other metrics see too; work on a copy")
            buffer[:] = 255 - buffer
        return run.finish(clips)

    whole = subject.outcome(partial(subject.run, textured()))
    require(
        subject.outcome(scrambled) == whole, "the value depends on frames of an earlier clip; keep features, not frames"
    )
    return "none kept, none changed"


@check("memory")
def memory(subject: MetricSubject) -> str:
    """What a run holds grows by features alone, not by frames."""
    if subject.kind.needs_take:
        return "of takes only"
    noise = np.random.default_rng(4).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    subject.run(np.concatenate([noise, noise]), fps=2.0)  # caches of libraries are paid here

    def held(clips: int) -> int:
        run = subject.open(4 * clips, 64, 64, 2.0)
        tracemalloc.start()
        for view in iter_clips((noise for _ in range(clips)), 2.0, 4, PATH):
            run.clip(view)
        del view
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    grown = (held(22) - held(2)) / 20
    require(
        grown < FEATURES_BYTES, f"holds {grown:.0f} bytes more after each clip; at most {FEATURES_BYTES} are features"
    )
    return f"{max(0, round(grown))} bytes a clip"
