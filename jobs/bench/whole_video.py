"""Makes whole videos for `longtake bench sampler`, one at a time, with the worker of `longtake run`.

Denoising, decoding and encoding overlap as they do there. Each video needs a separate process, so that its peak memory
includes no other method. The peak does include the natural frames (72 MB at 480x832).
"""

import time
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.jobs.bench.clocks import latent_frames
from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.bench.stand_in import stand_in
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.platform.backbones.base import Decoder
from longtake.platform.generation.sampler import Sampler
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take

STAGES = ("generate", "decode", "encode")


@dataclass(frozen=True)
class WholeVideo:
    """A whole video: frames, wall seconds from the request to the record and to the first frames, peak bytes.

    `stage_seconds`: wall seconds of work per stage; stages overlap. `waiting_seconds`: how long the generating thread
    waited for earlier blocks to be decoded and encoded.
    """

    frames: int
    wall_seconds: float
    first_frame_seconds: float
    stage_seconds: dict[str, float]
    waiting_seconds: float
    device_bytes: int
    resident_bytes: int
    bank_bytes: int

    @property
    def fps(self) -> float:
        return self.frames / self.wall_seconds

    @property
    def busiest(self) -> str:
        """The stage with the most work, which limits the speed."""
        return max(self.stage_seconds, key=lambda stage: self.stage_seconds[stage])


class FirstPush:
    """A decoder that records when its first frames arrived."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self.arrived: float | None = None

    def push(self, latents: Tensor) -> np.ndarray:
        frames = self.decoder.push(latents)
        self.arrived = self.arrived or time.perf_counter()
        return frames


class WatchedSampler(Sampler):
    """Keeps the last decoder that it returned."""

    def decoder(self, take: Take) -> Decoder:
        self.watched = FirstPush(super().decoder(take))
        return self.watched


def whole_video(options: BenchOptions, method: str) -> WholeVideo:
    """Makes one video as `longtake run` does, after one block as a warm-up."""
    stand_in(options)
    worker = SamplerWorker(SweepStore(".", "bench"), options.resources, WatchedSampler)
    worker.loaded.ensure(options.name)
    sampler: Any = worker.sampler
    device, block = sampler.backbone.network.device, sampler.backbone.spec.frames_per_block
    for output in sampler.generate(options.take(method, block, seed=1)):
        sampler.decoder(options.take(method, block)).push(output.latents)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with TemporaryDirectory() as folder:
        worker.store = SweepStore(folder, "bench")
        started = time.perf_counter()
        (made,) = worker.run(MakeItem((options.take(method, latent_frames(options)),)), lambda _: None)
        wall = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    first = sampler.watched.arrived - started
    seconds = made.timings
    return WholeVideo(
        frames=made.num_frames,
        wall_seconds=wall,
        first_frame_seconds=first,
        stage_seconds={stage: seconds[stage] for stage in STAGES},
        waiting_seconds=seconds["wait"],
        device_bytes=peak,
        resident_bytes=made.peak_rss_bytes,
        bank_bytes=made.bank_bytes,
    )
