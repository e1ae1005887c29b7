"""How much of each head's attention falls on parts of what it attends, and what kind of head it therefore is.

Shapes: h heads, N queries, M keys, d head dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.hooks import Seen
    from longtake.platform.methods.interface.plan import Window

QUERIES_AT_ONCE = 512
FIRST, MIDDLE, DUMMY = range(3)
"""Kinds of heads of Dummy Forcing: for the first frame, for the newest blocks, for almost nothing."""


def head_mass(query: Tensor, keys: Tensor, parts: Sequence[slice]) -> np.ndarray:
    """[h, len(parts)], float64: the softmax mass on each part of the keys, in the mean over the queries.

    `query` [h, N, d] and `keys` [h, M, d] are rotated. Computed in float32, a head and some queries at a time.
    """
    mass = np.zeros((len(query), len(parts)))
    for head, (asked, key) in enumerate(zip(query.float(), keys.float(), strict=True)):
        for some in asked.split(QUERIES_AT_ONCE):
            attention = (some @ key.T * key.shape[1] ** -0.5).softmax(dim=1)
            mass[head] += [float(attention[:, part].sum()) for part in parts]
    return mass / query.shape[1]


def local_heads(seen: Seen, window: Window, tokens: int, share: float) -> frozenset[int]:
    """Heads with at least this share of their attention on the window without its sink, of that on all frames but those
    of the first block; they attend all frames, of `tokens` tokens each."""
    near = (window.size - window.sink) * tokens
    parts = slice(max(0, seen.keys.shape[1] - near), None), slice(window.block * tokens, None)
    local, beyond = head_mass(seen.rotated_query, seen.rotated_keys, parts).T
    return frozenset(np.flatnonzero(local / beyond >= share).tolist())


def kinds_by_mass(mass: np.ndarray, num_dummy: int | None) -> np.ndarray:
    """The kind of every head [layers, heads], from its mass [layers, heads, 2] on the first frame and the middle."""
    share = mass / mass.sum(axis=(0, 1))
    kinds = np.where(share[..., 0] >= share[..., 1], FIRST, MIDDLE)
    order = share.max(axis=-1).ravel().argsort(kind="stable")
    kinds.ravel()[order[: order.size // 2 if num_dummy is None else num_dummy]] = DUMMY
    return kinds
