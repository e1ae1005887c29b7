"""Host memory in pages of its own, pinned beside a GPU so that the GPU copies to and from it by itself.

Memory comes straight from the system in huge pages where there are any: registering a gigabyte with the driver then
takes 512 pages instead of 262,144, and no allocator rounds an entry of 288 MB up to 512. Pages are unpinned before they
are freed, or they would stay with the driver.
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
    """What makes pages known to a device."""

    def prepare(self) -> None:
        """Called in a thread before it uses the device."""

    def register(self, pages: Tensor) -> int:
        """0, or the driver's error code."""

    def unregister(self, pages: list[Tensor]) -> None:
        """Undo `register`, after all work of the device that may touch them."""


class NoPinning:
    """A CPU reads any page."""

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
        torch.cuda.set_device(self.device)  # a new thread would open a context on device 0

    def register(self, pages: Tensor) -> int:
        with torch.cuda.device(self.device):
            return int(torch.cuda.cudart().cudaHostRegister(pages.data_ptr(), pages.nbytes, PORTABLE))

    def unregister(self, pages: list[Tensor]) -> None:
        torch.cuda.synchronize(self.device)
        with torch.cuda.device(self.device):
            for piece in pages:
                torch.cuda.cudart().cudaHostUnregister(piece.data_ptr())


def pinning_for(device: torch.device) -> Pinning:
    return CudaPinning(device) if device.type == "cuda" else NoPinning()


class PinnedPages:
    """Pieces of pinned memory; they go back to the system when this object is collected, or by `release`."""

    def __init__(self, pinning: Pinning):
        self.pinning = pinning
        self.pieces: list[Tensor] = []
        weakref.finalize(self, unpin, self.pieces, pinning).atexit = False  # the driver frees all it holds at exit

    @property
    def num_bytes(self) -> int:
        return sum(piece.nbytes for piece in self.pieces)

    def allocate(self, num_bytes: int) -> Tensor:
        """At least `num_bytes` of uint8, in whole huge pages, present and pinned. Raises StorageError."""
        what = f"bank: {num_bytes / 1e6:.1f} MB of host memory after {self.num_bytes / 2**30:.1f} GiB"
        try:
            pages = present_pages(-(-num_bytes // HUGE_PAGE) * HUGE_PAGE)
        except OSError as error:
            raise StorageError(f"{what} are not there ({error.strerror}); lower workers.bank.host_gib") from error
        code = self.pinning.register(pages)
        if code:
            raise StorageError(f"{what} cannot be pinned (CUDA error {code}); lower workers.bank.host_gib")
        self.pieces.append(pages)
        return pages

    def release(self) -> None:
        """No buffer of any piece may be in use."""
        unpin(self.pieces, self.pinning)


def present_pages(num_bytes: int) -> Tensor:
    """Zeroed memory of this process alone, each page already backed by memory. Raises OSError."""
    pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if MADV_HUGEPAGE is not None:
        with suppress(OSError):  # a kernel without huge pages: small ones do, more slowly
            pages.madvise(MADV_HUGEPAGE)
    with torch.inference_mode(False):  # the buffers are written inside of it and outside
        buffer = torch.frombuffer(pages, dtype=torch.uint8)
        buffer[:: mmap.PAGESIZE].zero_()
    return buffer


def unpin(pieces: list[Tensor], pinning: Pinning) -> None:
    """Mutates the list: it is empty afterwards."""
    if pieces:
        pinning.unregister(pieces)
    pieces.clear()
