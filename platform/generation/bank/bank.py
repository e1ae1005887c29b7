"""Packed keys and values of frames that have left the window, in tiers: the only part that grows with a video.

Entries move once per block, during the block's last pass: evicted entries move to a tier, entries that the next block
will attend come back. On a GPU each direction has its own stream for copies (streams.py); on a CPU they are plain
copies. An entry can be read at any time, also while it moves.

Entry shape: [2 (key, value), L layers, T tokens, h heads, d head dim]; one per (batch row, frame).

Rules of order, in addition to those of the tiers (tier.py, disk.py):
a. `out` copies an entry after all work that computed it, read the previous content of its new buffer, or read a buffer
   in place: `mark`, after the block's context is loaded.
b. `out` writes to a returned buffer after all copies that were queued on `into` before.
c. The computing stream reads an entry after its `written` or `arrived` event.
d. The computing stream overwrites an evicted frame's tensor after all work on `out`: `join`.
e. If a stream reads memory that was allocated for another one, it is recorded there, so that freeing waits for both.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from longtake.platform.generation.bank.packing import pack, packed_bytes, unpack
from longtake.platform.generation.bank.streams import Event, Streams, streams_of
from longtake.platform.generation.bank.tier import Fetched, Stored, Tier
from longtake.platform.generation.bank.tiers import place, release, reserve

Key = tuple[int, int]
"""Batch row and frame."""


class Bank:
    """Evicted entries of one rollout by (row, frame). `dtype`: dtype of storage; `compute`: dtype of attention."""

    def __init__(
        self,
        tiers: list[Tier],
        dtype: torch.dtype,
        compute: torch.dtype,
        device: torch.device,
        streams: Streams | None = None,
    ):
        self.tiers, self.dtype, self.compute, self.device = tiers, dtype, compute, device
        self.streams = streams or streams_of(device)
        self.stored: dict[Key, Stored] = {}
        self.pending: dict[Key, Tensor] = {}
        self.staged: dict[Key, Fetched] = {}
        self.in_use: list[Stored] = []
        self.mark_event: Event | None = None
        self.reservations: list[tuple[Tier, int]] = []
        self.entry_bytes = 0
        self.num_bytes = self.peak_bytes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self.stored or key in self.pending

    def __len__(self) -> int:
        return len(self.stored) + len(self.pending)

    @property
    def waited_seconds(self) -> float:
        """How long the launching thread has waited for the tiers, over all takes so far."""
        return sum(tier.waited_seconds for tier in self.tiers)

    def reserve(self, entries: int, shape: tuple[int, ...]) -> None:
        """Reserve space for `entries` of `shape` until `close`. Call once. Raises ConfigError for too little space."""
        self.entry_bytes = packed_bytes(shape, self.compute, self.dtype)
        self.reservations = reserve(self.tiers, entries, self.entry_bytes)

    def fill(self) -> None:
        """Allocate all reserved memory before the first block, for measurements. Other takes allocate it as needed."""
        for tier in self.tiers:
            tier.fill(self.entry_bytes)

    def put(self, key: Key, entry: Tensor) -> None:
        """Add an entry. `entry` must not change until the `join` that follows `flush`."""
        self.pending[key] = entry
        self.mark_event = None

    def mark(self) -> None:
        """Let moves begin after the work that is queued now. Without a mark since the last `put` or `entry`, they begin
        after all work that is queued when `flush` is called."""
        self.mark_event = self.streams.computing.record()

    def flush(self) -> None:
        """Move added entries to the tiers. Raises ConfigError if they are full, StorageError if one fails."""
        for stored in self.in_use:
            stored.released()
        self.in_use.clear()
        out = self.streams.out
        out.wait(self.mark_event or self.streams.computing.record())  # rule a
        out.wait(self.streams.into.record())  # rule b
        with out.opened():
            for key in list(self.pending):
                self.stored[key] = self.store(self.pending[key])
                del self.pending[key]
        self.peak_bytes = max(self.peak_bytes, self.num_bytes)

    def store(self, entry: Tensor) -> Stored:
        packed = pack(entry, self.dtype)
        tier, buffer = place(self.tiers, packed.num_bytes)
        stored = tier.store(packed, buffer, self.streams)
        self.streams.out.uses(entry)  # rule e
        self.num_bytes += packed.num_bytes
        self.in_use.append(stored)
        return stored

    def join(self) -> None:
        """Make the computing stream wait for all entries that are moving out. The host does not wait."""
        self.streams.computing.wait(self.streams.out.record())  # rule d

    def drop(self, key: Key) -> None:
        """Drop an entry, whose buffer the next `flush` can use. Raises KeyError if it is not in the bank."""
        if key in self.pending:
            del self.pending[key]
            return
        stored = self.stored.pop(key)
        if key in self.staged:
            self.staged.pop(key).cancel()
        self.num_bytes -= stored.packed.num_bytes
        stored.tier.give_back(stored.buffer)

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Start to bring entries to the device, in the order of `keys`."""
        for key in keys:
            if key in self.stored and key not in self.staged:
                self.staged[key] = self.stored[key].fetch(self.streams)

    def entry(self, key: Key) -> Tensor:
        """The entry on the device, in the compute dtype. Raises KeyError if it is not in the bank, and StorageError."""
        self.mark_event = None
        if key in self.pending:
            return unpack(pack(self.pending[key], self.dtype), self.compute)
        stored = self.stored[key]
        fetched = self.staged.pop(key, None) or stored.fetch(self.streams)
        computing = self.streams.computing
        computing.wait(fetched.arrived())  # rule c
        computing.uses(fetched.packed.data)  # rule e; a scale is part of the same memory
        self.in_use.append(stored)
        return unpack(fetched.packed, self.compute)

    def close(self) -> None:
        """Return all buffers and reserved space to the tiers. Waits for every move."""
        for fetched in self.staged.values():
            fetched.cancel()
        for tier in self.tiers:
            tier.finish()
        for stream in (self.streams.out, self.streams.into):
            stream.record().synchronize()
        for entries in (self.pending, self.staged, self.in_use):
            entries.clear()
        for key in list(self.stored):
            self.drop(key)
        release(self.reservations, self.entry_bytes)
        self.reservations = []
