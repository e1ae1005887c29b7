"""Deep Forcing (2025): a deep sink, and single tokens of the past that the newest queries ask for most.

Each layer attends the sink of S frames, tokens that it kept, and whole frames since. When these and the new block would
exceed W frames, it compresses them to N in the block's first pass, before it attends. Between the sink and the last R
frames, the (N - S - R) T tokens stay whose keys have the highest product with the sum of the queries of the last R
frames, both rotated, summed over heads: of this pass for the new frames, of the commit pass for those before. A token
that was chosen `reuse` times is no longer a candidate, so fewer may remain.

In the paper all that is attended is `contiguous`: the last R frames keep their index, kept tokens get the indices just
before, T each, and the sink those before the tokens. In the released code (`contiguous: false`) keys have their frame's
own index, but with each compression the sink moves to f - n .. f - n + S - 1, for a block that begins at f and n whole
frames' worth of tokens left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Attended, Latent, Method, MethodConfig, Plan, RolloutInfo, Window, methods
from longtake.platform.methods.interface.groups import summed_up
from longtake.platform.methods.interface.hooks import Pass, Replacement, Seen
from longtake.platform.methods.interface.plan import Group, Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.models.spec import DiTSpec


@methods.register("deep-forcing")
@dataclass(frozen=True)
class DeepForcing(MethodConfig):
    """A deep sink, and the tokens that each layer attends most (Deep Forcing, 2025).

    `keep_frames` N: frames' worth of tokens after a compression; `recent` R: newest frames, the
    block's included, that stay whole; `reuse`: how often a token can be chosen; `contiguous`: the paper's indices."""

    varies: ClassVar[bool] = True

    window: int | None = 21
    sink: int | None = 10
    keep_frames: int = 16
    recent: int = 4
    reuse: int = 7
    contiguous: bool = True

    def __post_init__(self) -> None:
        if self.reuse < 1:
            raise ConfigError(f"reuse = {self.reuse}: must be 1 or more")

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        block, most = window.block, window.size // window.block * window.block
        if not block <= self.recent <= 2 * block or not window.sink + self.recent < self.keep_frames <= most:
            rule = f"recent must be from {block} to {2 * block}, keep_frames more than sink {window.sink} + recent and"
            given = f"recent = {self.recent}, keep_frames = {self.keep_frames}"
            raise ConfigError(f"{given}: {rule} at most {most}, the window in whole blocks")

    def attended(self, window: Window, network: DiTSpec) -> float:
        """A block is added until it would exceed the window."""
        return self.keep_frames + (window.size - self.keep_frames) // window.block * window.block / 2

    def at_budget(self, frames: int) -> Self:
        """A smaller window than the published one has a sink of one frame."""
        sink = self.sink if frames >= (self.window or 0) else 1
        return replace(self, window=frames, keep_frames=frames, sink=sink)

    def build(self, info: RolloutInfo) -> Method:
        return DeepForcingMethod(info, self)


@dataclass(frozen=True)
class Held:
    """What a layer attends: the sink from time index `sink` on, tokens (`ids` = frame * T + token) at `times`, each
    chosen `uses` times, and the frames from `whole` on."""

    sink: int
    ids: np.ndarray
    times: np.ndarray
    uses: np.ndarray
    whole: int


class DeepForcingMethod(Method):
    """`held`, and `queries` [h, (R - block) T, d] of the newest committed frames: per row and layer."""

    grouped = True
    watched: frozenset[Pass] = frozenset({"first", "commit"})

    def __init__(self, info: RolloutInfo, config: DeepForcing):
        super().__init__(info)
        assert info.network is not None
        self.config, self.network, self.size = config, info.network, info.network.frame_tokens
        none = np.empty(0, np.int64)
        self.held = [[Held(0, none, none, none, self.window.sink)] * info.network.layers for _ in range(info.rows)]
        self.queries: list[dict[int, Tensor]] = [{} for _ in range(info.rows)]

    def plan(self, first: int) -> Plan:
        groups = [tuple(self.group(first, layer, held) for layer, held in enumerate(row)) for row in self.held]
        return summed_up(groups, tuple(range(first, first + self.window.block)), self.network)

    def group(self, first: int, layer: int, held: Held) -> Group:
        end, sink = first + self.window.block, self.window.sink
        row = tuple(
            Attended(frame, frame + held.sink if frame < sink else frame, self.local_reason(frame, first))
            for frame in (*range(min(sink, end)), *range(held.whole, end))
        )
        tokens = Tokens(held.ids // self.size, held.ids % self.size, held.times) if len(held.ids) else None
        return Group((layer,), tuple(range(self.network.heads)), row, tokens)

    def watch(self, seen: Seen) -> Replacement | None:
        held, answer = self.held[seen.row], None
        if "first" in seen.passes and seen.keys.shape[1] > self.window.size * self.size:
            held[seen.layer] = self.compressed(seen, held[seen.layer])
            answer = Replacement(self.group(seen.first, seen.layer, held[seen.layer]))
        if "commit" in seen.passes:
            others = (2 * self.window.block - self.config.recent) * self.size
            self.queries[seen.row][seen.layer] = seen.query[:, others:].clone()
        return answer

    def compressed(self, seen: Seen, held: Held) -> Held:
        size, sink, recent, new = self.size, self.window.sink, self.config.recent, seen.query.shape[1]
        oldest = seen.first + self.window.block - recent
        joining, scores = np.arange(held.whole * size, oldest * size), self.scores(seen, range(oldest, seen.first))
        ids, uses = np.concatenate([held.ids, joining]), np.concatenate([held.uses, np.zeros_like(joining)])
        tokens, whole = scores[len(scores) - new - len(held.ids) : -new], scores[sink * size :][: len(joining)]
        scores, free = np.concatenate([tokens, whole]), np.flatnonzero(uses < self.config.reuse)
        best = free[np.argsort(-scores[free], kind="stable")][: (self.config.keep_frames - sink - recent) * size]
        kept, left = np.sort(best), len(best)
        times, moved = ids[kept] // size, seen.first - sink - recent - left // size
        if self.config.contiguous:
            times, moved = (oldest * size - left + np.arange(left)) // size, oldest + -left // size - sink
        return Held(moved, ids[kept], times, uses[kept] + 1, oldest)

    def scores(self, seen: Seen, before: range) -> np.ndarray:
        """A score for each token that the layer attends, by the queries of the frames `before` and of the new ones."""
        asked = seen.rotated_query.float().sum(1)
        for i, frame in enumerate(before):
            query = self.queries[seen.row][seen.layer][:, i * self.size : (i + 1) * self.size]
            asked = asked + seen.rotate(query, frame, frame).float().sum(1)
        scores: np.ndarray = (seen.rotated_keys.float() * asked[:, None]).sum((0, 2)).cpu().numpy()
        return scores
