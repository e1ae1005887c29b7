"""TriAttention on LongLive: keeps the tokens that a head's mean query will attend most (2026; training-free).

Absolute positions. After each block, if more than `budget_frames` frames' worth of tokens are held, the sink and the
newest `keep_last` frames (fewer, if the budget is less) stay whole, and every head of every layer keeps the best of its
other tokens, up to that many frames in all. With the mean Q and the mean length A of a head's queries per complex pair,
a key k (all before rotation) at dt frames before the end of the block scores

    mean over D = 1, 2, 4 .. `furthest` of  sum over pairs of |Q| |k| cos(w (dt + D) + arg(Q k*)) + (A - |Q|) |k|

where w is the pair's frequency in time, and 0 for the pairs of rows and columns. With `shared_by_layers`, scores are
standardised per layer and head, then averaged. If a block exceeds the window, the oldest behind the sink leaves.

`statistics` names a file of Q and A, which the authors measure on other videos. `measured` is a variant of ours: the
take's own queries, in the commit passes up to its first choice. `slot_places` repeats a slip of the released code: a
key's rotation is undone at the place of its slot, as if nothing were missing, so that rows and columns stay rotated by
the difference. Where the prompt changes, the window beside the sink, or all of it at first, is made and cut again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Cache, Latent, Method, MethodConfig, Rerun, RolloutInfo, Seen, methods
from longtake.platform.methods.interface.plan import LONGEST_WINDOW, Group, Tokens, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.measured import MEASURED, file_fingerprint
from longtake.platform.methods.parts.ranges import at_least
from longtake.platform.methods.parts.tokens.candidates import candidates
from longtake.platform.methods.parts.tokens.key_scores import KeyScores
from longtake.platform.methods.parts.tokens.slots import Held
from longtake.platform.models.spec import DiTSpec
from longtake.platform.settings.paths import FilePath


class TriAttentionMethod(GroupedMethod):
    """`stock`: what is held before the next block. `tokens`: of its single tokens, those of every row and layer."""

    watched = frozenset({"commit"})

    def __init__(self, info: RolloutInfo, config: TriAttention):
        super().__init__(info)
        self.config, self.stock = config, Held()
        options = config.slot_places, config.shared_by_layers, config.aggregation == "max", config.normalize
        self.scores = KeyScores(self.spec, config.statistics, config.furthest, *options)
        self.sink = self.window.sink if config.protect_sink else 0
        self.last = min(config.keep_last, config.budget_frames - self.sink)
        self.room = config.budget_frames - self.sink - self.last
        self.tokens: list[list[Tokens | None]] = [[None] * self.spec.layers for _ in range(info.rows)]

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        held, size = self.stock.beside(self.window), self.spec.frame_tokens
        whole = self.local_row(first, [*held.whole, *self.window.new(first)])
        return tuple(self.layer(layer, whole, held.of(kept, size)) for layer, kept in enumerate(self.tokens[row]))

    def watch(self, seen: Seen) -> None:
        self.scores.add(seen)
        size, end = self.spec.frame_tokens, seen.new.stop
        if seen.keys.shape[1] > self.config.budget_frames * size and self.room:
            found = candidates(seen, range(self.sink, end - self.last), size)
            best = found.best(self.scores.score(seen.row, seen.layer, found, end), self.room * size)
            for layer in range(self.spec.layers) if self.config.shared_by_layers else (seen.layer,):
                self.tokens[seen.row][layer] = best

    def committed(self, first: int, cache: Cache) -> None:
        self.hold(self.stock.beside(self.window).plus(self.window.new(first)))

    def hold(self, held: Held) -> None:
        self.stock = held.cut(self.sink, self.room, self.last) if held.frames > self.config.budget_frames else held

    def switch(self, first: int, cut: bool) -> Rerun:
        again = self.window.recached(first)
        self.tokens = [[None] * self.spec.layers for _ in self.tokens]
        self.hold(Held([*range(min(self.window.sink, again.start)), *again]))
        return self.recached(first, again, watched=True)


@methods.register("triattention")
@dataclass(frozen=True)
class TriAttention(MethodConfig):
    """The tokens that a head's mean query will attend most (TriAttention, 2026).

    `budget_frames`: frames' worth of tokens to keep, the sink and the newest `keep_last` frames included; `furthest`:
    how many frames ahead scores look; `aggregation`: their mean, or max; `statistics`: a safetensors file of them, or
    `measured`; `shared_by_layers`: each head chooses for all layers, by scores as they are if not `normalize`;
    `slot_places`: repeat a slip of the released code; `protect_sink`: keep the sink whole."""

    budget_frames: int = 6
    keep_last: int = 3
    furthest: int = 128
    statistics: FilePath = MEASURED
    shared_by_layers: bool = False
    slot_places: bool = False
    aggregation: Literal["mean", "max"] = "mean"
    normalize: bool = True
    protect_sink: bool = True
    window: int | None = 12
    sink: int | None = 1

    def __post_init__(self) -> None:
        at_least(self, keep_last=0, furthest=1)

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if not (least := max(1, window.sink)) <= self.budget_frames < window.size <= LONGEST_WINDOW:
            rule = f"budget_frames must be from {least} (the sink) to window - 1, and window at most {LONGEST_WINDOW}"
            raise ConfigError(f"budget_frames = {self.budget_frames}, window = {window.size}: {rule}")

    def attended(self, window: Window, network: DiTSpec) -> float:
        return min(self.budget_frames + window.block, window.size)

    def at_budget(self, frames: int) -> Self:
        return replace(self, window=frames, budget_frames=frames - 3)

    def fingerprint(self) -> dict[str, str]:
        return file_fingerprint("statistics", self.statistics, "a safetensors file of query statistics")

    def build(self, info: RolloutInfo) -> Method:
        return TriAttentionMethod(info, self)
