"""The context of one block in memory: the rotated keys and values of all layers in one buffer.

The buffer is filled once per block, for all layers; the passes of the block overwrite only the slots of the new frames.
A slot whose (frame, time index, column) is the same as in the last block is kept, so no key is rotated twice to the
same position: with absolute positions nothing moves. The order of slots therefore differs from the plan's, which does
not change attention.

Shapes: L layers, B batch, h heads, d head dim, T tokens a frame, S slots (frames).
"""

import torch
from torch import Tensor

from longtake.platform.generation.attention_share import AttentionShares
from longtake.platform.generation.bank.bank import Key
from longtake.platform.generation.kv_cache import KVCache
from longtake.platform.methods.base import Attended, Plan
from longtake.platform.models import rope
from longtake.platform.models.attention import attention
from longtake.platform.models.rope import frame_rotation
from longtake.platform.models.spec import DiTSpec

Place = tuple[int, int, int]
"""Content of a slot: frame, time index, column of its left edge."""


class ContextBuffer:
    """Rotated keys and values [L, B, h, S * T, d], and the `attend` that reads them."""

    def __init__(
        self,
        spec: DiTSpec,
        batch: int,
        slots: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device = rope.CPU,
    ):
        shape = (spec.layers, batch, spec.heads, slots * spec.frame_tokens, spec.head_dim)
        self.spec, self.tokens, self.device = spec, spec.frame_tokens, device
        self.keys, self.values = (torch.empty(shape, dtype=dtype, device=device) for _ in range(2))
        self.places: list[dict[Place, int]] = [{} for _ in range(batch)]
        self.entries: list[Tensor] | None = None
        self.shares: AttentionShares | None = None

    def load(self, plan: Plan, cache: KVCache, columns: list[dict[int, int]] | None) -> None:
        """Load the frames of `plan`. `columns`: per row, the left edge of each frame, in worlds with a camera."""
        block = len(plan.query_times)
        self.used = len(plan.rows[0]) * self.tokens
        new_slots = [
            self.load_row(b, row, block, cache, columns[b] if columns else {}) for b, row in enumerate(plan.rows)
        ]
        places = [
            [self.place(entry, columns[b] if columns else {}) for entry in row[-block:]]
            for b, row in enumerate(plan.rows)
        ]
        self.rotation = torch.stack([torch.cat([self.rotation_at(place) for place in row]) for row in places])
        self.targets = [self.spans(slots) for slots in new_slots]

    def place(self, entry: Attended, columns: dict[int, int]) -> Place:
        return entry.frame, entry.time, columns.get(entry.frame, 0)

    def rotation_at(self, place: Place) -> Tensor:
        spec = self.spec
        grid = (spec.token_rows, spec.token_columns)
        return frame_rotation(place[1], *grid, place[2], spec.split, spec.rope_theta, self.device)

    def slots(self, plan: Plan, columns: list[dict[int, int]] | None) -> list[list[int]]:
        """Per row, the slots of the entries of `plan`, which must be the last one loaded."""
        return [
            [self.places[b][self.place(entry, columns[b] if columns else {})] for entry in row]
            for b, row in enumerate(plan.rows)
        ]

    def missing(self, plan: Plan, columns: list[dict[int, int]] | None) -> list[Key]:
        """Row and frame of each past entry that `load` would have to fetch for `plan`."""
        block = len(plan.query_times)
        return [
            (b, entry.frame)
            for b, row in enumerate(plan.rows)
            for entry in row[:-block]
            if self.places[b].get(self.place(entry, columns[b] if columns else {}), len(row)) >= len(row)
        ]

    def spans(self, slots: list[int]) -> list[tuple[slice, slice]]:
        """(tokens of the new frames, their range in the buffer): one pair per run of neighbouring slots."""
        runs: list[list[int]] = []
        for i, slot in enumerate(slots):
            if runs and slots[i - 1] == slot - 1:
                runs[-1][2] = i + 1
            else:
                runs.append([slot, i, i + 1])
        t = self.tokens
        return [(slice(a * t, b * t), slice(s * t, (s + b - a) * t)) for s, a, b in runs]

    def load_row(
        self, b: int, row: tuple[Attended, ...], block: int, cache: KVCache, columns: dict[int, int]
    ) -> list[int]:
        """Fill the slots that changed. Returns the slots of the new frames, which the passes write."""
        places = [self.place(entry, columns) for entry in row]
        known = set(places)
        held = {place: slot for place, slot in self.places[b].items() if place in known and slot < len(row)}
        free = iter(sorted(set(range(len(row))) - set(held.values())))
        slots = [held[place] if place in held else next(free) for place in places]
        past = zip(places[:-block], slots[:-block], strict=True)
        for place, slot in [(place, slot) for place, slot in past if place not in held]:
            self.write(b, slot, cache.entry(b, place[0]), place)
        self.places[b] = dict(zip(places, slots, strict=True))
        return slots[-block:]

    def write(self, b: int, slot: int, entry: Tensor, place: Place) -> None:
        """Rotate one entry [2, L, T, h, d] into its slot, all layers at once."""
        span = slice(slot * self.tokens, (slot + 1) * self.tokens)
        rope.rotate_into(entry[0], self.rotation_at(place)[None], self.keys[:, b, :, span])
        self.values[:, b, :, span] = entry[1].transpose(1, 2)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the new frames [B, N, h, d] over the context and themselves."""
        self.keep(layer, key, value)
        keys, values = self.keys[layer], self.values[layer]
        rotated = rope.rotated(query, self.rotation)
        if self.shares is not None:
            self.shares.add(rotated, keys[:, :, : self.used])
        return attention(rotated, keys[:, :, : self.used], values[:, :, : self.used]).transpose(1, 2)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Write the new frames' keys and values [B, N, h, d] to their slots and, in a commit pass, to their entries."""
        if self.entries is not None:
            self.commit(layer, key, value)
        self.put(self.keys[layer], self.values[layer], key, value)

    def warm_up(self, new_frames: int, text: tuple[Tensor, Tensor]) -> None:
        """Attend once with every number of keys that occurs while the window fills, and over one layer's `text`: on
        CUDA, the first call with a shape plans or loads a kernel."""
        batch, heads, _, head_dim = text[0].shape
        block = new_frames * self.tokens
        query = torch.zeros(batch, block, heads, head_dim, dtype=self.keys.dtype, device=self.device).transpose(1, 2)
        keys, values = self.keys[0], self.values[0]
        for used in {*range(block, keys.shape[2], block), keys.shape[2]}:
            attention(query, keys[:, :, :used], values[:, :, :used])
        attention(query, *text)

    def put(self, keys: Tensor, values: Tensor, key: Tensor, value: Tensor) -> None:
        """Write the new frames' keys, rotated, and values [B, N, h, d] into one layer's buffers [B, h, S * T, d]."""
        for b, spans in enumerate(self.targets):
            for source, target in spans:
                rotation = self.rotation[b : b + 1, source]
                rope.rotate_into(key[b : b + 1, source], rotation, keys[b : b + 1, :, target])
                values[b, :, target] = value[b, source].transpose(0, 1)

    def commit(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the clean keys and values [B, N, h, d] of the new frames, not rotated, in their entries."""
        assert self.entries is not None
        for i, entry in enumerate(self.entries):
            span = slice(i * self.tokens, (i + 1) * self.tokens)
            entry[0, layer], entry[1, layer] = key[:, span], value[:, span]
