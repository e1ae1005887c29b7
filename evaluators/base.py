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
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from longtake.evaluators.model_pool import ModelPool
from longtake.platform import config, plugins
from longtake.platform.entries import read_entries
from longtake.platform.errors import ConfigError
from longtake.platform.registry import Registry

if TYPE_CHECKING:
    from longtake.evaluators.views import ClipView
    from longtake.platform.takes import Take

Direction = Literal["higher", "lower"]
METRIC, WEIGHTS = "metric.", "weights."
"""What keys of a record's `versions` start with that say which metric and which weights made it."""
CHOSEN = "metrics"
"""The suite whose metrics a sweep names itself, and the setting that names them."""


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

    def of_take(self, take: Take) -> VideoContext:
        """With what the take knows of its video."""
        given, frames = take.prefix_frames, take.latent_frames
        return replace(self, prompt=take.prompt, seed=take.seed, prefix_frames=given, latent_frames=frames)


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
    counts_events: ClassVar[bool] = False  # reported as a count below the table; its drift means nothing
    version: ClassVar[int] = 1  # raised when the same video would get another number

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Whether the question makes sense for this video; where it does not, the metric is left out, not failed."""
        return True

    def networks(self) -> Sequence[str]:
        """Published networks that it runs, by their names in evaluators/models."""
        return ()

    def artefacts(self) -> list[str]:
        """The published weights that its networks are filled with, each once."""
        names = self.networks()
        if not names:
            return []
        from longtake.evaluators.models.base import networks

        return list(dict.fromkeys(artefact for name in names for artefact in networks.get(name).artefacts))

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

    A suite that can be set differently is a frozen dataclass whose fields are its settings; `chosen_by` names the one
    that says which metrics to score.
    """

    name: ClassVar[str]
    about: ClassVar[str]  # what a reader of a table must know
    chosen_by: ClassVar[str] = ""
    protocol: str
    metrics: Sequence[str]  # as registered

    def metric(self, key: str) -> Metric:
        """One of `metrics`, as this suite wants it."""
        return metrics.get(key)()

    def all_metrics(self) -> dict[str, Metric]:
        """Registered name -> metric."""
        return {key: self.metric(key) for key in self.metrics}

    def settings(self) -> dict[str, Any]:
        """What was chosen that can change a number."""
        return {}

    def of_folders(self) -> list[str]:
        """Settings that speak of a folder of videos, and mean nothing in a sweep."""
        return []

    def variants(self) -> dict[str, Suite]:
        """Other settings that need more than the default ones, by a name for `longtake doctor`."""
        return {}

    def official_results(self, videos: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
        """A folder's report in the form of the code that published the metrics: metric -> [mean of the folder, parts].
        `videos`: name -> entry of the report. Empty for a suite without such a form."""
        return {}

    def networks(self) -> list[str]:
        """Published networks that its metrics run, each once."""
        return list(dict.fromkeys(name for metric in self.all_metrics().values() for name in metric.networks()))


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what is cached: a worker stamps scores with the versions of its own metrics."""
        return SuiteEntry, (self.name, self.label, self.params, self.weights)

    def open(self, where: str = "suites") -> Suite:
        """Raises ConfigError, which starts with `where`, for an unknown name or setting."""
        kind = suites.get(self.name)
        if self.params and not is_dataclass(kind):
            raise ConfigError(f"{where}.{self.label}: {self.name} has no settings; write its name alone")
        suite = config.build(kind, self.params, f"{where}.{self.label}") if self.params else kind()
        if not suite.metrics:
            raise ConfigError(f"{where}.{self.label}: names no metric; give {suite.chosen_by}=[NAME, ...]")
        return suite

    @cached_property
    def suite(self) -> Suite:
        return self.open()

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """The suite's metrics, by registered name."""
        return self.suite.all_metrics()

    @cached_property
    def stamp(self) -> dict[str, str]:
        """What a record of scores must have been made with to be current: part of its `versions`.

        `metric.<name>`: the metric's registered name and version, and the hash of its plug-in. `suite`: the name and
        -1, as when suites had versions, so that tables of older stores keep their bytes.
        """
        chosen = {"settings": json.dumps(settings, sort_keys=True)} if (settings := self.suite.settings()) else {}
        versions = {
            f"{METRIC}{metric.name}": f"{key}-{metric.version}{plugins.mark(type(metric))}"
            for key, metric in self.metrics.items()
        }
        return {"suite": f"{self.name}-1", **chosen, **versions} | weights_stamp(self.weights)

    @cached_property
    def former_labels(self) -> list[str]:
        """Labels under which the store may have scores of this suite from when it had another name."""
        names = suites.names_of(self.name)
        return [name for name in names if name != self.label] if self.label in names else []


def suite_entries(entries: list[Any]) -> list[SuiteEntry]:
    """The list `suites` of a sweep file. Raises ConfigError for a bad entry, or for two with one label."""
    spelled = [with_chosen_metrics(f"suites[{i}]", entry) for i, entry in enumerate(entries)]
    return [SuiteEntry(*parts) for parts in read_entries("suites", spelled, "suite")]


def with_chosen_metrics(key: str, entry: Any) -> Any:
    """`{metrics: [NAME, ...], as: LABEL}` in the form of other suites with settings."""
    if not isinstance(entry, dict) or not isinstance(named := entry.get(CHOSEN), list):
        return entry
    if "as" not in entry:
        raise ConfigError(f"{key}: chosen metrics need a label; write {{{CHOSEN}: [NAME, ...], as: LABEL}}")
    return entry | {CHOSEN: {CHOSEN: named}}


def weights_stamp(weights: Mapping[str, str]) -> dict[str, str]:
    return {f"{WEIGHTS}{artefact}": digest for artefact, digest in sorted(weights.items())}


def directions(entry: SuiteEntry) -> dict[str, Direction]:
    """Which way is better, for the metrics of a suite that take part in ranks."""
    return {metric.name: metric.direction for metric in entry.metrics.values() if metric.ranked}
