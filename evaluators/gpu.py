"""Properties of the scoring device, and the part of them that a score records.

Published numbers are float32 throughout (except CLIP, see model_pool.py), so TF32 is off, and scores made on a GPU
record that. A device is `cpu`, `cuda` or `cuda:N`; this module can be imported without a GPU.
"""

from __future__ import annotations

import os

MOST_DECODERS = 4


def is_gpu(device: str) -> bool:
    return device.partition(":")[0] == "cuda"


def device_versions(device: str) -> dict[str, str]:
    """The device as recorded in the `versions` of a score. Needs no GPU, so any machine can plan for one."""
    return {"device": "cuda", "tf32": "off"} if is_gpu(device) else {"device": device.partition(":")[0]}


def free_bytes(device: str) -> int:
    """GPU memory that this process can still use: the driver's free memory and PyTorch's unused reserved memory."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def decoder_threads(device: str) -> int:
    """Number of threads that decode a video: 1 on a CPU, where the networks need the cores; on a GPU machine up to
    MOST_DECODERS, but no more than the cores that this process may use."""
    if not is_gpu(device):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_DECODERS, cores)
