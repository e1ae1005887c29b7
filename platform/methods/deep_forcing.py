"""Deep Forcing (2025): a deep sink, and single tokens of the past that the newest queries ask for most.

Each layer attends the sink of S frames, tokens that it kept, and whole frames since. When these and the new block would
exceed W frames, it compresses them to N in the block's first pass, before it attends. Between the sink and the last R
frames, the (N - S - R) T tokens stay whose keys have the highest product with the sum of the queries of the last R
frames, both rotated, summed over heads: of this pass for the new frames, of the commit pass for those before. A token
that was chosen `reuse` times is no longer a candidate, so fewer may remain.

In the paper all that is attended is `contiguous`: the last R frames keep their index, kept tokens get the indices just
before, T each, and the sink those before the tokens. In the released code (`contiguous: false`) keys have their frame's
own index, but with each compression the sink moves to begin at f - n + W mod B, for a block of B frames that begins at
f and n whole frames' worth of tokens left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, MethodConfig, Replacement, RolloutInfo, Seen, methods
from longtake.platform.methods.interface.plan import Group, Tokens, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.ranges import at_least
from longtake.platform.methods.parts.tokens.candidates import candidates
from longtake.platform.methods.parts.tokens.recent_queries import RecentQueries
from longtake.platform.models.spec import DiTSpec


@methods.register("deep-forcing")
@dataclass(frozen=True)
class DeepForcing(MethodConfig):
    """A deep sink, and the tokens that each layer attends most (Deep Forcing, 2025).

    `keep_frames` N: frames' worth of tokens after a compression; `recent` R: newest frames, the block's included, that
    stay whole; `reuse`: how often a token can be chosen (0: always); `contiguous`: the paper's indices."""

    varies: ClassVar[bool] = True

    window: int | None = 21
    sink: int | None = 10
    keep_frames: int = 16
    recent: int = 4
    reuse: int = 7
    contiguous: bool = True

    def __post_init__(self) -> None:
        at_least(self, reuse=0)

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        block = window.block
        if not block <= self.recent <= 2 * block or not window.sink + self.recent < self.keep_frames <= window.size:
            rule = f"recent must be from {block} to {2 * block}, keep_frames more than sink {window.sink} + recent and"
            given = f"recent = {self.recent}, keep_frames = {self.keep_frames}"
            raise ConfigError(f"{given}: {rule} at most window {window.size}")

    def attended(self, window: Window, network: DiTSpec) -> float:
        """A block is added until it would exceed the window."""
        return self.keep_frames + (window.size - self.keep_frames) // window.block * window.block / 2

    def at_budget(self, frames: int) -> Self:
        """A smaller window than the published one has a sink of one frame."""
        return replace(self, window=frames, keep_frames=frames, sink=self.sink if frames >= (self.window or 0) else 1)

    def build(self, info: RolloutInfo) -> Method:
        return DeepForcingMethod(info, self)


class Held(NamedTuple):
    """A layer attends the sink from time index `sink` on, frames from `whole` on, and `tokens`, chosen `uses` times."""

    sink: int
    whole: int
    tokens: Tokens | None = None
    uses: np.ndarray = np.empty(0, np.int64)


class DeepForcingMethod(GroupedMethod):
    """`held`: per row and layer."""

    watched = frozenset({"first", "commit"})

    def __init__(self, info: RolloutInfo, config: DeepForcing):
        super().__init__(info)
        self.config, self.size = config, self.spec.frame_tokens
        self.room = (config.keep_frames - self.window.sink - config.recent) * self.size
        self.held = [[Held(0, self.window.sink)] * self.spec.layers for _ in range(info.rows)]
        self.queries = RecentQueries(self.size)

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        return tuple(self.group(first, layer, held) for layer, held in enumerate(self.held[row]))

    def group(self, first: int, layer: int, held: Held) -> Group:
        end, sink = first + self.window.block, min(self.window.sink, first + self.window.block)
        moved = self.local_row(first, range(sink), range(held.sink, held.sink + sink))
        return self.layer(layer, moved + self.local_row(first, range(held.whole, end)), held.tokens)

    def watch(self, seen: Seen) -> Replacement | None:
        held, full = self.held[seen.row], seen.keys.shape[1] > self.window.size * self.size
        if full:
            held[seen.layer] = self.compressed(seen, held[seen.layer])
        self.queries.keep(seen, self.config.recent - self.window.block)
        return Replacement(self.group(seen.first, seen.layer, held[seen.layer])) if full else None

    def compressed(self, seen: Seen, held: Held) -> Held:
        sink, oldest = self.window.sink, seen.new.stop - self.config.recent
        found = candidates(replace(seen, keys=seen.rotated_keys), range(held.whole, oldest), self.size)
        scores = self.queries.products(seen, found, range(oldest, seen.first))
        uses = np.pad(held.uses, (0, len(scores) - len(held.uses)))
        free = np.flatnonzero(uses < (self.config.reuse or np.inf))
        kept = np.sort(free[np.argsort(-scores[free], kind="stable")][: self.room])
        left, block = len(kept), self.window.block
        frames, places = np.divmod(found.ids[0].cpu().numpy()[kept], self.size)
        times, moved = frames, oldest - block - left // self.size - sink + self.window.size % block
        if self.config.contiguous:
            times, moved = oldest + np.arange(-left, 0) // self.size, oldest + -left // self.size - sink
        return Held(moved, oldest, Tokens(frames, places, times), uses[kept] + 1)
