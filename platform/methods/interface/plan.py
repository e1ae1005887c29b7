"""What a block attends, as data: entries with their time indices and reasons, per row, or per layer and head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np

Reason = Literal["sink", "retrieved", "summary", "window", "block"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Traces and the dashboard count attended frames by these words alone."""
RETRIEVED: Reason = "retrieved"
LONGEST_WINDOW = 21
"""Frames of the longest window that a published backbone was trained with."""


Source = int | tuple[str, int]
"""A frame, or a derived entry: its name and the frame that it stands for."""


@dataclass(frozen=True)
class Attended:
    """One past or present latent frame in a plan.

    `frame`: index of the latent frame in the video. `time`: the temporal index of its keys in the position embedding
    (RoPE), on the same scale as the plan's `query_times`; frames may share an index. `reason`: why it is attended:
    "sink", "window" and "block" for frames in the window (`Method.local_reason`), "retrieved" for a frame that has left
    it, "summary" for an entry computed from several frames. `similarity`: the score by which a retrieval method chose
    it; None if the method compares no frames. `entry`: the name of the derived entry whose keys and values stand for
    the frame; empty: the frame's own. `part`: how many frames' worth of tokens are attended: 1 for a whole entry, less
    for a derived one with fewer tokens than a frame; in the rows of a plan with groups, the mean over layers and heads.
    """

    frame: int
    time: int
    reason: Reason
    similarity: float | None = None
    entry: str = ""
    part: float = 1.0

    @property
    def source(self) -> Source:
        """What the keys and values are those of."""
        return (self.entry, self.frame) if self.entry else self.frame


Row = tuple[Attended, ...]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Single tokens, each attended at its place in its frame: int arrays [n], or [heads, n] if heads differ.

    `frames`, `tokens`: the frame and the token's index in it, counted row by row. `times`: the temporal index.
    """

    frames: np.ndarray
    tokens: np.ndarray
    times: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and all(
            one.shape == two.shape and bool((one == two).all())
            for one, two in zip(self.arrays, other.arrays, strict=True)
        )

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.frames, self.tokens, self.times


@dataclass(frozen=True)
class Group:
    """What some heads of some layers attend in one batch row: whole entries, the new frames last, and single tokens."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    row: Row
    tokens: Tokens | None = None


@dataclass(frozen=True)
class Plan:
    """The entries that one block attends: a row per batch entry, the new frames last.

    Without `groups`, all heads of all layers attend `rows`, which are of equal length. With `groups` (per batch row;
    every head of every layer is in one of them), `rows` sums them up: every entry that some head attends, with the
    share of it that is attended (`longtake.platform.methods.interface.groups`).
    """

    rows: tuple[Row, ...]
    query_times: tuple[int, ...]
    groups: tuple[tuple[Group, ...], ...] = ()


@dataclass(frozen=True)
class Window:
    """`size`: the most frames attended; `sink`: first frames, which are always kept; `block`: frames per block."""

    size: int = 12
    sink: int = 1
    block: int = 3

    def new(self, first: int) -> range:
        """The frames of block `first`."""
        return range(first, first + self.block)

    def live(self, end: int) -> list[int]:
        """Frames in the window when `end` frames exist, including the current block: sink, then the newest."""
        oldest = max(self.sink, end - (self.size - self.sink))
        return [*range(min(self.sink, end)), *range(oldest, end)]

    def evicted(self, end: int) -> range:
        """Frames that have left the window when `end` frames exist."""
        return range(self.sink, max(self.sink, end - (self.size - self.sink)))

    def leaving(self, first: int) -> range:
        """Frames that leave the window when block `first` begins."""
        return self.evicted(first + self.block)[len(self.evicted(first)) :]

    def recached(self, first: int) -> range:
        """Frames that LongLive computes again where the prompt changes at block `first`: those of the window beside the
        sink, or all, if it still begins with the first."""
        return range(0 if first <= self.size else first - (self.size - self.sink), first)
