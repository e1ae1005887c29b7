"""`longtake bench engine`: CPU time per block, and the machine's matrix-product rate, measured in one run.

The limit of a block is its FLOPs divided by the rate of a large float32 product on this core. The main result is the
share of that limit that the engine reaches. Weights are random; one thread; CPU time, which depends less on other load.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from longtake.jobs.bench.apart import check_out, in_new_process
from longtake.platform.generation.bank.packing import FP8
from longtake.platform.generation.bank.tier import Tier
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.rollout import Rollout
from longtake.platform.machine.process import set_up_computing
from longtake.platform.machine.resources import BankCapacity
from longtake.platform.methods.base import MethodConfig, RolloutInfo, Window
from longtake.platform.methods.native import Native, NativeRelative
from longtake.platform.methods.rag import Rag
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec

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
class Case:
    """A method to time, the dtype of its bank, and whether the bank is on disk."""

    label: str
    config: MethodConfig
    bank: torch.dtype = torch.float32
    on_disk: bool = False

    def tiers(self) -> list[Tier]:
        capacity = BankCapacity(host_gib=0, disk=tempfile.gettempdir()) if self.on_disk else BankCapacity()
        return build_tiers(capacity, torch.device("cpu"))


CASES = (
    Case("native", Native()),
    Case("native-relative", NativeRelative()),
    Case("rag", Rag()),
    Case("rag, bf16 bank", Rag(), torch.bfloat16),
    Case("rag, fp8 bank on disk", Rag(), FP8, on_disk=True),
)


@dataclass(frozen=True)
class Timing:
    """CPU seconds of every block, and the product rates measured between blocks, in FLOP/s."""

    seconds: dict[str, list[float]]
    gemm: list[float]

    @property
    def rate(self) -> float:
        return statistics.median(self.gemm)

    def block_seconds(self, label: str) -> float:
        return statistics.median(self.seconds[label][STEADY_FROM:])

    def late_over_early(self, label: str) -> float:
        """Median of the last quarter of the steady blocks over that of the first."""
        steady = self.seconds[label][STEADY_FROM:]
        quarter = max(1, len(steady) // 4)
        return statistics.median(steady[-quarter:]) / statistics.median(steady[:quarter])


@dataclass(frozen=True)
class Memory:
    """Growth of resident bytes per latent frame in a separate process, and the bank's bytes per banked frame."""

    resident_per_frame: float
    bank_per_frame: float


class SeededNoise:
    """Standard normal noise with a new generator per call."""

    shape = (1, WINDOW.block, SPEC.channels, SPEC.latent_height, SPEC.latent_width)

    def initial(self, block: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(block))

    def renoise(self, block: int, step: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(1_000_000 * (step + 1) + block))


def engine(frames: int = 240, out: Path | None = None) -> int:
    """Prints time per block, share of the limit, late/early ratio and memory growth of each method; returns 0."""
    check_out(out)
    set_up_computing()
    console = Console()
    with console.status("measuring") as status:
        timing = time_blocks(frames // WINDOW.block, lambda done, total: status.update(f"timing block {done}/{total}"))
        status.update("measuring memory, each method in its own process")
        memory = {case.label: memory_of(case, frames) for case in CASES}
    console.print(report(timing, memory, frames))
    if out is not None:
        out.write_text(as_csv(timing))
    return 0


def start(case: Case) -> Rollout:
    """A rollout over random weights."""
    torch.manual_seed(0)
    network = CausalDiT(SPEC).lay_out().eval().requires_grad_(False)
    method = case.config.build(RolloutInfo(WINDOW, 1, (0,)))
    text = torch.randn(1, SPEC.text_len, SPEC.text_dim)
    noise = SeededNoise()
    return Rollout(
        network,
        FlowSchedule(),
        method,
        text,
        noise,
        keep_evicted=case.config.keeps_evicted,
        bank_dtype=case.bank,
        tiers=case.tiers(),
    )


def time_blocks(blocks: int, tick: Callable[[int, int], None]) -> Timing:
    """Times all methods and the product in turns, block by block, so a busy moment affects all of them."""
    rollouts = {case.label: start(case) for case in CASES}
    timing = Timing({label: [] for label in rollouts}, [])
    for index in range(blocks):
        timing.gemm.append(gemm_flops_per_second())
        for label, rollout in rollouts.items():
            started = time.thread_time()
            rollout.block(index)
            timing.seconds[label].append(time.thread_time() - started)
        tick(index + 1, blocks)
    return timing


def gemm_flops_per_second() -> float:
    """FLOP/s of this thread on a 1024 x 1024 float32 product; the better of two runs."""
    a, b = torch.ones(GEMM, GEMM), torch.ones(GEMM, GEMM)
    times = []
    for _ in range(2):
        started = time.thread_time()
        torch.mm(a, b)
        times.append(time.thread_time() - started)
    return 2 * GEMM**3 / min(times)


def memory_of(case: Case, frames: int) -> Memory:
    """Measures the case in a new process, which cannot reuse the memory of another run."""
    return in_new_process(measure_memory, case, frames)


def measure_memory(case: Case, frames: int) -> Memory:
    """Measures memory growth over the second half of the run, when allocation is stable."""
    set_up_computing()
    rollout, process, resident = start(case), psutil.Process(), []
    blocks = frames // WINDOW.block
    for index in range(blocks):
        rollout.block(index)
        resident.append(process.memory_info().rss)
    half = blocks // 2
    growth = (resident[-1] - resident[half]) / ((blocks - 1 - half) * WINDOW.block)
    bank = rollout.cache.bank
    return Memory(growth, bank.num_bytes / len(bank) if bank and len(bank) else 0.0)


def block_flops() -> int:
    return SPEC.block_flops(len(FlowSchedule().steps), WINDOW.block, WINDOW.size)


def report(timing: Timing, memory: dict[str, Memory], frames: int) -> Table:
    flops, rate = block_flops(), timing.rate
    title = (
        f"{frames} frames, {flops / 1e9:.1f} GFLOP per block, GEMM {rate / 1e9:.0f} GFLOP/s, torch {torch.__version__}"
    )
    headings = ("method", "s/block", "of the limit", "ratio to native", "late/early", "RSS KiB/frame", "bank KiB/frame")
    table = Table(*headings, title=title)
    native = timing.block_seconds("native")
    for label, usage in memory.items():
        seconds = timing.block_seconds(label)
        table.add_row(
            label,
            f"{seconds:.4f}",
            f"{flops / seconds / rate:.0%}",
            f"{seconds / native:.3f}",
            f"{timing.late_over_early(label):.3f}",
            f"{usage.resident_per_frame / 1024:.0f}",
            f"{usage.bank_per_frame / 1024:.0f}",
        )
    return table


def as_csv(timing: Timing) -> str:
    """One row per method and block."""
    lines = ["method,block,cpu_seconds,gemm_flops_per_second"]
    for label, seconds in timing.seconds.items():
        for block, (spent, rate) in enumerate(zip(seconds, timing.gemm, strict=True)):
            lines.append(f'"{label}",{block},{spent:.6f},{rate:.0f}')
    return "\n".join(lines) + "\n"
