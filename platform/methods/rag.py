"""LongLive-RAG: retrieves the past frames that are most similar to the newest one (2026; training-free).

As published, the K most similar eligible frames (cosine, float32; the older frame wins a tie) are attended, most
similar first. Options change which of the similar frames are taken; none of them is part of the published method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import methods
from longtake.platform.methods.parts.retrieval import RetrievalConfig
from longtake.platform.methods.parts.selection import (
    earliest_unchanged,
    most_similar,
    nearest_in_time,
    without_duplicates,
)

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("rag")
@dataclass(frozen=True)
class Rag(RetrievalConfig):
    """Past frames that are most similar to the newest one (LongLive-RAG, 2026).

    `select`: null (the most similar frames, as published) or `neighbours` (the frames nearest in time to the most
    similar one, which is left out: the window shows its view already). `tolerance`: frames within this cosine of the
    most similar one count as equal to it, so that the earliest of them is taken. `unchanged`: only if all frames around
    the latest of them have a look-alike around it with at least this cosine; else the place has changed, and the next
    one is tried. `duplicate`: a frame with at least this cosine to one that is already chosen is taken last."""

    select: Literal["neighbours"] | None = None
    tolerance: float | None = None
    unchanged: float | None = None
    duplicate: float | None = None

    def pick(self, frames_F: Tensor, unit_FE: Tensor, similarity_F: Tensor, count: int) -> Tensor:
        tolerance = self.tolerance or 0.0
        order = most_similar(similarity_F, tolerance)
        if self.select == "neighbours":
            anchor = int(order[0])
            if self.unchanged is not None:
                reach = self.top_k
                anchor = earliest_unchanged(frames_F, unit_FE, similarity_F, tolerance, self.unchanged, reach)
            order = nearest_in_time(anchor, frames_F)
        return order[:count] if self.duplicate is None else without_duplicates(order, unit_FE, self.duplicate, count)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_cosine("duplicate")
        self.check_cosine("unchanged")
        if self.unchanged is not None and (self.select is None or self.tolerance is None):
            raise ConfigError(f"unchanged = {self.unchanged}: needs select: neighbours and a tolerance; set both")
        if self.tolerance is not None and not 0 < self.tolerance < 2:
            raise ConfigError(f"tolerance = {self.tolerance}: is a difference of cosines, must be more than 0, below 2")
