"""Times the blocks of all methods in turns, for `longtake bench engine`, and the figures read off them.

Every method makes block i before any makes block i + 1, with a large matrix product timed in between, so that a busy
moment of the machine affects all of them. The clock is the CPU time of the one computing thread.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from longtake.jobs.bench.engine_cases import REFERENCE, WINDOW, Case, start
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

STEADY_FROM = 10
"""The first block in which every method with a published window attends all that it may."""
GEMM = 1024


@dataclass(frozen=True)
class Round:
    """One block of every method, by label: CPU seconds and attended frames. `gemm`: the product's FLOP/s before it."""

    gemm: float
    seconds: dict[str, float]
    attended: dict[str, float]


def take_turns(cases: Sequence[Case], network: CausalDiT, frames: int) -> Iterator[Round]:
    """A round per block of a video of so many latent frames. All methods share the network."""
    rollouts = {case.label: start(case, network, frames) for case in cases}
    try:
        for index in range(frames // WINDOW.block):
            made = Round(gemm_flops_per_second(), {}, {})
            for label, rollout in rollouts.items():
                started = time.thread_time()
                block = rollout.block(index)
                made.seconds[label] = time.thread_time() - started
                made.attended[label] = sum(at.part for at in block.plan.rows[0])
            yield made
    finally:
        for rollout in rollouts.values():
            rollout.close()


def gemm_flops_per_second() -> float:
    """FLOP/s of this thread on a 1024 x 1024 float32 product; the better of two runs."""
    a, b = torch.ones(GEMM, GEMM), torch.ones(GEMM, GEMM)
    times = []
    for _ in range(2):
        started = time.thread_time()
        torch.mm(a, b)
        times.append(time.thread_time() - started)
    return 2 * GEMM**3 / min(times)


def block_flops(spec: DiTSpec, attended: float) -> float:
    """FLOPs of a block that attends so many frames' worth of tokens, in the mean over layers and heads."""
    none, one = (spec.block_flops(len(FlowSchedule().steps), WINDOW.block, frames) for frames in (0, 1))
    return none + attended * (one - none)


def middle(values: Sequence[float]) -> float:
    """The mean without a tenth of the values at either end. A median would pick one of two costs that alternate."""
    cut = len(values) // 10
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def late_over_early(values: Sequence[float]) -> float:
    """The last quarter of the values over the first."""
    quarter = max(1, len(values) // 4)
    return middle(values[-quarter:]) / middle(values[:quarter])


@dataclass(frozen=True)
class Timing:
    """The figures of a run with a network, over the blocks from STEADY_FROM on."""

    spec: DiTSpec
    rounds: Sequence[Round]

    @property
    def steady(self) -> Sequence[Round]:
        return self.rounds[STEADY_FROM:]

    @property
    def rate(self) -> float:
        """FLOP/s of the large product."""
        return statistics.median(one.gemm for one in self.rounds)

    def seconds(self, label: str) -> list[float]:
        return [one.seconds[label] for one in self.steady]

    def attended(self, label: str) -> float:
        """Frames' worth of tokens per block."""
        return statistics.fmean(one.attended[label] for one in self.steady)

    def block_seconds(self, label: str) -> float:
        return middle(self.seconds(label))

    def flops(self, label: str) -> float:
        return block_flops(self.spec, self.attended(label))

    def of_limit(self, label: str) -> float:
        """The share of the product's rate that the method's own FLOPs reach."""
        return self.flops(label) / self.block_seconds(label) / self.rate

    def beside_reference(self, label: str) -> list[float]:
        """The time of every block over that of the same block of `native`."""
        return [one.seconds[label] / one.seconds[REFERENCE] for one in self.steady]

    def ratio(self, label: str) -> float:
        return middle(self.beside_reference(label))

    def growth(self, label: str) -> float:
        """Late over early CPU time."""
        return late_over_early(self.seconds(label))

    def growth_beside_reference(self, label: str) -> float:
        """Late over early of the ratio to `native`, which cancels what other work on the machine did to both."""
        return late_over_early(self.beside_reference(label))
