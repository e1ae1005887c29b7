"""MemRoPE: two moving averages of everything that has left the window, a slow and a fast one (2026; training-free).

W = sink, one entry `long`, one entry `short`, the newest frames; keys at 0..W-1 by slot, the query at the last three.
Once per block, before its first pass, with m the mean of the keys (before rotation) and values over all tokens of the
frames that leave:

    long  <- (1 - alpha_long)  * long  + alpha_long  * m
    short <- (1 - alpha_short) * short + alpha_short * m

The first m is of the frames that leave when the averages are first attended, from frame sink + 2 on: the two before,
whose places the averages take, leave no trace. Both averages begin as zeros in the paper, as the first m in the
released code (`from_zero: false`); the videos differ much. One m serves every token of a frame, unless `adaptive`: then
m keeps its place in the frame, and the rate of `short` at place p is a (.1 + 4.9 d(p) / max d), with a = alpha_short
and d(p) the mean over heads of |m - short| of the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Attended, Latent, Method, MethodConfig, Plan, RolloutInfo, Window, methods
from longtake.platform.methods.parts.ranges import within

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.base import Cache

LEAST, MOST, TINY = 0.1, 5.0, 1e-8
"""Bounds of the adaptive rate, relative to alpha_short, and what keeps a quotient finite."""


class MemRopeMethod(Method):
    """`stood`: the frame that the averages stand for in the trace, the newest one that is in them; -1: none yet."""

    def __init__(self, info: RolloutInfo, config: MemRope):
        super().__init__(info)
        self.config, self.stood = config, -1

    @property
    def local(self) -> int:
        """Frames behind the averages, the new ones included."""
        return self.window.size - self.window.sink - 2

    def plan(self, first: int) -> Plan:
        end, sink = first + self.window.block, self.window.sink
        if end <= self.window.size:
            frames = [*self.local_row(first, range(end))]
        else:
            averages = [Attended(self.stood, sink + i, "summary", entry=n) for i, n in enumerate(("long", "short"))]
            newest = range(end - self.local, end)
            local = self.local_row(first, newest, range(sink + 2, self.window.size))
            frames = [*self.local_row(first, range(sink)), *averages, *local]
        return Plan((tuple(frames),) * self.info.rows, tuple(at.time for at in frames[-self.window.block :]))

    def committed(self, first: int, cache: Cache) -> None:
        following = first + 2 * self.window.block
        if following <= self.window.size:
            return
        left = following - self.local
        leaving = range(max(self.window.sink + 2, left - self.window.block), left)
        mean = self.mean(cache, leaving)
        for name, alpha in (("long", self.config.alpha_long), ("short", self.config.alpha_short)):
            old = mean * 0 if self.config.from_zero else mean
            if self.stood >= 0:
                old = cache.derived((name, self.stood))
                cache.forget((name, self.stood))
            rate = self.rate(mean, old) if self.config.adaptive and name == "short" else alpha
            cache.derive((name, leaving[-1]), old + rate * (mean - old))
        self.stood = leaving[-1]

    def mean(self, cache: Cache, frames: range) -> Tensor:
        """[2, L, B, T, h, d]: the mean over frames and, unless adaptive, over tokens, row by row."""
        import torch

        rows = torch.stack([cache.frame(frame) for frame in frames]).split(1, dim=3)
        if self.config.adaptive:
            return torch.cat([row.mean(0) for row in rows], dim=2)
        return torch.cat([row.mean((0, 4), keepdim=True)[0].expand(row.shape[1:]) for row in rows], dim=2)

    def rate(self, mean: Tensor, short: Tensor) -> Tensor:
        """[1, L, B, T, 1, 1]: the rate of `short` at every place of the frame."""
        away = (mean - short)[:1].norm(dim=-1).mean(-1)
        share = away / (away.amax(-1, keepdim=True) + TINY)
        least, most = LEAST * self.config.alpha_short, MOST * self.config.alpha_short
        return (least + (most - least) * share)[..., None, None]


@methods.register("memrope")
@dataclass(frozen=True)
class MemRope(MethodConfig):
    """A slow and a fast moving average of what has left the window (MemRoPE, 2026; training-free).

    `alpha_long`, `alpha_short`: how much of a block they take in. `adaptive`: per place in the frame. `from_zero`: the
    averages begin as zeros, as in the paper; else as the first mean, as in the released code."""

    alpha_long: float = 0.01
    alpha_short: float = 0.1
    adaptive: bool = False
    from_zero: bool = True
    window: int | None = 12
    sink: int | None = 3

    def __post_init__(self) -> None:
        within(self, alpha_long=(0, 1), alpha_short=(0, 1))

    def build(self, info: RolloutInfo) -> Method:
        return MemRopeMethod(info, self)

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        least = window.sink + 2 + window.block
        if window.size < least:
            raise ConfigError(f"window = {window.size}: must be at least {least} (sink, two averages, a block)")
