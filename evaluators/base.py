"""What a metric is.

A metric sees a video as a stream of clips (2 s each, see clips.py) and never opens a file. `Metric` declares what the
number means; `MetricRun` holds the state of one video. A number that cannot be computed is `Unscorable` with a reason:
it becomes None beside that reason, never 0 and never NaN. Frames are lent: a run keeps features, not frames.

Shapes: `frames_NHWC` is uint8 RGB [n, H, W, 3].
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from longtake.evaluators.model_pool import ModelPool
from longtake.platform import config
from longtake.platform.entries import read_entries
from longtake.platform.errors import ConfigError
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
    prefix_frames: int = 0  # latent frames that were given, not generated
    latent_frames: int | None = None
    model_pool: ModelPool = field(default_factory=ModelPool)


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
    deviations: ClassVar[str]  # where it differs from its source, or what it stands in for
    floor_of: ClassVar[str | None] = None  # this metric is what chance alone gives for that one
    needs_take: ClassVar[bool] = False  # cannot be computed without prompt and seed
    ranked: ClassVar[bool] = True
    still_value: ClassVar[float | None] = None
    sees_source: ClassVar[bool] = False  # is shown the decoded frames under every protocol
    ratio_drift: ClassVar[bool] = False  # drift is also told as last quarter / first quarter

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Whether the question makes sense for this video; where it does not, the metric is left out, not failed."""
        return True

    def networks(self) -> Sequence[str]:
        """Published networks that it runs, by their names in evaluators/models."""
        return ()

    def cache_settings(self) -> dict[str, Any]:
        """The settings that its number depends on."""
        return {}

    @abstractmethod
    def open(self, ctx: VideoContext) -> MetricRun:
        """Start on one video; raises Unscorable when this kind of video has no value at all."""


def mean_of(values: list[float | None]) -> float | None:
    """Mean of the values that exist; None when there is none. Missing is not zero."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(known) / len(known) if known else None


metrics: Registry[type[Metric]] = Registry("metric", "longtake.evaluators.metrics")


class Suite(ABC):
    """A set of metrics under one protocol. Scores of two suites, or of two protocols, never meet in one table.

    A suite that can be set differently is a frozen dataclass whose fields are its settings.
    """

    name: ClassVar[str]
    about: ClassVar[str]  # what a reader of a table must know
    version: ClassVar[int]  # raised whenever a number of this suite can change
    protocol: str
    metrics: Sequence[str]  # as registered

    def metric(self, key: str) -> Metric:
        """One of `metrics`, as this suite wants it."""
        return metrics.get(key)()

    def settings(self) -> dict[str, Any]:
        """What was chosen that can change a number."""
        return {}

    def of_folders(self) -> list[str]:
        """Settings that speak of a folder of videos, and mean nothing in a sweep."""
        return []

    def networks(self) -> list[str]:
        """Published networks that its metrics run, each once."""
        return list(dict.fromkeys(name for key in self.metrics for name in self.metric(key).networks()))


suites: Registry[type[Suite]] = Registry("suite", "longtake.evaluators.suites")


@dataclass(frozen=True)
class SuiteEntry:
    """A suite as a sweep names it, its settings, and the label that its scores go by.

    `weights`: artefact -> sha256 of what its networks are filled with.
    """

    name: str
    label: str
    params: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def open(self, where: str = "suites") -> Suite:
        """Raises ConfigError, which starts with `where`, for an unknown name or setting."""
        kind = suites.get(self.name)
        if not self.params:
            return kind()
        if not is_dataclass(kind):
            raise ConfigError(f"{where}.{self.label}: {self.name} has no settings; write its name alone")
        return config.build(kind, self.params, f"{where}.{self.label}")

    @cached_property
    def stamp(self) -> dict[str, str]:
        """What a score must have been made with to count as this suite's: part of its `versions`."""
        suite = self.open()
        chosen = {"settings": json.dumps(settings, sort_keys=True)} if (settings := suite.settings()) else {}
        return {"suite": f"{suite.name}-{suite.version}", **chosen} | weights_stamp(self.weights)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "label": self.label, "params": dict(self.params), "weights": dict(self.weights)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SuiteEntry:
        return cls(data["name"], data["label"], data["params"], data["weights"])


def suite_entries(entries: list[Any]) -> list[SuiteEntry]:
    """The list `suites` of a sweep file. Raises ConfigError for a bad entry, or for two with one label."""
    return [SuiteEntry(*parts) for parts in read_entries("suites", entries, "suite")]


def weights_stamp(weights: Mapping[str, str]) -> dict[str, str]:
    return {f"weights.{artefact}": digest for artefact, digest in sorted(weights.items())}


def directions(entry: SuiteEntry) -> dict[str, Direction]:
    """Which way is better, for the metrics of a suite that take part in ranks."""
    suite = entry.open()
    chosen = [suite.metric(key) for key in suite.metrics]
    return {m.name: m.direction for m in chosen if m.ranked}
