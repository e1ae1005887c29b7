"""240 s of video with rag: do blocks at the end take longer than near 5 s, and are 24 GiB of host memory enough?

The blocks in between are given, so each costs one pass of the network instead of five; eviction, comparison and
fetching are those of a whole video. The bank has a budget of frames.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, on_gpu, sized, synchronize
from tests.gpu.stand_in import loaded, options

if TYPE_CHECKING:
    from longtake.jobs.bench.options import BenchOptions
    from longtake.platform.generation.rollout import Rollout
    from longtake.platform.generation.sampler import Sampler
    from longtake.platform.takes import Take

SECONDS = sized(240, 15)
BANK_FRAMES = sized(72, 20)
"""72 frames of 287.5 MB take 19.3 GiB, which leaves 4.7 of 24 GiB for the process."""
HOST_GIB = 22.0
FIRST, TIMED = sized((8, 10), (8, 3))
"""Block 8, at 6 s, is the first at which rag attends a full window."""


def make_take(chosen: BenchOptions, frames: int) -> Take:
    from longtake.platform.takes import MethodSpec

    method = MethodSpec("rag", "rag", {"bank_frames": BANK_FRAMES})
    return replace(chosen.take("rag", frames), method=method)


def run(rollout: Rollout, blocks: int, given: torch.Tensor) -> dict[int, float]:
    """Milliseconds of every block, including the preparation of the next one."""
    spent = {}
    for index in range(blocks):
        synchronize()
        started = time.perf_counter()
        rollout.block(index, None if is_timed(index, blocks) else given + 0.01 * index)
        if index + 1 < blocks:
            rollout.prepared[index + 1] = rollout.prepare(index + 1, not is_timed(index + 1, blocks))
        synchronize()
        spent[index] = (time.perf_counter() - started) * 1e3
    return spent


def is_timed(index: int, blocks: int) -> bool:
    """Whether a block is generated. Each group starts with one that is not counted, since it follows a given one."""
    return FIRST - 1 <= index < FIRST + TIMED or index >= blocks - TIMED - 1


def compare(report: Report, spent: dict[int, float]) -> None:
    """Add rows for the blocks near both ends and for those in between."""
    blocks = len(spent)
    early = statistics.median(spent[index] for index in range(FIRST, FIRST + TIMED))
    late = statistics.median(spent[index] for index in range(blocks - TIMED, blocks))
    between = [ms for index, ms in spent.items() if not is_timed(index, blocks)]
    report.row("block near 5 s", early, "ms", f"blocks {FIRST} to {FIRST + TIMED - 1}")
    report.row(f"block near {SECONDS} s", late, "ms", f"the last {TIMED} of {blocks}")
    report.row("late over early", late / early)
    report.row("given block", statistics.median(between), "ms", f"slowest {max(between):.0f}")


def measure(report: Report, chosen: BenchOptions, sampler: Sampler) -> None:
    from longtake.platform.machine.process import rss_bytes

    spec, before = sampler.backbone.spec, rss_bytes() / 2**30
    net, blocks = spec.network, SECONDS * spec.latent_fps // spec.frames_per_block
    given = torch.randn(1, spec.frames_per_block, net.channels, net.latent_height, net.latent_width)
    rollout, _ = sampler.rollout([make_take(chosen, blocks * spec.frames_per_block)])
    started = time.perf_counter()
    rollout.cache.bank.fill()  # or the early blocks would be timed beside the pinning of memory
    report.row("pinning the bank's memory", time.perf_counter() - started, "s")
    compare(report, run(rollout, blocks, given))
    report.row("bank", rollout.cache.bank.peak_bytes / 2**30, "GiB", f"{BANK_FRAMES} frames at most")
    report.row("host memory", rss_bytes() / 2**30, "GiB", f"{before:.1f} before the first block")
    if on_gpu():
        report.row("peak device memory", torch.cuda.max_memory_allocated(DEVICE) / 2**30, "GiB")
    rollout.close()


def main() -> int:
    report = Report("long")
    with report.guard(f"rag, {SECONDS} s"):
        chosen = options(host_gib=HOST_GIB)
        measure(report, chosen, loaded(chosen))
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
