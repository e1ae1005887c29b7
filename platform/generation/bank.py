"""Frames that have left the window, packed, on the shelves with room: the only thing that grows with a video.

Moves happen once per block, while the block's last pass runs: what was evicted goes to a shelf, what the next block
will attend comes back. Beside a GPU these are copies on two streams of their own (streams.py), one for each
direction; on a CPU they are plain copies. An entry on its way is readable at every moment.

Entry shape: [2 (key, value), L layers, T tokens, h heads, d head dim]; one per (batch row, frame).

What waits for what, beside the rules that each shelf keeps (shelves.py, disk.py):
a. `out` copies an entry behind everything that computed it, read its new buffer's last content, or read from a buffer
   in place: `mark`, after the block's context is loaded.
b. `out` writes to a buffer that was given back behind all copies that `into` had been given until then.
c. The computing stream reads an entry behind its `written` or `arrived` event.
d. The computing stream writes to an evicted frame's tensor again behind all of `out`: `join`.
e. Memory of one stream that another one reads is recorded there, so that freeing it waits for both.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from longtake.platform.generation.packing import pack, packed_bytes, unpack
from longtake.platform.generation.shelf import Fetched, Shelf, Stored
from longtake.platform.generation.shelves import place, release, reserve
from longtake.platform.generation.streams import Event, Streams, streams_of

Key = tuple[int, int]
"""Batch row and frame."""


class Bank:
    """Evicted entries of one rollout by (row, frame). `dtype` is that of storage, `compute` that of attention."""

    def __init__(
        self,
        shelves: list[Shelf],
        dtype: torch.dtype,
        compute: torch.dtype,
        device: torch.device,
        streams: Streams | None = None,
    ):
        self.shelves, self.dtype, self.compute, self.device = shelves, dtype, compute, device
        self.streams = streams or streams_of(device)
        self.stored: dict[Key, Stored] = {}
        self.leaving: dict[Key, Tensor] = {}
        self.staged: dict[Key, Fetched] = {}
        self.touched: list[Stored] = []
        self.marked: Event | None = None
        self.promised: list[tuple[Shelf, int]] = []
        self.promised_bytes = 0
        self.num_bytes = self.peak_bytes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self.stored or key in self.leaving

    def __len__(self) -> int:
        return len(self.stored) + len(self.leaving)

    @property
    def waited_seconds(self) -> float:
        """How long the shelves have made a launching thread wait, in all takes so far."""
        return sum(shelf.waited_seconds for shelf in self.shelves)

    def reserve(self, entries: int, shape: tuple[int, ...]) -> None:
        """Room for so many entries of `shape` until `close`; once. Raises ConfigError where there is too little."""
        self.promised_bytes = packed_bytes(shape, self.compute, self.dtype)
        self.promised = reserve(self.shelves, entries, self.promised_bytes)

    def fill(self) -> None:
        """Have all reserved memory ready before the first block; a take that is not measured gets it as it goes."""
        for shelf in self.shelves:
            shelf.fill(self.promised_bytes)

    def put(self, key: Key, entry: Tensor) -> None:
        """Take an entry over; `entry` must stay as it is until the `join` that follows `settle`."""
        self.leaving[key] = entry
        self.marked = None

    def mark(self) -> None:
        """Moves may begin behind what was computed up to here. Without a mark since the last `put` and `entry`, they
        begin behind everything that was computed."""
        self.marked = self.streams.computing.record()

    def settle(self) -> None:
        """Move what was put to the shelves. Raises ConfigError when they are full, StorageError for a failing one."""
        for stored in self.touched:
            stored.released()
        self.touched.clear()
        out = self.streams.out
        out.wait(self.marked or self.streams.computing.record())  # rule a
        out.wait(self.streams.into.record())  # rule b
        with out.opened():
            for key in list(self.leaving):
                self.stored[key] = self.store(self.leaving[key])
                del self.leaving[key]
        self.peak_bytes = max(self.peak_bytes, self.num_bytes)

    def store(self, entry: Tensor) -> Stored:
        packed = pack(entry, self.dtype)
        shelf, buffer = place(self.shelves, packed.num_bytes)
        stored = shelf.store(packed, buffer, self.streams)
        self.streams.out.uses(entry)  # rule e
        self.num_bytes += packed.num_bytes
        self.touched.append(stored)
        return stored

    def join(self) -> None:
        """The computing stream waits for all that was moved away so far; the host does not."""
        self.streams.computing.wait(self.streams.out.record())  # rule d

    def drop(self, key: Key) -> None:
        """Forget an entry; its buffer is free for the next `settle`. KeyError if it is not there."""
        if key in self.leaving:
            del self.leaving[key]
            return
        stored = self.stored.pop(key)
        if key in self.staged:
            self.staged.pop(key).cancel()
        self.num_bytes -= stored.packed.num_bytes
        stored.shelf.give_back(stored.buffer)

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Start to bring to the device what lies elsewhere, in the order of `keys`."""
        for key in keys:
            if key in self.stored and key not in self.staged:
                self.staged[key] = self.stored[key].fetch(self.streams)

    def entry(self, key: Key) -> Tensor:
        """The entry on the device, in the compute dtype. KeyError if the bank does not hold it; StorageError."""
        self.marked = None
        if key in self.leaving:
            return unpack(pack(self.leaving[key], self.dtype), self.compute)
        stored = self.stored[key]
        fetched = self.staged.pop(key, None) or stored.fetch(self.streams)
        computing = self.streams.computing
        computing.wait(fetched.arrived())  # rule c
        computing.uses(fetched.packed.data)  # rule e; a scale is part of the same memory
        self.touched.append(stored)
        return unpack(fetched.packed, self.compute)

    def close(self) -> None:
        """Give all buffers and promises back to the shelves. Waits for every move."""
        for fetched in self.staged.values():
            fetched.cancel()
        for shelf in self.shelves:
            shelf.finish()
        for stream in (self.streams.out, self.streams.into):
            stream.record().synchronize()
        for held in (self.leaving, self.staged, self.touched):
            held.clear()
        for key in list(self.stored):
            self.drop(key)
        release(self.promised, self.promised_bytes)
        self.promised = []
