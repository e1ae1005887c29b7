"""Where banks will lie: fills the shelves of `workers.bank` in their order, before anything runs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from longtake.platform.errors import ConfigError
from longtake.platform.resources import GIB, BankCapacity

MEND = "name workers.bank.disk, {}, or give the method bank_frames or bank_dtype: fp8"


@dataclass(frozen=True)
class Need:
    """What a sampler's banks come to: so many entries of so many bytes."""

    entries: int
    entry_bytes: int

    @property
    def num_bytes(self) -> int:
        return self.entries * self.entry_bytes


def allocate(need: Need, capacity: BankCapacity, on_gpu: bool, host_limit: str = "") -> dict[str, int]:
    """Bytes by shelf (gpu, host, disk), in whole entries. Raises ConfigError when there is too little room.

    `host_limit`: where the limit of host memory comes from, if the sweep does not set it; added to the error.
    """
    limits: dict[str, float | None] = {"host": None if capacity.host_gib is None else capacity.host_gib * GIB}
    if on_gpu:
        limits = {"gpu": capacity.gpu_gib * GIB, **limits}
    if capacity.disk is not None:
        limits["disk"] = None
    found, left = dict[str, int](), need.entries
    for name, limit in limits.items():
        taken = left if limit is None else min(left, int(limit // max(1, need.entry_bytes)))
        found[name] = taken * need.entry_bytes
        left -= taken
    if left:
        over = memory(left * need.entry_bytes)
        raise ConfigError(
            f"workers.bank: a bank of {memory(need.num_bytes)} exceeds the available room by {over}"
            + (f" ({host_limit}); " if host_limit else "; ")
            + MEND.format("raise workers.bank.host_gib")
        )
    return {name: held for name, held in found.items() if held}


def check_machine(held: dict[str, int], samplers: int, disk: str | None) -> None:
    """ConfigError when this machine has less memory, or less free disk, than the banks of its samplers take."""
    import psutil

    together = f"the banks of {samplers} samplers" if samplers > 1 else "a bank"
    host, there = samplers * held.get("host", 0), psutil.virtual_memory().total
    if host > there:
        raise ConfigError(
            f"workers.bank: {together}: {memory(host)} of host memory, this machine has {memory(there)}; "
            + ("lower workers.bank.host_gib" if disk else MEND.format("with workers.bank.host_gib below that"))
        )
    on_disk, free = samplers * held.get("disk", 0), free_bytes(disk)
    if on_disk > free:
        raise ConfigError(
            f"workers.bank.disk: {together}: {memory(on_disk)}, {disk} has {memory(free)} free; free some, name "
            "another folder, or give the method bank_frames or bank_dtype: fp8"
        )


def free_bytes(folder: str | None) -> float:
    """Free space where a folder is or will be."""
    if folder is None:
        return float("inf")
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def size(num_bytes: float) -> str:
    """On a disk: powers of 1000."""
    return scaled(num_bytes, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def memory(num_bytes: float) -> str:
    """Of a bank: powers of 1024, as in `workers.bank`."""
    return scaled(num_bytes, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)))


def scaled(num_bytes: float, units: tuple[tuple[str, float], ...]) -> str:
    if not num_bytes:
        return "-"
    for unit, scale in units:
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes:.0f} B"
