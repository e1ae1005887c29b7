"""The facts about a GPU that scoring needs, and those that a score depends on.

Published numbers are float32 throughout (CLIP excepted, see equipment.py), so TF32 is off; every score made on a GPU
says so. Every function takes a device as `cpu`, `cuda` or `cuda:N`; nothing here needs a GPU to be imported.
"""

from __future__ import annotations

import os

MOST_DECODERS = 4


def is_gpu(device: str) -> bool:
    return device.partition(":")[0] == "cuda"


def marks(device: str) -> dict[str, str]:
    """The device as the `versions` of a score hold it. Asks no driver: a machine without a GPU plans for one."""
    return {"device": "cuda", "tf32": "off"} if is_gpu(device) else {"device": device.partition(":")[0]}


def free_bytes(device: str) -> int:
    """GPU memory that this process can still use: what the driver has free, and what PyTorch holds for reuse."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def decoder_threads(device: str) -> int:
    """Threads that decode a video: one beside networks on a CPU, which need the cores themselves; beside a GPU up to
    MOST_DECODERS, if this process may use as many cores."""
    if not is_gpu(device):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_DECODERS, cores)
