"""What each context method costs beside a very small network, early and late in a video, and what it holds then.

    python -m tests.bench.method_growth [--frames 960] [--out FILE.csv]

20 blocks from block 16 on and the last 20 are denoised and timed, in turns, in CPU time of one thread; the blocks
between are given, so that only their commit pass is computed. `longtake bench engine --small` times every block.
`state`: tensors and arrays beside the bank, in frames' worth of keys and values, after the early and the late blocks.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import torch

from longtake.jobs.bench.engine_cases import SMALL, WINDOW, cases_of, random_network, start
from longtake.jobs.bench.engine_memory import held_bytes
from longtake.platform.machine.process import set_up_computing

BLOCKS = 20
EARLY = range(16, 16 + BLOCKS)
SHAPE = (1, WINDOW.block, SMALL.channels, SMALL.latent_height, SMALL.latent_width)


def measure(frames: int) -> tuple[list[tuple[str, int, float]], dict[tuple[str, int], float]]:
    """(method, block, CPU seconds) of the timed blocks, and the state by (method, block)."""
    set_up_computing()
    network, total = random_network(SMALL), frames // WINDOW.block
    late, generator = range(total - BLOCKS, total), torch.Generator().manual_seed(5)
    rollouts = {case.label: start(case, network, frames) for case in cases_of()}
    spent, state, frame_bytes = (
        list[tuple[str, int, float]](),
        dict[tuple[str, int], float](),
        SMALL.frame_kv_values * 4,
    )
    for index in range(total):
        timed = index in EARLY or index in late
        given = None if timed else torch.randn(SHAPE, generator=generator)
        for label, rollout in rollouts.items():
            started = time.thread_time()
            rollout.block(index, given)
            if timed:
                spent.append((label, index, time.thread_time() - started))
            if index in (EARLY[-1], late[-1]):
                held = held_bytes([rollout.cache, rollout.context, rollout.method])
                state[label, index] = held / frame_bytes
    return spent, state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=960)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    spent, state = measure(options.frames)
    for label in dict.fromkeys(label for label, _, _ in spent):
        halves = [[s for one, i, s in spent if one == label and (i in EARLY) == early] for early in (True, False)]
        early, late = (1000 * statistics.median(half) for half in halves)
        held = [frames for (one, _), frames in state.items() if one == label]
        print(f"{label:24} {early:6.2f} ms early, {late:6.2f} late; state {held[0]:6.1f}, {held[1]:6.1f} frames")
    if options.out is not None:
        with options.out.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("method", "block", "cpu_seconds"), *spent])


if __name__ == "__main__":
    main()
