"""A loaded backbone that makes takes: latents block by block; whoever asked decodes them as they come.

Owns noise and the room for banks. Noise is drawn per (backbone, prompt, seed, block, pass), so that methods meet the
same noise and neither order, worker nor interruption changes a pixel; a longer take begins exactly as a shorter one
does. Knows no path of a run and no Ray; holds one block of latents and, for methods that look back, the bank.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longtake.platform import config, kernels
from longtake.platform.backbones.base import Backbone, BackboneSpec, Condition, Decoder, backbones, check_precision
from longtake.platform.dtypes import torch_dtype
from longtake.platform.generation.bank.tiers import build_tiers
from longtake.platform.generation.rollout import Block, Rollout
from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo, methods
from longtake.platform.models import attention, fp8
from longtake.platform.resources import Resources
from longtake.platform.takes import Take


class TakeNoise:
    """Standard normal numbers [B, n, C, H, W]: a row per take, from Philox keyed by the take's own noise key."""

    def __init__(self, takes: Sequence[Take], spec: BackboneSpec):
        net = spec.network
        self.shape = (spec.frames_per_block, net.channels, net.latent_height, net.latent_width)
        self.keys = [stream_key(take, "noise") for take in takes]

    def initial(self, block: int) -> Tensor:
        return self.draw(block, 0)

    def renoise(self, block: int, step: int) -> Tensor:
        return self.draw(block, step + 1)

    def draw(self, block: int, part: int) -> Tensor:
        keys = [np.array([key, (block << 8) + part], np.uint64) for key in self.keys]
        rows = [np.random.Generator(np.random.Philox(key=key)).standard_normal(self.shape, np.float32) for key in keys]
        return torch.from_numpy(np.stack(rows))


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
        self.check(backbones.get(backbone).spec)
        self.backbone: Backbone = backbones.get(backbone)(self.resources)
        capacity = self.resources.bank.on_this_machine(self.resources.samplers_per_machine)
        self.tiers = build_tiers(capacity, self.backbone.network.device)
        self.stats: dict[str, Any] = {}

    def check(self, spec: BackboneSpec) -> None:
        """Raises ConfigError, before any weights are read, for a precision that backbone or device does not support."""
        check_precision(spec, self.resources.precision)
        if self.resources.precision == "fp8":
            fp8.check_device(self.resources.compute_device())

    @property
    def computed_on(self) -> dict[str, str]:
        """What a take of this sampler is computed with, for its record."""
        device, dtype = self.backbone.network.device, self.backbone.network.dtype
        own = "bf16" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")
        between = {"kernels": "triton" if kernels.used_on(device) else "torch"} if device.type == "cuda" else {}
        return between | {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "dtype": str(dtype).removeprefix("torch."),
            "precision": self.resources.precision or own,
            "attention": attention.backend(device, dtype, self.backbone.spec.network.head_dim),
            "compiled": str(self.resources.compile).lower(),
        }

    def generate(self, take: Take) -> Iterator[BlockOutput]:
        """Blocks in order. Mutates `stats`: {"timings": {"generate"} in seconds, "bank_bytes"}."""
        return (outputs[0] for outputs in self.generate_together([take]))

    def generate_together(self, takes: Sequence[Take]) -> Iterator[list[BlockOutput]]:
        """The same block of every take, in order: takes of one cell that start alike, as rows of one batch.

        On a CPU every row is, bit for bit, the take made alone. Mutates `stats`, whose figures are a take's share.
        """
        rollout, prefix = self.rollout(takes)
        device, made = self.backbone.network.device, None
        total = takes[0].latent_frames // self.backbone.spec.frames_per_block
        spent, started = 0.0, time.perf_counter()
        try:
            for block in rollout.blocks(total, prefix):
                if (
                    device.type == "cuda"
                ):  # one block ahead, no more: so the clock sees the device's work and not its queue
                    before, made = made, torch.cuda.current_stream(device).record_event()
                    if before is not None:
                        before.synchronize()
                spent += time.perf_counter() - started
                bank = rollout.cache.bank
                held = bank.peak_bytes // len(takes) if bank else 0
                self.stats = {"timings": {"generate": spent / len(takes)}, "bank_bytes": held}
                yield [
                    BlockOutput(block.index, total, latents, trace_row(block, row))
                    for row, latents in enumerate(block.latents)
                ]
                started = time.perf_counter()
        finally:
            rollout.close()

    def decoder(self, take: Take) -> Decoder:
        """A fresh decoder for the take's latents."""
        return self.backbone.decoder(take.prompt, take.latent_frames)

    def rollout(self, takes: Sequence[Take]) -> tuple[Rollout, Tensor | None]:
        """The engine, set up for takes of one cell, and the given latents that they start from.

        Raises ConfigError before anything is computed if their banks do not fit.
        """
        backbone, spec = self.backbone, self.backbone.spec
        conditions = [backbone.condition(take.prompt, take.latent_frames) for take in takes]
        chosen = chosen_method(takes[0])
        prefix = None
        if takes[0].prefix_frames:
            prefix = torch.stack([backbone.prefix_latents(t.prompt, t.seed, t.prefix_frames) for t in takes])
        rollout = Rollout(
            backbone.network,
            spec.schedule,
            build_method(takes, chosen, spec, conditions),
            stacked([condition.text[0] for condition in conditions]),
            TakeNoise(takes, spec),
            keep_evicted=chosen.keeps_evicted,
            bank_dtype=torch_dtype(chosen.bank_dtype) if chosen.bank_dtype else None,
            tiers=self.tiers,
            attention_shares=self.resources.attention_shares,
        )
        window = chosen.window_in(spec.window)
        rollout.cache.reserve(chosen.banked_frames(takes[0].latent_frames, window, spec.frame))
        return rollout, prefix


def stacked(texts: list[Tensor]) -> Tensor:
    """Texts [rows, D] of any lengths -> [B, most rows, D], zeros behind the shorter ones, as the network adds them."""
    return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)


def chosen_method(take: Take) -> MethodConfig:
    return config.build(methods.get(take.method.name), take.method.params, f"method {take.method.label}")


def build_method(
    takes: Sequence[Take], chosen: MethodConfig, spec: BackboneSpec, conditions: Sequence[Condition]
) -> Method:
    """The takes' context method, in the backbone's window unless its parameters say another."""
    window, first = chosen.window_in(spec.window), conditions[0]
    chosen.check(window, spec.latent)
    cameras = [condition.columns for condition in conditions if condition.columns is not None]
    info = RolloutInfo(
        window,
        len(takes),
        tuple(stream_key(take, "memory") for take in takes),
        np.stack(cameras) if cameras else None,
        first.view_columns,
        first.world_columns,
        spec.frame,
    )
    return chosen.build(info)


def trace_row(block: Block, row: int = 0) -> dict[str, Any]:
    """What a take attended: [frame, time index, reason, similarity or null] in key order, and the query.

    With `attention`, if it was measured: the share of each.
    """
    attended = [[at.frame, at.time, at.reason, at.similarity] for at in block.plan.rows[row]]
    times = list(block.plan.query_times)
    told = {"block": block.index, "first": block.first, "given": block.given, "query": times, "attended": attended}
    return told if block.attention is None else told | {"attention": block.attention[row].tolist()}
