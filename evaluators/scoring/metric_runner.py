"""Runs one metric on one video and turns failures into None with a reason.

This is the only place that enforces, for all metrics, that a missing number is never 0 or NaN. A metric that raises, or
returns a number that is not finite, loses only that clip or value.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, VideoValue
from longtake.evaluators.drift import Timeline, drift_of
from longtake.evaluators.views import ClipView
from longtake.platform.errors import ConfigError, SetupError, WeightsError, brief
from longtake.platform.store.json_records import from_json

MACHINES = ("MemoryError", "OutOfMemoryError", "AcceleratorError")  # the latter two are torch's
TELLING = re.compile(
    r"cuda|cudnn|cublas|nvidia|out of memory|alloc(ate)? ?memory|not enough memory|can't allocate", re.I
)
"""Matches messages of device and memory errors that have no exception type of their own."""


@dataclass
class Result:
    value: float | None
    clips: list[float | None] = field(default_factory=list)
    drift: dict[str, float | None] = field(default_factory=dict)  # full names
    errors: dict[str, str] = field(default_factory=dict)  # full names
    seconds: list[float] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the value and every clip have a score; others are computed again."""
        return self.value is not None and None not in self.clips

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, data: Any) -> Result | None:
        """The inverse of to_json; None for anything else."""
        try:
            return from_json(cls, data, exact=True)
        except ValueError:
            return None


@dataclass
class MetricRunner:
    """Runs one metric on one video; failures become None with a reason. Errors that the video did not cause (missing
    weights or packages, out of memory, GPU errors) are raised."""

    metric: Metric
    run: MetricRun | None = None
    clips: list[float | None] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def open(self, ctx: VideoContext) -> None:
        if self.metric.needs_take and ctx.prompt is None:
            self.reasons.append("needs the take's prompt and seed, which a plain video file does not have")
            return
        try:
            self.run = self.metric.open(ctx)
        except Exception as error:
            if is_machines(error):
                raise
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
            if is_machines(error):
                raise
            self.lost(view, error)

    def lost(self, view: ClipView, error: Exception) -> None:
        """Record a clip that could not be passed to the metric."""
        if self.run is not None:
            self.reasons.append(f"clip {len(self.clips)} (frame {view.start_frame}): {_reason(error)}")
            self.clips.append(None)

    def result(self, timeline: Timeline) -> Result:
        name = self.metric.name
        if self.run is None:
            return self.unreadable(self.reasons[0])
        try:
            outcome = self.run.finish(list(self.clips))
        except Exception as error:
            if is_machines(error):
                raise
            self.reasons.append(_reason(error))
            outcome = VideoValue(None, self.clips)
        drift, reasons = drift_of(outcome.clips, timeline, self.metric.ratio_drift)
        reasons |= outcome.errors
        if self.reasons or not _finite(outcome.value):
            reasons[""] = outcome.errors.get("") or self._summary()
        errors = {f"{name}.{part}" if part else name: why for part, why in reasons.items()}
        named = {f"{name}.{part}": number for part, number in (drift | outcome.extra).items()}
        return Result(outcome.value, outcome.clips, named, errors, timeline.start_seconds)

    def unreadable(self, reason: str) -> Result:
        return Result(None, errors={self.metric.name: reason})

    def _summary(self) -> str:
        missing = sum(score is None for score in self.clips)
        if not self.reasons:
            return "no clip has a score"
        left_out = f"{missing} of {len(self.clips)} clips have no score and are left out; " if missing else ""
        return left_out + self.reasons[0]


def is_machines(error: Exception) -> bool:
    """Whether the machine caused the error, so that another attempt may succeed."""
    if isinstance(error, WeightsError | ConfigError | SetupError) or type(error).__name__ in MACHINES:
        return True
    return isinstance(error, RuntimeError | AssertionError) and TELLING.search(str(error)) is not None


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _reason(error: Exception) -> str:
    text = brief(error)
    return text if isinstance(error, Unscorable) else f"{type(error).__name__}: {text}"
