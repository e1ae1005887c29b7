"""The context of plans with groups: keys and values per row, layer and group of heads.

A group attends whole entries and single tokens. It keeps their keys before rotation, so that a later plan can attend
them again, also when their frame has left the cache: a plan may name whatever the layer and heads attended in the block
before (these heads as one group, or as a part of one), the frames in the cache, and derived entries. Memory is two keys
and a value for each token attended.

A row of a batch is computed by itself, so a batch gives the bits of single takes.

Shapes: h heads (of a group: g), d head dim, T tokens a frame, n new frames of N = n * T tokens, M tokens attended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from longtake.platform.generation.bank.bank import Key
from longtake.platform.generation.camera import Camera
from longtake.platform.generation.group_shares import GroupShares
from longtake.platform.generation.head_context import (
    GONE,
    HeadContext,
    Heads,
    Layout,
    Pair,
    found,
    gone,
    heads_of,
    joined,
)
from longtake.platform.generation.kv_cache import KVCache, write_entries
from longtake.platform.methods.base import Method
from longtake.platform.methods.interface.groups import summed_up
from longtake.platform.methods.interface.hooks import Pass, Seen
from longtake.platform.methods.interface.plan import Group, Plan, Row, Source, Tokens
from longtake.platform.models import rope
from longtake.platform.models.attention import attention
from longtake.platform.models.spec import DiTSpec


class GroupedContext:
    """Keys and values of every row, layer and group, and the `attend` that reads them."""

    def __init__(self, spec: DiTSpec, batch: int, method: Method):
        self.spec, self.tokens, self.method = spec, spec.frame_tokens, method
        self.states: list[list[list[HeadContext]]] = [[[] for _ in range(spec.layers)] for _ in range(batch)]
        self.entries: list[Tensor] | None = None
        self.measuring = False
        self.passes: frozenset[Pass] = frozenset()

    def load(self, plan: Plan, cache: KVCache, camera: Camera) -> None:
        """Load the entries of `plan`."""
        self.plan, self.cache, self.camera = plan, cache, camera
        self.shares = GroupShares(self.spec, len(self.states))
        self.layouts: dict[tuple[int, Row], Layout] = {}
        self.new = len(plan.query_times)
        own = [row[-self.new :] for row in plan.rows]
        asked = [[(at.frame, time) for at, time in zip(row, plan.query_times, strict=True)] for row in own]
        self.key_turn = self.turns([[(at.frame, at.time) for at in row] for row in own])
        self.query_turn = self.turns(asked)
        for b, groups in enumerate(plan.groups):
            for layer in range(self.spec.layers):
                mine = [group for group in groups if layer in group.layers]
                self.states[b][layer] = [self.loaded(b, layer, group, {}) for group in mine]

    def turns(self, rows: list[list[tuple[int, int]]]) -> Tensor:
        """The rotations [B, N, c, 2] of frames at time indices."""
        return torch.stack([torch.cat([self.turn(b, *at) for at in row]) for b, row in enumerate(rows)])

    def turn(self, b: int, frame: int, time: int) -> Tensor:
        spec, device = self.spec, self.cache.device
        grid = (spec.token_rows, spec.token_columns)
        return rope.frame_rotation(time, *grid, self.camera.column(b, frame), spec.split, spec.rope_theta, device)

    def loaded(self, b: int, layer: int, group: Group, edited: Mapping[Source, Tensor]) -> HeadContext:
        """The context of a group, out of `edited`, what the layer attends now, and the cache. The new frames are yet to
        be put."""
        heads, held = heads_of(group, self.cache.device), self.held(b, layer, group)
        past, new = group.row[: -self.new], group.row[-self.new :]
        layout, after = self.layout(b, past), self.layout(b, new)
        pieces = [self.entry(b, layer, at.source, heads, held, edited) for at in past]
        ids, turn = layout.ids, layout.turn
        if group.tokens is not None:
            more_ids, more_turn, pair = self.picked(b, layer, group.tokens, heads, held)
            ids, turn, pieces = joined(ids, more_ids), joined(turn, more_turn), [*pieces, pair]
        count = ids.shape[1]
        shape = (3, len(group.heads), count + after.ids.shape[1], self.spec.head_dim)
        keys, rotated, values = torch.empty(shape, dtype=self.cache.dtype, device=self.cache.device)
        if pieces:
            torch.cat([key for key, _ in pieces], dim=1, out=keys[:, :count])
            torch.cat([value for _, value in pieces], dim=1, out=values[:, :count])
            rope.rotate_into(keys[:, :count].unsqueeze(2), turn, rotated[:, :count].unsqueeze(1))
        spans = layout.spans | {at: slice(count + of.start, count + of.stop) for at, of in after.spans.items()}
        return HeadContext(group, heads, joined(ids, after.ids), spans, keys, rotated, values)

    def held(self, b: int, layer: int, group: Group) -> list[HeadContext]:
        """What the heads of a group attend in a layer now, if that is one group."""
        return [state.of(group.heads) for state in self.states[b][layer] if {*group.heads} <= {*state.group.heads}]

    def layout(self, b: int, row: Row) -> Layout:
        """Layers that attend the same entries share it."""
        if (b, row) not in self.layouts:
            spans, ids, turns, at = dict[Source, slice](), list[np.ndarray](), list[Tensor](), 0
            for entry in row:
                size = self.size(entry.source)
                spans[entry.source], at = slice(at, at + size), at + size
                ids.append(self.ids(entry.source, size))
                turns.append(self.turn(b, entry.frame, entry.time)[:size])
            known = torch.from_numpy(np.concatenate([np.empty(0, np.int64), *ids])).to(self.cache.device)
            turn = torch.cat([self.key_turn[0, :0], *turns])
            self.layouts[b, row] = Layout(spans, known[None], turn[None])
        return self.layouts[b, row]

    def size(self, source: Source) -> int:
        """Tokens of an entry: a derived one may have fewer than a frame, which are at the frame's first places."""
        return self.cache.made[source][1].shape[3] if source in self.cache.made else self.tokens

    def ids(self, source: Source, size: int) -> np.ndarray:
        if not isinstance(source, int):
            return np.full(size, GONE)
        return np.arange(source * self.tokens, source * self.tokens + size)

    def entry(
        self, b: int, layer: int, source: Source, heads: Heads, held: list[HeadContext], edited: Mapping[Source, Tensor]
    ) -> Pair:
        """Key and value [g, T, d] of an entry."""
        if source in edited:
            key, value = edited[source]
            return key, value
        for state in () if source in self.cache.made else held:
            if source in state.spans:
                return state.keys[:, state.spans[source]], state.values[:, state.spans[source]]
        try:
            key, value = self.cache.entry(b, source)[:, layer].transpose(1, 2)
        except KeyError:
            raise gone(layer, source) from None
        return key[heads], value[heads]

    def picked(
        self, b: int, layer: int, tokens: Tokens, heads: Heads, held: list[HeadContext]
    ) -> tuple[Tensor, Tensor, Pair]:
        """Ids [g or 1, n], rotations [g or 1, n, c, 2], keys and values [g, n, d] of single tokens."""
        frames, places, times = (
            torch.from_numpy(np.atleast_2d(x)).to(self.cache.device, torch.int64) for x in tokens.arrays
        )
        ids = frames * self.tokens + places
        known, keys, values = self.pool(b, layer, tokens, heads, held)
        index, there = found(known, ids)
        if not bool(there.all()):
            frame, token = divmod(int(ids.expand_as(there)[~there][0]), self.tokens)
            raise gone(layer, f"token {token} of frame {frame}")
        index = index.expand(len(keys), -1)[..., None].expand(-1, -1, keys.shape[2])
        lefts = torch.from_numpy(self.camera.lefts(b, np.atleast_2d(tokens.frames))).to(frames)
        turn = rope.token_rotation(times, places, lefts, self.spec.token_columns, self.spec.split, self.spec.rope_theta)
        return ids, turn, (keys.gather(1, index), values.gather(1, index))

    def pool(
        self, b: int, layer: int, tokens: Tokens, heads: Heads, held: list[HeadContext]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ids [g or 1, P], keys and values [g, P, d] that tokens can be picked from: what the heads attend now, then
        the frames in the cache."""
        whole = {source for state in held for source in state.spans}
        frames = [f for f in np.unique(tokens.frames).tolist() if f in self.cache.live and f not in whole]
        fetched = [self.entry(b, layer, frame, heads, [], {}) for frame in frames]
        ids = [state.ids for state in held]
        ids += [torch.from_numpy(self.ids(frame, self.tokens))[None].to(self.cache.device) for frame in frames]
        if not ids:
            raise gone(layer, f"frame {tokens.frames.min()}")
        keys = [*(state.keys for state in held), *(key for key, _ in fetched)]
        values = [*(state.values for state in held), *(value for _, value in fetched)]
        return reduce(joined, ids), torch.cat(keys, dim=1), torch.cat(values, dim=1)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the new frames [B, N, h, d] over the context and themselves."""
        self.commit(layer, key, value)
        out, watched = torch.empty_like(query), bool(self.passes & self.method.watched)
        turned, asked = rope.rotated(key, self.key_turn), rope.rotated(query, self.query_turn)
        keys, values = key.transpose(1, 2), value.transpose(1, 2)
        for b, states in enumerate(layers[layer] for layers in self.states):
            new = (turned[b], values[b], keys[b] if watched or self.entries is not None else None)
            for i, state in enumerate(states):
                state.put(*new)
                if watched:
                    state = states[i] = self.watched(b, layer, state, query[b].transpose(0, 1), asked[b])
                    state.put(*new)
                own = asked[b, state.heads]
                if self.measuring:
                    self.shares.add(b, state, own)
                mixed = attention(own[None], state.rotated[None], state.values[None])[0]
                out[b][:, state.heads] = mixed.transpose(0, 1)
        return out

    def watched(self, b: int, layer: int, state: HeadContext, query: Tensor, rotated_query: Tensor) -> HeadContext:
        """Show a group to the method. Returns what it attends from now on."""
        group, heads = state.group, state.heads
        past = tuple(entry.source for entry in group.row[: -self.new])
        new = range(group.row[-self.new].frame, group.row[-1].frame + 1)
        parts = (query[heads], rotated_query[heads], state.keys, state.rotated, state.values, past, group.tokens)

        def fetch(source: Source) -> Tensor:
            return torch.stack(self.entry(b, layer, source, heads, [state], {}))

        def rotate(x: Tensor, frame: int, time: int) -> Tensor:
            return rope.rotate(x.unsqueeze(2), self.turn(b, frame, time)).squeeze(2)

        first = self.camera.first
        answer = self.method.watch(Seen(first, new, b, layer, group.heads, self.passes, *parts, fetch, rotate))
        if answer is None:
            return state
        return self.loaded(b, layer, replace(answer.group, layers=(layer,), heads=group.heads), answer.edited)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the new frames' keys and values [B, N, h, d] of a layer that does not attend."""
        self.commit(layer, key, value)
        keys, values = key.transpose(1, 2), value.transpose(1, 2)
        for b, states in enumerate(layers[layer] for layers in self.states):
            for state in states:
                state.put(keys[b], values[b], keys[b])

    def commit(self, layer: int, key: Tensor, value: Tensor) -> None:
        """In a commit pass, keep the clean keys and values [B, N, h, d] of the new frames in their entries."""
        if self.entries is not None:
            write_entries(self.entries, layer, key, value, self.tokens)

    def attended(self) -> Plan:
        """The plan as it was attended in the last pass: with what the method put in its place."""
        groups = [
            tuple(replace(state.group, layers=(layer,)) for layer, states in enumerate(layers) for state in states)
            for layers in self.states
        ]
        return summed_up(groups, self.plan.query_times, self.spec)

    def missing(self, plan: Plan, cache: KVCache, camera: Camera) -> list[Key]:
        """Nothing: plans with groups attend no banked frames."""
        return []

    def measured(self, plan: Plan) -> list[Tensor]:
        """Per row, the shares that were recorded for the entries of `plan`."""
        return [torch.tensor(row) for row in self.shares.of(plan)]
