"""Pyramid Forcing: a head attends the sink, the newest frames and, between, what its kind needs (2026; training-free).

With a block at f, the newest 4 frames (the window without its sink) are f-1 .. f+2, at their own time indices. Besides:

- *waves* attend frame 0, and of the frames t with t = g modulo `period` (6) the last `kept` (4) before the block;
- *anchors* frames 0, 1, 2, and of the frames t with t = 0 modulo 6 the last 4;
- *veils* frames 0, 1, 2, and of the last 4 complete groups of frames 4j .. 4j+3 those with j > 0 that end before g - 3.
  A group, at 4j + 1, is the mean over its frames and squares of 2 x 2 tokens, at the first place of each: T/4 tokens.

Single past frames lie at max(0, g - `reach`). In the released code g is the frame that asks. **Here the middle frame
asks for the block, g = f + 1;** for its neighbours they are one nearer or farther. In the code, besides, new frames
take the places of the oldest before the commit pass; keys of anchors and veils in the first block lie at 0, 0, 0;
anchors keep frame 3 for ever (a slip, not in its kernels); the prompt never changes (if it does, nothing is made anew).

`table` names a table of heads in the authors' format; theirs is of Self-Forcing's Wan 1.3B. `measured` is a variant of
ours for every backbone: up to block `measure_block` all heads attend all frames. By the mean logits in its commit pass,
heads with the strongest wave are waves, of the others those with the lowest veils, as many as in the published table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.methods.base import Cache, Latent, Method, MethodConfig, Plan, RolloutInfo, Row, Seen, methods
from longtake.platform.methods.interface.plan import LONGEST_WINDOW, RETRIEVED, Attended, Group, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.heads.waves import KINDS, VEIL, WAVE, HeadKinds
from longtake.platform.methods.parts.measured import MEASURED, file_fingerprint
from longtake.platform.methods.parts.phases import Phases
from longtake.platform.methods.parts.ranges import at_least, within
from longtake.platform.methods.parts.tokens.merged_tokens import MergedGroups
from longtake.platform.models.spec import DiTSpec
from longtake.platform.settings.paths import FilePath


class PyramidMethod(GroupedMethod):
    """`recent`: how many of the newest frames every head attends, the block's included."""

    def __init__(self, info: RolloutInfo, config: PyramidForcing):
        super().__init__(info)
        self.config, self.recent = config, self.window.size - self.window.sink
        self.measured_at = config.measure_block * self.window.block
        self.phases = Phases(config.period, config.kept, self.window.block)
        self.merged = MergedGroups(self.spec, 2, config.kept)
        self.kinds = HeadKinds(config.table, self.spec, info.rows)

    def plan(self, first: int) -> Plan:
        self.watched = frozenset({"commit"} if not self.kinds.of and first == self.measured_at else ())
        return super().plan(first)

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        new = self.window.new(first)
        if not self.kinds.of:
            return self.around(row, first, self.local_row(first, range(new.stop)))
        rows = {kind: (*self.past(first, kind), *self.local_row(first, new)) for kind in KINDS}
        return self.by_kind(self.kinds.of[row], rows)

    def past(self, first: int, kind: int) -> Row:
        """What heads of a kind attend beside the block."""
        asks, sink = first + self.window.block // 2, self.config.wave_sink if kind == WAVE else self.window.sink
        sinks, far, until = range(min(sink, first)), max(0, asks - self.config.reach), asks - self.recent + 1
        frames = self.phases.last(first, asks if kind == WAVE else 0)
        between = [Attended(frame, far, RETRIEVED) for frame in frames if sink <= frame < until]
        if kind == VEIL:
            between = self.merged.past(first, sink, until)
        newest = range(max(len(sinks), first + self.window.block - self.recent), first)
        return (*(Attended(frame, far, "sink") for frame in sinks), *between, *self.local_row(first, newest))

    def watch(self, seen: Seen) -> None:
        self.kinds.measure(seen, self.recent, self.config.period)

    def committed(self, first: int, cache: Cache) -> None:
        if not self.kinds.of and first == self.measured_at:
            self.kinds.settle()
        self.merged.update(self.window.new(first), cache)

    def pinned(self, first: int) -> list[int]:
        old = self.phases.needed(first) if self.kinds.of else range(first)
        return [*old, *range(max(0, first - self.merged.span + 1), first)]


@methods.register("pyramid-forcing")
@dataclass(frozen=True)
class PyramidForcing(MethodConfig):
    """Sink, newest frames and, by head, frames of one phase, every sixth, or merged ones (Pyramid Forcing, 2026).

    `table`: CSV file or `measured`; `period`: in frames; `kept`: frames or groups; `wave_sink`: the sink of waves;
    `reach`: how far back single frames lie at most; `measure_block`: when `measured` sorts the heads."""

    budgeted: ClassVar[bool] = False
    table: FilePath = MEASURED
    period: int = 6
    kept: int = 4
    wave_sink: int = 1
    reach: int = LONGEST_WINDOW
    measure_block: int = 6
    window: int | None = 7
    sink: int | None = 3

    def __post_init__(self) -> None:
        at_least(self, period=2, kept=1, reach=1)

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        within(self, wave_sink=(1, window.sink), window=(window.sink + window.block, LONGEST_WINDOW))
        at_least(self, measure_block=-(-(2 * self.period + window.size - window.sink) // window.block) - 1)

    def attended(self, window: Window, network: DiTSpec) -> float:
        method = PyramidMethod(RolloutInfo(window, 1, (0,), network=network), self)
        cycle = 4 * self.period * window.block
        firsts = range(self.kept * cycle, (self.kept + 1) * cycle, window.block)
        parts = {kind: sum(at.part for first in firsts for at in method.past(first, kind)) for kind in KINDS}
        return window.block + sum(method.kinds.share(kind) * parts[kind] for kind in KINDS) / len(firsts)

    def fingerprint(self) -> dict[str, str]:
        return file_fingerprint("table", self.table, "a CSV file of heads")

    def build(self, info: RolloutInfo) -> Method:
        return PyramidMethod(info, self)
