"""Where the bank's bytes lie: device memory, host memory (pinned beside a GPU), or a memory-mapped file.

A shelf hands out buffers up to its room and takes them back; it keeps them for the next entry of the same size, since
pinning memory and growing a file are slow. Shelves belong to a sampler and outlive its takes. What is in a buffer is
not their business, and no shelf changes a bit of it.
"""

import mmap
import os
import tempfile
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.resources import GIB, BankRoom

MADV_DONTNEED = getattr(mmap, "MADV_DONTNEED", None)


class Shelf(ABC):
    """Buffers of uint8; `room` bytes at most, None for no limit."""

    name: str

    def __init__(self, room: float | None):
        self.room = room
        self.held = self.used = 0
        self.spare: dict[int, list[Tensor]] = {}

    def take(self, num_bytes: int) -> Tensor | None:
        """A buffer, or None when the shelf is full."""
        kept = self.spare.get(num_bytes)
        if kept:
            buffer = kept.pop()
        elif self.room is None or self.held + num_bytes <= self.room:
            buffer = self.make(num_bytes)
            self.held += num_bytes
        else:
            return None
        self.used += num_bytes
        return buffer

    def give_back(self, buffer: Tensor) -> None:
        self.used -= buffer.nbytes
        self.spare.setdefault(buffer.nbytes, []).append(buffer)

    @abstractmethod
    def make(self, num_bytes: int) -> Tensor: ...

    def settled(self, buffer: Tensor) -> None:
        """Called when `buffer` was written or read."""


class MemoryShelf(Shelf):
    """Memory of one device; `pinned`: host memory that a GPU copies from by itself."""

    def __init__(self, device: torch.device, room: float | None, pinned: bool = False):
        super().__init__(room)
        self.device, self.pinned = device, pinned
        self.name = "host" if device.type == "cpu" else "gpu"

    def make(self, num_bytes: int) -> Tensor:
        buffer = torch.empty(num_bytes, dtype=torch.uint8, device=self.device)
        if self.pinned:
            pin(buffer)
        return buffer


class DiskShelf(Shelf):
    """Pieces of one file without a name: nothing of it is left, however the process ends."""

    name = "disk"

    def __init__(self, folder: str):
        super().__init__(None)
        try:
            self.file = tempfile.TemporaryFile(dir=folder, prefix="longtake-bank-")  # noqa: SIM115 (lives with us)
        except OSError as error:
            raise StorageError(f"{folder}: cannot hold the bank ({error.strerror}); name another bank.disk") from error
        self.folder, self.end = folder, 0
        self.maps: dict[int, mmap.mmap] = {}

    def make(self, num_bytes: int) -> Tensor:
        size = -(-num_bytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        try:
            os.posix_fallocate(self.file.fileno(), self.end, size)
        except OSError as error:
            full = f"the bank needs {size / 1e6:.0f} MB more after {self.end / GIB:.1f} GiB ({error.strerror})"
            raise StorageError(f"{self.folder}: {full}; free space, or name another bank.disk") from error
        piece = mmap.mmap(self.file.fileno(), num_bytes, offset=self.end)
        self.end += size
        buffer = torch.frombuffer(piece, dtype=torch.uint8)
        self.maps[buffer.data_ptr()] = piece
        return buffer

    def settled(self, buffer: Tensor) -> None:
        """Let the pages go: what they hold stays in the file, and in the system's cache while there is memory."""
        if MADV_DONTNEED is not None:
            self.maps[buffer.data_ptr()].madvise(MADV_DONTNEED)


def pin(buffer: Tensor) -> None:
    """Make pageable memory pinned in place; torch's own pinned allocator rounds 288 MB up to 512."""
    code = int(torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, 0))
    if code:
        raise StorageError(
            f"bank: {buffer.nbytes / 1e6:.0f} MB could not be pinned (CUDA error {code}); lower host_gib"
        )


def build_shelves(room: BankRoom, device: torch.device) -> list[Shelf]:
    """The shelves in the order in which they are filled. Raises ConfigError if the room's folder is missing."""
    room.check_folder()
    host = torch.device("cpu")
    host_room = None if room.host_gib is None else room.host_gib * GIB
    shelves: list[Shelf] = [MemoryShelf(host, host_room, pinned=device.type == "cuda")]
    if device.type == "cuda":
        shelves.insert(0, MemoryShelf(device, room.gpu_gib * GIB))
    if room.disk is not None:
        shelves.append(DiskShelf(room.disk))
    return shelves


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
