"""Times a call: on the device alone (CUDA events), or in wall time, which includes the host."""

import statistics
import time
from collections.abc import Callable

import torch

from tests.gpu.setting import SMOKE, on_gpu, synchronize

SPIN_CYCLES = 4_000_000
"""2 ms of an H100 at 1.98 GHz, longer than it takes to queue the calls."""


def device_ms(call: Callable[[], object], calls: int = 10, repeats: int = 3) -> float:
    """Milliseconds of one call on the device: the median of `repeats` rounds of `calls` calls.

    The device spins while the calls are queued, so gaps between launches do not count. `call` must not wait for the
    device. On a CPU: wall time of one call.
    """
    if not on_gpu():
        return wall_ms(call)
    warm_up(call, 3)
    return statistics.median(queued_ms(call, calls) for _ in range(repeats))


def queued_ms(call: Callable[[], object], calls: int) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(SPIN_CYCLES)
    first.record()
    for _ in range(calls):
        call()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / calls


def wall_ms(call: Callable[[], object], repeats: int = 5, warm: int = 1) -> float:
    """Milliseconds from the call until the device is done: the median of `repeats` calls after `warm` warm-up calls."""
    warm_up(call, warm)
    return statistics.median(once_ms(call) for _ in range(1 if SMOKE else repeats))


def once_ms(call: Callable[[], object]) -> float:
    synchronize()
    started = time.perf_counter()
    call()
    synchronize()
    return (time.perf_counter() - started) * 1e3


def warm_up(call: Callable[[], object], times: int) -> None:
    """Run one-time work of the first calls: choosing kernels, compiling, allocating."""
    for _ in range(times):
        call()
    synchronize()
