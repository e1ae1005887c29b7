"""Plans with groups: what differs per layer and head, summed up per entry, as traces show it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from longtake.platform.methods.interface.plan import RETRIEVED, Attended, Group, Plan, Row

if TYPE_CHECKING:
    from longtake.platform.models.spec import DiTSpec

TIMES = 2**31
"""More than any time index, so that frame * TIMES + time is one number: unique numbers are found faster than pairs."""


def summed_up(groups: Sequence[tuple[Group, ...]], query_times: tuple[int, ...], spec: DiTSpec) -> Plan:
    """The plan of `groups` (per batch row). Its rows list every entry once per time index, oldest first, the new frames
    last, with the frames' worth of its tokens that is attended, in the mean over layers and heads."""
    return Plan(tuple(union(row, spec) for row in groups), query_times, tuple(groups))


def union(groups: Sequence[Group], spec: DiTSpec) -> Row:
    parts: dict[tuple, float] = {}
    entries: dict[tuple, Attended] = {}
    for group in groups:
        weight = len(group.layers) * len(group.heads) / (spec.layers * spec.heads)
        for at in group.row:
            add(parts, entries, at, weight * at.part)
        if group.tokens is not None:
            frames, times = np.atleast_2d(group.tokens.frames), np.atleast_2d(group.tokens.times)
            codes, counts = np.unique(frames.astype(np.int64) * TIMES + times, return_counts=True)
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
                share = count / (len(frames) * spec.frame_tokens)
                frame, time = divmod(code, TIMES)
                add(parts, entries, Attended(frame, time, RETRIEVED), weight * share)
    order = sorted(entries, key=lambda key: (entries[key].reason == "block", key[0], key[1]))
    return tuple(
        Attended(at.frame, at.time, at.reason, at.similarity, at.entry, min(1.0, round(parts[key], 9)))
        for key, at in ((key, entries[key]) for key in order)
    )


def add(parts: dict[tuple, float], entries: dict[tuple, Attended], at: Attended, share: float) -> None:
    key = at.frame, at.time, at.entry
    parts[key] = parts.get(key, 0.0) + share
    entries.setdefault(key, at)


def digest(groups: Sequence[Group]) -> str:
    """16 hex characters of everything that the groups of a row say."""
    hashed = hashlib.sha256()
    for group in groups:
        row = [(at.frame, at.time, at.entry) for at in group.row]
        hashed.update(repr((group.layers, group.heads, row)).encode())
        for array in group.tokens.arrays if group.tokens is not None else ():
            hashed.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
    return hashed.hexdigest()[:16]
