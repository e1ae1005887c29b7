"""What of a record of scores is current, metric by metric, so that a metric that changes is all that is computed again.

A metric in a record is current while its registered name and version, the protocol and settings of its suite and the
weights of its networks are those of today. Other libraries or another device leave a whole record current, but what is
added to a record must be computed with the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

from longtake.evaluators.base import METRIC, WEIGHTS, Metric, SuiteEntry, VideoContext, suites
from longtake.evaluators.scoring.metric_runner import Result
from longtake.platform.store.records import VideoScores

Context = Callable[[], VideoContext]


class Record(Protocol):
    """What decides whether a record of scores is current: VideoScores, or the head of one. `metrics`: by name."""

    @property
    def protocol(self) -> str: ...

    @property
    def metrics(self) -> Mapping[str, Any]: ...

    @property
    def versions(self) -> Mapping[str, str]: ...


Kept = Mapping[str, Result | None]
"""Metric -> its result in an earlier record; None for a metric that does not apply to the video."""


def is_current(scores: Record, entry: SuiteEntry, ctx: Context) -> bool:
    """Whether a record has current results of exactly the metrics of the suite."""
    names = {metric.name for metric in entry.metrics.values()}
    return scores.metrics.keys() <= names and len(current_metrics(scores, entry, ctx)) == len(names)


def kept(scores: VideoScores, entry: SuiteEntry, ctx: Context, device: str) -> Kept:
    """The results in a record that are current, with the installed libraries and this kind of device."""
    from longtake.evaluators.scoring.versions import libraries

    metrics = current_metrics(scores, entry, ctx)
    alike = [m for m in metrics if libraries(m.networks(), device).items() <= scores.versions.items()]
    return {m.name: result_in(scores, m.name) if m.name in scores.metrics else None for m in alike}


def current_metrics(scores: Record, entry: SuiteEntry, ctx: Context) -> list[Metric]:
    """The suite's metrics that are current in a record, including those that do not apply to its video."""
    today, versions = entry.stamp, in_present_form(scores, entry, ctx)
    if scores.protocol != entry.suite.protocol or versions.get("settings") != today.get("settings"):
        return []

    def is_same(metric: Metric) -> bool:
        weights = metric.artefacts() if entry.weights else []
        keys = [f"{METRIC}{metric.name}", *(f"{WEIGHTS}{artefact}" for artefact in weights)]
        return all(versions.get(key) == today.get(key) for key in keys)

    return [metric for metric in entry.metrics.values() if is_same(metric)]


def in_present_form(scores: Record, entry: SuiteEntry, ctx: Context) -> Mapping[str, str]:
    """The versions of a record. In records from before metrics had versions, each metric has version 1."""
    versions = scores.versions
    of_suite = versions.get("suite") in [f"{name}-1" for name in suites.names_of(entry.name)]
    if not of_suite or any(key.startswith(METRIC) for key in versions):
        return versions
    context = cache(ctx)
    metrics = [(key, metric) for key, metric in entry.metrics.items()
               if metric.name in scores.metrics or not metric.applies(context())]  # fmt: skip
    return {**versions, **{f"{METRIC}{metric.name}": f"{key}-1" for key, metric in metrics}}


def result_in(scores: VideoScores, name: str) -> Result:
    drift = {key: value for key, value in scores.drift.items() if is_of(key, name)}
    errors = {key: reason for key, reason in scores.errors.items() if is_of(key, name)}
    return Result(scores.metrics[name], scores.clips.get(name, []), drift, errors, scores.seconds.get(name, []))


def is_of(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")
