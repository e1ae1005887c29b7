"""Figures of a `longtake bench sampler` run from its readings: arithmetic, a table, a CSV file.

Methods are compared on the blocks at which all of them attend a full window, pair by pair, so that the ratio of two
methods is one of equal work; it comes with the middle half of its pairs. The ceiling is what the products of a block
would take at the rate of a large product, measured in the same run.
"""

import statistics
from dataclasses import dataclass

from rich.table import Table

from longtake.jobs.bench.clocks import Reading, Turns
from longtake.jobs.bench.whole_video import Film
from longtake.platform.backbones.base import BackboneSpec
from longtake.platform.resources import GIB
from longtake.platform.takes import FRAMES_PER_LATENT

EARLY, AROUND = 19, 2
"""The twentieth block, and how many on either side of it count with it."""


@dataclass(frozen=True)
class Spread:
    """A median and the middle half around it."""

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
    """One run's readings, and what follows from them. `wall`: blocks count by wall time, else by CPU time."""

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
        """Blocks at which every method attends a full window; all of them if the video is too short for any."""
        full = [{r.block for r in self.blocks(method) if r.attended == self.window} for method in self.methods]
        common = sorted(set.intersection(*full))
        return common or sorted({reading.block for reading in self.turns.readings})

    def steady_blocks(self, method: str) -> list[Reading]:
        steady = set(self.steady)
        return [reading for reading in self.blocks(method) if reading.block in steady]

    def block_seconds(self, method: str) -> float:
        return statistics.median(self.seconds(reading) for reading in self.steady_blocks(method))

    def denoise_fps(self, method: str) -> float:
        """Video frames a second, of all rows, while the window is full."""
        return self.batch * FRAMES_PER_LATENT * self.spec.frames_per_block / self.block_seconds(method)

    def flops(self, reading: Reading) -> int:
        passes = len(self.spec.schedule.steps) + 1
        return self.batch * passes * self.spec.network.pass_flops(self.spec.frames_per_block, reading.attended)

    @property
    def rate(self) -> float:
        """FLOP/s of the large product."""
        return statistics.median(self.turns.gemm)

    def of_ceiling(self, method: str) -> float:
        """Share of the rate that steady blocks reach; also the share of the ceiling in frames a second."""
        reached = [self.flops(reading) / self.seconds(reading) for reading in self.steady_blocks(method)]
        return statistics.median(reached) / self.rate

    def against(self, method: str, other: str) -> Spread:
        """Time of a steady block over that of `other`'s same block."""
        pairs = zip(self.steady_blocks(method), self.steady_blocks(other), strict=True)
        return Spread.of([self.seconds(mine) / self.seconds(its) for mine, its in pairs])

    def last_over_twentieth(self, method: str) -> float | None:
        """Medians of five blocks each; None for a video without so many."""
        spent = [self.seconds(reading) for reading in self.blocks(method)]
        if len(spent) < EARLY + 2 * AROUND + 1:
            return None
        early = spent[EARLY - AROUND : EARLY + AROUND + 1]
        return statistics.median(spent[-2 * AROUND - 1 :]) / statistics.median(early)

    def bank_bytes(self, method: str) -> int:
        return max(reading.bank_bytes for reading in self.blocks(method))


def stage_table(figures: Figures, text_seconds: float) -> Table:
    """Each stage alone, nothing beside it."""
    steady = f"blocks {figures.steady[0]} to {figures.steady[-1]}"
    table = Table("stage", "s a block (median)", "frames a second", title=f"Stages, each alone; denoise over {steady}")
    table.add_row("text, one prompt", f"{text_seconds:.4g}", "-")
    frames = FRAMES_PER_LATENT * figures.spec.frames_per_block
    for method in figures.methods:
        seconds = figures.block_seconds(method)
        table.add_row(f"denoise, {method}", f"{seconds:.4g}", f"{figures.denoise_fps(method):.4g}")
    for name, clock in (("decode", figures.turns.decode), ("encode", figures.turns.encode)):
        seconds = statistics.median(clock)
        table.add_row(name, f"{seconds:.4g}", f"{frames / seconds:.4g}")
    return table


def method_table(figures: Figures, films: dict[str, Film]) -> Table:
    """A column a method: share of the ceiling, cost beside the others, flatness, whole videos, memory."""
    ceiling = figures.denoise_fps(figures.methods[0]) / figures.of_ceiling(figures.methods[0])
    title = f"Product rate {figures.rate / 1e12:.4g} TFLOP/s, ceiling {ceiling:.4g} fps"
    table = Table("", *figures.methods, title=title)
    for name, cells in rows(figures, films):
        table.add_row(name, *cells)
    return table


def rows(figures: Figures, films: dict[str, Film]) -> list[tuple[str, list[str]]]:
    """(what, a cell per method)."""
    made = [films.get(method) for method in figures.methods]
    bases = [method for method in ("native", "native-relative") if method in figures.methods]
    flat = [figures.last_over_twentieth(method) for method in figures.methods]
    return [
        ("denoise fps", [f"{figures.denoise_fps(method):.4g}" for method in figures.methods]),
        ("of the ceiling", [f"{figures.of_ceiling(method):.1%}" for method in figures.methods]),
        *(
            (f"time to {base} [middle half]", [str(figures.against(method, base)) for method in figures.methods])
            for base in bases
        ),
        ("last / 20th block", ["-" if ratio is None else f"{ratio:.3f}" for ratio in flat]),
        ("end to end fps", [f"{film.frames / film.wall_seconds:.4g}" if film else "-" for film in made]),
        (
            "held back by decoding",
            [f"{film.waiting_seconds / film.wall_seconds:.0%}" if film else "-" for film in made],
        ),
        ("first frame s", [f"{film.first_frame_seconds:.4g}" if film else "-" for film in made]),
        ("peak GPU GiB", [gib(film.device_bytes) if film and film.device_bytes else "-" for film in made]),
        ("peak RSS GiB", [gib(film.resident_bytes) if film else "-" for film in made]),
        ("bank GiB", [gib(figures.bank_bytes(method)) for method in figures.methods]),
    ]


def gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.3g}"


def as_csv(turns: Turns) -> str:
    """A row per method and block."""
    lines = ["method,block,attended,wall_seconds,cpu_seconds,bank_bytes,product_flops_per_second"]
    for r in sorted(turns.readings, key=lambda reading: (reading.method, reading.block)):
        clocks = f"{r.wall_seconds:.6f},{r.cpu_seconds:.6f}"
        lines.append(f"{r.method},{r.block},{r.attended},{clocks},{r.bank_bytes},{turns.gemm[r.block]:.0f}")
    return "\n".join(lines) + "\n"
