"""A bank in an unnamed file, which disappears with the process, however it ends.

On a CPU the file is mapped, and entries are read in place. On a GPU, entries pass through pinned staging memory. Two
helper threads move them between there and the file, one for each direction, so that the thread that launches the
network waits only when the disk is too slow (`waited_seconds`):

    store    device -> staging slot on `out`; the writing thread waits for that copy, writes the slot, frees it
    fetch    the reading thread reads into a slot, then launches slot -> device on `into`; two slots take turns

Rules: (3) a slot for writing is free once it is written, and there are more of them than a block of one row evicts;
(4) a slot for reading is filled after its last copy to the device; (5) an entry is read from the file after its own
write, and writes keep their order, so that a buffer may be returned while it is written; (6) a buffer that is being
read is returned after the read.
An error in a thread is raised by the next `take`, or by the entry that depends on it. If the take ends first, the error
is dropped.
"""

import errno
import mmap
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from queue import SimpleQueue

import torch
from torch import Tensor

from longtake.platform.errors import StorageError
from longtake.platform.generation.bank.background import Background
from longtake.platform.generation.bank.packing import Packed
from longtake.platform.generation.bank.pages import PinnedPages, Pinning
from longtake.platform.generation.bank.pinned import cut, slot_bytes
from longtake.platform.generation.bank.streams import COMPLETED, Event, SideStream, Streams
from longtake.platform.generation.bank.tier import Fetched, InPlaceTier, Stored
from longtake.platform.machine.resources import GIB, STAGING_ENTRIES, WRITING_SLOTS

MADV_DONTNEED = getattr(mmap, "MADV_DONTNEED", None)
FILE_SPAN = 2**42
"""Bytes of address space for the one mapping of the file (a mapping per entry would hold a file descriptor each). Disk
space is allocated as entries come: 240 s of Wan 1.3B use 273 GB of these 4.4 TB."""


class DiskTier(InPlaceTier):
    """Pieces of one mapped file."""

    name = "disk"

    def __init__(self, folder: str):
        super().__init__(FILE_SPAN)
        self.folder = folder
        try:
            os.makedirs(folder, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (lives as long as the tier)
            self.file.truncate(FILE_SPAN)
            self.pages = mmap.mmap(self.file.fileno(), FILE_SPAN)
        except OSError as error:
            raise StorageError(f"{folder}: cannot hold the bank ({error.strerror}); set another bank.disk") from error
        self.bytes = torch.frombuffer(self.pages, dtype=torch.uint8)

    def make(self, num_bytes: int) -> Tensor:
        try:
            os.posix_fallocate(self.file.fileno(), self.held, num_bytes)
        except OSError as error:
            full = f"the bank needs {num_bytes / 1e6:.1f} MB more after {self.held / GIB:.1f} GiB ({error.strerror})"
            raise StorageError(f"{self.folder}: {full}; free some space, or set another bank.disk") from error
        return self.bytes[self.held : self.held + num_bytes]

    def capacity(self) -> float:
        """Bytes of disk that the file uses, plus those that are free."""
        disk = os.statvfs(self.file.fileno())
        return min(self.max_bytes, os.fstat(self.file.fileno()).st_blocks * 512 + disk.f_bavail * disk.f_frsize)

    def release_pages(self, buffer: Tensor) -> None:
        """Release the pages. Their content stays in the file, and in the page cache while there is memory."""
        if MADV_DONTNEED is not None:
            start = int(buffer.storage_offset())
            before = start % mmap.PAGESIZE
            self.pages.madvise(MADV_DONTNEED, start - before, before + buffer.nbytes)


@dataclass(frozen=True)
class StagedFetch(Fetched):
    """An entry that the reading thread copies to device memory."""

    packed: Packed
    launched: "Future[Event]"
    tier: "StagedDiskTier"

    def arrived(self) -> Event:
        started = time.perf_counter()
        event = self.launched.result()
        self.tier.waited_seconds += time.perf_counter() - started
        return event

    def cancel(self) -> None:
        if not self.launched.cancel():
            wait([self.launched])  # rule 6


@dataclass(frozen=True)
class StoredOnDisk(Stored):
    """An entry in the file, or on its way there. `packed` describes its form only: nothing reads the mapped pages."""

    packed: Packed
    buffer: Tensor
    tier: "StagedDiskTier"
    written: "Future[None]"

    def fetch(self, streams: Streams) -> Fetched:
        with streams.into.opened():
            target = torch.empty_like(self.buffer, device=self.tier.device)
        launched = self.tier.reader.submit(self.tier.read, self, target, streams.into)
        return StagedFetch(self.packed.laid_out(target), launched, self.tier)


class StagedDiskTier(DiskTier):
    """The file for the entries of `device`, with staging slots of one entry each, which are allocated once."""

    def __init__(self, folder: str, device: torch.device, pinning: Pinning):
        super().__init__(folder)
        self.device = device
        self.staging = PinnedPages(pinning)
        self.writer = Background("bank-writing", pinning.prepare)
        self.reader = Background("bank-reading", pinning.prepare)
        self.slot_bytes = 0
        self.writable: SimpleQueue[Tensor] = SimpleQueue()
        self.readable: deque[tuple[Tensor, Event]] = deque()
        self.writes: deque[Future[None]] = deque()

    def take(self, num_bytes: int) -> Tensor | None:
        while self.writes and self.writes[0].done():
            self.writes.popleft().result()
        return super().take(num_bytes)

    def reserve(self, entries: int, num_bytes: int) -> None:
        if entries > 0:
            self.stage(num_bytes)
        super().reserve(entries, num_bytes)

    def stage(self, num_bytes: int) -> None:
        """Allocate slots for entries of this size unless there are such slots already. Raises StorageError."""
        if num_bytes <= self.slot_bytes:
            return
        self.finish()
        self.writable, self.slot_bytes = SimpleQueue(), 0
        self.readable.clear()
        self.staging.release()
        slots = cut(self.staging.allocate(STAGING_ENTRIES * slot_bytes(num_bytes)), num_bytes)
        for slot in slots[:WRITING_SLOTS]:
            self.writable.put(slot)
        self.readable.extend((slot, COMPLETED) for slot in slots[WRITING_SLOTS:STAGING_ENTRIES])
        self.slot_bytes = num_bytes

    def store(self, packed: Packed, buffer: Tensor, streams: Streams) -> Stored:
        self.stage(buffer.nbytes)
        started = time.perf_counter()
        slot = self.writable.get()  # rule 3
        self.waited_seconds += time.perf_counter() - started
        copy = packed.laid_out(slot[: buffer.nbytes])
        for target, source in zip(copy.tensors, packed.tensors, strict=True):
            streams.out.copy(target, source)
        written = self.writer.submit(self.write, slot, buffer, streams.out.record())
        self.writes.append(written)
        return StoredOnDisk(packed.laid_out(buffer), buffer, self, written)

    def write(self, slot: Tensor, buffer: Tensor, copied: Event) -> None:
        """Runs in the writing thread."""
        try:
            copied.synchronize()
            transfer(os.pwritev, self.file.fileno(), slot[: buffer.nbytes], int(buffer.storage_offset()))
        except OSError as error:
            raise StorageError(f"{self.folder}: the bank cannot be written ({error.strerror})") from error
        finally:
            self.writable.put(slot)

    def read(self, stored: StoredOnDisk, target: Tensor, into: SideStream) -> Event:
        """Runs in the reading thread."""
        stored.written.result()  # rule 5
        slot, last = self.readable.popleft()
        try:
            last.synchronize()  # rule 4
            transfer(os.preadv, self.file.fileno(), slot[: target.nbytes], int(stored.buffer.storage_offset()))
            into.copy(target, slot[: target.nbytes])
            last = into.record()
        except OSError as error:
            raise StorageError(f"{self.folder}: the bank cannot be read ({error.strerror})") from error
        finally:
            self.readable.append((slot, last))
        return last

    def release_pages(self, buffer: Tensor) -> None:
        """Does nothing: the pages are not mapped."""

    def finish(self) -> None:
        """Wait for all writes and drop their errors."""
        wait(self.writes)
        self.writes.clear()


Mover = Callable[[int, list[memoryview], int], int]
"""os.preadv or os.pwritev: (file, memory, offset) -> number of bytes moved."""


def transfer(move: Mover, file: int, memory: Tensor, offset: int) -> None:
    """Move all of `memory`, in several calls if needed. Raises OSError."""
    view, done = memory.numpy().data, 0
    while done < len(view):
        moved = move(file, [view[done:]], offset + done)
        if moved == 0:
            raise OSError(errno.EIO, "the file has ended")
        done += moved
