"""TriAttention on LongLive: keeps the tokens that a head's mean query will attend most (2026; training-free).

Absolute positions. After each block, if more than `budget_frames` frames' worth of tokens are held, the sink and the
newest `keep_last` frames stay whole, and every head of every layer keeps the best of its other tokens, up to that many
frames in all. With the mean Q and the mean length A of a head's queries per complex pair, a key k (all before rotation)
at dt frames before the end of the block scores

    mean over D = 1, 2, 4 .. `furthest` of  sum over pairs of |Q| |k| cos(w (dt + D) + arg(Q k*)) + (A - |Q|) |k|

where w is the pair's frequency in time, and 0 for the pairs of rows and columns. With `shared_by_layers`, scores are
standardised per layer and head, and each head keeps the best in the mean over layers.

`statistics` names a file of Q and A, which the authors measure on other videos. `measured` is a variant of ours that
runs on every backbone: the take's own queries, in the commit passes up to its first choice. `slot_places` repeats a
slip of the released code: a key's rotation is undone at the place of its slot, as if what is held had no gaps, so that
rows and columns stay rotated by the difference. Where the prompt changes, the window beside the sink is computed again
(all frames, if it begins with the first), and then chosen from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, MethodConfig, RolloutInfo, methods
from longtake.platform.methods.interface.groups import recached, summed_up
from longtake.platform.methods.interface.hooks import Cache, Rerun, Seen
from longtake.platform.methods.interface.plan import LONGEST_WINDOW, Attended, Group, Plan, Tokens, Window
from longtake.platform.methods.parts.candidates import candidates
from longtake.platform.methods.parts.key_scores import MEASURED, KeyScores, statistics_sha256
from longtake.platform.settings.paths import FilePath

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.models.spec import DiTSpec


class TriAttentionMethod(Method):
    """`whole`: frames that are held whole. `tokens`: single tokens that are held besides, per row and layer, `picked`
    frames' worth. `end`: the frame after those that a pass computes."""

    grouped = True
    watched = frozenset({"commit"})

    def __init__(self, info: RolloutInfo, config: TriAttention):
        super().__init__(info)
        assert info.network is not None
        self.config, self.spec = config, info.network
        self.scores = KeyScores(self.spec, config.statistics, config.furthest)
        self.room = config.budget_frames - config.keep_last - self.window.sink
        self.whole, self.picked, self.end = list[int](), 0, 0
        self.tokens: list[list[Tokens | None]] = [[None] * self.spec.layers for _ in range(info.rows)]
        self.standard: dict[int, Tensor] = {}

    def plan(self, first: int) -> Plan:
        self.end, heads = first + self.window.block, tuple(range(self.spec.heads))
        new = range(first, self.end)
        row = tuple(Attended(f, f, self.local_reason(f, first)) for f in (*self.whole, *new))
        groups = [tuple(Group((i,), heads, row, kept) for i, kept in enumerate(layers)) for layers in self.tokens]
        return summed_up(groups, tuple(new), self.spec)

    def watch(self, seen: Seen) -> None:
        self.scores.add(seen)
        size, held, row, layer = self.spec.frame_tokens, seen.keys.shape[1], seen.row, seen.layer
        if held <= self.config.budget_frames * size or not self.room:
            return
        new = self.end - seen.query.shape[1] // size
        free = [frame for frame in (*seen.sources, *range(new, self.end)) if self.may_leave(frame)]
        found, count = candidates(seen, free, new, size), self.room * size
        scores = self.scores.score(row, layer, found, self.end, self.config.slot_places)
        if not self.config.shared_by_layers:
            self.tokens[row][layer] = found.best(scores, count)
            return
        standard = (scores - scores.mean(dim=1, keepdim=True)) / scores.std(dim=1, keepdim=True)
        self.standard[row] = standard + (self.standard[row] if layer else 0)
        if layer == self.spec.layers - 1:
            self.tokens[row] = [found.best(self.standard[row], count)] * self.spec.layers

    def may_leave(self, frame: int) -> bool:
        return self.window.sink <= frame < self.end - self.config.keep_last

    def committed(self, first: int, cache: Cache) -> None:
        self.hold([*self.whole, *range(first, self.end)], self.picked)

    def hold(self, whole: list[int], picked: int) -> None:
        """These frames are held whole, and so many frames' worth of tokens, less what leaves if that is too much."""
        full = len(whole) + picked > self.config.budget_frames
        self.whole = [frame for frame in whole if not (full and self.may_leave(frame))]
        self.picked = self.room if full else picked

    def switch(self, first: int, cut: bool) -> Rerun:
        size, sink = self.window.size, self.window.sink
        kept, again = (range(0), range(first)) if first <= size else (range(sink), range(first - size + sink, first))
        self.end, self.tokens = first, [[None] * self.spec.layers for _ in self.tokens]
        self.hold([*kept, *again], 0)
        return recached(kept, again, self.info.rows, self.spec)


@methods.register("triattention")
@dataclass(frozen=True)
class TriAttention(MethodConfig):
    """The tokens that a head's mean query will attend most (TriAttention, 2026).

    `budget_frames`: frames' worth of tokens to keep, the sink and the newest `keep_last` frames included; `furthest`:
    how many frames ahead scores look; `statistics`: a safetensors file of query statistics, or `measured`;
    `shared_by_layers`: each head chooses for all layers; `slot_places`: repeat a slip of the released code."""

    budget_frames: int = 6
    keep_last: int = 3
    furthest: int = 128
    statistics: FilePath = MEASURED
    shared_by_layers: bool = False
    slot_places: bool = False
    window: int | None = 12
    sink: int | None = 1

    def __post_init__(self) -> None:
        for name in ("keep_last", "furthest"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be 1 or more")

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if self.budget_frames < window.sink + self.keep_last:
            least = f"sink {window.sink} + keep_last {self.keep_last}"
            raise ConfigError(f"budget_frames = {self.budget_frames}: must be at least {least}")
        if not self.budget_frames + window.block <= window.size <= LONGEST_WINDOW:
            least = f"budget_frames {self.budget_frames} + block {window.block}"
            raise ConfigError(f"window = {window.size}: must be at least {least} and at most {LONGEST_WINDOW}")

    def attended(self, window: Window, network: DiTSpec) -> float:
        return self.budget_frames + window.block

    def at_budget(self, frames: int) -> Self:
        return replace(self, window=frames, budget_frames=frames - 3)

    def fingerprint(self) -> dict[str, str]:
        return {} if self.statistics == MEASURED else {"method.statistics": statistics_sha256(self.statistics)}

    def build(self, info: RolloutInfo) -> Method:
        return TriAttentionMethod(info, self)
