"""Makes a take again, block by block, and explains every place that it lost. Reads no store and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from longtake.evaluators.revisit.walk import split_columns
from longtake.jobs.explain.sights import Sights
from longtake.jobs.explain.stages import cover, stages_of
from longtake.platform.errors import ConfigError
from longtake.platform.generation.rollout import Rollout
from longtake.platform.generation.sampler import Sampler
from longtake.platform.methods.base import RETRIEVED, Plan
from longtake.platform.methods.parts.memory import MemoryMethod
from longtake.platform.pocket.codec import PocketCodec
from longtake.platform.pocket.truth import truth_of
from longtake.platform.takes import Take


@dataclass(frozen=True)
class Loss:
    """One place that came back and was wrong. `copies`: the stored frames that show it rightly; `attended`: of these,
    the ones in the block's plan."""

    frame: int
    place: int
    stage: str
    copies: tuple[int, ...]
    attended: tuple[int, ...]


@dataclass(frozen=True)
class Explained:
    """All losses of a take, of so many columns that came back."""

    losses: list[Loss]
    returned: int


def explain(take: Take, sampler: Sampler, report: Callable[[int, int], None]) -> Explained:
    """Raises ConfigError for a take without a known camera, or of a method whose memory is not whole past frames."""
    if not sampler.backbone.spec.has_camera:
        raise ConfigError(f"{take.backbone}: has no known camera; explain needs a take of the pocket world")
    rollout, prefix = sampler.rollout([take])
    try:
        return Replay(take, rollout, prefix).run(report)
    finally:
        rollout.close()


class Replay:
    """One take on its rollout."""

    def __init__(self, take: Take, rollout: Rollout, prefix: torch.Tensor | None):
        if not isinstance(rollout.method, MemoryMethod):
            label = take.method.label
            raise ConfigError(f"method {label}: has no memory of whole past frames; explain a take of a memory method")
        self.take, self.rollout, self.method, self.prefix = take, rollout, rollout.method, prefix
        self.codec = PocketCodec()
        truth = truth_of(take.prompt, take.switches, take.seed, take.latent_frames)
        self.sights = Sights(truth, take.prefix_frames)
        self.size = rollout.method.window.block

    def run(self, report: Callable[[int, int], None]) -> Explained:
        losses: list[Loss] = []
        returned, total = 0, self.take.latent_frames // self.size
        for block in self.rollout.blocks(total, self.prefix):
            seen = self.sights.add(self.columns(block.latents))
            returned += len(seen.kept) + len(seen.lost)
            report(block.index + 1, total)
            following = block.index + 1
            if following < total and following * self.size >= self.take.prefix_frames:
                losses += self.losses_of(following)
        return Explained(losses, returned)

    def columns(self, latents: torch.Tensor) -> np.ndarray:
        """float64 [n, 8, D] of latents [1, n, C, H, W]."""
        return np.stack([split_columns(view) for view in self.codec.decode(latents[0])])

    def losses_of(self, index: int) -> list[Loss]:
        """What block `index`, the next one, will lose, and where."""
        first, plan = index * self.size, self.rollout.prepared[index].plan
        seen = self.sights.look(self.columns(self.rollout.trial(index, plan)))
        if not seen.lost:
            return []
        right = {frame: self.sights.right[frame] for frame in self.stored(first)}
        lost_places = {place for _, place in seen.lost}
        copies = {place: [f for f, shown in right.items() if place in shown] for place in lost_places}
        attended = {at.frame for at in plan.rows[0]}
        needed = {int(p) for p in np.unique(self.sights.places_FC[first : first + self.size])}
        memory = {frame: shown for frame, shown in right.items() if frame not in self.local(plan)}

        def trial(frames: list[int]) -> set[tuple[int, int]]:
            chosen = [frame for frame in frames if frame in memory][: self.method.top_k]
            return self.sights.look(self.columns(self.rollout.trial(index, self.with_memory(first, chosen)))).kept

        best = cover(needed, memory, self.method.top_k)
        stages = stages_of(seen.lost, copies, attended, best, trial)
        return [
            Loss(frame, place, stage, tuple(copies[place]), tuple(f for f in copies[place] if f in attended))
            for (frame, place), stage in sorted(stages.items())
        ]

    def stored(self, first: int) -> list[int]:
        """Frames that block `first` could attend: those of its window and of the bank."""
        cache = self.rollout.cache
        window = [frame for frame in self.method.window.live(first + self.size) if frame < first]
        banked = [f for f in self.method.window.evicted(first) if cache.bank is not None and (0, f) in cache.bank]
        return sorted({*window, *banked})

    def local(self, plan: Plan) -> set[int]:
        return {at.frame for at in plan.rows[0] if at.reason != RETRIEVED}

    def with_memory(self, first: int, frames: list[int]) -> Plan:
        """The method's own layout with these frames as its memory."""
        used = min(first + self.size, self.method.window.size)
        choice: list[Any] = [(frame, None) for frame in frames]
        row = self.method.laid_out(first, used, choice, len(choice))
        return Plan((row,), tuple(range(used - self.size, used)))
