"""Retrieval that fetches what comes next instead of copies of what is there: `rag` with its options set.

It finds the place that the newest frames show in the past, and attends the different views around it in time: its
earliest view, because copies of copies lose detail, that still looks as the place was seen last. If the past shows
nothing similar, the place is new and the window is longer.
"""

from dataclasses import dataclass
from typing import Literal

from longtake.platform.methods.base import methods
from longtake.platform.methods.rag import Rag
from longtake.platform.settings.paths import FilePath


@methods.register("rag-plus")
@dataclass(frozen=True)
class RagPlus(Rag):
    """Past frames around the earliest view of the place that is still true: `rag` with options, chosen on the pocket
    world.

    `tolerance`, `unchanged`, `duplicate` and `gate` are cosines of `descriptor`: another one needs other values."""

    descriptor: FilePath = "grid-pool"
    recency_guard: int = 0
    sequence: int | None = 8
    gate: float | None = 0.92
    select: Literal["neighbours"] | None = "neighbours"
    tolerance: float | None = 0.02
    unchanged: float | None = 0.8
    duplicate: float | None = 0.9
