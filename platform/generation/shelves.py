"""Where the bank's bytes lie: device memory, host memory (pinned beside a GPU), or a memory-mapped file.

A shelf hands out buffers up to its room and takes them back; it keeps them for the next entry of the same size, since
pinning memory and growing a file are slow. Shelves belong to a sampler and outlive its takes. What is in a buffer is
not their business, and no shelf changes a bit of it.
"""

import mmap
import os
import tempfile
import weakref
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.resources import GIB, BankRoom

PORTABLE = 1  # pinned for every CUDA context, cudaHostRegisterPortable
MADV_DONTNEED = getattr(mmap, "MADV_DONTNEED", None)
PIECE, ALIGNED = 2**24, 64
FILE_SPAN = 2**42
"""Bytes of address space that the file is mapped into, once (a mapping per entry would hold a file descriptor each).
Disk is only taken as entries come: 240 s of Wan 1.3B are 273 GB of these 4.4 TB."""


class Shelf(ABC):
    """Buffers of uint8, all of one size at a time; `room` bytes at most, None for no limit."""

    name: str

    def __init__(self, room: float | None):
        self.room = room
        self.held = self.used = 0
        self.spare: dict[int, list[Tensor]] = {}

    def take(self, num_bytes: int) -> Tensor | None:
        """A buffer, or None when the shelf is full."""
        if self.used == 0 and num_bytes not in self.spare:
            self.clear()
        kept = self.spare.setdefault(num_bytes, [])
        if not kept:
            if self.room is not None and self.held + num_bytes > self.room:
                return None
            kept.append(self.make(num_bytes))
            self.held += num_bytes
        self.used += num_bytes
        return kept.pop()

    def give_back(self, buffer: Tensor) -> None:
        self.used -= buffer.nbytes
        self.spare[buffer.nbytes].append(buffer)

    def clear(self) -> None:
        """Let go of the buffers, none of which is in use: the next entries have another size."""
        self.spare.clear()
        self.held = 0

    @abstractmethod
    def make(self, num_bytes: int) -> Tensor: ...

    def settled(self, buffer: Tensor) -> None:
        """Called some time after `buffer` was written or read."""


class MemoryShelf(Shelf):
    """Memory of one device. A host's comes from the system in pieces of its own: between the temporaries of packing on
    the heap, an entry would cost half as much again in gaps."""

    def __init__(self, device: torch.device, room: float | None):
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

    def clear(self) -> None:
        super().clear()
        self.piece = self.piece[:0]


class PinnedShelf(Shelf):
    """Host memory that a GPU copies to and from by itself, pinned piece by piece: torch's own pinned allocator would
    round 288 MB up to 512. No piece is freed while it is pinned, or its pages would stay with the driver."""

    name = "host"

    def __init__(self, device: torch.device, room: float | None):
        super().__init__(room)
        self.device = device
        self.pinned: list[Tensor] = []
        weakref.finalize(self, unpin, self.pinned, device).atexit = False

    def make(self, num_bytes: int) -> Tensor:
        size = f"{num_bytes / 1e6:.0f} MB more after {self.held / GIB:.1f} GiB"
        try:
            pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise StorageError(f"bank: no {size} ({error.strerror}); lower workers.bank.host_gib") from error
        buffer = torch.frombuffer(pages, dtype=torch.uint8)
        code = int(torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), num_bytes, PORTABLE))
        if code:
            raise StorageError(f"bank: {size} could not be pinned (CUDA error {code}); lower workers.bank.host_gib")
        self.pinned.append(buffer)
        return buffer

    def clear(self) -> None:
        super().clear()
        unpin(self.pinned, self.device)


def unpin(buffers: list[Tensor], device: torch.device) -> None:
    """Mutates the list: it is empty afterwards."""
    if buffers:
        torch.cuda.synchronize(device)
    for buffer in buffers:
        torch.cuda.cudart().cudaHostUnregister(buffer.data_ptr())
    buffers.clear()


class DiskShelf(Shelf):
    """Pieces of one file without a name: nothing of it is left, however the process ends."""

    name = "disk"

    def __init__(self, folder: str):
        super().__init__(FILE_SPAN)
        self.folder = folder
        try:
            os.makedirs(folder, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (lives with us)
            self.file.truncate(FILE_SPAN)
            self.pages = mmap.mmap(self.file.fileno(), FILE_SPAN)
        except OSError as error:
            raise StorageError(f"{folder}: cannot hold the bank ({error.strerror}); name another bank.disk") from error
        self.bytes = torch.frombuffer(self.pages, dtype=torch.uint8)

    def make(self, num_bytes: int) -> Tensor:
        try:
            os.posix_fallocate(self.file.fileno(), self.held, num_bytes)
        except OSError as error:
            full = f"the bank needs {num_bytes / 1e6:.1f} MB more after {self.held / GIB:.1f} GiB ({error.strerror})"
            raise StorageError(f"{self.folder}: {full}; free space, or name another bank.disk") from error
        return self.bytes[self.held : self.held + num_bytes]

    def settled(self, buffer: Tensor) -> None:
        """Let the pages go: what they hold stays in the file, and in the system's cache while there is memory."""
        if MADV_DONTNEED is not None:
            start = int(buffer.storage_offset())
            before = start % mmap.PAGESIZE
            self.pages.madvise(MADV_DONTNEED, start - before, before + buffer.nbytes)


def build_shelves(room: BankRoom, device: torch.device) -> list[Shelf]:
    """The shelves in the order in which they are filled. Raises StorageError for a folder that cannot be written."""
    host_room = None if room.host_gib is None else room.host_gib * GIB
    shelves: list[Shelf]
    if device.type == "cuda":
        shelves = [MemoryShelf(device, room.gpu_gib * GIB), PinnedShelf(device, host_room)]
    else:
        shelves = [MemoryShelf(device, host_room)]
    return shelves if room.disk is None else [*shelves, DiskShelf(room.disk)]


def place(shelves: list[Shelf], num_bytes: int) -> tuple[Shelf, Tensor]:
    """A buffer on the first shelf with room. Raises ConfigError when all are full."""
    for shelf in shelves:
        buffer = shelf.take(num_bytes)
        if buffer is not None:
            return shelf, buffer
    held = ", ".join(f"{shelf.name} {shelf.used / GIB:.1f} GiB" for shelf in shelves)
    raise ConfigError(
        f"bank: no room for {num_bytes / 1e6:.1f} MB more ({held}); raise workers.bank.host_gib, "
        "name workers.bank.disk, or give the method bank_frames or bank_dtype: fp8"
    )
