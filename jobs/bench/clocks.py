"""Times interleaved blocks of several methods for `longtake bench sampler`.

Every method makes block i before any makes block i + 1, with a large matrix product timed in between, so a busy or hot
moment affects all methods. The GPU is synchronized only at the ends of blocks. The clock is the CPU time of the thread
on a CPU, and wall time on a GPU.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.bench.stand_in import stand_in
from longtake.platform.generation.rollout import Rollout
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.process import set_up_computing
from longtake.platform.takes import Take
from longtake.platform.video.writing import VideoWriter

DECODED_BLOCKS = 10
GEMM = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Reading:
    """The measurements of one block of one method."""

    method: str
    block: int
    attended: int
    wall_seconds: float
    cpu_seconds: float
    bank_bytes: int


@dataclass
class Turns:
    """Readings of all blocks, the product rate (FLOP/s) before each round, seconds to decode and to encode a block."""

    readings: list[Reading] = field(default_factory=list)
    gemm: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)


class DeviceClock:
    """Measures wall seconds and CPU seconds of this thread; synchronizes the device at both ends."""

    def __init__(self, device: torch.device):
        self.device = device
        self.wall = self.cpu = 0.0

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def running(self) -> Iterator[None]:
        self.synchronize()
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        self.synchronize()
        self.wall, self.cpu = time.perf_counter() - wall, time.thread_time() - cpu

    @property
    def seconds(self) -> float:
        """Wall seconds on a GPU, else CPU seconds."""
        return self.wall if self.device.type == "cuda" else self.cpu


def latent_frames(options: BenchOptions) -> int:
    """The number of frames in whole blocks, at least one block."""
    spec = stand_in(options).spec
    return max(1, options.seconds * spec.latent_fps // spec.frames_per_block) * spec.frames_per_block


def take_turns(options: BenchOptions, tick: Callable[[int, int], None]) -> Turns:
    """Times the blocks of all methods in turns, and decodes and encodes the first blocks of the first method."""
    set_up_computing()
    torch.manual_seed(0)
    stand_in(options)
    sampler, frames = Sampler(options.name, options.resources), latent_frames(options)
    spec, takes = sampler.backbone.spec, [options.take(method, frames) for method in options.methods]
    total, turns = frames // spec.frames_per_block, Turns()
    rollouts = {
        take.method.label: sampler.rollout([replace(take, seed=seed) for seed in range(options.batch)])[0]
        for take in takes
    }
    for bank in filter(None, (rollout.cache.bank for rollout in rollouts.values())):
        bank.fill()  # so that no block is timed while memory is being pinned
    blocks = {label: rollout.blocks(total) for label, rollout in rollouts.items()}
    clock, stages = DeviceClock(sampler.backbone.network.device), Stages(sampler, takes[0], turns)
    with TemporaryDirectory() as folder, stages.writing(Path(folder) / "timed.mp4"):
        for index in range(total):
            turns.gemm.append(gemm_rate(sampler.backbone.network.device, torch_dtype(spec.dtype)))
            for label in rotated(list(rollouts), index):
                with clock.running():
                    block = next(blocks[label])
                bank_bytes, attended = held_bytes(rollouts[label]), len(block.plan.rows[0])
                turns.readings.append(Reading(label, index, attended, clock.wall, clock.cpu, bank_bytes))
                if label == options.methods[0] and index < DECODED_BLOCKS:
                    stages.push(block.latents[0])
            tick(index + 1, total)
    return turns


def held_bytes(rollout: Rollout) -> int:
    """The bank's current size in bytes."""
    bank = rollout.cache.bank
    return bank.num_bytes if bank else 0


def rotated(labels: list[str], index: int) -> list[str]:
    """The labels, starting with a different one in every round."""
    at = index % len(labels)
    return labels[at:] + labels[:at]


class Stages:
    """Decodes and encodes blocks, and times each of the two separately."""

    def __init__(self, sampler: Sampler, take: Take, turns: Turns):
        self.decoder, self.spec, self.turns = sampler.decoder(take), sampler.backbone.spec, turns
        self.decoding, self.encoding = (
            DeviceClock(sampler.resources.decoding_device()),
            DeviceClock(torch.device("cpu")),
        )

    @contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        with VideoWriter(path, self.spec.fps, self.spec.width, self.spec.height) as self.video:
            yield
            self.video.close()

    def push(self, latents: Tensor) -> None:
        with self.decoding.running():
            frames = self.decoder.push(latents)
        with self.encoding.running():
            self.video.write(frames)
        self.turns.decode.append(self.decoding.seconds)
        self.turns.encode.append(self.encoding.seconds)


def gemm_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a square matrix product in `dtype`, the better of two runs."""
    size, repeats = GEMM[device.type], 10 if device.type == "cuda" else 1
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock, times = DeviceClock(device), []
    for _ in range(2):
        with clock.running():
            for _ in range(repeats):
                torch.mm(a, b)
        times.append(clock.seconds)
    return repeats * 2 * size**3 / min(times)
