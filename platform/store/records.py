"""Records that are sent between processes and stored as JSON, with units in their names.

Owns their fields and the rule for missing numbers: a score that could not be computed is None with a reason in
`errors`, never NaN or 0. Knows no paths, reads and writes nothing (`json_records.py` reads them).
"""

import math
from dataclasses import dataclass, field, fields
from datetime import datetime
from textwrap import shorten
from typing import Any

from longtake.platform.errors import masked
from longtake.platform.store.json_records import are_finite


@dataclass(frozen=True)
class TakeResult:
    """result.json: a take is done if and only if this record exists and matches the video beside it.

    timings: seconds per stage. One thread has load, generate and wait (for the other two threads); decode and encode
    have a thread each; wall is the total. attended_frames: the frames' worth of tokens that a block attended, its own
    included, mean over layers, heads and the second half of the blocks; 0 in files of earlier versions. loaded: the
    fingerprint of what the worker generated with, which was that of the take; empty in records of earlier versions.
    worker: 'host:pid' that made the video. made_at: when it was complete, in ISO 8601 and UTC; '' in files of earlier
    versions.
    """

    take_id: str
    video_sha256: str
    video_bytes: int
    num_frames: int
    fps: float
    width: int
    height: int
    timings: dict[str, float] = field(default_factory=dict)
    bank_bytes: int = 0
    peak_rss_bytes: int = 0
    trace_rows: int = 0
    attended_frames: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)
    worker: str = ""
    made_at: str = ""

    @property
    def made_time(self) -> datetime | None:
        """made_at as a time; None if it is not known."""
        return time_of(self.made_at)

    def to_json(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class VideoScores:
    """scores/<suite>.json: the scores of one video under one suite.

    metrics and drift: None means no score, with the reason in errors. clips: metric -> score per clip;
    seconds: metric -> start of each clip in seconds; parts, if the prompt changes: metric -> which of its texts each
    clip belongs to, from 0. Non-finite numbers given here become None with a reason, and
    secrets in errors are masked.
    """

    suite: str
    protocol: str
    video_sha256: str
    metrics: dict[str, float | None] = field(default_factory=dict)
    drift: dict[str, float | None] = field(default_factory=dict)
    clips: dict[str, list[float | None]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    parts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        errors = dict(self.errors)
        for scores in (self.metrics, self.drift):
            for name, value in scores.items():
                if not _is_finite(value):
                    errors.setdefault(name, "no reason was given" if value is None else f"not a number: {value}")
        object.__setattr__(self, "errors", {name: masked(why) for name, why in errors.items()})
        object.__setattr__(self, "metrics", {name: _finite(v) for name, v in self.metrics.items()})
        object.__setattr__(self, "drift", {name: _finite(v) for name, v in self.drift.items()})
        object.__setattr__(self, "clips", {name: _finite_row(row) for name, row in self.clips.items()})

    def to_json(self) -> dict[str, Any]:
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data if self.parts else {name: value for name, value in data.items() if name != "parts"}


MAKING, SCORING = "making", "scoring"
DEATHS = ("WorkerDied: ", "WorkerStalled: ")
BRIEF_CHARS = 300


@dataclass(frozen=True)
class Failure:
    """A line of failures.jsonl: the stage of a failed attempt, and its reason in one line.

    died: its worker died, which is counted apart. set_aside: the death after which the take was set aside.
    The stored reason of a scoring failure begins with 'scoring: '. Files of earlier versions have no other stage, and
    no `died`: there, the reason begins with the type of the error.
    """

    stage: str
    reason: str
    died: bool = False
    set_aside: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", masked(self.reason))  # a plug-in's error may hold the address of a server

    def __str__(self) -> str:
        return f"{SCORING}: {self.reason}" if self.stage == SCORING else self.reason

    @property
    def brief(self) -> str:
        """The beginning of the reason, for messages."""
        return shorten(str(self), BRIEF_CHARS, placeholder=" ...")

    def to_json(self) -> dict[str, Any]:
        flags = {name: True for name in ("died", "set_aside") if getattr(self, name)}
        return {"stage": self.stage, "reason": str(self), **flags}


@dataclass(frozen=True)
class FailureRow:
    """A line of failures.jsonl as it is stored."""

    reason: str
    stage: str | None = None
    died: bool | None = None
    set_aside: bool = False
    at: str = ""

    @property
    def failure(self) -> Failure:
        stage = self.stage or (SCORING if self.reason.startswith(f"{SCORING}: ") else MAKING)
        reason = self.reason.removeprefix(f"{SCORING}: ") if stage == SCORING else self.reason
        died = reason.startswith(DEATHS) if self.died is None else self.died
        return Failure(stage, reason, died, self.set_aside)


@dataclass(frozen=True)
class Progress:
    """The fields of progress.json that readers use; it has more, which only the page shows."""

    total: int | None = None
    made: int | None = None
    scored: int | None = None
    failed: int | None = None
    running: list[dict[str, Any]] = field(default_factory=list)
    updated_at: str | None = None


def time_of(text: str) -> datetime | None:
    """The time with its zone that a text begins with; None for any other text."""
    try:
        time = datetime.fromisoformat(text.partition(" ")[0])
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _finite_row(row: list[float | None]) -> list[float | None]:
    return list(row) if are_finite(row) else [_finite(value) for value in row]
