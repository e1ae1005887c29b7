"""Figures of a `longtake bench sampler` run, computed from its readings.

Methods are compared block by block, on blocks for which all of them attend a full window, so a ratio compares equal
work. Ratios have the interquartile range of their pairs. The ceiling is the speed of a block whose products run at the
rate of one large product, measured in the same run.
"""

import statistics
from dataclasses import dataclass

from longtake.jobs.bench.clocks import Reading, Turns
from longtake.platform.backbones.base import BackboneSpec
from longtake.platform.takes import FRAMES_PER_LATENT

EARLY_SECONDS, TWENTIETH, AROUND = 5.0, 19, 2
"""The second of an early block; the index of the twentieth block; the number of neighbours on either side."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, middle, high)

    def __str__(self) -> str:
        return f"{self.middle:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Figures:
    """The readings of one run, and the figures derived from them. `wall`: use wall time, else CPU time."""

    spec: BackboneSpec
    turns: Turns
    window: int
    batch: int
    wall: bool

    def blocks(self, method: str) -> list[Reading]:
        return [reading for reading in self.turns.readings if reading.method == method]

    def seconds(self, reading: Reading) -> float:
        return reading.wall_seconds if self.wall else reading.cpu_seconds

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(reading.method for reading in self.turns.readings))

    @property
    def steady(self) -> list[int]:
        """Blocks for which every method attends a full window; all blocks if the video is too short."""
        full = [{r.block for r in self.blocks(method) if r.attended == self.window} for method in self.methods]
        common = sorted(set.intersection(*full))
        return common or sorted({reading.block for reading in self.turns.readings})

    def steady_blocks(self, method: str) -> list[Reading]:
        steady = set(self.steady)
        return [reading for reading in self.blocks(method) if reading.block in steady]

    def block_seconds(self, method: str) -> float:
        return statistics.median(self.seconds(reading) for reading in self.steady_blocks(method))

    def denoise_fps(self, method: str) -> float:
        """Video frames per second of the whole batch, with a full window."""
        return self.batch * FRAMES_PER_LATENT * self.spec.frames_per_block / self.block_seconds(method)

    def flops(self, reading: Reading) -> int:
        passes, frames = len(self.spec.schedule.steps), self.spec.frames_per_block
        return self.batch * self.spec.network.block_flops(passes, frames, reading.attended)

    @property
    def rate(self) -> float:
        """FLOP/s of the large product."""
        return statistics.median(self.turns.gemm)

    def of_ceiling(self, method: str) -> float:
        """Share of the product rate that steady blocks reach; also the share of the ceiling in frames per second."""
        reached = [self.flops(reading) / self.seconds(reading) for reading in self.steady_blocks(method)]
        return statistics.median(reached) / self.rate

    def against(self, method: str, other: str) -> Spread:
        """Ratio of the times of a steady block to those of the same block of `other`."""
        pairs = zip(self.steady_blocks(method), self.steady_blocks(other), strict=True)
        return Spread.of([self.seconds(mine) / self.seconds(its) for mine, its in pairs])

    def last_over_twentieth(self, method: str) -> float | None:
        """Ratio of medians of five blocks each; None if the video has too few blocks."""
        times = [self.seconds(reading) for reading in self.blocks(method)]
        if len(times) < TWENTIETH + 2 * AROUND + 1:
            return None
        early = times[TWENTIETH - AROUND : TWENTIETH + AROUND + 1]
        return statistics.median(times[-2 * AROUND - 1 :]) / statistics.median(early)

    def near(self, second: float) -> list[int]:
        """The five steady blocks nearest to this second of the video, in order."""
        return sorted(sorted(self.steady, key=lambda block: abs(self.middle(block) - second))[: 2 * AROUND + 1])

    def middle(self, block: int) -> float:
        """The second of the video at the middle of a block."""
        return (block + 0.5) * self.spec.frames_per_block / self.spec.latent_fps

    def seconds_at(self, method: str, blocks: list[int]) -> float:
        """Median time of these blocks."""
        return statistics.median(self.seconds(r) for r in self.blocks(method) if r.block in blocks)

    def bank_bytes(self, method: str) -> int:
        return max(reading.bank_bytes for reading in self.blocks(method))
