"""The context of one block in memory: the rotated keys and values of all layers in one buffer.

The buffer is filled once per block, for all layers; the passes of the block overwrite only the slots of the new frames.
A slot whose (entry, time index, column) is the same as in the last block is kept, so no key is rotated twice to the
same position: with absolute positions nothing moves. The order of slots therefore differs from the plan's, which does
not change attention. Plans with groups are for `longtake.platform.generation.grouped_context`.

Shapes: L layers, B batch, h heads, d head dim, T tokens a frame, S slots (frames).
"""

import torch
from torch import Tensor

from longtake.platform.generation.attention_share import AttentionShares
from longtake.platform.generation.bank.bank import Key
from longtake.platform.generation.camera import Camera
from longtake.platform.generation.kv_cache import KVCache, write_entries
from longtake.platform.methods.interface.hooks import Pass
from longtake.platform.methods.interface.plan import Attended, Plan, Source
from longtake.platform.models import rope
from longtake.platform.models.attention import attention
from longtake.platform.models.rope import frame_rotation
from longtake.platform.models.spec import DiTSpec

Place = tuple[Source, int, int, int]
"""Content of a slot: entry and its version, time index, column of its left edge."""


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
        self.measuring = False
        self.passes: frozenset[Pass] = frozenset()

    def load(self, plan: Plan, cache: KVCache, camera: Camera) -> None:
        """Load the entries of `plan`."""
        block = len(plan.query_times)
        self.shares = AttentionShares(self.tokens)
        self.plan, self.loaded = plan, self.placed(plan, cache, camera)
        self.used = len(plan.rows[0]) * self.tokens
        self.ensure(len(plan.rows[0]))
        self.targets = [self.spans(self.load_row(b, row, block, cache)) for b, row in enumerate(self.loaded)]
        own = [[place[2:] for place in row[-block:]] for row in self.loaded]
        asked = [[(t, column) for t, (_, column) in zip(plan.query_times, row, strict=True)] for row in own]
        self.rotation = self.rotations(own)
        self.query_rotation = self.rotation if asked == own else self.rotations(asked)

    def ensure(self, slots: int) -> None:
        """Double the buffer until it has `slots` slots."""
        while self.keys.shape[3] < slots * self.tokens:
            self.keys, self.values = (torch.cat([x, torch.empty_like(x)], dim=3) for x in (self.keys, self.values))

    def placed(self, plan: Plan, cache: KVCache, camera: Camera) -> list[list[Place]]:
        """Per row, the place of each entry."""

        def place(b: int, at: Attended) -> Place:
            return at.source, cache.version(at.source), at.time, camera.column(b, at.frame)

        return [[place(b, at) for at in row] for b, row in enumerate(plan.rows)]

    def rotations(self, rows: list[list[tuple[int, int]]]) -> Tensor:
        """[B, N, c, 2] of frames at (time index, column)."""
        return torch.stack([torch.cat([self.rotation_at(*at) for at in row]) for row in rows])

    def rotation_at(self, time: int, column: int) -> Tensor:
        spec = self.spec
        grid = (spec.token_rows, spec.token_columns)
        return frame_rotation(time, *grid, column, spec.split, spec.rope_theta, self.device)

    def attended(self) -> Plan:
        """The plan that was loaded last."""
        return self.plan

    def slots(self) -> list[list[int]]:
        """Per row, the slots of the entries of the plan that was loaded last."""
        return [[self.places[b][place] for place in row] for b, row in enumerate(self.loaded)]

    def measured(self, plan: Plan) -> Tensor:
        """[B, entries]: the shares that were recorded for the entries of `plan`, which must be the last one loaded."""
        return self.shares.in_order(self.slots())

    def missing(self, plan: Plan, cache: KVCache, camera: Camera) -> list[Key]:
        """Row and frame of each past frame that `load` would have to fetch for `plan`."""
        block = len(plan.query_times)
        return [
            (b, place[0])
            for b, row in enumerate(self.placed(plan, cache, camera))
            for place in row[:-block]
            if isinstance(place[0], int) and self.places[b].get(place, len(row)) >= len(row)
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

    def load_row(self, b: int, places: list[Place], block: int, cache: KVCache) -> list[int]:
        """Fill the slots that changed. Returns the slots of the new frames, which the passes write."""
        known = set(places)
        held = {place: slot for place, slot in self.places[b].items() if place in known and slot < len(places)}
        free = iter(sorted(set(range(len(places))) - set(held.values())))
        slots = [held[place] if place in held else next(free) for place in places]
        past = zip(places[:-block], slots[:-block], strict=True)
        for place, slot in [(place, slot) for place, slot in past if place not in held]:
            self.write(b, slot, cache.entry(b, place[0]), place)
        self.places[b] = dict(zip(places, slots, strict=True))
        return slots[-block:]

    def write(self, b: int, slot: int, entry: Tensor, place: Place) -> None:
        """Rotate one entry [2, L, T, h, d] into its slot, all layers at once."""
        span = slice(slot * self.tokens, (slot + 1) * self.tokens)
        rope.rotate_into(entry[0], self.rotation_at(*place[2:])[None], self.keys[:, b, :, span])
        self.values[:, b, :, span] = entry[1].transpose(1, 2)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the new frames [B, N, h, d] over the context and themselves."""
        self.keep(layer, key, value)
        keys, values = self.keys[layer], self.values[layer]
        rotated = rope.rotated(query, self.query_rotation)
        if self.measuring:
            self.shares.add(rotated, keys[:, :, : self.used])
        return attention(rotated, keys[:, :, : self.used], values[:, :, : self.used]).transpose(1, 2)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Write the new frames' keys and values [B, N, h, d] to their slots and, in a commit pass, to their entries."""
        if self.entries is not None:
            write_entries(self.entries, layer, key, value, self.tokens)
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
