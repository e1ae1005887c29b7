"""Blocks of native and rag, eager and compiled: their time, the host's part of it, and native's kernels.

Blocks are timed with events of the device, from the end of one to the end of the next, so that delays by copies or by
the host are included. Whole videos are measured by `longtake bench sampler`.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import sys
import time
from typing import TYPE_CHECKING

import torch

from tests.gpu.kernel_table import tabulate
from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, choose_compiler, on_gpu, sized, synchronize
from tests.gpu.stand_in import loaded, options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longtake.jobs.bench.options import BenchOptions
    from longtake.platform.generation.rollout import Rollout
    from longtake.platform.generation.sampler import Sampler

WARM = 8
"""Blocks until rag attends a full window: 6 frames must have left the window and passed the guard."""
TIMED = sized(8, 2)


def timeline(blocks: Iterator[object], count: int) -> list[float]:
    """Milliseconds between the ends of `count` + 1 blocks on the device."""
    marks, host = [mark(next(blocks))], []
    for _ in range(count):
        started = time.perf_counter()
        block = next(blocks)
        host.append((time.perf_counter() - started) * 1e3)
        marks.append(mark(block))
    if not on_gpu():
        return host
    marks[-1].synchronize()
    return [before.elapsed_time(after) for before, after in itertools.pairwise(marks)]


@torch.inference_mode()
def host_ms(rollout: Rollout, latents: torch.Tensor) -> float:
    """Milliseconds in which the host queues the passes of a block: one pass, whose launches fit into the device's
    queue, times their number."""
    spent = []
    for _ in range(3):
        synchronize()
        started = time.perf_counter()
        rollout.flow(latents, rollout.passes[0][1])
        spent.append((time.perf_counter() - started) * 1e3)
    synchronize()
    return min(spent) * (len(rollout.passes) + 1)


def mark(_block: object) -> torch.cuda.Event | None:
    """An event after all work that is queued on the device; None on a CPU."""
    if not on_gpu():
        return None
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def measure(report: Report, sampler: Sampler, chosen: BenchOptions, method: str, how: str, profiled: bool) -> None:
    """Measure blocks of one method after the window has filled."""
    name, frames = f"{method}, {how}", sampler.backbone.spec.frames_per_block
    if on_gpu():
        torch.cuda.reset_peak_memory_stats(DEVICE)
    rollout, _ = sampler.rollout([chosen.take(method, frames * (WARM + TIMED + 2))])
    blocks = rollout.blocks(WARM + TIMED + 2)
    for _ in range(WARM):
        last = next(blocks)
    device = timeline(blocks, TIMED)
    block = statistics.median(device)
    report.row(
        f"{name}: block",
        block,
        "ms",
        f"{4 * frames / block * 1e3:.4g} frames/s; {min(device):.1f} to {max(device):.1f}",
    )
    report.row(f"{name}: host queues the passes", host_ms(rollout, last.latents), "ms")
    if on_gpu():
        report.row(f"{name}: peak device memory", torch.cuda.max_memory_allocated(DEVICE) / 2**30, "GiB")
    if profiled:
        tabulate(report, name, lambda: next(blocks))
    rollout.close()


def measure_all(report: Report, how: str, precision: str | None) -> None:
    """Measure one sampler: blocks of each method, and native's kernels."""
    name = f"{precision}, {how}" if precision else how
    with report.guard(name):
        chosen = options(compiled=how == "compiled", precision=precision)
        sampler = loaded(chosen)
        for method in ("native",) if precision else ("native", "rag"):
            with report.guard(f"{method}, {name}"):
                measure(report, sampler, chosen, method, name, profiled=method == "native")
        del sampler
    gc.collect()  # a compiled network is part of a reference cycle
    if on_gpu():
        torch.cuda.empty_cache()


def run(step: str, precision: str | None = None) -> int:
    choose_compiler()
    report = Report(step)
    for how in ("eager", "compiled"):
        measure_all(report, how, precision)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(run("blocks"))
