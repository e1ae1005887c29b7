"""A sampler's shelves in the order in which they are filled: device, host memory (pinned on a GPU machine), file."""

from collections.abc import Sequence

import torch
from torch import Tensor

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.generation.bank.disk import DiskShelf, StagedDiskShelf
from longtake.platform.generation.bank.pages import CudaPinning
from longtake.platform.generation.bank.pinned import PinnedShelf
from longtake.platform.generation.bank.tier import MemoryShelf, Shelf
from longtake.platform.resources import GIB, BankRoom

__all__ = ["Shelf", "build_shelves", "place", "release", "reserve"]
FULL = "raise workers.bank.host_gib, name workers.bank.disk, or give the method bank_frames or bank_dtype: fp8"


def build_shelves(room: BankRoom, device: torch.device) -> list[Shelf]:
    """Shelves for the entries of `device`. Raises StorageError for a folder that cannot be written.

    If `host_gib` is None, it is computed for one sampler on this machine.
    """
    room = room.on_this_machine(samplers=1)
    assert room.host_gib is not None
    if device.type == "cpu":
        host = MemoryShelf(device, room.host_gib * GIB)
        return [host] if room.disk is None else [host, DiskShelf(room.disk)]
    pinning = CudaPinning(device)
    shelves = [MemoryShelf(device, room.gpu_gib * GIB), PinnedShelf(device, room.host_gib * GIB, pinning)]
    return shelves if room.disk is None else [*shelves, StagedDiskShelf(room.disk, device, pinning)]


def place(shelves: Sequence[Shelf], num_bytes: int) -> tuple[Shelf, Tensor]:
    """A buffer on the first shelf with room. Raises ConfigError when all are full."""
    for shelf in shelves:
        buffer = shelf.take(num_bytes)
        if buffer is not None:
            return shelf, buffer
    held = ", ".join(f"{shelf.name} {shelf.used / GIB:.1f} of {shelf.capacity() / GIB:.1f} GiB" for shelf in shelves)
    raise ConfigError(f"bank: no room for {num_bytes / 1e6:.1f} MB more ({held}); {FULL}")


def reserve(shelves: Sequence[Shelf], entries: int, num_bytes: int) -> list[tuple[Shelf, int]]:
    """Reserve room for a take on the shelves, in their order. Returns the entries per shelf, for `release`.

    Raises ConfigError if the shelves cannot hold all entries, and StorageError if a shelf cannot allocate what it needs
    in advance. Nothing is reserved after an error.
    """
    left, promised = entries, list[tuple[Shelf, int]]()
    for shelf in shelves:
        count = min(left, shelf.fits(num_bytes))
        promised.append((shelf, count))
        left -= count
    if left:
        rooms = ", ".join(f"{shelf.name} {shelf.fits(num_bytes) * num_bytes / GIB:.1f}" for shelf in shelves)
        need = f"{entries * num_bytes / GIB:.1f} GiB for {entries} frames of {num_bytes / 1e6:.1f} MB"
        raise ConfigError(f"bank: this take needs {need}, but there is room for {rooms} GiB; {FULL}")
    for at, (shelf, count) in enumerate(promised):
        try:
            shelf.reserve(count, num_bytes)
        except StorageError:
            release(promised[:at], num_bytes)
            raise
    return promised


def release(promised: Sequence[tuple[Shelf, int]], num_bytes: int) -> None:
    """Undo `reserve` at the end of a take."""
    for shelf, count in promised:
        shelf.reserve(-count, num_bytes)
