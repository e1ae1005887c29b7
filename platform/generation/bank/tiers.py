"""A sampler's tiers in the order in which they are filled: device, host memory (pinned on a GPU machine), file."""

from collections.abc import Sequence

import torch
from torch import Tensor

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.generation.bank.disk import DiskTier, StagedDiskTier
from longtake.platform.generation.bank.pages import CudaPinning
from longtake.platform.generation.bank.pinned import PinnedTier
from longtake.platform.generation.bank.tier import MemoryTier, Tier
from longtake.platform.machine.resources import GIB, BankCapacity

FULL = "raise workers.bank.host_gib, set workers.bank.disk, or give the method bank_frames or bank_dtype: fp8"


def build_tiers(capacity: BankCapacity, device: torch.device) -> list[Tier]:
    """Tiers for the entries of `device`. Raises StorageError for a folder that cannot be written.

    If `host_gib` is None, it is computed for one sampler on this machine.
    """
    capacity = capacity.on_this_machine(samplers=1)
    assert capacity.host_gib is not None
    if device.type == "cpu":
        host = MemoryTier(device, capacity.host_gib * GIB)
        return [host] if capacity.disk is None else [host, DiskTier(capacity.disk)]
    pinning = CudaPinning(device)
    tiers = [MemoryTier(device, capacity.gpu_gib * GIB), PinnedTier(device, capacity.host_gib * GIB, pinning)]
    return tiers if capacity.disk is None else [*tiers, StagedDiskTier(capacity.disk, device, pinning)]


def place(tiers: Sequence[Tier], num_bytes: int) -> tuple[Tier, Tensor]:
    """A buffer of the first tier with space for it. Raises ConfigError if all are full."""
    for tier in tiers:
        buffer = tier.take(num_bytes)
        if buffer is not None:
            return tier, buffer
    usage = ", ".join(f"{tier.name} {tier.used / GIB:.1f} of {tier.capacity() / GIB:.1f} GiB" for tier in tiers)
    raise ConfigError(f"bank: no space for {num_bytes / 1e6:.1f} MB more ({usage}); {FULL}")


def reserve(tiers: Sequence[Tier], entries: int, num_bytes: int) -> list[tuple[Tier, int]]:
    """Reserve space for a take in the tiers, in order. Returns the entries per tier, for `release`.

    Raises ConfigError if the tiers cannot hold all entries, and StorageError if a tier cannot allocate what it needs in
    advance. Nothing is reserved after an error.
    """
    left, reservations = entries, list[tuple[Tier, int]]()
    for tier in tiers:
        count = min(left, tier.fits(num_bytes))
        reservations.append((tier, count))
        left -= count
    if left:
        spaces = ", ".join(f"{tier.name} {tier.fits(num_bytes) * num_bytes / GIB:.1f}" for tier in tiers)
        need = f"{entries * num_bytes / GIB:.1f} GiB for {entries} frames of {num_bytes / 1e6:.1f} MB"
        raise ConfigError(f"bank: this take needs {need}, but there is space for {spaces} GiB; {FULL}")
    for at, (tier, count) in enumerate(reservations):
        try:
            tier.reserve(count, num_bytes)
        except StorageError:
            release(reservations[:at], num_bytes)
            raise
    return reservations


def release(reservations: Sequence[tuple[Tier, int]], num_bytes: int) -> None:
    """Undo `reserve` at the end of a take."""
    for tier, count in reservations:
        tier.reserve(-count, num_bytes)
