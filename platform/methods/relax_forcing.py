"""Relax Forcing: sink, one frame of history that is unlike the newest, and the newest (2026; training-free).

Once block f has enough past, it attends S sink frames, H of history, the T newest, and itself. History comes out of
the m = f - S - T frames between sink and tail. With c = min(C, m - m // 2), the candidates are the c + 1 numbers that
divide m // 2 .. m - 1 evenly, rounded down, without repetitions and without the last, counted from frame S. A frame is
compared by its prototype: the mean of its keys (layer 0, before rotation) over tokens and heads, scaled to length 1;
sink and tail by that of all their tokens. The H candidates with the highest cos(c, sink) - r * cos(c, tail) are
attended in all layers, oldest first; the older of equals. Without a sink, or a tail, its cosine is 0.

Time indices: the block at its own, the others right before it, without gaps; with `contiguous_rope` at their own.

The released code has a cache of 120 frames, and m is what lies between sink and tail in it (`cached: 120`); here the
bank keeps all. In its batches the first video chooses for all; here each chooses for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Cache, Latent, Method, MethodConfig, RolloutInfo, methods
from longtake.platform.methods.interface.plan import RETRIEVED, Plan, Row, Window
from longtake.platform.methods.parts.descriptors import DescriptorTable
from longtake.platform.methods.parts.history import scores, spread_out
from longtake.platform.methods.parts.ranges import at_least


class RelaxMethod(Method):
    """`keys`: the mean key of every frame. `held`: frames of the last block that have left the window, but not the
    cache: a frame that is chosen while it leaves stays for one more block."""

    def __init__(self, info: RolloutInfo, config: RelaxForcing):
        super().__init__(info)
        self.config, self.keys, self.held = config, DescriptorTable(), frozenset[int]()

    def plan(self, first: int) -> Plan:
        rows = tuple(self.row(row, first) for row in range(self.info.rows))
        return Plan(rows, tuple(range(first, first + self.window.block)))

    def row(self, index: int, first: int) -> Row:
        sink, tail, end = self.window.sink, self.config.tail, first + self.window.block
        if first <= sink + 1 + tail:
            return self.local_row(first, range(end))
        kept = self.chosen(index, first)
        frames = [*range(sink), *kept, *range(first - tail, end)]
        times = frames if self.config.contiguous_rope else range(end - len(frames), end)
        row = self.local_row(first, frames, times)
        return tuple(replace(at, reason=RETRIEVED, similarity=kept[at.frame]) if at.frame in kept else at for at in row)

    def chosen(self, row: int, first: int) -> dict[int, float]:
        """The frames of history, oldest first, with their scores."""
        sink, tail, config = self.window.sink, self.config.tail, self.config
        past = first if config.cached is None else min(first, config.cached - self.window.block)
        middle, keys = past - sink - tail, self.keys.all[row]
        found = first - tail - middle + spread_out(middle, config.candidates)
        values = scores(keys[found], keys[:sink], keys[first - tail : first], config.redundancy)
        best = values.sort(descending=True, stable=True).indices[: config.history].sort().values
        return dict(zip(found[best].tolist(), values[best].tolist(), strict=True))

    def pinned(self, first: int) -> set[int]:
        """Chosen frames that are in the cache and would leave it now, before the bank has them."""
        if first <= self.window.sink + 1 + self.config.tail:
            return set()
        chosen = {frame for row in range(self.info.rows) for frame in self.chosen(row, first)}
        return chosen & (self.held | {*self.window.live(first)})

    def committed(self, first: int, cache: Cache) -> None:
        import torch

        self.held = frozenset(self.pinned(first))
        frames = [cache.frame(frame)[0, 0].float() for frame in range(first, first + self.window.block)]
        means = [torch.stack([keys[row].mean(dim=(0, 1)) for keys in frames]) for row in range(self.info.rows)]
        self.keys.append(torch.stack(means))


@methods.register("relax-forcing")
@dataclass(frozen=True)
class RelaxForcing(MethodConfig):
    """Sink, a frame of history that is like the sink and unlike the newest, and the newest (Relax Forcing, 2026).

    `history`, `tail`: how many frames; `candidates` C, of which history is chosen; `redundancy` r: the weight against
    similarity to the tail; `cached`: frames of the cache that history comes from, the block's included; null: all. The
    window is sink + history + tail + block, and that if null."""

    keeps_evicted: ClassVar[bool] = True

    history: int = 1
    tail: int = 1
    candidates: int = 4
    redundancy: float = 2.0
    contiguous_rope: bool = False
    cached: int | None = None
    window: int | None = 7
    sink: int | None = 2

    def __post_init__(self) -> None:
        at_least(self, history=1, tail=0)
        if self.candidates < self.history:
            raise ConfigError(f"candidates = {self.candidates}: must be at least history = {self.history}")

    def build(self, info: RolloutInfo) -> Method:
        return RelaxMethod(info, self)

    def window_in(self, default: Window) -> Window:
        sink = default.sink if self.sink is None else self.sink
        due = sink + self.history + self.tail + default.block
        return Window(due if self.window is None else self.window, sink, default.block)

    def at_budget(self, frames: int) -> Self:
        history = self.history + frames - self.window_in(Window()).size
        return replace(self, window=frames, history=history, candidates=max(history, self.candidates))

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        due = window.sink + self.history + self.tail + window.block
        if window.size != due:
            raise ConfigError(f"window = {window.size}: must be sink + history + tail + block = {due}; set it, or null")
        if self.cached is not None and self.cached < (least := due - self.history + 2):
            raise ConfigError(f"cached = {self.cached}: must be at least sink + tail + block + 2 = {least}, or null")
