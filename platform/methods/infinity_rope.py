"""Infinity-RoPE: a short window at relative positions, with two answers to a change of the prompt (2025).

Keys at 0..W-1 by slot, the query at the last three. At a prompt change the window is flushed: it keeps the sink and the
last `keep` frames, and fills again from there. With the published window of 6 and sink of 1 that is what the next block
would keep anyway, so a flush is then nothing but another text. A cut (to another scene) flushes, and moves the three
new frames of that one block away from what came before. Where to, paper and code differ: with f the index at which they
would stand, the paper says f - 2, f + D - 1, f + D, with D = 21 frames, the horizon of the training; the released code
says 45, 46, 47 (`cut_to: 45`).

After a flush of a window above 6 the released code leaves the query at W-3..W-1 until the window is full, although the
keys of the same frames stand right behind the kept ones (`late_query`).
"""

from dataclasses import dataclass

from longtake.platform.methods.base import Method, MethodConfig, Plan, Rerun, RolloutInfo, methods
from longtake.platform.methods.parts.ranges import at_least

HORIZON = 21
"""D: the latent frames of the videos that the generators were trained on."""


class InfinityRopeMethod(Method):
    """`kept`: the oldest frame behind the sink since the last flush; `cut`: the block of the last cut."""

    def __init__(self, info: RolloutInfo, config: "InfinityRope"):
        super().__init__(info)
        self.config, self.kept, self.cut = config, info.window.sink, -1

    def switch(self, first: int, cut: bool) -> Rerun | None:
        self.kept = max(self.window.sink, first - self.config.keep)
        self.cut = first if cut else self.cut
        return None

    def plan(self, first: int) -> Plan:
        size, block = self.window.size, self.window.block
        frames = [f for f in self.window.live(first + block) if f < self.window.sink or f >= self.kept]
        times = list(range(len(frames)))
        if first == self.cut:
            times[-block:] = self.cut_times(times[-block])
        row = self.local_row(first, frames, times)
        query = tuple(times[-block:])
        if self.config.late_query and self.kept > self.window.sink and len(frames) < size and first != self.cut:
            query = tuple(range(size - block, size))
        return Plan((row,) * self.info.rows, query)

    def cut_times(self, start: int) -> list[int]:
        """Time indices of a cut's new frames, which would stand from `start` on."""
        block, to = self.window.block, self.config.cut_to
        if to is not None:
            return list(range(to, to + block))
        return [max(0, start - 2), *range(start + HORIZON - block + 2, start + HORIZON + 1)]


@methods.register("infinity-rope")
@dataclass(frozen=True)
class InfinityRope(MethodConfig):
    """A short window at relative positions, flushed where the prompt changes (Infinity-RoPE, 2025; training-free).

    `keep`: frames besides the sink that a flush keeps. `cut_to`: time index of the first new frame of a cut; not set:
    as in the paper. `late_query`: as in the released code, the query of a window that fills again is at its end."""

    keep: int = 2
    cut_to: int | None = None
    late_query: bool = False
    window: int | None = 6
    sink: int | None = 1

    def __post_init__(self) -> None:
        at_least(self, keep=0, cut_to=0)

    def build(self, info: RolloutInfo) -> Method:
        return InfinityRopeMethod(info, self)
