"""Where banks will be stored: fills the tiers of `workers.bank` in their order, before the sweep starts."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from longtake.platform.errors import ConfigError
from longtake.platform.machine.resources import GIB, BankCapacity

ADVICE = "set workers.bank.disk, {}, or give the method bank_frames or bank_dtype: fp8"


@dataclass(frozen=True)
class Need:
    """The size of a sampler's banks: number of entries and bytes per entry."""

    entries: int
    entry_bytes: int

    @property
    def num_bytes(self) -> int:
        return self.entries * self.entry_bytes


def allocate(need: Need, capacity: BankCapacity, on_gpu: bool, host_limit: str = "") -> dict[str, int]:
    """Bytes per tier (gpu, host, disk), in whole entries. Raises ConfigError if the capacity is too small.

    `host_limit`: the source of the host memory limit, if the sweep does not set it; added to the error.
    """
    limits: dict[str, float | None] = {"host": None if capacity.host_gib is None else capacity.host_gib * GIB}
    if on_gpu:
        limits = {"gpu": capacity.gpu_gib * GIB, **limits}
    if capacity.disk is not None:
        limits["disk"] = None
    allocated, left = dict[str, int](), need.entries
    for name, limit in limits.items():
        count = left if limit is None else min(left, int(limit // max(1, need.entry_bytes)))
        allocated[name] = count * need.entry_bytes
        left -= count
    if left:
        over = memory(left * need.entry_bytes)
        raise ConfigError(
            f"workers.bank: a bank of {memory(need.num_bytes)} exceeds the available capacity by {over}"
            + (f" ({host_limit}); " if host_limit else "; ")
            + ADVICE.format("raise workers.bank.host_gib")
        )
    return {name: num_bytes for name, num_bytes in allocated.items() if num_bytes}


def check_machine(tier_bytes: dict[str, int], samplers: int, disk: str | None) -> None:
    """Raises ConfigError if the banks of the samplers exceed the memory or the free disk space of this machine."""
    import psutil

    together = f"the banks of {samplers} samplers" if samplers > 1 else "the banks of a sampler"
    host, total = samplers * tier_bytes.get("host", 0), psutil.virtual_memory().total
    if host > total:
        raise ConfigError(
            f"workers.bank: {together} need {memory(host)} of host memory; this machine has {memory(total)}; "
            + ("lower workers.bank.host_gib" if disk else ADVICE.format("with workers.bank.host_gib below that"))
        )
    on_disk, free = samplers * tier_bytes.get("disk", 0), free_bytes(disk)
    if on_disk > free:
        raise ConfigError(
            f"workers.bank.disk: {together} need {memory(on_disk)}; {disk} has {memory(free)} free; free space, "
            "choose another folder, or give the method bank_frames or bank_dtype: fp8"
        )


def check_context(num_bytes: int, samplers: int, on_gpu: bool) -> None:
    """Raises ConfigError if contexts that grow with the video, of so many bytes for a sampler, exceed the memory of
    this machine or, on a GPU, of its smallest GPU."""
    if not num_bytes:
        return
    if on_gpu:
        import torch

        gpus = range(torch.cuda.device_count())
        total, place = min(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus), "a GPU here has"
        samplers = 1
    else:
        import psutil

        total, place = psutil.virtual_memory().total, "this machine has"
    together = f"the contexts of {samplers} samplers" if samplers > 1 else "the context of a sampler"
    if samplers * num_bytes > total:
        raise ConfigError(
            f"methods: {together} needs {memory(samplers * num_bytes)}, since full attention keeps every frame; "
            f"{place} {memory(total)}; shorten lengths_s, or lower workers.batch or workers.samplers"
        )


def free_bytes(folder: str | None) -> float:
    """Free bytes on the disk of a folder, which may not exist yet."""
    if folder is None:
        return float("inf")
    place = Path(folder).absolute()
    while not os.path.exists(place):
        place = place.parent
    return shutil.disk_usage(place).free


def size(num_bytes: float) -> str:
    """Disk space as text, in powers of 1000."""
    return scaled(num_bytes, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def memory(num_bytes: float) -> str:
    """Bank memory as text, in powers of 1024, as in `workers.bank`."""
    return scaled(num_bytes, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)))


def scaled(num_bytes: float, units: tuple[tuple[str, float], ...]) -> str:
    if not num_bytes:
        return "-"
    for unit, scale in units:
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes:.0f} B"
