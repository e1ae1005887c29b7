"""Resources of a sampler: device, compiler, precision, capacity of the bank.

Only fp8 and the published decode are part of a take's identity. The other settings do not change pixels on one kind of
machine. Different kinds (a CPU and a GPU, two GPUs) round differently, so the record of a take names its hardware and
software.
"""

import ctypes
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError
from longtake.platform.machine.free_memory import free_bytes
from longtake.platform.settings.paths import FilePath

if TYPE_CHECKING:
    import torch

GIB = 2**30
PRECISIONS = ("bf16", "fp8")
STREAM, PUBLISHED = "stream", "published"
DECODES = (STREAM, PUBLISHED)


def check_precision(name: str | None) -> None:
    """Raises ConfigError for an unknown precision."""
    if name not in (None, *PRECISIONS):
        raise ConfigError(f"workers.precision: {name!r} is not null, {' or '.join(PRECISIONS)}")


def check_decode(name: str) -> None:
    """Raises ConfigError for an unknown way of decoding."""
    if name not in DECODES:
        raise ConfigError(f"decode: {name!r} is not {' or '.join(DECODES)}")


HOST_SHARE = 0.5
"""Share of the free host memory for the banks of all samplers; weights and frames need memory too."""
WRITING_SLOTS, READING_SLOTS = 4, 2
STAGING_ENTRIES = WRITING_SLOTS + READING_SLOTS
"""Entries in the host memory through which a bank passes between a GPU and the disk."""


@dataclass(frozen=True)
class BankCapacity:
    """Memory for evicted keys and values of one sampler, filled in this order.

    `gpu_gib`: device memory, not used on a CPU. `host_gib`: host memory, pinned if the device is a GPU; None: the
    sampler's share of the free memory when it starts. `disk`: the folder of an unnamed file, which disappears with the
    process.
    """

    gpu_gib: float = 0.0
    host_gib: float | None = None
    disk: FilePath | None = None

    def __post_init__(self) -> None:
        for key in ("gpu_gib", "host_gib"):
            value = getattr(self, key)
            if value is not None and not 0 <= value <= 1e6:
                raise ConfigError(f"workers.bank.{key}: {value:g} is not from 0 to 1,000,000 GiB")
        if self.disk == "":
            raise ConfigError("workers.bank.disk: is empty; give a folder on a fast disk, or null")

    def on_this_machine(self, samplers: int) -> "BankCapacity":
        """The same capacity with `host_gib` set, by default to half of the free memory divided by `samplers`."""
        if self.host_gib is not None:
            return self
        share = HOST_SHARE * free_bytes() / samplers
        return replace(self, host_gib=math.floor(share / GIB * 100) / 100)


@dataclass(frozen=True)
class Resources:
    """`device`: auto (a GPU if there is one), cpu, cuda or cuda:N; `decode_device`: None for the same device.
    `texts`: the folder of cached text embeddings. `attention_shares`: measure how much attention each frame gets.
    `precision`: one of PRECISIONS; None for the backbone's own. `decode`: one of DECODES.
    `samplers_per_machine`: the largest number of samplers that share one machine's memory."""

    device: str = "auto"
    decode_device: str | None = None
    compile: bool = False
    bank: BankCapacity = field(default_factory=BankCapacity)
    texts: Path | None = None
    attention_shares: bool = False
    precision: str | None = None
    decode: str = STREAM
    samplers_per_machine: int = 1

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_decode(self.decode)

    def compute_device(self) -> "torch.device":
        """The device to compute on. Raises ConfigError for a GPU that does not exist."""
        return find_device(self.device)

    def decoding_device(self) -> "torch.device":
        return find_device(self.decode_device, "decode_device") if self.decode_device else self.compute_device()


def gpu_count() -> int:
    """CUDA devices of this machine. Without the driver's library there is none, and torch is not imported."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count()


def find_device(name: str, key: str = "device") -> "torch.device":
    import torch

    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"workers.{key}: {name!r} is not auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ConfigError(f"workers.{key}: {name!r} does not exist; CUDA devices: {count}; use cpu or auto")
        return torch.device("cuda", device.index or 0)
    return device
