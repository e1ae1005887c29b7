"""TetherCache (2026): in each layer, the commit pass chooses which leaving frames join a memory of M frames.

The window of W frames is [sink S | memory M = W - S - R | recent R], at time indices 0..W-1, and fills in this order.
Then, in every block, the frames that leave `recent` become candidates beside the memory's own. They are attended by no
pass before the commit pass, in which each layer decides before it attends, by its clean queries:

    mass  = softmax over candidates of mean over queries, heads and tokens of q.k / sqrt(d) / T, before rotation
    red_i = max over j != i of mass_j * exp(-|t_i - t_j| / s),   s = max(1, (t_max - t_min + 1) / 2),  t: frame indices
    score = mass + alpha * max(0, 1 - red)

The M best stay, in the order of the video. A frame that joins is pulled towards the past: of keys and of values, x
becomes (1 - tau) x + tau (sd_P (x - mu_x) / sd_x + mu_P), where P is the sink and the memory before the change, and mu
and sd are over tokens, per head and channel. The released code averages over the batch; here each row is by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, MethodConfig, Replacement, RolloutInfo, Seen, methods
from longtake.platform.methods.interface.plan import RETRIEVED, Attended, Group, Row, Source, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.ranges import at_least, within
from longtake.platform.methods.parts.tokens.pulled import pulled

if TYPE_CHECKING:
    from torch import Tensor


@methods.register("tethercache")
@dataclass(frozen=True)
class TetherCache(MethodConfig):
    """Frames that each layer admits to its memory (TetherCache, 2026).

    `recent` R: newest frames, the block's included; the memory has W - S - R frames. `alpha`: weight of not being
    redundant; `tau`: how far frames that join are pulled; `temperature` T: above 1, masses are more alike. A frame has
    different indices in different layers."""

    window: int | None = 21
    sink: int | None = 3
    recent: int = 4
    alpha: float = 0.35
    tau: float = 0.35
    temperature: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, alpha=0, temperature=1e-6)
        within(self, tau=(0, 1))

    def at_budget(self, frames: int) -> Self:
        return replace(self, window=frames, recent=max(3, min(self.recent, frames // 5)))

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if not window.block <= self.recent <= window.size - window.sink:
            rule = f"at least block {window.block}, and at most window {window.size} - sink {window.sink}"
            raise ConfigError(f"recent = {self.recent}: must be {rule}")

    def build(self, info: RolloutInfo) -> Method:
        return TetherCacheMethod(info, self)


class TetherCacheMethod(GroupedMethod):
    """`memory`: per row and layer, the frames that were kept; some may not exist yet. `full`: the slot after them."""

    watched = frozenset({"commit"})

    def __init__(self, info: RolloutInfo, config: TetherCache):
        super().__init__(info)
        self.config, self.full = config, self.window.size - config.recent
        start = list(range(self.window.sink, self.full))
        self.memory = [[start] * self.spec.layers for _ in range(info.rows)]

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        return tuple(self.layer(layer, self.row(first, memory)) for layer, memory in enumerate(self.memory[row]))

    def row(self, first: int, memory: list[int]) -> Row:
        end = first + self.window.block
        recent = range(max(self.full, end - self.config.recent), end)
        frames = [frame for frame in (*range(self.window.sink), *memory, *recent) if frame < end]
        chosen = {*memory} if end > self.window.size else ()
        return tuple(
            Attended(frame, slot, RETRIEVED if frame in chosen else self.local_reason(frame, first))
            for slot, frame in enumerate(frames)
        )

    def pinned(self, first: int) -> range:
        """The frames that leave `recent`: not in the window if the memory is shorter than a block."""
        recent = self.config.recent
        return range(max(self.full, first - recent), first + self.window.block - recent)

    def watch(self, seen: Seen) -> Replacement | None:
        import torch

        memory, sink, leaving = self.memory[seen.row][seen.layer], range(self.window.sink), self.pinned(seen.first)
        if not leaving or not memory:
            return None
        candidates = [*memory, *leaving]
        entries = {frame: seen.fetch(frame) for frame in (*sink, *candidates)}
        scores = self.scores(candidates, seen.query, [entries[frame][0] for frame in candidates])
        order = scores.argsort(descending=True, stable=True)[: len(memory)]
        kept = sorted(candidates[i] for i in order.tolist())
        past = torch.cat([entries[frame] for frame in (*sink, *memory)], dim=2)
        edited: dict[Source, Tensor] = {f: pulled(entries[f], past, self.config.tau) for f in leaving if f in kept}
        self.memory[seen.row][seen.layer] = kept
        return Replacement(self.layer(seen.layer, self.row(seen.first, kept)), edited)

    def scores(self, frames: list[int], query: Tensor, keys: list[Tensor]) -> Tensor:
        """[n], by queries [h, N, d] and keys [h, T, d] of n frames; the mean of products is the product of means."""
        import torch

        means = torch.stack([key.float().mean(1) for key in keys])
        per_head = (means * query.float().mean(1)).sum(-1) / query.shape[-1] ** 0.5
        mass = (per_head.mean(1) / self.config.temperature).softmax(0)
        times = torch.tensor(frames, device=query.device)
        near = torch.exp(-(times[:, None] - times).abs() / max(1.0, (max(frames) - min(frames) + 1) / 2))
        redundancy = (near * mass).fill_diagonal_(0.0).amax(1)
        return mass + self.config.alpha * (1 - redundancy).clamp(min=0)
