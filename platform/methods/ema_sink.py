"""Reward Forcing's sink: the first frames, which take in what leaves the window as a moving average (2025).

Relative positions: sink at 0..S-1, then the newest W - S frames; the query at the last three indices. Whenever a block
leaves the window, sink frame i becomes alpha * sink_i + (1 - alpha) * left_i, keys (before rotation) and values alike,
element by element, once per block and before its first pass. So the sink must be as long as a block, and the window
must hold whole blocks, for what leaves to have as many frames as the sink: otherwise the released code puts what left
in the place of the sink, and this method refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import (
    Attended,
    Cache,
    Latent,
    Method,
    MethodConfig,
    Plan,
    RolloutInfo,
    Window,
    methods,
)
from longtake.platform.methods.parts.ranges import within

NAME = "ema"


class EmaSinkMethod(Method):
    """`updated`: whether the sink is an average yet."""

    def __init__(self, info: RolloutInfo, config: EmaSink):
        super().__init__(info)
        self.alpha, self.updated = config.alpha, False

    def plan(self, first: int) -> Plan:
        live = self.window.live(first + self.window.block)
        row = tuple(self.attended(frame, slot, first) for slot, frame in enumerate(live))
        return Plan((row,) * self.info.rows, tuple(range(len(live)))[-self.window.block :])

    def attended(self, frame: int, slot: int, first: int) -> Attended:
        if self.updated and frame < self.window.sink:
            return Attended(frame, slot, "summary", entry=f"{NAME}{frame}")
        return Attended(frame, slot, self.local_reason(frame, first))

    def committed(self, first: int, cache: Cache) -> None:
        leaving = self.window.leaving(first + self.window.block)
        for i, frame in enumerate(leaving):
            sink = cache.derived((f"{NAME}{i}", i)) if self.updated else cache.frame(i)
            cache.derive((f"{NAME}{i}", i), sink * self.alpha + cache.frame(frame) * (1 - self.alpha))
        self.updated = self.updated or len(leaving) > 0


@methods.register("ema-sink")
@dataclass(frozen=True)
class EmaSink(MethodConfig):
    """The first frames as a moving average of all that has left the window (Reward Forcing, 2025).

    `alpha`: the weight of the old average."""

    alpha: float = 0.999
    window: int | None = 9
    sink: int | None = 3

    def __post_init__(self) -> None:
        within(self, alpha=(0, 1))

    def build(self, info: RolloutInfo) -> Method:
        return EmaSinkMethod(info, self)

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if window.sink != window.block:
            raise ConfigError(f"sink = {window.sink}: must be {window.block}, as many frames as a block has")
        if window.size % window.block:
            rule = f"must be a multiple of block {window.block}, so that whole blocks leave"
            raise ConfigError(f"window = {window.size}: {rule}; set {window.size // window.block * window.block}")
