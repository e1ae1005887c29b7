"""A tier: one kind of memory for the bank's entries.

It hands out buffers, up to its capacity, and takes them back. Returned buffers are kept for the next entry of the same
size, since pinning memory and growing a file are slow. It also moves entries there and back: in place, by a copy on a
side stream, or through a helper thread. Tiers belong to a sampler and outlive its takes. They never interpret or
change the content of a buffer.

Rules of order (streams.py defines the streams; bank.py and disk.py have more rules):
1. An entry is read after its `written` event, on every stream.
2. A returned buffer is written on `out` only, after all copies that were queued on `into` before.
"""

import mmap
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from longtake.platform.generation.bank.packing import Packed
from longtake.platform.generation.bank.streams import Event, Streams

PIECE, ALIGNED = 2**24, 64


class Fetched(ABC):
    """An entry on its way to the device. `packed` is complete after `arrived`."""

    packed: Packed

    @abstractmethod
    def arrived(self) -> Event:
        """The event after the copy. Waits until the copy is launched, if a helper thread launches it."""

    @abstractmethod
    def cancel(self) -> None:
        """Return once nothing reads the entry's buffer any more, except work that is queued on `into`."""


class Stored(ABC):
    """A packed entry in `buffer` of `tier`."""

    packed: Packed
    buffer: Tensor
    tier: "Tier"

    @abstractmethod
    def fetch(self, streams: Streams) -> Fetched:
        """Start to bring the entry to the device."""

    def released(self) -> None:
        """Called when the block that requested the entry no longer reads the buffer."""


class Tier(ABC):
    """Buffers of uint8, at most `max_bytes` bytes in all: `held` bytes are allocated and `used` of them are in use;
    `reserved` bytes are reserved by running takes. `waited_seconds`: how long `take` and reads have waited for a
    thread."""

    name: str

    def __init__(self, max_bytes: float):
        self.max_bytes = max_bytes
        self.held = self.used = self.reserved = 0
        self.waited_seconds = 0.0
        self.spare: dict[int, list[Tensor]] = {}

    def take(self, num_bytes: int) -> Tensor | None:
        """A buffer, or None if the tier is full."""
        if self.resizes(num_bytes):
            self.clear(num_bytes)
        spare = self.spare.setdefault(num_bytes, [])
        if not spare:
            if self.held + num_bytes > self.max_bytes:
                return None
            spare.append(self.make(num_bytes))
            self.held += num_bytes
        self.used += num_bytes
        return spare.pop()

    def resizes(self, num_bytes: int) -> bool:
        """Whether no buffer is in use and those kept are not all of this size."""
        return self.used == 0 and list(self.spare) != [num_bytes]

    def give_back(self, buffer: Tensor) -> None:
        self.used -= buffer.nbytes
        self.spare[buffer.nbytes].append(buffer)

    def clear(self, num_bytes: int) -> None:
        """Free all buffers, none of which is in use, before entries of `num_bytes`."""
        self.spare.clear()
        self.held = 0

    def fits(self, num_bytes: int) -> int:
        """How many more entries of this size can be reserved."""
        return int(max(0.0, self.capacity() - self.reserved) // num_bytes)

    def capacity(self) -> float:
        """Bytes that the tier can hold in total."""
        return self.max_bytes

    def reserve(self, entries: int, num_bytes: int) -> None:
        """Reserve space at the start of a take; `entries` is negative at its end. May start to allocate in advance."""
        self.reserved += entries * num_bytes

    def fill(self, num_bytes: int) -> None:
        """Allocate all reserved space now instead of as needed, so that measurements exclude it."""

    @abstractmethod
    def make(self, num_bytes: int) -> Tensor: ...

    @abstractmethod
    def store(self, packed: Packed, buffer: Tensor, streams: Streams) -> Stored:
        """Copy an entry from the device to `buffer`, which came from `take`. `packed` must not change until
        `streams.out` has passed the copy."""

    def finish(self) -> None:
        """Wait until no thread uses any buffer."""


class InPlaceFetch(Fetched):
    """An entry that is read in place."""

    def __init__(self, packed: Packed, written: Event):
        self.packed, self.written = packed, written

    def arrived(self) -> Event:
        return self.written

    def cancel(self) -> None:
        pass


@dataclass(frozen=True)
class StoredInPlace(Stored):
    """An entry in memory that the device can read, or in a mapped file."""

    packed: Packed
    buffer: Tensor
    tier: "InPlaceTier"
    written: Event

    def fetch(self, streams: Streams) -> Fetched:
        return InPlaceFetch(self.packed, self.written)

    def released(self) -> None:
        self.tier.release_pages(self.buffer)


class InPlaceTier(Tier):
    """A tier whose buffers the device reads in place."""

    def store(self, packed: Packed, buffer: Tensor, streams: Streams) -> Stored:
        copy = packed.laid_out(buffer)
        for target, source in zip(copy.tensors, packed.tensors, strict=True):
            streams.out.copy(target, source)
        return StoredInPlace(copy, buffer, self, streams.out.record())

    def release_pages(self, buffer: Tensor) -> None:
        """Allow the buffer to leave memory if its content is also stored elsewhere."""


class MemoryTier(InPlaceTier):
    """Memory of one device. Host memory is mapped from the system in pieces: on the heap, between the temporary tensors
    of packing, gaps would make an entry cost half as much again."""

    def __init__(self, device: torch.device, max_bytes: float):
        super().__init__(max_bytes)
        self.device = device
        self.name = "host" if device.type == "cpu" else "gpu"
        self.piece = torch.empty(0, dtype=torch.uint8)

    def make(self, num_bytes: int) -> Tensor:
        if self.device.type != "cpu":
            return torch.empty(num_bytes, dtype=torch.uint8, device=self.device)
        if len(self.piece) < num_bytes:
            self.piece = torch.frombuffer(mmap.mmap(-1, max(PIECE, num_bytes)), dtype=torch.uint8)
        buffer, self.piece = self.piece[:num_bytes], self.piece[-(-num_bytes // ALIGNED) * ALIGNED :]
        return buffer

    def clear(self, num_bytes: int) -> None:
        super().clear(num_bytes)
        self.piece = self.piece[:0]
