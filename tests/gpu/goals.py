"""The project's goals for one H100 (480x832, window 12, batch 1), each with the row of a run that is compared to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Row = tuple[str, str]
"""Step and name of a row."""


@dataclass(frozen=True)
class Goal:
    """The value of `row` - `offset` must be at least `limit`, or at most if not `least`. The offset gives an excess."""

    what: str
    row: Row
    limit: float
    least: bool
    unit: str
    offset: float = 0.0

    def measured(self, rows: Mapping[Row, float | str]) -> float | None:
        """The value to compare; None if the row is missing or failed."""
        value = rows.get(self.row)
        return value - self.offset if isinstance(value, float) else None

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit

    @property
    def wanted(self) -> str:
        return f"{'>=' if self.least else '<='} {self.limit:g}{self.unit}"


NATIVE, RAG = "native", "rag"
GOALS = (
    Goal("denoise, eager", ("bench", f"denoise fps: {NATIVE}"), 34, True, " frames/s"),
    Goal("denoise, compiled", ("bench-compiled", f"denoise fps: {NATIVE}"), 39, True, " frames/s"),
    Goal("end to end, native, eager", ("bench", f"end to end fps: {NATIVE}"), 28, True, " frames/s"),
    Goal("end to end, native, compiled", ("bench-compiled", f"end to end fps: {NATIVE}"), 28, True, " frames/s"),
    Goal("end to end, rag, compiled", ("bench-compiled", f"end to end fps: {RAG}"), 28, True, " frames/s"),
    Goal("retrieval, eager", ("bench", f"time to native: {RAG}"), 0.03, False, " over native", 1.0),
    Goal(
        "retrieval, compiled",
        ("bench-compiled", f"time to native: {RAG}"),
        0.03,
        False,
        " over native",
        1.0,
    ),
    Goal("block near 240 s over one near 5 s", ("long", "late over early"), 1.05, False, ""),
    Goal("host memory at 240 s", ("long", "host memory"), 24, False, " GiB"),
)
