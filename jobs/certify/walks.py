"""Rollouts of a context method for its checks, block by block.

A method that plans frames, or derives entries, walks over random keys and latents, whose places come back: a method
that attends only what it has seen before attends something. A method with groups walks on the
pocket network, with one denoising pass, because the engine itself then says whether what it attends is there.

Shapes: [L layers, B rows, T tokens, h heads, d head dim].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.platform.backbones.base import Backbone
from longtake.platform.backbones.pocket_network import NETWORK
from longtake.platform.generation.kv_cache import KVCache
from longtake.platform.generation.rollout import Rollout
from longtake.platform.methods.base import Attended, Plan, RolloutInfo, Row, Window
from longtake.platform.methods.interface.plan import Source

BLOCKS = 40
THERE_AND_BACK = 20
"""Frames in one direction."""
LATENT = (5, 1, 8)
CAMERA = np.stack([np.arange(3 * BLOCKS), -np.arange(3 * BLOCKS), np.arange(3 * BLOCKS) // 2])


@dataclass(frozen=True)
class Step:
    """One block: its plan, what a second call gave, the plan as it was attended, per row what the bank lets go
    meanwhile, and what is in the cache when it begins: frames of the window, pinned ones, derived entries."""

    first: int
    plan: Plan
    again: Plan
    attended: Plan
    gone: list[list[int]]
    cached: frozenset[Source]

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.attended.rows

    @property
    def block(self) -> str:
        return f"block {self.first // 3}"


def frames_worth(row: Row) -> float:
    """Attended tokens in frames, mean over layers and heads."""
    return sum(at.part for at in row)


def shown(at: Attended) -> str:
    """An entry as tables show it: its name or frame, its time index and, unless it is 1, its part."""
    return f"{at.entry or at.frame}@{at.time}" + ("" if at.part == 1 else f"x{at.part:.2g}")


def info_of(rows: Sequence[int], window: Window, camera: bool) -> RolloutInfo:
    info = RolloutInfo(window, len(rows), tuple(11 + row for row in rows), network=NETWORK)
    worlds = (96,) * len(rows)
    return replace(info, columns=CAMERA[list(rows)], view_columns=8, world_columns=worlds) if camera else info


def randn(rows: Sequence[int], key: int, *shape: int) -> Tensor:
    """[rows, *shape]: numbers that depend on the row and the key alone."""
    seeds = [torch.Generator().manual_seed(100_000 * row + key) for row in rows]
    return torch.stack([torch.randn(shape, generator=seed) for seed in seeds])


def place(frame: int) -> int:
    """Where a camera is that walks there and back, again and again."""
    return abs((frame + THERE_AND_BACK) % (2 * THERE_AND_BACK) - THERE_AND_BACK)


def walk_plans(method: Any, rows: Sequence[int]) -> Iterator[Step]:
    """A rollout over random latents and keys."""
    kv = (NETWORK.frame_tokens, NETWORK.heads, NETWORK.head_dim)
    cache = KVCache((2, NETWORK.layers, len(rows), *kv), method.window, None)
    for first in range(0, 3 * BLOCKS, 3):
        plan, again = method.plan(first), method.plan(first)
        entries = cache.open_block(first, method.pinned(first))
        cached = frozenset[Source]({*cache.live, *cache.made})
        yield Step(first, plan, again, plan, method.forget(first), cached)
        for i, entry in enumerate(entries):
            entry.copy_(randn(rows, first + i + 1, 2, NETWORK.layers, *kv).permute(1, 2, 0, 3, 4, 5))
        method.observe(first, torch.stack([randn(rows, place(first + i), *LATENT) for i in range(3)], dim=1))
        method.committed(first, cache)


@dataclass(frozen=True)
class RowNoise:
    """Noise [B, 3, C, H, W] of the pocket network."""

    rows: Sequence[int]

    def initial(self, block: int) -> Tensor:
        return randn(self.rows, block, 3, NETWORK.channels, NETWORK.latent_height, NETWORK.latent_width)

    def renoise(self, block: int, step: int) -> Tensor:
        raise AssertionError("a single pass has no renoising")


def walk_network(method: Any, rows: Sequence[int], pocket: Backbone, prompts: Sequence[str]) -> Iterator[Step]:
    """A rollout of the pocket network. `method` has groups, so it attends nothing in a bank."""
    schedule = replace(pocket.spec.schedule, steps=(1000,))
    text = torch.cat([pocket.condition(prompts[row % len(prompts)], 24).text for row in rows])
    rollout = Rollout(pocket.network, schedule, method, text, RowNoise(rows), keep_evicted=False)
    for first in range(0, 3 * BLOCKS, 3):
        plan, again = method.plan(first), method.plan(first)
        live = {*method.window.live(first + 3), *method.pinned(first)}
        cached = frozenset[Source](live | {*rollout.cache.made})
        attended = rollout.block(first // 3).plan
        yield Step(first, plan, again, attended, [[] for _ in rows], cached)
