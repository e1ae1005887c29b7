"""Rolling Sink: the frames of the first window come back, walked forwards and backwards for ever (2026; training-free).

No sink; absolute positions. Of the W attended frames, the newest true ones are those of the block and of the block
before. Whatever older place of the window would hold a frame from W - 3 = M on, holds a frame of the first window
instead, at the place's own index: for the block at p, frame p % M + i if p // M is even, else M - 1 - p % M - i,
i = 0, 1, 2. The released code overwrites the cache after the commit pass of the block after next; here these are
ordinary plans, since the frames of the first window stay in the cache.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Attended, Latent, Method, MethodConfig, Plan, RolloutInfo, Window, methods


class RollingSinkMethod(Method):
    def plan(self, first: int) -> Plan:
        live = self.window.live(first + self.window.block)
        row = tuple(self.attended(time, first) for time in live)
        return Plan((row,) * self.info.rows, tuple(live[-self.window.block :]))

    def attended(self, time: int, first: int) -> Attended:
        """What is attended at time index `time`: the true frame, or one of the first window in its place."""
        size = self.window.block
        period = self.window.size - size
        block = time - time % size
        if block < period or block >= first - size:
            return Attended(time, time, self.local_reason(time, first))
        step = time % period
        backwards = block // period % 2 == 1
        return Attended(period - 1 - step if backwards else step, time, "retrieved")

    def pinned(self, first: int) -> Collection[int]:
        return range(min(self.window.size, first))


@methods.register("rolling-sink")
@dataclass(frozen=True)
class RollingSink(MethodConfig):
    """The first window's frames for ever, forwards and backwards, and two true blocks (Rolling Sink, 2026)."""

    in_order: ClassVar[bool] = False

    window: int | None = 21
    sink: int | None = 0

    def build(self, info: RolloutInfo) -> Method:
        return RollingSinkMethod(info)

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if window.sink != 0 or window.size % window.block or window.size < 3 * window.block:
            rule = f"window a multiple of {window.block} and at least {3 * window.block}, sink 0"
            raise ConfigError(f"window = {window.size}, sink = {window.sink}: rolling-sink needs {rule}")
