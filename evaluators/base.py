"""What a metric is.

A metric sees a video as a stream of clips (2 s each, see clips.py) and never opens a file. `Metric` declares what the
number means; `MetricRun` holds the state of one video. A number that cannot be computed is `Unscorable` with a reason:
it becomes None beside that reason, never 0 and never NaN. Frames are lent: a run keeps features, not frames.

Shapes: `frames_NHWC` is uint8 RGB [n, H, W, 3].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from longtake.platform.registry import Registry

if TYPE_CHECKING:
    from longtake.evaluators.views import ClipView

Direction = Literal["higher", "lower"]


class Unscorable(Exception):
    """This clip or video has no value for this metric; the message is the reason that the record keeps."""


@dataclass(frozen=True)
class VideoContext:
    """What is known of a video before its first frame. `prompt` and what follows are known for takes only."""

    path: Path
    fps: float
    width: int
    height: int
    num_frames: int
    prompt: str | None = None
    seed: int | None = None
    start_frames: int = 0  # latent frames that were given, not generated
    latent_frames: int | None = None


@dataclass
class VideoValue:
    """The result of one metric on one video. `extra` holds further named numbers, stored as '<metric>.<name>'."""

    value: float | None
    clips: list[float | None]
    extra: dict[str, float | None] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)  # '' is the value itself, else a name in `extra`


class MetricRun(ABC):
    """One metric on one video: `clip` once per clip in order, then `finish` once."""

    @abstractmethod
    def clip(self, view: ClipView) -> float:
        """Score one clip. `view.frames` is uint8 [n, H, W, 3], `view.start_frame` its place; raises Unscorable."""

    def finish(self, clips: list[float | None]) -> VideoValue:
        """From the clip scores (None where a clip could not be scored) to the video: by default their mean."""
        return VideoValue(mean_of(clips), clips)


class Metric(ABC):
    """What the number means. `still_value`: what a video of identical frames scores, where the formula fixes it."""

    name: ClassVar[str]
    unit: ClassVar[str]
    direction: ClassVar[Direction]
    departs: ClassVar[str]  # where it differs from its source, or what it stands in for
    floor_of: ClassVar[str | None] = None  # this metric is what chance alone gives for that one
    needs_take: ClassVar[bool] = False  # cannot be computed without prompt and seed
    ranked: ClassVar[bool] = True
    still_value: ClassVar[float | None] = None
    ratio_drift: ClassVar[bool] = False  # drift is also told as last quarter / first quarter

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Whether the question makes sense for this video; where it does not, the metric is left out, not failed."""
        return True

    @abstractmethod
    def open(self, ctx: VideoContext) -> MetricRun:
        """Start on one video; raises Unscorable when this kind of video has no value at all."""


def mean_of(values: list[float | None]) -> float | None:
    """Mean of the values that exist; None when there is none. Missing is not zero."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(known) / len(known) if known else None


metrics: Registry[type[Metric]] = Registry("metric", "longtake.evaluators.metrics")


class Suite(ABC):
    """A set of metrics under one protocol. Scores of two suites, or of two protocols, never meet in one table."""

    name: ClassVar[str]
    label: ClassVar[str]  # what a reader of a table must know
    protocol: ClassVar[str]
    version: ClassVar[int]  # raised whenever a number of this suite can change
    metrics: ClassVar[tuple[str, ...]]


suites: Registry[type[Suite]] = Registry("suite", "longtake.evaluators.suites")


def directions(suite: str) -> dict[str, Direction]:
    """Which way is better, for the metrics of a suite that take part in ranks."""
    chosen = [metrics.get(name) for name in suites.get(suite).metrics]
    return {m.name: m.direction for m in chosen if m.ranked}
