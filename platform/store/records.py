"""The records that cross process borders and lie in the store as JSON, with units in their names.

Owns their fields and the one rule of missing numbers: a score that could not be computed is None with a reason in
`errors`, never NaN and never 0. Knows no path and writes nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

R = TypeVar("R")

_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "dict": (dict,)}


@dataclass(frozen=True)
class TakeResult:
    """result.json: a take is done exactly when this record exists and matches the video beside it.

    timings: seconds per stage. One thread spends load, generate and wait (for the other two threads); decode and encode
    each have a thread; wall is the total. worker: 'host:pid' that made the video.
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
    versions: dict[str, str] = field(default_factory=dict)
    worker: str = ""

    def to_json(self) -> dict[str, Any]:
        return _to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TakeResult":
        """Raises ValueError when a field that has no default is missing, or one is of another type.

        Unknown fields are dropped: a record that a later version made still stands for its video.
        """
        return _from_json(cls, data)


@dataclass(frozen=True)
class VideoScores:
    """scores/<suite>.json: one video under one suite.

    metrics and drift: None means 'could not be scored', with the reason in errors. clips: metric -> score per clip;
    seconds: metric -> start of each clip in seconds. Non-finite numbers given here become None with a reason.
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

    def __post_init__(self) -> None:
        errors = dict(self.errors)
        for scores in (self.metrics, self.drift):
            for name, value in scores.items():
                if not _is_finite(value):
                    errors.setdefault(name, "no reason was given" if value is None else f"not a number: {value}")
        object.__setattr__(self, "errors", errors)
        object.__setattr__(self, "metrics", {name: _finite(v) for name, v in self.metrics.items()})
        object.__setattr__(self, "drift", {name: _finite(v) for name, v in self.drift.items()})
        object.__setattr__(self, "clips", {name: [_finite(v) for v in row] for name, row in self.clips.items()})

    def to_json(self) -> dict[str, Any]:
        return _to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "VideoScores":
        """Raises ValueError when a field that has no default is missing, or one is of another type.

        Unknown fields are dropped, as those of `TakeResult`.
        """
        return _from_json(cls, data)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _to_json(record: Any) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}


@cache
def _kinds(cls: type) -> dict[str, tuple[type, ...]]:
    kinds = {item.name: getattr(item.type, "__origin__", item.type) for item in fields(cls)}
    return {name: _KINDS[getattr(kind, "__name__", str(kind))] for name, kind in kinds.items()}


@cache
def _needed(cls: type) -> set[str]:
    return {item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING}


def _from_json(cls: type[R], data: Mapping[str, Any]) -> R:
    if not isinstance(data, Mapping):
        raise ValueError(f"{cls.__name__} is a JSON object, not {type(data).__name__}")
    kinds = _kinds(cls)  # type: ignore[arg-type]
    data = {name: data[name] for name in kinds if name in data}
    if missing := _needed(cls) - data.keys():  # type: ignore[arg-type]
        raise ValueError(f"{cls.__name__} has no {', '.join(sorted(missing))}")
    for name in data:
        allowed = kinds[name]
        if not isinstance(data[name], allowed) or isinstance(data[name], bool):
            raise ValueError(f"{cls.__name__}.{name} is {data[name]!r}, not {allowed[-1].__name__}")
    return cls(**data)
