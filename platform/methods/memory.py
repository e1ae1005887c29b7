"""What the memory methods share: the window's budget, with K frames of it reserved for frames of the past.

LongLive-RAG's layout: sink frames at their own index, then up to K memory frames, all at time index 0, then
the newest W - S - K frames at their own slot index. The local budget is reserved from the first block on, also while
the memory is empty. Evicted frames but the R newest are eligible. Subclasses only choose among the eligible.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Attended, Latent, Method, MethodConfig, Plan, RolloutInfo, Row, Window

Choice = tuple[int, float | None]
"""A frame and its similarity to the query, where there is one."""


@dataclass(frozen=True)
class MemoryConfig(MethodConfig):
    """`top_k` K: frames of the past to attend; `recency_guard` R: how many of the newest evicted are not eligible."""

    keeps_evicted: ClassVar[bool] = True

    top_k: int = 6
    recency_guard: int = 5
    window: int | None = None
    sink: int | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "recency_guard"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be 0 or more")

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        room = window.size - window.sink - window.block
        if self.top_k > room:
            rule = f"window {window.size} - sink {window.sink} - block {window.block}"
            raise ConfigError(
                f"top_k = {self.top_k}: must be at most {room} ({rule}), or the block loses its own frames"
            )


class MemoryMethod(Method):
    """Sink, memory, local frames; `choose` names the memory."""

    def __init__(self, info: RolloutInfo, config: MemoryConfig):
        super().__init__(info)
        self.top_k, self.recency_guard = config.top_k, config.recency_guard

    def eligible(self, first: int) -> range:
        """Frames that block `first` may retrieve: what earlier blocks have evicted, but the newest R."""
        evicted = self.window.evicted(first)
        return evicted[: max(0, len(evicted) - self.recency_guard)]

    @abstractmethod
    def choose(self, first: int, eligible: range, count: int) -> list[list[Choice]]:
        """Per batch row, `count` eligible frames in the order in which they are attended."""

    def plan(self, first: int) -> Plan:
        eligible = self.eligible(first)
        count = min(self.top_k, len(eligible))
        chosen = self.choose(first, eligible, count) if count else [[]] * self.info.rows
        used = min(first + self.window.block, self.window.size)
        times = tuple(range(used - self.window.block, used))
        return Plan(tuple(self.row(first, used, memory) for memory in chosen), times)

    def row(self, first: int, used: int, memory: list[Choice]) -> Row:
        size, sink = self.window.size, self.window.sink
        live = self.window.live(first + self.window.block)
        local = max(sink, used - (size - sink - self.top_k))
        keep = [slot for slot in range(used) if slot < sink or slot >= local]
        window = [Attended(live[slot], slot, self.local_reason(live[slot], first)) for slot in keep]
        retrieved = [Attended(frame, 0, "retrieved", similarity) for frame, similarity in memory]
        split = min(sink, used)
        return (*window[:split], *retrieved, *window[split:])
