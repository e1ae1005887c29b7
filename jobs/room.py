"""Where a take's bank will lie: the shelves of `workers.bank`, filled in their order, before anything runs."""

from longtake.platform.errors import ConfigError
from longtake.platform.resources import GIB, BankRoom

MEND = "name workers.bank.disk, {}, or give the method bank_frames or bank_dtype: fp8"


def check_memory(held: dict[str, float]) -> None:
    """ConfigError when this machine has less memory than the host's part of a bank."""
    import psutil

    host, there = held.get("host", 0.0), psutil.virtual_memory().total
    if host > there:
        mend = MEND.format("with workers.bank.host_gib below that")
        raise ConfigError(
            f"workers.bank: a bank takes {host / GIB:.1f} GiB of host memory, this machine has {there / GIB:.1f}; "
            + mend
        )


def spread(bank_bytes: float, room: BankRoom, on_gpu: bool) -> dict[str, float]:
    """Bytes by shelf (gpu, host, disk) of a bank of so many bytes. Raises ConfigError when there is too little room."""
    limits: dict[str, float | None] = {"host": None if room.host_gib is None else room.host_gib * GIB}
    if on_gpu:
        limits = {"gpu": room.gpu_gib * GIB, **limits}
    if room.disk is not None:
        limits["disk"] = None
    found, left = dict[str, float](), bank_bytes
    for name, limit in limits.items():
        found[name] = left if limit is None else min(left, limit)
        left -= found[name]
    if left > 0:
        raise ConfigError(
            f"workers.bank: a bank of {bank_bytes / GIB:.1f} GiB does not fit, {left / GIB:.1f} GiB are left over; "
            + MEND.format("raise workers.bank.host_gib")
        )
    return {name: held for name, held in found.items() if held}
