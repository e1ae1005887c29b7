"""A loaded backbone that makes takes: latents block by block; whoever asked decodes them as they come.

Owns noise and the room for banks. Noise is drawn per (backbone, prompt, seed, block, pass), so that methods meet the
same noise and neither order, worker nor interruption changes a pixel; a longer take begins exactly as a shorter one
does. Knows no path of a run and no Ray; holds one block of latents and, for methods that look back, the bank.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.platform import config
from longtake.platform.backbones.base import Backbone, BackboneSpec, Condition, Decoder, backbones
from longtake.platform.generation.packing import DTYPES
from longtake.platform.generation.rollout import Block, Rollout
from longtake.platform.generation.shelves import build_shelves
from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo, methods
from longtake.platform.models import attention
from longtake.platform.resources import Resources
from longtake.platform.takes import Take


class TakeNoise:
    """Standard normal numbers [1, n, C, H, W] from Philox keyed by the take's own noise key."""

    def __init__(self, take: Take, spec: BackboneSpec):
        net = spec.network
        self.shape = (1, spec.frames_per_block, net.channels, net.latent_height, net.latent_width)
        self.key = stream_key(take, "noise")

    def initial(self, block: int) -> Tensor:
        return self.draw(block, 0)

    def renoise(self, block: int, step: int) -> Tensor:
        return self.draw(block, step + 1)

    def draw(self, block: int, part: int) -> Tensor:
        generator = np.random.Generator(np.random.Philox(key=np.array([self.key, (block << 8) + part], np.uint64)))
        return torch.from_numpy(generator.standard_normal(self.shape, dtype=np.float32))


def stream_key(take: Take, stream: str) -> int:
    """64 bits that (stream, backbone, prompt, seed) decide; not the method, so that methods meet equal noise."""
    text = "\0".join((stream, take.backbone, take.prompt, str(take.seed)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class BlockOutput:
    """One finished block: clean latents [n, C, H, W] on the sampler's device, its row of the trace."""

    index: int
    total: int
    latents: Tensor
    trace: dict[str, Any]


class Sampler:
    """Keeps one backbone loaded; `generate` makes one take, after which `stats` tells what it cost."""

    def __init__(self, backbone: str, resources: Resources | None = None):
        self.resources = resources or Resources()
        self.backbone: Backbone = backbones.get(backbone)(self.resources)
        self.shelves = build_shelves(self.resources.bank, self.backbone.network.device)
        self.stats: dict[str, Any] = {}

    @property
    def computed_on(self) -> dict[str, str]:
        """What a take of this sampler is computed with, for its record."""
        device, dtype = self.backbone.network.device, self.backbone.network.dtype
        return {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "dtype": str(dtype).removeprefix("torch."),
            "attention": attention.backend(device, dtype),
            "compiled": str(self.resources.compile).lower(),
        }

    def generate(self, take: Take) -> Iterator[BlockOutput]:
        """Blocks in order. Mutates `stats`: {"timings": {"generate"} in seconds, "bank_bytes"}."""
        rollout, prefix = self.rollout(take)
        total = take.latent_frames // self.backbone.spec.frames_per_block
        spent, started = 0.0, time.perf_counter()
        try:
            for block in rollout.blocks(total, prefix):
                spent += time.perf_counter() - started
                bank = rollout.cache.bank
                self.stats = {"timings": {"generate": spent}, "bank_bytes": bank.peak_bytes if bank else 0}
                yield BlockOutput(block.index, total, block.latents[0], trace_row(block))
                started = time.perf_counter()
        finally:
            rollout.close()

    def decoder(self, take: Take) -> Decoder:
        """A fresh decoder for the take's latents."""
        return self.backbone.decoder(take.prompt, take.latent_frames)

    def rollout(self, take: Take) -> tuple[Rollout, Tensor | None]:
        """The engine set up for one take, and the given latents it starts from."""
        backbone, spec = self.backbone, self.backbone.spec
        condition = backbone.condition(take.prompt, take.latent_frames)
        chosen = chosen_method(take)
        method = build_method(take, chosen, spec, condition)
        prefix = None
        if take.start_frames:
            prefix = backbone.start_latents(take.prompt, take.seed, take.start_frames).unsqueeze(0)
        rollout = Rollout(
            backbone.network,
            spec.schedule,
            method,
            condition.text,
            TakeNoise(take, spec),
            keep_evicted=chosen.keeps_evicted,
            bank_dtype=DTYPES[chosen.bank_dtype] if chosen.bank_dtype else None,
            shelves=self.shelves,
        )
        return rollout, prefix


def chosen_method(take: Take) -> MethodConfig:
    return config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")


def build_method(take: Take, chosen: MethodConfig, spec: BackboneSpec, condition: Condition) -> Method:
    """The take's context method, in the backbone's window unless its parameters say another."""
    window = chosen.window_in(spec.window)
    chosen.check(window, spec.latent)
    columns = None if condition.columns is None else condition.columns[None]
    info = RolloutInfo(
        window,
        1,
        (stream_key(take, "memory"),),
        columns,
        condition.view_columns,
        condition.world_columns,
        spec.network.frame_kv_values,
        spec.dtype.itemsize,
    )
    return chosen.build(info)


def trace_row(block: Block) -> dict[str, Any]:
    """What the block attended: [frame, time index, reason, similarity or null] in key order, and the query."""
    attended = [[at.frame, at.time, at.reason, at.similarity] for at in block.plan.rows[0]]
    times = list(block.plan.query_times)
    return {"block": block.index, "first": block.first, "given": block.given, "query": times, "attended": attended}
