"""Host memory that is mapped directly from the system, and pinned so that a GPU can copy to and from it.

Huge pages are used where available: a gigabyte then has 512 pages to register with the driver instead of 262,144. No
allocator rounds an entry of 288 MB up to 512. Pages are unpinned before they are freed; otherwise the driver would keep
them.
"""

import mmap
import weakref
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from longtake.platform.errors import StorageError

HUGE_PAGE = 2**21
PORTABLE = 1  # pinned for every CUDA context, cudaHostRegisterPortable
MADV_HUGEPAGE = getattr(mmap, "MADV_HUGEPAGE", None)


class Pinning(Protocol):
    """Registers pages with a device."""

    def prepare(self) -> None:
        """Called in a thread before it uses the device."""

    def register(self, pages: Tensor) -> int:
        """Pin the pages. Returns 0 or the driver's error code."""

    def unregister(self, pages: list[Tensor]) -> None:
        """Undo `register`, after all work of the device that may use the pages."""


class NoPinning:
    """For a CPU, which can read any page."""

    def prepare(self) -> None:
        pass

    def register(self, pages: Tensor) -> int:
        return 0

    def unregister(self, pages: list[Tensor]) -> None:
        pass


class CudaPinning:
    """Pages registered with the CUDA driver."""

    def __init__(self, device: torch.device):
        self.device = device

    def prepare(self) -> None:
        torch.cuda.set_device(self.device)  # otherwise a new thread would open a context on device 0

    def register(self, pages: Tensor) -> int:
        with torch.cuda.device(self.device):
            code = int(torch.cuda.cudart().cudaHostRegister(pages.data_ptr(), pages.nbytes, PORTABLE))
            if code:  # the driver reports it once more, to the next launch of this thread
                with suppress(RuntimeError):
                    torch.zeros(1, device=self.device)
        return code

    def unregister(self, pages: list[Tensor]) -> None:
        torch.cuda.synchronize(self.device)
        with torch.cuda.device(self.device):
            for piece in pages:
                torch.cuda.cudart().cudaHostUnregister(piece.data_ptr())


def pinning_for(device: torch.device) -> Pinning:
    return CudaPinning(device) if device.type == "cuda" else NoPinning()


class PinnedPages:
    """Pieces of pinned memory, freed by `release` or when this object is collected."""

    def __init__(self, pinning: Pinning):
        self.pinning = pinning
        self.pieces: list[Tensor] = []
        weakref.finalize(self, unpin, self.pieces, pinning).atexit = False  # at exit the driver frees all of it

    @property
    def num_bytes(self) -> int:
        return sum(piece.nbytes for piece in self.pieces)

    def allocate(self, num_bytes: int) -> Tensor:
        """Allocate and pin at least `num_bytes` of uint8, in whole huge pages. Raises StorageError."""
        size = f"bank: {num_bytes / 1e6:.1f} MB of host memory after {self.num_bytes / 2**30:.1f} GiB"
        try:
            pages = present_pages(-(-num_bytes // HUGE_PAGE) * HUGE_PAGE)
        except OSError as error:
            raise StorageError(f"{size} cannot be allocated ({error.strerror}); lower workers.bank.host_gib") from error
        code = self.pinning.register(pages)
        if code:
            raise StorageError(f"{size} cannot be pinned (CUDA error {code}); lower workers.bank.host_gib")
        self.pieces.append(pages)
        return pages

    def release(self) -> None:
        """Free all pieces. None of their buffers may be in use."""
        unpin(self.pieces, self.pinning)


def present_pages(num_bytes: int) -> Tensor:
    """Zeroed private memory with every page present. Raises OSError."""
    pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if MADV_HUGEPAGE is not None:
        with suppress(OSError):  # a kernel without huge pages: small pages work, more slowly
            pages.madvise(MADV_HUGEPAGE)
    with torch.inference_mode(False):  # the buffers are written both in and outside inference mode
        buffer = torch.frombuffer(pages, dtype=torch.uint8)
        buffer[:: mmap.PAGESIZE].zero_()
    return buffer


def unpin(pieces: list[Tensor], pinning: Pinning) -> None:
    """Unpin and empty the list, which is mutated."""
    if pieces:
        pinning.unregister(pieces)
    pieces.clear()
