"""The interfaces of metrics and suites.

A metric receives a video as a stream of clips (2 s each, see clips.py) and never opens a file. `Metric` declares the
meaning of the number; `MetricRun` holds the state of one video. A value that cannot be computed raises `Unscorable`
with a reason, and is recorded as None with that reason, never as 0 or NaN. Frames are borrowed: keep features instead.

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
from longtake.platform import plugins
from longtake.platform.errors import ConfigError
from longtake.platform.registry import Registry
from longtake.platform.settings import config
from longtake.platform.settings.entries import read_entries

if TYPE_CHECKING:
    from longtake.evaluators.views import ClipView
    from longtake.platform.prompts import Switch
    from longtake.platform.takes import Take

Direction = Literal["higher", "lower"]
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-math.inf, math.inf)
METRIC, WEIGHTS = "metric.", "weights."
"""What keys of a record's `versions` start with that say which metric and which weights made it."""
CHOSEN = "metrics"
"""The suite whose metrics a sweep names itself, and the setting that names them."""


class Unscorable(Exception):
    """A clip or video has no value for a metric; the message is recorded as the reason."""


@dataclass(frozen=True)
class VideoContext:
    """Facts about a video before its first frame. `prompt` and the fields below it are known for takes only."""

    path: Path
    fps: float
    width: int
    height: int
    num_frames: int
    prompt: str | None = None
    seed: int | None = None
    prefix_frames: int = 0  # latent frames that are given, not generated
    latent_frames: int | None = None
    switches: tuple[Switch, ...] = ()  # texts that replace the prompt
    model_pool: ModelPool = field(default_factory=ModelPool)

    def of_take(self, take: Take) -> VideoContext:
        """With what the take knows of its video."""
        given, frames = take.prefix_frames, take.latent_frames
        known = replace(self, prompt=take.prompt, seed=take.seed, switches=take.switches)
        return replace(known, prefix_frames=given, latent_frames=frames)


@dataclass
class VideoValue:
    """The result of a metric on a video. `extra`: further named numbers, stored as '<metric>.<name>'."""

    value: float | None
    clips: list[float | None]
    extra: dict[str, float | None] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)  # key: '' for the value, or a name in `extra`


class MetricRun(ABC):
    """The state of a metric on one video: `clip` is called for each clip in order, then `finish` once."""

    @abstractmethod
    def clip(self, view: ClipView) -> float:
        """Score a clip: `view.frames` uint8 [n, H, W, 3], starting at `view.start_frame`. Raises Unscorable."""

    def finish(self, clips: list[float | None]) -> VideoValue:
        """Compute the value of the video from its clip scores (None for unscorable clips); default: their mean."""
        return VideoValue(mean_of(clips), clips)


class Metric(ABC):
    """A metric and its meaning. `still_value`: the score of a video of identical frames, if the formula fixes it."""

    name: ClassVar[str]
    unit: ClassVar[str]
    direction: ClassVar[Direction]
    deviations: ClassVar[str]  # differences from its source, or the metric that it replaces
    floor_of: ClassVar[str | None] = None  # the metric for which this one is the score by chance
    needs_take: ClassVar[bool] = False  # needs the prompt and seed of a take
    ranked: ClassVar[bool] = True
    bounds: ClassVar[Bounds] = UNBOUNDED  # the least and the greatest possible value, where intervals end
    still_value: ClassVar[float | None] = None
    sees_source: ClassVar[bool] = False  # gets the decoded frames under every protocol
    ratio_drift: ClassVar[bool] = False  # also report drift as last quarter / first quarter
    counts_events: ClassVar[bool] = False  # reported as a count below the table, without drift
    version: ClassVar[int] = 1  # increase it when the value of a video changes

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Whether the metric is defined for this video; if not, it is left out and does not count as missing."""
        return True

    def networks(self) -> Sequence[str]:
        """Names of the published networks that it runs, as in evaluators/models."""
        return ()

    def artefacts(self) -> list[str]:
        """The artefacts with the weights of its networks, each once."""
        names = self.networks()
        if not names:
            return []
        from longtake.evaluators.models.base import networks

        return list(dict.fromkeys(artefact for name in names for artefact in networks.get(name).artefacts))

    def cache_settings(self) -> dict[str, Any]:
        """The settings that the value depends on."""
        return {}

    @abstractmethod
    def open(self, ctx: VideoContext) -> MetricRun:
        """Start a run on a video. Raises Unscorable if videos of this kind have no value."""


def mean_of(values: list[float | None]) -> float | None:
    """Mean of the finite values; None if there are none. Missing is not zero."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(known) / len(known) if known else None


metrics: Registry[type[Metric]] = Registry("metric", "longtake.evaluators.metrics")


class Suite(ABC):
    """A set of metrics under one protocol. Tables never mix scores of two suites or of two protocols.

    A suite with settings is a frozen dataclass whose fields are the settings; `chosen_by`: the name of the setting that
    selects the metrics.
    """

    name: ClassVar[str]
    about: ClassVar[str]  # a note for readers of its tables
    headline: ClassVar[str] = ""  # the ranked metric in which verdicts are given; without one, in ranks
    chosen_by: ClassVar[str] = ""
    protocol: str
    metrics: Sequence[str]  # registered names

    def metric(self, key: str) -> Metric:
        """One of `metrics`, configured for this suite."""
        return metrics.get(key)()

    def all_metrics(self) -> dict[str, Metric]:
        """Registered name -> metric."""
        return {key: self.metric(key) for key in self.metrics}

    def settings(self) -> dict[str, Any]:
        """The settings that can change a score."""
        return {}

    def of_folders(self) -> list[str]:
        """Settings that only apply to a folder of videos, not to a sweep."""
        return []

    def variants(self) -> dict[str, Suite]:
        """Settings with more requirements than the default ones, by a name for `longtake doctor`."""
        return {}

    def official_names(self) -> list[str]:
        """The metrics that `official_results` can hold; none for a suite without an official format."""
        return []

    def official_results(self, videos: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
        """A folder report in the format of the official code of the metrics: metric -> [folder score, parts].
        `videos`: name -> entry of the report. A metric without any score is left out."""
        return {}

    def official_gaps(self, entry: Mapping[str, Any]) -> set[str]:
        """The metrics of a video's entry, from a report of an earlier release, that lack a number of the format."""
        return set()

    def networks(self) -> list[str]:
        """Published networks that its metrics run, each once."""
        return list(dict.fromkeys(name for metric in self.all_metrics().values() for name in metric.networks()))


suites: Registry[type[Suite]] = Registry("suite", "longtake.evaluators.suites")


@dataclass(frozen=True)
class SuiteEntry:
    """A suite in a sweep: its name, its settings, and the label of its scores.

    `weights`: artefact -> sha256 of the weights of its networks. `planned`: the stamp of the driver, in a worker.
    """

    name: str
    label: str
    params: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    planned: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without cached values: a worker computes the stamp of its own metrics, which `planned` must equal."""
        return SuiteEntry, (self.name, self.label, self.params, self.weights, self.planned or self.stamp)

    def open(self, where: str = "suites") -> Suite:
        """Build the suite. Raises ConfigError, starting with `where`, for an unknown name or setting."""
        kind = suite_kind(self.name)
        if self.params and not is_dataclass(kind):
            raise ConfigError(f"{where}.{self.label}: {self.name} has no settings; write only its name")
        suite = config.build(kind, self.params, f"{where}.{self.label}") if self.params else kind()
        if not suite.metrics:
            raise ConfigError(f"{where}.{self.label}: has no metrics; give {suite.chosen_by}=[NAME, ...]")
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
        """The part of a record's `versions` that must match for its scores to be current.

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
        """Former labels of this suite, under which a store may have its scores."""
        names = suites.names_of(self.name)
        return [name for name in names if name != self.label] if self.label in names else []


def suite_kind(name: str) -> type[Suite]:
    """The suite called `name`. Raises ConfigError, which shows the entry to write if it is a metric's name."""
    try:
        return suites.get(name)
    except ConfigError as error:
        if name not in metrics.names():
            raise
        form = f"{{{CHOSEN}: [{name}], as: LABEL}}"
        raise ConfigError(f"unknown suite {name!r}: that is a metric; write {form}") from error


def suite_entries(entries: list[Any]) -> list[SuiteEntry]:
    """Parse the list `suites` of a sweep file. Raises ConfigError for a bad entry or a duplicate label."""
    spelled = [with_chosen_metrics(f"suites[{i}]", entry) for i, entry in enumerate(entries)]
    return [SuiteEntry(*parts) for parts in read_entries("suites", spelled, "suite")]


def with_chosen_metrics(key: str, entry: Any) -> Any:
    """Convert `{metrics: [NAME, ...], as: LABEL}` to the form of other suites with settings."""
    named = entry.get(CHOSEN) if isinstance(entry, dict) else None
    if isinstance(named, str):
        form = f"{{{CHOSEN}: [{named}], as: {entry.get('as', 'LABEL')}}}"
        raise ConfigError(f"{key}: {CHOSEN} needs a list: {form}")
    if not isinstance(named, list):
        return entry
    if "as" not in entry:
        raise ConfigError(f"{key}: chosen metrics need a label; write {{{CHOSEN}: [NAME, ...], as: LABEL}}")
    return entry | {CHOSEN: {CHOSEN: named}}


def weights_stamp(weights: Mapping[str, str]) -> dict[str, str]:
    return {f"{WEIGHTS}{artefact}": digest for artefact, digest in sorted(weights.items())}


def bounds_of(entry: SuiteEntry) -> dict[str, Bounds]:
    """The least and the greatest possible value of every metric of a suite."""
    return {metric.name: metric.bounds for metric in entry.metrics.values()}


def directions(entry: SuiteEntry) -> dict[str, Direction]:
    """The direction of every ranked metric of a suite."""
    return {metric.name: metric.direction for metric in entry.metrics.values() if metric.ranked}
