"""What one group of heads attends in one layer of one row, in memory, and how its tokens are found.

Shapes: g heads of the group, h of all, d head dim, c = d / 2, N new tokens, M tokens attended, P or n of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from longtake.platform.errors import LongtakeError
from longtake.platform.methods.interface.plan import Group, Source

GONE = -1
"""The id of a token that no plan can pick: of a derived entry."""
Heads = slice | Tensor
"""Which heads of [h, ...] a group has; a slice, which copies nothing, if they are neighbours."""
Pair = tuple[Tensor, Tensor]
"""Keys before rotation, and values."""


@dataclass(frozen=True)
class HeadContext:
    """Keys and values [g, M, d]: of past entries, then of single tokens, then of the new frames.

    `ids` [g or 1, M]: frame * T + token, or GONE. `spans`: where every whole entry is.
    """

    group: Group
    heads: Heads
    ids: Tensor
    spans: Mapping[Source, slice]
    keys: Tensor
    rotated: Tensor
    values: Tensor

    def put(self, rotated: Tensor, value: Tensor, key: Tensor | None) -> None:
        """Write the new frames [h, N, d] behind the past: rotated keys, values and, unless None, keys."""
        past = self.values.shape[1] - value.shape[1]
        self.rotated[:, past:], self.values[:, past:] = rotated[self.heads], value[self.heads]
        if key is not None:
            self.keys[:, past:] = key[self.heads]

    def of(self, heads: tuple[int, ...]) -> HeadContext:
        """The part of these heads of the group."""
        if heads == self.group.heads:
            return self
        of = [self.group.heads.index(head) for head in heads]
        ids = self.ids if len(self.ids) == 1 else self.ids[of]
        parts = (self.keys[of], self.rotated[of], self.values[of])
        return HeadContext(replace(self.group, heads=heads), self.heads, ids, self.spans, *parts)


@dataclass(frozen=True)
class Layout:
    """Whole entries side by side: where each is, `ids` [1, P] and rotations [1, P, c, 2]."""

    spans: dict[Source, slice]
    ids: Tensor
    turn: Tensor


def heads_of(group: Group, device: torch.device) -> Heads:
    first, last = group.heads[0], group.heads[-1]
    if group.heads == tuple(range(first, last + 1)):
        return slice(first, last + 1)
    return torch.tensor(group.heads, device=device)


def joined(one: Tensor, two: Tensor) -> Tensor:
    """[g or 1, P, ...] and [g or 1, n, ...] -> [g or 1, P + n, ...]."""
    heads = max(len(one), len(two))
    return torch.cat([x.expand(heads, *x.shape[1:]) for x in (one, two)], dim=1)


def found(known: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Of each of `ids` [g or 1, n], its first place in `known` [g or 1, P], and whether it is there: [g or 1, n]."""
    heads = max(len(known), len(ids))
    known, ids = known.expand(heads, -1), ids.expand(heads, -1).contiguous()
    ordered, order = known.sort(dim=1, stable=True)
    index = order.gather(1, torch.searchsorted(ordered, ids).clamp(max=known.shape[1] - 1))
    return index, known.gather(1, index) == ids


def gone(layer: int, what: object) -> LongtakeError:
    return LongtakeError(
        f"layer {layer}: the plan attends {what}, which is neither in the cache nor was attended before"
    )
