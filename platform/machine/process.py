"""Settings of a compute process: one thread, exact float32, and an allocator that keeps freed memory.

Sums on one thread are equal on all machines of a kind, so pixels do not depend on the number of cores. If freed memory
is returned to the system, each page of the next temporary tensor costs a page fault: a 72 x 1536 product takes 0.31 ms
then, and 0.05 ms if the memory is kept (glibc only; other allocators are not changed).
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def set_up_computing() -> None:
    """Set one torch thread, no TF32, and keep freed blocks of up to 32 MiB. Mutates the process; safe to repeat."""
    import torch

    torch.set_num_threads(1)
    compute_exactly()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def compute_exactly() -> None:
    """Compute float32 without TF32, and let cuDNN choose kernels by rule. Mutates the process; safe to repeat.

    PyTorch rounds the inputs of float32 convolutions to TF32 by default: ten bits of mantissa, a relative
    error of 5e-4 for each product. `cudnn.benchmark` would choose kernels by their run times, so the last bits
    could differ from process to process.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pauses the cyclic garbage collector while many objects are made and none are dropped: it would go through all of
    them again and again, a fifth of the time of reading 100,000 takes. Also a decorator."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def rss_bytes() -> int:
    """Current resident memory. The kernel's peak would be that of the largest take so far, not of this one."""
    import psutil

    return int(psutil.Process().memory_info().rss)
