"""Dummy Forcing: after a few blocks, each head attends only what it was seen to need (2026; training-free).

Absolute positions. Up to block `ar_start`, all heads attend frame 0, the newest `local_blocks` past blocks and the new
one. That block's commit pass measures each head's attention mass on the first frame (F) and on the others before the
new block (M): the mean over T // 3 random query rows (T: tokens of a frame); with `ar_start` above 1, over T rows, and
F is of the first three frames attended. Shares are relative to all heads of all layers: f = F / sum of F, m = M / sum
of M. The `num_dummy` heads of the least max(f, m) are dummies, and attend the newest past frame and the new block. Of
the others, a head with f >= m attends frame 0 and the new block, one with f < m those past blocks without frame 0.

The released code draws the rows from the global generator, and chooses for a whole batch; here the rows depend on the
take's seed and the layer, and each row of a batch chooses. Where the prompt changes, the last `window` frames are
computed again, the first of them replaces frame 0, and the choice stays. The released code fails if told to keep the
sink; soon after the start it lets middle heads attend all those frames once, which is not done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Cache, Latent, Method, MethodConfig, Rerun, RolloutInfo, Seen, methods
from longtake.platform.methods.interface.plan import LONGEST_WINDOW, Group, Plan, Reason, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.heads.mass import DUMMY, FIRST, MIDDLE, head_mass, kinds_by_mass
from longtake.platform.methods.parts.ranges import at_least, within
from longtake.platform.models.spec import DiTSpec


class DummyForcingMethod(GroupedMethod):
    """`kinds`: per row, the kind of every head [layers, heads]. `oldest`: the first frame; `least`: of past blocks."""

    def __init__(self, info: RolloutInfo, config: DummyForcing):
        super().__init__(info)
        self.config, self.oldest, self.least = config, 0, 1
        self.measured_at = config.ar_start * self.window.block
        self.mass = np.zeros((info.rows, self.spec.layers, self.spec.heads, 2))
        self.kinds: list[np.ndarray] = []

    def plan(self, first: int) -> Plan:
        self.watched = frozenset({"commit"} if first == self.measured_at else ())
        return super().plan(first)

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        new = self.window.new(first)
        local = range(max(self.least, first - self.config.local_blocks * self.window.block), first)
        if not self.kinds:
            return self.around(row, first, self.local_row(first, sorted({self.oldest, *local, *new})))
        past = {FIRST: [self.oldest], MIDDLE: local, DUMMY: [first - 1]}
        rows = {kind: self.local_row(first, [*frames, *new]) for kind, frames in past.items()}
        return tuple(
            Group((layer,), tuple(np.flatnonzero(kinds == kind).tolist()), rows[kind])
            for layer, kinds in enumerate(self.kinds[row])
            for kind in np.unique(kinds).tolist()
        )

    def local_reason(self, frame: int, first: int) -> Reason:
        return "sink" if frame == self.oldest < first else super().local_reason(frame, first)

    def watch(self, seen: Seen) -> None:
        tokens, first = self.spec.frame_tokens, 1 if self.config.ar_start == 1 else self.window.block
        parts = slice(0, first * tokens), slice(first * tokens, len(seen.sources) * tokens)
        query = seen.rotated_query[:, self.query_rows(seen.row, seen.layer, seen.query.shape[1])]
        self.mass[seen.row, seen.layer] = head_mass(query, seen.rotated_keys, parts)

    def query_rows(self, row: int, layer: int, queries: int) -> list[int]:
        """Which of the new block's tokens are asked for their attention."""
        count = max(1, self.spec.frame_tokens // (3 if self.config.ar_start == 1 else 1))
        key = np.array([self.info.seeds[row], layer], np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).choice(queries, count, replace=False).tolist()

    def committed(self, first: int, cache: Cache) -> None:
        if first == self.measured_at:
            self.kinds = [kinds_by_mass(mass, self.config.num_dummy) for mass in self.mass]

    def pinned(self, first: int) -> tuple[int, ...]:
        return (self.oldest,)

    def switch(self, first: int, cut: bool) -> Rerun:
        again = range(max(0, first - self.window.size), first)
        self.oldest = again.start
        self.least = again.start + (again.start < self.config.local_blocks * self.window.block)
        return self.recached(first, again, keep_sink=False)


@methods.register("dummy-forcing")
@dataclass(frozen=True)
class DummyForcing(MethodConfig):
    """Each head attends the first frame, the newest blocks, or next to nothing, as it needs (Dummy Forcing, 2026).

    `ar_start`: the block in which heads are measured; `local_blocks`: past blocks of middle heads; `num_dummy`: heads
    that attend almost nothing, half by default; `window`: frames computed again where the prompt changes."""

    varies: ClassVar[bool] = True
    budgeted: ClassVar[bool] = False

    ar_start: int = 1
    local_blocks: int = 1
    num_dummy: int | None = None
    window: int | None = 12
    sink: int | None = 1

    def __post_init__(self) -> None:
        at_least(self, ar_start=1, num_dummy=0)
        within(self, local_blocks=(1, 6))

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if window.size > LONGEST_WINDOW:
            raise ConfigError(f"window = {window.size}: must be at most {LONGEST_WINDOW}")

    def attended(self, window: Window, network: DiTSpec) -> float:
        heads = network.layers * network.heads
        dummies = heads // 2 if self.num_dummy is None else min(self.num_dummy, heads)
        return window.block + (dummies + (heads - dummies) * self.local_blocks * window.block) / heads

    def build(self, info: RolloutInfo) -> Method:
        return DummyForcingMethod(info, self)
