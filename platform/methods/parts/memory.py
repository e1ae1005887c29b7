"""The base of the memory methods: a window with K of its frames reserved for memory, frames of the past.

LongLive-RAG's layout: sink frames at their own index, then up to K memory frames, all at time index 0, then the newest
W - S - K frames at their own slot index. The K frames are reserved from the first block on, also while the memory is
empty. Evicted frames except the R newest are eligible. Subclasses only choose among eligible frames. If one chooses
fewer than it may, the newest frames of the window take the remaining places, at their own slot index, so that all rows
of a batch attend the same number of frames.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import (
    BANK_DTYPES,
    RETRIEVED,
    Attended,
    FrameSize,
    Latent,
    Method,
    MethodConfig,
    Plan,
    RolloutInfo,
    Row,
    Window,
)
from longtake.platform.methods.parts.descriptors import (
    AVG_POOL,
    Descriptor,
    DescriptorTable,
    avg_pool,
    described,
    most_redundant,
)
from longtake.platform.methods.parts.ranges import at_least

if TYPE_CHECKING:
    from torch import Tensor

Choice = tuple[int, float | None]
"""A frame and its similarity to the query, or None."""


@dataclass(frozen=True)
class MemoryConfig(MethodConfig):
    """`top_k` K: frames of the past to attend; `recency_guard` R: how many of the newest evicted are not eligible.

    `bank_frames` or `bank_gib`: the bank's budget for a take, unlimited by default; `bank_dtype`: how the bank stores
    keys and values (float32, bf16, or fp8 with a scale per head), by default in the dtype of the computation.
    """

    keeps_evicted: ClassVar[bool] = True

    top_k: int = 6
    recency_guard: int = 5
    window: int | None = None
    sink: int | None = None
    bank_frames: int | None = None
    bank_gib: float | None = None
    bank_dtype: str | None = None

    def __post_init__(self) -> None:
        at_least(self, top_k=0, recency_guard=0)
        if self.bank_frames is not None and self.bank_gib is not None:
            raise ConfigError("bank_frames and bank_gib are both set; set one of them")
        if self.bank_gib is not None and not 0 < self.bank_gib < 1e6:
            raise ConfigError(f"bank_gib = {self.bank_gib}: must be more than 0 GiB")
        if self.bank_dtype not in (None, *BANK_DTYPES):
            raise ConfigError(f"bank_dtype = {self.bank_dtype!r}: must be {', '.join(BANK_DTYPES)}, or not set")
        self.check_budget(self.bank_frames, "bank_frames")

    def check_budget(self, frames: int | None, name: str) -> None:
        least = max(1, self.top_k + self.recency_guard)
        if frames is not None and frames < least:
            rule = f"top_k {self.top_k} + recency_guard {self.recency_guard}"
            raise ConfigError(f"{name} = {getattr(self, name)}: holds {frames} frames, needs at least {least} ({rule})")

    def budget(self, frame: FrameSize) -> int | None:
        if self.bank_gib is None:
            return self.bank_frames
        frames = int(self.bank_gib * 2**30 / self.entry_bytes(frame))
        self.check_budget(frames, "bank_gib")
        return frames

    def at_budget(self, frames: int) -> Self:
        return replace(self, window=frames, top_k=frames // 2)

    @property
    def described_by(self) -> str:
        """What frames are compared by: avg-pool, grid-pool, or the name or file of a trained embedder."""
        return AVG_POOL

    def load_descriptor(self) -> Descriptor:
        """The function that computes descriptors."""
        return avg_pool

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        maximum = window.size - window.sink - window.block
        if self.top_k > maximum:
            rule = f"window {window.size} - sink {window.sink} - block {window.block}"
            raise ConfigError(
                f"top_k = {self.top_k}: must be at most {maximum} ({rule}), to leave space for the block's own frames"
            )


class MemoryMethod(Method):
    """Attends sink, memory and local frames; `choose` selects the memory. `needs_descriptors`: it compares frames."""

    needs_descriptors = False

    def __init__(self, info: RolloutInfo, config: MemoryConfig):
        super().__init__(info)
        self.top_k, self.recency_guard = config.top_k, config.recency_guard
        self.budget = config.budget(info.frame)
        self.descriptor: Descriptor = config.load_descriptor()
        self.descriptors = DescriptorTable()
        self.dropped: list[set[int]] = [set() for _ in range(info.rows)]

    def observe(self, first: int, latents: Tensor) -> None:
        if self.needs_descriptors or self.budget is not None:
            self.descriptors.append(described(self.descriptor, latents))

    def banked(self, row: int, first: int) -> list[int]:
        """Frames in the bank when block `first` begins, oldest first, before the block evicts any."""
        return [frame for frame in self.window.evicted(first) if frame not in self.dropped[row]]

    def eligible(self, row: int, first: int) -> list[int]:
        """Frames that block `first` may retrieve: the banked frames except the R newest evicted."""
        evicted = self.window.evicted(first)
        newest = evicted[max(0, len(evicted) - self.recency_guard) :]
        return [frame for frame in self.banked(row, first) if frame not in newest]

    @abstractmethod
    def choose(self, row: int, first: int, eligible: list[int], count: int) -> list[Choice]:
        """At most `count` eligible frames, in the order in which they are attended."""

    def plan(self, first: int) -> Plan:
        used = min(first + self.window.block, self.window.size)
        times = tuple(range(used - self.window.block, used))
        return Plan(tuple(self.row(b, first, used) for b in range(self.info.rows)), times)

    def forget(self, first: int) -> list[list[int]]:
        if self.budget is None:
            return super().forget(first)
        return [self.shrink(row, self.banked(row, first + self.window.block)) for row in range(self.info.rows)]

    def shrink(self, row: int, frames: list[int]) -> list[int]:
        """Drop frames until `frames` fits the budget. Returns the dropped ones. Mutates `frames` and the method."""
        assert self.budget is not None
        dropped = []
        while len(frames) > self.budget:
            dropped.append(frames.pop(most_redundant(self.descriptors.unit[row, frames])))
        self.dropped[row] |= set(dropped)
        return dropped

    def row(self, row: int, first: int, used: int) -> Row:
        eligible = self.eligible(row, first)
        count = min(self.top_k, len(eligible))
        return self.laid_out(first, used, self.choose(row, first, eligible, count) if count else [], count)

    def laid_out(self, first: int, used: int, memory: list[Choice], count: int) -> Row:
        """The row with this memory, of at most `count` frames; frames of the window take the places of missing ones."""
        size, sink = self.window.size, self.window.sink
        live = self.window.live(first + self.window.block)
        local = max(sink, used - (size - sink - self.top_k) - (count - len(memory)))
        keep = [slot for slot in range(used) if slot < sink or slot >= local]
        window = [Attended(live[slot], slot, self.local_reason(live[slot], first)) for slot in keep]
        retrieved = [Attended(frame, 0, RETRIEVED, similarity) for frame, similarity in memory]
        split = min(sink, used)
        return (*window[:split], *retrieved, *window[split:])
