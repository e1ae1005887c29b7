"""What scoring on a GPU fixes for a process, and the facts about the device that a score depends on.

Published numbers are float32 throughout (CLIP excepted, see equipment.py), and PyTorch rounds the inputs of
convolutions to TF32 unless it is told otherwise: ten bits of mantissa, a relative error of 5e-4 for each product. That
is switched off, and recorded with every score made on a GPU. Every function takes a device as `cpu`, `cuda` or
`cuda:N`; nothing here needs a GPU to be imported.
"""

from __future__ import annotations

import os

MOST_DECODERS = 4


def is_gpu(device: str) -> bool:
    return device.partition(":")[0] == "cuda"


def compute_exactly() -> None:
    """Float32 products stay float32, and cuDNN chooses kernels by rule. Mutates the process; safe to repeat.

    `cudnn.benchmark` would choose kernels by a race of their run times, so the same video could get other last bits in
    the next process.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


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
