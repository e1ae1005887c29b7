"""The context of plans with groups: keys and values per row, layer and group of heads.

A group attends whole entries and single tokens. It keeps their keys before rotation, so that a later plan can attend
them again, also when their frame has left the cache: a plan may name whatever the layer and heads attended in the block
before, the frames in the cache, and derived entries. Memory is two keys and a value for each token attended.

A row of a batch is computed by itself, so a batch gives the bits of single takes.

Shapes: h heads (of a group: g), d head dim, T tokens a frame, n new frames of N = n * T tokens, M tokens attended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from longtake.platform.errors import LongtakeError
from longtake.platform.generation.bank.bank import Key
from longtake.platform.generation.camera import Camera
from longtake.platform.generation.group_shares import GroupShares
from longtake.platform.generation.kv_cache import KVCache, write_entries
from longtake.platform.methods.base import Method
from longtake.platform.methods.groups import summed_up
from longtake.platform.methods.hooks import Pass, Seen
from longtake.platform.methods.plan import Attended, Group, Plan, Source
from longtake.platform.models import rope
from longtake.platform.models.attention import attention
from longtake.platform.models.spec import DiTSpec

GONE = -1
"""The id of a token that no plan can pick: of a derived entry."""


@dataclass(frozen=True)
class HeadContext:
    """What one group attends in one layer of one row: [g, M + N, d] each, past entries, then tokens, then new frames.

    `ids` [g or 1, M + N]: frame * T + token, or GONE. `spans`: the first token of every whole entry.
    """

    group: Group
    heads: Tensor
    ids: Tensor
    spans: Mapping[Source, int]
    keys: Tensor
    rotated: Tensor
    values: Tensor

    def put(self, key: Tensor, rotated: Tensor | None, value: Tensor) -> None:
        """Write the new frames' keys and values [h, N, d] behind the past."""
        past = self.keys.shape[1] - key.shape[1]
        self.keys[:, past:], self.values[:, past:] = key[self.heads], value[self.heads]
        if rotated is not None:
            self.rotated[:, past:] = rotated[self.heads]


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
        self.new = len(plan.query_times)
        self.turns = [self.own_turns(b, row[-self.new :], plan.query_times) for b, row in enumerate(plan.rows)]
        for b, groups in enumerate(plan.groups):
            for layer in range(self.spec.layers):
                mine = [group for group in groups if layer in group.layers]
                self.states[b][layer] = [self.loaded(b, layer, group, {}) for group in mine]

    def own_turns(self, b: int, new: tuple[Attended, ...], times: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The rotations [N, c, 2] of the new frames' keys and queries."""
        keys = torch.cat([self.turn(b, at.frame, at.time) for at in new])
        if tuple(at.time for at in new) == times:
            return keys, keys
        return keys, torch.cat([self.turn(b, at.frame, time) for at, time in zip(new, times, strict=True)])

    def turn(self, b: int, frame: int, time: int) -> Tensor:
        spec, device = self.spec, self.cache.device
        grid = (spec.token_rows, spec.token_columns)
        return rope.frame_rotation(time, *grid, self.camera.column(b, frame), spec.split, spec.rope_theta, device)

    def loaded(self, b: int, layer: int, group: Group, edited: Mapping[Source, tuple[Tensor, Tensor]]) -> HeadContext:
        """The context of a group, out of `edited`, what the layer attends now, and the cache."""
        held, heads = self.states[b][layer], torch.tensor(group.heads, device=self.cache.device)
        past, spans, pieces, at = group.row[: -self.new], dict[Source, int](), list[tuple[Tensor, ...]](), 0
        for entry in past:
            key, value = self.entry(b, layer, entry.source, group.heads, heads, held, edited)
            ids = self.whole_ids(entry.source, key.shape[1])
            turn = self.turn(b, entry.frame, entry.time)[None, : key.shape[1]]
            pieces.append((ids, key, turned(key, turn), value))
            spans[entry.source], at = at, at + key.shape[1]
        if group.tokens is not None:
            pieces.append(self.picked(b, layer, group, held))
            at += pieces[-1][1].shape[1]
        for entry in group.row[-self.new :]:
            key, value = self.new_entry(entry.frame, group.heads, held)
            pieces.append((self.whole_ids(entry.frame, self.tokens), key, key, value))
            spans[entry.frame], at = at, at + self.tokens
        widest = max(len(ids) for ids, *_ in pieces)
        ids = torch.cat([ids.expand(widest, -1) for ids, *_ in pieces], dim=1)
        keys, rotated, values = (torch.cat([piece[i] for piece in pieces], dim=1) for i in (1, 2, 3))
        return HeadContext(group, heads, ids, spans, keys, rotated, values)

    def whole_ids(self, source: Source, tokens: int) -> Tensor:
        first = source * self.tokens if isinstance(source, int) else None
        if first is None:
            return torch.full((1, tokens), GONE, device=self.cache.device)
        return torch.arange(first, first + tokens, device=self.cache.device)[None]

    def entry(
        self,
        b: int,
        layer: int,
        source: Source,
        names: tuple[int, ...],
        heads: Tensor,
        held: list[HeadContext],
        edited: Mapping[Source, tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Key and value [g, T, d] of an entry."""
        if source in edited:
            return edited[source]
        for state in () if source in self.cache.made else held:
            if source in state.spans and state.group.heads == names:
                span = slice(state.spans[source], state.spans[source] + self.tokens)
                return state.keys[:, span], state.values[:, span]
        key, value = self.cache.entry(b, source)[:, layer].unbind()
        return key[:, heads].transpose(0, 1), value[:, heads].transpose(0, 1)

    def new_entry(self, frame: int, names: tuple[int, ...], held: list[HeadContext]) -> tuple[Tensor, Tensor]:
        """Key and value of a new frame as the layer has them now; uninitialised before the first pass."""
        for state in held:
            if frame in state.spans and state.group.heads == names:
                span = slice(state.spans[frame], state.spans[frame] + self.tokens)
                return state.keys[:, span], state.values[:, span]
        shape = (len(names), self.tokens, self.spec.head_dim)
        empty = torch.empty(shape, dtype=self.cache.dtype, device=self.cache.device)
        return empty, empty

    def picked(self, b: int, layer: int, group: Group, held: list[HeadContext]) -> tuple[Tensor, ...]:
        """Ids, keys, rotated keys and values [g or 1, n], [g, n, d] of a group's single tokens."""
        assert group.tokens is not None
        frames, tokens, times = (
            torch.from_numpy(np.atleast_2d(x)).to(self.cache.device, torch.int64) for x in group.tokens.arrays
        )
        ids = frames * self.tokens + tokens
        known, key, value = self.pool(b, layer, group, held)
        known = known.expand(max(len(known), len(ids)), -1)
        order = known.argsort(dim=1)
        place = torch.searchsorted(known.gather(1, order), ids.expand(len(known), -1).contiguous())
        index = order.gather(1, place.clamp(max=known.shape[1] - 1))
        if not bool((known.gather(1, index) == ids).all()):
            raise LongtakeError(f"layer {layer}: the plan picks a token that is neither attended nor in the cache")
        index = index.expand(len(key), -1)[..., None].expand(-1, -1, key.shape[2])
        lefts = torch.from_numpy(self.camera.lefts(b, np.atleast_2d(group.tokens.frames))).to(frames)
        turn = rope.token_rotation(times, tokens, lefts, self.spec.token_columns, self.spec.split, self.spec.rope_theta)
        return ids, key.gather(1, index), turned(key.gather(1, index), turn), value.gather(1, index)

    def pool(self, b: int, layer: int, group: Group, held: list[HeadContext]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids [g or 1, P], keys and values [g, P, d] that tokens can be picked from: what the heads attend now, then
        the picked frames that are in the cache."""
        assert group.tokens is not None
        mine = [state for state in held if state.group.heads == group.heads]
        have = {frame for state in mine for frame in frames_of(state.group)}
        heads = torch.tensor(group.heads, device=self.cache.device)
        parts = [(state.ids, state.keys, state.values) for state in mine]
        for frame in sorted({*np.unique(group.tokens.frames).tolist()} - have):
            entry = self.cache.entry(b, int(frame))[:, layer][:, :, heads].transpose(1, 2)
            parts.append((self.whole_ids(int(frame), self.tokens), entry[0], entry[1]))
        widest = max(len(ids) for ids, *_ in parts)
        ids = torch.cat([ids.expand(widest, -1) for ids, *_ in parts], dim=1)
        return ids, torch.cat([key for _, key, _ in parts], dim=1), torch.cat([value for *_, value in parts], dim=1)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the new frames [B, N, h, d] over the context and themselves."""
        self.commit(layer, key, value)
        rows = zip(query, key, value, strict=True)
        return torch.stack([self.attend_row(b, layer, *row) for b, row in enumerate(rows)])

    def attend_row(self, b: int, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[N, h, d] -> [N, h, d]."""
        key_turn, query_turn = self.turns[b]
        rotated_key, rotated = (
            rope.rotated(x[None], turn[None])[0] for x, turn in ((key, key_turn), (query, query_turn))
        )
        for state in self.states[b][layer]:
            state.put(key.transpose(0, 1), rotated_key, value.transpose(0, 1))
        if self.passes & self.method.watched:
            self.watch(b, layer, query.transpose(0, 1), rotated)
            for state in self.states[b][layer]:
                state.put(key.transpose(0, 1), rotated_key, value.transpose(0, 1))
        out = torch.empty_like(query)
        for state in self.states[b][layer]:
            asked = rotated[state.heads][None]
            if self.measuring:
                self.shares.add(b, state.group, asked[0], state.rotated)
            out[:, state.heads] = attention(asked, state.rotated[None], state.values[None])[0].transpose(0, 1)
        return out

    def watch(self, b: int, layer: int, query: Tensor, rotated: Tensor) -> None:
        """Show each group of the layer to the method, and load what it wants to attend instead."""
        states = self.states[b][layer]
        self.states[b][layer] = [self.watched(b, layer, state, query, rotated) for state in states]

    def watched(self, b: int, layer: int, state: HeadContext, query: Tensor, rotated: Tensor) -> HeadContext:
        states, heads = self.states[b][layer], state.heads
        past = tuple(entry.source for entry in state.group.row[: -self.new])
        asked = query[heads], rotated[heads]
        parts = (*asked, state.keys, state.rotated, state.values, past, state.group.tokens)

        def fetch(source: Source) -> tuple[Tensor, Tensor]:
            return self.entry(b, layer, source, state.group.heads, heads, states, {})

        def rotate(x: Tensor, frame: int, time: int) -> Tensor:
            return turned(x, self.turn(b, frame, time)[None])

        first = self.camera.first
        answer = self.method.watch(Seen(first, b, layer, state.group.heads, self.passes, *parts, fetch, rotate))
        if answer is None:
            return state
        group = replace(answer.group, layers=(layer,), heads=state.group.heads)
        return self.loaded(b, layer, group, answer.edited)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the new frames' keys and values [B, N, h, d] of a layer that does not attend."""
        self.commit(layer, key, value)
        for b, (one_key, one_value) in enumerate(zip(key, value, strict=True)):
            for state in self.states[b][layer]:
                state.put(one_key.transpose(0, 1), None, one_value.transpose(0, 1))

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


def turned(x: Tensor, rotation: Tensor) -> Tensor:
    """x [g, M, d], rotated by rotation [g or 1, M, c, 2]."""
    return rope.rotate(x.unsqueeze(2), rotation).squeeze(2)


def frames_of(group: Group) -> set[int]:
    """The frames of which a group attends all or some tokens."""
    whole = {at.frame for at in group.row if not at.entry}
    return whole if group.tokens is None else whole | {*np.unique(group.tokens.frames).tolist()}
