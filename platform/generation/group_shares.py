"""The share of a block's attention on each entry of a plan with groups, measured in one pass of the network.

As `longtake.platform.generation.attention_share`, per group of heads. Waits for the device in every layer.

Shapes: g heads of a group, N query tokens, d head dim, M tokens attended.
"""

import numpy as np
import torch
from torch import Tensor

from longtake.platform.generation.attention_share import SCORES
from longtake.platform.generation.head_context import HeadContext
from longtake.platform.methods.interface.plan import Plan, Tokens
from longtake.platform.models.spec import DiTSpec

Key = tuple[int, int, str]
"""Frame, time index, name of a derived entry."""


class GroupShares:
    """Sums the softmax mass on each entry, per batch row."""

    def __init__(self, spec: DiTSpec, rows: int):
        self.spec = spec
        self.mass: list[dict[Key, float]] = [{} for _ in range(rows)]

    def add(self, row: int, context: HeadContext, query: Tensor) -> None:
        """Add the mass of one group's rotated queries [g, N, d] in one layer."""
        mass, group, at = token_mass(query, context.rotated), context.group, 0
        past = [entry for entry in group.row if entry.reason != "block"]
        for entry in (*past, None, *group.row[len(past) :]):
            if entry is not None:
                span = context.spans[entry.source]
                end = at + span.stop - span.start
                self.put(row, (entry.frame, entry.time, entry.entry), mass[:, at:end])
                at = end
            elif group.tokens is not None:
                at += self.add_tokens(row, group.tokens, mass[:, at:])

    def add_tokens(self, row: int, tokens: Tokens, mass: np.ndarray) -> int:
        """Add the mass [g, n ...] of single tokens. Returns their number, n."""
        frames, _, times = (np.broadcast_to(x, (len(mass), x.shape[-1])) for x in tokens.arrays)
        for frame, time in {*zip(frames.ravel().tolist(), times.ravel().tolist(), strict=True)}:
            chosen = (frames == frame) & (times == time)
            self.put(row, (frame, time, ""), mass[:, : frames.shape[1]][chosen])
        return frames.shape[1]

    def put(self, row: int, key: Key, mass: np.ndarray) -> None:
        self.mass[row][key] = self.mass[row].get(key, 0.0) + float(mass.sum())

    def of(self, plan: Plan) -> list[list[float]]:
        """Per row, the mean over layers and heads for each entry of the plan's rows, which sum up to 1."""
        whole = self.spec.layers * self.spec.heads
        return [
            [mass.get((at.frame, at.time, at.entry), 0.0) / whole for at in row]
            for mass, row in zip(self.mass, plan.rows, strict=True)
        ]


def token_mass(query: Tensor, keys: Tensor) -> np.ndarray:
    """[g, N, d] and [g, M, d] -> float32 [g, M]: the mean over queries of the softmax."""
    heads, tokens, dim = query.shape
    scaled = keys.float().transpose(1, 2) * dim**-0.5
    mass = query.new_zeros(heads, keys.shape[1], dtype=torch.float32)
    for part in query.float().split(max(1, SCORES // (heads * keys.shape[1])), dim=1):
        mass += (part @ scaled).softmax(-1).sum(dim=1)
    return (mass / tokens).cpu().numpy()
