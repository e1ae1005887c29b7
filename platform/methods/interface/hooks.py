"""What a method gets from the engine, and what it may answer, when `plan` and `observe` are not enough for it.

Shapes: L layers, B batch, h heads, T tokens a frame, d head dim, N tokens of the new frames, M tokens attended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.plan import Group, Plan, Source, Tokens


@dataclass(frozen=True)
class Rerun:
    """Frames whose keys and values are computed again, in one pass at timestep 0: `frames` end the rows of `plan`.
    `watched`: the method watches this pass too, as both the first and the commit pass of the block to come."""

    frames: range
    plan: Plan
    watched: bool = False


class Cache(Protocol):
    """The keys (before rotation) and values that `committed` may read and add to.

    An entry is [2 (key, value), L layers, B batch, T tokens, h heads, d head dim].
    """

    def frame(self, frame: int) -> Tensor:
        """The entry of a frame that has not left the cache. Raises KeyError for another one."""

    def derived(self, source: tuple[str, int]) -> Tensor:
        """The entry that was derived under this name."""

    def derive(self, source: tuple[str, int], entry: Tensor) -> None:
        """Add or replace a derived entry."""

    def forget(self, source: tuple[str, int]) -> None:
        """Drop a derived entry."""


Pass = Literal["first", "commit"]
"""Passes of a block that a method can watch: the first one, and the one that writes its clean keys and values. A block
of the prefix has the latter alone, which is then both."""


@dataclass(frozen=True)
class Seen:
    """One group of heads of one layer and batch row inside a pass, before it attends; h are its `heads`. `first`: the
    block, or the one to come if frames are computed again; `new`: the frames that the pass computes; `passes`: which
    passes this one is. Tensors are not to be changed.

    `query`, `rotated_query` [h, N, d]: of the new frames. `keys`, `rotated_keys`, `values` [h, M, d]: of all that the
    layer attends, the new frames last; `sources`: the source of each whole entry, in that order, before the tokens of
    `picked` and the new frames. `fetch`: an entry that is in the cache or attended,
    [2 (key, value), h, T, d].
    `rotate`: x [h, T, d] of a frame, rotated to a time index.
    """

    first: int
    new: range
    row: int
    layer: int
    heads: tuple[int, ...]
    passes: frozenset[Pass]
    query: Tensor
    rotated_query: Tensor
    keys: Tensor
    rotated_keys: Tensor
    values: Tensor
    sources: tuple[Source, ...]
    picked: Tokens | None
    fetch: Callable[[Source], Tensor]
    rotate: Callable[[Tensor, int, int], Tensor]

    def start(self, frame: int, tokens: int) -> int:
        """Where a frame's keys begin, if all entries are frames of so many tokens."""
        if frame not in self.new:
            return self.sources.index(frame) * tokens
        return self.keys.shape[1] - self.query.shape[1] + self.new.index(frame) * tokens


@dataclass(frozen=True)
class Replacement:
    """What a watched group attends from now on: `group` (its `layers` and `heads` are not read), of what it attended
    until now and of `edited`: new entries, [2 (key, value), h, T, d] each."""

    group: Group
    edited: Mapping[Source, Tensor] = field(default_factory=dict)
