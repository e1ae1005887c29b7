"""Retrieves the frames that together explain the most of what resembles the newest frame.

Top-K scores every frame alone, so K copies of one view win. Here a frame counts by what the frames chosen before it
leave unexplained, so that a copy adds nothing and the views around the newest one follow.

The greedy rule is that of CovRAG (2026), here on descriptors. There, what the current context covers is taken off too;
here what the window shows is not, so the first choice may resemble it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import methods
from longtake.platform.methods.parts.retrieval import RetrievalConfig
from longtake.platform.methods.parts.selection import greedy_coverage

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("coverage")
@dataclass(frozen=True)
class Coverage(RetrievalConfig):
    """Past frames that together explain the most of the descriptors like the newest one's (CovRAG, 2026): greedily,
    each by what those before it leave unexplained.

    `focus`: a frame with the cosine c to the newest one has the weight max(0, c)^focus; 0 covers the whole past."""

    version: ClassVar[int] = 2

    focus: float = 4.0

    def pick(self, frames_F: Tensor, unit_FE: Tensor, similarity_F: Tensor, count: int) -> Tensor:
        return greedy_coverage(unit_FE, similarity_F.clamp(min=0) ** self.focus, count)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.focus < 0:
            raise ConfigError(f"focus = {self.focus}: must be 0 or more")
