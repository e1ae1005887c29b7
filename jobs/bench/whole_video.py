"""Whole videos for `longtake bench sampler`, made one at a time by the worker that `longtake run` uses.

Denoising, decoding and encoding overlap as they do there. Meant for a process of its own, where no memory of another
method is counted.
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
from longtake.jobs.generate import SamplerWorker
from longtake.platform.backbones.base import Decoder
from longtake.platform.generation.sampler import Sampler
from longtake.platform.store import SweepStore
from longtake.platform.takes import Take


@dataclass(frozen=True)
class Film:
    """A whole video: frames, wall seconds from request to record and to the first frames, peak bytes.

    `waiting_seconds`: how long the next block was held back by frames that were not decoded and encoded yet.
    """

    frames: int
    wall_seconds: float
    first_frame_seconds: float
    waiting_seconds: float
    device_bytes: int
    resident_bytes: int
    bank_bytes: int


class FirstPush:
    """A decoder that notes when its first frames had arrived."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self.arrived: float | None = None

    def push(self, latents: Tensor) -> np.ndarray:
        frames = self.decoder.push(latents)
        self.arrived = self.arrived or time.perf_counter()
        return frames


class WatchedSampler(Sampler):
    """Keeps the decoder that it gave out last."""

    def decoder(self, take: Take) -> Decoder:
        self.watched = FirstPush(super().decoder(take))
        return self.watched


def film(options: BenchOptions, method: str) -> Film:
    """One video as `longtake run` makes it, by a sampler that has made a block before."""
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
        (made,) = worker.run([options.take(method, latent_frames(options)).to_json()], lambda _: None)
        wall = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    first = sampler.watched.arrived - started
    return Film(
        made["num_frames"], wall, first, made["timings"]["wait"], peak, made["peak_rss_bytes"], made["bank_bytes"]
    )
