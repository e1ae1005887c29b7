"""`longtake bench engine`: CPU time per block against the machine's own matrix-product rate, both from one run.

The limit of a block is its FLOPs over what this core does on a large float32 product; the share of it that the engine
reaches is the number to watch. Random weights, one thread, CPU time (other work on the machine counts less).
"""

import gc
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from longtake.platform.generation.rollout import Rollout
from longtake.platform.methods.base import MethodConfig, RolloutInfo, Window
from longtake.platform.methods.native import Native, NativeRelative
from longtake.platform.methods.rag import Rag
from longtake.platform.models.causal_dit import CausalDiT, DiTSpec
from longtake.platform.models.schedule import FlowSchedule

SPEC = DiTSpec(
    dim=384,
    ffn_dim=1536,
    heads=6,
    layers=6,
    channels=16,
    latent_height=8,
    latent_width=12,
    text_len=64,
    text_dim=256,
)
WINDOW = Window(12, 1, 3)
STEADY_FROM = 10
GEMM = 1024


@dataclass(frozen=True)
class Reading:
    """One method's run: CPU seconds of every block, resident bytes after each, bytes of its bank."""

    label: str
    seconds: list[float]
    resident: list[int]
    bank_bytes: int

    @property
    def block_seconds(self) -> float:
        return statistics.median(self.seconds[STEADY_FROM:])

    @property
    def growth_per_frame(self) -> float:
        """Resident bytes gained per latent frame over the second half, where allocation has settled."""
        half = len(self.resident) // 2
        return (self.resident[-1] - self.resident[half]) / ((len(self.resident) - 1 - half) * WINDOW.block)

    def late_over_early(self) -> float:
        """Median time of the last tenth of the blocks over that of the first tenth from block 10 on."""
        tenth = max(1, len(self.seconds) // 10)
        early = self.seconds[STEADY_FROM : STEADY_FROM + tenth]
        return statistics.median(self.seconds[-tenth:]) / statistics.median(early)


class SeededNoise:
    """Standard normal numbers, a fresh generator per call."""

    shape = (1, WINDOW.block, SPEC.channels, SPEC.latent_height, SPEC.latent_width)

    def initial(self, block: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(block))

    def renoise(self, block: int, step: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(1_000_000 * (step + 1) + block))


def engine(frames: int = 240, out: Path | None = None) -> int:
    """Print time per block, share of the limit, flatness and memory growth for each method; returns 0."""
    torch.set_num_threads(1)
    console = Console()
    cases: list[tuple[str, MethodConfig, torch.dtype]] = [
        ("native", Native(), torch.float32),
        ("native-relative", NativeRelative(), torch.float32),
        ("rag", Rag(), torch.float32),
        ("rag, bf16 bank", Rag(), torch.bfloat16),
    ]
    with console.status("measuring") as status:
        rate = gemm_flops_per_second()
        readings = []
        for label, config, dtype in cases:
            status.update(f"{label}: {frames} frames")
            readings.append(measure(label, config, dtype, frames))
        rate = max(rate, gemm_flops_per_second())
    console.print(report(rate, readings, frames))
    if out is not None:
        out.write_text(as_csv(rate, readings))
    return 0


def gemm_flops_per_second(rounds: int = 12) -> float:
    """What one thread does on a 1024 x 1024 float32 product, best of a few."""
    a, b = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM)
    best = float("inf")
    for _ in range(rounds):
        started = time.thread_time()
        torch.mm(a, b)
        best = min(best, time.thread_time() - started)
    return 2 * GEMM**3 / best


@torch.inference_mode()
def measure(label: str, config: MethodConfig, bank: torch.dtype, frames: int) -> Reading:
    """Run one rollout and time every block with this thread's CPU clock."""
    torch.manual_seed(0)
    network = CausalDiT(SPEC).lay_out().eval().requires_grad_(False)
    method = config.build(RolloutInfo(WINDOW, 1, (0,)))
    text = torch.randn(1, SPEC.text_len, SPEC.text_dim)
    rollout = Rollout(network, FlowSchedule(), method, text, SeededNoise(), bank_dtype=bank)
    seconds, resident, process = [], [], psutil.Process()
    gc.collect()
    for index in range(frames // WINDOW.block):
        started = time.thread_time()
        rollout.block(index)
        seconds.append(time.thread_time() - started)
        resident.append(process.memory_info().rss)
    return Reading(label, seconds, resident, rollout.cache.bank.num_bytes if rollout.cache.bank else 0)


def block_flops() -> int:
    return (len(FlowSchedule().steps) + 1) * SPEC.pass_flops(WINDOW.block, WINDOW.size)


def report(rate: float, readings: list[Reading], frames: int) -> Table:
    flops = block_flops()
    title = f"{frames} frames, {flops / 1e9:.1f} GFLOP a block, GEMM {rate / 1e9:.0f} GFLOP/s, torch {torch.__version__}"
    table = Table("method", "s a block", "of the limit", "to native", "last/early", "KiB a frame", "bank KiB", title=title)
    native = readings[0].block_seconds
    for reading in readings:
        table.add_row(
            reading.label,
            f"{reading.block_seconds:.4f}",
            f"{flops / reading.block_seconds / rate:.0%}",
            f"{reading.block_seconds / native:.3f}",
            f"{reading.late_over_early():.3f}",
            f"{reading.growth_per_frame / 1024:.0f}",
            f"{reading.bank_bytes / 1024:.0f}",
        )
    return table


def as_csv(rate: float, readings: list[Reading]) -> str:
    lines = ["method,block,cpu_seconds,resident_bytes,gemm_flops_per_second"]
    for reading in readings:
        for block, (seconds, resident) in enumerate(zip(reading.seconds, reading.resident, strict=True)):
            lines.append(f'"{reading.label}",{block},{seconds:.6f},{resident},{rate:.0f}')
    return "\n".join(lines) + "\n"
