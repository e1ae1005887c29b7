"""A shelf: one kind of memory for the bank's entries.

It hands out buffers up to its room and takes them back; it keeps them for the next entry of the same size, since
pinning memory and growing a file are slow. It also knows how an entry gets there and back: in place, by a copy on a
side stream, or through a helper thread. Shelves belong to a sampler and outlive its takes. What is in a buffer is not
their business, and no shelf changes a bit of it.

Rules that keep a buffer whole (streams.py names the streams; `Bank` keeps the rest of them):
1. An entry is read behind its `written` event, on whatever stream reads it.
2. A buffer that was given back is written on `out` only, behind every copy that `into` was given until then.
"""

import mmap
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from longtake.platform.generation.packing import Packed
from longtake.platform.generation.streams import Event, Streams

PIECE, ALIGNED = 2**24, 64


class Fetched(ABC):
    """An entry on its way to the device: `packed` is complete behind `arrived`."""

    packed: Packed

    @abstractmethod
    def arrived(self) -> Event:
        """The event behind the copy. A helper thread may have to launch it first, which is waited for."""

    @abstractmethod
    def cancel(self) -> None:
        """Return once the entry's buffer is not read any more, but for work that `into` has been given."""


class Stored(ABC):
    """A packed entry in `buffer` of `shelf`."""

    packed: Packed
    buffer: Tensor
    shelf: "Shelf"

    @abstractmethod
    def fetch(self, streams: Streams) -> Fetched:
        """Start to bring it to the device."""

    def released(self) -> None:
        """Called when the buffer is not read any more by the block that asked for it."""


class Shelf(ABC):
    """Buffers of uint8, all of one size at a time; `room` bytes at most. Of what it holds `used` bytes are in use, and
    `reserved` bytes are for takes that run. `waited_seconds`: how long `take` and reads have waited for a thread."""

    name: str

    def __init__(self, room: float):
        self.room = room
        self.held = self.used = self.reserved = 0
        self.waited_seconds = 0.0
        self.spare: dict[int, list[Tensor]] = {}

    def take(self, num_bytes: int) -> Tensor | None:
        """A buffer, or None when the shelf is full."""
        if self.resizes(num_bytes):
            self.clear(num_bytes)
        kept = self.spare.setdefault(num_bytes, [])
        if not kept:
            if self.held + num_bytes > self.room:
                return None
            kept.append(self.make(num_bytes))
            self.held += num_bytes
        self.used += num_bytes
        return kept.pop()

    def resizes(self, num_bytes: int) -> bool:
        """Nothing is in use, and what is kept has other sizes too."""
        return self.used == 0 and list(self.spare) != [num_bytes]

    def give_back(self, buffer: Tensor) -> None:
        self.used -= buffer.nbytes
        self.spare[buffer.nbytes].append(buffer)

    def clear(self, num_bytes: int) -> None:
        """Let go of the buffers, none of which is in use: the next entries have `num_bytes`."""
        self.spare.clear()
        self.held = 0

    def fits(self, num_bytes: int) -> int:
        """How many more entries of that size the shelf can promise."""
        return int(max(0.0, self.capacity() - self.reserved) // num_bytes)

    def capacity(self) -> float:
        """Bytes that the shelf can hold in all."""
        return self.room

    def reserve(self, entries: int, num_bytes: int) -> None:
        """A take that begins will use so many; a negative number at its end. What is slow to get is got ahead."""
        self.reserved += entries * num_bytes

    def fill(self, num_bytes: int) -> None:
        """Get all that is reserved now, instead of ahead of its use: for measurements of what comes after."""

    @abstractmethod
    def make(self, num_bytes: int) -> Tensor: ...

    @abstractmethod
    def store(self, packed: Packed, buffer: Tensor, streams: Streams) -> Stored:
        """Copy an entry of the device into a buffer that was taken. `packed` stays as it is until `streams.out` has
        passed the copy."""

    def finish(self) -> None:
        """Wait until no thread works on any buffer."""


class Here(Fetched):
    """An entry that is read where it lies."""

    def __init__(self, packed: Packed, written: Event):
        self.packed, self.written = packed, written

    def arrived(self) -> Event:
        return self.written

    def cancel(self) -> None:
        pass


@dataclass(frozen=True)
class StoredHere(Stored):
    """An entry in memory that the device reads, or in a file that is mapped there."""

    packed: Packed
    buffer: Tensor
    shelf: "InPlaceShelf"
    written: Event

    def fetch(self, streams: Streams) -> Fetched:
        return Here(self.packed, self.written)

    def released(self) -> None:
        self.shelf.release_pages(self.buffer)


class InPlaceShelf(Shelf):
    """Its buffers are the device's own memory, or look like it."""

    def store(self, packed: Packed, buffer: Tensor, streams: Streams) -> Stored:
        held = packed.laid_out(buffer)
        for target, source in zip(held.tensors, packed.tensors, strict=True):
            streams.out.copy(target, source)
        return StoredHere(held, buffer, self, streams.out.record())

    def release_pages(self, buffer: Tensor) -> None:
        """What is in the buffer may leave memory if it is also elsewhere."""


class MemoryShelf(InPlaceShelf):
    """Memory of one device. A host's comes from the system in pieces of its own: between the temporaries of packing on
    the heap, an entry would cost half as much again in gaps."""

    def __init__(self, device: torch.device, room: float):
        super().__init__(room)
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
