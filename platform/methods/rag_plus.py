"""Retrieval that fetches what comes next instead of copies of what is there: `rag` with its options set.

It finds the earliest past frame that looks like the newest one, and attends the different views around it in time. The
earliest, because copies of copies lose detail. If nothing looks similar, the place is new and the window is longer.

Where places change out of view the earliest look is a stale one, and ground that merely resembles an old place is drawn
as that place: docs/results.md says how often.
"""

from dataclasses import dataclass
from typing import Literal

from longtake.platform.methods.base import methods
from longtake.platform.methods.rag import Rag


@methods.register("rag-plus")
@dataclass(frozen=True)
class RagPlus(Rag):
    """Past frames around the earliest view of the place: `rag` with options, chosen on the pocket world for avg-pool.

    `tolerance`, `duplicate` and `gate` are cosines of `descriptor`: another descriptor needs other values."""

    recency_guard: int = 0
    gate: float | None = 0.85
    select: Literal["neighbours"] | None = "neighbours"
    tolerance: float | None = 0.005
    duplicate: float | None = 0.96
